import gc
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import nibabel
import numpy as np
import pytest

from deepssim.config.dataset import VolumesConfig
from deepssim.errors import DataError
from deepssim.images import memory
from deepssim.images.files import read_contents, read_each, read_file
from deepssim.images.memory import Reservation


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(memory, "BUDGET", 100)
    monkeypatch.setattr(memory, "_ALWAYS_ALLOWED", 1)


def test_threads_together_stay_within_the_budget():
    held, most, lock = 0, 0, threading.Lock()

    def work():
        nonlocal held, most
        for _ in range(20):
            reservation = Reservation(40)
            with lock:
                held += 40
                most = max(most, held)
            time.sleep(0.001)
            with lock:
                held -= 40
            reservation.release()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()
    assert most == 80
    assert not memory._held


def test_a_thread_never_waits_for_itself_and_garbage_is_released():
    first, second = Reservation(80), Reservation(80)
    first.release()
    first.release()
    del second
    gc.collect()
    assert not memory._held


def test_a_file_larger_than_the_budget_is_read_alone():
    reservation = Reservation(10**9)
    started, finished = threading.Event(), threading.Event()

    def other():
        started.set()
        Reservation(10**9).release()
        finished.set()

    thread = threading.Thread(target=other)
    thread.start()
    started.wait(10)
    assert not finished.wait(0.05)
    reservation.release()
    thread.join(timeout=30)
    assert finished.is_set()


@pytest.mark.parametrize("threads", [1, 4])
def test_volumes_take_their_stored_size_whatever_the_number_of_threads(tmp_path, random, monkeypatch, threads):
    values = random.integers(1, 999, (128, 128, 120)).astype(np.int16)
    size = values.nbytes
    affine = np.diag([1.0, 1, -1, 1])
    paths = [tmp_path / f"{number}.nii.gz" for number in range(4)]
    for path in paths:
        nibabel.save(nibabel.Nifti1Image(values, affine), path)
    monkeypatch.setattr(memory, "BUDGET", 1.5 * size)  # of one file

    def read(path):
        return sum(float(frame.pixels.mean()) for frame in read_contents(path, percentiles=(1, 99)).frames)

    read(paths[0])  # imports
    tracemalloc.start()
    try:
        with ThreadPoolExecutor(threads) as pool:
            assert len(set(pool.map(read, paths))) == 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * size + 4 * 2**20  # of float32, one volume alone would take twice its size, and the window more


@pytest.mark.parametrize("damage", ["range", "checksum"])
def test_files_that_cannot_be_read_keep_no_memory(tmp_path, random, damage):
    """An error keeps the frames of its traceback, and they keep the values, while all other files are read."""
    paths = [tmp_path / f"{number}.nii.gz" for number in range(6)]
    for path in paths:
        nibabel.save(
            nibabel.Nifti1Image(random.integers(1, 999, (9, 9, 9)).astype(np.int16), np.diag([1.0, 1, -1, 1])), path
        )
        if damage == "checksum":
            content = path.read_bytes()
            path.write_bytes(content[:-8] + bytes(4) + content[-4:])
    options = VolumesConfig(first_slice=100 if damage == "range" else 0)
    held = []

    def read(path):
        held.append(len(memory._held))
        return read_file(path, percentiles=(1, 99), slicing=options)

    with pytest.raises(DataError, match="6 of 6 files"):
        read_each(paths, read, threads=1, place="x")
    assert held == [0] * 6
    assert not memory._held
