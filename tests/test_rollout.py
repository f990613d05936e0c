"""Rollouts: one step against the exact law of labelled agents, both levels against each other, and the promise of bits.

Statistical tests run at fixed seeds, at a level of LEVEL for all comparisons of a test together.
"""

import itertools

import numba
import numpy as np
import pytest
from scipy import stats

from kofn.engine import rollouts
from kofn.engine.deployment import deploy
from kofn.engine.game import Game
from kofn.engine.policy import SubsamplePolicy
from kofn.kernels.rollout import advance_agent_runs, advance_count_runs
from laws import p_value_of_cells
from oracles import (
    count_vectors_listed,
    deployed_value_by_labelled_chain,
    labelled_chain,
    one_step_law_by_listing_agents,
    random_game_tables,
    random_policy,
    ranks_listed,
    splitting_game,
)

LEVEL = 1e-6
MODES = (
    {"level": "counts", "rewards": "mean"},
    {"level": "counts", "rewards": "drawn"},
    {"level": "agents", "rewards": "drawn"},
)
NAMES = ("mean", "drawn", "agents")
ARRAYS = (
    "returns",
    "batch_means",
    "action_shares",
    "populations",
    "trace_step",
    "trace_reward",
    "trace_return",
    "trace_global_state",
    "trace_global_action",
    "trace_population",
    "trace_agents",
)


def game_and_policy(seed, sizes=(2, 2, 3, 2), k_global=2, k_local=3, steered=False, **options):
    rng = np.random.default_rng(seed)
    tables = random_game_tables(rng, *sizes, **options)
    if steered:
        # The local action names the next state, most of the time, so that errors in its law cannot hide.
        tables["P_l"] = 0.2 * tables["P_l"] + 0.8 * np.eye(sizes[2])[: sizes[3]]
    policy = random_policy(rng, tables, k_global, k_local)
    return tables, policy, Game(**tables), SubsamplePolicy(**policy._asdict())


def assert_same_bits(first, second, rows=slice(None)):
    for name in ARRAYS:
        a, b = getattr(first, name), getattr(second, name)
        np.testing.assert_array_equal(a[rows] if name != "trace_step" else a, b, err_msg=name, strict=True)


# One step


def transitions(deployment, n, n_sl):
    """Index s_g * |Λ(n)| + rank of the state before every step of a run with a trace point per step."""
    ranks = ranks_listed(n, n_sl)
    populations = [ranks[tuple(N)] for N in deployment.trace_population[0].tolist()]
    return deployment.trace_global_state[0].astype(int) * len(ranks) + np.array(populations)


def p_value_of_steps(states, laws):
    """Chi-square p-values of the successors of every state against its law, combined; the successors are multinomial
    given the number of visits, up to the last one."""
    values = []
    for state, law in enumerate(laws):
        successors = states[1:][states[:-1] == state]
        if successors.size >= 100:
            values.append(p_value_of_cells(np.bincount(successors, minlength=law.size), law * successors.size))
    assert len(values) >= 10
    return stats.combine_pvalues(np.maximum(values, 1e-300)).pvalue


def one_step_laws(tables, policy, n):
    n_sg, n_sl = tables["P_l"].shape[:2]
    pairs = itertools.product(range(n_sg), count_vectors_listed(n, n_sl))
    return [one_step_law_by_listing_agents(tables, policy, s_g, N) for s_g, N in pairs]


