"""Train Dar's encoder on real images by contrastive learning, without labels.

Not here: the network (dar.py), the training driver (training/driver.py).

Source: arXiv:2402.01054.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deepssim.config.choices import Device
from deepssim.config.encoders import DarConfig
from deepssim.config.training import TrackingConfig
from deepssim.encoders.dar import Dar
from deepssim.errors import DataError
from deepssim.images import augment
from deepssim.images.packs import ImagePack
from deepssim.training.callbacks import TRAIN_LOSS, VALID_LOSS
from deepssim.training.data import Batched
from deepssim.training.driver import Trained, train, with_decay


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Compute the normalised, temperature-scaled cross-entropy of identifying the other view of the same image.

    Args:
        first: embeddings of one view of N images, floating point (N, D), of norm 1.
        second: embeddings of the other view, in the same order.
        temperature: divisor of the cosines, positive.

    Returns:
        Scalar, mean over the 2N views; log(2N - 1) if all embeddings are equal.

    Source: NT-Xent of Chen et al., arXiv:2002.05709.
    """
    views = torch.cat([first, second])
    cosines = (views @ views.T / temperature).fill_diagonal_(-torch.inf)
    partner = torch.arange(len(views), device=views.device).roll(len(first))
    return F.cross_entropy(cosines, partner)


class DarTraining(lightning.LightningModule):
    """Contrastive training on batches of images, float32 (N, 1, H, W), 0 to 1.

    Args:
        options: section `dar`.
    """

    def __init__(self, options: DarConfig) -> None:
        super().__init__()
        self.options = options
        self.network = Dar(options)

    def training_step(self, batch: tuple[Tensor], batch_idx: int) -> Tensor:
        """Log and return the loss of one batch."""
        return self._loss(batch[0], TRAIN_LOSS)

    def validation_step(self, batch: tuple[Tensor], batch_idx: int) -> Tensor:
        """Log and return the loss of one batch."""
        return self._loss(batch[0], VALID_LOSS)

    def configure_optimizers(self) -> Any:
        """AdamW with weight decay."""
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.options.learning_rate, weight_decay=self.options.weight_decay, fused=True
        )
        return with_decay(self, optimizer, self.options)

    def _loss(self, images: Tensor, name: str) -> Tensor:
        both = torch.cat([images, images])
        changes = augment.draw(len(both), self.options.augmentation).to(both.device)
        embeddings = self.network(augment.apply(both, changes))
        first, second = embeddings.chunk(2)
        loss = nt_xent(first, second, self.options.temperature)
        self.log(name, loss, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(images))
        return loss


class Images(Batched):
    """Data set of the images of a pack; a batch is float32 (N, 1, H, W), 0 to 1.

    Args:
        pack: images.
    """

    def __init__(self, pack: ImagePack) -> None:
        super().__init__(torch.arange(len(pack.keys)))
        self.pack = pack

    def __getitem__(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        (chosen,) = super().__getitem__(rows)
        values = self.pack.images[chosen.cpu().numpy()].astype(np.float32) / np.float32(self.pack.maximum)
        return (torch.from_numpy(values)[:, None],)


def train_dar(
    images: ImagePack,
    valid: ImagePack | None,
    options: DarConfig,
    *,
    seed: int,
    device: Device,
    state: Path,
    tracking: TrackingConfig | None = None,
) -> tuple[Dar, Trained]:
    """Fit the encoder to real images, without labels.

    Args:
        images: real images of the train split.
        valid: real images of the valid split; may be None or empty.
        options: section `dar`.
        seed: the config's seed.
        device: where to train.
        state: folder of the run, see `training.driver.train`.
        tracking: section `tracking`; TensorBoard only unless given.

    Returns:
        The encoder in evaluation mode, on the CPU, and the outcome of its training.

    Raises:
        DataError: if there are fewer than two images, so that there are no negatives.
    """
    if len(images.keys) < 2:
        raise DataError(f"dar: {len(images.keys)} images to train on; add images, at least two are needed")
    torch.manual_seed(seed)  # initial weights
    module = DarTraining(options)
    trained = train(
        module,
        Images(images),
        Images(valid) if valid is not None and valid.keys else None,
        options=options,
        seed=seed,
        device=device,
        state=state,
        tracking=tracking,
    )
    return module.network, trained
