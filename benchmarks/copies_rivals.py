"""Copy detectors to compare with the audit: keypoints, perceptual hash, correlation, exact SSIM, embeddings.

A detector says how much an image looks like a copy of any training image, and of which. The published recipe of each is
followed, none is weakened: SIFT compares with every training image, and detectors without geometry get the four flips.

Not here: the audit (copies_audit.py), images and their copies (copies_data.py), figures and tables (copies.py).
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from scipy.fft import dctn
from torch import Tensor

from deepssim.config.choices import Device, MetricName, Precision
from deepssim.config.encoders import DarConfig, EncoderConfig
from deepssim.encoders import dar, dar_training, deepssim
from deepssim.encoders.recipes import train_on_images
from deepssim.images.keys import real_key
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import fit, quantise
from deepssim.metrics import METRICS
from deepssim.runtime.compilation import compiled
from deepssim.similarity.ssim import SsimComparison
from deepssim.similarity.tiles import all_scores

FLIPS: tuple[tuple[slice, slice], ...] = tuple(
    (slice(None, None, rows), slice(None, None, columns)) for rows in (1, -1) for columns in (1, -1)
)
KEYPOINTS, RATIO = 400, 0.8  # the strongest keypoints of an image; Lowe 2004, doi:10.1023/B:VISI.0000029664.99615.94
CONTRAST = (
    0.01  # OpenCV's default of 0.04 leaves 52 keypoints in an X-ray of 128x128 pixels, and finds a third fewer copies
)
ENLARGED = 256  # longer side in pixels to which smaller images are enlarged, since SIFT needs some
LEAST_MATCHES = 3  # two points define the transform, so that fewer prove nothing
HASHED, LOW = 32, 8  # side of the image and of the block of low frequencies, as in pHash (Zauner 2010)
EMBEDDING_SIDE = 64  # of the images that encoders are trained on; the audit's default
VALID = 8  # every so-manieth training image
COMPARED = 64  # side of the images for correlation and SSIM

Scores = tuple[np.ndarray, np.ndarray]
"""Best score over all training images, float64 (N,), and the row of that training image, int64 (N,)."""


@dataclass(frozen=True)
class Part:
    """Images and the subject of each."""

    pack: ImagePack
    subjects: list[str]


@dataclass(frozen=True)
class Detector:
    """A way to find copies.

    Attributes:
        name: on the command line, in files and in tables.
        title: in tables.
        judge: `(training images, held-out and other images, threads)`; the scores of each part after the training images. NaN
            where a detector leaves a held-out image out of its calibration.
    """

    name: str
    title: str
    judge: Callable[[Part, Sequence[Part], int], list[Scores]]


def each(fit_on: Callable[..., Any], score: Callable[..., Scores]) -> Callable[..., list[Scores]]:
    """Return the `judge` of a detector that prepares the training images and then scores one pack after the other."""

    def judge(train: Part, parts: Sequence[Part], threads: int) -> list[Scores]:
        state = fit_on(train.pack, threads)
        return [score(state, part.pack, threads) for part in parts]

    return judge


def best_of(matrix: np.ndarray) -> Scores:
    """Return the best score of each column of a matrix, training x other, and its row."""
    partners = matrix.argmax(axis=0)
    return matrix[partners, np.arange(matrix.shape[1])].astype(np.float64), partners.astype(np.int64)


def resized(pack: ImagePack, side: int) -> ImagePack:
    """Return a pack whose longer side has so many pixels."""
    height, width = pack.images.shape[1:]
    size = (round(side * height / max(height, width)), round(side * width / max(height, width)))
    return ImagePack(np.stack([quantise(fit(image, size), pack.bit_depth) for image in pack.unit()]), pack.keys)


# ---- keypoints


@dataclass(frozen=True)
class Keypoints:
    """Keypoints of an image.

    Attributes:
        points: float32 (K, 2), positions in pixels.
        descriptors: int8 (K, 128), less 128, which changes no distance.
        squares: int32 (K,), squared length of each descriptor.
    """

    points: np.ndarray
    descriptors: Tensor
    squares: np.ndarray


def keypoints_of(image: np.ndarray) -> Keypoints:
    """Find the keypoints of a uint8 image."""
    factor = ENLARGED / max(image.shape)
    if factor > 1:
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    # A detector of its own for each call: OpenCV's objects are not safe to share between threads.
    sift = cv2.SIFT.create(KEYPOINTS, contrastThreshold=CONTRAST)
    found, values = sift.detectAndCompute(np.ascontiguousarray(image), None)
    points = np.array([point.pt for point in found[:KEYPOINTS]], np.float32).reshape(-1, 2)
    # OpenCV's descriptors are whole numbers from 0 to 255.
    descriptors = np.zeros((0, 128), np.int32) if values is None else values[:KEYPOINTS].astype(np.int32) - 128
    return Keypoints(
        points, torch.from_numpy(descriptors.astype(np.int8)), np.square(descriptors).sum(axis=1, dtype=np.int32)
    )


@compiled(nogil=True)
def _ratio_matches(products, own, other, ratio):  # type: ignore[no-untyped-def]
    """Return for each row the column with the smallest distance, -1 where the second-smallest is not clearly larger."""
    rows, columns = products.shape
    nearest = np.full(rows, -1, np.int64)
    for row in range(rows):
        first, second, place = np.int32(2**30), np.int32(2**30), -1
        for column in range(columns):
            distance = other[column] - np.int32(2) * products[row, column]  # squared, less the square of the row
            if distance < second:
                if distance < first:
                    first, second, place = distance, first, column
                else:
                    second = distance
        if columns > 1 and first + own[row] < ratio * ratio * (second + own[row]):
            nearest[row] = place
    return nearest


def matches(query: Keypoints, other: Keypoints) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of matching keypoints in both images, float32 (M, 2) each."""
    if not len(query.points) or not len(other.points):
        return query.points[:0], other.points[:0]
    products = torch._int_mm(query.descriptors, other.descriptors.T)  # exact, and six times faster than in float32
    nearest = _ratio_matches(products.numpy(), query.squares, other.squares, RATIO)
    return query.points[nearest >= 0], other.points[nearest[nearest >= 0]]


