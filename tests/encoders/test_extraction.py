import logging

import numpy as np
import pytest
import torch
from torch import nn

from deepssim.config.choices import Precision
from deepssim.encoders import extraction
from deepssim.encoders.extraction import extract
from deepssim.errors import DataError
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
