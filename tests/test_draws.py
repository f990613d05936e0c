"""Every draw against its exact law at fixed seeds, over the whole range of its arguments.

Level: a family of chi-square or Kolmogorov-Smirnov tests (one test function with all its cases) rejects right draws
with probability at most `FAMILY_LEVEL`, divided evenly over its cases. Power: for each family a law that is off by a
small stated amount is rejected by the same check at the same sample size.
"""

import itertools
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from kofn.kernels import draws, streams
from kofn.kernels.draws.binomial import binomial_hat, log_binomial_ratio
from kofn.kernels.draws.hypergeometric import hypergeometric_hat, log_hypergeometric_ratio
from numba import njit
from scipy import special, stats

FAMILY_LEVEL = 1e-6
N_DRAWS = 100_000
MIN_EXPECTED = 10.0
MAX_LISTED = 300


@njit
def fill_binomial(n, p, stream, out):
    for i in range(out.size):
        out[i] = draws.draw_binomial(n, p, stream)


@njit
def fill_hypergeometric(good, bad, n_drawn, stream, out):
    for i in range(out.size):
        out[i] = draws.draw_hypergeometric(good, bad, n_drawn, stream)


@njit
def fill_multinomial(n, probabilities, stream, out):
    for i in range(out.shape[0]):
        draws.draw_multinomial(n, probabilities, stream, out[i])


@njit
def fill_multivariate(counts, n_drawn, stream, out):
    for i in range(out.shape[0]):
        draws.draw_multivariate_hypergeometric(counts, n_drawn, stream, out[i])


@njit
def fill_categorical(probabilities, stream, out):
    for i in range(out.size):
        out[i] = draws.draw_categorical(probabilities, stream)


@njit
def fill_normal(stream, out):
    for i in range(out.size):
        out[i] = draws.draw_normal(stream)


@njit
def fill_log_gamma(shape, stream, out):
    for i in range(out.size):
        out[i] = draws.draw_log_gamma(shape, stream)


@njit
def fill_gamma(shape, stream, out):
    for i in range(out.size):
        out[i] = draws.draw_gamma(shape, stream)


@njit
def fill_dirichlet(concentration, stream, out):
    for i in range(out.shape[0]):
        draws.draw_dirichlet(concentration, stream, out[i])


def stream_for(case):
    """A stream of its own for each numbered case."""
    stream = streams.new_stream(streams.checked_seed(20240611))
    streams.seek(stream, 200, case, 0)
    return stream


def stream_of_words(word):
    """A stream whose next 256 bits repeat `word`."""
    stream = streams.new_stream(streams.checked_seed(0))
    stream[3], stream[4:] = 0, np.uint64(word)
    return stream


ALL_ZEROS, ALL_ONES = 0, 2**64 - 1


def draw_many(fill, *arguments, case=0, size=N_DRAWS):
    out = np.full(size, -1, np.int64)
    fill(*arguments, stream_for(case), out)
    return out


# -- the check that all discrete families share


def pool(observed, expected):
    """Merge neighbouring cells until each expects at least MIN_EXPECTED; what is left over joins the last cell."""
    pooled = [[0.0, 0.0]]
    for seen, due in zip(observed, expected, strict=True):
        pooled[-1][0] += seen
        pooled[-1][1] += due
        if pooled[-1][1] >= MIN_EXPECTED:
            pooled.append([0.0, 0.0])
    rest = pooled.pop()
    if pooled:
        pooled[-1][0] += rest[0]
        pooled[-1][1] += rest[1]
    return np.array(pooled)


def p_value_of_cells(observed, expected):
    """Chi-square test of pooled cells; where all mass is in one of them, exact test of the draws outside the mode."""
    assert observed.sum() == pytest.approx(expected.sum(), rel=1e-9)
    assert not observed[expected == 0.0].any(), "drew what cannot happen"
    cells = pool(observed, expected)
    if len(cells) > 1:
        return stats.chisquare(cells[:, 0], cells[:, 1] * (cells[:, 0].sum() / cells[:, 1].sum())).pvalue
    mode, total = expected.argmax(), int(observed.sum())
    outside = np.delete(expected, mode).sum() / total
    return stats.binomtest(total - int(observed[mode]), total, min(outside, 1.0)).pvalue