def inliers(first: np.ndarray, second: np.ndarray) -> int:
    """Count the matches that one rotation, scale and shift explains."""
    if len(first) < LEAST_MATCHES:
        return 0
    transform, mask = cv2.estimateAffinePartial2D(first, second, method=cv2.RANSAC)
    return 0 if transform is None else int(mask.sum())


def most_inliers(image: np.ndarray, train: Sequence[Keypoints]) -> tuple[int, int]:
    """Compare an image and its mirror image with all training images; return the most inliers and where they are.

    Images with more matches are tried first; no image can have more inliers than matches, so the search ends early without
    any difference to the result.
    """
    pairs = [
        (*matches(query, other), row)
        for query in (keypoints_of(image), keypoints_of(image[:, ::-1]))
        for row, other in enumerate(train)
    ]
    best, partner = 0, 0
    for first, second, row in sorted(pairs, key=lambda pair: len(pair[0]), reverse=True):
        if len(first) <= best:
            break
        count = inliers(first, second)
        if count > best:
            best, partner = count, row
    return best, partner


def fit_keypoints(train: ImagePack, threads: int) -> list[Keypoints]:
    """Find the keypoints of all training images."""
    cv2.setNumThreads(1)  # threads over images instead
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(keypoints_of, train.images))


def score_keypoints(train: Sequence[Keypoints], pack: ImagePack, threads: int) -> Scores:
    """Score images by the most inliers with a training image."""
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        found = list(pool.map(lambda image: most_inliers(image, train), pack.images))
    scores, partners = np.array(found).reshape(-1, 2).T
    return scores.astype(np.float64), partners.astype(np.int64)


# ---- whole images


def hashes(images: np.ndarray) -> np.ndarray:
    """Return the perceptual hash of each image of 32x32 pixels as 64 times -1 or 1, float32 (N, 64)."""
    low = dctn(images.astype(np.float64), axes=(1, 2), norm="ortho")[:, 1 : LOW + 1, 1 : LOW + 1].reshape(-1, LOW**2)
    return np.where(low > np.median(low, axis=1, keepdims=True), 1, -1).astype(np.float32)


