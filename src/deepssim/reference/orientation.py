"""The orientation of images in the reference's commands: that of the weights, transposed unless they say otherwise.

Not here: how weights record it (runtime/weights.py), transposing (images/standardize.py).
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from deepssim.config.choices import Orientation
from deepssim.config.dataset import DatasetConfig
from deepssim.config.settings import Config
from deepssim.errors import DataError, readable
from deepssim.generative.autoencoder import require_same_orientation
from deepssim.images.keys import real_key
from deepssim.images.packs import ImagePack
from deepssim.images.tree import image_path
from deepssim.runtime.weights import recorded_orientation

logger = logging.getLogger(__name__)


def turned(dataset: DatasetConfig, orientation: Orientation) -> DatasetConfig:
    """Return settings for images of an orientation: height and width change places with rows and columns.

    Args:
        dataset: settings whose `image_size` fits their own orientation.
        orientation: wanted.
    """
    if dataset.orientation is orientation:
        return dataset
    size = None if dataset.image_size is None else dataset.image_size[::-1]
    return dataset.with_changes(orientation=orientation, image_size=size)


def following(config: Config, autoencoder: str, unet: str | None) -> Config:
    """Return settings whose orientation is that of an autoencoder; a file that records none has that of the settings.

    The reference's own checkpoints record none; they were trained on transposed images, the default of these commands.

    Args:
        config: settings of a command.
        autoencoder: its checkpoint.
        unet: checkpoint of the diffusion model, or None.

    Raises:
        DataError: if the diffusion model was trained on images of the other orientation.
    """
    assumed = config.dataset.orientation
    if unet is not None:
        require_same_orientation(autoencoder, unet, otherwise=assumed)
    orientation = recorded_orientation(autoencoder) or assumed
    logger.info("%s: %s images", autoencoder, orientation.value)
    return config.with_changes(dataset=turned(config.dataset, orientation))


def other_orientation(name: str, given: str, text: str, checkpoint: str, orientation: Orientation) -> str:
    """Return the message about a shape that images of the other orientation have.

    Args:
        name: of the option, without dashes.
        given: its value.
        text: the shape that images of this orientation have.
        checkpoint: autoencoder.
        orientation: of the images.
    """
    other = Orientation.UPRIGHT if orientation is Orientation.TRANSPOSED else Orientation.TRANSPOSED
    problem = f"--{name} is {given}, which {other} images have, but {orientation} ones, as used here, {text}"
    if recorded_orientation(checkpoint) is None:
        return f"{problem}; give --orientation {other} if the networks were trained on such images"
    return f"{problem}; {checkpoint} records that it was trained on {orientation} images, leave --{name} out"


def require_same_images(root: Path, real: ImagePack, records: Sequence[str]) -> None:
    """Check that a tree which a run continues holds these real images, in this orientation.

    Args:
        root: image tree.
        real: pack of the real images.
        records: those that the tree holds.

    Raises:
        DataError: if the real image of a record is another one.
    """
    paths = {key: image_path(root, key) for key in map(real_key, records)}
    other = [path for key, path in paths.items() if path.exists() and _differs(path, real.images[real.index[key]])]
    if other:
        raise DataError(
            f"{root}: {len(other)} of {len(paths)} real images are not those of the table, or were written in another "
            f"orientation, first {other[0].relative_to(root)}; name another --output_path"
        )


def _differs(path: Path, image: np.ndarray) -> bool:
    with readable(path, "an image", "name another --output_path"):
        return not np.array_equal(np.asarray(Image.open(path)), image)
