import numpy as np

from deepssim.config.choices import Registration
from deepssim.config.evaluation import VerificationConfig
from deepssim.evaluation.verification import verified_pairs
from deepssim.images.keys import real_key, synthetic_key
from deepssim.images.packs import ImagePack
from deepssim.similarity.scores import ScoreMatrix


def test_the_best_candidates_are_registered(random):
    blocks = random.integers(0, 255, (5, 8, 8), dtype=np.uint8)
    images = np.kron(blocks, np.ones((1, 6, 6), np.uint8))
    real = ImagePack(images, [real_key(f"r{n}") for n in range(5)])
    # The first copies the third real image, flipped and shifted; the second is like no image.
    copy = np.roll(images[2][:, ::-1], 3, axis=0)
    synthetic = ImagePack(np.stack([copy, random.integers(0, 255, (48, 48), dtype=np.uint8), images[4]]),
                          [synthetic_key("r0", n) for n in range(3)])  # fmt: skip
    values = np.full((5, 3), 0.1, np.float32)
    values[2, 0], values[1, 1], values[4, 2] = 0.9, 0.7, 0.2
    scores = ScoreMatrix(real.keys, synthetic.keys, "deepssim", values)
    options = VerificationConfig(candidates=2, registration=Registration.SHIFT)
    table = verified_pairs(scores, real.keys, real, synthetic, options)
    assert table["synth_key"].tolist() == synthetic.keys[:2]  # the third scores too low to be a candidate
    assert table["real_key"].tolist() == [real.keys[2], real.keys[1]]
    assert table["flipped"].iloc[0] == "columns"
    assert table["ssim"].iloc[0] < 0.5 < 0.8 < table["registered_ssim"].iloc[0]
    assert table["registered_ssim"].iloc[1] < 0.5
    np.testing.assert_allclose(table["score"], [0.9, 0.7], rtol=1e-6)
