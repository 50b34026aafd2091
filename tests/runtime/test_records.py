"""Every result says where it comes from, and `deepssim verify` finds what has changed since."""

import json

import h5py
import pytest

from deepssim.cli import main
from deepssim.errors import DataError
from deepssim.runtime.provenance import file_checksum
from deepssim.runtime.records import require_verified, verify

SETTINGS = (
    "dataset: {image_size: [24, 24], virtual_patients: {train_patients: 3, valid_patients: 2, holdout_patients: 0}}\n"
)


@pytest.fixture
def results(tmp_path):
    """A data set and its misaligned copy."""
    (tmp_path / "config.yaml").write_text(SETTINGS)
    place = tmp_path / "results"
    common = ["--results", str(place), "--config", str(tmp_path / "config.yaml")]
    main(["prepare-dataset", *common])
    pack, copy = place / "dataset" / "real.h5", place / "dataset" / "real_misaligned.h5"
    main(["misalign", *common, "--pack", str(pack), "--misaligned", str(copy)])
    return place


def record_of(results, name):
    return json.loads((results / "provenance" / f"{name}.json").read_text())


def test_a_record_tells_settings_inputs_versions_seed_and_device(results):
    record = record_of(results, "dataset/real_misaligned.h5")
    assert record["inputs"] == {"dataset/real.h5": file_checksum(results / "dataset" / "real.h5")}
    assert record["sha256"] == file_checksum(results / "dataset" / "real_misaligned.h5")
    assert record["settings"]["dataset"]["image_size"] == [24, 24]
    assert record["seed"] == 0
    assert record["device"].startswith("cpu")
    assert {"deepssim", "numpy", "torch"} <= set(record["versions"])
    with h5py.File(results / "dataset" / "real_misaligned.h5") as file:
        inside = json.loads(file["provenance"][()])
    assert inside == {name: value for name, value in record.items() if name in inside}
    assert {"config_sha256", "inputs_sha256", "seed", "device", "versions"} <= set(inside)


def test_unchanged_results_match(results, capsys):
    main(["verify", str(results)])
    assert capsys.readouterr().out == f"{results}: all 3 results match their records\n"
    (results / "vae" / "state" / "x").mkdir(parents=True)
    (results / "vae" / "state" / "x" / "last.ckpt").touch()  # no result
    assert verify(results) == (3, [])


def test_what_changed_and_what_was_made_from_it_is_named(results, capsys):
    with (results / "dataset" / "real.h5").open("r+b") as file:
        file.truncate(1000)
    (results / "dataset" / "images.csv").unlink()
    (results / "dataset" / "strange.csv").touch()
    count, problems = verify(results)
    assert count == 4
    assert problems == [
        f"{results}/dataset/images.csv: is missing",
        f"{results}/dataset/real.h5: has changed since it was made",
        f"{results}/dataset/real_misaligned.h5: was made from {results}/dataset/real.h5, which is another file now",
        f"{results}/dataset/strange.csv: has no record; it was not made by this program",
    ]
    with pytest.raises(SystemExit) as stop:
        main(["verify", str(results)])
    assert stop.value.code == 1
    assert "4 findings about 4 results; remove what is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda record: record | {"settings": {}}, "the settings in it have changed"),
        (lambda record: {}, "is no record (KeyError"),
        (lambda record: [], "is no record (TypeError"),
    ],
)
def test_a_changed_record_is_found(results, change, finding):
    file = results / "provenance" / "dataset" / "images.csv.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    assert any(finding in problem for problem in verify(results)[1])


def test_a_folder_without_records_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="has no folder 'provenance' with records"):
        require_verified(tmp_path)
