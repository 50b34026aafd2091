"""Register one image to another before their exact SSIM is computed, by phase correlation or with SimpleITK.

Not here: choosing the pairs (evaluation/verification.py), a search over fixed transforms (search.py).
"""

from importlib.util import find_spec
from typing import Any

import numpy as np
from scipy.ndimage import shift as shifted
from skimage.registration import phase_cross_correlation

from deepssim.config.choices import Registration
from deepssim.errors import ConfigError
from deepssim.registration.result import FLIPS, Registered, flip_name
from deepssim.similarity.ssim import ssim_of_arrays

_SUBPIXEL = 10  # shifts are resolved to a tenth of a pixel
_ITERATIONS = 60
_SHRINK, _SMOOTH = (2, 1), (1, 0)  # factor and smoothing in pixels of the two resolution levels


def register(fixed: np.ndarray, moving: np.ndarray, kind: Registration) -> Registered:
    """Find the flip and the motion that register one image to another, selected by exact SSIM.

    Args:
        fixed, moving: float32 (H, W), 0 to 1, of the same size, not constant.
        kind: type of motion; `rigid` and `affine` need SimpleITK.

    Returns:
        The candidate of highest SSIM among all flips, each with and without registration; the unchanged moving image is
        one of them.

    Raises:
        ConfigError: if SimpleITK is needed but not installed.
    """
    require_registration(kind)
    candidates, names = [], []
    for axes in FLIPS:
        flipped = np.ascontiguousarray(np.flip(moving, axes) if axes else moving)
        moved = _shift(fixed, flipped) if kind is Registration.SHIFT else _with_itk(fixed, flipped, kind)
        candidates += [flipped, moved]
        names += [flip_name(axes)] * 2
    usable = [number for number, image in enumerate(candidates) if image.max() > image.min()]
    scores = ssim_of_arrays(fixed[None], np.stack([candidates[number] for number in usable]))[0]
    best = int(scores.argmax())
    return Registered(candidates[usable[best]], float(scores[best]), names[usable[best]])


def require_registration(kind: Registration) -> None:
    """Raise a ConfigError if a kind of registration needs SimpleITK and it is not installed."""
    if kind is not Registration.SHIFT and not find_spec("SimpleITK"):
        raise ConfigError(
            f"verification.registration {kind.value!r} needs SimpleITK; install it with pip install 'deepssim[registration]', "
            "or set it to 'shift'"
        )


def _shift(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    amount, _, _ = phase_cross_correlation(fixed, moving, upsample_factor=_SUBPIXEL)
    return np.clip(shifted(moving, amount, order=1, mode="constant"), 0, 1).astype(np.float32)


def _with_itk(fixed: np.ndarray, moving: np.ndarray, kind: Registration) -> np.ndarray:
    import SimpleITK as Itk

    still, moving_image = (Itk.GetImageFromArray(image.astype(np.float32)) for image in (fixed, moving))
    start: Any = Itk.Euler2DTransform() if kind is Registration.RIGID else Itk.AffineTransform(2)
    start.SetCenter([(side - 1) / 2 for side in fixed.shape[::-1]])
    method = Itk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()  # robust to changes of contrast and brightness
    method.SetInterpolator(Itk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=1.0, minStep=1e-3, numberOfIterations=_ITERATIONS, gradientMagnitudeTolerance=1e-6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(_SHRINK)
    method.SetSmoothingSigmasPerLevel(_SMOOTH)
    method.SetNumberOfThreads(1)
    method.SetInitialTransform(start, inPlace=True)
    try:
        found = method.Execute(still, moving_image)
    except RuntimeError as error:  # without overlap there is no correlation to optimise
        if "samples" not in str(error) and "overlap" not in str(error).lower():
            raise
        return moving
    resampled = Itk.Resample(moving_image, still, found, Itk.sitkLinear, 0.0)
    return np.clip(Itk.GetArrayFromImage(resampled), 0, 1).astype(np.float32)
