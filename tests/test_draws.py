"""Binomial and hypergeometric draws against their exact laws at fixed seeds, over the whole range of arguments.

Level: a family of chi-square tests (one test function with all its cases) rejects right draws with probability at
most `FAMILY_LEVEL`, divided evenly over its cases. Power: for each family a law that is off by a small stated amount
is rejected by the same check at the same sample size.
"""

import itertools
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from numba import njit
from scipy import stats

from kofn.kernels import draws
from kofn.kernels.draws.binomial import binomial_hat, log_binomial_ratio
from kofn.kernels.draws.hypergeometric import hypergeometric_hat, log_hypergeometric_ratio
from laws import (
    ALL_ONES,
    FAMILY_LEVEL,
    Hypergeometric,
    assert_none_rejected,
    block_index,
    draw_many,
    p_value,
    p_value_of_hypergeometric,
    stream_for,
    stream_of_words,
)


@njit
def fill_binomial(n, p, stream, out):
    for i in range(out.size):
        out[i] = draws.draw_binomial(n, p, stream)


@njit
def fill_hypergeometric(good, bad, n_drawn, stream, out):
    for i in range(out.size):
        out[i] = draws.draw_hypergeometric(good, bad, n_drawn, stream)


# -- binomial

TRIALS = (0, 1, 2, 5, 14, 50, 1000, 10**6, 10**9)
CHANCES = (0.0, 1e-300, 1e-12, 1e-9, 3e-9, 9.9e-9, 1.1e-8, 1e-6, 1e-3, 0.1, 0.3, 0.5, 0.7, 0.999)
CHANCES += (1.0 - 1e-9, 1.0 - 1e-16, 1.0)
# Both sides of the change from search to rejection, and of the change within the search.
NEAR_THE_CHANGES = ((19, 0.5), (20, 0.5), (21, 0.5), (99, 0.1), (101, 0.1), (32, 0.2), (33, 0.2), (33, 0.8))
WIDE = ((10**9, 0.3), (10**9, 0.5), (10**9, 1e-3), (10**9, 0.999), (987654321, 0.123456789))


def test_binomial_law():
    cases = list(itertools.chain(itertools.product(TRIALS, CHANCES), NEAR_THE_CHANGES))
    p_values = {}
    for case, (n, p) in enumerate(cases):
        sample = draw_many(fill_binomial, n, p, case=case)
        p_values[n, p] = p_value(sample, (0, n), stats.binom(n, p))
    assert_none_rejected(p_values)


@pytest.mark.parametrize(
    ("n", "p", "mutated"),
    [
        (1, 0.3, 0.311),
        (5, 0.3, 0.305),
        (14, 0.7, 0.704),
        (50, 0.5, 0.502),
        (1000, 0.1, 0.1005),
        (10**6, 0.3, 0.30002),
        (10**9, 3e-9, 3.1e-9),
        (10**9, 0.5, 0.5 + 7e-7),
        (10**9, 1.0 - 1e-9, 1.0 - 1.06e-9),
    ],
)
def test_binomial_law_has_power(n, p, mutated):
    sample = draw_many(fill_binomial, n, mutated)
    n_cases = len(TRIALS) * len(CHANCES) + len(NEAR_THE_CHANGES)
    assert p_value(sample, (0, n), stats.binom(n, p)) < FAMILY_LEVEL / n_cases


@pytest.mark.parametrize(("n", "p"), WIDE)
def test_binomial_moments_and_residues_at_large_n(n, p):
    """Mean within 5 standard errors, variance within 5, third moment within 5, low digits uniform (level 1e-6)."""
    sample = draw_many(fill_binomial, n, p, size=500_000, case=1)
    deviation = math.sqrt(n * p * (1.0 - p))
    standard = ((sample - math.floor(n * p)) - (n * p - math.floor(n * p))) / deviation
    assert abs(standard.mean()) < 5.0 / math.sqrt(sample.size)
    assert abs(np.square(standard).mean() - 1.0) < 5.0 * math.sqrt(2.0 / sample.size)
    skewness = (1.0 - 2.0 * p) / deviation
    assert abs((standard**3).mean() - skewness) < 5.0 * math.sqrt(15.0 / sample.size)
    assert stats.chisquare(np.bincount(sample % 97, minlength=97)).pvalue > FAMILY_LEVEL


@pytest.mark.parametrize(
    ("n", "p", "expected"), [(-3, 0.5, 0), (7, -0.1, 0), (7, 1.5, 7), (7, np.nan, 0), (7, 5e-324, 0)]
)
def test_binomial_outside_its_range(n, p, expected):
    assert draws.draw_binomial(n, p, stream_for(0)) == expected


@pytest.mark.parametrize("n", [1, 2, 5, 32, 33, 10**9])
def test_binomial_search_starts_again_past_its_end(n):
    """The largest uniform may lie past the sum of the rounded masses: the search then draws again."""
    n_restarts = 0
    for mean in np.linspace(0.01, 9.9, 50):
        stream = stream_of_words(ALL_ONES)
        assert 0 <= draws.draw_binomial(n, min(mean / n, 0.5), stream) <= n
        n_restarts += block_index(stream) > 0
    assert n_restarts > 0 or n == 1


