"""Fixtures that all tests share: real images where they are at hand, small packs made here."""

import os
from pathlib import Path

import numpy as np
import pytest

from deepssim.images.keys import real_key, synthetic_key
from deepssim.images.packs import ImagePack

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real images; tests that need it skip where it is absent, unless that is declared a failure."""
    folder = Path(os.environ.get("DEEPSSIM_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        reason = f"no real images at {folder}; set DEEPSSIM_REAL_DATA"
        if os.environ.get("DEEPSSIM_REQUIRE_REAL_DATA") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


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
