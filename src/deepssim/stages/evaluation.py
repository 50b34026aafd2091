"""The stages that evaluate metrics on the labelled pairs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from deepssim.config.choices import MetricName
from deepssim.datasets.tables import read_images, read_train_used, write_csv
from deepssim.errors import ConfigError, DataError
from deepssim.evaluation import classification, fitting, labelled_pairs
from deepssim.evaluation.fitting import SourcedThresholds
from deepssim.evaluation.summary import read_evaluation, summary_table
from deepssim.ground_truth.labels import SSIM_THRESHOLDS, Thresholds
from deepssim.ground_truth.tables import read_pairs, read_test_set
from deepssim.metrics import METRICS, needs_fit
from deepssim.runtime.json_files import as_json, write_json
from deepssim.runtime.provenance import versions
from deepssim.similarity.matrices import read_scores


def fit_thresholds(*, matrix: str, valid: str, thresholds: str, metric: MetricName) -> None:
    """Fit a metric's thresholds to the valid pairs, which share no subject with the test pairs.

    Args:
        matrix: score matrix of aligned images.
        valid: pair table.
        thresholds: JSON to write.
        metric: whose scores these are.
    """
    table = read_pairs(valid)
    scores = read_scores(matrix).pair_scores(table["real_key"].tolist(), table["synth_key"].tolist())
    fitted = fitting.fit_thresholds(scores, SSIM_THRESHOLDS.classify(table["ssim"].to_numpy()))
    source = f"fitted on {len(table)} valid pairs, whose subjects are in no test pair"
    fitting.write_thresholds(thresholds, SourcedThresholds(fitted, source), metric.value)


def evaluate(
    *,
    matrix: str,
    test: str,
    train_used: str,
    images: str,
    evaluation: str,
    metric: MetricName,
    seed: int,
    config_hash: str,
    thresholds: str | None = None,
    misaligned: bool = False,
) -> None:
    """Evaluate one metric on the labelled test pairs and count the copies it sees; intervals are by subject.

    Args:
        matrix: score matrix.
        test: labelled pairs.
        train_used: CSV with the keys of the generator's training images.
        images: image table, which names the subject of every real image.
        evaluation: JSON to write.
        metric: whose scores these are.
        seed: of the bootstrap.
        config_hash: SHA-256 of the settings, kept in the result.
        thresholds: fitted thresholds; the published ones unless given.
        misaligned: whether the images were misaligned.

    Raises:
        ConfigError: if no published thresholds apply to the metric's scores and none are given.
    """
    used = _thresholds(metric, thresholds)
    scores, table = read_scores(matrix), read_test_set(test)
    subject_of = read_images(images).set_index("key")["subject"].astype(str).to_dict()
    result = classification.evaluate(scores, table, read_train_used(train_used), used.thresholds, subject_of)
    result["thresholds"]["source"] = used.source
    result["judged"] = labelled_pairs.evaluate_labelled(
        _pair_scores(scores, table),
        _labels(table),
        _subjects(images, table),
        used.thresholds,
        labelled_pairs.Sampling(seed=seed),
    )
    result |= {"misaligned": misaligned, "provenance": {"config_sha256": config_hash, "versions": versions()}}
    write_json(evaluation, result, sort_keys=True)


def _thresholds(metric: MetricName, path: str | None) -> SourcedThresholds:
    if path:
        return fitting.read_thresholds(path, metric.value)
    published = METRICS[metric].thresholds
    if published is None or needs_fit(metric):
        raise ConfigError(
            f"{metric.value} has no published thresholds for scores of the workflow; fit some "
            f"(`snakemake results/eval/thresholds/{metric.value}.json`) and name the file by --thresholds"
        )
    return SourcedThresholds(published, fitting.PUBLISHED)


def compare_metrics(
    *,
    matrices: Sequence[str],
    evaluations: Sequence[str],
    test: str,
    images: str,
    comparison: str,
    disagreements: str,
    seed: int,
) -> None:
    """Compare metrics on the same test pairs: paired differences, agreement, and the pairs on which they disagree.

    Args:
        matrices: score matrices of aligned images.
        evaluations: results of `evaluate` on them.
        test: labelled pairs.
        images: image table, which names the subject of every real image.
        comparison: JSON to write.
        disagreements: CSV to write.
        seed: of the bootstrap.
    """
    table = read_test_set(test)
    scores = {found.metric: _pair_scores(found, table) for found in map(read_scores, matrices)}
    used = {item["metric"]: item["thresholds"] for item in map(read_evaluation, evaluations)}
    absent = [name for name in scores if name not in used]
    if absent:
        raise DataError(
            f"{len(absent)} of {len(scores)} metrics have no evaluation, first {absent[0]!r}; evaluate them"
        )
    thresholds = {name: Thresholds(used[name]["different_up_to"], used[name]["duplicate_above"]) for name in scores}
    classes = {name: thresholds[name].classify(values) for name, values in scores.items()}
    rows = labelled_pairs.compare_metrics(
        scores, thresholds, _labels(table), _subjects(images, table), labelled_pairs.Sampling(seed=seed)
    )
    content: dict[str, Any] = {
        "pairs": len(table),
        "agreement": labelled_pairs.agreement_matrix(classes).to_dict(),
        "differences": as_json(rows),
    }
    write_json(comparison, content)
    write_csv(disagreements, labelled_pairs.disagreements(table, scores, classes))


def summarize(*, evaluations: Sequence[str], summary: str) -> None:
    """Collect the main results of all metrics in one table.

    Args:
        evaluations: results of `evaluate`.
        summary: CSV to write, one row per evaluation.
    """
    write_csv(summary, summary_table([read_evaluation(path) for path in evaluations]))


def _pair_scores(scores: Any, table: pd.DataFrame) -> np.ndarray:
    return scores.pair_scores(table["real_key"].tolist(), table["synth_key"].tolist())


def _labels(table: pd.DataFrame) -> np.ndarray:
    return table["label"].to_numpy(dtype="int64")


def _subjects(images: str, table: pd.DataFrame) -> list[str]:
    """Return the subject of the real image of each pair."""
    subject_of = read_images(images).set_index("key")["subject"]
    absent = table.loc[~table["real_key"].isin(subject_of.index), "real_key"]
    if len(absent):
        raise DataError(
            f"{images}: lacks the real images of {len(absent)} of {len(table)} test pairs, first {absent.iloc[0]!r}; name the "
            "image table that the pairs were sampled from"
        )
    return subject_of.loc[table["real_key"]].astype(str).tolist()
