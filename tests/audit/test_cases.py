"""Folders on which audits have gone wrong: the copies are found, or the verdict begins with what was not looked at."""

import importlib.util

import pytest

import deepssim
from deepssim.audit.examination import Verdict

COPIES = {f"c{number:02d}" for number in range(12)}
NOT_READ = {"dangling": 12, "damaged": 7}  # files that no program could read


@pytest.fixture(scope="module")
def make_cases(real_data):
    path = real_data.parent / "cases" / "make_cases.py"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    specification = importlib.util.spec_from_file_location("make_cases", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


CASES = [
    "control", "arrays", "webp", "dangling", "exif", "squashed", "white_is_zero", "alpha", "damaged", "names", "numbered",
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_copies_are_found_or_the_verdict_says_what_was_not_read(tmp_path, make_cases, case):
    make_cases.CASES[case](tmp_path)
    found = deepssim.audit(
        tmp_path / "real", tmp_path / "synthetic", tmp_path / "report", holdout=tmp_path / "holdout",
        controls=2, gallery=5, bootstrap=10,
    )  # fmt: skip
    verdict = found["verdict"]
    unread = NOT_READ.get(case, 0)
    if unread:
        assert f"{unread} of " in verdict["sentence"].partition(". ")[0]
        assert verdict["result"] != Verdict.NONE
    if case != "dangling":
        assert verdict["result"] == Verdict.COPIES
        dropped = (tmp_path / "report" / "drop.txt").read_text().splitlines()
        expected = 12 if case == "numbered" else COPIES
        if case == "numbered":
            assert len(dropped) >= 12
        elif case == "arrays":
            assert sum(name.startswith("samples.npy#") for name in dropped) == 12
        else:
            assert expected <= {name.partition(".")[0] for name in dropped}
    if case == "numbered":
        assert found["data"]["holdout"]["used"] == 80
    if case == "damaged":
        files = (tmp_path / "report" / "files.csv").read_text()
        assert all(f"bad{number}" in files for number in range(7))
        assert files.count("not read") == 7
    if case == "squashed":
        assert any("aspect ratios" in text for text in verdict["reservations"])
