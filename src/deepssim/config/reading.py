"""Turn plain settings, as a YAML file holds them, into typed sections, or refuse them in one sentence.

Not here: the sections themselves.
"""

import difflib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from deepssim.errors import ConfigError, joined, quoted

M = TypeVar("M", bound=BaseModel)

_MOST_ENTRIES = 10_000
_DEEPEST = 20  # levels; the settings have four
_LARGEST = 10**100  # Python refuses to print integers of more than 4300 digits
_LONGEST = 200  # characters of a value that a message repeats
CONTRADICTION = "contradiction"  # kind of error whose context holds finished sentences


def read_section(section: type[M], settings: Any) -> M:
    """Build a section, or the whole config, from plain settings; missing keys take their defaults.

    Raises:
        ConfigError: for a misspelt key, a wrong type or a value out of range, naming the key.
    """
    found, problems = read_usable(section, settings)
    if problems:
        raise ConfigError(joined(problems, "settings are not usable"))
    return found


def read_usable(section: type[M], settings: Any) -> tuple[M, list[str]]:
    """Build a section from those plain settings that can be used; the others take their defaults.

    Args:
        section: to build.
        settings: plain.

    Returns:
        The section, whose settings may contradict each other, and a sentence for each problem.

    Raises:
        ConfigError: if the settings are not plain.
    """
    found: list[str] = []
    rest = json.loads(_json(settings))
    while True:
        try:
            # In JSON a list becomes a tuple and a string a member of an enumeration, also under pydantic's strict rules.
            return section.model_validate_json(_json(rest)), found
        except ValidationError as error:
            found += [problem for problem in problems_in(error, section) if problem not in found]
            places = {problem["loc"][:2] for problem in error.errors()}
        if () in places or not isinstance(rest, dict):  # sections that are usable by themselves contradict each other
            read = {
                name: read_setting(section, name, value)
                for name, value in (rest if isinstance(rest, dict) else {}).items()
            }
            defaults = {
                name: setting.get_default(call_default_factory=True) for name, setting in section.model_fields.items()
            }
            return section.model_construct(**defaults | read), found
        for first, *second in sorted(places, key=len):
            if second and isinstance(rest.get(first), dict):
                rest[first].pop(second[0], None)
            else:  # a list with an unusable entry is left out as a whole
                rest.pop(first, None)


def read_setting(config: type[BaseModel], name: str, value: Any) -> Any:
    """Build the typed value of one setting or section, which `name` places in the config, for example "vae.epochs".

    Raises:
        ConfigError: if there is no such setting, or its value does not fit.
    """
    path = name.split(".")
    section: type[BaseModel] | None = config
    setting = None
    for depth, key in enumerate(path):
        if section is None or key not in section.model_fields:
            raise ConfigError(_unknown(key, section, f"section {'.'.join(path[:depth])!r}" if depth else "the config"))
        setting = section.model_fields[key]
        section = section_in(setting)
    text = _json(value, name)
    try:
        return _adapter(setting).validate_json(text)
    except ValidationError as error:
        raise ConfigError(explain(error, config, path)) from None


def section_in(setting: FieldInfo | None) -> type[BaseModel] | None:
    """Return the section that a setting is, or a list of which it holds; None for any other setting."""
    annotation = setting.annotation if setting else None
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def require_plain(settings: Any, name: str = "") -> None:
    """Refuse settings that are endless, not finite or not what YAML and JSON have in common.

    YAML's references turn a page of text into more entries than fit into memory, or into a circle; `.nan` passes every
    comparison with a bound.

    Args:
        settings: what to look through.
        name: of the setting that they are the value of; empty for the whole config.

    Raises:
        ConfigError: naming the first such setting.
    """
    waiting = [(name, settings, 0)]
    seen = 0
    while waiting:
        name, value, depth = waiting.pop()
        seen += 1
        if seen > _MOST_ENTRIES:
            raise ConfigError(
                f"the config has more than {_MOST_ENTRIES} entries; list only settings that differ from the defaults"
            )
        if depth > _DEEPEST:
            place = ".".join(name.split(".")[:2])
            raise ConfigError(f"{place} contains itself or is nested more than {_DEEPEST} levels deep")
        if isinstance(value, Mapping):
            for key, entry in value.items():
                if not isinstance(key, str):
                    raise ConfigError(f"{_shortened(key)} is not the name of a setting; names are text")
                waiting.append((f"{name}.{key}" if name else key, entry, depth + 1))
        elif isinstance(value, (list, tuple)):
            waiting += [
                (f"{name}.{number}" if name else str(number), entry, depth + 1) for number, entry in enumerate(value)
            ]
        else:
            _require_plain_value(name or "the config", value)


def explain(
    error: ValidationError, section: type[BaseModel], place: Sequence[str] = (), whole: str = "the config"
) -> str:
    """Describe what pydantic found: its sentence, or a line with the number of problems and one for each; see `problems_in`."""
    return joined(problems_in(error, section, place, whole), "settings are not usable")


