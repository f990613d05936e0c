"""Deployments of games with a field of states or of actions: steps against labelled agents, and long runs against exact values.

Statistical tests run at fixed seeds, at a level of LEVEL for all comparisons of a test together.
"""

import numpy as np
import pytest
from coupled_games import AXES, random_coupled_game
from hypothesis import given
from hypothesis import strategies as st
from oracles_coupled import deployed_chain, field_of_histogram, labelled_joint_states, laws_of_policy
from scipy import stats
from test_rollout import LEVEL, MODES, NAMES, assert_same_bits, p_value_of_steps, transitions

from kofn.engine.coupling import Field
from kofn.engine.deployment import deploy
from kofn.engine.evaluation.evaluate import evaluate
from kofn.engine.game import Game
from kofn.engine.game_files import load_game
from kofn.engine.policy import SubsamplePolicy, blind_policy
from kofn.engine.rollouts import field_bins
from kofn.kernels.rollout.field import field_value
from oracles import count_vectors_listed, random_game_tables, random_policy

OF = ("states", "actions")


def case_of(seed, of, axes=AXES, k_global=2, k_local=2, **sizes):
    """(Game, its oracle, SubsamplePolicy, the laws of that policy as the oracle takes them)."""
    rng = np.random.default_rng(seed)
    game, oracle = random_coupled_game(rng, of=of, axes=axes, **sizes)
    tables = random_game_tables(rng, game.n_sg, game.n_ag, game.n_sl, game.n_al)
    policy = random_policy(rng, tables, k_global, k_local)
    return game, oracle, SubsamplePolicy(**policy._asdict()), laws_of_policy(oracle, policy)


def chain_of_counts(oracle, n, laws):
    """(P float64[n_states, n_states], mean reward float64[n_states]) over (s_g, N), folded from labelled agents."""
    n_sg, _, n_sl, _ = oracle.sizes
    P, reward = deployed_chain(oracle, n, *laws)
    lattice = {counts: rank for rank, counts in enumerate(count_vectors_listed(n, n_sl))}
    place = [
        s_g * len(lattice) + lattice[tuple(np.bincount(agents, minlength=n_sl))]
        for s_g, agents in labelled_joint_states(oracle, n)
    ]
    fold = np.eye(n_sg * len(lattice))[place]
    first = [place.index(state) for state in range(fold.shape[1])]
    return P[first] @ fold, reward[first]


def modes_of(of):
    return [pytest.param(of, mode, id=f"{of} {name}") for mode, name in zip(MODES, NAMES, strict=True)]


@pytest.mark.parametrize(("of", "mode"), [*modes_of("states"), *modes_of("actions")[1:]])
@pytest.mark.parametrize("k_local", [1, 2])
def test_every_step_has_the_law_of_labelled_agents(of, mode, k_local):
    game, oracle, policy, laws = case_of(8, of, k_local=k_local, n_sl=3)
    n, steps = 3, 60_000
    found = deploy(game, policy, n, steps=steps, trace_points=steps, seed=1, **mode)
    states = transitions(found, n, game.n_sl)
    P, reward = chain_of_counts(oracle, n, laws)
    assert p_value_of_steps(states, P) > LEVEL
    surprise = found.trace_reward[0] - reward[states]
    # Martingale differences, bounded: normal to far beyond this level.
    assert abs(surprise.sum()) < stats.norm.isf(LEVEL / 2) * np.sqrt((surprise**2).sum()) + steps * 1e-14


@pytest.mark.parametrize(("of", "mode"), [*modes_of("states"), *modes_of("actions")[1:]])
def test_the_test_of_steps_has_power(of, mode):
    """Against the laws of the same policy in a game whose field takes the next higher edge of its first feature."""
    game, oracle, policy, laws = case_of(8, of, n_sl=3)
    n, steps = 3, 60_000
    found = deploy(game, policy, n, steps=steps, trace_points=steps, seed=1, **mode)
    weights = game.field.weights.tolist()
    mutant = type(oracle)(
        *(getattr(oracle, name) for name in ("P_g", "P_l", "r_g", "r_l", "gamma")),
        of=of,
        field=field_of_histogram(weights, ((0.5, 0.9), (0.0,))),
    )
    P, _ = chain_of_counts(mutant, n, laws)
    assert p_value_of_steps(transitions(found, n, game.n_sl), P) < 1e-9


