import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    ConvNextConfig,
    ConvNextModel,
    ConvNextV2Config,
    ConvNextV2Model,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTModel,
)

from deepssim.config.choices import Device
from deepssim.config.encoders import EncoderConfig
from deepssim.encoders.deepssim import DeepSSIM, embed, load_encoder, save_encoder
from deepssim.errors import ConfigError

SMALL = EncoderConfig(depths=(1, 1, 2, 1), widths=(8, 8, 16, 16), hidden_features=16, embedding_features=8)
CONVNEXT = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 2, 1], "num_channels": 3}
TRANSFORMER = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
MODELS = {
    "convnext": lambda: ConvNextModel(ConvNextConfig(**CONVNEXT)),
    "convnextv2": lambda: ConvNextV2Model(ConvNextV2Config(**CONVNEXT)),
    "vit": lambda: ViTModel(ViTConfig(**TRANSFORMER, image_size=32, patch_size=8)),
    "dinov2": lambda: Dinov2Model(Dinov2Config(**TRANSFORMER, image_size=28, patch_size=14)),
}


def frozen(network):
    return {name for name, value in network.features.model.named_parameters() if not value.requires_grad}


@pytest.mark.parametrize("name", MODELS)
def test_any_vision_model_of_a_folder_is_a_backbone(tmp_path, packs, name):
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    model.save_pretrained(tmp_path / "model")
    network = DeepSSIM(SMALL.with_changes(backbone=str(tmp_path / "model"), canonicalize=False)).eval()
    kept = dict(model.named_parameters())
    taken = dict(network.features.model.named_parameters())
    assert len(taken) > 10
    assert all(torch.equal(value, kept[key]) for key, value in taken.items())
    # The exported file needs the folder no more.
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, network)
    (tmp_path / "model").rename(tmp_path / "gone")
    images = torch.rand(2, 1, 40, 36)
    with torch.inference_mode():
        torch.testing.assert_close(load_encoder(path)(images), network(images))
    if not name.startswith("convnext"):  # which needs larger images
        assert np.isfinite(embed(path, packs[0], device=Device.CPU).values).all()


def test_stem_and_first_stages_are_frozen_and_nothing_else():
    network = DeepSSIM(SMALL.with_changes(frozen_stages=1))
    names = {name for name, _ in network.features.model.named_parameters()}
    assert frozen(network) == {name for name in names if name.startswith(("embeddings.", "encoder.stages.0."))}
    assert not frozen(DeepSSIM(SMALL))


def test_stages_of_a_transformer_are_its_layers(tmp_path):
    MODELS["vit"]().save_pretrained(tmp_path)
    network = DeepSSIM(SMALL.with_changes(backbone=str(tmp_path), frozen_stages=2))
    layers = {name.split(".")[1] for name in frozen(network) if "layer" in name.split(".")[0]}
    assert layers == {"0", "1"}
    assert any(name.startswith("embeddings.") for name in frozen(network))


def test_more_stages_than_there_are_cannot_be_frozen():
    with pytest.raises(ConfigError, match=r"frozen_stages is 5, but ConvNext has 4 stages"):
        DeepSSIM(SMALL.with_changes(frozen_stages=5))


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"encoder\.backbone .* cannot be loaded"):
        DeepSSIM(SMALL.with_changes(backbone=str(tmp_path)))


def test_a_model_of_texts_is_refused(tmp_path):
    BertModel(BertConfig(**TRANSFORMER, vocab_size=30)).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="does not take colour images"):
        DeepSSIM(SMALL.with_changes(backbone=str(tmp_path)))
