"""The command line. Argument parsing only; every subcommand calls one function of the library.

`snakemake` runs the workflow, `snakemake <file> --force` a single stage of it.
"""

import argparse
import difflib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager

from deepssim.audit.command import add_audit_command
from deepssim.reference.generation_commands import add_reference_commands
from deepssim.reference.score_commands import add_score_commands
from deepssim.reference.script_names import command_of
from deepssim.runtime.messages import log_to, short_errors
from deepssim.stages.commands import add_stage_commands

_BROKEN_PIPE = 141  # what a shell reports of a program that the signal SIGPIPE ends


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run one subcommand."""
    with _quiet_pipe():
        options = _parse(list(sys.argv[1:] if arguments is None else arguments))
    with log_to(None), short_errors(), _quiet_pipe():
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
    """Parse the command line, on which a command may have the name of a script of the reference."""
    parser = _parser()
    (commands,) = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    if words and not words[0].startswith("-") and words[0] not in commands:
        name = command_of(words[0])
        if name not in commands:
            near = "".join(f"; did you mean {found!r}" for found in difflib.get_close_matches(name, commands, n=1))
            parser.error(f"there is no command {words[0]!r}{near}; `deepssim --help` lists all")
        words = [name, *words[1:]]
    return parser.parse_args(words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepssim",
        description="Find out whether a generative model of medical images has memorized patients. "
        "`snakemake --cores 8 --resources gpu=1` runs the whole workflow; these commands work without it.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_audit_command(commands)
    show = commands.add_parser("show", help="print the paths of a run's results and its main numbers")
    show.add_argument("results", nargs="?", default="results", metavar="DIR", help="results folder (default: results)")
    show.set_defaults(call=_show)
    verify = commands.add_parser("verify", help="compare the checksums of results with their provenance records")
    verify.add_argument(
        "results", nargs="?", default="results", metavar="DIR", help="results folder (default: results)"
    )
    verify.set_defaults(call=_verify)
    check = commands.add_parser(
        "check-config",
        help="check everything that would stop a run with a config file",
        description="Check everything that would stop a run with a config file: settings, paths, tables, weights, packages. "
        "Lists the files of the data set and decodes the first one.",
    )
    check.add_argument("config", metavar="FILE", help="YAML file")
    check.add_argument("--directory", "-d", metavar="DIR", help="as of snakemake: paths in the file are relative to it")
    check.set_defaults(call=_check)
    schema = commands.add_parser("schema", help="print the JSON schema of config files, as YAML")
    schema.set_defaults(call=_schema)
    _add_weights_commands(commands)
    add_stage_commands(commands)
    add_reference_commands(commands)
    add_score_commands(commands)
    return parser


def _add_weights_commands(commands: argparse._SubParsersAction) -> None:
    export = commands.add_parser("export", help="write weights as a state dict that monai-generative loads")
    export.add_argument("weights", metavar="FILE", help="autoencoder.safetensors or unet.safetensors")
    export.add_argument("output", metavar="PTH", help="file to write")
    export.set_defaults(call=_export)
    captions = commands.add_parser("embed-captions", help="embed a column of captions for ldm.conditioning text")
    captions.add_argument(
        "--dataset-csv", "--dataset_csv", required=True, metavar="CSV", help="table with image_uid and the captions"
    )
    captions.add_argument(
        "--caption-column", "--caption_column", default="caption", metavar="NAME", help="default: %(default)s"
    )
    captions.add_argument("--model", required=True, help="text model of transformers: a folder, or a name on the hub")
    captions.add_argument(
        "--output-dir",
        "--output_dir",
        required=True,
        metavar="DIR",
        help="folder for the embeddings and the table that names them",
    )
    captions.set_defaults(call=_embed_captions)


def _show(options: argparse.Namespace) -> None:
    from deepssim.evaluation.summary import headline

    print(headline(options.results))


def _verify(options: argparse.Namespace) -> None:
    from deepssim.runtime.records import require_verified

    print(require_verified(options.results))


def _schema(options: argparse.Namespace) -> None:
    import yaml

    from deepssim.config.schema import json_schema

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
