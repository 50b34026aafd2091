"""The reference's commands that compute and judge scores, with its option names, its files and its printed lines."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from skimage.metrics import structural_similarity
from sklearn.metrics import classification_report, roc_auc_score, silhouette_score

from deepssim.cli import main
from deepssim.config.choices import FsimVariant
from deepssim.config.paper import PAPER_ENCODER
from deepssim.config.settings import load_config
from deepssim.ground_truth.labels import SSIM_THRESHOLDS, Label
from deepssim.images.keys import split_key
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import zscore
from deepssim.reference.score_commands import COMMANDS
from deepssim.runtime.provenance import file_checksum
from deepssim.similarity.fsim import FsimComparison
from deepssim.similarity.tiles import all_scores
from tests.conftest import ROOT
from tests.encoders.given import write_images


def write_scores(folder, random, real=60, synthetic=80, pairs=400):
    """Write a matrix, its index files and a test set whose classes the scores follow roughly."""
    real_keys = [f"r{n}___training" for n in range(real)]
    synth_keys = [f"r{n % real}___gen-{n // real}" for n in range(synthetic)]
    matrix = random.random((real, synthetic), np.float32).astype(np.float16)
    rows, columns = np.divmod(random.choice(real * synthetic, pairs, replace=False), synthetic)
    labels = random.choice([0, 1, 2], pairs, p=[0.58, 0.23, 0.19])
    matrix[rows, columns] = np.array([0.4, 0.9, 0.72])[labels] + random.normal(0, 0.1, pairs)
    np.savez(folder / "m.npz", data=matrix)
    np.savez(folder / "real.npz", data=np.array(real_keys))
    np.savez(folder / "synth.npz", data=np.array(synth_keys))
    table = pd.DataFrame({"real_key": np.array(real_keys)[rows], "synth_key": np.array(synth_keys)[columns]})
    table.assign(ssim=0.5, label=labels).to_csv(folder / "test.csv", index=False)
    return matrix[rows, columns].astype(np.float64), labels


def inputs(folder):
    return ["--matrix_path", str(folder / "m.npz"), "--real_indices_path", str(folder / "real.npz"),
            "--synth-indices-path", str(folder / "synth.npz"), "--testset_csv", str(folder / "test.csv")]  # fmt: skip


def printed(text):
    """Return the numbers of the printed lines by name, and the JSON after them."""
    lines, figures = text[: text.index("{")].splitlines(), json.loads(text[text.index("{") :])
    return {
        name: [float(number) for number in values.split()] for name, values in (x.split(" = ") for x in lines)
    }, figures


def expected_lines(scores, labels, thresholds=SSIM_THRESHOLDS):
    report = classification_report(labels, thresholds.classify(scores), output_dict=True, zero_division=0)
    lines = {
        f"{name} [Precision, Recall]": [report[code]["precision"], report[code]["recall"]]
        for name, code in (("Different", "0"), ("Similar", "2"), ("Duplicate", "1"))
    }
    return lines | {
        "Weighted F1-Score": [report["weighted avg"]["f1-score"]],
        "Macro F1-Score": [report["macro avg"]["f1-score"]],
        "Silhouette Score": [silhouette_score(scores[:, None], labels)],
    }


def close(found, expected, within=1e-12):
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, abs=within), name


def test_eval_prints_what_scikit_learn_says(tmp_path, random, capsys):
    scores, labels = write_scores(tmp_path, random)
    main(["eval", "--metric_name", "deepssim", *inputs(tmp_path), "--json_path", str(tmp_path / "out.json")])
    lines, figures = printed(capsys.readouterr().out)
    close(lines, expected_lines(scores, labels))
    assert figures["direction"] == "higher is more similar"
    assert figures["range"] == [-1, 1]
    assert figures["thresholds"] == {"different_up_to": 0.6, "duplicate_above": 0.85, "source": "published"}
    assert json.loads((tmp_path / "out.json").read_text()) == figures


def test_eval_says_how_sure_it_is_by_subject(tmp_path, random, capsys):
    scores, labels = write_scores(tmp_path, random)
    main(["eval", "--metric_name", "deepssim", *inputs(tmp_path)])
    _, alone = printed(capsys.readouterr().out)
    assert alone["judged"]["auroc"]["value"] == pytest.approx(
        roc_auc_score(labels == Label.DUPLICATE, scores), abs=1e-12
    )
    assert alone["judged"]["auroc"]["low"] < alone["judged"]["auroc"]["value"] < alone["judged"]["auroc"]["high"]
    assert alone["judged"]["macro_f1"]["value"] == pytest.approx(alone["macro_f1"], abs=1e-12)
    records = sorted({split_key(key)[0] for key in pd.read_csv(tmp_path / "test.csv")["real_key"]})
    assert alone["judged"]["subjects"] == len(records)
    table = pd.DataFrame({"image_uid": records, "subject": [f"p{n % 4}" for n in range(len(records))]})
    table.to_csv(tmp_path / "subjects.csv", index=False)
    command = ["eval", "--metric_name", "deepssim", *inputs(tmp_path), "--subjects", str(tmp_path / "subjects.csv")]
    main(command)
    _, grouped = printed(capsys.readouterr().out)
    assert grouped["judged"]["subjects"] == 4
    assert grouped["judged"]["macro_f1"] != alone["judged"]["macro_f1"]
    assert grouped["judged"]["macro_f1"]["value"] == alone["judged"]["macro_f1"]["value"]
    table[1:].to_csv(tmp_path / "subjects.csv", index=False)
    fails(command, f"subjects.csv: names no subject for 1 of {len(records)} records, first '{records[0]}'", capsys)


def test_fsim_is_judged_by_thresholds_of_other_subjects_or_given_ones(tmp_path, random, capsys):
    scores, labels = write_scores(tmp_path, random)
    main(["eval", "--metric_name", "fsim", *inputs(tmp_path)])
    _, figures = printed(capsys.readouterr().out)
    assert "of half of the subjects (seed 42); judged by the rest" in figures["thresholds"]["source"]
    assert 50 < figures["pairs"] < 150
    main(["eval", "--metric_name", "fsim", *inputs(tmp_path), "--low_threshold", "0.5", "--upper-threshold", "0.8"])
    lines, figures = printed(capsys.readouterr().out)
    close(lines, expected_lines(scores, labels, type(SSIM_THRESHOLDS)(0.5, 0.8)))
    assert figures["thresholds"]["source"] == "given"


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf", ""])
def test_plot_reports(tmp_path, random, suffix):
    write_scores(tmp_path, random)
    main(["plot-reports", *inputs(tmp_path), "--output_path", str(tmp_path / f"plot{suffix}"), "--exp_title", "Ein Titel",
          "--low_threshold", "0.6", "--upper_threshold", "0.85"])  # fmt: skip
    made = tmp_path / f"plot{suffix or '.png'}"
    assert made.stat().st_size > 1000
    if suffix == ".svg":
        text = made.read_text()
        for part in ("Ein Titel", "duplicate (", "0.85", "higher is more similar"):
            assert part in text


@pytest.fixture
def tree(tmp_path, random):
    """An image tree; gen-0 is a copy with a little noise, gen-1 with more, so that every class occurs."""
    root = tmp_path / "images"
    images = write_images(root, ["b", "a 1", "ü"], random, (32, 24))
    for name in ("b", "a 1", "ü"):
        real = images[f"{name}___training"].astype(float)
        for kind, noise in (("gen-0", 8), ("gen-1", 26)):
            image = np.clip(real + random.normal(0, noise, real.shape), 0, 255).astype(np.uint8)
            Image.fromarray(image).save(root / name / f"{kind}.png")
            images[f"{name}___{kind}"] = image
    keys = [[key for key in images if ("training" in key) is real] for real in (True, False)]
    for side, chosen in zip(("real", "synth"), keys, strict=True):
        np.savez(tmp_path / f"{side}.npz", data=np.array(chosen[::-1]))  # an order of their own
    return root, images, [chosen[::-1] for chosen in keys]


def slow_ssim(images, real, synth):
    """Compute the matrix pair by pair with scikit-image."""
    scored = {key: zscore(image[None], [key])[0] for key, image in images.items()}
    return np.array(
        [[structural_similarity(scored[a], scored[b], data_range=np.ptp(scored[a])) for b in synth] for a in real]
    )


def test_pixels_are_scored_in_the_order_of_the_index_files(tmp_path, tree, capsys):
    root, images, (real, synth) = tree
    common = ["--dataset_images_dir", str(root), "--real_indices_path", str(tmp_path / "real.npz"), "--synth_indices_path",
              str(tmp_path / "synth.npz"), "--num_workers", "1", "--ssim_tmp_dir", str(tmp_path / "t")]  # fmt: skip
    main(["compute-ssim", *common, "--output_matrix_path", str(tmp_path / "ssim.npz")])
    matrix = np.load(tmp_path / "ssim.npz")["data"]
    assert matrix.dtype == np.float16
    np.testing.assert_allclose(matrix, slow_ssim(images, real, synth), atol=1e-3)
    packs = [ImagePack(np.stack([images[key] for key in keys]), keys) for keys in (real, synth)]
    for variant in FsimVariant:
        main(["compute-fsim", *common, "--output_matrix_path", str(tmp_path / variant), "--variant", variant])
        matrix = np.load(tmp_path / f"{variant}.npz")["data"]
        np.testing.assert_allclose(matrix, all_scores(FsimComparison(*packs, variant=variant)), atol=1e-3)
    assert not (tmp_path / "t").exists()
    with pytest.raises(SystemExit, match="1"):
        main(["compute-ssim", *common, "--output_matrix_path", str(tmp_path / "x.npz"), "--max_memory_gb", "0.451"])
    assert "max_memory_gb 0.451 is too little" in capsys.readouterr().err


@pytest.fixture
def pairs(tmp_path, tree):
    """All pairs with exact SSIM, as a test set and as pairs to train on."""
    _, images, (real, synth) = tree
    scores = slow_ssim(images, real, synth)
    table = pd.DataFrame([(a, b) for a in real for b in synth], columns=["real_key", "synth_key"])
    table = table.assign(ssim=scores.ravel(), label=SSIM_THRESHOLDS.classify(scores.ravel()))
    table.drop(columns="label").assign(split=["train", "valid"] * 9).to_csv(tmp_path / "pairs.csv", index=False)
    table.to_csv(tmp_path / "test.csv", index=False)
    assert set(table["label"]) == {0, 1, 2}
    return table


def test_eval_ssim_aligned_and_misaligned(tmp_path, tree, pairs, capsys):
    command = ["eval-ssim", "--testset_csv", str(tmp_path / "test.csv"), "--dataset_images_dir", str(tree[0]),
               "--num_workers", "1"]  # fmt: skip
    main(command)
    lines, figures = printed(capsys.readouterr().out)
    close(lines, expected_lines(pairs["ssim"].to_numpy(), pairs["label"]), within=1e-6)  # scores are float32
    assert lines["Macro F1-Score"] == [1.0]
    main([*command, "--augment"])
    lines, figures = printed(capsys.readouterr().out)
    assert figures["macro_f1"] < 0.7


def test_the_trained_encoder_is_read_by_both(tmp_path, tree, pairs, monkeypatch, capsys):
    """`train`, then `compute-matrix` with its safetensors and with the TorchScript file that the reference loads."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump({"encoder": {
        "widths": [8, 8, 8, 8], "patch_size": 2, "hidden_features": 16, "recipe": "paper", "validate_every": 2}}))  # fmt: skip
    main(["train", "--exp_name", "first", "--dataset_images_dir", str(tree[0]), "--dataset_csv", "pairs.csv", "--emb_dim",
          "12", "--epochs", "2", "--batch_size", "4", "--learning-rate", "0.01", "--weight_decay", "0", "--dropout_prob", "0",
          "--num_workers", "1", "--config", "small.yaml"])  # fmt: skip
    place = tmp_path / "logs" / "first"
    assert pd.read_csv(place / "history.csv")["epoch"].tolist() == [2]
    matrices = []
    for name in ("best_model.safetensors", "best_model_jit.pt"):
        path = place / "checkpoints" / name
        trust = ["--trust", file_checksum(path)] if name.endswith(".pt") else []
        main(["compute-matrix", "--metric_name", "deepssim", "--model_path", str(path), "--dataset_images_dir", str(tree[0]),
              "--embeddings_dir", "e", "--matrices_dir", name, "--indices_dir", "i", "--num_workers", "1", *trust])  # fmt: skip
        matrices.append(np.load(tmp_path / name / "deepssim.npz")["data"].astype(float))
    np.testing.assert_allclose(*matrices, atol=2e-3)
    assert np.load(tmp_path / "e" / "deepssim" / "b___gen-0.npz")["arr_0"].shape == (12,)
    (tmp_path / "m.npz").write_bytes((tmp_path / "best_model_jit.pt" / "deepssim.npz").read_bytes())
    for side in ("real", "synth"):
        (tmp_path / f"{side}.npz").write_bytes((tmp_path / "i" / f"{side}.npz").read_bytes())
    main(["eval", "--metric_name", "deepssim", *inputs(tmp_path)])
    assert printed(capsys.readouterr().out)[1]["pairs"] == 18


