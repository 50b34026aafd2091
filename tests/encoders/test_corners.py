import pytest
import torch
import torch.nn.functional as F

from deepssim.encoders.corners import fill_corners
from deepssim.images import augment


def bright(count, size=(60, 52)):
    """Smooth images without black."""
    return 0.2 + 0.8 * F.interpolate(torch.rand(count, 1, 5, 5), size=size, mode="bicubic").clamp(0, 1)


def turned(images, *degrees):
    changes = vars(augment.Misalignment.none(len(images))) | {"degrees": torch.tensor(degrees)}
    return augment.apply(images, augment.Misalignment(**changes))


def test_black_corners_tell_the_angle():
    torch.manual_seed(0)
    angles = torch.tensor([-10.0, -6.3, -2.5, 2.5, 4.0, 9.1])
    _, found = fill_corners(turned(bright(6), *angles), 12.0)
    torch.testing.assert_close(found, angles, atol=0.5, rtol=0)


def test_corners_go_on_as_the_image_does():
    torch.manual_seed(0)
    images = bright(4)
    black = turned(images, -9.0, -5.0, 5.0, 9.0)
    filled, _ = fill_corners(black, 12.0)
    outside = turned(torch.ones_like(images), -9.0, -5.0, 5.0, 9.0) < 0.99
    assert (filled[outside] > 0.15).all()
    inside = filled[~outside] != black[~outside]
    assert inside.float().mean() < 0.02  # next to the border, where the angle is off by a little


@pytest.mark.parametrize(
    "images",
    [
        bright(3),
        F.pad(bright(3), (12, 12, 12, 12)),  # black is part of these, as around a head
        torch.zeros(2, 1, 40, 40),
    ],
)
def test_other_images_stay_as_they_are(images):
    filled, degrees = fill_corners(images, 12.0)
    assert torch.equal(filled, images)
    assert not degrees.any()


def test_nothing_is_looked_for_that_training_does_not_draw():
    images = turned(bright(2), 8.0, -8.0)
    assert torch.equal(fill_corners(images, 0.0)[0], images)


def test_a_mirror_image_is_filled_alike():
    torch.manual_seed(0)
    images = turned(bright(3), -8.0, 5.0, 7.0)
    filled, degrees = fill_corners(images, 12.0)
    mirrored, opposite = fill_corners(images.flip(3), 12.0)
    torch.testing.assert_close(mirrored.flip(3), filled)
    assert torch.equal(opposite, -degrees)
