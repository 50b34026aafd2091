"""Settings of the encoders, which turn an image into an embedding."""

import math
from typing import Annotated

from pydantic import Field

from deepssim.config.base import Count, Distinct, Section, Text
from deepssim.config.choices import Keep, Recipe
from deepssim.config.distortions import DistortionConfig, distortions
from deepssim.config.training import Epochs, KeepWhich, LearningRate, Passes, TrainingConfig

_Checksum = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]  # SHA-256


class EncoderConfig(TrainingConfig):
    """Section `encoder`: DeepSSIM, a network whose cosine similarity predicts SSIM."""

    backbone: Text | None = Field(
        None,
        description="Pretrained vision model of the library transformers: a folder, or a name on the Hugging Face "
        "hub, from which it is downloaded, such as facebook/convnext-base-224. With null, a ConvNeXt of the sizes "
        "below starts from random weights.",
    )
    frozen_stages: int = Field(
        0, ge=0, description="stages whose weights are kept, with those of the stem; 0 for none; 1 in the paper"
    )
    depths: tuple[Count, ...] = Field((1, 1, 2, 1), min_length=4, max_length=4, description="blocks per stage")
    widths: tuple[Count, ...] = Field((24, 48, 96, 192), min_length=4, max_length=4, description="channels per stage")
    patch_size: int = Field(4, ge=1, description="side of the patches that the first layer embeds, in pixels")
    canonicalize: bool = Field(
        True, description="first undo flip, rotation and contrast change of each image; the paper does not"
    )
    ssim_features: bool = Field(
        True,
        description="add fixed features whose cosine similarity is close to SSIM at the size of the images; the paper "
        "does not",
    )
    hidden_features: int = Field(512, ge=1, description="width of the hidden layer between features and embedding")
    embedding_features: int = Field(
        1024, ge=2, description="length of an embedding; more is more exact with ssim_features; 256 in the paper"
    )
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Dropout before the last layer, 0.33 in the paper. It lowers cosines in training but not "
        "afterwards, so that scores come out too high.",
    )
    weight_decay: float = Field(1e-3, ge=0, description="weight decay of the AdamW optimiser")
    gradient_norm: float = Field(1.0, gt=0, description="norm to which gradients are clipped")
    recipe: Recipe = Field(
        Recipe.ALL_PAIRS,
        description="""\
Training targets, compared in docs/encoder.md:
- all_pairs: exact SSIM of all pairs in a batch of families; a family is a real image with copies, neighbours and \
variations of it
- paper: SSIM of the sampled real-synthetic pairs only (arXiv:2509.16582)""",
    )
    epochs: Epochs = 6
    passes: Passes = 8
    batch_size: int = Field(48, ge=2, description="image pairs per batch; all_pairs takes twice as many images")
    keep: KeepWhich = Keep.LAST
    learning_rate: LearningRate = 2e-3
    augmentation: tuple[DistortionConfig, ...] = Field(
        distortions(flip=(0.5, 1.0), rotation=(0.5, 11.0), gamma=(0.5, 0.5)),
        description="Random distortions that the encoder learns to ignore, drawn anew for each training image. Leave "
        "out blur and noise: they would hide the defects of a poor copy.",
    )

    def multiply_adds(self, pixels: float) -> float:
        """Return about how many multiplications with additions the backbone takes for one batch in the forward pass.

        Args:
            pixels: height times width of an image.

        Returns:
            The number; infinity for a pretrained model, whose size is not known.
        """
        if self.backbone is not None:
            return math.inf
        sizes = [pixels / self.patch_size**2 / 4**stage for stage in range(len(self.widths))]
        # Of a block, a depthwise convolution of 7x7 pixels and two layers between C and 4 C channels
        blocks = sum(
            depth * (49 + 8 * width) * width * size
            for depth, width, size in zip(self.depths, self.widths, sizes, strict=True)
        )
        halving = sum(
            4 * before * width * size
            for before, width, size in zip(self.widths, self.widths[1:], sizes[1:], strict=False)
        )
        return 2 * self.batch_size * (3 * self.widths[0] * pixels + blocks + halving)


class DarConfig(TrainingConfig):
    """Section `dar`: the contrastive ResNet of arXiv:2402.01054, trained on the real images."""

    bottleneck: bool = Field(
        False, description="blocks of three convolutions; with depths [3, 4, 6, 3] and width 64: ResNet-50"
    )
    depths: tuple[Count, ...] = Field((1, 1, 1, 1), min_length=4, max_length=4, description="blocks per stage")
    width: int = Field(16, ge=1, description="channels of the first stage; each further stage has twice as many")
    embedding_features: int = Field(128, ge=2, description="length of an embedding")
    temperature: float = Field(
        0.1, gt=0, description="temperature of the contrastive loss; lower values stress hard negatives"
    )
    weight_decay: float = Field(1e-4, ge=0, description="weight decay of the optimiser")
    epochs: Epochs = 10
    passes: Passes = 10
    batch_size: int = Field(64, ge=2, description="images per batch, each in two views; all others are its negatives")
    keep: KeepWhich = Keep.LAST
    learning_rate: LearningRate = 2e-3
    augmentation: tuple[DistortionConfig, ...] = Field(
        distortions(flip=(0.8, 1.0), rotation=(0.8, 10.0), gamma=(0.8, 0.5)),
        description="Random distortions of each view of an image.",
    )

    def multiply_adds(self, pixels: float) -> float:
        """Return about how many multiplications with additions the convolutions of one batch take in the forward pass.

        Args:
            pixels: height times width of an image.
        """
        # Each stage has twice the channels and a quarter of the pixels of the one before, and so the same cost per block: two
        # convolutions of 3x3 pixels, or one between two of 1x1 pixels with four times the channels outside.
        block = (9 + 2 * 4 if self.bottleneck else 2 * 9) * self.width**2 * pixels / 16
        return 2 * self.batch_size * (49 * self.width * pixels / 4 + sum(self.depths) * block)


class PublishedConfig(Section):
    """Section `published`: encoders trained elsewhere; files that can run code are loaded only if they are trusted."""

    deepssim: Text | None = Field(None, description="DeepSSIM: TorchScript, or safetensors written by this program")
    chen: Text | None = Field(None, description="SSCD: TorchScript")
    dar: Text | None = Field(None, description="the ResNet of section dar: state dict (.pth or .safetensors)")
    semdedup: Text | None = Field(
        None,
        description="Checkpoint of BiomedCLIP (open_clip), or its name on the Hugging Face hub with hf-hub: before it; or a "
        "CLIP model of the library transformers: a folder, or a name on the hub.",
    )
    trust: Distinct[_Checksum] = Field(
        (),
        description="SHA-256 checksums of TorchScript and pickle files that may be loaded although they can run code. "
        "The error message for such a file shows its checksum.",
    )
