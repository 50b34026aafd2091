"""Steps of the paper's networks for benchmarks.gpu: of the autoencoder, and the arithmetic of one of the diffusion model."""

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.generative import Size
from deepssim.config.choices import Perceptual
from deepssim.generative.autoencoder_training import VaeTraining
from deepssim.runtime.devices import count_parameters, to_channels_last, training_precision

PEAK_TFLOPS = 989.0  # dense bfloat16 of an H100 SXM, from its data sheet


def step_flops(step: Callable[[], None]) -> float:
    """Return the floating-point operations of a call."""
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops())


def vae_step(size: Size, device: torch.device) -> Callable[[], None]:
    """Return a function that makes training steps of the autoencoder, adversarial term included.

    The perceptual term is `gradient`: `squeeze`, which brain.yaml has, needs weights from the network.
    """
    options = size.vae.with_changes(perceptual=Perceptual.GRADIENT)
    torch.manual_seed(0)
    module = VaeTraining(options).to(device)
    to_channels_last(module)
    module.log_dict = lambda *arguments, **named: None
    networks = [module.network, *([module.discriminator] if module.discriminator is not None else [])]
    optimizers = [torch.optim.Adam(part.parameters(), lr=options.learning_rate, fused=True) for part in networks]
    images = torch.rand(options.batch_size, 1, *size.image, device=device)
    narrow = training_precision(device, options.precision, count_parameters(module)) == "bf16-mixed"

    def steps() -> None:
        for _ in range(size.steps):
            with torch.autocast(device.type, torch.bfloat16, enabled=narrow):
                loss, reconstruction = module._loss(images, "train_loss")
                if module.discriminator is not None:
                    loss = loss + module._generator_loss(reconstruction)
            optimizers[0].zero_grad()
            loss.backward()
            optimizers[0].step()
            if module.discriminator is not None:
                with torch.autocast(device.type, torch.bfloat16, enabled=narrow):
                    loss = module._discriminator_loss(images, reconstruction.detach())
                optimizers[1].zero_grad()
                loss.backward()
                optimizers[1].step()

    return steps
