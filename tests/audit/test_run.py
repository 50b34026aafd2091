"""The audit from folders to files, as a user calls it."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import deepssim
from deepssim.audit.calibration import OTHER_SUBJECTS
from deepssim.audit.engine import PATTERNS
from deepssim.audit.examination import Verdict
from deepssim.audit.summary_schema import AuditSummary
from deepssim.cli import main
from deepssim.config.generative import VaeConfig
from deepssim.errors import DataError
from deepssim.registration.proof import CUES
from tests.audit.folders import drawing, gather, make_folders, texture, write
from tests.audit.test_summary_pdf import pdf_text

QUICK = {"compared_at": 64, "controls": 1, "gallery": 3, "borderline": 4, "bootstrap": 50}
PATTERN = r"^([a-z]\d+)"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Most tests judge the same images, which are then compared once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def folders(tmp_path):
    return make_folders(tmp_path / "data")


def kept(path):
    """Return the names that keep.txt or drop.txt lists."""
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def run(root, out, cache=None, **settings):
    chosen = QUICK | {"subject_pattern": PATTERN, "cache": cache} | settings
    found = deepssim.audit(root / "real", root / "synthetic", out, **chosen)
    AuditSummary.model_validate_json(json.dumps(found))  # whatever was audited, the summary has its published form
    return found


def test_planted_copies_are_found_and_listed(tmp_path, folders, cache):
    found = run(folders, tmp_path / "report", cache, holdout=folders / "holdout")
    assert found["verdict"]["result"] == Verdict.COPIES
    assert found["figures"]["identical"] == 3
    assert found["figures"]["flagged_share"]["count"] >= 3
    assert found["figures"]["subjects_copied"]["total"] == 12
    out = tmp_path / "report"
    assert sorted(path.name for path in out.iterdir()) == [
        "drop.txt", "files.csv", "index.html", "keep.txt", "pairs.csv", "provenance", "summary.json", "summary.pdf",
    ]  # fmt: skip
    assert json.loads((out / "summary.json").read_text()) == json.loads(json.dumps(found))
    drop, keep = (kept(out / name) for name in ("drop.txt", "keep.txt"))
    assert {"s00.png", "s01.png", "s02.png"} <= set(drop)
    assert sorted(drop + keep) == sorted(path.name for path in (folders / "synthetic").iterdir())
    pairs = pd.read_csv(out / "pairs.csv").set_index("synthetic")
    assert pairs.loc["s01.png", ["real", "subject", "kind"]].tolist() == ["p00_1.png", "p00", "identical"]
    assert set(pairs.index[:3]) == {"s00.png", "s01.png", "s02.png"}
    assert list(pairs.columns[5:]) == [*CUES, "standardised_excess", "memorization_index"]
    assert pairs["score"].is_monotonic_decreasing
    controls = {row["distortion"]: row for row in found["controls"]["positive"]}
    assert controls["none"]["found"]["value"] == controls["none"]["traced"]["value"] == 1
    assert found["controls"]["negative"]["false_alarms"]["total"] == 20
    assert found["controls"]["protocol"] == "custom"  # one copy of each distortion instead of 60
    assert found["encoder"] == {"source": PATTERNS, "sha256": "", "training_seconds": None}


def test_a_second_audit_does_only_what_is_new(tmp_path, folders, caplog):
    caplog.set_level("INFO", logger="deepssim")
    first = run(folders, tmp_path / "a", holdout=folders / "holdout")
    shutil.copy(folders / "synthetic" / "s20.png", folders / "synthetic" / "again.png")
    write(folders / "synthetic" / "new.png", drawing(np.random.default_rng(9)))
    caplog.clear()
    second = run(folders, tmp_path / "b", holdout=folders / "holdout")
    for what, done in (("files", "decoded"), ("images", "embedded"), ("images", "compared")):
        assert f"32 {what}: 1 {done}, 30 known from earlier audits, 1 equal to others" in caplog.text
    for nothing in ("24 files: 0 decoded", "20 images: 0 compared", "24 images: 0 compared", "50 images: 0 compared"):
        assert nothing in caplog.text
    assert "step 7 of 9: comparing 32 synthetic images with training and held-out images" in caplog.text
    assert "step 8 of 9: comparing 24 training images with the training images of other visits" in caplog.text
    assert "step 9 of 9: writing the report" in caplog.text
    assert second["figures"]["flagged_share"]["total"] == 32
    assert second["rule"]["score_above"] == first["rule"]["score_above"]
    again = run(folders, tmp_path / "c", holdout=folders / "holdout")
    afresh = run(folders, tmp_path / "d", tmp_path / "another cache", holdout=folders / "holdout")
    assert timeless(second) == timeless(again) == timeless(afresh)


def timeless(found):
    return found | {"identity": found["identity"] | {"date": None}}


def test_any_number_of_threads_finds_the_same(tmp_path, folders):
    found = [
        run(folders, tmp_path / f"report {threads}", tmp_path / f"cache {threads}", holdout=folders / "holdout", threads=threads)
        for threads in (1, 2)
    ]  # fmt: skip
    assert timeless(found[0]) == timeless(found[1])
    tables = [(tmp_path / f"report {threads}" / "pairs.csv").read_text() for threads in (1, 2)]
    assert tables[0] == tables[1]


def test_slices_of_three_people_prove_nothing(tmp_path, cache, real_data):
    """Training, holdout and synthetic images are of one person each: slices are many, people are not."""
    for side, person in (("real", "07"), ("holdout", "19"), ("synthetic", "26")):
        (tmp_path / side).mkdir()
        shutil.copy(real_data / "mri_volumes" / f"patient{person}_T1.nii.gz", tmp_path / side)
    found = run(tmp_path, tmp_path / "report", cache, holdout=tmp_path / "holdout", subject_pattern=None, unit="image")
    assert found["verdict"]["result"] == Verdict.CANNOT_TELL
    assert "1 held-out file" in found["verdict"]["sentence"]
    assert "50.0 % at best" in found["verdict"]["sentence"]
    assert found["figures"]["flagged_share"]["low"] is None  # no interval from slices of one scan
    assert found["figures"]["score_confirms_above"] is None


def test_the_command_says_that_it_cannot_tell(tmp_path, folders, cache):
    (folders / "synthetic").rename(folders / "other")
    write(folders / "synthetic" / "s.png", drawing(np.random.default_rng(5)))
    config = tmp_path / "own.yaml"
    config.write_text(json.dumps({"audit": QUICK}))
    arguments = ["audit", str(folders / "real"), str(folders / "synthetic"), "--out", str(tmp_path / "report")]
    arguments += ["--holdout", str(folders / "holdout"), "--config", str(config), "--cache", str(cache)]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--subject-pattern", PATTERN])
    assert stop.value.code == 4


def test_nothing_copied_is_said_with_its_limit(tmp_path, cache):
    """Textures are less like any training image than the pictures of other patients are."""
    root = make_folders(tmp_path / "data", synthetic=0, holdout=60)
    random = np.random.default_rng(3)
    for number in range(30):
        write(root / "synthetic" / f"s{number:02d}.png", texture(random))
    found = run(root, tmp_path / "report", cache, holdout=root / "holdout", false_positive_rate=0.02)
    assert found["verdict"]["result"] == Verdict.NONE
    assert (found["figures"]["identical"], found["figures"]["flagged_share"]["count"]) == (0, 0)
    limit = 1 - 0.05 ** (1 / 30)  # at this rate, none of 30 is found once in twenty times
    assert found["figures"]["synthetic_that_copy"]["high"] == pytest.approx(limit)
    assert "30" in found["verdict"]["sentence"]
    assert f"{100 * limit:.1f} %" in found["verdict"]["sentence"]


def test_as_many_alarms_as_by_chance_are_no_copies(tmp_path, cache):
    root = make_folders(tmp_path / "data", copies=0, holdout=60)
    found = run(root, tmp_path / "report", cache, holdout=root / "holdout", false_positive_rate=0.02)
    flagged = found["figures"]["flagged_share"]["count"]
    assert found["figures"]["identical"] == 0
    assert found["verdict"]["result"] == (Verdict.CANDIDATES if flagged else Verdict.NONE)
    assert found["figures"]["synthetic_that_copy"]["low"] == 0
    assert found["figures"]["synthetic_that_copy"]["high"] > 0.05


def test_without_a_holdout_training_images_of_other_subjects_set_the_limit(tmp_path, folders, cache):
    found = run(folders, tmp_path / "report", cache)
    assert found["rule"]["calibrated_on"] == found["controls"]["negative"]["what"] == OTHER_SUBJECTS
    assert (found["rule"]["images"], found["rule"]["subjects"]) == (24, 12)
    assert found["rule"]["false_alarms_promised"] == pytest.approx(1 / 13)
    assert found["membership"] == {}
    assert "held-out" in (tmp_path / "report" / "index.html").read_text()
    assert found["figures"]["identical"] == 3
    assert found["verdict"]["result"] == Verdict.COPIES


def test_one_subject_without_a_holdout_tells_nothing_unless_a_copy_is_identical(tmp_path):
    root = make_folders(tmp_path / "data", real=8, synthetic=6, holdout=0, copies=0)
    image = np.asarray(Image.open(root / "real" / "p03_0.png"))
    gather(root / "real")
    found = run(root, tmp_path / "a", tmp_path / "cache", subject_pattern=None)
    assert found["verdict"]["result"] == Verdict.CANNOT_TELL
    assert "no images of other patients" in found["verdict"]["sentence"]
    assert found["verdict"]["probability_by_chance"] is None
    assert (found["rule"]["score_above"], found["rule"]["subjects"]) == (None, 0)
    write(root / "synthetic" / "copy.png", image)
    found = run(root, tmp_path / "b", tmp_path / "cache", subject_pattern=None)
    assert found["verdict"]["result"] == Verdict.COPIES
    assert (tmp_path / "b" / "drop.txt").read_text() == "copy.png\n"


def test_all_training_images_among_the_synthetic_ones(tmp_path, folders, cache):
    shutil.rmtree(folders / "synthetic")
    shutil.copytree(folders / "real", folders / "synthetic")
    with Image.open(folders / "real" / "p00_0.png") as image:  # the same pixels, but not the same file
        image.save(folders / "synthetic" / "p00_0.png", compress_level=0)
    found = run(folders, tmp_path / "report", cache)
    assert found["figures"]["identical"] == 24
    assert found["figures"]["training_copied"]["value"] == found["figures"]["subjects_copied"]["value"] == 1
    assert kept(tmp_path / "report" / "keep.txt") == []


@pytest.mark.parametrize("holdout", [False, True])
def test_one_image_on_each_side(tmp_path, cache, holdout):
    root = make_folders(tmp_path / "data", real=1, synthetic=1, holdout=1, copies=0)
    more = {"holdout": root / "holdout"} if holdout else {}
    found = run(root, tmp_path / "report", cache, **more)
    assert found["figures"]["flagged_share"]["total"] == 1
    assert found["verdict"]["result"] != Verdict.COPIES
    assert (tmp_path / "report" / "index.html").stat().st_size > 10_000


def test_equal_names_in_different_folders_stay_apart(tmp_path, cache, random):
    for folder in ("a", "b"):
        write(tmp_path / "data" / "real" / folder / "x.png", drawing(random))
        write(tmp_path / "data" / "synthetic" / folder / "x.png", drawing(random))
    run(tmp_path / "data", tmp_path / "report", cache, subject_pattern="^(.)")
    assert sorted(kept(tmp_path / "report" / "keep.txt") + kept(tmp_path / "report" / "drop.txt")) == [
        "a/x.png",
        "b/x.png",
    ]


def test_constant_images_are_named(tmp_path, folders, cache):
    write(folders / "synthetic" / "flat.png", np.full((64, 64), 7, np.uint8))
    found = run(folders, tmp_path / "report", cache)
    assert found["data"]["synthetic"]["constant_and_not_judged"] == ["flat.png"]
    assert "flat.png" not in (tmp_path / "report" / "keep.txt").read_text()


def test_a_holdout_that_overlaps_qualifies_the_verdict(tmp_path, folders, cache):
    shutil.copy(folders / "real" / "p03_0.png", folders / "holdout" / "h90_0.png")
    shutil.copy(folders / "holdout" / "h00_0.png", folders / "holdout" / "p05_9.png")
    found = run(folders, tmp_path / "report", cache, holdout=folders / "holdout")
    assert sum("left out of the calibration" in text for text in found["verdict"]["reservations"]) == 2
    assert found["data"]["holdout"]["used"] == 20
    clean = run(make_folders(tmp_path / "clean"), tmp_path / "other", cache, holdout=tmp_path / "clean" / "holdout")
    assert found["rule"] == clean["rule"]  # the training image in the holdout did not set the limit
    for name in ("p03_8.png", "p04_8.png"):
        write(folders / "again" / name, drawing(np.random.default_rng(6)))
    everything = run(folders, tmp_path / "all", cache, holdout=folders / "again")
    assert any("no held-out image is left" in text for text in everything["verdict"]["reservations"])
    assert everything["rule"]["calibrated_on"] == OTHER_SUBJECTS


def test_the_generators_autoencoder_is_one_more_control(tmp_path, folders, cache):
    from deepssim.generative.autoencoder import build_autoencoder, save_autoencoder

    options = VaeConfig(channels=(8, 8), latent_channels=2, norm_groups=4)
    save_autoencoder(tmp_path / "vae.safetensors", build_autoencoder(options), options)
    found = run(folders, tmp_path / "report", cache, autoencoder=tmp_path / "vae.safetensors")
    control = found["controls"]["positive"][-1]
    assert control["distortion"] == "autoencoder"
    assert control["found"]["total"] == 1
    unchanged = found["controls"]["positive"][0]
    assert control["median_score"] < unchanged["median_score"]  # untrained, it leaves little of an image


def test_duplicated_training_images_are_named(tmp_path, folders, cache):
    shutil.copy(folders / "real" / "p03_0.png", folders / "real" / "p04_5.png")
    found = run(folders, tmp_path / "report", cache)
    duplicate = next(item for item in found["preflight"] if item["kind"] == "duplicates in the training set")
    assert duplicate["items"] == [["p03_0.png", "p04_5.png"]]


def test_nobody_is_named_in_a_de_identified_report(tmp_path, folders, cache):
    shutil.copy(folders / "real" / "p03_0.png", folders / "holdout" / "h90_0.png")
    found = run(folders, tmp_path / "report", cache, holdout=folders / "holdout", de_identified=True)
    names = [path.name for folder in ("real", "synthetic", "holdout") for path in (folders / folder).iterdir()]
    patients = {f">{name[:3]}<" for name in names} | {f",{name[:3]}," for name in names}
    written = [path for path in (tmp_path / "report").rglob("*") if path.is_file()]
    assert len(written) == 14
    for path in written:
        text = pdf_text(path) if path.suffix == ".pdf" else path.read_text()
        assert not [name for name in (*names, *patients, str(tmp_path), PATTERN) if name in text], path
    drop = (tmp_path / "report" / "drop.txt").read_text().split()
    assert len(drop) == found["figures"]["flagged_share"]["count"]
    assert all(len(name) == 64 for name in drop)  # checksums, by which the owner finds the files
    assert found["subjects"][0]["subject"].startswith("subject ")


def test_claims_that_no_audit_can_make_are_not_made(tmp_path, folders, cache):
    run(folders, tmp_path / "report", cache, holdout=folders / "holdout")
    for path in (tmp_path / "report").glob("*.*"):
        text = pdf_text(path) if path.suffix == ".pdf" else path.read_text()
        assert not {"private", "anonymous", "anonymized"} & set(text.lower().split())


def test_subjects_from_a_table(tmp_path, folders, cache):
    names = sorted(path.name for path in (folders / "real").iterdir())
    csv = tmp_path / "subjects.csv"
    pd.DataFrame({"image_path": names, "subject": [name[:3] for name in names]}).to_csv(csv, index=False)
    found = run(folders, tmp_path / "report", cache, subjects=csv, subject_pattern=None)
    assert found["data"]["real"]["subjects"] == 12
    pd.DataFrame({"image_path": names[1:], "subject": names[1:]}).to_csv(csv, index=False)
    with pytest.raises(DataError, match=r"names no subject for 1 of 24 images of .*real, first 'p00_0\.png'"):
        run(folders, tmp_path / "other", cache, subjects=csv)


def test_the_command_fails_above_a_rate(tmp_path, folders, cache, capsys):
    config = tmp_path / "own.yaml"
    config.write_text(json.dumps({"audit": QUICK}))
    arguments = [
        "audit", str(folders / "real"), str(folders / "synthetic"), "--holdout", str(folders / "holdout"),
        "--subject-pattern", PATTERN, "--out", str(tmp_path / "report"), "--config", str(config), "--cache", str(cache),
    ]  # fmt: skip
    main([*arguments, "--fail-above", "0.9", "--force"])
    assert "copies found" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--fail-above", "0.02", "--force"])
    assert stop.value.code == 3
    with pytest.raises(SystemExit):
        main([*arguments, "--fail-above", "2"])
    assert "argument --fail-above: 2 " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"real": "none"}, "none: is not a folder"),
        ({"synthetic": "empty"}, "empty: is empty; name a folder with images"),
        ({"--encoder": "none.safetensors"}, "none.safetensors"),
        ({"--subjects": "none.csv"}, "none.csv: does not exist"),
        ({"--subject-pattern": "x(y)"}, "no subject found by audit.subject_pattern"),
        ({"--false-positive-rate": "2"}, "audit.false_positive_rate is 2.0; it must be less than 1"),
    ],
)
def test_wrong_input_is_one_sentence(tmp_path, monkeypatch, capsys, change, message):
    monkeypatch.chdir(tmp_path)
    root = make_folders(tmp_path, real=4, synthetic=3, holdout=0)
    (tmp_path / "empty").mkdir()
    places = {"real": "real", "synthetic": "synthetic"} | change
    options = [part for name, value in places.items() if name.startswith("--") for part in (name, value)]
    with pytest.raises(SystemExit) as stop:
        main(["audit", places["real"], places["synthetic"], "--out", str(root / "report"), *options])
    assert stop.value.code == 1
    error = capsys.readouterr().err.splitlines()
    assert message in error[-1]
    assert not any("Traceback" in line for line in error)
    assert not (root / "report" / "index.html").exists()


def test_mixed_formats_and_sizes_are_brought_to_one(tmp_path, folders, cache, random):
    image = drawing(random, 48)
    write(folders / "synthetic" / "x.jpg", image[:40])
    Image.fromarray(image.astype(np.uint16) * 200).save(folders / "synthetic" / "x.tif")
    found = run(folders, tmp_path / "report", cache)
    assert found["data"]["synthetic"]["sizes"] == {"64x64": 30, "40x48": 1, "48x48": 1}
    assert found["data"]["compared_at"] == 64
