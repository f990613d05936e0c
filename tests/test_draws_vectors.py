"""Multinomial, multivariate hypergeometric and categorical draws against their exact laws at fixed seeds.

Level and power: as in test_draws.py.
"""

import itertools
import math

import numpy as np
import pytest
from numba import njit
from scipy import stats

from kofn.kernels import draws
from laws import (
    ALL_ONES,
    ALL_ZEROS,
    FAMILY_LEVEL,
    N_DRAWS,
    Hypergeometric,
    assert_none_rejected,
    draw_many,
    p_value,
    p_value_of_cells,
    stream_for,
    stream_of_words,
)


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


# -- count vectors


def listed_p_value(found, law):
    """Test rows of counts against {count vector: probability}."""
    radix = int(found.max()) + 1
    assert found.min() >= 0
    assert radix ** found.shape[1] < 2**63
    codes, seen = np.unique(found @ (radix ** np.arange(found.shape[1])), return_counts=True)
    digits = codes[:, np.newaxis] // radix ** np.arange(found.shape[1]) % radix
    observed = {tuple(vector): count for vector, count in zip(digits.tolist(), seen.tolist(), strict=True)}
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


def test_multinomial_loses_nobody_to_a_rounding_residue(rng):
    """Nobody before the last category, and there the uniform that would move agents on to a residue of 1e-16."""
    for _ in range(200):
        probabilities = np.sort(rng.dirichlet(np.ones(4)))
        stream = stream_of_words(ALL_ZEROS)
        stream[-1] = ALL_ONES
        counts = np.full(4, -1)
        draws.draw_multinomial(5, probabilities, stream, counts)
        assert counts.tolist() == [0, 0, 0, 5]


def test_multinomial_counts_negative_and_nan_as_zero():
    rows = draw_rows(fill_multinomial, 5, 1000, np.array([np.nan, 0.3, -1e-18, 0.7, np.nan]), n_draws=100)
    expected = draw_rows(fill_multinomial, 5, 1000, np.array([0.0, 0.3, 0.0, 0.7, 0.0]), n_draws=100)
    assert np.array_equal(rows, expected)
    assert not draw_rows(fill_multinomial, 2, -4, np.array([0.5, 0.5]), n_draws=1).any()


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


@pytest.mark.parametrize("n_drawn", [12, 13, 31])
def test_multivariate_hypergeometric_law_has_power(n_drawn):
    """One agent of 45 less, for either way of drawing and for the complement."""
    rows = draw_rows(fill_multivariate, 3, np.array([20, 15, 9]), n_drawn)
    n_cases = sum(len(sizes) for _, sizes in SMALL_POPULATIONS)
    assert listed_p_value(rows, multivariate_law((20, 15, 10), n_drawn)) < FAMILY_LEVEL / n_cases


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
    """Probability 0 is not drawn even by the extreme uniforms; where the sum falls short, the last positive one is."""
    assert draws.draw_categorical(np.array(probabilities), stream_of_words(ALL_ZEROS)) == at_zero
    assert draws.draw_categorical(np.array(probabilities), stream_of_words(ALL_ONES)) == at_one
