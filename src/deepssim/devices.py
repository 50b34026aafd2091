"""Which device and precision networks use."""

import torch

from deepssim.config import Device
from deepssim.errors import ConfigError


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


def training_precision(device: torch.device) -> str:
    """Return Lightning's name of the precision to train in: bfloat16 where a GPU computes it, else float32."""
    if device.type == "cuda" and computes_bfloat16(device):
        return "bf16-mixed"
    return "32-true"
