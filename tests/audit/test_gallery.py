"""What the page gets of each pair."""

import base64
import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import deepssim
from deepssim.audit.gallery import PICTURES, gallery_pair, picture_uri, within_budget
from deepssim.audit.pictures import show_pair
from tests.audit.folders import make_folders, picture, tiny_encoder, write
from tests.audit.test_pictures import scan

CUES = {
    "keypoints": 41.0,
    "keypoints of the reduced image": 63.0,
    "SSIM registered": 0.5,
    "SSIM registered locally": 0.75,
}


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/webp;base64,"))))


def shown(pictures, kind="copy", **options):
    return gallery_pair(
        pictures, synthetic="s", real="r", subject="p", kind=kind, score=3.5, cues=CUES, **options
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "above", "borderline"),
    [
        ("identical", True, False), ("confirmed copy", True, False), ("copy", True, False), ("partial copy", True, False),
        ("borderline", False, True), ("different", False, False),
    ],
)  # fmt: skip
def test_a_copy_of_any_kind_is_above_the_limit(kind, above, borderline):
    pair = shown(show_pair(scan(1), scan(1)), kind)
    assert (pair["above"], pair["borderline"]) == (above, borderline)
    assert (pair["covered"] is not None) == (kind == "partial copy")
    assert (pair["keypoints"], pair["ssim"]) == (63, 0.75)
    assert pair["cues"]["keypoints"] == "41"
    assert pair["cues"]["SSIM registered"] == "0.500"


def test_pictures_keep_their_shapes_and_what_is_not_covered_is_transparent():
    real, other = scan(1, (240, 200)), scan(1, (240, 200))[:, 60:].copy()
    pair = shown(show_pair(real, other))
    sizes = {
        name: opened(pair[name]).size for name in ("real_picture", "synthetic_picture", "registered", "difference")
    }
    assert sizes == {
        "real_picture": (200, 240), "synthetic_picture": (140, 240), "registered": (200, 240), "difference": (200, 240),
    }  # fmt: skip
    alpha = np.asarray(opened(pair["registered"]).getchannel("A"))
    assert alpha[:, :50].max() == 0
    assert alpha[6:-6, 70:-6].min() == 255  # at the edges, a pixel can be displaced out of the picture


def test_small_pictures_lose_nothing(random):
    image = picture(random, 100)
    np.testing.assert_array_equal(np.asarray(opened(picture_uri(image / np.float32(255))).convert("L")), image)


def test_lines_join_the_same_places():
    real, other = scan(1, (240, 200)), scan(1, (240, 200))[:, ::-1].copy()
    drawing = shown(show_pair(real, other))["drawing"]
    assert drawing["drawn"] == 32 < drawing["shared"]
    numbers = np.array(re.findall(r"M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)", "".join(drawing["lines"])), float)
    assert len(numbers) == 32
    start = 100 * 200 / 240 + 3  # of the second picture: the height of both is 100, and they are 3 apart
    np.testing.assert_allclose(numbers[:, 0], 100 * 200 / 240 - (numbers[:, 2] - start), atol=1.5)
    np.testing.assert_allclose(numbers[:, 1], numbers[:, 3], atol=1.5)
    assert drawing["first"] + drawing["gap"] + drawing["second"] == pytest.approx(100, abs=0.01)


def test_unrelated_pictures_need_no_lines():
    drawing = shown(show_pair(scan(1), np.zeros((50, 70), np.float32)))["drawing"]
    assert (drawing["lines"], drawing["dots"], drawing["drawn"], drawing["shared"]) == ([], [], 0, 0)


@pytest.mark.parametrize(("de_identified", "side"), [(False, 300), (True, 128)])
def test_burnt_in_text_is_not_legible_in_a_de_identified_report(tmp_path, random, de_identified, side):
    root = make_folders(tmp_path / "data")
    write(root / "real" / "large.png", picture(random, 300))
    shutil.copy(root / "real" / "large.png", root / "synthetic" / "large.png")
    deepssim.audit(
        root / "real", root / "synthetic", tmp_path / "report", holdout=root / "holdout", image_size=(32, 32), controls=4,
        encoder=tiny_encoder(tmp_path / "e.safetensors"), bootstrap=10, gallery=5, de_identified=de_identified,
    )  # fmt: skip
    uris = re.findall(r'src="(data:image/webp;base64,[^"]+)"', (tmp_path / "report" / "index.html").read_text())
    assert max(max(opened(uri).size) for uri in uris) == side


def test_pictures_shrink_until_the_page_stays_small():
    noise = np.random.default_rng(0).random((2, 400, 300), dtype=np.float32)
    pair = {
        "pictures": show_pair(*noise), "synthetic": "s", "real": "r", "subject": "p", "kind": "different", "score": 0.5,
        "cues": CUES,
    }  # fmt: skip
    full = within_budget([pair] * 8)
    assert full[0]["largest"] is None
    assert opened(full[0]["real_picture"]).size == (300, 400)
    budget = 14 * sum(len(full[0][name]) for name in PICTURES) // 2  # six of eight pairs are shown twice
    small = within_budget([pair] * 8, budget)
    assert small[0]["largest"] in (384, 256)
    assert max(opened(small[0]["synthetic_picture"]).size) == small[0]["largest"]
    assert sum(len(item[name]) for item in (*small, *small[:6]) for name in PICTURES) <= budget
