"""What dies, fills up or is damaged: the same command again ends like an undisturbed run, or one sentence says why not."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter

import pytest
import yaml

from benchmarks.faults import durations, figures, finish, kill_once, repeated_epochs, start
from deepssim.runtime.records import verify
from tests.workflow.conftest import TINY
from tests.workflow.running import snakemake, step

WEIGHTS, ENCODER = "results/vae/autoencoder.safetensors", "results/encoders/deepssim.safetensors"


@pytest.fixture
def folder(results, tmp_path):
    """A copy of the folder of the undisturbed run."""
    shutil.copytree(results.parent, tmp_path / "run", symlinks=True)
    return tmp_path / "run"


def run_tiny(folder, *arguments):
    return snakemake(folder, *arguments, "--configfile", str(TINY))


def wait_for_checkpoint(folder, run):
    end = time.monotonic() + 300
    while not list((folder / "results" / "vae" / "state").glob("*/last.ckpt")):
        assert run.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)


def assert_same(folder, results, *names):
    for name in names:
        assert (folder / name).read_bytes() == (results.parent / name).read_bytes()


def test_kills_lose_nothing(results, tmp_path):
    """Job, run and Snakemake alone are killed where most time passes (`benchmarks.faults`: in every stage)."""
    quota = Counter(["prepare_dataset", "train_vae", "train_ldm", "generate", "train_deepssim"])
    lasts, chosen = durations(results.parent, list(quota)), random.Random(0)
    killed = []
    while quota.total() and (what := kill_once(tmp_path, quota, lasts, chosen, len(killed), ENCODER)) is not None:
        killed.append(what)
    finish(tmp_path, ENCODER)
    assert len(killed) >= 3, killed  # a stage can be over before it is killed
    made, expected = figures(tmp_path), figures(results.parent)
    assert len(made) > 8
    assert made == {name: expected[name] for name in made}
    assert_same(tmp_path, results, "results/dataset/real.h5")
    assert not any(repeated_epochs(tmp_path).values()), killed
    assert not list((tmp_path / "results").rglob(".part-*"))
    assert verify(tmp_path / "results").problems == []


def test_a_deleted_shard_is_named_and_made_again_without_training(results, folder):
    """Nothing that is finished needs it any more, so it is made when it is asked for, or what is asked for needs it."""
    shard, matrix = "results/synthetic/000.h5", "results/matrices/ssim.h5"
    for deleted, asked in (([shard], shard), ([shard, "results/matrices/ssim/000.h5", matrix], matrix)):
        for name in deleted:
            (folder / name).unlink()
        assert any(f"{folder / shard}: is missing" in line for line in verify(folder / "results").problems)
        run = run_tiny(folder, asked)
        assert run.returncode == 0, run.stdout[-3000:]
        assert step("generate") in run.stdout
        assert step("train_vae") not in run.stdout
        assert_same(folder, results, shard, matrix)


def test_a_truncated_output_is_named_and_made_again(results, folder):
    matrix, pairs = folder / "results" / "matrices" / "ssim.h5", "results/pairs/test.csv"
    os.truncate(matrix, 2000)
    assert f"{matrix}: has changed since it was written" in verify(folder / "results").problems
    run = run_tiny(folder, pairs)
    assert run.returncode != 0
    assert "results/matrices/ssim.h5: " in run.stdout
    assert "HDF5" in run.stdout
    assert "Traceback" not in run.stdout
    matrix.unlink()
    run = run_tiny(folder, pairs)
    assert run.returncode == 0, run.stdout[-3000:]
    assert_same(folder, results, "results/matrices/ssim.h5", pairs)


def test_a_second_run_stops_and_a_config_changed_half_way_starts_afresh(results, tmp_path):
    """Snakemake is killed, its job works on with the old config: the new run waits for it and uses nothing of it."""
    other = tmp_path / "other.yaml"
    settings = yaml.safe_load(TINY.read_text())
    settings["vae"] |= {"learning_rate": 0.001}
    other.write_text(yaml.safe_dump(settings))
    run = start(tmp_path, WEIGHTS, "--configfile", str(other))
    wait_for_checkpoint(tmp_path, run)
    second = run_tiny(tmp_path, WEIGHTS)
    assert second.returncode != 0
    assert "Directory cannot be locked" in second.stdout
    assert "Traceback" not in second.stdout
    run.send_signal(signal.SIGKILL)
    run.wait()
    again = run_tiny(tmp_path, WEIGHTS)
    assert again.returncode == 0, again.stdout[-3000:]
    assert len(list((tmp_path / "results" / "vae" / "state").iterdir())) == 2
    assert_same(tmp_path, results, WEIGHTS)


@pytest.fixture
def disk(tmp_path):
    """Mount a small disk as results folder; gives a function that changes it."""
    place = tmp_path / "results"
    place.mkdir()

    def mount(options):
        return subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, text=True
        )

    mounted = mount("size=2500k")
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr}")
    try:
        yield lambda options: mount(f"remount,{options}")
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_stops_with_one_sentence_and_the_run_goes_on_when_there_is_room(disk, results, tmp_path):
    run = run_tiny(tmp_path, WEIGHTS)
    assert run.returncode != 0
    assert "no space is left on the disk" in run.stdout
    assert "Traceback" not in run.stdout
    assert disk("size=200m").returncode == 0
    assert run_tiny(tmp_path, WEIGHTS).returncode == 0
    assert_same(tmp_path, results, WEIGHTS)


def test_a_read_only_results_folder_is_named(disk, tmp_path):
    assert disk("ro").returncode == 0
    run = run_tiny(tmp_path, WEIGHTS)
    assert run.returncode != 0
    assert "Read-only file system" in run.stdout
    assert "results" in run.stdout
