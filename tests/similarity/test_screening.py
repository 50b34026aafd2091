"""Screening finds what the full matrix holds: estimates, exact scores of pairs, margins, lists and copies."""

import cv2
import h5py
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from deepssim.config.evaluation import SimilarityConfig
from deepssim.images.distort import DISTORTIONS, distort
from deepssim.images.packs import ImagePack
from deepssim.similarity import screening
from deepssim.similarity.gathering import gather
from deepssim.similarity.margins import BIN, BINS, Margins, image_scales
from deepssim.similarity.matrices import Shard, read_scores, write_top
from deepssim.similarity.search_record import PROMISE, SearchRecord
from deepssim.similarity.ssim import SsimComparison
from deepssim.similarity.ssim_grid import COLUMN_STEP, ROW_STEP, grid_axis
from deepssim.similarity.ssim_screening import SsimScreening, can_screen
from deepssim.similarity.tiles import Tile, all_scores, tile_shape
from deepssim.similarity.top_search import Search, find_pairs_above, find_top
from deepssim.similarity.topk import TopK, update_columns, update_rows

EVERYTHING = slice(None)


def pack_of(images: np.ndarray, name: str = "s") -> ImagePack:
    return ImagePack(images, [f"{name}{n}" for n in range(len(images))])


def textures(random, count: int, size: tuple[int, int]) -> np.ndarray:
    """Smooth images with a dark border, like slices of heads, uint8."""
    images = []
    for _ in range(count):
        image = cv2.GaussianBlur(random.normal(size=size), (0, 0), random.uniform(2, 5))
        image = (image - image.min()) / np.ptp(image)
        image[: size[0] // 6] = image[:, : size[1] // 6] = 0
        images.append(np.rint(image * 255))
    return np.array(images, np.uint8)


def screening_of(real: np.ndarray, synthetic: np.ndarray, threads: int = 1) -> tuple[SsimComparison, SsimScreening]:
    comparison = SsimComparison(pack_of(real, "r"), pack_of(synthetic), threads=threads)
    return comparison, SsimScreening(comparison)


def lists_of(matrix: np.ndarray, k: int, train_rows: np.ndarray) -> tuple[TopK, TopK]:
    rows, columns = TopK.empty(len(matrix), k), TopK.empty(matrix.shape[1], k)
    update_rows(rows, Tile(0, 0, matrix))
    update_columns(columns, Tile(0, 0, matrix[train_rows]))
    return rows, columns


def require_same(found: TopK, expected: TopK) -> None:
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.partners, expected.partners)


@pytest.mark.parametrize(("windows", "step"), [(1, 5), (4, 5), (5, 5), (6, 5), (130, 5), (106, 3), (58, 3)])
def test_a_grid_weighs_the_windows_between(windows, step):
    origin, weights = grid_axis(windows, step)
    places = origin + step * np.arange(len(weights))
    assert places[0] >= 0
    assert places[-1] < windows
    assert windows - 1 - places[-1] - origin in (0, 1)  # what is left over is divided between both borders
    assert weights.sum() == pytest.approx(1)
    inside = np.clip(np.arange(windows), places[0], places[-1])  # a linear map, constant beyond the grid
    assert (weights * places).sum() == pytest.approx(inside.mean())


@pytest.mark.parametrize("size", [(7, 7), (9, 12), (41, 30), (136, 112)])
def test_estimates_are_weighted_means_of_exact_windows(random, size):
    real, synthetic = textures(random, 7, size), random.integers(0, 256, (18, *size), dtype=np.uint8)
    _, screened = screening_of(real, synthetic, threads=2)
    found = screened.estimate(screened.prepare_rows(EVERYTHING), screened.prepare_columns(EVERYTHING))
    (top, of_rows), (left, of_columns) = (
        grid_axis(side - 6, step) for side, step in zip(size, (ROW_STEP, COLUMN_STEP), strict=True)
    )
    x, y = (((image - image.mean()) / image.std()).astype(np.float64) for image in (real[5], synthetic[17]))
    windows = structural_similarity(x, y, data_range=np.ptp(x), full=True)[1][3:-3, 3:-3]
    expected = of_rows @ windows[top::ROW_STEP, left::COLUMN_STEP] @ of_columns
    assert found[5, 17] == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("size", [(7, 7), (9, 12), (23, 30), (136, 112)])
