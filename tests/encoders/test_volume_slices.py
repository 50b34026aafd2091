"""Volumes for an encoder of images: pooled embeddings, and slices to learn from."""

import numpy as np
import pandas as pd
import pytest
import torch

from deepssim.config.choices import Device, MetricName, Precision
from deepssim.config.encoders import EncoderConfig
from deepssim.encoders.deepssim import DeepSSIM, save_encoder
from deepssim.encoders.volume_slices import SLICES, embed_volumes, pairs_of_slices, places, slices_to_learn
from deepssim.errors import ConfigError, DataError
from deepssim.images.packs import ImagePack
from deepssim.metrics import METRICS, require_comparable
from deepssim.similarity.embeddings import Embeddings
from deepssim.similarity.ssim import ssim_of_arrays
from deepssim.similarity.tiles import all_scores

ENCODER = EncoderConfig(
    patch_size=1, widths=(8, 8, 8, 8), depths=(1, 1, 1, 1), hidden_features=8, embedding_features=128
)


@pytest.fixture
def volumes(random) -> ImagePack:
    images = random.integers(1, 256, (3, 12, 16, 14), dtype=np.uint8)
    return ImagePack(images, [f"{name}___training" for name in "abc"])


def by_pixels(pack: ImagePack) -> Embeddings:
    """Embed slices as their first 150 pixels, which is quick and tells them apart."""
    return Embeddings(pack.images.reshape(len(pack.keys), -1)[:, :150].astype(np.float32), pack.keys, "pixels", "0")


def test_places_are_those_of_every_volume_and_inside_it():
    assert places(32).tolist() == [6, 9, 12, 14, 17, 19, 22, 25]
    assert len(places(100)) == SLICES
    assert 0 < places(8).min() <= places(8).max() < 8
    assert len(places(8)) == len(set(places(8).tolist()))


def test_a_flip_takes_the_same_slices_in_the_other_order(volumes):
    for side in range(8, 200):
        np.testing.assert_array_equal(places(side), side - 1 - places(side)[::-1])
    flipped = ImagePack(np.ascontiguousarray(volumes.images[:, ::-1]), volumes.keys)
    axial = slice(0, 150 * len(places(12)))
    one, other = (embed_volumes(pack, by_pixels).values[:, axial].reshape(3, -1, 150) for pack in (volumes, flipped))
    np.testing.assert_array_equal(one, other[:, ::-1])


def test_the_cosine_of_volumes_is_the_mean_of_the_cosines_of_their_slices(volumes):
    found = embed_volumes(volumes, by_pixels)
    assert found.keys == volumes.keys
    units = found.values / np.linalg.norm(found.values, axis=1, keepdims=True)
    expected = []
    for axis in range(3):
        for place in places(volumes.images.shape[1 + axis]):
            first, second = (np.take(volumes.images[row], place, axis).ravel()[:150].astype(float) for row in (0, 1))
            expected.append(first @ second / np.linalg.norm(first) / np.linalg.norm(second))
    assert units[0] @ units[1] == pytest.approx(np.mean(expected), abs=1e-6)


def test_a_volume_is_embedded_alike_in_any_pack(volumes, random):
    many = ImagePack(random.integers(0, 256, (70, 8, 9, 10), dtype=np.uint8), [str(row) for row in range(70)])
    np.testing.assert_array_equal(
        embed_volumes(many, by_pixels).values[69:], embed_volumes(many.select(["69"]), by_pixels).values
    )


def test_empty_slices_are_refused(volumes):
    empty = ImagePack(volumes.images * 0, volumes.keys)
    with pytest.raises(
        DataError, match="24 of 24 slices are all zero, first of 'a___training 1 0'|slices are all zero"
    ):
        embed_volumes(empty, by_pixels)


def test_the_metric_embeds_volumes_by_an_encoder_of_images(tmp_path, volumes):
    torch.manual_seed(0)
    save_encoder(tmp_path / "x.safetensors", DeepSSIM(ENCODER))
    metric = METRICS[MetricName.DEEPSSIM]
    found = metric.embed(str(tmp_path / "x.safetensors"), volumes, Device.CPU, 64, Precision.FLOAT32, ())
    slices = sum(len(places(side)) for side in volumes.images.shape[1:])
    assert found.values.shape == (3, slices * ENCODER.embedding_features)
    scores = all_scores(metric.compare(found, found, 1, Device.CPU))
    np.testing.assert_allclose(np.diag(scores), 1, atol=1e-5)
    assert scores[0, 1] < 0.9


@pytest.mark.parametrize("name", [MetricName.CHEN, MetricName.DAR, MetricName.SEMDEDUP, MetricName.FSIM])
def test_metrics_of_images_refuse_volumes(name):
    require_comparable(name, 2)
    with pytest.raises(ConfigError, match=f"{name.value} compares images only, .* by deepssim and ssim"):
        require_comparable(name, 3)


def test_slices_to_learn_from(volumes):
    images = volumes.images.copy()
    images[1, places(12)[0]] = 7
    pack = ImagePack(images, volumes.keys)
    slices = slices_to_learn(pack)
    count = len(places(12))
    assert len(slices.keys) == 3 * count - 1  # one is constant
    assert slices.keys[0] == f"a_slice-{places(12)[0]:03d}___training"
    np.testing.assert_array_equal(slices.images[0], images[0, places(12)[0]])
    flat = ImagePack(images[:, 4], volumes.keys)
    assert slices_to_learn(flat) is flat


def test_pairs_of_slices_have_the_ssim_of_the_slices(volumes):
    synthetic = ImagePack(
        np.clip(volumes.images // 2 + 20, 0, 255).astype(np.uint8), ["a___gen-0", "b___gen-1", "c___gen-0"]
    )
    pairs = pd.DataFrame(
        {"real_key": ["b___training", "a___training"], "synth_key": ["b___gen-1", "c___gen-0"], "ssim": [0.0, 0.0]}
    )
    table = pairs_of_slices(pairs, volumes, synthetic)
    assert len(table) == 2 * len(places(12))
    place = places(12)[1]
    assert tuple(table.iloc[1][["real_key", "synth_key"]]) == (
        f"b_slice-{place:03d}___training",
        f"b_slice-{place:03d}___gen-1",
    )
    expected = ssim_of_arrays(volumes.images[1:2, place], synthetic.images[1:2, place])[0, 0]
    assert table["ssim"][1] == pytest.approx(expected, abs=1e-6)
    flat = ImagePack(volumes.images[:, 4], volumes.keys)
    assert pairs_of_slices(pairs, flat, flat) is pairs
    assert pairs_of_slices(pairs.iloc[:0], volumes, synthetic).empty