def p_value(sample, support, law):
    """Test a sample of integers against scipy's frozen `law` on lowest … highest: all values, or cells if too many."""
    lowest, highest = support
    assert lowest <= sample.min()
    assert sample.max() <= highest
    if highest - lowest < MAX_LISTED:
        listed = np.arange(lowest, highest + 1)
        return p_value_of_cells(np.bincount(sample - lowest, minlength=listed.size), law.pmf(listed) * sample.size)
    mean, deviation = law.stats(moments="mv")[0], math.sqrt(law.stats(moments="mv")[1])
    if deviation < MAX_LISTED / 20:
        start = max(lowest, math.floor(mean - MAX_LISTED / 2))
        last_of_cell = np.arange(start, min(start + MAX_LISTED, highest))
    else:
        levels = np.linspace(0.0, 1.0, MAX_LISTED)[1:-1]
        last_of_cell = np.unique(np.floor(mean + deviation * stats.norm.ppf(levels)).astype(np.int64))
    observed = np.bincount(np.searchsorted(last_of_cell, sample), minlength=last_of_cell.size + 1)
    return p_value_of_cells(observed, np.diff(law.cdf(last_of_cell), prepend=0.0, append=1.0) * sample.size)


def assert_none_rejected(p_values):
    """Hold the smallest p-value of {case: p-value} against the family's level, and all against uniformity."""
    worst = min(p_values, key=p_values.get)
    assert p_values[worst] > FAMILY_LEVEL / len(p_values), f"{worst}: p-value {p_values[worst]:.1e}"


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
        (14, 0.7, 0.703),
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
@pytest.mark.parametrize("mean", [1e-12, 0.5, 9.9])
def test_binomial_search_ends_at_the_last_uniform(n, mean):
    """The largest uniform is past the sum of the rounded masses; the search ends, within the support."""
    p = min(mean / n, 0.5)
    assert 0 <= draws.draw_binomial(n, p, stream_of_words(ALL_ONES)) <= n
    assert draws.draw_binomial(n, p, stream_of_words(ALL_ZEROS)) == int(n == 1 and False)


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


@pytest.mark.parametrize("p", [0.5, 0.45, 0.3, 0.1, 0.01, 1e-5, 1e-8])
@pytest.mark.parametrize("mean", [10, 10.5, 12, 20, 50, 1000, 10**5, 10**8])
def test_binomial_hat_is_above_the_law(mean, p):
    """Where Hörmann's constants failed, no sample of a few million would tell: check them on the law itself."""
    n = math.ceil(mean / p)
    if n > 2**30:
        pytest.skip("n out of range")
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
    (50, 50, 50), (30, 30, 22), (200, 17, 100), (17, 200, 100), (500, 500, 300), (1000, 10, 990), (3, 10**9, 10**9 // 2),
    (10**9, 3, 17), (10**6, 10**6, 10**5), (10**6, 10**3, 10**6), (10**5, 10**9, 10**5), (10**5, 10**9, 3 * 10**5),
    (10**9, 10**5, 10**9 - 100), (10**9, 10**9, 1), (10**9, 10**9, 8), (10**9, 10**9, 35), (10**9, 10**9, 41),
    (10**9, 10**9, 10**4), (10**9, 10**9, 10**9), (10**9, 10**8, 10**9), (123456789, 987654321, 222222222),
    (10**9, 10**9, 2 * 10**9 - 50), (10**9, 1, 10**9), (1, 10**9, 1), (10**9, 10**9, 2 * 10**9), (10**9, 0, 7),
)  # fmt: skip


class Hypergeometric:
    """The law as normalised products of odds, outwards from the mode: scipy's loses digits at 1e9."""

    def __init__(self, good, bad, n_drawn):
        total = good + bad
        self.lowest, self.highest = max(0, n_drawn - bad), min(good, n_drawn)
        self.mean = n_drawn * good / total if total else 0.0
        spread = (total - n_drawn) / (total - 1) if total > 1 else 0.0
        self.variance = self.mean * (bad / total if total else 0.0) * spread
        reach = 12.0 * math.sqrt(self.variance) + 40.0
        self.values = np.arange(
            max(self.lowest, math.floor(self.mean - reach)), min(self.highest, self.mean + reach) + 1
        )
        k = self.values[:-1].astype(np.longdouble)
        steps = np.log((good - k) * (n_drawn - k)) - np.log((k + 1) * (bad - n_drawn + k + 1))
        logs = np.concatenate([[np.longdouble(0)], np.cumsum(steps)])
        mass = np.exp(logs - logs.max())
        self.mass = (mass / mass.sum()).astype(np.float64)

    def pmf(self, k):
        place = np.clip(np.searchsorted(self.values, k), 0, self.values.size - 1)
        return np.where(self.values[place] == k, self.mass[place], 0.0)

    def cdf(self, k):
        below = np.concatenate([[0.0], np.cumsum(self.mass)])
        return below[np.searchsorted(self.values, k, side="right")]

    def stats(self, moments):
        assert moments == "mv"
        return self.mean, self.variance


