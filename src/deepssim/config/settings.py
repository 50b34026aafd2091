"""All settings of a run, and how they are read from a file.

The classes of this room are the one home of every key, default, range and description. `config/config.yaml` and
`config/schemas/config.schema.yaml` are written from them (schema.py).

Not here: the choices that a setting has (choices.py), the sections themselves.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from deepssim.config.audit import AuditConfig
from deepssim.config.base import Section, Text
from deepssim.config.choices import VOLUME_METRICS, Device, Distortion, MetricName, Recipe
from deepssim.config.dataset import DatasetConfig
from deepssim.config.encoders import DarConfig, EncoderConfig, PublishedConfig
from deepssim.config.evaluation import EvaluationConfig, PairsConfig, SimilarityConfig, VerificationConfig
from deepssim.config.generative import LdmConfig, SynthesisConfig, VaeConfig
from deepssim.config.reading import read_section, read_setting
from deepssim.config.training import TrackingConfig
from deepssim.errors import ConfigError


class Config(Section):
    """All settings of a run."""

    seed: int = Field(0, ge=0, description="seed of all random numbers")
    device: Device = Field(Device.AUTO, description="where networks run: auto (a GPU if there is one), cpu or cuda")
    devices: int = Field(
        1,
        ge=1,
        description="GPUs of a machine that train together, or processes where there is no GPU. They split each batch.",
    )
    nodes: int = Field(1, ge=1, description="machines that train together; more than 1 needs Slurm (docs/cluster.md)")
    shards: int = Field(  # file names have three digits
        1, ge=1, le=1000, description="jobs that generate and score images in parallel (1 to 1000); changes no result"
    )
    container: Text = Field(
        "deepssim.sif",
        description="Image in which jobs run with --software-deployment-method apptainer, and only then: a file, relative to the "
        "folder of the study, or a URL such as docker://registry.example.org/deepssim:0.1.0. None is published; "
        "docs/containers.md says how to build one.",
    )
    dataset: DatasetConfig = Field(
        default_factory=DatasetConfig, description="the real images and how subjects are split"
    )
    vae: VaeConfig = Field(
        default_factory=VaeConfig, description="the autoencoder, which maps images to latents and back"
    )
    ldm: LdmConfig = Field(default_factory=LdmConfig, description="the latent diffusion model")
    synthesis: SynthesisConfig = Field(default_factory=SynthesisConfig, description="sampling of synthetic images")
    pairs: PairsConfig = Field(
        default_factory=PairsConfig,
        description="real-synthetic pairs that train and test the encoder, disjoint by subject",
    )
    encoder: EncoderConfig = Field(
        default_factory=EncoderConfig, description="DeepSSIM: a network whose cosine similarity predicts SSIM"
    )
    dar: DarConfig = Field(
        default_factory=DarConfig,
        description="a ResNet that learns without labels to recognise distorted views of an image",
    )
    published: PublishedConfig = Field(
        default_factory=PublishedConfig,
        description="Encoders trained elsewhere; docs/from-the-reference.md says where to find them. A metric with a "
        "file here is always evaluated. Without one, deepssim and dar are trained, and chen and semdedup are not "
        "available.",
    )
    similarity: SimilarityConfig = Field(
        default_factory=SimilarityConfig, description="scores between real and synthetic images"
    )
    evaluation: EvaluationConfig = Field(
        default_factory=EvaluationConfig, description="the metrics and how they are tested"
    )
    verification: VerificationConfig = Field(
        default_factory=VerificationConfig,
        description="exact SSIM of synthetic images after registration to training images",
    )
    audit: AuditConfig = Field(
        default_factory=AuditConfig,
        description="folders to judge without labels (docs/audit.md); config/audit.yaml is a start",
    )
    tracking: TrackingConfig = Field(
        default_factory=TrackingConfig,
        description="further logging of trainings beside CSV files and TensorBoard; changes no result",
    )

    def contradictions(self) -> Iterator[str]:
        """Yield a sentence for each group of settings of different sections that do not fit each other."""
        if self.synthesis.guidance_scale != 1 and not self.ldm.condition_dropout:
            yield (
                f"synthesis.guidance_scale is {self.synthesis.guidance_scale}, but ldm.condition_dropout is 0; "
                "guidance needs a model that was also trained without condition, so set the dropout to about 0.1"
            )
        if self.dataset.image_size is not None and self.audit.real is None:  # an audit trains no autoencoder
            yield from self.vae.refusals(self.dataset.image_size)
        if self.dataset.spatial_dims == 3 and self.audit.real is None:
            yield from self._not_of_volumes()
        if self.evaluation.planted and not self.verification.controls:
            yield (
                "evaluation.planted is true, but verification.controls is 0, so that no copies are planted; set it to about 40"
            )

    def _not_of_volumes(self) -> Iterator[str]:
        """Yield a sentence for each setting that only images can have."""
        metrics = [name.value for name in self.evaluation.metrics if name not in VOLUME_METRICS]
        published = [name.value for name in MetricName if getattr(self.published, name.value, None)]
        metrics += [name for name in published if name not in VOLUME_METRICS]
        if metrics:
            yield (
                f"dataset.spatial_dims is 3, but {' and '.join(metrics)} cannot compare volumes; leave them out of evaluation.metrics "
                f"(and section published), which may then list {' and '.join(name.value for name in VOLUME_METRICS)}"
            )
        if self.verification.candidates or self.evaluation.planted:
            yield (
                "dataset.spatial_dims is 3, but the workflow registers images only; set verification.candidates to 0 and "
                "evaluation.planted to false (`deepssim audit` registers volumes)"
            )
        if self.encoder.recipe is Recipe.PAPER and MetricName.DEEPSSIM in self.evaluation.metrics:
            yield (
                "dataset.spatial_dims is 3, but encoder.recipe 'paper' learns from labelled pairs of images; set it to 'all_pairs'"
            )
        if any(entry.kind is Distortion.JPEG for entry in self.evaluation.misalignment):
            yield "dataset.spatial_dims is 3, but evaluation.misalignment has jpeg, which only images can be; leave it out"


def parse_config(settings: Mapping[str, Any]) -> Config:
    """Check plain settings, each for itself and against the others, and build the typed config.

    Args:
        settings: the content of a config file; missing keys take their defaults.

    Raises:
        ConfigError: for a misspelt key, a wrong type, a value out of range or values that contradict each other,
            naming the key.
    """
    return read_section(Config, settings)


def load_config(path: str | Path) -> Config:
    """Read a YAML config file; see `parse_config`.

    Raises:
        ConfigError: naming the file, if it cannot be read or its settings are not usable.
    """
    settings = load_settings(path)
    try:
        return parse_config(settings)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def load_settings(path: str | Path) -> dict[str, Any]:
    """Read a YAML file as plain settings, whether they are usable or not.

    Raises:
        ConfigError: naming the file, if it cannot be read or holds no settings.
    """
    try:
        settings = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name an existing config file") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # such as a number of thousands of digits
        raise ConfigError(f"{path}: is not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: contains no settings; see config/config.yaml for an example")
    return settings


def typed_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Build only the named settings, so that a stage cannot read a setting that its rule does not declare.

    Args:
        settings: plain values by name. A name is that of a section or setting, such as "vae" or "seed", or dotted, such
            as "dataset.bit_depth"; missing keys of a section take their defaults.

    Returns:
        Typed values by the last part of the name: {"vae": VaeConfig(...), "seed": 0, "bit_depth": 8}.

    Raises:
        ConfigError: if there is no such setting or its value is not usable, as for a config file.
        ValueError: if two names have the same last part.
    """
    values: dict[str, Any] = {}
    for name, value in settings.items():
        last = name.rpartition(".")[2]
        if last in values:
            raise ValueError(f"two of the settings {', '.join(settings)} are called {last!r}")
        values[last] = read_setting(Config, name, value)
    return values
