"""What the evaluation of the reference code prints, line by line, so that programs that read it go on working.

Not here: the figures (classification.py).

Source: printed output of the DeepSSIM reference code (arXiv:2509.16582).
"""

from typing import Any

from deepssim.evaluation.labels import LABELS_BY_SCORE


def reference_lines(figures: dict[str, Any]) -> list[str]:
    """Return precision and recall of each class, weighted and macro F1 and the silhouette, one line each."""
    classes = [(label.name, figures["per_class"][label.name.lower()]) for label in LABELS_BY_SCORE]
    return [
        *(f"{name.title()} [Precision, Recall] = {one['precision']} {one['recall']}" for name, one in classes),
        f"Weighted F1-Score = {figures['weighted_f1']}",
        f"Macro F1-Score = {figures['macro_f1']}",
        f"Silhouette Score = {figures['silhouette']}",
    ]
