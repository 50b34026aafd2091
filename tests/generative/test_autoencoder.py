import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from deepssim.config.choices import Device, Orientation, Perceptual
from deepssim.config.generative import VaeConfig
from deepssim.config.settings import Config, load_config
from deepssim.errors import ConfigError, DataError
from deepssim.generative.autoencoder import (
    build_autoencoder,
    encode,
    load_autoencoder,
    reconstruct,
    reconstruct_pack,
    save_autoencoder,
    to_tensor,
)
from deepssim.generative.autoencoder_training import (
    VaeTraining,
    build_discriminator,
    check_size,
    reconstruction_quality,
    train_autoencoder,
)
from deepssim.images.packs import ImagePack
from deepssim.runtime.weights import save_weights
from deepssim.training.driver import Batched, train

TINY = VaeConfig(
    channels=(8, 8),
    latent_channels=2,
    norm_groups=4,
    epochs=30,
    passes=3,
    batch_size=4,
    learning_rate=5e-3,
    validate_every=10,
)
CPU = torch.device("cpu")


ADVERSARIAL = TINY.with_changes(adversarial_weight=0.1, discriminator_channels=4, discriminator_layers=2, perceptual=Perceptual.GRADIENT,
    epochs=4, passes=1, accumulate=2, validate_every=1, pictures_every=2,
)  # fmt: skip


@pytest.mark.parametrize(("name", "shape"), [("brain", (3, 28, 34)), ("chest", (3, 32, 32))])
def test_latent_shapes_are_those_of_the_paper(name, shape):
    """Of upright images; the paper's code, whose images are transposed, has 3x34x28 for brains."""
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


def test_all_terms_are_trained_and_told(tmp_path, packs):
    """Two optimisers take turns: both networks change, and every term is in the history."""
    real, _ = packs
    module = VaeTraining(ADVERSARIAL)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    trained = train(
        module, Batched(to_tensor(real)), None, options=ADVERSARIAL, seed=0, device=Device.CPU, state=tmp_path / "x"
    )
    changed = [name for name, value in trained.module.state_dict().items() if not torch.equal(value, before[name])]
    for part in ("network.encoder", "network.decoder", "discriminator"):
        assert any(name.startswith(part) for name in changed)
    terms = {"l1", "kl", "perceptual", "adversarial", "discriminator"}
    assert {f"train_loss_{term}" for term in terms} <= set(trained.history[-1])
    assert trained.history[-1]["step"] == 4  # 6 images in batches of 4: two batches and one step an epoch


def test_the_discriminator_learns_to_tell_images_from_reconstructions(tmp_path, packs):
    """Without its deception term the generator stays bad, and the discriminator must tell it from images."""
    real, _ = packs
    options = ADVERSARIAL.with_changes(learning_rate=0.005, epochs=40, accumulate=1, perceptual=Perceptual.NONE)
    module = VaeTraining(options)
    module.network.requires_grad_(False)
    module._deception = lambda reconstruction: reconstruction.sum() * 0
    module.network.post_quant_conv.requires_grad_(True)
    trained = train(
        module, Batched(to_tensor(real)), None, options=options, seed=0, device=Device.CPU, state=tmp_path / "x"
    )
    losses = [row["train_loss_discriminator"] for row in trained.history]
    assert losses[-1] < 0.5 * losses[0]


def test_accumulated_batches_make_the_step_of_a_large_batch(tmp_path, packs):
    """Half of the batch twice gives the gradient of the whole, if no latent noise is drawn."""
    real, _ = packs
    images = real.select(real.keys[:4])
    weights = []
    for number, (size, accumulate) in enumerate([(4, 1), (2, 2)]):
        options = TINY.with_changes(batch_size=size, accumulate=accumulate, epochs=1, passes=1, validate_every=1)
        torch.manual_seed(0)
        module = VaeTraining(options)
        module.network.sampling = lambda mean, deviation: mean
        trained = train(
            module, Batched(to_tensor(images)), None, options=options, seed=0, device=Device.CPU,
            state=tmp_path / str(number),
        )  # fmt: skip
        weights.append(torch.cat([value.flatten() for value in trained.module.network.parameters()]))
    # Adam's first step is the sign of the gradient, so what is nearly zero may round either way.
    assert ((weights[0] - weights[1]).abs() < 1e-6).float().mean() > 0.99


def test_reconstructions_are_judged_and_shown(tmp_path, packs):
    real, _ = packs
    _, trained = train_autoencoder(
        real, real.select([]), ADVERSARIAL, seed=0, device=Device.CPU, state=tmp_path / "state"
    )
    assert all(0 < row["reconstruction_psnr_db"] < 60 and "reconstruction_ssim" in row for row in trained.history)
    names = [path.name for path in sorted((tmp_path / "state" / "pictures").iterdir())]
    assert names == ["epoch-00002.png", "epoch-00004.png"]


def test_quality_matches_scikit_image(packs, random):
    real, _ = packs
    noisy = np.clip(real.images + random.normal(0, 20, real.images.shape), 0, 255).astype(np.uint8)
    found = reconstruction_quality(real, ImagePack(noisy, real.keys))
    assert found["reconstruction_psnr_db"] == pytest.approx(
        peak_signal_noise_ratio(real.images, noisy, data_range=255), abs=1e-4
    )
    same = reconstruction_quality(real, real)
    assert same["reconstruction_ssim"] == pytest.approx(1)
    assert found["reconstruction_ssim"] < 0.99


def test_images_too_small_for_the_discriminator_are_refused():
    options = VaeConfig(adversarial_weight=0.1)
    check_size((24, 24), options)
    with pytest.raises(ConfigError, match="16x24 are too small for a discriminator of 3 layers, which needs 24x24"):
        check_size((16, 24), options)
    network = build_discriminator(VaeConfig(discriminator_channels=2)).eval()
    assert network(torch.zeros(1, 1, 24, 24))[-1].shape == (1, 1, 1, 1)
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, 1, 16, 24))


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


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_network_of_transposed_images_gets_and_gives_them_transposed(packs, noise):
    real, _ = packs
    network = build_autoencoder(TINY).eval()
    turned = ImagePack(real.images.swapaxes(1, 2), real.keys)
    found = reconstruct_pack(network, real, device=CPU, noise=noise, orientation=Orientation.TRANSPOSED)
    expected = reconstruct_pack(network, turned, device=CPU, noise=noise)
    np.testing.assert_array_equal(found.images, expected.images.swapaxes(1, 2))
    assert found.images.shape == real.images.shape
    assert np.abs(found.unit() - reconstruct_pack(network, real, device=CPU, noise=noise).unit()).max() > 0.01
