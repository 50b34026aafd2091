"""Every result says where it comes from, and `deepssim verify` finds what has changed since."""

import json
import re
import shutil

import h5py
import pytest

from deepssim.cli import main
from deepssim.errors import DataError
from deepssim.runtime.provenance import file_checksum
from deepssim.runtime.records import require_verified, verify
from tests.stages.jobs import run_rule

CONFIG = {
    "dataset": {
        "image_size": [24, 24],
        "virtual_patients": {"train_patients": 3, "valid_patients": 2, "holdout_patients": 0},
    }
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data set and its misaligned copy, as two jobs of the workflow write them."""
    folder = tmp_path_factory.mktemp("records")
    pack = {"pack": "results/dataset/real.h5"}
    run_rule(folder, "prepare_dataset", CONFIG, settings=("seed", "dataset"), inputs={},
             outputs={"images": "results/dataset/images.csv", **pack})  # fmt: skip
    run_rule(folder, "misalign", CONFIG, settings=("seed", "evaluation.misalignment"), inputs=pack,
             outputs={"misaligned": "results/dataset/real_misaligned.h5"})  # fmt: skip
    return folder / "results"


@pytest.fixture
def results(made, tmp_path):
    shutil.copytree(made, tmp_path / "results")
    return tmp_path / "results"


def record_of(results, name):
    return json.loads((results / "provenance" / f"{name}.json").read_text())


def test_a_record_tells_settings_inputs_versions_seed_and_device(results):
    record = record_of(results, "dataset/real_misaligned.h5")
    assert record["inputs"] == {"dataset/real.h5": file_checksum(results / "dataset" / "real.h5")}
    assert record["sha256"] == file_checksum(results / "dataset" / "real_misaligned.h5")
    assert set(record["settings"]) == {"seed", "evaluation.misalignment"}
    assert record_of(results, "dataset/real.h5")["settings"]["dataset"]["image_size"] == [24, 24]
    assert record["seed"] == 0
    assert record["device"].startswith("cpu")
    assert {"deepssim", "numpy", "torch"} <= set(record["versions"])
    with h5py.File(results / "dataset" / "real_misaligned.h5") as file:
        inside = json.loads(file["provenance"][()])
    assert inside == {name: value for name, value in record.items() if name in inside}
    assert {"config_sha256", "inputs_sha256", "seed", "device", "versions"} <= set(inside)


def test_unchanged_results_match(results, capsys):
    main(["verify", str(results)])
    assert re.fullmatch(rf"{results}: .*\b3\b.*\n", capsys.readouterr().out)
    (results / "vae" / "state" / "x").mkdir(parents=True)
    (results / "vae" / "state" / "x" / "last.ckpt").touch()  # no result
    found = verify(results)
    assert (found.results, found.problems) == (3, [])


def test_what_changed_and_what_was_made_from_it_is_named(results, capsys):
    with (results / "dataset" / "real.h5").open("r+b") as file:
        file.truncate(1000)
    (results / "dataset" / "images.csv").unlink()
    (results / "dataset" / "strange.csv").touch()
    found = verify(results)
    problems = found.problems
    assert found.results == 4
    named = ["images.csv", "real.h5", "real_misaligned.h5", "strange.csv"]
    assert [problem.split(": ")[0] for problem in problems] == [f"{results}/dataset/{name}" for name in named]
    facts = ["missing", "changed", f"{results}/dataset/real.h5", "no provenance record"]
    assert [fact for fact, problem in zip(facts, problems, strict=True) if fact in problem.split(": ", 1)[1]] == facts
    with pytest.raises(SystemExit) as stop:
        main(["verify", str(results)])
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert all(problem in error for problem in problems)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda record: record | {"settings": {}}, "the settings in it have changed"),
        (lambda record: {}, "is not a valid record (KeyError"),
        (lambda record: [], "is not a valid record (TypeError"),
    ],
)
def test_a_changed_record_is_found(results, change, finding):
    file = results / "provenance" / "dataset" / "images.csv.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    assert any(finding in problem for problem in verify(results).problems)


def test_a_folder_without_records_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="has no folder 'provenance' with records"):
        require_verified(tmp_path)