def problems_in(
    error: ValidationError, section: type[BaseModel], place: Sequence[str] = (), whole: str = "the config"
) -> list[str]:
    """Return a sentence for each problem that pydantic found; it names the key and the remedy.

    Args:
        error: from the validation of `section`, or of the setting at `place` in it.
        section: whose keys are suggested for a misspelt one.
        place: keys that lead from `section` to what was validated.
        whole: what to call `section`.
    """
    problems: list[Any] = sorted(error.errors(include_url=False), key=_sort_key)
    # pydantic does not count unusable entries, so a list of them also appears to be too short.
    inside = {problem["loc"][:-1] for problem in problems if problem["loc"]}
    problems = [found for found in problems if not (found["type"] == "too_short" and found["loc"] in inside)]
    return [text for problem in problems for text in _sentences(problem, section, place, whole)]


def _sentences(problem: Any, section: type[BaseModel], place: Sequence[str], whole: str) -> list[str]:
    if problem["type"] == CONTRADICTION:
        return list(problem["ctx"]["sentences"])
    path = (*place, *problem["loc"])
    setting = _last_setting(section, path)
    if problem["type"] == "extra_forbidden":
        around = path[:-1]
        where = f"section {'.'.join(map(str, around))!r}" if around else whole
        return [_unknown(str(path[-1]), section_in(setting) if around else section, where)]
    name = ".".join(map(str, path)) or whole
    requirement = _requirement(problem)
    if setting and type(None) in get_args(setting.annotation) and problem["type"].endswith("_type"):
        requirement += " or null"
    return [f"{name} is {_shortened(problem['input'])}; it must {requirement}"]


def _json(settings: Any, name: str = "") -> str:
    require_plain(settings, name)
    return json.dumps(settings, default=dict, allow_nan=False)  # `dict` for other kinds of mappings


def _adapter(setting: Any) -> TypeAdapter:
    if isinstance(setting.annotation, type) and issubclass(setting.annotation, BaseModel):
        return TypeAdapter(setting.annotation)  # it has a configuration of its own
    return TypeAdapter(Annotated[setting.annotation, setting], config=ConfigDict(strict=True, allow_inf_nan=False))


def _require_plain_value(name: str, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name} is {value}; it must be a finite number")
    if isinstance(value, int) and abs(value) >= _LARGEST:
        raise ConfigError(f"{name} is a number of more than 100 digits; give a smaller one")
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise ConfigError(f"{name} is {_shortened(value)}; it must be valid Unicode text")
    if value is not None and not isinstance(value, (str, int, float)):
        kind = type(value).__name__
        raise ConfigError(f"{name} is a {kind}; it must be text, a number, true, false, null, a list or a section")


def _sort_key(problem: Any) -> list[str]:
    """Order problems by their place; an unknown key counts for the section that it stands in."""
    place = problem["loc"][:-1] if problem["type"] == "extra_forbidden" else problem["loc"]
    return [str(part) for part in place]


def _last_setting(section: type[BaseModel] | None, path: Sequence[int | str]) -> FieldInfo | None:
    """Return the last setting on the way from a section to a place in it; None if it is not known."""
    setting = None
    for key in path:
        if isinstance(key, str) and section and key in section.model_fields:
            setting = section.model_fields[key]
            section = section_in(setting)
    return setting


def _unknown(key: str, section: type[BaseModel] | None, where: str) -> str:
    known = list(section.model_fields) if section else []
    near = difflib.get_close_matches(key, known, n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(known) or 'none'}"
    return f"{_shortened(key)} is not a setting of {where}; {advice}"


def _requirement(problem: Any) -> str:
    """Say what a value must be, to follow "it must"."""
    context = problem.get("ctx", {})
    match problem["type"]:
        case "tuple_type":
            return "be a list"
        case "model_type":
            return "be a section, that is, names of settings with their values"
        case "too_short":
            return f"have at least {_entries(context['min_length'])}"
        case "too_long":
            return f"have at most {_entries(context['max_length'])}"
        case "string_too_short":
            return "not be empty"
        case "string_pattern_mismatch":
            return f"match the regular expression {context['pattern']}"
        case "float_type" if _is_number(problem["input"]):  # YAML reads 1e-6 as text
            return f"be a valid number, which is written {_yaml_number(problem['input'])} in YAML"
        case _:
            return re.sub(r"^(Input|String|Value) should ", "", problem["msg"])


def _entries(count: int) -> str:
    return f"{count} {'entry' if count == 1 else 'entries'}"


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False


def _yaml_number(text: str) -> str:
    """Return a number with the decimal point that YAML 1.1 wants before an exponent, and no quotes."""
    number = repr(float(text))
    return number if "." in number else number.replace("e", ".0e")


def _shortened(value: Any) -> str:
    text = quoted(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
