"""The subcommand `deepssim audit`. Argument parsing only; the work is in run.py."""

import argparse
from typing import Any

from deepssim.config.choices import AuditUnit, Device
from deepssim.runtime.threads import available_threads, set_threads, thread_count

# Exit status: 0 if no copies were found, or only as many candidates as chance explains; 1 is for errors that the user can
# mend, 2 for wrong arguments and unexpected errors.
COPIES_FOUND, CANNOT_TELL = 3, 4

_IN_SECTION = (
    "real", "synthetic", "holdout", "unit", "encoder", "thorough", "autoencoder", "subjects", "subject_pattern", "compared_at",
    "false_positive_rate", "de_identified", "include", "exclude", "skip_unreadable",
    "image_size", "seeds", "rating", "ratings", "covariates",
)  # fmt: skip


def add_audit_command(commands: Any) -> None:
    """Add the subcommand to a parser."""
    command = commands.add_parser(
        "audit",
        help="judge folders of real and synthetic images, without labels",
        description="Find out which synthetic images copy training images. Reads pictures, arrays, NIfTI and DICOM in "
        "folders and below, of any size (docs/formats.md), and writes a report. Explained in docs/audit.md.",
    )
    command.add_argument("real", metavar="REAL", help="folder of the generator's training images")
    command.add_argument("synthetic", metavar="SYNTH", help="folder of its synthetic images")
    command.add_argument("--out", required=True, metavar="DIR", help="folder for the report")
    command.add_argument("--holdout", metavar="DIR", help="images of other patients, to calibrate the limit on")
    command.add_argument("--force", action="store_true", help="replace the report that DIR holds")
    command.add_argument(
        "--compare",
        metavar="DIR",
        help="report of another audit, such as of another generator or epoch, to show beside this one",
    )
    command.add_argument(
        "--de-identified", action="store_true", default=None, help="leave file names and patient ids out of the report"
    )
    command.add_argument(
        "--context",
        metavar="YAML",
        help="who audits what, and why: file with the keys of audit.context (docs/context.yaml)",
    )
    command.add_argument(
        "--card", action="store_true", help="write card.md, too: a model card and a card of the synthetic images"
    )
    _add_images(command.add_argument_group("which images, and whose"))
    _add_method(command.add_argument_group("how they are compared"))
    _add_second_opinions(command.add_argument_group("how far to trust it"))
    _add_running(command.add_argument_group("running"))
    command.set_defaults(call=_run)


def _add_images(group: Any) -> None:
    group.add_argument(
        "--unit", choices=[unit.value for unit in AuditUnit],
        help="compare and count images, or whole volumes (scans); auto (default): volumes where all files are volumes",
    )  # fmt: skip
    group.add_argument(
        "--subjects", metavar="CSV", help="table with image_path and subject, or metadata with file_name and patient_id"
    )
    group.add_argument(
        "--covariate", action="append", dest="covariates", metavar="COLUMN",
        help="column of the table of subjects, such as age, by which rates of copies are given (can be repeated)",
    )  # fmt: skip
    group.add_argument(
        "--subject-pattern", metavar="REGEX", help="regular expression with one group that finds the subject in a path"
    )
    group.add_argument(
        "--include", action="append", metavar="PATTERN",
        help="read only files that match, such as '*.png' (can be repeated; without a slash, at any depth)",
    )  # fmt: skip
    group.add_argument("--exclude", action="append", metavar="PATTERN", help="leave out files that match")
    group.add_argument(
        "--skip-unreadable", action="store_true", default=None,
        help="judge without the files that cannot be read; by default the verdict is then that the audit cannot tell",
    )  # fmt: skip


