"""The settings of a run: one frozen dataclass per section of the config file.

These classes are the one home of every default and range. `config/schemas/config.schema.yaml` is written from them
(`deepssim schema`), and tests keep the schema and `config/config.yaml` equal to them.

Not here: the choices that a setting has (choices.py), thresholds of the metrics (similarity/metrics.py).
"""

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepssim.choices import (
    Axis,
    Conditioning,
    Contrast,
    DatasetKind,
    Decay,
    Device,
    Distortion,
    Duplication,
    FsimVariant,
    Intensity,
    Keep,
    Layout,
    MetricName,
    Perceptual,
    Precision,
    Recipe,
    Registration,
    Sampler,
    WandbMode,
)
from deepssim.errors import ConfigError
from deepssim.settings import build, explain, require_plain, schema_of, setting

_FRACTION = {"minimum": 0, "maximum": 1}
_COUNTS = {"items": {"minimum": 1}, "minItems": 1}


@dataclass(frozen=True, kw_only=True)
class VirtualPatientsConfig:
    """Section `dataset.virtual_patients`: the population of the demo."""

    # The generator trains on few patients, which it memorizes soon; the encoder learns anatomy from the valid ones too.
    train_patients: int = setting(12, minimum=3)
    valid_patients: int = setting(64, minimum=0)
    holdout_patients: int = setting(4, minimum=0)
    contrasts: tuple[Contrast, ...] = setting((Contrast.T1, Contrast.T2), minItems=1, uniqueItems=True)
    all_contrasts: bool = setting(False)  # scan every patient with every contrast, or with one, in turn
    slices_mm: tuple[float, ...] = setting((20.0, 26.0), minItems=1, items={"minimum": -50, "maximum": 65})  # MNI z
    deformation_mm: float = setting(5.0, minimum=0, maximum=15)  # standard deviation of the smooth displacement
    noise: float = setting(0.01, minimum=0, maximum=0.5)  # standard deviation, share of the brightest tissue


