import pytest
import torch

from deepssim.images import vary
from deepssim.images.vary import vary_families

MEMBERS = 8


def families(count=24):
    """Smooth random images, the same for all members of a family."""
    coarse = torch.rand(count, 1, 4, 4)
    images = torch.nn.functional.interpolate(coarse, size=(24, 20), mode="bilinear")
    return images.repeat_interleave(MEMBERS, dim=0)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_a_family_is_deformed_as_a_whole(monkeypatch):
    for name in ("_BLENDED", "_BENT", "_NOISY"):
        monkeypatch.setattr(vary, name, 0.0)
    monkeypatch.setattr(vary, "_BLUR_AND_CONTRAST", ())
    images = families()
    changed = vary_families(images, MEMBERS)
    groups = changed.view(-1, MEMBERS, 24, 20)
    assert torch.equal(groups, groups[:, :1].expand_as(groups))
    moved = (changed - images)[::MEMBERS].abs().amax(dim=(1, 2, 3)) > 0.01
    assert 0.25 < moved.float().mean() < 0.75  # the others are untouched
    assert torch.equal(changed[::MEMBERS][~moved], images[::MEMBERS][~moved])


def test_the_first_of_a_family_is_not_changed_on_its_own(monkeypatch):
    monkeypatch.setattr(vary, "_DEFORMED", 0.0)
    images = families()
    changed = (vary_families(images, MEMBERS) - images).abs().amax(dim=(1, 2, 3)) > 1e-4
    assert not changed[::MEMBERS].any()
    assert 0.4 < changed.view(-1, MEMBERS)[:, 1:].float().mean() < 0.8


@pytest.mark.parametrize(("name", "share"), [("_BLENDED", 0.2), ("_BENT", 0.12), ("_NOISY", 0.3)])
def test_every_variation_happens_as_often_as_it_says(monkeypatch, name, share):
    for other in {"_DEFORMED", "_BLENDED", "_BENT", "_NOISY"} - {name}:
        monkeypatch.setattr(vary, other, 0.0)
    monkeypatch.setattr(vary, "_BLUR_AND_CONTRAST", ())
    images = families(100)
    changed = (vary_families(images, MEMBERS) - images).abs().amax(dim=(1, 2, 3)) > 1e-5
    assert abs(changed.view(-1, MEMBERS)[:, 1:].float().mean() - share) < 0.06


def test_values_stay_between_zero_and_one():
    result = vary_families(families(), MEMBERS)
    assert result.shape == (24 * MEMBERS, 1, 24, 20)
    assert result.min() >= 0
    assert result.max() <= 1
