"""Images of patients with several visits, patients apart between training and test: chest X-rays, and virtual patients.

Not here: what recognises them (reidentification.py).
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from benchmarks.audit import read_images
from deepssim.config.choices import Contrast
from deepssim.config.dataset import VirtualPatientsConfig
from deepssim.datasets.virtual_patients import Patient, make_patient, scan
from deepssim.images.packs import ImagePack
from deepssim.seeds import derive_seed, numpy_generator

SIDE = 128  # pixels
MOST_IMAGES = 4  # of a test patient: one with eleven would be most of all pairs
TEST_WITH_SEVERAL = 0.5  # of the patients with several images, and as many of the others, who only distract
# Brains that differ by 2 mm only, as in similar_patients.py: with those of the demo, the correlation of pixels recognises everybody.
VIRTUAL = VirtualPatientsConfig(deformation_mm=2.0)
PATIENTS, VISITS = 80, 3  # virtual ones, half of whom are for training
_SLICE_MM = 20.0
# A further visit: the head lies a little differently, the slice is a little off, the patient is older, the scanner another day's.
_TURN_DEGREES, _SHIFT_MM, _SLICE_OFF_MM, _TISSUE = 1.5, 1.5, 1.0, 0.02
_YEARS, _WIDENING_PER_YEAR = 3.0, 0.0075


@dataclass(frozen=True)
class Patients:
    """Images of patients.

    Attributes:
        pack: uint8 (N, 128, 128).
        subjects: patient of each image.
    """

    pack: ImagePack
    subjects: list[str]

    def of(self, chosen: np.ndarray) -> "Patients":
        """Return some of the images, bool (N,)."""
        rows = np.flatnonzero(chosen).tolist()
        keys = [self.pack.keys[row] for row in rows]
        return Patients(ImagePack(self.pack.images[rows], keys), [self.subjects[row] for row in rows])


def chest_xrays(csv: Path) -> Patients:
    """Read chest X-rays; files that repeat another one are left out.

    Args:
        csv: table with image_path and subject.
    """
    table = read_images(csv)
    images = [np.asarray(Image.open(path).convert("L").resize((SIDE, SIDE))) for path in table["path"]]
    return Patients(ImagePack(np.stack(images), list(table["image_path"])), list(table["subject"]))


def virtual_patients(count: int = PATIENTS, visits: int = VISITS) -> Patients:
    """Return one slice of each visit of virtual patients."""
    images, subjects = [], []
    for number in range(count):
        patient = make_patient(number, VIRTUAL, 0)
        for visit in range(visits):
            seen, z_mm = at_visit(patient, visit)
            image = scan(seen, Contrast.T1, z_mm, (SIDE, SIDE), VIRTUAL.noise)[0]
            images.append(np.rint(255 * image).astype(np.uint8))
            subjects.append(patient.name)
    keys = [f"{subject} visit {row % visits}" for row, subject in enumerate(subjects)]
    return Patients(ImagePack(np.stack(images), keys), subjects)


def at_visit(patient: Patient, visit: int) -> tuple[Patient, float]:
    """Return a patient as seen at one of several visits, and the height of the slice in mm.

    Noise and bias field are drawn anew; position, grey values of the tissues and the width of the ventricles change a little.
    """
    random = numpy_generator(patient.seed, "visit", patient.number, visit)
    turn = Rotation.from_euler("xyz", random.normal(0, _TURN_DEGREES, 3), degrees=True).as_matrix()
    seen = replace(
        patient,
        seed=derive_seed(patient.seed, "visit", visit),
        linear=patient.linear @ turn,
        offset=patient.offset + random.normal(0, _SHIFT_MM, 3),
        ventricles=patient.ventricles + _WIDENING_PER_YEAR * _YEARS * visit,
        tissues={
            name: np.clip(values + random.normal(0, _TISSUE, 4), 0.05, 1.0) for name, values in patient.tissues.items()
        },
    )
    return seen, _SLICE_MM + float(random.uniform(-_SLICE_OFF_MM, _SLICE_OFF_MM))


def divided(patients: Patients, seed: int) -> tuple[Patients, Patients]:
    """Divide patients into training and test ones; at most four images of a test patient are kept.

    Args:
        patients: all images.
        seed: of the division.
    """
    names, counts = np.unique(patients.subjects, return_counts=True)
    random = numpy_generator(seed, "re-identification")
    several, single = (random.permutation(names[chosen]) for chosen in (counts > 1, counts == 1))
    number = round(TEST_WITH_SEVERAL * len(several))
    test = {*several[:number].tolist(), *single[:number].tolist()}
    seen: dict[str, int] = {}
    kept = np.zeros(len(patients.subjects), bool)
    for row, subject in enumerate(patients.subjects):
        seen[subject] = seen.get(subject, 0) + 1
        kept[row] = subject in test and seen[subject] <= MOST_IMAGES
    return patients.of(~np.isin(patients.subjects, sorted(test))), patients.of(kept)
