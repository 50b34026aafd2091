"""Which files an audit reads, and what it says about the others."""

import json
import os
import secrets
import shutil
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from deepssim.audit.cache import AuditCache
from deepssim.audit.examination import Verdict
from deepssim.audit.subjects import numbered
from deepssim.cli import main
from deepssim.errors import DataError
from deepssim.images.folders import decode
from deepssim.images.scans import Scan
from tests.audit.folders import gather, make_folders, picture, texture, write
from tests.audit.test_run import QUICK, run
from tests.audit.test_summary_pdf import pdf_text


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Most tests judge the same images, which are then compared once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def folders(tmp_path):
    """Folders without copies, whose verdict is that there are none or no more than chance explains."""
    root = make_folders(tmp_path / "data", copies=0, synthetic=12, holdout=60)
    for path in (root / "synthetic").iterdir():
        write(path, texture(np.random.default_rng(100 + int(path.stem[1:]))))
    return root


def test_what_was_not_read_leads_the_verdict_and_is_not_cleared(tmp_path, folders, cache):
    clear = run(folders, tmp_path / "clear", cache, holdout=folders / "holdout")
    assert clear["verdict"]["result"] == Verdict.NONE
    (folders / "synthetic" / "bad.png").write_bytes(b"nonsense")
    (folders / "synthetic" / "archive.zip").write_bytes(b"PK\3\4\0")
    (folders / "real" / "lost.png").symlink_to("../.git/annex/objects/none")
    found = run(folders, tmp_path / "report", cache, holdout=folders / "holdout")
    assert found["verdict"]["result"] == Verdict.CANNOT_TELL
    first = found["verdict"]["sentence"].partition(". ")[0]
    assert "1 of 25 training files and 2 of 14 synthetic files could not be read" in first
    page = (tmp_path / "report" / "index.html").read_text()
    assert "git annex get" in page
    table = pd.read_csv(tmp_path / "report" / "files.csv", keep_default_na=False).set_index(["side", "file"])
    assert len(table) == 25 + 14 + 60
    assert table.loc[("synthetic", "archive.zip")].tolist() == ["not read", "unknown format (.zip)", 0]
    assert table.loc[("synthetic", "s00.png")].tolist() == ["read", "", 1]
    counts = json.loads((tmp_path / "report" / "summary.json").read_text())["data"]["synthetic"]["files"]
    assert {"status": "read", "reason": "", "count": 12} in counts
    assert sum(row["count"] for row in counts) == 14


def test_the_user_can_say_that_files_are_not_meant(tmp_path, folders, cache):
    (folders / "synthetic" / "bad.png").write_bytes(b"nonsense")
    left = run(folders, tmp_path / "a", cache, holdout=folders / "holdout", exclude=["bad.*"])
    assert left["verdict"]["result"] == Verdict.NONE
    assert any("1 of 13 synthetic files was left out by" in text for text in left["verdict"]["reservations"])
    skipped = run(folders, tmp_path / "b", cache, holdout=folders / "holdout", skip_unreadable=True)
    assert skipped["verdict"]["result"] == Verdict.NONE
    assert any("1 of 13 synthetic files could not be read" in text for text in skipped["verdict"]["reservations"])


def test_parts_of_a_file_that_were_not_read_lead_the_verdict(tmp_path, folders, cache):
    random = np.random.default_rng(7)
    np.savez(folders / "synthetic" / "x.npz", a=random.integers(0, 256, (32, 32), dtype=np.uint8), b=np.zeros((3, 900)))
    with zipfile.ZipFile(folders / "synthetic" / "x.npz", "a") as archive:
        archive.writestr("c.png", b"x")
    found = run(folders, tmp_path / "a", cache, holdout=folders / "holdout")["verdict"]
    assert found["result"] == Verdict.CANNOT_TELL
    assert found["sentence"].startswith(
        "1 part of synthetic files could not be read (first is a file of another format)"
    )
    assert any("1 part of synthetic files beside their images was not judged" in text for text in found["reservations"])
    skipped = run(folders, tmp_path / "b", cache, holdout=folders / "holdout", skip_unreadable=True)["verdict"]
    assert skipped["result"] == Verdict.NONE
    assert any(
        "1 part of synthetic files could not be read and were skipped" in text for text in skipped["reservations"]
    )


def test_copies_are_no_chance_where_chance_is_not_known(tmp_path, folders, cache):
    for number in range(3):  # not equal in every pixel, and too few subjects to be confirmed
        with Image.open(folders / "real" / f"p0{number}_0.png") as image:
            write(folders / "synthetic" / f"s0{number}.png", np.clip(np.asarray(image), 1, 254))
    gather(folders / "real")
    found = run(folders, tmp_path / "a", cache, subject_pattern=None)["verdict"]
    assert found["result"] == Verdict.CANNOT_TELL
    assert "There are no images of other patients" in found["sentence"]


