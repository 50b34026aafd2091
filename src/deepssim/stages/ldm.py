"""The stage that trains the diffusion model."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from lightning.pytorch.callbacks import Callback

from deepssim.config.base import as_settings
from deepssim.config.choices import Device, Orientation
from deepssim.config.generative import LdmConfig, SynthesisConfig
from deepssim.config.training import TrackingConfig
from deepssim.datasets.tables import Split, keys_of, read_images, write_csv
from deepssim.generative import sampling
from deepssim.generative.autoencoder import load_autoencoder
from deepssim.generative.checkpoints import initial_unet_weights
from deepssim.generative.diffusion import save_unet
from deepssim.generative.diffusion_training import draw_copies, train_diffusion
from deepssim.generative.latents import read_latents
from deepssim.generative.monitoring import keys_to_generate, memorization_inspection
from deepssim.images.packs import read_pack
from deepssim.images.sheets import save_sheet
from deepssim.runtime.devices import resolve_device
from deepssim.runtime.processes import Processes
from deepssim.runtime.provenance import state_folder
from deepssim.runtime.weights import recorded_orientation

_SAMPLES = 12  # images in the picture of samples


def train_ldm(
    *,
    images: str,
    pack: str,
    latents: str,
    autoencoder: str,
    weights: str,
    history: str,
    samples: str,
    train_used: str,
    ldm: LdmConfig,
    seed: int,
    device: Device,
    devices: int = 1,
    nodes: int = 1,
    tracking: TrackingConfig | None = None,
    initial: str | None = None,
    observers: Sequence[Callback] = (),
) -> None:
    """Train the diffusion model on the latents of the train split and draw samples from it.

    Args:
        images, pack, latents, autoencoder: image table, pack and latents of the real images, and their autoencoder.
        weights: diffusion model to write.
        history: CSV to write, one row per validated epoch.
        samples: PNG to write.
        train_used: CSV to write: keys of the training images and how often each occurs in an epoch.
        ldm, seed, device, devices, nodes, tracking: settings.
        initial: weights to start from, of this program, MONAI or monai-generative; random ones unless given.
        observers: see `training.driver.train`.
    """
    table, content = read_images(images), read_latents(latents)
    train_keys = keys_of(table, Split.TRAIN)
    train_latents, decoder = content.select(train_keys), load_autoencoder(autoencoder)
    target = resolve_device(device)
    sources: list[str | Path] = [images, latents, *([initial] if initial else [])]
    network, trained = train_diffusion(
        train_latents,
        content.select(keys_of(table, Split.VALID)),
        ldm,
        seed=seed,
        device=device,
        state=state_folder("train_ldm", weights, [as_settings(ldm), seed, device, devices, nodes], sources),
        initial=initial_unet_weights(initial, train_latents, ldm) if initial else None,
        inspection=memorization_inspection(
            read_pack(pack).select(train_keys), train_latents, decoder, ldm, seed=seed, device=target
        ),
        observers=observers,
        tracking=tracking,
        processes=Processes(devices, nodes),
    )
    options = SynthesisConfig(batch_size=_SAMPLES)
    preview = sampling.generate(
        keys_to_generate(train_keys, _SAMPLES), network, decoder, latents=train_latents, ldm=ldm, options=options, seed=seed,
        device=target, bit_depth=8,
    )  # fmt: skip
    save_sheet(samples, preview)
    trained.write_history(history)
    write_csv(train_used, pd.DataFrame({"key": train_keys, "copies": draw_copies(train_keys, ldm, seed)}))
    save_unet(weights, network, ldm, content.scale, recorded_orientation(autoencoder) or Orientation.UPRIGHT)