@pytest.mark.parametrize("mode", MODES, ids=NAMES)
@pytest.mark.parametrize(("k_global", "k_local", "n"), [(2, 3, 4), (4, 4, 4), (1, 1, 4)], ids=["k<n", "k=n", "k=1"])
def test_every_step_has_the_law_of_labelled_agents(mode, k_global, k_local, n):
    tables, policy, game, subsample = game_and_policy(5, k_global=k_global, k_local=k_local, steered=True)
    steps = 60_000
    found = deploy(game, subsample, n, steps=steps, trace_points=steps, seed=1, **mode)
    states = transitions(found, n, game.n_sl)
    exact = one_step_laws(tables, policy, n)
    assert p_value_of_steps(states, [law.ravel() for law, _ in exact]) > LEVEL

    surprise = found.trace_reward[0] - np.array([reward for _, reward in exact])[states]
    # Martingale differences, bounded: normal to far beyond this level.
    assert abs(surprise.sum()) < stats.norm.isf(LEVEL / 2) * np.sqrt((surprise**2).sum()) + steps * 1e-14
    if mode["rewards"] == "mean":
        # Given the state and a_g the reward is certain: at most n_ag values per state.
        per_state = [len(np.unique(found.trace_reward[0][states == state].round(10))) for state in np.unique(states)]
        assert max(per_state) <= game.n_ag


@pytest.mark.parametrize("mode", MODES, ids=NAMES)
def test_the_test_of_steps_has_power(mode):
    """Against a policy that is a tenth vaguer, and one whose agents count themselves twice instead of another."""
    tables, policy, game, subsample = game_and_policy(5, steered=True)
    steps, n = 60_000, 4
    found = deploy(game, subsample, n, steps=steps, trace_points=steps, seed=1, **mode)
    vaguer = policy._replace(local_action=0.9 * policy.local_action + 0.1 / game.n_al)
    ranks, own = ranks_listed(3, game.n_sl), np.eye(game.n_sl, dtype=int)
    twice = [[ranks[tuple(c + own[s])] for c in np.array(count_vectors_listed(2, game.n_sl))] for s in range(game.n_sl)]
    twice_counted = policy._replace(
        k_local=2, local_action=np.stack([policy.local_action[:, s, twice[s]] for s in range(game.n_sl)], axis=1)
    )
    for mutant in (vaguer, twice_counted):
        laws = [law.ravel() for law, _ in one_step_laws(tables, mutant, n)]
        assert p_value_of_steps(transitions(found, n, game.n_sl), laws) < 1e-9


# Long runs


def stationary(P):
    law = np.linalg.matrix_power(P, 4096)[0]
    return law / law.sum()


@pytest.mark.parametrize("mode", MODES, ids=NAMES)
def test_long_run_figures_agree_with_the_labelled_chain(mode):
    tables, policy, game, subsample = game_and_policy(11, sizes=(2, 3, 2, 2), k_global=2, k_local=2)
    n = 4
    P, rewards, states = labelled_chain(tables, policy, n)
    law = stationary(P)
    found = deploy(game, subsample, n, steps=200_000, runs=2, seed=2, **mode)
    standard_error = found.average_half_width / stats.t.isf(0.025, 63)
    # A difference of 2 % of the rewards' spread would show with a probability above 99 %.
    assert standard_error * (stats.norm.isf(LEVEL / 2) + 2.4) < 0.02 * np.ptp(rewards)
    assert abs(found.average_reward - law @ rewards) < stats.norm.isf(LEVEL / 2) * standard_error
    occupancy = [law[[state[0] == s_g for state in states]].sum() for s_g in range(game.n_sg)]
    np.testing.assert_allclose(found.occupancy, occupancy, atol=0.01)
    population = [law @ [state[1:].count(s) / n for state in states] for s in range(game.n_sl)]
    np.testing.assert_allclose(found.mean_population, population, atol=0.01)


@pytest.mark.parametrize("mode", MODES, ids=NAMES)
def test_returns_agree_with_the_linear_system(mode):
    tables, policy, game, subsample = game_and_policy(12, sizes=(2, 2, 2, 2), k_global=1, k_local=2, gamma=0.7)
    exact = deployed_value_by_labelled_chain(tables, policy, 3)
    found = deploy(game, subsample, 3, steps=60, runs=4000, seed=3, initial=(1, [2, 1]), **mode)
    expected = exact[1, ranks_listed(3, 2)[2, 1]]
    standard_error = found.returns.std(ddof=1) / np.sqrt(found.returns.size)
    assert found.truncation_bound < 1e-8
    assert abs(found.mean_return - expected) < stats.norm.isf(LEVEL / 2) * standard_error
    assert standard_error * (stats.norm.isf(LEVEL / 2) + 2.4) < 0.35 * np.ptp(exact)


