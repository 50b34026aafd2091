"""The table of options says what is the reference's: its list is kept here, with its defaults."""

from typing import Any

import pytest

from deepssim.config.paper import PAPER_ENCODER, PAPER_LDM, PAPER_VAE
from deepssim.reference.differences import ADDED, CHANGED, SCRIPTS, options_of, options_page
from tests.conftest import ROOT

REQUIRED, CORES = "required", "cores"  # what is required there may have a default here
DIFFUSION = {"conditioning": REQUIRED, "latent_shape": "3x36x28", "vae_space_shape": "3x34x28"}
INDICES = {"real_indices_path": REQUIRED, "synth_indices_path": REQUIRED}
PIXELS = {"num_workers": CORES, "dataset_images_dir": REQUIRED, "output_matrix_path": REQUIRED, **INDICES}
# Options and defaults of the reference's ten scripts.
THEIRS: dict[str, Any] = {
    "ldm-train-vae": {
        "dataset_csv": REQUIRED, "output_dir": REQUIRED, "n_workers": 4, "batch_size": 16, "max_batch_size": 8, "n_epochs": 100,
        "lr": 1e-4,
    },
    "ldm-train-diff": DIFFUSION | {
        "duplication": REQUIRED, "dataset_csv": REQUIRED, "output_dir": REQUIRED, "aekl_ckpt": REQUIRED, "diff_ckpt": None,
        "batch_size": 8, "n_workers": 4, "n_epochs": 100, "lr": 2.5e-5,
    },
    "ldm-generate": DIFFUSION | {
        "dataset_csv": REQUIRED, "aekl_ckpt": REQUIRED, "diff_ckpt": REQUIRED, "output_path": REQUIRED, "n_gen_per_record": 30,
    },
    "train": {
        "use_gpu": False, "exp_name": REQUIRED, "dataset_csv": REQUIRED, "dataset_images_dir": REQUIRED, "num_workers": CORES,
        "emb_dim": 256, "epochs": 40, "batch_size": 32, "learning_rate": 1e-3, "weight_decay": 1e-3, "dropout_prob": 0.33,
        "emb_dir": None,  # in the first README only
    },
    "compute-matrix": {
        "augment": False, "use_gpu": False, "metric_name": REQUIRED, "model_path": REQUIRED, "dataset_images_dir": REQUIRED,
        "embeddings_dir": REQUIRED, "matrices_dir": REQUIRED, "indices_dir": REQUIRED, "batch_size": 32, "num_workers": CORES,
    },
    "compute-ssim": PIXELS | {"ssim_tmp_dir": REQUIRED},
    "compute-fsim": PIXELS,
    "eval": {"metric_name": REQUIRED, "matrix_path": REQUIRED, **INDICES, "testset_csv": REQUIRED},
    "eval-ssim": {"augment": False, "dataset_images_dir": REQUIRED, "testset_csv": REQUIRED},
    "plot-reports": {
        "low_threshold": REQUIRED, "upper_threshold": REQUIRED, "exp_title": REQUIRED, "output_path": REQUIRED,
        "matrix_path": REQUIRED, **INDICES, "testset_csv": REQUIRED,
    },
}  # fmt: skip
PAPER = {"vae": PAPER_VAE, "ldm": PAPER_LDM, "encoder": PAPER_ENCODER}


@pytest.mark.parametrize("command", THEIRS)
def test_every_option_of_the_reference_is_there_and_all_others_are_named(command):
    assert set(options_of(command)) == set(THEIRS[command]) | set(ADDED[command])
    assert not set(THEIRS[command]) & set(ADDED[command])
    assert set(CHANGED[command]) <= set(THEIRS[command])


@pytest.mark.parametrize(
    ("command", "option"), [(command, name) for command, named in THEIRS.items() for name in named]
)
def test_an_option_said_to_be_the_same_has_the_default_of_the_reference(command, option):
    expected = THEIRS[command][option]
    if option in CHANGED[command] or expected == REQUIRED:
        return
    record = options_of(command)[option]
    if record.flag:
        assert expected is False
    elif record.default is None and record.setting:
        section, name = record.setting.split(".")
        assert getattr(PAPER[section], name) == expected
    else:
        assert record.default == expected


def test_the_page_is_that_of_the_options():
    """`python -c 'from deepssim.reference.differences import options_page; ...'` writes it anew; see the page."""
    page = options_page()
    assert (ROOT / "docs" / "reference-options.md").read_text(encoding="utf-8") == page
    for command, named in THEIRS.items():
        assert command in SCRIPTS
        for option in named:
            assert f"| `{command}` | `--{option}` | " in page
