"""Which images show the scan of another subject, by constructed evidence."""

import numpy as np
import pytest

from deepssim.audit.examination import _Evidence, _findings
from deepssim.audit.same_scans import SameScans, find_same_scans, same_scan_findings
from deepssim.audit.sides import Side, Sides
from deepssim.audit.volume_engine import VOLUME_ENGINE
from deepssim.config.audit import AuditConfig
from deepssim.datasets.subjects import hash_named
from deepssim.detection.search import Found
from deepssim.images.dicom import Patient, hash_patient
from deepssim.images.packs import ImagePack
from deepssim.registration.proof import CUES
from deepssim.registration.volume_proof import VOLUME_CUES

IMAGES, STRANGE = 60, 7
SCALE = 0.3  # of the exponential tail, as of chest X-rays
# Median, and what 0.2 of all images reach.
USUAL = SCALE * np.log(2), SCALE * np.log(IMAGES / 0.2)


def found(**strange):
    """Return evidence of unrelated images, the similarities of one of which are so many times as far above the median."""
    # Quantiles instead of random numbers: all images but the strange one are below what is unusual.
    tail = -SCALE * np.log(1 - (np.arange(IMAGES) + 0.5) / IMAGES)
    random = np.random.default_rng(0)
    tails = np.stack([random.permutation(tail) for _ in CUES[2:]], axis=1)
    tails[STRANGE] = USUAL[0]
    for name, times in strange.items():
        tails[STRANGE, CUES[2:].index(name.replace("_", " "))] = USUAL[0] + times * (USUAL[1] - USUAL[0])
    cues = np.concatenate([np.full((IMAGES, 2), 6.0), 1 - np.exp(-tails)], axis=1)[:, None]
    ones = np.ones((IMAGES, 1))
    return Found(np.zeros((IMAGES, 1), np.int64), cues.astype(np.float32), ones.astype(np.float32), ones > 0)


@pytest.mark.parametrize(
    ("strange", "proved"),
    [
        ({}, []),
        ({"pattern_in_place": 1.3}, []),
        ({"SSIM_registered": 1.3}, []),
        ({"pattern_in_place": 1.3, "SSIM_registered": 1.3}, [STRANGE]),
        ({"pattern_in_place": 1.7}, [STRANGE]),
        ({"SSIM_registered": 1.7}, [STRANGE]),
    ],
)
def test_one_similarity_far_above_all_others_proves_as_much_as_two(strange, proved):
    """Stripes leave nothing but the pattern of a scan, and saturation nothing but its SSIM."""
    assert np.flatnonzero(find_same_scans(found(**strange)).proved).tolist() == proved


def test_suspected_pairs_hide_copies_where_they_teach_what_is_usual():
    scans = SameScans(np.array([True, False, False]), np.array([False, True, False]), np.zeros(3, np.int64))
    keys = ["a", "b", "c"]
    for hides in (False, True):
        proved, suspected = same_scan_findings(scans, "training images", keys, keys, calibrates=False, hides=hides)
        assert (proved.qualifies, proved.hides) == (False, False)  # these were left out
        assert (suspected.qualifies, suspected.hides) == (hides, hides)


@pytest.mark.parametrize(
    ("suspected", "subjects", "settings", "hides"),
    [
        (3, ["0.png", "1.png"], {}, True),
        (3, ["v.nii", "v.nii"], {}, True),  # several slices of one file, other files of the same patient
        (1, ["0.png", "1.png"], {}, False),
        (3, [hash_patient(Patient(name, ""), b"salt") for name in "12"], {}, False),  # recorded in the files
        (3, ["subject-1/a.png", "subject-2/a.png"], {}, True),  # only names
        (3, [hash_named(name, b"salt") for name in "12"], {}, True),  # in metadata, which nobody has vouched for
        (3, ["p1", "p2"], {"subject_pattern": "(p.)"}, False),
        (3, ["p1", "p2"], {"subjects": "table.csv"}, False),
    ],
)
def test_unnamed_patients_hide_copies_where_many_images_share_details(suspected, subjects, settings, hides):
    none = np.zeros(20, bool)
    scans = SameScans(none, np.arange(20) < suspected, np.zeros(20, np.int64))
    pack = ImagePack(np.zeros((20, 8, 8), np.uint8), [str(number) for number in range(20)])
    nothing = Found(*(np.zeros((20, 0)) for _ in range(4)))
    side = Side(pack, pack.keys, subjects * 10, None)
    evidence = _Evidence((nothing, scans), None, nothing, None, None, None)
    found = _findings(Sides(side, side, None), evidence, none, AuditConfig(**settings))
    assert [item.hides for item in found] == [hides]


def scans(best, second, *, proved=True):
    """Return evidence of whole scans whose two best partners have such correlations, and all else in common as unrelated scans have."""
    cues = np.full((len(best), 2, len(VOLUME_CUES)), 0.5, np.float32)
    cues[..., VOLUME_CUES.index("correlation registered")] = np.stack([best, second], axis=1)
    partners = np.tile(np.array([[0, 1]]), (len(best), 1))
    return Found(partners, cues, np.ones(partners.shape, np.float32), np.full(partners.shape, proved))


UNRELATED = np.random.default_rng(0).uniform(0.3, 0.36, IMAGES)


@pytest.mark.parametrize(
    ("best", "second", "expected"),
    [
        (UNRELATED + 0.05, UNRELATED, 0),
        (np.full(IMAGES, 0.96), UNRELATED, IMAGES),  # another visit of the same patient
        (np.full(IMAGES, 0.96), np.full(IMAGES, 0.95), IMAGES),  # and one more visit
        (np.full(IMAGES, 0.65), UNRELATED, IMAGES),  # another contrast of the same patient: nothing else comes near
        (UNRELATED + np.where(np.arange(IMAGES) < 5, 0.4, 0.05), UNRELATED, 5),
    ],
)
def test_whole_scans_of_one_patient_stand_out_by_their_details(best, second, expected):
    """As patients who are not named they would teach the audit that unrelated scans have as much in common as copies."""
    suspicious = find_same_scans(scans(best, second), VOLUME_ENGINE).suspicious
    assert suspicious.sum() == expected
    assert suspicious[:expected].all()


def test_scans_that_were_not_registered_are_not_suspected():
    assert not find_same_scans(scans(np.full(IMAGES, 0.96), UNRELATED, proved=False), VOLUME_ENGINE).suspicious.any()
    few = find_same_scans(scans(np.full(3, 0.6), np.full(3, 0.3)), VOLUME_ENGINE)  # too few to say what is usual
    assert not few.suspicious.any()
