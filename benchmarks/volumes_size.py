"""Time and memory of an audit of whole volumes: 100 real against 300 synthetic scans, with a given encoder.

The files are scans of virtual patients in NIfTI, compressed, one visit of each real patient; a third of the synthetic scans are changed
copies, the others are scans of other patients. The encoder has the default architecture and random weights, on which neither time nor
memory depends.

Not here: what such an audit finds (volumes.py).
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure import run_measured
from benchmarks.volumes_data import OPTIONS, SEED
from deepssim.config.choices import Contrast
from deepssim.config.encoders import EncoderConfig
from deepssim.datasets.virtual_patients import make_patient, make_virtual_volume
from deepssim.images.volume_distort import VOLUME_DISTORTIONS
from deepssim.seeds import numpy_generator

COUNTS = (100, 300)  # real and synthetic scans
SHAPE = (96, 112, 96)  # slices, rows and columns
_MM = 208.0 / 112  # distance of voxels, see make_virtual_volume
_COPIED = 3  # every third synthetic scan is a copy
_SHOWN_AGAIN = 2  # scans of other patients are made of each of them: simulation takes longest


def write_scans(folder: Path, counts: tuple[int, int], shape: tuple[int, int, int]) -> None:
    """Write scans into `folder/real` and `folder/synthetic`; a folder that is complete stays as it is.

    Args:
        folder: that holds both.
        counts: real and synthetic scans.
        shape: slices, rows and columns.
    """
    complete = folder / f"complete-{counts[0]}-{counts[1]}-{'x'.join(map(str, shape))}"
    if complete.exists():
        return
    real = []
    for number in range(counts[0]):
        real.append(_scan(number, shape, 0))
        _write(folder / "real" / f"p{number:04d}.nii.gz", real[-1])
    for number, volume in enumerate(_synthetic(real, counts, shape)):
        _write(folder / "synthetic" / f"generated-{number:04d}.nii.gz", volume)
    complete.touch()


def _synthetic(real: list[np.ndarray], counts: tuple[int, int], shape: tuple[int, int, int]) -> Iterator[np.ndarray]:
    changes = [change for change in VOLUME_DISTORTIONS.values() if not change.mixes]
    for number in range(counts[1]):
        patient, visit = divmod(number, _SHOWN_AGAIN)
        if number % _COPIED:
            yield _scan(counts[0] + patient, shape, visit)
        else:
            change = changes[number % len(changes)]
            yield change.apply(real[number % len(real)], numpy_generator(SEED, "size", number))


def _scan(number: int, shape: tuple[int, int, int], visit: int) -> np.ndarray:
    patient = make_patient(number, OPTIONS, SEED)
    return make_virtual_volume(patient, Contrast.T1, shape, visit=visit, noise=OPTIONS.noise).values


def _write(path: Path, volume: np.ndarray) -> None:
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag(
        [_MM, -_MM, _MM, 1.0]
    )  # columns go to the right, rows to the back, slices up, see make_virtual_volume
    values = np.rint(4095 * np.clip(volume, 0, 1)).astype(np.int16).transpose(2, 1, 0)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def write_encoder(path: Path) -> Path:
    """Write an encoder of the default architecture with random weights."""
    import torch

    from deepssim.encoders.deepssim import DeepSSIM, save_encoder

    torch.manual_seed(0)
    save_encoder(path, DeepSSIM(EncoderConfig()))
    return path


def measure_size(folder: Path, counts: tuple[int, int], shape: tuple[int, int, int], threads: int) -> str:
    """Audit the scans by the command line, in a process of its own, nothing cached; return a sentence.

    Args:
        folder: for scans, encoder, cache and report.
        counts, shape: see `write_scans`.
        threads: processor threads.
    """
    place = folder / f"size-{counts[0]}-{counts[1]}"
    write_scans(place, counts, shape)
    encoder, report = write_encoder(place / "encoder.safetensors"), place / "report"
    command = [
        sys.executable, "-m", "deepssim.cli", "audit", str(place / "real"), str(place / "synthetic"), "--out", str(report), "--force",
        "--threads", str(threads), "--cache", str(place / f"cache-{time.time_ns()}"), "--encoder", str(encoder),
        "--subject-pattern", r"^(p\d+|generated-\d+)", "--fail-above", "1",
    ]  # fmt: skip
    used = run_measured(command)
    if used.status:
        raise SystemExit(f"the audit ended with status {used.status}")
    scans = f"{counts[0]:,} real against {counts[1]:,} synthetic scans of {'x'.join(map(str, shape))} voxels (.nii.gz)"
    return (
        f"{scans} with a given encoder, {threads} threads, nothing cached: {used.seconds:,.0f} seconds, "
        f"{used.processor_seconds:,.0f} seconds of processor time, at most {used.peak_gb:.1f} GB of memory."
    )
