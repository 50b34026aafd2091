"""The command line. Argument parsing only; every subcommand calls one function of the library.

`deepssim run` and, in a checkout, `snakemake` run the workflow, with `<file> --force` a single stage of it.
"""

import argparse
import difflib
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deepssim.audit.command import add_audit_command
from deepssim.errors import DataError
from deepssim.reference.generation_commands import add_reference_commands
from deepssim.reference.score_commands import add_score_commands
from deepssim.reference.script_names import command_of
from deepssim.runtime.interrupts import exit_on_signals
from deepssim.runtime.messages import log_to, short_errors
from deepssim.stages.commands import add_stage_commands
from deepssim.study import EXAMPLES as STUDIES
from deepssim.study import create_study, run_study

_BROKEN_PIPE = 141  # what a shell reports of a program that the signal SIGPIPE ends
_OPTION = re.compile(r"--[a-z][a-z0-9_-]*")

GROUPS = {
    "judge images": ("audit",),
    "study a generative model": ("init", "run"),
    "results of a run or of an audit": ("show", "verify"),
    "settings": ("check-config", "schema"),
    "single stages of the workflow, on files of your own": (
        "pack", "embed", "score-images", "score-embeddings", "score-pairs", "gather-matrix", "evaluate",
    ),
    "networks and captions": ("export", "embed-captions"),
    "commands of the reference code, under the names of its scripts": (
        "train", "compute-matrix", "compute-ssim", "compute-fsim", "eval", "eval-ssim", "plot-reports", "ldm-train-vae",
        "ldm-train-diff", "ldm-generate",
    ),
}  # fmt: skip

