"""Locks hold between processes and end with them; a killed run's remains are waited for and cleared."""

import os
import subprocess
import sys
import time

import pytest

from deepssim.runtime import locks
from deepssim.runtime.locks import hold_lock, register_run, try_lock, wait_for_jobs
from tests.conftest import ROOT

JOB = """
import sys, time
from pathlib import Path
from deepssim.runtime.locks import job_in_run
with job_in_run(Path(sys.argv[1])):
    print("at work", flush=True)
    time.sleep(float(sys.argv[2]))
"""
RUN = """
import sys, time
from pathlib import Path
from deepssim.runtime.locks import register_run
register_run(Path(sys.argv[1]))
print("at work", flush=True)
time.sleep(600)
"""


def start(program, folder, *arguments):
    command = [sys.executable, "-c", program, str(folder), *arguments]
    process = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "at work\n"
    return process


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "_HELD", [])
    yield tmp_path / ".snakemake"
    for descriptor in locks._HELD:
        os.close(descriptor)


def test_a_lock_is_held_once_and_shared_by_those_who_share(tmp_path):
    first = try_lock(tmp_path / "x")
    assert try_lock(tmp_path / "x") is None
    assert try_lock(tmp_path / "x", shared=True) is None
    os.close(first)
    sharing = [try_lock(tmp_path / "x", shared=True) for _ in range(2)]
    assert None not in sharing
    assert try_lock(tmp_path / "x") is None
    for descriptor in sharing:
        os.close(descriptor)
    with hold_lock(tmp_path / "x", "waiting"):
        assert try_lock(tmp_path / "x") is None


def test_a_link_in_place_of_a_lock_is_not_followed(tmp_path):
    (tmp_path / "x").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        try_lock(tmp_path / "x")
    assert not (tmp_path / "elsewhere").exists()


def leave_lock(place):
    (place / "locks").mkdir(parents=True, exist_ok=True)
    (place / "locks" / "0.input.lock").touch()


def left(place):
    return [path.name for path in (place / "locks").iterdir()]


def test_locks_of_a_dead_run_are_cleared_and_those_of_a_living_one_kept(place):
    place.mkdir()
    other = start(RUN, place)
    leave_lock(place)
    register_run(place)
    assert left(place) == ["0.input.lock"]
    third = start(RUN, place)
    assert left(place) == ["0.input.lock"]
    for process in (other, third):
        process.kill()
        process.wait()
    for descriptor in locks._HELD:
        os.close(descriptor)
    locks._HELD.clear()
    register_run(place)
    assert left(place) == []


def test_jobs_that_outlive_their_run_are_waited_for(place, caplog):
    place.mkdir()
    orphan = start(JOB, place, "2")
    before = time.monotonic()
    wait_for_jobs(place)
    assert time.monotonic() - before > 1
    assert orphan.wait(5) == 0
    assert "waiting for jobs of an earlier run" in caplog.text
