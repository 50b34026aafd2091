"""Nothing in this room takes more memory than `max_memory_gb`, whatever the size; measured from outside the process.

Loops are compiled before: the first run on a machine takes 0.13 GB more for that, as the description of the setting says.
"""

import pytest

from benchmarks.measure import in_own_process


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """Compile the loops in a process of its own, which keeps the machine code in numba's cache."""
    in_own_process("dense_ssim", real=5, synthetic=64, threads=2, max_memory_gb=1.0)
    in_own_process("screened_ssim", real=500, synthetic=4160, threads=2, max_memory_gb=1.0)
    in_own_process("embedding_top_k", real=70, synthetic=70, features=32, k=10, threads=2, max_memory_gb=1.0)


def test_top_k_of_many_embeddings():
    """The matrix of 20,000 x 50,000 scores would take 4 GB."""
    gigabytes = 0.6
    size = {"real": 20_000, "synthetic": 50_000, "features": 32, "k": 10}
    job = in_own_process("embedding_top_k", **size, threads=2, max_memory_gb=gigabytes)
    assert job["peak_gb"] < gigabytes


@pytest.mark.parametrize("gigabytes", [0.6, 1.0])
def test_the_whole_matrix_of_a_pack_that_would_not_fit(gigabytes):
    """Prepared at once, 3,100 images would take more than 1 GB."""
    job = in_own_process("dense_ssim", real=100, synthetic=3000, threads=2, max_memory_gb=gigabytes)
    assert job["output_gb"] > 100 * 3000 * 4 / 1e9
    assert job["peak_gb"] < gigabytes


def test_estimates_and_exact_scores_of_packs_that_would_not_fit():
    """Arranged at once for estimates and exact scores, 3,400 images would take 1.4 GB."""
    gigabytes = 1.0
    job = in_own_process("screened_ssim", real=800, synthetic=2600, threads=2, max_memory_gb=gigabytes)
    assert job["computed"] < 0.3  # of the pairs: the others were estimated
    assert job["peak_gb"] < gigabytes


def test_lists_of_many_images_are_joined_sampled_and_evaluated_block_by_block():
    """The lists, pairs and keys of 80,000 images would take 0.3 GB in memory."""
    job = in_own_process("joined_lists", images=80_000, real=100, shards=10, block=100_000)
    assert job["evaluate_gb"] - job["write_gb"] < 0.06