@pytest.mark.parametrize("dim", [3, 9])
def test_mostly_empty_volumes_are_a_reservation(tmp_path, folders, cache, dim):
    values = np.random.default_rng(7).integers(1, 256, (32, 32, 12), dtype=np.uint8)
    values[4:, :, :dim] = values[:, 2:, :dim] = 0  # of 1024 pixels, 8 are left
    nibabel.save(nibabel.Nifti1Image(values, np.diag([2, 2, 2, 1]) + np.eye(4, k=3)), folders / "synthetic" / "x.nii")
    found = run(folders, tmp_path / "a", cache, holdout=folders / "holdout")["verdict"]
    assert any("were left out as nearly empty" in text for text in found["reservations"]) is (dim == 9)


def test_hidden_images_are_a_reservation(tmp_path, folders, cache):
    write(folders / "synthetic" / ".samples" / "a.png", np.eye(32, dtype=np.uint8))
    (folders / "real" / ".note").write_text("nothing to see")
    found = run(folders, tmp_path / "report", cache, holdout=folders / "holdout")["verdict"]
    (text,) = (text for text in found["reservations"] if "hidden" in text)
    assert text.startswith("1 of 13 synthetic files was not looked at, since hidden images")


def test_many_reasons_are_a_row_of_the_page_and_all_of_the_table(tmp_path, folders, cache, monkeypatch):
    (folders / "synthetic" / ".note").write_text("nothing to see")
    (folders / "synthetic" / "notes.txt").write_text("nothing to see")
    (folders / "synthetic" / "Thumbs.db").write_bytes(b"0")
    (folders / "synthetic" / "empty.abc").write_bytes(b"")
    monkeypatch.setattr("deepssim.audit.page._MOST_REASONS", 2)
    run(folders, tmp_path / "report", cache, holdout=folders / "holdout")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "<td>3</td><td>left out or not read, for 3 further reasons, which files.csv has</td>" in page
    table = pd.read_csv(tmp_path / "report" / "files.csv")
    assert table[table["status"] == "left out"]["reason"].nunique() == 4


def test_the_exit_status_follows_the_verdict(tmp_path, folders, cache, capsys):
    config = tmp_path / "own.yaml"
    config.write_text(json.dumps({"audit": QUICK}))
    arguments = ["audit", str(folders / "real"), str(folders / "synthetic"), "--out", str(tmp_path / "report")]
    arguments += ["--cache", str(cache), "--holdout", str(folders / "holdout"), "--config", str(config)]
    arguments += ["--subject-pattern", r"^([a-z]\d+)", "--force"]
    main(arguments)  # no copies: 0
    (folders / "synthetic" / "bad.png").write_bytes(b"")
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 4
    main([*arguments, "--skip-unreadable"])
    shutil.copy(folders / "real" / "p00_0.png", folders / "synthetic" / "copy.png")
    with pytest.raises(SystemExit) as stop:
        main(arguments)  # a copy is a copy, whatever was not read
    assert stop.value.code == 3
    assert "1 of 14 synthetic files could not be read" in capsys.readouterr().out


def test_a_folder_without_readable_images_is_named_with_its_files(tmp_path, folders, cache):
    shutil.rmtree(folders / "synthetic")
    (folders / "synthetic").mkdir()
    for number in range(3):
        (folders / "synthetic" / f"{number}.png").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"no image that can be read; 3 of its 3 files could not be read.*0\.png"):
        run(folders, tmp_path / "report", cache)


@pytest.mark.parametrize("inside", [True, False])
def test_one_folder_in_another_is_named_before_any_work(tmp_path, folders, cache, inside):
    inner = folders / "real" / "samples" if inside else folders / "real"
    if inside:
        shutil.move(folders / "synthetic", inner)
    else:
        shutil.rmtree(folders / "synthetic")
    (folders / "synthetic").symlink_to(inner)
    with pytest.raises(DataError, match="have 12 files in common" if inside else "is given as the folder of synthetic"):
        run(folders, tmp_path / "report", cache)


def test_names_of_any_kind_reach_the_report(tmp_path, folders, cache):
    real = folders / "real"
    names = [os.fsdecode(b"p00_\xe9.png"), 'p01_"quoted", <b>.png', "p02_new\nline.png", "p03_图像.png"]
    for name, source in zip(names, sorted(real.iterdir())[8:], strict=False):
        shutil.copy(source, real / name)
        shutil.copy(source, folders / "synthetic" / name)
    found = run(folders, tmp_path / "report", cache)
    assert found["figures"]["identical"] == 4
    report = tmp_path / "report"
    assert (report / "drop.txt").read_text(encoding="utf-8").count("\n") >= 4
    pairs = pd.read_csv(report / "pairs.csv")
    assert {r"p00_\xe9.png", names[1], r"p02_new\nline.png", names[3]} <= set(pairs["synthetic"])
    assert "<b>.png" not in (report / "index.html").read_text(encoding="utf-8")


