"""The lines of the reference's two READMEs that train the encoder, compute, evaluate and plot scores run as printed.

`python scripts/X.py` is `deepssim X`. Trainings get a narrow network and one epoch by options at the end of the line, and
files that can run code their permission, which the reference does not ask for.
"""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from deepssim.cli import main
from deepssim.config.encoders import DarConfig
from deepssim.encoders.dar import Dar
from deepssim.runtime.provenance import file_checksum
from tests.encoders import given
from tests.reference.published import CLASSIFY, ssim, write_tree
from tests.reference.readme_commands import FIRST_OPTIONAL, FIRST_README, README, arguments

RECORDS, NAMES = ("a", "b", "c", "d"), ("training", "gen-0", "gen-1")
KEYS = {f"{record}___{name}" for record in RECORDS for name in NAMES}
# Values of the placeholders: the places that the READMEs propose.
VALUES = {
    "dataset_images_dir": "data/images", "embeddings_dir": "data/embeddings", "matrices_dir": "data/matrices",
    "indices_dir": "data/indices", "synth_indices_path": "data/indices/synth.npz", "real_indices_path": "data/indices/real.npz",
    "testset_csv": "data/test_set.csv", "dataset_csv": "data/dataset.csv", "output_path": "histogram.png",
    "exp_name": "first", "exp_title": "DeepSSIM", "low_threshold": 0.6, "upper_threshold": 0.85, "num_workers": 1,
    "batch_size": 4, "emb_dim": 12, "epochs": 1, "learning_rate": 1e-3, "weight_decay": 1e-3, "dropout_prob": 0.33,
}  # fmt: skip
MODELS = {
    "deepssim": "models/deepssim.pt", "chen": "models/chen.pt", "dar": "models/dar.pth", "semdedup": "models/semdedup.bin",
}  # fmt: skip
NARROW = {"widths": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "patch_size": 2, "hidden_features": 16, "recipe": "paper",
          "canonicalize": False, "ssim_features": False}  # fmt: skip
