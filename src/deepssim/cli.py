"""The command line: `deepssim <stage>` runs one stage of the workflow by hand.

Argument parsing only. Every subcommand calls one function, mostly of stages/; its files have the places that the
workflow gives them unless they are named.
"""

import argparse
import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepssim import stages
from deepssim.choices import MetricName
from deepssim.cli_audit import add_audit_command
from deepssim.cli_reference import add_reference_commands
from deepssim.cli_scores import add_score_commands
from deepssim.config import Config, json_schema, load_config
from deepssim.errors import DataError
from deepssim.jobs import RESULTS, logged, record, set_threads, short_errors, whole_outputs
from deepssim.records import Origin, require_verified
from deepssim.settings import as_settings

_SYNTHETIC = "synthetic/[0-9][0-9][0-9].h5"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One subcommand.

    Attributes:
        help: one line for `--help`.
        inputs: files by argument name, relative to the results folder; an empty one must be named by the user, one with
            a star stands for all files that match it.
        optional: further inputs with one line of help, left out unless the user names them.
        outputs: the same as inputs for what the stage makes.
        extras: further arguments of the stage's function: metric, shard, misaligned, config_hash, threads, config.
    """

    help: str
    inputs: dict[str, str] = field(default_factory=dict)
    optional: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    extras: tuple[str, ...] = ("config",)


_EVALUATIONS = "eval/*.json"
_TRAIN_USED = "images that the generator was trained on (CSV with key); all real ones unless named"
_LABELLED = "pairs to keep where not all scores are kept (CSV with real_key and synth_key)"

STAGES = {
    "prepare-dataset": Stage(
        help="read the real images into an image table and a pack",
        outputs={"images": "dataset/images.csv", "pack": "dataset/real.h5"},
        extras=("config", "threads"),
    ),
    "misalign": Stage(
        help="make a copy of a pack in which every image is misaligned",
        inputs={"pack": ""},
        outputs={"misaligned": ""},
    ),
    "train-vae": Stage(
        help="train the autoencoder",
        inputs={"images": "dataset/images.csv", "pack": "dataset/real.h5"},
        outputs={
            "weights": "vae/autoencoder.safetensors",
            "history": "vae/history.csv",
            "reconstructions": "vae/reconstructions.png",
        },
    ),
    "encode-latents": Stage(
        help="encode every real image once",
        inputs={"images": "dataset/images.csv", "pack": "dataset/real.h5", "weights": "vae/autoencoder.safetensors"},
        outputs={"latents": "vae/latents.h5"},
    ),
    "train-ldm": Stage(
        help="train the diffusion model",
        inputs={
            "images": "dataset/images.csv",
            "pack": "dataset/real.h5",
            "latents": "vae/latents.h5",
            "autoencoder": "vae/autoencoder.safetensors",
        },
        optional={"initial": "weights to start from (of this program, MONAI or monai-generative); random unless named"},
        outputs={
            "weights": "ldm/unet.safetensors",
            "history": "ldm/history.csv",
            "samples": "ldm/samples.png",
            "train_used": "ldm/train_used.csv",
        },
    ),
    "generate": Stage(
        help="generate the synthetic images of one shard",
        inputs={
            "train_used": "ldm/train_used.csv",
            "latents": "vae/latents.h5",
            "autoencoder": "vae/autoencoder.safetensors",
            "unet": "ldm/unet.safetensors",
        },
        outputs={"pack": "synthetic/{shard:03d}.h5"},
        extras=("config", "shard"),
    ),
    "export-images": Stage(
        help="write real and synthetic images as a tree of PNG files",
        inputs={"real": "dataset/real.h5", "synthetic": _SYNTHETIC},
        outputs={"tree": "synthetic/images"},
        extras=(),
    ),
    "score-images": Stage(
        help="score real against synthetic images by a metric that reads pixels",
        inputs={
            "real": "dataset/real{variant}.h5",
            "synthetic": "synthetic/{shard:03d}{variant}.h5",
        },
        optional={"train_used": _TRAIN_USED, "pairs": _LABELLED},
        outputs={"matrix": "matrices/{metric}{variant}/{shard:03d}.h5"},
        extras=("config", "metric", "shard", "threads"),
    ),
    "gather-matrix": Stage(
        help="put the shards of a score matrix side by side",
        inputs={"shards": "matrices/{metric}{variant}/[0-9][0-9][0-9].h5"},
        outputs={"matrix": "matrices/{metric}{variant}.h5"},
        extras=("metric",),
    ),
    "sample-pairs": Stage(
        help="sample the pairs that train and test the encoder",
        inputs={"images": "dataset/images.csv", "train_used": "ldm/train_used.csv", "matrix": "matrices/ssim.h5"},
        outputs={"train": "pairs/train.csv", "valid": "pairs/valid.csv", "test": "pairs/test.csv"},
    ),
    "train-deepssim": Stage(
        help="train the encoder whose cosine predicts SSIM",
        inputs={
            "images": "dataset/images.csv",
            "train": "pairs/train.csv",
            "valid": "pairs/valid.csv",
            "real": "dataset/real.h5",
            "synthetic": _SYNTHETIC,
            "autoencoder": "vae/autoencoder.safetensors",
        },
        outputs={"weights": "encoders/deepssim.safetensors", "history": "encoders/deepssim_history.csv"},
    ),
    "train-dar": Stage(
        help="train Dar's encoder on the real images, without labels",
        inputs={"images": "dataset/images.csv", "real": "dataset/real.h5"},
        outputs={"weights": "encoders/dar.safetensors", "history": "encoders/dar_history.csv"},
    ),
    "embed": Stage(
        help="embed all images of a pack",
        inputs={"weights": "encoders/{metric}.safetensors", "pack": ""},
        outputs={"embeddings": ""},
        extras=("config", "metric"),
    ),
    "score-embeddings": Stage(
        help="score real against synthetic embeddings",
        inputs={
            "real": "embeddings/{metric}/real{variant}.h5",
            "synthetic": "embeddings/{metric}/{shard:03d}{variant}.h5",
        },
        optional={"train_used": _TRAIN_USED, "pairs": _LABELLED},
        outputs={"matrix": "matrices/{metric}{variant}/{shard:03d}.h5"},
        extras=("config", "metric", "shard", "threads"),
    ),
    "score-pairs": Stage(
        help="score a list of pairs (CSV with real_key and synth_key) without the matrix",
        inputs={"pairs": "", "real": "", "synthetic": ""},
        outputs={"scores": ""},
        extras=("config", "metric", "threads"),
    ),
    "fit-thresholds": Stage(
        help="fit the thresholds of a metric to the valid pairs",
        inputs={"matrix": "matrices/{metric}.h5", "valid": "pairs/valid.csv"},
        outputs={"thresholds": "eval/thresholds/{metric}.json"},
        extras=("metric",),
    ),
    "evaluate": Stage(
        help="judge a metric on the labelled test pairs",
        inputs={
            "matrix": "matrices/{metric}{variant}.h5",
            "test": "pairs/test.csv",
            "train_used": "ldm/train_used.csv",
        },
        optional={
            "thresholds": "fitted thresholds (JSON); the published ones unless named",
            "images": "image table with subjects (CSV); every real image is one of its own unless named",
        },
        outputs={"figures": "eval/{metric}{variant}.json"},
        extras=("config", "metric", "misaligned", "config_hash"),
    ),
    "compare-metrics": Stage(
        help="compare metrics in pairs, and list the pairs on which they disagree",
        inputs={
            "matrices": "matrices/*[!d].h5",
            "figures": "eval/*[!d].json",
            "test": "pairs/test.csv",
            "images": "dataset/images.csv",
        },
        outputs={
            "comparison": "eval/comparison/metrics.json",
            "disagreements": "eval/comparison/disagreements.csv",
        },
    ),
    "summarize": Stage(
        help="collect the main figures of all metrics in one table",
        inputs={"figures": _EVALUATIONS},
        outputs={"summary": "eval/summary.csv"},
        extras=(),
    ),
    "plot-metric": Stage(
        help="draw the histogram of a metric's scores by class",
        inputs={
            "aligned": "matrices/{metric}.h5",
            "misaligned": "matrices/{metric}_misaligned.h5",
            "test": "pairs/test.csv",
            "figures": "eval/{metric}.json",
        },
        outputs={"png": "plots/{metric}.png", "svg": "plots/{metric}.svg"},
        extras=("metric",),
    ),
    "plot-benchmark": Stage(
        help="draw the histograms of metrics in one figure; give each list in the same order",
        inputs={
            "aligned": "matrices/*[!d].h5",
            "misaligned": "matrices/*_misaligned.h5",
            "test": "pairs/test.csv",
            "figures": "eval/*[!d].json",
        },
        outputs={"png": "plots/benchmark.png", "svg": "plots/benchmark.svg"},
        extras=(),
    ),
    "plot-evaluation": Stage(
        help="draw ROC and precision-recall curves, confusion, calibration and copy rates of all metrics",
        inputs={
            "aligned": "matrices/*[!d].h5",
            "misaligned": "matrices/*_misaligned.h5",
            "test": "pairs/test.csv",
            "figures": _EVALUATIONS,
        },
        outputs={
            f"{name}_{kind}": f"plots/{name}.{kind}"
            for name in ("ranking", "confusion", "calibration", "copy_rate")
            for kind in ("png", "svg")
        },
        extras=(),
    ),
    "plot-summary": Stage(
        help="draw macro-F1 of all metrics",
        inputs={"summary": "eval/summary.csv"},
        outputs={"svg": "plots/summary.svg"},
        extras=(),
    ),
    "plot-copies": Stage(
        help="show synthetic images beside their nearest training images",
        inputs={
            "matrix": "matrices/ssim.h5",
            "train_used": "ldm/train_used.csv",
            "real": "dataset/real.h5",
            "synthetic": _SYNTHETIC,
        },
        outputs={"png": "plots/copies.png"},
        extras=(),
    ),
    "verify-copies": Stage(
        help="register the most similar synthetic images to their training images and compute exact SSIM",
        inputs={
            "matrix": "matrices/{metric}.h5",
            "train_used": "ldm/train_used.csv",
            "real": "dataset/real.h5",
            "synthetic": _SYNTHETIC,
        },
        outputs={"verified": "eval/{metric}_verified.csv"},
        extras=("config", "metric"),
    ),
    "report": Stage(
        help="write the report",
        inputs={
            "images": "dataset/images.csv",
            "figures": _EVALUATIONS,
            "histograms": "plots/*.svg",
            "summary_plot": "plots/summary.svg",
            "copies": "plots/copies.png",
            "reconstructions": "vae/reconstructions.png",
            "samples": "ldm/samples.png",
        },
        outputs={"page": "report/index.html"},
        extras=(),
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run one subcommand."""
    options = _parser().parse_args(arguments)
    with logged(None), short_errors():
        options.call(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepssim",
        description="Find out whether a generative model of medical images has memorized patients. "
        "`snakemake --cores 8 --resources gpu=1` runs all stages; each can also be run by hand.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, stage in STAGES.items():
        command = commands.add_parser(name, help=stage.help, description=f"{stage.help[0].upper()}{stage.help[1:]}.")
        _add_stage_arguments(command, stage)
        command.set_defaults(call=_run_stage, stage=name)
    show = commands.add_parser("show", help="say where the results of a run lie and what its main numbers are")
    show.add_argument("--results", default="results", metavar="DIR", help="results folder (default: %(default)s)")
    show.set_defaults(call=_show)
    verify = commands.add_parser("verify", help="compute the hashes of results again and say what does not match")
    verify.add_argument("results", nargs="?", default=str(RESULTS), metavar="DIR", help="default: %(default)s")
    verify.set_defaults(call=_verify)
    add_audit_command(commands)
    add_reference_commands(commands)
    add_score_commands(commands)
    schema = commands.add_parser("schema", help="print the schema of config files")
    schema.set_defaults(call=_schema)
    check = commands.add_parser("check-config", help="check a config file")
    check.add_argument("config", metavar="FILE")
    check.set_defaults(call=_check)
    return parser


def _add_stage_arguments(command: argparse.ArgumentParser, stage: Stage) -> None:
    command.add_argument("--results", default="results", metavar="DIR", help="results folder (default: %(default)s)")
    if "config" in stage.extras or "config_hash" in stage.extras:
        command.add_argument("--config", metavar="FILE", help="config file (default: the demo's settings)")
    if "metric" in stage.extras:
        command.add_argument("--metric", type=MetricName, choices=list(MetricName), default=MetricName.DEEPSSIM,
                             help="default: %(default)s")  # fmt: skip
    if "shard" in stage.extras:
        command.add_argument("--shard", type=int, default=0, help="number of the shard (default: %(default)s)")
    if any("{variant}" in path for path in (stage.inputs | stage.outputs).values()):
        command.add_argument("--misaligned", action="store_true", help="use the misaligned copies")
    for name, purpose in stage.optional.items():
        command.add_argument(f"--{name.replace('_', '-')}", metavar="PATH", help=f"optional input: {purpose}")
    command.add_argument("--threads", type=int, default=2, help="processor threads (default: %(default)s)")
    for kind, files in (("input", stage.inputs), ("output", stage.outputs)):
        for name, path in files.items():
            command.add_argument(
                f"--{name.replace('_', '-')}",
                required=not path,
                nargs="+" if "*" in path or "[" in path else None,
                metavar="PATH",
                help=f"{kind}" + (f" (default: {path.replace('[0-9]', '?').replace('%', '%%')})" if path else ""),
            )


def _run_stage(options: argparse.Namespace) -> None:
    stage = STAGES[options.stage]
    set_threads(options.threads)
    config = load_config(options.config) if getattr(options, "config", None) else Config()
    values = {
        "config": config,
        "threads": options.threads,
        "metric": getattr(options, "metric", None),
        "shard": getattr(options, "shard", 0),
        "misaligned": getattr(options, "misaligned", False),
    }
    if "config_hash" in stage.extras:
        from deepssim.provenance import fingerprint

        values["config_hash"] = fingerprint(as_settings(config))
    place = {
        "metric": values["metric"],
        "shard": values["shard"],
        "variant": "_misaligned" if values["misaligned"] else "",
    }
    inputs = {name: _input(options, name, path, place) for name, path in stage.inputs.items()}
    inputs |= {name: getattr(options, name) for name in stage.optional}
    final = {name: getattr(options, name) or str(Path(options.results, path.format(**place)))
             for name, path in stage.outputs.items()}  # fmt: skip
    with whole_outputs(final) as outputs:
        function = getattr(stages, options.stage.replace("-", "_"))
        accepted = inspect.signature(function).parameters  # a shard may only decide file names
        function(**inputs, **outputs, **{name: values[name] for name in stage.extras if name in accepted})
        settings = as_settings(config) if "config" in stage.extras else {}
        record(Origin(Path(options.results), options.stage, settings, _paths(inputs), config.seed, config.device),
               final, outputs)  # fmt: skip


def _paths(inputs: dict[str, Any]) -> tuple[Path, ...]:
    lists = [value if isinstance(value, list) else [value] for value in inputs.values() if value is not None]
    return tuple(Path(path) for paths in lists for path in paths)


def _input(options: argparse.Namespace, name: str, path: str, place: dict[str, Any]) -> Any:
    given = getattr(options, name)
    if given:
        return given
    pattern = path.format(**place)
    if "*" not in path and "[" not in path:
        return str(Path(options.results, pattern))
    found = sorted(str(file) for file in Path(options.results).glob(pattern))
    if not found:
        raise DataError(f"{Path(options.results, pattern)}: no such file; run the stage that makes it first")
    return found


def _show(options: argparse.Namespace) -> None:
    from deepssim.evaluation.summary import headline

    print(headline(options.results))


def _verify(options: argparse.Namespace) -> None:
    print(require_verified(options.results))


def _schema(options: argparse.Namespace) -> None:
    import yaml

    yaml.safe_dump(json_schema(), sys.stdout, sort_keys=False)


def _check(options: argparse.Namespace) -> None:
    load_config(options.config)
    print(f"{options.config}: all settings are usable")


if __name__ == "__main__":
    main()
