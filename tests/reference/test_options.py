"""Options of the reference's commands: default paths, numbers, and paths that nothing can be written to."""

import argparse
import json

import numpy as np
import pytest

from deepssim.cli import main
from deepssim.errors import ConfigError
from deepssim.reference.options import Option, add_option, at_least, checked_path, logs_folder, positive
from tests.encoders.given import write_images
from tests.reference.test_score_commands import fails, write_scores


@pytest.fixture
def data(tmp_path, random, monkeypatch):
    """The folders of the first README, with a matrix and its test set."""
    place = tmp_path / "data"
    (place / "indices").mkdir(parents=True)
    write_scores(place, random)
    for side in ("real", "synth"):
        (place / f"{side}.npz").rename(place / "indices" / f"{side}.npz")
    (place / "test.csv").rename(place / "test_set.csv")
    (place / "m.npz").rename(tmp_path / "m.npz")
    monkeypatch.chdir(tmp_path)
    return place


def test_the_first_readmes_lines_find_their_files(data, tmp_path, monkeypatch, capsys):
    """From the root of the repository, as it says, and from `scripts`, where its defaults are relative to."""
    main(["eval", "--matrix_path", "m.npz", "--metric_name", "deepssim"])
    expected = capsys.readouterr().out
    assert json.loads(expected[expected.index("{") :])["pairs"] == 400
    (tmp_path / "scripts").mkdir()
    monkeypatch.chdir(tmp_path / "scripts")
    main(["eval.py", "--matrix_path", "../m.npz", "--metric_name", "deepssim"])
    assert capsys.readouterr().out == expected
    main(["plot_reports.py", "--matrix_path", "../m.npz", "--output_path", "plot.svg", "--exp_title", "t", "--low_threshold",
          "0.6", "--upper_threshold", "0.85"])  # fmt: skip
    assert (tmp_path / "scripts" / "plot.svg").exists()
    assert str(logs_folder()) == "../logs"
    (tmp_path / "scripts" / "data").mkdir()
    assert str(logs_folder()) == "logs"
    with pytest.raises(SystemExit):
        main(["eval.py", "--matrix_path", "../m.npz", "--metric_name", "deepssim"])


def test_only_the_folder_scripts_looks_beside_itself(data, tmp_path, monkeypatch, capsys):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    fails(
        ["eval", "--matrix_path", "../m.npz", "--metric_name", "deepssim"],
        "data/indices/real.npz: does not exist; this is the default of --real_indices_path: give the option",
        capsys,
    )


def test_pixels_are_scored_into_the_folder_of_matrices(tmp_path, random, monkeypatch):
    images = write_images(tmp_path / "data" / "images", ["a", "b"], random, (32, 24))
    (tmp_path / "data" / "indices").mkdir()
    for side, real in (("real", True), ("synth", False)):
        keys = [key for key in images if ("training" in key) is real]
        np.savez(tmp_path / "data" / "indices" / f"{side}.npz", data=np.array(keys))
    monkeypatch.chdir(tmp_path)
    main(["compute_ssim.py", "--num_workers", "0"])
    assert np.load("data/matrices/ssim.npz")["data"].shape == (2, len(images) - 2)


def test_a_given_path_is_nobodys_default(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "scripts").mkdir()
    monkeypatch.chdir(tmp_path / "scripts")
    option = Option(help="x", default="data/images", reads=True)
    assert checked_path("images", option, "other/images") == "other/images"
    with pytest.raises(ConfigError, match=r"\.\./data/images: does not exist; .* default of --images: give"):
        checked_path("images", option, "data/images")


@pytest.mark.parametrize("command", ["eval", "plot-reports"])
def test_a_folder_named_as_an_output_file_is_kept(data, capsys, command):
    (data / "kept.txt").write_text("x")
    option = "--json_path" if command == "eval" else "--output_path"
    rest = {
        "eval": ["--metric_name", "deepssim"],
        "plot-reports": ["--exp_title", "t", "--low_threshold", "0", "--upper_threshold", "1"],
    }
    line = [command, "--matrix_path", "m.npz", *rest[command], option]
    fails([*line, "data"], f"{option} is 'data', which is a folder; name a file", capsys)
    assert (data / "kept.txt").exists()
    fails([*line, "m.npz/x.png"], f"the folder of {option} is 'm.npz', but m.npz is a file; name a folder", capsys)


def test_an_ending_that_is_no_plots_is_one_sentence(data, capsys):
    line = [
        "plot-reports",
        "--matrix_path",
        "m.npz",
        "--exp_title",
        "t",
        "--low_threshold",
        "0",
        "--upper_threshold",
        "1",
    ]
    fails(
        [*line, "--output_path", "plot.xyz"], "--output_path 'plot.xyz' ends in '.xyz'; use .png, .svg or .pdf", capsys
    )


MATRIX = ["compute-matrix", "--metric_name", "dar", "--model_path", "x"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ([*MATRIX, "--batch_size", "0"], "'0' is not a whole number of at least 1"),
        ([*MATRIX, "--batch_size", "-1"], "'-1' is not a whole number of at least 1"),
        ([*MATRIX, "--num_workers", "-3"], "'-3' is not a whole number of at least 0"),
        ([*MATRIX, "--max_memory_gb", "0"], "'0' is not a number above 0"),
        (["train", "--exp_name", "x", "--batch_size", "1"], "'1' is not a whole number of at least 2"),
        (["train", "--exp_name", "x", "--learning_rate", "nan"], "'nan' is not a number above 0"),
        (["eval", "--matrix_path", "x", "--metric_name", "x"], "invalid choice: 'x' (choose from"),
    ],
)
def test_a_bad_number_is_named(capsys, line, message):
    with pytest.raises(SystemExit) as stop:
        main(line)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "MetricName" not in error


def test_numbers():
    assert at_least(0)("0") == 0
    assert at_least(-2)("-2") == -2
    for text in ("1.5", "x", "", "²", "-"):
        with pytest.raises(argparse.ArgumentTypeError):
            at_least(0)(text)
    assert positive("2e-3") == 0.002
    for text in ("0", "-1", "nan", "inf", "x"):
        with pytest.raises(argparse.ArgumentTypeError):
            positive(text)


def test_an_option_may_have_several_names():
    parser = argparse.ArgumentParser()
    add_option(parser, "dataset_csv", Option(help="x", aliases=("testset_csv",)))
    for spelling in ("--dataset_csv", "--dataset-csv", "--testset_csv", "--testset-csv"):
        assert parser.parse_args([spelling, "t.csv"]).dataset_csv == "t.csv"
