"""Real images held apart by patient, copies of some of them, and labelled pairs to judge an encoder on.

Not here: training and judging (encoder.py).
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from scipy.sparse.csgraph import connected_components

from benchmarks import ROOT
from deepssim.config.choices import Distortion
from deepssim.config.distortions import DistortionConfig
from deepssim.generative.autoencoder import load_autoencoder, reconstruct_pack
from deepssim.ground_truth.labels import SSIM_THRESHOLDS, Label
from deepssim.images.augment import misalign_pack
from deepssim.images.files import read_image
from deepssim.images.keys import real_key, split_key, synthetic_key
from deepssim.images.packs import ImagePack, read_pack
from deepssim.images.standardize import fit, quantise
from deepssim.similarity.ssim import SsimComparison
from deepssim.similarity.tiles import all_scores
from deepssim.stages.encoders import LATENT_NOISE

SIZE = (64, 64)
SAME = 0.6  # SSIM above which images without a patient's name count as the same patient's
SHARES = {Label.DIFFERENT: 0.58, Label.DUPLICATE: 0.23, Label.SIMILAR: 0.19}  # of the published test sets
LARGE = 20  # images of one patient, or of one group of near duplicates, from which on it only trains
PAIRS = 3000
# What a generator may do to an image besides: each for itself, on every test image.
CHANGES = [(Distortion.NOISE, 0.01), (Distortion.NOISE, 0.03), (Distortion.NOISE, 0.06), (Distortion.GAMMA, 0.2),
           (Distortion.GAMMA, 0.4)]  # fmt: skip
PIPELINE: dict[str, Any] = {
    "device": "cpu",
    "dataset": {"kind": "table", "image_size": list(SIZE)},
    "vae": {"channels": [24, 24, 48, 96], "latent_channels": 16, "perceptual": "gradient"},
    "ldm": {"channels": [64, 128], "head_channels": 128, "epochs": 10, "passes": 150, "learning_rate": 0.001,
            "memorization": {"every": 2, "images": 60}},
    "synthesis": {"images_per_record": 16},
}  # fmt: skip


@dataclass(frozen=True)
class Data:
    """Packs of real images that share no patient, and labelled pairs of test images with their copies.

    Attributes:
        train, valid: what the encoder learns from and is chosen by.
        test: what it is judged on.
        copies: synthetic images.
        pairs: `real_key`, `synth_key`, `ssim`, `label`.
        autoencoder: file that the round trips of training images are made with.
        counts: images and patients, for the text.
    """

    train: ImagePack
    valid: ImagePack
    test: ImagePack
    copies: ImagePack
    pairs: pd.DataFrame
    autoencoder: Path
    counts: dict[str, int]


def prepare(csv: Path, work: Path, *, generate: bool) -> Data:
    """Split the images of a CSV (image_path, and subject if there is one), train the generative model, make copies.

    With `generate` the diffusion model is trained on the test patients, whom it memorizes, and its images are among the
    copies; otherwise only an autoencoder is trained, on patients that the encoder is trained on.
    """
    table, pack = _read(csv)
    side_of = draw_sides(table["subject"], *((49, 40) if generate else (200, 120)))
    sides = table["subject"].map(side_of).to_numpy()
    train, valid, test = (pack.select([k for k, s in zip(pack.keys, sides, strict=True) if s == side])
                          for side in ("train", "valid", "test"))  # fmt: skip
    if generate:
        rows = table.assign(split=np.where(sides == "test", "train", "valid"))
    else:
        learned = np.random.default_rng(1).permutation(np.flatnonzero(sides == "train"))[:800]
        rows = table.assign(split="")
        rows.loc[learned, "split"] = "train"
        rows.loc[np.flatnonzero(sides == "valid")[:60], "split"] = "valid"
        rows = rows[rows["split"] != ""]
    folder = work / "generator"
    _run(folder, rows, generate)
    autoencoder = folder / "results" / "vae" / "autoencoder.safetensors"
    copies = made_copies(test, autoencoder)
    if generate:
        copies = _joined(copies, read_pack(folder / "results" / "synthetic" / "000.h5"))
    counts = {
        side: len({name for name, place in side_of.items() if place == side}) for side in ("train", "valid", "test")
    }
    return Data(train, valid, test, copies, labelled_pairs(test, copies), autoencoder, counts)


def draw_sides(subjects: pd.Series, test: int, valid: int) -> dict[str, str]:
    """Draw test and validation patients among those with few images; all others train the encoder."""
    count = subjects.value_counts()
    names = np.array(sorted(count.index[count < LARGE]))
    np.random.default_rng(0).shuffle(names)
    side_of = dict.fromkeys(count.index, "train")
    return side_of | dict.fromkeys(names[:test], "test") | dict.fromkeys(names[test : test + valid], "valid")


def round_trips(pack: ImagePack, autoencoder: Path) -> list[ImagePack]:
    """Return what an autoencoder makes of images, at several amounts of noise on their latents."""
    network = load_autoencoder(autoencoder)
    return [reconstruct_pack(network, pack, device=torch.device("cpu"), noise=noise) for noise in LATENT_NOISE]


def made_copies(pack: ImagePack, autoencoder: Path) -> ImagePack:
    """Return copies of every image by round trips, noise and contrast."""
    parts = [part.images for part in round_trips(pack, autoencoder)]
    for number, (kind, strength) in enumerate(CHANGES):
        change = DistortionConfig(kind=kind, probability=1.0, strength=strength)
        parts.append(misalign_pack(pack, [change], seed=number).images)
    records = [split_key(key)[0] for key in pack.keys]
    keys = [synthetic_key(record, 1000 + number) for number in range(len(parts)) for record in records]
    return ImagePack(np.concatenate(parts), keys)


def labelled_pairs(test: ImagePack, copies: ImagePack) -> pd.DataFrame:
    """Draw pairs of all classes in the proportions of the published test sets, labelled by exact SSIM."""
    scores = all_scores(SsimComparison(test, copies, threads=2))
    labels = SSIM_THRESHOLDS.classify(scores).ravel()
    random = np.random.default_rng(0)
    found = {label: random.permutation(np.flatnonzero(labels == label)) for label in SHARES}
    total = min(PAIRS, *(int(len(found[label]) / share) for label, share in SHARES.items()))
    chosen = np.concatenate([found[label][: int(total * share)] for label, share in SHARES.items()])
    rows, columns = np.divmod(chosen, len(copies.keys))
    return pd.DataFrame(
        {
            "real_key": [test.keys[row] for row in rows],
            "synth_key": [copies.keys[column] for column in columns],
            "ssim": scores[rows, columns].astype(np.float64),
            "label": labels[chosen],
        }
    )


def _read(csv: Path) -> tuple[pd.DataFrame, ImagePack]:
    table = pd.read_csv(csv, dtype=str)
    table["image_path"] = [str((csv.parent / name).resolve()) for name in table["image_path"]]
    images = [quantise(fit(read_image(path, percentiles=(0, 100)), SIZE), 8) for path in table["image_path"]]
    pack = ImagePack(np.stack(images), [real_key(uid) for uid in table["image_uid"]])
    if "subject" not in table:
        # Near duplicates of collections without patients' names must not be on two sides.
        scores = all_scores(SsimComparison(pack, pack, threads=2))
        alike = connected_components(np.maximum(scores, scores.T) > SAME, directed=False)[1]
        table["subject"] = [f"group{number:04d}" for number in alike]
    return table[["image_uid", "image_path", "subject"]], pack


def _run(folder: Path, rows: pd.DataFrame, generate: bool) -> None:
    """Train the workflow's generative model, unless an earlier run of this study did."""
    target = Path("results", "synthetic/000.h5" if generate else "vae/autoencoder.safetensors")
    if (folder / target).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    table, config = folder / "images.csv", folder / "config.yaml"
    rows.to_csv(table, index=False)
    # The larger data set needs fewer passes.
    vae = PIPELINE["vae"] | ({"epochs": 10, "passes": 10} if generate else {"epochs": 5, "passes": 2, "batch_size": 6})
    dataset = PIPELINE["dataset"] | {"path": str(table.resolve())}
    config.write_text(yaml.safe_dump(PIPELINE | {"dataset": dataset, "vae": vae}), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--cores", "1", "--configfile", str(config), "--quiet", "all", "--", str(target)]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src")})


def _joined(first: ImagePack, second: ImagePack) -> ImagePack:
    return ImagePack(np.concatenate([first.images, second.images]), first.keys + second.keys)
