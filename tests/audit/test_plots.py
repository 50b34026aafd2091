"""The heat map of the controls: every number in its place, and readable for everybody."""

import re
from xml.etree import ElementTree

import pytest

from deepssim.audit.controls import Control
from deepssim.audit.plots import controls_svg
from deepssim.evaluation.intervals import Interval
from deepssim.images.distort import DISTORTIONS


def control(name, found):
    interval = Interval(found, 0.0, 1.0, "")
    return Control(name, interval, interval, interval, 0.5)


def texts(svg):
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def cells(svg):
    """Return colour of each cell, colour of its number, and the number."""
    root, colour = ElementTree.fromstring(svg), re.compile(r"fill: (#\w{6})")
    fills = [colour.search(style)[1] for node in root.iter() if "stroke: #ffffff" in (style := node.get("style", ""))]
    numbers = [
        (ink[1] if (ink := colour.search(node.get("style"))) else "#000000", int("".join(node.itertext())[:-2]))
        for node in root.iter("{http://www.w3.org/2000/svg}text")
        if "font-weight: 700" in node.get("style")  # bold
    ]
    return [(fill, *number) for fill, number in zip(fills, numbers, strict=True)]


def luminance(colour):
    """Return the relative luminance of an sRGB colour, as WCAG 2.2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_family_is_a_row_and_its_levels_follow_each_other():
    found = {name: number / 100 for number, name in enumerate(DISTORTIONS, start=10)}
    svg = controls_svg([control(name, value) for name, value in reversed(found.items())])
    shown = texts(svg)
    families = list(dict.fromkeys(item.family for item in DISTORTIONS.values()))
    assert [text for text in shown if text in families] == families
    expected = [(f"{round(100 * value)} %", DISTORTIONS[name].level) for name, value in found.items()]
    assert [text for text in shown if text not in families] == [text for pair in expected for text in pair if text]
    assert len(cells(svg)) == len(DISTORTIONS)


def test_a_control_of_its_own_comes_last():
    svg = controls_svg([control("autoencoder", 0.25), control("none", 1.0)])
    assert sorted(texts(svg)) == ["100 %", "25 %", "autoencoder", "none"]
    assert [number for _, _, number in cells(svg)] == [100, 25]


@pytest.mark.parametrize(
    ("found", "shown"), [(1.0, "100 %"), (0.999, "99 %"), (0.001, "1 %"), (0.0, "0 %"), (float("nan"), "?")]
)
def test_nearly_all_is_not_all(found, shown):
    assert texts(controls_svg([control("soft", found)])) == ["soft", shown]


def test_numbers_are_legible_and_more_found_is_lighter():
    names = list(DISTORTIONS)
    drawn = cells(controls_svg([control(name, number / (len(names) - 1)) for number, name in enumerate(names)]))
    assert len(drawn) == len(names)
    lights = [luminance(fill) for fill, _, _ in drawn]
    assert lights == sorted(lights)
    for light, (_, ink, _) in zip(lights, drawn, strict=True):
        brighter, darker = sorted([light, luminance(ink)], reverse=True)
        assert (brighter + 0.05) / (darker + 0.05) >= 4.5  # WCAG 2.2, level AA


def test_the_same_numbers_give_the_same_file():
    controls = [control(name, 0.5) for name in DISTORTIONS]
    assert controls_svg(controls) == controls_svg(controls)
