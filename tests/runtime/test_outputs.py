"""Outputs appear whole or not at all."""

from pathlib import Path

import pytest

from deepssim.errors import ConfigError, DataError
from deepssim.runtime.outputs import atomic_outputs, require_writable


def test_outputs_appear_only_at_the_end(tmp_path):
    final = tmp_path / "new" / "out.csv"
    with atomic_outputs({"out": final}) as outputs:
        with open(outputs["out"], "w") as file:
            file.write("done")
        assert not final.exists()
    assert final.read_text() == "done"
    assert list(final.parent.iterdir()) == [final]


def test_a_failed_job_leaves_the_old_output_and_nothing_else(tmp_path):
    final = tmp_path / "out.csv"
    final.write_text("old")

    def fail():
        with atomic_outputs({"out": final}) as outputs:
            with open(outputs["out"], "w") as file:
                file.write("half")
            raise DataError("no")

    with pytest.raises(DataError):
        fail()
    assert final.read_text() == "old"
    assert list(tmp_path.iterdir()) == [final]


def test_a_failed_job_leaves_no_new_folder(tmp_path):
    """But those that were there, and those that hold something else."""
    (tmp_path / "old").mkdir()
    files = {name: tmp_path / name / "report" / "out.csv" for name in ("old", "new", "shared")}

    def fail():
        with atomic_outputs(files):
            (tmp_path / "shared" / "log.txt").touch()
            raise DataError("no")

    with pytest.raises(DataError):
        fail()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["log.txt", "old", "shared"]


def test_a_folder_replaces_the_one_before(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "stale").touch()
    with atomic_outputs({"tree": tmp_path / "tree"}) as outputs:
        Path(outputs["tree"], "sub").mkdir(parents=True)
    assert [path.name for path in (tmp_path / "tree").iterdir()] == ["sub"]


def test_a_folder_in_the_place_of_a_file_is_kept(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "kept.txt").write_text("x")
    with (
        pytest.raises(ConfigError, match="results: is a folder; name a file to write"),
        atomic_outputs({"x": tmp_path / "results"}) as files,
    ):
        Path(files["x"]).write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    assert (tmp_path / "results" / "kept.txt").read_text() == "x"


def test_where_nothing_can_be_written_is_found_out_first(tmp_path):
    require_writable(tmp_path / "new" / "newer", "--out")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("x")
    for path in ("file", "file/below"):
        with pytest.raises(ConfigError, match=r"--out is '.*file.*', but .*file is a file; name a folder"):
            require_writable(tmp_path / path, "--out")


def test_a_folder_without_permission_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(ConfigError, match=f"{tmp_path} cannot be written to"):
        require_writable(tmp_path / "a", "--out")
    assert not (tmp_path / "a").exists()
