"""Estimates under drift: the bound and its parts, exact values, and repeated estimates from the streams."""

import itertools
import math

import numba
import numpy as np
import pytest
from oracles_importance import joint_actions, laws_of_total
from scipy import stats

from kofn.engine.drift.bound import corrected_estimate, drift_bound
from kofn.engine.drift.exact import (
    excess_of_marginal,
    excess_of_product,
    log_law_of_total,
    log_ratios,
    log_second_moment_of_marginal,
    log_second_moment_of_product,
)
from kofn.engine.study.drift import log_weights_of_totals, repeat_cell
from kofn.engine.study.drift_results import clopper_pearson
from kofn.engine.study.drift_settings import DriftStudySettings
from kofn.kernels.importance.replications import PURPOSE_DRIFT, draw_drift_sample
from kofn.kernels.streams import checked_seed, new_stream, seek

LEVEL = 1e-6
DRIFTS = {"move": {"mu": [0.5, 0.3, 0.2], "pi": [0.4, 0.2, 0.4], "units": [0, 2, 3]}}
REWARDS = {"line": {"at": [0.5, 2.0], "value": [-1.0, 2.0]}, "fill": {"stock": 1.0}}


def settings_of(**changes):
    base = {
        "drifts": DRIFTS,
        "rewards": REWARDS,
        "n": [3, 5],
        "samples": [20, 60],
        "replications": 6,
        "clip": 2.0,
        "seed": 7,
    }
    return DriftStudySettings(**base | changes)


# ---- The bound


def bernstein(variance, width, n, log_term):
    return math.sqrt(2 * variance * log_term / n) + 7 * width * log_term / (3 * (n - 1))


def test_bound_is_the_sum_of_its_four_terms():
    found = drift_bound(
        sample_variance=0.3,
        n_samples=50,
        clip=4.0,
        largest=1.5,
        delta=0.1,
        excess=0.02,
        n_agents=16,
        lipschitz=2.0,
        span=3,
    )
    log_term = math.log(4 / 0.1)
    assert found.variance + found.range == pytest.approx(bernstein(0.3, 2 * 4.0 * 1.5, 50, log_term))
    assert found.variance == pytest.approx(math.sqrt(2 * 0.3 * log_term / 50))
    assert found.clipping == pytest.approx(1.5 * 0.02)
    assert found.mean_field == pytest.approx(2.0 * 3 / (2 * 4))
    assert found.sampling == pytest.approx(found.variance + found.range + found.clipping)
    assert found.total == pytest.approx(found.sampling + found.mean_field)
    assert (found.delta, found.clipping_from) == (0.1, "given")


def test_estimate_is_what_plain_python_makes_of_it(rng):
    values, weights = rng.uniform(-1, 2, 40), rng.exponential(size=40)
    options = {"clip": 1.5, "largest": 2.0, "delta": 0.02, "n_agents": 9, "lipschitz": 0.5, "span": 2.0}
    given, sample, complement = (
        corrected_estimate(values, weights, excess=excess, **options) for excess in (0.25, "sample", "complement")
    )
    clipped = [min(w, 1.5) for w in weights]
    products = [w * y for w, y in zip(clipped, values)]
    for found in (given, sample, complement):
        assert found.value == pytest.approx(sum(products) / 40)
        assert found.self_normalised == pytest.approx(sum(products) / sum(clipped))
        assert found.effective_size == pytest.approx(sum(clipped) ** 2 / sum(w * w for w in clipped))
        assert found.clip_rate == np.mean(weights > 1.5) > 0
        assert found.chi2 == pytest.approx(40 / found.effective_size - 1)
        assert found.bound.mean_field == pytest.approx(0.5 * 2 / 6)
    assert given.bound.clipping == pytest.approx(0.5)
    assert sample.bound.clipping == pytest.approx(2 * sum(max(w - 1.5, 0) for w in weights) / 40)
    assert [x.bound.clipping_from for x in (given, sample, complement)] == ["given", "sample", "complement"]
    # Half of delta for the mean of the clipped weights, which lie between 0 and the clip.
    least = np.mean(clipped) - bernstein(np.var(clipped, ddof=1), 1.5, 40, math.log(2 / 0.01))
    assert complement.bound.clipping == pytest.approx(2 * min(1 - least, 1))
    variance = np.var(products, ddof=1)
    assert sample.bound.variance == pytest.approx(math.sqrt(2 * variance * math.log(4 / 0.02) / 40))
    assert complement.bound.variance == pytest.approx(math.sqrt(2 * variance * math.log(4 / 0.01) / 40))
    assert math.isnan(corrected_estimate(values, 0 * weights, clip=1.0, largest=2.0).self_normalised)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": [1.0]}, r"values, weights: found shapes \(1,\) and \(3,\), expected"),
        ({"weights": [1.0, -1.0, 1.0]}, "weights: found .*-1.0.*, expected at least 0"),
        ({"weights": [1.0, np.nan, 1.0]}, "weights: found .*nan.*, expected at least 0"),
        ({"clip": 0.0}, "clip: found 0.0, expected above 0"),
        ({"largest": 0.5}, "values: found 1 in absolute value, expected at most 0.5"),
        ({"delta": 1.0}, "delta: found 1.0, expected between 0 and 1"),
        ({"excess": -1.0}, "excess: found -1.0, expected at least 0, or complement or sample"),
        ({"excess": "guess"}, "excess: found 'guess', expected at least 0"),
        ({"n_agents": 0}, "n_agents: found 0, expected at least 1"),
        ({"span": np.nan}, "span: found nan, expected at least 0"),
    ],
)
def test_estimates_name_what_is_wrong(change, message):
    arguments = {"values": [1.0, 0.5, 0.0], "weights": [1.0, 1.0, 1.0], "clip": 2.0, "largest": 1.0} | change
    with pytest.raises(ValueError, match=message):
        corrected_estimate(**arguments)


