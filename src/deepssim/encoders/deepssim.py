"""The DeepSSIM encoder: cosine similarity of two embeddings estimates the SSIM of the aligned images.

Not here: the trainer (training.py), other encoders' formats, storing embeddings (embeddings.py).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ConvNextConfig, ConvNextModel

from deepssim.choices import Device, Precision, Recipe
from deepssim.config import EncoderConfig, parse_config
from deepssim.devices import resolve_device
from deepssim.encoders.embeddings import Embeddings
from deepssim.encoders.extraction import extract
from deepssim.errors import ConfigError, DataError
from deepssim.evaluation.labels import TRUTH
from deepssim.images import augment
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import zscore_batch
from deepssim.images.vary import vary_pairs
from deepssim.processes import Processes
from deepssim.provenance import file_checksum
from deepssim.settings import as_settings
from deepssim.similarity.ssim import ssim_of_arrays
from deepssim.training import Batched, Trained, train, with_decay
from deepssim.training_callbacks import TRAIN_LOSS, VALID_LOSS
from deepssim.weights import load_weights, rebuild, save_weights

NAME = "deepssim"

_CLOSE_PAIR_WEIGHT = 2.0
_LONE_SHARE = 0.6  # share of a batch that is drawn from images without a synthetic partner


class DeepSSIM(nn.Module):
    """ConvNeXt features, average pool and the paper's head (arXiv:2509.16582).

    Input: float32 (N, 1, H, W), 0 to 1; z-scored per image and repeated to three channels inside, so that weights from
    colour images fit. Output: float32 (N, D), not normalised.
    """

    def __init__(self, options: EncoderConfig) -> None:
        super().__init__()
        self.options = options
        self.features = ConvNextModel(
            ConvNextConfig(
                num_channels=3,
                patch_size=options.patch_size,
                hidden_sizes=list(options.widths),
                depths=list(options.depths),
            )
        )
        # Average pooling replaces the model's own normalised pooling, whose weights would never be used.
        self.features.layernorm = nn.Identity()
        self.head = nn.Sequential(
            nn.BatchNorm1d(options.widths[-1]),
            nn.Linear(options.widths[-1], options.hidden_features),
            nn.GELU(),
            nn.Dropout(options.dropout),
            nn.Linear(options.hidden_features, options.embedding_features),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of a batch."""
        maps = self.features(zscore_batch(images).expand(-1, 3, -1, -1)).last_hidden_state
        return self.head(maps.mean(dim=(2, 3)))


class DeepSSIMTraining(lightning.LightningModule):
    """Squared error between cosines and SSIM, by one of the recipes of `config.Recipe`.

    Batches are (real images, synthetic images, SSIM) with images (N, 1, H, W), 0 to 1. Images are misaligned
    independently while the target stays the SSIM of the aligned pair: that is what the encoder learns to see through.
    Validation judges the pairs of the table, misaligned in the same way every time.
    """

    def __init__(self, options: EncoderConfig) -> None:
        super().__init__()
        self.options = options
        self.network = DeepSSIM(options)

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> Tensor:
        """Log and return the loss of one batch."""
        real, synthetic, target = batch
        if self.options.recipe is Recipe.PAPER:
            return self._log(self._cosines(real, synthetic).diagonal(), target, TRAIN_LOSS)
        real, synthetic = vary_pairs(real, synthetic, alone=target.isnan())
        targets = _exact_ssim(real, synthetic)
        # Most pairs of a batch are strangers; without a weight they would decide the loss.
        weights = torch.where(targets > TRUTH.low, _CLOSE_PAIR_WEIGHT, 1.0)
        return self._log(self._cosines(real, synthetic), targets, TRAIN_LOSS, weights)

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> Tensor:
        """Log and return the loss of one batch."""
        real, synthetic, target = batch
        return self._log(self._cosines(real, synthetic).diagonal(), target, VALID_LOSS)

    def configure_optimizers(self) -> Any:
        """AdamW with weight decay, as in the paper."""
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.options.learning_rate, weight_decay=self.options.weight_decay, fused=True
        )
        return with_decay(self, optimizer, self.options)

    def _cosines(self, real: Tensor, synthetic: Tensor) -> Tensor:
        """Return the cosines of all misaligned real and synthetic images, (N, N)."""
        images = torch.cat([real, synthetic])
        changes = augment.draw(len(images), self.options.augmentation).to(images.device)
        embeddings = F.normalize(self.network(augment.apply(images, changes)).float())
        return embeddings[: len(real)] @ embeddings[len(real) :].T

    def _log(self, predicted: Tensor, target: Tensor, name: str, weights: Tensor | None = None) -> Tensor:
        weights = torch.ones_like(target) if weights is None else weights
        loss = (weights * (predicted - target) ** 2).sum() / weights.sum()
        figures = {name: loss, f"{name}_absolute_error": (predicted - target).abs().mean()}
        self.log_dict(figures, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(target))
        return loss


def _exact_ssim(real: Tensor, synthetic: Tensor) -> Tensor:
    """Compute the SSIM of all pairs of two batches (N, 1, H, W): (N, N) on their device."""
    scored = (zscore_batch(images.double()).cpu().numpy()[:, 0] for images in (real, synthetic))
    return torch.from_numpy(ssim_of_arrays(*scored, threads=torch.get_num_threads())).to(real)


