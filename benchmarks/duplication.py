"""Does duplicating training images provoke memorization? Train the same diffusion model with and without.

    python -m benchmarks.duplication shared/data/chest_xray.csv

One autoencoder, then two diffusion models side by side that make the same number of steps: one sees every training image
equally often, one has 1 to 14 copies of each. Copies are counted while they train, and in the images that they generate
at the end. An interrupted study goes on where it was.
"""

import argparse
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from matplotlib.figure import Figure

from benchmarks import ROOT
from deepssim.ground_truth.labels import SSIM_THRESHOLDS, Label
from deepssim.similarity.matrices import read_scores

ARMS = {"none": 96, "high": 13}  # passes over the data in an epoch, so that both make about 400 steps
SETTINGS: dict[str, Any] = {
    "device": "cpu",
    "dataset": {"kind": "table", "image_size": [64, 64], "valid_fraction": 0.15, "holdout_fraction": 0.0},
    "vae": {
        "channels": [24, 24, 48, 96],
        "latent_channels": 16,
        "epochs": 10,
        "passes": 10,
        "perceptual": "gradient",
    },
    "ldm": {"channels": [64, 128], "head_channels": 128, "epochs": 20, "learning_rate": 0.001},
    "synthesis": {"images_per_record": 8},
}
TRAIN_IMAGES = 100
COUNT = {"every": 1, "images": 80}


def write_table(source: Path, path: Path) -> None:
    """Write the image table of the study: the first patients of a CSV with image_path and subject, in its order."""
    table = pd.read_csv(source, dtype=str)
    if "image_uid" not in table:
        table["image_uid"] = [Path(name).stem for name in table["image_path"]]
    table["image_path"] = [str((source.parent / name).resolve()) for name in table["image_path"]]
    order = {subject: number for number, subject in enumerate(dict.fromkeys(table["subject"]))}
    count = table["subject"].map(order).value_counts().sort_index().cumsum()
    last_train = int((count <= TRAIN_IMAGES).sum())
    last_valid = int((count <= TRAIN_IMAGES * 1.3).sum())
    number = table["subject"].map(order)
    table["split"] = np.select([number < last_train, number < last_valid], ["train", "valid"], "")
    table.loc[table["split"] != "", ["image_uid", "image_path", "subject", "split"]].to_csv(path, index=False)


def settings_of(arm: str, table: Path) -> dict[str, Any]:
    """Return the config of one arm."""
    ldm = SETTINGS["ldm"] | {"duplication": arm, "passes": ARMS[arm], "memorization": COUNT}
    return SETTINGS | {"dataset": SETTINGS["dataset"] | {"path": str(table)}, "ldm": ldm}


def run(folder: Path, target: str, table: Path, threads: int) -> None:
    """Make one file of an arm's workflow."""
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(settings_of(folder.name, table)), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--cores", str(threads), "--configfile", str(config), "--quiet", "all", "--", f"results/{target}"]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src")})


def minutes_of(folder: Path) -> float:
    """Return how long the jobs of an arm took, by Snakemake's records."""
    records = sorted((folder / "results" / "benchmarks").glob("*.tsv"))
    return sum(float(pd.read_csv(record, sep="\t")["s"].iloc[0]) for record in records) / 60


def copies(folder: Path) -> pd.DataFrame:
    """Return for every training image its copies in training and the synthetic images that copy it."""
    results = folder / "results"
    used = pd.read_csv(results / "ldm" / "train_used.csv")
    scores = read_scores(results / "matrices" / "ssim.h5")
    _, best = scores.best(used["key"].tolist())
    copied = SSIM_THRESHOLDS.classify(best.scores[:, 0]) == Label.DUPLICATE
    used["synthetic_copies"] = np.bincount(best.partners[copied, 0], minlength=len(used))
    used["synthetic_images"] = len(copied)
    return used


