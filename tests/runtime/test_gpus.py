"""Jobs on one machine never share a GPU; the devices are simulated, the processes are real."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deepssim.errors import ConfigError
from deepssim.runtime.gpus import reserve_gpus, visible_gpus
from tests.conftest import ROOT

HOLD = """
import json, sys, time
from deepssim.runtime.gpus import reserve_gpus
with reserve_gpus(int(sys.argv[1])) as names:
    start = time.monotonic()
    print(json.dumps([names, start]), flush=True)
    time.sleep(float(sys.argv[2]))
    print(json.dumps(time.monotonic()), flush=True)
"""
SNAKEFILE = """
configfile: "config.json"
rule all:
    input: expand("results/{job}.json", job=range(8))
rule work:
    output: held="results/{job}.json"
    threads: 1
    resources: gpu=1
    script: "work.py"
"""
WORK = """
import json, os, time
from pathlib import Path
from deepssim.runtime.jobs import job
with job(snakemake) as run:
    start = time.monotonic()
    time.sleep(0.5)
    held = [os.environ["CUDA_VISIBLE_DEVICES"].split(","), start, time.monotonic()]
    Path(run.files["held"]).write_text(json.dumps(held))
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Environment of a machine with three GPUs."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,GPU-8f3a")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return os.environ | {"PYTHONPATH": str(ROOT / "src")}


def hold(machine, count, seconds):
    command = [sys.executable, "-c", HOLD, str(count), str(seconds)]
    return subprocess.Popen(command, env=machine, stdout=subprocess.PIPE, text=True)


def assert_never_shared(held):
    """Take (names, start, end) of each job."""
    for number, (names, start, end) in enumerate(held):
        for others, other_start, other_end in held[number + 1 :]:
            assert not set(names) & set(others) or end <= other_start or other_end <= start


def test_more_jobs_than_gpus_take_turns(machine):
    jobs = [hold(machine, 1 + number % 2, 0.3) for number in range(8)]
    held = []
    for job in jobs:
        first, last = job.communicate(timeout=60)[0].splitlines()
        held.append([*json.loads(first), json.loads(last)])
    assert [len(names) for names, _, _ in held] == [1, 2] * 4
    assert {name for names, _, _ in held for name in names} == {"0", "1", "GPU-8f3a"}
    assert_never_shared(held)


def test_a_killed_job_gives_its_gpus_back(machine):
    first = hold(machine, 3, 600)
    json.loads(first.stdout.readline())
    second = hold(machine, 3, 0)
    time.sleep(1)
    assert second.poll() is None
    first.send_signal(signal.SIGKILL)
    assert second.wait(30) == 0


def test_local_jobs_of_a_workflow_never_share(machine, tmp_path):
    config = {"seed": 0, "device": "auto", "tracking": {}}
    for name, content in (("Snakefile", SNAKEFILE), ("work.py", WORK), ("config.json", json.dumps(config))):
        (tmp_path / name).write_text(content)
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--directory",
        str(tmp_path),
        "--snakefile",
        str(tmp_path / "Snakefile"),
    ]
    run = subprocess.run(
        [*command, "--cores", "8", "--resources", "gpu=3"], env=machine, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]
    held = [json.loads(path.read_text()) for path in (tmp_path / "results").glob("*.json")]
    assert len(held) == 8
    assert all(len(names) == 1 for names, _, _ in held)
    assert_never_shared(held)


def test_torch_sees_just_those(machine):
    with reserve_gpus(2) as names:
        assert os.environ["CUDA_VISIBLE_DEVICES"].split(",") == names
        assert len(names) == 2
    assert visible_gpus() == ["0", "1", "GPU-8f3a"]


def test_more_than_there_are_is_one_sentence(machine):
    with pytest.raises(ConfigError, match="needs 4 GPUs, but only 3 are visible"), reserve_gpus(4):
        pass


@pytest.mark.parametrize("variables", [{"CUDA_VISIBLE_DEVICES": ""}, {"SLURM_JOB_ID": "7"}])
def test_without_gpus_and_under_slurm_nothing_is_held(machine, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with reserve_gpus(1) as names:
        assert names == []
        assert not Path(os.environ["TMPDIR"], "deepssim-gpus").exists()
