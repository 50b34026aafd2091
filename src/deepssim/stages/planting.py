"""The stage that plants copies of training images."""

import logging

import torch

from deepssim.audit.controls import choose_controls
from deepssim.datasets.tables import read_csv, read_train_used, write_csv
from deepssim.generative.autoencoder import load_autoencoder, reconstruct_pack
from deepssim.ground_truth import planted as planting
from deepssim.ground_truth.labels import SSIM_THRESHOLDS
from deepssim.images.packs import read_pack, write_pack

logger = logging.getLogger(__name__)


def plant_copies(
    *,
    train_used: str,
    split: str,
    real: str,
    autoencoder: str,
    pack: str,
    pairs: str,
    controls: int,
    seed: int,
) -> None:
    """Copy some training images, of as many subjects as possible, with mild changes; see `ground_truth.planted`.

    Args:
        train_used: CSV with the keys of the generator's training images.
        split: CSV with the subject of each of them and the set of pairs that it belongs to.
        real: image pack.
        autoencoder: of the generator.
        pack, pairs: image pack of the copies, and the table of these and their originals, to write.
        controls, seed: settings.
    """
    table = read_csv(split, needs=("key", "subject", "split")).set_index("key").loc[read_train_used(train_used)]
    chosen = table.iloc[choose_controls(table["subject"].astype(str).tolist(), controls, seed)]
    network = load_autoencoder(autoencoder)
    copies, planted = planting.plant_copies(
        read_pack(real).select(chosen.index.tolist()), chosen["split"].tolist(),
        lambda originals: reconstruct_pack(network, originals, device=torch.device("cpu")), seed,
    )  # fmt: skip
    write_pack(pack, copies)
    write_csv(pairs, planted)
    duplicates = int((planted["ssim"] > SSIM_THRESHOLDS.high).sum())
    logger.info("%d copies of %d training images, %d of them duplicates by SSIM", len(planted), len(chosen), duplicates)