@dataclass(frozen=True, kw_only=True)
class VolumesConfig:
    """Section `dataset.volumes`: how slices are taken from NIfTI volumes."""

    axis: Axis = setting(Axis.AXIAL)
    first_slice: int = setting(0, minimum=0)  # voxel index along the axis after reorientation to RAS
    last_slice: int | None = setting(None, minimum=0)  # inclusive; null is the last one
    step: int = setting(1, minimum=1)
    min_foreground: float = setting(0.1, **_FRACTION)  # share of non-zero pixels below which a slice is left out


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """Section `dataset`: which real images there are and how subjects are split."""

    kind: DatasetKind = setting(DatasetKind.VIRTUAL_PATIENTS)
    path: str | None = setting(None)
    file_patterns: tuple[str, ...] = setting(("**/*",), minItems=1, items={"minLength": 1})
    subject_pattern: str | None = setting(None)
    image_size: tuple[int, ...] | None = setting((48, 48), minItems=2, maxItems=2, items={"minimum": 8})
    bit_depth: int = setting(8, enum=[8, 16])
    intensity_percentiles: tuple[float, ...] = setting(
        (0.5, 99.5), minItems=2, maxItems=2, items={"minimum": 0, "maximum": 100}
    )
    valid_fraction: float = setting(0.1, minimum=0, exclusiveMaximum=1)
    holdout_fraction: float = setting(0.1, minimum=0, exclusiveMaximum=1)
    virtual_patients: VirtualPatientsConfig = field(default_factory=VirtualPatientsConfig)
    volumes: VolumesConfig = field(default_factory=VolumesConfig)

    def __post_init__(self) -> None:
        if self.kind is not DatasetKind.VIRTUAL_PATIENTS and not self.path:
            raise ConfigError(
                f"dataset.kind is {self.kind.value!r} but dataset.path is not set; name the folder or CSV"
            )
        if self.valid_fraction + self.holdout_fraction >= 1:
            raise ConfigError(
                f"dataset.valid_fraction {self.valid_fraction} and dataset.holdout_fraction {self.holdout_fraction} "
                "leave no subject to train on; their sum must be below 1"
            )
        if self.intensity_percentiles[0] >= self.intensity_percentiles[1]:
            raise ConfigError(
                f"dataset.intensity_percentiles is {list(self.intensity_percentiles)}; the first must be the smaller"
            )


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What every training section has in common."""

    epochs: int = setting(100, minimum=1)
    passes: int = setting(1, minimum=1)  # over the data in an epoch: few images make epochs too short to be of use
    batch_size: int = setting(16, minimum=1)
    accumulate: int = setting(1, minimum=1)  # batches whose gradients are added up before a step
    learning_rate: float = setting(1e-4, exclusiveMinimum=0)
    decay: Decay = setting(Decay.COSINE)
    validate_every: int = setting(1, minimum=1)  # epochs between two validations, each followed by a checkpoint
    keep: Keep = setting(Keep.BEST)
    precision: Precision = setting(Precision.AUTO)
    compile: bool = setting(False)  # torch.compile: minutes at the start, faster steps


@dataclass(frozen=True, kw_only=True)
class VaeConfig(TrainingConfig):
    """Section `vae`: the autoencoder between images and latents."""

    channels: tuple[int, ...] = setting((16, 16, 32, 64), **_COUNTS)
    latent_channels: int = setting(8, minimum=1)
    residual_blocks: int = setting(1, minimum=1)
    norm_groups: int = setting(8, minimum=1)
    kl_weight: float = setting(1e-6, minimum=0)
    perceptual: Perceptual = setting(Perceptual.NONE)
    perceptual_weight: float = setting(0.1, minimum=0)
    adversarial_weight: float = setting(0.0, minimum=0)  # 0: no discriminator
    discriminator_channels: int = setting(32, minimum=1)
    discriminator_layers: int = setting(3, minimum=1)
    pictures_every: int = setting(5, minimum=1)  # epochs between two pictures of reconstructions
    epochs: int = setting(10, minimum=1)
    passes: int = setting(16, minimum=1)
    batch_size: int = setting(4, minimum=1)
    learning_rate: float = setting(2e-3, exclusiveMinimum=0)
    validate_every: int = setting(1, minimum=1)

    def __post_init__(self) -> None:
        _check_groups("vae", self.channels, self.norm_groups)


@dataclass(frozen=True, kw_only=True)
class MemorizationConfig:
    """Section `ldm.memorization`: count copies while the diffusion model trains."""

    every: int = setting(2, minimum=0)  # epochs between two counts; 0 never counts
    images: int = setting(48, minimum=1)  # generated for a count
    stop_above: float | None = setting(None, **_FRACTION)  # share of copies at which the training ends


@dataclass(frozen=True, kw_only=True)
class LdmConfig(TrainingConfig):
    """Section `ldm`: the diffusion model in latent space."""

    channels: tuple[int, ...] = setting((48, 96), **_COUNTS)
    attention_levels: tuple[bool, ...] = setting((False, True), minItems=1)
    head_channels: int = setting(96, minimum=1)
    residual_blocks: int = setting(1, minimum=1)
    norm_groups: int = setting(16, minimum=1)
    timesteps: int = setting(1000, minimum=2)
    beta_start: float = setting(0.0015, exclusiveMinimum=0, exclusiveMaximum=1)
    beta_end: float = setting(0.0205, exclusiveMinimum=0, exclusiveMaximum=1)
    epochs: int = setting(10, minimum=1)
    passes: int = setting(200, minimum=1)
    batch_size: int = setting(24, minimum=1)
    learning_rate: float = setting(2e-3, exclusiveMinimum=0)
    validate_every: int = setting(1, minimum=1)
    keep: Keep = setting(Keep.LAST)
    scale_latents: bool = setting(True)
    ema_decay: float = setting(0.0, minimum=0, exclusiveMaximum=1)  # of the average of weights; 0 for none
    conditioning: Conditioning = setting(Conditioning.NONE)
    # The six covariates of arXiv:2509.16582.
    condition_columns: tuple[str, ...] = setting(
        ("age_norm", "sex_norm", "sequence_norm", "csf_perc", "wm_perc", "gm_perc"), minItems=1, uniqueItems=True
    )
    condition_dropout: float = setting(0.0, minimum=0, exclusiveMaximum=1)  # share of images trained without condition
    duplication: Duplication = setting(Duplication.NONE)
    duplication_factor: int = setting(1, minimum=1)
    memorization: MemorizationConfig = field(default_factory=MemorizationConfig)

    def __post_init__(self) -> None:
        _check_groups("ldm", self.channels, self.norm_groups)
        if self.memorization.every % self.validate_every:
            raise ConfigError(
                f"ldm.memorization.every {self.memorization.every} is not a multiple of ldm.validate_every "
                f"{self.validate_every}; copies are counted for checkpoints"
            )
        if self.duplication_factor != 1 and self.duplication is not Duplication.FIXED:
            raise ConfigError(
                f"ldm.duplication_factor is {self.duplication_factor}, but ldm.duplication is "
                f"{self.duplication.value!r}; set it to 'fixed'"
            )
        if self.condition_dropout and self.conditioning is Conditioning.NONE:
            raise ConfigError(
                "ldm.condition_dropout is set, but ldm.conditioning is 'none'; there is nothing to leave out"
            )
        if len(self.attention_levels) != len(self.channels):
            raise ConfigError(
                f"ldm.attention_levels has {len(self.attention_levels)} entries and ldm.channels {len(self.channels)}; "
                "give one per level"
            )
        for level, (channels, attention) in enumerate(zip(self.channels, self.attention_levels, strict=True)):
            if attention and channels % self.heads_at(level):
                raise ConfigError(
                    f"ldm.head_channels {self.head_channels} does not divide the {channels} of level {level}"
                )
        if self.beta_start >= self.beta_end:
            raise ConfigError(f"ldm.beta_start {self.beta_start} must be below ldm.beta_end {self.beta_end}")

    def heads_at(self, level: int) -> int:
        """Channels per attention head at a level: `head_channels`, or all channels where there are fewer."""
        return min(self.head_channels, self.channels[level])


@dataclass(frozen=True, kw_only=True)
class SynthesisConfig:
    """Section `synthesis`: sampling from the trained model."""

    images_per_record: int = setting(16, minimum=1)
    sampler: Sampler = setting(Sampler.DDIM)
    sampler_steps: int = setting(50, minimum=4)
    guidance_scale: float = setting(1.0, minimum=0)  # of classifier-free guidance; 1 for none
    intensity: Intensity = setting(Intensity.PER_IMAGE)
    batch_size: int = setting(64, minimum=1)


@dataclass(frozen=True, kw_only=True)
class PairsConfig:
    """Section `pairs`: the real-synthetic pairs that train and test the encoder, apart by subject."""

    valid_fraction: float = setting(0.15, exclusiveMinimum=0, exclusiveMaximum=1)
    test_fraction: float = setting(0.4, exclusiveMinimum=0, exclusiveMaximum=1)
    train_per_class: int = setting(4000, minimum=1)
    valid_per_class: int = setting(300, minimum=1)
    test_per_class: int = setting(300, minimum=1)

    def __post_init__(self) -> None:
        if self.valid_fraction + self.test_fraction >= 1:
            raise ConfigError("pairs.valid_fraction and pairs.test_fraction leave no subject to train the encoder on")


# An exponent of the intensities must stay positive, a part of the image must remain, a blur has a window of bounded size.
MOST_STRENGTH = {
    Distortion.GAMMA: 0.99, Distortion.SCALE: 0.9, Distortion.CROP: 0.9, Distortion.TRANSLATION: 1.0, Distortion.JPEG: 1.0,
    Distortion.BIAS_FIELD: 0.99, Distortion.ROTATION: 180.0, Distortion.BLUR: 5.0,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DistortionConfig:
    """One entry of a list of random changes of an image, each with its own probability; see images/augment.py."""

    kind: Distortion = setting(Distortion.FLIP)
    probability: float = setting(0.5, **_FRACTION)
    strength: float = setting(1.0, minimum=0)  # the most that happens; its unit depends on the kind

    def __post_init__(self) -> None:
        most = MOST_STRENGTH.get(self.kind)
        if most is not None and self.strength > most:
            raise ConfigError(
                f"strength {self.strength:g} of {self.kind.value!r} is not usable; it is at most {most:g}"
            )


def _distortions(**probability_and_strength: tuple[float, float]) -> tuple[DistortionConfig, ...]:
    return tuple(
        DistortionConfig(kind=Distortion(kind), probability=probability, strength=strength)
        for kind, (probability, strength) in probability_and_strength.items()
    )


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(TrainingConfig):
    """Section `encoder`: the DeepSSIM network and its training."""

    backbone: str | None = setting(None, minLength=1)  # folder or hub name of a vision model of transformers
    frozen_stages: int = setting(0, minimum=0)  # of the backbone, after its stem, which is frozen with them
    depths: tuple[int, ...] = setting((1, 1, 2, 1), minItems=4, maxItems=4, items={"minimum": 1})
    widths: tuple[int, ...] = setting((24, 48, 96, 192), minItems=4, maxItems=4, items={"minimum": 1})
    patch_size: int = setting(4, minimum=1)
    canonicalize: bool = setting(True)  # bring every image to a common pose and contrast first
    ssim_features: bool = setting(True)  # start from embeddings whose cosines are near to SSIM
    hidden_features: int = setting(512, minimum=1)
    embedding_features: int = setting(1024, minimum=2)
    dropout: float = setting(0.0, minimum=0, exclusiveMaximum=1)
    weight_decay: float = setting(1e-3, minimum=0)
    gradient_norm: float = setting(1.0, exclusiveMinimum=0)
    recipe: Recipe = setting(Recipe.ALL_PAIRS)
    epochs: int = setting(6, minimum=1)
    passes: int = setting(8, minimum=1)
    batch_size: int = setting(48, minimum=2)  # image pairs per optimiser step; all_pairs has as many images in families
    keep: Keep = setting(Keep.LAST)
    learning_rate: float = setting(2e-3, exclusiveMinimum=0)
    augmentation: tuple[DistortionConfig, ...] = setting(
        _distortions(flip=(0.5, 1.0), rotation=(0.5, 11.0), gamma=(0.5, 0.5))
    )


@dataclass(frozen=True, kw_only=True)
class DarConfig(TrainingConfig):
    """Section `dar`: the contrastive ResNet of arXiv:2402.01054 and its training on the real images."""

    bottleneck: bool = setting(False)  # blocks of three convolutions, as in ResNet-50
    depths: tuple[int, ...] = setting((1, 1, 1, 1), minItems=4, maxItems=4, items={"minimum": 1})
    width: int = setting(16, minimum=1)  # channels of the first stage; each later one doubles them
    embedding_features: int = setting(128, minimum=2)
    temperature: float = setting(0.1, exclusiveMinimum=0)
    weight_decay: float = setting(1e-4, minimum=0)
    epochs: int = setting(10, minimum=1)
    passes: int = setting(10, minimum=1)
    batch_size: int = setting(64, minimum=2)  # images, each in two views
    keep: Keep = setting(Keep.LAST)
    learning_rate: float = setting(2e-3, exclusiveMinimum=0)
    augmentation: tuple[DistortionConfig, ...] = setting(
        _distortions(flip=(0.8, 1.0), rotation=(0.8, 10.0), gamma=(0.8, 0.5))
    )


@dataclass(frozen=True, kw_only=True)
class PublishedConfig:
    """Section `published`: encoders that others trained; no file is loaded that could run code unless it is trusted."""

    deepssim: str | None = setting(None, minLength=1)
    chen: str | None = setting(None, minLength=1)
    dar: str | None = setting(None, minLength=1)
    semdedup: str | None = setting(None, minLength=1)
    trust: tuple[str, ...] = setting((), uniqueItems=True, items={"pattern": "^[0-9a-f]{64}$"})  # SHA-256


@dataclass(frozen=True, kw_only=True)
class SimilarityConfig:
    """Section `similarity`: memory and size of the score matrices."""

    max_memory_gb: float = setting(2.0, exclusiveMinimum=0)
    layout: Layout = setting(Layout.AUTO)
    dense_limit: int = setting(500_000_000, minimum=1)  # scores; 2 GB
    top_k: int = setting(10, minimum=1)
    fsim_variant: FsimVariant = setting(FsimVariant.PHASE_CONGRUENCY)


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Section `evaluation`: which scores are judged and against what misalignment."""

    metrics: tuple[MetricName, ...] = setting(
        (MetricName.DEEPSSIM, MetricName.DAR, MetricName.SSIM, MetricName.FSIM), minItems=1, uniqueItems=True
    )
    embedding_batch_size: int = setting(256, minimum=1)
    embedding_precision: Precision = setting(Precision.FLOAT32)
    # The misaligned evaluation of arXiv:2509.16582.
    misalignment: tuple[DistortionConfig, ...] = setting(
        _distortions(flip=(0.8, 1.0), rotation=(0.8, 10.0), gamma=(0.8, 0.5))
    )


