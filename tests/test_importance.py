"""Importance weights of others' actions: the kernels and their front, against listed labelled agents."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles_importance import (
    joint_actions,
    laws_of_total,
    probability_of_total,
    product_weight,
    weight_moments,
    without,
)

from kofn.engine.drift.weights import importance_weights
from kofn.kernels.importance.marginal import TRIM, log_marginal_of_others, make_marginal_work, marginal_work_size
from kofn.kernels.importance.weights import (
    count_pairs,
    log_product_of_others,
    log_second_moment,
    summarise_weights,
    weigh,
    weighted_step,
)

EVEN, SPREAD = np.full((1, 3), 1 / 3), np.array([[0.4, 0.2, 0.4]])
LOWER, UPPER = np.array([[0.5, 0.3, 0.2]]), np.array([[0.4, 0.3, 0.3]])
MAX_ERROR = 1e-12


def product_logs(laws, group, actions):
    out = np.full(len(group), np.nan)
    log_product_of_others(laws, np.asarray(group), np.asarray(actions), out)
    return out


def marginal_logs(laws, group, actions, units, low, high, trim=TRIM, work=None):
    """For every agent, where low and high are of (group, action) or for all."""
    group, actions = np.asarray(group), np.asarray(actions)
    counts = np.full(laws.shape, -1)
    count_pairs(group, actions, counts)
    bounds = [np.array(np.broadcast_to(bound, laws.shape), np.int64) for bound in (low, high)]
    work = work or make_marginal_work(len(group), len(laws), units)
    out = np.full(laws.shape, np.nan)
    log_marginal_of_others(laws, counts, units, *bounds, trim, work, out)
    assert (out[counts == 0] == -np.inf).all()
    return out[group, actions]


@st.composite
def drifts(draw, most_agents=4):
    """(μ, π, group, units) of 1 to 4 agents in up to three groups; π has zeros, μ has none."""
    n, n_groups, n_al = draw(st.integers(1, most_agents)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    mu, pi = (rng.dirichlet(np.full(n_al, draw(st.sampled_from([0.2, 1.0, 30.0]))), n_groups) for _ in range(2))
    mu = 0.9 * mu + 0.1 / n_al
    pi = np.where(pi < 0.05, 0.0, pi)
    pi /= pi.sum(axis=1, keepdims=True)
    units = draw(st.lists(st.integers(0, 4), min_size=n_al, max_size=n_al))
    return mu, pi, rng.integers(n_groups, size=n), np.array(units)


# One agent left out.


@given(drifts(), st.integers(-1, 8), st.integers(-1, 6))
def test_marginal_lists_what_the_others_can_do(drift, low, width):
    mu, pi, group, units = drift
    actions = np.zeros(len(group), np.int64)
    actions[::2] = len(units) - 1
    for laws in (mu, pi):
        expected = [probability_of_total(laws, group, units, i, low, low + width) for i in range(len(group))]
        found = marginal_logs(laws, group, actions, units, low, low + width)
        np.testing.assert_allclose(np.exp(found), expected, rtol=MAX_ERROR)


@given(drifts())
def test_product_lists_what_the_others_did(drift):
    mu, pi, group, _ = drift
    n = len(group)
    for actions, _ in joint_actions(mu, group):
        found = np.exp(product_logs(pi, group, actions))
        expected = [math.prod(pi[g][a] for g, a in zip(without(group, i), without(actions, i))) for i in range(n)]
        np.testing.assert_allclose(found, expected, rtol=MAX_ERROR)


@pytest.mark.parametrize("sizes", [(1,), (2,), (1, 1), (1, 2, 3), (7, 1, 0, 4, 1), (0, 16, 1), (5, 5, 5, 5, 5, 5, 5)])
def test_groups_of_every_size_leave_one_agent_out(sizes, rng):
    group = np.repeat(np.arange(len(sizes)), sizes)
    units = np.array([2, 0, 5, 3])
    laws = rng.dirichlet(np.ones(4), len(sizes))
    actions = rng.integers(4, size=len(group))
    total = units[actions].sum()
    exact = total - np.tile(units, (len(sizes), 1))
    for low, high in ((exact, exact), (exact - 3, exact + 1), (0, 5 * len(group))):
        bounds = [np.broadcast_to(bound, laws.shape) for bound in (low, high)]
        found = np.exp(marginal_logs(laws, group, actions, units, low, high))
        pairs = {(group[i], actions[i]): i for i in range(len(group))}
        for (g, a), i in pairs.items():
            law = laws_of_total(laws, without(group, i), units)
            expected = math.fsum(p for t, p in law.items() if bounds[0][g, a] <= t <= bounds[1][g, a])
            assert (found[(group == g) & (actions == a)] == found[i]).all()
            assert found[i] == pytest.approx(expected, rel=MAX_ERROR)


def test_one_work_space_serves_fewer_agents_and_groups_and_refuses_more(rng):
    units, laws = np.array([0, 1, 3]), rng.dirichlet(np.ones(3), 9)
    work = make_marginal_work(6, 4, units)
    assert marginal_work_size(6, 4, 3) == work.slots.coefficients.size
    for n, n_groups in ((6, 4), (2, 2), (5, 1), (1, 1), (6, 3)):
        group = np.arange(n) % n_groups + 5
        actions = np.arange(n) % 3
        found = marginal_logs(laws, group, actions, units, 2, 4, work=work)
        np.testing.assert_array_equal(found, marginal_logs(laws, group, actions, units, 2, 4))
    with pytest.raises(ValueError, match="counts: found more groups"):
        marginal_logs(laws, np.arange(5), np.zeros(5, int), units, 2, 4, work=work)
    with pytest.raises(ValueError, match="counts: found more agents"):
        marginal_logs(laws, np.zeros(60, int), np.zeros(60, int), units, 2, 4, work=work)
    counts = np.zeros((9, 3), np.int64)
    log_marginal_of_others(laws, counts, units, counts, counts, TRIM, work, out := np.full((9, 3), np.nan))
    assert (out == -np.inf).all()


# What weights are.


@given(drifts())
def test_weights_have_mean_one_and_the_marginal_is_the_mean_of_the_product_given_what_is_seen(drift):
    mu, pi, group, units = drift
    others, outcomes = without(group, 0), {}
    pi = np.where(mu > 0, pi, 0.0)
    for actions, p in joint_actions(mu, others):
        outcomes.setdefault(sum(units[a] for a in actions), []).append((p, [0, *actions]))
    second = 0.0
    for total, listed in outcomes.items():
        logs = [marginal_logs(laws, group, listed[0][1], units, total, total)[0] for laws in (pi, mu)]
        weight = np.full(1, np.nan)
        weigh(np.array(logs[:1]), np.array(logs[1:]), np.inf, weight)
        mass = math.fsum(p for p, _ in listed)
        products = []
        for p, actions in listed:
            found = math.exp(product_logs(pi, group, actions)[0] - product_logs(mu, group, actions)[0])
            assert found == pytest.approx(product_weight(pi, mu, group, actions, 0), rel=MAX_ERROR)
            products.append(p * found)
        assert weight[0] == pytest.approx(math.fsum(products) / mass, rel=1e-11, abs=1e-300)
        second += mass * weight[0] ** 2
    mean, product_second = weight_moments(
        pi, mu, others, lambda actions: product_weight(pi, mu, group, [0, *actions], 0)
    )
    assert mean == pytest.approx(1.0, abs=1e-12)
    assert second <= product_second * (1 + 1e-12)
    sizes = np.bincount(others, minlength=len(mu))
    assert log_second_moment(pi, mu, sizes) == pytest.approx(math.log(product_second), abs=1e-11)


def exact_second_moment(pi, mu, k):
    """Σ_t P_π(t)²/P_μ(t) of the total of k agents, from the kernel."""
    group, units = np.zeros(k + 1, np.int64), np.arange(3)
    logs = [[marginal_logs(laws, group, group, units, t, t)[0] for t in range(2 * k + 1)] for laws in (pi, mu)]
    return np.exp(2 * np.array(logs[0]) - np.array(logs[1])).sum(), np.exp(logs).sum(axis=1)


def test_a_hundred_agents_have_the_known_second_moments():
    sizes = np.array([100])
    for mu, pi, product, marginal in ((EVEN, SPREAD, 2200, 1.02), (LOWER, UPPER, 868, 731)):
        chi2 = (pi**2 / mu).sum() - 1
        moment = math.exp(log_second_moment(pi, mu, sizes))
        assert moment == pytest.approx((1 + chi2) ** 100, rel=1e-12)
        assert round(moment, -2 if product == 2200 else 0) == product
        second, masses = exact_second_moment(pi, mu, 100)
        np.testing.assert_allclose(masses, 1.0, rtol=1e-12)
        assert round(second, 2 if marginal == 1.02 else 0) == marginal
    assert log_second_moment(EVEN, np.array([[0.5, 0.5, 0.0]]), sizes) == np.inf
    assert log_second_moment(np.array([[0.5, 0.5, 0.0]]), EVEN, sizes) == pytest.approx(100 * math.log(1.5))


def test_without_drift_every_weight_is_one(rng):
    laws = rng.dirichlet(np.ones(4), 6)
    group, action = rng.integers(6, size=(5, 40)), rng.integers(4, size=(5, 40))
    for options in ({"form": "product"}, {}, {"edges": np.arange(0, 120, 25)}):
        found = importance_weights(laws, laws.copy(), group, action, **options)
        assert (found.weights == 1.0).all()
        assert (found.mean, found.effective_size, found.chi2, found.clip_rate) == (1.0, 200.0, 0.0, 0.0)


# Extremes.


def test_impossible_actions_count_against_the_others_alone():
    laws = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    np.testing.assert_allclose(
        product_logs(laws, [0, 0, 1], [2, 0, 1]), [math.log(0.5) + math.log(0.3), -np.inf, -np.inf]
    )
    assert (product_logs(laws, [0, 0, 1], [2, 2, 1]) == -np.inf).all()
    assert product_logs(laws, [0], [2]) == 0.0
    found = marginal_logs(laws, [0, 0, 1], [2, 0, 1], np.array([0, 1, 4]), 8, 8)
    np.testing.assert_array_equal(found, [-np.inf, -np.inf, -np.inf])
    # A marginal does not ask what one agent's own law says of its own action.
    found = marginal_logs(laws, [0, 0], [2, 0], np.array([0, 1, 4]), 1, 1)
    np.testing.assert_allclose(found, math.log(0.5))
    assert (marginal_logs(laws, [0, 1], [0, 0], np.array([0, 1, 4]), 3, 2) == -np.inf).all()


@pytest.mark.parametrize("trim", [TRIM, 0.0])
def test_tiny_probabilities_keep_their_digits(trim):
    """1000 agents who hardly ever act: binomial tails down to 1e-2990, from logarithms of factorials."""
    p = 1e-3
    laws, group, units = np.array([[1 - p, p]]), np.zeros(1001, np.int64), np.array([0, 1])
    for total in (0, 1, 30, 500, 999, 1000):
        log_binomial = math.lgamma(1001) - math.lgamma(total + 1) - math.lgamma(1001 - total)
        expected = log_binomial + total * math.log(p) + (1000 - total) * math.log1p(-p)
        found = marginal_logs(laws, group, group, units, total, total, trim)[0]
        assert found == pytest.approx(expected, abs=1e-10, rel=1e-12)
    above = marginal_logs(laws, group, group, units, 500, 1001, trim)[0]
    # The ratio of neighbours in the tail is (n − t)p/((t + 1)(1 − p)): a geometric sum to first order.
    at = marginal_logs(laws, group, group, units, 500, 500, trim)[0]
    assert at < above < at - math.log1p(-1.01 * p)
    everything = marginal_logs(laws, group, group, units, 0, 1000, trim)[0]
    assert everything == pytest.approx(0.0, abs=1e-12)


def test_laws_far_apart_in_units_and_size_stay_exact():
    """Without trimming what is as unlikely as 1e-200 beside likely totals is found too; with it, to 1e-28 of 1."""
    group = np.array([0, 1, 1, 2, 2, 2])
    laws, units = np.array([[1e-200, 1.0, 0.0], [0.5, 0.5, 1e-300], [1.0, 1e-9, 1e-18]]), np.array([3, 0, 50])
    actions = np.zeros(6, np.int64)
    for low, high in ((12, 12), (15, 15), (150, 300), (3, 9), (203, 203)):
        exact = marginal_logs(laws, group, actions, units, low, high, 0.0)
        expected = [probability_of_total(laws, group, units, i, low, high) for i in range(6)]
        assert (exact[np.array(expected) == 0.0] < math.log(1e-300)).all()
        likely = np.array(expected) > 1e-280
        np.testing.assert_allclose(exact[likely], np.log(np.array(expected)[likely]), rtol=0, atol=1e-12)
        trimmed = np.exp(marginal_logs(laws, group, actions, units, low, high))
        np.testing.assert_allclose(trimmed, expected, rtol=1e-12, atol=1e-28)


# Clips, diagnostics and steps.


def test_weights_are_clipped_and_summarised():
    log_pi, log_mu = np.log([0.5, 0.1, 0.4, 1.0]), np.log([0.25, 0.4, 0.04, 1.0])
    out = np.full(4, np.nan)
    assert weigh(log_pi, log_mu, 3.0, out) == 1
    np.testing.assert_allclose(out, [2.0, 0.25, 3.0, 1.0])
    mean, effective_size, chi2 = summarise_weights(out)
    assert mean == pytest.approx(np.mean(out))
    assert effective_size == pytest.approx(out.sum() ** 2 / (out**2).sum())
    assert chi2 == pytest.approx((out**2).mean() / out.mean() ** 2 - 1)
    impossible = np.array([-np.inf, 0.0, -np.inf, 900.0])
    assert weigh(impossible, np.array([-1.0, -np.inf, -np.inf, 0.0]), 7.0, out) == 2
    np.testing.assert_array_equal(out, [0, 7, 0, 7])
    assert weigh(impossible, np.array([-1.0, -np.inf, -np.inf, 0.0]), np.inf, out) == 0
    np.testing.assert_array_equal(out, [0, np.inf, 0, np.inf])
    assert summarise_weights(out) == (np.inf, 2.0, 1.0)
    assert summarise_weights(np.zeros(3)) == (0.0, 0.0, np.inf)
    assert summarise_weights(np.array([1e300, 1e300]))[1] == 2.0


def test_a_weighted_step_is_that_of_as_many_steps():
    assert weighted_step(0.1, 1.0) == 0.1
    assert weighted_step(0.1, 3.0) == pytest.approx(1 - 0.9**3)
    assert weighted_step(0.1, 1e-9) == pytest.approx(-1e-9 * math.log(0.9))
    assert (weighted_step(0.5, np.inf), weighted_step(0.0, np.inf), weighted_step(0.3, 0.0)) == (1.0, 0.0, 0.0)
    assert (weighted_step(1.0, 0.2), weighted_step(1.0, 0.0)) == (1.0, 0.0)


# Arrays of samples.


@pytest.mark.parametrize("count_own", [False, True])
@pytest.mark.parametrize("edges", [None, [2, 5]])
def test_front_weighs_every_agent_of_every_sample(edges, count_own, rng):
    n_samples, group = 6, np.array([0, 1, 1, 0])
    mu, pi = rng.dirichlet(np.ones(3), (2, n_samples, 2))
    action, units = rng.integers(3, size=(n_samples, 4)), np.array([0, 1, 3])
    arguments = (pi, mu, np.tile(group, (n_samples, 1)), action)
    found = importance_weights(*arguments, units=units, edges=edges and np.array(edges), count_own=count_own)
    by_action = importance_weights(*arguments, form="product", clip=1.5)
    for s, i in np.ndindex(n_samples, 4):
        own = units[action[s, i]] if count_own and edges else 0
        seen = units[action[s]].sum() - units[action[s, i]] + own
        low, high = seen, seen
        if edges:
            low, high = max(e for e in [-99, *edges] if e <= seen), min(e for e in [99, *edges] if e > seen) - 1
        chance = [probability_of_total(laws[s], group, units, i, low - own, high - own) for laws in (pi, mu)]
        assert found.weights[s, i] == pytest.approx(chance[0] / chance[1], rel=1e-11)
        product = product_weight(pi[s], mu[s], group, action[s], i)
        assert math.exp(by_action.log_weights[s, i]) == pytest.approx(product, rel=1e-11)
        assert by_action.weights[s, i] == pytest.approx(min(product, 1.5), rel=1e-11)
    assert by_action.clip_rate == np.mean(np.exp(by_action.log_weights) > 1.5) > 0
    # Weights belong to their samples: handed to others, they give another mean.
    value = np.arange(n_samples, dtype=float)[:, None]
    assert abs((found.weights * value).mean() - (found.weights[::-1] * value).mean()) > 0.01
    assert len(np.unique(found.weights[:, 0])) > 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"form": "sum"}, "form: found 'sum', expected product or marginal"),
        ({"clip": np.nan}, "clip: found nan, expected above 0"),
        ({"pi": np.full((2, 3), 0.3)}, "pi: rows must be probabilities, worst row sum is off by 1.0e-01"),
        ({"mu": np.full((1, 3), 1 / 3)}, r"pi, mu: found shapes \(2, 3\) and \(1, 3\), expected the same"),
        (
            {"mu": np.full((4, 2, 3), 1 / 3)},
            r"mu: found shape \(4, 2, 3\), expected \[groups, actions\] or \[1, groups",
        ),
        ({"action": [0, 3]}, "action: found 0 to 3, expected 0 to 2"),
        ({"group": [0.5, 1.0]}, "group: found float64 values, expected whole numbers"),
        ({"group": [0]}, r"group, action: found shapes \(1, 1\) and \(1, 2\), expected both"),
        ({"units": [0, -1, 2]}, r"units: found .*, expected 3 whole numbers from 0 on"),
        ({"units": [0, 1, 2**40]}, "units: the laws of totals of 2 agents take .*; take smaller whole numbers"),
        ({"edges": np.array([3, 3])}, "edges: found .*, expected ascending whole numbers"),
    ],
)
def test_front_names_what_is_wrong(change, message):
    arguments = {"pi": np.full((2, 3), 1 / 3), "mu": np.full((2, 3), 1 / 3), "group": [0, 1], "action": [0, 2]} | change
    with pytest.raises(ValueError, match=message) as caught:
        importance_weights(**arguments)
    assert "\n" not in str(caught.value)
