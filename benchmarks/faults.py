"""Kill the workflow at random moments of every stage and see whether anything is lost: `python -m benchmarks.faults`.

The tiny config of the tests runs once undisturbed. Then it runs in another folder and is killed: when a stage that is still
to be killed is at work, after a random time, its job, the whole run or Snakemake alone gets SIGKILL or SIGTERM; and the
same command is given again. In the end the figures must be those of the undisturbed run, byte for byte, and no finished
epoch may have been trained twice.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks import ROOT

TINY = ROOT / "tests" / "workflow" / "tiny.yaml"
_LONG = {
    "train_vae": 4,
    "train_ldm": 5,
    "train_deepssim": 3,
    "generate": 2,
}  # kills of stages in which most time passes
_KINDS = (
    ("job", signal.SIGKILL), ("run", signal.SIGKILL), ("job", signal.SIGTERM), ("snakemake alone", signal.SIGKILL),
    ("run", signal.SIGTERM),
)  # fmt: skip
_POLL_S = 0.02
_ROUNDS = 5  # folders, each run to its end, that are tried until all kills are made


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    """Start the workflow as a user does, with the tiny config unless the arguments name another."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--cores", "2", "--max-threads", "1", *arguments]
    command += [] if "--configfile" in arguments else ["--configfile", str(TINY)]
    log = (folder / "snakemake.log").open("a")
    return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def finish(folder: Path, *targets: str) -> None:
    """Run the workflow to its end, or until the targets are made."""
    run = start(folder, *targets)
    if run.wait(3600):
        raise SystemExit(f"{folder}: does not end well\n{(folder / 'snakemake.log').read_text()[-3000:]}")


def jobs_of(run: subprocess.Popen) -> dict[str, psutil.Process]:
    """Return the processes of the jobs of a run by stage."""
    found = {}
    try:
        for process in psutil.Process(run.pid).children(recursive=True):
            for part in process.cmdline():
                if part.endswith(".py") and ".snakemake" in part and (rule := _rule_of(Path(part))):
                    found[rule] = process
    except psutil.Error:
        return found  # one ended while it was looked at
    return found


def _rule_of(script: Path) -> str | None:
    """Return the rule of a running job: Snakemake pickles it into the job's copy of workflow/scripts/stage.py."""
    try:
        text = script.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None  # the job has ended
    found = re.search(r"rule\\x94\\x8c(?:\\x[0-9a-f]{2}|\\[a-z]|.)(\w+?)\\x94", text)
    return found[1] if found else None


def kill_once(
    folder: Path, quota: Counter, lasts: dict[str, float], chosen: random.Random, number: int, *targets: str
) -> str | None:
    """Start the run and kill it once; return what was killed, or None if the run came to its end before."""
    run = start(folder, *targets)
    target, how = _KINDS[number % len(_KINDS)]
    while run.poll() is None:
        wanted = [(stage, job) for stage, job in jobs_of(run).items() if quota[stage] > 0]
        if not wanted:
            time.sleep(_POLL_S)
            continue
        stage, job = wanted[0]
        time.sleep(chosen.uniform(0, 0.5 * lasts.get(stage, 5.0)))  # jobs can be quicker than before
        if not job.is_running() or run.poll() is not None:
            continue
        quota[stage] -= 1
        if target == "job":
            job.send_signal(how)
        elif target == "run":
            os.killpg(run.pid, how)
        else:
            run.send_signal(how)
        run.wait(900)
        return f"{stage}, {target}, {how.name}"
    if run.returncode:
        raise SystemExit(f"{folder}: does not end well\n{(folder / 'snakemake.log').read_text()[-3000:]}")
    return None


def stages_of(folder: Path) -> list[str]:
    """Return the stages that the runs in a folder went through, from Snakemake's own logs."""
    logs = "".join(path.read_text() for path in (folder / ".snakemake" / "log").glob("*.log"))
    found = re.findall(r"^(?:local)?rule (\w+):", logs, re.MULTILINE)
    return sorted(set(found) - {"all"})


def durations(folder: Path, stages: Sequence[str]) -> dict[str, float]:
    """Return the seconds of the longest job of each stage of a run."""
    found = dict.fromkeys(stages, 0.0)
    for path in (folder / "results" / "benchmarks").glob("*.tsv"):
        named = [stage for stage in stages if path.stem.startswith(stage)]
        if named:
            stage = max(named, key=len)
            found[stage] = max(found[stage], float(path.read_text().splitlines()[1].split("\t")[0]))
    return {stage: seconds for stage, seconds in found.items() if seconds}


def repeated_epochs(folder: Path) -> dict[str, int]:
    """Return for each training how many finished epochs were trained again, by what TensorBoard recorded."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for state in sorted((folder / "results").glob("*/state/*")):
        seen: Counter = Counter()
        for events in sorted(state.glob("tensorboard/events*")):
            record = EventAccumulator(str(events))
            record.Reload()
            if "train_loss" in record.Tags()["scalars"]:
                seen.update({event.step for event in record.Scalars("train_loss")})
        found[state.parts[-3]] = sum(count - 1 for count in seen.values())
    return found


def figures(folder: Path) -> dict[str, bytes]:
    """Return the content of what must be the same after any number of kills."""
    results = folder / "results"
    patterns = ("eval/**/*", "*/*.safetensors", "*/*history.csv", "pairs/*.csv")
    files = [path for pattern in patterns for path in results.glob(pattern) if path.is_file()]
    return {path.relative_to(results).as_posix(): path.read_bytes() for path in files}


def quotas(stages: Sequence[str], kills: int, chosen: random.Random) -> Counter:
    """Return how often each stage is to be killed: at least once, the long ones more often, `kills` in all at least."""
    times = Counter({stage: _LONG.get(stage, 1) for stage in stages})
    while times.total() < kills:
        times[chosen.choice(stages)] += 1
    return times


def measure(kills: int, seed: int, place: Path) -> dict:
    """Do all of it and return the record."""
    chosen = random.Random(seed)
    whole = place / "whole"
    whole.mkdir(parents=True)
    finish(whole)
    stages, expected = stages_of(whole), figures(whole)
    lasts, quota = durations(whole, stages), quotas(stages, kills, chosen)
    done: list[str] = []
    differ: list[str] = []
    again: Counter = Counter()
    remains = 0
    for number in range(_ROUNDS):
        folder = place / f"cut{number}"
        folder.mkdir()
        while quota.total() and (killed := kill_once(folder, quota, lasts, chosen, len(done))) is not None:
            done.append(killed)
            print(f"{len(done)}: {killed}", file=sys.stderr, flush=True)
        finish(folder)
        found = figures(folder)
        differ += [f"{number}: {name}" for name in expected | found if expected.get(name) != found.get(name)]
        again.update(repeated_epochs(folder))
        remains += len(list((folder / "results").rglob(".part-*")))
        if not quota.total():
            break
    killed_stages, kinds = (Counter(text.split(", ", 1)[side] for text in done) for side in (0, 1))
    return {
        "kills": len(done),
        "by_stage": dict(sorted(killed_stages.items())),
        "by_kind": dict(sorted(kinds.items())),
        "folders": number + 1,
        "files_compared": len(expected),
        "files_that_differ": sorted(differ),
        "finished_epochs_trained_again": dict(again),
        "part_files_that_remain": remains,
        "seconds_undisturbed": {stage: round(seconds, 1) for stage, seconds in lasts.items()},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the record as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=36)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="faults") as folder:
        print(json.dumps(measure(options.kills, options.seed, Path(folder)), indent=2))


if __name__ == "__main__":
    main()
