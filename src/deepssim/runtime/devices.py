"""Device and precision that networks use, and the memory they needed."""

import ctypes
import logging
import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch

from deepssim.config.choices import Device, Precision
from deepssim.errors import ConfigError

logger = logging.getLogger(__name__)
T = TypeVar("T")

# Number of trainable parameters from which a CPU trains in bfloat16: small networks gain little, but a step of the paper's
# diffusion model, with hundreds of millions of parameters, takes 0.6 of the time. The channels-last layout gains nothing there.
_BFLOAT16_FROM = 10_000_000
_LEAST_CAPABILITY = (8, 0)  # that current releases of Triton support
_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}  # by the number of axes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt, from malloc.h
_KEPT_BLOCK, _KEPT = 2**28, 2**30  # bytes


def resolve_device(device: Device) -> torch.device:
    """Return the torch device for a setting.

    Raises:
        ConfigError: if a GPU is requested and none is usable.
    """
    if device is Device.CPU:
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if device is Device.CUDA:
        raise ConfigError("device is 'cuda' but this machine has no usable GPU; set device to 'auto' or 'cpu'")
    return torch.device("cpu")


def computes_bfloat16(device: torch.device) -> bool:
    """Return whether the device computes bfloat16 in hardware rather than by emulation."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # torch has no public function for CPUs; without these instructions bfloat16 is slower than float32.
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def why_no_kernels() -> str | None:
    """Return why Triton cannot compile kernels for the GPU; None if it can."""
    capability = torch.cuda.get_device_capability()
    if capability < _LEAST_CAPABILITY:
        return (
            f"{torch.cuda.get_device_name()} has compute capability {capability[0]}.{capability[1]}, Triton needs 8.0"
        )
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):  # it compiles the kernel's launcher
        return "Triton needs a C compiler; install gcc or name one in CC"
    return None


@contextmanager
def exact_float32() -> Iterator[None]:
    """Compute convolutions of float32 in float32 inside the block.

    torch's default lets cuDNN round their factors to ten binary digits (TF32) on GPUs of compute capability 8.0 and above.
    """
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def to_channels_last(network: torch.nn.Module) -> None:
    """Store the weights of convolutions of images and of volumes in the layout that is fastest on a GPU."""
    for value in network.parameters():
        if value.ndim in _CHANNELS_LAST:
            value.data = value.data.contiguous(memory_format=_CHANNELS_LAST[value.ndim])


def with_less_memory(job: Callable[[int], T], batch_size: int, doing: str) -> T:
    """Run a job; where GPU memory is short, again from its start with half the batch size.

    Args:
        job: function of the batch size.
        batch_size: items at a time in the first attempt.
        doing: what the job does, for the message.

    Returns:
        Result of the job.

    Raises:
        torch.OutOfMemoryError: if there is not enough memory for one item.
    """
    while True:
        try:
            return job(batch_size)
        except torch.OutOfMemoryError:
            if batch_size <= 1:
                raise
        # After `except`, whose traceback would keep the tensors of the attempt.
        batch_size //= 2
        logger.warning("out of GPU memory while %s; repeating it with batches of %d", doing, batch_size)


def training_precision(device: torch.device, precision: Precision, parameters: int) -> str:
    """Return Lightning's name of the precision to train a network in.

    Args:
        device: where the network is trained.
        precision: the setting; `auto` is bfloat16 where the device supports it and, on a CPU, the network is large.
        parameters: number of trainable parameters.
    """
    worthwhile = computes_bfloat16(device) and (device.type == "cuda" or parameters >= _BFLOAT16_FROM)
    fast = worthwhile if precision is Precision.AUTO else precision is Precision.BFLOAT16
    return "bf16-mixed" if fast else "32-true"


def keep_freed_memory() -> None:
    """Let this process reuse the memory of freed tensors instead of returning it to the system after each operation.

    By default glibc maps blocks from 32 MB at the latest anew, and the system clears their pages each time: a fifth of a step of
    the demo's encoder. Blocks above 256 MB are still returned at once. Other C libraries do without.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)


def count_parameters(network: torch.nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(value.numel() for value in network.parameters() if value.requires_grad)


def peak_memory_gb(device: torch.device) -> float:
    """Return the peak memory of this process in GB: GPU memory if `device` is a GPU, else main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    status = Path("/proc/self/status")
    if status.exists():  # `getrusage` would include the parent's peak from before `exec`
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
