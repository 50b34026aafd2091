import numpy as np
import pytest
import torch

from deepssim.config.choices import Device
from deepssim.config.encoders import EncoderConfig
from deepssim.encoders.deepssim import DeepSSIM, embed, load_encoder, save_encoder
from deepssim.errors import DataError
from deepssim.images.packs import ImagePack
from deepssim.similarity.embedding_scores import EmbeddingComparison
from deepssim.similarity.tiles import all_scores

PAPER = EncoderConfig(canonicalize=False, ssim_features=False, embedding_features=256)
TINY = EncoderConfig(depths=(1, 1, 1, 1), widths=(8, 8, 16, 16), patch_size=2, hidden_features=16, embedding_features=8)


def test_the_head_is_that_of_the_paper():
    network = DeepSSIM(PAPER).eval()
    assert [type(layer).__name__ for layer in network.head] == ["BatchNorm1d", "Linear", "GELU", "Dropout", "Linear"]
    assert (network.head[1].out_features, network.head[4].out_features) == (512, 256)
    assert {name.split(".")[0] for name in network.state_dict()} == {"features", "head"}
    with torch.inference_mode():
        image = torch.rand(1, 1, 64, 48)
        assert network(image).shape == (1, 256)
        torch.testing.assert_close(network(0.3 * image + 0.2), network(image), atol=1e-3, rtol=1e-3)  # z-scored


def test_a_flipped_image_has_the_same_embedding_whatever_was_learned():
    torch.manual_seed(0)
    network = DeepSSIM(TINY).eval()
    images = torch.rand(5, 1, 40, 32)
    with torch.inference_mode():
        expected = network(images)
        for axes in ((2,), (3,), (2, 3)):
            torch.testing.assert_close(network(images.flip(axes)), expected, atol=1e-4, rtol=1e-3)


def test_the_file_rebuilds_the_network(tmp_path, packs):
    torch.manual_seed(1)
    network = DeepSSIM(TINY).eval()
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, network)
    again = load_encoder(path)
    assert again.options == TINY
    assert not again.training
    one, two = (embed(path, packs[0], device=Device.CPU, batch_size=size) for size in (6, 4))
    np.testing.assert_allclose(one.values, two.values, atol=1e-5)
    assert one.keys == packs[0].keys
    first = path.read_bytes()
    save_encoder(path, network)
    assert path.read_bytes() == first  # the checksum identifies the weights


def test_a_copy_scores_one(tmp_path, packs):
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, DeepSSIM(TINY.with_changes(canonicalize=False)).eval())
    real = packs[0]
    copy = ImagePack(real.images[::-1].copy(), real.keys[::-1])
    scores = all_scores(EmbeddingComparison(*(embed(path, pack, device=Device.CPU) for pack in (real, copy))))
    np.testing.assert_allclose(np.diag(scores[:, ::-1]), 1, atol=1e-5)


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(b"not safetensors")
    with pytest.raises(DataError, match=r"encoder\.safetensors: cannot be read as safetensors"):
        load_encoder(path)


def test_an_encoder_whose_features_resized_images_is_refused(tmp_path):
    network = DeepSSIM(TINY.with_changes(canonicalize=False)).eval()
    network.ssim.register_buffer("order", torch.zeros(4, dtype=torch.int32))
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, network)
    with pytest.raises(
        DataError, match=r"encoder\.safetensors: holds an encoder of an earlier version.*train it again"
    ):
        load_encoder(path)
