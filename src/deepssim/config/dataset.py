"""Settings of the real images."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from deepssim.config.base import Count, Distinct, Fraction, Percentile, Section, Side, Text
from deepssim.config.choices import Axis, Contrast, DatasetKind, DicomWindow, FourthAxis, Orientation

SUBJECT_PATTERN = (
    "Regular expression that finds the subject in an image's path relative to the folder. Its one group in parentheses "
    "is the subject, as in '^(patient\\d+)_'. "
)
PERCENTILES = "Percentiles of non-zero values that become black and white, for volumes and images of more than 8 bits."


class VirtualPatientsConfig(Section):
    """Section `dataset.virtual_patients`: the simulated patients of the demo."""

    train_patients: int = Field(
        12, ge=3, description="patients that train the generator; few, so that it soon memorizes them"
    )
    valid_patients: int = Field(
        64, ge=0, description="patients that validate the generator and train the encoder; many, to show anatomy"
    )
    holdout_patients: int = Field(4, ge=0, description="patients that no training uses")
    contrasts: Distinct[Contrast] = Field(
        (Contrast.T1, Contrast.T2), min_length=1, description="contrasts of the scans: t1, t2 or both"
    )
    all_contrasts: bool = Field(
        False, description="true: scan every patient with all contrasts; false: with one of them, in turn"
    )
    slices_mm: tuple[Annotated[float, Field(ge=-50, le=65)], ...] = Field(
        (20.0, 26.0),
        min_length=1,
        description="height of each axial slice in MNI space, in mm (-50 to 65); not used with spatial_dims 3",
    )
    deformation_mm: float = Field(
        5.0, ge=0, le=15, description="how much brains differ: standard deviation of their random deformation, in mm"
    )
    noise: float = Field(
        0.01, ge=0, le=0.5, description="standard deviation of the noise, as a fraction of the brightest tissue"
    )
    visits: Count = Field(
        1,
        description="with spatial_dims 3: volumes of each patient and contrast, which differ in the position of the head, noise, "
        "bias field and age",
    )
    movement: float = Field(
        1.0,
        ge=0,
        le=5,
        description="with spatial_dims 3: how differently heads lie, in units of 4 degrees and 4 mm (standard deviation)",
    )

    def images_per_patient(self, spatial_dims: int) -> int:
        """Return how many images, or volumes with `spatial_dims` 3, there are of each patient."""
        contrasts = len(self.contrasts) if self.all_contrasts else 1
        return contrasts * (self.visits if spatial_dims == 3 else len(self.slices_mm))


class VolumesConfig(Section):
    """Section `dataset.volumes`: how volumes are cut into slices, and how they and DICOM files are displayed."""

    axis: Axis = Field(
        Axis.AXIAL,
        description="orientation of the slices: axial, coronal, sagittal, or all for slices along all three axes",
    )
    unoriented_axis: Axis | None = Field(
        None,
        description="axis for volumes that do not record their orientation, whose stored axes are taken as left to right, "
        "posterior to anterior and inferior to superior: axial, coronal, sagittal or all; null: as axis",
    )
    first_slice: int = Field(0, ge=0, description="first slice: voxel index along the axis after reorientation to RAS")
    last_slice: int | None = Field(None, ge=0, description="last slice, included; null: the last of the volume")
    step: int = Field(1, ge=1, description="distance between slices in voxels; 1 takes every slice")
    min_foreground: Fraction = Field(
        0.1,
        description="A slice is left out if it has fewer pixels that are not background than this fraction, 0 to 1, of the "
        "pixels of the fullest slice of its volume.",
    )
    fourth_axis: FourthAxis = Field(
        FourthAxis.ALL,
        description="volumes of a 4D file (time points, echoes, diffusion directions) to use: all, first, middle, or mean "
        "for their average",
    )
    square_pixels: bool = Field(
        True, description="resample slices and DICOM images whose pixels are not square to square pixels"
    )
    dicom_window: DicomWindow = Field(
        DicomWindow.PERCENTILES,
        description="intensity window of DICOM images: percentiles (intensity_percentiles) or stored (of the file, where it "
        "has one)",
    )


_OF_SLICES = ("axis", "unoriented_axis", "first_slice", "last_slice", "step", "min_foreground")  # of `VolumesConfig`


class DatasetConfig(Section):
    """Section `dataset`: which real images there are and how subjects are split."""

    kind: DatasetKind = Field(
        DatasetKind.VIRTUAL_PATIENTS,
        description="""\
