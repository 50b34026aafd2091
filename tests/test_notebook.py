"""The calls for a notebook: folders in, scores out."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import deepssim
from deepssim.errors import DataError
from deepssim.evaluation.verdict import Verdict
from tests.audit.folders import make_folders, tiny_encoder
from tests.conftest import ROOT


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
    assert matrix.scores[0, 0] == pytest.approx(1, abs=1e-6)  # the planted copy
    rows, columns = (side.values / np.linalg.norm(side.values, axis=1, keepdims=True) for side in (real, synthetic))
    np.testing.assert_allclose(matrix.scores, rows @ columns.T, atol=1e-6)
    assert deepssim.load_encoder(encoder)(torch.rand(1, 1, 32, 32)).shape == (1, 16)


@pytest.mark.parametrize("first", ["", "import deepssim.audit.run", "from deepssim.audit import run"])
def test_the_audit_can_be_called_whatever_was_imported_before(tmp_path, first):
    """The package's room of the same name must not take its place."""
    calls = f"""
{first}
import deepssim
for number in range(2):
    try:
        deepssim.audit("none", "none", "report")
    except deepssim.errors.DataError as error:
        print(error)
"""
    run = subprocess.run([sys.executable, "-c", calls], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) == 2
    assert all(line.startswith("none: ") for line in run.stdout.splitlines())


def test_only_what_is_there_can_be_called(tmp_path):
    assert set(deepssim.__all__) == {
        "load_images", "load_encoder", "embed", "score_matrix", "audit", "MemorizationMetric", "MemorizationCallback",
        "MemorizationHandler",
    }  # fmt: skip
    with pytest.raises(AttributeError, match="no attribute 'judge'"):
        deepssim.judge  # noqa: B018
    with pytest.raises(DataError, match="is not a folder"):
        deepssim.load_images(tmp_path / "none")


def test_the_notebook_finds_the_copies_that_it_plants(tmp_path, monkeypatch):
    """Its cells run as they stand, but for the installation, the number of controls and the frame that shows the page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cells = json.loads((ROOT / "docs" / "audit.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert code.pop(0) == "%pip install --quiet deepssim"
    assert "IFrame(str(result.page)" in code.pop()
    names: dict = {}
    for cell in code:
        quick = cell.replace("force=True", "force=True, controls=1, compared_at=96, threads=1")
        exec(compile(quick, "docs/audit.ipynb", "exec"), names)
    result = names["result"]
    assert result.verdict == Verdict.COPIES
    copies = result.pairs[result.pairs["kind"].str.contains("copy")]
    planted = copies[copies["synthetic"].str.startswith("copy")]
    assert len(planted) == 6
    assert (planted["synthetic"].str[4:7] == planted["real"].str[7:10]).all()
