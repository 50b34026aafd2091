import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deepssim.config.choices import Device, Precision
from deepssim.config.encoders import DarConfig
from deepssim.encoders.dar import Dar, embed, load_encoder, save_encoder
from deepssim.encoders.dar_training import nt_xent, train_dar
from deepssim.errors import DataError
from deepssim.images.augment import misalign_pack
from deepssim.images.keys import real_key
from deepssim.images.packs import ImagePack
from deepssim.similarity.embedding_scores import EmbeddingComparison, EmbeddingSimilarity
from deepssim.similarity.tiles import all_scores

TINY = DarConfig(width=8, embedding_features=16, epochs=12, passes=10, batch_size=16, validate_every=12)


@pytest.fixture
def pack(random):
    """Sixteen smooth images of 24x24 pixels."""
    smooth = np.cumsum(np.cumsum(random.normal(size=(16, 24, 24)), axis=1), axis=2)
    low, high = smooth.min((1, 2), keepdims=True), smooth.max((1, 2), keepdims=True)
    return ImagePack((255 * (smooth - low) / (high - low)).astype(np.uint8), [real_key(f"r{n}") for n in range(16)])


def test_the_loss_matches_a_hand_calculation():
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    second = torch.tensor([[0.6, 0.8], [0.0, -1.0]])
    # Cosines over temperature 0.5 of each view with the three others; its partner first.
    others = [[1.2, 0.0, 0.0], [-2.0, 0.0, 1.6], [1.2, 1.6, -1.6], [-2.0, 0.0, -1.6]]
    expected = sum(math.log(sum(map(math.exp, row))) - row[0] for row in others) / 4
    assert nt_xent(first, second, 0.5).item() == pytest.approx(expected, abs=1e-6)
    assert nt_xent(second, first, 0.5).item() == pytest.approx(expected, abs=1e-6)
    same = torch.ones(5, 2) / 2**0.5
    assert nt_xent(same, same, 0.1).item() == pytest.approx(math.log(9), abs=1e-5)


def test_training_finds_the_misaligned_copy(tmp_path, pack):
    """Nearest neighbours of misaligned copies are their originals far more often than before training."""
    torch.manual_seed(0)
    network, trained = train_dar(pack, pack, TINY, seed=0, device=Device.CPU, state=tmp_path / "state")
    assert trained.history[-1]["valid_loss"] < math.log(31) - 1
    copies = misalign_pack(pack, DarConfig().augmentation, 1)
    found = []
    for encoder in (Dar(TINY), network):
        save_encoder(tmp_path / "dar.safetensors", encoder)
        sides = (
            embed(str(tmp_path / "dar.safetensors"), one, Device.CPU, 8, Precision.FLOAT32) for one in (pack, copies)
        )
        scores = all_scores(EmbeddingComparison(*sides, similarity=EmbeddingSimilarity.PEARSON))
        found.append((scores.argmax(axis=0) == np.arange(16)).mean())
    assert found[1] > 0.6
    assert found[1] > found[0]


def test_embeddings_have_length_one_and_ignore_brightness(pack):
    network = Dar(TINY).eval()
    with torch.inference_mode():
        values = network(torch.from_numpy(pack.unit())[:, None])
        darker = network(0.4 * torch.from_numpy(pack.unit())[:, None] + 0.1)
    torch.testing.assert_close(values.norm(dim=1), torch.ones(16))
    torch.testing.assert_close(values, darker, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("bottleneck", [True, False])
def test_the_file_rebuilds_the_network(tmp_path, bottleneck):
    options = TINY.with_changes(bottleneck=bottleneck, depths=(1, 2, 1, 1))
    network = Dar(options).eval()
    save_encoder(tmp_path / "dar.safetensors", network)
    again, _ = load_encoder(tmp_path / "dar.safetensors")
    assert again.options == options
    torch.save(network.state_dict(), tmp_path / "dar.pth")
    from deepssim.runtime.provenance import file_checksum

    plain, _ = load_encoder(tmp_path / "dar.pth", [file_checksum(tmp_path / "dar.pth")])  # its shape is read off
    image = torch.rand(2, 1, 32, 32)
    with torch.inference_mode():
        for other in (again, plain):
            assert torch.equal(other(image), network(image))


def test_the_mode_of_the_reference_is_for_published_weights_only(tmp_path, pack):
    """Weights trained here give each image one embedding, whatever else is in its batch."""
    network = Dar(TINY).eval()
    save_encoder(tmp_path / "dar.safetensors", network)
    save_file(network.state_dict(), tmp_path / "published.safetensors")
    found = {
        (name, mode): embed(str(tmp_path / name), pack, Device.CPU, 6, Precision.FLOAT32, batch_statistics=mode).values
        for name in ("dar.safetensors", "published.safetensors")
        for mode in (False, True)
    }
    np.testing.assert_array_equal(found["dar.safetensors", True], found["dar.safetensors", False])
    assert np.abs(found["published.safetensors", True] - found["published.safetensors", False]).max() > 0.01
    alone = pack.select(pack.keys[:1])
    with pytest.raises(
        DataError, match=r"the encoder of dar does not accept images of 24x24 \(Expected more than 1 value"
    ):
        embed(str(tmp_path / "published.safetensors"), alone, Device.CPU, 6, Precision.FLOAT32, batch_statistics=True)


def test_one_image_is_refused(tmp_path, pack):
    with pytest.raises(DataError, match="dar: 1 images to train on; add images, at least two"):
        train_dar(pack.select(pack.keys[:1]), None, TINY, seed=0, device=Device.CPU, state=tmp_path)


def test_a_state_dict_without_a_stage_is_refused(tmp_path):
    path = tmp_path / "dar.safetensors"
    shapes = {"conv1": (16, 1, 7, 7), "layer4.0.conv1": (16, 16, 3, 3), "fc": (8, 16)}
    save_file({f"model.{name}.weight": torch.zeros(shape) for name, shape in shapes.items()}, path)
    with pytest.raises(DataError, match=r"dar\.safetensors: does not fit a ResNet; expected four stages"):
        load_encoder(path)
