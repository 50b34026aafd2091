"""Every reader of files, each with a valid small file to start from, and ways to spoil it.

A reader must give something or raise the project's own error: no other exception, no hang, no memory without bound.
"""

import faulthandler
import json
import signal
import struct
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import tifffile
import torch
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from deepssim.config.choices import MetricName
from deepssim.config.evaluation import SimilarityConfig
from deepssim.config.generative import VaeConfig
from deepssim.config.settings import load_config
from deepssim.datasets.tables import read_images
from deepssim.errors import DeepssimError
from deepssim.evaluation.summary import read_evaluation
from deepssim.generative.autoencoder import build_autoencoder, load_autoencoder, save_autoencoder
from deepssim.generative.latents import Latents, read_latents, write_latents
from deepssim.ground_truth.tables import read_test_set
from deepssim.images.files import read_file
from deepssim.images.packs import ImagePack, read_pack, write_pack
from deepssim.metrics import METRICS
from deepssim.reference.npz import read_index, read_matrix
from deepssim.runtime.npz import read_npz
from deepssim.runtime.weights import read_state_dict
from deepssim.similarity.embeddings import Embeddings, read_embeddings, write_embeddings
from deepssim.similarity.matrices import read_scores, write_dense, write_top
from deepssim.training.driver import read_checkpoint
from tests.conftest import ROOT
from tests.fuzz.scans import PERCENTILES, SCANS, Reader, random_pixels

SECONDS = 20  # for one input; a hang is anything beyond


_VAE = VaeConfig(channels=(4, 4), norm_groups=2, latent_channels=2)


def _image(kind: str, **options) -> Reader:
    dtype = options.pop("dtype", np.uint8)
    return Reader(
        f".{kind.lower()}",
        lambda path: Image.fromarray(random_pixels(np.uint16 if dtype is np.float32 else dtype).astype(dtype)).save(
            path, kind, **options
        ),
        lambda path: read_file(path, percentiles=PERCENTILES),
    )


def _by_tifffile(stack: int = 0, **options) -> Reader:
    pixels = np.stack([random_pixels(np.uint16)] * stack) if stack else random_pixels(np.uint16)
    return Reader(".tif", lambda path: tifffile.imwrite(path, pixels, **options), _read)


def _read(path: Path) -> object:
    return read_file(path, percentiles=PERCENTILES)


def _write_datasets(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("set/images", data=_ARRAY, chunks=(1, 16, 12), compression="gzip")
        file["set/labels"] = [0, 1, 2]


def _packs() -> tuple[ImagePack, ImagePack]:
    images = np.random.default_rng(0).integers(0, 256, (10, 16, 12), dtype=np.uint8)
    keys = [f"r{row}___training" for row in range(4)], [f"r{row % 4}___gen-{row}" for row in range(6)]
    return ImagePack(images[:4], keys[0]), ImagePack(images[4:], keys[1])


def _scores(path: Path, top: bool) -> None:
    real, synthetic = _packs()
    comparison = METRICS[MetricName.SSIM].compare(real, synthetic, 1, "cpu")
    if top:
        write_top(
            path, comparison, real.keys, synthetic.keys, "ssim", train_keys=real.keys, labelled=([], []),
            options=SimilarityConfig(top_k=2), seed=0,
        )  # fmt: skip
    else:
        write_dense(path, comparison, real.keys, synthetic.keys, "ssim", max_memory_gb=1)


def _state(legacy: bool) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        content = {"state_dict": {"a.weight": torch.ones(3, 2), "b": torch.zeros(4)}}
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)

    return make


def _text(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content, encoding="utf-8")


