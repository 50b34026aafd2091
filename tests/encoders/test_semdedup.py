"""CLIP models: BiomedCLIP by the name that open_clip gives it, `hf-hub:...`, with a fake hub; a folder of transformers."""

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors.torch import save_file

from deepssim.errors import DataError
from deepssim.runtime.hub import download_open_clip
from deepssim.runtime.provenance import file_checksum
from tests.encoders import given
from tests.encoders.test_published import check, clip_input, grey, matrix_of


@pytest.fixture
def tree(tmp_path, random):
    return tmp_path / "images", given.write_images(tmp_path / "images", ["b 1", "Ärztin", "a"], random)


def test_open_clip_by_its_name_on_the_hub(tmp_path, tree, monkeypatch, capsys):
    """As open_clip names it; the files of a fake hub, the safetensors first, which need no trust."""
    root, images = tree
    weights = given.filled(given.open_clip_entries())
    expected = given.vit(weights, clip_input(grey(images), 32), heads=2).numpy()
    published, asked = {}, []

    def download(repository, name):
        asked.append((repository, name))
        if not published:
            raise LocalEntryNotFoundError("offline")
        if name not in published:
            raise EntryNotFoundError("404")
        return str(published[name])

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    name = "hf-hub:microsoft/BiomedCLIP"
    with pytest.raises(SystemExit):
        matrix_of(tmp_path, root, "semdedup", name)
    assert (
        f"{name}: cannot be downloaded (huggingface.co cannot be reached); download open_clip_pytorch_model.bin from "
        "huggingface.co/microsoft/BiomedCLIP and name that file"
    ) in capsys.readouterr().err
    published["open_clip_pytorch_model.bin"] = tmp_path / "open_clip_pytorch_model.bin"
    torch.save(weights, tmp_path / "open_clip_pytorch_model.bin")
    with pytest.raises(SystemExit):
        matrix_of(tmp_path, root, "semdedup", name)
    checksum = file_checksum(tmp_path / "open_clip_pytorch_model.bin")
    assert f"accept its SHA-256 by --trust or in published.trust: {checksum}" in capsys.readouterr().err
    check(matrix_of(tmp_path, root, "semdedup", name, "--trust", checksum), images, expected)
    save_file(weights, tmp_path / "open_clip_model.safetensors")
    published["open_clip_model.safetensors"] = tmp_path / "open_clip_model.safetensors"
    asked.clear()
    check(matrix_of(tmp_path, root, "semdedup", name), images, expected)
    assert asked == [("microsoft/BiomedCLIP", "open_clip_model.safetensors")]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            EntryNotFoundError("404"),
            "the model has neither open_clip_model.safetensors nor open_clip_pytorch_model.bin",
        ),
        (OSError("401 Unauthorized:\n private"), "401 Unauthorized: private"),
    ],
)
def test_what_cannot_be_downloaded_is_one_sentence(monkeypatch, error, reason):
    def download(repository, name):
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(DataError) as raised:
        download_open_clip("a/b")
    assert str(raised.value) == (
        f"hf-hub:a/b: cannot be downloaded ({reason}); download open_clip_pytorch_model.bin from huggingface.co/a/b and name "
        "that file"
    )


def test_clip_of_transformers_from_a_folder(tmp_path, tree):
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    root, images = tree
    small = CLIPVisionConfig(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
                             image_size=32, patch_size=16, projection_dim=12)  # fmt: skip
    model = CLIPVisionModelWithProjection(small).eval()
    model.save_pretrained(tmp_path / "clip")
    with torch.inference_mode():
        expected = model(pixel_values=clip_input(grey(images), 32)).image_embeds.numpy()
    check(matrix_of(tmp_path, root, "semdedup", tmp_path / "clip"), images, expected)
