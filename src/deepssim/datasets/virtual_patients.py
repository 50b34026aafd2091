"""Virtual patients, a population of synthetic head scans on which the whole method can be tried without patient data.

Each patient is a deformation of the MNI152 template (head size, brain shape, folding, ventricles that widen with age) with
the tissue contrasts of a T1- or T2-weighted scan, lesions, a bias field and noise.

Source of template and tissue maps: ICBM 2009a, Fonov et al. 2011, doi:10.1016/j.neuroimage.2010.07.033, included in the
package nilearn.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

from deepssim.config.choices import Contrast
from deepssim.config.dataset import VirtualPatientsConfig
from deepssim.seeds import numpy_generator

_CENTRE_MM = np.array([0.0, -18.0, 8.0])  # of the brain in MNI space
_FIELD_OF_VIEW_MM = 208.0  # of the longer image side: 180 mm of the template and a margin for larger heads
_AGES = (25.0, 85.0)  # years
_AGEING = 0.45  # widening of the ventricles over all ages
_BLUR_PIXELS = 1.0  # standard deviation of the scanner's point spread function
_BLUR_VOXELS = 0.5  # the same of volumes, whose voxels are larger than pixels
_FINEST_MM = 2.5  # distance of the points at which volumes are simulated, about the template's resolution
_SAMPLES = 84  # of a smooth field along each axis: every 2.5 mm, a quarter of the distance of its finest control points

# Intensity of cerebrospinal fluid, grey matter, white matter and lesions, relative to the brightest tissue.
_TISSUES = {Contrast.T1: (0.18, 0.58, 0.90, 0.42), Contrast.T2: (0.95, 0.60, 0.38, 0.88)}


@dataclass(frozen=True)
class Template:
    """MNI152 template at 2 mm: T1 intensities and tissue probabilities, float32 (X, Y, Z), about 0 to 1; affine (4, 4)."""

    t1: np.ndarray
    brain: np.ndarray
    grey: np.ndarray
    white: np.ndarray
    to_voxels: np.ndarray


@dataclass(frozen=True)
class Patient:
    """Individual parameters of a virtual patient; lengths in mm, age in years."""

    seed: int
    number: int
    age: float
    sex: int
    linear: np.ndarray  # (3, 3), map from patient to template space
    offset: np.ndarray  # (3,), its translation
    coarse: np.ndarray  # (3, n, n, n), displacement at control points: shape of the brain
    fine: np.ndarray  # (3, m, m, m), the same on a finer grid: folding
    ventricles: float  # widening, fraction of the distance to their centre
    tissues: dict[Contrast, np.ndarray]  # (4,), intensities as in `_TISSUES`
    lesions: np.ndarray  # (L, 4), centre and radius

    @property
    def name(self) -> str:
        """Name of the subject, for example `patient-000`."""
        return f"patient-{self.number:03d}"


@lru_cache(maxsize=1)
def load_template() -> Template:
    """Load the template from nilearn's package files; nothing is downloaded."""
    from nilearn.datasets import (
        load_mni152_brain_mask,
        load_mni152_gm_template,
        load_mni152_template,
        load_mni152_wm_template,
    )

    t1, brain, grey, white = (
        load(resolution=2)
        for load in (load_mni152_template, load_mni152_brain_mask, load_mni152_gm_template, load_mni152_wm_template)
    )
    values = np.clip(np.asarray(t1.dataobj, dtype=np.float32), 0, None)
    return Template(
        t1=values / np.percentile(values[values > 0], 99.5),
        brain=np.asarray(brain.dataobj, dtype=np.float32),
        grey=np.clip(np.asarray(grey.dataobj, dtype=np.float32), 0, 1),
        white=np.clip(np.asarray(white.dataobj, dtype=np.float32), 0, 1),
        to_voxels=np.linalg.inv(t1.affine),
    )


def make_patient(number: int, options: VirtualPatientsConfig, seed: int) -> Patient:
    """Draw the parameters of a patient.

    Args:
        number: number of the patient, from 0.
        options: section `dataset.virtual_patients`.
        seed: the config's seed; a patient depends on it and the number only.
    """
    random = numpy_generator(seed, "patient", number)
    age = random.uniform(*_AGES)
    ageing = (age - _AGES[0]) / (_AGES[1] - _AGES[0])
    angles = random.normal(0, np.deg2rad(2.5), size=3)
    lesions = np.column_stack(
        [
            random.normal(_CENTRE_MM + np.array([0, 0, 14]), [24, 32, 10], size=(12, 3)),
            random.uniform(2.5, 7.0, size=12),
        ]
    )[: random.poisson(1 + 5 * ageing)]
    return Patient(
        seed=seed,
        number=number,
        age=age,
        sex=int(random.integers(2)),
        linear=_rotation(angles) @ np.diag(np.exp(random.normal(0, 0.06, size=3))),
        offset=random.normal(0, 2.0, size=3),
        coarse=random.normal(0, options.deformation_mm, size=(3, 8, 8, 8)),
        fine=random.normal(0, 0.2 * options.deformation_mm, size=(3, 22, 22, 22)),
        ventricles=_AGEING * ageing + random.uniform(-0.1, 0.15),
        tissues={
            contrast: np.clip(np.array(_TISSUES[contrast]) + random.normal(0, 0.05, size=4), 0.05, 1.0)
            for contrast in Contrast
        },
        lesions=lesions,
    )


