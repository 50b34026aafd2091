"""Each published format goes the whole way: a file like it, an image tree, the command, the matrix."""

import importlib.util
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.transforms import Compose, EnsureChannelFirst, LoadImage, ScaleIntensity
from safetensors.torch import save_file
from scipy.ndimage import rotate
from scipy.spatial.distance import cdist

from deepssim.cli import main
from deepssim.config.choices import Device, Precision
from deepssim.config.encoders import EncoderConfig
from deepssim.encoders.deepssim import DeepSSIM
from deepssim.encoders.published import (
    PublishedDeepSSIM,
    Sscd,
    load_torchscript,
    save_torchscript,
    trusted_checksum,
)
from deepssim.encoders.semdedup import embed, load_open_clip
from deepssim.errors import ConfigError, DataError
from deepssim.images.packs import ImagePack, write_pack
from deepssim.images.standardize import zscore
from deepssim.runtime.provenance import file_checksum
from deepssim.similarity.embeddings import read_embeddings
from deepssim.similarity.matrices import read_scores
from tests.encoders import given


@pytest.fixture
def tree(tmp_path, random):
    """Images of names with spaces and other alphabets."""
    return tmp_path / "images", given.write_images(tmp_path / "images", ["b 1", "Ärztin", "a"], random)


def matrix_of(tmp_path, root, metric, weights, *options):
    """Run the command as the reference's user would; return the matrix, its keys and the embeddings by key."""
    main(["compute-matrix", "--metric_name", metric, "--model-path", str(weights), "--dataset_images_dir", str(root),
          "--embeddings_dir", str(tmp_path / "emb"), "--matrices_dir", str(tmp_path / "mat"), "--indices_dir", str(tmp_path / "idx"),
          "--batch_size", "4", "--num_workers", "1", *options])  # fmt: skip
    real, synth = (np.load(tmp_path / "idx" / f"{side}.npz")["data"].tolist() for side in ("real", "synth"))
    matrix = np.load(tmp_path / "mat" / f"{metric}.npz")["data"]
    assert matrix.dtype == np.float16
    embeddings = {key: np.load(tmp_path / "emb" / metric / f"{key}.npz")["arr_0"] for key in [*real, *synth]}
    return matrix, real, synth, embeddings


def check(found, images, expected):
    """Compare embeddings with `expected` ones of all images, and the matrix with NumPy's own cosines of them."""
    matrix, real, synth, embeddings = found
    assert sorted(real) == ["a___training", "b 1___training", "Ärztin___training"]
    assert real == sorted(real)
    assert synth == sorted(synth)
    assert len(real + synth) == len(images)
    for key, row in zip(images, expected, strict=True):
        np.testing.assert_allclose(embeddings[key], row, atol=2e-4)
    rows, columns = (np.stack([embeddings[key] for key in keys]).astype(np.float64) for keys in (real, synth))
    cosines = (rows @ columns.T) / np.linalg.norm(rows, axis=1)[:, None] / np.linalg.norm(columns, axis=1)
    np.testing.assert_allclose(matrix, cosines, atol=1e-3)
    assert cosines.std() > 1e-4


def grey(images):
    return torch.from_numpy(np.stack(list(images.values())).astype(np.float32) / 255)[:, None]


def test_deepssim_as_torchscript(tmp_path, tree):
    root, images = tree
    network = given.save_scripted(tmp_path / "deepssim.pt", given.ConvNext())
    scored = torch.from_numpy(zscore(np.stack(list(images.values())), list(images))).float()[:, None].repeat(1, 3, 1, 1)
    with torch.inference_mode():
        expected = network(scored).numpy()
    trust = ["--trust", file_checksum(tmp_path / "deepssim.pt")]
    found = matrix_of(tmp_path, root, "deepssim", tmp_path / "deepssim.pt", *trust)
    check(found, images, expected)
    again = matrix_of(tmp_path, root, "deepssim", tmp_path / "deepssim.pt", *trust, "--augment")
    assert np.abs(again[0].astype(float) - found[0]).max() > 1e-3


def test_sscd_as_torchscript(tmp_path, tree):
    root, images = tree
    network = given.save_scripted(tmp_path / "sscd.pt", given.Sscd())
    # The mean and the standard deviation of ImageNet, not the mean twice.
    large = F.interpolate(grey(images), size=(288, 288), mode="bilinear", align_corners=False).expand(-1, 3, -1, -1)
    colours = torch.tensor([[0.485, 0.229], [0.456, 0.224], [0.406, 0.225]])[:, :, None, None]
    with torch.inference_mode():
        expected = network((large - colours[:, 0]) / colours[:, 1]).numpy()
    trust = ["--trust", file_checksum(tmp_path / "sscd.pt")]
    check(matrix_of(tmp_path, root, "chen", tmp_path / "sscd.pt", *trust), images, expected)