def log_of_odds_product(odds, start, end):
    """log of the product of odds(k), a pair numerator and denominator, over start <= k < end, to 40 digits."""
    with localcontext() as context:
        context.prec = 40
        product = Decimal(1)
        for k in range(min(start, end), max(start, end)):
            numerator, denominator = odds(k)
            product *= Decimal(numerator) / Decimal(denominator)
        return float(product.ln() if end > start else -product.ln())


@pytest.mark.parametrize(
    ("n", "p"), [(20, 0.5), (1000, 0.0123), (10**6, 0.1), (10**9, 0.3), (10**9, 1.2e-8), (999999999, 0.123456789)]
)
def test_binomial_acceptance_is_precise(n, p):
    """The log ratio to the mode against a 40-digit product of odds, up to 4 deviations away."""
    mode, deviation = int((n + 1) * p), math.sqrt(n * p * (1.0 - p))
    exact_p = Decimal(p)
    for away in (-4.0, -1.0, -0.01, 0.0, 0.5, 2.0):
        k = min(max(mode + round(away * deviation), 0), n)
        expected = log_of_odds_product(lambda i: (exact_p * (n - i), (1 - exact_p) * (i + 1)), mode, k)
        assert log_binomial_ratio(n, p, k) == pytest.approx(expected, abs=3e-14)


MEANS_OF_REJECTION = (10, 10.5, 12, 20, 50, 1000, 10**5, 10**8)


@pytest.mark.parametrize(
    ("n", "p"),
    [
        (math.ceil(mean / p), p)
        for mean, p in itertools.product(MEANS_OF_REJECTION, (0.5, 0.45, 0.3, 0.1, 0.01, 1e-5, 1e-8))
        if mean / p <= 2**30
    ],
)
def test_binomial_hat_is_above_the_law(n, p):
    """Where Hörmann's constants failed, no sample of a few million would tell: check them on the law itself."""
    a, b, centre, scale, squeeze = binomial_hat(n, p)
    deviation, mode = math.sqrt(n * p * (1.0 - p)), int((n + 1) * p)
    k = np.unique(np.linspace(max(0, mode - 10 * deviation), min(n, mode + 12 * deviation), 20_000).astype(np.int64))
    ratio = np.exp(stats.binom.logpmf(k, n, p) - stats.binom.logpmf(mode, n, p))
    ends = np.sort(np.abs([k - centre, k + 1.0 - centre]), axis=0)
    ends[0, (k < centre) & (centre < k + 1)] = 0.0
    # The smaller root |u| of (2a/(½ − |u|) + b)|u| = distance.
    total = ends + 2.0 * a + b / 2.0
    edge = 0.5 - ends / (total + np.sqrt(total * total - 2.0 * ends * b))
    product = ratio * (a / edge**2 + b) / scale
    assert product.max() <= 1.0
    assert product[0, edge[0] >= 0.07].min() >= squeeze


# -- hypergeometric

LARGE = (
    (50, 50, 50), (30, 30, 22), (200, 17, 100), (17, 200, 100), (500, 500, 300), (1000, 10, 990), (3, 10**9, 5 * 10**8),
    (10**9, 3, 17), (10**6, 10**6, 10**5), (10**6, 10**3, 10**6), (10**5, 10**9, 10**5), (10**5, 10**9, 3 * 10**5),
    (10**9, 10**5, 10**9 - 100), (10**9, 10**9, 1), (10**9, 10**9, 8), (10**9, 10**9, 35), (10**9, 10**9, 41),
    (10**9, 10**9, 10**4), (10**9, 10**9, 10**9), (10**9, 10**8, 10**9), (123456789, 987654321, 222222222),
    (10**9, 10**9, 2 * 10**9 - 50), (10**9, 1, 10**9), (1, 10**9, 1), (10**9, 10**9, 2 * 10**9), (10**9, 0, 7),
)  # fmt: skip


def test_oracle_of_the_hypergeometric_law():
    for good, bad, n_drawn in [(3, 4, 5), (50, 50, 50), (200, 17, 100)]:
        law = Hypergeometric(good, bad, n_drawn)
        expected = stats.hypergeom(good + bad, good, n_drawn).pmf(law.values)
        np.testing.assert_allclose(law.mass, expected, rtol=1e-11)


def test_hypergeometric_law_of_small_populations():
    """Every argument with at most 4 of each colour, so every symmetry and every empty part."""
    p_values = {}
    cases = [(good, bad, n) for good in range(5) for bad in range(5) for n in range(good + bad + 1)]
    for case, arguments in enumerate(cases):
        sample = draw_many(fill_hypergeometric, *arguments, case=1000 + case, size=20_000)
        p_values[arguments] = p_value_of_hypergeometric(sample, *arguments)
    assert_none_rejected(p_values)


