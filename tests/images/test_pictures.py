"""Files of every kind that holds pictures or arrays, each with the picture that was stored in it."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import skimage
import tifffile
import torch
from PIL import Image
from safetensors.torch import save_file

from deepssim.images.files import read_contents
from deepssim.images.frames import Frame
from tests.audit.folders import picture

ALL = (0.0, 100.0)
LEVELS = picture(np.random.default_rng(7), 48)[:, :40].copy()  # not square, so that a transposed picture is noticed
LEVELS[0, :3] = 0, 255, 0  # its full range, which a window then keeps
OTHER = LEVELS[::-1].copy()
UNIT = LEVELS / 255
DEEP = (LEVELS.astype(np.uint16) << 4) + (LEVELS >> 4)  # 12 bits, 0 to 4095
RGB = np.stack([LEVELS] * 3, -1)
SAMPLES = Path(skimage.__file__).parent / "data"
Write = Callable[[Path], object]


def pillow(image: np.ndarray = LEVELS, mode: str | None = None, **options) -> Write:
    def write(path: Path) -> None:
        stored = Image.fromarray(image)
        (stored.convert(mode) if mode else stored).save(path, **options)

    return write


def turned(kind: str, **options) -> Write:
    """Store a picture lying on its side, with the tag that makes viewers show it upright."""

    def write(path: Path) -> None:
        stored = Image.fromarray(np.rot90(LEVELS).copy())
        tags = stored.getexif()
        tags[274] = 6
        stored.save(path, kind, exif=tags, **options)

    return write


def animation(kind: str, **options) -> Write:
    def write(path: Path) -> None:
        first, second = Image.fromarray(LEVELS), Image.fromarray(OTHER)
        first.save(path, kind, save_all=True, append_images=[second], duration=100, **options)

    return write


def png(samples: np.ndarray, colour: int) -> Write:
    """Write a PNG of 16 bits of a kind that Pillow does not write: 2 RGB, 4 grey and alpha, 6 RGBA."""

    def write(path: Path) -> None:
        height, width = samples.shape[:2]
        rows = samples.astype(">u2").reshape(height, -1)
        up = rows.view(np.uint8) - np.vstack([0 * rows[:1].view(np.uint8), rows[:-1].view(np.uint8)])  # filter 2
        content = zlib.compress(b"".join(b"\x02" + row.tobytes() for row in up))
        header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
        parts = [(b"IHDR", header), (b"IDAT", content), (b"IEND", b"")]
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + b"".join(
                struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
                for name, data in parts
            )
        )

    return write


def tiff(image: np.ndarray, **options) -> Write:
    return lambda path: tifffile.imwrite(path, image, **options)


def pyramid(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        file.write(np.tile(LEVELS, (4, 4)), subifds=1, tile=(64, 64), photometric="minisblack")
        file.write(np.tile(LEVELS, (4, 4))[::2, ::2], subfiletype=1, tile=(64, 64), photometric="minisblack")


def saved(content: np.ndarray) -> Write:
    return lambda path: np.save(path, content)


def signed(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / 127.5 - 1


def hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("set/images", data=np.stack([LEVELS, OTHER]), chunks=(1, 48, 40), compression="gzip")
        file["set/labels"] = [0, 1]
        file["names"] = ["a", "b"]


def pages(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        for page in (LEVELS, OTHER[:20], DEEP):
            file.write(page, photometric="minisblack")


TWO = (UNIT, OTHER / 255)
SEE_THROUGH = np.dstack([0 * LEVELS] * 3 + [LEVELS])
ON_BLACK = np.where(np.arange(40) < 20, 0, UNIT)
HALF = np.dstack([*[LEVELS] * 3, np.broadcast_to(np.where(np.arange(40) < 20, 0, 255), LEVELS.shape)]).astype(np.uint8)
WHITE_IS_ZERO = {"photometric": "miniswhite"}
BITS = LEVELS > 127

# Name: how it is written, what it shows, and by how much it may differ.
FILES: dict[str, tuple[Write, tuple[np.ndarray, ...], float]] = {
    "grey.png": (pillow(), (UNIT,), 0),
    "colour.png": (pillow(RGB), (UNIT,), 0),
    "palette.png": (pillow(mode="P"), (UNIT,), 0),
    "one bit.png": (pillow(BITS), (BITS,), 0),
    "grey 16.png": (pillow(DEEP), (DEEP / 4095,), 1e-6),
    "colour of 12 bits in 16.png": (png(np.dstack([DEEP] * 3), 2), (DEEP / 4095,), 1e-6),
    "grey and alpha of 12 bits in 16.png": (png(np.dstack([DEEP, 0 * DEEP + 65535]), 4), (DEEP / 4095,), 1e-6),
    "colour and alpha of 12 bits in 16.png": (png(np.dstack([DEEP] * 3 + [0 * DEEP + 65535]), 6), (DEEP / 4095,), 1e-6),
    "in alpha of 16 bits.png": (png(np.dstack([0 * DEEP, DEEP * 16]), 4), (DEEP / 4095,), 1e-6),
    "in alpha.png": (pillow(SEE_THROUGH), (UNIT,), 0),
    "grey in alpha.png": (pillow(np.dstack([0 * LEVELS + 255, LEVELS])), (UNIT,), 0),
    "constant alpha.png": (pillow(np.dstack([LEVELS, 0 * LEVELS + 9])), (UNIT,), 0),
    "on black.png": (pillow(HALF), (ON_BLACK,), 0),
    "turned.png": (turned("PNG"), (UNIT,), 0),
    "animation.png": (animation("PNG"), TWO, 0),
    "grey.jpg": (pillow(quality=95), (UNIT,), 0.1),
    "turned.jpe": (turned("JPEG", quality=95), (UNIT,), 0.1),
    "cmyk.jfif": (pillow(RGB, "CMYK", format="JPEG", quality=95), (UNIT,), 0.1),
    "two.mpo.jpg": (animation("MPO", quality=95), TWO, 0.1),
    "grey.jp2": (pillow(), (UNIT,), 0),
    "grey 16.j2k": (pillow(DEEP), (DEEP / 4095,), 1e-6),
    "colour.jpx": (pillow(RGB, format="JPEG2000"), (UNIT,), 0),
    "grey.bmp": (pillow(), (UNIT,), 0),
    "colour.dib": (pillow(RGB), (UNIT,), 0),
    "one.gif": (pillow(), (UNIT,), 0),
    "two.gif": (animation("GIF"), TWO, 0),
    "exact.webp": (pillow(RGB, lossless=True), (UNIT,), 0),
    "turned.webp": (turned("WEBP", lossless=True), (UNIT,), 0),
    "animation.webp": (animation("WEBP", lossless=True), TWO, 0),
    "in alpha.webp": (pillow(SEE_THROUGH, lossless=True, exact=True), (UNIT,), 0),
    "colour.avif": (pillow(RGB, quality=95), (UNIT,), 0.1),
    "grey.pgm": (pillow(), (UNIT,), 0),
    "colour.ppm": (pillow(RGB), (UNIT,), 0),
    "one bit.pbm": (pillow(BITS), (BITS,), 0),
    "grey.tga": (pillow(), (UNIT,), 0),
    "really a jpeg.png": (pillow(format="JPEG", quality=95), (UNIT,), 0.1),
    "really a tiff.png": (pillow(format="TIFF"), (UNIT,), 0),
    "really a png.tif": (pillow(format="PNG"), (UNIT,), 0),
    "no extension": (pillow(RGB, format="WEBP", lossless=True), (UNIT,), 0),
    "grey.tif": (tiff(LEVELS), (UNIT,), 0),
    "big.tif": (tiff(LEVELS, bigtiff=True), (UNIT,), 0),
    "big endian.tif": (tiff(DEEP, byteorder=">"), (DEEP / 4095,), 1e-6),
    "white is zero.tif": (tiff(255 - LEVELS, **WHITE_IS_ZERO), (UNIT,), 0),
    "white is zero, 1 bit.tif": (tiff(~BITS, **WHITE_IS_ZERO), (BITS,), 0),
    "white is zero, 12 bits in 16.tif": (tiff(4095 - DEEP, **WHITE_IS_ZERO), (DEEP / 4095,), 1e-6),
    "white is zero, 16 bits.tif": (tiff(65535 - DEEP * 16, **WHITE_IS_ZERO), (DEEP / 4095,), 1e-4),
    "white is zero, floats.tif": (tiff((1 - UNIT).astype(np.float32), **WHITE_IS_ZERO), (UNIT,), 1e-6),
    "float16.tif": (tiff(UNIT.astype(np.float16)), (UNIT,), 1e-3),
    "float32.tif": (tiff(signed(LEVELS)), (UNIT,), 1e-6),
    "float64.tif": (tiff(UNIT * 9e4 - 1e4), (UNIT,), 1e-5),
    "int16.tif": (tiff(DEEP.astype(np.int16)), (DEEP / 4095,), 1e-6),
    "colour, planes apart.tif": (tiff(RGB.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"), (UNIT,), 0),
    "colour of 16 bits.tif": (tiff(np.dstack([DEEP] * 3), photometric="rgb"), (DEEP / 4095,), 1e-6),
    "in alpha.tif": (tiff(SEE_THROUGH, photometric="rgb", extrasamples=["unassalpha"]), (UNIT,), 0),
    "palette.tif": (
        tiff(LEVELS, photometric="palette", colormap=np.stack([np.arange(256, dtype=np.uint16) * 257] * 3)),
        (UNIT,), 0,
    ),
    "cmyk.tif": (tiff(np.dstack([0 * LEVELS] * 3 + [255 - LEVELS]), photometric="separated"), (UNIT,), 0.005),
    "turned.tif": (tiff(np.rot90(LEVELS), extratags=[(274, 3, 1, 6, False)]), (UNIT,), 0),
    "deflate.tif": (tiff(DEEP, compression="zlib", predictor=True), (DEEP / 4095,), 1e-6),
    "lzw.tif": (pillow(DEEP, compression="tiff_lzw"), (DEEP / 4095,), 1e-6),
    "jpeg.tif": (pillow(RGB, compression="jpeg", quality=95), (UNIT,), 0.1),
    "fax.tif": (pillow(BITS, compression="group4"), (BITS,), 0),
    "tiles.tif": (tiff(LEVELS, tile=(16, 16)), (UNIT,), 0),
    "pages.tif": (pages, (UNIT, OTHER[:20] / 255, DEEP / 4095), 1e-6),
    "hyperstack of ImageJ.tif": (tiff(np.stack([LEVELS, OTHER])[None, :, None], imagej=True), TWO, 0),
    "OME.ome.tif": (tiff(np.stack([LEVELS, OTHER])[:, None], metadata={"axes": "TCYX"}), TWO, 0),
    "truncated stack.tif": (tiff(np.stack([LEVELS, OTHER]), metadata={"axes": "ZYX"}, truncate=True), TWO, 0),
    "pyramid.tif": (pyramid, (np.tile(UNIT, (4, 4)),), 0),
    "images.npy": (saved(np.stack([LEVELS, OTHER])), TWO, 0),
    "samples.npy": (saved(signed(np.stack([LEVELS, OTHER]))[:, None]), TWO, 1e-6),
    "colours last.npy": (saved(np.stack([RGB, RGB[::-1]])), TWO, 0),
    "colours first.npy": (saved(np.stack([RGB, RGB[::-1]]).transpose(0, 3, 1, 2) / 255), TWO, 1e-6),
    "one.npy": (saved(LEVELS), (UNIT,), 0),
    "one, with axes.npy": (saved(UNIT[None, None]), (UNIT,), 1e-6),
    "one, in colour.npy": (saved(RGB.transpose(2, 0, 1)), (UNIT,), 0),
    "12 bits.npy": (saved(DEEP), (DEEP / 4095,), 1e-6),
    "columns first.npy": (saved(np.asfortranarray(np.stack([LEVELS, OTHER]))), TWO, 0),
    "truth.npy": (saved(BITS), (BITS,), 0),
    "images.npz": (lambda path: np.savez(path, x=np.stack([LEVELS, OTHER]), y=np.arange(2)), TWO, 0),
    "packed.npz": (lambda path: np.savez_compressed(path, a=LEVELS, b=OTHER, n=np.array("s")), TWO, 0),
    "images.h5": (hdf5, TWO, 0),
    "tensor.pt": (lambda path: torch.save(torch.from_numpy(signed(np.stack([LEVELS, OTHER]))), path), TWO, 1e-6),
    "list.pth": (lambda path: torch.save({"x": [torch.tensor(LEVELS), torch.tensor(OTHER)]}, path), TWO, 0),
    "bfloat16.pt": (lambda path: torch.save(torch.tensor(UNIT).bfloat16(), path), (UNIT,), 4e-3),
    "old.pt": (
        lambda path: torch.save(torch.tensor(LEVELS), path, _use_new_zipfile_serialization=False), (UNIT,), 0,
    ),
    "x.safetensors": (lambda path: save_file({"x": torch.tensor(np.stack([LEVELS, OTHER]))}, path), TWO, 0),
}  # fmt: skip


def usable(path: Path) -> list[Frame]:
    return [frame for frame in read_contents(path, percentiles=ALL).frames if not frame.left_out]


@pytest.mark.parametrize("name", FILES)
def test_every_file_shows_the_picture_that_was_stored(tmp_path, name):
    write, expected, tolerance = FILES[name]
    write(tmp_path / name)
    frames = usable(tmp_path / name)
    assert len({frame.part for frame in frames}) == len(frames) == len(expected)
    for frame, image in zip(frames, expected, strict=True):
        assert frame.pixels.dtype == np.float32
        np.testing.assert_allclose(frame.pixels, image, rtol=0, atol=max(tolerance, 6e-8))


def shipped(*endings: str) -> list[str]:
    return sorted(path.name for path in SAMPLES.iterdir() if path.suffix in endings)


@pytest.mark.parametrize("name", shipped(".png", ".jpg"))
def test_pictures_of_scikit_image_are_read_as_by_pillow(name):
    with Image.open(SAMPLES / name) as stored:
        opaque = stored.mode != "RGBA" or stored.getextrema()[3] == (255, 255)
        expected = np.asarray(stored.convert("L")) / 255
        alpha = 1 if opaque else np.asarray(stored.getchannel("A")) / 255
    (frame,) = usable(SAMPLES / name)
    np.testing.assert_allclose(frame.pixels, expected * alpha, atol=2e-3)  # of which one has 16 bits
    assert np.ptp(frame.pixels) > 0.3


@pytest.mark.parametrize("name", shipped(".tif"))
def test_stacks_of_scikit_image_are_read_as_by_tifffile(name):
    stored = tifffile.imread(SAMPLES / name)
    frames = usable(SAMPLES / name)
    assert len(frames) == len(stored) == 2
    for frame, page in zip(frames, stored, strict=True):
        grey = np.tensordot([0.299, 0.587, 0.114], page, 1) if page.ndim == 3 else page / 255
        np.testing.assert_allclose(frame.pixels, grey, atol=1e-6)


def test_the_animation_of_scikit_image_has_all_its_frames():
    with Image.open(SAMPLES / "no_time_for_that_tiny.gif") as stored:
        count, size = stored.n_frames, stored.size[::-1]
    frames = usable(SAMPLES / "no_time_for_that_tiny.gif")
    assert count == len(frames) > 1
    assert {frame.pixels.shape for frame in frames} == {size}
    assert all(np.ptp(frame.pixels) > 0.5 for frame in frames)


def test_arrays_of_scikit_image_hold_faces_and_a_map():
    faces = np.load(SAMPLES / "lfw_subset.npy")
    frames = usable(SAMPLES / "lfw_subset.npy")
    np.testing.assert_allclose(np.stack([frame.pixels for frame in frames]), faces, atol=1e-6)
    with np.load(SAMPLES / "motorcycle_disp.npz") as stored:
        (depth,) = stored.values()
    (frame,) = usable(SAMPLES / "motorcycle_disp.npz")
    finite = np.isfinite(depth)
    assert not finite.all()
    assert not frame.pixels[~finite].any()
    assert np.corrcoef(frame.pixels[finite], depth[finite])[0, 1] > 0.9