SHORT = ["--epochs", "1", "--config", "narrow.yaml"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Images, pairs, a test set, and weights of all metrics, small."""
    place = tmp_path_factory.mktemp("published")
    write_tree(place / "data" / "images", np.random.default_rng(0), RECORDS, (40, 48))
    real, synthetic = (sorted(key for key in KEYS if ("gen" in key) is generated) for generated in (False, True))
    pairs = pd.DataFrame([(one, other) for one in real for other in synthetic], columns=["real_key", "synth_key"])
    scores = [ssim(place / "data" / "images", *row) for row in pairs.itertuples(index=False)]
    pairs = pairs.assign(ssim=scores, label=[CLASSIFY["deepssim"](score) for score in scores])
    pairs.to_csv(place / "data" / "test_set.csv", index=False)
    splits = ["train", "train", "valid", "test"] * (len(pairs) // 4)
    pairs.assign(split=splits).to_csv(place / "data" / "dataset.csv", index=False)
    (place / "models").mkdir()
    given.save_scripted(place / MODELS["deepssim"], given.ConvNext())
    given.save_scripted(place / MODELS["chen"], given.Sscd())
    torch.save(Dar(DarConfig(width=4, embedding_features=16)).state_dict(), place / MODELS["dar"])
    torch.save(given.filled(given.open_clip_entries()), place / MODELS["semdedup"])
    (place / "narrow.yaml").write_text(yaml.safe_dump({"encoder": NARROW}))
    return place


@pytest.fixture
def place(data, tmp_path, monkeypatch):
    """A working directory of a test's own."""
    shutil.copytree(data, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check_training(place, capsys):
    """Look for the encoder, its optimiser and the printed losses; return the encoder's file."""
    checkpoints = place / "logs" / "first" / "checkpoints"
    assert torch.jit.load(str(checkpoints / "best_model_jit.pt"))(torch.rand(2, 3, 40, 48)).shape[0] == 2
    assert torch.load(checkpoints / "optimizer_state.pth", weights_only=True)["param_groups"]
    assert list((place / "logs" / "first" / "tensorboard").glob("events*"))
    text = capsys.readouterr().out
    for name in ("Loss [MSE] = ", "Standard Deviation [MSE] = ", "Performance [MAE] = "):
        assert text.count(name) == 2  # train and valid
    return checkpoints / "best_model.safetensors"


def check_matrix(place, metric):
    """Look for an embedding of every image, the matrix and its index files."""
    embeddings = {path.stem for path in (place / "data" / "embeddings" / metric).glob("*.npz")}
    sides = [np.load(place / "data" / "indices" / f"{side}.npz")["data"].tolist() for side in ("real", "synth")]
    assert embeddings == KEYS == set(sides[0]) | set(sides[1])
    matrix = np.load(place / "data" / "matrices" / f"{metric}.npz")["data"]
    assert (matrix.dtype, matrix.shape) == (np.float16, (4, 8))


def check_lines(capsys):
    """Look for the six printed lines."""
    names = [line.split(" = ")[0] for line in capsys.readouterr().out.splitlines()[:6]]
    classes = [f"{name} [Precision, Recall]" for name in ("Different", "Similar", "Duplicate")]
    assert names == [*classes, "Weighted F1-Score", "Macro F1-Score", "Silhouette Score"]


def check_plot(place):
    assert Image.open(place / "histogram.png").size[0] > 200


def test_from_training_to_histogram(place, capsys):
    """The README in its order; only the training's line has something added."""
    main(arguments(README["deepssim_train"], VALUES) + SHORT)
    values = VALUES | {"model_path": check_training(place, capsys), "metric_name": "deepssim"}
    main(arguments(README["compute_matrix"], values))
    check_matrix(place, "deepssim")
    values |= {"matrix_path": "data/matrices/deepssim.npz"}
    capsys.readouterr()
    main(arguments(README["eval"], values))
    check_lines(capsys)
    main(arguments(README["plot_reports"], values))
    check_plot(place)


@pytest.mark.parametrize(
    ("readme", "metric"),
    [(README, metric) for metric in MODELS] + [(FIRST_README, metric) for metric in list(MODELS)[:3]],
)
def test_every_metric(place, capsys, readme, metric):
    """With files as they are published: TorchScript, state dict, checkpoint of open_clip. The first README has no semdedup."""
    values = VALUES | {
        "model_path": MODELS[metric],
        "metric_name": metric,
        "matrix_path": f"data/matrices/{metric}.npz",
    }
    main([*arguments(readme["compute_matrix"], values), "--trust", file_checksum(place / MODELS[metric])])
    check_matrix(place, metric)
    capsys.readouterr()
    main(arguments(readme["eval"], values))
    check_lines(capsys)


def test_a_torchscript_file_without_trust_says_what_to_add(place, capsys):
    values = VALUES | {"model_path": MODELS["deepssim"], "metric_name": "deepssim"}
    with pytest.raises(SystemExit):
        main(arguments(README["compute_matrix"], values))
    error = capsys.readouterr().err
    assert "--trust" in error
    assert file_checksum(place / MODELS["deepssim"]) in error


@pytest.mark.parametrize("optional", [False, True], ids=["without options", "with all options"])
def test_the_first_readme(place, capsys, optional):
    """Its paths are the defaults."""
    more = FIRST_OPTIONAL if optional else dict.fromkeys(FIRST_OPTIONAL, "")
    lines = {name: f"{line} {more[name]}" for name, line in FIRST_README.items()}
    main(arguments(lines["train"], VALUES) + SHORT)
    values = VALUES | {"model_path": check_training(place, capsys), "metric_name": "deepssim"}
    values |= {"matrix_path": "data/matrices/deepssim.npz"}
    main(arguments(lines["compute_matrix"], values))
    check_matrix(place, "deepssim")
    for name in ("eval", "eval_ssim"):
        capsys.readouterr()
        main(arguments(lines[name], values))
        check_lines(capsys)
    main(arguments(lines["plot_reports"], values))
    check_plot(place)
