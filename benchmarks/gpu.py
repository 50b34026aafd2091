"""Measure on a machine with a GPU, in one run of less than nine minutes and without a network: `benchmarks/gpu.sh`.

Every part runs in a process of its own with a time limit of its own, so that the others survive its failure, and every row is
kept as soon as it is measured. Prints one table and writes one JSON file. docs/gpu.md says what each part measures.
`--device cpu --tiny` runs all parts on sizes that say nothing about speed, to see that they work.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import ROOT

TOTAL_S = 525  # of nine minutes; the rest is for installing wheels and starting
_SHOWN_LINES = 15  # of the output of a part that failed


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        what: was measured, with sizes.
        value: number, or None where a part failed.
        unit: of the number.
        least, most: what the number must reach; None if there is no such limit.
        note: reason of a failure, or how the number came about.
    """

    what: str
    value: float | None
    unit: str = ""
    least: float | None = None
    most: float | None = None
    note: str = ""

    @property
    def limits(self) -> str:
        """Say what the number must reach."""
        named = (("at least", self.least), ("at most", self.most))
        return ", ".join(f"{name} {limit:g}" for name, limit in named if limit is not None)

    @property
    def verdict(self) -> str:
        """Say whether the limit is kept."""
        if self.value is None:
            return "FAILED"
        if self.least is None and self.most is None:
            return ""
        kept = (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)
        return "reached" if kept else "MISSED"


@dataclass(frozen=True)
class Setting:
    """Where and how large: `device` is cpu or cuda, `tiny` for sizes that say nothing about speed, `seconds` are left."""

    device: str
    tiny: bool
    seconds: float


@dataclass(frozen=True)
class Part:
    """A letter of the table: what it measures, its time limit in seconds and the function that yields its rows."""

    title: str
    seconds: float
    function: str


PARTS = {
    "a": Part("tests marked gpu", 60, "gpu_runs.marked_tests"),
    "b": Part("SSIM kernel", 80, "gpu_parts.ssim_kernel"),
    "c": Part("top-10 and Pearson", 45, "gpu_parts.top_ten"),
    "d": Part("embeddings of ConvNeXt-Base", 60, "gpu_parts.embeddings"),
    "e": Part("training and generation of brain.yaml", 110, "gpu_parts.generative"),
    "g": Part("demo", 200, "gpu_runs.demo"),
    "f": Part("audit of 2,000 x 100,000", 150, "gpu_runs.audit"),  # last: it takes the time that is left
}


def run_part(letter: str, setting: Setting, limit: float, folder: Path) -> list[Row]:
    """Run a part in its own process and return its rows; the last says why if it failed."""
    rows, log = folder / f"{letter}.jsonl", folder / f"{letter}.log"
    command = [
        sys.executable, "-m", "benchmarks.gpu", "--run-part", letter, "--rows", str(rows), "--device", setting.device,
        "--seconds", str(limit), *(["--tiny"] if setting.tiny else []),
    ]  # fmt: skip
    start = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, start_new_session=True)
        try:
            status: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            status = None
            os.killpg(process.pid, signal.SIGKILL)  # the session of this part, with what it started
            process.wait()
    found = [Row(**json.loads(line)) for line in rows.read_text().splitlines()] if rows.exists() else []
    took = time.perf_counter() - start
    if status != 0:
        tail = log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:]
        print("\n".join([f"--- part {letter} failed:", *tail, "---"]), flush=True)
        reason = f"stopped after its {limit:.0f} s" if status is None else (tail[-1] if tail else f"status {status}")
        found.append(Row(PARTS[letter].title, None, note=reason[:200]))
    return [*found, Row("time of this part", round(took, 1), "s")]


def table(results: dict[str, list[Row]]) -> list[str]:
    """Return all rows as a Markdown table."""
    lines = ["| part | what | value | unit | must reach | | note |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for letter, rows in results.items():
        for row in rows:
            value = "-" if row.value is None else f"{row.value:.4g}"
            cells = [letter, row.what, value, row.unit, row.limits, row.verdict, row.note.replace("|", "/")]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def machine(device: str) -> dict[str, Any]:
    """Return card, driver, processor and versions."""
    import torch

    found: dict[str, Any] = {
        "python": platform.python_version(), "torch": torch.__version__, "cuda": torch.version.cuda,
        "cores": len(os.sched_getaffinity(0)), "processor": platform.processor() or platform.machine(),
    }  # fmt: skip
    if device == "cuda" and torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        found |= {
            "gpu": properties.name, "gpu_memory_gb": properties.total_memory / 1e9,
            "capability": list(torch.cuda.get_device_capability(0)),
        }  # fmt: skip
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return found | {"commit": commit.stdout.strip()}


def _run_here(letter: str, setting: Setting, path: Path) -> None:
    """Yield the rows of a part into a file, each as soon as it is there."""
    module, name = PARTS[letter].function.split(".")
    function: Callable[[Setting], Iterator[Row]] = getattr(import_module(f"benchmarks.{module}"), name)
    with path.open("a") as file:
        for row in function(setting):
            print(row, flush=True)
            file.write(json.dumps(asdict(row)) + "\n")
            file.flush()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", default=",".join(PARTS), help="letters, with commas; default: %(default)s")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes that only show that it works")
    parser.add_argument("--seconds", type=float, default=TOTAL_S, help="for all parts together; default: %(default)s")
    place = os.environ.get("OUT") or str(ROOT / "results")
    parser.add_argument("--out", type=Path, default=Path(place, "gpu.json"), help="default: %(default)s")
    parser.add_argument("--run-part", choices=tuple(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.letters = [letter for letter in PARTS if letter in options.parts.split(",")]
    unknown = set(options.parts.split(",")) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {sorted(unknown)[0]!r}; there are {', '.join(PARTS)}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen parts; return 1 if one failed or missed what it must reach."""
    options = _parse(arguments)
    setting = Setting(options.device, options.tiny, options.seconds)
    if options.run_part:
        _run_here(options.run_part, setting, options.rows)
        return 0
    start = time.monotonic()
    about = machine(options.device)
    print(json.dumps(about), flush=True)
    results: dict[str, list[Row]] = {}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for letter in options.letters:
            left = options.seconds - (time.monotonic() - start)
            limit = min(PARTS[letter].seconds, left)
            if limit < 1:
                results[letter] = [Row(PARTS[letter].title, None, note="no time was left")]
            else:
                results[letter] = run_part(letter, setting, limit, Path(folder))
            rows = {name: [asdict(row) | {"verdict": row.verdict} for row in found] for name, found in results.items()}
            content = {"machine": about, "device": options.device, "tiny": options.tiny, "rows": rows}
            options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            print("\n".join(table({letter: results[letter]})[2:]), flush=True)
    print("\n".join(["", *table(results), "", f"written to {options.out}"]))
    bad = {"FAILED"} if options.tiny else {"FAILED", "MISSED"}
    return int(any(row.verdict in bad for rows in results.values() for row in rows))


if __name__ == "__main__":
    sys.exit(main())
