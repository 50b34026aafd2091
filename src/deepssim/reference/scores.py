"""Commands of the reference code that compute and evaluate scores: image trees, npz files and CSV in and out.

Each takes the reference's options by name, writes the same files and prints the same lines.

Not here: the commands of the generative model (generation.py), training of the encoder (training.py).
"""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backend_bases import FigureCanvasBase

from deepssim.config.choices import Device, FsimVariant, MetricName, Precision
from deepssim.config.evaluation import EvaluationConfig, SimilarityConfig
from deepssim.errors import ConfigError, DataError
from deepssim.evaluation.classification import classification_report
from deepssim.evaluation.fitting import PUBLISHED, SourcedThresholds, fit_thresholds
from deepssim.evaluation.labelled_pairs import Sampling, evaluate_labelled
from deepssim.ground_truth.labels import SSIM_THRESHOLDS, Thresholds
from deepssim.images.augment import misalign_pack
from deepssim.images.keys import REAL_NAME, split_key
from deepssim.images.packs import ImagePack
from deepssim.images.tree import find_images, find_keys, read_images
from deepssim.metrics import METRICS, require_weights
from deepssim.reference import npz
from deepssim.reference.reference_output import reference_lines
from deepssim.reference.testsets import calibration_half, read_labelled, record_subjects, require_pairs
from deepssim.reporting.plots import plot_labelled
from deepssim.runtime.json_files import as_json
from deepssim.runtime.outputs import atomic_outputs
from deepssim.similarity.tiles import all_scores, pair_scores

_PLOT_FORMATS = FigureCanvasBase.filetypes  # endings that matplotlib knows

logger = logging.getLogger(__name__)


def compute_matrix(
    *,
    metric_name: str,
    model_path: str,
    dataset_images_dir: str,
    embeddings_dir: str,
    matrices_dir: str,
    indices_dir: str,
    augment: bool,
    batch_size: int,
    evaluation_mode: bool,
    use_gpu: bool,
    trust: list[str],
    seed: int,
    threads: int,
    max_memory_gb: float,
) -> None:
    """Embed an image tree and score its real against its synthetic images.

    Args:
        metric_name, model_path: metric that compares embeddings; weights of its encoder.
        dataset_images_dir: image tree.
        embeddings_dir, matrices_dir: folders for `<metric>/<key>.npz` and for `<metric>.npz`.
        indices_dir: folder for `real.npz` and `synth.npz`.
        augment: misalign every image first.
        batch_size: images at a time, real and synthetic ones in the order of sorted keys.
        evaluation_mode: do not use published weights of Dar as the reference does, batch by batch (`encoders.dar.embed`).
        use_gpu: use a GPU if there is one.
        trust: SHA-256 of files that may be loaded though they can run code.
        seed, threads, max_memory_gb: of the misalignment; processor threads; memory limit of the scores.

    Raises:
        ConfigError, DataError: if the memory limit is too low, or the tree lacks real or synthetic images.
    """
    name = MetricName(metric_name)
    require_weights(name, model_path)
    pack, real, synthetic = _read_tree(dataset_images_dir, threads)
    if augment:
        pack = misalign_pack(pack, EvaluationConfig().misalignment, seed)
    device = _device(use_gpu)
    embed: Any = METRICS[name].embed
    options = {"batch_statistics": not evaluation_mode} if name is MetricName.DAR else {}
    embeddings = embed(model_path, pack, device, batch_size, Precision.FLOAT32, trust, **options)
    sides = [
        dataclasses.replace(embeddings, values=embeddings.values[[pack.index[key] for key in keys]], keys=keys)
        for keys in (real, synthetic)
    ]
    scores = all_scores(METRICS[name].compare(*sides, threads, device), max_memory_gb=max_memory_gb)
    npz.write_embeddings(Path(embeddings_dir, name.value), pack.keys, embeddings.values)
    final = {"matrix": Path(matrices_dir, f"{name.value}.npz")}
    final |= {side: Path(indices_dir, f"{side}.npz") for side in ("real", "synth")}
    with atomic_outputs(final) as files:
        npz.write_matrix(files["matrix"], scores)
        npz.write_index(files["real"], real)
        npz.write_index(files["synth"], synthetic)
    logger.info("%s: %d real x %d synthetic images, %s", final["matrix"], len(real), len(synthetic), METRICS[name].axis)


