"""Every change of the audit's protocol has the strength that its name states, measured on the result."""

import io
import re
from statistics import NormalDist

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_erosion

from deepssim.images.distort import DISTORTIONS, distort
from deepssim.images.packs import ImagePack

KEYS = [f"k{number:03d}" for number in range(40)]


def change(image: np.ndarray, name: str, keys: list[str] = KEYS) -> np.ndarray:
    """Distort copies of one image, 0 to 1, at 16 bits: float32 (N, H, W)."""
    pack = ImagePack(np.repeat(np.rint(image * 65535).astype(np.uint16)[None], len(keys), axis=0), keys)
    return distort(pack, name, 0).unit()


def levels(family: str) -> list[str]:
    return [name for name, item in DISTORTIONS.items() if item.family == family]


def number(name: str) -> float:
    """Return the number in a level, such as 5 of "by 5 %"."""
    return float(re.findall(r"\d+(?:\.\d+)?", DISTORTIONS[name].level)[0])


def ramp(height: int, width: int, axis: int) -> np.ndarray:
    """Return positions from 0.25 to 0.75 along an axis; black then is outside of the image."""
    values = 0.25 + 0.5 * (np.indices((height, width))[axis] + 0.5) / (height, width)[axis]
    return values.astype(np.float32)


def slope(image: np.ndarray, axis: int) -> float:
    """Return the slope of a ramp at its centre in units of that of `ramp`."""
    size = image.shape[axis]
    middle = tuple(slice(length // 2 - 10, length // 2 + 10) for length in image.shape)
    return float(np.diff(image[middle].astype(np.float64), axis=axis).mean() * size / 0.5)


def line(side: int = 129) -> np.ndarray:
    """Return a bright horizontal bar through the centre."""
    image = np.zeros((side, side), np.float32)
    image[side // 2 - 1 : side // 2 + 2, side // 4 : -side // 4] = 1
    return image


def angle(image: np.ndarray) -> float:
    """Return the direction of the brightest structure in degrees, anti-clockwise."""
    y, x = np.indices(image.shape) - np.array(image.shape)[:, None, None] / 2 + 0.5
    return float(np.degrees(0.5 * np.arctan2(-2 * (image * x * y).sum(), (image * (x * x - y * y)).sum())))


@pytest.mark.parametrize("name", levels("rotation"))
def test_rotation(name):
    found = np.array([angle(image) for image in change(line(), name)])
    np.testing.assert_allclose(np.abs(found), number(name), atol=0.05)
    assert 8 <= (found > 0).sum() <= 32
    corner = change(np.ones((101, 101), np.float32), name)[:, 0, 0]
    assert (corner < 0.5).all()


@pytest.mark.parametrize("name", levels("shift"))
def test_shift(name, random):
    image = random.uniform(0.2, 1, (60, 100)).astype(np.float32)
    pixels = round(number(name))  # of a longer side of 100
    directions = set()
    for moved in change(image, name):
        for down in (-pixels, pixels):
            for right in (-pixels, pixels):
                framed = np.pad(image, pixels)[pixels - down :, pixels - right :][:60, :100]
                if np.abs(framed - moved).max() < 1e-3:
                    directions.add((down, right))
    assert len(directions) == 4


@pytest.mark.parametrize("name", levels("crop"))
def test_crop(name):
    kept = 1 - number(name) / 100
    places = []
    for axis in (0, 1):
        found = change(ramp(100, 140, axis), name)
        for image in found:
            assert slope(image, axis) == pytest.approx(kept, rel=0.01)
        edges = (found.mean(axis=2 - axis) - 0.25) / 0.5
        assert edges.min() >= 0
        assert edges.max() <= 1
        places.append(edges[:, 0])
    assert all(np.ptp(place) > 0.6 * (1 - kept) for place in places)
    assert abs(np.corrcoef(places)[0, 1]) < 0.5


@pytest.mark.parametrize("name", [*levels("shrunk"), *levels("enlarged")])
def test_zoom(name):
    factor = 1 + number(name) / 100 * (1 if "enlarged" in name else -1)
    for axis in (0, 1):
        image = change(ramp(101, 141, axis), name, ["k"])[0]
        assert slope(image, axis) == pytest.approx(1 / factor, rel=0.01)
        assert image[50, 70] == pytest.approx(0.5, abs=1e-3)
        seen = (image[:, 70] if axis == 0 else image[50]) > 0.1
        assert seen.mean() == pytest.approx(min(1, factor), abs=0.015)


def test_squash():
    image = change(ramp(100, 120, 1), "squashed to 75 %", ["k"])[0]
    assert slope(image, 1) == pytest.approx(1 / 0.75, rel=0.01)
    seen = image > 0.1
    np.testing.assert_array_equal(seen, np.tile((np.arange(120) >= 15) & (np.arange(120) < 105), (100, 1)))


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (270, 3)])
def test_quarter_turns(random, degrees, turns):
    name = f"quarter turn {degrees}°"
    image = random.uniform(0, 1, (20, 20)).astype(np.float32)
    np.testing.assert_allclose(change(image, name, ["k"])[0], np.rot90(image, turns), atol=1e-5)
    wide = np.full((40, 80), 0.2, np.float32)
    wide[:, :40] = 1
    turned = change(wide, name, ["k"])[0]
    if degrees == 180:
        np.testing.assert_allclose(turned, wide[:, ::-1], atol=1e-5)
    else:
        middle = turned[:, 30:50]
        np.testing.assert_array_equal(turned > 0.1, np.tile((np.arange(80) >= 30) & (np.arange(80) < 50), (40, 1)))
        assert (middle[:19].mean() > middle[-19:].mean()) == (degrees == 270)  # anti-clockwise, the left half goes down


def test_flips_and_inversion(random):
    image = random.uniform(0, 1, (12, 17)).astype(np.float32)
    for name, expected in (
        ("flip left-right", image[:, ::-1]), ("flip up-down", image[::-1]), ("inversion", 1 - image),
    ):  # fmt: skip
        np.testing.assert_allclose(change(image, name, ["k"])[0], expected, atol=1e-5)


def displacement(name: str, height: int, width: int, axis: int) -> np.ndarray:
    """Return how far a warp takes each pixel's content from, in pixels along an axis; NaN where it is from outside."""
    still = ramp(height, width, axis)
    moved, grey = change(still, name), change(np.full_like(still, 0.5), name)
    # Near black from outside, cubic interpolation swings around the true value and crosses it at single pixels.
    inside = binary_erosion(np.abs(grey - 0.5) < 1e-4, np.ones((1, 3, 3)), border_value=1)
    assert inside.mean() > 0.85
    return np.where(inside, (moved - still) / 0.5 * still.shape[axis], np.nan)


@pytest.mark.parametrize(("name", "side"), [(name, side) for name in levels("warp") for side in (128, 256)])
def test_warp(name, side):
    expected = number(name) * side / 256
    for axis in (0, 1):
        moves = displacement(name, side, side * 3 // 4, axis)
        deviations = np.nanstd(moves, axis=(1, 2))
        # Slightly less than stated, since large moves at the border come from outside and cannot be measured.
        assert 0.93 * expected < deviations.mean() < expected
        assert deviations.max() < 1.05 * expected
        assert np.abs(np.nanmean(moves, axis=(1, 2))).mean() < 0.15 * expected


@pytest.mark.parametrize("name", levels("warp"))
def test_a_warp_folds_nothing(name):
    for axis in (0, 1):
        assert np.nanmin(np.diff(displacement(name, 256, 256, axis), axis=1 + axis)) > -1


@pytest.mark.parametrize("name", levels("noise"))
def test_noise(name):
    found = change(np.full((128, 128), 0.5, np.float32), name, ["k"])[0]
    quartiles = np.quantile(found, [0.25, 0.75])  # which clipping to 0 and 1 leaves as they are
    assert np.ptp(quartiles) / (2 * NormalDist().inv_cdf(0.75)) == pytest.approx(number(name), rel=0.03)
    assert found.mean() == pytest.approx(0.5, abs=0.01)
    assert abs(np.corrcoef(found[:, 1:].ravel(), found[:, :-1].ravel())[0, 1]) < 0.03


@pytest.mark.parametrize(
    ("name", "deviation", "side"),
    [*((name, number(name) * scale, 512 * scale) for name in levels("blur") for scale in (0.5, 1)), ("soft", 1.5, 256)],
)
def test_blur(name, deviation, side):
    edge = np.zeros((100, int(side)), np.float32)
    edge[:, int(side) // 2 :] = 0.8
    edge += 0.1  # so that noise is not clipped
    reach = int(4 * deviation) + 3
    window = slice(int(side) // 2 - reach, int(side) // 2 + reach + 1)
    profile = np.diff(change(edge, name)[:, 30:70, window].mean(axis=(0, 1), dtype=np.float64))
    x = np.arange(2 * reach) - reach + 1
    found = np.sqrt(max(0, (profile * x**2).sum() / profile.sum()))
    sampled = np.exp(-(x**2) / (2 * deviation**2))  # at pixels, where a narrow Gaussian has less than its deviation
    assert found == pytest.approx(np.sqrt((sampled * x**2).sum() / sampled.sum()), rel=0.04, abs=0.01)
    assert found == pytest.approx(deviation, rel=0.08) or deviation <= 0.1


def test_soft_noise():
    assert change(np.full((128, 128), 0.5, np.float32), "soft", ["k"]).std() * 255 == pytest.approx(4, rel=0.03)


@pytest.mark.parametrize("name", [*levels("brightness"), *levels("contrast"), *levels("gamma")])
def test_intensities(random, name):
    image = np.rint(random.uniform(0, 1, (32, 40)) * 65535) / 65535
    strength, family = number(name), DISTORTIONS[name].family
    mean = image.mean()
    expected = {
        "brightness": np.clip(image * strength, 0, 1),
        "contrast": np.clip(mean + strength * (image - mean), 0, 1),
        "gamma": image**strength,
    }[family]
    np.testing.assert_allclose(change(image, name, ["k"])[0], expected, atol=3e-5)


def test_bias_field():
    factors = change(np.full((60, 90), 0.5, np.float32), "bias field 0.4").astype(np.float64) / 0.5
    np.testing.assert_allclose(factors.min(axis=(1, 2)), 0.6, atol=1e-3)
    np.testing.assert_allclose(factors.max(axis=(1, 2)), 1.4, atol=1e-3)
    for axis in (1, 2):
        np.testing.assert_allclose(np.diff(factors, 2, axis=axis), 0, atol=2e-4)
    steps = [np.diff(factors, axis=axis).mean(axis=(1, 2)) for axis in (1, 2)]
    quadrants = {(down > 0, right > 0) for down, right in zip(*steps, strict=True)}
    assert len(quadrants) == 4


@pytest.mark.parametrize("name", levels("JPEG"))
def test_jpeg_is_as_pillow_compresses(random, name):
    image = (np.outer(np.hanning(50), np.hanning(67)) * 255 * random.uniform(0.8, 1, (50, 67))).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "jpeg", quality=int(number(name)))
    found = distort(ImagePack(image[None], ["k"]), name, 0).images[0]
    assert np.abs(np.asarray(Image.open(stream)).astype(int) - found).max() <= 1


def test_all_of_the_papers_misalignment():
    keys = [f"m{number}" for number in range(400)]
    image = np.full((65, 65), 0.5, np.float32)
    exponent = np.log(change(image, "random flips, rotation and gamma", keys)[:, 32, 32]) / np.log(0.5)
    untouched = np.abs(exponent - 1) < 1e-3
    assert untouched.mean() == pytest.approx(0.2, abs=0.06)
    assert exponent.min() == pytest.approx(0.5, abs=0.03)
    assert exponent.max() == pytest.approx(1.5, abs=0.03)
    white = change(np.ones((65, 65), np.float32), "random flips, rotation and gamma", keys)
    assert (white[:, 0, 0] == 1).mean() == pytest.approx(0.2, abs=0.06)  # not rotated
    turned = np.array([angle(item) for item in change(line(65), "random flips, rotation and gamma", keys)])
    assert np.abs(turned).max() == pytest.approx(10, abs=0.5)
    quarter = np.zeros((65, 65), np.float32)
    quarter[8:24, 8:24] = 1
    dots = change(quarter, "random flips, rotation and gamma", keys)
    assert (dots[:, :32].sum(axis=(1, 2)) < dots[:, 33:].sum(axis=(1, 2))).mean() == pytest.approx(0.8, abs=0.06)
    assert (dots[:, :, :32].sum(axis=(1, 2)) < dots[:, :, 33:].sum(axis=(1, 2))).mean() == pytest.approx(0.8, abs=0.06)


def test_several_changes_together():
    name = "flip, rotation 8°, gamma 0.6 and soft"
    image = np.maximum(line(257), 0.3)
    image[:70, :64] = 0.6
    found = change(image, name)
    background = found[:, 200:220, 110:150]
    assert background.mean() == pytest.approx(0.3**0.6, abs=0.002)
    assert background.std(axis=(1, 2)).mean() * 255 == pytest.approx(4, rel=0.05)
    bar = np.clip(found[:, 90:167, 40:-40] - 0.65, 0, None)
    tilt = np.array([angle(item) for item in bar])
    np.testing.assert_allclose(np.abs(tilt), 8, atol=0.3)
    assert (found[:, 30:50, 20:50].mean(axis=(1, 2)) < found[:, 30:50, -50:-20].mean(axis=(1, 2))).all()  # flipped
