"""Find the training image that each synthetic image resembles most after registration, and verify the pair by exact SSIM.

Not here: candidates and their evidence (detection/), the geometry (registration/), the copy rate (classification.py).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from tqdm import tqdm

from deepssim.detection.gallery import Gallery, build_gallery, single_threaded_libraries
from deepssim.detection.search import Cosines, Found, search
from deepssim.errors import DataError
from deepssim.evaluation.verdict import Judged
from deepssim.images.packs import ImagePack, require_same_size
from deepssim.registration.exact import exact_ssim, register
from deepssim.registration.poses import POSES
from deepssim.registration.proof import CUES, best_symmetries, first_look, prepare, prove
from deepssim.similarity.embeddings import Embeddings, require_same_encoder
from deepssim.similarity.ssim import SsimComparison
from deepssim.similarity.ssim_constants import WINDOW
from deepssim.similarity.tiles import all_scores

_REGISTERED = CUES.index("SSIM registered")
VERIFIED_COLUMNS = ("real_key", "synth_key", "score", "ssim", "registered_ssim", "overlap", "keypoints", "pose")


def verified_pairs(
    train: ImagePack,
    synthetic: ImagePack,
    candidates: int,
    *,
    seed: int,
    embeddings: tuple[Embeddings, Embeddings] | None = None,
    excluded: np.ndarray | None = None,
    threads: int = 1,
    progress: str = "comparing synthetic images",
) -> pd.DataFrame:
    """Return each synthetic image with the training image that it resembles most after registration.

    Args:
        train: images that the generator was trained on.
        synthetic: images to verify, of the same size.
        candidates: training images of each source of candidates.
        seed: of the vocabulary of keypoints.
        embeddings: of real and of synthetic images by one encoder, a further source of candidates.
        excluded: bool (synthetic, train), pairs that are not compared; each image keeps at least one.
        threads: processor threads.
        progress: what the progress bar says.

    Returns:
        One row per synthetic image, highest registered SSIM first. Columns: `real_key`; `synth_key`; `score`, cosine of the
        embeddings, NaN without; `ssim`, exact SSIM of the images as they are; `registered_ssim`, exact SSIM over the overlap
        after registration; `overlap`, fraction of the training image; `keypoints`, number in common; `pose`, in words.

    Raises:
        DataError: if images differ in size, or an image has no embedding.
    """
    require_same_size(train, synthetic, min_side=WINDOW)
    cosines = None if embeddings is None else _cosines(*embeddings, train, synthetic)
    gallery = build_gallery(train, seed, threads=threads)
    found = search(
        gallery, synthetic, k=candidates, excluded=None if excluded is None else excluded.__getitem__, cosines=cosines,
        threads=threads, progress=progress,
    )  # fmt: skip

    def row(number: int) -> tuple[object, ...]:
        return _verified(gallery, train, synthetic, found, number)

    with single_threaded_libraries(), ThreadPoolExecutor(threads) as pool:
        pairs = pool.map(row, range(len(synthetic.keys)))
        rows = list(tqdm(pairs, total=len(synthetic.keys), desc="registering", unit="pair", disable=None))
    table = pd.DataFrame(rows, columns=list(VERIFIED_COLUMNS))
    return table.sort_values("registered_ssim", ascending=False, kind="stable", ignore_index=True)


def judged_images(
    train: ImagePack,
    subjects: Sequence[str],
    images: ImagePack,
    image_subjects: Sequence[str],
    candidates: int,
    *,
    kind: str,
    seed: int,
    embeddings: tuple[Embeddings, Embeddings] | None = None,
    threads: int = 1,
) -> Judged:
    """Compare real images with the training images of other subjects, as synthetic images are compared with all of them.

    Args:
        train, subjects: images that the generator was trained on, and the subject of each.
        images, image_subjects: real images, and the subject of each; others than all training images have.
        candidates, seed, embeddings, threads: see `verified_pairs`.
        kind: what the images are, in words.
    """
    same = np.asarray(image_subjects, object)[:, None] == np.asarray(subjects, object)[None]
    table = verified_pairs(
        train,
        images,
        candidates,
        seed=seed,
        embeddings=embeddings,
        excluded=same,
        threads=threads,
        progress=f"comparing {kind}",
    )
    registered = table.set_index("synth_key")["registered_ssim"].loc[images.keys].to_numpy(np.float64)
    aligned = np.where(same.T, -np.inf, all_scores(SsimComparison(train, images, threads=threads))).max(axis=0)
    return Judged(np.maximum(registered, aligned), list(image_subjects), kind)


def _verified(
    gallery: Gallery, train: ImagePack, synthetic: ImagePack, found: Found, number: int
) -> tuple[object, ...]:
    place = int(np.where(found.proved[number], found.cues[number, :, _REGISTERED], -np.inf).argmax())
    partner = int(found.partners[number, place])
    real, other = train.images[partner], synthetic.images[number]
    prepared = prepare(other)
    patterns, poses = gallery.pose_scores([prepared])
    look = first_look(
        gallery.prepared[partner], prepared, best_symmetries(gallery.prepared[partner], prepared),
        POSES[poses[0, partner]], float(patterns[0, partner]),
    )  # fmt: skip
    evidence = prove(gallery.prepared[partner], prepared, look)
    registered = register(real, other, evidence)
    score = float(found.cues[number, place, len(CUES)]) if found.cues.shape[2] > len(CUES) else np.nan
    return (
        train.keys[partner], synthetic.keys[number], score, exact_ssim(real, other)[0], registered.ssim, registered.overlap,
        look.best_match.inliers, registered.pose.words,
    )  # fmt: skip


def _cosines(real: Embeddings, other: Embeddings, train: ImagePack, synthetic: ImagePack) -> Cosines:
    require_same_encoder(real, other)
    return Cosines(_unit_rows(real, train), _unit_rows(other, synthetic))


def _unit_rows(embeddings: Embeddings, pack: ImagePack) -> np.ndarray:
    """Return the embeddings of a pack's images, each of length 1, float32 (N, D)."""
    rows = {key: row for row, key in enumerate(embeddings.keys)}
    absent = [key for key in pack.keys if key not in rows]
    if absent:
        raise DataError(
            f"{embeddings.source}: lacks the embeddings of {len(absent)} of {len(pack.keys)} images, first {absent[0]!r}; "
            "embed all of them"
        )
    values = embeddings.values[[rows[key] for key in pack.keys]]
    return values / np.linalg.norm(values, axis=1, keepdims=True)