def test_drawn_rewards_have_the_law_of_agents():
    tables, _, _, subsample = game_and_policy(13, k_global=3, k_local=4, gamma=0.9)
    # Without r_g, which drowns what the agents earn.
    game = Game(**tables | {"r_g": np.zeros((2, 2))})
    returns = {
        name: deploy(game, subsample, 6, steps=3, runs=12_000, seed=seed, initial=(0, [3, 2, 1]), **mode).returns
        for name, mode, seed in zip(NAMES, MODES, (4, 5, 6))
    }
    assert stats.ks_2samp(returns["drawn"], returns["agents"]).pvalue > LEVEL
    # Power: mean rewards have the same mean, and another law.
    assert stats.ks_2samp(returns["mean"], returns["agents"]).pvalue < 1e-12
    error = np.sqrt(returns["mean"].var() / 12_000 + returns["agents"].var() / 12_000)
    assert abs(returns["mean"].mean() - returns["agents"].mean()) < stats.norm.isf(LEVEL / 2) * error


def test_a_deterministic_game_with_a_pure_policy_by_hand():
    """Two states, the action names the next state, everyone goes where fewer are: the counts swap at every step."""
    tables = splitting_game(gamma=0.5) | {"r_l": np.array([[[0.0, 1.0], [5.0, 7.0]]])}
    local_action = np.zeros((1, 2, 4, 2))
    for rank, (first, second) in enumerate(count_vectors_listed(3, 2)):
        local_action[:, :, rank, int(first > second)] = 1.0
    policy = SubsamplePolicy(k_global=1, k_local=3, global_action=np.zeros((1, 2), int), local_action=local_action)
    for mode in MODES:
        found = deploy(Game(**tables), policy, 3, steps=4, trace_points=4, initial=(0, [2, 1]), **mode)
        # All three go to state 1, then all to 0, and so on.
        assert found.trace_population[0].tolist() == [[2, 1], [0, 3], [3, 0], [0, 3]]
        np.testing.assert_allclose(found.trace_reward[0], [(2 * 1 + 7) / 3, 5, 1, 5], rtol=1e-15)
        np.testing.assert_allclose(found.returns, [3 + 5 / 2 + 1 / 4 + 5 / 8], rtol=1e-15)


# Bits


@pytest.mark.parametrize("mode", MODES, ids=NAMES)
def test_the_same_bits_for_any_threads_runs_and_chunks(mode, all_threads, monkeypatch):
    _, _, game, subsample = game_and_policy(21)
    arguments = {"steps": 500, "seed": 9, "trace_points": 60, **mode}
    if mode["level"] == "agents":
        arguments["trace_agents"] = 2
    together = deploy(game, subsample, 7, runs=5, **arguments)
    numba.set_num_threads(1)
    assert_same_bits(together, deploy(game, subsample, 7, runs=5, **arguments))
    for run in (0, 3):
        alone = deploy(game, subsample, 7, runs=1, first_run=run, **arguments)
        assert_same_bits(together, alone, rows=slice(run, run + 1))
    whole = rollouts.finish_runs
    for chunk in (1, 7, 499):
        monkeypatch.setattr(
            "kofn.engine.deployment.finish_runs", lambda runs, progress, chunk=chunk: whole(runs, progress, chunk)
        )
        assert_same_bits(together, deploy(game, subsample, 7, runs=5, **arguments))
    assert np.unique(together.returns).size == 5
    assert not np.array_equal(together.returns, deploy(game, subsample, 7, runs=5, **arguments | {"seed": 10}).returns)


@pytest.mark.parametrize("mode", MODES[:2], ids=NAMES[:2])
def test_a_table_of_laws_changes_no_bit(mode, monkeypatch):
    _, _, game, subsample = game_and_policy(22, k_local=5)
    arguments = {"steps": 3000, "runs": 2, "trace_points": 3000, **mode}
    tabulated = deploy(game, subsample, 12, **arguments)
    monkeypatch.setattr(rollouts, "MAX_TABLE_BYTES", 0)
    assert_same_bits(tabulated, deploy(game, subsample, 12, **arguments))


