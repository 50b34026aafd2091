"""Import MONAI without the optional packages that no network of it uses.

MONAI imports all of its modules, and through them every optional package that it finds: transformers, scikit-learn, matplotlib
and others, which takes three of its four seconds. A job that trains or runs two of its networks needs none of them.

Not here: which libraries a job imports at all, which its stage decides.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_PACKAGE = "monai"
# Not einops, torchvision and lpips: networks and the perceptual loss use them.
_HIDDEN = (
    "cv2", "huggingface_hub", "ignite", "itk", "jsonschema", "matplotlib", "nibabel", "pandas", "pydicom", "scipy.signal",
    "skimage", "sklearn", "tensorboard", "torch.utils.tensorboard", "transformers",
)  # fmt: skip


def import_monai_lean() -> None:
    """Hide these packages from MONAI when this process imports it.

    MONAI then takes them for missing, to the end of the process. This is for jobs, which call nothing else of it, and not for
    the library, whose user may.
    """
    if _PACKAGE not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Find MONAI as usual, but load it without the hidden packages."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _PACKAGE:
            return None
        found = PathFinder.find_spec(fullname, path, target)
        if found is not None and found.loader is not None:
            found.loader = _Loader(found.loader)
        return found


class _Loader(Loader):
    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with _hidden():
            self.loader.exec_module(module)


@contextmanager
def _hidden() -> Iterator[None]:
    """Make the import of packages fail that are not imported yet."""
    names = [name for name in _HIDDEN if name not in sys.modules]
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]  # None is how an import is blocked
    try:
        yield
    finally:
        for name in names:
            if sys.modules.get(name, name) is None:
                del sys.modules[name]