def test_hypergeometric_law_of_large_populations():
    p_values = {}
    for case, arguments in enumerate(LARGE):
        sample = draw_many(fill_hypergeometric, *arguments, case=2000 + case)
        p_values[arguments] = p_value_of_hypergeometric(sample, *arguments)
    assert_none_rejected(p_values)


@pytest.mark.parametrize(
    ("arguments", "mutated"),
    [
        ((50, 50, 50), (51, 50, 50)),
        ((30, 30, 22), (30, 31, 22)),
        ((10**9, 10**9, 8), (1_020_000_000, 10**9, 8)),
        ((10**5, 10**9, 10**5), (100_500, 10**9, 10**5)),
        ((10**6, 10**6, 10**5), (10**6, 10**6, 100_020)),
        ((10**9, 10**9, 10**9), (10**9, 10**9, 1_000_001_000)),
    ],
)
def test_hypergeometric_law_has_power(arguments, mutated):
    sample = draw_many(fill_hypergeometric, *mutated)
    assert p_value_of_hypergeometric(sample, *arguments) < FAMILY_LEVEL / len(LARGE)


@pytest.mark.parametrize("arguments", [(10**9, 10**9, 10**9), (10**9, 10**8, 10**9), (123456789, 987654321, 222222222)])
def test_hypergeometric_moments_and_residues_at_large_n(arguments):
    """Mean and variance within 5 standard errors, low digits uniform (level 1e-6)."""
    sample = draw_many(fill_hypergeometric, *arguments, size=300_000, case=3)
    law = Hypergeometric(*arguments)
    standard = (sample - law.mean) / math.sqrt(law.variance)
    assert abs(standard.mean()) < 5.0 / math.sqrt(sample.size)
    assert abs(np.square(standard).mean() - 1.0) < 5.0 * math.sqrt(2.0 / sample.size)
    assert stats.chisquare(np.bincount(sample % 97, minlength=97)).pvalue > FAMILY_LEVEL


@pytest.mark.parametrize(("arguments", "expected"), [((3, 4, -1), 0), ((3, 4, 9), 3), ((0, 0, 0), 0), ((0, 5, 3), 0)])
def test_hypergeometric_outside_its_range(arguments, expected):
    assert draws.draw_hypergeometric(*arguments, stream_for(0)) == expected


@pytest.mark.parametrize("population", [11, 20, 2 * 10**9])
def test_hypergeometric_search_starts_again_past_its_end(population):
    n_restarts = 0
    for rare, sample in itertools.product(range(2, 6), repeat=2):
        stream = stream_of_words(ALL_ONES)
        assert 0 <= draws.draw_hypergeometric(rare, population - rare, sample, stream) <= min(rare, sample)
        n_restarts += block_index(stream) > 0
    assert n_restarts > 0


REDUCED = ((30, 30, 60), (30, 25, 61), (500, 300, 1000), (10**6, 10**5, 2 * 10**6), (10**9, 10**9, 2 * 10**9))


@pytest.mark.parametrize(("rare", "sample", "population"), [*REDUCED, (3 * 10**5, 10**5, 2 * 10**9)])
def test_hypergeometric_acceptance_is_precise(rare, sample, population):
    """The log ratio to the mode against a 40-digit product of odds, up to 4 deviations away."""
    law = Hypergeometric(rare, population - rare, sample)
    mode, others = (sample + 1) * (rare + 1) // (population + 2), population - rare - sample
    for away in (-4.0, -1.0, -0.01, 0.0, 0.5, 2.0):
        k = min(max(mode + round(away * math.sqrt(law.variance)), 0), sample)
        expected = log_of_odds_product(lambda i: ((rare - i) * (sample - i), (i + 1) * (others + i + 1)), mode, k)
        assert log_hypergeometric_ratio(rare, sample, population, k) == pytest.approx(expected, abs=3e-14)


def hypergeometric_cases_with_rejection():
    for population in (80, 81, 97, 128, 200, 1000, 10**5, 10**7):
        for rare, sample in itertools.product(np.linspace(0.02, 0.5, 12) * population, repeat=2):
            rare, sample = math.floor(rare), math.floor(sample)
            if sample <= rare and sample * rare >= 20 * population:
                yield rare, sample, population


def test_hypergeometric_hat_is_above_the_law():
    """Stadlober's table covers the law at every step, over a grid from the smallest populations that use it."""
    cases = list(hypergeometric_cases_with_rejection())
    assert len(cases) > 200
    for rare, sample, population in cases:
        law = Hypergeometric(rare, population - rare, sample)
        centre, width = hypergeometric_hat(rare, sample, population)
        distance = np.maximum(np.abs(law.values - centre), np.abs(law.values + 1 - centre))
        assert (distance * np.sqrt(law.mass / law.mass.max())).max() <= width / 2, (rare, sample, population)
