"""Which device and precision networks use, and how much memory they took."""

import resource
import sys
from pathlib import Path

import torch

from deepssim.config.choices import Device, Precision
from deepssim.errors import ConfigError

# Weights from which on a processor trains in bfloat16: small networks gain little; a step of the paper's diffusion model, of
# hundreds of millions of weights, takes 0.6 of the time. Channels-last gains nothing there.
_LARGE = 10_000_000


def resolve_device(device: Device) -> torch.device:
    """Return the torch device for a setting.

    Raises:
        ConfigError: if a GPU is asked for and there is none.
    """
    if device is Device.CPU:
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if device is Device.CUDA:
        raise ConfigError("device is 'cuda' but this machine has no usable GPU; set device to 'auto' or 'cpu'")
    return torch.device("cpu")


def computes_bfloat16(device: torch.device) -> bool:
    """Return whether the device has instructions for bfloat16, not just a way to emulate them."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # torch has no public question for processors; without these instructions bfloat16 is slower than float32.
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def training_precision(device: torch.device, precision: Precision, weights: int) -> str:
    """Return Lightning's name of the precision to train a network of so many weights in.

    `auto` is bfloat16 where the device computes it and, on a processor, the network is large enough to gain.
    """
    worthwhile = computes_bfloat16(device) and (device.type == "cuda" or weights >= _LARGE)
    fast = worthwhile if precision is Precision.AUTO else precision is Precision.BFLOAT16
    return "bf16-mixed" if fast else "32-true"


def weights_of(network: torch.nn.Module) -> int:
    """Return how many weights a network trains."""
    return sum(value.numel() for value in network.parameters() if value.requires_grad)


def peak_memory_gb(device: torch.device) -> float:
    """Return the most memory that this process has had, of the GPU if `device` is one, in GB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    status = Path("/proc/self/status")
    if status.exists():  # `getrusage` would count what the starting process had
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
