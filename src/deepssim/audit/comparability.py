"""Whether the sides of an audit fit each other: sizes, aspect ratios, orientation, bit depth, grey values, modality.

A copy that was squashed, inverted or stored at another depth can be missed, so that a difference between the sides is said
beside the verdict, with what it does to sensitivity.

Not here: noise and blur (appearance.py), repeated images and subjects (preflight.py), reading files (inventory.py).
"""

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from deepssim.audit.appearance import BLURRED, NOISY, hidden_by_appearance
from deepssim.audit.proportions import any_squashed, aspect_counts, aspects_apart, shape_of
from deepssim.images.coherence import PLANES_APART
from deepssim.images.folders import Collection
from deepssim.images.grey import MIXED
from deepssim.images.on_disk import blocks

_ASPECTS_APART = 0.05  # total variation distance of the distributions of aspect ratios
_SIZES_APART = 1.5  # ratio of the median sides of the images
_GREY_APART = 0.2  # of the median of the mean grey values, 0 to 1
_INVERTED = -0.3  # correlation of the mean images of two sides
_LOW_QUANTILE = 0.01  # of the scores of real images: typical synthetic images below it are unlike any
_SHEET = 1.9  # height or width, in those of the largest training image, from which an image may show several
_HIDING = 2.9  # the same, from which copies of one picture among several were missed
_MARGIN = 0.45  # longer side of what an image shows, in that of training images, below which copies were missed
_FEW_SMALL = 0.05  # fraction of synthetic images that show something so small, as slices at the end of an organ do
_SHOWS = 8  # grey levels from the border's median, beyond which a pixel is no margin
_MOST_GAP = 4  # pixels between the pictures of a sheet; torchvision's make_grid leaves 2
_SHOWN = 3  # most frequent values that are named

SHEETS, COLOURS, MARGINS = "synthetic images may be sheets", "colours differ", "synthetic images have wide margins"
NEGATIVES = "synthetic volumes may be negatives"
PLANES, SQUASHED = "planes of different volumes", "synthetic volumes may be squashed"
# Differences that hide copies, so that nothing can be cleared.
HIDING = (SHEETS, COLOURS, MARGINS, NOISY, BLURRED, NEGATIVES, PLANES, SQUASHED)

SIDE_NAMES = {"real": "training", "synthetic": "synthetic", "holdout": "held-out"}
_Side = tuple[str, Collection]


def unlike_any(scores: np.ndarray, controls: np.ndarray) -> str | None:
    """Say if synthetic images resemble the training images far less than other real images do.

    Args:
        scores: best score of each synthetic image with a training image, floating point (S,).
        controls: the same of held-out images, floating point (N,).

    Returns:
        One sentence, or None.
    """
    if not len(controls):
        return None
    typical, low = float(np.median(scores)), float(np.quantile(controls, _LOW_QUANTILE))
    if typical >= low:
        return None
    return (
        f"half of the synthetic images have a best score below {typical:.2f}, and {1 - _LOW_QUANTILE:.0%} of the held-out images "
        f"have one above {low:.2f}; the synthetic images may show another organ or modality, or be stored "
        "in a way that hides copies"
    )


def different_sides(collections: Mapping[str, Collection]) -> list[tuple[str, str]]:
    """Compare the training images with each other side.

    Args:
        collections: images by side.

    Returns:
        Short name and one sentence for each difference: what differs, and what it does to sensitivity.
    """
    real = ("real", collections["real"])
    found = []
    for name in ("synthetic", "holdout"):
        if name in collections:
            other = (name, collections[name])
            # Volumes all have an intensity window, and are compared in all orders and directions of their axes.
            of_images = () if real[1].pack.images.ndim > 3 else (_bits, _orientation)
            for check in (_aspects, _sizes, *of_images, _modality, _colours, _grey_values, _inversion):
                finding = check(real, other)
                if finding is not None:
                    found.append(finding)
    further = (check(real[1], collections["synthetic"]) for check in (_margins, _sheets, _negatives, _planes))
    found += [finding for finding in further if finding is not None]
    images = real[1].pack.images.ndim == 3
    return [*found, *(hidden_by_appearance(real[1], collections["synthetic"]) if images else [])]


