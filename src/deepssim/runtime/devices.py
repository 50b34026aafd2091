"""Device and precision that networks use, and the memory they needed."""

import ctypes
import resource
import sys
from pathlib import Path

import torch

from deepssim.config.choices import Device, Precision
from deepssim.errors import ConfigError

# Number of trainable parameters from which a CPU trains in bfloat16: small networks gain little, but a step of the paper's
# diffusion model, with hundreds of millions of parameters, takes 0.6 of the time. The channels-last layout gains nothing there.
_BFLOAT16_FROM = 10_000_000

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
