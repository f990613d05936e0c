"""The oracles of mean-field Q-learning against closed forms, value iteration, and each other."""

import itertools
import math
import random
from fractions import Fraction

import numpy as np
import oracles_coupled as coupled
import oracles_mfq as mfq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import random_game_tables, random_rows, value_iteration
from oracles.strategies import seeds

CLOSE = {"rtol": 0.0, "atol": 1e-9}
TIGHT = {"rtol": 0.0, "atol": 1e-12}
FEW = settings(max_examples=10)
KINDS = ("states", "actions")
SHARE_OF_ONES = coupled.field_of_histogram([[0, 1]], [[Fraction(1, 3), Fraction(2, 3)]])


def up_among(graph, n_values, of="states"):
    """The number of ones that an agent sees."""
    return mfq.Sight(of, coupled.count_of_ones, n_values, graph)


@pytest.mark.parametrize("tables", ["own", "shared"])
@pytest.mark.parametrize("graph", [mfq.ring(4), mfq.complete(3)])
def test_the_ising_table(rng, tables, graph):
    n = len(graph)
    samples = mfq.long_run_samples(
        mfq.ising_game(graph, "states"), n, up_among(graph, 3), random_rows(rng, (n, 6, 2)), tables=tables
    )
    # With d neighbours Q(u, up) = u - d / 2; the own last spin is no matter.
    expected = np.tile([[1 - up, up - 1] for up in range(3)], (2, 1))
    found = mfq.mfq_fixed_point(samples, 0.0, 1.0)
    np.testing.assert_allclose(found, np.tile(expected, (n if tables == "own" else 1, 1, 1)), **TIGHT)


@pytest.mark.parametrize("of", KINDS)
def test_the_ising_table_of_four_neighbours(of):
    """Q(u, up) = u - 2 on a torus; here among five agents that all see each other. One agent acts at a time."""
    n, graph = 5, mfq.complete(5)
    game, sight = mfq.ising_game(graph, of), up_among(graph, 5, of)
    run = mfq.simulate_sequential(
        game, sight, random.Random(4), actions=[0] * n, agents=[0] * n, n_sweeps=400, alpha=lambda m: 1.0, epsilon=1.0
    )
    table = np.tile([[2 - up, up - 2] for up in range(5)], (2 if of == "states" else 1, 1))
    np.testing.assert_array_equal(run.q, np.tile(table, (n, 1, 1)))


@FEW
@given(seeds(), st.sampled_from(KINDS), st.sampled_from(KINDS), st.sampled_from(["everyone", "others"]))
def test_mass_is_conserved_and_the_fixed_point_solves_its_equation(seed, of, seen, graph):
    rng, n, gamma, T = np.random.default_rng(seed), 2, 0.6, 0.7
    game = coupled.random_coupled_tables(rng, 2, 2, 2, 2, 3, of, SHARE_OF_ONES, gamma=gamma, sparsity=0.3)
    sight = up_among(graph, 3, seen)
    behaviour = random_rows(rng, (mfq.n_observations(game, sight), 2))
    P = mfq.learning_chain(game, n, sight, behaviour)
    np.testing.assert_allclose(P.sum(axis=1), 1.0, **TIGHT)
    start = np.full(len(P), 1 / len(P))
    law = mfq.long_run(P, start)
    np.testing.assert_allclose(law @ P, law, **TIGHT)
    own = mfq.long_run_samples(game, n, sight, behaviour, tables="own", start=start)
    shared = mfq.long_run_samples(game, n, sight, behaviour, tables="shared", start=start)
    cells = mfq.long_run_samples(game, n, sight, behaviour, start=start, per_cell=True)
    np.testing.assert_allclose(own.mass.sum(axis=(1, 2)), 1.0, **TIGHT)
    assert shared.mass.sum() == pytest.approx(n)
    assert 1.0 - 1e-12 <= cells.mass.sum() <= n
    for part, whole in zip(own, shared, strict=True):
        np.testing.assert_allclose(part.sum(axis=0), whole[0], **TIGHT)
    for samples in (own, shared, cells):
        np.testing.assert_allclose(samples.move.sum(axis=3), samples.mass, **TIGHT)
    for samples in (own, shared):  # what flows into an observation flows out of it
        np.testing.assert_allclose(samples.move.sum(axis=(1, 2)), samples.mass.sum(axis=2), **TIGHT)
    q = mfq.mfq_fixed_point(shared, gamma, T)[0]
    np.testing.assert_array_equal(np.isnan(q), shared.mass[0] == 0)
    filled = np.nan_to_num(q)
    weights = np.exp(filled / T)
    v = (weights * filled).sum(axis=1) / weights.sum(axis=1)
    known = shared.mass[0] > 0
    residual = shared.gain[0] + gamma * shared.move[0] @ v - shared.mass[0] * filled
    np.testing.assert_allclose(residual[known], 0.0, atol=1e-10)