def p_value_of_hypergeometric(sample, good, bad, n_drawn):
    law = Hypergeometric(good, bad, n_drawn)
    return p_value(sample, (law.lowest, law.highest), law)


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
        ((10**9, 10**9, 8), (1_010_000_000, 10**9, 8)),
        ((10**5, 10**9, 10**5), (100_500, 10**9, 10**5)),
        ((10**6, 10**6, 10**5), (10**6, 10**6, 100_010)),
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


@pytest.mark.parametrize("arguments", [(5, 5, 5), (20, 30, 19), (60, 60, 30), (10**5, 2 * 10**9, 10**5)])
def test_hypergeometric_search_ends_at_the_last_uniform(arguments):
    assert 0 <= draws.draw_hypergeometric(*arguments, stream_of_words(ALL_ONES)) <= min(arguments)


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


# -- count vectors


def listed_p_value(found, law):
    """Test rows of counts against {count vector: probability}."""
    vectors, seen = np.unique(found, axis=0, return_counts=True)
    observed = {tuple(vector): count for vector, count in zip(vectors.tolist(), seen.tolist(), strict=True)}
    assert observed.keys() <= law.keys(), "drew what cannot happen"
    ordered = sorted(law, key=law.get)
    counts = np.array([observed.get(vector, 0) for vector in ordered])
    return p_value_of_cells(counts, np.array([law[vector] for vector in ordered]) * len(found))


def compositions(n, size):
    return [v for v in itertools.product(range(n + 1), repeat=size) if sum(v) == n]


def multinomial_law(n, probabilities):
    law = {}
    for vector in compositions(n, len(probabilities)):
        ways = math.factorial(n) // math.prod(map(math.factorial, vector))
        mass = ways * math.prod(p**count for p, count in zip(probabilities, vector, strict=True))
        if mass > 0.0:
            law[vector] = mass
    return law


def multivariate_law(counts, n_drawn):
    law = {}
    for vector in itertools.product(*(range(count + 1) for count in counts)):
        if sum(vector) == n_drawn:
            ways = math.prod(math.comb(count, drawn) for count, drawn in zip(counts, vector, strict=True))
            law[vector] = ways / math.comb(sum(counts), n_drawn)
    return law


def draw_rows(fill, size, *arguments, case=0, n_draws=N_DRAWS):
    out = np.full((n_draws, size), -1, np.int64)
    fill(*arguments, stream_for(case), out)
    return out


SMALL_MULTINOMIALS = (
    (0, (0.5, 0.5)), (1, (0.2, 0.3, 0.5)), (4, (0.2, 0.3, 0.5)), (5, (0.0, 0.7, 0.0, 0.3, 0.0)), (3, (1.0,)),
    (6, (0.98, 0.01, 0.01)), (6, (0.01, 0.01, 0.98)), (3, (0.0, 1.0, 0.0)), (7, (0.25, 0.25, 0.25, 0.25)),
)  # fmt: skip


def test_multinomial_law_by_listing():
    p_values = {}
    for case, (n, probabilities) in enumerate(SMALL_MULTINOMIALS):
        rows = draw_rows(fill_multinomial, len(probabilities), n, np.array(probabilities), case=3000 + case)
        p_values[n, probabilities] = listed_p_value(rows, multinomial_law(n, probabilities))
    assert_none_rejected(p_values)


def test_multinomial_law_has_power():
    rows = draw_rows(fill_multinomial, 3, 4, np.array([0.205, 0.295, 0.5]))
    assert listed_p_value(rows, multinomial_law(4, (0.2, 0.3, 0.5))) < FAMILY_LEVEL / len(SMALL_MULTINOMIALS)


