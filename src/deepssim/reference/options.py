"""Options of the reference's commands, with underscores or dashes.

Not here: which command has which option (generation_commands.py, score_commands.py).
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of a command."""

    help: str
    kind: Callable[[str], Any] = str
    choices: tuple[str, ...] | None = None
    default: Any = None
    required: bool = False
    flag: bool = False  # true if given
    many: bool = False  # any number of values
    setting: str | None = None  # where in the config it goes: "section.name"


def at_least(minimum: int) -> Callable[[str], int]:
    """Return a function that parses a whole number which must not be smaller than `minimum`."""

    def parse(text: str) -> int:
        if not text.strip().lstrip("+-").isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {minimum}")
        return int(text)

    return parse


def add_option(command: argparse.ArgumentParser, name: str, option: Option) -> None:
    """Add an option under both spellings.

    Args:
        command: parser of the subcommand.
        name: of the option, with underscores.
        option: its record.
    """
    names = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
    if option.flag:
        command.add_argument(*names, dest=name, help=option.help, action="store_true")
        return
    several = {"nargs": "+", "default": []} if option.many else {"default": option.default}
    command.add_argument(
        *names, dest=name, help=option.help, type=option.kind, choices=option.choices, **several,
        required=option.required, metavar=None if option.choices else name.upper(),
    )  # fmt: skip
