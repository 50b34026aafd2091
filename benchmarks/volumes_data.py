"""Virtual patients in three dimensions with several visits, and copies of their scans: what detectors of copied volumes are judged on.

The real side is one visit of some patients. What is judged are copies of real scans that went through fixed changes, scans of other
patients, and scans of the real patients that are no copies: other visits, and another contrast of the same visit. All volumes are
windowed as an audit reads them.

Not here: detectors (volumes_audit.py, volumes_rivals.py), figures and tables (volumes.py).
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.copies_rivals import Part
from deepssim.audit.controls import choose_controls
from deepssim.config.audit import AuditConfig
from deepssim.config.choices import Contrast
from deepssim.config.dataset import VirtualPatientsConfig
from deepssim.datasets.virtual_patients import make_patient, make_virtual_volume
from deepssim.images import volume_changes
from deepssim.images.distort import UNCHANGED, Change, distort
from deepssim.images.intensity import find_window
from deepssim.images.packs import ImagePack
from deepssim.images.resample_volumes import resized
from deepssim.images.standardize import quantise
from deepssim.images.volume_distort import VOLUME_DISTORTIONS
from deepssim.seeds import numpy_generator

OPTIONS = VirtualPatientsConfig(deformation_mm=2.0)  # brains that differ by 2 mm only, as in re-identification
SEED = 0  # of patients, copies and audits
CONTROLS = 12  # scans that the audit copies itself; the benchmark copies others
OTHER_PATIENTS, OTHER_VISITS, OTHER_CONTRAST = (
    "other patients",
    "same patients at other visits",
    "same visits in another contrast",
)
_REDUCED = 2  # by which the resolution is reduced
_CLIPPED = (0.1, 0.7)  # intensities that become black and white
_OTHER_PART = 0.15  # of another patient in a blended copy


def half_resolution(volume: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Resample a cubic volume to half as many voxels along each axis, and back."""
    return resized(resized(volume, len(volume) // _REDUCED), len(volume))


def clipped(volume: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Show a narrower window of intensities."""
    low, high = _CLIPPED
    return (volume - np.float32(low)) / np.float32(high - low)


def blended(volume: np.ndarray, random: np.random.Generator, other: np.ndarray) -> np.ndarray:
    """Mix in a part of another patient's scan."""
    return (1 - np.float32(_OTHER_PART)) * volume + np.float32(_OTHER_PART) * other


_OF_PROTOCOL = (
    UNCHANGED, "flip left-right", "quarter turn", "axes in another order", "rotation 12°", "affine 10 %", "blur 2 mm", "noise 0.05",
    "gamma 1.6", "warp 3 mm", "warp 6 mm", "thick slices 8 mm", "cut off 20 %", "soft",
    "flip, rotation 12°, warp 3 mm, gamma 0.8 and soft",
)  # fmt: skip
_FURTHER = (
    Change("rotation", "18°", partial(volume_changes.rotate, degrees=18)),
    Change("half the resolution", "", half_resolution),
    Change("clipped intensities", "", clipped),
    Change("blended with 15 % of another patient", "", blended, mixes=True),
)
FURTHER = tuple(change.name for change in _FURTHER)
CHANGES = {name: VOLUME_DISTORTIONS[name] for name in _OF_PROTOCOL} | {change.name: change for change in _FURTHER}
"""What copies went through. Those of `FURTHER` are not among the controls from which the audit learns its score."""


@dataclass(frozen=True)
class Sizes:
    """How many patients there are.

    Attributes:
        real: of whom one visit is real.
        copied: of these, whose scan is copied with each change.
        others: others, of whom `visits` visits are judged.
        again: real ones of whom `visits` further visits, and another contrast, are judged.
        visits: see above.
        learning: further ones, on whose scans an encoder is trained.
        side: voxels of the scans along each axis.
    """

    real: int = 40
    copied: int = 16
    others: int = 40
    again: int = 20
    visits: int = 2
    learning: int = 24
    side: int = AuditConfig().volume_side


@dataclass(frozen=True)
class Trial:
    """What detectors are judged on.

    Attributes:
        real: the real side, one scan of each patient.
        copies: of real scans by change, with the patient of the original.
        others: scans that are no copies, by what they are.
        learning: scans of further patients, on which an encoder is trained.
    """

    real: Part
    copies: dict[str, Part]
    others: dict[str, Part]
    learning: Part

    @property
    def judged(self) -> Part:
        """All scans that a detector judges."""
        parts = [*self.copies.values(), *self.others.values()]
        pack = ImagePack(
            np.concatenate([part.pack.images for part in parts]), [key for part in parts for key in part.pack.keys]
        )
        return Part(pack, [subject for part in parts for subject in part.subjects])

    @property
    def fingerprint(self) -> str:
        """Hash of all scans and patients, by which earlier scores are recognised as those of the same trial."""
        digest = hashlib.sha256(repr([*self.copies, *self.others]).encode())
        for part in (self.real, self.judged, self.learning):
            digest.update(np.ascontiguousarray(part.pack.images).data)
            digest.update(repr((part.pack.keys, part.subjects)).encode())
        return digest.hexdigest()


def windowed(volume: np.ndarray) -> np.ndarray:
    """Return a volume as an audit shows it, uint8, given as float32 of any range, dark background."""
    faces = [volume.take(end, axis) for axis in range(3) for end in (0, -1)]
    window = find_window(lambda: iter(volume), lambda: iter(faces), AuditConfig().intensity_percentiles)
    return quantise(window.apply(volume), 8)


def virtual_trial(sizes: Sizes, work: Path) -> Trial:
    """Simulate scans and copy some of them.

    Args:
        sizes: numbers of patients and voxels.
        work: folder that keeps simulated scans, each of which takes a second.
    """
    counts = (sizes.real, sizes.others, sizes.learning)
    patients, others, learning = (
        range(end - count, end) for end, count in zip(np.cumsum(counts).tolist(), counts, strict=True)
    )
    scans = partial(_scans, side=sizes.side, work=work)
    real = scans(patients, [0])
    again = patients[: sizes.again]
    no_copies = {
        OTHER_PATIENTS: scans(others, range(sizes.visits)),
        OTHER_VISITS: scans(again, range(1, 1 + sizes.visits)),
        OTHER_CONTRAST: scans(again, [0], contrast=Contrast.T2),
    }
    chosen = originals(real, sizes.copied)
    return Trial(real, copies_of(chosen, no_copies[OTHER_PATIENTS].pack), no_copies, scans(learning, [0]))


def _scans(numbers: Iterable[int], visits: Iterable[int], *, side: int, work: Path, contrast: Contrast = Contrast.T1) -> Part:  # fmt: skip
    made = [(make_patient(number, OPTIONS, SEED), visit) for number in numbers for visit in visits]
    volumes = [_scan(patient, contrast, visit, side, work) for patient, visit in made]
    keys = [f"{patient.name} {contrast.value} visit {visit}" for patient, visit in made]
    return Part(ImagePack(np.stack(volumes), keys), [patient.name for patient, _ in made])


def _scan(patient, contrast: Contrast, visit: int, side: int, work: Path) -> np.ndarray:  # type: ignore[no-untyped-def]
    path = work / "scans" / f"{patient.name}-{contrast.value}-{visit}-{side}.npy"
    if path.exists():
        return np.load(path)
    volume = make_virtual_volume(patient, contrast, (side,) * 3, visit=visit, noise=OPTIONS.noise).values
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, windowed(volume))
    return np.load(path)


def originals(real: Part, count: int) -> Part:
    """Draw real scans to copy, not those that the audit copies itself if there are enough others."""
    taught = set(choose_controls(real.subjects, CONTROLS, SEED))
    rows = [row for row in range(len(real.subjects)) if row not in taught]
    rows = rows if len(rows) >= count else list(range(len(real.subjects)))
    drawn = sorted(numpy_generator(SEED, "originals").choice(rows, count, replace=False).tolist())
    keys = [real.pack.keys[row] for row in drawn]
    return Part(ImagePack(real.pack.images[drawn], keys), [real.subjects[row] for row in drawn])


def copies_of(chosen: Part, others: ImagePack, names: Sequence[str] = tuple(CHANGES)) -> dict[str, Part]:
    """Return copies of scans that went through each change.

    Args:
        chosen: scans to copy.
        others: scans of other patients, for copies into which they enter.
        names: of the changes.
    """
    found = {}
    for name in names:
        changed = distort(
            chosen.pack, name, SEED + 1, others=others, changes=CHANGES
        )  # the audit's own seed is another
        images = [image if name == UNCHANGED else windowed(image.astype(np.float32)) for image in changed.images]
        found[name] = Part(ImagePack(np.stack(images), [f"{name}: {key}" for key in changed.keys]), chosen.subjects)
    return found
