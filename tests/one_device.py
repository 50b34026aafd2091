"""A stand-in for a GPU: torch's device `meta`, on which tensors have shapes but no values, with the rules of a GPU.

Operations that a GPU refuses are refused: those of tensors on two devices, unless one is a number or an index.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

GPU = torch.device("meta")
_MOVES = {
    torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default,
    torch.ops.aten._has_compatible_shallow_copy_type.default,  # asked when a module is moved
}  # fmt: skip
# A GPU takes indices that lie on the CPU.
_INDEXED = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default, torch.ops.aten._index_put_impl_.default}


class OneDevice(TorchDispatchMode):
    """Refuse operations that mix devices, and give values where a program reads them: ones, on the CPU.

    What depends on values takes all of them: every entry of a mask is true.

    Attributes:
        computed: number of operations on the stand-in.
    """

    def __init__(self) -> None:
        super().__init__()
        self.computed = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled():  # there, composed operations come whole
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        considered = args[:1] if func in _INDEXED else (args, kwargs)
        tensors = [leaf for leaf in tree_leaves(considered) if isinstance(leaf, Tensor)]
        devices = {tensor.device.type for tensor in tensors if tensor.ndim}
        if len(devices) > 1 and func not in _MOVES:
            raise AssertionError(f"{func} got tensors on {' and '.join(sorted(devices))}")
        self.computed += "meta" in devices
        source = args[0] if args and isinstance(args[0], Tensor) else None
        if source is not None and source.device == GPU:
            if func is torch.ops.aten._to_copy.default and torch.device(kwargs.get("device") or GPU).type == "cpu":
                return torch.ones(source.shape, dtype=kwargs.get("dtype") or source.dtype)
            if func is torch.ops.aten._local_scalar_dense.default:
                return 1.0
            if func is torch.ops.aten.nonzero.default:
                return torch.empty((source.numel(), source.ndim), dtype=torch.int64, device=GPU)
            if func is torch.ops.aten.index.Tensor and [index.dtype for index in args[1] if index is not None] == [
                torch.bool
            ]:
                return source.clone()
        return func(*args, **kwargs)


def _typed(tensor: Tensor, kind: Any = None, **options: Any) -> Any:
    """`Tensor.type`, which does not know the stand-in: MONAI converts labels by the name of a type."""
    if isinstance(kind, str) and kind.startswith("torch.meta."):
        return tensor.to(GPU, getattr(torch, kind.removeprefix("torch.meta.").removesuffix("Tensor").lower()))
    return _TYPE(tensor, kind, **options)


_TYPE, _AUTOCAST = torch.Tensor.type, torch.autocast


@contextmanager
def one_device() -> Iterator[OneDevice]:
    """Watch over the operations inside the block."""

    def autocast(device: str, *arguments: Any, **options: Any) -> torch.autocast:
        return _AUTOCAST("cpu" if device == "meta" else device, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch, OneDevice() as mode:
        patch.setattr(torch, "autocast", autocast)
        patch.setattr(torch.Tensor, "type", _typed)
        yield mode