def subset_p_values(rows, law_of_subset):
    """p-values of the sum over every set of categories but the full one: together they fix all covariances too."""
    size = rows.shape[1]
    subsets = [s for r in range(1, size) for s in itertools.combinations(range(size), r)]
    p_values = {}
    for subset in subsets:
        law, support = law_of_subset(list(subset))
        p_values[subset] = p_value(rows[:, subset].sum(axis=1), support, law)
    return p_values


@pytest.mark.parametrize("n", [10**6, 10**9])
@pytest.mark.parametrize(
    "probabilities", [(0.1, 0.2, 0.3, 0.4), (0.999, 1e-8, 0.0, 0.001 - 1e-8), (1e-9, 0.5, 0.5 - 1e-9)]
)
def test_multinomial_law_of_large_populations(n, probabilities):
    probabilities = np.array(probabilities)
    rows = draw_rows(fill_multinomial, probabilities.size, n, probabilities, case=n % 1000, n_draws=30_000)
    assert (rows.sum(axis=1) == n).all()
    assert (rows[:, probabilities == 0.0] == 0).all()
    p_values = subset_p_values(rows, lambda s: (stats.binom(n, min(probabilities[s].sum(), 1.0)), (0, n)))
    assert_none_rejected(p_values)


def test_multinomial_keeps_the_precision_of_small_tails():
    """Tenfold smaller from category to category: the mass to come is a difference of nearly equal numbers."""
    probabilities = 0.9 * 0.1 ** np.arange(12.0)
    rows = draw_rows(fill_multinomial, 12, 10**9, probabilities, n_draws=30_000)
    chances = probabilities / probabilities.sum()
    p_values = {j: p_value(rows[:, j], (0, 10**9), stats.binom(10**9, chances[j])) for j in range(12)}
    assert_none_rejected(p_values)


@pytest.mark.parametrize(
    ("probabilities", "possible"),
    [
        ([0.1] * 10, range(10)),
        ([0.0, 0.1 + 0.2, 0.7, 0.0], [1, 2]),
        ([1.0, 1e-17, 0.0], [0, 1]),
        ([1.0 - 1e-16, 1e-16, 1e-300], [0, 1, 2]),
        ([2.0, 0.0, 6.0], [0, 2]),
        ([0.0, 1e-300, 0.0], [1]),
        ([5e-324, 5e-324], [0, 1]),
        ([-1e-18, 0.5, np.nan, 0.5], [1, 3]),
    ],
)
@pytest.mark.parametrize("n", [0, 1, 7, 10**9])
def test_multinomial_places_everybody(probabilities, possible, n):
    rows = draw_rows(fill_multinomial, len(probabilities), n, np.array(probabilities), n_draws=200)
    assert rows.min() >= 0
    assert (rows.sum(axis=1) == n).all()
    assert not np.delete(rows, list(possible), axis=1).any()


def test_multinomial_without_positive_probability_places_nobody():
    assert not draw_rows(fill_multinomial, 3, 5, np.array([0.0, -1.0, np.nan]), n_draws=1).any()


SMALL_POPULATIONS = (
    ((3, 0, 2, 4), tuple(range(10))), ((1, 1), (1,)), ((0, 0, 5), (2,)), ((7,), (3,)), ((4, 4, 4), (5, 6, 7)),
    ((20, 15, 9), (3, 12, 13, 22, 23, 31, 41)), ((25, 24), (8, 9, 20)),
)  # fmt: skip


def test_multivariate_hypergeometric_law_by_listing():
    """Agent by agent (up to 4 per category), category by category, and the complements of both."""
    p_values = {}
    cases = [(counts, n) for counts, sizes in SMALL_POPULATIONS for n in sizes]
    for case, (counts, n) in enumerate(cases):
        rows = draw_rows(fill_multivariate, len(counts), np.array(counts), n, case=4000 + case)
        p_values[counts, n] = listed_p_value(rows, multivariate_law(counts, n))
    assert_none_rejected(p_values)


def test_multivariate_hypergeometric_law_has_power():
    for mutated in ((20, 15, 10), (20, 16, 9)):
        rows = draw_rows(fill_multivariate, 3, np.array(mutated), 13)
        with pytest.raises(AssertionError, match="p-value"):
            assert_none_rejected(
                {mutated: listed_p_value(np.minimum(rows, (20, 15, 9)), multivariate_law((20, 15, 9), 13))}
            )