@dataclass(frozen=True, kw_only=True)
class VerificationConfig:
    """Section `verification`: exact SSIM of the encoder's best candidates after registration."""

    candidates: int = setting(0, minimum=0)  # synthetic images with the highest scores; 0 leaves this out
    registration: Registration = setting(Registration.SHIFT)


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """Section `audit`: folders of images that `deepssim audit` judges without labels, and how strictly."""

    real: str | None = setting(None, minLength=1)
    synthetic: str | None = setting(None, minLength=1)
    holdout: str | None = setting(None, minLength=1)
    subjects: str | None = setting(None, minLength=1)  # CSV with image_path and subject
    subject_pattern: str | None = setting(None)
    encoder: str | None = setting(None, minLength=1)  # null trains one on the real images
    # what an encoder trained by the audit learns to see through, beside encoder.augmentation
    misalignment: tuple[DistortionConfig, ...] = setting(_distortions(translation=(0.4, 0.06), crop=(0.4, 0.15)))
    training_images: int = setting(80_000, minimum=1)  # that it sees at most, in whole passes over the real images
    autoencoder: str | None = setting(None, minLength=1)  # of the generator, for one more control
    image_size: tuple[int, ...] = setting((64, 64), minItems=2, maxItems=2, items={"minimum": 8})
    intensity_percentiles: tuple[float, ...] = setting(
        (0.5, 99.5), minItems=2, maxItems=2, items={"minimum": 0, "maximum": 100}
    )
    false_positive_rate: float = setting(0.01, exclusiveMinimum=0, exclusiveMaximum=1)
    confidence: float = setting(0.95, exclusiveMinimum=0, exclusiveMaximum=1)
    bootstrap: int = setting(1000, minimum=10)
    top_k: int = setting(50, minimum=1)  # the neighbourhood of Carlini et al. 2023, arXiv:2301.13188
    controls: int = setting(200, minimum=1)  # training images copied for each distortion
    verified: int = setting(200, minimum=0)  # best candidates whose exact SSIM is computed after alignment
    gallery: int = setting(60, minimum=1)  # pairs shown in the report
    borderline: int = setting(12, minimum=0)  # pairs next to the limit shown in the report
    de_identified: bool = setting(False)

    def __post_init__(self) -> None:
        if (self.real is None) is not (self.synthetic is None):
            raise ConfigError("audit.real and audit.synthetic belong together; name both folders or none")
        if self.intensity_percentiles[0] >= self.intensity_percentiles[1]:
            raise ConfigError(
                f"audit.intensity_percentiles is {list(self.intensity_percentiles)}; the first must be the smaller"
            )


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """Section `tracking`: where trainings are followed besides CSV and TensorBoard; changes no result."""

    wandb_project: str | None = setting(None, minLength=1)
    wandb_mode: WandbMode = setting(WandbMode.OFFLINE)


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of a run."""

    seed: int = setting(0, minimum=0)
    device: Device = setting(Device.AUTO)
    devices: int = setting(1, minimum=1)  # that train together on a machine: GPUs, or processes without a GPU
    nodes: int = setting(1, minimum=1)  # machines that train together, under Slurm
    shards: int = setting(1, minimum=1, maximum=1000)  # file names have three digits
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    vae: VaeConfig = field(default_factory=VaeConfig)
    ldm: LdmConfig = field(default_factory=LdmConfig)
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    dar: DarConfig = field(default_factory=DarConfig)
    published: PublishedConfig = field(default_factory=PublishedConfig)
    similarity: SimilarityConfig = field(default_factory=SimilarityConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    verification: VerificationConfig = field(default_factory=VerificationConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


def _check_groups(section: str, channels: Iterable[int], groups: int) -> None:
    for width in channels:
        if width % groups:
            raise ConfigError(f"{section}.norm_groups {groups} does not divide {section}.channels entry {width}")


def parse_config(settings: Mapping[str, Any]) -> Config:
    """Check raw settings against the schema and each other and build the typed config.

    Args:
        settings: the content of a config file; missing keys take their defaults.

    Raises:
        ConfigError: for a misspelt key, a wrong type, a value out of range or two that do not fit, naming the key.
    """
    config = _typed(settings)
    if config.synthesis.guidance_scale != 1 and not config.ldm.condition_dropout:
        raise ConfigError(
            f"synthesis.guidance_scale is {config.synthesis.guidance_scale}, but ldm.condition_dropout is 0; guidance "
            "needs a model that was trained without condition now and then, so set it to about 0.1"
        )
    from deepssim.similarity.metrics import weights_of  # it reads the settings too

    for metric in config.evaluation.metrics:
        weights_of(metric, config.published)
    return config


def _typed(settings: Mapping[str, Any]) -> Config:
    import jsonschema

    require_plain(settings)
    validator = jsonschema.Draft202012Validator(json_schema())
    errors = sorted(validator.iter_errors(settings), key=lambda error: [str(part) for part in error.absolute_path])
    if errors:
        raise ConfigError(explain(errors[0]) + (f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""))
    return build(Config, settings)


def load_config(path: str | Path) -> Config:
    """Read a YAML config file; see `parse_config`."""
    import yaml

    try:
        settings = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name an existing config file") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # such as a number of thousands of digits
        raise ConfigError(f"{path}: is not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: holds no settings; see config/config.yaml for an example")
    try:
        return parse_config(settings)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def sections(settings: Mapping[str, Any]) -> types.SimpleNamespace:
    """Build only the named parts of a config, so that a stage cannot read a setting that its rule does not declare."""
    config = _typed(settings)
    return types.SimpleNamespace(**{name: getattr(config, name) for name in settings})


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a config file; closed, so that a misspelt key stops the run before any job starts."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema_of(Config)}