def _aspects(real: _Side, other: _Side) -> tuple[str, str] | None:
    squashed = other[0] == "synthetic" and other[1].pack.images.ndim > 3 and any_squashed(real[1], other[1])
    if not squashed and aspects_apart(real[1], other[1]) <= _ASPECTS_APART:
        return None
    effect = (
        "all images were stretched to one shape, and a copy whose aspect ratio was changed by more than a third can be missed"
        if other[0] == "synthetic"
        else "the limit was calibrated on images of another shape"
    )
    if other[0] == "synthetic" and other[1].pack.images.ndim > 3:
        effect = "copies that were squashed, as where a file does not say how far apart its planes are, can be missed"
        if squashed:
            effect = (
                "copies that were squashed, as where a file does not say how far apart its planes are, go unseen: store volumes with the "
                "spacing of their voxels"
            )
            return SQUASHED, f"{_both(real, other, 'aspect ratios', aspect_counts)}; {effect}"
    return "aspect ratios differ", f"{_both(real, other, 'aspect ratios', aspect_counts)}; {effect}"


def _sizes(real: _Side, other: _Side) -> tuple[str, str] | None:
    sides = [_median_side(side[1].sizes) for side in (real, other)]
    if max(sides) < _SIZES_APART * min(sides):
        return None
    message = (
        f"{_both(real, other, 'sizes', lambda side: Counter(side.sizes))}; the smaller images have less detail, so that copies "
        "score lower"
    )
    return "sizes differ", message


def _bits(real: _Side, other: _Side) -> tuple[str, str] | None:
    return _stored(
        real, other, "bits", "bit depths",
        "grey values are mapped to black and white per image where they have more than 8 bits, and kept otherwise, which can "
        "change the contrast of copies",
    )  # fmt: skip


def _orientation(real: _Side, other: _Side) -> tuple[str, str] | None:
    return _stored(
        real, other, "orientation", "orientation codes",
        "slices are reoriented, but a wrong code turns them, and copies turned by 90 degrees can be missed",
    )  # fmt: skip


def _modality(real: _Side, other: _Side) -> tuple[str, str] | None:
    return _stored(real, other, "modality", "modalities", "images of another modality cannot be recognised as copies")


def _stored(real: _Side, other: _Side, fact: str, name: str, effect: str) -> tuple[str, str] | None:
    """Compare what the files record; a side that records nothing is not compared."""
    counts = [side[1].stored.get(fact, {}) for side in (real, other)]
    if not all(counts) or set(counts[0]) == set(counts[1]):
        return None
    return f"{name} differ", f"{_both(real, other, name, lambda side: Counter(side.stored[fact]))}; {effect}"


def _colours(real: _Side, other: _Side) -> tuple[str, str] | None:
    """Name files whose colours may be three images, such as neighbouring slices, unless those of the training set are so, too."""
    counts = [side[1].stored.get("notice", {}).get(MIXED, 0) for side in (real, other)]
    if counts[0] or not counts[1]:
        return None
    message = (
        f"{counts[1]:,} {'file' if counts[1] == 1 else 'files'} of {SIDE_NAMES[other[0]]} images "
        f"{'has' if counts[1] == 1 else 'have'} colours that differ as those of different pictures do, and no "
        "training file has; if each colour is an image of its own, they were mixed into one and copies among them go unseen: "
        "store them as single images"
    )
    return COLOURS, message


