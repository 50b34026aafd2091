"""The stages that draw plots and pictures."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from deepssim.config.choices import MetricName
from deepssim.datasets.tables import read_csv, read_train_used
from deepssim.errors import DataError
from deepssim.evaluation.fitting import SourcedThresholds, thresholds_in
from deepssim.evaluation.summary import read_evaluation
from deepssim.ground_truth.tables import read_test_set
from deepssim.images.packs import open_packs, read_pack
from deepssim.metrics import METRICS
from deepssim.reporting import benchmark, evaluation_plots
from deepssim.reporting.pictures import save_nearest
from deepssim.reporting.plots import plot_f1, plot_histograms
from deepssim.similarity.matrices import read_scores


def plot_metric(
    *, aligned: str, misaligned: str, test: str, evaluation: str, png: str, svg: str, metric: MetricName
) -> None:
    """Draw the histogram of a metric's scores by true class, aligned and misaligned.

    Args:
        aligned, misaligned: score matrices.
        test: labelled pairs.
        evaluation: result of `evaluate`, for the thresholds.
        png, svg: plots to write.
        metric: whose scores these are.
    """
    table = read_test_set(test)
    scores = _by_variant(metric, table, aligned, misaligned)
    plot_histograms((png, svg), scores, table["label"].to_numpy(), METRICS[metric], _used_thresholds(evaluation))


def plot_benchmark(
    *, aligned: Sequence[str], misaligned: Sequence[str], test: str, evaluations: Sequence[str], png: str, svg: str
) -> None:
    """Draw the histograms of all metrics in one figure.

    Args:
        aligned, misaligned, evaluations: the files of each metric, in the same order.
        test: labelled pairs.
        png, svg: plots to write.
    """
    table = read_test_set(test)
    columns = []
    for evaluation, *matrices in zip(evaluations, aligned, misaligned, strict=True):
        metric = MetricName(read_evaluation(evaluation)["metric"])
        scores = _by_variant(metric, table, *matrices)
        columns.append(benchmark.MetricScores(METRICS[metric], _used_thresholds(evaluation), scores))
    benchmark.plot_benchmark((png, svg), columns, table["label"].to_numpy())


def plot_evaluation(
    *,
    aligned: Sequence[str],
    misaligned: Sequence[str],
    test: str,
    evaluations: Sequence[str],
    ranking_png: str,
    ranking_svg: str,
    confusion_png: str,
    confusion_svg: str,
    calibration_png: str,
    calibration_svg: str,
    copy_rate_png: str,
    copy_rate_svg: str,
) -> None:
    """Draw ROC and precision-recall curves, confusion matrices, calibration and copy rates of all metrics.

    Args:
        aligned, misaligned: score matrices of all metrics.
        test: labelled pairs.
        evaluations: results of `evaluate`, aligned and misaligned.
        ranking_png, ranking_svg, confusion_png, confusion_svg: plots to write.
        calibration_png, calibration_svg, copy_rate_png, copy_rate_svg: plots to write.
    """
    table = read_test_set(test)
    scores = {kind: _by_metric(paths, table) for kind, paths in (("aligned", aligned), ("misaligned", misaligned))}
    found = [read_evaluation(path) for path in evaluations]
    evaluation_plots.plot_ranking((ranking_png, ranking_svg), scores, table["label"].to_numpy(dtype="int64"))
    evaluation_plots.plot_calibration((calibration_png, calibration_svg), scores, table["ssim"].to_numpy())
    evaluation_plots.plot_confusion((confusion_png, confusion_svg), found)
    evaluation_plots.plot_copy_rate((copy_rate_png, copy_rate_svg), found)


def plot_summary(*, summary: str, svg: str) -> None:
    """Draw macro-F1 of all metrics, aligned and misaligned.

    Args:
        summary: table of `summarize`.
        svg: plot to write.
    """
    plot_f1(svg, read_csv(summary, needs=("metric", "images")))  # F1 may be undefined


def plot_copies(*, matrix: str, train_used: str, real: str, synthetic: Sequence[str], png: str) -> None:
    """Show synthetic images beside the training images that they resemble most.

    Args:
        matrix: score matrix.
        train_used: CSV with the keys of the generator's training images.
        real, synthetic: image packs.
        png: picture to write.
    """
    with open_packs(synthetic) as generated:
        save_nearest(png, read_scores(matrix), read_train_used(train_used), read_pack(real), generated)


def _by_variant(metric: MetricName, table: pd.DataFrame, aligned: str, misaligned: str) -> dict[str, np.ndarray]:
    """Return the scores of the test pairs, aligned and misaligned, of one metric."""
    found = {}
    for kind, path in (("aligned", aligned), ("misaligned", misaligned)):
        scores = _by_metric([path], table)
        if set(scores) != {metric.value}:
            raise DataError(
                f"{path}: holds scores of {next(iter(scores))}, not {metric.value}; name files of one metric"
            )
        found[kind] = scores[metric.value]
    return found


def _by_metric(matrices: Sequence[str], table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the scores of the test pairs by metric."""
    pairs = table["real_key"].tolist(), table["synth_key"].tolist()
    return {scores.metric: scores.pair_scores(*pairs) for scores in map(read_scores, matrices)}


def _used_thresholds(evaluation: str) -> SourcedThresholds:
    """Return the thresholds that an evaluation used."""
    found = read_evaluation(evaluation)["thresholds"]
    return SourcedThresholds(thresholds_in(found), found["source"])
