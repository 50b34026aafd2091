"""The audit of whole volumes, from folders to the report: copies are found, other people are not, and nothing unread is cleared."""

import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import deepssim
from deepssim.audit import tools
from deepssim.audit.examination import Verdict
from deepssim.audit.summary_schema import AuditSummary, summary_schema
from deepssim.audit.wording import NOT_SOUGHT
from deepssim.config.choices import AuditUnit
from deepssim.config.encoders import EncoderConfig
from deepssim.config.settings import parse_config
from deepssim.detection.score import COSINE
from deepssim.encoders.deepssim import DeepSSIM, save_encoder
from deepssim.errors import DataError
from deepssim.images.folders import Collection, pixel_hashes
from deepssim.images.packs import ImagePack
from deepssim.images.volume_distort import VOLUME_DISTORTIONS
from deepssim.registration.volume_proof import VOLUME_CUES
from deepssim.similarity.embeddings import Embeddings
from tests.audit.folders import tiny_encoder
from tests.audit.scans import SIDE, copies_of, head, make_scans, write
from tests.audit.test_run import kept
from tests.audit.test_summary_pdf import pdf_text

QUICK = {
    "volume_side": SIDE, "controls": 1, "candidates": 1, "gallery": 2, "borderline": 2, "bootstrap": 50, "subject_pattern": r"^(p\d+)",
    "false_positive_rate": 0.05,
}  # fmt: skip


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return make_scans(tmp_path_factory.mktemp("scans"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """All audits compare with the same real scans, which are compared with each other once."""
    return tmp_path_factory.mktemp("cache")


def audit(real, synthetic, out, cache, **settings):
    found = deepssim.audit(real, synthetic, out, **QUICK | {"cache": cache} | settings)
    AuditSummary.model_validate_json(json.dumps(found))
    jsonschema.validate(found, summary_schema())
    return found


@pytest.fixture(scope="module")
def report(scans, cache, tmp_path_factory):
    """Report of an audit with copies."""
    out = tmp_path_factory.mktemp("reports") / "copies"
    audit(scans / "real", scans / "copies", out, cache, rating=True, rating_pairs=3, card=True)
    return out


def test_copies_are_found_and_other_people_are_not(report):
    found = json.loads((report / "summary.json").read_text())
    assert found["data"]["unit"] == found["settings"]["audit"]["unit"] == "volume"  # all files hold volumes
    assert found["verdict"]["result"] == Verdict.COPIES
    names = [f"{name}.nii" for name in copies_of(np.zeros((2, 2, 2)))]
    assert sorted(kept(report / "drop.txt")) == sorted(names)
    assert sorted(kept(report / "keep.txt")) == [f"other{number}.nii" for number in range(4)]
    assert found["figures"]["identical"] == 1
    assert found["figures"]["subjects_copied"]["count"] == 1
    assert found["figures"]["subjects_copied"]["total"] == 20
    assert found["rule"]["images"] == found["rule"]["subjects"] == 20


def test_copies_are_traced_to_the_scan_with_the_evidence(report):
    pairs = pd.read_csv(report / "pairs.csv").set_index("synthetic")
    copies = pairs[pairs["kind"].isin(["copy", "confirmed copy", "identical"])]
    assert len(copies) == 5
    assert set(copies["real"]) == {"p00.nii"}
    assert set(copies["subject"]) == {"p00"}
    assert copies.loc["unchanged.nii", "kind"] == "identical"
    assert set(VOLUME_CUES) <= set(pairs.columns)
    assert (copies["correlation registered"] > 0.6).all()


def test_the_report_speaks_of_scans(report):
    page = re.sub(r"(?s)<script.*?</script>|<style.*?</style>|<[^>]*>", " ", (report / "index.html").read_text())
    page = page.partition(" Context ")[2].partition(" Context ")[0] + page.partition("Methods and provenance")[2]
    assert "scans" in page
    allowed = ("training_images", "image_size")  # settings
    left = [
        match
        for match in re.findall(r"[^\n]*\b[Ii]mages?\b[^\n]*", page)
        if not any(word in match.lower() for word in allowed)
    ]
    assert left == []
    found = json.loads((report / "summary.json").read_text())
    assert "5 of 9 synthetic scans" in found["verdict"]["sentence"]
    assert "identical to a training scan in every voxel" in found["verdict"]["sentence"]
    assert f"Scans were compared at {SIDE}x{SIDE}x{SIDE} voxels" in pdf_text(report / "summary.pdf")
    assert "4 of 9 synthetic scans that this audit does not call copies" in (report / "keep.txt").read_text()
    assert "synthetic scans judged" in (report / "card.md").read_text()
    assert "Do both scans show the same picture?" in (report / "rating.html").read_text()


def test_controls_are_those_of_volumes(report):
    controls = json.loads((report / "summary.json").read_text())["controls"]
    assert [row["distortion"] for row in controls["positive"]] == list(VOLUME_DISTORTIONS)
    found = {row["distortion"]: row["found"]["value"] for row in controls["positive"]}
    assert found["none"] == found["flip left-right"] == found["axes in another order"] == found["rotation 12°"] == 1


def test_the_gallery_shows_slices_in_three_planes(report):
    page = (report / "index.html").read_text()
    assert "eypoints" not in re.sub(r"(?s)<script.*?</script>|<style.*?</style>", "", page)  # which scans have none of
    assert "three axial, three coronal and three sagittal slices" in page
    assert "slices in three planes" in page


def test_every_file_is_accounted_for(report):
    table = pd.read_csv(report / "files.csv")
    assert table.groupby("side")["images"].sum().to_dict() == {"real": 20, "synthetic": 9}
    assert set(table["status"]) == {"read"}


def test_no_copies_is_said_only_if_every_volume_was_read(tmp_path, scans, cache, report):
    clear = audit(scans / "real", scans / "others", tmp_path / "clear", cache)
    assert clear["verdict"]["result"] == Verdict.NONE
    assert any(
        text == NOT_SOUGHT for text in clear["verdict"]["reservations"]
    )  # what was not sought is not cleared in silence
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in (scans / "others").iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    (broken / "damaged.nii").write_bytes((scans / "copies" / "mirrored.nii").read_bytes()[:5000])
    found = audit(scans / "real", broken, tmp_path / "report", cache)
    assert found["data"]["unit"] == "volume"
    assert found["verdict"]["result"] == Verdict.CANNOT_TELL
    assert "1 of 5 synthetic files could not be read (first damaged.nii" in found["verdict"]["sentence"]
    skipped = audit(scans / "real", broken, tmp_path / "skipped", cache, skip_unreadable=True)
    assert skipped["verdict"]["result"] == Verdict.NONE
    assert any("could not be read" in text for text in skipped["verdict"]["reservations"])


def test_a_few_people_prove_nothing(tmp_path, cache):
    random = np.random.default_rng(5)
    for number in range(2):
        write(tmp_path / "real" / f"p{number:02d}.nii", head(random))
        write(tmp_path / "synthetic" / f"s{number}.nii", head(random))
    found = audit(tmp_path / "real", tmp_path / "synthetic", tmp_path / "report", cache)
    assert found["verdict"]["result"] == Verdict.CANNOT_TELL
    assert "Provide held-out scans of at least 20 patients" in found["verdict"]["sentence"]


def test_a_flat_file_beside_volumes_is_not_cleared(tmp_path, scans, cache, report):
    """Asked for volumes, a single picture among them is a file that was not read."""
    made = tmp_path / "synthetic"
    made.mkdir()
    (made / "other0.nii").write_bytes((scans / "others" / "other0.nii").read_bytes())
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(made / "slice.png")
    found = audit(scans / "real", made, tmp_path / "report", cache, unit="volume")
    assert found["verdict"]["result"] == Verdict.CANNOT_TELL
    assert "1 of 2 synthetic files could not be read (first slice.png" in found["verdict"]["sentence"]


def test_de_identified_reports_number_scans(tmp_path, scans, cache, report):
    audit(scans / "real", scans / "copies", tmp_path / "report", cache, de_identified=True)
    for name in ("index.html", "summary.json", "pairs.csv"):
        text = (tmp_path / "report" / name).read_text()
        assert "p00" not in text
        assert ".nii" not in text
    pairs = pd.read_csv(tmp_path / "report" / "pairs.csv")
    assert pairs["synthetic"].str.fullmatch(r"synthetic scan \d").all()
    assert pairs["real"].str.fullmatch(r"real scan \d+").all()


def test_an_encoder_is_one_more_source_of_evidence(tmp_path, cache):
    random = np.random.default_rng(6)
    for number in range(3):
        write(tmp_path / "real" / f"p{number:02d}.nii", head(random))
    write(tmp_path / "synthetic" / "s0.nii", head(random))
    (tmp_path / "synthetic" / "copy.nii").write_bytes((tmp_path / "real" / "p01.nii").read_bytes())
    weights = tiny_encoder(tmp_path / "encoder.safetensors")
    found = audit(
        tmp_path / "real", tmp_path / "synthetic", tmp_path / "report", cache, encoder=weights, image_size=[32, 32]
    )
    assert found["score"]["names"] == [*VOLUME_CUES, COSINE]
    pairs = pd.read_csv(tmp_path / "report" / "pairs.csv").set_index("synthetic")
    assert pairs.loc["copy.nii", COSINE] == pytest.approx(1, abs=1e-4)


def test_an_encoder_learns_from_slices_of_every_volume():
    volumes = np.stack([np.rint(head(np.random.default_rng(number), 16) / 10).astype(np.uint8) for number in range(3)])
    pack = ImagePack(volumes, ["a", "b", "c"])
    collection = Collection(pack, [Path(key) for key in pack.keys], pixel_hashes(pack), {}, [])
    learned, subjects = tools.to_learn_from(collection, ["x", "y", "x"], tools.engine_of(AuditUnit.VOLUME))
    assert learned.pack.images.shape[1:] == (16, 16)
    assert len(learned.pack.keys) == len(set(learned.pack.keys)) == len(learned.pixel_hashes) == len(subjects)
    assert all(
        subject == {"a": "x", "b": "y", "c": "x"}[key[0]]
        for key, subject in zip(learned.pack.keys, subjects, strict=True)
    )
    assert len(subjects) > 60  # of 72; slices without anything are left out
    same, names = tools.to_learn_from(collection, ["x", "y", "x"], tools.engine_of(AuditUnit.IMAGE))
    assert same is collection
    assert names == ["x", "y", "x"]


def test_black_slices_are_left_out_of_the_embedding_of_a_volume():
    """An encoder with features of SSIM has no embedding for an image of a single intensity."""
    volume = np.zeros((32, 32, 32), np.uint8)
    volume[10:22, 4:28, 4:28] = np.random.default_rng(0).integers(1, 255, (12, 24, 24))  # black where outer slices are
    seen = []

    def embed(pack):
        assert (pack.images.max(axis=(1, 2)) > pack.images.min(axis=(1, 2))).all()
        seen.extend(pack.keys)
        return Embeddings(np.tile([[0.0, 2.0]], (len(pack.keys), 1)).astype(np.float32), pack.keys, "made", "")

    flat = np.zeros_like(volume)
    found = tools._pooled(ImagePack(np.stack([volume, flat, volume]), ["a", "b", "c"]), embed)
    assert 0 < len([key for key in seen if key.startswith("a#d")]) < 8
    assert len([key for key in seen if key.startswith("a#h")]) == 8
    np.testing.assert_allclose(found.values, [[0, 1] * 3, [0] * 6, [0, 1] * 3])
    with pytest.raises(DataError, match="1 volumes have slices of a single intensity only, first 'b'"):
        tools._pooled(ImagePack(flat[None], ["b"]), embed)


def test_the_default_encoder_embeds_volumes_with_black_slices(tmp_path):
    volume = np.zeros((64, 64, 64), np.uint8)
    volume[20:44, 8:56, 8:56] = np.random.default_rng(0).integers(1, 255, (24, 48, 48))
    torch.manual_seed(0)
    weights = tmp_path / "encoder.safetensors"
    save_encoder(weights, DeepSSIM(EncoderConfig()))
    config = parse_config({"device": "cpu", "audit": {"unit": "volume", "encoder": str(weights)}})
    found = tools._embedder(weights, config)(ImagePack(volume[None], ["a"]))
    assert np.isfinite(found.values).all()
