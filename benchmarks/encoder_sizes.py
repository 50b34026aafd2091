"""How well do SSIM features, untrained and with the encoder trained on top of them, predict SSIM at several image sizes?

    python -m benchmarks.encoder_sizes untrained --data shared/data
    python -m benchmarks.encoder_sizes train --data shared/data --size 128 --seeds 2 --work results/encoder/sizes

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
import torch.nn.functional as F

from benchmarks.encoder_data import draw_sides
from deepssim.config.choices import Contrast, Device
from deepssim.config.dataset import VirtualPatientsConfig
from deepssim.config.encoders import EncoderConfig
from deepssim.config.settings import Config
from deepssim.datasets.virtual_patients import make_patient, scan
from deepssim.encoders.deepssim import embed, save_encoder
from deepssim.encoders.families import example_pairs
from deepssim.encoders.recipes import train_on_images
from deepssim.encoders.ssim_features import SsimFeatures
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
SIZES = ((64, 64), (128, 128), (136, 112), (256, 256))
COUNT, SEEDS = 24, 3
# Not the images with which the features were developed, but for a few X-rays and other slices of the same three volumes' people.
OFFSET, FIRST_PATIENT = 11, 200


def split_xrays(data: Path, size: tuple[int, int]) -> dict[str, ImagePack]:
    """Read the chest X-rays at one size; training, validation and test images share no patient."""
    table = pd.read_csv(data / "chest_xray.csv", dtype=str)
    side_of = draw_sides(table["subject"], TEST_SUBJECTS, VALID_SUBJECTS)
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


def sets(data: Path, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return images of patients by kind, uint8 (COUNT, H, W)."""
    found = {}
    for name in ("chest_xray", "brain_slices"):
        files = sorted((data / name).glob("*.png"))[OFFSET :: len(list((data / name).glob("*.png"))) // COUNT][:COUNT]
        found[name] = [fit(read_image(path, percentiles=(0, 100)), size) for path in files]
    found["mri_volumes"] = [fit(one, size) for one in _volume_slices(data / "mri_volumes")]
    population, contrasts = VirtualPatientsConfig(), list(Contrast)
    found["virtual patients"] = [
        scan(make_patient(n, population, 0), contrasts[n % 2], population.slices_mm[0], size, population.noise)[0]
        for n in range(FIRST_PATIENT, FIRST_PATIENT + COUNT)
    ]
    return {name: np.stack([quantise(image, 8) for image in images]) for name, images in found.items()}


def _volume_slices(folder: Path) -> list[np.ndarray]:
    """Return two axial slices of each of twelve volumes of three people, 0 to 1."""
    import nibabel

    volumes = [np.asarray(nibabel.load(path).dataobj, np.float32) for path in sorted(folder.glob("*.nii*"))]
    return [np.clip(one[:, :, z] / np.percentile(one, 99.8), 0, 1) for one in volumes for z in (70, 102)]


def untrained(options: argparse.Namespace) -> None:
    """Print mean absolute error and processor time of SSIM features that have not been trained, by size and kind."""
    torch.set_num_threads(1)
    for size in SIZES:
        for name, images in sets(options.data, size).items():
            real = ImagePack(images, [real_key(str(number)) for number in range(len(images))])
            pairs, varied = example_pairs(real, seed=1)
            rows = [real.index[key] for key in pairs["real_key"]]
            columns = [varied.index[key] for key in pairs["synth_key"]]
            label = SSIM_THRESHOLDS.classify(pairs["ssim"].to_numpy())
            errors, times = [], []
            for seed in range(SEEDS):
                torch.manual_seed(seed)
                features = SsimFeatures(EncoderConfig().embedding_features)
                (one, first), (two, second) = (_directions(features, pack.images) for pack in (real, varied))
                errors.append(np.abs((one[rows] * two[columns]).sum(axis=1) - pairs["ssim"].to_numpy()))
                times += [first / len(one), second / len(two)]
            by_class = [np.mean([error[label == one].mean() for one in Label]) for error in errors]
            each = {one.name.lower(): round(float(np.mean(errors, axis=0)[label == one].mean()), 4) for one in Label}
            print(json.dumps({"size": size, "images": name, "pairs": len(pairs), "error": round(float(np.mean(by_class)), 4),
                              "largest": round(float(max(by_class)), 4), "by_class": each,
                              "ms": round(1000 * min(times), 2)}), flush=True)  # fmt: skip


def _directions(features: SsimFeatures, images: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the embeddings as unit vectors, and the seconds of processor time that they took."""
    parts = torch.from_numpy(images.astype(np.float32) / 255)[:, None].split(64)
    with torch.inference_mode():
        start = time.process_time()
        embedded = torch.cat([features(part) for part in parts])
        elapsed = time.process_time() - start
        return F.normalize(embedded).numpy(), elapsed


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
    fixed = commands.add_parser("untrained", help="measure SSIM features alone")
    fixed.add_argument("--data", type=Path, required=True, help="folder with chest_xray, brain_slices and mri_volumes")
    fixed.set_defaults(call=untrained)
    options = parser.parse_args()
    options.call(options)


if __name__ == "__main__":
    main()
