"""How images and subjects are called in a report: by their names, or by numbers where it is de-identified.

Not here: what is written (tables.py, page.py), files (tables.release_names).
"""

from deepssim.audit.scan_words import said
from deepssim.audit.sides import Sides
from deepssim.audit.wording import HIDDEN
from deepssim.config.choices import AuditUnit
from deepssim.seeds import numpy_generator


class Names:
    """Names of images and subjects as they are or, in a de-identified report, numbers in an order that tells nothing.

    Args:
        sides: the images that were judged.
        hidden: whether the report is de-identified.
        salt: makes the numbers hard to guess.
        what: is compared, images or volumes.
    """

    def __init__(self, sides: Sides, *, hidden: bool, salt: bytes, what: AuditUnit = AuditUnit.IMAGE) -> None:
        self._hidden = hidden
        seed = int.from_bytes(salt[:7], "big")
        train, holdout, image = sides.train, sides.holdout, said("image", what)

        def numbers(names: list[str], kind: str, name: str) -> dict[str, str]:
            order = sorted(set(names))
            numpy_generator(seed, "names", kind).shuffle(order)
            return {key: f"{name} {number}" for number, key in enumerate(order, start=1)} if hidden else {}

        real = [*train.pack.keys, *(holdout.pack.keys if holdout else [])]
        self._real = numbers(real, "real image", f"real {image}")
        self._subjects = numbers([*train.subjects, *(holdout.subjects if holdout else [])], "subject", "subject")
        self._synthetic = numbers(sides.synthetic.pack.keys, "synthetic image", f"synthetic {image}")

    def real(self, key: str) -> str:
        """Name a training or held-out image."""
        return self._real.get(key, HIDDEN) if self._hidden else key

    def synthetic(self, key: str) -> str:
        """Name a synthetic image."""
        return self._synthetic.get(key, HIDDEN) if self._hidden else key

    def subject(self, name: str) -> str:
        """Name a subject."""
        return self._subjects.get(name, HIDDEN) if self._hidden else name

    def any(self, name: str) -> str:
        """Name a training image or a subject, whichever has this name."""
        return self._real.get(name) or self._subjects.get(name) or HIDDEN if self._hidden else name