def _sheets(real: Collection, synthetic: Collection) -> tuple[str, str] | None:
    """Name synthetic images that are so much larger than others that they may show many, as sheets of samples do."""
    if real.pack.images.ndim > 3:
        return None  # volume_checks.py finds several bodies
    largest = [max(side) for side in zip(*map(shape_of, real.sizes), strict=True)]
    tile = shape_of(max(synthetic.sizes, key=lambda size: synthetic.sizes[size]))
    sheets = {
        size: number
        for size, number in synthetic.sizes.items()
        if any(side >= _SHEET * most for side, most in zip(shape_of(size), largest, strict=True))
        or (size not in real.sizes and _is_grid(shape_of(size), tile))
    }
    if not sheets:
        return None
    hiding = any(
        _is_grid(shape_of(size), tile)
        or any(side >= _HIDING * most for side, most in zip(shape_of(size), largest, strict=True))
        for size in sheets
    )
    effect = "copies among those go unseen" if hiding else "copies among those score lower"
    message = (
        f"{sum(sheets.values()):,} of {sum(synthetic.sizes.values()):,} synthetic images may show several pictures side by side, since "
        f"sizes such as {next(iter(sheets))} are those of sheets; {effect}: store each "
        "picture as an image of its own, and single pictures in about the size of training images"
    )
    return SHEETS if hiding else "synthetic images are large", message


def _margins(real: Collection, synthetic: Collection) -> tuple[str, str] | None:
    """Say if many synthetic images show something small amid an empty margin, and few training images do."""
    shown = [_shown_parts(side) for side in (real, synthetic)]
    usual = float(np.median(shown[0]))
    small = [parts < _MARGIN * usual for parts in shown]
    few = _FEW_SMALL if real.pack.images.ndim == 3 else 0.0  # a whole scan has no end of an organ for an excuse
    if small[1].mean() <= max(few, 2 * small[0].mean()):
        return None
    count = int(small[1].sum())
    message = (
        f"what {count:,} of {len(small[1]):,} synthetic images show fills at most {shown[1][small[1]].max():.0%} of their height and "
        f"width amid an empty margin, and {usual:.0%} in training images; copies that are shown so small go unseen: cut off the margins"
    )
    return MARGINS, message


def _negatives(real: Collection, synthetic: Collection) -> tuple[str, str] | None:
    """Name volumes that are brighter at their faces than inside, unless training volumes are so, too: their foreground is not found."""
    if real.pack.images.ndim < 4:
        return None  # negatives of images are recognised
    bright = [_bright_borders(side) for side in (real, synthetic)]
    if bright[1].mean() <= 2 * bright[0].mean():
        return None
    count = int(bright[1].sum())
    verb = "is" if count == 1 else "are"
    message = (
        f"{count:,} of {len(bright[1]):,} synthetic images {verb} brighter at the border than inside, as negatives "
        "are, and copies among those go unseen: store them with a dark background, as the training images are"
    )
    return NEGATIVES, message


def _planes(real: Collection, synthetic: Collection) -> tuple[str, str] | None:
    """Name files whose volumes may be made of planes of different ones, unless training files are so, too."""
    counts = [side.stored.get("notice", {}).get(PLANES_APART, 0) for side in (real, synthetic)]
    files = [max(1, len(set(side.files))) for side in (real, synthetic)]
    if counts[1] / files[1] <= 2 * counts[0] / files[0]:
        return None
    message = (
        f"{counts[1]:,} {'file' if counts[1] == 1 else 'files'} of synthetic images {'has' if counts[1] == 1 else 'have'} volumes whose "
        "neighbouring planes differ as those of different volumes do; if axes, names or numbers are in another order than docs/formats.md "
        "says, copies in them go unseen: store each volume as a file of its own"
    )
    return PLANES, message


