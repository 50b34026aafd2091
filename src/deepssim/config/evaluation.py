"""Settings of pairs, scores and their evaluation."""

from collections.abc import Iterator

from pydantic import Field

from deepssim.config.base import Distinct, Section
from deepssim.config.choices import FsimVariant, Layout, MetricName, Precision
from deepssim.config.distortions import DistortionConfig, distortions


class PairsConfig(Section):
    """Section `pairs`: the real-synthetic pairs that train and test the encoder, disjoint by subject."""

    valid_fraction: float = Field(
        0.15, gt=0, lt=1, description="fraction of the generator's training subjects whose pairs validate the encoder"
    )
    test_fraction: float = Field(
        0.4, gt=0, lt=1, description="fraction of the generator's training subjects whose pairs test the metrics"
    )
    train_per_class: int = Field(
        4000, ge=1, description="training pairs of each class (different, similar, duplicate), at most"
    )
    valid_per_class: int = Field(300, ge=1, description="validation pairs of each class, at most")
    test_per_class: int = Field(300, ge=1, description="test pairs of each class, at most")

    def contradictions(self) -> Iterator[str]:
        """Yield a sentence for each group of settings that do not fit each other."""
        if self.valid_fraction + self.test_fraction >= 1:
            yield (
                f"pairs.valid_fraction {self.valid_fraction} and pairs.test_fraction {self.test_fraction} "
                "leave no subjects to train the encoder on; their sum must be below 1"
            )


class SimilarityConfig(Section):
    """Section `similarity`: computation and storage of scores between real and synthetic images."""

    max_memory_gb: float = Field(
        2.0,
        gt=0,
        description="memory limit of a job that computes scores, in GB; does not change the scores. The first run on a machine "
        "compiles loops and takes 0.13 GB more.",
    )
    layout: Layout = Field(
        Layout.AUTO,
        description="""\
Scores to store:
- dense: all
- top_k: the highest of each image and those of labelled pairs, which are all that the evaluation needs
- auto: dense up to dense_limit scores, top_k beyond""",
    )
    dense_limit: int = Field(
        500_000_000, ge=1, description="most scores that are stored as a dense matrix; each takes 4 bytes"
    )
    top_k: int = Field(10, ge=1, description="scores stored per image with `layout: top_k`")
    exact: bool = Field(
        False,
        description="Compute the SSIM of all pairs also where top_k is stored. Otherwise, for 8-bit images on the processor, it "
        "is computed for pairs whose estimate may reach a list; the file says for how many, and that at most 0.01 scores are "
        "expected to be missed.",
    )
    fsim_variant: FsimVariant = Field(
        FsimVariant.PHASE_CONGRUENCY,
        description="FSIM with phase_congruency, as published, or simplified, as in the paper's code, which takes the "
        "image gradient in place of phase congruency.",
    )


class EvaluationConfig(Section):
    """Section `evaluation`: the metrics and how they are tested."""

    metrics: Distinct[MetricName] = Field(
        (MetricName.DEEPSSIM, MetricName.DAR, MetricName.SSIM, MetricName.FSIM),
        min_length=1,
        description="Metrics to evaluate: deepssim, dar, ssim (needed for the report), fsim and, if section published "
        "has their weights, chen and semdedup. Metrics whose weights it has are always added.",
    )
    embedding_batch_size: int = Field(256, ge=1, description="images that an encoder embeds at a time")
    embedding_precision: Precision = Field(
        Precision.FLOAT32,
        description="Number format of encoders: float32, bfloat16 (two to four times as fast for large encoders) or "
        "auto, which takes bfloat16 where the hardware supports it. A run stops if bfloat16 changes a cosine by more "
        "than 0.002.",
    )
    misalignment: tuple[DistortionConfig, ...] = Field(
        distortions(flip=(0.8, 1.0), rotation=(0.8, 10.0), gamma=(0.8, 0.5)),  # those of arXiv:2509.16582
        description="Random distortions of the misaligned evaluation, drawn once for each image. The default is the "
        "paper's.",
    )
    planted: bool = Field(
        False,
        description="Test the metrics also on planted copies (verification.controls) in place of duplicates, for a generator "
        "that copies nothing. All results of planted copies are marked as such.",
    )


class VerificationConfig(Section):
    """Section `verification`: exact SSIM of synthetic images after registration to training images."""

    candidates: int = Field(
        3,
        ge=0,
        description="training images that each source of candidates (keypoints at two levels of detail, coarse pattern, "
        "DeepSSIM) names for a synthetic image; the most promising are registered. 0 skips this step, and the report then "
        "counts no copies that are flipped, rotated or shifted.",
    )
    controls: int = Field(
        40,
        ge=0,
        description="training images of which copies are planted (through the autoencoder, softened, with noise, by JPEG; then "
        "misaligned), to see whether copies would be found. Without them, a report never says that there are no copies.",
    )
