"""What the reference code computes and writes, put plainly with scikit-image, scikit-learn, SciPy and torch.

Source: the scripts of the DeepSSIM reference code (arXiv:2509.16582), whose formulas are written anew here.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.spatial.distance import cdist
from skimage.metrics import structural_similarity
from sklearn.metrics import classification_report, silhouette_score
from torch import Tensor

REAL, SYNTHETIC = "training", ("gen-0", "gen-1")
# Label of a score by metric: 0 different, 1 duplicate, 2 similar.
CLASSIFY: dict[str, Callable[[float], int]] = {
    "deepssim": lambda score: 0 if score <= 0.6 else 1 if score > 0.85 else 2,
    "chen": lambda score: 0 if score <= 0.4 else 1 if score > 0.6 else 2,
    "dar": lambda score: 0 if score <= 0.8030425 else 1,
    "semdedup": lambda score: 0 if score < 0.97 else 1 if score >= 0.99905 else 2,
}


def smooth(random: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Return a smooth image, uint8 (H, W), that uses the whole range of grey values."""
    field = cv2.GaussianBlur(random.normal(size=size), (0, 0), 3)
    return (255 * (field - field.min()) / np.ptp(field)).round().astype(np.uint8)


def write_tree(root: Path, random: np.random.Generator, records: Sequence[str], size: tuple[int, int]) -> list[str]:
    """Write `<record>/training.png` with a close and a looser copy of it; return the keys, sorted."""
    for record in records:
        (root / record).mkdir(parents=True)
        real = smooth(random, size)
        Image.fromarray(real).save(root / record / f"{REAL}.png")
        for name, noise in zip(SYNTHETIC, (5, 14), strict=True):
            copy = np.clip(real + random.normal(0, noise, size), 0, 255).astype(np.uint8)
            Image.fromarray(copy).save(root / record / f"{name}.png")
    return sorted(f"{record}___{name}" for record in records for name in (REAL, *SYNTHETIC))


def grey(root: Path, key: str) -> np.ndarray:
    """Return an image, uint8 (H, W)."""
    record, name = key.split("___")
    return np.array(Image.open(root / record / f"{name}.png").convert("L"))


def zscored(root: Path, key: str) -> np.ndarray:
    """Return an image with mean 0 and standard deviation 1, float64 (H, W)."""
    image = grey(root, key)
    return (image - np.mean(image)) / np.std(image)


def ssim(root: Path, real: str, synthetic: str) -> float:
    """Return the SSIM of two z-scored images; the range is that of the first."""
    one, other = zscored(root, real), zscored(root, synthetic)
    return float(structural_similarity(one, other, data_range=one.max() - one.min()))


def fsim(root: Path, real: str, synthetic: str) -> float:
    """Return the simplified FSIM: normalised gradients stand for phase congruency, Sobel's filter for Scharr's."""
    maps = []
    for image in (grey(root, key).astype(np.float32) for key in (real, synthetic)):
        steepness = np.hypot(*np.gradient(image))
        kernel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], np.float32)
        edges = np.hypot(cv2.filter2D(image, -1, kernel), cv2.filter2D(image, -1, kernel.T))
        maps.append((steepness / (steepness.max() + 1e-8), edges))
    (first, first_edges), (second, second_edges) = maps
    similar = (2 * first * second + 0.85) / (first**2 + second**2 + 0.85)
    similar_edges = (2 * first_edges * second_edges + 160) / (first_edges**2 + second_edges**2 + 160)
    weights = np.maximum(first, second)
    return float((similar * similar_edges * weights).sum() / (weights.sum() + 1e-8))


def cosines(real: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """Return the cosine of every pair of rows."""
    one, other = (F.normalize(torch.from_numpy(rows), dim=1) for rows in (real, synthetic))
    return (one @ other.T).numpy()


def correlations(real: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation of every pair of rows."""
    return 1 - cdist(real, synthetic, metric="correlation")


def dar_embeddings(weights: dict[str, Tensor], root: Path, keys: Sequence[str], batch_size: int) -> np.ndarray:
    """Embed images as the reference's Dar does: transposed, stretched to [0, 1], with the statistics of each batch."""
    images = torch.stack([torch.from_numpy(grey(root, key).T.astype(np.float32))[None] for key in keys])
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    parts = ((images - low) / (high - low)).split(batch_size)
    return np.concatenate([F.normalize(_resnet(weights, part)).numpy() for part in parts])


def _resnet(weights: dict[str, Tensor], images: Tensor) -> Tensor:
    """Apply a ResNet of basic blocks that has never been put into evaluation mode."""

    def norm(maps: Tensor, name: str) -> Tensor:
        return F.batch_norm(maps, None, None, weights[f"{name}.weight"], weights[f"{name}.bias"], training=True)

    maps = F.relu(norm(F.conv2d(images, weights["model.conv1.weight"], stride=2, padding=3), "model.bn1"))
    maps = F.max_pool2d(maps, 3, stride=2, padding=1)
    for stage in range(1, 5):
        block, stride = f"model.layer{stage}.0", 1 if stage == 1 else 2
        inner = F.relu(norm(F.conv2d(maps, weights[f"{block}.conv1.weight"], stride=stride, padding=1), f"{block}.bn1"))
        inner = norm(F.conv2d(inner, weights[f"{block}.conv2.weight"], padding=1), f"{block}.bn2")
        if f"{block}.downsample.0.weight" in weights:
            shortcut = F.conv2d(maps, weights[f"{block}.downsample.0.weight"], stride=stride)
            maps = norm(shortcut, f"{block}.downsample.1")
        maps = F.relu(inner + maps)
    return F.linear(maps.mean((2, 3)), weights["model.fc.weight"], weights["model.fc.bias"])


def printed_lines(scores: Sequence[float], labels: Sequence[int], metric: str) -> list[str]:
    """Return what eval.py prints."""
    report = classification_report(
        labels, [CLASSIFY[metric](score) for score in scores], zero_division=0, output_dict=True
    )
    silhouette = silhouette_score(np.array(scores)[:, None], np.array(labels))
    return [
        *(
            f"{name} [Precision, Recall] = {report[label]['precision']} {report[label]['recall']}"
            for name, label in (("Different", "0"), ("Similar", "2"), ("Duplicate", "1"))
        ),
        f"Weighted F1-Score = {report['weighted avg']['f1-score']}",
        f"Macro F1-Score = {report['macro avg']['f1-score']}",
        f"Silhouette Score = {silhouette}",
    ]


def write_scores(folder: Path, matrix: np.ndarray, real: Sequence[str], synthetic: Sequence[str]) -> list[str]:
    """Write a matrix and its index files as the reference does; return them as options of `eval`."""
    np.savez(folder / "matrix.npz", data=matrix.astype(np.float16))
    np.savez(folder / "real.npz", data=np.array(real))
    np.savez(folder / "synth.npz", data=np.array(synthetic))
    return ["--matrix_path", str(folder / "matrix.npz"), "--real_indices_path", str(folder / "real.npz"),
            "--synth_indices_path", str(folder / "synth.npz")]  # fmt: skip


def write_pairs(path: Path, pairs: Sequence[tuple[str, str]], **columns: Sequence) -> str:
    """Write a test set or pairs to train on."""
    pd.DataFrame(pairs, columns=["real_key", "synth_key"]).assign(**columns).to_csv(path, index=False)
    return str(path)
