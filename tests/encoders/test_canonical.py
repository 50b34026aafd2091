import math

import pytest
import torch
import torch.nn.functional as F

from deepssim.config.choices import Distortion
from deepssim.config.distortions import DistortionConfig
from deepssim.encoders.canonical import AffinePose, Canonicalizer, PoseEstimate, affine_grid
from deepssim.images import augment

MISALIGNED = [
    DistortionConfig(kind=Distortion.FLIP, probability=0.5),
    DistortionConfig(kind=Distortion.ROTATION, probability=1.0, strength=10.0),
]


def faces(count):
    """Upright images without symmetry: a bright wedge at the upper left of a disk, with random blobs."""
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 40), torch.linspace(-1, 1, 40), indexing="ij")
    disk = (rows**2 + (1.3 * columns) ** 2 < 0.7).float() * 0.4
    wedge = ((rows < -0.2) & (columns < -0.1) & (rows**2 + columns**2 < 0.6)).float() * 0.4
    blobs = F.interpolate(torch.rand(count, 1, 5, 5), size=(40, 40), mode="bilinear") * 0.2
    # Corners that a rotation uncovers are black before, too, and edges are soft, so that interpolation takes little.
    return F.avg_pool2d(disk + wedge + blobs * (disk > 0), 5, 1, 2)


def taught(make, members=1, misaligned=MISALIGNED):
    """Return a network that was trained for a little on `make()` images, misaligned."""
    torch.manual_seed(0)
    network = Canonicalizer(misaligned)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(120):
        images = make(32)
        changes = augment.draw(32, misaligned)
        loss = network.estimate(augment.apply(images, changes)).loss(changes, members)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


def test_it_learns_to_turn_images_back():
    network = taught(faces)
    images = faces(64)
    turned = network(augment.apply(images, augment.draw(64, MISALIGNED))).images
    misaligned = augment.apply(images, augment.draw(64, MISALIGNED))
    assert (turned - images).abs().mean() < 0.35 * (misaligned - images).abs().mean()


def test_it_learns_to_shift_images_back():
    shifted = [DistortionConfig(kind=Distortion.TRANSLATION, probability=1.0, strength=0.1)]
    network = taught(faces, misaligned=shifted)
    images = faces(64)
    misaligned = augment.apply(images, augment.draw(64, shifted))
    assert (network(misaligned).images - images).abs().mean() < 0.35 * (misaligned - images).abs().mean()


def test_families_agree_on_a_pose_that_the_data_set_does_not_have():
    """Half of the images lie on their side's mirror image, so nobody can tell how an image lay; copies agree all the same."""

    def mirrored(count):
        """Families of four, each mirrored or not."""
        images = faces(count // 4)
        images = torch.where((torch.rand(len(images)) < 0.5)[:, None, None, None], images.flip(3), images)
        return images.repeat_interleave(4, dim=0)

    network = taught(mirrored, members=4)
    images = mirrored(256)[::4]
    one, two = (network(augment.apply(images, augment.draw(64, MISALIGNED))).images for _ in range(2))
    untaught = (augment.apply(images, augment.draw(64, MISALIGNED)) for _ in range(2))
    assert (one - two).abs().mean() < 0.35 * torch.sub(*untaught).abs().mean()


NOTHING = {"degrees": 0.0, "exponent": 0.0, "right": 0.0, "down": 0.0, "wide": 0.0, "high": 0.0}


def pose_of(flip=0, **values):
    """What a network that knows would say of one image."""
    scores = torch.zeros(1, 4)
    scores[0, flip] = 20
    of_image = torch.tensor(list((NOTHING | values).values()))
    # A flip turns a rotation around, two turn it back; rows turn what is down, columns what is right.
    signs = [[1, 1, 1, 1, 1, 1], [-1, 1, 1, -1, 1, 1], [-1, 1, -1, 1, 1, 1], [1, 1, -1, -1, 1, 1]]
    return PoseEstimate(scores, (torch.tensor(signs) * of_image)[None], AffinePose.identity(torch.zeros(1, 1, 40, 40)))


def turned_by(image, pose):
    network = Canonicalizer([DistortionConfig(kind=Distortion.CROP, probability=1.0, strength=0.1)]).train()
    passes = iter([pose, pose_of(int(pose.scores.argmax()))])  # nothing is left to correct in the second pass
    network.estimate = lambda images, undone: next(passes)
    return network(image).images


def test_contrast_comes_back():
    image = faces(1)
    found = turned_by(image**1.4, pose_of(exponent=math.log(1.4)))
    torch.testing.assert_close(found, image, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(("rows", "columns"), [(False, False), (True, False), (False, True), (True, True)])
def test_the_loss_is_least_for_the_true_pose(rows, columns):
    """The truth is worked out by hand: flips first, then what is seen is turned, enlarged and shifted."""
    values = vars(augment.Misalignment.none(1)) | {
        "flip_rows": torch.tensor([rows]), "flip_columns": torch.tensor([columns]), "degrees": torch.tensor([7.0]),
        "gamma": torch.tensor([1.2]), "shift": torch.tensor([[0.06, -0.04]]), "scale": torch.tensor([[1.1, 0.95]]),
    }  # fmt: skip
    changes = augment.Misalignment(**values)
    image = faces(1)
    seen = augment.apply(image, changes)
    truth = {"flip": int(rows) + 2 * int(columns), "degrees": 7.0, "exponent": math.log(1.2), "right": 0.06,
             "down": -0.04, "wide": math.log(1.1), "high": math.log(0.95)}  # fmt: skip
    pose = pose_of(**truth)
    assert pose.loss(changes) < 1e-3
    for wrong in ({"flip": 3 - truth["flip"]}, {"degrees": -7.0}, {"exponent": -0.2}, {"right": -0.06}, {"high": 0.2}):
        assert pose_of(**truth | wrong).loss(changes) > 0.05
    # And turning by it gives the image back, up to interpolating twice.
    assert (turned_by(seen, pose) - image).abs().mean() < 0.2 * (seen - image).abs().mean()


def test_passes_add_up():
    """Two passes that each estimate half of the deviation undo the whole."""
    network = Canonicalizer([DistortionConfig(kind=Distortion.SCALE, probability=1.0, strength=0.1)]).train()
    changes = augment.Misalignment(**vars(augment.Misalignment.none(1)) | {
        "degrees": torch.tensor([8.0]), "scale": torch.tensor([[1.21, 1.21]]), "gamma": torch.tensor([1.44]),
    })  # fmt: skip
    half = pose_of(degrees=4.0, wide=math.log(1.1), high=math.log(1.1), exponent=math.log(1.2))
    network.estimate = lambda images, undone: half
    image = faces(1)
    seen = augment.apply(image, changes)
    inside = (..., slice(5, -5), slice(5, -5))  # what enlarging pushed out of the frame is lost
    assert (network(seen).images - image)[inside].abs().mean() < 0.2 * (seen - image)[inside].abs().mean()


def test_no_gradient_passes_the_pose():
    images = torch.rand(2, 1, 32, 32, requires_grad=True)
    assert not Canonicalizer()(images).images.requires_grad


def test_sampling_grids_are_those_of_torch():
    torch.manual_seed(0)
    theta, images = torch.randn(5, 2, 3), torch.empty(5, 1, 9, 14)
    torch.testing.assert_close(affine_grid(theta, images), F.affine_grid(theta, [5, 1, 9, 14], align_corners=True))