_ARRAY = np.stack([random_pixels(), random_pixels()[::-1], random_pixels()]).astype(np.float32)
_VALUES = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
_FIGURES = {"macro_f1": 0.5, "metric": "ssim", "per_class": {"different": {"f1": 1.0}}, "pairs": 3}
READERS = SCANS | {
    "png": _image("PNG"),
    "png of 16 bits": _image("PNG", dtype=np.uint16),
    "jpeg": _image("JPEG"),
    "tiff": _image("TIFF", compression="tiff_lzw", dtype=np.uint16),
    "tiff of floats": _image("TIFF", dtype=np.float32),
    "tiff of pages": _image("TIFF", save_all=True, append_images=[Image.fromarray(random_pixels())]),
    "tiff, packed": _by_tifffile(compression="zlib", predictor=True),
    "tiff of tiles": _by_tifffile(tile=(16, 16), bigtiff=True),
    "tiff of imagej": _by_tifffile(imagej=True, stack=3),
    "tiff of white zero": _by_tifffile(photometric="miniswhite"),
    "bmp": _image("BMP"),
    "animated png": _image("PNG", save_all=True, append_images=[Image.fromarray(random_pixels()[::-1])]),
    "gif": _image("GIF", save_all=True, append_images=[Image.fromarray(random_pixels()[::-1])]),
    "webp": _image("WEBP", save_all=True, append_images=[Image.fromarray(random_pixels()[::-1])]),
    "jpeg 2000": Reader(".jp2", lambda path: Image.fromarray(random_pixels()).save(path, "JPEG2000"), _read),
    "avif": _image("AVIF"),
    "pgm": Reader(".pgm", lambda path: Image.fromarray(random_pixels()).save(path, "PPM"), _read),
    "tga": _image("TGA"),
    "array": Reader(".npy", lambda path: np.save(path, _ARRAY), _read),
    "arrays": Reader(".npz", lambda path: np.savez(path, images=_ARRAY, labels=np.arange(3)), _read),
    "arrays, packed": Reader(".npz", lambda path: np.savez_compressed(path, images=_ARRAY), _read),
    "tensors": Reader(".pt", lambda path: torch.save({"images": [torch.tensor(_ARRAY)]}, path), _read),
    "old tensors": Reader(
        ".pt", lambda path: torch.save(torch.tensor(_ARRAY), path, _use_new_zipfile_serialization=False), _read
    ),
    "safe tensors": Reader(".safetensors", lambda path: save_file({"images": torch.tensor(_ARRAY)}, path), _read),
    "datasets": Reader(".h5", _write_datasets, _read),
    "test set": Reader(
        ".csv", _text("real_key,synth_key,ssim,label\na___training,a___gen-0,0.5,0\nb___training,a___gen-1,0.9,1\n"),
        read_test_set,
    ),
    "image table": Reader(
        ".csv", _text("key,path,role,subject,split\na___training,a.png,real,007,train\nb___training,,real,8,valid\n"),
        read_images,
    ),
    "image pack": Reader(".h5", lambda path: write_pack(path, _packs()[0]), read_pack),
    "embeddings": Reader(
        ".h5", lambda path: write_embeddings(path, Embeddings(_VALUES, [f"k{row}" for row in range(6)], "x", "y")),
        read_embeddings,
    ),
    "latents": Reader(
        ".h5", lambda path: write_latents(path, Latents(_VALUES.reshape(3, 2, 2, 2), ["a", "b", "c"], 0.5)),
        read_latents,
    ),
    "scores": Reader(".h5", lambda path: _scores(path, False), lambda path: read_scores(path).pair_scores([], [])),
    "top-k lists": Reader(".h5", lambda path: _scores(path, True), lambda path: read_scores(path).pair_scores([], [])),
    "npz": Reader(
        ".npz", lambda path: np.savez_compressed(path, data=_VALUES), lambda path: read_npz(path, "data", max_bytes=10**6)
    ),
    "matrix of the reference": Reader(
        ".npz", lambda path: np.savez(path, data=_VALUES.astype(np.float16)),
        lambda path: read_matrix(path, [f"r{row}" for row in range(6)], ["a", "b", "c", "d"], "ssim"),
    ),
    "index of the reference": Reader(".npz", lambda path: np.savez(path, data=np.array(["a___training"])), read_index),
    "state dict": Reader(".pth", _state(False), read_state_dict),
    "old state dict": Reader(".pth", _state(True), read_state_dict),
    "checkpoint": Reader(".ckpt", _state(False), read_checkpoint),
    "autoencoder": Reader(
        ".safetensors", lambda path: save_autoencoder(path, build_autoencoder(_VAE), _VAE), load_autoencoder
    ),
    "config": Reader(".yaml", _text((ROOT / "config" / "config.yaml").read_text()), load_config),
    "figures": Reader(".json", _text(json.dumps(_FIGURES)), read_evaluation),
}  # fmt: skip

# Numbers at which lengths, offsets and signs go wrong.
_EDGES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1]
_TEXTS = [
    b"nan",
    b"inf",
    b"-1",
    b"1e999",
    b'"',
    b"\n",
    b",",
    b"\0",
    b"../../x",
    b"&a [*a]",
    b"[" * 200,
    b"!!python/object:os.system",
]


@st.composite
def spoiled(draw, content: bytes) -> bytes:
    """Spoil a file: change, cut out, repeat, move or insert parts, or cut its end off."""
    for _ in range(draw(st.integers(1, 4))):
        place, length = draw(st.integers(0, max(0, len(content) - 1))), draw(st.integers(1, 64))
        before, part, after = content[:place], content[place : place + length], content[place + length :]
        how = draw(st.integers(0, 7))
        if how == 0:
            content = before + draw(st.binary(min_size=1, max_size=8)) + content[place + 1 :]
        elif how == 1:
            code = draw(st.sampled_from("<>")) + draw(st.sampled_from("BHIQ"))
            size = struct.calcsize(code)
            value = struct.pack(code, draw(st.sampled_from(_EDGES)) % 256**size)
            content = before + value + content[place + size :]
        elif how == 2:
            content = (
                before + bytes([content[place] ^ 1 << draw(st.integers(0, 7))]) + content[place + 1 :]
                if content
                else b""
            )
        elif how == 3:
            content = before + after
        elif how == 4:
            content = before + part * draw(st.integers(2, 20)) + after
        elif how == 5:
            content = before
        elif how == 6:
            content = before + draw(st.sampled_from(_TEXTS)) + content[place:]
        else:
            other = draw(st.integers(0, len(content)))
            content = content[:other] + part + content[other:]
    return content


class Hang(BaseException):
    """No end in time; no `except Exception` of a reader catches it."""


@contextmanager
def limited(seconds: int):
    """Raise `Hang` in the block after so many seconds of processor time, which other work on the machine does not shorten.

    The process ends if it is in a library then, which sees no signal, or after six times as long by the clock.
    """

    def stop(number, frame):
        raise Hang(f"no end after {seconds} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    faulthandler.dump_traceback_later(6 * seconds, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGPROF, before)


def valid(reader: Reader) -> bytes:
    """Return a valid file of a reader, after reading it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"valid{reader.suffix}")
        reader.make(path)
        reader.read(path)
        return path.read_bytes()


def attempt(reader: Reader, path: Path, content: bytes) -> bool:
    """Read spoiled content; return whether it was refused. Anything but the project's own error gets through."""
    path.write_bytes(content)
    try:
        with limited(SECONDS):
            reader.read(path)
    except DeepssimError as error:
        sentence = str(error)
    else:
        return False
    assert 0 < len(sentence) < 2000
    return True
