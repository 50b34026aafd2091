"""Measure how long the jobs of the workflow take to start, each in a fresh process: `python -m benchmarks.import_times`.

A rule is started as Snakemake's job starts it, up to the call of its stage. Rules that embed or score import what a metric
needs during the call, so they embed or score a few small images.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ROOT
from benchmarks.measure import run_measured
from deepssim.stages import MODULES

HEAVY = (
    "torch", "lightning", "monai", "transformers", "kornia", "sklearn", "pandas", "matplotlib", "numba", "scipy", "skimage"
)  # fmt: skip
MAX_HELP, MAX_START = 0.5, 2.5  # processor seconds for `--help`, and for a job that embeds or scores

_SIZE, _COUNT = 64, 4  # side and number of the images
_ENCODERS = {
    "deepssim": "deepssim.safetensors", "dar": "dar.safetensors", "chen": "chen.pt", "semdedup": "semdedup.safetensors"
}  # fmt: skip
_LOADED = f"import json, sys; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"


@dataclass(frozen=True)
class Start:
    """One job.

    Attributes:
        name: as in the table.
        code: what its process runs.
        limit: processor seconds that it should take at most, or None.
    """

    name: str
    code: str
    limit: float | None = None


def starts(folder: Path) -> list[Start]:
    """Return all jobs; those that embed or score read the files that `write_inputs` has written to `folder`."""
    found = [
        Start(
            "`deepssim --help`",
            "import contextlib, io\nfrom deepssim.cli import main\n"
            "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n    main(['--help'])",
            MAX_HELP,
        ),
        Start("imports of the Snakefile", _imports_of(ROOT / "workflow" / "rules" / "common.smk")),
    ]
    for rule in MODULES:
        calls = _calls(rule, folder)
        found += [Start(f"{rule} ({call.metric})", _job(rule, call), MAX_START) for call in calls]
        found += [] if calls else [Start(rule, _job(rule))]
    return found


@dataclass(frozen=True)
class Call:
    """Arguments of a stage: a metric, files by name, and plain settings."""

    metric: str
    files: dict[str, str]
    settings: dict[str, object]


def _imports_of(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.startswith(("import ", "from ")))


def _job(rule: str, call: Call | None = None) -> str:
    """Return the code that starts a rule's job and, with arguments, calls its stage."""
    lines = [
        "from deepssim.runtime.jobs import job",  # as workflow/scripts/stage.py does
        "from deepssim.runtime.lean_imports import import_monai_lean",
        "from deepssim.runtime.threads import set_threads",
        "from deepssim.stages import run_stage, stage_function",
        "set_threads(1)",
        "import_monai_lean()",
        f"stage_function({rule!r})",
    ]
    if call:
        lines += [
            "from deepssim.config.choices import MetricName",
            "from deepssim.config.settings import typed_settings",
            f"settings = typed_settings({call.settings})",
            f"run_stage({rule!r}, {call.files}, settings | {{'metric': MetricName({call.metric!r})}})",
        ]
    return "\n".join(lines)


def _calls(rule: str, folder: Path) -> list[Call]:
    """Return the calls of a rule that are measured, none for most rules."""
    pack, embeddings, output = (str(folder / name) for name in ("pack.h5", "embeddings.h5", "output"))
    scoring: dict[str, object] = {"seed": 0, "device": "cpu", "synthesis.images_per_record": 1, "similarity": {}}
    if rule == "embed":
        settings = {
            "device": "cpu",
            "evaluation.embedding_batch_size": _COUNT,
            "evaluation.embedding_precision": "float32",
            "published": {"trust": json.loads((folder / "trust.json").read_text())},
        }
        files = {"pack": pack, "embeddings": output}
        return [Call(name, files | {"weights": str(folder / file)}, settings) for name, file in _ENCODERS.items()]
    if rule == "score_images":
        files = {"real": pack, "synthetic": pack, "matrix": output}
        return [Call(metric, files, scoring) for metric in ("ssim", "fsim")]
    if rule == "score_embeddings":
        files = {"real": embeddings, "synthetic": embeddings, "matrix": output}
        return [Call(metric, files, scoring) for metric in ("deepssim", "dar")]  # cosine and Pearson correlation
    if rule == "score_pairs":
        files = {"pairs": str(folder / "pairs.csv"), "real": pack, "synthetic": pack, "scores": output}
        return [Call("ssim", files, {"device": "cpu", "similarity": {}})]
    return []


