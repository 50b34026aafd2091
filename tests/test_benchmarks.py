"""The benchmarks run, on sizes that say nothing about speed, and write what their page needs."""

import subprocess
import sys

import pytest

from benchmarks.measure import replace_rows
from benchmarks.scaling import dry_run
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


def test_hundreds_of_shards_are_planned_in_little_memory():
    """What a thousand take is measured for docs/scaling.md."""
    jobs, seconds, memory_gb = dry_run(300)
    assert jobs > 12 * 300
    assert seconds > 0
    assert memory_gb < 0.4


def test_one_job_can_be_measured_again(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Title\n\nOn a processor.\n\n| job | s |\n| --- | --- |\n| a, 2 x 3 | 1 |\n| a, 2 x 30 | 2 |\n")
    replace_rows(page, ["| a, 2 x 3 | 7 |"], "a processor")
    assert page.read_text().splitlines()[-2:] == ["| a, 2 x 3 | 7 |", "| a, 2 x 30 | 2 |"]
    with pytest.raises(SystemExit, match="has no row of this job"):
        replace_rows(page, ["| a, 2 | 7 |"], "a processor")
    with pytest.raises(SystemExit, match="is not of this machine"):
        replace_rows(page, [], "another processor")
