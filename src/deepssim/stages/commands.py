"""Subcommands that run a single stage on given files, without the workflow.

Argument parsing only. Other stages are run individually by `snakemake <file> --force`.

Not here: the stages (the other modules of this package).
"""

import argparse
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepssim.config.choices import MetricName
from deepssim.metrics import METRICS, InputKind
from deepssim.runtime.outputs import atomic_outputs
from deepssim.runtime.threads import available_threads, set_threads, thread_count
from deepssim.stages import run_stage

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StageCommand:
    """One subcommand; its options are named like the arguments of the stage function.

    Attributes:
        help: one line for `--help`.
        inputs: required input files, with their help texts.
        outputs: files that the stage writes, with their help texts.
        optional: optional input files, with their help texts.
        settings: sections and single settings (`section.key`) that the stage needs, from the config file or the defaults.
        several: inputs that take more than one file.
        flags: switches, with their help texts.
        sharded: whether the stage can process one shard of the synthetic images, given by an option.
        metrics: those that the stage takes; none if it does not depend on a metric.
        choices: further required arguments, with their choices and help texts.
        size: setting of two numbers that has an option of its own.
    """

    help: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    optional: dict[str, str] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    several: tuple[str, ...] = ()
    flags: dict[str, str] = field(default_factory=dict)
    sharded: bool = False
    metrics: tuple[MetricName, ...] = tuple(MetricName)
    choices: dict[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)
    size: str | None = None


_PACKS = {"real": "image pack of the real images", "synthetic": "image pack of synthetic images"}
_EMBEDDINGS = {"real": "embeddings of the real images", "synthetic": "embeddings of synthetic images"}
_SCORING = ("seed", "device", "shards", "synthesis.images_per_record", "similarity")
_OF_MATRIX = {
    "train_used": "CSV with the keys of the generator's training images (default: all real images)",
    "pairs": "CSV with real_key and synth_key: pairs to keep if not all scores are stored",
}
_MATRIX = {"matrix": "score matrix to write (HDF5)"}

_OF_EMBEDDINGS = tuple(name for name, metric in METRICS.items() if metric.input_kind is InputKind.EMBEDDINGS)
_OF_PIXELS = tuple(name for name, metric in METRICS.items() if metric.input_kind is InputKind.PIXELS)

COMMANDS = {
    "pack": StageCommand(
        help="decode the images of a folder into one file, for the other stages",
        inputs={"folder": "folder of images, or CSV with image_uid and image_path"},
        outputs={
            "pack": "image pack to write (HDF5)",
            "images": "table to write (CSV): key, path, role and subject of each image",
        },
        settings=("dataset",), metrics=(), size="dataset.image_size",
        choices={"role": (("real", "synthetic"), "whether the images are real or synthetic")},
    ),
    "embed": StageCommand(
        help="embed all images of a pack",
        inputs={"pack": "image pack", "weights": "encoder file"},
        outputs={"embeddings": "embeddings to write (HDF5)"},
        settings=("device", "evaluation.embedding_batch_size", "evaluation.embedding_precision", "published"),
        metrics=_OF_EMBEDDINGS,
    ),
    "score-images": StageCommand(
        help="score real against synthetic images with a metric that compares pixels",
        inputs=_PACKS, optional=_OF_MATRIX, outputs=_MATRIX, settings=_SCORING, several=("pairs",), sharded=True,
        metrics=_OF_PIXELS,
        flags={"exact": "compute all pairs also where only the best scores are stored (setting similarity.exact)"},
    ),
    "score-embeddings": StageCommand(
        help="score real against synthetic embeddings",
        inputs=_EMBEDDINGS, optional=_OF_MATRIX, outputs=_MATRIX, settings=_SCORING, several=("pairs",), sharded=True,
        metrics=_OF_EMBEDDINGS,
    ),
    "score-pairs": StageCommand(
        help="score a list of pairs without computing the matrix",
        inputs={
            "pairs": "CSV with real_key and synth_key",
            "real": "image pack or embeddings of the real images",
            "synthetic": "image pack or embeddings of synthetic images",
        },
        outputs={"scores": "CSV to write: the table of pairs with a column score"},
        settings=("device", "similarity"),
    ),
    "gather-matrix": StageCommand(
        help="concatenate the shards of a score matrix",
        inputs={"shards": "score matrices of the shards"}, outputs=_MATRIX, several=("shards",),
    ),
    "evaluate": StageCommand(
        help="evaluate a metric on labelled pairs",
        inputs={
            "matrix": "score matrix",
            "test": "CSV with real_key, synth_key, ssim and label (0 different, 1 duplicate, 2 similar)",
            "train_used": "CSV with the keys of the generator's training images",
            "images": "image table (CSV with key, path, role, subject, split), for intervals by subject",
        },
        optional={"thresholds": "fitted thresholds (JSON; default: the published ones, if they apply)"},
        outputs={"evaluation": "JSON to write"},
        settings=("seed",),
        flags={"misaligned": "mark the result as that of misaligned images"},
    ),
}  # fmt: skip