def dar_input(root, keys):
    """Read images as the reference's pipeline for Dar does; MONAI's loader gives them as [width, height]."""
    pipeline = Compose([LoadImage(), EnsureChannelFirst(), ScaleIntensity()])
    paths = [root / record / f"{name}.png" for record, name in (key.split("___") for key in keys)]
    return torch.stack([pipeline(path).as_tensor() for path in paths])


@pytest.mark.parametrize("pickled", [True, False])
def test_dar_as_state_dict(tmp_path, tree, pickled):
    root, images = tree
    weights = given.filled(given.resnet_entries(width=4, features=16))
    if pickled:
        path = tmp_path / "dar.pth"
        torch.save(weights, path)
    else:
        path = tmp_path / "dar.safetensors"  # which needs no trust
        save_file(weights, path)
    expected = given.resnet(weights, dar_input(root, images)).numpy()
    trust = ["--trust", file_checksum(path)] if pickled else []
    matrix, real, synth, embeddings = matrix_of(tmp_path, root, "dar", path, "--evaluation_mode", *trust)
    for key, row in zip(images, expected, strict=True):
        np.testing.assert_allclose(embeddings[key], row, atol=2e-4)
    correlations = np.corrcoef([embeddings[key] for key in [*real, *synth]])[: len(real), len(real) :]
    np.testing.assert_allclose(matrix, correlations, atol=1e-3)


@pytest.mark.parametrize("batch_size", [4, 5, 32])
def test_dar_as_the_reference_uses_it(tmp_path, tree, batch_size):
    """In training mode, batch by batch in the order of sorted keys; a smaller last batch has statistics of its own."""
    root, images = tree
    weights = given.filled(given.resnet_entries(width=4, features=16))
    save_file(weights, tmp_path / "dar.safetensors")
    ordered = sorted(images)
    batches = dar_input(root, ordered).split(batch_size)
    expected = torch.cat([given.resnet(weights, batch, training=True) for batch in batches]).numpy()
    rows = dict(zip(ordered, expected, strict=True))
    matrix, real, synth, embeddings = matrix_of(
        tmp_path, root, "dar", tmp_path / "dar.safetensors", "--batch_size", str(batch_size)
    )
    for key, row in rows.items():
        np.testing.assert_allclose(embeddings[key], row, atol=2e-4)
    correlations = 1 - cdist([rows[key] for key in real], [rows[key] for key in synth], metric="correlation")
    np.testing.assert_allclose(matrix, correlations, atol=1e-3)
    steady = matrix_of(tmp_path, root, "dar", tmp_path / "dar.safetensors", "--evaluation_mode")[0]
    assert np.abs(matrix.astype(float) - steady).max() > 0.1


