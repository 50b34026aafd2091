import numpy as np
import pytest

from deepssim.ground_truth.labels import SSIM_THRESHOLDS
from deepssim.ground_truth.planted import DEFORMED, MILD, PLANTED_COLUMNS, plant_copies
from deepssim.ground_truth.tables import AUTOENCODER, read_planted
from deepssim.images.keys import split_key
from deepssim.images.packs import ImagePack
from deepssim.registration.exact import exact_ssim


@pytest.fixture
def originals(random):
    smooth = np.cumsum(np.cumsum(random.normal(size=(3, 48, 48)), axis=1), axis=2)
    smooth -= smooth.min(axis=(1, 2), keepdims=True)
    images = (255 * smooth / smooth.max(axis=(1, 2), keepdims=True)).astype(np.uint8)
    return ImagePack(images, [f"r{n}___training" for n in range(3)])


def plant(originals, reconstruct=lambda pack: pack, seed=0):
    return plant_copies(originals, ["train", "valid", "test"], reconstruct, seed)


def test_every_image_is_copied_by_every_change_and_labelled_by_its_ssim(originals):
    pack, table = plant(originals)
    assert list(table.columns) == list(PLANTED_COLUMNS)
    assert table["change"].value_counts().to_dict() == dict.fromkeys((*MILD, *DEFORMED), 3)
    assert pack.keys == table["synth_key"].tolist()
    assert len(set(pack.keys)) == len(pack.keys)
    for row, image in zip(table.itertuples(), pack.images, strict=True):
        original = originals.images[originals.index[row.real_key]]
        assert row.ssim == exact_ssim(original, image)[0]
        assert split_key(row.synth_key)[0] == split_key(row.real_key)[0]
        assert row.split == dict(zip(originals.keys, ["train", "valid", "test"], strict=True))[row.real_key]
    assert (table["label"] == SSIM_THRESHOLDS.classify(table["ssim"].to_numpy())).all()
    assert (table.loc[table["change"] == AUTOENCODER, "ssim"] == 1).all()  # this one changes nothing


def test_planted_keys_are_those_of_no_synthetic_image(originals):
    assert all("___planted-" in key for key in plant(originals)[0].keys)


def test_the_seed_decides(originals):
    first, again, other = (plant(originals, seed=seed)[0].images for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_constant_reconstructions_are_left_out(originals):
    pack, table = plant(originals, lambda pack: ImagePack(np.zeros_like(pack.images), pack.keys))
    assert AUTOENCODER not in set(table["change"])
    assert all(np.ptp(image) for image in pack.images)


def test_a_table_is_read_as_it_was_written(originals, tmp_path):
    _, table = plant(originals)
    table.to_csv(tmp_path / "planted.csv", index=False)
    assert read_planted(tmp_path / "planted.csv")["label"].tolist() == table["label"].tolist()
