"""Copies that were rotated, moved, cut, mirrored or inverted are found, and scans under two names do not hide them."""

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import rotate

import deepssim
from deepssim.audit.cache import AuditCache
from deepssim.audit.evidence import Detective
from deepssim.audit.examination import Verdict
from deepssim.audit.sides import AuditTools, Side, Sides
from deepssim.images.folders import pixel_hashes
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import resized
from deepssim.similarity.embeddings import Embeddings
from tests.audit.folders import DRAWN, drawing, write

SETTINGS = {
    "compared_at": DRAWN,
    "controls": 1,
    "gallery": 3,
    "borderline": 4,
    "bootstrap": 50,
    "false_positive_rate": 0.02,
}
SUBJECTS, MARGIN = 40, 6
INNER = slice(MARGIN, MARGIN + DRAWN)
CHANGES = {
    "rotated": lambda wide: rotate(wide, 12, reshape=False, order=1)[INNER, INNER],
    "shifted": lambda wide: wide[INNER, 2 * MARGIN :],
    "cropped": lambda wide: resized(wide[16:64, 14:62], DRAWN, DRAWN),
    "mirrored": lambda wide: wide[INNER, INNER][:, ::-1],
    "turned": lambda wide: np.rot90(wide[INNER, INNER]),
    "transposed": lambda wide: wide[INNER, INNER].T,
    "negative": lambda wide: 255 - wide[INNER, INNER],
}


def wide_drawings(seed, count):
    """Draw pictures with a margin, so that a moved one shows what was beside the first."""
    random = np.random.default_rng(seed)
    return [drawing(random, DRAWN + 2 * MARGIN) for _ in range(count)]


REAL = wide_drawings(0, SUBJECTS)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def root(tmp_path):
    """Real and held-out images, one of each subject, and synthetic ones: genuine images and a copy through each change."""
    for side, images in (("real", REAL), ("holdout", wide_drawings(1, SUBJECTS)), ("synthetic", wide_drawings(2, 12))):
        for number, image in enumerate(images):
            write(tmp_path / side / f"{side[0]}{number:02d}.png", image[INNER, INNER])
    for number, (name, change) in enumerate(CHANGES.items()):
        write(tmp_path / "synthetic" / f"{name}.png", np.ascontiguousarray(change(REAL[3 * number])))
    return tmp_path


def run(root, name, cache, **settings):
    return deepssim.audit(root / "real", root / "synthetic", root / name, cache=cache, **SETTINGS, **settings)


def require_all_copies(folder):
    dropped = (folder / "drop.txt").read_text().split()
    assert {f"{name}.png" for name in CHANGES} <= set(dropped)
    assert len(dropped) <= len(CHANGES) + 1
    pairs = pd.read_csv(folder / "pairs.csv").set_index("synthetic")
    for number, name in enumerate(CHANGES):
        assert pairs.loc[f"{name}.png", "real"] == f"r{3 * number:02d}.png"


def findings(found, kind="one scan under two names"):
    return {tuple(pair) for item in found["preflight"] if item["kind"] == kind for pair in item["items"]}


@pytest.mark.parametrize("holdout", [True, False])
def test_copies_through_any_change_are_found_with_and_without_a_holdout(root, cache, holdout):
    found = run(root, "report", cache, **({"holdout": root / "holdout"} if holdout else {}))
    assert found["verdict"]["result"] == Verdict.COPIES
    assert found["figures"]["identical"] == 0
    assert found["rule"]["subjects"] == SUBJECTS
    require_all_copies(root / "report")
    assert not findings(found)


def test_held_out_scans_of_training_patients_do_not_raise_the_limit(root, cache):
    """Two held-out images are training images under another name, and moved by a few pixels."""
    clean = run(root, "clean", cache, holdout=root / "holdout")
    for number in (4, 5):
        write(root / "holdout" / f"x{number}.png", REAL[number][2 : 2 + DRAWN, 9 : 9 + DRAWN])
    found = run(root, "report", cache, holdout=root / "holdout")
    assert findings(found) == {("x4.png", "r04.png"), ("x5.png", "r05.png")}
    assert found["rule"] == clean["rule"]
    assert any("as another training image" in text for text in found["verdict"]["reservations"])
    require_all_copies(root / "report")


def test_training_scans_of_one_patient_under_two_names_do_not_raise_the_limit(root, tmp_path):
    clean = run(root, "clean", tmp_path / "cache")
    for number in (4, 5):
        write(root / "real" / f"x{number}.png", REAL[number][2 : 2 + DRAWN, 9 : 9 + DRAWN])
    found = run(root, "report", tmp_path / "cache")
    pairs = {(f"x{n}.png", f"r0{n}.png") for n in (4, 5)}
    assert findings(found) == pairs | {pair[::-1] for pair in pairs}
    assert found["rule"]["subjects"] == SUBJECTS - 2  # of each pair neither name
    assert found["rule"]["score_above"] == pytest.approx(clean["rule"]["score_above"], rel=0.25)
    assert any("as another training image" in text for text in found["verdict"]["reservations"])
    require_all_copies(root / "report")


def test_an_image_gets_the_same_candidates_on_either_side(tmp_path):
    """Whatever its name, its neighbours in the folder and the side: else the limit would not hold for synthetic images."""
    train, held_out, synthetic = (
        _side(name, [image[INNER, INNER] for image in images])
        for name, images in (("r", REAL[:8]), ("h", [*REAL[6:9], REAL[20]]), ("s", [*wide_drawings(3, 40), REAL[20], REAL[7]]))
    )  # fmt: skip
    tools, found = AuditTools(_no_embeddings, False, 0), {}
    for name, side in (("held-out images", held_out), ("synthetic images", synthetic)):
        detective = Detective(Sides(train, synthetic, held_out), tools, AuditCache(tmp_path / name), 3)
        found[name] = detective.of_side(side, name)
    first, second = found.values()
    for row, other in ((3, 40), (1, 41)):
        np.testing.assert_array_equal(first.partners[row], second.partners[other])
        np.testing.assert_array_equal(first.proved[row], second.proved[other])
        for column in ("cues", "overlap"):
            ours, theirs = getattr(first, column)[row], getattr(second, column)[other]
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


def _no_embeddings(pack):
    return Embeddings(np.ones((len(pack.keys), 2), np.float32), pack.keys, "none", "")


def _side(name, images):
    pack = ImagePack(np.stack(images), [f"{name}{number}" for number in range(len(images))])
    return Side(pack, pixel_hashes(pack), list(pack.keys), _no_embeddings(pack))
