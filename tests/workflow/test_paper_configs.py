"""The configs of the paper's two studies run at a sixteenth of their width on a handful of images, with every conditioning."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.workflow.running import snakemake

COVARIATES = ("age_norm", "sex_norm", "sequence_norm", "csf_perc", "wm_perc", "gm_perc")
LATENTS = {"brain": (34, 28), "chest": (32, 32)}
# What makes the run small, and the perceptual term, whose weights the test does not have.
NARROW = {
    "device": "cpu",
    "vae": {
        "channels": [4, 8, 8], "norm_groups": 4, "epochs": 1, "batch_size": 3, "perceptual": "gradient",
        "discriminator_channels": 2, "pictures_every": 1,
    },
    "ldm": {
        "channels": [16, 32, 48], "norm_groups": 16, "head_channels": 48, "epochs": 1, "validate_every": 1,
        "memorization": {"every": 1, "images": 2},
    },
    "synthesis": {"images_per_record": 2, "sampler_steps": 4, "batch_size": 4},
}  # fmt: skip


@pytest.fixture
def table(tmp_path):
    """Six records with all columns of the reference's table, of another size than the study's."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(6):
        smooth = np.cumsum(np.cumsum(random.normal(size=(60, 50)), axis=0), axis=1)
        Image.fromarray((255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)).save(
            tmp_path / f"{number}.png"
        )
        np.savez(tmp_path / f"{number}.npz", data=random.normal(size=512).astype(np.float32))
        row = {"image_uid": f"r{number}", "image_path": f"{number}.png", "split": "train" if number < 4 else "valid"}
        rows.append(row | dict.fromkeys(COVARIATES, number / 6) | {"caption_emb_path": f"{number}.npz"})
    pd.DataFrame(rows).to_csv(tmp_path / "dataset.csv", index=False)
    return tmp_path / "dataset.csv"


@pytest.mark.parametrize("name", LATENTS)
def test_runs_with_every_conditioning(name, table, tmp_path):
    config = tmp_path / "narrow.json"
    made = {}
    for conditioning, features in (("none", 0), ("variables", 6), ("text", 512)):
        settings = NARROW | {
            "dataset": {"path": str(table)},
            "ldm": NARROW["ldm"] | {"conditioning": conditioning, "condition_dropout": 0.1 if features else 0},
            "synthesis": NARROW["synthesis"] | {"guidance_scale": 2.0 if features else 1.0},
        }
        config.write_text(json.dumps(settings))
        run = snakemake(
            tmp_path, "results/synthetic/000.h5", "--configfile", str(ROOT / "config" / f"{name}.yaml"), str(config)
        )
        assert run.returncode == 0, run.stdout[-3000:]
        # Only what depends on the conditioning runs again.
        assert ("rule train_vae:" in run.stdout) is (conditioning == "none")
        with h5py.File(tmp_path / "results" / "vae" / "latents.h5") as file:
            assert file["latents"].shape == (6, 3, *LATENTS[name])
            assert ("conditions" in file) is (features > 0)
            assert features == 0 or file["conditions"].shape == (6, 1, features)
            assert file.attrs["scale"] == 1
        with h5py.File(tmp_path / "results" / "synthetic" / "000.h5") as file:
            made[conditioning] = file["images"][:]
        history = pd.read_csv(tmp_path / "results" / "ldm" / "history.csv")
        assert history["copy_rate"].between(0, 1).all()
    assert made["none"].shape == (8, LATENTS[name][0] * 4, LATENTS[name][1] * 4)
    assert not np.array_equal(made["variables"], made["text"])
