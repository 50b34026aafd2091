"""How well is a person recognised in another image? Re-identification as the field measures it, by everything that an audit uses.

    python -m benchmarks.reidentification --csv shared/data/chest_xray.csv

An audit looks for copies of images. What it looks at can also recognise a patient at another visit, and how well says what a copy
is. Pairs of test images are ranked (AUROC; precision and false positives at 95 % recall), and a query is sought among N patients of
whom K images are known (N-way K-shot recall). No test patient has an image in the training of the encoder or of the score.
The table goes into docs/benchmarks.md.

Not here: the images (reidentification_data.py).
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks import REAL_DATA, ROOT
from benchmarks.audit import insert
from benchmarks.reidentification_data import Patients, chest_xrays, divided, virtual_patients
from deepssim.audit.cache import AuditCache
from deepssim.audit.controls import make_controls
from deepssim.audit.engine import embed_patterns
from deepssim.audit.evidence import Detective
from deepssim.audit.sides import AuditTools, Side, Sides
from deepssim.config.audit import AuditConfig
from deepssim.config.choices import Device
from deepssim.config.encoders import EncoderConfig
from deepssim.datasets.splits import split_by_subject
from deepssim.datasets.tables import Split
from deepssim.detection.gallery import build_gallery, single_threaded_libraries
from deepssim.detection.score import Score, learn_score, transformed
from deepssim.encoders.deepssim import embed, save_encoder
from deepssim.encoders.families import MEMBERS
from deepssim.encoders.recipes import train_on_images
from deepssim.evaluation.intervals import bootstrap_weights
from deepssim.evaluation.ranking import ranking_samples
from deepssim.images.folders import pixel_hashes
from deepssim.images.keys import real_key
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import resized
from deepssim.registration.poses import POSES
from deepssim.registration.proof import CUES, first_look, prepare, prove
from deepssim.seeds import numpy_generator

RECALL = 0.95
SETTINGS = ((20, 1), (20, 2))  # N patients, K images of each
EPISODES = 2000
BOOTSTRAP = 300
CONTROLS = 20  # copied images that teach the score
ENCODER_SIDE = 64  # pixels, as in an audit
ANCHORS = (
    (
        "chest X-rays",
        "arXiv:2103.08562, network trained on pairs of other patients of ChestX-ray14",
        "0.994",
        "",
        "",
        "",
        "",
    ),
    ("chest X-rays", "arXiv:2512.16685, network trained on other patients of ChestX-ray14", "", "", "", "99.1 %", ""),
    ("brain MRI in 3D", "arXiv:2512.16685, network trained on other patients of BraTS 2021", "", "", "", "99.2 %", ""),
)  # the published results, on more patients at a higher resolution


class Ranked(NamedTuple):
    """How well one score tells pairs of one patient from others.

    Attributes:
        auroc, precision, false_positives: with their ends at 95 % confidence, over patients; the last two at 95 % recall.
        recalls: N-way K-shot recall with its ends, by setting; None where too few patients have so many images.
    """

    auroc: tuple[float, float, float]
    precision: tuple[float, float, float]
    false_positives: tuple[float, float, float]
    recalls: list[tuple[float, float, float] | None]


def pair_cues(pack: ImagePack, seed: int, progress: Callable[[int], None] = lambda row: None) -> np.ndarray:
    """Return the cues of all pairs of images, each proved as a candidate of an audit is.

    Args:
        pack: N images.
        seed: of the words of keypoints.
        progress: is called with each row.

    Returns:
        float32 (N, N, C), symmetric; the diagonal is 0.
    """
    found = np.zeros((len(pack.keys), len(pack.keys), len(CUES)), np.float32)
    with single_threaded_libraries():
        gallery = build_gallery(pack, seed)
        for row in range(1, len(pack.keys)):
            image = prepare(pack.images[row])
            patterns, poses = gallery.pose_scores([image])
            symmetries = [which[0] for _, which in gallery.keypoint_scores([image])]
            for other in range(row):
                look = first_look(
                    gallery.prepared[other], image, [int(which[other]) for which in symmetries],
                    POSES[poses[0, other]], float(patterns[0, other]),
                )  # fmt: skip
                found[row, other] = found[other, row] = prove(gallery.prepared[other], image, look).cues
            progress(row)
    return found


def learned_score(train: Patients, folder: Path, seed: int) -> Score:
    """Learn the score of an audit from training patients, as an audit does."""
    side = Side(train.pack, pixel_hashes(train.pack), train.subjects, embed_patterns(train.pack))
    tools, store = AuditTools(embed_patterns, False, seed), AuditCache(folder)
    detective = Detective(Sides(side, side, None), tools, store, AuditConfig().candidates)
    copies, originals = make_controls(side, CONTROLS, detective, tools).together()
    return learn_score(detective.of_other_subjects(), copies, originals)


def encoder_cosines(train: Patients, test: Patients, folder: Path, images: int, seed: int) -> np.ndarray:
    """Return the cosines of test images, float64 (N, N), by an encoder trained on other patients as an audit trains one.

    Args:
        train, test: patients.
        folder: for the weights.
        images: that the encoder sees in training.
        seed: of the training.
    """
    weights = trained_encoder(_small(train.pack), train.subjects, folder, images, seed)
    found = embed(weights, ImagePack(_small(test.pack), test.pack.keys), device=Device.CPU)
    return _cosines(found.values)


def trained_encoder(train: np.ndarray, subjects: Sequence[str], folder: Path, images: int, seed: int) -> Path:
    """Train an encoder as an audit does and return the file of its weights.

    Args:
        train: images of the size that the encoder sees.
        subjects: of each.
        folder: for the weights.
        images: that the encoder sees in training.
        seed: of the training.
    """
    plain = EncoderConfig()
    splits = split_by_subject(subjects, valid_fraction=0.15, holdout_fraction=0.0, seed=seed)
    pack = ImagePack(train, [real_key(f"image-{number}") for number in range(len(splits))])
    learned, valid = (
        pack.select([key for key, split in zip(pack.keys, splits, strict=True) if split is wanted])
        for wanted in (Split.TRAIN, Split.VALID)
    )
    passes = max(1, images // (MEMBERS * len(pack.keys)))
    options = plain.with_changes(
        augmentation=(*plain.augmentation, *AuditConfig().misalignment),
        epochs=min(plain.epochs, passes), passes=max(1, min(plain.passes, passes // min(plain.epochs, passes))),
    )  # fmt: skip
    network, _ = train_on_images(learned, valid, options, seed=seed, device=Device.CPU, state=folder / "state")
    save_encoder(folder / "encoder.safetensors", network)
    return folder / "encoder.safetensors"


def _small(pack: ImagePack) -> np.ndarray:
    return np.stack([resized(image, ENCODER_SIDE, ENCODER_SIDE) for image in pack.images])


def _cosines(values: np.ndarray) -> np.ndarray:
    units = values.astype(np.float64) / np.linalg.norm(values, axis=1, keepdims=True)
    return units @ units.T


def n_way_recall(
    scores: np.ndarray, subjects: Sequence[str], ways: int, shots: int, *, episodes: int, seed: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Seek queries among patients of whom some images are known.

    In every episode one image of a patient is the query; `shots` others of that patient, and as many of each of `ways` - 1 other
    patients, are known. The patient with the most similar image is named.

    Args:
        scores: similarity of all images, float (N, N).
        subjects: patient of each image.
        ways, shots: patients in an episode, and known images of each.
        episodes: to draw.
        seed: of the draws.

    Returns:
        Whether each episode named the right patient, bool (E,), and that patient's number, int64 (E,); None where too few
        patients have so many images.
    """
    names, codes = np.unique(np.asarray(subjects, dtype=object).astype(str), return_inverse=True)
    rows_of = [np.flatnonzero(codes == code) for code in range(len(names))]
    queries = [code for code, rows in enumerate(rows_of) if len(rows) > shots]
    known = [code for code, rows in enumerate(rows_of) if len(rows) >= shots]
    if not queries or len(known) < ways:
        return None
    random = numpy_generator(seed, "N-way K-shot", ways, shots)
    right, whose = np.zeros(episodes, bool), np.zeros(episodes, np.int64)
    for episode in range(episodes):
        code = queries[episode % len(queries)]
        query, *support = random.choice(rows_of[code], shots + 1, replace=False).tolist()
        others = random.choice([other for other in known if other != code], ways - 1, replace=False)
        rival = max(scores[query, random.choice(rows_of[other], shots, replace=False)].max() for other in others)
        right[episode], whose[episode] = scores[query, support].max() > rival, code
    return right, whose


