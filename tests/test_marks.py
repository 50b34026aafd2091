"""Every mark stands for tests that are there, and is one that pyproject.toml explains."""

import tomllib

import pytest

from tests.conftest import MARKS, ROOT

EXPLAINED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"][
    "markers"
]
LEFT_OUT = {text.split(":")[0] for text in EXPLAINED} - {"gpu"}


@pytest.mark.parametrize("place", MARKS)
def test_a_marked_place_holds_tests(place):
    path = ROOT / "tests" / place
    assert path.is_file() or list(path.glob("test_*.py"))


def test_marks_are_those_that_are_explained():
    assert set(MARKS.values()) == LEFT_OUT


def test_check_leaves_out_all_that_is_marked():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (chosen,) = [line for line in makefile.splitlines() if line.startswith("SLOW")]
    assert {word.strip() for word in chosen.partition(":=")[2].split(" or ")} == LEFT_OUT - {"paper"}
    assert 'not ($(SLOW) or paper)"' in makefile
