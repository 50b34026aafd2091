"""Parts of benchmarks.gpu that run whole programs: tests, audit and demo; generators of rows.

Not here: single computations (gpu_parts.py).
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from benchmarks import ROOT
from benchmarks.gpu import Row, Setting
from deepssim.runtime.threads import available_threads

DEMO_MACRO_F1 = 0.9  # aligned and misaligned; 0.976 and 0.973 on two processor cores


def marked_tests(setting: Setting) -> Iterator[Row]:
    """(a) Run the tests that need a GPU; only files that have some, since others need packages that may be absent."""
    files = sorted(str(path) for path in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in path.read_text("utf-8"))
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", *files]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(run.stdout[-6000:], run.stderr[-2000:])
    words = run.stdout.splitlines()[-1].replace("=", "").split()
    counts = {name.rstrip(","): int(number) for number, name in pairwise(words) if number.isdigit()}
    for name in ("passed", "skipped", "failed", "error"):
        wanted: tuple[float | None, float | None] = {"failed": (None, 0), "error": (None, 0)}.get(name, (None, None))
        if name == "passed" and setting.device == "cuda":
            wanted = (1, None)
        yield Row(f"tests marked gpu that {name}", counts.get(name, 0), "tests", *wanted)


def audit(setting: Setting) -> Iterator[Row]:
    """(f) Audits of more and more images against 2,000, while the next is expected to end in time."""
    from benchmarks.audit_size import write_images

    start = time.monotonic()
    real, counts = (12, (20, 40)) if setting.tiny else (2000, (2000, 10_000, 100_000))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder / "real", real, seed=1)
        (folder / "config.yaml").write_text("audit:\n  controls: 10\n  visits: 1\n", encoding="utf-8")
        times: list[tuple[int, float]] = []
        for count in counts:
            expected = _extrapolated(times, count)
            if times and expected > setting.seconds - (time.monotonic() - start) - 10:
                note = f"extrapolated from {times[-1][0]:,} images, not run"
                yield Row(f"audit of {real:,} x {count:,}", expected, "s", note=note)
                return
            write_images(folder / f"synthetic-{count}", count, seed=2)
            begun = time.perf_counter()
            command = [
                sys.executable, "-m", "deepssim.cli", "audit", str(folder / "real"), str(folder / f"synthetic-{count}"),
                "--out", str(folder / f"report-{count}"), "--cache", str(folder / "cache"), "--config",
                str(folder / "config.yaml"), "--threads", str(available_threads()), "--fail-above", "1",
                "--device", setting.device,
            ]  # fmt: skip
            status = subprocess.run(command, check=False).returncode
            if status not in (0, 3, 4):  # no copies, copies, cannot tell
                yield Row(f"audit of {real:,} x {count:,}", None, note=f"ended with status {status}")
                return
            times.append((count, time.perf_counter() - begun))
            yield Row(f"audit of {real:,} x {count:,}", times[-1][1], "s", note=f"{available_threads()} cores")


def _extrapolated(times: list[tuple[int, float]], count: int) -> float:
    """Return the expected seconds of the next audit: what is known grows in proportion to the images."""
    return times[-1][1] * count / times[-1][0] if times else 0.0


def demo(setting: Setting) -> Iterator[Row]:
    """(g) The default config on the GPU, with the gates of the demo on the processor."""
    with tempfile.TemporaryDirectory() as name:
        config = Path(name, "own.yaml")
        tiny = (ROOT / "tests" / "workflow" / "tiny.yaml").read_text("utf-8") if setting.tiny else ""
        lines = [line for line in tiny.splitlines() if not line.startswith("device:")]
        config.write_text("\n".join([*lines, f"device: {setting.device}", ""]), encoding="utf-8")
        command = [
            sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", name,
            "--configfile", str(config), "--cores", str(available_threads()),
            *(["--resources", "gpu=1"] if setting.device == "cuda" else []), *_goals(setting),
        ]  # fmt: skip
        begun = time.perf_counter()
        subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": _python_path()})
        took = time.perf_counter() - begun
        most = 180.0 if setting.device == "cuda" and not setting.tiny else None
        yield Row("demo, from nothing to its report", took, "s", most=most)
        if not setting.tiny:
            yield from _demo_scores(Path(name, "results"))


def _goals(setting: Setting) -> list[str]:
    return ["results/dataset/real.h5"] if setting.tiny else []


def _python_path() -> str:
    return os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])


def _demo_scores(results: Path) -> Iterator[Row]:
    """Report the macro-F1 of DeepSSIM, aligned and misaligned, and whether the copies were found."""
    with (results / "eval" / "summary.csv").open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            if line["metric"] == "deepssim" and line["macro_f1"]:
                yield Row(
                    f"demo, macro-F1 of DeepSSIM, {line['images']}", float(line["macro_f1"]), "", least=DEMO_MACRO_F1
                )
    found = json.loads((results / "eval" / "registered_copies.json").read_text(encoding="utf-8"))["verdict"]
    yield Row(
        "demo finds copies", float(found["verdict"] == "copies found"), "yes", least=1, note=found["sentence"][:120]
    )
