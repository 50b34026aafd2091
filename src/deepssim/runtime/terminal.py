"""Progress of a run of the workflow on the terminal: one line per step, and how long a long step took.

Snakemake's own log file (`.snakemake/log`) keeps every detail. Only Python's logging is used here; Snakemake, which writes the
records, is not imported.

Not here: messages of the jobs (messages.py), steps inside of one job (progress.py).
"""

import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from deepssim.runtime.progress import in_words

_TERMINAL = "DefaultStreamHandler"  # Snakemake's name for its handler of the terminal
_LONG_S = 10  # the end of a step that took longer gets a line
# Events (snakemake_interface_logger_plugins.common.LogEvent) that `StepLines` shows in its own way or not at all, and messages
# without an event that say nothing about this run.
_REPLACED = (
    "workflow_started",
    "resources_info",
    "run_info",
    "group_info",
    "job_info",
    "job_started",
    "job_finished",
    "progress",
)
_TALK = re.compile(
    r"Building DAG of jobs|Using shell: |Conda environments: ignored|Singularity containers: ignored|"
    r"Group jobs: inactive|Select jobs to execute|Execute \d+ jobs"
)


def shorten_terminal(describe: Callable[[str], str | None]) -> None:
    """Show the steps of a run on the terminal in place of Snakemake's ten lines per job.

    Warnings, errors with the logs of failed jobs, and every message not known here are printed as before. What `--quiet` hides
    stays hidden. With `--verbose`, nothing is changed. A dry run explains every job: do not call this for one.

    Args:
        describe: returns the description of a rule, given its name.
    """
    snakemake = logging.getLogger("snakemake.logging")
    for terminal in [handler for handler in snakemake.handlers if handler.name == _TERMINAL]:
        if isinstance(terminal, logging.StreamHandler) and snakemake.level > logging.DEBUG:
            steps = StepLines(terminal.stream, describe)
            steps.filters = list(terminal.filters)
            terminal.addFilter(_is_left_to_snakemake)
            snakemake.addHandler(steps)


def _is_left_to_snakemake(record: logging.LogRecord) -> bool:
    if record.levelno > logging.INFO:
        return True
    event = getattr(record, "event", None)
    return str(event) not in _REPLACED if event else not _TALK.match(str(record.msg))


class StepLines(logging.Handler):
    """Print a line when a step of the workflow starts, and one when a step has taken long.

    Args:
        stream: where to print.
        describe: returns the description of a rule, given its name.
    """

    def __init__(self, stream: TextIO, describe: Callable[[str], str | None]) -> None:
        super().__init__()
        self.stream, self.describe = stream, describe
        self.jobs: Mapping[str, int] = {}  # by rule
        self.total = 0
        self.started: dict[int, tuple[int, str, float]] = {}  # number of the step, rule and time by job
        self.finished: Counter[str] = Counter()  # by rule, as the next three
        self.running: Counter[str] = Counter()
        self.since: dict[str, float] = {}  # when the first of those that run began
        self.busy_s: dict[str, float] = {}  # during which jobs of the rule ran, before that

    def emit(self, record: logging.LogRecord) -> None:
        """Print the line of a record, if it has one; a record of another form is reported and does not end the run."""
        try:
            line = self._line(str(getattr(record, "event", "")), vars(record))
            if line:
                self.stream.write(f"{time.strftime('%H:%M:%S')} {line}\n")
                self.stream.flush()
        except Exception:
            self.handleError(record)

    def _line(self, event: str, fields: dict[str, Any]) -> str | None:
        if event == "run_info":
            self.jobs = fields["stats"]
            self.total = self.jobs["total"] - self.jobs.get("all", 0)  # which has nothing to do itself
        elif event == "job_info" and fields["rule_name"] != "all":
            return self._start(fields["jobid"], fields["rule_name"], fields["wildcards"])
        elif event == "job_finished" and fields["job_id"] in self.started:
            return self._end(*self.started[fields["job_id"]][1:])
        return None

    def _start(self, job: int, rule: str, wildcards: Mapping[str, str]) -> str:
        again = job in self.started  # after a failure, with `retries`
        number = self.started[job][0] if again else len(self.started) + 1
        now = time.monotonic()
        self.started[job] = (number, rule, now)
        if not again:
            self.running[rule] += 1
            if self.running[rule] == 1:
                self.since[rule] = now
        text = (self.describe(rule) or rule).rstrip(".")
        which = ", ".join(value.strip("_") for value in wildcards.values() if value)
        details = f" ({which})" if which else ""
        return f"step {number} of {self.total}{' again' if again else ''}: {text[0].lower()}{text[1:]}{details}"

    def _end(self, rule: str, started: float) -> str | None:
        now = time.monotonic()
        self.finished[rule] += 1
        self.running[rule] -= 1
        busy = self.busy_s.get(rule, 0.0) + now - self.since[rule]
        if not self.running[rule]:
            self.busy_s[rule] = busy
        done = self.finished.total()
        if now - started < _LONG_S and done < self.total:
            return None
        text = f"{done} of {self.total} steps done; {rule} took {in_words(now - started)}"
        left = self.jobs.get(rule, 0) - self.finished[rule]
        # Jobs that run at the same time share the time, whatever their number.
        return (
            f"{text}; {left} more of {rule}, about {in_words(busy / self.finished[rule] * left)}" if left > 0 else text
        )
