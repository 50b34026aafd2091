"""The page that benchmarks.run writes: tables of ratios and growth, a plot, and the machine they hold for."""

import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from benchmarks.jobs import SIZE
from benchmarks.measure import Outcome, spread
from deepssim.runtime.devices import computes_bfloat16
from deepssim.runtime.threads import available_threads


def machine() -> str:
    """Return processor, cores, GPU and versions."""
    import numba
    import scipy

    model = platform.processor() or "unknown processor"
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    bfloat16 = "with" if computes_bfloat16(torch.device("cpu")) else "without"
    return (
        f"{model}, {available_threads()} cores, {torch.backends.cpu.get_cpu_capability()} {bfloat16} bfloat16, {gpu}; "
        f"Python {platform.python_version()}, numba {numba.__version__}, torch {torch.__version__}, "
        f"numpy {np.__version__}, scipy {scipy.__version__}, scikit-image {version('scikit-image')}"
    )


def table(outcomes: list[Outcome]) -> list[str]:
    """Return the ratios as a Markdown table."""
    lines = [
        "| job | compared with | times faster | target | ours, s | theirs, s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for outcome in outcomes:
        job = outcome.comparison
        lines.append(
            f"| {job.job} | {job.rival} | **{spread(outcome.ratios)}** | {job.goal:.2g} | {spread(outcome.ours)} | "
            f"{spread(outcome.theirs)}{'' if job.share == 1 else f', from {job.share:.1%}'} |"
        )
    return lines


def growth_table(found: dict[str, list[dict[str, float]]]) -> list[str]:
    """Return time and memory by size as a Markdown table."""
    lines = ["| job | pairs | s | ns per pair | peak memory, GB |", "| --- | --- | --- | --- | --- |"]
    for job, steps in found.items():
        for step in steps:
            pairs = step["real"] * step["synthetic"]
            lines.append(
                f"| {job} | {step['real']:,} x {step['synthetic']:,} | {step['seconds']:.3g} | "
                f"{1e9 * step['seconds'] / pairs:.3g} | {step['peak_gb']:.2f} |"
            )
    return lines


def plot(path: Path, found: dict[str, list[dict[str, float]]]) -> None:
    """Draw time and memory against the number of pairs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    time_axis, memory_axis = figure.subplots(1, 2)
    for job, steps in found.items():
        pairs = [step["real"] * step["synthetic"] for step in steps]
        time_axis.loglog(pairs, [step["seconds"] for step in steps], "o-", label=job)
        memory_axis.semilogx(pairs, [step["peak_gb"] for step in steps], "o-", label=job)
    memory_axis.axhline(1.0, color="grey", linestyle="--", linewidth=1)
    memory_axis.set(xlabel="pairs", ylabel="peak memory, GB", ylim=(0, 1.1), title="memory (limit dashed)")
    time_axis.set(xlabel="pairs", ylabel="s", title="time")
    time_axis.legend(fontsize=8)
    figure.savefig(path)


def page(
    outcomes: list[Outcome],
    found: dict[str, list[dict[str, float]]],
    *,
    command: str,
    repetitions: int,
    source: str,
    limit: str,
    paper: str | None,
) -> str:
    """Return the page as Markdown.

    Args:
        outcomes: of all comparisons.
        found: time and memory by size.
        command: that measured them.
        repetitions: of each comparison.
        source: where the images come from.
        limit: sentence on the least possible time.
        paper: sentence on the matrix of the paper's size, None if it was not measured.
    """
    text = [
        "# Benchmarks",
        "",
        "Speed and memory of score computation and embedding, compared with public alternatives on the same machine.",
        "",
        f"Written by `{command}`. {machine()}.",
        "",
        f"Median (range) of {repetitions} repetitions; ours and theirs were timed alternately, each on {available_threads()} cores. "
        "Where a rival was measured on a part of the job, its time is scaled to the whole and the fraction is given. Compilation "
        f"and the first run of each are excluded. Images: {source}; embeddings: random.",
        "",
        *table(outcomes),
        "",
        limit,
        "",
        "## Cost by size",
        "",
        "Each job runs in a process of its own with `max_memory_gb` 1; the peak is that of the whole process.",
        "",
        *growth_table(found),
        "",
        "![Time grows with the number of pairs, memory stays below its limit](benchmarks.svg)",
        "",
    ]
    return "\n".join(text + (["## Size of the paper's study", "", paper, ""] if paper else []))


def paper_sentence(step: dict[str, float]) -> str:
    """Describe the SSIM matrix of the paper's size, 2,195 x 65,850 images."""
    return (
        f"The SSIM matrix of 2,195 x 65,850 images of {SIZE[0]}x{SIZE[1]}, 144.5 million scores, from packs to file with "
        f"`max_memory_gb` 2: {step['seconds']:.0f} s, {1e6 * step['seconds'] / (2195 * 65_850):.2f} microseconds per pair, "
        f"peak memory {step['peak_gb']:.2f} GB, output {step['output_gb']:.2f} GB."
    )
