"""The configs of the paper's two studies run at a sixteenth of their width on a handful of images, with every conditioning."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from tests.conftest import ROOT
from tests.stages.jobs import run_rule
from tests.workflow.running import snakemake, step

COVARIATES = ("age_norm", "sex_norm", "sequence_norm", "csf_perc", "wm_perc", "gm_perc")
LATENTS = {"brain": (28, 34), "chest": (32, 32)}
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


def settings_of(table, conditioning):
    """Return what is laid over a study's config."""
    conditional = conditioning != "none"
    return NARROW | {
        "dataset": {"path": str(table)},
        "ldm": NARROW["ldm"] | {"conditioning": conditioning, "condition_dropout": 0.1 if conditional else 0},
        "synthesis": NARROW["synthesis"] | {"guidance_scale": 2.0 if conditional else 1.0},
    }


def check(results, name, features):
    """Look at what a run made; return its images."""
    height, width = LATENTS[name]
    with h5py.File(results / "vae" / "latents.h5") as file:
        assert file["latents"].shape == (6, 3, height, width)
        assert ("conditions" in file) is (features > 0)
        assert features == 0 or file["conditions"].shape == (6, 1, features)
        assert file.attrs["scale"] == 1
    history = pd.read_csv(results / "ldm" / "history.csv")
    assert history["copy_rate"].between(0, 1).all()
    with h5py.File(results / "synthetic" / "000.h5") as file:
        assert file["images"].shape == (8, 4 * height, 4 * width)
        return file["images"][:]


FILES = {name: f"results/{path}" for name, path in (
    ("images", "dataset/images.csv"), ("pack", "dataset/real.h5"), ("latents", "vae/latents.h5"),
    ("autoencoder", "vae/autoencoder.safetensors"), ("train_used", "ldm/train_used.csv"), ("unet", "ldm/unet.safetensors"),
)}  # fmt: skip
# Settings, inputs and outputs of each rule.
HARDWARE = ("device", "devices", "nodes", "seed")
STAGES = {
    "prepare_dataset": (("seed", "dataset"), {}, {name: FILES[name] for name in ("images", "pack")}),
    "train_vae": ((*HARDWARE, "vae", "dataset.orientation"), {name: FILES[name] for name in ("images", "pack")},
                  {"weights": FILES["autoencoder"], "history": "results/vae/history.csv", "reconstructions": "results/vae/r.png"}),
    "encode_latents": (("device", "dataset.orientation", "ldm.conditioning", "ldm.condition_columns", "ldm.scale_latents"),
                       {"images": FILES["images"], "pack": FILES["pack"], "weights": FILES["autoencoder"]},
                       {"latents": FILES["latents"]}),
    "train_ldm": ((*HARDWARE, "ldm"), {name: FILES[name] for name in ("images", "pack", "latents", "autoencoder")},
                  {"weights": FILES["unet"], "history": "results/ldm/history.csv", "samples": "results/ldm/samples.png",
                   "train_used": FILES["train_used"]}),
    "generate": (("seed", "device", "shards", "synthesis", "dataset.bit_depth"),
                 {name: FILES[name] for name in ("train_used", "latents", "autoencoder", "unet")},
                 {"pack": "results/synthetic/000.h5"}),
}  # fmt: skip


@pytest.mark.parametrize("name", LATENTS)
def test_stages_run_with_every_conditioning(name, table, tmp_path):
    made = []
    for conditioning, features in (("none", 0), ("variables", 6), ("text", 512)):
        config = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())
        for section, values in settings_of(table, conditioning).items():
            config[section] = config.get(section, {}) | values if isinstance(values, dict) else values
        for rule in list(STAGES)[2:] if made else STAGES:
            settings, inputs, outputs = STAGES[rule]
            run_rule(tmp_path, rule, config, settings=settings, inputs=inputs, outputs=outputs)
        made.append(check(tmp_path / "results", name, features))
    assert not np.array_equal(made[1], made[2])


def test_runs_in_the_workflow_and_repeats_only_what_changed(table, tmp_path):
    config = tmp_path / "narrow.json"
    for conditioning, features in (("variables", 6), ("none", 0)):
        config.write_text(json.dumps(settings_of(table, conditioning)))
        run = snakemake(
            tmp_path, "results/synthetic/000.h5", "--configfile", str(ROOT / "config" / "brain.yaml"), str(config)
        )
        assert run.returncode == 0, run.stdout[-3000:]
        assert (step("train_vae") in run.stdout) is (features > 0)
        check(tmp_path / "results", "brain", features)
