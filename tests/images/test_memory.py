import gc
import threading
import time

import pytest

from deepssim.images import memory
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
