"""The encoder of Dar et al.: a ResNet that tells an image's own misaligned copies from other images.

Its layers have the names of the published state dict (`model.*` of a ResNet, `fc_end.*`), so that loads as it is.

Not here: the trainer (training.py), the score between embeddings (similarity/embedding_scores.py).

Source: arXiv:2402.01054; the loss is NT-Xent of Chen et al., arXiv:2002.05709.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
import torch.nn.functional as F
from monai.networks.nets.resnet import ResNet
from torch import Tensor, nn

from deepssim.choices import Device, MetricName, Precision
from deepssim.config import DarConfig, parse_config
from deepssim.encoders.embeddings import Embeddings
from deepssim.encoders.published import embed_with, trusted_checksum
from deepssim.errors import DataError
from deepssim.images import augment
from deepssim.images.packs import ImagePack
from deepssim.provenance import file_checksum
from deepssim.settings import as_settings
from deepssim.training import Trained, train, with_decay
from deepssim.training_callbacks import TRAIN_LOSS, VALID_LOSS
from deepssim.training_data import Batched
from deepssim.weights import about, load_weights, read_state_dict, save_weights

NAME = MetricName.DAR.value


class Dar(nn.Module):
    """ResNet with one input channel.

    Input: float32 (N, 1, H, W); each image is stretched to 0 to 1 inside. Output: float32 (N, D), length 1.
    """

    def __init__(self, options: DarConfig) -> None:
        super().__init__()
        self.options = options
        # MONAI gives these layers torchvision's names and, with these settings, its shapes and strides.
        self.model = ResNet(
            "bottleneck" if options.bottleneck else "basic",
            list(options.depths),
            [options.width * 2**stage for stage in range(4)],
            spatial_dims=2,
            n_input_channels=1,
            conv1_t_size=7,
            conv1_t_stride=2,
            num_classes=options.embedding_features,
            bias_downsample=False,
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of a batch."""
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        return F.normalize(self.model((images - low) / (high - low).clamp_min(1e-6)).float())


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Say how well each image's two views find each other among all views of a batch.

    Args:
        first, second: embeddings of two views of N images, (N, D), length 1.
        temperature: cosines are divided by it; positive.

    Returns:
        Mean cross-entropy over 2N views of choosing the partner among the 2N - 1 others; log(2N - 1) if all are alike.

    Source: arXiv:2002.05709.
    """
    views = torch.cat([first, second])
    cosines = (views @ views.T / temperature).fill_diagonal_(-torch.inf)
    partner = torch.arange(len(views), device=views.device).roll(len(first))
    return F.cross_entropy(cosines, partner)


class DarTraining(lightning.LightningModule):
    """Contrastive training; batches are (images, ) with images (N, 1, H, W), 0 to 1."""

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
    """The images of a pack, gathered per batch as float32 (N, 1, H, W), 0 to 1."""

    def __init__(self, pack: ImagePack) -> None:
        super().__init__(torch.arange(len(pack.keys)))
        self.pack = pack

    def __getitem__(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        (chosen,) = super().__getitem__(rows)
        values = self.pack.images[chosen.cpu().numpy()].astype(np.float32) / np.float32(self.pack.maximum)
        return (torch.from_numpy(values)[:, None],)


def train_dar(
    images: ImagePack, valid: ImagePack | None, options: DarConfig, *, seed: int, device: Device, state: Path
) -> tuple[Dar, Trained]:
    """Fit the encoder to real images, without labels.

    Args:
        images: N real images.
        valid: further ones to judge by, or None.
        options: section `dar`.
        seed, device, state: see `training.train`.

    Raises:
        DataError: if there are fewer than two images: one has no stranger.
    """
    if len(images.keys) < 2:
        raise DataError(f"dar: {len(images.keys)} images to train on; at least two are needed")
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
    )
    return module.network, trained


def save_encoder(path: str | Path, network: Dar) -> None:
    """Write weights and the options needed to rebuild the network to one safetensors file."""
    save_weights(path, network, NAME, as_settings(network.options))


def load_encoder(path: str | Path, trust: Sequence[str] = ()) -> tuple[Dar, str]:
    """Load weights of this program or a published state dict.

    Returns:
        The network in evaluation mode, on the CPU, and the file's SHA-256.

    Raises:
        DataError: if the file is damaged or is another network's.
        ConfigError: if it is pickled and not trusted.
    """
    if about(path).get("kind") == NAME:
        weights, options = load_weights(path, NAME)
        network, checksum = Dar(parse_config({"dar": options}).dar), file_checksum(path)
    else:
        checksum = trusted_checksum(path, trust)
        # The last layer judges pairs in its training and takes no part in the embedding.
        weights = {name: value for name, value in read_state_dict(path).items() if not name.startswith("fc_end.")}
        network = Dar(_options_of(weights, path))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise DataError(f"{path}: does not fit a ResNet ({' '.join(str(error).split())[:300]})") from None
    return network.eval(), checksum


def _options_of(weights: Mapping[str, Tensor], path: str | Path) -> DarConfig:
    """Read the network's shape off its weights."""
    needed = ("model.conv1.weight", "model.layer4.0.conv1.weight", "model.fc.weight")
    absent = [name for name in needed if name not in weights]
    if absent or weights[needed[0]].shape[1] != 1:
        what = f"lacks {absent[0]!r}" if absent else "takes more than one channel"
        raise DataError(f"{path}: {what}; expected the state dict of Dar's ResNet (`model.*`, `fc_end.*`), one channel")
    blocks = {tuple(name.split(".")[1:3]) for name in weights if name.startswith("model.layer")}
    return DarConfig(
        bottleneck="model.layer1.0.conv3.weight" in weights,
        depths=tuple(sum(layer == f"layer{stage}" for layer, _ in blocks) for stage in range(1, 5)),
        width=weights[needed[0]].shape[0],
        embedding_features=weights[needed[2]].shape[0],
    )


def embed(
    weights: str, pack: ImagePack, device: Device, batch_size: int, precision: Precision, trust: Sequence[str] = ()
) -> Embeddings:
    """Embed every image of a pack; see `published.embed_with`."""
    network, checksum = load_encoder(weights, trust)
    return embed_with(
        network, pack, MetricName.DAR, checksum, device=device, batch_size=batch_size, precision=precision
    )
