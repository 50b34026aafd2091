import torch

from deepssim.images import vary
from deepssim.images.vary import vary_pairs

NONE_ALONE = torch.zeros(64, dtype=torch.bool)


def images(count=64):
    torch.manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.rand(2 * count, 1, 4, 4), size=(24, 20), mode="bilinear")
    return smooth[:count], smooth[count:]


def test_a_pair_is_deformed_alike(monkeypatch):
    monkeypatch.setattr(vary, "_BLENDED", 0.0)
    real, _ = images()
    first, second = vary_pairs(real, real.clone(), NONE_ALONE)
    assert torch.equal(first, second)
    change = (first - real).abs().mean(dim=(1, 2, 3))
    assert 0.3 < (change > 0.01).float().mean() < 0.7  # the others are untouched
    assert (change == 0).any()


def test_some_of_the_synthetic_images_are_blended(monkeypatch):
    monkeypatch.setattr(vary, "_DEFORMED", 0.0)
    real, synthetic = images(400)
    same, mixed = vary_pairs(real, synthetic, torch.arange(400) % 2 == 0)
    torch.testing.assert_close(same, real, atol=1e-5, rtol=0)
    changed = (mixed - synthetic).abs().amax(dim=(1, 2, 3)) > 1e-4
    assert 0.7 < changed[::2].float().mean() < 0.9  # alone
    assert 0.2 < changed[1::2].float().mean() < 0.4


def test_values_stay_between_zero_and_one():
    for result in vary_pairs(*images(), NONE_ALONE):
        assert result.shape == (64, 1, 24, 20)
        assert result.min() >= 0
        assert result.max() <= 1
