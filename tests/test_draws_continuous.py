"""Normal, gamma and Dirichlet draws against their exact laws at fixed seeds.

Level: a family of Kolmogorov-Smirnov or chi-square tests (one test function with all its cases) rejects right draws
with probability at most `FAMILY_LEVEL`, divided evenly over its cases. Power: as in test_draws.py.
"""

import math

import numpy as np
import pytest
from numba import njit
from scipy import special, stats

from kofn.kernels import draws
from laws import FAMILY_LEVEL, N_DRAWS, assert_none_rejected, p_value_of_cells, stream_for


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
    assert stats.kstest(1.015 * sample + 0.01, "norm").pvalue < FAMILY_LEVEL


def test_gamma_law():
    """Kolmogorov-Smirnov, and the mean and variance of the logarithm within 5 standard errors."""
    p_values = {}
    for case, shape in enumerate(SHAPES):
        sample = draw_floats(fill_log_gamma, shape, case=6000 + case)
        mean, variance = special.digamma(shape), special.polygamma(1, shape)
        kurtosis = special.polygamma(3, shape) / variance**2 + 3.0
        assert abs(sample.mean() - mean) < 5.0 * math.sqrt(variance / sample.size)
        assert abs(sample.var() / variance - 1.0) < 5.0 * math.sqrt((kurtosis - 1.0) / sample.size)
        p_values[shape] = stats.kstest(sample, log_gamma_cdf, args=(shape,)).pvalue
    assert_none_rejected(p_values)


@pytest.mark.parametrize(("shape", "mutated"), [(0.01, 0.0105), (0.3, 0.31), (2.5, 2.55), (1e6, 1e6 + 40.0)])
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
