"""The benchmarks run, on sizes that say nothing about speed, and write what their page needs."""

import subprocess
import sys

from tests.conftest import ROOT


def test_all_of_them_run(tmp_path):
    page = tmp_path / "benchmarks.md"
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.run", "--quick", "--out", str(page)],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    text = page.read_text()
    for rival in ("scikit-image", "numpy", "cdist", "plain float32 loop", "faiss", "list.index", "channels first"):
        assert rival in text
    assert text.count("| SSIM matrix |") == text.count("| top-10 of embeddings |") == 4
    assert (tmp_path / "benchmarks.svg").stat().st_size > 5000
