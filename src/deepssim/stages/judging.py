"""Stages that say how sure an evaluation is, and compare metrics with each other.

Not here: single figures and the report of the workflow (evaluation.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepssim.settings import as_plain

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from deepssim.evaluation.labels import Thresholds


def judged_figures(matrix: str, test: str, images: str | None, used: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Judge a metric with intervals by subject.

    Args:
        matrix, test, images: files of scores, labelled pairs and real images; without the last every real image counts as a
            subject of its own.
        used: thresholds as an evaluation has them, `different_up_to` and `duplicate_above`.
        seed: the config's seed.
    """
    from deepssim.datasets.tables import read_test_set
    from deepssim.evaluation.judged import Sampling, judge

    table = read_test_set(test)
    (scores,) = _all_scores([matrix], table).values()
    return as_plain(judge(scores, _labels(table), _subjects(images, table), _thresholds(used), Sampling(seed=seed)))


def compare_metrics(
    *,
    matrices: Sequence[str],
    figures: Sequence[str],
    test: str,
    images: str,
    comparison: str,
    disagreements: str,
    config: Any,
) -> None:
    """Compare metrics on the same test pairs: paired differences, agreement, and the pairs on which they disagree."""
    from deepssim.datasets.tables import read_test_set, write_csv
    from deepssim.evaluation import judged
    from deepssim.evaluation.summary import read_figures

    table = read_test_set(test)
    scores = _all_scores(matrices, table)
    found = [read_figures(path) for path in figures]
    thresholds = {item["metric"]: _thresholds(item["thresholds"]) for item in found if item["metric"] in scores}
    classes = {name: thresholds[name].classify(values) for name, values in scores.items()}
    rows = judged.compare_metrics(
        scores, thresholds, _labels(table), _subjects(images, table), judged.Sampling(seed=config.seed)
    )
    content = {
        "pairs": len(table),
        "agreement": judged.agreement_matrix(classes).to_dict(),
        "differences": as_plain(rows),
    }
    Path(comparison).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    write_csv(disagreements, judged.disagreements(table, scores, classes))


def plot_evaluation(
    *,
    aligned: Sequence[str],
    misaligned: Sequence[str],
    test: str,
    figures: Sequence[str],
    ranking_png: str,
    ranking_svg: str,
    confusion_png: str,
    confusion_svg: str,
    calibration_png: str,
    calibration_svg: str,
    copy_rate_png: str,
    copy_rate_svg: str,
) -> None:
    """Draw ROC and precision-recall curves, confusion matrices, calibration and copy rates of all metrics."""
    from deepssim.datasets.tables import read_test_set
    from deepssim.evaluation.summary import read_figures
    from deepssim.reporting import evaluation_plots as plots

    table = read_test_set(test)
    scores = {"aligned": _all_scores(aligned, table), "misaligned": _all_scores(misaligned, table)}
    found = [read_figures(path) for path in figures]
    plots.plot_ranking((ranking_png, ranking_svg), scores, _labels(table))
    plots.plot_calibration((calibration_png, calibration_svg), scores, table["ssim"].to_numpy())
    plots.plot_confusion((confusion_png, confusion_svg), found)
    plots.plot_copy_rate((copy_rate_png, copy_rate_svg), found)


def _labels(table: pd.DataFrame) -> np.ndarray:
    return table["label"].to_numpy(dtype="int64")


def _subjects(images: str | None, table: pd.DataFrame) -> list[str]:
    """Return the subject of the real image of each pair."""
    if images is None:
        return table["real_key"].tolist()
    from deepssim.datasets.tables import read_images

    return read_images(images).set_index("key")["subject"].loc[table["real_key"]].astype(str).tolist()


def _all_scores(matrices: Sequence[str], table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the scores of the test pairs by metric."""
    from deepssim.similarity.matrices import read_scores

    pairs = table["real_key"].tolist(), table["synth_key"].tolist()
    return {scores.metric: scores.pair_scores(*pairs) for scores in map(read_scores, matrices)}


def _thresholds(used: Mapping[str, Any]) -> Thresholds:
    from deepssim.evaluation.labels import Thresholds

    return Thresholds(used["different_up_to"], used["duplicate_above"])
