"""The pairs that the page shows, with the pictures by which a person can check them.

Not here: registration (pictures.py), reading the pictures (originals.py), the page around them (page.py).
"""

import base64
import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from deepssim.audit.originals import LARGEST, full_pictures
from deepssim.audit.pictures import PairPictures
from deepssim.audit.tables import AuditReport, kinds
from deepssim.config.choices import AuditUnit
from deepssim.detection.gallery import single_threaded_libraries

ABOVE_LIMIT = ("identical", "confirmed copy", "copy", "partial copy")
"""Kinds of pairs that the audit calls copies."""

FIRST = 6
"""Pairs that the page shows beside the verdict."""

PICTURES = ("real_picture", "synthetic_picture", "registered", "difference")
"""What the page gets of each pair as pictures."""

_LARGEST_HIDDEN = (
    128  # pixels of a picture's longer side in a de-identified report, where burnt-in text must not be legible
)
_LOSSLESS = 128**2  # pixels up to which pictures are compressed without loss
_QUALITY = 75  # of larger ones
_BUDGET = 8_500_000  # characters of all pictures, so that the page stays below 10 MB
_SMALLER = (384, 256, 192, 128, 96)  # pixels to which pictures are reduced in turn if they exceed it
_MOST_DRAWN = 32  # shared keypoints; more lines would hide the pictures
_HEIGHT, _GAP = 100.0, 3.0  # of the pictures side by side, in units of the drawing
_COLOURS = 6  # of lines, in the page's style sheet


def gallery(report: AuditReport, *, threads: int = 1) -> list[dict[str, Any]]:
    """Return the pairs to show, highest score first: the best ones and those closest to the limit.

    Args:
        report: all that was found.
        threads: pairs registered at a time.
    """
    copies, kind, names = report.figures.copies, kinds(report), report.names
    borderline = {int(row) for row in report.figures.borderline}
    best = np.argsort(-copies.scores, kind="stable")[: report.config.audit.gallery].tolist()
    rows = list(dict.fromkeys([*best, *sorted(borderline)]))
    rows.sort(key=lambda row: (not copies.identical[row], -float(copies.scores[row])))
    partners = [int(copies.original[row]) for row in rows]
    real = report_pictures(report, "real", [report.train.pack.keys[partner] for partner in partners], threads)
    synthetic = report_pictures(report, "synthetic", [report.synthetic.pack.keys[row] for row in rows], threads)
    with single_threaded_libraries(), ThreadPoolExecutor(threads) as pool:
        pairs = pool.map(report.engine.show, real, synthetic)
        shown = list(tqdm(pairs, total=len(rows), desc="registering pairs of the report", unit="pair", disable=None))
    described = [
        {
            "pictures": pictures,
            "synthetic": names.synthetic(report.synthetic.pack.keys[row]),
            "real": names.real(report.train.pack.keys[partner]),
            "subject": names.subject(report.train.subjects[partner]),
            "kind": kind[row],
            "score": float(copies.scores[row]),
            "cues": dict(zip(report.figures.score.names, map(float, copies.cues[row]), strict=True)),
            "borderline": row in borderline,
            "distance": _distance(float(copies.scores[row]), report.figures.rule.threshold),
        }
        for row, partner, pictures in zip(rows, partners, shown, strict=True)
    ]
    return within_budget(described)


def within_budget(described: Sequence[Mapping[str, Any]], budget: int = _BUDGET) -> list[dict[str, Any]]:
    """Return what the page shows of pairs, with pictures reduced as far as needed to keep the page small.

    Args:
        described: keyword arguments of `gallery_pair`, one pair each.
        budget: characters that all pictures may take; exceeded only if the smallest pictures are too large.
    """
    for largest in (None, *_SMALLER):
        pairs = [gallery_pair(**item, largest=largest) for item in described]
        # The first pairs are on the page twice.
        sizes = [sum(len(pair[name]) for name in PICTURES) for pair in (*pairs, *pairs[:FIRST])]
        if sum(sizes) <= budget:
            break
    return pairs