def test_exchangeable_agents_learn_one_table(rng):
    game = coupled.random_coupled_tables(rng, 2, 1, 2, 2, 3, "states", SHARE_OF_ONES, gamma=0.7)
    sight = up_among("others", 3)
    behaviour = random_rows(rng, (mfq.n_observations(game, sight), 2))
    q = {
        name: mfq.mfq_fixed_point(mfq.long_run_samples(game, 3, sight, behaviour, tables=name), 0.7, 0.0)
        for name in ("own", "shared")
    }
    np.testing.assert_allclose(q["own"], np.repeat(q["shared"], 3, axis=0), **CLOSE)


@pytest.mark.parametrize("reward", ["own", "team"])
def test_one_agent_learns_the_optimal_values(rng, reward):
    tables = random_game_tables(rng, 2, 1, 3, 2, gamma=0.8)
    game = coupled.CoupledTables(**{name: tables[name] for name in ("P_g", "P_l", "r_g", "r_l", "gamma")})
    samples = mfq.long_run_samples(game, 1, mfq.BLIND, np.full((6, 2), 0.5), reward=reward)
    q = mfq.mfq_fixed_point(samples, 0.8, 0.0)
    R = (tables["r_g"][:, 0, None, None] + tables["r_l"]).reshape(6, 2)
    P = np.einsum("gh,gsat->gsaht", tables["P_g"][:, 0], tables["P_l"]).reshape(6, 2, 6)
    np.testing.assert_allclose(q[0].max(axis=1), value_iteration(R, P, 0.8, 1e-12), **CLOSE)


def test_matching_the_last_actions_by_hand():
    """Two agents are paid 1 where they match; each sees both last actions and copies them, at random where they differ."""
    gamma = 0.5
    match = coupled.stateless_game([[1, 1], [0, 0], [1, 1]], gamma, of="actions", field=coupled.count_of_ones)
    behaviour = np.array([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]])
    sight = up_among("everyone", 3, "actions")
    q = mfq.mfq_fixed_point(mfq.long_run_samples(match, 2, sight, behaviour), gamma, 0.0)[0]
    # x after a match, y after a mismatch: x = .9 + γ(.9 x + .1 y), y = .5 + γ(.5 x + .5 y).
    x, y = np.linalg.solve([[1 - 0.9 * gamma, -0.1 * gamma], [-0.5 * gamma, 1 - 0.5 * gamma]], [0.9, 0.5])
    other = 0.1 + gamma * (0.9 * y + 0.1 * x)
    np.testing.assert_allclose(q, [[x, other], [y, y], [other, x]], **CLOSE)


