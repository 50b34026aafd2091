"""The folder of a report: one audit at a time, not overwritten unasked, and verified by its records."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

import deepssim
from deepssim.cli import main
from deepssim.errors import DataError
from deepssim.runtime.locks import sole_use
from deepssim.runtime.records import require_verified
from tests.audit.folders import gather, make_folders
from tests.audit.test_run import PATTERN, QUICK
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders and the reports of two audits of them, one of which is de-identified."""
    root = make_folders(tmp_path_factory.mktemp("made") / "data", real=8, synthetic=6, holdout=6)
    gather(root / "holdout")
    for name, hidden in (("report", False), ("hidden", True)):
        deepssim.audit(
            root / "real", root / "synthetic", root / name, holdout=root / "holdout", subject_pattern=None,
            de_identified=hidden, **QUICK,
        )  # fmt: skip
    return root


@pytest.fixture
def folders(made, tmp_path):
    """Move everything to another place on the same machine, as to another disk."""
    return shutil.copytree(made, tmp_path / "data")


def stops(arguments, capsys):
    """Return the exit code of a command and the last line of its messages."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return stop.value.code, error


def test_an_untouched_report_is_verified_and_shown(made, capsys):
    for name in ("report", "hidden"):
        main(["verify", str(made / name)])
        assert capsys.readouterr().out == f"{made / name}: all 7 results match their records\n"
    main(["show", str(made / "report")])
    shown = capsys.readouterr().out
    verdict = json.loads((made / "report" / "summary.json").read_text())["verdict"]
    assert shown.startswith(f"{verdict['result']}: {verdict['sentence']}\n")
    assert all(text in shown for text in verdict["reservations"])
    for file in ("index.html", "summary.pdf", "summary.json", "pairs.csv", "files.csv", "keep.txt", "drop.txt"):
        assert str(made / "report" / file) in shown


def test_other_files_in_the_folder_are_nobodys_business(folders):
    (folders / "hidden" / "notes.txt").write_text("to discuss")
    assert "all 7 results" in require_verified(folders / "hidden")


@pytest.mark.parametrize(
    "name", ["index.html", "summary.pdf", "summary.json", "pairs.csv", "files.csv", "keep.txt", "drop.txt"]
)
def test_a_changed_file_is_named(folders, capsys, name):
    with (folders / "hidden" / name).open("a") as file:
        file.write(" ")
    code, error = stops(["verify", str(folders / "hidden")], capsys)
    assert code == 1
    assert (
        f"1 problems in 7 results; restore what has changed, or repeat the audit:\n  {folders / 'hidden' / name}: "
        in error
    )
    assert "snakemake" not in error


def test_a_changed_image_is_named_by_its_folder(tmp_path, made, capsys, monkeypatch):
    """Relative folders are found from the report, wherever `verify` is called."""
    root = shutil.copytree(made, tmp_path / "data")
    (tmp_path / "reports").mkdir()
    monkeypatch.chdir(tmp_path)
    deepssim.audit("data/real", "data/synthetic", "reports/one", holdout="data/holdout", **QUICK)
    monkeypatch.chdir("/")
    assert "all 7 results" in require_verified(tmp_path / "reports" / "one")
    (root / "synthetic" / "s01.png").unlink()
    code, error = stops(["verify", str(tmp_path / "reports" / "one")], capsys)
    assert code == 1
    assert f"was computed from source {root / 'synthetic'}, which has changed since" in error
    for name in ("real", "synthetic", "holdout"):
        shutil.rmtree(root / name)
    message = require_verified(tmp_path / "reports" / "one")  # as of a colleague, who got the report only
    assert message.startswith(
        f"{tmp_path / 'reports' / 'one'}: all 7 results match their records; 3 inputs are not here"
    )


def test_a_de_identified_record_names_nothing(made):
    texts = [path.read_text() for path in (made / "hidden" / "provenance").iterdir()]
    assert len(texts) == 7
    assert not [text for text in texts if str(made) in text or "s01" in text]
    assert set(json.loads(texts[0])["unnamed_sources"]) == {"real", "synthetic", "holdout"}


def test_a_report_is_not_overwritten_unless_it_is_asked_for(folders, tmp_path, capsys):
    arguments = ["audit", str(folders / "real"), str(folders / "synthetic"), "--out", str(folders / "report")]
    before = (folders / "report" / "index.html").read_bytes()
    code, error = stops(arguments, capsys)
    assert code == 1
    assert error.endswith(
        f"{folders / 'report'}: has 7 of the files of a report, first index.html; name another folder, or replace them with "
        "--force (force=True in a notebook)\n"
    )
    assert (folders / "report" / "index.html").read_bytes() == before
    config = tmp_path / "own.yaml"
    config.write_text(json.dumps({"audit": QUICK}))
    code, _ = stops([*arguments, "--force", "--config", str(config)], capsys)
    assert code in (3, 4)
    assert (folders / "report" / "index.html").read_bytes() != before
    assert "all 7 results" in require_verified(folders / "report")


def test_a_second_audit_into_the_same_folder_is_refused(folders, tmp_path, capsys):
    out = tmp_path / "new"
    arguments = ["audit", str(folders / "real"), str(folders / "synthetic"), "--out", str(out)]
    with sole_use(out):
        code, error = stops(arguments, capsys)
    assert code == 1
    assert error.endswith(f"{out}: another process is writing its results there; wait for it, or name another folder\n")
    assert not out.exists()


def test_a_file_in_place_of_the_folder_is_named(folders, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file: is a file; name a folder for the report"):
        deepssim.audit(folders / "real", folders / "synthetic", tmp_path / "file")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_audit_leaves_no_file(tmp_path, user_cache, number, code):
    root = make_folders(tmp_path / "data")
    command = [
        sys.executable,
        "-m",
        "deepssim.cli",
        "audit",
        root / "real",
        root / "synthetic",
        "--out",
        tmp_path / "out",
    ]
    process = subprocess.Popen(
        [*map(str, command), "--subject-pattern", PATTERN, "--threads", "1"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    lines = []
    for line in process.stderr:
        lines.append(line)
        if re.search(r"images: .* embedded", line):
            assert (tmp_path / "out").is_dir()
            time.sleep(0.5)  # amid the comparison of images
            process.send_signal(number)
            break
    output, error = process.communicate(timeout=120)
    assert (process.returncode, output) == (code, "")
    assert "Traceback" not in error
    assert (
        "; incomplete results were removed, and the same command continues from what is finished"
        in error.splitlines()[-1]
    )
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert not list(user_cache.rglob(".part-*"))
