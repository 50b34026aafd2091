"""Settings of an audit."""

from collections.abc import Iterator
from typing import Any

from pydantic import Field, field_validator

from deepssim.config.base import Count, Distinct, Percentile, Section, Side, Text
from deepssim.config.choices import AuditUnit, Axis, Release
from deepssim.config.dataset import PERCENTILES, SUBJECT_PATTERN, VolumesConfig, not_increasing
from deepssim.config.distortions import DistortionConfig, distortions


class ContextConfig(Section):
    """Section `audit.context`: what an audit cannot see, as stated by whoever asks for it; changes no result."""

    auditor: Text | None = Field(None, description="who made the audit")
    date: str | None = Field(None, pattern=r"^\d{4}-\d{2}-\d{2}$", description="day of the audit, such as '2026-03-01'")
    purpose: Text | None = Field(None, description="what the audit is for, such as a decision on a release")
    release: Distinct[Release] = Field((), description="what is to be released: images, weights, interface")
    generator: Text | None = Field(None, description="the generator, with its version")
    parameters: Count | None = Field(None, description="number of its parameters")
    data_set: Text | None = Field(None, description="the data set that it was trained on, with its version")
    training_images: Count | None = Field(None, description="number of images that it was trained on")
    epochs: Count | None = Field(None, description="passes over these images")
    attacker: Text | None = Field(None, description="what an attacker is assumed to know and to have access to")


