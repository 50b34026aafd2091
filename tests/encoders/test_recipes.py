import re

import numpy as np
import pandas as pd
import pytest
import torch

from deepssim.config.choices import Device, Distortion, Precision, Recipe
from deepssim.config.distortions import DistortionConfig
from deepssim.config.encoders import EncoderConfig
from deepssim.encoders.deepssim import DeepSSIM, embed, save_encoder
from deepssim.encoders.families import Families
from deepssim.encoders.recipes import DeepSSIMTraining, PairImages, train_deepssim, train_on_images
from deepssim.errors import ConfigError, DataError
from deepssim.images.augment import misalign_pack
from deepssim.images.keys import real_key
from deepssim.images.packs import ImagePack
from deepssim.similarity.embedding_scores import EmbeddingComparison
from deepssim.similarity.ssim import SsimComparison
from deepssim.similarity.tiles import all_scores

TINY = EncoderConfig(
    depths=(1, 1, 1, 1), widths=(8, 8, 16, 16), patch_size=2, hidden_features=16, embedding_features=16, epochs=25,
    passes=1, batch_size=8, learning_rate=3e-3, validate_every=5, recipe=Recipe.PAPER, canonicalize=False,
    ssim_features=False, augmentation=(DistortionConfig(kind=Distortion.FLIP, probability=0.5),),
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


def scores_of(tmp_path, network, real, synthetic):
    save_encoder(tmp_path / "encoder", network)
    return all_scores(
        EmbeddingComparison(*(embed(tmp_path / "encoder", pack, device=Device.CPU) for pack in (real, synthetic)))
    )


def test_the_paper_recipe_predicts_the_scores_and_sees_through_flips(tmp_path, pairs):
    table, real, synthetic = pairs
    data = PairImages(table, real, synthetic)
    network, trained = train_deepssim(data, data, TINY, seed=0, device=Device.CPU, state=tmp_path / "state")
    assert trained.history[-1]["valid_loss_absolute_error"] < 0.12
    flipped = ImagePack(synthetic.images[:, ::-1, ::-1].copy(), synthetic.keys)
    for pack in (synthetic, flipped):
        expected = np.where(np.arange(6)[:, None] % 2 == np.arange(12)[None] % 2, 0.9, 0.1)
        assert np.abs(scores_of(tmp_path, network, real, pack) - expected).mean() < 0.15


def shapes(count, random, first=0):
    """Smooth random images of 32x32 pixels."""
    coarse = torch.from_numpy(random.random((count, 1, 6, 6)).astype(np.float32))
    images = torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bicubic").clamp(0, 1)
    return ImagePack((images[:, 0].numpy() * 255).astype(np.uint8), [real_key(f"r{first + n}") for n in range(count)])


def test_all_pairs_learns_exact_ssim_from_images_alone(tmp_path, random):
    train, valid = shapes(24, random), shapes(12, random, 24)
    options = TINY.with_changes(recipe=Recipe.ALL_PAIRS, epochs=4, passes=10, batch_size=24, validate_every=1, widths=(16, 16, 24, 32),
    )  # fmt: skip
    network, trained = train_on_images(train, valid, options, seed=0, device=Device.CPU, state=tmp_path / "state")
    noisy = np.clip(valid.images + random.normal(0, 8, valid.images.shape), 0, 255).astype(np.uint8)
    synthetic = ImagePack(noisy, valid.keys)
    truth = all_scores(SsimComparison(valid, synthetic))
    torch.manual_seed(0)
    before = np.abs(scores_of(tmp_path, DeepSSIM(options).eval(), valid, synthetic) - truth).mean()
    after = np.abs(scores_of(tmp_path, network, valid, synthetic) - truth).mean()
    assert after < 0.6 * before
    losses = [row["valid_loss_absolute_error"] for row in trained.history]
    assert losses[-1] < 0.25


def test_training_adds_a_sense_of_pose_to_what_is_near_ssim_untrained(tmp_path, random):
    """Copies keep their score when they are misaligned, and what is near SSIM without training does not get worse."""
    train, valid = shapes(24, random), shapes(12, random, 24)
    options = TINY.with_changes(
        recipe=Recipe.ALL_PAIRS, epochs=2, passes=10, batch_size=24, validate_every=2, widths=(16, 16, 24, 32),
        canonicalize=True, ssim_features=True, embedding_features=256, augmentation=EncoderConfig().augmentation,
    )  # fmt: skip
    trained, _ = train_on_images(train, valid, options, seed=0, device=Device.CPU, state=tmp_path / "state")
    torch.manual_seed(0)
    untrained = DeepSSIM(options).eval()
    noisy = np.clip(valid.images + random.normal(0, 8, valid.images.shape), 0, 255).astype(np.uint8)
    aligned = ImagePack(noisy, valid.keys)
    truth = all_scores(SsimComparison(valid, aligned))
    errors, lost = [], []
    for network in (trained, untrained):
        save_encoder(tmp_path / "encoder", network)
        real, *copies = (
            embed(tmp_path / "encoder", pack, device=Device.CPU)
            for pack in (valid, aligned, misalign_pack(aligned, options.augmentation, 1))
        )
        scores, misaligned = (all_scores(EmbeddingComparison(real, copy)) for copy in copies)
        errors.append(np.abs(scores - truth).mean())
        lost.append((scores - misaligned).diagonal().mean())
    assert errors[0] < 0.12  # where a sketch of 256 numbers is off by 0.06 or so
    assert errors[0] < 1.2 * errors[1]
    assert lost[1] > 0.03
    assert lost[0] < 0.4 * lost[1]


def test_embeddings_too_short_for_ssim_are_named(tmp_path, random, caplog):
    options = TINY.with_changes(recipe=Recipe.ALL_PAIRS, epochs=1, validate_every=1, ssim_features=True)
    train_on_images(shapes(6, random), shapes(4, random, 6), options, seed=0, device=Device.CPU, state=tmp_path)
    assert re.search(r"length 16 .*\b0\.25\b", caplog.text)


def test_half_precision_trains_too(tmp_path, random):
    """Poses and distortions stay in float32, where a rotation would miss by pixels otherwise."""
    options = TINY.with_changes(recipe=Recipe.ALL_PAIRS, epochs=1, validate_every=1, canonicalize=True, ssim_features=True,
        precision=Precision.BFLOAT16, augmentation=EncoderConfig().augmentation,
    )  # fmt: skip
    _, trained = train_on_images(
        shapes(6, random), shapes(4, random, 6), options, seed=0, device=Device.CPU, state=tmp_path / "state"
    )
    assert np.isfinite(trained.history[0]["valid_loss"])


def test_what_is_asked_later_counts_most(random):
    """Pairs of two copies count less than pairs with a real image, and close pairs more than strangers."""
    torch.manual_seed(0)
    module = DeepSSIMTraining(TINY.with_changes(recipe=Recipe.ALL_PAIRS), Families(shapes(8, random)))
    seen = {}
    module._log = lambda cosines, ssim, name, weights, added: seen.update(ssim=ssim, weights=weights) or cosines.sum()
    module.log = lambda *args, **kwargs: None
    module.training_step((torch.arange(4),), 0)
    weights, ssim = seen["weights"], seen["ssim"]
    assert (weights.diagonal() == 0).all()
    assert weights[0, 8] == pytest.approx(1 + 3 * min(1, max(0, (float(ssim[0, 8]) - 0.4) / 0.4)), rel=1e-5)
    assert weights[1, 9] == pytest.approx(0.15 * (1 + 3 * min(1, max(0, (float(ssim[1, 9]) - 0.4) / 0.4))), rel=1e-5)


def test_too_small_images_are_refused(tmp_path, pairs):
    data = PairImages(*pairs)
    with pytest.raises(ConfigError, match="16x24 are too small for the encoder, which needs 32x32"):
        train_deepssim(data, data, TINY.with_changes(patch_size=4), seed=0, device=Device.CPU, state=tmp_path)


def test_pairs_without_image_are_named(pairs):
    table, real, synthetic = pairs
    table.loc[3, "synth_key"] = "lost___gen-0"
    with pytest.raises(DataError, match="1 keys have no image, first 'lost___gen-0'"):
        PairImages(table, real, synthetic)
