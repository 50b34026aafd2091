"""The round trip through the generator's autoencoder, which is a control of the audit."""

import numpy as np

from deepssim.audit.tools import reconstruction
from deepssim.config.audit import AuditConfig
from deepssim.config.choices import Device, Orientation
from deepssim.config.generative import VaeConfig
from deepssim.config.settings import Config
from deepssim.generative.autoencoder import build_autoencoder, save_autoencoder
from deepssim.images.packs import ImagePack
from tests.generative.given import make_remember, remembered


def test_an_autoencoder_of_transposed_images_gets_them_transposed(tmp_path):
    """Upright files are turned for it and back; files that its generator wrote are transposed already."""
    options = VaeConfig(channels=(8, 8), latent_channels=2, norm_groups=4)
    network, path = build_autoencoder(options), tmp_path / "vae.safetensors"
    make_remember(network)
    image = remembered(24, 24)
    packs = {kind: ImagePack(pixels[None], ["a"]) for kind, pixels in (("known", image), ("other", image.T))}
    config = Config(device=Device.CPU, audit=AuditConfig(autoencoder=str(path)))
    save_autoencoder(path, network, options, Orientation.TRANSPOSED)
    for pack in packs.values():
        np.testing.assert_array_equal(reconstruction(config)(pack).images, pack.images)
    save_autoencoder(path, network, options)
    np.testing.assert_array_equal(reconstruction(config)(packs["other"]).images, packs["known"].images)