# ---- Exact values


@pytest.mark.parametrize("n", [1, 2, 4])
def test_exact_moments_are_those_of_listed_agents(n):
    mu, pi, units, clip = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.0, 0.9]), np.array([1, 0, 3]), 1.7
    total_pi, total_mu = (laws_of_total([law], [0] * n, units) for law in (pi, mu))
    log_pi, log_mu = (log_law_of_total(law, units, n) for law in (pi, mu))
    np.testing.assert_allclose(np.exp(log_pi), [total_pi.get(t, 0.0) for t in range(3 * n + 1)], rtol=1e-12)
    np.testing.assert_allclose(np.exp(log_mu), [total_mu.get(t, 0.0) for t in range(3 * n + 1)], rtol=1e-12)
    second = sum(total_pi[t] ** 2 / p for t, p in total_mu.items())
    assert log_second_moment_of_marginal(log_pi, log_mu) == pytest.approx(math.log(second))
    excess = sum(p * max(total_pi[t] / p - clip, 0) for t, p in total_mu.items())
    assert excess_of_marginal(log_pi, log_mu, clip) == pytest.approx(excess)
    listed = [(p, math.prod(pi[a] / mu[a] for a in actions)) for actions, p in joint_actions([mu], [0] * n)]
    assert excess_of_product(pi, mu, n, clip) == pytest.approx(sum(p * max(w - clip, 0) for p, w in listed))
    assert log_second_moment_of_product(pi, mu, n) == pytest.approx(math.log(sum(p * w * w for p, w in listed)))


def test_exact_moments_of_extreme_laws():
    one, two = np.array([1.0, 0.0]), np.array([0.5, 0.5])
    units = np.array([0, 1])
    certain, even = (log_law_of_total(law, units, 2000) for law in (one, two))
    assert log_second_moment_of_marginal(certain, even) == pytest.approx(2000 * math.log(2))
    assert log_second_moment_of_marginal(even, certain) == np.inf
    assert log_second_moment_of_product(two, one, 5) == np.inf
    assert (log_ratios(certain, even)[1:] == -np.inf).all()
    assert excess_of_marginal(certain, even, np.inf) == excess_of_product(one, two, 9, np.inf) == 0.0
    assert math.isnan(excess_of_product(np.full(8, 0.125), np.full(8, 0.125), 1000, 2.0))
    for kind in (1, 2, 4):
        law = np.full(kind, 1 / kind)
        assert excess_of_product(law, law, 3, 0.75) == pytest.approx(0.25)


