import subprocess
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from deepssim.errors import DataError
from deepssim.images import frames
from deepssim.images.files import read_contents
from deepssim.images.grey import MIXED, NOT_FINITE
from deepssim.images.rasters import read_raster
from tests.images.test_pictures import png

ALL = (0.0, 100.0)


@pytest.fixture
def levels(random) -> np.ndarray:
    return random.integers(0, 256, (12, 10), dtype=np.uint8)


def read(path) -> list[np.ndarray]:
    return [frame.pixels for frame in read_raster(path, percentiles=ALL).frames if not frame.left_out]


def read_one(path) -> np.ndarray:
    (image,) = read(path)
    return image


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_eight_bit_images_are_read_exactly(tmp_path, levels, suffix):
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(levels).save(path)
    np.testing.assert_array_equal(read_one(path), levels.astype(np.float32) / np.float32(255))


def test_jpeg_and_colour_become_grey(tmp_path):
    Image.new("RGB", (6, 4), (255, 255, 255)).save(tmp_path / "x.jpg", quality=95)
    assert read_one(tmp_path / "x.jpg").shape == (4, 6)
    assert read_one(tmp_path / "x.jpg").min() > 0.98


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_images_use_the_window(tmp_path, suffix):
    values = np.array([[0, 1000], [2000, 4000]], np.uint16)  # 12 bits in a 16-bit file
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(values).save(path)
    np.testing.assert_allclose(read_one(path), values / 4000)


