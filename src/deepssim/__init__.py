"""Find out whether a generative model of medical images has memorized patients.

In a notebook: `deepssim.audit("real", "synthetic", "report")`, or step by step `load_images`, `embed`, `score_matrix`.
While a generator trains: `MemorizationMetric`, in Lightning `MemorizationCallback`, with MONAI and Ignite `MemorizationHandler`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepssim.audit.metric import MemorizationMetric
    from deepssim.audit.run import audit_images as audit
    from deepssim.audit.watching import MemorizationCallback, MemorizationHandler
    from deepssim.notebook import embed, load_encoder, load_images, score_matrix

_WATCHING = {"MemorizationMetric": "metric", "MemorizationCallback": "watching", "MemorizationHandler": "watching"}

__all__ = [
    "load_images", "load_encoder", "embed", "score_matrix", "audit", "MemorizationMetric", "MemorizationCallback",
    "MemorizationHandler",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import the calls for a notebook when one is used, so that importing the package stays cheap."""
    if name == "__version__":
        from deepssim.runtime.provenance import package_version

        return package_version()
    if name == "audit":
        return import_module("deepssim.audit")  # a room that can be called
    if name in _WATCHING:
        return getattr(import_module(f"deepssim.audit.{_WATCHING[name]}"), name)
    if name in __all__:
        from deepssim import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
