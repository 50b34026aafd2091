"""The stage that trains the autoencoder."""

from collections.abc import Sequence

from lightning.pytorch.callbacks import Callback

from deepssim.config.base import as_settings
from deepssim.config.choices import Device, Orientation
from deepssim.config.generative import VaeConfig
from deepssim.config.training import TrackingConfig
from deepssim.datasets.tables import Split, keys_of, read_images
from deepssim.generative.autoencoder import reconstruct_pack, save_autoencoder
from deepssim.generative.autoencoder_training import save_reconstructions, train_autoencoder
from deepssim.images.packs import read_pack
from deepssim.runtime.devices import resolve_device
from deepssim.runtime.processes import Processes
from deepssim.runtime.provenance import state_folder

_SHOWN = 12  # images in the picture of reconstructions


def train_vae(
    *,
    images: str,
    pack: str,
    weights: str,
    history: str,
    reconstructions: str,
    vae: VaeConfig,
    orientation: Orientation,
    seed: int,
    device: Device,
    devices: int = 1,
    nodes: int = 1,
    tracking: TrackingConfig | None = None,
    observers: Sequence[Callback] = (),
) -> None:
    """Train the autoencoder on the train split.

    Args:
        images, pack: image table and pack of the real images.
        weights: autoencoder to write.
        history: CSV to write, one row per validated epoch.
        reconstructions: PNG to write, some training images above their reconstructions.
        orientation: of the images of the pack, which the weights record.
        vae, seed, device, devices, nodes, tracking: settings.
        observers: see `training.driver.train`.
    """
    table, content = read_images(images), read_pack(pack)
    train_images = content.select(keys_of(table, Split.TRAIN))
    network, trained = train_autoencoder(
        train_images,
        content.select(keys_of(table, Split.VALID)),
        vae,
        seed=seed,
        device=device,
        state=state_folder("train_vae", weights, [as_settings(vae), seed, device, devices, nodes], [images, pack]),
        observers=observers,
        tracking=tracking,
        processes=Processes(devices, nodes),
    )
    shown = train_images.select(train_images.keys[:_SHOWN])
    save_reconstructions(reconstructions, shown, reconstruct_pack(network, shown, device=resolve_device(device)))
    trained.write_history(history)
    save_autoencoder(weights, network, vae, orientation)
