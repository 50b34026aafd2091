import numpy as np
import torch

from deepssim.config import AugmentationConfig
from deepssim.images.augment import Misalignment, apply, draw, misalign_pack
from deepssim.images.packs import ImagePack
from deepssim.seeds import torch_generator

NEVER = AugmentationConfig(flip_probability=0, rotation_probability=0, gamma_probability=0)
ALWAYS = AugmentationConfig(flip_probability=0.8, rotation_probability=0.8, rotation_degrees=10, gamma_probability=0.8)


def change(**parts) -> Misalignment:
    still = {"flip_rows": False, "flip_columns": False, "degrees": 0.0, "gamma": 1.0}
    return Misalignment(**{name: torch.tensor([value]) for name, value in (still | parts).items()})


def test_each_part_does_what_it_says():
    image = torch.arange(12.0).reshape(1, 1, 3, 4) / 12
    torch.testing.assert_close(apply(image, change()), image)
    torch.testing.assert_close(apply(image, change(flip_rows=True)), image.flip(2))
    torch.testing.assert_close(apply(image, change(flip_columns=True)), image.flip(3))
    torch.testing.assert_close(apply(image, change(gamma=2.0)), image**2)


def test_rotation_is_anticlockwise_and_about_the_centre():
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 2, 4] = 1  # right of the centre
    turned = apply(image, change(degrees=90.0))
    assert turned[0, 0].argmax() == 2  # row 0, column 2: above the centre


def test_frequencies_and_ranges():
    drawn = draw(20000, ALWAYS, torch_generator(0, "test"))
    for happened in (drawn.flip_rows, drawn.flip_columns, drawn.degrees != 0, drawn.gamma != 1):
        assert abs(happened.float().mean() - 0.8) < 0.02
    assert 9.5 < drawn.degrees.abs().max() <= 10
    assert drawn.gamma.min() >= 0.5
    assert drawn.gamma.max() <= 1.5
    assert abs(drawn.degrees.mean()) < 0.2


def test_no_change_is_exact(packs):
    real, _ = packs
    np.testing.assert_array_equal(misalign_pack(real, NEVER, seed=0).images, real.images)


def test_an_image_does_not_depend_on_its_neighbours(packs):
    real, _ = packs
    together = misalign_pack(real, ALWAYS, seed=3)
    for batch_size in (1, 4):
        np.testing.assert_array_equal(
            misalign_pack(real, ALWAYS, seed=3, batch_size=batch_size).images, together.images
        )
    alone = misalign_pack(ImagePack(real.images[4:5], real.keys[4:5]), ALWAYS, seed=3)
    np.testing.assert_array_equal(alone.images[0], together.images[4])
    assert (misalign_pack(real, ALWAYS, seed=4).images != together.images).any()