def scan(
    patient: Patient, contrast: Contrast, z_mm: float, size: tuple[int, int], noise: float
) -> tuple[np.ndarray, dict[str, float]]:
    """Simulate an axial slice of a patient.

    Args:
        patient: from `make_patient`.
        contrast: T1- or T2-weighted.
        z_mm: height of the slice in mm in the patient's space, which has the origin of MNI152.
        size: height and width in pixels; anterior is up, the patient's right is on the left.
        noise: standard deviation of the Rician noise inside the brain, relative to the brightest tissue.

    Returns:
        float32 (H, W), 0 to 1, black outside the brain; and the fractions of the three tissues in its brain pixels
        (`csf_perc`, `gm_perc`, `wm_perc`, 0 to 1).
    """
    random = numpy_generator(patient.seed, "scan", patient.number, contrast.value, str(z_mm))
    points = _slice_points(z_mm, size)
    image, brain, fractions = _tissues(patient, contrast, points, _to_template(patient, points))
    image *= np.exp(_smooth(random.normal(0, 0.12, size=(1, 4, 4, 4)), points)[:, 0])
    image = np.clip(image, 0, None) * brain
    image = gaussian_filter(_average(image, size), _BLUR_PIXELS)
    inside = _average(brain, size) > 0.5
    image = np.where(inside, np.hypot(image + random.normal(0, noise, size), random.normal(0, noise, size)), 0)
    return np.clip(image / 1.3, 0, 1).astype(np.float32), fractions


class VirtualVolume(NamedTuple):
    """A simulated volume: values float32 (D, H, W), 0 to 1; age in years at the visit; fractions of tissues as of `scan`."""

    values: np.ndarray
    age: float
    fractions: dict[str, float]


def make_virtual_volume(
    patient: Patient,
    contrast: Contrast,
    size: tuple[int, int, int],
    *,
    visit: int = 0,
    noise: float = 0.01,
    movement: float = 1.0,
) -> VirtualVolume:
    """Simulate a whole head scan of a patient at one of several visits.

    Visits differ in the position of the head, in noise and bias field, and in age: months to a year and a half pass between
    them, and the ventricles widen accordingly.

    Args:
        patient: from `make_patient`.
        contrast: T1- or T2-weighted.
        size: slices, rows and columns; voxels are cubes of 208 mm divided by the longest side.
        visit: number of the visit, from 0.
        noise: as of `scan`.
        movement: standard deviation of the head's rotation about each axis in units of 4 degrees, and of its shift along
            each axis in units of 4 mm; 0 for a head that lies as the patient's slices of `scan` show it.

    Returns:
        The volume; slices go from inferior to superior, each with anterior up, columns as of `scan`, black outside the brain.
        It depends on patient, contrast, size and visit only: contrasts of a visit share the position of the head.
    """
    position = numpy_generator(patient.seed, "visit", patient.number, visit)
    angles, shift = position.normal(0, np.deg2rad(4.0), size=3), position.normal(0, 4.0, size=3)
    years = visit * position.uniform(0.5, 1.5)
    random = numpy_generator(patient.seed, "volume", patient.number, contrast.value, visit)
    spacing = _FIELD_OF_VIEW_MM / max(size)
    factor = min(
        3, int(np.ceil(spacing / _FINEST_MM))
    )  # points along each side of a voxel; their average reduces aliasing
    points = _volume_points(size, factor)
    aged = replace(patient, ventricles=patient.ventricles + _AGEING * years / (_AGES[1] - _AGES[0]))
    of_patient = (points - _CENTRE_MM) @ _rotation(movement * angles).T + _CENTRE_MM + movement * shift
    fields = np.concatenate(
        [_sampled(patient.coarse) + _sampled(patient.fine), _sampled(random.normal(0, 0.12, (1, 4, 4, 4)))]
    )
    *displacement, bias = _interpolated(fields, of_patient).T
    mapped = _to_template(aged, of_patient, np.column_stack(displacement))
    image, brain, fractions = _tissues(aged, contrast, of_patient, mapped)
    image = np.clip(image * np.exp(bias), 0, None) * brain
    image, brain = (_average(values, size, factor) for values in (image, brain))
    image = gaussian_filter(image, _BLUR_VOXELS)
    image = np.where(brain > 0.5, np.hypot(image + random.normal(0, noise, size), random.normal(0, noise, size)), 0)
    return VirtualVolume(np.clip(image / 1.3, 0, 1).astype(np.float32), patient.age + years, fractions)