class AuditConfig(Section):
    """Section `audit`: folders of images that `deepssim audit` judges without labels, and how strictly."""

    real: Text | None = Field(None, description="folder of the generator's training images")
    synthetic: Text | None = Field(None, description="folder of the images that it generated")
    holdout: Text | None = Field(
        None,
        description="Folder of images of other subjects, on which the limit is calibrated. With null, training images among "
        "those of other subjects calibrate it, which needs several subjects.",
    )
    unit: AuditUnit = Field(
        AuditUnit.AUTO,
        description="""\
What is compared and counted:
- image: images; volumes are cut into slices
- volume: whole volumes (scans): files of volumes, DICOM series, arrays of 3 or more axes, stacks of pages, and folders of slices
- auto: volume if every file of all folders certainly holds volumes, else image""",
    )
    subjects: Text | None = Field(
        None,
        description="CSV file with columns image_path (or path) and subject, or metadata.csv or metadata.jsonl as in Hugging Face's "
        "imagefolder: file_name, and one of subject, subject_id, patient, patient_id and participant_id. With a column visit, images "
        "of one subject are of different visits only where it differs, and otherwise if they are of different files. The columns "
        "canary and split of a workflow's results/dataset/images.csv declare who was drawn at random, for the bound on epsilon.",
    )
    subject_pattern: str | None = Field(None, description=SUBJECT_PATTERN + "Used if there is no table of subjects.")
    covariates: Distinct[Text] = Field(
        (),
        description="Columns of audit.subjects, such as [age, sex, scanner], by whose values the report gives the rates of copied "
        "subjects. Name them before you see any result, and few: each one more is one more chance of a difference by chance.",
    )
    include: tuple[Text, ...] = Field(
        (),
        description="Glob patterns of the files to read in all folders, such as ['*.png', 'train/**']; all files if empty. A "
        "pattern without a slash matches names at any depth.",
    )
    exclude: tuple[Text, ...] = Field(
        (), description="glob patterns of files to leave out of all folders, such as ['*_mask.png', 'previews/**']"
    )
    skip_unreadable: bool = Field(
        False,
        description="Judge without the files that cannot be read. By default the verdict cannot be that there are no "
        "copies if some were not read.",
    )
    encoder: Text | None = Field(
        None,
        description="DeepSSIM encoder: safetensors, or TorchScript whose checksum is in published.trust. Its cosines are "
        "one more source of candidates and of evidence.",
    )
    thorough: bool = Field(
        False,
        description="train an encoder on the real images, for minutes to hours, unless one is named; docs/audit.md says what it adds",
    )
    misalignment: tuple[DistortionConfig, ...] = Field(
        distortions(translation=(0.4, 0.06), crop=(0.4, 0.15)),
        description="Random distortions that the encoder trained by the audit learns to ignore, in addition to "
        "encoder.augmentation.",
    )
    training_images: int = Field(
        40_000,
        ge=1,
        description="Most images that this encoder sees in training, eight for each real image and pass. The default "
        "takes minutes on two cores.",
    )
    autoencoder: Text | None = Field(
        None, description="the generator's autoencoder (safetensors), for one more positive control"
    )
    compared_at: Side = Field(
        128,
        le=1024,  # more would take a gigabyte for each thousand images
        description="Height and width in pixels at which images are compared, whatever their aspect ratio. Details that are "
        "finer are not looked at; keypoints never use more than 128.",
    )
    volume_side: int = Field(
        96,
        ge=24,
        le=160,  # more would take gigabytes for each hundred volumes
        description="voxels along each axis of the cube in which volumes are compared, whatever their shape",
    )
    image_size: tuple[Side, ...] = Field(
        (64, 64),
        min_length=2,
        max_length=2,
        description="height and width of the images that the encoder sees",
    )
    intensity_percentiles: tuple[Percentile, ...] = Field(
        (0.5, 99.5),
        min_length=2,
        max_length=2,
        description=PERCENTILES,
    )
    volumes: VolumesConfig = Field(
        default_factory=lambda: VolumesConfig(unoriented_axis=Axis.ALL),
        description="The slices of volumes, and DICOM images. Volumes of unknown orientation are cut along all axes: a copy "
        "that is cut along another axis than its original is missed.",
    )
    false_positive_rate: float = Field(
        0.01, gt=0, lt=1, description="accepted fraction of held-out images that are called copies"
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="confidence level of all intervals")
    bootstrap: int = Field(1000, ge=10, description="bootstrap samples of subjects")
    candidates: int = Field(
        3,
        ge=1,
        description="training images that each source of candidates names for an image (keypoints, patterns, encoder)",
    )
    controls: int = Field(
        40,
        ge=1,
        description="training images copied with each distortion; a third teach the score, the others are positive controls",
    )
    visits: int = Field(
        200,
        ge=1,
        description="Training images, at most, that are sought among the others, to see how often an image of the same subject at "
        "another visit is called a copy. Only images of subjects with several are drawn.",
    )
    seeds: int = Field(
        1,
        ge=1,
        description="Seeds with which the audit is repeated, the config's own first: the report is that of the first, the verdict "
        "the worst of all. Each takes as long as the first, training with thorough included.",
    )
    rating: bool = Field(
        False,
        description="write rating.html and rating.csv, in which readers call pairs of images the same or different",
    )
    rating_pairs: int = Field(
        60,
        ge=3,
        description="pairs that readers rate: a third each above the limit, just below and far below it, if there are so many",
    )
    ratings: tuple[Text, ...] = Field(
        (), description="rating.csv of each reader, filled in; the report compares them with the audit"
    )
    max_memory_gb: float = Field(
        2.5,
        gt=0,
        description="Memory limit in GB for what an audit holds of synthetic images: lists of them, 2 kB each, and batches "
        "of pixels, 0.3 GB; more images than fit are refused before any is read. Changes no result. Libraries (0.3 GB), real "
        "and held-out images (0.2 MB each), and the images of a single file while it is decoded come on top.",
    )
    gallery: int = Field(60, ge=1, description="pairs of images shown in the report")
    borderline: int = Field(12, ge=0, description="pairs closest to the limit shown in the report")
    de_identified: bool = Field(False, description="leave file names, paths and subjects out of all results")
    context: ContextConfig = Field(
        default_factory=ContextConfig,
        description="Who audits what, and why. The report shows entries that are null as missing; --context FILE sets them "
        "(docs/context.yaml is an example).",
    )

    @field_validator("volumes", mode="before")
    @classmethod
    def _all_axes(cls, given: Any) -> Any:
        return {"unoriented_axis": Axis.ALL} | given if isinstance(given, dict) else given

    def contradictions(self) -> Iterator[str]:
        """Yield a sentence for each group of settings that do not fit each other."""
        if self.unit is AuditUnit.VOLUME and self.autoencoder is not None:
            yield "audit.autoencoder is of images, but audit.unit is volume; leave the autoencoder out"
        if (self.real is None) is not (self.synthetic is None):
            yield "audit.real and audit.synthetic belong together; set both or neither"
        if self.covariates and self.subjects is None:
            yield (
                f"audit.covariates names {len(self.covariates)} columns of a table of subjects, first {self.covariates[0]!r}, and there "
                "is none; name the table (audit.subjects, --subjects)"
            )
        yield from not_increasing("audit.intensity_percentiles", self.intensity_percentiles)
