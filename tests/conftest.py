"""Fixtures that all tests share: real images where they are at hand, small packs made here; and which tests take long."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks import REAL_DATA, ROOT
from deepssim.images.keys import real_key, synthetic_key
from deepssim.images.packs import ImagePack
from deepssim.runtime.private import VARIABLE
from tests.workflow.plans import REQUESTS, Plan, plan_all

# What `make check` leaves to `make test`, by file or folder; what the marks mean is in pyproject.toml.
MARKS = {
    "audit/test_page.py": "browser",
    "fuzz": "fuzz",
    "reference/test_printed_at_full_size.py": "paper",
    "test_benchmarks.py": "benchmark",
    "workflow/test_audit.py": "workflow",
    "workflow/test_documentation.py": "workflow",
    "workflow/test_faults.py": "faults",
    "workflow/test_first_hour.py": "workflow",
    "workflow/test_good_model.py": "workflow",
    "workflow/test_package.py": "workflow",
    "workflow/test_paper_configs.py": "workflow",
    "workflow/test_resume.py": "faults",
    "workflow/test_run.py": "workflow",
    "workflow/test_slurm.py": "slurm",
    "workflow/test_volumes.py": "workflow",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = ROOT / "tests"
    for item in items:
        for place in (item.path, *item.path.parents):
            mark = MARKS.get(place.relative_to(tests).as_posix()) if place.is_relative_to(tests) else None
            if mark:
                item.add_marker(mark)


_NUMBERS = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_user(tmp_path_factory) -> Iterator[None]:
    """Keep the audits of larger fixtures out of the user's cache, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path_factory.getbasetemp() / "user cache"))
        yield


@pytest.fixture(autouse=True)
def user_cache(monkeypatch, tmp_path_factory) -> Path:
    """Folder of the user's caches, a new one for each test."""
    place = tmp_path_factory.getbasetemp() / f"user cache {next(_NUMBERS)}"
    monkeypatch.setenv(VARIABLE, str(place))
    return place


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real images; tests that need it skip where it is absent, unless that is declared a failure."""
    if not REAL_DATA.is_dir():
        reason = f"no real images at {REAL_DATA}; set DEEPSSIM_REAL_DATA"
        if os.environ.get("DEEPSSIM_REQUIRE_REAL_DATA") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return REAL_DATA


@pytest.fixture(scope="session")
def plans(tmp_path_factory) -> dict[str, Plan]:
    """Dry runs of many configs."""
    return plan_all(REQUESTS, tmp_path_factory.mktemp("plans"))


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def packs(random) -> tuple[ImagePack, ImagePack]:
    """Six real images and twelve synthetic ones of 16x24 pixels, two per record."""
    real = ImagePack(random.integers(0, 256, (6, 16, 24), dtype=np.uint8), [real_key(f"r{n}") for n in range(6)])
    synthetic = ImagePack(
        random.integers(0, 256, (12, 16, 24), dtype=np.uint8), [synthetic_key(f"r{n // 2}", n % 2) for n in range(12)]
    )
    return real, synthetic