@pytest.mark.parametrize("n_drawn", [5, 16, 17, 1000, 10**6, 5 * 10**8, 10**9 - 100])
def test_multivariate_hypergeometric_law_of_large_populations(n_drawn):
    counts = np.array([10**8, 3 * 10**8, 0, 6 * 10**8])
    rows = draw_rows(fill_multivariate, 4, counts, n_drawn, case=n_drawn % 1001, n_draws=30_000)
    assert (rows.sum(axis=1) == n_drawn).all()
    assert not rows[:, 2].any()

    def law_of_subset(subset):
        good = int(counts[subset].sum())
        law = Hypergeometric(good, 10**9 - good, n_drawn)
        return law, (law.lowest, law.highest)

    assert_none_rejected(subset_p_values(rows, law_of_subset))


@pytest.mark.parametrize(("n_drawn", "expected"), [(-2, [0, 0, 0]), (0, [0, 0, 0]), (9, [2, 0, 7]), (12, [2, 0, 7])])
def test_multivariate_hypergeometric_at_the_ends(n_drawn, expected):
    counts = np.array([2, 0, 7])
    assert draw_rows(fill_multivariate, 3, counts, n_drawn, n_draws=1).tolist() == [expected]
    assert counts.tolist() == [2, 0, 7]


# -- categories

LAWS = ((1.0,), (0.0, 1.0, 0.0), (0.2, 0.3, 0.5), (0.5, 0.0, 0.5), (1e-3, 0.998, 1e-3), (0.1,) * 10)


def test_categorical_law():
    p_values = {}
    for case, law in enumerate(LAWS):
        counts = np.bincount(draw_many(fill_categorical, np.array(law), case=5000 + case), minlength=len(law))
        p_values[law] = p_value_of_cells(counts, np.array(law) * N_DRAWS)
    assert_none_rejected(p_values)


def test_categorical_law_has_power():
    counts = np.bincount(draw_many(fill_categorical, np.array([0.21, 0.29, 0.5])))
    assert p_value_of_cells(counts, np.array([0.2, 0.3, 0.5]) * N_DRAWS) < FAMILY_LEVEL / len(LAWS)


@pytest.mark.parametrize(
    ("probabilities", "at_zero", "at_one"),
    [
        ([0.0, 0.5, 0.5, 0.0], 1, 2),
        ([0.1] * 10 + [0.0], 0, 9),
        ([0.25, 0.25, 0.0], 0, 1),
        ([0.0, -0.0, np.nan, 1.0], 3, 3),
        ([0.0, 0.0], draws.NO_CATEGORY, draws.NO_CATEGORY),
    ],
)
def test_categorical_at_the_ends_of_the_uniform(probabilities, at_zero, at_one):
    """A category of probability 0 is not drawn even by the extreme uniforms; a sum below 1 falls to the last positive."""
    assert draws.draw_categorical(np.array(probabilities), stream_of_words(ALL_ZEROS)) == at_zero
    assert draws.draw_categorical(np.array(probabilities), stream_of_words(ALL_ONES)) == at_one


# -- continuous


def draw_floats(fill, *arguments, case=0, size=N_DRAWS):
    out = np.full(size, np.nan)
    fill(*arguments, stream_for(case), out)
    return out


def log_gamma_cdf(x, shape):
    """P(log G <= x); for small exp(x) by the first term of the series, which does not underflow."""
    small = np.exp(np.minimum(shape * x - special.gammaln(shape + 1.0), 0.0))
    return np.where(x < -40.0, small, special.gammainc(shape, np.exp(np.clip(x, -40.0, 700.0))))


SHAPES = (1e-9, 1e-3, 0.01, 0.3, 0.999, 1.0, 2.5, 50.0, 1e4, 1e6, 1e9)


def test_normal_law():
    sample = draw_floats(fill_normal, size=500_000)
    assert stats.kstest(sample, "norm").pvalue > FAMILY_LEVEL
    assert abs(np.square(sample).mean() - 1.0) < 5.0 * math.sqrt(2.0 / sample.size)
    assert abs((sample**4).mean() - 3.0) < 5.0 * math.sqrt(96.0 / sample.size)
    cells = np.searchsorted(stats.norm.ppf(np.linspace(0.0, 1.0, 17)[1:-1]), sample)
    pairs = np.bincount(16 * cells[:-1] + cells[1:], minlength=256)
    assert stats.chisquare(pairs).pvalue > FAMILY_LEVEL
    assert stats.kstest(1.01 * sample + 0.005, "norm").pvalue < FAMILY_LEVEL