def test_without_a_config_training_is_that_of_the_paper():
    for name in ("brain", "chest"):
        assert load_config(ROOT / "config" / f"{name}.yaml").encoder == PAPER_ENCODER


def edit(path, row, **values):
    table = pd.read_csv(path)
    table.loc[row, list(values)] = list(values.values())
    table.to_csv(path, index=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"real_key": "../etc___training"},
            "1 of 400 keys cannot be used, first: image_uid '../etc' cannot name a folder",
        ),
        ({"synth_key": "lost___gen-0"}, "1 of 400 pairs are not in the index of the matrix, first 'r"),
        ({"label": 7}, "1 of 400 labels are not 0 (different), 1 (duplicate) or 2 (similar), first 7 in line 5"),
    ],
)
def test_a_bad_test_set_is_one_sentence(tmp_path, random, capsys, change, message):
    write_scores(tmp_path, random)
    edit(tmp_path / "test.csv", 3, **change)
    fails(["eval", "--metric_name", "deepssim", *inputs(tmp_path)], message, capsys)


def fails(command, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert len(error.splitlines()) == 1


def test_bad_files_are_one_sentence(tmp_path, random, capsys):
    write_scores(tmp_path, random)
    command = ["eval", "--metric_name", "deepssim", *inputs(tmp_path)]
    fails([*command, "--low_threshold", "0.5"], "only one threshold is given", capsys)
    fails(
        [*command, "--low_threshold", "0.5", "--upper_threshold", "0.4"], "0.5 is above --upper_threshold 0.4", capsys
    )
    np.savez(tmp_path / "real.npz", data=np.array(["r0___training", "../a___training", "/___training"]))
    fails(command, "real.npz: 2 of 3 keys cannot be used, first: image_uid '../a'", capsys)
    np.savez(tmp_path / "real.npz", data=np.array([f"r{n}___training" for n in range(61)]))
    fails(command, "float16 of shape (60, 80), but the index files name 61 real and 80 synthetic", capsys)
    np.savez(tmp_path / "real.npz", data=np.arange(60))
    fails(command, "real.npz: `data` is int64 of shape (60,), expected a list of image keys", capsys)
    np.savez(tmp_path / "real.npz", other=np.arange(60))
    fails(command, "real.npz: holds no array 'data'", capsys)
    (tmp_path / "real.npz").unlink()
    fails(command, "real.npz: does not exist", capsys)


def test_bad_trees_are_one_sentence(tmp_path, tree, capsys):
    root = tree[0]
    command = ["compute-matrix", "--metric_name", "dar", "--model_path", str(root), "--dataset_images_dir", str(root), "--embeddings_dir",
               "e", "--matrices_dir", "m", "--indices_dir", "i", "--num_workers", "1"]  # fmt: skip
    fails([*command[:6], str(tmp_path / "none"), *command[7:]], "none: is not a folder", capsys)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(root / "ü" / "gen-7.png")
    main_error = "1 of 10 images differ in size from the first (32x24), first"
    with pytest.raises(SystemExit):
        main(command)
    assert main_error in capsys.readouterr().err
    (root / "ü" / "gen-7.png").write_bytes(b"nonsense")
    with pytest.raises(SystemExit):
        main(command)
    assert "1 of 10 files cannot be used, first" in capsys.readouterr().err
    (root / "x___y").mkdir()
    (root / "ü" / "gen-7.png").rename(root / "x___y" / "gen-0.png")
    fails(command, "1 of 10 keys cannot be used, first: image_uid 'x___y' cannot name a folder", capsys)


def test_every_option_has_two_spellings(capsys):
    for name, command in COMMANDS.items():
        with pytest.raises(SystemExit):
            main([name, "--help"])
        text = capsys.readouterr().out
        for option in command.options:
            assert f"--{option}" in text
            assert f"--{option.replace('_', '-')}" in text
