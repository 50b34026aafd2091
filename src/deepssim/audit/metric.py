"""Memorization as a metric of torchmetrics: real and synthetic images in, the copies that an audit finds among them out.

There is no second way to a verdict: the images are audited as two folders would be, with all controls and reservations, without an
encoder. Only what a training loop can use comes back as numbers; the rest is in `MemorizationMetric.result`.

Not here: the audit (run.py), callbacks of trainers (watching.py).
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchmetrics import Metric

from deepssim.audit.result import AuditResult
from deepssim.errors import ConfigError, DataError
from deepssim.evaluation.verdict import Verdict

logger = logging.getLogger(__name__)

_SUBJECT = r"^(subject-\d+)/"


class MemorizationMetric(Metric):
    """Count the copies of training images among those that a generator makes.

    `update(real=...)` takes the images that the generator is trained on, once; `update(synthetic=...)` takes what it makes;
    `compute()` audits both. `reset()` forgets the synthetic images and keeps the real ones.

    `compute()` returns float32 scalars: `copies`, synthetic images above the limit; `copy_rate`, the fraction that are copies
    without false alarms, 0 to 1; `subjects_copied`, subjects with a copied image, NaN if none are named; `sensitivity`, fraction
    of planted copies that this audit finds, 0 to 1. Where the audit cannot tell, `copies` and `copy_rate` are NaN and a warning
    says why: 0 would be read as an all-clear.

    Args:
        folder: of the reports, one per call of `compute()`, numbered from 0. Without one, a report lasts until the next call.
        settings: of the config's section `audit`, for example `false_positive_rate`.
        seed: of the audit.
        threads: processor threads.
        options: of `torchmetrics.Metric`, for example `compute_on_cpu`.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    real: list[torch.Tensor]
    synthetic: list[torch.Tensor]
    subjects: list[torch.Tensor]

    def __init__(
        self,
        *,
        folder: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        seed: int = 0,
        threads: int = 2,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        taken = {"real", "synthetic", "subject_pattern", "subjects", "unit"} & set(settings or {})
        if taken:
            raise ConfigError(
                f"{len(taken)} settings of the metric are given by its images, first {min(taken)!r}; leave them out"
            )
        for name in ("real", "synthetic", "subjects"):
            self.add_state(name, [], dist_reduce_fx="cat")
        self.folder = None if folder is None else Path(folder)
        self.settings, self.seed, self.threads = dict(settings or {}), seed, threads
        self.result: AuditResult | None = None
        self._work = TemporaryDirectory(prefix="deepssim-")
        self._number = 0
        self._named = True

    def update(
        self,
        *,
        real: torch.Tensor | None = None,
        synthetic: torch.Tensor | None = None,
        subjects: Sequence[Any] | None = None,
    ) -> None:
        """Add images.

        Args:
            real: training images, (N, H, W) or (N, 1, H, W); uint8, or floating point on any scale, which both sides share.
            synthetic: images of the generator, in the same form.
            subjects: patient of each real image, anything that has a text. Unless all real images have them, the audit takes
                patients as unknown, with a reservation.

        Raises:
            ValueError: if a tensor does not hold images of one channel, is of another type than those before, or subjects are too
                few or too many.
        """
        if subjects is not None and (real is None or len(subjects) != len(real)):
            raise ValueError(
                f"{len(subjects)} subjects for {0 if real is None else len(real)} real images; give one each"
            )
        if real is not None:
            images = self._like_others(_grey(real))
            names = subjects if subjects is not None else [""] * len(images)
            self._named &= subjects is not None
            self.real.append(images)
            self.subjects.append(torch.tensor([_code(str(name)) for name in names], device=images.device))
        if synthetic is not None:
            self.synthetic.append(self._like_others(_grey(synthetic)))

    def _like_others(self, images: torch.Tensor) -> torch.Tensor:
        """Refuse whole numbers beside fractions: they would be read with different scales."""
        known = next((part.dtype for part in [*self.real, *self.synthetic]), images.dtype)
        if images.dtype != known:
            raise ValueError(f"images are {images.dtype} and those before {known}; give all of them on one scale")
        return images

    def compute(self) -> dict[str, torch.Tensor]:
        """Audit all images; see the class for what is returned.

        Raises:
            DataError: if there are no images, or they cannot be compared.
        """
        for name, side in (("real", self.real), ("synthetic", self.synthetic)):
            if not len(side):
                raise DataError(f"the metric has no {name} images; call update({name}=...) before compute()")
        root = Path(self._work.name)
        with TemporaryDirectory(dir=root) as images:
            for name, side in (("real", self.real), ("synthetic", self.synthetic)):
                codes = self.subjects if name == "real" and self._named else []
                _write(Path(images) / name, _joined(side), _joined(codes))
            from deepssim.audit.run import audit_images

            out = (root if self.folder is None else self.folder) / (
                "report" if self.folder is None else str(self._number)
            )
            self.result = audit_images(
                Path(images) / "real", Path(images) / "synthetic", out, cache=root / "cache", seed=self.seed,
                threads=self.threads, force=self.folder is None, subject_pattern=_SUBJECT if self._named else None, unit="image",
                **self.settings,
            )  # fmt: skip
        self._number += 1
        return self._values(self.result)

    def _values(self, result: AuditResult) -> dict[str, torch.Tensor]:
        copies, subjects = float(result.figures["flagged_share"]["count"]), result.figures["subjects_copied"]
        if result.verdict == Verdict.CANNOT_TELL:
            logger.warning("memorization is not known: %s", result["verdict"]["sentence"])
            copies = float("nan")
        values = {
            "copies": copies,
            "copy_rate": result.copy_rate,
            "subjects_copied": float("nan") if subjects is None else float(subjects["count"]),
            "sensitivity": float(result["verdict"]["controls_found"]),
        }
        return {name: torch.tensor(value, dtype=torch.float32) for name, value in values.items()}

    def reset(self) -> None:
        """Forget the synthetic images; the real ones stay."""
        real, subjects = list(self.real), list(self.subjects)  # copies, since torchmetrics empties the lists themselves
        super().reset()
        self.real, self.subjects = real, subjects


def _grey(images: torch.Tensor) -> torch.Tensor:
    if images.ndim == 4 and images.shape[1] == 1:
        images = images[:, 0]
    if images.ndim != 3:
        raise ValueError(f"images have shape {tuple(images.shape)}; give (N, H, W) or (N, 1, H, W)")
    return images.detach() if images.dtype == torch.uint8 else images.detach().float()


def _code(name: str) -> int:
    """Return a number for a subject that is the same in every process, so that processes can share it."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")


def _joined(parts: Any) -> np.ndarray | None:
    """Return what the processes have gathered: a list of tensors, or one after a synchronisation."""
    parts = [parts] if isinstance(parts, torch.Tensor) else parts
    return torch.cat([part.cpu() for part in parts]).numpy() if parts else None


def _write(folder: Path, images: np.ndarray | None, codes: np.ndarray | None) -> None:
    folder.mkdir()
    for place, image in enumerate(() if images is None else images):
        target = folder if codes is None else folder / f"subject-{codes[place]}"
        target.mkdir(exist_ok=True)
        if image.dtype == np.uint8:
            Image.fromarray(image).save(target / f"{place:07d}.png", compress_level=1)
        else:
            np.save(target / f"{place:07d}.npy", image)
