"""Scores: files in the published formats, written here as the reference writes them, and the numbers that its formulas give."""

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import nn

from deepssim.cli import main
from deepssim.config.encoders import DarConfig
from deepssim.encoders.dar import Dar
from deepssim.runtime.provenance import file_checksum
from tests.reference.published import (
    CLASSIFY,
    correlations,
    cosines,
    dar_embeddings,
    fsim,
    printed_lines,
    ssim,
    write_pairs,
    write_scores,
    write_tree,
    zscored,
)

SIZE = (40, 48)  # not square, so that a transposed image is noticed
STEP = 2**-10  # largest distance of neighbouring float16 below 2


@pytest.fixture
def tree(tmp_path, random):
    """An image tree, and its keys in an order that is not the sorted one."""
    root = tmp_path / "images"
    keys = write_tree(root, random, ["b", "a 1", "ü", "c-2"], SIZE)
    return root, [key for key in keys if "training" in key][::-1], [key for key in keys if "gen" in key][::-1]


@pytest.mark.parametrize("metric", CLASSIFY)
def test_eval_prints_the_numbers_of_scikit_learn_digit_by_digit(metric, tmp_path, random, capsys):
    """Scores of float16, some of them at the thresholds and beside them."""
    real, synthetic = [f"r{n}___training" for n in range(40)], [f"r{n % 40}___gen-{n // 40}" for n in range(120)]
    levels = {"dar": (0.5, 0.9, 0.75), "chen": (0.3, 0.7, 0.5), "semdedup": (0.94, 0.9995, 0.98)}
    labels = random.choice([0, 1, 2], (40, 120), p=[0.58, 0.23, 0.19])
    spread = 0.01 if metric == "semdedup" else 0.1
    matrix = np.array(levels.get(metric, (0.4, 0.9, 0.72)))[labels] + random.normal(0, spread, labels.shape)
    command = write_scores(tmp_path, matrix, real, synthetic)
    places = [divmod(place, 120) for place in random.choice(labels.size, 700, replace=False)]
    pairs = [(real[row], synthetic[column]) for row, column in places]
    truth = [int(labels[place]) for place in places]
    testset = write_pairs(tmp_path / "test_set.csv", pairs, ssim=0.5, label=truth)
    main(["eval", "--metric_name", metric, *command, "--testset_csv", testset])
    scores = np.load(tmp_path / "matrix.npz")["data"]
    expected = printed_lines([float(scores[place]) for place in places], truth, metric)
    assert capsys.readouterr().out.splitlines()[:6] == expected


def test_eval_ssim_prints_the_numbers_of_scikit_image(tmp_path, tree, capsys):
    root, real, synthetic = tree
    pairs = [(one, other) for one in real for other in synthetic]
    scores = [ssim(root, *pair) for pair in pairs]
    labels = [CLASSIFY["deepssim"](score) for score in scores]
    assert set(labels) == {0, 1, 2}
    assert labels[0] != labels[1]
    labels[:2] = labels[1::-1]  # so that not every number is 1
    testset = write_pairs(tmp_path / "test_set.csv", pairs, label=labels)
    main(["eval-ssim", "--testset_csv", testset, "--dataset_images_dir", str(root)])
    lines, expected = capsys.readouterr().out.splitlines()[:6], printed_lines(scores, labels, "deepssim")
    assert lines[:5] == expected[:5]
    # SSIM is float32 here, so the last digits of a mean of distances differ.
    assert float(lines[5].split(" = ")[1]) == pytest.approx(float(expected[5].split(" = ")[1]), abs=1e-6)


@pytest.mark.parametrize(("command", "formula"), [("compute-ssim", ssim), ("compute-fsim", fsim)])
def test_pixels_are_scored_as_there(tmp_path, tree, command, formula):
    root, real, synthetic = tree
    indices = write_scores(tmp_path, np.zeros((4, 8)), real, synthetic)[2:]
    main([command, "--dataset_images_dir", str(root), *indices, "--output_matrix_path", str(tmp_path / "out.npz"),
          *(["--ssim_tmp_dir", str(tmp_path / "rows")] if command == "compute-ssim" else ["--variant", "simplified"])])  # fmt: skip
    found = np.load(tmp_path / "out.npz")["data"]
    expected = np.array([[formula(root, one, other) for other in synthetic] for one in real])
    assert found.dtype == np.float16
    np.testing.assert_allclose(found.astype(float), expected, atol=STEP, rtol=0)


def compute_matrix(tmp_path, metric, weights, root, *more):
    """Run the command; return the embeddings by key, the matrix, and the keys of its rows and columns."""
    main(["compute-matrix", "--dataset_images_dir", str(root), "--embeddings_dir", str(tmp_path / "e"), "--matrices_dir",
          str(tmp_path / "m"), "--indices_dir", str(tmp_path / "i"), "--model_path", str(weights), "--metric_name", metric,
          "--trust", file_checksum(weights), *more])  # fmt: skip
    embeddings = {path.stem: np.load(path)["arr_0"] for path in (tmp_path / "e" / metric).glob("*.npz")}
    matrix = np.load(tmp_path / "m" / f"{metric}.npz")["data"]
    return embeddings, matrix, *(np.load(tmp_path / "i" / f"{side}.npz")["data"].tolist() for side in ("real", "synth"))


