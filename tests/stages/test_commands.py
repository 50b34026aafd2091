"""Stages by hand: every file is named, the result is the library's, and wrong input is one sentence."""

import inspect
import json

import h5py
import numpy as np
import pandas as pd
import pytest

from deepssim.cli import main
from deepssim.config.choices import Device, MetricName
from deepssim.encoders.deepssim import embed
from deepssim.evaluation.labelled_pairs import Sampling, evaluate_labelled
from deepssim.ground_truth.labels import SSIM_THRESHOLDS
from deepssim.images.keys import real_key, synthetic_key
from deepssim.images.packs import ImagePack, read_pack, write_pack
from deepssim.runtime.json_files import as_json
from deepssim.runtime.provenance import file_checksum
from deepssim.similarity.embeddings import read_embeddings
from deepssim.similarity.matrices import read_scores
from deepssim.similarity.ssim import SsimComparison
from deepssim.similarity.tiles import all_scores
from deepssim.similarity.top_scores import TopScores
from deepssim.stages import stage_function
from deepssim.stages.commands import COMMANDS
from tests.audit.folders import tiny_encoder

REAL, SYNTHETIC = 8, 24


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Eight real images, two of each patient, and three synthetic ones of each, which are more or less noisy copies."""
    folder, random = tmp_path_factory.mktemp("world"), np.random.default_rng(0)
    real = ImagePack(random.integers(0, 256, (REAL, 24, 24), dtype=np.uint8), [real_key(f"r{n}") for n in range(REAL)])
    noisy = [real.images[n // 3] + random.normal(0, (2, 26, 90)[n % 3], (24, 24)) for n in range(SYNTHETIC)]
    keys = [synthetic_key(f"r{n // 3}", n % 3) for n in range(SYNTHETIC)]
    copies = ImagePack(np.clip(noisy, 0, 255).astype(np.uint8), keys)
    write_pack(folder / "real.h5", real)
    write_pack(folder / "synthetic.h5", copies)
    rows, columns = np.divmod(np.arange(REAL * SYNTHETIC), SYNTHETIC)
    ssim = all_scores(SsimComparison(real, copies)).ravel().astype(float)
    table = pd.DataFrame({"real_key": np.array(real.keys)[rows], "synth_key": np.array(keys)[columns], "ssim": ssim})
    table = table.assign(split="valid", label=SSIM_THRESHOLDS.classify(ssim))
    for name, half in (("valid", rows < REAL // 2), ("test", rows >= REAL // 2)):
        table[half & (columns // 12 == rows // 4)].to_csv(folder / f"{name}.csv", index=False)
    pd.DataFrame({"key": real.keys}).to_csv(folder / "used.csv", index=False)
    images = {
        "key": real.keys,
        "path": "",
        "role": "real",
        "subject": [f"p{n // 2}" for n in range(REAL)],
        "split": "train",
    }
    pd.DataFrame(images).to_csv(folder / "images.csv", index=False)
    tiny_encoder(folder / "encoder.safetensors")
    return folder


def as_options(named):
    return [part for option, value in named.items() for part in (f"--{option.replace('_', '-')}", str(value))]


def files(folder, **named):
    """Return options that name files of a folder."""
    return as_options({option: folder / name for option, name in named.items()})


def pack_of(world, name):
    return read_pack(world / f"{name}.h5")


def score(world, out, *more, metric="ssim", synthetic="synthetic.h5", name="matrix.h5"):
    main(["score-images", "--metric", metric, *files(world, real="real.h5", synthetic=synthetic), "--matrix",
          str(out / name), *more])  # fmt: skip
    return out / name


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_fits_the_function_of_its_stage(name):
    """Every option reaches an argument, and every argument without a default has an option."""
    record = COMMANDS[name]
    arguments = inspect.signature(stage_function(name.replace("-", "_"))).parameters
    options = {*record.inputs, *record.optional, *record.outputs, *record.flags, *record.choices}
    options |= {"shard"} if record.sharded else set()
    settings = {setting.rpartition(".")[2] for setting in record.settings}
    assert options | settings <= set(arguments)
    needed = {name for name, one in arguments.items() if one.default is inspect.Parameter.empty}
    assert needed <= options | settings | {"threads", "config_hash"} | ({"metric"} if record.metrics else set())
    assert {name for name in record.optional if arguments[name].default is not None} == set()


def required(record):
    """Return what a command needs, with a value that its parser takes."""
    chosen = {name: values[0] for name, (values, _) in record.choices.items()}
    metric = {"metric": record.metrics[0].value} if record.metrics else {}
    return {**metric, **chosen, **dict.fromkeys((*record.inputs, *record.outputs), "x")}


@pytest.mark.parametrize(
    ("name", "left_out"), [(name, left) for name, record in COMMANDS.items() for left in required(record)]
)
def test_a_file_that_is_not_named_is_asked_for(name, left_out, capsys):
    named = required(COMMANDS[name])
    del named[left_out]
    with pytest.raises(SystemExit) as stop:
        main([name, *as_options(named)])
    assert stop.value.code == 2
    assert f"required: --{left_out.replace('_', '-')}\n" in capsys.readouterr().err


def test_embed(world, tmp_path):
    main(["embed", "--metric", "deepssim", *files(world, pack="real.h5", weights="encoder.safetensors"), "--embeddings",
          str(tmp_path / "new" / "e.h5")])  # fmt: skip
    found = read_embeddings(tmp_path / "new" / "e.h5")
    with_library = embed(world / "encoder.safetensors", pack_of(world, "real"), device=Device.CPU)
    np.testing.assert_allclose(found.values, with_library.values, atol=1e-5)
    assert found.keys == with_library.keys


def test_score_images_says_where_the_scores_come_from(world, tmp_path):
    path = score(world, tmp_path, *files(world, train_used="used.csv"))
    expected = all_scores(SsimComparison(pack_of(world, "real"), pack_of(world, "synthetic")))
    np.testing.assert_allclose(read_scores(path).scores, expected, atol=1e-6)
    with h5py.File(path) as file:
        record = json.loads(file["provenance"][()])
    assert record["stage"] == "score-images"
    assert record["seed"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["matrix.h5"]


def test_score_embeddings(world, tmp_path):
    encoder = files(world, weights="encoder.safetensors")
    for name in ("real", "synthetic"):
        main(["embed", "--metric", "deepssim", *encoder, *files(world, pack=f"{name}.h5"), "--embeddings",
              str(tmp_path / f"{name}.h5")])  # fmt: skip
    both = files(tmp_path, real="real.h5", synthetic="synthetic.h5")
    main(["score-embeddings", "--metric", "deepssim", *both, "--matrix", str(tmp_path / "m.h5")])
    rows, columns = (read_embeddings(tmp_path / f"{name}.h5").values for name in ("real", "synthetic"))
    cosines = rows @ columns.T / np.linalg.norm(rows, axis=1)[:, None] / np.linalg.norm(columns, axis=1)
    np.testing.assert_allclose(read_scores(tmp_path / "m.h5").scores, cosines, atol=1e-5)


def test_score_pairs(world, tmp_path):
    main(["score-pairs", "--metric", "ssim", *files(world, real="real.h5", synthetic="synthetic.h5", pairs="test.csv"),
          "--scores", str(tmp_path / "scores.csv")])  # fmt: skip
    found = pd.read_csv(tmp_path / "scores.csv")
    assert len(found) == REAL // 2 * SYNTHETIC // 2
    np.testing.assert_allclose(found["score"], found["ssim"], atol=1e-6)


def test_gather_matrix(world, tmp_path):
    """The number of parts is a setting, the number of a part an option; files may come in any order."""
    whole = pack_of(world, "synthetic")
    (tmp_path / "own.yaml").write_text("shards: 2")
    paths = []
    for number, part in enumerate((slice(12), slice(12, None))):
        write_pack(tmp_path / f"{number}.h5", whole.select(whole.keys[part]))
        options = ["--shard", str(number), "--config", str(tmp_path / "own.yaml")]
        paths.append(str(score(world, tmp_path, *options, synthetic=tmp_path / f"{number}.h5", name=f"m{number}.h5")))
    gather = ["gather-matrix", "--metric", "ssim", "--matrix", str(tmp_path / "all.h5"), "--shards"]
    main([*gather, *reversed(paths)])
    gathered, expected = read_scores(tmp_path / "all.h5"), read_scores(score(world, tmp_path))
    assert gathered.real_keys == expected.real_keys
    order = [gathered.synth_keys.index(key) for key in expected.synth_keys]
    np.testing.assert_array_equal(gathered.scores[:][:, order], expected.scores)
    with pytest.raises(SystemExit) as stop:
        main([*gather, paths[0]])
    assert stop.value.code == 1


def evaluation(world, out, *more, metric="ssim", matrix="matrix.h5"):
    main(["evaluate", "--metric", metric, "--matrix", str(out / matrix), "--evaluation", str(out / "e.json"),
          *files(world, test="test.csv", train_used="used.csv", images="images.csv"), *more])  # fmt: skip
    return json.loads((out / "e.json").read_text())


def test_evaluate_draws_patients_not_images(world, tmp_path):
    """Two images of one patient count once in every interval: four images of the test pairs are of two patients."""
    path = score(world, tmp_path)
    found = evaluation(world, tmp_path, "--misaligned")
    assert found["judged"]["subjects"] == 2
    assert found["macro_f1"] == 1
    assert found["misaligned"] is True
    table = pd.read_csv(world / "test.csv")
    scores = read_scores(path).pair_scores(table["real_key"].tolist(), table["synth_key"].tolist())
    patients = [f"p{int(key[1]) // 2}" for key in table["real_key"]]
    expected = evaluate_labelled(scores, table["label"].to_numpy(), patients, SSIM_THRESHOLDS, Sampling(seed=0))
    for name in ("macro_f1", "auroc", "auprc", "precision_at_recall", "fpr_at_recall"):
        assert found["judged"][name] == pytest.approx(as_json(vars(expected[name]))), name


def test_images_without_subject_are_named(world, tmp_path, capsys):
    score(world, tmp_path)
    table = pd.read_csv(world / "images.csv")
    table[table["key"] != real_key("r5")].to_csv(tmp_path / "images.csv", index=False)
    with pytest.raises(SystemExit) as stop:
        evaluation(world, tmp_path, "--images", str(tmp_path / "images.csv"))
    assert stop.value.code == 1
    assert real_key("r5") in capsys.readouterr().err


def test_evaluate_with_fitted_thresholds_where_not_all_scores_are_kept(world, tmp_path, capsys):
    config = tmp_path / "own.yaml"
    config.write_text("{device: cpu, similarity: {layout: top_k, top_k: 1}}")
    pairs = ["--pairs", str(world / "valid.csv"), str(world / "test.csv")]
    score(world, tmp_path, "--config", str(config), *pairs, metric="fsim", name="fsim.h5")
    assert isinstance(read_scores(tmp_path / "fsim.h5"), TopScores)
    with pytest.raises(SystemExit) as stop:
        evaluation(world, tmp_path, metric="fsim", matrix="fsim.h5")
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert "fsim" in error
    assert "--thresholds" in error
    stage_function("fit_thresholds")(
        matrix=str(tmp_path / "fsim.h5"), valid=str(world / "valid.csv"), thresholds=str(tmp_path / "t.json"),
        metric=MetricName.FSIM,
    )  # fmt: skip
    found = evaluation(world, tmp_path, "--thresholds", str(tmp_path / "t.json"), metric="fsim", matrix="fsim.h5")
    assert found["macro_f1"] > 0.8
    assert "48 valid pairs" in found["thresholds"]["source"]
    assert (
        found["provenance"]["config_sha256"]
        == evaluation(world, tmp_path, "--thresholds", str(tmp_path / "t.json"), metric="fsim", matrix="fsim.h5")[
            "provenance"
        ]["config_sha256"]
    )


@pytest.mark.parametrize(
    ("name", "metric", "change", "message"),
    [
        ("embed", "deepssim", {"weights": "none.pt"}, "none.pt"),
        ("score-images", "ssim", {"real": "none.h5"}, "none.h5"),
        ("score-pairs", "ssim", {"pairs": "none.csv"}, "none.csv"),
        ("gather-matrix", "ssim", {"shards": "none.h5"}, "none.h5"),
        ("evaluate", "ssim", {"matrix": "none.h5"}, "none.h5"),
        ("score-images", "ssim", {"config": "none.yaml"}, "none.yaml"),
    ],
)
def test_wrong_input_is_one_sentence(world, tmp_path, monkeypatch, capsys, name, metric, change, message):
    monkeypatch.chdir(tmp_path)
    record = COMMANDS[name]
    named = dict.fromkeys((*record.inputs, *record.outputs), "other") | {"real": str(world / "real.h5")} | change
    named = {option: value for option, value in named.items() if option in {*record.inputs, *record.outputs, "config"}}
    with pytest.raises(SystemExit) as stop:
        main([name, "--metric", metric, *as_options(named)])
    assert stop.value.code == 1
    error = capsys.readouterr().err.splitlines()
    assert message in error[-1]
    assert not any("Traceback" in line for line in error)
    assert list(tmp_path.iterdir()) == []  # nothing half made is left


@pytest.mark.parametrize(
    ("name", "metric", "offered"),
    [("embed", "ssim", "'deepssim', 'chen', 'dar', 'semdedup'"), ("score-images", "deepssim", "'ssim', 'fsim'")],
)
def test_a_metric_that_the_stage_cannot_take_is_not_offered(name, metric, offered, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, *as_options(required(COMMANDS[name]) | {"metric": metric})])
    assert stop.value.code == 2
    assert f"invalid choice: '{metric}' (choose from {offered})" in capsys.readouterr().err


def test_another_metrics_shard_is_refused(world, tmp_path, capsys):
    path = score(world, tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["gather-matrix", "--metric", "fsim", "--shards", str(path), "--matrix", str(tmp_path / "x.h5")])
    assert stop.value.code == 1
    assert "ssim" in capsys.readouterr().err
    before = file_checksum(path)
    assert before == file_checksum(score(world, tmp_path))  # the same scores again are the same file
