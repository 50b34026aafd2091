"""Stages that judge metrics and show what was found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepssim.choices import MetricName
from deepssim.stages.judging import judged_figures
from deepssim.stages.shards import join_packs


def evaluate(
    *,
    matrix: str,
    test: str,
    train_used: str,
    images: str,
    figures: str,
    metric: MetricName,
    misaligned: bool = False,
    config: Any,
    config_hash: str,
) -> None:
    """Judge one metric on the labelled test pairs, with intervals by subject."""
    from deepssim.datasets.tables import read_test_set, read_train_used
    from deepssim.evaluation import classification
    from deepssim.provenance import versions
    from deepssim.similarity.matrices import read_scores
    from deepssim.similarity.metrics import METRICS

    keys = read_train_used(train_used)
    result = classification.evaluate(read_scores(matrix), read_test_set(test), keys, METRICS[metric].thresholds)
    result["judged"] = judged_figures(matrix, test, images, result["thresholds"], config.seed)
    result |= {"misaligned": misaligned, "provenance": {"config_sha256": config_hash, "versions": versions()}}
    Path(figures).write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def summarize(*, figures: Sequence[str], summary: str) -> None:
    """Collect the main figures of all metrics in one table."""
    from deepssim.datasets.tables import write_csv
    from deepssim.evaluation.summary import read_figures, summary_table

    write_csv(summary, summary_table([read_figures(path) for path in figures]))


def plot_metric(*, aligned: str, misaligned: str, test: str, png: str, svg: str, metric: MetricName) -> None:
    """Draw the histogram of a metric's scores by true class, aligned and misaligned."""
    from deepssim.datasets.tables import read_test_set
    from deepssim.reporting.plots import plot_histograms
    from deepssim.similarity.matrices import read_scores
    from deepssim.similarity.metrics import METRICS

    table = read_test_set(test)
    pairs = table["real_key"].tolist(), table["synth_key"].tolist()
    scores = {
        "aligned": read_scores(aligned).pair_scores(*pairs),
        "misaligned": read_scores(misaligned).pair_scores(*pairs),
    }
    plot_histograms((png, svg), scores, table["label"].to_numpy(), METRICS[metric])


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
