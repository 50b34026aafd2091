"""Files for tiny trainings, the same on every machine: images by whole numbers, networks with their initial weights."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from deepssim.config.generative import VaeConfig
from deepssim.datasets.tables import Role, Split, write_csv
from deepssim.generative.autoencoder import build_autoencoder, save_autoencoder
from deepssim.generative.latents import Latents, write_latents
from deepssim.images.keys import real_key, synthetic_key
from deepssim.images.packs import ImagePack, write_pack

_SIDE, _PATIENTS, _TRAINED = 32, 16, 12  # pixels, real images, and those of them in the train split
_CELL = 8  # pixels between the grey values that are drawn
_SSIM = (0.9, 0.7, 0.3, 0.1)  # of each real image with its two copies and with those of the next patient
_VAE = VaeConfig(channels=(8, 8, 16), latent_channels=3)


def smooth_images(count: int, seed: int) -> np.ndarray:
    """Draw smooth images, uint8 (count, 32, 32), by interpolation in whole numbers, so that rounding cannot differ."""
    cells = _SIDE // _CELL
    grey = np.random.default_rng(seed).integers(0, 256, (count, cells + 1, cells + 1))
    place, step = np.divmod(np.arange(_SIDE), _CELL)
    rows = (_CELL - step)[:, None] * grey[:, place] + step[:, None] * grey[:, place + 1]
    return (((_CELL - step) * rows[:, :, place] + step * rows[:, :, place + 1]) // _CELL**2).astype(np.uint8)


def write_inputs(folder: Path) -> dict[str, str]:
    """Write what the stages that train read and return the files by name."""
    files = {name: str(folder / f"{name}.csv") for name in ("images", "train", "valid", "split")}
    files |= {name: str(folder / f"{name}.h5") for name in ("real", "synthetic", "latents")}
    files["autoencoder"] = str(folder / "autoencoder.safetensors")
    names = [f"patient-{number:02d}" for number in range(_PATIENTS)]
    keys = [real_key(name) for name in names]
    splits = [str(Split.TRAIN if number < _TRAINED else Split.VALID) for number in range(_PATIENTS)]
    table = {"key": keys, "path": "", "role": str(Role.REAL), "subject": names, "split": splits}
    write_csv(files["images"], pd.DataFrame(table))
    real = smooth_images(_PATIENTS, seed=0)
    write_pack(files["real"], ImagePack(real, keys))
    # Of each real image a copy of lower contrast and one that is mixed with another patient.
    copies = np.stack([real - real // 8, real - real // 4 + np.roll(real, 1, axis=0) // 4], axis=1)
    synth_keys = [synthetic_key(name, number) for name in names for number in (0, 1)]
    write_pack(files["synthetic"], ImagePack(copies.reshape(-1, _SIDE, _SIDE), synth_keys))
    for name, patients in (("train", range(_TRAINED)), ("valid", range(_TRAINED, _PATIENTS))):
        write_csv(files[name], _pairs(keys, synth_keys, list(patients), name))
    write_csv(files["split"], pd.DataFrame({"key": keys, "subject": names, "split": splits}))
    random = np.random.default_rng(1)
    conditions = random.integers(0, 9, (_PATIENTS, 1, 2)).astype(np.float32) / 8
    latents = random.integers(-256, 257, (_PATIENTS, 3, _SIDE // 4, _SIDE // 4)).astype(np.float32) / 128
    write_latents(files["latents"], Latents(latents, keys, 1.0, conditions))
    torch.manual_seed(0)
    save_autoencoder(files["autoencoder"], build_autoencoder(_VAE), _VAE)
    return files


def _pairs(keys: list[str], synth_keys: list[str], patients: list[int], split: str) -> pd.DataFrame:
    rows = []
    for place, patient in enumerate(patients):
        following = patients[(place + 1) % len(patients)]
        partners = (2 * patient, 2 * patient + 1, 2 * following, 2 * following + 1)
        rows += [(keys[patient], synth_keys[number], ssim, split) for number, ssim in zip(partners, _SSIM, strict=True)]
    return pd.DataFrame(rows, columns=["real_key", "synth_key", "ssim", "split"])
