"""The folder into which a command writes the report of an audit: used by one audit at a time, not overwritten unasked, and with
provenance records, by which `deepssim verify` finds what has changed since.

Not here: the audit (run.py), what its files hold (tables.py, page.py), the records of a workflow's jobs (runtime/jobs.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepssim.audit.headline import CARD, RATING_FILES, REPORT_FILES
from deepssim.audit.readers import require_unrated
from deepssim.audit.tables import shown_settings
from deepssim.config.settings import Config
from deepssim.errors import DataError
from deepssim.runtime.locks import sole_use
from deepssim.runtime.outputs import atomic_outputs, remove_leftovers
from deepssim.runtime.records import Origin, discard, write_records

_INPUTS = ("real", "synthetic", "holdout", "subjects", "encoder", "autoencoder")


@contextmanager
def report_folder(out: str | Path, config: Config, *, force: bool, card: bool = False) -> Iterator[dict[str, str]]:
    """Yield temporary paths of the files of a report, which appear in their folder together or not at all.

    Args:
        out: the folder; other files in it stay as they are.
        config: settings of the audit.
        force: replace a report that is there.
        card: add the path of a card.

    Raises:
        DataError: if the folder is in use, is a file, or has a report and `force` is not given.
    """
    place = Path(out)
    files = REPORT_FILES | (RATING_FILES if config.audit.rating else {}) | ({"card": CARD} if card else {})
    final = {name: place / file for name, file in files.items()}
    if place.exists() and not place.is_dir():
        raise DataError(f"{place}: is a file; name a folder for the report")
    with sole_use(place):
        existing = [path.name for path in final.values() if path.exists()]
        if existing and not force:
            raise DataError(
                f"{place}: has {len(existing)} of the files of a report, first {existing[0]}; name another folder, or replace "
                "them with --force (force=True in a notebook)"
            )
        if config.audit.rating:
            require_unrated(final["rating_table"])
        with atomic_outputs(final) as outputs:
            remove_leftovers(final, outputs)
            yield outputs
            if not card:  # one of an earlier audit would speak of other images
                discard(place, CARD)
            write_records(_origin(place, config), final, {name: Path(path) for name, path in outputs.items()})


def _origin(place: Path, config: Config) -> Origin:
    """Return what the record of a report tells; where it is de-identified, only checksums of the inputs."""
    named = {name: Path(path) for name in _INPUTS if (path := getattr(config.audit, name)) is not None}
    named |= {f"ratings {number}": Path(path) for number, path in enumerate(config.audit.ratings, start=1)}
    hidden = config.audit.de_identified
    return Origin(
        place,
        "audit",
        shown_settings(config),
        () if hidden else tuple(named.values()),
        config.seed,
        config.device.value,
        unnamed=named if hidden else {},
        workflow=False,
    )