def clip_input(images, side):
    """Resize the shorter side and cut out the middle, as open_clip does."""
    height, width = images.shape[2:]
    size = (round(side * height / min(height, width)), round(side * width / min(height, width)))
    large = F.interpolate(images, size=size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    mean, deviation = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    standard = [torch.tensor(values)[:, None, None] for values in (mean, deviation)]
    return (large[:, :, top : top + side, left : left + side] - standard[0]) / standard[1]


def test_biomedclip_as_open_clip_publishes_it(tmp_path, tree):
    root, images = tree
    weights = given.filled(given.open_clip_entries())
    path = tmp_path / "open_clip_pytorch_model.bin"
    torch.save(weights, path)
    expected = given.vit(weights, clip_input(grey(images), 32), heads=2).numpy()
    found = matrix_of(tmp_path, root, "semdedup", path, "--trust", file_checksum(path))
    check(found, images, expected)


def test_the_names_are_those_of_the_published_files():
    """ResNet-50 with a 128-wide `fc`, and ViT-B/16 with 512 features, at full size and without values."""
    from deepssim.config.encoders import DarConfig
    from deepssim.encoders.dar import Dar
    from deepssim.encoders.semdedup import BiomedClip, _options_of

    with torch.device("meta"):
        network = Dar(DarConfig(bottleneck=True, depths=(3, 4, 6, 3), width=64, embedding_features=128))
        found = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        expected = given.resnet_entries()
        assert found == {name: shape for name, shape in expected.items() if not name.startswith("fc_end")}
        assert len(found) == 320
        trunk = {
            name.removeprefix("visual.trunk."): torch.empty(shape)
            for name, shape in given.open_clip_entries(768, 12, 16, 224, 512).items()
            if name.startswith("visual.trunk.")
        }
        options = _options_of(trunk)
        tower = BiomedClip(options, 512)
    assert (options.heads, options.depth, options.hidden, options.side, tower.side) == (12, 12, 3072, 224, 224)
    published = {name: tuple(value.shape) for name, value in trunk.items()}
    assert published == {name: tuple(value.shape) for name, value in tower.trunk.state_dict().items()}


def test_the_encoder_trained_here_is_exported_for_the_reference(tmp_path):
    torch.manual_seed(0)
    network = DeepSSIM(EncoderConfig(widths=(8, 8, 8, 8), patch_size=2)).eval()
    save_torchscript(tmp_path / "jit.pt", network, (32, 48))
    scripted = torch.jit.load(str(tmp_path / "jit.pt"))
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 48), dtype=np.uint8)
    pixels[3:] = rotate(pixels[3:], 8.0, axes=(2, 1), reshape=False, order=0)  # black corners are filled there, too
    scored = torch.from_numpy(zscore(pixels, list("abcde"))).float()[:, None].repeat(1, 3, 1, 1)
    with torch.inference_mode():
        expected = network(torch.from_numpy(pixels.astype(np.float32) / 255)[:, None])
        torch.testing.assert_close(scripted(scored), expected, atol=1e-5, rtol=1e-4)


def test_files_that_can_run_code_need_their_checksum(tmp_path, tree, capsys):
    path = tmp_path / "deepssim.pt"
    given.save_scripted(path, given.ConvNext())
    checksum = file_checksum(path)
    with pytest.raises(ConfigError, match=f"accept its SHA-256 by --trust or in published.trust: {checksum}"):
        trusted_checksum(path, ["0" * 64])
    assert trusted_checksum(path, [checksum]) == checksum
    with pytest.raises(SystemExit):
        matrix_of(tmp_path, tree[0], "deepssim", path)
    assert checksum in capsys.readouterr().err
    assert not (tmp_path / "emb").exists()
    with pytest.raises(DataError, match=r"none\.pt: no such weight file"):
        trusted_checksum(tmp_path / "none.pt", [])


def test_wrong_weights_are_one_sentence(tmp_path, tree, capsys):
    """Another network's file, a damaged one and one that gives no vectors."""
    root, _ = tree
    given.save_scripted(tmp_path / "sscd.pt", given.Sscd())
    save_file({"a": torch.zeros(3)}, tmp_path / "a.safetensors")
    (tmp_path / "bad.pt").write_bytes(b"nonsense")
    entries = given.resnet_entries(width=4, features=16)
    save_file(
        given.filled({n: s for n, s in entries.items() if "layer2.1.bn1" not in n}), tmp_path / "part.safetensors"
    )
    torch.jit.script(torch.nn.Identity()).save(str(tmp_path / "maps.pt"))
    cases = [
        ("deepssim", "sscd.pt", "the encoder of deepssim does not accept images of 40x32"),
        (
            "deepssim",
            "maps.pt",
            "the encoder of deepssim returns an array of shape (3, 40, 32) per image instead of a vector",
        ),
        ("chen", "bad.pt", "bad.pt: cannot be read as TorchScript"),
        ("dar", "a.safetensors", "a.safetensors: lacks 'model.conv1.weight'; expected the state dict of Dar's ResNet"),
        ("dar", "part.safetensors", "part.safetensors: does not fit a ResNet"),
        ("semdedup", "a.safetensors", "lacks 5 entries of BiomedCLIP's image tower, first 'visual.trunk.pos_embed'"),
        (
            "semdedup",
            "none.bin",
            "none.bin: no such weights for metric 'semdedup'; download open_clip_pytorch_model.bin",
        ),
        ("semdedup", ".", "cannot be loaded as a CLIP model of transformers"),
    ]
    for metric, name, message in cases:
        trust = ["--trust", *(file_checksum(path) for path in tmp_path.glob("*.pt"))]
        with pytest.raises(SystemExit) as stop:
            matrix_of(tmp_path, root, metric, tmp_path / name, *trust)
        error = capsys.readouterr().err
        assert stop.value.code == 1, error
        assert message in error
        assert "Traceback" not in error