def test_what_is_never_seen_stays_as_it_was():
    """The action is the next state and is kept, so that the start decides which half of the table is ever seen."""
    keep = np.array([[1.0, 0.0], [0.0, 1.0]])
    game = coupled.CoupledTables(
        np.ones((1, 1, 1)), np.tile(np.eye(2), (1, 2, 1, 1)), np.zeros((1, 1)), [[[1.0, 5.0], [5.0, 2.0]]], 0.5
    )
    with pytest.raises(ValueError, match="start: found None"):
        mfq.long_run_samples(game, 1, mfq.BLIND, keep)
    start = np.zeros((1, 2, 2))
    start[0, 1, 0] = 1.0
    samples = mfq.long_run_samples(game, 1, mfq.BLIND, keep, start=start)
    np.testing.assert_array_equal(samples.mass, [[[0, 0], [0, 1]]])
    np.testing.assert_allclose(mfq.mfq_fixed_point(samples, 0.5, 0.0), [[[np.nan, np.nan], [np.nan, 4.0]]])
    # v is 10 in the cell that keeps its start: 2 + 10 / 2.
    np.testing.assert_allclose(mfq.mfq_fixed_point(samples, 0.5, 0.0, q_start=10.0)[0, 1, 1], 7.0)


def test_boltzmann_laws():
    assert mfq.boltzmann([1.0, 3.0, 3.0], 0) == [0, 1, 0]
    assert mfq.boltzmann([0.0, math.log(3.0)], 1.0) == pytest.approx([0.25, 0.75])
    assert mfq.boltzmann([0.0, 2.0], 2.0) == pytest.approx([1 / (1 + math.e), math.e / (1 + math.e)])
    assert mfq.exploring([0.0, 1.0], 0, 0.3) == pytest.approx([0.15, 0.85])
    assert mfq.bootstrap([0.0, math.log(3.0)], 1.0) == pytest.approx(0.75 * math.log(3.0))
    assert mfq.bootstrap([5.0, 7.0, 7.0], 0) == 7.0


# Simulations


def standard_scores(samples, expected):
    """(mean - expected) / standard error along axis 0."""
    return (samples.mean(axis=0) - expected) / (samples.std(axis=0, ddof=1) / math.sqrt(len(samples)))


@pytest.mark.parametrize("of", KINDS)
def test_simulated_mean_rewards_are_those_of_the_fixed_point(rng, of):
    """γ = 0 and steps 1 / visits: a cell is the mean of its rewards, and Q the ratio of two means over time.

    64 runs of 400 steps from the long-run law; |z| < 4.2 at 63 degrees of freedom in each of 8 cells: level 7e-4. The
    standard errors are 0.002 to 0.024: a shift of 0.15 in any cell is found with power 0.95.
    """
    game = coupled.random_coupled_tables(rng, 1, 2, 2, 2, 3, of, SHARE_OF_ONES, gamma=0.0)
    sight = up_among("others", 3, "actions")
    behaviour = 0.2 + 0.6 * random_rows(rng, (6, 2))
    law = mfq.long_run(mfq.learning_chain(game, 2, sight, behaviour))
    samples = mfq.long_run_samples(game, 2, sight, behaviour)
    q = mfq.mfq_fixed_point(samples, 0.0, 0.0)
    draws, states, runs = random.Random(5), mfq.learning_states(game, 2), []
    for _ in range(64):
        s_g, agents, last = states[mfq.draw(draws, law)]
        run = mfq.simulate_mfq(
            game, sight, draws, start=(s_g, agents), last=last, n_steps=400, alpha=lambda m: 1 / m, behaviour=behaviour
        )
        runs.append(run.q)
    known = samples.mass > 0
    scores = standard_scores(np.array(runs)[:, known], q[known])
    assert np.abs(scores).max() < 4.2
    assert known.sum() == 8