def plot(path: Path, histories: dict[str, pd.DataFrame], found: dict[str, pd.DataFrame]) -> None:
    """Draw the copy rate over training, and how often images were copied by how often they were seen."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    over_time, by_copies = figure.subplots(1, 2)
    for arm, history in histories.items():
        over_time.plot(history["epoch"], 100 * history["copy_rate"], "o-", markersize=3, label=f"duplication {arm}")
    over_time.set(xlabel="epoch", ylabel="copies, % of generated images", title="while training", ylim=(0, None))
    over_time.xaxis.get_major_locator().set_params(integer=True)
    over_time.legend(fontsize=8)
    groups = found["high"].groupby("copies")["synthetic_copies"]
    by_copies.bar(groups.mean().index, groups.mean(), color="tab:orange", label="duplication high")
    by_copies.axhline(found["none"]["synthetic_copies"].mean(), color="tab:blue", label="duplication none, all images")
    by_copies.set(
        xlabel="copies of an image in the training data", ylabel="synthetic copies per image", title="at the end"
    )
    by_copies.set_ylim(0, 1.3 * groups.mean().max())  # room for the legend
    by_copies.legend(fontsize=8)
    figure.savefig(path)


def report(path: Path, histories: dict[str, pd.DataFrame], found: dict[str, pd.DataFrame], minutes: float) -> None:
    """Write the table."""
    shown = [0.25, 0.5, 0.75, 1.0]
    none, high = histories["none"], histories["high"]
    share = len(found["none"]) / found["high"]["copies"].sum()  # of the steps of a pass, without duplicates
    as_often = none.iloc[(none["step"] - share * high["step"].iloc[-1]).abs().argmin()]
    final_rates = {
        arm: used["synthetic_copies"].sum() / used["synthetic_images"].iloc[0] for arm, used in found.items()
    }
    lines = [
        "# Does duplication provoke memorization?",
        "",
        f"After the same number of training steps, {final_rates['none']:.1%} of the synthetic images are copies of training images "
        f"without duplication and {final_rates['high']:.1%} with it. How often a single image is copied depends on how many copies "
        "of it the training data contain (last table).",
        "",
        f"Written by `python -m benchmarks.duplication`. Chest X-rays of 64x64 pixels (Wang et al., CVPR 2017), "
        f"{len(found['none'])} training images; validation images are of other patients. One autoencoder (four levels, "
        f"latents of 8x8x16), then a diffusion model with 64 and 128 channels for each arm, "
        f"{SETTINGS['ldm']['epochs']} epochs of about {int(none['step'].iloc[0])} steps in batches of 24. "
        "`none` shows every image equally often; `high` has 1 to 14 copies of each, drawn at random, and the same number of "
        f"steps. Two cores without GPU, both arms in parallel: {minutes:.0f} minutes.",
        "",
        "A copy is a synthetic image whose SSIM with a training image is above 0.85. During training, 80 images are "
        f"generated after every epoch, always from the same noise; at the end {found['none']['synthetic_images'].iloc[0]:,}.",
        "",
        "| duplication | " + " | ".join(f"copies after {share:.0%}" for share in shown)
        + " | copies at the end | training images copied | validation loss, minimum / last |",
        "| --- |" + " --- |" * (len(shown) + 3),
    ]  # fmt: skip
    for arm, history in histories.items():
        rates = [history["copy_rate"].iloc[round(share * len(history)) - 1] for share in shown]
        total, images = found[arm]["synthetic_images"].iloc[0], found[arm]["synthetic_copies"]
        lines.append(
            f"| {arm} | " + " | ".join(f"{rate:.1%}" for rate in rates) + f" | {images.sum()} of {total:,} "
            f"({images.sum() / total:.1%}) | {(images > 0).sum()} of {len(images)} "
            f"| {history['valid_loss'].min():.3f} in epoch {int(history['epoch'].iloc[history['valid_loss'].argmin()])} "
            f"/ {history['valid_loss'].iloc[-1]:.3f} |"
        )
    copied = {arm: history.loc[history["copy_rate"] > 0, "epoch"] for arm, history in histories.items()}
    first = ", ".join(f"`{arm}` {int(epochs.iloc[0])}" for arm, epochs in copied.items() if len(epochs))
    lines += [
        "",
        f"The first copies appear in epoch {first}, long after the minimum of the validation loss. Studies that count passes over "
        f"the table compare differently: after as many passes as `high` made in total, `none` had made {as_often['step']:.0f} steps "
        f"(in the middle of its schedule) and {as_often['copy_rate']:.1%} of its images were copies.",
    ]
    used = found["high"]
    lines += ["", "Within `high`, by copies of an image in the training data:", "",
              "| copies in training | images | of which copied | synthetic copies per image |", "| --- | --- | --- | --- |"]  # fmt: skip
    for low, most in ((1, 3), (4, 6), (7, 9), (10, 12), (13, 14)):
        part = used.loc[used["copies"].between(low, most), "synthetic_copies"]
        lines.append(f"| {low} to {most} | {len(part)} | {(part > 0).mean():.0%} | {part.mean():.1f} |")
    lines += ["", f"![Copy rate over training, synthetic copies by duplication]({path.with_suffix('.svg').name})", ""]
    path.write_text("\n".join(lines), encoding="utf-8")


def main() -> None:
    """Parse the command line, train, count and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("csv", type=Path, help="CSV with image_path (relative to it) and subject")
    parser.add_argument("--work", type=Path, default=Path("results/duplication"), help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "duplication.md", help="default: %(default)s")
    options = parser.parse_args()
    folders = {arm: options.work.resolve() / arm for arm in ARMS}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    table = options.work.resolve() / "images.csv"
    if not table.exists():
        write_table(options.csv.resolve(), table)
    first, second = folders.values()
    run(first, "vae/latents.h5", table, 1)
    if not (second / "results").exists():
        shutil.copytree(first, second, dirs_exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda folder: run(folder, "matrices/ssim.h5", table, 1), folders.values()))
    histories = {arm: pd.read_csv(folder / "results" / "ldm" / "history.csv") for arm, folder in folders.items()}
    found = {arm: copies(folder) for arm, folder in folders.items()}
    plot(options.out.with_suffix(".svg"), histories, found)
    report(options.out, histories, found, max(minutes_of(folder) for folder in folders.values()))
    print(f"written to {options.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
