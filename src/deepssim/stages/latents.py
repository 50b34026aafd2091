"""The stage that encodes the real images."""

from collections.abc import Sequence

from deepssim.config.choices import Conditioning, Device, Orientation
from deepssim.datasets.tables import Split, keys_of, read_images
from deepssim.generative.autoencoder import encode, load_autoencoder, require_orientation
from deepssim.generative.conditioning import read_conditions
from deepssim.generative.latents import Latents, write_latents
from deepssim.images.packs import read_pack
from deepssim.runtime.devices import resolve_device


def encode_latents(
    *,
    images: str,
    pack: str,
    weights: str,
    latents: str,
    orientation: Orientation,
    device: Device,
    conditioning: Conditioning,
    condition_columns: Sequence[str],
    scale_latents: bool,
) -> None:
    """Encode every real image once, and keep its condition beside its latent.

    Args:
        images, pack: image table and pack of the real images.
        weights: autoencoder.
        latents: latents to write, with conditions and scale.
        orientation: of the images of the pack.
        device, conditioning, condition_columns, scale_latents: settings.

    Raises:
        DataError: if the autoencoder was trained on images of the other orientation.
    """
    require_orientation(weights, orientation)
    table, content = read_images(images), read_pack(pack)
    in_pack_order = table.set_index("key", drop=False).loc[content.keys]
    conditions = read_conditions(in_pack_order, conditioning, condition_columns, source=images)
    values = encode(load_autoencoder(weights), content, device=resolve_device(device))
    rows = [content.index[key] for key in keys_of(table, Split.TRAIN)]
    scale = float(1 / values[rows].std()) if scale_latents else 1.0
    write_latents(latents, Latents(values, content.keys, scale, conditions))
