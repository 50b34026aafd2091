import numpy as np
import pytest
import torch

import deepssim
from deepssim.errors import DataError
from tests.audit.folders import make_folders, tiny_encoder


def test_folders_to_scores(tmp_path):
    root = make_folders(tmp_path, real=4, synthetic=3, holdout=0, copies=1)
    encoder = tiny_encoder(tmp_path / "e.safetensors")
    real, synthetic = (
        deepssim.embed(encoder, deepssim.load_images(root / name, size=(32, 32)), device="cpu")
        for name in ("real", "synthetic")
    )
    matrix = deepssim.score_matrix(real, synthetic)
    assert matrix.real_keys == ["p00_0.png", "p00_1.png", "p01_0.png", "p01_1.png"]
    assert matrix.scores.shape == (4, 3)
    assert matrix.scores[0, 0] == pytest.approx(1, abs=1e-6)
    expected = np.corrcoef(real.values[1], synthetic.values[2])  # not the cosine, but of the same order
    assert -1 <= matrix.scores[1, 2] <= 1
    assert np.isfinite(expected).all()
    assert deepssim.load_encoder(encoder)(torch.rand(1, 1, 32, 32)).shape == (1, 16)


def test_only_what_is_there_can_be_called(tmp_path):
    assert set(deepssim.__all__) == {"load_images", "load_encoder", "embed", "score_matrix", "audit"}
    with pytest.raises(AttributeError, match="no attribute 'judge'"):
        deepssim.judge  # noqa: B018
    with pytest.raises(DataError, match="is not a folder"):
        deepssim.load_images(tmp_path / "none")
