import logging

import numpy as np
import pytest
import torch
from torch import nn

from deepssim.config.choices import Precision
from deepssim.config.encoders import EncoderConfig
from deepssim.encoders import extraction
from deepssim.encoders.deepssim import DeepSSIM
from deepssim.encoders.extraction import extract
from deepssim.errors import ConfigError, DataError
from deepssim.images.packs import ImagePack, open_pack, write_pack
from deepssim.runtime.devices import computes_bfloat16

CPU = torch.device("cpu")


class AuditTools(nn.Module):
    """Embeds an image as means of its rows, each an entry of known value."""

    def forward(self, images):
        return images.mean(dim=(1, 3))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2), nn.GELU(), nn.Conv2d(16, 8, 3), nn.Flatten(), nn.Linear(360, 12)
    )


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_each_image_has_its_row(packs, batch_size):
    _, pack = packs
    values = extract(AuditTools(), pack, device=CPU, batch_size=batch_size, precision=Precision.FLOAT32)
    np.testing.assert_allclose(values, pack.images.mean(axis=2) / 255, rtol=1e-5)
    assert values.dtype == np.float32


def test_an_open_pack_gives_the_same(packs, tmp_path, network):
    _, pack = packs
    expected = extract(network, pack, device=CPU, batch_size=5, precision=Precision.FLOAT32)
    write_pack(tmp_path / "p.h5", pack)
    with open_pack(tmp_path / "p.h5") as images:
        np.testing.assert_array_equal(
            extract(network, images, device=CPU, batch_size=5, precision=Precision.FLOAT32), expected
        )


