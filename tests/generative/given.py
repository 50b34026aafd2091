"""An autoencoder of known behaviour: it decodes every latent to one image, which is not symmetric."""

from typing import Any

import numpy as np
import torch

_BRIGHT, _FIRST_ROW, _FIRST_COLUMN, _CORNER = 255, 170, 85, 0


def remembered(rows: int, columns: int) -> np.ndarray:
    """Return the image: bright, darker in the first row and darker still in the first column; uint8 (rows, columns)."""
    image = np.full((rows, columns), _BRIGHT, np.uint8)
    image[0], image[:, 0], image[0, 0] = _FIRST_ROW, _FIRST_COLUMN, _CORNER
    return image


@torch.no_grad()
def make_remember(network: Any) -> None:
    """Change the decoder of an autoencoder of MONAI or monai-generative so that it gives that image at any size.

    Its last convolution sees ones, and zeros beyond the edges; it adds a third of what is above to two thirds of what is to
    the left.
    """
    norm, last = network.decoder.blocks[-2], network.decoder.blocks[-1].conv
    norm.weight.zero_()
    norm.bias.fill_(1)
    last.weight.zero_()
    last.bias.zero_()
    last.weight[0, 0, 0, 1], last.weight[0, 0, 1, 0] = 1 / 3, 2 / 3
