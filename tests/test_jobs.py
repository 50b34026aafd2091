"""Outputs appear whole or not at all; errors are one sentence."""

import logging

import pytest

from deepssim.errors import DataError
from deepssim.jobs import logged, short_errors, whole_outputs


def test_outputs_appear_only_at_the_end(tmp_path):
    final = tmp_path / "new" / "out.csv"
    with whole_outputs({"out": final}) as outputs:
        with open(outputs["out"], "w") as file:
            file.write("done")
        assert not final.exists()
    assert final.read_text() == "done"
    assert list(final.parent.iterdir()) == [final]


def test_a_failed_job_leaves_the_old_output_and_nothing_else(tmp_path):
    final = tmp_path / "out.csv"
    final.write_text("old")

    def fail():
        with whole_outputs({"out": final}) as outputs:
            with open(outputs["out"], "w") as file:
                file.write("half")
            raise DataError("no")

    with pytest.raises(DataError):
        fail()
    assert final.read_text() == "old"
    assert list(tmp_path.iterdir()) == [final]


def test_a_folder_replaces_the_one_before(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "stale").touch()
    with whole_outputs({"tree": tmp_path / "tree"}) as outputs:
        from pathlib import Path

        Path(outputs["tree"], "sub").mkdir(parents=True)
    assert [path.name for path in (tmp_path / "tree").iterdir()] == ["sub"]


@pytest.mark.parametrize(
    ("error", "code", "traceback"), [(DataError("x.png: is not an image"), 1, False), (KeyError("bug"), 2, True)]
)
def test_errors_are_logged_and_end_the_program(tmp_path, capsys, error, code, traceback):
    log = tmp_path / "rule.log"
    before = list(logging.getLogger("deepssim").handlers)
    with pytest.raises(SystemExit) as stop, logged(log), short_errors():
        raise error
    assert stop.value.code == code
    for text in (log.read_text(), capsys.readouterr().err):
        assert str(error) in text
        assert ("Traceback" in text) is traceback
    assert logging.getLogger("deepssim").handlers == before