def rank(scores: np.ndarray, subjects: Sequence[str], seed: int) -> Ranked:
    """Measure how well a score recognises patients.

    Args:
        scores: similarity of all images, float (N, N), symmetric.
        subjects: patient of each image.
        seed: of bootstrap samples and episodes.
    """
    names, codes = np.unique(np.asarray(subjects, dtype=object).astype(str), return_inverse=True)
    first, second = np.triu_indices(len(codes), 1)
    same = codes[first] == codes[second]
    drawn = bootstrap_weights(names.tolist(), BOOTSTRAP, seed, "re-identification").astype(np.float64)
    # A patient drawn twice brings the pairs of one patient twice, and pairs with others as often as the product says.
    weights = np.where(same, drawn[:, codes[first]], drawn[:, codes[first]] * drawn[:, codes[second]])
    values = scores[first, second].astype(np.float64)
    samples = ranking_samples(values, same, np.concatenate([np.ones((1, len(same))), weights]), recall=RECALL)
    recalls: list[tuple[float, float, float] | None] = []
    for ways, shots in SETTINGS:
        found = n_way_recall(scores, subjects, ways, shots, episodes=EPISODES, seed=seed)
        recalls.append(None if found is None else _recall(*found, drawn))
    auroc, precision, alarms = (_with_ends(samples[name]) for name in ("auroc", "precision", "fpr"))
    return Ranked(auroc, precision, alarms, recalls)


