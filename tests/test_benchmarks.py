"""The benchmarks run, on sizes that say nothing about speed, and write what their page needs."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks import audit_rivals, audit_size, coverage, similar_patients
from benchmarks.audit import SIDE, write_many
from benchmarks.measure import Used, replace_rows
from benchmarks.run import OTHERS
from benchmarks.scaling import dry_run
from deepssim.audit.examination import Verdict
from deepssim.registration.keypoints import find_keypoints
from tests.conftest import ROOT


def test_all_of_them_run(tmp_path):
    page = tmp_path / "benchmarks.md"
    page.write_text(f"# Earlier\n\n| old |\n{OTHERS}\nA table of another benchmark.\n")
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.run", "--quick", "--out", str(page)],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    text = page.read_text()
    for rival in ("scikit-image", "numpy", "cdist", "plain float32 loop", "faiss", "list.index", "channels first"):
        assert rival in text
    assert "| old |" not in text
    assert text.endswith(f"{OTHERS}\nA table of another benchmark.\n")
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


@pytest.mark.parametrize("design", coverage.AUDITS)
def test_simulated_audits_without_copies_find_none(design):
    """What hundreds of them say is in docs/audit.md; two of twenty are more than one in forty."""
    verdicts = [coverage.audit_verdict(design, repetition)[0] for repetition in range(10)]
    assert verdicts.count(Verdict.COPIES) <= 1
    assert (Verdict.CANNOT_TELL in verdicts) is (design[0] < 20)


def test_similar_patients_are_no_copies(monkeypatch):
    monkeypatch.setattr(similar_patients, "CONTROLS", 1)
    pack = similar_patients.population(80)
    assert similar_patients.audit(pack, (30, 20, 30), seed=0, threads=1) != Verdict.COPIES


def test_images_for_time_and_memory_have_keypoints_and_differ(tmp_path):
    write_many(tmp_path, (2, 3))
    paths = sorted(tmp_path.rglob("*.png"))
    images = [np.asarray(Image.open(path)) for path in paths]
    assert len({image.tobytes() for image in images}) == 5
    assert {image.shape for image in images} == {(SIDE, SIDE)}
    assert all(len(level.places) > 20 for image in images for level in find_keypoints(image))


def test_a_million_images_are_worked_out_from_the_last_two_audits():
    found = [Used(0, 10.0, 1.0, 0), Used(0, 22.0, 1.1, 0), Used(0, 42.0, 1.2, 0)]
    lines = audit_size.table_lines([10_000, 20_000, 40_000], found)
    assert (
        lines[-3] == "| 1,000,000, extrapolated | 6.00 | 1002 | 1.00 |"
    )  # 1.2 GB + 960,000 x 5,000 bytes; 42 s + 960,000 x 1 ms
    assert lines[-1] == "Each further image takes 5,000 bytes of memory and 1.00 ms of processor time."
    few, many = (list(audit_size.made_images(count, 2)) for count in (3, 1200))
    assert (len(few), len(many), few[0].shape) == (3, 1200, (64, 64))
    np.testing.assert_array_equal(few, many[:3])


def test_a_further_image_of_a_rival_is_the_difference_of_two_runs():
    found = [Used(3, 2.0, 0.5, 0), Used(9, 5.0, 0.6, 0)]
    assert audit_rivals.row("other", [1000, 4000], found) == "| other | 1.00 | 33,333 | 5 | 0.60 |"
