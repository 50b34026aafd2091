"""The terminal of a run: one line per step in words; errors and unknown messages stay as Snakemake prints them."""

import io
import logging
import re

import pytest

from deepssim.runtime import terminal
from deepssim.runtime.terminal import shorten_terminal

RULES = {"prepare": "Read the images.", "embed": "Embed the images.", "all": "Make everything."}


@pytest.fixture
def snakemake():
    """Snakemake's logger as Snakemake sets it up, with a terminal and a log file; both are texts here."""
    logger = logging.getLogger("snakemake.logging")
    before = logger.handlers[:], logger.level, logger.propagate
    screen, file = logging.StreamHandler(io.StringIO()), logging.StreamHandler(io.StringIO())
    screen.name, file.name = "DefaultStreamHandler", "DefaultLogFileHandler"
    logger.handlers, logger.propagate = [screen, file], False
    logger.setLevel(logging.INFO)
    yield logger
    logger.handlers, logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


@pytest.fixture
def clock(monkeypatch):
    """Seconds that the test sets."""
    seconds = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: seconds[0])
    return seconds


def printed(logger):
    return [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in logger.handlers[0].stream.getvalue().splitlines()]


def start(logger, job, rule, **wildcards):
    logger.info(f"Rule: {rule}", extra={"event": "job_info", "jobid": job, "rule_name": rule, "wildcards": wildcards})


def finish(logger, job, done):
    logger.info(f"Finished jobid: {job}", extra={"event": "job_finished", "job_id": job})
    logger.info(None, extra={"event": "progress", "done": done, "total": 5})


def test_a_run_has_one_line_per_step_and_one_more_for_each_long_step(snakemake, clock):
    shorten_terminal(RULES.get)
    snakemake.info("Workflow has started!", extra={"event": "workflow_started"})
    snakemake.info("Building DAG of jobs...")
    snakemake.info("Provided cores: 2", extra={"event": "resources_info"})
    snakemake.info(
        "Job stats: ...", extra={"event": "run_info", "stats": {"prepare": 1, "embed": 3, "all": 1, "total": 5}}
    )
    snakemake.info("Select jobs to execute...")
    start(snakemake, 7, "prepare")
    clock[0] = 95
    finish(snakemake, 7, 1)
    start(snakemake, 3, "embed", metric="dar", part="000", variant="_misaligned")
    clock[0] = 99
    finish(snakemake, 3, 2)  # short: no line
    clock[0] = 1000  # in which nothing of the rule runs
    start(snakemake, 4, "embed", metric="dar", part="001", variant="")
    start(snakemake, 4, "embed", metric="dar", part="001", variant="")  # tried again
    clock[0] = 1016
    finish(snakemake, 4, 3)
    start(snakemake, 5, "embed", metric="dar", part="002", variant="")
    finish(snakemake, 5, 4)
    start(snakemake, 0, "all")
    finish(snakemake, 0, 5)
    assert printed(snakemake) == [
        "step 1 of 4: read the images",
        "1 of 4 steps done; prepare took 95 s",
        "step 2 of 4: embed the images (dar, 000, misaligned)",
        "step 3 of 4: embed the images (dar, 001)",
        "step 3 of 4 again: embed the images (dar, 001)",
        "3 of 4 steps done; embed took 16 s; 1 more of embed, about 10 s",  # two in 4 + 16 s
        "step 4 of 4: embed the images (dar, 002)",
        "4 of 4 steps done; embed took 1 s",
    ]


def test_jobs_at_the_same_time_share_the_time_that_is_left(snakemake, clock):
    shorten_terminal(RULES.get)
    snakemake.info("Job stats: ...", extra={"event": "run_info", "stats": {"embed": 10, "total": 10}})
    for job in range(4):
        start(snakemake, job, "embed")
    clock[0] = 120
    for job in range(4):
        finish(snakemake, job, job + 1)
    assert printed(snakemake)[-1] == "4 of 10 steps done; embed took 2 min; 6 more of embed, about 3 min"


def test_nothing_is_lost_from_the_log_and_no_error_from_the_terminal(snakemake):
    shorten_terminal(RULES.get)
    snakemake.info("Select jobs to execute...")
    snakemake.info("Nothing to be done (all requested files are present and up to date).")
    snakemake.error("Error in rule embed:", extra={"event": "job_error"})
    snakemake.warning("Select jobs to execute... fails")
    snakemake.info("Job 3 has been submitted with SLURM jobid 17")
    shown = [
        "Nothing to be done (all requested files are present and up to date).", "Error in rule embed:",
        "Select jobs to execute... fails", "Job 3 has been submitted with SLURM jobid 17",
    ]  # fmt: skip
    assert printed(snakemake) == shown
    assert snakemake.handlers[1].stream.getvalue().splitlines() == ["Select jobs to execute...", *shown]


def test_what_the_user_hides_stays_hidden_and_verbose_changes_nothing(snakemake):
    snakemake.handlers[0].addFilter(lambda record: False)  # --quiet all
    shorten_terminal(RULES.get)
    start(snakemake, 1, "embed")
    assert printed(snakemake) == []
    snakemake.setLevel(logging.DEBUG)
    before = snakemake.handlers[:]
    shorten_terminal(RULES.get)
    assert snakemake.handlers == before


def test_a_record_of_another_form_does_not_end_the_run(snakemake, capsys):
    shorten_terminal(RULES.get)
    snakemake.info("Rule: embed", extra={"event": "job_info"})  # without its fields
    assert "KeyError" in capsys.readouterr().err
    start(snakemake, 1, "embed")
    assert printed(snakemake) == ["step 1 of 0: embed the images"]