def _with_ends(samples: np.ndarray) -> tuple[float, float, float]:
    """Return the first value with the percentiles of the others."""
    low, high = np.nanpercentile(samples[1:], [2.5, 97.5])
    return float(samples[0]), float(low), float(high)


def _recall(right: np.ndarray, whose: np.ndarray, drawn: np.ndarray) -> tuple[float, float, float]:
    weights = np.concatenate([np.ones((1, len(right))), drawn[:, whose]])
    total = weights.sum(axis=1)
    return _with_ends(np.divide(weights @ right, total, out=np.full(len(total), np.nan), where=total > 0))


def all_scores(train: Patients, test: Patients, images: int, seed: int) -> dict[str, np.ndarray]:
    """Return the similarity of all test images by each means, float (N, N)."""

    def progress(row: int) -> None:
        if row % 25 == 0:
            print(f"{row} of {len(test.pack.keys)} images compared", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        score = learned_score(train, Path(folder) / "cache", seed)
        started = time.perf_counter()
        cosines = encoder_cosines(train, test, Path(folder), images, seed)
        print(f"encoder: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    cues = pair_cues(test.pack, seed, progress)
    pixels = test.pack.images.reshape(len(test.subjects), -1).astype(np.float64)
    return {
        "score of the audit": score.of_cues(cues),
        "keypoints (mean of both levels)": transformed(cues)[..., :2].mean(axis=-1),
        "coarse pattern in the best pose": cues[..., 2],
        "SSIM, registered locally": cues[..., 4],
        "DeepSSIM encoder trained on other patients": cosines,
        "correlation of pixels": _cosines(pixels - pixels.mean(axis=1, keepdims=True)),
    }


def table(name: str, test: Patients, scores: dict[str, np.ndarray], seed: int) -> list[str]:
    """Return the rows of a data set."""
    rows = []
    for means, values in scores.items():
        found = rank(values, test.subjects, seed)
        recalls = ["too few images" if part is None else _percent(part) for part in found.recalls]
        auroc = f"{found.auroc[0]:.3f} ({found.auroc[1]:.3f} to {found.auroc[2]:.3f})"
        cells = [name, means, auroc, _percent(found.precision), _percent(found.false_positives), *recalls]
        rows.append(f"| {' | '.join(cells)} |")
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def _percent(value: tuple[float, float, float]) -> str:
    return f"{100 * value[0]:.1f} % ({100 * value[1]:.1f} to {100 * value[2]:.1f})"


def sentence(name: str, train: Patients, test: Patients) -> str:
    """Say what there is of a data set."""
    codes = np.unique(test.subjects, return_inverse=True)[1]
    counts = np.bincount(codes)
    pairs = int((counts * (counts - 1) // 2).sum())
    total = len(codes) * (len(codes) - 1) // 2
    return (
        f"{name}: {len(test.subjects)} test images of {len(counts)} patients, {int((counts > 1).sum())} of whom have several; {pairs:,} "
        f"pairs of one patient among {total:,} ({100 * pairs / total:.1f} %); {len(train.subjects)} images of "
        f"{len(set(train.subjects))} other patients for training."
    )


def main() -> None:
    """Parse the command line, measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--csv", type=Path, default=REAL_DATA / "chest_xray.csv", help="chest X-rays (default: %(default)s)"
    )
    parser.add_argument(
        "--training-images", type=int, default=20_000, help="that the encoder sees (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md", help="default: %(default)s")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows, texts = [], []
    for name, patients in (("chest X-rays", chest_xrays(options.csv)), ("virtual patients", virtual_patients())):
        train, test = divided(patients, options.seed)
        texts.append(sentence(name.capitalize(), train, test))
        print(texts[-1], file=sys.stderr, flush=True)
        rows += table(name, test, all_scores(train, test, options.training_images, options.seed), options.seed)
    names = [f"recall, {ways}-way {shots}-shot" for ways, shots in SETTINGS]
    head = ["images", "means", "AUROC of pairs", "precision at 95 % recall", "false positives at 95 % recall", *names]
    anchors = [f"| {' | '.join(cells)} |" for cells in ANCHORS]
    lines = [*texts, "", f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *rows, *anchors]
    insert(options.out, "re-identification", lines)


if __name__ == "__main__":
    main()