def test_pairs_are_those_of_the_matrix_to_the_last_bit(random, size):
    real, synthetic = random.integers(0, 256, (6, *size), dtype=np.uint8), textures(random, 40, size)
    synthetic[3] = real[2]
    comparison, screened = screening_of(real, synthetic, threads=2)
    whole = all_scores(comparison)
    rows, columns = np.divmod(random.permutation(whole.size), whole.shape[1])
    features = screened.prepare_rows(EVERYTHING), screened.prepare_columns(EVERYTHING)
    np.testing.assert_array_equal(screened.compare_pairs(*features, rows, columns), whole[rows, columns])
    assert len(screened.compare_pairs(*features, rows[:0], columns[:0])) == 0


def test_only_8_bit_images_and_the_range_of_the_real_image_are_screened(random):
    images = textures(random, 3, (20, 20))
    assert can_screen(SsimComparison(pack_of(images), pack_of(images)))
    assert not can_screen(SsimComparison(pack_of(images), pack_of(images), symmetric=True))
    wide = SsimComparison(pack_of(images.astype(np.uint16)), pack_of(images))
    assert not can_screen(wide)
    with pytest.raises(ValueError, match="8-bit"):
        SsimScreening(wide)


def test_exceedance_is_an_upper_estimate_for_normal_errors(random):
    margins = Margins()
    assert (margins.exceedance() == 1).all()
    assert margins.margin(np.ones(BINS, np.int64), 0.01) == BINS  # nothing is known, so every pair is compared
    margins.add(random.normal(size=300_000) * 0.003, np.full(300_000, 0.003))
    from scipy.stats import norm

    places = np.arange(10, 60) * BIN
    assert (margins.exceedance()[10:60] >= 0.9 * norm.sf(places)).all()
    assert margins.exceedance()[60] < 1e-6
    gaps = np.full(BINS, 1000)
    margin = margins.margin(gaps, 0.01)
    assert 50 < margin < 80
    gaps[:margin] = 0
    assert margins.missed(gaps) <= 0.01


def test_heavy_tails_widen_the_margin(random):
    normal, heavy = Margins(), Margins()
    normal.add(random.normal(size=100_000), np.ones(100_000))
    heavy.add(random.standard_t(4, 100_000), np.ones(100_000))
    gaps = np.full(BINS, 1000)
    assert heavy.margin(gaps, 0.01) > 1.5 * normal.margin(gaps, 0.01)


def test_an_image_with_large_errors_has_a_wide_margin_of_its_own(random):
    images = np.repeat(np.arange(20), 16)
    scales = image_scales(images, np.where(images == 7, 0.05, 0.003) * random.choice([-1, 1], 320), 20)
    assert scales[7] == pytest.approx(0.05, rel=1e-3)
    assert (np.delete(scales, 7) < 0.02).all()


@pytest.fixture
def any_size(monkeypatch):
    monkeypatch.setattr(screening, "_FEWEST_PAIRS", 1)


@pytest.fixture(scope="module")
def family() -> tuple[np.ndarray, np.ndarray]:
    """Real and synthetic variants of 60 images: pairs with any SSIM, up to near copies."""
    random = np.random.default_rng(3)
    scenes, other = textures(random, 60, (64, 48)), textures(random, 200, (64, 48))

    def variants(count: int) -> np.ndarray:
        weights = random.uniform(0, 0.5, (count, 1, 1))
        images = (1 - weights) * scenes[np.arange(count) % 60] + weights * other[random.integers(0, 200, count)]
        return np.rint(images).astype(np.uint8)

    return variants(900), variants(1500)


def search(k: int, train: np.ndarray, pairs: np.ndarray, max_memory_gb: float = 1.0) -> Search:
    return Search(k, train, pairs, exact=False, max_memory_gb=max_memory_gb, seed=0, threads=2)


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("max_memory_gb", [1, 0.62])  # one tile, and nine
def test_lists_pairs_and_copies_are_those_of_the_matrix(family, random, max_memory_gb):
    comparison, screened = screening_of(*family, threads=2)
    assert (tile_shape(screened, max_memory_gb)[0] < 900) == (max_memory_gb < 1)
    whole = all_scores(comparison)
    train, pairs = np.arange(0, 900, 2), np.unique(random.integers(0, whole.size, 3000))
    found = find_top(comparison, search(3, train, pairs, max_memory_gb))
    assert pairs.size < found.record.computed < 0.3 * whole.size
    assert found.record.missed <= PROMISE
    for one, expected in zip((found.of_rows, found.of_columns), lists_of(whole, 3, train), strict=True):
        require_same(one, expected)
    np.testing.assert_array_equal(found.scores, whole.ravel()[pairs])
    rows, columns, scores, record = find_pairs_above(comparison, 0.6, max_memory_gb=max_memory_gb)
    np.testing.assert_array_equal((rows, columns), np.nonzero(whole >= 0.6))
    np.testing.assert_array_equal(scores, whole[rows, columns])
    assert record.computed < 0.3 * whole.size
    everything = find_pairs_above(comparison, 0.6, exact=True)
    np.testing.assert_array_equal(everything[2], scores)
    assert everything[3].computed == whole.size


