"""What the networks learn changes only together with the version of the stage that trains them.

Tiny trainings run through the stages of the workflow; losses of every epoch and some outputs of the network must be those of
tests/golden/trainings.json. A change that is meant needs a new version in runtime/stage_versions.py, or Snakemake would keep
results of the old code and a training that was interrupted would go on with the new one.
"""

import json

import pytest

from deepssim.runtime.stage_versions import STAGE_VERSIONS
from tests.golden import trainings
from tests.golden.trainings import FILE, advice, differences, read_golden, renew, stage_of, train_again

GOLDEN = read_golden()


def test_every_stage_that_trains_is_compared():
    assert {stage_of(name) for name in GOLDEN} == {stage for stage in STAGE_VERSIONS if stage.startswith("train_")}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_training_learns_what_its_version_stands_for(tmp_path, name):
    version = STAGE_VERSIONS[stage_of(name)]
    assert GOLDEN[name]["version"] == version, (
        f"{FILE.name} holds {name} of version {GOLDEN[name]['version']}, but STAGE_VERSIONS has {version}; "
        "run `python -m tests.golden` to renew it"
    )
    different = list(differences(GOLDEN[name], train_again(name, GOLDEN[name], tmp_path / "run")))
    assert not different, f"{name}: {'; '.join(different)}; {advice(name)}"


@pytest.fixture
def golden_file(tmp_path, monkeypatch):
    """A file with one training, whose result is 0.5 or whatever a test sets in the returned record."""
    result = {"settings": {}, "version": 3, "history": [{"epoch": 1, "train_loss": 0.5}], "outputs": [0.25]}
    path = tmp_path / "trainings.json"
    path.write_text(json.dumps({"train_dar": result}))
    learned = json.loads(json.dumps(result))
    monkeypatch.setattr(trainings, "train_again", lambda name, golden, folder: learned)
    return path, learned


def test_renewing_refuses_other_results_of_the_same_version(tmp_path, golden_file):
    path, learned = golden_file
    before = path.read_text()
    learned["history"][0]["train_loss"] = 0.51
    with pytest.raises(
        SystemExit, match=r"train_loss of epoch 1 is 0\.51, not 0\.5.*raise STAGE_VERSIONS\['train_dar'\]"
    ):
        renew([], tmp_path, path)
    assert path.read_text() == before


def test_renewing_takes_other_results_of_a_new_version(tmp_path, golden_file):
    path, learned = golden_file
    learned["history"][0]["train_loss"], learned["version"] = 0.51, 4
    assert renew(["train_dar"], tmp_path, path) == ["train_dar"]
    assert read_golden(path) == {"train_dar": learned}
    assert renew([], tmp_path, path) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found["outputs"].__setitem__(0, 0.2505), r"output 0 is 0\.2505, not 0\.25"),
        (lambda found: found["history"][0].update(valid_loss=1.0), "epoch 1 logs epoch, train_loss, valid_loss, not epoch, train_loss"),
        (lambda found: found["history"].append({"epoch": 2}), "2 epochs are logged, not 1"),
        (lambda found: found["outputs"].append(0.0), "there are 2 outputs, not 1"),
    ],
)  # fmt: skip
def test_every_difference_is_seen(golden_file, change, message):
    wanted = read_golden(golden_file[0])["train_dar"]
    found = golden_file[1]
    assert list(differences(wanted, found)) == []
    change(found)
    with pytest.raises(AssertionError, match=message):
        assert not list(differences(wanted, found)), ", ".join(differences(wanted, found))


def test_rounding_of_another_processor_is_no_difference(golden_file):
    wanted = read_golden(golden_file[0])["train_dar"]
    found = golden_file[1]
    found["history"][0]["train_loss"] *= 1 + trainings.RELATIVE / 2
    assert list(differences(wanted, found)) == []
