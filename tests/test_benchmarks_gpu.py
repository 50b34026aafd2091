"""The measurements for a machine with a GPU: every part runs on the processor, and none stops the others."""

import json
import os
import subprocess
import sys

import pytest
import torch

from benchmarks import gpu, gpu_kit, gpu_runs
from benchmarks.gpu import PARTS, Row, Setting
from tests.conftest import ROOT


def rows_of(path) -> dict[str, list[dict]]:
    return json.loads(path.read_text())["rows"]


@pytest.mark.benchmark
def test_every_part_runs_on_the_processor(tmp_path):
    """Without one, the first run on a GPU would find the misspelt names."""
    out = tmp_path / "gpu.json"
    run = subprocess.run(
        [ROOT / "benchmarks" / "gpu.sh", "--device", "cpu", "--tiny", "--out", out],
        capture_output=True, text=True, timeout=600, check=False,
        env=os.environ | {"PYTHON": sys.executable, "DEEPSSIM_GPU_KIT": str(tmp_path)},
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    rows = rows_of(out)
    assert list(rows) == list(PARTS)
    assert all(row["value"] is not None for part in rows.values() for row in part)
    assert all(len(part) >= 2 for part in rows.values())  # the last is its time
    limited = [row["verdict"] for part in rows.values() for row in part if row["least"] or row["most"] is not None]
    assert limited
    assert set(limited) == {"reached"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_part_that_fails_leaves_the_others(tmp_path, capsys):
    out = tmp_path / "gpu.json"
    assert gpu.main(["--parts", "c,d", "--tiny", "--out", str(out)]) == 1  # for a GPU, which is not there
    rows = rows_of(out)
    assert [part[-2]["verdict"] for part in rows.values()] == ["FAILED", "FAILED"]
    assert rows["c"][0]["value"] > 0  # what was measured before the failure is kept
    assert "--- part c failed:" in capsys.readouterr().out


def test_a_part_is_stopped_after_its_time(tmp_path):
    found = gpu.run_part("c", Setting("cpu", True, 1.0), 0.5, tmp_path)
    assert found[-2].verdict == "FAILED"
    assert "stopped after its" in found[-2].note
    assert found[-1].value < 10


def test_no_part_starts_when_no_time_is_left(tmp_path):
    out = tmp_path / "gpu.json"
    assert gpu.main(["--parts", "b", "--device", "cpu", "--tiny", "--seconds", "0.5", "--out", str(out)]) == 1
    assert rows_of(out)["b"][0]["note"] == "no time was left"


def test_parts_that_do_not_exist_are_refused(capsys):
    with pytest.raises(SystemExit):
        gpu.main(["--parts", "b,x"])
    assert "there is no part 'x'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (Row("a", 5.0), ""),
        (Row("a", 5.0, most=6.0), "reached"),
        (Row("a", 5.0, least=6.0), "MISSED"),
        (Row("a", float("nan"), most=6.0), "MISSED"),
        (Row("a", None), "FAILED"),
    ],
)
def test_limits_decide(row, verdict):
    assert row.verdict == verdict
    assert len(gpu.table({"b": [row]})) == 3


def test_the_limits_of_all_parts_fit_the_plan():
    """The last part takes what is left; the others end in time even if each needs all of its own."""
    assert max(part.seconds for part in PARTS.values()) <= gpu.TOTAL_S
    assert gpu.TOTAL_S + 15 <= 9 * 60


def test_the_demo_is_judged_by_its_results(tmp_path):
    (tmp_path / "eval").mkdir()
    lines = ["metric,images,macro_f1", "deepssim,aligned,0.96", "deepssim,misaligned,0.5", "ssim,aligned,1.0"]
    (tmp_path / "eval" / "summary.csv").write_text("\n".join(lines))
    verdict = {"verdict": {"verdict": "copies found", "sentence": "Copies found: 9 of 10."}}
    (tmp_path / "eval" / "registered_copies.json").write_text(json.dumps(verdict))
    assert [row.verdict for row in gpu_runs._demo_scores(tmp_path)] == ["reached", "MISSED", "reached"]


def test_the_kit_names_what_is_missing_and_never_torch():
    everything = gpu_kit.missing(set(), gpu_kit.needs())
    assert {"monai", "snakemake", "pydantic", "pydantic-core", "h5py", "pytest"} <= set(everything)
    assert not {"torch", "triton"} & set(everything)
    assert not [name for name in everything if name.startswith("nvidia")]
    there = gpu_kit.present(["# pip", "Monai==1.6.1", "pydantic_core @ file:///x", "scikit-image"])
    assert there == {"monai", "pydantic-core", "scikit-image"}
    assert not there & set(gpu_kit.missing(there, gpu_kit.needs()))
