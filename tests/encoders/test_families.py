import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from deepssim.encoders.families import MEMBERS, Families, exact_ssim, example_pairs
from deepssim.images.keys import real_key
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import quantise
from deepssim.similarity.ssim import SsimComparison
from deepssim.similarity.tiles import all_scores


def smooth(count, random, size=(32, 32)):
    coarse = torch.from_numpy(random.random((count, 1, 6, 6)).astype(np.float32))
    images = torch.nn.functional.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1)
    return ImagePack((images[:, 0].numpy() * 255).astype(np.uint8), [real_key(f"r{n}") for n in range(count)])


def test_a_batch_holds_families_with_their_exact_ssim(random):
    real = smooth(20, random)
    torch.manual_seed(0)
    drawn = Families(real).draw(torch.tensor([3, 7, 11]))
    assert drawn.images.shape == (3 * MEMBERS, 1, 32, 32)
    assert drawn.first.tolist() == ([True] + [False] * (MEMBERS - 1)) * 3
    images = drawn.images[:, 0].double().numpy()
    for i, j in ((0, 5), (8, 3), (20, 21)):
        both = []
        for a, b in ((i, j), (j, i)):
            x, y = ((images[k] - images[k].mean()) / images[k].std() for k in (a, b))
            both.append(structural_similarity(x, y, data_range=x.max() - x.min()))
        assert abs(float(drawn.ssim[i, j]) - np.mean(both)) < 1e-5
    torch.testing.assert_close(drawn.ssim, drawn.ssim.T)


def test_the_scores_of_a_batch_cover_the_range(scans):
    images = [quantise(image, 8) for image in scans[:60]]
    families = Families(ImagePack(np.stack(images), [real_key(f"r{number}") for number in range(60)]))
    torch.manual_seed(0)
    scores = torch.cat([families.draw(torch.randperm(60)[:12]).ssim.flatten() for _ in range(5)])
    shares = [
        ((scores > low) & (scores <= high)).float().mean() for low, high in ((-1, 0.6), (0.6, 0.85), (0.85, 0.999))
    ]
    assert min(shares) > 0.015


def test_copies_come_into_their_own_family(random):
    real = smooth(6, random)
    stripes = np.broadcast_to((np.arange(32) % 2 * 255).astype(np.uint8), real.images.shape)  # like no real image
    marks = ImagePack(stripes, [f"{key[:-8]}gen-0" for key in real.keys])
    shares = []
    for copies in ([], [(marks, real.keys)]):
        torch.manual_seed(0)
        families = Families(real, copies)
        scores = torch.cat([families.draw(torch.tensor([n])).ssim[0] for n in range(6) for _ in range(5)])
        shares.append(float((scores < 0.15).float().mean()))
    assert shares[1] - shares[0] == pytest.approx(0.45 * 7 / 8, abs=0.12)
    # A family without copies has its real image in their place.
    lone = Families(real, [(marks.select(marks.keys[:1]), real.keys[:1])])
    assert lone.copies[:, 0].tolist() == [6, 1, 2, 3, 4, 5]


def test_neighbours_are_the_most_similar_other_images(random):
    real = smooth(40, random)
    truth = all_scores(SsimComparison(real, real))
    np.fill_diagonal(truth, -2)
    found = Families(real).neighbours
    assert found.shape == (40, 16)
    np.testing.assert_array_equal(np.sort(found.numpy(), axis=1), np.sort(np.argsort(-truth, axis=1)[:, :16], axis=1))


def test_a_batch_depends_on_the_seed_only(random):
    families = Families(smooth(10, random))
    batches = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.manual_seed(5)
        torch.set_num_threads(threads)
        try:
            batches.append(families.draw(torch.arange(4)))
        finally:
            torch.set_num_threads(before)  # or all later tests would share their processor with a second thread
    assert torch.equal(batches[0].images, batches[1].images)
    assert torch.equal(batches[0].ssim, batches[1].ssim)


def test_the_score_of_images_with_themselves_is_one(random):
    real = smooth(5, random)
    torch.testing.assert_close(exact_ssim(real.images, threads=1).diagonal(), torch.ones(5), atol=1e-6, rtol=0)


def test_example_pairs_have_exact_scores_of_all_classes(random):
    real = smooth(12, random)
    before = torch.random.get_rng_state()
    table, varied = example_pairs(real, seed=3)
    assert torch.equal(before, torch.random.get_rng_state())
    scores = all_scores(SsimComparison(real, varied))
    rows = [real.index[key] for key in table["real_key"]]
    columns = [varied.index[key] for key in table["synth_key"]]
    np.testing.assert_allclose(table["ssim"], scores[rows, columns], atol=1e-7)
    counts = np.histogram(table["ssim"], [-1, 0.6, 0.85, 1.01])[0]
    assert (counts >= 20).all()
    again, _ = example_pairs(real, seed=3)
    assert table.equals(again)
