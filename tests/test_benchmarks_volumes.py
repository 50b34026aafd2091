"""The benchmark of copied volumes: what it counts is right, rivals find what they must, and a tiny run of it writes all tables."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from benchmarks import volumes
from benchmarks.copies_rivals import Part
from benchmarks.measure import Used
from benchmarks.volumes_data import (
    CHANGES,
    CONTROLS,
    FURTHER,
    OTHER_CONTRAST,
    OTHER_PATIENTS,
    OTHER_VISITS,
    Sizes,
    Trial,
    copies_of,
    originals,
    virtual_trial,
)
from benchmarks.volumes_people import people_table, read_people, trials
from benchmarks.volumes_registration import judge_by_registration
from benchmarks.volumes_rivals import RATES, Detector, Judged, decided, pooled_scores, vote_scores
from benchmarks.volumes_size import measure_size
from deepssim.audit.controls import choose_controls
from deepssim.audit.volume_engine import VOLUME_ENGINE
from deepssim.cli import _parser
from deepssim.images.nifti import read_volume
from deepssim.images.packs import ImagePack
from deepssim.images.volume_distort import VOLUME_DISTORTIONS
from tests.audit.folders import tiny_encoder
from tests.audit.scans import head

SIDE = 32


def part(volumes, name, subjects=None):
    keys = [f"{name}-{number}" for number in range(len(volumes))]
    return Part(ImagePack(np.asarray(volumes, np.uint8), keys), subjects or keys)


def heads(count, seed=0):
    random = np.random.default_rng(seed)
    found = [head(random, SIDE) for _ in range(count)]
    return np.stack([np.rint(255 * volume / volume.max()).astype(np.uint8) for volume in found])


def small_trial():
    """Four real scans, two copies of two changes each, two scans of others, two of the same patients, one in another contrast."""
    blank = np.zeros((4, 8, 8, 8))
    return Trial(
        part(blank, "real", list("abcd")),
        {name: part(blank[:2], name, ["a", "b"]) for name in ("flip left-right", FURTHER[0])},
        {
            OTHER_PATIENTS: part(blank[:2], "other", ["x", "y"]), OTHER_VISITS: part(blank[:2], "visit", ["c", "d"]),
            OTHER_CONTRAST: part(blank[:1], "contrast", ["c"]),
        },
        part(blank[:1], "learning"),
    )  # fmt: skip


def perfect(real, learning, judged, threads):
    """Call copies exactly the first four, of the right patients but for the last one."""
    called = np.arange(len(judged.subjects)) < 4
    partners = np.array([0, 1, 0, 0, 2, 2, 2, 3, 2])
    return Judged(called + 0.5, partners, [1.0, 1.0], [0.2, 0.2], np.stack([called, called]))


def test_summary_matches_hand_calculation(tmp_path):
    trial = small_trial()
    (tmp_path / "audit.json").write_text(json.dumps(volumes.judge(Detector("audit", "perfect", perfect), trial, 1)))
    found = list(volumes.results(trial, tmp_path))
    assert [item.title for item in found] == ["perfect"]
    row = volumes.summary(trial, found)[2].split(" | ")
    assert row[1] == "1 % (20.0 %)"
    assert row[2].startswith("4 of 4: 100.0 %")
    assert row[3].startswith("2 of 2: 100.0 %")  # specificity
    assert row[4].startswith("0 of 2: 0.0 %")
    assert row[5].startswith("0 of 1: 0.0 %")
    assert row[6:] == ["1.000", "75.0 % |"]
    rows = volumes.by_change(trial, found)[2:]
    assert [line.split(" | ")[0] for line in rows] == ["| flip left-right", f"| {FURTHER[0]} *"]
    assert all("2 of 2" in line for line in rows)


def test_published_results_are_rows_that_name_their_data():
    text = "\n".join(volumes.summary(small_trial(), []))
    assert "arXiv:2312.07273" in text
    assert "96.45 % | 85.59 %" in text
    assert "Medical Segmentation Decathlon" in text
    assert "arXiv:2602.10043" in text


def test_results_of_other_scans_are_not_shown(tmp_path, capsys):
    trial = small_trial()
    (tmp_path / "audit.json").write_text(json.dumps(volumes.judge(Detector("audit", "perfect", perfect), trial, 1)))
    other = replace(trial, real=part(np.ones((4, 8, 8, 8)), "real", list("abcd")))
    assert list(volumes.results(other, tmp_path)) == []
    assert "audit.json: nothing of these scans" in capsys.readouterr().err


def test_a_detector_must_judge_every_scan():
    def short(real, learning, judged, threads):
        return decided(np.zeros(len(real.subjects)), real.subjects, (np.zeros(1), np.zeros(1, int)))

    with pytest.raises(ValueError, match="short judged 1 of 9 scans"):
        volumes.judge(Detector("short", "short", short), small_trial(), 1)


def test_limits_are_those_of_other_patients():
    own = np.arange(40) / 40
    found = decided(own, [f"p{number}" for number in range(40)], (np.array([0.96, 0.98]), np.zeros(2, int)))
    # 40 patients promise 1 in 41 at best; at 5 % one of them may be above the limit, as the new one may.
    assert found.promised == [1 / 41, RATES[1]]
    assert found.limits == [39 / 40, 38 / 40]
    assert found.called.tolist() == [[False, True], [True, True]]


def test_other_scans_are_copied_than_those_that_teach_the_audit():
    real = part(np.zeros((40, 4, 4, 4)), "real")
    taught = {real.subjects[row] for row in choose_controls(real.subjects, CONTROLS, 0)}
    chosen = originals(real, 20)
    assert len(set(chosen.subjects)) == 20
    assert not taught & set(chosen.subjects)


def test_every_change_changes_but_the_first():
    chosen, others = part(heads(2), "real"), part(heads(2, 1), "other").pack
    made = copies_of(chosen, others)
    assert list(made) == list(CHANGES)
    assert not set(FURTHER) & set(VOLUME_DISTORTIONS)
    np.testing.assert_array_equal(made["none"].pack.images, chosen.pack.images)
    for name, item in made.items():
        assert item.subjects == chosen.subjects
        assert name == "none" or (item.pack.images != chosen.pack.images).any(axis=(1, 2, 3)).all()


def test_pooled_embeddings_do_not_depend_on_the_order_of_axes_and_slices():
    random = np.random.default_rng(0)
    real = random.normal(size=(5, 3, 8, 16))
    real /= np.linalg.norm(real, axis=-1, keepdims=True)
    turned = real[:, [2, 0, 1]][:, :, ::-1]
    np.testing.assert_allclose(np.diag(pooled_scores(real, turned)), 1, atol=1e-6)
    assert pooled_scores(real, turned).argmax(axis=0).tolist() == list(range(5))


def test_slices_vote_for_the_scan_of_the_nearest_slices():
    random = np.random.default_rng(0)
    real = random.normal(size=(4, 3, 8, 16))
    real /= np.linalg.norm(real, axis=-1, keepdims=True)
    mixed = real[:1].copy()
    mixed[0, 0] = real[2, 0]  # a third of the slices are of another scan
    everything = np.ones((4, 1), bool)
    scores = vote_scores(real, mixed, everything)[:, 0]
    assert scores.argmax() == 0
    assert scores[0] == pytest.approx(2 / 3, abs=0.03)
    assert scores[2] == pytest.approx(1 / 3, abs=0.03)
    everything[0] = False
    assert vote_scores(real, mixed, everything)[:, 0].argmax() == 2


def test_registration_finds_rotated_and_mirrored_copies(tmp_path):
    trial = virtual_trial(Sizes(3, 1, 1, 1, 1, 1, SIDE), tmp_path)
    copies = [trial.copies[name] for name in ("none", "rotation 12°", "flip left-right")]
    scans = [item.pack.images for item in (*copies, trial.others[OTHER_PATIENTS])]
    judged = Part(ImagePack(np.concatenate(scans), list("abcd")), [*copies[0].subjects * 3, "x"])
    for directly in (False, True):
        found = judge_by_registration(trial.real, trial.learning, judged, 1, work=tmp_path, directly=directly)
        assert [trial.real.subjects[row] for row in found.partners[:3]] == judged.subjects[:3]
        assert found.scores[:3].min() > found.scores[3]
        assert found.scores[0] > 0.99


def test_each_person_stands_for_others_once(tmp_path):
    names = [f"{person}_{contrast}" for person in ("a", "b", "c") for contrast in ("T1", "T2", "FLAIR")]
    for name, volume in zip(names, heads(9), strict=True):
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / f"{name}.nii.gz")
    people = read_people(tmp_path, SIDE)
    assert people.pack.images.shape == (9, SIDE, SIDE, SIDE)
    made = list(trials(people, part(heads(1), "learning"), ["none", "noise 0.05"]))
    assert len(made) == 3
    for trial, person in zip(made, "abc", strict=True):
        assert set(trial.others[OTHER_PATIENTS].subjects) == {person}
        assert person not in trial.real.subjects
        assert [key.split("_")[1] for key in trial.real.pack.keys] == ["FLAIR", "T1"] * 2
        assert trial.others[OTHER_CONTRAST].pack.keys == [f"{other}_T2" for other in ("a", "b", "c") if other != person]
        assert [len(item.subjects) for item in trial.copies.values()] == [2, 2]

    def all_copies(real, learning, judged, threads):
        rows = np.arange(len(judged.subjects))
        return Judged(-rows.astype(float), rows * 0, [0, 0], [0, 0], np.ones((2, len(rows)), bool))

    line = people_table(people, made[0].learning, [Detector("all", "all", all_copies)], 1)[2]
    copies = f"{6 * len(CHANGES)} of {6 * len(CHANGES)}"
    assert line.split(" | ")[1:] == [copies, "9 of 9", "6 of 6", f"{copies} |"]


def test_missing_scans_of_people_are_named(tmp_path):
    with pytest.raises(SystemExit, match=r"holds no files \*.nii.gz"):
        read_people(tmp_path)


FEW = ("none", "flip left-right", FURTHER[-1])


def test_scans_of_the_size_that_is_measured_are_written_once_and_audited_with_an_encoder(tmp_path, monkeypatch):
    commands = []

    def run(command):
        commands.append(_parser().parse_args(command[3:]))
        return Used(700.4, 1300.2, 2.04, 0)

    monkeypatch.setattr("benchmarks.volumes_size.run_measured", run)
    text = measure_size(tmp_path, (2, 5), (16, 20, 16), 2)
    assert text == (
        "2 real against 5 synthetic scans of 16x20x16 voxels (.nii.gz) with a given encoder, 2 threads, nothing cached: 700 seconds, "
        "1,300 seconds of processor time, at most 2.0 GB of memory."
    )
    given = commands[0]
    files = [sorted(Path(folder).glob("*.nii.gz")) for folder in (given.real, given.synthetic)]
    assert [len(paths) for paths in files] == [2, 5]
    assert read_volume(files[0][0]).values.shape[:3] == (16, 20, 16)
    assert Path(given.encoder).exists()
    written = files[1][0].stat().st_mtime_ns
    measure_size(tmp_path, (2, 5), (16, 20, 16), 2)
    assert files[1][0].stat().st_mtime_ns == written
    assert commands[0].cache != commands[1].cache


def test_a_size_whose_audit_fails_is_no_measurement(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.volumes_size.run_measured", lambda command: Used(1.0, 1.0, 1.0, 1))
    with pytest.raises(SystemExit, match="the audit ended with status 1"):
        measure_size(tmp_path, (1, 1), (16, 20, 16), 1)


def test_a_tiny_run_writes_all_tables(tmp_path, monkeypatch):
    few = replace(VOLUME_ENGINE, distortions={name: VOLUME_DISTORTIONS[name] for name in FEW[:2]})
    monkeypatch.setattr("benchmarks.volumes_audit.VOLUME_ENGINE", few)
    monkeypatch.setattr("benchmarks.volumes_rivals.trained_encoder", lambda *given: tiny_encoder(given[2] / "e"))
    monkeypatch.setattr("benchmarks.volumes_data.copies_of.__defaults__", (FEW,))
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- volumes -->\n<!-- end of volumes -->\nafter\n")
    given = ["volumes", "--threads", "1", "--work", str(tmp_path / "work"), "--out", str(page)]
    monkeypatch.setattr(sys, "argv", given)
    volumes.main(Sizes(5, 2, 2, 1, 1, 2, SIDE))
    text = page.read_text()
    assert (text[:6], text[-6:]) == ("before", "after\n")
    for title in ("deepssim audit", "pooled slice embeddings", "votes of slice embeddings", "registration to MNI152"):
        assert text.count(f"| {title}") >= len(RATES)
    assert "| none | 2 of 2: 100.0 %" in text
    kept = json.loads((tmp_path / "work" / "audit.json").read_text())
    assert len(kept["scores"]) == 2 * len(FEW) + 2 + 1 + 1
