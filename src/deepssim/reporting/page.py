"""The report: one HTML file with everything inside, for people who did not run the pipeline.

Not here: the figures (evaluation/), plots and pictures (plots.py, pictures.py).
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from deepssim.config.choices import MetricName
from deepssim.errors import DataError

_MIME = {".png": "image/png", ".svg": "image/svg+xml"}


def write_report(
    path: str | Path,
    *,
    images: pd.DataFrame,
    evaluations: Sequence[dict[str, Any]],
    histograms: Sequence[str | Path],
    summary_plot: str | Path,
    copies: str | Path,
    pictures: Mapping[str, str | Path],
    registered: Mapping[str, Any] | None = None,
) -> None:
    """Write the report.

    Args:
        path: HTML file to write.
        images: table of the real images.
        evaluations: results of `evaluate`, from `evaluation.summary.read_evaluation`.
        histograms: plot of each metric.
        summary_plot: F1 of all metrics.
        copies: picture of synthetic images and their nearest training images.
        pictures: further pictures by title.
        registered: copy rates that include flipped, rotated and shifted copies, if these were sought.

    Raises:
        DataError: if exact SSIM, which defines what a copy is, was not evaluated.
    """
    truth = [item for item in evaluations if item["metric"] == MetricName.SSIM and not item["misaligned"]]
    if not truth:
        raise DataError("the report needs the evaluation of ssim; add 'ssim' to evaluation.metrics")
    subjects = images.groupby("split", sort=False).agg(images=("key", "size"), subjects=("subject", "nunique"))
    template = jinja2.Environment(
        loader=jinja2.PackageLoader("deepssim.reporting"), autoescape=True, undefined=jinja2.StrictUndefined
    ).get_template("report.html")
    page = template.render(
        truth=truth[0],
        registered=registered,
        evaluations=evaluations,
        splits=subjects.reset_index().to_dict("records"),
        histograms=[_embedded(item) for item in histograms],
        summary_plot=_embedded(summary_plot),
        copies=_embedded(copies),
        pictures={title: _embedded(item) for title, item in pictures.items()},
    )
    Path(path).write_text(page, encoding="utf-8")


def _embedded(path: str | Path) -> str:
    content = base64.b64encode(Path(path).read_bytes()).decode()
    return f"data:{_MIME[Path(path).suffix]};base64,{content}"
