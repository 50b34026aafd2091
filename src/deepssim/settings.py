"""Settings as frozen dataclasses: declare their rules, derive a JSON schema, build them from plain values.

Not here: the settings themselves (config.py).
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any

from deepssim.errors import ConfigError

_MOST_ENTRIES = 10_000


def setting(default: Any, **rule: Any) -> Any:
    """Declare a setting with its default and the JSON-schema keywords that bound it; `items` bounds list entries."""
    if isinstance(default, (list, dict)):
        raise TypeError("use a tuple, so that the default cannot be changed")
    return field(default=default, metadata=rule)


def as_settings(config: Any) -> Any:
    """Return a config object, or some sections of one, as plain dicts, lists, strings and numbers.

    The inverse of `config.parse_config` and `config.sections`.
    """
    if isinstance(config, types.SimpleNamespace):
        return {name: as_settings(value) for name, value in vars(config).items()}
    if dataclasses.is_dataclass(config):
        return {item.name: as_settings(getattr(config, item.name)) for item in dataclasses.fields(config)}
    if isinstance(config, tuple):
        return [as_settings(entry) for entry in config]
    return config.value if isinstance(config, StrEnum) else config


def as_plain(value: Any) -> Any:
    """Return figures as what JSON has: intervals and other dataclasses as dicts, NumPy's numbers as numbers, NaN as None."""
    if dataclasses.is_dataclass(value):
        return {item.name: as_plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): as_plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(entry) for entry in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def schema_of(section: type) -> dict[str, Any]:
    """Return the JSON schema of a section and those in it; closed, so that a misspelt key is found."""
    hints = typing.get_type_hints(section)
    properties = {}
    for item in dataclasses.fields(section):
        if dataclasses.is_dataclass(hints[item.name]):
            properties[item.name] = schema_of(typing.cast(type, hints[item.name]))
        else:
            properties[item.name] = _schema_of_type(hints[item.name], dict(item.metadata))
    return {"type": "object", "additionalProperties": False, "properties": properties}


def require_plain(settings: Any) -> None:
    """Refuse settings that are endless or not finite, before anything goes through them.

    YAML's references make a page of text into more entries than fit into memory, or into a circle; `.nan` passes every
    comparison with a bound.

    Raises:
        ConfigError: naming the first such setting.
    """
    waiting = [("the config", settings)]
    seen = 0
    while waiting:
        name, value = waiting.pop()
        seen += 1
        if seen > _MOST_ENTRIES:
            raise ConfigError(f"the config has more than {_MOST_ENTRIES} entries; write down only what differs")
        if isinstance(value, Mapping):
            waiting += [(str(key), entry) for key, entry in value.items()]
        elif isinstance(value, (list, tuple)):
            waiting += [(name, entry) for entry in value]
        elif isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{name!r} is {value}; give a finite number")


def _schema_of_type(hint: Any, rule: dict[str, Any]) -> dict[str, Any]:
    if isinstance(hint, types.UnionType):
        base = _schema_of_type(next(part for part in typing.get_args(hint) if part is not type(None)), rule)
        return base | {"type": [base["type"], "null"]}
    if typing.get_origin(hint) is tuple:
        kind = typing.get_args(hint)[0]
        entry = (
            schema_of(typing.cast(type, kind))
            if dataclasses.is_dataclass(kind)
            else _schema_of_type(kind, rule.pop("items", {}))
        )
        return {"type": "array", "items": entry, **rule}
    if issubclass(hint, StrEnum):
        return {"type": "string", "enum": [choice.value for choice in hint], **rule}
    return {"type": {bool: "boolean", int: "integer", float: "number", str: "string"}[hint], **rule}


def build(section: Any, settings: Mapping[str, Any]) -> Any:
    """Turn plain settings into the dataclass `section`; nested sections keep their defaults for missing keys."""
    hints = typing.get_type_hints(section)
    default = {item.name: item for item in dataclasses.fields(section)}
    values: dict[str, Any] = {}
    for name, value in settings.items():
        hint = hints[name]
        if dataclasses.is_dataclass(hint):
            factory = typing.cast(Any, default[name].default_factory)
            values[name] = build(hint, as_settings(factory()) | dict(value))
        else:
            values[name] = _convert(hint, value)
    return section(**values)


def _convert(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is tuple:
        kind = typing.get_args(hint)[0]
        return tuple(build(kind, entry) if dataclasses.is_dataclass(kind) else _convert(kind, entry) for entry in value)
    return hint(value)


def explain(error: Any) -> str:
    """Turn a jsonschema error into one sentence that names the key and the way out."""
    where = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        unknown = next(key for key in error.instance if key not in known)
        near = difflib.get_close_matches(str(unknown), known, n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(known)}"
        return f"{unknown!r} is not a setting of {f'section {where!r}' if where else 'the config'}; {advice}"
    told = error.message if len(error.message) < 500 else f"{error.message[:240]} ... {error.message[-240:]}"
    return f"{where or 'the config'} is not usable: {told}"
