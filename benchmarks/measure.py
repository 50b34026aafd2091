"""Measure two ways to do one job, turn by turn, so that what else the machine does hits both alike."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True)
class Comparison:
    """One job and two ways to do it.

    Attributes:
        job: what is done, with sizes.
        rival: what a user would otherwise do.
        ours: does the job once.
        theirs: does a part of the job the other way.
        share: that part, 0 to 1; the time of the rival is divided by it.
        goal: how many times faster ours should be.
    """

    job: str
    rival: str
    ours: Callable[[], object]
    theirs: Callable[[], object]
    share: float
    goal: float


@dataclass(frozen=True)
class Outcome:
    """Seconds for the whole job in every repetition, and ratios of neighbouring repetitions."""

    comparison: Comparison
    ours: list[float]
    theirs: list[float]

    @property
    def ratios(self) -> list[float]:
        """How many times faster ours was, repetition by repetition."""
        return [theirs / ours for theirs, ours in zip(self.theirs, self.ours, strict=True)]


def compare(comparison: Comparison, repetitions: int) -> Outcome:
    """Run both ways in turn; the first run of each, which compiles and fills caches, does not count."""
    ours, theirs = [], []
    for repetition in range(repetitions + 1):
        pair = seconds(comparison.ours), seconds(comparison.theirs) / comparison.share
        if repetition:
            ours.append(pair[0])
            theirs.append(pair[1])
    return Outcome(comparison, ours, theirs)


def seconds(job: Callable[[], object]) -> float:
    """Return the wall time of a job."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def spread(values: list[float], digits: int = 3) -> str:
    """Return median and range of some values."""
    return f"{statistics.median(values):.{digits}g} ({min(values):.{digits}g} to {max(values):.{digits}g})"


def replace_rows(page: Path, rows: list[str], machine: str) -> None:
    """Put rows in the place of those of the same jobs in a table that was written earlier, on the same machine.

    Raises:
        SystemExit: if the page is of another machine or has no such rows.
    """
    lines = page.read_text(encoding="utf-8").splitlines()
    if not any(machine in line for line in lines):
        raise SystemExit(f"{page}: is not of this machine ({machine}); measure all jobs")
    for row in rows:
        job = row[: row.index(" |", 2)]
        places = [number for number, line in enumerate(lines) if line.startswith(job + " |")]
        if not places:
            raise SystemExit(f"{page}: has no row of this job; measure all:\n{row}")
        lines[places[0]] = row
    page.write_text("\n".join([*lines, ""]), encoding="utf-8")


@dataclass(frozen=True)
class Used:
    """What a command took: wall and processor seconds, gigabytes at its peak, and its exit status."""

    seconds: float
    processor_seconds: float
    peak_gb: float
    status: int


# A process begins with the peak of the one that started it, so a small one stands between.
_BETWEEN = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
status = subprocess.run(sys.argv[2:]).returncode
seconds = time.perf_counter() - start
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as file:
    json.dump([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e9, status], file)
"""


def run_measured(command: Sequence[str], output: IO[str] | None = None) -> Used:
    """Run a command and measure it with all its processes; the peak is of the largest of them.

    Args:
        command: program and arguments.
        output: file for what it prints; otherwise this process's own output.
    """
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "used.json")
        subprocess.run(
            [sys.executable, "-c", _BETWEEN, str(record), *command], stdout=output, stderr=output, check=True
        )
        return Used(*json.loads(record.read_text()))


def in_own_process(script: str, **arguments: object) -> dict[str, float]:
    """Run a job of jobs.py in a process of its own, so that its peak memory is its own.

    Returns:
        `seconds` of the job itself, `peak_gb` of the process and `start_gb` before the job.
    """
    command = [sys.executable, str(Path(__file__).with_name("jobs.py")), script, json.dumps(arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"{script} {arguments} failed:\n{run.stderr[-2000:]}")
    return json.loads(run.stdout.splitlines()[-1])