@pytest.mark.parametrize("table", list(AXES))
@pytest.mark.parametrize(("of", "mode"), [*modes_of("states"), *modes_of("actions")[1:]])
def test_each_table_alone_may_depend_on_the_field(of, mode, table):
    game, oracle, policy, laws = case_of(3, of, {name: name == table for name in AXES}, n_sl=3)
    n, steps = 3, 20_000
    found = deploy(game, policy, n, steps=steps, trace_points=steps, seed=1, **mode)
    states = transitions(found, n, game.n_sl)
    P, reward = chain_of_counts(oracle, n, laws)
    assert p_value_of_steps(states, P) > LEVEL
    surprise = found.trace_reward[0] - reward[states]
    assert abs(surprise.sum()) < stats.norm.isf(LEVEL / 2) * np.sqrt((surprise**2).sum()) + steps * 1e-14


@pytest.mark.parametrize(("k_local", "n"), [(1, 12), (3, 12), (3, 200)], ids=["blind", "table", "no table"])
@pytest.mark.parametrize("mode", MODES, ids=NAMES)
def test_returns_agree_with_exact_evaluation(mode, k_local, n):
    game, _, policy, _ = case_of(5, "states", k_local=k_local, n_sl=3 if n == 12 else 2, gamma=0.8)
    # Without a table of all populations each step computes its own means.
    runs = 400 if n == 12 else 200
    found = deploy(game, policy, n, steps=60, runs=runs, seed=2, **mode)
    exact = evaluate(game, policy, n, occupancies=False, average=False).initial_value
    error = found.returns.std(ddof=1) / np.sqrt(runs)
    assert abs(found.mean_return - exact) <= stats.t.isf(LEVEL / 2, runs - 1) * error + found.truncation_bound


@pytest.mark.parametrize("mode", MODES[1:], ids=NAMES[1:])
def test_both_levels_agree_with_a_field_of_actions(mode):
    """The population and the reward of the long run, from one level as from labelled agents."""
    game, oracle, policy, laws = case_of(6, "actions", n_sl=3, n_al=3)
    n = 2
    found = deploy(game, policy, n, steps=40_000, runs=2, seed=4, **mode)
    P, reward = chain_of_counts(oracle, n, laws)
    stationary = np.linalg.matrix_power(P, 4096)[0]
    half_width = found.average_half_width / stats.t.isf(0.025, found.batch_means.size - 1)
    assert abs(found.average_reward - stationary @ reward) <= stats.t.isf(LEVEL / 2, 63) * half_width


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.sampled_from(OF))
def test_the_field_value_of_counts_is_that_of_the_game(seed, n, of):
    rng = np.random.default_rng(seed)
    edges = tuple(tuple(np.unique(rng.integers(-8, 9, size).round() / 8)) for size in (0, 1, 3))
    game, _ = random_coupled_game(rng, n_sl=3, n_al=3, of=of, edges=edges)
    bins = field_bins(game)
    for counts in rng.multinomial(n, [0.5, 0.3, 0.2], size=20):
        assert field_value(bins, counts) == game.field.value_of(counts)


