"""MONAI is imported without the packages that its networks do not use, and these can be imported afterwards."""

import subprocess
import sys

import torch

from deepssim.config.settings import Config
from deepssim.generative.autoencoder import build_autoencoder
from deepssim.generative.diffusion import build_unet

CODE = """
import sys
from deepssim.runtime.lean_imports import import_monai_lean
import_monai_lean()
import_monai_lean()
from monai.losses.perceptual import PerceptualLoss
from tests.runtime.test_lean_imports import outputs
values = outputs()
hidden = {"transformers", "matplotlib", "skimage", "sklearn", "tensorboard", "nibabel"} & set(sys.modules)
assert not hidden, hidden
import pandas, nibabel, scipy.signal
from torch.utils.tensorboard import SummaryWriter
print(values)
"""


def outputs():
    """Return the sum of the outputs of both networks, with random weights."""
    torch.manual_seed(0)
    images, latents, steps = torch.rand(1, 1, 48, 48), torch.rand(1, 8, 6, 6), torch.zeros(1, dtype=torch.long)
    with torch.inference_mode():
        decoded = build_autoencoder(Config().vae).eval().reconstruct(images)
        return [float(decoded.sum()), float(build_unet(Config().ldm, 8).eval()(latents, timesteps=steps).sum())]


def test_networks_need_none_of_the_hidden_packages():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(outputs())