@pytest.mark.parametrize("mode", MODES, ids=NAMES)
def test_a_longer_run_begins_with_the_shorter_one(mode):
    _, _, game, subsample = game_and_policy(23)
    short, long = (deploy(game, subsample, 5, steps=steps, trace_points=steps, **mode) for steps in (40, 400))
    np.testing.assert_array_equal(short.trace_return[0], long.trace_return[0, :40])
    np.testing.assert_array_equal(short.trace_population[0], long.trace_population[0, :40])


# Sizes


@pytest.mark.parametrize("mode", MODES[:2], ids=NAMES[:2])
@pytest.mark.parametrize("k_local", [1, 4])
def test_a_billion_agents(mode, k_local):
    """The shares follow the mean-field map up to n**(-1/2): the chain of shares is deterministic but for s_g."""
    _, _, game, subsample = game_and_policy(31, k_local=k_local)
    n = 10**9
    found = deploy(game, subsample, n, steps=400, trace_points=400, **mode)
    shares = found.trace_population[0] / n
    np.testing.assert_array_equal(found.trace_population.sum(axis=2), n)
    rows = rollouts.arrange_rows(game, subsample, drawn=False)
    samples = np.array(count_vectors_listed(k_local - 1, game.n_sl))
    for s_g, share, following in zip(found.trace_global_state[0], shares, shares[1:]):
        # Independent draws with these shares: the sample of a billion is one without replacement, 1e-8 away.
        weights = stats.multinomial.pmf(samples, k_local - 1, share) if k_local > 1 else np.ones(1)
        moved = share @ (rows[s_g, :, : game.n_sl] @ weights)
        np.testing.assert_allclose(following, moved, atol=6 * 0.5 / np.sqrt(n) + 1e-7)


@pytest.mark.parametrize("mode", MODES, ids=NAMES)
@pytest.mark.parametrize(
    ("sizes", "k_global", "k_local", "n"),
    [((1, 1, 1, 1), 1, 1, 1), ((2, 1, 1, 3), 3, 3, 3), ((1, 2, 4, 1), 5, 2, 5), ((3, 2, 2, 2), 1, 30, 30)],
)
def test_odd_sizes(mode, sizes, k_global, k_local, n):
    _, _, game, subsample = game_and_policy(32, sizes=sizes, k_global=k_global, k_local=k_local, sparsity=0.5)
    found = deploy(game, subsample, n, steps=300, runs=2, trace_points=7, **mode)
    np.testing.assert_allclose(found.mean_population.sum(), 1.0, rtol=1e-14)
    np.testing.assert_allclose(found.occupancy.sum(), 1.0, rtol=1e-14)
    np.testing.assert_array_equal(found.trace_population.sum(axis=2), n)
    assert np.isfinite(found.returns).all()


def test_more_agents_than_the_table_of_one_state_could_hold():
    _, _, game, subsample = game_and_policy(33, sizes=(2, 2, 1, 2), k_global=2, k_local=2)
    found = deploy(game, subsample, 2**30, steps=50)
    assert found.mean_population.tolist() == [1.0]


def test_traced_agents_are_part_of_the_population():
    _, _, game, subsample = game_and_policy(34)
    found = deploy(game, subsample, 5, steps=50, trace_points=25, runs=2, level="agents", trace_agents=5)
    counts = np.stack([(found.trace_agents == s).sum(axis=2) for s in range(game.n_sl)], axis=2)
    np.testing.assert_array_equal(counts, found.trace_population)


