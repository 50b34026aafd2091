"""The stage that trains Dar's encoder."""

from deepssim.config.base import as_settings
from deepssim.config.choices import Device
from deepssim.config.encoders import DarConfig
from deepssim.config.training import TrackingConfig
from deepssim.datasets.tables import Split, keys_of, read_images
from deepssim.encoders import dar_training
from deepssim.encoders.dar import save_encoder
from deepssim.images.packs import read_pack
from deepssim.runtime.provenance import state_folder


def train_dar(
    *,
    images: str,
    real: str,
    weights: str,
    history: str,
    dar: DarConfig,
    seed: int,
    device: Device,
    tracking: TrackingConfig | None = None,
) -> None:
    """Train Dar's encoder on the real images, without labels.

    Args:
        images, real: image table and pack of the real images.
        weights: encoder to write.
        history: CSV to write, one row per epoch.
        dar, seed, device, tracking: settings.
    """
    table, pack = read_images(images), read_pack(real)
    network, trained = dar_training.train_dar(
        # The valid split too, which the generator never saw: a handful of memorized images would be too little.
        pack.select(keys_of(table, Split.TRAIN, Split.VALID)),
        None,
        dar,
        seed=seed,
        device=device,
        state=state_folder("train_dar", weights, [as_settings(dar), seed, device], [images, real]),
        tracking=tracking,
    )
    trained.write_history(history)
    save_encoder(weights, network)
