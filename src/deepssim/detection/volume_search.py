"""The best candidates of volumes among real ones, and the evidence for each.

Real volumes and those whose original is sought are registered to a reference, one of the real volumes, where they can be compared
at all 48 orders and directions of the axes at the price of a product of matrices: after an affine map, and after a smooth
displacement. Two more sources are the coarse pattern, which needs no reference, and an encoder's embeddings if there are any. The
best candidates of these are registered to each other.

Not here: registration (registration/volume_proof.py), the score that decides (score.py).
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from deepssim.detection.gallery import single_threaded_libraries
from deepssim.detection.search import Cosines, Found
from deepssim.images.resample_volumes import pulled, resized
from deepssim.registration.volume_flow import volume_flow
from deepssim.registration.volume_images import locally_normalised
from deepssim.registration.volume_pattern import (
    pattern_in_poses,
    pattern_of_rotations,
    square,
)
from deepssim.registration.volume_proof import (
    VOLUME_CUES,
    VolumeEvidence,
    best_starts,
    prove_volumes,
    without_volume_proof,
)
from deepssim.registration.volume_registration import Levels, PreparedVolume, agreement, prepare_volume, register
from deepssim.seeds import numpy_generator

_REFERENCES = 40  # real volumes among which the reference is chosen
_POSES = 3  # in which a volume is registered to the reference: left and right look alike
_FLOWED = 2  # of these, the ones whose features are compared
_FEATURE_SIDE = 32  # voxels along each side of features
_LOCAL = 2.0  # voxels of 32, in which contrast is normalised
_LEAST_CENTRED = 8  # real volumes from which on what they have in common is subtracted
_PROVED = 2  # candidates that are registered
_STARTS = 1  # of their registration, beside those by way of the reference


@dataclass(frozen=True)
class VolumeGallery:
    """Real volumes among which originals are sought.

    Attributes:
        prepared: T volumes.
        patterns: in small rotations, float32 (27, T, 511).
        reference: the real volume to which all are registered.
        maps: of the reference to each volume, float64 (T, 3, 4), voxels of prepared volumes.
        features: of each registered volume, after an affine map and after a smooth displacement, float32 (2, T, F).
        common: what the features have in common, float32 (2, F).
        inside: voxels of the features, bool (32, 32, 32).
    """

    prepared: Sequence[PreparedVolume]
    patterns: np.ndarray
    reference: Levels
    maps: np.ndarray
    features: np.ndarray
    common: np.ndarray
    inside: np.ndarray


@dataclass(frozen=True)
class _Placed:
    """A volume registered to the reference in its most plausible poses.

    Attributes:
        maps: of the reference to the volume, best first, float64 (P, 3, 4).
        features: float32 (2, P, F).
    """

    maps: np.ndarray
    features: np.ndarray


def build_volume_gallery(volumes: np.ndarray, seed: int, *, threads: int = 1) -> VolumeGallery:
    """Prepare real volumes.

    Args:
        volumes: uint8 (T, D, H, W), at least one; cubic voxels, dark background.
        seed: chooses the volumes among which the reference is.
        threads: processor threads.
    """
    with single_threaded_libraries(), ThreadPoolExecutor(threads) as pool:
        prepared = list(_shown(pool.map(prepare_volume, volumes), len(volumes), "preparing real volumes"))
        patterns = np.stack(list(pool.map(_rotated, prepared)), axis=1)
        place = _central(patterns, prepared, seed)
        reference = Levels(prepared[place])
        inside = resized(reference.mask.astype(np.float32), _FEATURE_SIDE) > 0.5
        _ready(reference)

        def task(item: PreparedVolume) -> _Placed:
            return _place(Levels(item), reference, patterns[:, place], inside, poses=_POSES, kept=1)

        placed = list(_shown(pool.map(task, prepared), len(prepared), "registering real volumes to one of them"))
    features = np.concatenate([item.features for item in placed], axis=1)
    centred = len(prepared) >= _LEAST_CENTRED
    common = features.mean(axis=1) if centred else np.zeros((2, features.shape[2]), np.float32)
    maps = np.concatenate([item.maps for item in placed])
    return VolumeGallery(prepared, patterns, reference, maps, _unit(features - common[:, None]), common, inside)


def search_volumes(
    gallery: VolumeGallery,
    volumes: np.ndarray,
    *,
    k: int,
    excluded: Callable[[np.ndarray], np.ndarray] | None = None,
    cosines: Cosines | None = None,
    threads: int = 1,
    progress: str = "comparing",
) -> Found:
    """Find candidates of volumes and the evidence for each.

    Args:
        gallery: T real volumes.
        volumes: uint8 (N, D, H, W), cubic voxels, dark background.
        k: candidates of each source.
        excluded: maps rows of `volumes`, int64 (n,), to the real volumes that they are not compared with, bool (n, T).
        cosines: embeddings of an encoder.
        threads: processor threads.
        progress: what the progress bar says.
    """
    count, sources = len(volumes), 3 + (cosines is not None)
    width = min(len(gallery.prepared), k * sources)
    found = Found(
        np.full((count, width), -1, np.int64),
        np.zeros((count, width, len(VOLUME_CUES) + (cosines is not None)), np.float32),
        np.zeros((count, width), np.float32),
        np.zeros((count, width), bool),
    )

    def task(row: int) -> None:
        forbidden = None if excluded is None else excluded(np.array([row]))[0]
        given = None if cosines is None else cosines.real @ cosines.other[row]
        query = _Query(gallery, Levels(prepare_volume(np.asarray(volumes[row]))), given)
        for column, (partner, cues, overlap, proved) in enumerate(query.evidence(query.candidates(k, forbidden))):
            found.partners[row, column], found.overlap[row, column] = partner, overlap
            found.cues[row, column], found.proved[row, column] = cues, proved

    with single_threaded_libraries(), ThreadPoolExecutor(threads) as pool:
        for _ in _shown(pool.map(task, range(count)), count, progress):
            pass
    return found


class _Query:
    """How similar a volume is to all real ones, before they are registered to each other.

    Args:
        gallery: T real volumes.
        volume: one volume.
        cosines: of an encoder's embeddings, float32 (T,).
    """

    def __init__(self, gallery: VolumeGallery, volume: Levels, cosines: np.ndarray | None) -> None:
        self.gallery, self.volume, self.cosines = gallery, volume, cosines
        self.patterns, self.poses = _pattern_scores(gallery.patterns, volume.prepared.pattern)
        place = next(row for row, item in enumerate(gallery.prepared) if item is gallery.reference.prepared)
        reference = gallery.patterns[:, place]
        placed = _place(volume, gallery.reference, reference, gallery.inside, poses=_POSES, kept=_FLOWED)
        self.maps = placed.maps
        self.placed = _unit(placed.features - gallery.common[:, None]) @ gallery.features.transpose(0, 2, 1)

    def candidates(self, k: int, excluded: np.ndarray | None) -> list[int]:
        """Return the best k rows of the gallery by each source, the best of all sources first; `excluded` ones, bool (T,), never."""
        sources = [self.placed[1].max(axis=0), self.patterns, self.placed[0].max(axis=0)]
        if self.cosines is not None:
            sources.append(self.cosines)
        ranked = []
        for scores in sources:
            allowed = scores if excluded is None else np.where(excluded, -np.inf, scores)
            best = np.argsort(-allowed, kind="stable")[:k]
            ranked.append([int(partner) for partner in best if np.isfinite(allowed[partner])])
        by_rank = [row[place] for place in range(k) for row in ranked if place < len(row)]
        return list(dict.fromkeys(by_rank))

    def evidence(self, partners: Sequence[int]) -> Iterator[tuple[int, np.ndarray, float, bool]]:
        """Yield each candidate with its cues, overlap, and whether it was registered, which the first ones are."""
        for place, partner in enumerate(partners):
            proof = self._proof(partner) if place < _PROVED else without_volume_proof(0.0)
            extra = [] if self.cosines is None else [self.cosines[partner]]
            cues = np.array([self.patterns[partner], *proof.cues[1:], *extra], np.float32)
            yield partner, cues, proof.overlap, proof.transform is not None

    def _proof(self, partner: int) -> VolumeEvidence:
        """Register the volume to a real one, from the better of two starts: by way of the reference, and from the pattern."""
        real = Levels(self.gallery.prepared[partner])
        from_reference = np.linalg.inv(square(self.gallery.maps[partner]))
        starts = [(square(matrix) @ from_reference)[:3] for matrix in self.maps]
        for start in best_starts(real, self.volume, self.gallery.patterns[:, partner], _STARTS):
            starts.append(register(real, self.volume, start, rigid_first=True, fine=False))
        best = max(starts, key=lambda start: agreement(real, self.volume, start))
        return prove_volumes(real, self.volume, best, close=True)


def _pattern_scores(patterns: np.ndarray, pattern: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cosine in the best pose and rotation of each real volume, float32 (T,), and their number, int64 (T,)."""
    turned = patterns.reshape(-1, patterns.shape[2])
    scores = (pattern_in_poses(pattern) @ turned.T).reshape(-1, patterns.shape[1])
    return scores.max(axis=0), scores.argmax(axis=0)


