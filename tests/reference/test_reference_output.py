import numpy as np

from deepssim.evaluation.classification import classification_report
from deepssim.ground_truth.labels import SSIM_THRESHOLDS
from deepssim.reference.reference_output import reference_lines


def test_lines_have_the_order_and_names_of_the_reference():
    figures = classification_report(np.array([0.1, 0.7, 0.9, 0.2]), np.array([0, 2, 1, 2]), SSIM_THRESHOLDS)
    assert reference_lines(figures)[:3] == [
        "Different [Precision, Recall] = 0.5 1.0",
        "Similar [Precision, Recall] = 1.0 0.5",
        "Duplicate [Precision, Recall] = 1.0 1.0",
    ]
    names = [line.split(" = ")[0] for line in reference_lines(figures)[3:]]
    assert names == ["Weighted F1-Score", "Macro F1-Score", "Silhouette Score"]
