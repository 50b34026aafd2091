"""`train` leaves what the reference's script leaves, and prints what it prints."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from deepssim.cli import main
from deepssim.reference.epoch_metrics import summarise
from deepssim.reference.training import _folder
from tests.encoders.given import write_images
from tests.reference.test_score_commands import fails

SMALL = {"widths": [8, 8, 8, 8], "patch_size": 2, "hidden_features": 16, "recipe": "paper", "dropout": 0.0,
         "augmentation": [], "canonicalize": False, "ssim_features": False, "decay": "constant", "passes": 1}  # fmt: skip
NUMBER = r"(-?\d[\d.e+-]*)"


@pytest.fixture
def project(tmp_path, random, monkeypatch):
    """The first README's folders: six pairs to train on, three to validate and one of an absent image to test."""
    images = write_images(tmp_path / "data" / "images", ["a", "b", "c"], random, (24, 16))
    real, synth = ([key for key in images if ("training" in key) is kind] for kind in (True, False))
    pairs = [(one, other) for one in real for other in synth][:9]
    table = pd.DataFrame(pairs, columns=["real_key", "synth_key"])
    table = table.assign(ssim=random.random(9).astype(object), split=["train"] * 6 + ["valid"] * 3)
    table.loc[9] = ["lost___training", "lost___gen-0", "unknown", "test"]
    table.to_csv(tmp_path / "data" / "dataset.csv", index=False)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump({"encoder": SMALL}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


LINE = ["deepssim_train.py", "--exp_name", "first", "--epochs", "3", "--batch_size", "4", "--emb_dim", "12", "--num_workers", "1",
        "--config", "small.yaml"]  # fmt: skip


def scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_what_training_prints_and_records(project, capsys):
    main(LINE)
    lines = capsys.readouterr().out.splitlines()
    names = ("Loss [MSE]", "Standard Deviation [MSE]", "Performance [MAE]")
    assert len(lines) == 3 * 2 * 3
    values = []
    for number, line in enumerate(lines):
        found = re.fullmatch(rf"{re.escape(names[number % 3])} = {NUMBER}", line)
        assert found, line
        values.append(float(found[1]))
    by_epoch = np.array(values).reshape(3, 2, 3)  # epoch, mode, line
    place = project / "logs" / "first"
    recorded = scalars(place / "tensorboard")
    expected = [f"{mode}/{name}" for mode in ("train", "valid") for name in ("loss_mean", "loss_std", "mae")]
    assert sorted(recorded) == sorted(expected)
    for number, tag in enumerate(expected):
        assert [step for step, _ in recorded[tag]] == [0, 1, 2]
        np.testing.assert_allclose([v for _, v in recorded[tag]], by_epoch[:, number // 3, number % 3], rtol=1e-6)
    history = pd.read_csv(place / "history.csv")
    for column, mode, line in (
        ("train_loss", 0, 0), ("train_loss_absolute_error", 0, 2), ("valid_loss", 1, 0), ("valid_loss_absolute_error", 1, 2),
    ):  # fmt: skip
        np.testing.assert_allclose(history[column], by_epoch[:, mode, line], rtol=1e-5)
    assert (by_epoch[:, 0, 1] > 0).all()


def test_the_optimisers_state_fits_the_encoder_beside_it(project):
    """Loaded as the reference loads it: all parameters of the TorchScript file in one AdamW."""
    main(LINE)
    place = project / "logs" / "first" / "checkpoints"
    network = torch.jit.load(place / "best_model_jit.pt")
    optimizer = torch.optim.AdamW(network.parameters())
    optimizer.load_state_dict(torch.load(place / "optimizer_state.pth", weights_only=True))
    history = pd.read_csv(place.parent / "history.csv")
    best = history.loc[history["valid_loss"].idxmin(), "step"]
    parameters = list(network.parameters())
    for parameter in parameters:
        state = optimizer.state[parameter]
        assert state["exp_avg"].shape == parameter.shape
        assert int(state["step"]) == best
    assert optimizer.param_groups[0]["weight_decay"] == 1e-3
    before = [parameter.detach().clone() for parameter in parameters]
    sum(parameter.square().sum() for parameter in parameters).backward()
    optimizer.step()
    assert any((one != two).any() for one, two in zip(before, parameters, strict=True))


def test_a_repeated_run_does_not_record_an_epoch_twice(project):
    main(LINE)
    state = next((project / "logs" / "first" / "state").iterdir())
    for path in state.glob("*.ckpt"):
        path.unlink()
    main(LINE)
    assert [step for step, _ in scalars(project / "logs" / "first" / "tensorboard")["valid/mae"]] == [0, 1, 2]


def test_weights_and_biases_gets_the_same_names(project, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    (project / "small.yaml").write_text(yaml.safe_dump({"encoder": SMALL, "tracking": {"wandb_project": "test"}}))
    main(LINE)
    (record,) = (project / "logs" / "first").glob("state/*/wandb/offline-run-*/run-*.wandb")
    content = record.read_bytes()
    for name in (b"train/loss_mean", b"train/loss_std", b"valid/mae", b"train_loss"):
        assert name in content


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/tmp/x", "a\\b", "a\nb"])
def test_an_experiment_stays_in_logs(project, capsys, name):
    fails(["train", "--exp_name", name], f"--exp_name {name!r} cannot name a folder in logs", capsys)
    assert sorted(path.name for path in project.iterdir()) == ["data", "small.yaml"]


@pytest.mark.parametrize("name", ["first", "a b", "x___y", "..x", "versuch-ü.2"])
def test_other_names_are_the_users_choice(project, name):
    assert str(_folder(name)) == f"logs/{name}"


def test_a_split_without_pairs_is_named(project, capsys):
    table = pd.read_csv("data/dataset.csv")
    table[table["split"] != "valid"].to_csv("data/dataset.csv", index=False)
    fails(LINE, "data/dataset.csv: 1 of 2 splits have no pair, first 'valid'", capsys)
    table.loc[7, "ssim"] = "unknown"
    table.to_csv("other.csv", index=False)
    message = "other.csv: column 'ssim' has 1 of 9 entries that are not finite numbers, first in line 9"
    fails([*LINE, "--testset_csv", "other.csv"], message, capsys)


def test_the_summary_of_an_epoch():
    """Each batch counts as often as it has pairs; the deviation is that of a sample."""
    found = summarise([(0.1, 0.2, 4), (0.4, 0.5, 2)])
    losses = [0.1] * 4 + [0.4] * 2
    assert found["loss_mean"] == pytest.approx(np.mean(losses), rel=1e-12)
    assert found["loss_std"] == pytest.approx(np.std(losses, ddof=1), rel=1e-12)
    assert found["mae"] == pytest.approx((4 * 0.2 + 2 * 0.5) / 6, rel=1e-12)
    assert summarise([(0.3, 0.1, 1)])["loss_std"] == 0


def test_other_commands_start_without_tensorboard():
    code = "import sys, deepssim.cli; print('tensorboard' in sys.modules or 'lightning' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
