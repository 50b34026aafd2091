"""The stages that evaluate metrics on the labelled pairs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from deepssim.config.choices import MetricName
from deepssim.datasets.tables import Split, read_images, read_train_used, write_csv
from deepssim.errors import ConfigError, DataError
from deepssim.evaluation import classification, fitting, labelled_pairs
from deepssim.evaluation.fitting import SourcedThresholds
from deepssim.evaluation.summary import read_evaluation, summary_table
from deepssim.ground_truth.labels import SSIM_THRESHOLDS, UNKNOWN, Label
from deepssim.ground_truth.tables import read_pairs, read_planted, read_test_set
from deepssim.metrics import METRICS, needs_fit
from deepssim.runtime.json_files import as_json, write_json
from deepssim.runtime.provenance import versions
from deepssim.similarity.matrices import read_scores
from deepssim.similarity.scores import Scores


def fit_thresholds(*, matrix: str, valid: str, thresholds: str, metric: MetricName, planted: str | None = None) -> None:
    """Fit a metric's thresholds to the valid pairs, which share no subject with the test pairs.

    Without duplicates, or nothing but duplicates, there is nothing to fit a limit of duplicates to; the thresholds are then null.

    Args:
        matrix: score matrix of aligned images.
        valid: pair table.
        thresholds: JSON to write.
        metric: whose scores these are.
        planted: scores of planted copies, which stand in where no valid pair is a duplicate.
    """
    table = read_pairs(valid)
    scores, labels = _pair_scores(read_scores(matrix), table), SSIM_THRESHOLDS.classify(table["ssim"].to_numpy())
    source = f"fitted on {len(table)} valid pairs, whose subjects are in no test pair"
    if planted and Label.DUPLICATE not in labels:
        copies = _planted(planted, Split.VALID)
        scores, labels = np.append(scores, copies["score"]), np.append(labels, _labels(copies))
        source += f", and {len(copies)} planted copies (some deformed), since no valid pair is a duplicate"
    duplicates = int((labels == Label.DUPLICATE).sum())
    if not 0 < duplicates < len(labels) or len(np.unique(scores)) < 2:
        reason = f"thresholds could not be fitted, since {duplicates} of {len(labels)} valid pairs are duplicates"
        fitted = SourcedThresholds(UNKNOWN, reason)
    else:
        fitted = SourcedThresholds(fitting.fit_thresholds(scores, labels), source)
    fitting.write_thresholds(thresholds, fitted, metric.value)


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
    planted: str | None = None,
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
        planted: scores of planted copies; the metric is then tested on these, too, in place of duplicates.
        misaligned: whether the images were misaligned.

    Raises:
        ConfigError: if no published thresholds apply to the metric's scores and none are given.
    """
    used = _thresholds(metric, thresholds)
    scores, table = read_scores(matrix), read_test_set(test)
    subject_of = read_images(images).set_index("key")["subject"].astype(str).to_dict()
    result = classification.evaluate(scores, table, read_train_used(train_used), used, subject_of)
    sampling = labelled_pairs.Sampling(seed=seed)
    judged = labelled_pairs.evaluate_labelled(
        _pair_scores(scores, table), _labels(table), _subjects(images, table), used.thresholds, sampling
    )
    result["judged"] = labelled_pairs.with_reasons(judged, result["undefined"])
    result["planted"] = (
        _on_planted(scores, table, _planted(planted, Split.TEST), images, used, sampling) if planted else None
    )
    result |= {"misaligned": misaligned, "provenance": {"config_sha256": config_hash, "versions": versions()}}
    write_json(evaluation, result, sort_keys=True)


def _planted(path: str, split: Split) -> pd.DataFrame:
    """Return the planted copies of one set of pairs with their scores."""
    table = read_planted(path, "score")
    return table[table["split"] == split.value]


def _on_planted(
    scores: Scores,
    test: pd.DataFrame,
    planted: pd.DataFrame,
    images: str,
    used: SourcedThresholds,
    sampling: labelled_pairs.Sampling,
) -> dict[str, Any]:
    """Evaluate a metric on the test pairs that are no duplicates, and on planted copies and deformed ones."""
    others = test[test["label"] != Label.DUPLICATE]
    values = np.append(_pair_scores(scores, others), planted["score"].to_numpy())
    table = pd.concat([others, planted], ignore_index=True)
    result = classification.pair_results(values, _labels(table), table["ssim"].to_numpy(), used)
    judged = labelled_pairs.evaluate_labelled(
        values, _labels(table), _subjects(images, table), used.thresholds, sampling
    )
    result["judged"] = labelled_pairs.with_reasons(judged, result["undefined"])
    return result | {"planted_copies": int((planted["label"] == Label.DUPLICATE).sum()), "planted_pairs": len(planted)}


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

    What a missing class leaves undefined is null, with the reason under `undefined`.

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
    scores = {matrix.metric: _pair_scores(matrix, table) for matrix in map(read_scores, matrices)}
    found = [read_evaluation(path) for path in evaluations]
    used = {item["metric"]: item["thresholds"] for item in found}
    absent = [name for name in scores if name not in used]
    if absent:
        raise DataError(
            f"{len(absent)} of {len(scores)} metrics have no evaluation, first {absent[0]!r}; evaluate them"
        )
    thresholds = {name: fitting.thresholds_in(used[name]) for name in scores}
    classes = {name: thresholds[name].classify(values) for name, values in scores.items() if thresholds[name].known}
    rows = labelled_pairs.compare_metrics(
        scores, thresholds, _labels(table), _subjects(images, table), labelled_pairs.Sampling(seed=seed)
    )
    content: dict[str, Any] = {
        "pairs": len(table),
        "agreement": labelled_pairs.agreement_matrix(classes).to_dict(),
        "differences": as_json(rows),
        "undefined": {
            f"{item['metric']}.{name}": reason
            for item in found
            for name, reason in item["undefined"].items()
            if name in ("macro_f1", "auroc", "copies")
        },
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


def _pair_scores(scores: Scores, table: pd.DataFrame) -> np.ndarray:
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
