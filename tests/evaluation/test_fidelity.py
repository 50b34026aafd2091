"""Fidelity: tiny examples by hand, plain loops, and sets that are known to be alike or not."""

import numpy as np
import pytest

from deepssim.evaluation import fidelity as module
from deepssim.evaluation.fidelity import fidelity, kernel_distance, neighbourhood_statistics


def test_neighbourhoods_by_hand():
    """Points on a line, k = 1: real 0, 1, 5 with radii 1, 1, 4; synthetic 1.5, 9, 30 with radii 7.5, 7.5, 21."""
    real, synthetic = np.array([[0.0], [1.0], [5.0]]), np.array([[1.5], [9.0], [30.0]])
    found = neighbourhood_statistics(real, synthetic, manifold_neighbours=1, density_neighbours=1)
    assert found == {
        "precision": pytest.approx(2 / 3),  # 1.5 by the ball of 1, 9 by that of 5
        "recall": 1.0,  # 0, 1 and 5 are within 7.5 of 1.5
        "density": pytest.approx(3 / 3),  # 1.5 is in the balls of 1 and 5, 9 in that of 5
        "coverage": pytest.approx(2 / 3),  # nothing is within 1 of 0
    }


def naive(real, synthetic, k):
    """Plain loops, as the papers put it."""

    def apart(one, other):
        return np.sqrt(((one - other) ** 2).sum())

    def radius(points, row):
        return sorted(apart(points[row], other) for place, other in enumerate(points) if place != row)[k - 1]

    ours, theirs = ([radius(points, row) for row in range(len(points))] for points in (real, synthetic))
    inside = np.array([[apart(one, other) <= r for other in synthetic] for one, r in zip(real, ours, strict=True)])
    reached = np.array([[apart(one, other) <= r for one in real] for other, r in zip(synthetic, theirs, strict=True)])
    return (
        inside.any(axis=0).mean(),
        reached.any(axis=0).mean(),
        inside.sum() / k / len(synthetic),
        inside.any(axis=1).mean(),
    )


def test_neighbourhoods_agree_with_plain_loops(random, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_MIB", 0.001)  # several blocks
    real, synthetic = random.normal(size=(40, 3)), random.normal(0.5, 1, size=(30, 3))
    found = neighbourhood_statistics(real, synthetic, manifold_neighbours=3, density_neighbours=3)
    assert tuple(found.values()) == pytest.approx(naive(real, synthetic, 3))


def test_kernel_distance_by_hand():
    # Two equal unit vectors against two opposite ones: 8 + 8 - 2 * 0; two orthogonal pairs: 1 within, mean of 8 and 1 across.
    a, b = np.array([[1.0, 0], [1, 0]]), np.array([[-1.0, 0], [-1, 0]])
    apart = np.arange(2)
    assert kernel_distance(a, b, apart, apart) == pytest.approx(16)
    c = np.eye(2)
    assert kernel_distance(c, c, apart, apart) == pytest.approx(1 + 1 - 2 * 4.5)
    assert np.isnan(kernel_distance(a, b, np.zeros(2, int), apart))


def test_kernel_distance_agrees_with_plain_loops(random, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_MIB", 0.001)  # several blocks
    first, second = random.normal(size=(30, 3)), random.normal(0.3, 1, size=(25, 3))
    first, second = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (first, second))
    groups = np.arange(30) // 3, np.maximum(np.arange(25), 8)  # of three; nine together, the others alone

    def mean(rows, columns, wanted):
        return np.mean(
            [(one @ other + 1) ** 3 for i, one in enumerate(rows) for j, other in enumerate(columns) if wanted(i, j)]
        )

    within = [mean(part, part, lambda i, j, g=g: g[i] != g[j]) for part, g in zip((first, second), groups, strict=True)]
    expected = sum(within) - 2 * mean(first, second, lambda i, j: True)
    assert kernel_distance(first, second, *groups) == pytest.approx(expected)


def test_images_of_one_subject_add_no_kernel_distance(random):
    values = []
    for _ in range(60):  # sets of different subjects with ten images that are alike
        first, second = (np.repeat(random.normal(size=(8, 4)), 10, axis=0) for _ in range(2))
        unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (first, second)]
        values.append(kernel_distance(*unit, np.repeat(np.arange(8), 10), np.repeat(np.arange(8), 10)))
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(60)


@pytest.fixture
def sides(random):
    """Eighty subjects with three images each, and 200 images of each kind of generator."""
    real = random.normal(size=(240, 6)) + np.repeat(random.normal(size=(80, 6)), 3, axis=0)
    good = random.normal(size=(200, 6)) + random.normal(size=(200, 6))
    return real, [str(row // 3) for row in range(240)], good


def test_a_good_model_reaches_the_floor_and_others_do_not(random, sides):
    real, subjects, good = sides
    groups = [str(row) for row in range(200)]
    noise = random.normal(size=(200, 6)) * 0.01 + np.eye(6)[0]
    made = {
        name: fidelity(real, subjects, values, groups, divisions=6)
        for name, values in {"good": good, "collapsed": noise, "copies": real[:200]}.items()
    }
    for name in ("precision", "recall", "coverage"):
        assert made["good"][name].value == pytest.approx(made["good"][name].floor, abs=0.1)
    assert abs(made["good"]["kernel_distance"].value) < 0.2
    assert made["collapsed"]["recall"].value < 0.2 < made["collapsed"]["recall"].floor
    assert made["collapsed"]["coverage"].value < 0.2
    assert made["collapsed"]["kernel_distance"].value > 1
    assert made["copies"]["precision"].value > made["good"]["precision"].value  # copies are not unlike real images
    assert made["good"]["images"] == 120
    assert made["good"]["reason"] is None


def test_equal_seeds_give_equal_results_and_the_number_of_images_is_bounded(sides):
    real, subjects, good = sides
    groups = [str(row) for row in range(200)]
    first, second = (fidelity(real, subjects, good, groups, divisions=2, most=30, seed=3) for _ in range(2))
    assert first == second
    assert first["images"] == 30
    assert first["precision"].lowest <= first["precision"].value <= first["precision"].highest


def test_few_images_have_no_fidelity(sides):
    real, subjects, good = sides
    for found in (fidelity(real, subjects, good[:5], ["a"] * 5), fidelity(real, ["one"] * 240, good, ["a"] * 200)):
        assert found["precision"] is None
        assert found["reason"] == "needs 6 synthetic images and 6 real images of each half of the subjects"


def test_images_of_one_volume_have_no_kernel_distance(sides):
    real, subjects, good = sides
    found = fidelity(real, subjects, good, ["v"] * 200, divisions=1)
    assert found["precision"].value > 0.5
    assert found["kernel_distance"] is None
    assert found["reason"] == "the kernel distance needs images of two subjects or volumes in each set"
