"""Stages that judge metrics and show what was found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepssim.choices import MetricName
from deepssim.errors import ConfigError, DataError
from deepssim.similarity.metrics import METRICS
from deepssim.stages.judging import judged_figures
from deepssim.stages.shards import join_packs

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from deepssim.evaluation.fitting import Origin


def fit_thresholds(*, matrix: str, valid: str, thresholds: str, metric: MetricName) -> None:
    """Fit a metric's thresholds to the valid pairs, which share no subject with the test pairs."""
    from deepssim.datasets.tables import read_pairs
    from deepssim.evaluation import fitting
    from deepssim.evaluation.labels import TRUTH
    from deepssim.similarity.matrices import read_scores

    table = read_pairs(valid)
    scores = read_scores(matrix).pair_scores(table["real_key"].tolist(), table["synth_key"].tolist())
    fitted = fitting.fit_thresholds(scores, TRUTH.classify(table["ssim"].to_numpy()))
    source = f"fitted on {len(table)} valid pairs, whose subjects are in no test pair"
    fitting.write_thresholds(thresholds, fitting.Origin(fitted, source), metric.value)


def evaluate(
    *,
    matrix: str,
    test: str,
    train_used: str,
    figures: str,
    metric: MetricName,
    thresholds: str | None = None,
    images: str | None = None,
    misaligned: bool = False,
    config: Any,
    config_hash: str,
) -> None:
    """Judge one metric on the labelled test pairs by its published thresholds or those of a file, with intervals."""
    from deepssim.datasets.tables import read_test_set, read_train_used
    from deepssim.evaluation import classification
    from deepssim.provenance import versions
    from deepssim.similarity.matrices import read_scores

    keys = read_train_used(train_used)
    used = _thresholds(metric, thresholds)
    result = classification.evaluate(read_scores(matrix), read_test_set(test), keys, used.thresholds)
    result["thresholds"]["source"] = used.source
    result["judged"] = judged_figures(matrix, test, images, result["thresholds"], config.seed)
    result |= {"misaligned": misaligned, "provenance": {"config_sha256": config_hash, "versions": versions()}}
    Path(figures).write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _thresholds(metric: MetricName, path: str | None) -> Origin:
    from deepssim.evaluation.fitting import PUBLISHED, Origin, read_thresholds

    published = METRICS[metric].thresholds
    if path:
        return read_thresholds(path, metric.value)
    if published is None:
        raise ConfigError(
            f"{metric.value} has no published thresholds; fit some (`deepssim fit-thresholds`) and name them by --thresholds"
        )
    return Origin(published, PUBLISHED)


def summarize(*, figures: Sequence[str], summary: str) -> None:
    """Collect the main figures of all metrics in one table."""
    from deepssim.datasets.tables import write_csv
    from deepssim.evaluation.summary import read_figures, summary_table

    write_csv(summary, summary_table([read_figures(path) for path in figures]))


def plot_metric(
    *, aligned: str, misaligned: str, test: str, figures: str, png: str, svg: str, metric: MetricName
) -> None:
    """Draw the histogram of a metric's scores by true class, aligned and misaligned."""
    from deepssim.datasets.tables import read_test_set
    from deepssim.reporting.plots import plot_histograms

    table = read_test_set(test)
    scores = _test_scores(metric, table, aligned, misaligned)
    plot_histograms((png, svg), scores, table["label"].to_numpy(), METRICS[metric], _used(figures))


def plot_benchmark(
    *, aligned: Sequence[str], misaligned: Sequence[str], test: str, figures: Sequence[str], png: str, svg: str
) -> None:
    """Draw the histograms of all metrics in one figure; the files of a metric have the same place in every list."""
    from deepssim.datasets.tables import read_test_set
    from deepssim.evaluation.summary import read_figures
    from deepssim.reporting import benchmark

    table = read_test_set(test)
    columns = []
    for used, *matrices in zip(figures, aligned, misaligned, strict=True):
        metric = MetricName(read_figures(used)["metric"])
        columns.append(benchmark.MetricScores(METRICS[metric], _used(used), _test_scores(metric, table, *matrices)))
    benchmark.plot_benchmark((png, svg), columns, table["label"].to_numpy())


def _test_scores(metric: MetricName, table: pd.DataFrame, aligned: str, misaligned: str) -> dict[str, np.ndarray]:
    from deepssim.similarity.matrices import read_scores

    found = {"aligned": read_scores(aligned), "misaligned": read_scores(misaligned)}
    for path, scores in zip((aligned, misaligned), found.values(), strict=True):
        if scores.metric != metric:
            raise DataError(f"{path}: holds scores of {scores.metric}, not {metric.value}; name files of one metric")
    pairs = table["real_key"].tolist(), table["synth_key"].tolist()
    return {kind: scores.pair_scores(*pairs) for kind, scores in found.items()}


def _used(figures: str) -> Origin:
    """Return the thresholds that an evaluation used."""
    from deepssim.evaluation.fitting import Origin
    from deepssim.evaluation.labels import Thresholds
    from deepssim.evaluation.summary import read_figures

    found = read_figures(figures)["thresholds"]
    return Origin(Thresholds(found["different_up_to"], found["duplicate_above"]), found["source"])


def plot_summary(*, summary: str, svg: str) -> None:
    """Draw macro-F1 of all metrics, aligned and misaligned."""
    from deepssim.datasets.tables import read_csv
    from deepssim.evaluation.summary import SUMMARY_COLUMNS
    from deepssim.reporting.plots import plot_f1

    plot_f1(svg, read_csv(summary, needs=SUMMARY_COLUMNS))


def plot_copies(*, matrix: str, train_used: str, real: str, synthetic: Sequence[str], png: str) -> None:
    """Show synthetic images beside the training images that they resemble most."""
    from deepssim.datasets.tables import read_train_used
    from deepssim.images.packs import read_pack
    from deepssim.reporting.pictures import save_nearest
    from deepssim.similarity.matrices import read_scores

    keys = read_train_used(train_used)
    save_nearest(png, read_scores(matrix), keys, read_pack(real), join_packs(synthetic))


def report(
    *,
    images: str,
    figures: Sequence[str],
    histograms: Sequence[str],
    summary_plot: str,
    copies: str,
    reconstructions: str,
    samples: str,
    page: str,
) -> None:
    """Write the report, one HTML file that needs nothing else."""
    from deepssim.datasets.tables import read_images
    from deepssim.evaluation.summary import read_figures
    from deepssim.reporting.page import write_report

    write_report(
        page,
        images=read_images(images),
        figures=[read_figures(path) for path in figures],
        histograms=histograms,
        summary_plot=summary_plot,
        copies=copies,
        pictures={"Autoencoder": reconstructions, "Samples of the diffusion model": samples},
    )