def gallery_pair(
    pictures: PairPictures,
    *,
    synthetic: str,
    real: str,
    subject: str,
    kind: str,
    score: float,
    cues: Mapping[str, float],
    borderline: bool = False,
    distance: str = "",
    largest: int | None = None,
) -> dict[str, Any]:
    """Return what the page shows of one pair.

    Args:
        pictures: of the pair.
        synthetic, real, subject: names in the report.
        kind: "identical", "confirmed copy", "copy", "partial copy", "borderline" or "different".
        score: that decides.
        cues: what the score is made from, by name, such as those of `proof.CUES`; numbers of keypoints have "keypoints" in
            their names, SSIM have "SSIM".
        borderline: whether the score is among those closest to the limit, on either side.
        distance: of the score from the limit, in words; empty without a limit.
        largest: pixels of a picture's longer side to which larger ones are reduced; None for pictures as they are.

    Returns:
        Values for the template.
    """
    return {
        "synthetic": synthetic,
        "real": real,
        "subject": subject,
        "kind": kind,
        "above": kind in ABOVE_LIMIT,
        "borderline": borderline or kind == "borderline",
        "score": score,
        "distance": distance,
        "cues": {name: f"{value:.0f}" if "keypoints" in name else f"{value:.3f}" for name, value in cues.items()},
        "keypoints": max([value for name, value in cues.items() if "keypoints" in name], default=0.0),
        "ssim": max([value for name, value in cues.items() if "SSIM" in name], default=0.0),
        "covered": pictures.coverage.covered if kind == "partial copy" else None,
        "overlap": pictures.overlap,
        "largest": largest,
        "real_picture": picture_uri(pictures.real, largest=largest),
        "synthetic_picture": picture_uri(pictures.other, largest=largest),
        "registered": picture_uri(pictures.matched, pictures.mask, largest=largest),
        "difference": picture_uri(pictures.difference, largest=largest),
        "drawing": _drawing(pictures),
    }


def _distance(score: float, limit: float) -> str:
    if not np.isfinite(limit):
        return ""
    return f"{abs(score - limit):.3f} {'above' if score > limit else 'below'} the limit"


def picture_uri(image: np.ndarray, mask: np.ndarray | None = None, *, largest: int | None = None) -> str:
    """Return a picture as a `data:` address of WebP.

    Args:
        image: float32 (H, W), 0 to 1.
        mask: bool (H, W), where the picture is not transparent; everywhere unless given.
        largest: pixels of the longer side to which a larger picture is reduced; None for none.
    """
    picture = Image.fromarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)).convert("RGB")
    if mask is not None and not mask.all():
        picture.putalpha(Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0))))
    if largest is not None:
        picture.thumbnail((largest, largest))
    buffer = io.BytesIO()
    picture.save(buffer, "webp", lossless=picture.width * picture.height <= _LOSSLESS, quality=_QUALITY)
    return data_uri(buffer.getvalue(), "image/webp")


def data_uri(content: bytes, kind: str) -> str:
    """Return a file as a `data:` address.

    Args:
        content: of the file.
        kind: its media type.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def report_pictures(report: AuditReport, side: str, keys: list[str], threads: int) -> list[np.ndarray]:
    """Read the pictures of images again as the report shows them, reduced where it is de-identified.

    Args:
        report: all that was found.
        side: "real" or "synthetic".
        keys: of the images.
        threads: files read at a time.

    Returns:
        float32 (H, W), 0 to 1, in the order of the keys; of volumes, (D, H, W) in the common grid.
    """
    collection, options = report.inventories[side].collection, report.config.audit
    rows = [collection.pack.index[key] for key in keys]
    if options.unit is AuditUnit.VOLUME:
        return list(collection.pack.images[rows].astype(np.float32) / collection.pack.maximum)
    found = full_pictures(
        collection,
        rows,
        percentiles=options.intensity_percentiles,
        slicing=options.volumes,
        largest=_LARGEST_HIDDEN if options.de_identified else LARGEST,
        threads=threads,
    )
    return [found[row] for row in rows]


def _drawing(pictures: PairPictures) -> dict[str, Any]:
    """Return the places of both pictures side by side, in per cent of the width, and lines between shared keypoints.

    Both pictures have one height. Each of the lines' colours has one path in units of the drawing.
    """
    aspects = [image.shape[1] / image.shape[0] for image in (pictures.real, pictures.other)]
    first, second = (_HEIGHT * aspect for aspect in aspects)
    width = first + _GAP + second
    scales = np.array([_HEIGHT / image.shape[0] for image in (pictures.real, pictures.other)])
    # Sorted from top to bottom, every n-th one: lines spread over the pictures.
    order = np.argsort(pictures.points[:, 0, 1], kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(len(order), _MOST_DRAWN)).round().astype(int)]
    places = (pictures.points[chosen] + 0.5) * scales[:, None] + np.array([[0, 0], [first + _GAP, 0]])
    lines: list[list[str]] = [[] for _ in range(_COLOURS)]
    dots: list[list[str]] = [[] for _ in range(_COLOURS)]
    for number, ((left, down), (right, low)) in enumerate(places):
        lines[number % _COLOURS].append(f"M{left:.1f} {down:.1f}L{right:.1f} {low:.1f}")
        dots[number % _COLOURS].append(f"M{left:.1f} {down:.1f}h0M{right:.1f} {low:.1f}h0")
    return {
        "width": round(width, 2),
        "height": _HEIGHT,
        "first": round(100 * first / width, 3),
        "gap": round(100 * _GAP / width, 3),
        "second": round(100 * second / width, 3),
        "lines": ["".join(parts) for parts in lines if parts],
        "dots": ["".join(parts) for parts in dots if parts],
        "drawn": len(chosen),
        "shared": len(pictures.points),
    }
