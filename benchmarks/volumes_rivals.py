"""Detectors of copied volumes to compare with the audit, and the first of them: embeddings of slices.

A detector says how much a scan looks like a copy of any real scan, and of which. None is weakened: all see scans cut to the foreground
as the audit's are, embeddings are of an encoder of the project that was trained on other patients of the same kind, and all orders and
directions of the axes are compared. The limit of each is the conformal quantile of real scans among those of other patients.

Not here: registration (volumes_registration.py), the audit (volumes_audit.py), scans and their copies (volumes_data.py), figures and tables
(volumes.py).

Source: arXiv:2312.07273 for slices that vote; the mean embedding of each axis is what the audit takes from an encoder.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.copies_rivals import Part, Scores
from benchmarks.reidentification import trained_encoder
from benchmarks.volumes_data import SEED
from deepssim.config.choices import Device
from deepssim.encoders.deepssim import embed
from deepssim.encoders.volume_slices import SLICES, embed_volumes, places
from deepssim.evaluation.groups import conformal_limit
from deepssim.images.packs import ImagePack
from deepssim.registration.volume_registration import SIDE, prepare_volume

RATES = (0.01, 0.05)  # false alarms that are allowed; the first is an audit's default
TRAINING_IMAGES = 20_000  # that the encoder sees, as in re-identification
_AXES = 3


class Judged(NamedTuple):
    """What a detector says of S scans.

    Attributes:
        scores: of each with the real scan that it resembles most, float64 (S,).
        partners: that scan, int64 (S,).
        limits, promised: score above which a scan is called a copy, and the rate of false alarms that it promises, by rate.
        called: bool (rates, S).
    """

    scores: np.ndarray
    partners: np.ndarray
    limits: list[float]
    promised: list[float]
    called: np.ndarray


@dataclass(frozen=True)
class Detector:
    """A way to find copies.

    Attributes:
        name: on the command line and in files.
        title: in tables.
        judge: of real scans, scans of other patients to learn from, scans to judge, and processor threads.
    """

    name: str
    title: str
    judge: Callable[[Part, Part, Part, int], Judged]


def decided(own: np.ndarray, subjects: Sequence[str], judged: Scores) -> Judged:
    """Set limits by real scans among those of other patients.

    Args:
        own: best score of each real scan among those of other patients, float64 (R,).
        subjects: their patients.
        judged: scores and partners of the scans to judge.
    """
    limits = [conformal_limit(own, subjects, rate) for rate in RATES]
    called = np.stack([judged[0] > limit.value for limit in limits])
    return Judged(*judged, [limit.value for limit in limits], [limit.promised for limit in limits], called)


# ---- embeddings of slices


def cut_out(part: Part) -> np.ndarray:
    """Return scans cut to the foreground as an audit does, uint8 (N, 64, 64, 64)."""
    return np.stack([prepare_volume(volume).volume for volume in part.pack.images])


def slice_embeddings(part: Part, weights: Path) -> np.ndarray:
    """Return embeddings of slices across all axes, each of length 1, float32 (N, 3, 8, D)."""
    cut = ImagePack(cut_out(part), part.pack.keys)
    found = embed_volumes(cut, lambda pack: embed(weights, pack, device=Device.CPU))
    return found.values.reshape(len(cut.keys), _AXES, SLICES, -1)


def encoder_of(learning: Part, work: Path) -> Path:
    """Train an encoder on the slices of scans, or return the one that was trained on them.

    Args:
        learning: scans.
        work: folder that keeps encoders.
    """
    volumes = cut_out(learning)
    slices = [np.moveaxis(volumes, axis, 1)[:, places(SIDE)] for axis in (1, 2, 3)]
    images = np.concatenate(slices, axis=1).reshape(-1, SIDE, SIDE)
    known_by = hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()[:16]
    folder = work / "encoders" / f"{known_by}-{TRAINING_IMAGES}"
    if (folder / "encoder.safetensors").exists():
        return folder / "encoder.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    subjects = np.repeat(learning.subjects, _AXES * SLICES).tolist()
    return trained_encoder(images, subjects, folder, TRAINING_IMAGES, SEED)


def pooled_scores(real: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the cosine of the mean embeddings of each axis, in the best order of the axes, float32 (R, S).

    Slices from the other end, mirrored or in quarter turns change no mean: the encoder does not tell them apart.
    """
    first, second = (unit(values.mean(axis=2)) for values in (real, other))
    orders = [second[:, list(order)].reshape(len(second), -1) for order in permutations(range(_AXES))]
    rows = first.reshape(len(first), -1) / _AXES
    return np.max([rows @ columns.T for columns in orders], axis=0)


def vote_scores(real: np.ndarray, other: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Return the fraction of the slices of each scan whose nearest real slice is of a real scan, float32 (R, S).

    Args:
        real, other: embeddings of slices.
        allowed: bool (R, S), pairs that are compared.
    """
    rows, count = real.reshape(-1, real.shape[-1]), real.shape[1] * real.shape[2]
    scores = np.zeros(allowed.shape, np.float32)
    for place, slices in enumerate(other.reshape(len(other), count, -1)):
        cosines = (rows @ slices.T).reshape(len(real), count, count).max(axis=1)
        nearest = np.where(allowed[:, place, None], cosines, -np.inf).argmax(axis=0)
        scores[:, place] = np.bincount(nearest, minlength=len(real)) / count
        # Votes are few; among equal ones, the mean cosine of the slices decides.
        scores[:, place] += np.where(allowed[:, place], cosines.mean(axis=1), 0) / (2 * count)
    return scores


def judge_by_slices(real: Part, learning: Part, judged: Part, threads: int, *, work: Path, votes: bool) -> Judged:
    """Judge scans by embeddings of slices.

    Args:
        real, learning, judged, threads: see `Detector`.
        work: folder that keeps encoders.
        votes: whether slices vote; else embeddings are pooled.
    """
    weights = encoder_of(learning, work)
    first, second = (slice_embeddings(part, weights) for part in (real, judged))
    names = np.asarray(real.subjects, dtype=object)
    apart = names[:, None] != names[None]
    if votes:
        own = vote_scores(first, first, apart)
        scores = vote_scores(first, second, np.ones((len(first), len(second)), bool))
    else:
        own, scores = pooled_scores(first, first), pooled_scores(first, second)
    return decided(np.where(apart, own, -np.inf).max(axis=0), real.subjects, best_of(scores))


def best_of(scores: np.ndarray) -> Scores:
    """Return the best score of each column and its row."""
    rows = scores.argmax(axis=0)
    return scores[rows, np.arange(scores.shape[1])].astype(np.float64), rows


def unit(values: np.ndarray) -> np.ndarray:
    """Return rows of length 1 along the last axis."""
    return values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-12)