def test_clopper_pearson_interval_leaves_tails_of_its_level():
    for successes, trials in ((0, 8), (3, 10), (8, 8), (950, 1000)):
        low, high = clopper_pearson(successes, trials)
        assert low <= successes / trials <= high
        if successes:
            assert stats.binom.sf(successes - 1, trials, low) == pytest.approx(0.025)
        if successes < trials:
            assert stats.binom.cdf(successes, trials, high) == pytest.approx(0.025)


# ---- Repeated estimates


def test_weights_of_totals_are_ratios_of_their_laws():
    for n in (1, 2, 7):
        (drift,) = settings_of().drawn_drifts
        expected = log_ratios(*(log_law_of_total(law, drift.units, n) for law in (drift.pi, drift.mu)))
        np.testing.assert_allclose(log_weights_of_totals(drift, n), expected, rtol=1e-11, atol=1e-12)


def test_repetitions_are_estimates_of_the_same_samples():
    settings = settings_of()
    for cell in settings.cells:
        found = repeat_cell(settings, cell)
        log_marginal = log_weights_of_totals(cell.drift, cell.n)
        logs = np.log(cell.drift.pi / cell.drift.mu)
        for (i, n_samples), replication in itertools.product(enumerate(settings.samples), (0, 5)):
            stream, counts = new_stream(checked_seed(7)), np.zeros(3, np.int64)
            seek(stream, PURPOSE_DRIFT, replication, n_samples)
            drawn = [
                draw_drift_sample(cell.n, cell.drift.mu, cell.drift.units, logs, stream, counts)
                for _ in range(n_samples)
            ]
            totals, log_products = (np.array(x) for x in zip(*drawn))
            for form, weights in enumerate((np.ones(n_samples), np.exp(log_products), np.exp(log_marginal[totals]))):
                clip = 2.0 if form else np.inf
                sums = found.weights[i, replication, form]
                clipped = np.minimum(weights, clip)
                above = np.maximum(weights - clip, 0.0)
                expected = [clipped.mean(), (clipped**2).mean(), (above > 0).mean(), above.mean(), (weights**2).mean()]
                np.testing.assert_allclose(sums, expected, rtol=1e-11)
                for r, reward in enumerate(settings.drawn_rewards):
                    estimate = corrected_estimate(reward(totals / cell.n), weights, clip=clip, largest=2.0, excess=0.0)
                    mean, variance = found.values[i, replication, form, r]
                    assert mean == pytest.approx(estimate.value, rel=1e-11)
                    bound = drift_bound(
                        sample_variance=variance, n_samples=n_samples, clip=clip, largest=2.0, delta=0.05, excess=0.0
                    )
                    assert bound.variance == pytest.approx(estimate.bound.variance, rel=1e-9)


def test_repetitions_do_not_depend_on_threads_or_on_how_they_are_divided(all_threads, monkeypatch):
    settings = settings_of(replications=11)
    cell = settings.cells[1]
    found = repeat_cell(settings, cell)
    numba.set_num_threads(1)
    # A clock that stands still makes pieces grow; one that runs makes them single.
    ticks = itertools.count()
    monkeypatch.setattr("kofn.engine.study.drift.time.perf_counter", lambda: float(next(ticks)))
    alone = repeat_cell(settings, cell)
    np.testing.assert_array_equal(found.values, alone.values)
    np.testing.assert_array_equal(found.weights, alone.weights)
    more = repeat_cell(settings_of(replications=14), cell)
    np.testing.assert_array_equal(more.values[:, :11], found.values)


def test_weighted_estimates_have_the_mean_after_the_drift():
    """Two-sided z test at level 1e-6 in all; raw samples miss by more than 20 standard errors, which power 1 − 1e-6 asks 10."""
    settings = settings_of(n=[4], samples=[50], replications=4000, clip=1e9)
    (cell,) = settings.cells
    found = repeat_cell(settings, cell).values[0, :, :, :, 0]
    pi, mu = (np.exp(log_law_of_total(law, cell.drift.units, 4)) for law in (cell.drift.pi, cell.drift.mu))
    after, before = settings.values(cell) @ pi, settings.values(cell) @ mu
    errors = found.std(axis=0, ddof=1) / math.sqrt(4000)
    threshold = stats.norm.isf(LEVEL / 12)
    for form, expected in enumerate((before, after, after)):
        assert (abs(found[:, form].mean(axis=0) - expected) < threshold * errors[form]).all()
    assert (abs(after - before) > 20 * errors).all()