def test_gamma_law():
    p_values = {}
    for case, shape in enumerate(SHAPES):
        sample = draw_floats(fill_log_gamma, shape, case=6000 + case)
        p_values[shape] = stats.kstest(sample, log_gamma_cdf, args=(shape,)).pvalue
    assert_none_rejected(p_values)


@pytest.mark.parametrize(("shape", "mutated"), [(0.01, 0.0105), (0.3, 0.31), (2.5, 2.55), (1e6, 1e6 + 20.0)])
def test_gamma_law_has_power(shape, mutated):
    sample = draw_floats(fill_log_gamma, mutated)
    assert stats.kstest(sample, log_gamma_cdf, args=(shape,)).pvalue < FAMILY_LEVEL / len(SHAPES)


@pytest.mark.parametrize("shape", [1e-3, 0.3, 1.0, 7.0, 1e6])
def test_gamma_is_the_exponential_of_its_logarithm(shape):
    logs = draw_floats(fill_log_gamma, shape, size=1000)
    np.testing.assert_allclose(draw_floats(fill_gamma, shape, size=1000), np.exp(logs), rtol=1e-14)


CONCENTRATIONS = ((0.01, 0.02), (0.3, 0.3, 0.3), (0.01, 1.0, 30.0), (1.0, 1.0, 1.0, 1.0), (1e6, 2e6, 10.0), (0.05,) * 8)
# Cells that tell the smallest shares apart, where a Kolmogorov-Smirnov test would only see ties at 0 and 1.
SHARES = np.concatenate(
    [[0.0], 10.0 ** np.array([-200, -100, -50, -20, -10, -5, -3, -2, -1.5, -1]), np.arange(2, 10) / 10]
)


def p_values_of_dirichlet(rows, concentration):
    """Each share against its beta law."""
    p_values = {}
    for category, own in enumerate(concentration):
        law = stats.beta(own, sum(concentration) - own)
        edges = law.ppf(np.linspace(0.0, 1.0, 40)) if min(concentration) >= 1.0 else np.append(SHARES, 1.0)
        observed = np.histogram(rows[:, category], edges)[0]
        p_values[concentration, category] = p_value_of_cells(observed, np.diff(law.cdf(edges)) * len(rows))
    return p_values


def draw_laws(concentration, case=0, n_draws=50_000):
    out = np.full((n_draws, len(concentration)), np.nan)
    fill_dirichlet(np.array(concentration), stream_for(case), out)
    return out


def test_dirichlet_law():
    p_values = {}
    for case, concentration in enumerate(CONCENTRATIONS):
        rows = draw_laws(concentration, case=7000 + case)
        assert rows.min() >= 0.0
        np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-15 * len(concentration))
        p_values |= p_values_of_dirichlet(rows, concentration)
    assert_none_rejected(p_values)


def test_dirichlet_law_has_power():
    for concentration, mutated in [((0.3, 0.3, 0.3), (0.3, 0.3, 0.32)), ((0.01, 0.02), (0.0105, 0.02))]:
        p_values = p_values_of_dirichlet(draw_laws(mutated), concentration)
        assert min(p_values.values()) < FAMILY_LEVEL / sum(map(len, CONCENTRATIONS))


@pytest.mark.parametrize("scale", [1e-3, 1e-12, 1e-300])
def test_dirichlet_law_of_vanishing_concentrations(scale):
    """Every gamma underflows: nearly all mass goes to one category, drawn in proportion to the concentrations."""
    weights = np.array([1.0, 2.0, 5.0])
    rows = draw_laws(tuple(scale * weights))
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-15)
    if scale < 1e-6:
        assert (rows.max(axis=1) > 1.0 - 1e-6).mean() > 0.9999
        counts = np.bincount(rows.argmax(axis=1), minlength=3)
        assert p_value_of_cells(counts, weights / 8.0 * len(rows)) > FAMILY_LEVEL


def test_dirichlet_gives_nothing_to_a_concentration_of_zero():
    rows = draw_laws((0.0, 0.5, 0.0, 2.0), n_draws=100)
    assert not rows[:, [0, 2]].any()
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-15)
