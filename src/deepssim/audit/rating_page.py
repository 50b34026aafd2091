"""The page on which readers rate pairs, and the table that they can fill in instead: without scores, names or order.

Not here: which pairs (rating_sample.py), what the ratings say (readers.py).
"""

from pathlib import Path

import jinja2
import pandas as pd

from deepssim.audit.gallery import picture_uri, report_pictures
from deepssim.audit.rating_sample import RatingSample
from deepssim.audit.readers import COLUMNS, Rating
from deepssim.audit.scan_words import extensions
from deepssim.audit.tables import AuditReport
from deepssim.datasets.tables import write_csv


def write_rating(page: str, table: str, report: AuditReport, sample: RatingSample, *, threads: int = 1) -> None:
    """Write the page and the table.

    Args:
        page, table: HTML and CSV file to write.
        report: all that was found.
        sample: the pairs, in the order in which they are shown.
        threads: files read at a time.
    """
    write_csv(table, rating_table(sample))
    keys = report.train.pack.keys, report.synthetic.pack.keys
    first = report_pictures(report, "real", [keys[0][row] for row in sample.partners], threads)
    second = report_pictures(report, "synthetic", [keys[1][row] for row in sample.rows], threads)
    flat = report.engine.flat
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("deepssim.audit"), autoescape=True, undefined=jinja2.StrictUndefined,
        extensions=extensions(report.config.audit.unit),
    )  # fmt: skip
    content = environment.get_template("rating.html").render(
        audit=sample.audit,
        ratings=[rating.value for rating in Rating],
        columns=list(COLUMNS),
        pairs=[
            {"id": name, "first": picture_uri(flat(one)), "second": picture_uri(flat(other))}
            for name, one, other in zip(sample.pairs, first, second, strict=True)
        ],
    )
    Path(page).write_text(content, encoding="utf-8")


def rating_table(sample: RatingSample) -> pd.DataFrame:
    """Return the table that a reader fills in: `audit`, `number` on the page, `pair` and an empty `rating`."""
    numbers = range(1, len(sample.pairs) + 1)
    rows = [(sample.audit, number, pair, "") for number, pair in zip(numbers, sample.pairs, strict=True)]
    return pd.DataFrame(rows, columns=list(COLUMNS))
