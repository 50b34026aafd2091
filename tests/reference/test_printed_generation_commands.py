"""The lines of the reference's README that train the latent diffusion model and generate with it run as printed.

`python scripts/X.py` is `deepssim X`. Trainings get narrow networks and one epoch by options at the end of the line. Networks
of full size are in test_printed_at_full_size.py.
"""

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from deepssim.cli import main
from tests.conftest import ROOT
from tests.reference.published import smooth
from tests.reference.readme_commands import README, SHAPES, arguments

COVARIATES = ("age_norm", "sex_norm", "sequence_norm", "csf_perc", "wm_perc", "gm_perc")
SIZES = {"brain": (112, 136), "chest": (128, 128)}  # height and width of the published images
RECORDS = ("a", "b", "c")
NARROW = {
    "vae": {"channels": [4, 8, 8], "norm_groups": 4, "perceptual": "gradient", "discriminator_channels": 2},
    "ldm": {
        "channels": [8, 16, 24],
        "norm_groups": 4,
        "head_channels": 24,
        "memorization": {"every": 0},
        "validate_every": 1,
    },
    "synthesis": {"sampler_steps": 4, "batch_size": 2},
}


def write_data(place, study):
    """Write `data_<study>/dataset.csv` of three records with all columns; paths start from the working directory."""
    folder = f"data_{study}"
    (place / folder).mkdir(parents=True)
    random = np.random.default_rng(0)
    rows = []
    for number, record in enumerate(RECORDS):
        Image.fromarray(smooth(random, SIZES[study])).save(place / folder / f"{record}.png")
        np.savez(place / folder / f"{record}.npz", data=random.normal(size=512).astype(np.float32))
        row = {
            "image_uid": record,
            "image_path": f"{folder}/{record}.png",
            "split": "valid" if number == 2 else "train",
        }
        rows.append(row | dict.fromkeys(COVARIATES, number / 3) | {"caption_emb_path": f"{folder}/{record}.npz"})
    pd.DataFrame(rows).to_csv(place / folder / "dataset.csv", index=False)
    return f"{folder}/dataset.csv"


def check_tree(tree, study, count):
    """Look for every image of every record, transposed as the reference writes them, and nothing else."""
    names = ["training", *(f"gen-{number}" for number in range(count))]
    files = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    assert files == {f"{record}/{name}.png" for record in RECORDS for name in names}
    original = np.array(Image.open(f"data_{study}/a.png"))
    np.testing.assert_array_equal(np.array(Image.open(tree / "a" / "training.png")), original.T)
    assert np.array(Image.open(tree / "a" / "gen-0.png")).shape == SIZES[study][::-1]


@pytest.fixture(scope="module")
def study(request, tmp_path_factory):
    """A study's working directory, and the autoencoder trained in it by the README's line."""
    place = tmp_path_factory.mktemp(request.param)
    values = {"dataset_csv": write_data(place, request.param), "output_dir": "vae"}
    config = yaml.safe_load((ROOT / "config" / f"{request.param}.yaml").read_text())
    narrow = {name: config[name] | section for name, section in NARROW.items()}
    dataset = {"kind": "table", "path": "x", "image_size": None}
    (place / "narrow.yaml").write_text(yaml.safe_dump(narrow | {"dataset": dataset, "device": "cpu"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        main([*arguments(README["ldm_train_vae"], values), "--n_epochs", "1", "--config", "narrow.yaml"])
    latent_shape, vae_space_shape = SHAPES[request.param]
    return place, request.param, values | {
        "latent_shape": latent_shape, "vae_space_shape": vae_space_shape, "aekl_ckpt": "vae/models/autoencoder-ep-0.pth",
    }  # fmt: skip


@pytest.mark.parametrize("study", SIZES, indirect=True)
def test_the_autoencoder_and_its_files(study):
    place, _, _ = study
    for name in ("autoencoder-ep-0.pth", "discriminator-ep-0.pth"):
        assert torch.load(place / "vae" / "models" / name, weights_only=True)
    assert len((place / "vae" / "history.csv").read_text().splitlines()) >= 1
    assert list((place / "vae" / "plots").glob("*.png"))


@pytest.mark.parametrize(
    ("study", "conditioning", "duplication"),
    [("brain", "variables", "low"), ("brain", "conditioning", "high"), ("chest", "none", "none")],
    indirect=["study"],
)
def test_the_diffusion_model_and_its_images(study, conditioning, duplication, monkeypatch):
    place, name, values = study
    monkeypatch.chdir(place)
    values |= {"output_dir": f"ldm-{conditioning}", "conditioning": conditioning, "duplication": duplication}
    main([*arguments(README["ldm_train_diff"], values), "--n_epochs", "1", "--config", "narrow.yaml"])
    made = place / f"ldm-{conditioning}"
    used = pd.read_csv(made / "train-used.csv")["image_uid"].value_counts()
    assert sorted(used.index) == ["a", "b"]
    assert used.between(1, {"none": 1, "low": 4, "high": 14}[duplication]).all()
    assert {"epoch", "mode", "loss"} <= set(pd.read_csv(made / "history.csv").columns)
    assert list((made / "plots").glob("*.png"))
    values |= {"diff_ckpt": f"ldm-{conditioning}/models/unet-ep-0.pth", "n_gen_per_record": 2}
    values |= {"output_path": f"images-{conditioning}"}
    main([*arguments(README["ldm_generate"], values), "--config", "narrow.yaml"])
    check_tree(place / f"images-{conditioning}", name, 2)