def test_the_field_value_at_an_edge_of_many_agents():
    field = Field(of="states", weights=[0, 1], edges=[0.1, 0.7])
    tables = random_game_tables(np.random.default_rng(0), 1, 1, 2, 1)
    game = Game(**(tables | {"r_l": np.zeros((1, 3, 2, 1))}), field=field)
    n = 10 * (2**30 // 10)
    at = [
        field_value(field_bins(game), np.array([n - x, x]))
        for x in (n // 10 - 1, n // 10, n // 10 * 7 - 1, n // 10 * 7)
    ]
    assert at == [0, 1, 1, 2]


@pytest.mark.parametrize("of", OF)
@pytest.mark.parametrize("mode", MODES[1:], ids=NAMES[1:])
def test_bits_depend_on_nothing_but_the_run(of, mode):
    game, _, policy, _ = case_of(8, of, n_sl=3)
    options = {"steps": 50, "trace_points": 50, "seed": 5, **mode}
    together = deploy(game, policy, 9, runs=4, **options)
    for run in range(4):
        alone = deploy(game, policy, 9, first_run=run, **options)
        np.testing.assert_array_equal(alone.returns, together.returns[run : run + 1])
        np.testing.assert_array_equal(alone.trace_population[0], together.trace_population[run])
    longer = deploy(game, policy, 9, runs=4, **(options | {"steps": 80, "trace_points": 80}))
    np.testing.assert_array_equal(longer.trace_population[:, :50], together.trace_population)


@pytest.mark.parametrize("of", OF)
@pytest.mark.parametrize("mode", MODES, ids=NAMES)
def test_a_field_that_no_table_uses_changes_no_bit(of, mode):
    tables = random_game_tables(np.random.default_rng(1), 2, 2, 3, 3)
    policy = SubsamplePolicy(**random_policy(np.random.default_rng(2), tables, 2, 3)._asdict())
    field = Field(of=of, weights=[0.0, 1.0, 2.0], edges=[0.5, 1.5])
    found, expected = (deploy(Game(**tables, field=x), policy, 7, steps=200, **mode) for x in (field, None))
    assert_same_bits(found, expected)


@pytest.mark.parametrize("of", OF)
@pytest.mark.parametrize("mode", MODES[1:], ids=NAMES[1:])
def test_a_field_along_which_nothing_varies_changes_no_bit_of_states(of, mode):
    """With a field of actions the draws come in another order."""
    game, _ = random_coupled_game(np.random.default_rng(1), n_sl=3, of=of, constant=True)
    alone = Game(
        P_g=game.P_g[:, 0], P_l=game.P_l[:, 0], r_g=game.r_g[:, 0], r_l=game.r_l[:, 0], gamma=game.gamma,
        rho_g=game.rho_g, rho_l=game.rho_l,
    )  # fmt: skip
    policy = SubsamplePolicy(**random_policy(np.random.default_rng(2), alone, 2, 3)._asdict())
    found, expected = (deploy(x, policy, 7, steps=200, runs=50, **mode) for x in (game, alone))
    if of == "states":
        assert_same_bits(found, expected)
    difference = found.returns.mean() - expected.returns.mean()
    error = np.sqrt((found.returns.var(ddof=1) + expected.returns.var(ddof=1)) / 50)
    assert abs(difference) <= stats.norm.isf(LEVEL / 2) * error


def test_mean_rewards_of_a_field_of_actions_are_refused():
    game, _, policy, _ = case_of(8, "actions")
    with pytest.raises(ValueError, match=r"^rewards: found 'mean' in a game with a field of actions, expected 'drawn'"):
        deploy(game, policy, 3, steps=5, rewards="mean")
    assert deploy(game, policy, 3, steps=5).config["rewards"] == "drawn"


def test_a_game_on_a_graph_is_refused():
    game = load_game("ising")
    with pytest.raises(
        ValueError, match=r"^game: found a game on a graph, expected one where all agents share a field"
    ):
        deploy(game, blind_policy(game), 400, steps=5)


def test_gaussian_squeeze_pays_its_formula():
    game = load_game("gaussian-squeeze")
    n = game.n_agents
    # Everybody earns G(x) of one x, so that a mean of it is a value of it. A sum around 400 is near the best one.
    law = np.zeros((1, 1, 10))
    law[..., :2] = 1 - 400 / n, 400 / n
    found = deploy(game, blind_policy(game, law), n, steps=50, trace_points=50)
    x = np.arange(9 * n + 1)
    payoffs = x * np.exp(-((x - 400.0) ** 2) / 200.0**2)
    distance = np.abs(found.trace_reward[0][:, None] - payoffs).min(axis=1)
    assert distance.max() <= 1e-9 * payoffs.max()
    assert 390 < found.average_reward < payoffs.max()


def test_epidemic_deploys_at_any_size():
    game = load_game("epidemic")
    policy = blind_policy(game)
    found = deploy(game, policy, 10**6, steps=400, runs=2)
    small = deploy(game, policy, 100, steps=400, runs=20)
    assert found.populations.sum(axis=1) == pytest.approx(1.0)
    # A million agents follow the mean field; a hundred scatter around it.
    assert np.ptp(found.populations, axis=0).max() < np.ptp(small.populations, axis=0).max()
