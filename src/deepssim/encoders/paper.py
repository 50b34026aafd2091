"""The encoder of arXiv:2509.16582 and its training, for the command that takes no config file.

A test keeps it equal to config/brain.yaml and config/chest.yaml.
"""

from deepssim.choices import Decay, Distortion, Keep, Recipe
from deepssim.config import DistortionConfig, EncoderConfig

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
    augmentation=tuple(
        DistortionConfig(kind=kind, probability=0.33, strength=strength)
        for kind, strength in ((Distortion.FLIP, 1.0), (Distortion.ROTATION, 9.74), (Distortion.GAMMA, 0.5))
    ),
)