def check_matrix(embeddings, matrix, real, synthetic, expected, score):
    """Compare embeddings by key with the expected ones, and the matrix with the score of the expected ones."""
    assert set(embeddings) == set(real) | set(synthetic) == set(expected)
    for key, values in expected.items():
        np.testing.assert_allclose(embeddings[key], values, atol=2e-5, rtol=1e-4)
    sides = [np.stack([expected[key] for key in keys]) for keys in (real, synthetic)]
    assert matrix.dtype == np.float16
    np.testing.assert_allclose(matrix.astype(float), score(*sides), atol=STEP, rtol=0)


class TinyEncoder(nn.Module):
    """Stands for the published encoder: z-scored images of three channels to embeddings, TorchScript by scripting."""

    def __init__(self) -> None:
        super().__init__()
        self.fold, self.out = nn.Conv2d(3, 8, 5, stride=3), nn.Linear(8, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.fold(x)).square().mean(dim=[2, 3]))


def embed(network, root, keys):
    """Embed z-scored images of three equal channels."""
    with torch.inference_mode():
        images = [torch.from_numpy(zscored(root, key)).float().expand(1, 3, -1, -1) for key in keys]
        return {key: network(image)[0].numpy() for key, image in zip(keys, images, strict=True)}


def test_a_torchscript_encoder_of_the_reference_is_read(tmp_path, tree):
    root, real, synthetic = tree
    torch.manual_seed(0)
    network = TinyEncoder().eval()
    torch.jit.script(network).save(str(tmp_path / "best_model_jit.pt"))
    found = compute_matrix(tmp_path, "deepssim", tmp_path / "best_model_jit.pt", root, "--batch_size", "5")
    check_matrix(*found, embed(network, root, real + synthetic), cosines)


def test_an_encoder_trained_here_is_read_by_the_reference(tmp_path, tree, monkeypatch):
    """`deepssim train` on pairs with a test split, then the reference's loading and formula on its TorchScript file."""
    root, real, synthetic = tree
    monkeypatch.chdir(tmp_path)
    pairs = [(one, other) for one in real for other in synthetic]
    splits = ["train", "train", "valid", "test"] * (len(pairs) // 4)
    write_pairs(tmp_path / "pairs.csv", pairs, ssim=[ssim(root, *pair) for pair in pairs], split=splits)
    narrow = {"widths": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "patch_size": 2, "hidden_features": 16, "recipe": "paper",
              "canonicalize": False, "ssim_features": False}  # fmt: skip
    (tmp_path / "narrow.yaml").write_text(yaml.safe_dump({"encoder": narrow}))
    main(["train", "--dataset_images_dir", str(root), "--dataset_csv", "pairs.csv", "--exp_name", "x", "--config",
          "narrow.yaml", "--epochs", "1", "--batch_size", "4", "--emb_dim", "12"])  # fmt: skip
    weights = tmp_path / "logs" / "x" / "checkpoints" / "best_model_jit.pt"
    network = torch.jit.load(str(weights), map_location="cpu").eval()
    found = compute_matrix(tmp_path, "deepssim", weights, root)
    check_matrix(*found, embed(network, root, real + synthetic), cosines)


def test_a_state_dict_of_dar_has_the_embeddings_that_the_reference_gives_it(tmp_path, tree):
    """Statistics of each batch, in the order of sorted keys, and transposed images."""
    root, real, synthetic = tree
    torch.manual_seed(0)
    weights = Dar(DarConfig(width=4, embedding_features=16)).state_dict()
    weights |= {"fc_end.weight": torch.randn(1, 16), "fc_end.bias": torch.zeros(1)}
    torch.save(weights, tmp_path / "dar.pth")
    keys = sorted(real + synthetic)
    expected = dict(zip(keys, dar_embeddings(weights, root, keys, batch_size=6), strict=True))
    found = compute_matrix(tmp_path, "dar", tmp_path / "dar.pth", root, "--batch_size", "6")
    check_matrix(*found, expected, correlations)


def test_the_files_of_a_run_are_read_by_plain_numpy_in_its_order(tmp_path, tree):
    """What the reference's eval.py looks up: rows by the real index, columns by the synthetic one."""
    root, _, _ = tree
    torch.manual_seed(0)
    torch.jit.script(TinyEncoder().eval()).save(str(tmp_path / "x.pt"))
    embeddings, matrix, real, synthetic = compute_matrix(tmp_path, "deepssim", tmp_path / "x.pt", root)
    assert matrix.shape == (len(real), len(synthetic)) == (4, 8)
    assert (real, synthetic) == (sorted(real), sorted(synthetic))
    one, other = embeddings[real[2]], embeddings[synthetic[5]]
    assert matrix[2, 5] == pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other), abs=STEP)
    table = pd.DataFrame({"real_key": real * 2, "synth_key": synthetic, "label": [1] * 3 + [0] * 3 + [2] * 2})
    table.to_csv(tmp_path / "test_set.csv", index=False)
    main(["eval", "--metric_name", "deepssim", "--matrix_path", str(tmp_path / "m" / "deepssim.npz"), "--real_indices_path",
          str(tmp_path / "i" / "real.npz"), "--synth_indices_path", str(tmp_path / "i" / "synth.npz"), "--testset_csv",
          str(tmp_path / "test_set.csv")])  # fmt: skip
