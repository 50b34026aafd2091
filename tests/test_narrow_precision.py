"""bfloat16 and compiled networks, which are what a GPU runs, give what float32 gives: here on the processor."""

import pytest
import torch

from deepssim.config.choices import Recipe
from deepssim.config.encoders import DarConfig, EncoderConfig
from deepssim.encoders.dar_training import DarTraining
from deepssim.encoders.deepssim import DeepSSIM
from deepssim.encoders.recipes import DeepSSIMTraining
from deepssim.generative.autoencoder import build_autoencoder
from deepssim.generative.autoencoder_training import VaeTraining
from deepssim.generative.diffusion import build_unet
from deepssim.generative.diffusion_training import LdmTraining
from tests.test_one_device import ENCODER, LDM, VAE

_IMAGES = (4, 1, 32, 32)


def diffusion():
    module = LdmTraining(LDM, 2)
    return module, lambda: module.training_step((torch.rand(4, 2, 8, 8),), 0)


def autoencoder():
    module = VaeTraining(VAE)

    def loss():
        images = torch.rand(_IMAGES)
        terms, reconstruction = module._loss(images, "train_loss")
        return terms + module._generator_loss(reconstruction)

    return module, loss


def encoder():
    module = DeepSSIMTraining(ENCODER.with_changes(recipe=Recipe.PAPER))
    batch = torch.rand(_IMAGES), torch.rand(_IMAGES), torch.rand(4)
    return module, lambda: module.training_step(batch, 0)["loss"]


def dar():
    module = DarTraining(DarConfig(width=4, embedding_features=8))
    return module, lambda: module.training_step((torch.rand(_IMAGES),), 0)


@pytest.mark.parametrize("make", [diffusion, autoencoder, encoder, dar])
def test_a_step_in_bfloat16_has_the_loss_and_finite_gradients(make):
    losses, all_gradients = {}, {}
    for narrow in (False, True):
        torch.manual_seed(0)
        module, step = make()
        module.log = module.log_dict = lambda *arguments, **named: None
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            loss = step()
        loss.backward()
        gradients = [value.grad for value in module.network.parameters() if value.grad is not None]
        assert gradients
        assert all(gradient.dtype == torch.float32 and gradient.isfinite().all() for gradient in gradients)
        assert loss.dtype == torch.float32
        losses[narrow], all_gradients[narrow] = float(loss), gradients
    assert losses[True] == pytest.approx(losses[False], rel=0.05)
    assert any(not torch.equal(*pair) for pair in zip(*all_gradients.values(), strict=True))


def unet_and_input():
    return build_unet(LDM, 2).eval(), {"x": torch.randn(2, 2, 8, 8), "timesteps": torch.tensor([3, 700])}


def autoencoder_and_input():
    return build_autoencoder(VAE).eval(), {"x": torch.rand(2, 1, 16, 16)}


def encoder_and_input():
    options: EncoderConfig = ENCODER.with_changes(canonicalize=False)
    return DeepSSIM(options).eval(), {"images": torch.rand(2, 1, 32, 32)}


@pytest.mark.parametrize("make", [unet_and_input, autoencoder_and_input, encoder_and_input])
def test_compiled_networks_give_the_same(make):
    """Captured and differentiated by the compiler; its code for processors is tested with the training driver."""
    torch.manual_seed(0)
    network, arguments = make()
    outputs = []
    for compiled in (False, True):
        if compiled:
            network.compile(backend="aot_eager")
        torch.manual_seed(1)  # the autoencoder draws its latents
        found = network(**arguments)
        outputs.append(found[0] if isinstance(found, tuple) else found)
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    outputs[1].sum().backward()
    assert all(value.grad is None or value.grad.isfinite().all() for value in network.parameters())
