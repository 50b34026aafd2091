"""Conditions are read from the image table; what is wrong with them is one sentence."""

import numpy as np
import pandas as pd
import pytest
import torch

from deepssim.config.choices import Conditioning
from deepssim.errors import ConfigError, DataError
from deepssim.generative.captions import embed_captions
from deepssim.generative.conditioning import read_conditions

COLUMNS = ("age_norm", "sex")
IMAGES = pd.DataFrame({"key": ["a", "b", "c"], "age_norm": [0.1, 0.5, 0.9], "sex": [0, 1, 1], "name": list("xyz")})


def read_variables(images):
    return read_conditions(images, Conditioning.VARIABLES, COLUMNS, source="images.csv")


def read_captions(images):
    return read_conditions(images, Conditioning.TEXT, (), source="images.csv")


def test_variables_come_in_the_order_of_the_config():
    values = read_variables(IMAGES)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, np.array([[[0.1, 0]], [[0.5, 1]], [[0.9, 1]]]), rtol=1e-6)
    assert read_conditions(IMAGES, Conditioning.NONE, COLUMNS, source="images.csv") is None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"age_norm": [0.1, None, None]}, DataError, "conditions of 2 of 3 images are missing or not finite, first that of 'b'"),
        ({"age_norm": [0.1, 0.2, np.inf]}, DataError, "columns of ldm.condition_columns have values beyond 10, first 'age_norm'"),
        ({"age_norm": [10, 50, 70]}, DataError, "values beyond 10, first 'age_norm'; scale them to about 0 to 1"),
        ({"sex": ["m", "f", "f"]}, DataError, "conditions of 3 of 3 images are missing"),
    ],
)  # fmt: skip
def test_unusable_variables_are_named(change, error, message):
    with pytest.raises(error, match=message):
        read_variables(IMAGES.assign(**change))


def test_an_absent_column_is_named():
    with pytest.raises(ConfigError, match="images.csv: has no column 'sex', which ldm.condition_columns needs"):
        read_variables(IMAGES.drop(columns="sex"))
    with pytest.raises(ConfigError, match="has no column 'caption_emb_path', which ldm.conditioning 'text' needs"):
        read_captions(IMAGES)


def test_captions_are_read(tmp_path):
    paths = []
    for number in range(3):
        paths.append(str(tmp_path / f"{number}.npz"))
        np.savez(paths[-1], data=np.full((1, 512), number, np.float32))  # the reference keeps a leading dimension
    values = read_captions(IMAGES.assign(caption_emb_path=paths))
    assert values.shape == (3, 1, 512)
    assert values[:, 0, 0].tolist() == [0, 1, 2]
    np.savez(paths[2], data=np.zeros(5))
    with pytest.raises(DataError, match=r"2\.npz: has 5 numbers, the first caption embedding 512"):
        read_captions(IMAGES.assign(caption_emb_path=paths))


@pytest.mark.parametrize("content", [b"", b"no", "pickle", "other"])
def test_unreadable_captions_are_named(tmp_path, content):
    path = tmp_path / "x.npz"
    if content == "pickle":  # must not be run
        np.savez(path, data=np.array([{"a": 1}], dtype=object))
    elif content == "other":
        np.savez(path, embedding=np.zeros(3))
    else:
        path.write_bytes(content)
    with pytest.raises(
        DataError,
        match=r"x\.npz: holds no array 'data' .*caption embedding of 'a' must be an npz whose `data` holds numbers",
    ):
        read_captions(IMAGES.assign(caption_emb_path=str(path)))


@pytest.fixture(scope="module")
def text_models(tmp_path_factory):
    """A BERT and a CLIP of a few weights, saved as transformers saves them."""
    from transformers import BertConfig, BertModel, BertTokenizer, CLIPConfig, CLIPModel

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "brain", "of", "woman", "man", "old"]
    folders = {}
    for name in ("bert", "clip"):
        folders[name] = tmp_path_factory.mktemp(name)
        (folders[name] / "vocab.txt").write_text("\n".join(words))
        BertTokenizer(str(folders[name] / "vocab.txt")).save_pretrained(folders[name])
    torch.manual_seed(0)
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    bert = BertModel(BertConfig(vocab_size=len(words), **small)).eval()
    bert.save_pretrained(folders["bert"])
    vision = small | {"image_size": 8, "patch_size": 4}
    text = small | {"vocab_size": len(words), "eos_token_id": 3, "pad_token_id": 0, "bos_token_id": 2}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=6)).save_pretrained(folders["clip"])
    return folders, bert


def test_captions_are_embedded_by_a_local_model(text_models):
    folders, bert = text_models
    captions = ["a brain of a woman", "old man", "a brain"]
    found = embed_captions(captions, str(folders["bert"]), batch_size=2)
    assert found.shape == (3, 8)
    # by hand, without padding: the mean over the tokens with those of beginning and end
    with torch.inference_mode():
        expected = bert(torch.tensor([[2, 10, 9, 3]])).last_hidden_state.mean(1)
    np.testing.assert_allclose(found[1], expected[0].numpy(), atol=1e-6)
    np.testing.assert_allclose(embed_captions(captions[1:], str(folders["bert"])), found[1:], atol=1e-6)


def test_clip_gives_its_projection(text_models):
    folders, _ = text_models
    found = embed_captions(["a brain of a woman", "old man"], str(folders["clip"]))
    assert found.shape == (2, 6)
    assert not np.allclose(found[0], found[1])


def test_a_folder_without_a_model_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="cannot be loaded as a text model of transformers"):
        embed_captions(["x"], str(tmp_path))
