"""Difference and ratio of two rates: by hand, and how often they cover."""

import numpy as np
import pytest
from scipy.stats import beta, binom

from deepssim.evaluation.contrast import rate_difference, rate_ratio


def test_difference_by_hand():
    """Newcombe's rule with the ends of Clopper-Pearson, which are quantiles of beta distributions."""
    first = beta.ppf(0.025, 12, 89), beta.ppf(0.975, 13, 88)
    second = beta.ppf(0.025, 2, 99), beta.ppf(0.975, 3, 98)
    found = rate_difference(12, 100, 2, 100)
    assert found.value == pytest.approx(0.1)
    assert found.low == pytest.approx(0.1 - np.hypot(0.12 - first[0], second[1] - 0.02))
    assert found.high == pytest.approx(0.1 + np.hypot(first[1] - 0.12, 0.02 - second[0]))
    turned = rate_difference(2, 100, 12, 100)
    assert (turned.value, turned.low, turned.high) == pytest.approx((-0.1, -found.high, -found.low))


def test_ratio_by_hand():
    """12 of 100 against 2 of 50: given 14 in all, the first is binomial with odds of twice the ratio."""
    found = rate_ratio(12, 100, 2, 50)
    assert found.value == pytest.approx(3)
    low, high = beta.ppf(0.025, 12, 3), beta.ppf(0.975, 13, 2)
    assert (found.low, found.high) == pytest.approx((low / (1 - low) / 2, high / (1 - high) / 2))
    turned = rate_ratio(2, 50, 12, 100)
    assert (turned.value, turned.low, turned.high) == pytest.approx((1 / 3, 1 / found.high, 1 / found.low))


def test_nothing_found():
    none = rate_ratio(5, 100, 0, 100)
    assert none.value == none.high == np.inf
    assert none.method.endswith("no upper end, since nothing was found on the second side")
    assert none.low > 0.9  # 5 against 0: at the edge of what chance explains
    assert rate_ratio(0, 100, 5, 100).value == rate_ratio(0, 100, 5, 100).low == 0
    assert np.isnan(rate_ratio(0, 100, 0, 100).value)
    assert np.isnan(rate_difference(0, 0, 1, 3).value)
    both = rate_difference(0, 100, 0, 100)
    assert both.low < 0 == both.value < both.high


@pytest.mark.parametrize(("first", "second"), [(0.02, 0.02), (0.1, 0.01), (0.8, 0.5), (0.95, 0.1), (0.01, 0.2)])
@pytest.mark.parametrize("sizes", [(40, 12), (15, 60)])
def test_both_cover(first, second, sizes):
    """Every pair of counts that is not negligible, with its probability."""
    covered, total = np.zeros(2), 0.0
    for count in range(sizes[0] + 1):
        for other in range(sizes[1] + 1):
            probability = binom.pmf(count, sizes[0], first) * binom.pmf(other, sizes[1], second)
            if probability > 1e-4:
                found = (rate(count, sizes[0], other, sizes[1]) for rate in (rate_difference, rate_ratio))
                truth = first - second, first / second
                total += probability
                covered += [
                    probability * (one.low <= value <= one.high) for one, value in zip(found, truth, strict=True)
                ]
    assert total > 0.99
    assert (covered / total >= 0.95).all(), covered / total