def add_stage_commands(commands: Any) -> None:
    """Add the subcommands to a parser."""
    for name, record in COMMANDS.items():
        command = commands.add_parser(name, help=record.help, description=f"{record.help[0].upper()}{record.help[1:]}.")
        if record.metrics:
            metrics = [metric.value for metric in record.metrics]
            command.add_argument("--metric", choices=metrics, required=True, help="name of the metric")
        for option, (values, text) in record.choices.items():
            command.add_argument(f"--{option}", choices=values, required=True, help=text)
        for option, text in record.inputs.items():
            _add_file(command, option, text, required=True, several=option in record.several)
        for option, text in record.optional.items():
            _add_file(command, option, text, required=False, several=option in record.several)
        for option, text in record.outputs.items():
            _add_file(command, option, text, required=True, several=False)
        for option, text in record.flags.items():
            command.add_argument(f"--{option}", action="store_true", help=text)
        if record.size:
            command.add_argument(
                "--image-size", nargs=2, type=int, metavar=("H", "W"), help="height and width (default: of the config)"
            )
        if record.sharded:
            text = "number of the shard of synthetic images, of the config's `shards` shards (default: 0)"
            command.add_argument("--shard", type=int, default=0, help=text)
        if "published" in record.settings:
            text = "SHA-256 of a weight file that may be loaded though it can run code (the first run shows it)"
            command.add_argument("--trust", action="append", default=[], metavar="SHA256", help=text)
        if record.settings:
            command.add_argument("--config", metavar="FILE", help="config file (default: the default settings)")
        command.add_argument(
            "--threads", type=thread_count, default=available_threads(), help="CPU threads (default: all)"
        )
        command.set_defaults(call=_run, command=name)


def _add_file(command: argparse.ArgumentParser, name: str, text: str, *, required: bool, several: bool) -> None:
    command.add_argument(
        f"--{name.replace('_', '-')}", required=required, nargs="+" if several else None, metavar="FILE", help=text
    )


def _run(options: argparse.Namespace) -> None:
    set_threads(options.threads)
    from deepssim.config.base import as_settings
    from deepssim.config.settings import Config, load_config, typed_settings
    from deepssim.runtime.provenance import fingerprint
    from deepssim.runtime.records import Origin, write_records

    record = COMMANDS[options.command]
    config = load_config(options.config) if getattr(options, "config", None) else Config()
    plain = as_settings(config)
    plain["published"]["trust"] += [
        value for value in getattr(options, "trust", []) if value not in plain["published"]["trust"]
    ]
    if record.size and options.image_size:
        section, _, key = record.size.partition(".")
        plain[section][key] = options.image_size
    declared = {name: _setting(plain, name) for name in record.settings}
    values = typed_settings(declared) | {"threads": options.threads, "config_hash": fingerprint(plain)}
    values |= {name: getattr(options, name) for name in (*record.flags, *(["shard"] if record.sharded else []))}
    values |= {name: getattr(options, name) for name in record.choices}
    if record.metrics:
        values["metric"] = MetricName(options.metric)
    inputs = {name: getattr(options, name) for name in (*record.inputs, *record.optional)}
    final = {name: Path(getattr(options, name)) for name in record.outputs}
    with atomic_outputs(final) as outputs:
        run_stage(options.command.replace("-", "_"), inputs | outputs, values)
        origin = Origin(None, options.command, declared, _paths(inputs), config.seed, config.device.value)
        write_records(origin, final, {name: Path(path) for name, path in outputs.items()})
    logger.info("written: %s", ", ".join(map(str, final.values())))


def _setting(plain: dict[str, Any], name: str) -> Any:
    section, _, key = name.partition(".")
    return plain[section][key] if key else plain[section]


def _paths(inputs: dict[str, Any]) -> tuple[Path, ...]:
    lists = [value if isinstance(value, list) else [value] for value in inputs.values() if value is not None]
    return tuple(Path(path) for paths in lists for path in paths)
