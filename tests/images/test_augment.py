from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from deepssim.config.choices import Distortion
from deepssim.config.distortions import DistortionConfig
from deepssim.images.augment import Misalignment, apply, draw, misalign_pack
from deepssim.images.packs import ImagePack
from deepssim.seeds import torch_generator


def distortions(probability, **strengths):
    return [
        DistortionConfig(kind=Distortion(kind), probability=probability, strength=strength)
        for kind, strength in strengths.items()
    ]


ALL = {
    "flip": 1, "rotation": 10, "translation": 0.1, "scale": 0.2, "crop": 0.3, "gamma": 0.5, "bias_field": 0.4, "blur": 2,
    "noise": 0.1, "jpeg": 0.8,
}  # fmt: skip
OFTEN = distortions(0.8, **ALL)


def change(**parts) -> Misalignment:
    values = {name: torch.from_numpy(np.asarray([value])) for name, value in parts.items()}
    return replace(
        Misalignment.none(1),
        **{name: value.float() if value.is_floating_point() else value for name, value in values.items()},
    )


def square() -> torch.Tensor:
    image = torch.zeros(1, 1, 33, 33)
    image[:, :, 12:21, 12:21] = 0.5  # nine pixels wide, in the middle
    return image


def test_each_part_does_what_it_says():
    image = torch.arange(12.0).reshape(1, 1, 3, 4) / 12
    torch.testing.assert_close(apply(image, change()), image)
    torch.testing.assert_close(apply(image, change(flip_rows=True)), image.flip(2))
    torch.testing.assert_close(apply(image, change(flip_columns=True)), image.flip(3))
    torch.testing.assert_close(apply(image, change(gamma=2.0)), image**2)


def test_rotation_is_anticlockwise_and_about_the_centre():
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 2, 4] = 1  # right of the centre
    turned = apply(image, change(degrees=90.0))
    assert turned[0, 0].argmax() == 2  # row 0, column 2: above the centre


def test_a_shift_goes_right_and_down():
    moved = apply(square(), change(shift=[2 / 32, 5 / 32]))
    torch.testing.assert_close(moved, square().roll((5, 2), (2, 3)), atol=1e-4, rtol=0)


def test_a_scale_enlarges_about_the_centre():
    larger = apply(square(), change(scale=[2.0, 1.0]))
    assert (larger[0, 0, 16] > 0.25).sum() == pytest.approx(18, abs=1)  # twice as wide
    assert (larger[0, 0, :, 16] > 0.25).sum() == 9


def test_a_crop_keeps_only_what_was_inside():
    drawn = draw(500, distortions(1.0, crop=0.5), torch_generator(0, "test"))
    # The middle of the crop lies where the enlargement brings it to the middle, and its edges inside of the image.
    kept = 1 / drawn.scale
    middle = -drawn.shift / drawn.scale
    assert kept.min() >= 0.5
    assert (middle.abs() + kept / 2).max() <= 0.5 + 1e-6
    assert (apply(torch.ones(500, 1, 16, 16), drawn) > 0.99).all()  # nothing comes from outside


def test_noise_has_its_deviation_and_its_own_seed():
    image = torch.full((2, 1, 64, 64), 0.5)
    drawn = replace(Misalignment.none(2), noise=torch.tensor([0.05, 0.05]), noise_seed=torch.tensor([1, 2]))
    noisy = apply(image, drawn)
    assert noisy[0].std() == pytest.approx(0.05, rel=0.1)
    assert (noisy[0] - noisy[1]).std() == pytest.approx(0.05 * 2**0.5, rel=0.1)
    torch.testing.assert_close(apply(image[1:], change(noise=0.05, noise_seed=2)), noisy[1:])


def test_blur_spreads_by_its_deviation():
    image = torch.zeros(1, 1, 33, 33)
    image[0, 0, 16, 16] = 1
    profile = apply(image, change(blur=2.0))[0, 0].sum(0)
    assert ((torch.arange(33) - 16.0) ** 2 * profile).sum() == pytest.approx(4, rel=0.05)


def test_a_bias_field_is_a_smooth_factor():
    image = torch.full((1, 1, 32, 32), 0.5)
    biased = apply(image, change(bias=np.log([[1.0, 1, 1], [1, 1.5, 1], [1, 1, 1]]).astype(np.float32)))[0, 0]
    assert biased.max() == pytest.approx(0.75, abs=0.01)
    assert biased[0, 0] == pytest.approx(0.5, abs=1e-4)
    assert biased.diff(dim=0).abs().max() < 0.03


def test_jpeg_agrees_with_a_real_encoder(tmp_path, random):
    smooth = np.asarray(Image.fromarray(random.integers(0, 255, (6, 6), np.uint8)).resize((48, 40), Image.BICUBIC))
    noisy = np.clip(smooth + random.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)
    image = torch.from_numpy(noisy / np.float32(255))[None, None]
    Image.fromarray(noisy).save(tmp_path / "image.jpg", quality=20)
    expected = np.asarray(Image.open(tmp_path / "image.jpg"), np.float32) / 255
    ours = apply(image, change(quality=20.0))[0, 0].numpy()
    assert np.abs(ours - expected).mean() < 0.2 * np.abs(noisy / 255 - expected).mean()


def test_frequencies_and_ranges():
    drawn = draw(20000, distortions(0.8, flip=1, rotation=10, gamma=0.5), torch_generator(0, "test"))
    for happened in (drawn.flip_rows, drawn.flip_columns, drawn.degrees != 0, drawn.gamma != 1):
        assert abs(happened.float().mean() - 0.8) < 0.02
    assert 9.5 < drawn.degrees.abs().max() <= 10
    assert drawn.gamma.min() >= 0.5
    assert drawn.gamma.max() <= 1.5
    assert abs(drawn.degrees.mean()) < 0.2


def test_no_change_is_exact(packs):
    real, _ = packs
    np.testing.assert_array_equal(misalign_pack(real, distortions(0.0, **ALL), seed=0).images, real.images)
    np.testing.assert_array_equal(misalign_pack(real, [], seed=0).images, real.images)


def test_an_image_does_not_depend_on_its_neighbours(packs):
    real, _ = packs
    together = misalign_pack(real, OFTEN, seed=3)
    for batch_size in (1, 4):
        np.testing.assert_array_equal(misalign_pack(real, OFTEN, seed=3, batch_size=batch_size).images, together.images)
    alone = misalign_pack(ImagePack(real.images[4:5], real.keys[4:5]), OFTEN, seed=3)
    np.testing.assert_array_equal(alone.images[0], together.images[4])
    assert (misalign_pack(real, OFTEN, seed=4).images != together.images).any()
