"""Intervals of summary.json as text: null ends and values are said in words, with the reason.

Not here: intervals themselves (evaluation/intervals.py).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from deepssim.evaluation.intervals import percent

UNKNOWN = "not known"


def rate_text(interval: Mapping[str, Any]) -> str:
    """Return a rate in per cent with its interval.

    Args:
        interval: `value`, `low`, `high` (0 to 1, or None where not known) and `method`.
    """
    return _text(interval, percent)


def number_text(interval: Mapping[str, Any], digits: int = 2) -> str:
    """Return a number with its interval.

    Args:
        interval: as of `rate_text`, of any unit.
        digits: after the point.
    """
    return _text(interval, partial(decimal, digits=digits))


def points_text(interval: Mapping[str, Any]) -> str:
    """Return a difference of rates in percentage points with its interval.

    Args:
        interval: as of `rate_text`, -1 to 1.
    """
    return _text(interval, lambda value: f"{100 * value:+.1f}") + (
        "" if interval["value"] is None else " percentage points"
    )


def decimal(value: float | None, digits: int = 2) -> str:
    """Return a number with so many digits after the point; `not known` for None.

    Args:
        value: any number.
        digits: after the point.
    """
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def _text(interval: Mapping[str, Any], show: Callable[[float], str]) -> str:
    value, low, high = (interval[name] for name in ("value", "low", "high"))
    if value is None and high is None and low:  # a ratio to nothing has no value, but a lower end
        return f"at least {show(low)}"
    if value is None:
        return f"{UNKNOWN}: {interval['method']}"
    if low is None and high is None:
        return f"{show(value)} (no interval: {interval['method']})"
    ends = f"{show(low)} to {show(high)}" if high is not None else f"at least {show(low)}"
    return f"{show(value)} ({ends})"


INTERVAL_FILTERS = {
    "rate_text": rate_text,
    "number_text": number_text,
    "points_text": points_text,
    "decimal": decimal,
}
"""For templates."""
