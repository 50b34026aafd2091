"""Options of the reference's commands, with underscores or dashes, and the default paths of its first README.

Not here: which command has which option (generation_commands.py, score_commands.py).
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deepssim.errors import ConfigError
from deepssim.runtime.outputs import require_writable

DEFAULT_PATHS = (
    "Default paths are relative to the working directory; run from the reference's folder `scripts`, which has no `data`, to the "
    "folder above it."
)


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
    aliases: tuple[str, ...] = ()  # further names, with underscores
    reads: bool = False  # a file or folder to read, which must exist if it is the default
    makes: Literal["file", "folder"] | None = None  # what is written there


def at_least(minimum: int) -> Callable[[str], int]:
    """Return a function that parses a whole number which must not be smaller than `minimum`."""

    def parse(text: str) -> int:
        if not text.strip().lstrip("+-").isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {minimum}")
        return int(text)

    return parse


def positive(text: str) -> float:
    """Parse a finite number above zero."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def add_option(command: argparse.ArgumentParser, name: str, option: Option) -> None:
    """Add an option under both spellings.

    Args:
        command: parser of the subcommand.
        name: of the option, with underscores.
        option: its record.
    """
    names = dict.fromkeys(f"--{one}" for own in (name, *option.aliases) for one in (own, own.replace("_", "-")))
    if option.flag:
        command.add_argument(*names, dest=name, help=option.help, action="store_true")
        return
    text = f"{option.help} (default: {option.default})" if _is_default_path(option, option.default) else option.help
    # argparse shows the representation of what it is given, which for an enumeration is that of its class.
    choices = None if option.choices is None else [str(choice) for choice in option.choices]
    several = {"nargs": "+", "default": []} if option.many else {"default": option.default}
    command.add_argument(
        *names, dest=name, help=text, type=option.kind, choices=choices, **several,
        required=option.required, metavar=None if option.choices else name.upper(),
    )  # fmt: skip


def checked_path(name: str, option: Option, value: Any) -> Any:
    """Return the value of an option; default paths, and those to write to, are checked before anything is computed.

    Args:
        name: of the option, with underscores.
        option: its record.
        value: what was given, or the default.

    Raises:
        ConfigError: if the default does not exist, or nothing can be written to the path.
    """
    if _is_default_path(option, value):
        value = str(_root() / value)
        if option.reads and not Path(value).exists():
            raise ConfigError(f"{value}: does not exist; this is the default of --{name}: give the option")
    if option.makes and value:
        if option.makes == "file" and Path(value).is_dir():
            raise ConfigError(f"--{name} is {value!r}, which is a folder; name a file")
        folder, what = (
            (value, f"--{name}") if option.makes == "folder" else (Path(value).parent, f"the folder of --{name}")
        )
        require_writable(folder, what)
    return value


def logs_folder() -> Path:
    """Return the folder of the experiments, which the reference has beside `data`."""
    return _root() / "logs"


def _is_default_path(option: Option, value: Any) -> bool:
    return value is not None and value == option.default and (option.reads or option.makes is not None)


def _root() -> Path:
    """Return the folder that default paths are relative to: the reference's scripts run in `scripts` beside `data`."""
    beside = Path.cwd().name == "scripts" and not Path("data").exists() and Path("..", "data").is_dir()
    return Path("..") if beside else Path()
