"""Benchmarks of the same patient at another visit: what they count is right on scores and patients whose answer is known."""

import numpy as np
import pytest

from benchmarks.reidentification import n_way_recall, pair_cues, rank
from benchmarks.reidentification_data import MOST_IMAGES, Patients, at_visit, divided, virtual_patients
from benchmarks.same_patient import RATES, audits, table
from deepssim.config.dataset import VirtualPatientsConfig
from deepssim.datasets.virtual_patients import make_patient
from deepssim.images.packs import ImagePack
from tests.audit.folders import drawing

SUBJECTS = [f"p{number // 3}" for number in range(90)]


def scores_of(subjects, signal, seed=0):
    """Return symmetric noise, higher by `signal` for pairs of one patient."""
    random, codes = np.random.default_rng(seed), np.unique(subjects, return_inverse=True)[1]
    noise = random.normal(size=(len(codes), len(codes)))
    return noise + noise.T + signal * (codes[:, None] == codes)


def patients_of(counts):
    subjects = [f"p{number}" for number, count in enumerate(counts) for _ in range(count)]
    random = np.random.default_rng(0)
    pack = ImagePack(np.stack([drawing(random, 64) for _ in subjects]), [f"i{row}" for row in range(len(subjects))])
    return Patients(pack, subjects)


def test_a_perfect_score_recognises_everybody():
    found = rank(scores_of(SUBJECTS, 100), SUBJECTS, 0)
    assert found.auroc == (1, 1, 1)
    assert found.precision[0] == 1
    assert found.false_positives[0] == 0
    assert [part[0] for part in found.recalls] == [1, 1]


def test_a_score_that_knows_nothing_guesses():
    found = rank(scores_of(SUBJECTS, 0), SUBJECTS, 0)
    low, high = found.auroc[1:]
    assert low < 0.5 < high
    assert found.false_positives[0] > 0.8
    assert found.recalls[0][0] == pytest.approx(1 / 20, abs=0.03)


def test_recall_grows_with_known_images_and_falls_with_patients():
    scores = scores_of(SUBJECTS, 3)
    values = {
        setting: n_way_recall(scores, SUBJECTS, *setting, episodes=1000, seed=0)[0].mean()
        for setting in ((5, 1), (20, 1), (20, 2))
    }
    assert values[5, 1] > values[20, 1]
    assert values[20, 2] > values[20, 1]
    assert n_way_recall(scores, SUBJECTS, 20, 3, episodes=1, seed=0) is None  # nobody has four images
    assert n_way_recall(scores, SUBJECTS, 31, 1, episodes=1, seed=0) is None  # there are thirty patients


def test_patients_are_apart_and_few_images_of_each_are_tested():
    train, test = divided(patients_of([11, 5, 3, 2, 2, 2, *[1] * 8]), 0)
    assert not {*train.subjects} & {*test.subjects}
    counts = {subject: test.subjects.count(subject) for subject in test.subjects}
    assert sum(count > 1 for count in counts.values()) == sum(count == 1 for count in counts.values()) == 3
    assert max(counts.values()) <= MOST_IMAGES


def test_cues_of_pairs_are_those_of_a_proof():
    patients = patients_of([1, 1, 1])
    pack = ImagePack(np.concatenate([patients.pack.images, patients.pack.images[:1]]), ["a", "b", "c", "a again"])
    cues = pair_cues(pack, 0)
    assert cues.shape[:2] == (4, 4)
    np.testing.assert_array_equal(cues, cues.transpose(1, 0, 2))
    assert cues[0, 3, 2:].min() > 0.99  # the same image
    assert cues[0, 1, 3] < 0.7


def test_a_virtual_patient_looks_alike_at_each_visit():
    patient = make_patient(0, VirtualPatientsConfig(), 0)
    again, z_mm = at_visit(patient, 2)
    assert again.name == patient.name
    assert z_mm != at_visit(patient, 1)[1]
    assert again.ventricles > patient.ventricles
    found = virtual_patients(2, 2)
    assert found.subjects == ["patient-000"] * 2 + ["patient-001"] * 2
    images = found.pack.images.reshape(4, -1).astype(float)
    correlation = np.corrcoef(images)
    assert 0.8 < correlation[0, 1] < 1
    assert correlation[0, 1] > correlation[0, 2]


def test_the_table_of_same_patients_has_a_row_for_each_rate(monkeypatch):
    monkeypatch.setattr("benchmarks.same_patient.CONTROLS", 2)
    found = audits(patients_of([2] * 10), 0, 1)
    rows = table("drawings", [found, found])
    assert [row.split(" | ")[1] for row in rows] == [f"{100 * rate:g} %" for rate in RATES]
    assert all(row.count("; 0.0 to 0.0 %") >= 1 for row in rows)  # drawings of one patient have nothing in common
