from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from deepssim.choices import Device, Recipe
from deepssim.config import AugmentationConfig, EncoderConfig
from deepssim.encoders.deepssim import DeepSSIM, PairImages, embed, load_encoder, save_encoder, train_deepssim
from deepssim.errors import ConfigError, DataError
from deepssim.images.packs import ImagePack
from deepssim.similarity.embedding_scores import EmbeddingComparison
from deepssim.similarity.ssim import SsimComparison
from deepssim.similarity.tiles import all_scores

TINY = EncoderConfig(
    depths=(1, 1, 1, 1), widths=(8, 8, 16, 16), patch_size=2, hidden_features=16, embedding_features=8, epochs=25,
    batch_size=8, learning_rate=3e-3, validate_every=5, dropout=0.0, recipe=Recipe.PAPER,
    augmentation=AugmentationConfig(flip_probability=0.5),
)  # fmt: skip


@pytest.fixture
def pairs(packs):
    """Images that are either light blobs or fine stripes; equal kinds score 0.9, others 0.1."""
    real, synthetic = packs
    rows, columns = np.mgrid[:16, :24]
    kinds = [np.hypot(rows - 8, columns - 12) * 12, (columns % 2) * 200 + rows]

    def draw(pack):
        return ImagePack(
            np.stack([(kinds[n % 2] + pack.images[n] % 20).astype(np.uint8) for n in range(len(pack.keys))]), pack.keys
        )

    real, synthetic = draw(real), draw(synthetic)
    table = pd.DataFrame(
        [(r, s, 0.9 if i % 2 == j % 2 else 0.1) for i, r in enumerate(real.keys) for j, s in enumerate(synthetic.keys)],
        columns=["real_key", "synth_key", "ssim"],
    )
    return table, real, synthetic


def test_the_head_is_that_of_the_paper():
    network = DeepSSIM(EncoderConfig()).eval()
    assert [type(layer).__name__ for layer in network.head] == ["BatchNorm1d", "Linear", "GELU", "Dropout", "Linear"]
    assert (network.head[1].out_features, network.head[4].out_features) == (512, 256)
    with torch.inference_mode():
        image = torch.rand(1, 1, 64, 48)
        assert network(image).shape == (1, 256)
        torch.testing.assert_close(network(0.3 * image + 0.2), network(image), atol=1e-3, rtol=1e-3)  # z-scored


def test_training_predicts_the_scores_and_sees_through_flips(tmp_path, pairs):
    table, real, synthetic = pairs
    data = PairImages(table, real, synthetic)
    network, trained = train_deepssim(data, data, TINY, seed=0, device=Device.CPU, state=tmp_path / "state")
    assert trained.history[-1]["valid_loss_absolute_error"] < 0.12
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, network)
    flipped = ImagePack(synthetic.images[:, ::-1, ::-1].copy(), synthetic.keys)
    for pack in (synthetic, flipped):
        scores = all_scores(
            EmbeddingComparison(embed(path, real, device=Device.CPU), embed(path, pack, device=Device.CPU))
        )
        expected = np.where(np.arange(6)[:, None] % 2 == np.arange(12)[None] % 2, 0.9, 0.1)
        assert np.abs(scores - expected).mean() < 0.15


def test_all_pairs_learns_exact_ssim_without_being_told(tmp_path, pairs):
    table, real, synthetic = pairs
    truth = all_scores(SsimComparison(real, synthetic))
    table["ssim"] = truth.ravel()
    data = PairImages(table, real, synthetic)
    options = replace(TINY, recipe=Recipe.ALL_PAIRS)
    trained, _ = train_deepssim(data, data, options, seed=0, device=Device.CPU, state=tmp_path / "state")
    torch.manual_seed(0)
    errors = []
    for network in (DeepSSIM(options).eval(), trained):
        save_encoder(tmp_path / "encoder", network)
        scores = all_scores(
            EmbeddingComparison(*(embed(tmp_path / "encoder", pack, device=Device.CPU) for pack in (real, synthetic)))
        )
        errors.append(np.abs(scores - truth).mean())
    assert errors[1] < 0.15
    assert errors[1] < 0.5 * errors[0]


def test_rare_classes_are_repeated(pairs):
    table, real, synthetic = pairs
    table["ssim"] = [0.9] * 2 + [0.7] * 10 + [0.1] * 60
    balanced = PairImages(table, real, synthetic).balanced()
    values, counts = balanced.tensors[3].unique(return_counts=True)
    np.testing.assert_allclose(values, [0.1, 0.7, 0.9], atol=1e-6)
    assert counts.tolist() == [60, 60, 60]
    assert len(balanced) == 180


def test_lone_images_have_partners_of_their_own(pairs):
    table, real, synthetic = pairs
    lone = real.select(real.keys[4:])
    darker = ImagePack(lone.images // 2, lone.keys)
    data = PairImages(table[:2], real, synthetic, lone=[lone, darker])
    assert len(data) == 6
    np.testing.assert_allclose(255 * data[[5]][1][0, 0], darker.images[1], atol=1e-4)
    np.testing.assert_allclose(255 * data[[5]][0][0, 0], lone.images[1], atol=1e-4)
    first, second, target = data[[1, 2, 3]]
    assert target.isnan().tolist() == [False, True, True]
    np.testing.assert_allclose(255 * second[0, 0], synthetic.images[1], atol=1e-4)
    for row in (1, 2):
        np.testing.assert_allclose(255 * first[row, 0], real.images[3 + row], atol=1e-4)
        assert torch.equal(first[row], second[row])
    target = data.balanced().tensors[3]
    assert target.isnan().sum() == round(1.5 * (~target.isnan()).sum().item())


def test_the_file_rebuilds_the_network(tmp_path, packs):
    torch.manual_seed(1)
    network = DeepSSIM(TINY).eval()
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, network)
    again = load_encoder(path)
    assert again.options == TINY
    assert not again.training
    one, two = (embed(path, packs[0], device=Device.CPU, batch_size=size) for size in (6, 4))
    np.testing.assert_allclose(one.values, two.values, atol=1e-5)
    assert one.keys == packs[0].keys
    first = path.read_bytes()
    save_encoder(path, network)
    assert path.read_bytes() == first  # the checksum identifies the weights


def test_too_small_images_are_refused(tmp_path, pairs):
    data = PairImages(*pairs)
    options = EncoderConfig(patch_size=4)
    with pytest.raises(ConfigError, match="16x24 are too small for the encoder, which needs 32x32"):
        train_deepssim(data, data, options, seed=0, device=Device.CPU, state=tmp_path)


def test_pairs_without_image_are_named(pairs):
    table, real, synthetic = pairs
    table.loc[3, "synth_key"] = "lost___gen-0"
    with pytest.raises(DataError, match="1 keys have no image, first 'lost___gen-0'"):
        PairImages(table, real, synthetic)
