"""The reference's commands for the generative model, with its option names, on a handful of images."""

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from deepssim.cli import main
from deepssim.config.paper import PAPER_LDM, PAPER_VAE
from deepssim.config.settings import load_config
from deepssim.errors import ConfigError
from deepssim.generative.checkpoints import load_any_autoencoder, read_state_dict
from deepssim.reference.generation import settings_for
from tests.conftest import ROOT

COVARIATES = ("age_norm", "sex_norm", "sequence_norm", "csf_perc", "wm_perc", "gm_perc")


@pytest.mark.parametrize("name", ["brain", "chest"])
def test_the_settings_of_the_paper_have_one_meaning(name):
    config = load_config(ROOT / "config" / f"{name}.yaml")
    assert config.vae == PAPER_VAE
    assert config.ldm == PAPER_LDM


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Six records, 68 wide and 56 high, whose latents no halving divides evenly, with all columns of the reference's table."""
    folder = tmp_path_factory.mktemp("dataset")
    random = np.random.default_rng(0)
    rows = []
    for number in range(6):
        smooth = np.cumsum(np.cumsum(random.normal(size=(56, 68)), axis=0), axis=1)
        pixels = (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        np.savez(folder / f"{number}.npz", data=random.normal(size=512).astype(np.float32))
        row = {"image_uid": f"r{number}", "image_path": f"{number}.png", "split": "train" if number < 4 else "valid"}
        rows.append(row | dict.fromkeys(COVARIATES, number / 6) | {"caption_emb_path": f"{number}.npz"})
    pd.DataFrame(rows).to_csv(folder / "dataset.csv", index=False)
    return folder / "dataset.csv"


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """The paper's settings at a sixteenth of its width, for a few steps; no network for the perceptual term is at hand."""
    settings = {
        "device": "cpu",
        "dataset": {"image_size": None},
        "vae": yaml.safe_load((ROOT / "config" / "brain.yaml").read_text())["vae"],
        "ldm": yaml.safe_load((ROOT / "config" / "brain.yaml").read_text())["ldm"],
        "synthesis": {"sampler_steps": 5, "batch_size": 8},
    }
    settings["vae"] |= {"channels": [4, 8, 8], "norm_groups": 4, "perceptual": "gradient", "discriminator_channels": 2}
    settings["ldm"] |= {"channels": [16, 32, 48], "norm_groups": 4, "head_channels": 48, "validate_every": 1}
    settings["ldm"]["memorization"] = {"every": 1, "images": 2}
    path = tmp_path_factory.mktemp("config") / "narrow.yaml"
    path.write_text(yaml.safe_dump({"dataset": {"kind": "table", "path": "x", "image_size": None}, **{
        key: value for key, value in settings.items() if key != "dataset"}}))  # fmt: skip
    return str(path)


@pytest.fixture(scope="module")
def autoencoder(dataset, narrow, tmp_path_factory):
    place = tmp_path_factory.mktemp("vae")
    main(["ldm-train-vae", "--dataset_csv", str(dataset), "--output_dir", str(place), "--config", narrow, "--n_epochs", "2",
          "--batch_size", "4", "--max_batch_size", "2"])  # fmt: skip
    return place


def test_the_autoencoder_is_written_in_both_formats(autoencoder, narrow):
    names = {str(path.relative_to(autoencoder)) for path in autoencoder.rglob("*") if path.is_file()}
    expected = {"models/autoencoder.pth", "models/autoencoder.safetensors", "training.csv", "plots/reconstructions.png"}
    assert expected <= names
    history = pd.read_csv(autoencoder / "training.csv")
    assert history["step"].tolist() == [1, 2]  # four images, two at a time, in an effective batch of four
    for name in ("train_loss_adversarial", "train_loss_discriminator", "train_loss_perceptual", "reconstruction_ssim"):
        assert history[name].notna().all()
    both = [load_any_autoencoder(autoencoder / "models" / f"autoencoder.{suffix}", load_config(narrow).vae)[0]
            for suffix in ("pth", "safetensors")]  # fmt: skip
    for one, other in zip(*(network.state_dict().values() for network in both), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("conditioning", ["none", "variables", "text"])
def test_train_and_generate_with_every_conditioning(dataset, narrow, autoencoder, tmp_path, conditioning, capsys):
    """Dashes work as well as underscores; the plain state dicts are what the next command reads."""
    vae = str(autoencoder / "models" / "autoencoder.pth")
    common = ["--dataset-csv", str(dataset), "--aekl-ckpt", vae, "--conditioning", conditioning, "--config", narrow,
              "--latent-shape", "3x20x16", "--vae-space-shape", "3x17x14"]  # fmt: skip
    place = tmp_path / "ldm"
    small = ["--duplication", "3", "--n-epochs", "2", "--batch-size", "4"]
    main(["ldm-train-diff", *common, *small, "--output-dir", str(place)])
    used = pd.read_csv(place / "copies.csv")
    assert used["copies"].tolist() == [3] * 4
    history = pd.read_csv(place / "training.csv")
    assert history["step"].tolist() == [3, 6]
    assert history["copy_rate"].notna().all()
    assert (place / "plots" / "samples.png").stat().st_size > 0
    unet = str(place / "models" / "unet.pth")
    attention = [name for name in read_state_dict(unet) if "attn2.to_k" in name]
    assert bool(attention) is (conditioning != "none")
    tree = tmp_path / "images"
    generate = ["ldm-generate", *common, "--diff-ckpt", unet, "--output-path", str(tree), "--n-gen-per-record", "2"]
    main(generate)
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file())
    assert names == sorted(f"r{n}/{name}.png" for n in range(6) for name in ("training", "gen-0", "gen-1"))
    before = (tree / "r0" / "gen-1.png").read_bytes()
    for name in ("gen-0.png", "gen-1.png"):
        (tree / "r0" / name).unlink()
    main(generate)  # makes what is missing, the same again
    assert "5 of 6 records" in capsys.readouterr().err
    assert (tree / "r0" / "gen-1.png").read_bytes() == before


def test_wrong_options_are_one_sentence(dataset, narrow, autoencoder, tmp_path, capsys):
    vae = str(autoencoder / "models" / "autoencoder.pth")
    common = ["ldm-train-diff", "--dataset_csv", str(dataset), "--output_dir", str(tmp_path), "--config", narrow]
    cases = [
        (["--aekl_ckpt", vae, "--latent_shape", "3x36x28"], "3x20x16"),
        (["--aekl_ckpt", vae, "--duplication", "many"], "--duplication is 'many'"),
        (["--aekl_ckpt", "none.pth"], "none.pth: "),
        (["--aekl_ckpt", str(dataset)], "dataset.csv: "),
    ]  # fmt: skip
    for arguments, message in cases:
        with pytest.raises(SystemExit):
            main([*common, *arguments])
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error
    with pytest.raises(SystemExit):  # the default config is the paper's, whose network this is not
        main([*common[:-2], "--aekl_ckpt", vae])
    assert "section 'vae'" in capsys.readouterr().err


def test_without_a_config_the_settings_are_those_of_the_paper(dataset):
    config = settings_for(None, str(dataset), vae={"epochs": 3, "learning_rate": None}, ldm={})
    assert config.vae == PAPER_VAE.with_changes(epochs=3)
    assert config.ldm == PAPER_LDM
    assert config.dataset.image_size is None
    with pytest.raises(ConfigError, match="vae.epochs"):
        settings_for(None, str(dataset), vae={"epochs": 0})


def test_export_writes_what_monai_generative_loads(autoencoder, tmp_path, capsys):
    main(["export", str(autoencoder / "models" / "autoencoder.safetensors"), str(tmp_path / "x.pth")])
    exported, expected = (
        read_state_dict(path) for path in (tmp_path / "x.pth", autoencoder / "models" / "autoencoder.pth")
    )
    assert exported.keys() == expected.keys()
    with pytest.raises(SystemExit):
        main(["export", str(autoencoder / "history.csv"), str(tmp_path / "y.pth")])
    assert "history.csv: " in capsys.readouterr().err
    assert not (tmp_path / "y.pth").exists()


def test_captions_become_a_table(dataset, tmp_path):
    from transformers import BertConfig, BertModel, BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "brain", "chest"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=len(words), **small)).save_pretrained(tmp_path)
    table = pd.read_csv(dataset).assign(caption=["brain", "chest"] * 3)
    table.to_csv(dataset.with_name("captions.csv"), index=False)
    main(["embed-captions", "--dataset_csv", str(dataset.with_name("captions.csv")), "--model", str(tmp_path),
          "--output-dir", str(tmp_path / "out")])  # fmt: skip
    made = pd.read_csv(tmp_path / "out" / "dataset.csv")
    values = [np.load(tmp_path / "out" / path)["data"] for path in made["caption_emb_path"]]
    assert values[0].shape == (8,)
    np.testing.assert_allclose(values[0], values[2], atol=1e-6)
    assert not np.allclose(values[0], values[1])
    assert Image.open(tmp_path / "out" / made["image_path"][0]).size == (68, 56)
