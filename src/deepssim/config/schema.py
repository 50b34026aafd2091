"""What the classes of this room say, as a JSON schema and as the commented default config.

Not here: the settings and their descriptions.
"""

import math
import textwrap
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from deepssim.config.base import as_settings
from deepssim.config.reading import section_in
from deepssim.config.settings import Config
from deepssim.config.training import TrainingConfig

_WIDTH = 120
_COLUMN = 36  # where comments beside settings begin
_HEADER = """\
# The default config: a demo on virtual patients that needs no data and no GPU.
#
# For your own images, list only the settings that differ in a file and name it:
#     snakemake --configfile my.yaml
# `deepssim check-config my.yaml` checks it. A misspelt key or an unusable value stops a run before its first job.
# YAML reads 1e-6 as text: write 1.0e-6. "The paper" is arXiv:2509.16582.
#
# This file is generated from the classes in src/deepssim/config/, the place to change a default or a comment.

"""


class _WithoutTitles(GenerateJsonSchema):
    """pydantic's generator without titles, which would repeat the names of keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a config file, with descriptions and defaults; it allows no unknown key."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(schema_generator=_WithoutTitles),
    }


def commented_yaml() -> str:
    """Return the text of config/config.yaml: every setting with its default and, as a comment, its description."""
    return _HEADER + "\n".join(_Writer().section(Config, as_settings(Config()))) + "\n"


class _Writer:
    """Lines of the default config.

    Long descriptions are written once; `place_of` holds where.
    """

    def __init__(self) -> None:
        self.place_of: dict[str, str] = {}

    def section(self, section: type[BaseModel], values: dict[str, Any], path: tuple[str, ...] = ()) -> list[str]:
        """Write the settings of a section, indented by how many names lead to it."""
        lines = []
        for key in _keys(section):
            lines += self._setting((*path, key), section.model_fields[key], values[key])
        return lines

    def _setting(self, path: tuple[str, ...], setting: FieldInfo, value: Any) -> list[str]:
        indent = "  " * (len(path) - 1)
        inner = section_in(setting)
        if inner is None:
            return self._commented(path, f"{indent}{path[-1]}: {_flow(value)}", str(setting.description))
        if isinstance(value, dict):
            separator = [""] if not indent else []
            heading = self._commented(path, f"{indent}{path[-1]}:", str(setting.description))
            return [*separator, *heading, *self.section(inner, value, path)]
        entries = [f"{indent}  - {_flow(entry)}" for entry in value]
        description = f"{setting.description} {self._about_entries(path, inner)}"
        return [*_above(description, indent), f"{indent}{path[-1]}:", *entries]

    def _about_entries(self, path: tuple[str, ...], entry: type[BaseModel]) -> str:
        """Describe the keys of a list's entries where the first such list stands."""
        first = self.place_of.setdefault(entry.__name__, ".".join(path))
        if first != ".".join(path):
            return f"Entries as in {first}."
        lines = ["Keys of an entry:"]
        for key, setting in entry.model_fields.items():
            summary, *choices = str(setting.description).splitlines()
            lines += [f"- {key}: {summary}", *(f"  {choice}" for choice in choices)]
        return "\n".join(lines)

    def _commented(self, path: tuple[str, ...], line: str, description: str) -> list[str]:
        """Write a description beside its setting where it fits, otherwise above."""
        beside = f"{line:<{_COLUMN - 2}}  # "
        if "\n" not in description and len(beside + description) <= _WIDTH:
            return [beside + description]
        first = self.place_of.setdefault(description, ".".join(path))
        if first != ".".join(path):
            return [f"{beside}see {first}"]
        return [*_above(description, line[: len(line) - len(line.lstrip())]), line]


def _keys(section: type[BaseModel]) -> list[str]:
    """Return the keys of a section, those that all trainings have after its own."""
    common = TrainingConfig.model_fields if issubclass(section, TrainingConfig) else {}
    return sorted(section.model_fields, key=lambda key: key in common)


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=math.inf).removesuffix("...\n").strip()


def _above(description: str, indent: str) -> list[str]:
    lines = []
    for paragraph in description.splitlines():
        hanging = " " * (len(paragraph) - len(paragraph.lstrip(" -")))
        lines += textwrap.wrap(
            paragraph,
            _WIDTH,
            initial_indent=f"{indent}# ",
            subsequent_indent=f"{indent}# {hanging}",
            break_on_hyphens=False,
            break_long_words=False,
        )
    return lines
