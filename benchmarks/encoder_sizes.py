"""How well do SSIM features, untrained and with the encoder trained on top of them, predict SSIM at several image sizes?

    python -m benchmarks.encoder_sizes untrained --data shared/data
    python -m benchmarks.encoder_sizes train --data shared/data --size 128 --seeds 2 --work results/encoder/sizes
    python -m benchmarks.encoder_sizes report results/encoder/sizes

Pairs come from families of real images of held-out patients (`encoders.families.example_pairs`), so that a run needs no
generative model and takes minutes. The tables are in docs/encoder.md.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.encoder_data import _sides
from deepssim.config.choices import Device
from deepssim.config.encoders import EncoderConfig
from deepssim.config.settings import Config
from deepssim.encoders.deepssim import embed, save_encoder
from deepssim.encoders.families import example_pairs
from deepssim.encoders.recipes import train_on_images
from deepssim.evaluation.classification import classification_report
from deepssim.ground_truth.labels import SSIM_THRESHOLDS, Label
from deepssim.images.augment import misalign_pack
from deepssim.images.files import read_image
from deepssim.images.keys import real_key
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import fit, quantise
from deepssim.similarity.embedding_scores import EmbeddingComparison
from deepssim.similarity.tiles import pair_scores

TEST_SUBJECTS, VALID_SUBJECTS = 49, 40


def split_xrays(data: Path, size: tuple[int, int]) -> dict[str, ImagePack]:
    """Read the chest X-rays at one size; training, validation and test images share no patient."""
    table = pd.read_csv(data / "chest_xray.csv", dtype=str)
    side_of = _sides(table["subject"], TEST_SUBJECTS, VALID_SUBJECTS)
    sides = table["subject"].map(side_of)
    packs = {}
    for side in ("train", "valid", "test"):
        rows = table[sides == side]
        images = [quantise(fit(read_image(data / name, percentiles=(0, 100)), size), 8) for name in rows["image_path"]]
        packs[side] = ImagePack(np.stack(images), [real_key(uid) for uid in rows["image_uid"]])
    return packs


def train(options: argparse.Namespace) -> None:
    """Train the default recipe on images of one size and evaluate it on pairs of test patients."""
    torch.set_num_threads(1)
    packs = split_xrays(options.data, (options.size, options.size))
    pairs, varied = example_pairs(packs["test"], seed=0)
    truth = SSIM_THRESHOLDS.classify(pairs["ssim"].to_numpy())
    encoder = EncoderConfig(epochs=options.epochs, passes=1)
    for seed in range(options.seeds):
        place = options.work / f"{options.name}-{options.size}-{seed}"
        if (place / "result.json").exists():
            continue
        place.mkdir(parents=True, exist_ok=True)
        start = time.process_time()
        network, _ = train_on_images(
            packs["train"], packs["valid"], encoder, seed=seed, device=Device.CPU, state=place / "state"
        )
        result: dict[str, Any] = {"name": options.name, "size": options.size, "seed": seed, "epochs": options.epochs,
                                  "cpu_seconds": time.process_time() - start}  # fmt: skip
        save_encoder(place / "encoder.safetensors", network)
        misalignment = Config().evaluation.misalignment
        moved = [misalign_pack(pack, misalignment, seed=number) for number, pack in enumerate((packs["test"], varied))]
        for kind, sides in (("aligned", (packs["test"], varied)), ("misaligned", moved)):
            result[kind] = _evaluate(place / "encoder.safetensors", sides, pairs, truth)
        (place / "result.json").write_text(json.dumps(result, indent=1))
        print(json.dumps(result), flush=True)


def _evaluate(encoder: Path, sides: Any, pairs: pd.DataFrame, truth: np.ndarray) -> dict[str, float]:
    start = time.process_time()
    real, copies = (embed(encoder, pack, device=Device.CPU) for pack in sides)
    elapsed = time.process_time() - start
    rows = np.array([sides[0].index[key] for key in pairs["real_key"]])
    columns = np.array([sides[1].index[key] for key in pairs["synth_key"]])
    scores = pair_scores(EmbeddingComparison(real, copies), rows, columns).astype(np.float64)
    report = classification_report(scores, truth, SSIM_THRESHOLDS)
    duplicate = report["per_class"][Label.DUPLICATE.name.lower()]["f1"]
    return {"macro_f1": report["macro_f1"], "f1_duplicate": duplicate,
            "error": float(np.abs(scores - pairs["ssim"]).mean()),
            "embed_ms": 1000 * elapsed / sum(len(pack.keys) for pack in sides)}  # fmt: skip


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("train", help="train and evaluate the default recipe at one size")
    one.add_argument("--data", type=Path, required=True, help="folder with chest_xray.csv")
    one.add_argument("--work", type=Path, required=True)
    one.add_argument("--name", default="ours", help="name of the runs")
    one.add_argument("--size", type=int, default=128)
    one.add_argument("--seeds", type=int, default=1, help="how many (default: %(default)s)")
    one.add_argument("--epochs", type=int, default=6, help="passes over the images (default: %(default)s)")
    one.set_defaults(call=train)
    options = parser.parse_args()
    options.call(options)


if __name__ == "__main__":
    main()