class Counting(nn.Module):
    """Embeds an image as its mean and records the sizes of the batches."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, images):
        self.sizes.append(len(images))
        return images.mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"),
    [
        (4, 64, [8]),
        (4, 10**6, [8]),
        (20, 16, [16, 8]),
        (20, 64, [24]),
        (4, 3, [3, 3]),
        (2, 1, [1, 1]),
        (300, 10**6, [256, 48]),
    ],
)
def test_few_images_are_not_filled_up_to_a_whole_batch(random, count, batch_size, sizes):
    network = Counting()
    pack = ImagePack(random.integers(0, 256, (count, 4, 4), np.uint8), [str(number) for number in range(count)])
    values = extract(network, pack, device=CPU, batch_size=batch_size, precision=Precision.FLOAT32)
    assert network.sizes == sizes
    np.testing.assert_allclose(values[:, 0], pack.images.mean(axis=(1, 2)) / 255, rtol=1e-5)


def test_on_a_gpu_every_batch_has_the_same_size():
    assert [extraction._filled_size(count, 256, torch.device("cuda")) for count in (1, 4, 255, 256)] == [256] * 4


def test_an_embedding_depends_neither_on_batch_size_nor_on_the_number_of_images(random):
    torch.manual_seed(0)
    network = DeepSSIM(EncoderConfig(canonicalize=False, ssim_features=False, embedding_features=16))
    pack = ImagePack(random.integers(0, 256, (20, 32, 32), np.uint8), [str(number) for number in range(20)])
    few = pack.select(pack.keys[:3])
    every = extract(network, pack, device=CPU, batch_size=8, precision=Precision.FLOAT32)
    assert np.ptp(every, axis=0).min() > 1e-3
    for batch_size in (1, 4, 8, 32, 1000):
        for chosen in (pack, few):
            found = extract(network, chosen, device=CPU, batch_size=batch_size, precision=Precision.FLOAT32)
            np.testing.assert_allclose(found, every[: len(found)], atol=1e-6)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_needs_an_image(packs, network, batch_size):
    with pytest.raises(ConfigError, match=f"batch_size is {batch_size}; at least one image"):
        extract(network, packs[1], device=CPU, batch_size=batch_size, precision=Precision.FLOAT32)


def cosines(values) -> np.ndarray:
    directions = values / np.linalg.norm(values, axis=1, keepdims=True)
    return directions @ directions.T


def test_bfloat16_is_close_and_not_the_same(packs, network):
    _, pack = packs
    full, half = (
        extract(network, pack, device=CPU, batch_size=4, precision=precision)
        for precision in (Precision.FLOAT32, Precision.BFLOAT16)
    )
    assert 0 < np.abs(cosines(full) - cosines(half)).max() < extraction.MAX_DEVIATION


def test_auto_reports_the_deviation_and_refuses_a_large_one(packs, network, monkeypatch, caplog):
    _, pack = packs
    full = extract(network, pack, device=CPU, batch_size=4, precision=Precision.FLOAT32)
    monkeypatch.setattr(extraction, "computes_bfloat16", lambda device: True)
    monkeypatch.setattr(logging.getLogger("deepssim"), "propagate", True)
    with caplog.at_level(logging.INFO, "deepssim"):
        values = extract(network, pack, device=CPU, batch_size=4)
        assert "bfloat16 changes the cosines of 12 images by at most 0.00" in caplog.text
    assert (values != full).any()
    monkeypatch.setattr(extraction, "MAX_DEVIATION", 0)
    with pytest.raises(DataError, match="more than 0; set evaluation.embedding_precision to float32"):
        extract(network, pack, device=CPU, batch_size=4)


def test_a_processor_without_bfloat16_is_not_asked_for_it(packs, network, monkeypatch):
    _, pack = packs
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert not computes_bfloat16(CPU)
    full, auto = (
        extract(network, pack, device=CPU, batch_size=4, precision=precision)
        for precision in (Precision.FLOAT32, Precision.AUTO)
    )
    np.testing.assert_array_equal(full, auto)


def test_an_embedding_that_is_not_finite_is_named():
    class Broken(nn.Module):
        def forward(self, images):
            return 1 / images.mean(dim=(2, 3))

    pack = ImagePack(np.array([[[5]], [[0]]], np.uint8), ["good", "black"])
    with pytest.raises(DataError, match="1 of 2 embeddings are not finite, first that of 'black'"):
        extract(Broken(), pack, device=CPU, batch_size=2, precision=Precision.FLOAT32)


class Scarce(AuditTools):
    """Has memory for a few images at a time, as a GPU that is nearly full."""

    def __init__(self, most):
        super().__init__()
        self.most, self.sizes = most, []

    def forward(self, images):
        self.sizes.append(len(images))
        if len(images) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().forward(images)


def test_short_memory_halves_the_batch_and_says_so(packs, caplog):
    _, pack = packs
    network = Scarce(5)
    with caplog.at_level(logging.WARNING, logger="deepssim"):
        found = extract(network, pack, device=CPU, batch_size=32, precision=Precision.FLOAT32)
    np.testing.assert_array_equal(
        found, extract(AuditTools(), pack, device=CPU, batch_size=4, precision=Precision.FLOAT32)
    )
    assert max(network.sizes[-(len(pack.keys) // 4) :]) == 4  # all images in batches of one size
    assert "out of GPU memory while embedding; repeating it with batches of 4" in caplog.text


@pytest.mark.parametrize(("most", "statistics"), [(0, False), (5, True)])
def test_memory_for_no_image_is_an_error_and_statistics_stay_those_of_the_batch(packs, most, statistics):
    with pytest.raises(torch.cuda.OutOfMemoryError):
        extract(
            Scarce(most), packs[1], device=CPU, batch_size=8, precision=Precision.FLOAT32, batch_statistics=statistics
        )


def test_float32_is_not_rounded_to_tf32_on_a_gpu(packs, monkeypatch):
    """cuDNN's own default rounds; here the setting is read, since no GPU computes."""
    seen = []
    monkeypatch.setattr(AuditTools, "forward", lambda self, images: (
        seen.append(torch.backends.cudnn.allow_tf32), images.mean(dim=(1, 3))
    )[1])  # fmt: skip
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    extract(AuditTools(), packs[1], device=CPU, batch_size=8, precision=Precision.FLOAT32)
    assert not any(seen)
    assert torch.backends.cudnn.allow_tf32