def test_the_same_number_is_not_the_same_patient(tmp_path, folders, cache):
    for side in ("real", "holdout"):
        for number, path in enumerate(sorted((folders / side).iterdir())):
            path.rename(path.with_name(f"{number:05d}.png"))
    found = run(folders, tmp_path / "report", cache, holdout=folders / "holdout", subject_pattern=None)
    assert found["data"]["holdout"]["used"] == 60
    assert (found["rule"]["subjects"], found["rule"]["counted"]) == (60, "images")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("00012.png", True), ("train/img_12.png", True), ("sample-3.nii.gz", True), ("patient12.png", False),
        ("IXI012/t1.nii.gz", False), ("a1/0001.png", False), ("1" * 200 + "_" * 200 + "!.png", True),
    ],
)  # fmt: skip
def test_names_that_only_count(name, expected):
    assert numbered(name) is expected


def _dicom_folders(root: Path, patient: str) -> Path:
    from tests.images.test_dicom import write as write_dicom

    random = np.random.default_rng(0)
    for side, count in (("real", 4), ("synthetic", 3)):
        (root / side).mkdir(parents=True)
        for number in range(count):
            write_dicom(root / side / f"{number}.dcm", picture(random), bits=8, PatientID=patient)
    return root


@pytest.mark.parametrize(("patient", "message"), [("ANON", "have the same one"), ("", "have no PatientID")])
def test_patients_that_dicom_does_not_tell_apart_are_named(tmp_path, cache, patient, message):
    root = _dicom_folders(tmp_path / "data", patient)
    found = run(root, tmp_path / "report", cache, subject_pattern=None)
    assert any(message in text and "--subjects" in text for text in found["verdict"]["reservations"])


def test_squashed_copies_are_found(tmp_path, cache):
    """Training images are narrow, synthetic ones were resized to squares."""
    root = make_folders(tmp_path / "data", copies=0, synthetic=9, holdout=60)
    for side in ("real", "holdout"):
        for path in (root / side).iterdir():
            write(path, np.asarray(Image.open(path))[:, 10:54])
    for number, path in enumerate(sorted((root / "real").iterdir())[:4]):
        narrow = Image.open(path)
        narrow.resize((64, 64), Image.Resampling.BICUBIC).save(root / "synthetic" / f"c{number}.png")
    found = run(root, tmp_path / "report", cache, holdout=root / "holdout")
    assert any("aspect ratios" in text for text in found["verdict"]["reservations"])
    drop = (tmp_path / "report" / "drop.txt").read_text().split()
    assert {f"c{number}.png" for number in range(4)} <= set(drop)


def test_equal_headers_do_not_share_their_values(tmp_path, random):
    paths = [tmp_path / "a.hdr", tmp_path / "b.hdr"]
    for path in paths:
        values = random.integers(0, 256, (32, 32, 1), dtype=np.uint8)
        nibabel.Nifti1Pair(values, np.eye(4)).to_filename(path.with_suffix(".img"))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    store = AuditCache(tmp_path / "cache")
    for _ in range(2):  # decoded, and from the cache
        first, second = store.decoded(
            [Scan((path,), path) for path in paths],
            ["kind"],
            lambda scan: decode(scan.name, (32, 32), (0, 100)),
            threads=1,
        )
        assert (first.images != second.images).any()


def test_no_audit_reads_the_salt_of_another_before_it_is_whole(tmp_path, monkeypatch):
    store = AuditCache(tmp_path / "cache")
    monkeypatch.setattr(
        secrets, "token_bytes", lambda count: b"" if (tmp_path / "cache" / "salt").exists() else b"s" * count
    )
    assert store.salt() == store.salt() == b"s" * 32
    assert (tmp_path / "cache" / "salt").stat().st_mode & 0o777 == 0o600


def test_one_squashed_copy_among_images_of_the_right_shape_is_found(tmp_path, cache):
    root = make_folders(tmp_path / "data", copies=0, synthetic=40, holdout=60)
    for path in [path for side in ("real", "holdout", "synthetic") for path in (root / side).iterdir()]:
        write(path, np.asarray(Image.open(path))[:, 10:54])
    original = Image.open(sorted((root / "real").iterdir())[0])
    original.resize((64, 64), Image.Resampling.BICUBIC).save(root / "synthetic" / "copy.png")
    run(root, tmp_path / "report", cache, holdout=root / "holdout")
    assert "copy.png" in (tmp_path / "report" / "drop.txt").read_text().split()


def test_settings_reach_the_summary(tmp_path, folders, cache):
    found = run(folders, tmp_path / "report", cache, exclude=["x*"])
    assert found["settings"]["audit"]["exclude"] == ["x*"]
    assert QUICK["compared_at"] == found["data"]["compared_at"]


def test_a_de_identified_report_quotes_no_name_of_a_file(tmp_path, folders, cache):
    (folders / "synthetic" / "doe_john.png").write_bytes(b"")
    (folders / "real" / "doe_jane.png").symlink_to("doe_jim.png")
    (folders / "holdout" / "doe.xyz").write_bytes(b"\0\1")
    run(folders, tmp_path / "report", cache, holdout=folders / "holdout", de_identified=True)
    for path in (path for path in (tmp_path / "report").rglob("*") if path.is_file()):
        text = (pdf_text(path) if path.suffix == ".pdf" else path.read_text(encoding="utf-8")).lower()
        assert not [name for name in ("doe_", "doe.") if name in text]
    assert "1 of 25 training files" in (tmp_path / "report" / "index.html").read_text()