def _bright_borders(side: Collection) -> np.ndarray:
    """Return which volumes are brighter at the faces of what they show than in its middle, bool (N,)."""
    found = np.zeros(len(side.pack.images), bool)
    for row, volume in enumerate(side.pack.images):
        shown = [np.flatnonzero(volume.any(axis=_others(axis, 3))) for axis in range(3)]
        inside = volume[tuple(slice(places[0], places[-1] + 1) for places in shown)]  # without the padding to a cube
        middle = inside[tuple(slice(side // 4, -(side // 4) or None) for side in inside.shape)]
        found[row] = np.median(_faces(inside)) > np.median(middle)
    return found


def _faces(image: np.ndarray) -> np.ndarray:
    """Return the values of all outer rows and columns, or planes, int64."""
    return np.concatenate(
        [np.take(image, place, axis=axis).ravel() for axis in range(image.ndim) for place in (0, -1)]
    ).astype(np.int64)


def _shown_parts(side: Collection) -> np.ndarray:
    """Return the longer side of what each image shows, in that of the image, float64 (N,); 1 where it reaches the border."""
    parts = np.ones(len(side.pack.images))
    for row, image in enumerate(side.pack.images):
        border = _faces(image)
        level = np.median(border)
        if np.abs(border - level).max() <= _SHOWS:
            different = np.abs(image.astype(np.int64) - level) > _SHOWS
            found = [np.flatnonzero(different.any(axis=_others(axis, image.ndim))) for axis in range(image.ndim)]
            if len(found[0]):
                parts[row] = max(
                    (places[-1] - places[0] + 1) / len(different) for places in found
                )  # images are square by now
    return parts


def _others(axis: int, count: int) -> tuple[int, ...]:
    return tuple(other for other in range(count) if other != axis)


def _is_grid(shape: tuple[int, ...], tile: tuple[int, ...]) -> bool:
    """Return whether a shape is that of several tiles, with up to 4 pixels between and perhaps around them."""
    for gap in range(_MOST_GAP + 1):
        steps = [part + gap for part in tile]
        rests = [side % step for side, step in zip(shape, steps, strict=True)]
        several = any(side >= 2 * part for side, part in zip(shape, tile, strict=True))
        if several and all(rest in (0, gap, part) for rest, part in zip(rests, tile, strict=True)):
            return True
    return False


def _grey_values(real: _Side, other: _Side) -> tuple[str, str] | None:
    medians = [_median_grey(side[1]) for side in (real, other)]
    if abs(medians[0] - medians[1]) < _GREY_APART:
        return None
    message = (
        f"the median of the mean grey values outside black, 0 to 1, is {medians[0]:.2f} for training and {medians[1]:.2f} for "
        f"{SIDE_NAMES[other[0]]} images; if they were stored with another intensity range or inverted, copies can be missed"
    )
    return "grey values differ", message


def _inversion(real: _Side, other: _Side) -> tuple[str, str] | None:
    means = [_mean_image(side[1].pack.images) for side in (real, other)]
    if min(mean.std() for mean in means) == 0:
        return None
    correlation = float(np.corrcoef(means)[0, 1])
    if correlation > _INVERTED:
        return None
    message = (
        f"the mean training image and the mean {SIDE_NAMES[other[0]]} image have a correlation of {correlation:.2f}; if one of the "
        "sides was stored inverted, copies are missed"
    )
    return "one side may be inverted", message


def _median_grey(side: Collection) -> float:
    """Return the median of the mean grey values, 0 to 1; black is left out, of which padding adds more to some shapes."""
    means = []
    for part in blocks(side.pack.images):
        within = tuple(range(1, part.ndim))
        shown = np.maximum(np.count_nonzero(part, axis=within), 1)
        means.append(part.sum(axis=within, dtype=np.int64) / shown)
    return float(np.median(np.concatenate(means))) / side.pack.maximum


def _mean_image(images: np.ndarray) -> np.ndarray:
    """Return the mean of all images, float64, as one row of pixels."""
    total = sum(part.sum(axis=0, dtype=np.int64) for part in blocks(images))
    return (total / len(images)).ravel()


def _both(real: _Side, other: _Side, name: str, count: Callable[[Collection], Counter[str]]) -> str:
    texts = []
    for side, collection in (real, other):
        counts = count(collection)
        shown = ", ".join(f"{value} ({number})" for value, number in counts.most_common(_SHOWN))
        texts.append(f"{SIDE_NAMES[side]} images {shown}{', …' if len(counts) > _SHOWN else ''}")
    return f"the {name} differ: {' but '.join(texts)}"


def _median_side(sizes: Mapping[str, int]) -> float:
    longer = [max(shape_of(size)) for size in sizes]
    return float(np.median(np.repeat(longer, list(sizes.values()))))
