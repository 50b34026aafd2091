"""Write results as JSON: the one conversion from dataclasses and NumPy numbers to what JSON has.

Not here: settings (config/base.py), provenance records (records.py).
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def as_json(value: Any) -> Any:
    """Return a result as dicts, lists, strings and numbers.

    Dataclasses become dicts, NumPy scalars Python numbers, and numbers that are not finite None, which JSON lacks.
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
    """Write a result, indented by two spaces; see `as_json` for what is converted.

    Raises:
        ValueError: if it holds what JSON cannot express.
    """
    text = json.dumps(as_json(content), indent=2, sort_keys=sort_keys, allow_nan=False)
    Path(path).write_text(text + "\n", encoding="utf-8")
