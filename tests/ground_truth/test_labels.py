import numpy as np

from deepssim.ground_truth.labels import SSIM_THRESHOLDS, Label


def test_boundaries_are_those_of_the_published_labels():
    scores = np.array([-1, 0.60, np.nextafter(0.60, 1), 0.85, np.nextafter(0.85, 1), 1])
    D, S, C = Label.DIFFERENT, Label.SIMILAR, Label.DUPLICATE
    assert SSIM_THRESHOLDS.classify(scores).tolist() == [D, D, S, S, C, C]
    assert [int(label) for label in (D, C, S)] == [0, 1, 2]


def test_float32_is_compared_as_it_is():
    assert SSIM_THRESHOLDS.classify(np.array([0.6], np.float32)).tolist() == [
        Label.SIMILAR
    ]  # 0.6 in float32 is above 0.6