def _read_tree(root: str, threads: int) -> tuple[ImagePack, list[str], list[str]]:
    """Return all images of a tree, the keys of the real and those of the synthetic ones."""
    pack = read_images(find_images(root), place=root, threads=threads)
    real = [key for key in pack.keys if split_key(key)[1] == REAL_NAME]
    synthetic = [key for key in pack.keys if split_key(key)[1] != REAL_NAME]
    if not real or not synthetic:
        raise DataError(
            f"{root}: has {len(real)} real images ({REAL_NAME}.*) and {len(synthetic)} others; both are needed"
        )
    return pack, real, synthetic


def compute_ssim(**options: Any) -> None:
    """Score all images of two index files by exact SSIM; see `_compute_pixels`."""
    _compute_pixels(MetricName.SSIM, SimilarityConfig(), **options)


def compute_fsim(*, variant: str, **options: Any) -> None:
    """Score all images of two index files by FSIM; see `_compute_pixels`."""
    _compute_pixels(MetricName.FSIM, SimilarityConfig(fsim_variant=FsimVariant(variant)), **options)


def _compute_pixels(
    name: MetricName,
    similarity: SimilarityConfig,
    *,
    dataset_images_dir: str,
    output_matrix_path: str,
    real_indices_path: str,
    synth_indices_path: str,
    threads: int,
    max_memory_gb: float,
) -> None:
    """Write the scores of all pairs as npz, rows and columns in the order of the index files."""
    packs = [_read_keys(dataset_images_dir, npz.read_index(path), threads)
             for path in (real_indices_path, synth_indices_path)]  # fmt: skip
    comparison = METRICS[name].compare(*packs, threads, Device.AUTO, similarity)
    scores = all_scores(comparison, max_memory_gb=max_memory_gb)
    final = Path(output_matrix_path)
    final = final if final.suffix == ".npz" else final.with_name(f"{final.name}.npz")  # as `np.savez` names it
    with atomic_outputs({"matrix": final}) as files:
        npz.write_matrix(files["matrix"], scores)
    logger.info("%s: %d real x %d synthetic images, %s", final, *scores.shape, METRICS[name].axis)


def evaluate_matrix(
    *,
    metric_name: str,
    matrix_path: str,
    real_indices_path: str,
    synth_indices_path: str,
    testset_csv: str,
    low_threshold: float | None,
    upper_threshold: float | None,
    subjects: str | None,
    json_path: str | None,
    seed: int,
) -> None:
    """Evaluate a matrix on a labelled test set: print the reference's lines, then all results as JSON.

    Args:
        metric_name: metric of the scores.
        matrix_path, real_indices_path, synth_indices_path: npz files of the scores and of the keys of rows and columns.
        testset_csv: labelled pairs.
        low_threshold, upper_threshold: both or none; without them the published ones, or ones fitted on half of the subjects.
        subjects: CSV with `image_uid` and `subject`; every record is a subject unless given.
        json_path: file for the results too.
        seed: of the division into halves and of the bootstrap.

    Raises:
        ConfigError: if one threshold is given without the other, or they are in the wrong order.
    """
    name = MetricName(metric_name)
    table = read_labelled(testset_csv)
    scores = _scores_of(table, name, matrix_path, real_indices_path, synth_indices_path, testset_csv)
    if (low_threshold is None) != (upper_threshold is None):
        raise ConfigError("only one threshold is given; give both --low_threshold and --upper_threshold, or none")
    published = METRICS[name].thresholds
    whose = record_subjects(table, subjects)
    judged = table.index >= 0
    if low_threshold is not None and upper_threshold is not None:
        used = SourcedThresholds(_checked(low_threshold, upper_threshold), "given")
    elif published is not None:
        used = SourcedThresholds(published, PUBLISHED)
    else:
        fitting, judged = calibration_half(whose, seed)
        thresholds = fit_thresholds(scores[fitting], table["label"].to_numpy()[fitting])
        used = SourcedThresholds(
            thresholds, f"fitted on {fitting.sum()} pairs of half of the subjects (seed {seed}); judged by the rest"
        )
    _show_results(
        name, scores[judged], table[judged], [whose["real"][row] for row in judged.nonzero()[0]], used, json_path, seed
    )


