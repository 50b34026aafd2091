"""The stage that generates the synthetic images."""

from deepssim.config.choices import Device
from deepssim.config.generative import SynthesisConfig
from deepssim.datasets.tables import read_train_used
from deepssim.errors import ConfigError
from deepssim.generative import sampling
from deepssim.generative.autoencoder import load_autoencoder, require_same_orientation
from deepssim.generative.diffusion import load_unet
from deepssim.generative.latents import read_latents
from deepssim.images.keys import split_key, synthetic_key
from deepssim.images.packs import write_pack
from deepssim.runtime.devices import resolve_device


def generate(
    *,
    train_used: str,
    latents: str,
    autoencoder: str,
    unet: str,
    pack: str,
    synthesis: SynthesisConfig,
    bit_depth: int,
    seed: int,
    device: Device,
    shard: int = 0,
    shards: int = 1,
) -> None:
    """Generate one shard of the synthetic images.

    Args:
        train_used: CSV with the keys of the generator's training images.
        latents, autoencoder, unet: latents of the real images, and the trained networks.
        pack: image pack to write.
        synthesis, bit_depth, seed, device: settings.
        shard, shards: which of how many consecutive parts of nearly equal length to generate.

    Raises:
        ConfigError: if there are more shards than images.
        DataError: if the networks were trained on images of different orientations.
    """
    require_same_orientation(autoencoder, unet)
    records = [split_key(key)[0] for key in read_train_used(train_used)]
    count = synthesis.images_per_record
    wanted = [synthetic_key(record, number) for record in records for number in range(count)]
    start, stop = (len(wanted) * edge // shards for edge in (shard, shard + 1))
    if start == stop:
        raise ConfigError(f"shards is {shards}, but only {len(wanted)} images are generated; set it to at most that")
    network, options = load_unet(unet)
    images = sampling.generate(
        wanted[start:stop],
        network,
        load_autoencoder(autoencoder),
        latents=read_latents(latents),
        ldm=options,
        options=synthesis,
        seed=seed,
        device=resolve_device(device),
        bit_depth=bit_depth,
    )
    write_pack(pack, images)
