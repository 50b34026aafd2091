"""Eight shards give what one gives: the same images, embeddings and scores, bit for bit."""

import h5py
import numpy as np
import pytest
import yaml

from deepssim import stages
from deepssim.config.choices import MetricName
from deepssim.config.settings import parse_config
from deepssim.errors import ConfigError
from deepssim.images.packs import join_packs, read_pack
from deepssim.similarity.embeddings import read_embeddings
from tests.workflow.conftest import TINY

SHARDS = 8


def config_of(shards):
    return parse_config(yaml.safe_load(TINY.read_text()) | {"shards": shards})


def generate(results, pack, shards, shard):
    stages.generate(
        train_used=str(results / "ldm" / "train_used.csv"), latents=str(results / "vae" / "latents.h5"),
        autoencoder=str(results / "vae" / "autoencoder.safetensors"), unet=str(results / "ldm" / "unet.safetensors"),
        pack=str(pack), config=config_of(shards), shard=shard,
    )  # fmt: skip


def scores_of(path):
    with h5py.File(path) as file:
        return file["scores"][:], file["real_keys"].asstr()[:].tolist(), file["synth_keys"].asstr()[:].tolist()


def assert_same_scores(path, other):
    for one, two in zip(scores_of(path), scores_of(other), strict=True):
        np.testing.assert_array_equal(one, two)


def test_eight_shards_equal_one(results, tmp_path):
    real, encoder = results / "dataset" / "real.h5", results / "encoders" / "deepssim.safetensors"
    inputs = {"train_used": str(results / "ldm" / "train_used.csv"), "config": config_of(SHARDS)}
    packs = [tmp_path / f"{shard:03d}.h5" for shard in range(SHARDS)]
    parts = {metric: [tmp_path / f"{metric}-{shard}.h5" for shard in range(SHARDS)] for metric in MetricName}
    embeddings = [tmp_path / f"embeddings-{shard}.h5" for shard in range(SHARDS)]
    of_real = results / "embeddings" / "deepssim" / "real.h5"
    for shard, pack in enumerate(packs):
        generate(results, pack, SHARDS, shard)
        stages.embed(
            weights=str(encoder), pack=str(pack), embeddings=str(embeddings[shard]), metric=MetricName.DEEPSSIM,
            config=config_of(SHARDS),
        )  # fmt: skip
        stages.score_images(
            real=str(real), synthetic=str(pack), matrix=str(parts[MetricName.SSIM][shard]), metric=MetricName.SSIM,
            shard=shard, **inputs,
        )  # fmt: skip
        stages.score_embeddings(
            real=str(of_real), synthetic=str(embeddings[shard]), matrix=str(parts[MetricName.DEEPSSIM][shard]),
            metric=MetricName.DEEPSSIM, shard=shard, **inputs,
        )  # fmt: skip
    whole = read_pack(results / "synthetic" / "000.h5")
    joined = join_packs([str(pack) for pack in packs])
    assert joined.keys == whole.keys
    np.testing.assert_array_equal(joined.images, whole.images)
    values = np.concatenate([read_embeddings(path).values for path in embeddings])
    np.testing.assert_array_equal(values, read_embeddings(results / "embeddings" / "deepssim" / "000.h5").values)
    for metric in (MetricName.SSIM, MetricName.DEEPSSIM):
        shards = [str(path) for path in parts[metric]]
        stages.gather_matrix(shards=shards, matrix=str(tmp_path / "all.h5"), metric=metric)
        assert_same_scores(tmp_path / "all.h5", results / "matrices" / f"{metric}.h5")


def test_more_shards_than_images_are_refused_in_one_sentence(results, tmp_path):
    with pytest.raises(ConfigError, match="shards is 1000, but only 64 images are generated"):
        generate(results, tmp_path / "x.h5", 1000, 0)