def evaluate_ssim(
    *,
    augment: bool,
    testset_csv: str,
    dataset_images_dir: str,
    subjects: str | None,
    json_path: str | None,
    seed: int,
    threads: int,
    max_memory_gb: float,
) -> None:
    """Evaluate exact SSIM, aligned or misaligned, on a labelled test set; prints the same as `evaluate_matrix`.

    Args:
        augment: misalign every image first.
        testset_csv: labelled pairs.
        dataset_images_dir: image tree.
        subjects, json_path, seed: see `evaluate_matrix`.
        threads: processor threads.
        max_memory_gb: memory limit of the scores.
    """
    table = read_labelled(testset_csv)
    packs = [
        _read_keys(dataset_images_dir, list(dict.fromkeys(table[side])), threads) for side in ("real_key", "synth_key")
    ]
    if augment:
        packs = [misalign_pack(pack, EvaluationConfig().misalignment, seed) for pack in packs]
    places = (
        table[side].map(pack.index).to_numpy() for side, pack in zip(("real_key", "synth_key"), packs, strict=True)
    )
    comparison = METRICS[MetricName.SSIM].compare(*packs, threads, Device.AUTO)
    scores = pair_scores(comparison, *places, max_memory_gb=max_memory_gb).astype("float64")
    whose = record_subjects(table, subjects)["real"]
    _show_results(MetricName.SSIM, scores, table, whose, SourcedThresholds(SSIM_THRESHOLDS, PUBLISHED), json_path, seed)


def plot_reports(
    *,
    matrix_path: str,
    output_path: str,
    exp_title: str,
    low_threshold: float,
    upper_threshold: float,
    testset_csv: str,
    real_indices_path: str,
    synth_indices_path: str,
) -> None:
    """Draw the histogram of a matrix's scores by class.

    Args:
        matrix_path, real_indices_path, synth_indices_path, testset_csv: see `evaluate_matrix`.
        output_path: PNG, SVG or PDF to write.
        exp_title: title of the plot.
        low_threshold, upper_threshold: to draw as lines.

    Raises:
        ConfigError: if the thresholds are in the wrong order, or the ending of the path is not that of a plot.
    """
    final = Path(output_path) if Path(output_path).suffix else Path(f"{output_path}.png")
    if final.suffix.removeprefix(".").lower() not in _PLOT_FORMATS:
        raise ConfigError(f"--output_path {output_path!r} ends in {final.suffix!r}; use .png, .svg or .pdf")
    thresholds = _checked(low_threshold, upper_threshold)
    table = read_labelled(testset_csv)
    scores = _scores_of(table, None, matrix_path, real_indices_path, synth_indices_path, testset_csv)
    with atomic_outputs({"plot": final}) as files:
        plot_labelled(files["plot"], scores, table["label"].to_numpy(), thresholds, exp_title)


def _device(use_gpu: bool) -> Device:
    # As in the reference, asking for a GPU that is not there is not an error.
    return Device.AUTO if use_gpu else Device.CPU


def _read_keys(root: str, keys: list[str], threads: int) -> ImagePack:
    return read_images(find_keys(root, keys), place=root, threads=threads)


def _scores_of(
    table: pd.DataFrame, name: MetricName | None, matrix: str, real_index: str, synth_index: str, source: str
) -> np.ndarray:
    """Return the scores of labelled pairs, float64."""
    real_keys, synth_keys = (npz.read_index(path) for path in (real_index, synth_index))
    require_pairs(table, real_keys, synth_keys, source)
    content = npz.read_matrix(matrix, real_keys, synth_keys, name.value if name else "")
    scores = content.pair_scores(table["real_key"].tolist(), table["synth_key"].tolist())
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        pair = table.loc[bad[0], ["real_key", "synth_key"]].tolist()
        raise DataError(
            f"{matrix}: {bad.size} of {len(scores)} scores are not finite, first of {pair[0]!r} and {pair[1]!r}"
        )
    return scores


def _checked(low: float, high: float) -> Thresholds:
    if not low <= high:
        raise ConfigError(f"--low_threshold {low:g} is above --upper_threshold {high:g}")
    return Thresholds(low, high)


def _show_results(
    name: MetricName,
    scores: np.ndarray,
    table: pd.DataFrame,
    subjects: list[str],
    used: SourcedThresholds,
    path: str | None,
    seed: int,
) -> None:
    """Print the results of labelled pairs, and write them to a file if one is named."""
    labels = table["label"].to_numpy()
    results = classification_report(scores, labels, used.thresholds)
    results["thresholds"]["source"] = used.source
    results["judged"] = as_json(evaluate_labelled(scores, labels, subjects, used.thresholds, Sampling(seed=seed)))
    low, high = METRICS[name].score_range
    results |= {"metric": name.value, "range": [low, high], "direction": "higher is more similar"}
    text = json.dumps(results, indent=2)
    if path:  # before the results are printed, which fails if nobody reads on, as in `deepssim eval ... | head`
        with atomic_outputs({"results": path}) as files:
            Path(files["results"]).write_text(f"{text}\n", encoding="utf-8")
    print(*reference_lines(results), text, sep="\n")