def _tissues(
    patient: Patient, contrast: Contrast, points: np.ndarray, mapped: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Return intensities without bias field and noise, and the probability of brain, (P,) each; and fractions of tissues.

    Args:
        patient, contrast: as of `scan`.
        points, mapped: (P, 3) in mm, of the patient and of the template.
    """
    template = load_template()
    voxels = _apply(template.to_voxels, mapped)
    t1, brain, grey, white = (
        map_coordinates(values, voxels.T, order=1)
        for values in (template.t1, template.brain, template.grey, template.white)
    )
    fluid = np.clip(brain - grey - white, 0, 1)
    lesion = np.zeros(len(points))
    for *centre, radius in patient.lesions:
        distance = np.linalg.norm((points - centre) * [1, 1, 0.8], axis=1)
        lesion = np.maximum(lesion, white / (1 + np.exp(2 * (distance - radius))))
    csf, gm, wm, lesion_level = patient.tissues[contrast]
    image = csf * fluid + gm * grey + wm * white
    # Texture of the template that the tissue maps lack, such as white matter tracts, brighter on T1 and darker on T2.
    image += (0.35 if contrast is Contrast.T1 else -0.2) * (t1 - (0.2 * fluid + 0.6 * grey + 0.85 * white)) * brain
    image = image * (1 - lesion) + lesion_level * lesion
    total = max(float((fluid + grey + white).sum()), 1e-9)
    fractions = {
        "csf_perc": float(fluid.sum()) / total,
        "gm_perc": float(grey.sum()) / total,
        "wm_perc": float(white.sum()) / total,
    }
    return image, brain, fractions


def _slice_points(z_mm: float, size: tuple[int, int]) -> np.ndarray:
    """Return the coordinates in mm of a slice, (P, 3), four points per pixel, whose average reduces aliasing."""
    height, width = size
    spacing = _FIELD_OF_VIEW_MM / max(size) / 2
    x = (np.arange(2 * width) - width + 0.5) * spacing + _CENTRE_MM[0]
    y = (height - np.arange(2 * height) - 0.5) * spacing + _CENTRE_MM[1]
    rows, columns = np.meshgrid(y, x, indexing="ij")
    return np.column_stack([columns.ravel(), rows.ravel(), np.full(rows.size, z_mm)])


def _volume_points(size: tuple[int, int, int], factor: int) -> np.ndarray:
    """Return the coordinates in mm of a volume, (P, 3), `factor` points along each side of a voxel."""
    spacing = _FIELD_OF_VIEW_MM / max(size) / factor
    z, y, x = ((np.arange(factor * side) - (factor * side - 1) / 2) * spacing for side in size)
    grid = np.meshgrid(z, -y, x, indexing="ij")
    return np.column_stack([axis.ravel() for axis in reversed(grid)]) + _CENTRE_MM


def _average(values: np.ndarray, size: tuple[int, ...], factor: int = 2) -> np.ndarray:
    blocks = [length for side in size for length in (side, factor)]
    return values.reshape(blocks).mean(axis=tuple(range(1, len(blocks), 2)))


def _to_template(patient: Patient, points: np.ndarray, displacement: np.ndarray | None = None) -> np.ndarray:
    """Map points of the patient to the template, both (P, 3) in mm; the displacement is computed if it is not given."""
    mapped = (points - _CENTRE_MM) @ patient.linear.T + _CENTRE_MM + patient.offset
    if displacement is None:
        displacement = _smooth(patient.coarse, points) + _smooth(patient.fine, points)
    mapped += displacement
    # Sampling the template nearer to its centre enlarges the ventricles; the effect fades within 30 mm.
    away = mapped - _CENTRE_MM
    pull = patient.ventricles * np.exp(-0.5 * (np.linalg.norm(away, axis=1) / 30.0) ** 2)
    return mapped - pull[:, None] * away


def _smooth(control: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Interpolate values at control points (C, n, n, n) that span the field of view by cubic splines, (P, C)."""
    span = control.shape[1] - 1
    position = ((points - _CENTRE_MM) / _FIELD_OF_VIEW_MM + 0.5) * span
    return np.column_stack([map_coordinates(values, position.T, order=3, mode="nearest") for values in control])


def _sampled(control: np.ndarray) -> np.ndarray:
    """Sample the splines of `_smooth` on a regular grid of the field of view, (C, s, s, s)."""
    return np.stack([zoom(values, _SAMPLES / len(values), order=3, mode="nearest") for values in control])


def _interpolated(fields: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Interpolate fields from `_sampled` linearly, (P, C): for millions of points faster than splines."""
    position = ((points - _CENTRE_MM) / _FIELD_OF_VIEW_MM + 0.5) * (_SAMPLES - 1)
    return np.column_stack([map_coordinates(values, position.T, order=1, mode="nearest") for values in fields])


def _apply(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ affine[:3, :3].T + affine[:3, 3]


def _rotation(angles: np.ndarray) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("xyz", angles).as_matrix()