def normalised(images: np.ndarray) -> np.ndarray:
    """Return each image as a vector of mean 0 and length 1, float64 (N, pixels); a constant image is 0."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)


def flipped_products(
    features: Callable[[np.ndarray], np.ndarray], side: int, train: ImagePack, pack: ImagePack
) -> np.ndarray:
    """Return the best product of features over four flips, (training, other)."""
    own, others = features(resized(train, side).images), resized(pack, side).images
    return np.max([own @ features(others[:, rows, columns]).T for rows, columns in FLIPS], axis=0)


def score_hash(train: ImagePack, pack: ImagePack, threads: int) -> Scores:
    """Score images by the fraction of equal bits of the perceptual hash, the best of four flips."""
    return best_of((1 + flipped_products(hashes, HASHED, train, pack) / LOW**2) / 2)


def score_correlation(train: ImagePack, pack: ImagePack, threads: int) -> Scores:
    """Score images by correlation, the best of four flips."""
    return best_of(flipped_products(normalised, COMPARED, train, pack))


def score_ssim(train: ImagePack, pack: ImagePack, threads: int) -> Scores:
    """Score images by exact SSIM, as they lie."""
    return best_of(all_scores(SsimComparison(train, resized(pack, COMPARED), threads=threads)))


# ---- embeddings


def embed(metric: MetricName, weights: str, side: int, pack: ImagePack) -> Any:
    """Embed images at the size that the encoder was trained on."""
    encode = METRICS[metric].embed
    assert encode is not None
    return encode(weights, resized(pack, side), Device.CPU, 64, Precision.FLOAT32, [])


def trained(metric: MetricName, train: ImagePack, folder: Path) -> str:
    """Train an encoder on the training images as the workflow does, or return the one that was; all its images count.

    Args:
        metric: whose encoder.
        train: training images.
        folder: that keeps the weights.
    """
    # File names are not valid image keys, and training needs none of them.
    images = ImagePack(
        resized(train, EMBEDDING_SIDE).images, [real_key(f"image-{row}") for row in range(len(train.keys))]
    )
    known_by = hashlib.sha256(images.images.data).hexdigest()[:16]
    path, state = folder / f"{metric.value}-{known_by}.safetensors", folder / f"state-{metric.value}-{known_by}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        common: dict[str, Any] = {"seed": 0, "device": Device.CPU, "state": state}
        if metric is MetricName.DAR:
            dar.save_encoder(path, dar_training.train_dar(images, None, DarConfig(), **common)[0])
        else:
            valid = ImagePack(
                images.images[::VALID], images.keys[::VALID]
            )  # for its messages only: the last epoch is kept
            deepssim.save_encoder(path, train_on_images(images, valid, EncoderConfig(), **common)[0])
    return str(path)


def embedding_detector(metric: MetricName, weights: str, side: int) -> Detector:
    """Return the detector that an encoder's own score makes."""

    def score(train: Any, pack: ImagePack, threads: int) -> Scores:
        others = embed(metric, weights, side, pack)
        return best_of(all_scores(METRICS[metric].compare(train, others, threads, Device.CPU)))

    title = {MetricName.DEEPSSIM: "DeepSSIM cosine", MetricName.DAR: "dar"}[metric]
    return Detector(metric.value, title, each(lambda train, threads: embed(metric, weights, side, train), score))


RIVALS = (
    Detector("sift", "SIFT + RANSAC", each(fit_keypoints, score_keypoints)),
    Detector("phash", "pHash, 4 flips", each(lambda train, threads: train, score_hash)),
    Detector("correlation", "correlation, 4 flips", each(lambda train, threads: train, score_correlation)),
    Detector("ssim", "SSIM", each(lambda train, threads: resized(train, COMPARED), score_ssim)),
)


def timed(detector: Detector, train: Part, parts: Sequence[Part], threads: int) -> tuple[list[Scores], float]:
    """Run a detector; return the scores of each part and the seconds per image of those parts, training images included."""
    start = time.perf_counter()
    scores = detector.judge(train, parts, threads)
    return scores, (time.perf_counter() - start) / sum(len(part.subjects) for part in parts)
