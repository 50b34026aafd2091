"""What all sections of the settings have in common.

Not here: reading settings from a file (settings.py), messages about unusable ones (reading.py).
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from deepssim.config.reading import CONTRADICTION, explain
from deepssim.errors import ConfigError

T = TypeVar("T")


class Section(BaseModel, frozen=True, extra="forbid", strict=True, allow_inf_nan=False):
    """A group of settings: immutable, hashable, equal by value, and strict ("5" and 5.0 are not the integer 5).

    The constructor is for code and takes typed values (enumeration members, tuples); a value that does not fit is a
    programming error and raises pydantic's ValidationError. Settings that a user wrote go through `parse_config`.
    """

    def contradictions(self) -> Iterator[str]:
        """Yield a sentence for each group of settings that do not fit each other, although each is usable by itself."""
        yield from ()

    @model_validator(mode="after")
    def _require_consistent(self) -> Self:
        found = list(self.contradictions())
        if found:
            raise PydanticCustomError(CONTRADICTION, "{text}", {"text": "; ".join(found), "sentences": found})
        return self

    def with_changes(self, **changes: Any) -> Self:
        """Return a copy with some settings replaced by typed values, checked like any other.

        Raises:
            ConfigError: if there is no such setting, or a value does not fit.
        """
        values = {name: getattr(self, name) for name in type(self).model_fields}
        try:
            return type(self)(**values | changes)
        except ValidationError as error:
            raise ConfigError(explain(error, type(self), whole=type(self).__name__)) from None


def as_settings(config: Any) -> Any:
    """Return a section, the whole config or a mapping of such values as plain dicts, lists, strings and numbers.

    The inverse of `parse_config` and, for a mapping whose keys are not dotted, of `typed_settings`.
    """
    if isinstance(config, Section):
        return {name: as_settings(getattr(config, name)) for name in type(config).model_fields}
    if isinstance(config, Mapping):
        return {name: as_settings(value) for name, value in config.items()}
    if isinstance(config, (tuple, list)):
        return [as_settings(entry) for entry in config]
    return config.value if isinstance(config, Enum) else config


def _require_distinct(entries: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(entries)) < len(entries):
        raise PydanticCustomError("repeated", "Input should not contain an entry twice")
    return entries


# Types that several sections use.
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Percentile = Annotated[float, Field(ge=0, le=100)]
Side = Annotated[int, Field(ge=8)]  # height or width of an image, pixels
Text = Annotated[str, Field(min_length=1)]
Distinct = Annotated[tuple[T, ...], AfterValidator(_require_distinct), Field(json_schema_extra={"uniqueItems": True})]
