"""The context of an audit: who asks what about which generator, as stated by the user, and what was not stated.

Not here: the settings (config/audit.py), what the audit sees for itself (preflight.py).
"""

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from deepssim.audit.preflight import Finding
from deepssim.audit.scan_words import said
from deepssim.config.audit import ContextConfig
from deepssim.config.choices import AuditUnit
from deepssim.config.reading import read_section
from deepssim.config.settings import load_settings
from deepssim.errors import ConfigError

MISSING = "not stated"
MISSING_IMAGES = "missing training images"  # kind of the finding
_NAMES = {
    "auditor": "Auditor",
    "date": "Date",
    "purpose": "Purpose",
    "release": "To be released",
    "generator": "Generator",
    "parameters": "Parameters of the generator",
    "data_set": "Data set of the generator",
    "training_images": "Training images of the generator",
    "epochs": "Epochs (passes over the training images)",
    "attacker": "What an attacker is assumed to know",
}
_RATIO = "Parameters per training image"


@dataclass(frozen=True)
class Entry:
    """One line of the context.

    Attributes:
        name: for people.
        value: as text; `MISSING` where it was not stated.
        stated: whether it was.
    """

    name: str
    value: str
    stated: bool


def read_context(path: str | Path) -> ContextConfig:
    """Read a file of `--context`.

    Args:
        path: YAML file with the keys of section `audit.context`; dates may be written without quotes.

    Raises:
        ConfigError: naming the file, if it cannot be read or an entry is not usable.
    """
    settings = {
        name: value.isoformat() if isinstance(value, date) else value for name, value in load_settings(path).items()
    }
    try:
        return read_section(ContextConfig, settings)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def parameters_per_image(context: ContextConfig) -> float | None:
    """Return the ratio of parameters and training images; None where one of them is not stated."""
    if context.parameters is None or context.training_images is None:
        return None
    return context.parameters / context.training_images


def context_summary(context: ContextConfig) -> dict[str, Any]:
    """Return the context as plain values for summary.json.

    Args:
        context: section `audit.context`.

    Returns:
        Every entry, None where it was not stated; `parameters_per_training_image`; `missing`, names of the entries that
        were not stated.
    """
    values: dict[str, Any] = {name: getattr(context, name) for name in _NAMES}
    values["release"] = [what.value for what in context.release] or None
    return values | {
        "parameters_per_training_image": parameters_per_image(context),
        "missing": [name for name, value in values.items() if value is None],
    }


def context_entries(context: dict[str, Any], what: AuditUnit = AuditUnit.IMAGE) -> list[Entry]:
    """Return the context for people, missing entries included.

    Args:
        context: from `context_summary`.
        what: is compared, images or volumes.
    """
    ratio = context["parameters_per_training_image"]
    entries = [_entry(name, context[key]) for key, name in _NAMES.items()]
    entries.append(Entry(_RATIO, MISSING, False) if ratio is None else Entry(_RATIO, _ratio_text(ratio), True))
    return [replace(entry, name=said(entry.name, what)) for entry in entries]


def _ratio_text(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def _entry(name: str, value: Any) -> Entry:
    if value is None:
        return Entry(name, MISSING, False)
    if isinstance(value, list):
        return Entry(name, ", ".join(value), True)
    return Entry(name, f"{value:,}" if isinstance(value, int) else str(value), True)


def context_findings(context: ContextConfig, images: int) -> list[Finding]:
    """Say that the generator was trained on more images than there are to compare with: copies of the others go unseen.

    Args:
        context: section `audit.context`.
        images: training images that the audit has read.
    """
    if context.training_images is None or context.training_images <= images:
        return []
    message = (
        f"the generator was trained on {context.training_images:,} images as stated, and {images:,} of them are here, so that "
        "copies of the others cannot be found"
    )
    return [Finding(MISSING_IMAGES, message, [], True)]
