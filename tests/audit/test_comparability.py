"""Differences between the sides are said, with what they do to sensitivity."""

import dataclasses

import numpy as np
import pytest

from deepssim.audit.comparability import HIDING, MARGINS, SHEETS, different_sides, unlike_any
from deepssim.images.folders import Collection
from deepssim.images.grey import MIXED
from deepssim.images.packs import ImagePack


def side(sizes=None, level=120, **stored):
    random = np.random.default_rng(0)
    images = np.clip(random.normal(level, 20, (6, 16, 16)) + np.linspace(-60, 60, 16), 0, 255).astype(np.uint8)
    keys = [str(number) for number in range(6)]
    counts = {name: {value: 6} for name, value in stored.items()}
    return Collection(ImagePack(images, keys), [], keys, sizes or {"128x128": 6}, [], {}, counts)


@pytest.mark.parametrize(
    ("other", "kinds"),
    [
        (side(), []),
        (side({"240x160": 6}), ["aspect ratios differ", "sizes differ"]),
        (side({"128x127": 6}), []),
        (side({"240x240": 6}), ["sizes differ"]),
        (side(bits="8"), ["bit depths differ"]),
        (side(orientation="LPS"), ["orientation codes differ"]),
        (side(modality="CR"), ["modalities differ"]),
        (side(level=200), ["grey values differ"]),
    ],
)
def test_each_difference_is_named(other, kinds):
    real = side(bits="12", orientation="RAS", modality="MR")
    found = different_sides({"real": real, "synthetic": other})
    assert [kind for kind, _ in found] == kinds
    assert all("training images" in text or "for training" in text for _, text in found)


@pytest.mark.parametrize(
    ("sizes", "number"),
    [
        ({"128x128": 60, "392x522": 1}, 1),  # 3x4 with 2 pixels between and around them
        ({"64x64": 60, "64x128": 2, "128x64": 1}, 3),
        ({"64x64": 60, "128x128": 1}, 0),  # as training images are
        ({"64x64": 60, "100x90": 5, "130x127": 1}, 0),
        ({"512x512": 1}, 1),
    ],
)
def test_sheets_of_samples_are_suspected(sizes, number):
    found = dict(different_sides({"real": side({"128x128": 100}), "synthetic": side(sizes)}))
    text = found.get(SHEETS, found.get("synthetic images are large", "0 of"))
    assert text.startswith(f"{number} of")


@pytest.mark.parametrize(
    ("sizes", "hiding"),
    [
        ({"256x256": 40}, False),  # of a model that enlarges; copies on sheets of two by two are found
        ({"512x512": 3}, True),
        ({"128x128": 60, "256x256": 1}, True),  # two by two of the others
    ],
)
def test_sheets_of_many_pictures_hide_copies(sizes, hiding):
    found = dict(different_sides({"real": side({"128x128": 100}), "synthetic": side(sizes)}))
    assert (SHEETS in found) is hiding
    assert SHEETS in HIDING


@pytest.mark.parametrize(("edge", "hiding"), [(8, True), (14, True), (16, False), (32, False)])
def test_something_small_amid_a_margin_hides_copies(edge, hiding):
    """Of 32 pixels, as training images show something of."""
    real, other = side(), side()
    images = np.zeros((10, 32, 32), np.uint8)
    images[:, :edge, :edge] = np.random.default_rng(0).integers(100, 200, (10, edge, edge))
    shifted = np.roll(images, ((32 - edge) // 2,) * 2, axis=(1, 2)) if edge < 32 else images
    keys = [str(number) for number in range(10)]
    other = dataclasses.replace(other, pack=ImagePack(shifted, keys))
    full = np.random.default_rng(1).integers(100, 200, (10, 32, 32)).astype(np.uint8)
    real = dataclasses.replace(real, pack=ImagePack(full, keys))
    found = dict(different_sides({"real": real, "synthetic": other}))
    assert (MARGINS in found) is hiding
    if hiding:
        assert found[MARGINS].startswith(
            f"what 10 of 10 synthetic images show fills at most {edge / 32:.0%} of their height and width"
        )
        for count, few in ((1, False), (0, True)):  # one of ten can be a copy that goes unseen
            mixed = np.concatenate([shifted[:count], full[count:]])
            some = dataclasses.replace(other, pack=ImagePack(mixed, keys))
            assert (MARGINS not in dict(different_sides({"real": real, "synthetic": some}))) is few
    assert MARGINS not in dict(different_sides({"real": other, "synthetic": other}))


def test_colours_that_may_be_different_pictures_are_named():
    grey, mixed = side(), side()
    mixed.stored["notice"] = {MIXED: 3}
    assert [kind for kind, _ in different_sides({"real": grey, "synthetic": mixed})] == ["colours differ"]
    assert different_sides({"real": mixed, "synthetic": mixed}) == []


def test_an_inverted_side_is_suspected():
    real = side()
    inverted = dataclasses.replace(real, pack=ImagePack(255 - np.asarray(real.pack.images), real.pack.keys))
    assert [kind for kind, _ in different_sides({"real": real, "synthetic": inverted})] == ["one side may be inverted"]


def test_a_few_other_shapes_are_no_difference_and_many_are():
    real = side({"128x128": 100})
    for other, different in ((side({"128x128": 99, "128x96": 1}), False), (side({"128x128": 90, "128x96": 10}), True)):
        kinds = [kind for kind, _ in different_sides({"real": real, "synthetic": other})]
        assert ("aspect ratios differ" in kinds) is different


def test_images_of_something_else_are_named():
    controls = np.linspace(0.6, 0.9, 100)
    assert unlike_any(np.full(50, 0.65), controls) is None
    assert "another organ" in str(unlike_any(np.full(50, 0.3), controls))
    assert unlike_any(np.full(50, 0.3), np.zeros(0)) is None
