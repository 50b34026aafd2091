"""Real images held apart by subject, and copies of some of them: what copy detectors are judged on.

Subjects are divided in three: training images of a generator, held-out images, which set every detector's limit, and fresh
images, which stand for synthetic images that are no copies. Images without patient ids form groups of near duplicates first.
The volumes of `mri_volumes` are left out: three patients set no limit.

Not here: detectors (copies_rivals.py, copies_audit.py), figures and tables (copies.py).
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from benchmarks.audit import read_images
from benchmarks.copies_audit import copied_by_audit
from benchmarks.copies_rivals import FLIPS, Part, fit_keypoints, flipped_products, inliers, matches, normalised
from deepssim.ground_truth.labels import SSIM_THRESHOLDS
from deepssim.images.distort import DISTORTIONS, distort
from deepssim.images.packs import ImagePack, open_packs, read_pack
from deepssim.images.standardize import quantise
from deepssim.runtime.json_files import write_json
from deepssim.seeds import numpy_generator
from deepssim.similarity.ssim import SsimComparison
from deepssim.similarity.tiles import all_scores

SIDE = 256  # pixels; smaller images are enlarged
NEAREST, COARSE = 10, 32  # images compared by keypoints for near duplicates, and the side at which they are found
SAME = 30  # inliers of images of one patient: neighbouring slices have 25 to 59, seen by eye; unrelated ones reach 23
MEMORIZED = "memorized by a diffusion model"
REPLACED, PASTED = "a quarter replaced", "a quarter copied"


@dataclass(frozen=True)
class Trial:
    """What detectors are judged on.

    Attributes:
        name: on the command line and in files.
        title: in tables.
        unit: what a subject is, in the plural.
        train: training images of the generator.
        held_out: images that set the limit.
        fresh: images that are no copies.
        copies: by row of the tables; the subject is that of the original.
    """

    name: str
    title: str
    unit: str
    train: Part
    held_out: Part
    fresh: Part
    copies: dict[str, Part]

    @property
    def parts(self) -> list[Part]:
        """All that a detector scores: held-out and fresh images, then the copies of each row."""
        return [self.held_out, self.fresh, *self.copies.values()]

    @property
    def fingerprint(self) -> str:
        """Hash of all images and subjects, by which earlier scores are recognised as those of the same trial."""
        digest = hashlib.sha256(repr(list(self.copies)).encode())
        for part in (self.train, *self.parts):
            digest.update(np.ascontiguousarray(part.pack.images).data)
            digest.update(repr((part.pack.keys, part.subjects)).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Source:
    """A collection of real images below the folder of real images.

    Attributes:
        csv: its table.
        title, unit: see `Trial`.
        sizes: subjects for training, held out and fresh.
    """

    csv: str
    title: str
    unit: str
    sizes: tuple[int, int, int]


SOURCES = {
    "xrays": Source("chest_xray.csv", "chest X-rays", "patients", (130, 110, 92)),
    "mr": Source("brain_slices.csv", "brain MR slices", "groups of near duplicates", (370, 300, 300)),
}


def real_trial(
    name: str, folder: Path, work: Path, *, copies: int, most: int | None, threads: int, seed: int = 0
) -> Trial:
    """Divide the images of a collection by subject and copy some of its training images.

    Args:
        name: of `SOURCES`.
        folder: of the real images.
        work: folder that keeps the groups of near duplicates.
        copies: training images to copy, each of another subject.
        most: subjects of each part at most; None for those of the source.
        threads: CPU threads.
        seed: of the division and the copies.
    """
    source = SOURCES[name]
    table = read_images(folder / source.csv)
    pack = ImagePack(np.stack([np.asarray(Image.open(path).convert("L")) for path in table["path"]]),
                     list(table["image_uid"]))  # fmt: skip
    subjects = list(table["subject"]) if "subject" in table else near_duplicates(pack, work / "groups.json", threads)
    ends = np.cumsum([min(size, most or size) for size in source.sizes])
    drawn = numpy_generator(seed, "copies", name).permutation(sorted(set(subjects)))
    if ends[-1] > len(drawn):
        raise SystemExit(f"{folder / source.csv}: has {len(drawn)} {source.unit}, {ends[-1]} are needed; lower --most")
    pack = enlarged(pack, SIDE)
    train, held_out, fresh = (_part(pack, subjects, set(chosen)) for chosen in np.split(drawn[: ends[-1]], ends[:-1]))
    originals = draw_originals(train, copies, seed)
    made = dict(copies_of(originals, fresh.pack, seed))
    return Trial(name, source.title, source.unit, train, held_out, fresh, made)


def _part(pack: ImagePack, subjects: Sequence[str], chosen: set[str]) -> Part:
    rows = [row for row, subject in enumerate(subjects) if subject in chosen]
    return Part(ImagePack(pack.images[rows], [pack.keys[row] for row in rows]), [subjects[row] for row in rows])


def enlarged(pack: ImagePack, side: int) -> ImagePack:
    """Return a pack of uint8 images whose longer side has at least so many pixels (cubic interpolation)."""
    factor = side / max(pack.images.shape[1:])
    if factor <= 1:
        return pack
    images = [cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC) for image in pack.images]
    return ImagePack(np.stack(images), pack.keys)


def draw_originals(train: Part, count: int, seed: int) -> Part:
    """Draw training images of different subjects, not those from which the audit learns its score if there are enough others."""
    random = numpy_generator(seed, "originals")
    names = sorted(set(train.subjects))
    untaught = sorted(set(names) - copied_by_audit(train.subjects))
    names = untaught if len(untaught) >= count else names
    chosen = random.choice(names, min(count, len(names)), replace=False)
    rows = [int(random.choice([row for row, name in enumerate(train.subjects) if name == one])) for one in chosen]
    return Part(ImagePack(train.pack.images[rows], [train.pack.keys[row] for row in rows]), list(map(str, chosen)))


def copies_of(originals: Part, others: ImagePack, seed: int) -> Iterator[tuple[str, Part]]:
    """Yield every change of the audit's controls and the copies that went through it, and copies of a quarter.

    Args:
        originals: images to copy.
        others: images that are no training images, for the copies of which a part is replaced, or which a copied part is put into.
        seed: of the changes.
    """
    for row in DISTORTIONS:
        changed = distort(originals.pack, row, seed, others=others)
        yield row, Part(ImagePack(changed.images, [f"{row}: {key}" for key in changed.keys]), originals.subjects)
    yield PASTED, Part(_pasted(originals.pack, others, seed), originals.subjects)


def _pasted(originals: ImagePack, others: ImagePack, seed: int) -> ImagePack:
    """Return images into which a quarter of an original was pasted, at its own place."""
    random = numpy_generator(seed, PASTED)
    chosen = random.choice(len(others.keys), len(originals.keys), replace=len(others.keys) < len(originals.keys))
    images = [
        quantise(DISTORTIONS[REPLACED].apply(image, random, original), originals.bit_depth)
        for image, original in zip(others.unit()[chosen], originals.unit(), strict=True)
    ]
    return ImagePack(np.stack(images), [f"{PASTED}: {key}" for key in originals.keys])


def near_duplicates(pack: ImagePack, cache: Path, threads: int) -> list[str]:
    """Group images that show the same picture, also flipped, rotated or shifted.

    Args:
        pack: uint8 images.
        cache: JSON file that keeps the groups of these images.
        threads: CPU threads.

    Returns:
        The group of each image: connected components of pairs with many keypoints in common.
    """
    digest = hashlib.sha256(np.ascontiguousarray(pack.images).data)
    digest.update(str(SAME).encode())
    known_by = digest.hexdigest()
    if cache.exists() and (known := json.loads(cache.read_text(encoding="utf-8")))["images"] == known_by:
        return list(known["groups"])
    similarity = flipped_products(normalised, COARSE, pack, pack)
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1)[:, :NEAREST]
    pairs = sorted({(min(row, int(near)), max(row, int(near))) for row, line in enumerate(nearest) for near in line})
    own = fit_keypoints(pack, threads)
    mirrored = fit_keypoints(ImagePack(np.ascontiguousarray(pack.images[:, :, ::-1]), pack.keys), threads)
    same = [
        (first, second)
        for first, second in pairs
        if any(_same(matches(side[first], own[second])) for side in (own, mirrored))
    ]
    rows, columns = np.array(same, dtype=np.int64).reshape(-1, 2).T
    links = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(pack.keys),) * 2)
    groups = [f"group-{number}" for number in connected_components(links, directed=False)[1]]
    cache.parent.mkdir(parents=True, exist_ok=True)
    write_json(cache, {"images": known_by, "groups": groups})
    return groups


def _same(matched: tuple[np.ndarray, np.ndarray]) -> bool:
    return len(matched[0]) >= SAME and inliers(*matched) >= SAME


def memorized_trial(results: Path, seed: int = 0) -> Trial:
    """Take the images that the workflow's own diffusion model has memorized as copies.

    A copy is a synthetic image whose exact SSIM with a training image, in the best of four flips, is that of a duplicate.
    Real images of other subjects are held out or fresh.

    Args:
        results: folder of a finished workflow with a known training set (`ldm/train_used.csv`).
        seed: of the division of the other subjects.
    """
    table = pd.read_csv(results / "dataset" / "images.csv", dtype=str).set_index("key")
    real = read_pack(results / "dataset" / "real.h5")
    subjects = [str(table.loc[key, "subject"]) for key in real.keys]
    used = set(pd.read_csv(results / "ldm" / "train_used.csv")["key"])
    keys = [key for key in real.keys if key in used]
    train = Part(real.select(keys), [str(table.loc[key, "subject"]) for key in keys])
    rest = numpy_generator(seed, "memorized").permutation(sorted(set(subjects) - set(train.subjects)))
    held_out, fresh = (_part(real, subjects, set(half)) for half in np.array_split(rest, 2))
    shards = [path for path in sorted((results / "synthetic").glob("*.h5")) if "misaligned" not in path.stem]
    with open_packs(shards) as generated:
        synthetic = generated.select(generated.keys)
    scores = np.max([_ssim(train.pack, synthetic, flip) for flip in FLIPS], axis=0)
    rows = np.flatnonzero(scores.max(axis=0) > SSIM_THRESHOLDS.high)
    copies = ImagePack(synthetic.images[rows], [synthetic.keys[row] for row in rows])
    origins = [train.subjects[row] for row in scores[:, rows].argmax(axis=0)]
    return Trial("memorized", "virtual patients", "virtual patients", train, held_out, fresh,
                 {MEMORIZED: Part(copies, origins)})  # fmt: skip


def _ssim(train: ImagePack, synthetic: ImagePack, flip: tuple[Any, Any]) -> np.ndarray:
    flipped = ImagePack(np.ascontiguousarray(synthetic.images[:, flip[0], flip[1]]), synthetic.keys)
    return all_scores(SsimComparison(train, flipped))