@pytest.mark.parametrize("mode", MODES, ids=NAMES)
@pytest.mark.parametrize("trace_points", [90, 13])
def test_the_traced_global_action_answers_to_the_traced_state(mode, trace_points):
    """With k_global = n the sample is the population, and a_g a function of what is traced with it."""
    n = 5
    _, policy, game, subsample = game_and_policy(37, sizes=(2, 3, 3, 2), k_global=n, k_local=2)
    found = deploy(game, subsample, n, steps=90, runs=3, trace_points=trace_points, seed=4, **mode)
    ranks = ranks_listed(n, game.n_sl)
    where = np.array([[ranks[tuple(N)] for N in run] for run in found.trace_population.tolist()])
    expected = np.array(policy.global_action)[found.trace_global_state, where].astype(np.int32)
    np.testing.assert_array_equal(found.trace_global_action, expected, strict=True)
    assert np.unique(expected).size == game.n_ag
    # A neighbouring point would show: the action changes from one to the next.
    assert (expected[:, 1:] != expected[:, :-1]).mean() > 0.3


@pytest.mark.parametrize("mode", MODES, ids=NAMES)
def test_the_trace_of_every_step_adds_up_to_the_shares_of_actions(mode):
    _, _, game, subsample = game_and_policy(38)
    steps = 200
    found = deploy(game, subsample, 7, steps=steps, runs=2, trace_points=steps, **mode)
    for run in range(2):
        counted = np.zeros((game.n_sg, game.n_ag))
        after = slice(found.config["burn_in"], None)
        np.add.at(counted, (found.trace_global_state[run, after], found.trace_global_action[run, after]), 1)
        np.testing.assert_allclose(found.action_shares[run], counted / counted.sum(), rtol=1e-15)


def test_the_size_of_a_record_is_known_beforehand():
    _, _, game, _ = game_and_policy(39)
    schedule = rollouts.schedule_of(100, 30)
    record = rollouts.make_record(game, 3, 0, schedule)
    assert sum(array.nbytes for array in record) == rollouts.record_bytes(game, 3, schedule)


def test_agents_start_in_random_order():
    """Agent 0 starts in state 0 with its share 8/10: 2000 runs, within 6 deviations; ordered agents would always."""
    _, _, game, subsample = game_and_policy(35)
    found = deploy(game, subsample, 10, steps=1, runs=2000, initial=(0, [8, 1, 1]), level="agents", trace_agents=1)
    assert abs((found.trace_agents[:, 0, 0] == 0).mean() - 0.8) < 6 * np.sqrt(0.16 / 2000)


@pytest.mark.parametrize("dirichlet", [False, True])
def test_initial_states_have_the_games_law(dirichlet):
    tables = random_game_tables(np.random.default_rng(36), 3, 2, 3, 2)
    tables |= {"rho_l": np.array([0.5, 0.2, 0.1])} if dirichlet else {}
    game = Game(**tables, dirichlet=dirichlet)
    _, _, _, subsample = game_and_policy(36, sizes=(3, 2, 3, 2))
    n, runs = 40, 20_000
    found = deploy(game, subsample, n, steps=1, runs=runs)
    occupied = np.bincount(found.trace_global_state[:, 0], minlength=3)
    assert stats.chisquare(occupied, game.rho_g * runs).pvalue > LEVEL
    law = game.rho_l / game.rho_l.sum()
    # Variance of a count: multinomial, or Dirichlet-multinomial with the concentration's total.
    total = game.rho_l.sum()
    spread = (n + total) / (1 + total) if dirichlet else 1.0
    counts = found.trace_population[:, 0]
    deviations = np.sqrt(n * law * (1 - law) * spread / runs)
    assert (abs(counts.mean(axis=0) - n * law) < 6 * deviations).all()
    np.testing.assert_allclose(counts.var(axis=0), n * law * (1 - law) * spread, rtol=0.05)


def test_one_compilation_for_everything():
    for seed, sizes in enumerate([(1, 1, 1, 1), (2, 3, 3, 2)]):
        for mode in MODES:
            _, _, game, subsample = game_and_policy(seed, sizes=sizes, k_global=1, k_local=2)
            deploy(game, subsample, 50, steps=3, **mode)
    assert len(advance_count_runs.signatures) == 1
    assert len(advance_agent_runs.signatures) == 1
