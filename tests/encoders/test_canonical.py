import pytest
import torch
import torch.nn.functional as F

from deepssim.choices import Distortion
from deepssim.config import DistortionConfig
from deepssim.encoders.canonical import Canonicalizer
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


def test_it_learns_to_turn_images_back():
    torch.manual_seed(0)
    network = Canonicalizer()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(120):
        images = faces(32)
        changes = augment.draw(32, MISALIGNED)
        loss = network.pose(augment.apply(images, changes)).loss(changes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    images = faces(64)
    turned = network(augment.apply(images, augment.draw(64, MISALIGNED)))
    misaligned = augment.apply(images, augment.draw(64, MISALIGNED))
    assert (turned - images).abs().mean() < 0.35 * (misaligned - images).abs().mean()


@pytest.mark.parametrize(("rows", "columns"), [(False, False), (True, False), (False, True), (True, True)])
def test_the_loss_is_least_for_the_true_pose(rows, columns):
    """The truth is worked out by hand: flips first, then an anti-clockwise rotation; one flip turns a rotation around."""
    changes = augment.Misalignment.none(1)
    values = vars(changes) | {
        "flip_rows": torch.tensor([rows]), "flip_columns": torch.tensor([columns]), "degrees": torch.tensor([7.0]),
    }  # fmt: skip
    changes = augment.Misalignment(**values)
    image = faces(1)
    seen = augment.apply(image, changes)
    network = Canonicalizer()
    pose = network.pose(seen)
    flip = int(rows) + 2 * int(columns)
    pose.scores.data.fill_(0)
    pose.scores.data[0, flip] = 20
    pose.degrees.data.fill_(-7.0 if rows != columns else 7.0)
    assert pose.loss(changes) < 1e-3
    # And turning by it gives the image back, up to interpolating twice.
    assert (network.turn(seen, pose) - image).abs().mean() < 0.3 * (seen - image).abs().mean()


def test_no_gradient_passes_the_pose():
    images = torch.rand(2, 1, 32, 32, requires_grad=True)
    assert not Canonicalizer()(images).requires_grad
