"""Every stage can be run by hand; wrong input is one sentence."""

import inspect
import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from deepssim import stages
from deepssim.cli import STAGES, main
from deepssim.config.choices import Device, Layout, MetricName
from deepssim.config.evaluation import SimilarityConfig
from deepssim.config.generative import SynthesisConfig
from deepssim.ground_truth.labels import SSIM_THRESHOLDS
from deepssim.images.keys import real_key, synthetic_key
from deepssim.images.packs import ImagePack, write_pack
from deepssim.similarity.ssim import SsimComparison
from deepssim.similarity.tiles import all_scores
from tests.conftest import ROOT


def test_every_rule_has_a_subcommand_and_the_other_way_round():
    rules = set()
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        rules |= set(re.findall(r"^rule (\w+):", path.read_text(), re.MULTILINE))
    # the workflow scores all pairs, so the scores of a few are for people only; the audit has a parser of its own
    assert {name.replace("-", "_") for name in STAGES} - {"score_pairs"} | {"audit"} == rules
    assert {path.stem for path in (ROOT / "workflow" / "scripts").glob("*.py")} == rules


@pytest.mark.parametrize("name", STAGES)
def test_subcommands_fit_their_functions(name):
    stage = STAGES[name]
    parameters = inspect.signature(getattr(stages, name.replace("-", "_"))).parameters
    given = [*stage.inputs, *stage.optional, *stage.outputs, *(extra for extra in stage.extras if extra in parameters)]
    assert sorted(given) == sorted(parameters)


def test_stages_run_by_hand(tmp_path, capsys):
    config = tmp_path / "own.yaml"
    config.write_text(
        "dataset: {virtual_patients: {train_patients: 6, valid_patients: 0, holdout_patients: 0}, image_size: [32, 32]}"
    )
    results = str(tmp_path / "results")
    main(["prepare-dataset", "--config", str(config), "--results", results])
    assert "train: 12 images of 6 subjects" in capsys.readouterr().err
    pack = f"{results}/dataset/real.h5"
    main(["misalign", "--config", str(config), "--pack", pack, "--misaligned", f"{results}/dataset/real_misaligned.h5"])
    main(["score-images", "--metric", "ssim", "--results", results, "--synthetic", pack])
    main(["gather-matrix", "--metric", "ssim", "--results", results])
    from deepssim.similarity.matrices import read_scores

    assert read_scores(f"{results}/matrices/ssim.h5").scores.shape == (12, 12)


def test_thresholds_are_fitted_by_hand_also_where_not_all_scores_are_kept(tmp_path, random, capsys):
    """FSIM of synthetic images that are more or less noisy copies, as a top-k file with the pairs of two tables."""
    real = ImagePack(random.integers(0, 256, (6, 24, 24), dtype=np.uint8), [real_key(f"r{n}") for n in range(6)])
    noisy = [real.images[n // 3] + random.normal(0, (2, 26, 90)[n % 3], (24, 24)) for n in range(18)]
    copies = ImagePack(np.clip(noisy, 0, 255).astype(np.uint8), [synthetic_key(f"r{n // 3}", n % 3) for n in range(18)])
    write_pack(tmp_path / "real.h5", real)
    write_pack(tmp_path / "copies.h5", copies)
    rows, columns = np.divmod(np.arange(6 * 18), 18)
    ssim = all_scores(SsimComparison(real, copies)).ravel().astype(float)
    table = pd.DataFrame(
        {"real_key": np.array(real.keys)[rows], "synth_key": np.array(copies.keys)[columns], "ssim": ssim}
    )
    table = table.assign(split="valid", label=SSIM_THRESHOLDS.classify(ssim))
    for name, half in (("valid", rows < 3), ("test", rows >= 3)):
        table[half & (columns // 9 == rows // 3)].to_csv(tmp_path / f"{name}.csv", index=False)
    config = SimpleNamespace(device=Device.CPU, shards=1, seed=0, synthesis=SynthesisConfig(),
                             similarity=SimilarityConfig(layout=Layout.TOP_K, top_k=1))  # fmt: skip
    stages.score_images(real=str(tmp_path / "real.h5"), synthetic=str(tmp_path / "copies.h5"), matrix=str(tmp_path / "fsim.h5"),
                        metric=MetricName.FSIM, config=config, pairs=[str(tmp_path / f"{n}.csv") for n in ("valid", "test")])  # fmt: skip
    pd.DataFrame({"key": real.keys}).to_csv(tmp_path / "used.csv")
    fit = [
        "fit-thresholds",
        "--metric",
        "fsim",
        "--matrix",
        str(tmp_path / "fsim.h5"),
        "--valid",
        str(tmp_path / "valid.csv"),
    ]
    main([*fit, "--thresholds", str(tmp_path / "t.json")])
    judge = ["evaluate", "--metric", "fsim", "--matrix", str(tmp_path / "fsim.h5"), "--test", str(tmp_path / "test.csv"),
             "--train-used", str(tmp_path / "used.csv"), "--figures", str(tmp_path / "f.json")]  # fmt: skip
    main([*judge, "--thresholds", str(tmp_path / "t.json")])
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["macro_f1"] > 0.8
    assert figures["thresholds"]["source"].startswith("fitted on 27 valid pairs")
    with pytest.raises(SystemExit):
        main(judge)
    assert "fsim has no published thresholds; fit some (`deepssim fit-thresholds`)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare-dataset", "--config", "none.yaml"], "none.yaml: cannot be read"),
        (["train-vae"], "dataset/images.csv: does not exist"),
        (["gather-matrix", "--metric", "ssim"], "no such file; run the stage that makes it first"),
        (["embed", "--metric", "ssim", "--pack", "x", "--embeddings", "y"], "ssim reads pixels and has no embeddings"),
        (["score-images", "--real", "x", "--synthetic", "y"], "deepssim compares embeddings; embed the images"),
        (["score-embeddings", "--metric", "ssim", "--real", "x", "--synthetic", "y"], "use `deepssim score-images`"),
        (["score-images", "--metric", "ssim", "--real", "x", "--synthetic", "y"], "x: does not exist"),
        (
            ["score-pairs", "--metric", "ssim", "--pairs", "p.csv", "--real", "x", "--synthetic", "y", "--scores", "s"],
            "p.csv: does not exist",
        ),
        (["show"], "eval/ssim.json: cannot be read"),
    ],
)
def test_wrong_input_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert len(error.splitlines()) == 1


def test_configs_are_checked_by_hand(tmp_path, capsys):
    main(["check-config", str(ROOT / "config" / "config.yaml")])
    assert "all settings are usable" in capsys.readouterr().out
    main(["schema"])
    assert "additionalProperties: false" in capsys.readouterr().out
