"""How well does the encoder predict SSIM, recipe by recipe, on real images held apart by patient?

    python -m benchmarks.encoder run shared/data/chest_xray.csv --work results/encoder/chest --images 250000 --invariance
    python -m benchmarks.encoder report results/encoder/chest results/encoder/brain

A run trains recipes until they have seen so many images, and judges them beside SSIM and FSIM. The report puts all runs
into the tables of docs/encoder.md. An interrupted run goes on where it was.
"""

import argparse
import json
import time
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from benchmarks.encoder_data import Data, labelled_pairs, made_copies, prepare, round_trips
from benchmarks.encoder_tables import write_tables
from deepssim.config.choices import Decay, Device, Distortion, Keep, MetricName, Recipe
from deepssim.config.distortions import DistortionConfig
from deepssim.config.encoders import EncoderConfig
from deepssim.config.settings import Config
from deepssim.encoders.deepssim import embed, save_encoder
from deepssim.encoders.families import MEMBERS, Families
from deepssim.encoders.recipes import PairImages, train_deepssim
from deepssim.evaluation.classification import classification_report
from deepssim.ground_truth.labels import SSIM_THRESHOLDS, Label, Thresholds
from deepssim.images.augment import misalign_pack
from deepssim.images.packs import ImagePack
from deepssim.similarity.embedding_scores import EmbeddingComparison
from deepssim.similarity.fsim import FsimComparison
from deepssim.similarity.ssim import SsimComparison
from deepssim.similarity.tiles import pair_scores

OURS = EncoderConfig(epochs=8)
PAPER = OURS.with_changes(
    recipe=Recipe.PAPER, canonicalize=False, ssim_features=False, embedding_features=256, dropout=0.33, learning_rate=1e-3,
    decay=Decay.CONSTANT, batch_size=32, keep=Keep.BEST,
    augmentation=tuple(
        DistortionConfig(kind=kind, probability=0.33, strength=strength)
        for kind, strength in ((Distortion.FLIP, 1.0), (Distortion.ROTATION, 9.74), (Distortion.GAMMA, 0.5))
    ),
)  # fmt: skip
RECIPES = {
    "paper": PAPER,
    "paper, our schedule": OURS.with_changes(recipe=Recipe.PAPER, canonicalize=False, ssim_features=False),
    "all pairs": OURS.with_changes(canonicalize=False, ssim_features=False),
    "all pairs, SSIM features": OURS.with_changes(canonicalize=False),
    "all pairs, pose": OURS.with_changes(ssim_features=False),
    "ours": OURS,
}


def options_for(recipe: str, images_seen: int, data: Families | PairImages) -> EncoderConfig:
    """Return the recipe's options with as many passes over the data as make about so many images."""
    options = RECIPES[recipe]
    passes = max(1, round(images_seen / (len(data) * (MEMBERS if isinstance(data, Families) else 2))))
    epochs = min(options.epochs, passes)
    return options.with_changes(epochs=epochs, passes=round(passes / epochs))