def _place(
    volume: Levels, reference: Levels, patterns: np.ndarray, inside: np.ndarray, *, poses: int, kept: int
) -> _Placed:
    maps = []
    for start in best_starts(reference, volume, patterns, poses):
        matrix = register(reference, volume, start, rigid_first=True, fine=False)
        maps.append((agreement(reference, volume, matrix), matrix))
    maps.sort(key=lambda item: -item[0])
    chosen = [matrix for _, matrix in maps[:kept]]
    return _Placed(
        np.stack(chosen), np.stack([_features(volume, reference, matrix, inside) for matrix in chosen], axis=1)
    )


def _features(volume: Levels, reference: Levels, matrix: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return locally normalised intensities of a volume registered to the reference, float32 (2, F), rows of length 1."""
    shape = reference.values.shape
    moved, _ = pulled(volume.values, matrix, shape)
    flowed, _ = pulled(volume.values, matrix, shape, volume_flow(reference.values, moved, reference.mask))
    found = [locally_normalised(resized(item, _FEATURE_SIDE), _LOCAL)[inside] for item in (moved, flowed)]
    return _unit(np.stack(found))


def _central(patterns: np.ndarray, prepared: Sequence[PreparedVolume], seed: int) -> int:
    """Return the row of the volume that resembles the others most in its best pose, among some that are drawn."""
    rows = numpy_generator(seed, "reference volume").permutation(len(prepared))[:_REFERENCES]
    scores = [_pattern_scores(patterns[:, rows], prepared[row].pattern)[0] for row in rows]
    return int(rows[np.sum(scores, axis=0).argmax()])


def _rotated(prepared: PreparedVolume) -> np.ndarray:
    return pattern_of_rotations(prepared.volume.astype(np.float32) / 255)


def _ready(volume: Levels) -> None:
    """Compute what is made when first needed, so that threads do not do it at once."""
    volume.itk  # noqa: B018


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-6)


def _shown(items, count: int, progress: str):  # type: ignore[no-untyped-def]
    return tqdm(items, total=count, desc=progress, unit="volume", disable=None)