def write_inputs(folder: Path) -> None:
    """Write a pack of small images, their embeddings, and an encoder of every metric, all random and small."""
    import numpy as np
    import torch

    from deepssim.config.encoders import DarConfig, EncoderConfig
    from deepssim.encoders import dar, deepssim
    from deepssim.images.packs import ImagePack, write_pack
    from deepssim.runtime.provenance import file_checksum
    from deepssim.similarity.embeddings import Embeddings, write_embeddings

    random = np.random.default_rng(0)
    keys = [f"image-{number}" for number in range(_COUNT)]
    write_pack(folder / "pack.h5", ImagePack(random.integers(0, 256, (_COUNT, _SIZE, _SIZE), dtype=np.uint8), keys))
    (folder / "pairs.csv").write_text(f"real_key,synth_key\n{keys[0]},{keys[1]}\n")
    values = random.standard_normal((_COUNT, 128), dtype=np.float32)
    write_embeddings(folder / "embeddings.h5", Embeddings(values, keys, "", ""))
    deepssim.save_encoder(folder / _ENCODERS["deepssim"], deepssim.DeepSSIM(EncoderConfig()))
    dar.save_encoder(folder / _ENCODERS["dar"], dar.Dar(DarConfig()))
    torch.jit.script(torch.nn.Sequential(torch.nn.AvgPool2d(32), torch.nn.Flatten())).save(
        str(folder / _ENCODERS["chen"])
    )
    _write_clip(folder / _ENCODERS["semdedup"])
    (folder / "trust.json").write_text(json.dumps([file_checksum(folder / _ENCODERS["chen"])]))


def _write_clip(path: Path) -> None:
    """Write the image tower of a CLIP model as open_clip does."""
    from safetensors.torch import save_file

    from deepssim.encoders.semdedup import BiomedClip
    from deepssim.encoders.vit import VitOptions

    tower = BiomedClip(VitOptions(width=64, depth=1, heads=1, hidden=64, side=32, patch=16), features=16)
    weights = {f"visual.trunk.{name}": value for name, value in tower.trunk.state_dict().items()}
    save_file(weights | {"visual.head.proj.weight": tower.projection.weight.detach()}, path)


def started(code: str) -> list[str]:
    """Run code in a fresh process and return which of the heavy packages are loaded at its end.

    Raises:
        RuntimeError: if it fails.
    """
    run = subprocess.run([sys.executable, "-c", f"{code}\n{_LOADED}"], capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"failed:\n{code}\n{run.stderr[-2000:]}")
    return json.loads(run.stdout.splitlines()[-1])


def measure(start: Start, repetitions: int) -> str:
    """Return a row of the table; a first run, which compiles and fills caches, does not count."""
    loaded = started(start.code)
    with tempfile.TemporaryFile("w") as output:
        used = [run_measured([sys.executable, "-c", start.code], output) for _ in range(repetitions)]
    if any(run.status for run in used):
        raise RuntimeError(f"failed:\n{start.code}")
    processor, wall = (
        statistics.median(getattr(run, name) for run in used) for name in ("processor_seconds", "seconds")
    )
    limit = f"{start.limit:g}" if start.limit else ""
    return f"| {start.name} | {processor:.2f} | {limit} | {wall:.2f} | {', '.join(loaded)} |"


def page(rows: Sequence[str], machine: str, repetitions: int) -> str:
    """Return the page as Markdown."""
    text = [
        "# Time to start",
        "",
        f"Written by `python -m benchmarks.import_times --write`. {machine}.",
        "",
        "Each job is started in a fresh process as Snakemake starts it, up to the call of its stage. Jobs with a metric in "
        f"brackets also embed or score {_COUNT} images of {_SIZE}x{_SIZE} pixels, since they import what the metric needs during "
        "the call. Processor time is user and system time of the whole process with one thread, from the start of Python; "
        f"medians of {repetitions} runs after one that does not count. Of {', '.join(HEAVY)}, the last column lists those that "
        "the job loads, directly or through another package.",
        "",
        "| job | processor, s | limit, s | wall, s | loaded |",
        "| --- | --- | --- | --- | --- |",
        *rows,
        "",
    ]
    return "\n".join(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write docs/import-times.md, too")
    parser.add_argument("--repetitions", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--only", metavar="TEXT", default="", help="measure jobs whose name has this")
    options = parser.parse_args(arguments)
    if options.write and options.only:
        parser.error("--write needs all jobs; leave out --only")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled anew, modules would take several times as long to import
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(Path(folder))
        for start in starts(Path(folder)):
            if options.only in start.name:
                rows.append(measure(start, options.repetitions))
                print(rows[-1], flush=True)
    if options.write:
        from benchmarks.page import machine

        (ROOT / "docs" / "import-times.md").write_text(page(rows, machine(), options.repetitions), encoding="utf-8")


if __name__ == "__main__":
    main()
