"""Lines of the reference's README with the networks of the paper at full width, which take minutes on a processor."""

import shutil

import numpy as np
import pandas as pd
import torch
from PIL import Image

from deepssim.cli import main
from deepssim.config.paper import PAPER_LDM, PAPER_VAE
from tests.generative.test_checkpoints import randomise, their_autoencoder, their_unet
from tests.reference.published import smooth, ssim, write_tree
from tests.reference.readme_commands import README, SHAPES, arguments


def write_data(place, count, size):
    """Write `data_brain/dataset.csv`: records, the last of which validates."""
    (place / "data_brain").mkdir()
    random, rows = np.random.default_rng(0), []
    for number in range(count):
        path = f"data_brain/{number}.png"
        Image.fromarray(smooth(random, size)).save(place / path)
        split = "valid" if number == count - 1 else "train"
        rows.append({"image_uid": f"r{number}", "image_path": path, "split": split})
    pd.DataFrame(rows).to_csv(place / "data_brain" / "dataset.csv", index=False)


def test_generating_exactly_as_printed(tmp_path, monkeypatch):
    """Nothing added: an image of 136x112 pixels from checkpoints as the reference saves them, with 50 steps."""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path, 1, (112, 136))
    torch.save(randomise(their_autoencoder(PAPER_VAE)).state_dict(), "autoencoder-ep-99.pth")
    torch.save(randomise(their_unet(PAPER_LDM, 0)).state_dict(), "unet-ep-80.pth")
    values = {"dataset_csv": "data_brain/dataset.csv", "aekl_ckpt": "autoencoder-ep-99.pth", "diff_ckpt": "unet-ep-80.pth",
              "output_path": "images", "conditioning": "none", "n_gen_per_record": 1}  # fmt: skip
    values |= dict(zip(("latent_shape", "vae_space_shape"), SHAPES["brain"], strict=True))
    main(arguments(README["ldm_generate"], values))
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("images/**/*.*")}
    assert made == {"images/r0/training.png", "images/r0/gen-0.png"}
    assert Image.open("images/r0/gen-0.png").size == (112, 136)  # transposed


def test_training_the_latent_diffusion_model(tmp_path, monkeypatch):
    """An epoch of both networks, on images of 32x32 pixels; only lpips, which is optional here, is replaced."""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path, 3, (32, 32))
    values = {"dataset_csv": "data_brain/dataset.csv", "output_dir": "vae"}
    main([*arguments(README["ldm_train_vae"], values), "--n_epochs", "1", "--perceptual", "gradient"])
    their_autoencoder(PAPER_VAE).load_state_dict(torch.load("vae/models/autoencoder-ep-0.pth", weights_only=True))
    values |= {"output_dir": "ldm", "aekl_ckpt": "vae/models/autoencoder-ep-0.pth", "latent_shape": "3x8x8"}
    values |= {"conditioning": "none", "duplication": "low", "vae_space_shape": "3x8x8"}
    main([*arguments(README["ldm_train_diff"], values), "--n_epochs", "1"])
    weights = torch.load("ldm/models/unet-ep-0.pth", weights_only=True)
    with torch.device("meta"):
        network = their_unet(PAPER_LDM, 0)
    network.load_state_dict(weights, assign=True)
    shutil.rmtree("ldm")


def test_training_the_encoder(tmp_path, monkeypatch):
    """An epoch of ConvNeXt-Base, whose TorchScript file gives 256 numbers."""
    monkeypatch.chdir(tmp_path)
    keys = write_tree(tmp_path / "data" / "images", np.random.default_rng(0), ["a", "b"], (64, 64))
    pairs = [(one, other) for one in keys if "training" in one for other in keys if "gen" in other]
    table = pd.DataFrame(pairs, columns=["real_key", "synth_key"])
    scores = [ssim(tmp_path / "data" / "images", *pair) for pair in pairs]
    table.assign(ssim=scores, split=["train", "train", "valid", "test"] * 2).to_csv("pairs.csv", index=False)
    values = {"dataset_images_dir": "data/images", "dataset_csv": "pairs.csv", "exp_name": "full"}
    main([*arguments(README["deepssim_train"], values), "--epochs", "1"])
    network = torch.jit.load("logs/full/checkpoints/best_model_jit.pt", map_location="cpu")
    assert network(torch.randn(2, 3, 64, 64)).shape == (2, 256)
