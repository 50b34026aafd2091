"""An audit ends with its report wherever it runs: after minutes of work, nothing about the machine may stop it."""

import os
import shutil
import stat
import subprocess
import sys

import pytest

from tests.audit.folders import make_folders, tiny_encoder
from tests.conftest import ROOT

pytestmark = pytest.mark.faults

_UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner")  # root could write anywhere


def read_only_copy(destination):
    shutil.copytree(ROOT / "src", destination, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (destination, *destination.rglob("*")):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    return destination


def test_a_read_only_installation_without_home_and_with_a_notebooks_backend(tmp_path):
    """The machine code of numba and the caches of matplotlib find no place, and the language is C."""
    root = make_folders(tmp_path / "data", real=6, synthetic=4, holdout=0)
    (root / "synthetic" / "s03.png").rename(root / "synthetic" / os.fsdecode(b"\xe9.png"))
    source = read_only_copy(tmp_path / "src")
    command = [
        sys.executable,
        "-m",
        "deepssim.cli",
        "audit",
        root / "real",
        root / "synthetic",
        "--out",
        tmp_path / "report",
    ]
    command += ["--encoder", tiny_encoder(tmp_path / "encoder.safetensors"), "--image-size", "32", "32"]
    command += ["--compared-at", "64"]
    environment = {
        "PATH": os.environ["PATH"], "HOME": "/proc/none", "MPLBACKEND": "module://none.such", "LANG": "C", "LC_ALL": "C",
        "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    prefix = _UNPRIVILEGED if os.geteuid() == 0 else ()
    done = subprocess.run([*prefix, *map(str, command)], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 3, done.stderr  # copies found
    assert "Traceback" not in done.stderr
    assert "/audit: the cache cannot be written (" in done.stderr
    report = tmp_path / "report"
    assert {path.name for path in report.iterdir()} == {
        "index.html", "summary.pdf", "summary.json", "pairs.csv", "files.csv", "keep.txt", "drop.txt", "provenance",
    }  # fmt: skip
    names = (report / "keep.txt").read_text(encoding="utf-8") + (report / "drop.txt").read_text(encoding="utf-8")
    assert r"\xe9.png" in names
