"""Register one image to another, so that their exact SSIM can be computed however they lay.

Not here: which pairs are worth it (stages/verification.py).
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

_SUBPIXEL = 10  # shifts are found to a tenth of a pixel
_ITERATIONS = 60
_SHRINK, _SMOOTH = (2, 1), (1, 0)  # of the two resolutions, pixels


def register(fixed: np.ndarray, moving: np.ndarray, kind: Registration) -> Registered:
    """Find the flip and the motion that bring one image onto another, by their exact SSIM.

    Args:
        fixed, moving: float32 (H, W), 0 to 1, of one size, not constant.
        kind: `shift` needs nothing; `rigid` and `affine` need SimpleITK.

    Returns:
        The best of all flips, each registered and as it is; never worse than the moving image itself.

    Raises:
        ConfigError: if SimpleITK is needed and not installed.
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
    """Raise a ConfigError if a kind of registration cannot be computed here."""
    if kind is not Registration.SHIFT and not find_spec("SimpleITK"):
        raise ConfigError(
            f"verification.registration {kind.value!r} needs SimpleITK; install it by pip install 'deepssim[registration]', "
            "or set it to 'shift'"
        )


def _shift(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    amount, _, _ = phase_cross_correlation(fixed, moving, upsample_factor=_SUBPIXEL)
    return np.clip(shifted(moving, amount, order=1, mode="constant"), 0, 1).astype(np.float32)


def _with_itk(fixed: np.ndarray, moving: np.ndarray, kind: Registration) -> np.ndarray:
    import SimpleITK as Itk

    still, moved = (Itk.GetImageFromArray(image.astype(np.float32)) for image in (fixed, moving))
    start: Any = Itk.Euler2DTransform() if kind is Registration.RIGID else Itk.AffineTransform(2)
    start.SetCenter([(side - 1) / 2 for side in fixed.shape[::-1]])
    method = Itk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()  # contrast may have changed, tissue has not
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
        found = method.Execute(still, moved)
    except RuntimeError as error:  # images that do not overlap have no correlation to climb
        if "samples" not in str(error) and "overlap" not in str(error).lower():
            raise
        return moving
    resampled = Itk.Resample(moved, still, found, Itk.sitkLinear, 0.0)
    return np.clip(Itk.GetArrayFromImage(resampled), 0, 1).astype(np.float32)