class Lessons:
    """What recipes learn from: the same real images and the same kinds of copies of them for every recipe."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.valid = _pairs(data.valid, data.autoencoder)

    @cached_property
    def families(self) -> Families:
        """Training images with their round trips."""
        copies = [(pack, pack.keys) for pack in round_trips(self.data.train, self.data.autoencoder)]
        return Families(self.data.train, copies, threads=torch.get_num_threads())

    @cached_property
    def pairs(self) -> PairImages:
        """Pairs of training images and their copies, of all classes."""
        return _pairs(self.data.train, self.data.autoencoder)


def train(lessons: Lessons, recipe: str, seed: int, images_seen: int, place: Path) -> dict[str, Any]:
    """Train one recipe."""
    train_data = lessons.families if RECIPES[recipe].recipe is Recipe.ALL_PAIRS else lessons.pairs
    options = options_for(recipe, images_seen, train_data)
    start = time.process_time()
    network, trained = train_deepssim(
        train_data, lessons.valid, options, seed=seed, device=Device.CPU, state=place / "state"
    )
    save_encoder(place / "encoder.safetensors", network)
    trained.write_history(place / "history.csv")
    per_pass = len(train_data) * (MEMBERS if isinstance(train_data, Families) else 2)
    return {
        "images_seen": per_pass * options.passes * options.epochs,
        "cpu_seconds": time.process_time() - start,
        "weights": sum(value.numel() for value in network.parameters()),
    }


def _pairs(pack: ImagePack, autoencoder: Path) -> PairImages:
    copies = made_copies(pack, autoencoder)
    return PairImages(labelled_pairs(pack, copies), pack, copies)


def figures_of(scores: np.ndarray, pairs: pd.DataFrame, thresholds: Thresholds = SSIM_THRESHOLDS) -> dict[str, Any]:
    """Return what the tables show of one metric on one kind of images."""
    figures = classification_report(scores, pairs["label"].to_numpy(), thresholds)
    duplicate = pairs["label"].to_numpy() == Label.DUPLICATE
    wrong, found, _ = roc_curve(duplicate, scores, drop_intermediate=False)
    at = int(np.argmax(found >= 0.95))
    positives, negatives = duplicate.sum(), (~duplicate).sum()
    return {
        "macro_f1": figures["macro_f1"],
        "f1": {name: part["f1"] for name, part in figures["per_class"].items()},
        "error": float(np.abs(scores - pairs["ssim"]).mean()),
        "bias": float((scores - pairs["ssim"]).mean()),
        "auroc": float(roc_auc_score(duplicate, scores)),
        "auprc": float(average_precision_score(duplicate, scores)),
        "precision_at_95": float(found[at] * positives / (found[at] * positives + wrong[at] * negatives)),
        "false_positives_at_95": float(wrong[at]),
    }


def judge(data: Data, encoder: Path) -> dict[str, Any]:
    """Judge an encoder on the test pairs, aligned and misaligned."""
    result = {}
    for name, test, copies in _variants(data):
        comparison = EmbeddingComparison(
            embed(encoder, test, device=Device.CPU), embed(encoder, copies, device=Device.CPU)
        )
        result[name] = figures_of(_scores(comparison, data), data.pairs)
    return result


def judge_pixels(data: Data) -> dict[str, Any]:
    """Judge SSIM, and FSIM with thresholds fitted on pairs of training images, in the same way."""
    result: dict[str, Any] = {MetricName.SSIM.value: {}, "fsim": {}}
    copies = made_copies(data.valid, data.autoencoder)
    known = labelled_pairs(data.valid, copies)
    calibration = FsimComparison(data.valid, copies)
    rows, columns = ([pack.index[key] for key in known[name]] for pack, name in
                     ((data.valid, "real_key"), (copies, "synth_key")))  # fmt: skip
    fitted = _fitted(pair_scores(calibration, np.array(rows), np.array(columns)), known["label"].to_numpy())
    for name, test, synthetic in _variants(data):
        result["ssim"][name] = figures_of(_scores(SsimComparison(test, synthetic), data), data.pairs)
        result["fsim"][name] = figures_of(_scores(FsimComparison(test, synthetic), data), data.pairs, fitted)
    return result | {"fsim_thresholds": asdict(fitted)}


def _fitted(scores: np.ndarray, labels: np.ndarray) -> Thresholds:
    """Return the two thresholds with the best macro-F1, among the percentiles of the scores."""
    grid = np.percentile(scores, np.arange(1, 100))
    pairs = [Thresholds(float(low), float(high)) for n, low in enumerate(grid) for high in grid[n:]]
    return max(pairs, key=lambda one: classification_report(scores, labels, one)["macro_f1"])


def invariance(data: Data, encoder: Path) -> list[dict[str, Any]]:
    """Score test images against their own copies, distorted in one way at one strength; quartiles over images."""
    strengths: dict[Distortion, list[float]] = {
        Distortion.FLIP: [1], Distortion.ROTATION: [5, 10, 20], Distortion.TRANSLATION: [0.05, 0.1],
        Distortion.SCALE: [0.1, 0.2], Distortion.CROP: [0.1, 0.3], Distortion.GAMMA: [0.3, 0.6],
        Distortion.BIAS_FIELD: [0.3], Distortion.BLUR: [1, 2], Distortion.NOISE: [0.02, 0.05], Distortion.JPEG: [0.5, 0.8],
    }  # fmt: skip
    own = embed(encoder, data.test, device=Device.CPU)
    each = np.arange(len(data.test.keys))
    rows = []
    for kind, values in strengths.items():
        for strength in values:
            change = DistortionConfig(kind=kind, probability=1.0, strength=strength)
            copies = misalign_pack(data.test, [change], seed=7)
            scores = pair_scores(EmbeddingComparison(own, embed(encoder, copies, device=Device.CPU)), each, each)
            ssim = pair_scores(SsimComparison(data.test, copies), each, each)
            rows.append({"kind": kind.value, "strength": strength, "score": np.percentile(scores, [25, 50, 75]).tolist(),
                         "duplicates": float((scores > SSIM_THRESHOLDS.high).mean()), "ssim": float(np.median(ssim))})  # fmt: skip
    return rows


def _variants(data: Data) -> list[tuple[str, ImagePack, ImagePack]]:
    misalignment = Config().evaluation.misalignment
    test, copies = (
        misalign_pack(pack, misalignment, seed=number) for number, pack in enumerate((data.test, data.copies))
    )
    return [("aligned", data.test, data.copies), ("misaligned", test, copies)]


def _scores(comparison: Any, data: Data) -> np.ndarray:
    rows = np.array([data.test.index[key] for key in data.pairs["real_key"]])
    columns = np.array([data.copies.index[key] for key in data.pairs["synth_key"]])
    return pair_scores(comparison, rows, columns).astype(np.float64)


def run(options: argparse.Namespace) -> None:
    """Train and judge recipes, but for those that have been."""
    torch.set_num_threads(options.threads)
    data = prepare(options.csv, options.work, generate=options.generate)
    pixels = options.work / "pixels.json"
    if not pixels.exists():
        pixels.write_text(json.dumps(judge_pixels(data), indent=1))
    labels = data.pairs["label"].value_counts()
    about = {"patients": data.counts, "copies": len(data.copies.keys), "generated": options.generate,
             "images": {"train": len(data.train.keys), "test": len(data.test.keys)},
             "pairs": {label.name.lower(): int(labels[label]) for label in Label}}  # fmt: skip
    lessons = Lessons(data)
    for seed in range(options.seeds):
        for recipe in options.recipe:
            place = options.work / "runs" / f"{recipe}-{options.images}-{seed}"
            if (place / "figures.json").exists():
                continue
            place.mkdir(parents=True, exist_ok=True)
            figures = {"recipe": recipe, "seed": seed, "asked": options.images, "data": about}
            figures |= train(lessons, recipe, seed, options.images, place)
            figures |= judge(data, place / "encoder.safetensors")
            if options.invariance:
                figures["invariance"] = invariance(data, place / "encoder.safetensors")
            (place / "figures.json").write_text(json.dumps(figures, indent=1))
            print(json.dumps({name: figures[name] for name in ("recipe", "seed", "aligned", "misaligned")}), flush=True)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("run", help="train and judge recipes")
    one.add_argument("csv", type=Path, help="CSV with image_uid, image_path and, if there is one, subject")
    one.add_argument("--work", type=Path, required=True)
    one.add_argument("--generate", action="store_true", help="train a diffusion model on the test patients, too")
    one.add_argument("--recipe", nargs="+", choices=list(RECIPES), default=["ours"])
    one.add_argument("--images", type=int, default=250_000, help="seen in training (default: %(default)s)")
    one.add_argument("--seeds", type=int, default=1, help="how many (default: %(default)s)")
    one.add_argument("--invariance", action="store_true", help="score images against distorted copies of themselves")
    one.add_argument("--threads", type=int, default=1)
    one.set_defaults(call=run)
    report = commands.add_parser("report", help="write the tables of docs/encoder.md")
    report.add_argument("work", type=Path, nargs="+")
    report.set_defaults(call=lambda options: write_tables(options.work))
    options = parser.parse_args()
    options.call(options)


if __name__ == "__main__":
    main()
