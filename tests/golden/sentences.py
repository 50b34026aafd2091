"""A matrix of small audits and the verdicts in words that each of them must give.

    python -m tests.golden.sentences

renews the file of the verdicts after they were changed on purpose; read the difference before it is committed.
"""

import json
import re
import tempfile
from html import unescape
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import deepssim
from tests.audit.folders import drawing, texture, write

FILE = Path(__file__).with_name("sentences.json")
CELLS = list(product(("none", "tiny", "unusable", "good"), ("known", "unknown"), ("none", "few", "many")))
SETTINGS = {"compared_at": 64, "controls": 1, "gallery": 2, "borderline": 2, "bootstrap": 20}
REAL, SYNTHETIC = 24, 30
_COPIES = {"none": 0, "few": 1, "many": 12}
_HOLDOUT = {"tiny": 10, "good": 100}  # images, two of each patient


def make_data(root: Path) -> Path:
    """Write training images, synthetic ones with no, few and many copies, and holdouts; return the folder."""
    random = np.random.default_rng(0)
    originals = [drawing(random) for _ in range(REAL)]
    for number, image in enumerate(originals):
        write(root / "real" / f"p{number // 2:02d}_{number % 2}.png", image)
        if number < 8:  # names of training images, and other pictures of these patients
            write(root / "unusable" / f"p{number // 2:02d}_{number % 2}.png", drawing(random))
    others = [texture(random) for _ in range(SYNTHETIC)]
    for name, copies in _COPIES.items():
        for number in range(SYNTHETIC):
            write(root / name / f"s{number:02d}.png", originals[number] if number < copies else others[number])
    held_out = [drawing(random) for _ in range(max(_HOLDOUT.values()))]
    for name, images in _HOLDOUT.items():
        for number in range(images):
            write(root / name / f"h{number // 2:02d}_{number % 2}.png", held_out[number])
    write(root / "one" / "p00_0.png", originals[0])
    for number, image in enumerate((originals[0], others[0])):
        write(root / "of one" / f"s{number}.png", image)
    return root


def audit_cell(
    root: Path, holdout: str, patients: str, copies: str, *, out: Path | None = None, **more: Any
) -> dict[str, Any]:
    """Audit one combination and return what summary.json holds.

    Args:
        root: from `make_data`; its cache is used, so that images are compared once.
        holdout, patients, copies: of `CELLS`; copies `one` are those of a single training image.
        out: folder of the report; in `root` unless given.
        more: further settings.
    """
    real, synthetic = ("one", "of one") if copies == "one" else ("real", copies)
    given: dict[str, Any] = {} if holdout == "none" else {"holdout": root / holdout}
    if patients == "known":
        given["subject_pattern"] = r"^([a-z]\d+)"
    place = out or root / "report" / "-".join((holdout, patients, copies))
    # 5 % can be promised by the good holdout and by no other side.
    settings: dict[str, Any] = (
        SETTINGS | {"false_positive_rate": 0.02, "cache": root / "cache", "threads": 1} | given | more
    )
    return deepssim.audit(root / real, root / synthetic, place, **settings)


def verdict_of(found: dict[str, Any]) -> list[str]:
    """Return the verdict, its sentence and its reservations."""
    verdict = found["verdict"]
    return [verdict["result"], verdict["sentence"], *verdict["reservations"]]


def sentences(found: dict[str, Any], folder: Path) -> list[str]:
    """Return all sentences of a report: of the page, of summary.json and the head of keep.txt."""
    page = (folder / "index.html").read_text(encoding="utf-8")
    body = re.sub(r"<(style|script|pre|svg)\b.*?</\1>", " ", page.partition("<body>")[2], flags=re.S)
    blocks = re.split(r"</?(?:p|div|li|td|th|tr|h\d|figcaption|summary|option|label|section|article)\b[^>]*>", body)
    texts = [" ".join(unescape(re.sub(r"<[^>]*>", "", block)).split()) for block in blocks]
    stated = [
        *(item["message"] for item in found["preflight"]),
        found["rule"]["calibrated_on"],
        found["controls"]["negative"]["what"],
    ]
    head = (folder / "keep.txt").read_text(encoding="utf-8").splitlines()[0]
    return [text for text in [*texts, *verdict_of(found), *stated, head] if text]


def names_of(path: Path) -> list[str]:
    """Return the names that keep.txt or drop.txt lists."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def renew(file: Path = FILE) -> None:
    """Write the verdicts of all cells."""
    with tempfile.TemporaryDirectory() as folder:
        root = make_data(Path(folder))
        found = {" ".join(cell): verdict_of(audit_cell(root, *cell)) for cell in CELLS}
    file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    renew()