def test_every_page_of_a_tiff_is_read(tmp_path, levels):
    values = levels.astype(np.uint16) * 16
    pages = [Image.fromarray(page) for page in (levels, levels[:5], values)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    first, second, third = read(tmp_path / "x.tif")
    np.testing.assert_array_equal(first, levels.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(second, levels[:5].astype(np.float32) / np.float32(255))
    np.testing.assert_allclose(third, values / values.max(), atol=1e-7)  # its own window


def test_reduced_copies_of_a_page_are_left_out(tmp_path, levels):
    marked = ImageFileDirectory_v2()
    marked[254] = 1
    small = Image.fromarray(levels[::2, ::2])
    small.encoderinfo = {"tiffinfo": marked}
    Image.fromarray(levels).save(tmp_path / "x.tif", save_all=True, append_images=[small])
    with Image.open(tmp_path / "x.tif") as written:
        assert written.n_frames == 2
    np.testing.assert_array_equal(read_one(tmp_path / "x.tif"), levels.astype(np.float32) / np.float32(255))


def test_a_page_as_large_as_any_is_no_reduced_copy(tmp_path, levels):
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(levels, metadata=None)
        file.write(255 - levels, metadata=None, subfiletype=1)
        file.write(levels[::2, ::2], metadata=None, subfiletype=1)
    frames = list(read_raster(tmp_path / "x.tif", percentiles=ALL).frames)
    assert [bool(frame.left_out) for frame in frames] == [False, False, True]


@pytest.mark.parametrize("kind", ["png", "npy"])
@pytest.mark.parametrize("bits", [8, 16])
def test_colours_that_are_different_pictures_are_named(tmp_path, random, kind, bits):
    pictures = random.integers(0, 2**bits, (3, 12, 10)).astype(f"u{bits // 8}")
    alike = np.stack([pictures[0], pictures[0] // 2, 0 * pictures[0]])
    for planes, expected in ((pictures, True), (alike, False)):
        path = tmp_path / f"x.{kind}"
        if kind == "npy":
            np.save(path, np.moveaxis(planes, 0, -1)[None])
        elif bits == 8:
            Image.fromarray(np.moveaxis(planes, 0, -1)).save(path)
        else:
            png(np.moveaxis(planes, 0, -1), 2)(path)
        assert (MIXED in read_contents(path, percentiles=ALL).facts.notices) is expected


@pytest.mark.parametrize(
    ("kind", "mode"), [*(("PPM", mode) for mode in ("1", "L", "RGB", "I;16", "F")), ("PNG", "L"), ("JPEG", "RGB")]
)
def test_a_second_image_behind_the_first_is_not_passed_over(tmp_path, kind, mode):
    image = Image.new(mode, (17, 12))
    path = tmp_path / "x"
    image.save(path, kind)
    content = path.read_bytes()
    assert list(read_raster(path, percentiles=ALL).frames)
    path.write_bytes(content + content)
    with pytest.raises(DataError, match="holds several images"):
        read_raster(path, percentiles=ALL)


def test_a_page_of_more_pixels_than_an_image_has_is_refused(tmp_path, levels, monkeypatch):
    pages = [Image.fromarray(levels)] * 4
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    monkeypatch.setattr(frames, "MAX_VALUES", levels.size)
    assert len(read(tmp_path / "x.tif")) == 4
    monkeypatch.setattr(frames, "MAX_VALUES", levels.size - 1)
    with pytest.raises(DataError, match=r"x\.tif: declares 120 pixels or voxels, more than 119; split it"):
        read(tmp_path / "x.tif")


@pytest.mark.parametrize("keep", [0, 20, 0.5])
def test_damaged_images_are_named(tmp_path, random, keep):
    path = tmp_path / "x.png"
    Image.fromarray(random.integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(DataError, match=r"x\.png: (is not an image|cannot be decoded)"):
        read(path)


def test_values_that_are_not_finite_are_background(tmp_path):
    Image.fromarray(np.array([[0, np.nan], [np.inf, 1]], np.float32)).save(tmp_path / "x.tif")
    np.testing.assert_array_equal(read_one(tmp_path / "x.tif"), [[0, 0], [0, 1]])
    assert NOT_FINITE in read_raster(tmp_path / "x.tif", percentiles=ALL).facts.notices


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG", "WEBP"])
def test_no_frame_is_lost_unseen_when_a_file_is_cut_off(tmp_path, random, kind):
    images = [Image.fromarray(random.integers(0, 256, (64, 64), dtype=np.uint8)) for _ in range(4)]
    path = tmp_path / "x"
    images[0].save(path, kind, save_all=True, append_images=images[1:])
    assert len(read(path)) == 4
    content = path.read_bytes()
    for keep in (0.5, 0.8, 0.99):
        path.write_bytes(content[: int(keep * len(content))])
        with pytest.raises(DataError, match="x: "):
            read(path)


def test_a_small_file_cannot_hold_a_huge_picture(tmp_path):
    Image.new("L", (8000, 8000)).save(tmp_path / "x.webp", lossless=True)
    with pytest.raises(DataError, match="declares 8000x8000 pixels, far more than its bytes can hold"):
        read(tmp_path / "x.webp")


def test_what_other_programs_would_run_is_not_opened(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "x.eps")
    (tmp_path / "x.eps").rename(tmp_path / "x.png")
    with pytest.raises(DataError, match="is not an image"):
        read(tmp_path / "x.png")


def test_compressions_are_decoded_or_the_package_is_named(tmp_path, levels):
    """Without imagecodecs: what Pillow decodes exactly is read, the rest names the extra."""
    deep = levels.astype(np.uint16) * 16
    Image.fromarray(deep).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    Image.fromarray(levels > 99).save(tmp_path / "fax.tif", compression="group4")
    Image.fromarray(255 - levels).save(tmp_path / "white.tif", compression="tiff_lzw", tiffinfo={262: 0})
    tifffile.imwrite(tmp_path / "colour.tif", np.dstack([deep] * 3), compression="lzw", photometric="rgb")
    script = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "from deepssim.images.rasters import read_raster\n"
        "for name in sys.argv[1:]:\n"
        "    try: print(*[frame.pixels.sum() for frame in read_raster(name, percentiles=(0, 100)).frames])\n"
        "    except Exception as error: print(error)\n"
    )
    paths = [str(tmp_path / f"{name}.tif") for name in ("lzw", "fax", "white", "colour")]
    printed = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=True).stdout
    lines = printed.splitlines()
    expected = [(deep / deep.max()).sum(), (levels > 99).sum(), read_one(tmp_path / "white.tif").sum()]
    np.testing.assert_allclose([float(line) for line in lines[:3]], expected, rtol=1e-5)
    assert (
        "compressed as LZW, which needs another package; install it with `pip install 'deepssim[codecs]'`" in lines[3]
    )