def _add_method(group: Any) -> None:
    group.add_argument("--false-positive-rate", type=float, metavar="RATE", help="rate of false alarms to allow")
    group.add_argument(
        "--compared-at", type=int, metavar="PIXELS", help="height and width at which images are compared"
    )
    group.add_argument("--encoder", metavar="FILE", help="trained encoder, one more source of evidence")
    group.add_argument(
        "--thorough", action="store_true", default=None,
        help="train an encoder on REAL unless one is named: minutes to hours",
    )  # fmt: skip
    group.add_argument(
        "--image-size", nargs=2, type=int, metavar=("H", "W"), help="of the images that the encoder sees"
    )
    group.add_argument(
        "--trust", action="append", default=[], metavar="SHA256",
        help="SHA-256 of an encoder file that may be loaded though it can run code (the first run shows it)",
    )  # fmt: skip
    group.add_argument("--autoencoder", metavar="FILE", help="the generator's autoencoder, for one more control")


def _add_second_opinions(group: Any) -> None:
    group.add_argument(
        "--seeds", type=int, metavar="N",
        help="repeat the audit with N seeds, the verdict being the worst of all; takes N times as long, with --thorough one "
        "training each (what an earlier audit did with a seed is taken from the cache)",
    )  # fmt: skip
    group.add_argument(
        "--rating", action="store_true", default=None,
        help="write rating.html and rating.csv, in which a radiologist calls pairs of images the same or different",
    )  # fmt: skip
    group.add_argument(
        "--ratings", action="append", metavar="CSV", help="compare the audit with a reader's ratings (can be repeated)"
    )


def _add_running(group: Any) -> None:
    group.add_argument(
        "--fail-above", type=_rate, metavar="RATE", default=0.0,
        help=f"exit with {COPIES_FOUND} if copies were found and their rate in SYNTH is above RATE, 0 to 1 (default: "
        f"%(default)g), and with {CANNOT_TELL} if the audit cannot tell",
    )  # fmt: skip
    group.add_argument(
        "--cache", metavar="DIR",
        help="folder of what the next audit need not compute again (default: in the user's cache, readable by its owner only)",
    )  # fmt: skip
    group.add_argument("--config", metavar="FILE", help="config file with sections audit and encoder")
    group.add_argument("--seed", type=int, help="of all random numbers")
    group.add_argument("--device", choices=[device.value for device in Device], help="where networks run")
    group.add_argument(
        "--threads", type=thread_count, default=available_threads(), help="processor threads (default: all)"
    )


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= rate <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return rate


def _run(options: argparse.Namespace) -> None:
    set_threads(options.threads)
    from deepssim.audit.context import read_context
    from deepssim.audit.run import above_limit, audit_folder
    from deepssim.config.base import as_settings
    from deepssim.config.settings import Config, load_config, parse_config
    from deepssim.errors import ConfigError

    if options.image_size is not None and options.encoder is None and not options.thorough and options.config is None:
        raise ConfigError(
            "--image-size is of the images that an encoder sees; give --encoder or --thorough too, or leave it out"
        )
    settings = as_settings(load_config(options.config) if options.config else Config())
    given = {name: getattr(options, name) for name in _IN_SECTION}
    settings["audit"] |= {name: value for name, value in given.items() if value is not None}
    if options.context is not None:
        settings["audit"]["context"] = as_settings(read_context(options.context))
    settings["published"]["trust"] = list(dict.fromkeys([*settings["published"]["trust"], *options.trust]))
    settings |= {name: getattr(options, name) for name in ("seed", "device") if getattr(options, name) is not None}
    found = audit_folder(
        options.out,
        config=parse_config(settings),
        cache=options.cache,
        threads=options.threads,
        force=options.force,
        card=options.card,
        compared=options.compare,
    )
    verdict = found["verdict"]
    print(f"{verdict['result']}: {verdict['sentence']}")
    for reservation in verdict["reservations"]:
        print(f"- {reservation}")
    print(f"report: {options.out}/index.html")
    if above_limit(found, options.fail_above):
        raise SystemExit(COPIES_FOUND)
    if verdict["result"] == "cannot tell":
        raise SystemExit(CANNOT_TELL)