EXAMPLES = {
    "audit": "real/ synthetic/ --holdout other_patients/ --out report/",
    "init": "my_study --example demo",
    "run": "--directory my_study --cores 8 --resources gpu=1",
    "show": "results",
    "verify": "report/",
    "check-config": "my.yaml --directory my_study",
    "schema": "> config.schema.yaml",
    "pack": "--folder slices/ --role real --image-size 128 128 --pack real.h5 --images real.csv",
    "embed": "--metric deepssim --pack real.h5 --weights results/encoders/deepssim.safetensors --embeddings real_embeddings.h5",
    "score-images": "--metric ssim --real real.h5 --synthetic synthetic.h5 --matrix scores.h5",
    "score-embeddings": "--metric deepssim --real real_embeddings.h5 --synthetic synthetic_embeddings.h5 --matrix scores.h5",
    "score-pairs": "--metric ssim --pairs pairs.csv --real real.h5 --synthetic synthetic.h5 --scores scored.csv",
    "gather-matrix": "--metric ssim --shards scores_000.h5 scores_001.h5 --matrix scores.h5",
    "evaluate": "--metric ssim --matrix scores.h5 --test test.csv --train-used train_used.csv --images images.csv "
    "--evaluation ssim.json",
    "export": "results/vae/autoencoder.safetensors autoencoder.pth",
    "embed-captions": "--dataset-csv data/dataset.csv --model models/biomedclip --output-dir data/text",
    "train": "--exp_name first --dataset_images_dir data/images --dataset_csv data/dataset.csv",
    "compute-matrix": "--metric_name deepssim --model_path models/best_model.safetensors --dataset_images_dir data/images",
    "compute-ssim": "--dataset_images_dir data/images --output_matrix_path data/matrices/ssim.npz",
    "compute-fsim": "--dataset_images_dir data/images --output_matrix_path data/matrices/fsim.npz --variant simplified",
    "eval": "--metric_name deepssim --matrix_path data/matrices/deepssim.npz --testset_csv data/test_set.csv",
    "eval-ssim": "--dataset_images_dir data/images --testset_csv data/test_set.csv",
    "plot-reports": "--matrix_path data/matrices/deepssim.npz --output_path deepssim.png --exp_title DeepSSIM --low_threshold 0.60 "
    "--upper_threshold 0.85",
    "ldm-train-vae": "--dataset_csv data_brain/dataset.csv --output_dir vae",
    "ldm-train-diff": "--dataset_csv data_brain/dataset.csv --output_dir ldm --aekl_ckpt vae/models/autoencoder.pth "
    "--conditioning none --duplication high",
    "ldm-generate": "--dataset_csv data_brain/dataset.csv --output_path images --aekl_ckpt vae/models/autoencoder.pth "
    "--diff_ckpt ldm/models/unet.pth --conditioning none",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run one subcommand."""
    with _quiet_pipe():
        options = _parse(list(sys.argv[1:] if arguments is None else arguments))
    with log_to(None), exit_on_signals(), short_errors(), _quiet_pipe():
        options.call(options)


@contextmanager
def _quiet_pipe() -> Iterator[None]:
    """Exit without a message if the reader of the output has seen enough, as in `deepssim eval ... | head`."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        raise SystemExit(_BROKEN_PIPE) from None


def _parse(words: list[str]) -> argparse.Namespace:
    """Parse the command line; commands may have the names of the reference's scripts, options underscores for dashes."""
    parser = _parser()
    (commands,) = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    if words and not words[0].startswith("-") and words[0] not in commands:
        name = command_of(words[0])
        if name not in commands:
            near = "".join(f"did you mean {found!r}? " for found in difflib.get_close_matches(name, commands, n=1))
            parser.error(f"there is no command {words[0]!r}; {near}`deepssim --help` lists all")
        words = [name, *words[1:]]
    passes_on = words[:1] == ["run"]  # to Snakemake, which gets its words as they are
    options, unknown = parser.parse_known_args(words if passes_on else [_with_dashes(word) for word in words])
    if passes_on:
        options.further = unknown
    elif unknown:
        command = commands[words[0]]
        known = difflib.get_close_matches(unknown[0].partition("=")[0], command._option_string_actions, n=1)
        command.error(f"unknown arguments: {' '.join(unknown)}" + "".join(f"; did you mean {name}?" for name in known))
    return options


def _with_dashes(word: str) -> str:
    """Return an option with dashes for underscores, its value as it is; any other word unchanged."""
    name, equals, value = word.partition("=")
    return f"{name.replace('_', '-')}{equals}{value}" if _OPTION.fullmatch(name) else word


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepssim",
        usage="deepssim [--help] [--version] COMMAND ...",
        description="Find out whether a generative model of medical images has memorized patients. `deepssim COMMAND --help`\n"
        "explains a command. In a checkout of the repository, `snakemake` does what `deepssim run` does elsewhere.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"deepssim {version('deepssim')}", help="print the version"
    )
    commands = parser.add_subparsers(prog="deepssim", metavar="COMMAND", required=True, help=argparse.SUPPRESS)
    add_audit_command(commands)
    _add_study_commands(commands)
    _add_results_commands(commands)
    _add_settings_commands(commands)
    _add_weights_commands(commands)
    add_stage_commands(commands)
    add_reference_commands(commands)
    add_score_commands(commands)
    for name, command in commands.choices.items():
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        command.description = textwrap.fill(str(command.description or command.format_usage()), 100)
        command.epilog = f"example:\n  deepssim {name} {EXAMPLES[name]}"
    parser.epilog = _listed(commands)
    return parser


def _listed(commands: Any) -> str:
    """Return the commands with their purpose, by group."""
    purpose = {action.dest: action.help for action in commands._choices_actions}
    width = max(map(len, purpose)) + 2
    lines = []
    for group, names in GROUPS.items():
        lines += [f"{group}:", *(f"  {name:<{width}}{purpose[name]}" for name in names), ""]
    return "\n".join(lines)


def _add_study_commands(commands: Any) -> None:
    init = _add(
        commands, "init", "write the settings of a new study", _init,
        "Write the settings of a new study, config/config.yaml, and profiles for Slurm. No file is overwritten.",
    )  # fmt: skip
    init.add_argument("folder", metavar="DIR", help="folder of the study; . is this one")
    init.add_argument(
        "--example", choices=tuple(STUDIES), default="demo", help="settings to start from (default: demo)"
    )
    run = _add(
        commands, "run", "run the workflow on a study; takes Snakemake's options", _run,
        "Run the workflow with the settings of a study, config/config.yaml. Files to make and all other options are "
        "Snakemake's: `snakemake --help` lists them.",
    )  # fmt: skip
    run.usage = "deepssim run [FILE ...] [--directory DIR] [SNAKEMAKE'S OPTIONS]"
    run.add_argument(
        "--directory", "-d", metavar="DIR", default=".", help="folder of the study (default: ., the current folder)"
    )


