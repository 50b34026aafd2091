"""Settings of arXiv:2509.16582, for commands that take no config file.

A test keeps them equal to config/brain.yaml and config/chest.yaml.
"""

from deepssim.config.choices import Decay, Keep, Perceptual, Recipe
from deepssim.config.distortions import distortions
from deepssim.config.encoders import EncoderConfig
from deepssim.config.generative import LdmConfig, MemorizationConfig, VaeConfig

PAPER_VAE = VaeConfig(
    channels=(64, 128, 128),
    latent_channels=3,
    residual_blocks=2,
    norm_groups=32,
    perceptual=Perceptual.SQUEEZE,
    adversarial_weight=0.125,
    pictures_every=10,
    epochs=100,
    passes=1,
    batch_size=16,
    learning_rate=1e-4,
    decay=Decay.CONSTANT,
)

PAPER_LDM = LdmConfig(
    channels=(256, 512, 768),
    attention_levels=(False, True, True),
    head_channels=768,
    residual_blocks=2,
    norm_groups=32,
    scale_latents=False,
    memorization=MemorizationConfig(every=10, images=64),
    epochs=100,
    passes=1,
    batch_size=8,
    learning_rate=2.5e-5,
    decay=Decay.CONSTANT,
    validate_every=5,
)

PAPER_ENCODER = EncoderConfig(
    depths=(3, 3, 27, 3),
    widths=(128, 256, 512, 1024),
    canonicalize=False,
    ssim_features=False,
    embedding_features=256,
    dropout=0.33,
    recipe=Recipe.PAPER,
    epochs=40,
    passes=1,
    keep=Keep.BEST,
    batch_size=32,
    learning_rate=1e-3,
    decay=Decay.CONSTANT,
    augmentation=distortions(flip=(0.33, 1.0), rotation=(0.33, 9.74), gamma=(0.33, 0.5)),
)
