"""Exact values against simulation, on every game that comes with the package.

Each game gives three p-values: how many of N_BATCHES batches of runs have the exact value in their 95 % interval, a t test
of all runs together, and one of long-run averages. All are held against one level for the family (see `laws`). An exact
value that is off by two standard errors of a batch is covered by 48 % of the intervals, which the first finds with
probability 0.995; off by one, the second finds it with probability 0.8.
"""

import functools

import numpy as np
import pytest
from scipy import stats

import kofn
from kofn.engine.deployment import steps_until
from laws import FAMILY_LEVEL, assert_none_rejected

N_BATCHES, BATCH = 40, 50
LONG_RUNS, LONG_STEPS = 40, 12_000
# (k, n): small enough for seconds, k < n so that agents are sampled.
SIZES = {
    "cooling": (2, 6),
    "epidemic": (3, 8),
    "formation": (4, 10),
    "irrigation": (4, 20),
    "robots": (2, 5),
    "servers": (2, 7),
    "traffic": (3, 6),
}
N_TESTS = 3 * len(SIZES)


@functools.cache
def case(name):
    """(Evaluation, Deployment from the initial law) of a policy learned on few agents."""
    game = kofn.load_game(name)
    k, n = SIZES[name]
    policy = kofn.solve(game, k, tol=1e-3).policy
    steps = steps_until(game, 1e-6)
    simulated = kofn.deploy(game, policy, n, steps=steps, runs=N_BATCHES * BATCH, seed=7)
    return kofn.evaluate(game, policy, n), policy, simulated


def p_value_of_coverage(returns, value):
    """One-sided: too few of the batches have the value in their 95 % interval."""
    batches = returns.reshape(N_BATCHES, BATCH)
    half_widths = stats.t.ppf(0.975, BATCH - 1) * batches.std(axis=1, ddof=1) / np.sqrt(BATCH)
    covered = int((np.abs(batches.mean(axis=1) - value) <= half_widths).sum())
    return stats.binomtest(covered, N_BATCHES, 0.95, alternative="less").pvalue


def test_every_game_is_here():
    # Agents on a graph have no exact chain, and with a field of actions only few agents have one.
    without = {"gaussian-squeeze", "ising", "inventory", "inventory-tiny", "inventory-large"}
    assert {*SIZES, *without} == set(kofn.list_games())


@pytest.mark.slow
def test_exact_values_lie_in_the_intervals_of_simulations():
    p_values = {}
    for name in SIZES:
        exact, _, simulated = case(name)
        deviation = simulated.returns.std(ddof=1)
        # What the simulation leaves out after its last step is no part of the comparison.
        assert simulated.truncation_bound + exact.half_width < 0.01 * deviation / np.sqrt(simulated.returns.size)
        p_values["coverage", name] = p_value_of_coverage(simulated.returns, exact.initial_value)
        p_values["mean", name] = stats.ttest_1samp(simulated.returns, exact.initial_value).pvalue
    assert_none_rejected(p_values)


@pytest.mark.slow
def test_long_run_averages_agree():
    p_values = {}
    for name in SIZES:
        exact, policy, _ = case(name)
        runs = kofn.deploy(exact.game, policy, exact.n, steps=LONG_STEPS, runs=LONG_RUNS, seed=11)
        means = runs.batch_means.mean(axis=1)
        assert exact.average_half_width <= exact.tol / 2
        if np.ptp(means) < 1e-9:
            # Nothing random is left after the burn-in.
            assert np.abs(means - exact.average_reward).max() < 1e-9
            continue
        p_values["average", name] = stats.ttest_1samp(means, exact.average_reward).pvalue
        deviation = runs.populations.std(axis=0, ddof=1) / np.sqrt(LONG_RUNS)
        off = np.abs(runs.mean_population - exact.mean_population(exact.stationary_occupancy))
        assert (off <= 7 * deviation + 1e-12).all()
        np.testing.assert_allclose(runs.occupancy, exact.stationary_occupancy.sum(axis=1), rtol=0, atol=0.02)
    assert_none_rejected(p_values)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_the_comparison_has_power(name):
    exact, _, simulated = case(name)
    standard_error = simulated.returns.std(ddof=1) / np.sqrt(BATCH)
    for side in (-1.0, 1.0):
        off = exact.initial_value + side * 2.5 * standard_error
        assert p_value_of_coverage(simulated.returns, off) < FAMILY_LEVEL / N_TESTS
        off = exact.initial_value + side * 1.5 * standard_error
        assert stats.ttest_1samp(simulated.returns, off).pvalue < FAMILY_LEVEL / N_TESTS