@pytest.mark.parametrize(
    ("tables", "per_cell", "T"), [("own", False, 0.0), ("shared", False, 0.5), ("shared", True, 0.5)]
)
def test_simulated_learning_approaches_the_fixed_point(rng, tables, per_cell, T):
    """20,000 steps of size visits**-0.85: the largest error of eight seeds is 0.094. Weighing by cells moves Q by 0.38."""
    game = coupled.random_coupled_tables(rng, 2, 1, 2, 2, 3, "actions", SHARE_OF_ONES, gamma=0.5)
    sight = up_among("everyone", 3, "states")
    behaviour = 0.3 + 0.4 * random_rows(rng, (12, 2))
    samples = mfq.long_run_samples(game, 2, sight, behaviour, tables=tables, per_cell=per_cell)
    q = mfq.mfq_fixed_point(samples, 0.5, T)
    options = {"temperature": T, "behaviour": behaviour, "tables": tables, "per_cell": per_cell}
    run = mfq.simulate_mfq(
        game, sight, random.Random(8), start=(0, (0, 0)), n_steps=20_000, alpha=lambda m: m**-0.85, **options
    )
    known = ~np.isnan(q)
    assert np.abs(np.array(run.q) - q)[known].max() < 0.15


def test_the_ising_table_is_learned_one_agent_at_a_time():
    n = 6
    game, sight = mfq.ising_game(mfq.ring(n), "actions"), up_among(mfq.ring(n), 3, "actions")
    run = mfq.simulate_sequential(
        game, sight, random.Random(3), actions=[0, 1] * 3, n_sweeps=200, alpha=lambda m: 1.0, temperature=2.0
    )
    np.testing.assert_array_equal(run.q, np.tile([[1, -1], [0, 0], [-1, 1]], (n, 1, 1)))
    assert len(run.history) == 200


def test_one_agent_at_a_time_with_a_fixed_table_samples_the_gibbs_law():
    """π(up) = 1 / (1 + exp(-Σ s_j / T)): the heat bath at temperature 2T, whose Gibbs law weighs exp(Σ_bonds s s' / 2T).

    Means of 40 batches of 100 sweeps against the exact energy and squared magnetisation; |z| < 4.5 at 39 degrees of freedom:
    level 1e-4 for both. At a temperature that is off by a factor of two the energy moves by more than twenty standard errors.
    """
    n, T = 4, 1.0
    game, sight = mfq.ising_game(mfq.ring(n), "actions"), up_among(mfq.ring(n), 3, "actions")
    table = [[[1.0 - up, up - 1.0] for up in range(3)]] * n
    run = mfq.simulate_sequential(
        game, sight, random.Random(11), actions=[0] * n, n_sweeps=4100, alpha=lambda m: 0.0, temperature=T, q=table
    )

    def figures(actions):
        spins = [2 * a - 1 for a in actions]
        return sum(spins[i] * spins[i - 1] for i in range(n)), sum(spins) ** 2

    listed = [figures(actions) for actions in itertools.product(range(2), repeat=n)]
    weights = [math.exp(bonds / (2 * T)) for bonds, _ in listed]
    expected = np.average(listed, axis=0, weights=weights)
    batches = np.array([figures(actions) for actions in run.history[100:]]).reshape(40, 100, 2).mean(axis=1)
    assert np.abs(standard_scores(batches, expected)).max() < 4.5
    wrong = np.average(listed, axis=0, weights=np.square(weights))
    assert abs(standard_scores(batches, wrong)[0]) > 20


def test_coins_of_exploration_are_tossed_for_each_agent():
    """Greedy on a table that prefers action 0, ε = 0.4: four joint actions, χ² of 3 degrees of freedom, level 1e-4."""
    game = coupled.stateless_game([[0, 0]], 0.0)
    run = mfq.simulate_mfq(
        game,
        mfq.BLIND,
        random.Random(2),
        start=(0, (0, 0)),
        n_steps=4000,
        alpha=lambda m: 0.0,
        epsilon=0.4,
        tables="own",
    )
    played = [actions for _, _, actions, _ in run.history]
    chi2 = 0.0
    for pair in itertools.product(range(2), repeat=2):
        expected = 4000 * math.prod(0.8 if a == 0 else 0.2 for a in pair)
        chi2 += (played.count(pair) - expected) ** 2 / expected
    assert chi2 < 21.1
