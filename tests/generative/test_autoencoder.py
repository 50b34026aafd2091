import numpy as np
import pytest
import torch

from deepssim.config import Config, Device, VaeConfig, load_config
from deepssim.errors import ConfigError, DataError
from deepssim.generative.autoencoder import (
    build_autoencoder,
    check_size,
    encode,
    kl_divergence,
    load_autoencoder,
    reconstruct,
    save_autoencoder,
    train_autoencoder,
)
from deepssim.images.packs import ImagePack
from deepssim.weights import save_weights

TINY = VaeConfig(channels=(8, 8), latent_channels=2, norm_groups=4, epochs=30, batch_size=4, validate_every=10)
CPU = torch.device("cpu")


def test_kl_matches_the_formula_and_torch():
    mean, deviation = torch.randn(3, 2, 4, 4), torch.rand(3, 2, 4, 4) + 0.5
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, deviation), normal(0.0, 1.0)).flatten(1).sum(1).mean()
    torch.testing.assert_close(kl_divergence(mean, deviation), expected)
    assert kl_divergence(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)) == 0


@pytest.mark.parametrize(("name", "shape"), [("brain", (3, 34, 28)), ("chest", (3, 32, 32))])
def test_latent_shapes_are_those_of_the_paper(name, shape):
    from tests.conftest import ROOT

    config = load_config(ROOT / "config" / f"{name}.yaml")
    network = build_autoencoder(config.vae).eval()
    with torch.inference_mode():
        assert network.encode(torch.zeros(1, 1, *config.dataset.image_size))[0].shape[1:] == shape


def test_training_reconstructs_better_and_the_file_keeps_it(tmp_path, packs):
    real, _ = packs
    smooth = ImagePack(np.sort(real.images, axis=2), real.keys)
    empty = real.select([])
    torch.manual_seed(0)
    before = np.abs(reconstruct(build_autoencoder(TINY), smooth, device=CPU) - smooth.unit()).mean()
    network, trained = train_autoencoder(smooth, empty, TINY, seed=0, device=Device.CPU, state=tmp_path / "state")
    after = reconstruct(network, smooth, device=CPU)
    assert np.abs(after - smooth.unit()).mean() < 0.5 * before
    assert [row["epoch"] for row in trained.history] == [10, 20, 30]
    save_autoencoder(tmp_path / "vae.safetensors", network, TINY)
    again = load_autoencoder(tmp_path / "vae.safetensors")
    np.testing.assert_array_equal(encode(again, smooth, device=CPU), encode(network, smooth, device=CPU))
    assert encode(again, smooth, device=CPU).shape == (6, 2, 8, 12)


def test_sizes_that_cannot_be_halved_are_refused():
    check_size((48, 64), Config().vae)
    with pytest.raises(ConfigError, match="50x64 cannot be halved 3 times.*multiples of 8"):
        check_size((50, 64), Config().vae)


def test_other_weights_are_refused(tmp_path):
    save_weights(tmp_path / "x.safetensors", torch.nn.Linear(1, 1), "something", {})
    with pytest.raises(DataError, match=r"x\.safetensors: holds 'something', expected 'autoencoder'"):
        load_autoencoder(tmp_path / "x.safetensors")
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(DataError, match="cannot be read as safetensors"):
        load_autoencoder(tmp_path / "x.safetensors")
