"""Write results as JSON; dataclasses and NumPy numbers are converted to JSON types here and nowhere else.

Not here: settings (config/base.py), provenance records (records.py).
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def as_json(value: Any) -> Any:
    """Convert a result to dicts, lists, strings and numbers.

    Dataclasses become dicts and NumPy scalars Python numbers; NaN and infinity, which JSON lacks, become None.
    """
    if dataclasses.is_dataclass(value):
        return {item.name: as_json(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): as_json(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(entry) for entry in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: str | Path, content: Any, *, sort_keys: bool = False) -> None:
    """Write a result as indented JSON.

    Args:
        path: file to write.
        content: result, converted by `as_json`.
        sort_keys: sort the entries of dicts by name.

    Raises:
        TypeError, ValueError: if the result has values that JSON cannot express.
    """
    text = json.dumps(as_json(content), indent=2, sort_keys=sort_keys, allow_nan=False)
    Path(path).write_text(text + "\n", encoding="utf-8")
