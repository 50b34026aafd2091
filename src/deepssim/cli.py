"""The command line. Argument parsing only; every subcommand calls one function of the library.

`snakemake` runs the workflow, `snakemake <file> --force` a single stage of it.
"""

import argparse
import sys
from collections.abc import Sequence

from deepssim.audit.command import add_audit_command
from deepssim.reference.generation_commands import add_reference_commands
from deepssim.reference.score_commands import add_score_commands
from deepssim.runtime.interrupts import exit_on_signals
from deepssim.runtime.messages import log_to, short_errors
from deepssim.stages.commands import add_stage_commands


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run one subcommand."""
    options = _parser().parse_args(arguments)
    with log_to(None), exit_on_signals(), short_errors():
        options.call(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepssim",
        description="Find out whether a generative model of medical images has memorized patients. "
        "`snakemake --cores 8 --resources gpu=1` runs the whole workflow; these commands work without it.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_audit_command(commands)
    show = commands.add_parser(
        "show", help="print the paths of a run's results and its main numbers, or an audit's verdict"
    )
    show.add_argument(
        "results",
        nargs="?",
        default="results",
        metavar="DIR",
        help="results folder, or an audit's report (default: results)",
    )
    show.set_defaults(call=_show)
    verify = commands.add_parser("verify", help="compare the checksums of results with their provenance records")
    verify.add_argument(
        "results",
        nargs="?",
        default="results",
        metavar="DIR",
        help="results folder, or an audit's report (default: results)",
    )
    verify.set_defaults(call=_verify)
    check = commands.add_parser("check-config", help="check a config file")
    check.add_argument("config", metavar="FILE")
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
    from deepssim.audit.headline import audit_headline

    found = audit_headline(options.results)
    if found is None:
        from deepssim.evaluation.summary import headline  # imports pandas

        found = headline(options.results)
    print(found)


def _verify(options: argparse.Namespace) -> None:
    from deepssim.runtime.records import require_verified

    print(require_verified(options.results))


def _schema(options: argparse.Namespace) -> None:
    import yaml

    from deepssim.config.schema import json_schema

    yaml.safe_dump(json_schema(), sys.stdout, sort_keys=False, width=118, default_flow_style=None)


def _check(options: argparse.Namespace) -> None:
    from deepssim.config.settings import load_config
    from deepssim.metrics import require_usable_metrics

    require_usable_metrics(load_config(options.config))
    print(f"{options.config}: all settings are usable")


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
