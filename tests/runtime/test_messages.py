"""An error that a user can mend is one sentence, in the log and on the terminal."""

import logging
import os
import subprocess

import h5py
import numpy as np
import pytest
import torch

from deepssim.errors import DataError
from deepssim.runtime.messages import log_to, short_errors
from deepssim.runtime.outputs import atomic_outputs
from deepssim.runtime.weights import save_weights
from deepssim.training.driver import _AtomicCheckpoints


def write_checkpoint(path):
    _AtomicCheckpoints().save_checkpoint({"a": torch.zeros(10**6)}, path)


def write_weights(path):
    save_weights(path, torch.nn.Linear(1000, 1000), "x", {})


def write_hdf5(path):
    with h5py.File(path, "w") as file:
        file["a"] = np.random.default_rng(0).random(10**6)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can mount a small disk")
@pytest.mark.parametrize("write", [write_checkpoint, write_weights, write_hdf5])
def test_a_full_disk_is_one_sentence(tmp_path, capsys, write):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr}")
    try:
        with (
            pytest.raises(SystemExit) as stop,
            log_to(None),
            short_errors(),
            atomic_outputs({"x": disk / "x"}) as files,
        ):
            write(files["x"])
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert "no space is left on the disk" in error
    assert "Traceback" not in error


def test_too_little_gpu_memory_is_one_sentence(capsys):
    with pytest.raises(SystemExit), log_to(None), short_errors():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    assert "out of GPU memory (CUDA out of memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "traceback"), [(DataError("x.png: is not an image"), 1, False), (KeyError("bug"), 2, True)]
)
def test_errors_are_logged_and_end_the_program(tmp_path, capsys, error, code, traceback):
    log = tmp_path / "rule.log"
    before = list(logging.getLogger("deepssim").handlers)
    with pytest.raises(SystemExit) as stop, log_to(log), short_errors():
        raise error
    assert stop.value.code == code
    for text in (log.read_text(), capsys.readouterr().err):
        assert str(error) in text
        assert ("Traceback" in text) is traceback
    assert logging.getLogger("deepssim").handlers == before


@pytest.mark.parametrize("name", ["file/below", "folder", "x" * 300])
def test_a_path_that_cannot_be_opened_is_one_sentence(tmp_path, capsys, name):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SystemExit) as stop, log_to(None), short_errors():
        (tmp_path / name).open("w")
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert f"{tmp_path / name} cannot be written or read (" in error
    assert len(error.splitlines()) == 1