Source of the real images:
- virtual_patients: brain MR slices simulated from the MNI152 template; needs no data
- folder: files in the folder `path` and its subfolders: pictures (PNG, JPEG, TIFF, WebP, ...), arrays (NumPy, \
HDF5, PyTorch), DICOM (with or without extension) and volumes; frames, pages and slices become one image each
- table: CSV file `path` with columns image_uid and image_path (relative to the CSV file, or else to the working \
directory) and, if available, subject, split (train, valid or holdout) and covariates; files as for folder
- volumes: as folder, but only volumes (NIfTI, Analyze, MGH, MINC, NRRD, MetaImage)""",
    )
    spatial_dims: Literal[2, 3] = Field(
        2,
        description="2: images, also of the slices of volumes; 3: whole volumes (of kind folder, volumes or table: NIfTI and other "
        "files of volumes, arrays, stacks, DICOM series). docs/generative.md says what differs for volumes.",
    )
    path: str | None = Field(None, description="folder or CSV file; null for virtual patients")
    file_patterns: tuple[Text, ...] = Field(
        ("**/*",),
        min_length=1,
        description="glob patterns of the files to use, such as ['*_T1.nii.gz', '*_FLAIR.nii.gz']",
    )
    subject_pattern: str | None = Field(
        None,
        description=SUBJECT_PATTERN
        + "With null, DICOM files belong to their patient (PatientID, stored only as a salted hash), and every other file is a "
        "subject of its own. A table's column subject takes precedence.",
    )
    orientation: Orientation = Field(
        Orientation.UPRIGHT,
        description="upright: images as their files show them; transposed: rows and columns exchanged after decoding, as "
        "MONAI's loader gives them and the reference code trained on them. All results then hold transposed images. Weights "
        "of the autoencoder and of the diffusion model record it.",
    )
    image_size: tuple[Side, ...] | None = Field(
        (48, 48),
        min_length=2,
        max_length=3,
        description="Height and width, after transposing if orientation says so; with spatial_dims 3, slices, height and width. "
        "Images are padded with black to this shape, then resized; null keeps their size.",
    )
    bit_depth: Literal[8, 16] = Field(8, description="bits per pixel of the stored images: 8 or 16")
    intensity_percentiles: tuple[Percentile, ...] = Field(
        (0.5, 99.5),
        min_length=2,
        max_length=2,
        description=PERCENTILES,
    )
    valid_fraction: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Fraction of subjects that validate the training of the generator and train the encoder, 0 for "
        "none. Not used for virtual patients and for a table with a column split.",
    )
    holdout_fraction: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Fraction of subjects that no training uses, 0 for none. Ignored where valid_fraction is.",
    )
    canaries: Fraction = Field(
        0.0,
        description="Fraction of the training subjects, 0 to 1, that become canaries: each of them stays or is held out by the "
        "toss of a coin, so that an audit can give a valid lower bound on epsilon. The image table gets a column canary.",
    )
    virtual_patients: VirtualPatientsConfig = Field(
        default_factory=VirtualPatientsConfig, description="the patients of `kind: virtual_patients`"
    )
    volumes: VolumesConfig = Field(default_factory=VolumesConfig, description="the slices of volumes, and DICOM images")

    def contradictions(self) -> Iterator[str]:
        """Yield a sentence for each group of settings that do not fit each other."""
        if self.kind is not DatasetKind.VIRTUAL_PATIENTS and not self.path:
            yield f"dataset.kind is {self.kind.value!r} but dataset.path is not set; name the folder or CSV file"
        if self.kind is DatasetKind.VIRTUAL_PATIENTS and self.image_size is None:
            yield "dataset.image_size is null, but virtual patients need a size; set it, for example [64, 64]"
        if self.valid_fraction + self.holdout_fraction >= 1:
            yield (
                f"dataset.valid_fraction {self.valid_fraction} and dataset.holdout_fraction {self.holdout_fraction} "
                "leave no subjects for training; their sum must be below 1"
            )
        yield from not_increasing("dataset.intensity_percentiles", self.intensity_percentiles)
        yield from self._contradictions_of_dimensions()

    def _contradictions_of_dimensions(self) -> Iterator[str]:
        if self.image_size is not None and len(self.image_size) != self.spatial_dims:
            what = "slices, height and width" if self.spatial_dims == 3 else "height and width"
            yield (
                f"dataset.image_size is {list(self.image_size)}, but dataset.spatial_dims is {self.spatial_dims}; give {what}, such "
                f"as {[32, 40, 32] if self.spatial_dims == 3 else [64, 64]}"
            )
        cut = [name for name in _OF_SLICES if getattr(self.volumes, name) != VolumesConfig.model_fields[name].default]
        if self.spatial_dims == 3 and cut:
            yield (
                f"dataset.volumes.{cut[0]} says how volumes are cut into slices, but dataset.spatial_dims is 3, which takes them as "
                "a whole; leave it out"
            )
        if self.spatial_dims == 3 and self.orientation is Orientation.TRANSPOSED:
            yield "dataset.orientation is 'transposed', which only images can be; leave it out with dataset.spatial_dims 3"


def not_increasing(name: str, percentiles: tuple[float, ...]) -> Iterator[str]:
    """Yield a sentence unless the first of two percentiles is below the second."""
    if percentiles[0] >= percentiles[1]:
        yield f"{name} is {list(percentiles)}; the first percentile must be below the second"