def test_precision_and_device_reach_the_network(tmp_path):
    """TorchScript runs in bfloat16 where that is asked for; cosines are compared with float32 first."""
    given.save_scripted(tmp_path / "deepssim.pt", given.ConvNext())
    network, _ = load_torchscript(tmp_path / "deepssim.pt", [file_checksum(tmp_path / "deepssim.pt")])
    assert not network.training
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        half = PublishedDeepSSIM(network)(torch.rand(2, 1, 16, 16))
    assert half.dtype == torch.bfloat16
    assert Sscd(network).mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])


@pytest.mark.skipif(not importlib.util.find_spec("open_clip"), reason="open_clip is not installed")
def test_equal_to_open_clip(tmp_path):
    from open_clip.model import CLIPVisionCfg, _build_vision_tower

    settings = CLIPVisionCfg(timm_model_name="vit_tiny_patch16_224", timm_pool="", timm_proj="linear", image_size=224)
    vision = _build_vision_tower(512, settings).eval()
    save_file({f"visual.{name}": value for name, value in vision.state_dict().items()}, tmp_path / "clip.safetensors")
    tower, _ = load_open_clip(tmp_path / "clip.safetensors")
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(tower(images), vision(images), atol=1e-4, rtol=1e-4)


def _torchvision():
    try:
        import torchvision.models  # of another torch it raises RuntimeError
    except (ImportError, RuntimeError):
        return None
    return torchvision.models


@pytest.mark.skipif(_torchvision() is None, reason="torchvision cannot be imported")
def test_equal_to_torchvision(tmp_path):
    from deepssim.encoders.dar import load_encoder

    model = _torchvision().resnet50(num_classes=128)
    model.conv1 = torch.nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    save_file({f"model.{name}": value for name, value in model.state_dict().items()}, tmp_path / "dar.safetensors")
    network, _ = load_encoder(tmp_path / "dar.safetensors")
    images = torch.rand(2, 1, 64, 64)
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    with torch.inference_mode():
        expected = F.normalize(model.eval()((images - low) / (high - low)))
        torch.testing.assert_close(network(images), expected, atol=1e-5, rtol=1e-4)


def test_weights_named_in_a_config(tmp_path, random):
    """The stages of the workflow, by hand: embed and score by an encoder that only section `published` trusts."""
    given.save_scripted(tmp_path / "sscd.pt", given.Sscd())
    settings = {"chen": str(tmp_path / "sscd.pt"), "trust": [file_checksum(tmp_path / "sscd.pt")]}
    config = tmp_path / "own.json"
    config.write_text(json.dumps({"published": settings, "device": "cpu", "evaluation": {"embedding_batch_size": 4}}))
    embeddings = {side: str(tmp_path / "embeddings" / f"{side}.h5") for side in ("real", "synthetic")}
    for side, path in embeddings.items():
        keys = [f"{side}{n}___training" for n in range(3)]
        write_pack(tmp_path / f"{side}.h5", ImagePack(random.integers(0, 256, (3, 20, 24), dtype=np.uint8), keys))
        main(["embed", "--metric", "chen", "--config", str(config), "--weights", settings["chen"],
              "--pack", str(tmp_path / f"{side}.h5"), "--embeddings", path])  # fmt: skip
    inputs = [part for side, path in embeddings.items() for part in (f"--{side}", path)]
    main(["score-embeddings", "--metric", "chen", "--config", str(config), *inputs, "--matrix", str(tmp_path / "m.h5")])
    scores = read_scores(tmp_path / "m.h5")
    rows, columns = (read_embeddings(path).values for path in embeddings.values())
    cosines = rows @ columns.T / np.linalg.norm(rows, axis=1)[:, None] / np.linalg.norm(columns, axis=1)
    np.testing.assert_allclose(scores.scores, cosines, atol=1e-5)
    assert scores.metric == "chen"


def test_images_of_any_shape_fill_the_tower(tmp_path, random):
    weights = given.filled(given.open_clip_entries())
    save_file(weights, tmp_path / "clip.safetensors")
    for size in ((20, 60), (60, 20), (33, 32)):
        pack = ImagePack(random.integers(0, 256, (2, *size), dtype=np.uint8), ["a___training", "b___training"])
        found = embed(str(tmp_path / "clip.safetensors"), pack, Device.CPU, 2, Precision.FLOAT32)
        assert found.values.shape == (2, 24)
