"""The oracles against published vectors, hand calculation, other libraries, and each other."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from oracles import (
    agents_of,
    backup_fixed,
    backup_histogram,
    backup_joint,
    backup_rounded,
    backup_shared,
    best_keys,
    binomial_pmf,
    count_vectors_listed,
    counts_of,
    expected_value_by_listing_agents,
    hypergeometric_pmf,
    labelled_mdp,
    largest_remainder_counts,
    multinomial_pmf,
    multivariate_hypergeometric_pmf,
    next_counts_law,
    pairs_of,
    philox4x32_10_reference,
    q_by_listing_agents,
    random_game_tables,
    random_rows,
    rounded_next_counts,
    solve_by_listing,
    solve_joint_by_labelled_mdp,
    splitting_game,
    value_iteration,
    value_map,
)
from oracles.strategies import game_tables, seeds

CLOSE = {"rtol": 0.0, "atol": 1e-12}


def test_count_vectors_are_listed_in_lexicographic_order():
    assert count_vectors_listed(2, 3) == [(0, 0, 2), (0, 1, 1), (0, 2, 0), (1, 0, 1), (1, 1, 0), (2, 0, 0)]
    assert count_vectors_listed(0, 2) == [(0, 0)]
    assert count_vectors_listed(4, 1) == [(4,)]
    assert len(count_vectors_listed(5, 4)) == math.comb(8, 3)


@given(st.lists(st.integers(0, 3), max_size=6))
def test_agents_and_counts_are_inverse_up_to_order(labelled):
    assert agents_of(counts_of(labelled, 4)) == tuple(sorted(labelled))


def test_pairs_are_flat_with_the_action_last():
    assert pairs_of(agents=(0, 0, 1), actions=(2, 0, 1), n_sl=2, n_al=3) == (1, 0, 1, 0, 1, 0)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_gives_the_published_vectors(counter, key, expected):
    counter, key, expected = ([int(word, 16) for word in text.split()] for text in (counter, key, expected))
    assert list(philox4x32_10_reference(counter, key)) == expected


@pytest.mark.parametrize(("n", "p"), [(0, 0.3), (1, 1.0), (7, 0.0), (12, 0.37), (300, 1e-3), (301, 0.25)])
def test_binomial_pmf_agrees_with_scipy(n, p):
    ours = binomial_pmf(n, p)
    np.testing.assert_allclose(ours, stats.binom.pmf(np.arange(n + 1), n, p), rtol=1e-10, atol=1e-300)
    assert math.fsum(ours) == pytest.approx(1.0, abs=1e-14)


def test_binomial_pmf_of_a_huge_case_has_its_mean_and_mass():
    support = np.arange(2_800, 3_200 + 1)
    pmf = binomial_pmf(10**9, 3e-6, support)
    assert math.fsum(pmf) == pytest.approx(stats.binom.cdf(3_200, 10**9, 3e-6) - stats.binom.cdf(2_799, 10**9, 3e-6))
    assert support[pmf.argmax()] in (2_999, 3_000)


@pytest.mark.parametrize(
    ("good", "bad", "n_drawn"), [(0, 5, 3), (5, 0, 3), (4, 6, 0), (4, 6, 10), (30, 20, 7), (300, 200, 9)]
)
def test_hypergeometric_pmf_agrees_with_scipy(good, bad, n_drawn):
    expected = stats.hypergeom.pmf(np.arange(n_drawn + 1), good + bad, good, n_drawn)
    np.testing.assert_allclose(hypergeometric_pmf(good, bad, n_drawn), expected, rtol=1e-10, atol=1e-300)


def test_hypergeometric_pmf_of_a_huge_case_is_nearly_binomial():
    huge = hypergeometric_pmf(10**9, 3 * 10**9, 4)
    np.testing.assert_allclose(huge, binomial_pmf(4, 0.25), rtol=0, atol=1e-8)
    assert math.fsum(huge) == pytest.approx(1.0, abs=1e-14)


def test_two_colours_make_the_multivariate_hypergeometric_an_ordinary_one():
    np.testing.assert_allclose(multivariate_hypergeometric_pmf((4, 5), 3), hypergeometric_pmf(4, 5, 3), **CLOSE)


def test_multinomial_pmf_is_the_law_of_labelled_agents_with_equal_rows(rng):
    row = random_rows(rng, (3,))
    np.testing.assert_allclose(multinomial_pmf(4, row), next_counts_law([row] * 4), **CLOSE)
    expected = stats.multinomial.pmf(count_vectors_listed(4, 3), 4, row)
    np.testing.assert_allclose(multinomial_pmf(4, row), expected, **CLOSE)


@given(game_tables(), st.integers(1, 4), seeds())
def test_the_law_of_the_counts_gives_the_expectation_of_the_walk(tables, k, seed):
    rng = np.random.default_rng(seed)
    _, n_sl, n_al, _ = tables["P_l"].shape
    agents, actions = rng.integers(n_sl, size=k), rng.integers(n_al, size=k)
    V = rng.normal(size=(1, len(count_vectors_listed(k, n_sl))))
    at = {c: value for (_, c), value in value_map(V, k, n_sl).items()}
    expected = expected_value_by_listing_agents(at, tables["P_l"], 0, agents, actions)
    law = next_counts_law([tables["P_l"][0, s, a] for s, a in zip(agents, actions, strict=True)])
    assert law.sum() == pytest.approx(1.0, abs=1e-12)
    assert V[0] @ law == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("mean", "expected"),
    [
        ([1.0, 2.0], (1, 2)),
        ([0.5, 0.5, 1.0], (1, 0, 1)),  # a tie goes to the lowest state
        ([0.1 + 0.2, 0.3, 0.3, 0.1], (1, 0, 0, 0)),  # 0.1 + 0.2 > 0.3 in floating point, tied here
        ([0.3, 0.1 + 0.2, 0.3, 0.1], (1, 0, 0, 0)),
        ([0.2, 1.7, 1.1], (0, 2, 1)),
        ([2.0 - 1e-12, 1e-12, 1.0], (2, 0, 1)),
    ],
)
def test_largest_remainders_take_what_is_left(mean, expected):
    assert largest_remainder_counts(mean) == expected


@given(game_tables(), st.integers(1, 5), seeds())
def test_rounding_stays_within_one_of_the_mean(tables, k, seed):
    rng = np.random.default_rng(seed)
    _, n_sl, n_al, _ = tables["P_l"].shape
    z = rng.multinomial(k, np.full(n_sl * n_al, 1.0 / (n_sl * n_al)))
    rounded = rounded_next_counts(tables["P_l"], 0, z)
    mean = np.einsum("sa,sat->t", z.reshape(n_sl, n_al), tables["P_l"][0])
    assert sum(rounded) == k
    assert np.abs(rounded - mean).max() < 1.0 + 1e-8


def two_agent_example():
    """One global state; action 0 stays, action 1 moves from local state 0 to 1 with probability 1/2 and costs 1."""
    return {
        "P_g": np.ones((1, 2, 1)),
        "P_l": np.array([[[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.0, 1.0]]]]),
        "r_g": np.array([[0.0, 0.25]]),
        "r_l": np.array([[[1.0, 0.0], [3.0, 2.0]]]),
        "gamma": 0.5,
    }


def test_joint_update_of_two_agents_by_hand():
    V = np.array([[16.0, 10.0, 1.0]])  # at the counts 02, 11, 20
    values, q = backup_joint(two_agent_example(), V, 2)
    # From 20: both stay 1 + 1/2; one tries 1/2 + (1 + 10)/4; both try 0 + (1 + 2*10 + 16)/8.
    assert q[0, (2, 0)][0, (2, 0, 0, 0)] == pytest.approx(1.5)
    assert q[0, (2, 0)][0, (1, 1, 0, 0)] == pytest.approx(3.25)
    assert q[0, (2, 0)][1, (0, 2, 0, 0)] == pytest.approx(4.625 + 0.25)
    # From 11: the agent in 1 stays (3); the other stays (1 + 3)/2 + 10/2, or tries 3/2 + (10 + 16)/4.
    assert q[0, (1, 1)][1, (1, 0, 1, 0)] == pytest.approx(7.25)
    np.testing.assert_allclose(values, [[11.25, 8.25, 4.875]], **CLOSE)
    assert best_keys(q[0, (1, 1)]) == {(1, (0, 1, 1, 0))}


def test_the_other_updates_of_two_agents_by_hand():
    game, V = two_agent_example(), np.array([[16.0, 10.0, 1.0]])
    values, q = backup_shared(game, V, 2)
    assert q[0, (2, 0)][0, (1, 0)] == pytest.approx(4.625)
    np.testing.assert_allclose(values, [[11.25, 8.25, 4.875]], **CLOSE)
    _, q = backup_histogram(game, V, 2)
    # Histogram 11: each tries with 1/2, so moves with 1/4; mean reward 1/2, law of the movers 9/16, 6/16, 1/16.
    assert q[0, (2, 0)][0, (1, 1)] == pytest.approx(0.5 + (9 * 1 + 6 * 10 + 16) / 32)
    values, q = backup_fixed(game, V, 2, np.array([[[0.5, 0.5], [1.0, 0.0]]]))
    assert q.shape == (1, 3, 2)
    assert q[0, 2] == pytest.approx([0.5 + 85 / 32, 0.75 + 85 / 32])
    np.testing.assert_array_equal(values, q.max(axis=2))
    _, q = backup_rounded(game, V, 2)
    # One tries: the mean is (1.5, 0.5), a tie of remainders, so 20. Both try: 11.
    assert q[0, (2, 0)][0, (1, 1, 0, 0)] == pytest.approx(0.5 + 1 / 2)
    assert q[0, (2, 0)][0, (0, 2, 0, 0)] == pytest.approx(0.0 + 10 / 2)


@given(game_tables(), st.integers(1, 3), seeds())
def test_updates_agree_with_the_labelled_walk(tables, k, seed):
    rng = np.random.default_rng(seed)
    n_sg, n_sl, n_al = tables["r_l"].shape
    V = rng.normal(size=(n_sg, len(count_vectors_listed(k, n_sl))))
    at = value_map(V, k, n_sl)
    _, q_joint = backup_joint(tables, V, k)
    _, q_shared = backup_shared(tables, V, k)
    _, q_histogram = backup_histogram(tables, V, k)
    agents = tuple(int(s) for s in rng.integers(n_sl, size=k))  # in any order, not sorted
    s_g, a_g = (int(rng.integers(size)) for size in tables["r_g"].shape)
    counts = counts_of(agents, n_sl)
    arguments = [tables[name] for name in ("P_g", "P_l", "r_g", "r_l", "gamma")]
    for actions in itertools.product(range(n_al), repeat=k):
        q = q_by_listing_agents(at, *arguments, s_g, agents, a_g, actions)
        assert q_joint[s_g, counts][a_g, pairs_of(agents, actions, n_sl, n_al)] == pytest.approx(q, abs=1e-12)
    f = tuple(int(a) for a in rng.integers(n_al, size=n_sl))
    q = q_by_listing_agents(at, *arguments, s_g, agents, a_g, [f[s] for s in agents])
    assert q_shared[s_g, counts][a_g, f] == pytest.approx(q, abs=1e-12)
    h = counts_of(rng.integers(n_al, size=k), n_al)
    mixed = sum(
        math.prod(h[a] / k for a in actions) * q_by_listing_agents(at, *arguments, s_g, agents, a_g, actions)
        for actions in itertools.product(range(n_al), repeat=k)
    )
    assert q_histogram[s_g, counts][a_g, h] == pytest.approx(mixed, abs=1e-12)


@given(game_tables(), st.integers(1, 3), seeds())
def test_no_class_beats_joint(tables, k, seed):
    rng = np.random.default_rng(seed)
    n_sg, n_sl, n_al = tables["r_l"].shape
    V = rng.normal(size=(n_sg, len(count_vectors_listed(k, n_sl))))
    joint = backup_joint(tables, V, k)[0]
    policy = random_rows(rng, (n_sg, n_sl, n_al))
    for other in (backup_shared(tables, V, k), backup_histogram(tables, V, k), backup_fixed(tables, V, k, policy)):
        assert (other[0] <= joint + 1e-12).all()


def test_histogram_can_beat_shared():
    V = np.array([[0.0, 1.0, 0.0]])  # one agent in each state is worth 1
    at_20 = [backup(splitting_game(), V, 2)[0][0, 2] for backup in (backup_joint, backup_histogram, backup_shared)]
    assert at_20 == [0.5, 0.25, 0.0]


def test_five_agents_are_feasible(rng):
    tables = random_game_tables(rng, 2, 2, 3, 3)
    values, q = backup_joint(tables, rng.normal(size=(2, 21)), 5)
    assert values.shape == (2, 21)
    assert len(q[1, (2, 2, 1)]) == 2 * 6 * 6 * 3


def test_value_iteration_agrees_with_quantecon(rng):
    markov = pytest.importorskip("quantecon.markov")
    tables = random_game_tables(rng, 2, 2, 2, 2, gamma=0.8)
    mdp = labelled_mdp(tables, 2)
    reference = markov.DiscreteDP(mdp.R, mdp.P, 0.8).solve(method="policy_iteration")
    np.testing.assert_allclose(value_iteration(mdp.R, mdp.P, 0.8, 1e-11), reference.v, rtol=0, atol=1e-10)


def test_values_do_not_depend_on_the_labels(rng):
    tables = random_game_tables(rng, 2, 2, 2, 2)
    mdp = labelled_mdp(tables, 3)
    V = value_iteration(mdp.R, mdp.P, 0.9, 1e-10)
    np.testing.assert_allclose(mdp.P.sum(axis=2), 1.0, **CLOSE)
    value_of = dict(zip(mdp.states, V, strict=True))
    for s_g, *agents in mdp.states:
        assert value_of[s_g, *agents] == pytest.approx(value_of[s_g, *sorted(agents)], abs=1e-11)


@pytest.mark.parametrize(("sizes", "k"), [((2, 2, 2, 2), 3), ((2, 2, 3, 2), 2), ((1, 2, 2, 3), 2)])
def test_the_labelled_mdp_and_the_updates_have_one_fixed_point(rng, sizes, k):
    tables = random_game_tables(rng, *sizes, sparsity=0.3)
    V = solve_joint_by_labelled_mdp(tables, k)
    np.testing.assert_allclose(solve_by_listing(tables, k), V, rtol=0, atol=1e-9)
    np.testing.assert_allclose(backup_joint(tables, V, k)[0], V, rtol=0, atol=1e-9)


def test_each_class_keeps_its_fixed_point(rng):
    tables = random_game_tables(rng, 2, 2, 3, 2, gamma=0.8)
    policy = random_rows(rng, (2, 3, 2))
    cases = [
        (solve_by_listing(tables, 2, "shared"), lambda V: backup_shared(tables, V, 2)[0]),
        (solve_by_listing(tables, 2, "histogram"), lambda V: backup_histogram(tables, V, 2)[0]),
        (solve_by_listing(tables, 2, "fixed", local_policy=policy), lambda V: backup_fixed(tables, V, 2, policy)[0]),
        (solve_by_listing(tables, 2, expectation="rounded"), lambda V: backup_rounded(tables, V, 2)[0]),
    ]
    for V, backup in cases:
        np.testing.assert_allclose(backup(V), V, rtol=0, atol=1e-9)


@given(game_tables(), st.integers(1, 3))
def test_rounding_is_exact_in_deterministic_games(tables, k):
    n_sg, n_sl, _ = tables["r_l"].shape
    tables["P_l"] = np.eye(n_sl)[tables["P_l"].argmax(axis=-1)]
    V = np.random.default_rng(k).normal(size=(n_sg, len(count_vectors_listed(k, n_sl))))
    np.testing.assert_allclose(backup_rounded(tables, V, k)[0], backup_joint(tables, V, k)[0], **CLOSE)
