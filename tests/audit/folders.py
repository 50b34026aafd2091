"""Small folders of images that tests audit: random pictures, some of them planted among the synthetic ones."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from deepssim.config.encoders import EncoderConfig
from deepssim.encoders.deepssim import DeepSSIM, save_encoder

SIZE = 32
DRAWN = 64  # pixels of pictures with details


def picture(random: np.random.Generator, size: int = SIZE) -> np.ndarray:
    """Draw one picture: uint8 (size, size)."""
    values = gaussian_filter(random.normal(size=(size, size)), 2.5)
    return np.rint(255 * (values - values.min()) / np.ptp(values)).astype(np.uint8)


def drawing(random: np.random.Generator, size: int = DRAWN) -> np.ndarray:
    """Draw a picture with coarse and fine structures, as images of patients have: uint8 (size, size)."""
    coarse, fine = (gaussian_filter(random.normal(size=(size, size)), DRAWN / part) for part in (12, 40))
    values = coarse / coarse.std() + fine / fine.std()
    return np.rint(255 * (values - values.min()) / np.ptp(values)).astype(np.uint8)


def texture(random: np.random.Generator, size: int = DRAWN) -> np.ndarray:
    """Draw a texture without coarse structures, which no drawing is like: uint8 (size, size)."""
    noise = random.normal(size=(size, size))
    values = gaussian_filter(noise, 1.2) - gaussian_filter(noise, 2.4)
    return np.rint(255 * (values - values.min()) / np.ptp(values)).astype(np.uint8)


def write(path: Path, image: np.ndarray) -> None:
    """Write a picture, with the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def make_folders(root: Path, *, real: int = 24, synthetic: int = 30, holdout: int = 20, copies: int = 3) -> Path:
    """Write folders `real`, `synthetic` and `holdout`; two images for each patient, the first `copies` planted."""
    random = np.random.default_rng(0)
    originals = [drawing(random) for _ in range(real)]
    for number, image in enumerate(originals):
        write(root / "real" / f"p{number // 2:02d}_{number % 2}.png", image)
    for number in range(holdout):
        write(root / "holdout" / f"h{number // 2:02d}_{number % 2}.png", drawing(random))
    for number in range(synthetic):
        write(root / "synthetic" / f"s{number:02d}.png", originals[number] if number < copies else drawing(random))
    return root


def gather(folder: Path) -> Path:
    """Replace the pictures of a folder by one array, whose images are then all taken for those of one patient."""
    paths = sorted(folder.iterdir())
    images = [np.asarray(Image.open(path)) for path in paths]
    for path in paths:
        path.unlink()
    np.save(folder / "all.npy", np.stack(images))
    return folder / "all.npy"


def tiny_encoder(path: Path) -> Path:
    """Write an encoder that nothing has trained; equal images still have equal embeddings.

    Without poses and features of SSIM, whose tests are in encoders/, an audit of a test takes seconds instead of a minute.
    """
    torch.manual_seed(0)
    options = EncoderConfig(
        depths=(1, 1, 1, 1), widths=(8, 8, 16, 16), patch_size=2, hidden_features=16, embedding_features=16,
        canonicalize=False, ssim_features=False,
    )  # fmt: skip
    save_encoder(path, DeepSSIM(options))
    return path