def _add_results_commands(commands: Any) -> None:
    show = _add(commands, "show", "print the main results of a run or of an audit, and where they are", _show)
    verify = _add(commands, "verify", "compare the checksums of results with their provenance records", _verify)
    for command in (show, verify):
        command.add_argument(
            "results",
            nargs="?",
            default="results",
            metavar="DIR",
            help="results folder, or an audit's report (default: results)",
        )


def _add_settings_commands(commands: Any) -> None:
    check = _add(
        commands, "check-config", "check everything that would stop a run with a config file", _check,
        "Check everything that would stop a run with a config file: settings, paths, tables, weights, packages. Lists the files of "
        "the data set and decodes the first one.",
    )  # fmt: skip
    check.add_argument("config", metavar="FILE", help="YAML file")
    check.add_argument("--directory", "-d", metavar="DIR", help="as of snakemake: paths in the file are relative to it")
    schema = _add(
        commands, "schema", "print the JSON schema of config files, as YAML, or of an audit's summary.json, as JSON", _schema
    )  # fmt: skip
    schema.add_argument(
        "--of", choices=("config", "audit-summary"), default="config", help="of which files (default: config)"
    )


def _add(
    commands: Any, name: str, purpose: str, call: Callable[[argparse.Namespace], None], description: str = ""
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=purpose, description=description or f"{purpose[0].upper()}{purpose[1:]}.")
    command.set_defaults(call=call)
    return command


def _add_weights_commands(commands: argparse._SubParsersAction) -> None:
    export = _add(commands, "export", "write weights as a state dict that monai-generative loads", _export)
    export.add_argument("weights", metavar="FILE", help="autoencoder.safetensors or unet.safetensors")
    export.add_argument("output", metavar="PTH", help="file to write")
    captions = _add(commands, "embed-captions", "embed a column of captions for ldm.conditioning text", _embed_captions)
    captions.add_argument("--dataset-csv", required=True, metavar="CSV", help="table with image_uid and the captions")
    captions.add_argument(
        "--caption-column", default="caption", metavar="NAME", help="column of the captions (default: %(default)s)"
    )
    captions.add_argument("--model", required=True, help="text model of transformers: a folder, or a name on the hub")
    captions.add_argument(
        "--output-dir",
        required=True,
        metavar="DIR",
        help="folder for the embeddings and the table that names them",
    )


def _init(options: argparse.Namespace) -> None:
    for path in create_study(options.folder, options.example):
        print(path)


def _run(options: argparse.Namespace) -> None:
    raise SystemExit(run_study(options.directory, options.further))


def _show(options: argparse.Namespace) -> None:
    from deepssim.audit.headline import audit_headline

    found = audit_headline(options.results)
    if found is None and not Path(options.results, "eval").is_dir():
        raise DataError(
            f"{options.results}: has no results of a run and no report of an audit; name the folder of one, such as results"
        )
    if found is None:
        from deepssim.evaluation.summary import headline  # imports pandas

        found = headline(options.results)
    print(found)


def _verify(options: argparse.Namespace) -> None:
    from deepssim.runtime.records import require_verified

    print(require_verified(options.results))


def _schema(options: argparse.Namespace) -> None:
    import json

    import yaml

    from deepssim.config.schema import json_schema

    if options.of == "audit-summary":
        from deepssim.audit.summary_schema import summary_schema

        print(json.dumps(summary_schema(), indent=2))
        return
    yaml.safe_dump(json_schema(), sys.stdout, sort_keys=False, width=118, default_flow_style=None)


def _check(options: argparse.Namespace) -> None:
    from deepssim.config.settings import load_settings
    from deepssim.stages.checks import require_runnable

    settings = load_settings(options.config)
    with chdir(options.directory or "."):
        require_runnable(settings, options.config)
    print(f"{options.config}: nothing was found that would stop a run")


def _export(options: argparse.Namespace) -> None:
    from deepssim.generative.checkpoints import export_weights

    export_weights(weights=options.weights, output=options.output)


def _embed_captions(options: argparse.Namespace) -> None:
    from deepssim.generative.captions import embed_caption_table

    embed_caption_table(
        dataset_csv=options.dataset_csv,
        caption_column=options.caption_column,
        model=options.model,
        output_dir=options.output_dir,
    )


if __name__ == "__main__":
    main()
