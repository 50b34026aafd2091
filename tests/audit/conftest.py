"""Reports that several tests read."""

import pytest

import deepssim
from tests.audit.folders import gather, make_folders

REPORTS = ("without", "with", "few", "hidden")
CONTEXT = {
    "generator": "a <b>diffusion|model</b>",
    "parameters": 1000,
    "training_images": 100,
    "release": ["images", "weights"],
}


@pytest.fixture(scope="session")
def reports(tmp_path_factory):
    """Reports without, with few, with many and with unusable held-out images, the last one de-identified."""
    root, cache = (
        make_folders(tmp_path_factory.mktemp("made"), synthetic=16, holdout=44),
        tmp_path_factory.mktemp("cache"),
    )
    few = make_folders(tmp_path_factory.mktemp("few"), real=8, synthetic=6, holdout=6, copies=0)
    common = {
        "compared_at": 64, "controls": 1, "gallery": 3, "borderline": 4, "bootstrap": 50, "cache": cache,
        "subject_pattern": r"^([a-z]\d+)",
    }  # fmt: skip

    def audit(folder, out, **settings):
        deepssim.audit(folder / "real", folder / "synthetic", root / out, **common | settings)

    audit(root, "without", context=CONTEXT)
    audit(root, "with", holdout=root / "holdout", card=True)
    gather(few / "holdout")
    audit(few, "few", holdout=few / "holdout", subject_pattern=None)
    audit(few, "hidden", de_identified=True, context={"date": "2026-03-01"})
    return root
