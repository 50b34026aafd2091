"""The report: one HTML file with everything inside, for people who did not run the pipeline.

Not here: the figures (evaluation/), plots and pictures (plots.py, pictures.py).
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from deepssim.config.choices import MetricName
from deepssim.errors import DataError
from deepssim.evaluation.summary import f1_text, not_evaluated, planted_note, verdict_of
from deepssim.evaluation.verdict import Verdict
from deepssim.ground_truth.labels import LABELS_BY_SCORE
from deepssim.reporting.environment import page_environment

_CLASSES = {Verdict.COPIES: "found", Verdict.NONE: "none", Verdict.CANNOT_TELL: "unsure"}
_MIME = {".png": "image/png", ".svg": "image/svg+xml"}


def write_report(
    path: str | Path,
    *,
    images: pd.DataFrame,
    evaluations: Sequence[dict[str, Any]],
    histograms: Sequence[str | Path],
    summary_plot: str | Path,
    curves: Mapping[str, str | Path],
    copies: str | Path,
    pictures: Mapping[str, str | Path],
    registered: Mapping[str, Any] | None = None,
    volumes: bool = False,
) -> None:
    """Write the report.

    Args:
        path: HTML file to write.
        images: table of the real images.
        evaluations: results of `evaluate`, from `evaluation.summary.read_evaluation`.
        histograms: plot of each metric.
        summary_plot: F1 of all metrics.
        curves: further plots of all metrics by what they show.
        copies: picture of synthetic images and their nearest training images.
        pictures: further pictures by title.
        registered: what `verify_copies` found, from `evaluation.summary.read_registered_copies`; None if it did not run.
        volumes: whether the images are volumes.

    Raises:
        DataError: if exact SSIM, which defines what a copy is, was not evaluated.
    """
    truth = [item for item in evaluations if item["metric"] == MetricName.SSIM and not item["misaligned"]]
    if not truth:
        raise DataError("the report needs the evaluation of ssim; add 'ssim' to evaluation.metrics")
    subjects = images.groupby("split", sort=False).agg(images=("key", "size"), subjects=("subject", "nunique"))
    environment = page_environment()
    environment.filters |= {"f1": f1_text, "number": _number}
    verdict = verdict_of(registered, truth[0])
    page = environment.get_template("report.html").render(
        truth=truth[0],
        registered=registered,
        volumes=volumes,
        verdict=verdict,
        verdict_class=_CLASSES[verdict["verdict"]],
        not_evaluated=not_evaluated(evaluations),
        planted_note=planted_note(evaluations),
        evaluations=evaluations,
        splits=subjects.reset_index().to_dict("records"),
        classes=[label.name.lower() for label in LABELS_BY_SCORE],
        histograms={Path(item).stem: _embedded(item) for item in histograms},
        curves={title: _embedded(item) for title, item in curves.items()},
        summary_plot=_embedded(summary_plot),
        copies=_embedded(copies),
        pictures={title: _embedded(item) for title, item in pictures.items()},
    )
    Path(path).write_text(page, encoding="utf-8")


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _embedded(path: str | Path) -> str:
    content = base64.b64encode(Path(path).read_bytes()).decode()
    return f"data:{_MIME[Path(path).suffix]};base64,{content}"
