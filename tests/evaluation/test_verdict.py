"""The verdict of the workflow: what it rests on, and its sentences word for word."""

import numpy as np
import pytest

from deepssim.evaluation.intervals import share_interval
from deepssim.evaluation.verdict import HELD_OUT, OTHER_SUBJECTS, Judged, Verdict, judge, unverified
from tests.evaluation.test_summary import copy_rates

FOUND = {"autoencoder": share_interval(20, 20), "soft": share_interval(19, 20), "JPEG 70": share_interval(20, 20)}


def images(count, highest, *, copies=0, each=1, kind="synthetic images", seed=0):
    """Images of `count / each` subjects: some copies of SSIM 0.95, the others up to `highest`."""
    scores = np.random.default_rng(seed).uniform(highest - 0.3, highest, count)
    scores[:copies] = 0.95
    return Judged(scores, [f"{kind}-{n // each}" for n in range(count)], kind)


def held_out(count=40, highest=0.7, **more):
    return images(count, highest, kind=HELD_OUT, seed=1, **more)


def decide(synthetic, controls, planted=FOUND):
    return judge(synthetic, controls, planted, encoder=True, seed=0)


def test_no_copies():
    found = decide(images(100, 0.7), held_out())
    assert found.verdict is Verdict.NONE
    assert found.sentence == (
        "No copies found: 0 of 100 synthetic images copy a training image (copy rate 0 %, 95 % interval by subject 0 % to 3.0 %), by an "
        "SSIM above 0.85 as they are or after registration; of 40 real images that the model was not trained on, which cannot be "
        "copies, 0 reach it (0 %)."
    )
    assert found.reservations[0].startswith("Only copies of a whole image are sought")
    assert found.reservations[1] == (
        "Of the copies planted as controls (changed mildly, then misaligned at random), 59 of 60 were found."
    )


def test_the_interval_counts_subjects():
    found = decide(images(100, 0.7, each=10), held_out())
    assert "interval by subject 0 % to 25.9 %" in found.sentence  # 1 - 0.05 ** (1 / 10)


def test_copies():
    found = decide(images(100, 0.7, copies=12), held_out())
    assert found.verdict is Verdict.COPIES
    assert found.sentence == (
        "Copies found: 12 of 100 synthetic images copy a training image (copy rate 12.0 %, 95 % interval by subject 6.4 % to 20.0 %), by "
        "an SSIM above 0.85 as they are or after registration; of 40 real images that the model was not trained on, which cannot be "
        "copies, 0 reach it (0 %)."
    )


def test_a_single_copy_is_found_where_no_control_reaches_the_definition():
    assert decide(images(100, 0.7, copies=1), held_out()).verdict is Verdict.COPIES


def test_copies_are_found_without_anything_to_compare_with_but_with_a_reservation():
    found = decide(images(100, 0.7, copies=12), None, {})
    assert found.verdict is Verdict.COPIES
    assert found.reservations[1].startswith("There are no images of other subjects to compare with")


def test_as_many_among_controls_explain_the_number():
    found = decide(images(100, 0.7, copies=5), held_out(copies=2))
    assert found.verdict is Verdict.CANNOT_TELL
    assert found.sentence.startswith("Cannot tell: 5 of 100 synthetic images copy a training image (copy rate 5.0 %")
    assert found.sentence.endswith("2 reach it (5.0 %), so that chance resemblance explains the number.")


def test_far_more_than_among_controls_are_copies():
    found = decide(images(100, 0.7, copies=60), held_out(copies=2))
    assert found.verdict is Verdict.COPIES
    assert 0 < found.above_controls.low < found.above_controls.value < 0.6


@pytest.mark.parametrize(
    ("synthetic", "controls", "planted", "doubt"),
    [
        (images(100, 0.7), None, FOUND, "there are no images of other subjects that would show what SSIM is usual."),
        (
            images(100, 0.7),
            held_out(40, each=10),
            FOUND,
            "the real images that the model was not trained on are of 4 subjects, and at least 20 are needed to show what SSIM is usual.",
        ),
        (
            images(100, 0.84),
            held_out(40, 0.5),
            FOUND,
            "synthetic images resemble training images more than real images that the model was not trained on do (p = ",
        ),
        (
            images(100, 0.7),
            held_out(),
            {},
            "no copies were planted to see whether they would be found (verification.controls is 0).",
        ),
        (
            images(100, 0.7),
            held_out(),
            FOUND | {"autoencoder": share_interval(3, 20)},
            "of training images that went through the model's own autoencoder, 3 of 20 were found, so that its copies may be missed.",
        ),
        (
            images(100, 0.7),
            held_out(),
            FOUND | {"soft": share_interval(0, 20), "JPEG 70": share_interval(15, 20)},
            "of the other copies that were planted as controls, only 15 of 40 were found.",
        ),
    ],
)
def test_nothing_found_clears_nothing_where_copies_could_be_missed(synthetic, controls, planted, doubt):
    found = decide(synthetic, controls, planted)
    assert found.verdict is Verdict.CANNOT_TELL
    start = "Cannot tell: 0 of 100 synthetic images copy a training image (copy rate 0 %, 95 % interval by subject 0 % to 3.0 %)"
    assert found.sentence.startswith(start)
    assert f"That does not clear the model: {doubt}" in found.sentence


def test_a_single_imprecise_copy_clears_nothing():
    """One of 100 images is below the definition, but far above all images that cannot be copies."""
    synthetic = images(100, 0.5)
    synthetic.scores[0] = 0.84
    found = decide(synthetic, held_out(200, 0.5))
    assert found.chance > 0.1
    assert found.verdict is Verdict.CANNOT_TELL
    assert found.sentence.endswith(
        "That does not clear the model: 1 of them resembles a training image more than any of so many real images that the model was "
        "not trained on would by chance, as an imprecise copy would."
    )


def test_every_doubt_is_named():
    sentence = decide(images(100, 0.84), held_out(10, 0.5), {"autoencoder": share_interval(0, 20)}).sentence
    for part in ("of 10 subjects", "0 of 20 were found", "only 0 of 0 were found"):
        assert part in sentence


def test_training_images_stand_in_for_a_holdout_and_the_reservations_say_so():
    controls = images(40, 0.7, kind=OTHER_SUBJECTS, seed=1)
    found = decide(images(100, 0.7), controls)
    assert found.verdict is Verdict.NONE
    assert "All real images trained the model" in found.reservations[1]


@pytest.mark.parametrize("copies", [0, 2])
def test_ssim_of_images_as_they_are_decides_nothing(copies):
    found = unverified(copy_rates(copies, 0.0, 0.555))
    assert found.verdict is Verdict.CANNOT_TELL
    assert found.sentence == (
        f"Cannot tell: {copies} of 8 synthetic images copy a training image (copy rate {['0 %', '', '25.0 %'][copies]}, 95 % interval by "
        "subject 0 % to 55.5 %), by an SSIM above 0.85 as they are, but no image was registered, so that flipped, rotated and shifted "
        "copies were not sought and nothing shows what unrelated images reach; set verification.candidates to at least 1."
    )
