"""Numbered steps and the time that is left."""

import pytest

from deepssim.runtime import progress


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_the_rest_is_estimated_from_the_steps_before(clock, caplog):
    caplog.set_level("INFO", logger="deepssim")
    steps = progress.Steps(4)
    steps.start("reading")
    clock[0] = 500  # reading says nothing about how long comparing takes
    steps.expect(400)
    steps.start("comparing A")
    clock[0] += 10
    steps.finish(units=100, computed=50)  # the others were known: 0.2 s each
    steps.start("comparing B")
    clock[0] += 0.1
    steps.finish(units=200, computed=0)
    steps.start("writing")
    assert caplog.messages == [
        "step 1 of 4: reading",
        "step 2 of 4: comparing A",
        "step 3 of 4: comparing B; about 60 s left",  # 300 x 0.2 s
        "step 4 of 4: writing; about 20 s left",
    ]


def test_a_long_step_says_how_far_it_is(clock, caplog):
    caplog.set_level("INFO", logger="deepssim")
    steps = progress.Steps(1)
    steps.expect(1000)
    steps.start("comparing")
    for done in (200, 400):
        clock[0] += 10
        steps.finish(units=200, computed=200)
        steps.report(f"{done} compared")
    assert caplog.messages[1:] == ["200 compared; about 40 s left", "400 compared; about 30 s left"]


def test_little_work_tells_nothing(clock, caplog):
    caplog.set_level("INFO", logger="deepssim")
    steps = progress.Steps(1)
    steps.expect(1000)
    clock[0] = 1
    steps.finish(units=1, computed=1)
    steps.start("on")
    assert caplog.messages == ["step 1 of 1: on"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (99, "99 s"), (100, "2 min"), (3600, "60 min"), (9000, "2.5 h")]
)
def test_durations_in_words(seconds, text):
    assert progress.in_words(seconds) == text


def test_one_long_piece_of_work_says_how_far_it_is_but_not_that_it_is_done(clock, caplog):
    caplog.set_level("INFO", logger="deepssim")
    pace = progress.Pace(1_000_000)
    for _ in range(2):
        clock[0] += 100
        pace.report(250_000, "files decoded")
    pace.report(500_000, "files decoded")
    assert caplog.messages == [
        "250,000 of 1,000,000 files decoded; about 5 min left",
        "500,000 of 1,000,000 files decoded; about 3 min left",
    ]