@pytest.mark.usefixtures("any_size")
def test_estimates_that_are_worth_nothing_lose_nothing(family, monkeypatch, caplog):
    """Where estimates say nothing, all pairs are computed."""

    class Guessing(SsimScreening):
        def estimate(self, rows, columns):
            return np.random.default_rng(0).random(super().estimate(rows, columns).shape, np.float32)

    monkeypatch.setattr(screening, "SsimScreening", Guessing)
    comparison, _ = screening_of(*family, threads=2)
    whole, train = all_scores(comparison), np.arange(900)
    with caplog.at_level("INFO"):
        found = find_top(comparison, search(3, train, np.arange(5)))
    for one, expected in zip((found.of_rows, found.of_columns), lists_of(whole, 3, train), strict=True):
        require_same(one, expected)
    assert found.record.computed == found.record.pairs == whole.size
    assert "all pairs are computed" in caplog.text
    rows, columns, _, record = find_pairs_above(comparison, 0.6)
    np.testing.assert_array_equal((rows, columns), np.nonzero(whole >= 0.6))
    assert record.computed == whole.size


@pytest.mark.usefixtures("any_size")
def test_the_file_says_how_its_scores_were_found(family, tmp_path):
    real, synthetic = (pack_of(images, name) for images, name in zip(family, "rs", strict=True))
    files = []
    for number, part in enumerate((slice(0, 1400), slice(1400, 1500))):
        keys = synthetic.keys[part]
        files.append(tmp_path / f"{number}.h5")
        write_top(
            files[-1], SsimComparison(real, synthetic.select(keys)), real.keys, keys, "ssim", train_keys=real.keys,
            labelled=([], []), options=SimilarityConfig(top_k=3, exact=number == 1), seed=0, shard=Shard(number, 2),
        )  # fmt: skip
    first, second = (read_scores(path).record for path in files)
    assert first.computed < first.pairs == 900 * 1400
    assert 0 < first.deviation < 0.05
    assert first.margin >= 4
    assert "of 1,260,000 pairs" in str(first)
    assert second == SearchRecord(90_000, 90_000)
    assert str(second) == "exact scores of all 90,000 pairs"
    gather(tmp_path / "all.h5", files, "ssim")
    joined = read_scores(tmp_path / "all.h5").record
    assert (joined.pairs, joined.computed) == (1_350_000, first.computed + 90_000)
    assert joined.missed == first.missed
    assert joined.promise == first.promise == PROMISE  # of the shard that was not computed whole
    with h5py.File(tmp_path / "all.h5", "a") as file:  # as written before there was a record
        del file.attrs["search_margin"]
    assert read_scores(tmp_path / "all.h5").record is None


@pytest.mark.usefixtures("any_size")
def test_nothing_is_missed_among_real_slices_with_near_copies(real_data):
    """500 MR slices against 2,000: others, blends, and near copies by every change of the audit's controls."""
    files = sorted((real_data / "brain_slices").rglob("*.png"))
    scans = np.stack([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[:, 8:120] for path in files])
    random = np.random.default_rng(0)
    scans = scans[random.permutation(len(scans))]
    real, other = scans[:500], scans[500:1500]
    weights = random.uniform(0.3, 0.95, (500, 1, 1))
    blends = weights * real[random.integers(0, 500, 500)] + (1 - weights) * other[random.integers(0, 1000, 500)]
    copies = []
    for name in DISTORTIONS:
        chosen = np.sort(random.choice(500, 10, replace=False))
        copies.append(distort(pack_of(real).select([f"s{n}" for n in chosen]), name, 0).images)
    synthetic = np.concatenate([other, np.rint(blends).astype(np.uint8), *copies])
    synthetic = synthetic[synthetic.std(axis=(1, 2)) > 0]
    comparison, _ = screening_of(real, synthetic, threads=2)
    whole, train = all_scores(comparison), np.arange(500)
    found = find_top(comparison, search(10, train, np.arange(0, whole.size, 1000)))
    for one, expected in zip((found.of_rows, found.of_columns), lists_of(whole, 10, train), strict=True):
        require_same(one, expected)
    for limit in (0.6, 0.85):
        rows, columns, scores, record = find_pairs_above(comparison, limit)
        np.testing.assert_array_equal((rows, columns), np.nonzero(whole >= limit))
        np.testing.assert_array_equal(scores, whole[rows, columns])
        assert record.computed < 0.15 * whole.size
        assert record.missed <= PROMISE
