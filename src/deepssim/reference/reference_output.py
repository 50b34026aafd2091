"""The lines that the evaluation of the reference code prints, so that programs that parse them keep working.

Not here: the results (evaluation/classification.py).

Source: printed output of the DeepSSIM reference code (arXiv:2509.16582).
"""

from typing import Any

from deepssim.ground_truth.labels import LABELS_BY_SCORE


def reference_lines(results: dict[str, Any]) -> list[str]:
    """Return precision and recall of each class, weighted and macro F1 and the silhouette, one line each."""
    classes = [(label.name, results["per_class"][label.name.lower()]) for label in LABELS_BY_SCORE]
    return [
        *(f"{name.title()} [Precision, Recall] = {one['precision']} {one['recall']}" for name, one in classes),
        f"Weighted F1-Score = {results['weighted_f1']}",
        f"Macro F1-Score = {results['macro_f1']}",
        f"Silhouette Score = {results['silhouette']}",
    ]
