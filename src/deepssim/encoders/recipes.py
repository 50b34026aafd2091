"""Train the DeepSSIM encoder: cosines between misaligned images are fitted to the SSIM of the aligned images.

Not here: the network (deepssim.py), the composition of batches (families.py), the training driver (training/driver.py).
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from deepssim.config.choices import Device, Recipe
from deepssim.config.encoders import EncoderConfig
from deepssim.config.training import TrackingConfig
from deepssim.encoders.canonical import PoseEstimate
from deepssim.encoders.deepssim import DeepSSIM
from deepssim.encoders.families import MEMBERS, Families, example_pairs
from deepssim.encoders.ssim_features import MIN_FEATURES
from deepssim.errors import ConfigError, DataError
from deepssim.images import augment
from deepssim.images.misalignment import Misalignment
from deepssim.images.packs import ImagePack
from deepssim.runtime.processes import Processes
from deepssim.training.callbacks import TRAIN_LOSS, VALID_LOSS
from deepssim.training.data import Batched
from deepssim.training.driver import Trained, train, with_decay

logger = logging.getLogger(__name__)

# Loss weights: most pairs of a batch are unrelated images. Chosen by macro-F1 on chest X-rays; see docs/encoder.md.
_CLOSE_PAIR_WEIGHT = 4.0  # of pairs with high SSIM; unrelated pairs have 1, and the weight rises linearly between
_SLOPE = (0.4, 0.8)  # SSIM at which the weight begins and ends to rise
_COPY_PAIR_WEIGHT = 0.15  # factor for pairs of two copies: the encoder is used on pairs of a real and a synthetic image
_POSE_WEIGHT = 0.1


class DeepSSIMTraining(lightning.LightningModule):
    """Minimise the squared error between cosines and SSIM, on batches of one of the kinds in `choices.Recipe`.

    Images are misaligned independently, while the target remains the SSIM of the aligned pair: the encoder learns to be
    invariant. Validation uses the pairs of a table, with the same misalignments every time.

    Args:
        options: section `encoder`.
        families: source of the training images for the recipe `all_pairs`; None to train on pairs.
    """

    def __init__(self, options: EncoderConfig, families: Families | None = None) -> None:
        super().__init__()
        self.options = options
        self.families = families
        self.network = DeepSSIM(options)

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> dict[str, Any]:
        """Log and return the loss of one batch, with the metrics that `_log` describes for callbacks.

        Args:
            batch: real and synthetic images, float32 (N, 1, H, W), 0 to 1, and their SSIM, float32 (N,); or, with families,
                the numbers of the families, int64 (F,).
            batch_idx: not used.
        """
        if self.families is None:
            real, synthetic, target = batch
            cosines, pose_loss = self._cosines(torch.cat([real, synthetic]))
            half = cosines[: len(real), len(real) :]
            return self._log(half.diagonal(), target, TRAIN_LOSS, added=pose_loss)
        drawn = self.families.draw(batch[0], self.device)
        cosines, pose_loss = self._cosines(drawn.images)
        low, high = _SLOPE
        weights = 1 + (_CLOSE_PAIR_WEIGHT - 1) * ((drawn.ssim - low) / (high - low)).clamp(0, 1)
        copies = ~drawn.first
        weights = torch.where(copies[:, None] & copies[None], _COPY_PAIR_WEIGHT * weights, weights)
        weights = weights.fill_diagonal_(0)
        return self._log(cosines, drawn.ssim, TRAIN_LOSS, weights, pose_loss)

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> dict[str, Any]:
        """Log and return the loss of a batch of pairs; see `training_step`."""
        real, synthetic, target = batch
        cosines, _ = self._cosines(torch.cat([real, synthetic]))
        return self._log(cosines[: len(real), len(real) :].diagonal(), target, VALID_LOSS)

    def configure_optimizers(self) -> Any:
        """AdamW with weight decay, as in the paper."""
        trained = [value for value in self.parameters() if value.requires_grad]
        optimiser = torch.optim.AdamW(
            trained, lr=self.options.learning_rate, weight_decay=self.options.weight_decay, fused=True
        )
        return with_decay(self, optimiser, self.options)

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip gradients by norm; Lightning refuses to with a fused optimiser, although bfloat16 has no scaling to undo."""
        if gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def _cosines(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cosines of all misaligned images, (N, N), and the loss of their pose estimates."""
        changes = augment.draw(len(images), self.options.augmentation).to(images.device)
        embedded, poses = self.network.with_poses(augment.apply(images, changes))
        directions = F.normalize(embedded.float())
        return directions @ directions.T, self._pose_loss(poses, changes)

    def _pose_loss(self, poses: list[PoseEstimate], changes: Misalignment) -> Tensor:
        if not (poses and self.training):  # the later passes of validation view tilted images, whose truth differs
            return torch.zeros((), device=self.device)
        members = 1 if self.families is None else MEMBERS
        loss = _POSE_WEIGHT * torch.stack([pose.loss(changes, members) for pose in poses]).sum()
        batch_size = len(changes.degrees)
        self.log("train_loss_pose", loss, on_step=False, on_epoch=True, sync_dist=True, batch_size=batch_size)
        return loss

    def _log(
        self, predicted: Tensor, target: Tensor, name: str, weights: Tensor | None = None, added: Tensor | None = None
    ) -> dict[str, Any]:
        """Log the errors of a batch; return its loss, to which `added` belongs, its errors and its number of rows."""
        weights = torch.ones_like(target) if weights is None else weights
        squared = (weights * (predicted - target) ** 2).sum() / weights.sum()
        absolute = (predicted - target).abs().mean()
        metrics = {name: squared, f"{name}_absolute_error": absolute}
        self.log_dict(metrics, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(target))
        errors = {"squared_error": squared.detach(), "absolute_error": absolute.detach(), "rows": len(target)}
        return {"loss": squared if added is None else squared + added, **errors}


class PairImages(Batched):
    """Image pairs with their SSIM; an image in several pairs is stored once.

    Args:
        pairs: table with `real_key`, `synth_key` and `ssim`.
        real: pack that holds the real keys.
        synthetic: pack that holds the synthetic keys.

    Raises:
        DataError: if a key has no image.
    """

    def __init__(self, pairs: pd.DataFrame, real: ImagePack, synthetic: ImagePack) -> None:
        absent = [key for key in pairs["real_key"] if key not in real.index]
        absent += [key for key in pairs["synth_key"] if key not in synthetic.index]
        if absent:
            raise DataError(f"pairs: {len(absent)} keys have no image, first {absent[0]!r}; sample the pairs again")
        self.real, self.synthetic = real, synthetic
        super().__init__(
            torch.tensor([real.index[key] for key in pairs["real_key"]]),
            torch.tensor([synthetic.index[key] for key in pairs["synth_key"]]),
            torch.tensor(pairs["ssim"].to_numpy(), dtype=torch.float32),
        )

    def __getitem__(self, rows: list[int]) -> tuple[Tensor, ...]:  # type: ignore[override]
        real_rows, synthetic_rows, target = super().__getitem__(rows)
        return _gather(self.real, real_rows), _gather(self.synthetic, synthetic_rows), target


def _gather(pack: ImagePack, rows: Tensor) -> Tensor:
    """Return the images in `rows` of a pack as float32 (N, 1, H, W), 0 to 1."""
    return torch.from_numpy(pack.images[rows.cpu().numpy()].astype(np.float32) / np.float32(pack.maximum))[:, None]


def train_deepssim(
    train_data: Families | PairImages,
    valid_pairs: PairImages,
    options: EncoderConfig,
    *,
    seed: int,
    device: Device,
    state: Path,
    observers: Sequence[Callback] = (),
    tracking: TrackingConfig | None = None,
    processes: Processes | None = None,
) -> tuple[DeepSSIM, Trained]:
    """Fit the encoder so that cosine similarity predicts SSIM.

    Args:
        train_data: families for the recipe `all_pairs`, pairs for `paper`.
        valid_pairs: pairs of subjects that are not in `train_data`.
        options: section `encoder`.
        seed: the config's seed.
        device: where to train.
        state: folder of the run, see `training.driver.train`.
        observers, tracking, processes: see `training.driver.train`.

    Returns:
        The encoder in evaluation mode, on the CPU, and the outcome of its training.

    Raises:
        ConfigError: if the images are too small for the network.
        ValueError: if the training data are not those of the recipe.
    """
    families = train_data if isinstance(train_data, Families) else None
    if (families is not None) != (options.recipe is Recipe.ALL_PAIRS):
        raise ValueError(f"recipe {options.recipe.value!r} cannot train on {type(train_data).__name__}")
    if options.ssim_features and options.embedding_features < MIN_FEATURES:
        logger.warning(
            "embeddings of length %d approximate SSIM with a standard error of %.2f; set encoder.embedding_features to %d or "
            "more, or encoder.ssim_features to false",
            options.embedding_features,
            options.embedding_features**-0.5,
            MIN_FEATURES,
        )
    torch.manual_seed(seed)  # initial weights
    module = DeepSSIMTraining(options, families)
    pack = train_data.pack if isinstance(train_data, Families) else train_data.real
    _require_size(pack.images.shape[1:], module.network.features.min_side)
    trained = train(
        module,
        train_data,
        valid_pairs,
        options=options,
        seed=seed,
        device=device,
        state=state,
        gradient_norm=options.gradient_norm,
        observers=observers,
        tracking=tracking,
        processes=processes,
    )
    return module.network, trained


def train_on_images(
    train_images: ImagePack, valid_images: ImagePack, options: EncoderConfig, *, seed: int, device: Device, state: Path
) -> tuple[DeepSSIM, Trained]:
    """Fit the encoder on real images alone, with random variations in place of synthetic images.

    Args:
        train_images: at least two real images.
        valid_images: at least two real images of other subjects.
        options: section `encoder`.
        seed: the config's seed.
        device: where to train.
        state: folder of the run, see `training.driver.train`.

    Returns:
        See `train_deepssim`.

    Raises:
        ConfigError: if the images are too small for the network.
    """
    threads = torch.get_num_threads()
    data: Families | PairImages
    if options.recipe is Recipe.ALL_PAIRS:
        data = Families(train_images, threads=threads)
    else:
        table, varied = example_pairs(train_images, seed=seed, threads=threads)
        data = PairImages(table, train_images, varied)
    table, varied = example_pairs(valid_images, seed=seed, threads=threads)
    return train_deepssim(data, PairImages(table, valid_images, varied), options, seed=seed, device=device, state=state)


def _require_size(size: tuple[int, ...], minimum: int) -> None:
    if min(size) < minimum:
        raise ConfigError(
            f"images of {size[0]}x{size[1]} are too small for the encoder, which needs {minimum}x{minimum}; "
            "lower encoder.patch_size or raise dataset.image_size"
        )
