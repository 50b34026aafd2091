import numpy as np
import pytest
from scipy.ndimage import rotate, shift

from deepssim.errors import DataError
from deepssim.evaluation.classification import copy_rates, registered_copy_rates
from deepssim.evaluation.verification import VERIFIED_COLUMNS, verified_pairs
from deepssim.ground_truth.labels import SSIM_THRESHOLDS
from deepssim.images.keys import real_key, synthetic_key
from deepssim.images.packs import ImagePack
from deepssim.similarity.embeddings import Embeddings
from deepssim.similarity.scores import ScoreMatrix
from deepssim.similarity.ssim import ssim_of_arrays
from tests.audit.folders import picture

SIDE = 64
CHANGES = {
    "unchanged": lambda image: image,
    "mirrored": lambda image: image[:, ::-1],
    "rotated by 90 degrees": lambda image: np.rot90(image),
    "rotated by 12": lambda image: rotate(image, 12.0, reshape=False, order=1),
    "shifted": lambda image: shift(image, (7, -5), order=1),
    "negative": lambda image: 255 - image,
}


@pytest.fixture
def packs(random):
    """Eight training images; synthetic ones that copy the first six, each changed in its own way, and two others."""
    images = np.stack([picture(random, SIDE) for _ in range(8)])
    copies = [change(image) for change, image in zip(CHANGES.values(), images, strict=False)]
    synthetic = np.stack([*copies, picture(random, SIDE), picture(random, SIDE)])
    real = ImagePack(images, [real_key(f"r{number}") for number in range(8)])
    return real, ImagePack(synthetic, [synthetic_key(f"r{number}", 0) for number in range(8)])


def test_copies_that_were_changed_are_counted_by_the_second_rate_only(packs):
    real, synthetic = packs
    table = verified_pairs(real, synthetic, 3, seed=0)
    assert tuple(table.columns) == VERIFIED_COLUMNS
    assert sorted(table["synth_key"]) == synthetic.keys
    assert table["registered_ssim"].is_monotonic_decreasing
    assert table["score"].isna().all()
    scores = ScoreMatrix(real.keys, synthetic.keys, "ssim", ssim_of_arrays(real.images, synthetic.images))
    aligned = copy_rates(scores, real.keys, SSIM_THRESHOLDS)
    both = registered_copy_rates(scores, real.keys, table)
    assert (aligned["synthetic_copies"], aligned["training_copied"]) == (1, 1)
    assert (both["synthetic_copies"], both["training_copied"]) == (6, 6)
    assert both["synthetic_interval"].count == 6

    pairs = table.set_index("synth_key").loc[synthetic.keys]
    assert pairs["real_key"].tolist()[:6] == real.keys[:6]
    assert pairs["pose"].tolist()[:6] == [
        "unchanged", "mirrored", "rotated by 90 degrees", "unchanged", "unchanged", "negative"
    ]  # fmt: skip
    np.testing.assert_allclose(pairs["ssim"], scores.pair_scores(pairs["real_key"].tolist(), synthetic.keys), atol=1e-5)
    assert (pairs["registered_ssim"] >= pairs["ssim"]).all()
    assert pairs["overlap"].iloc[4] == pytest.approx((1 - 7 / SIDE) * (1 - 5 / SIDE), abs=0.03)
    assert pairs["keypoints"].iloc[:6].min() > pairs["keypoints"].iloc[6:].max()


def test_copies_of_images_as_they_are_count_even_where_another_pair_was_registered(packs):
    real, synthetic = packs
    values = np.zeros((8, 8), np.float32)
    values[7, 7] = 0.9
    scores = ScoreMatrix(real.keys, synthetic.keys, "ssim", values)
    table = verified_pairs(real, synthetic, 1, seed=0)
    both = registered_copy_rates(scores, real.keys, table)
    assert (both["synthetic_copies"], both["training_copied"]) == (7, 7)


def test_embeddings_give_the_score(packs, random):
    real, synthetic = packs
    values = random.normal(size=(8, 4)).astype(np.float32)
    embeddings = Embeddings(values, real.keys, "deepssim", "a"), Embeddings(2 * values, synthetic.keys, "deepssim", "a")
    table = verified_pairs(real, synthetic, 2, seed=0, embeddings=embeddings).set_index("synth_key")
    np.testing.assert_allclose(table["score"].loc[synthetic.keys[:6]], 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"), [("weights", "come from encoder"), ("absent", "lacks the embeddings of 1 of 8")]
)
def test_unusable_embeddings_are_named(packs, change, message):
    real, synthetic = packs
    ones = np.ones((8, 4), np.float32)
    other = Embeddings(ones, synthetic.keys, "deepssim", "b" if change == "weights" else "a")
    first = Embeddings(ones, real.keys, "deepssim", "a", "real.h5")
    if change == "absent":
        first = Embeddings(ones[:7], real.keys[:7], "deepssim", "a", "real.h5")
    with pytest.raises(DataError, match=message):
        verified_pairs(real, synthetic, 2, seed=0, embeddings=(first, other))