class PairImages(Batched):
    """Image pairs with their SSIM; images are stored once as integers and gathered per batch.

    Args:
        pairs: table with `real_key`, `synth_key` and `ssim`.
        real, synthetic: packs that hold these keys.
        lone: packs of further partners, each of the real image with its key. The recipe `all_pairs` adds them, with an
            SSIM of NaN since only what it makes of them is compared.
    """

    def __init__(
        self, pairs: pd.DataFrame, real: ImagePack, synthetic: ImagePack, lone: Sequence[ImagePack] = ()
    ) -> None:
        absent = [key for key in pairs["real_key"] if key not in real.index]
        absent += [key for key in pairs["synth_key"] if key not in synthetic.index]
        if absent:
            raise DataError(f"pairs: {len(absent)} keys have no image, first {absent[0]!r}; sample the pairs again")
        self.table, self.real, self.synthetic, self.lone = pairs, real, synthetic, list(lone)
        self._partners = (synthetic, *lone)
        # real row, partner's pack and row, SSIM
        rows = [
            (real.index[r], 0, synthetic.index[s], ssim)
            for r, s, ssim in zip(pairs["real_key"], pairs["synth_key"], pairs["ssim"], strict=True)
        ]
        rows += [
            (real.index[key], number, row, float("nan"))
            for number, pack in enumerate(lone, start=1)
            for row, key in enumerate(pack.keys)
        ]
        columns = list(zip(*rows, strict=True)) or [()] * 4
        super().__init__(
            *(torch.tensor(column, dtype=torch.int64) for column in columns[:3]),
            torch.tensor(columns[3], dtype=torch.float32),
        )

    def partnered(self) -> "PairImages":
        """Return the pairs of the table alone."""
        return PairImages(self.table, self.real, self.synthetic)

    def balanced(self) -> "PairImages":
        """Return the same with rarer classes repeated until all are equally frequent, and lone images up to their share."""
        target = self.tensors[3]
        paired, alone = (np.flatnonzero(part) for part in (~target.isnan().numpy(), target.isnan().numpy()))
        labels = TRUTH.classify(target[paired].numpy())
        groups = [paired[labels == label] for label in np.unique(labels)]
        most = max(len(group) for group in groups)
        chosen = np.concatenate([np.tile(group, most // len(group)) for group in groups])
        if len(alone):
            chosen = np.concatenate([chosen, np.resize(alone, round(len(chosen) * _LONE_SHARE / (1 - _LONE_SHARE)))])
        balanced = PairImages(self.table, self.real, self.synthetic, self.lone)
        balanced.tensors = tuple(tensor[torch.from_numpy(chosen)] for tensor in self.tensors)
        return balanced

    def __getitem__(self, rows: list[int]) -> tuple[Tensor, ...]:  # type: ignore[override]
        real_rows, numbers, partner_rows, target = super().__getitem__(rows)
        real = _gather(self.real, real_rows)
        partners = torch.empty_like(real)
        for number in numbers.unique().tolist():
            partners[numbers == number] = _gather(self._partners[number], partner_rows[numbers == number])
        return real, partners, target


def _gather(pack: ImagePack, rows: Tensor) -> Tensor:
    """Return images of a pack as float32 (N, 1, H, W), 0 to 1."""
    return torch.from_numpy(pack.images[rows.numpy()].astype(np.float32) / np.float32(pack.maximum))[:, None]


def train_deepssim(
    train_pairs: PairImages,
    valid_pairs: PairImages,
    options: EncoderConfig,
    *,
    seed: int,
    device: Device,
    state: Path,
    processes: Processes | None = None,
) -> tuple[DeepSSIM, Trained]:
    """Fit the encoder so that cosine similarity predicts SSIM.

    Args:
        train_pairs, valid_pairs: pairs without a common subject.
        options: section `encoder`.
        seed, device, state, processes: see `training.train`.

    Raises:
        ConfigError: if the images are too small for the network.
    """
    height, width = train_pairs.real.images.shape[1:]
    least = options.patch_size * 8  # three stages halve what the first layer leaves
    if min(height, width) < least:
        raise ConfigError(
            f"images of {height}x{width} are too small for the encoder, which needs {least}x{least}; "
            "lower encoder.patch_size or raise dataset.image_size"
        )
    train_pairs = train_pairs.balanced() if options.recipe is Recipe.ALL_PAIRS else train_pairs.partnered()
    torch.manual_seed(seed)  # initial weights
    module = DeepSSIMTraining(options)
    trained = train(
        module,
        train_pairs,
        valid_pairs,
        options=options,
        seed=seed,
        device=device,
        state=state,
        gradient_norm=options.gradient_norm,
        processes=processes,
    )
    return module.network, trained


def save_encoder(path: str | Path, network: DeepSSIM) -> None:
    """Write weights and the options needed to rebuild the network to one safetensors file."""
    save_weights(path, network, NAME, as_settings(network.options))


def load_encoder(path: str | Path) -> DeepSSIM:
    """Rebuild an encoder from its safetensors file.

    Returns:
        The network in evaluation mode, on the CPU.

    Raises:
        DataError: if the file is damaged or of another kind.
    """
    weights, settings = load_weights(path, NAME)
    options = parse_config({"encoder": settings}).encoder
    return rebuild(path, weights, sum(options.depths), lambda: DeepSSIM(options))


def embed(
    path: str | Path,
    pack: ImagePack,
    *,
    device: Device,
    batch_size: int = 256,
    precision: Precision = Precision.FLOAT32,
) -> Embeddings:
    """Embed every image of a pack.

    Args:
        path: encoder file.
        pack: images, in memory or open.
        device: where to compute.
        batch_size: images at a time.
        precision: see `extraction.extract`.

    Raises:
        DataError: if the encoder cannot be read or an embedding is not finite.
    """
    values = extract(
        load_encoder(path), pack, device=resolve_device(device), batch_size=batch_size, precision=precision
    )
    return Embeddings(values, pack.keys, NAME, file_checksum(path))
