"""Synchronous learning against labelled agents in plain Python; rows, fields and replay one by one.

Statistical tests run at fixed seeds, at a level of LEVEL; their power is stated with each.
"""

import math

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_agents import (
    BLIND_ACTIONS,
    BLIND_STATES,
    N_AG,
    N_AL,
    N_SG,
    OF_ACTIONS,
    OF_STATES,
    Oracle,
    exact_value,
    graph_of,
    lens_of,
    population_of,
    records_of,
    rule_of,
    scene_of,
    sees,
)
from numba import njit
from scipy import stats

from kofn.kernels.learning import choices, fields, replay, synchronous, updates
from kofn.kernels.learning.parts import EVERYONE, NEIGHBOURS, OTHERS, Lens, Ring, Scene, Tables
from kofn.kernels.learning.with_reward import learn_with_reward
from kofn.kernels.streams import new_stream, next_below, seek

LEVEL = 1e-6
SEED = np.uint64(11)


CASES = {
    "mean action of the others, two features": {"env": (OF_STATES, EVERYONE), "seeing": (OF_ACTIONS, OTHERS)},
    "team, shared table, visits": {
        "env": (OF_ACTIONS, EVERYONE),
        "seeing": (OF_STATES, NEIGHBOURS),
        "rule": {"team": 1, "alpha_power": 0.6, "temperature": 0.0},
        "tables": 1,
        "present": {"visits": True},
    },
    "actor-critic, own values, rewards at the seen ones, absent agents": {
        "env": (OF_ACTIONS, NEIGHBOURS),
        "seeing": (OF_ACTIONS, NEIGHBOURS),
        "rule": {"reward_at_seen": 1, "target_every": 3},
        "present": {"theta": True, "target": True},
        "alive": [1, 1, 0, 1, 0, 1],
    },
    "actor-critic, shared, everyone sees everyone": {
        "env": (OF_STATES, OTHERS),
        "seeing": (OF_STATES, EVERYONE),
        "tables": 1,
        "present": {"theta": True, "visits": True},
        "rule": {"alpha_power": 0.5},
        "alive": [0, 1, 1, 1, 0, 1],
    },
    "answers before acting, soft target": {
        "env": (BLIND_STATES, EVERYONE),
        "seeing": (OF_ACTIONS, OTHERS),
        "rule": {"inner": 3, "target_tau": 0.25},
        "present": {"target": True},
    },
    "answers of neighbours, actor": {
        "env": (OF_ACTIONS, EVERYONE),
        "seeing": (OF_ACTIONS, NEIGHBOURS),
        "rule": {"inner": 2},
        "present": {"theta": True},
        "alive": [1, 1, 1, 1, 0, 1],
    },
    "a global agent that learns": {
        "env": (OF_ACTIONS, EVERYONE),
        "seeing": (BLIND_ACTIONS, OTHERS),
        "rule": {"temperature": 0.0, "epsilon_start": 0.0, "epsilon_end": 0.0, "global_learns": 1, "alpha_power": 0.7},
        "present": {"q_global": True, "visits": True},
    },
    "replay of a ring of one": {
        "env": (OF_STATES, EVERYONE),
        "seeing": (OF_ACTIONS, EVERYONE),
        "rule": {"batch": 2, "temperature": 0.0, "epsilon_start": 0.0, "epsilon_end": 0.0},
        "capacity": 1,
        "alive": [1, 1, 1, 0, 1, 1],
    },
    "nobody is there": {"env": (OF_STATES, EVERYONE), "seeing": (OF_ACTIONS, OTHERS), "alive": [0] * 6},
    "one agent is left": {"env": (OF_ACTIONS, OTHERS), "seeing": (OF_ACTIONS, OTHERS), "alive": [0, 0, 1, 0, 0, 0]},
}


def set_up(case, seed=3, n=6, runs=1):
    rng = np.random.default_rng(seed)
    env, seeing = ((lens, graph_of(kind, n)) for lens, kind in (case["env"], case["seeing"]))
    n_f, own = int(np.prod(env[0].n_values)), env[1].kind != EVERYONE
    scene = scene_of(rng, n_f, global_field=not own)
    law = np.eye(N_AG)[rng.integers(N_AG, size=(N_SG, 1 if own else n_f))]
    rule = rule_of(**({"global_law": law} | case.get("rule", {})))
    options = {"tables": case.get("tables"), "capacity": case.get("capacity", 0), "alive": case.get("alive")}
    n_fg = 1 if own else n_f
    population = population_of(scene, seeing[0], n, runs, rng=rng, n_fg=n_fg, **options, **case.get("present", {}))
    synchronous.draw_learners(scene, SEED, population)
    synchronous.observe_start(scene, *env, *seeing, rule, population, 0)
    return scene, env, seeing, rule, population


def advance(scene, env, seeing, rule, population, first_step, n_steps, records):
    synchronous.learn_synchronous(scene, *env, *seeing, rule, population, SEED, first_step, n_steps, records)


@pytest.mark.parametrize("name", CASES)
def test_steps_are_those_of_labelled_agents(name):
    scene, env, seeing, rule, population = set_up(CASES[name])
    oracle = Oracle(scene, env, seeing, rule, population)
    lens = seeing[0]
    records = records_of(1, 25)
    for step in range(25):
        assert population.seen[0, oracle.agents].tolist() == list(oracle.seen.values())
        chosen = oracle.actions if lens.of_actions else oracle.states
        states = list(oracle.states)
        advance(scene, env, seeing, rule, population, step, 1, records)
        oracle.advance(step, population)
        chosen = oracle.actions if lens.of_actions else states
        weights = [lens.weights[0, chosen[i]] for i in oracle.agents] if len(lens.weights) else []
        np.testing.assert_allclose(records.reward[0, step], oracle.system, rtol=1e-12)
        np.testing.assert_allclose(records.weight[0, step], sum(weights) / max(len(weights), 1), atol=1e-12)
        assert records.abs_weight[0, step] == abs(records.weight[0, step])
        for table, rows in (
            (population.q, oracle.q),
            (population.theta, oracle.theta),
            (population.target, oracle.target),
        ):
            for (t, o), row in rows.items():
                np.testing.assert_allclose(table[0, t, o], row, rtol=1e-9, atol=1e-12)
        if oracle.q_global:
            np.testing.assert_allclose(population.q_global[0], oracle.q_global, rtol=1e-9)
    assert oracle.visits is None or population.visits.sum() == 25 * len(oracle.agents)


@pytest.mark.parametrize("name", CASES)
def test_chunks_and_threads_change_no_bit(name, all_threads):
    found = []
    for threads, chunks in ((numba.get_num_threads(), (1, 4, 7)), (1, (12,))):
        scene, env, seeing, rule, population = set_up(CASES[name], runs=3)
        records = records_of(3, 3, every=5)
        numba.set_num_threads(threads)
        step = 0
        for chunk in chunks:
            advance(scene, env, seeing, rule, population, step, chunk, records)
            step += chunk
        found.append([*population, *records[1:]])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.isnan(found[0][-1]).any()


def test_frozen_tables_stay_and_are_played():
    scene, env, seeing, rule, population = set_up(CASES["mean action of the others, two features"])
    tables = population.q.copy()
    advance(scene, env, seeing, rule._replace(learning=0), population, 0, 20, records_of(1, 0))
    np.testing.assert_array_equal(population.q, tables)


# Rows of a table.

ROWS = st.lists(st.integers(-40, 40).map(lambda x: x / 4), min_size=1, max_size=6)


@given(ROWS, st.sampled_from([0.25, 1.0, 7.0]), st.integers(-8, 8))
def test_boltzmann_law(entries, temperature, shift):
    row = np.array(entries)
    law, shifted = np.full(len(row), np.nan), np.full(len(row), np.nan)
    choices.boltzmann_law(row, temperature, law)
    expected = np.array([math.exp(x / temperature) for x in entries])
    np.testing.assert_allclose(law, expected / expected.sum(), rtol=1e-12, atol=1e-300)
    assert law.sum() == pytest.approx(1, abs=1e-14)
    choices.boltzmann_law(row + shift, temperature, shifted)
    np.testing.assert_array_equal(shifted, law)
    value = choices.value_of_row(row, temperature)
    assert value == pytest.approx(law @ row, abs=1e-12)
    assert choices.value_of_row(row + shift, temperature) == pytest.approx(value + shift, abs=1e-12)
    # A larger entry is more likely, never less.
    assert (np.diff(law[np.argsort(row)]) >= 0).all()
    choices.behaviour_law(row, temperature, 0.25, shifted)
    np.testing.assert_allclose(shifted, 0.75 * law + 0.25 / len(row), rtol=1e-12)


@given(ROWS)
def test_cold_law_is_greedy(entries):
    row, law, cold = np.array(entries), np.full(len(entries), np.nan), np.full(len(entries), np.nan)
    best = entries.index(max(entries))
    assert choices.greedy_action(row) == best
    choices.boltzmann_law(row, 0.0, law)
    np.testing.assert_array_equal(law, np.arange(len(row)) == best)
    assert choices.value_of_row(row, 0.0) == max(entries)
    choices.boltzmann_law(row, 1e-4, cold)
    np.testing.assert_allclose(cold[best], 1 / entries.count(max(entries)))
    assert choices.value_of_row(row, 1e-4) == pytest.approx(max(entries))
    # Huge entries do not overflow.
    choices.boltzmann_law(row * 1e300, 1e-300, cold)
    assert np.isfinite(cold).all()


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_actions_have_their_law(temperature, epsilon):
    # 2·10⁵ agents: a share of an action that is off by .007 is found with a probability above .97.
    n, stream = 200_000, new_stream(SEED)
    table = np.array([[[0.3, 1.0, 1.0, -0.5]]])
    law, actions = np.zeros(4), np.zeros(n, np.int32)
    seek(stream, 3, 0, 0)
    agents = np.arange(n)
    choices.draw_actions(table, np.zeros(n, np.int32), agents, temperature, epsilon, stream, np.zeros(4), actions)
    choices.behaviour_law(table[0, 0], temperature, epsilon, law)
    counts = np.bincount(actions, minlength=4)
    assert (counts[law == 0] == 0).all()
    if (law > 0).sum() > 1:
        assert stats.chisquare(counts[law > 0], n * law[law > 0]).pvalue > LEVEL
    # One agent at a time draws the same.
    seek(stream, 3, 0, 0)
    single = [choices.draw_action(table[0, 0], temperature, epsilon, stream, law) for _ in range(50)]
    assert single == actions[:50].tolist()


def test_epsilon_is_linear_then_constant():
    found = [choices.epsilon_at(0.5, 0.1, 4, step) for step in range(7)]
    np.testing.assert_allclose(found, [0.5, 0.4, 0.3, 0.2, 0.1, 0.1, 0.1])
    assert choices.epsilon_at(0.5, 0.1, 0, 0) == 0.1


# Fields.


@given(st.data())
def test_field_values_are_those_of_exact_fractions(data):
    n, n_x = data.draw(st.integers(4, 7)), N_AL
    # Sevenths and tenths as edges of sums: means hit them all the time, but for rounding.
    base = data.draw(st.sampled_from([5, 6, 7, 10]))
    edges = [sorted(data.draw(st.sets(st.integers(-9, 20), max_size=6))) for _ in range(data.draw(st.integers(1, 2)))]
    weights = [data.draw(st.lists(st.integers(-2, 3), min_size=n_x, max_size=n_x)) for _ in edges]
    lens = lens_of(True, weights, [[edge / base for edge in row] for row in edges], neutral=1)
    alive = np.array(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)), np.uint8)
    chosen = np.array(data.draw(st.lists(st.integers(0, n_x - 1), min_size=n, max_size=n)), np.int32)
    present = np.flatnonzero(alive)
    means = np.array(weights, float).T[chosen]
    for kind in (EVERYONE, OTHERS, NEIGHBOURS):
        graph = graph_of(kind, n)
        found, of_means = np.full(n, -7), np.full(n, -7)
        scratch = fields.make_field_scratch(lens)
        fields.fill_values(lens, graph, alive, present, chosen, scratch, found)
        fields.fill_values_of_means(lens, graph, alive, present, means, scratch, of_means)
        for i in range(n):
            who = sees(graph, present.tolist(), i)
            expected = exact_value(lens, chosen[who].tolist()) if alive[i] else -7
            assert found[i] == of_means[i] == expected


def test_ten_thousand_edges_are_told_apart():
    n = 1000
    # Between the totals: rounding decides nothing.
    edges = ((np.arange(1, 9 * n + 1) - 0.5) / n)[None]
    lens = Lens(1, np.arange(10.0)[None], edges, np.array([9 * n + 1]), 0)
    scratch, present = fields.make_field_scratch(lens), np.arange(n)
    chosen = np.zeros(n, np.int32)
    for total in range(9 * n + 1):
        assert fields.value_of_all(lens, present, chosen, scratch) == total
        chosen[total % n] += total < 9 * n


# Updates and replay.


def test_updates_on_arrays_of_ones_own():
    q, target, theta = np.array([[1.0, 2.0], [4.0, 3.0]]), np.array([[0.0, 0.0], [10.0, 20.0]]), np.zeros((2, 2))
    updates.update_mfq(q, target, 0, 1, 1.0, 1, 0.5, 0.1, 0.0)
    np.testing.assert_allclose(q, [[1, 0.5 * 2 + 0.5 * (1 + 0.1 * 20)], [4, 3]])
    updates.update_mfac(q, q, theta, 0, 0, 2.0, 1, 0.5, 0.2, 0.1, 1.0, np.zeros(2))
    first = 0.5 * 1 + 0.5 * (2 + 0.1 * 3.5)
    np.testing.assert_allclose(q, [[first, 2.5], [4, 3]])
    np.testing.assert_allclose(theta, [[0.2 * (first - (first + 2.5) / 2) * x for x in (0.5, -0.5)], [0, 0]])
    visits = np.zeros((2, 2), np.int64)
    np.testing.assert_allclose([updates.count_visit(visits, 1, 0, 0.5, 1.0) for _ in range(3)], [0.5, 0.25, 0.5 / 3])
    assert visits.tolist() == [[0, 0], [3, 0]]


NO_LAWS = np.zeros((0, 0), np.int32), np.zeros((0, 0))


@pytest.mark.parametrize("n_tables", [4, 1])
def test_replay_draws_places_and_agents(n_tables):
    rng = np.random.default_rng(2)
    n, capacity, batch = 4, 5, 3
    tables = Tables(
        rng.normal(size=(n_tables, 3, 2)), *np.zeros((2, 0, 0, 0)), np.zeros((0, 0, 0), int), np.zeros((0, 0, 0))
    )
    seen, following = rng.integers(3, size=(2, capacity, n)).astype(np.int32)
    ring = Ring(
        seen, rng.integers(2, size=(capacity, n)).astype(np.int32), rng.random((capacity, n)), following, *NO_LAWS
    )
    rule, present, stream = rule_of(batch=batch, temperature=0.0), np.array([0, 1, 3]), new_stream(SEED)
    expected = tables.q.tolist()
    for i in [None] * batch if n_tables == 1 else np.repeat(present, batch).tolist():
        place = next_below(4, stream)
        agent = present[next_below(3, stream)] if i is None else i
        table = expected[0 if i is None else i]
        cell = (ring.seen[place, agent], ring.action[place, agent])
        aim = ring.reward[place, agent] + rule.gamma * max(table[ring.next[place, agent]])
        table[cell[0]][cell[1]] += rule.alpha * (aim - table[cell[0]][cell[1]])
    replay.replay_transitions(tables, rule, ring, 4, present, new_stream(SEED), np.zeros(2))
    np.testing.assert_allclose(tables.q, expected, rtol=1e-12)


def test_ring_keeps_the_last_transitions():
    case = CASES["replay of a ring of one"] | {"capacity": 4, "alive": None}
    scene, env, seeing, rule, population = set_up(case)
    log = []
    for step in range(10):
        seen = population.seen[0].copy()
        advance(scene, env, seeing, rule, population, step, 1, records_of(1, 0))
        log.append((seen, population.actions[0].copy(), population.seen[0].copy()))
        assert (population.ring_head[0], population.ring_filled[0]) == ((step + 1) % 4, min(step + 1, 4))
    for step in range(6, 10):
        stored = (population.ring_seen, population.ring_action, population.ring_next)
        for row, kept in zip(log[step], stored, strict=True):
            np.testing.assert_array_equal(kept[0, step % 4], row)


# Starts, rewards of one's own, and what is refused.


def test_start_follows_its_laws():
    # 6000 agents: a share that is off by .05 is found with a probability above .99.
    rng = np.random.default_rng(1)
    scene = scene_of(rng, 1)._replace(rho_g=np.array([0.0, 1.0]), rho_l=np.array([0.3, 0.7]))
    population = population_of(scene, BLIND_STATES, 2000, runs=3)
    synchronous.draw_learners(scene, SEED, population)
    assert population.s_g.tolist() == [1, 1, 1]
    assert stats.binomtest(int(population.states.sum()), 6000, 0.7).pvalue > LEVEL
    assert stats.chisquare(np.bincount(population.actions.ravel(), minlength=N_AL)).pvalue > LEVEL
    assert (population.states[0] != population.states[1]).any()


@njit
def crowded(s_g, f, s, a):
    return 0.5 * s_g - 0.25 * f + s * a


@njit
def play_crowded(scene, env_lens, env_graph, lens, graph, rule, population, seed, n_steps, records):
    learn_with_reward(crowded, scene, env_lens, env_graph, lens, graph, rule, population, seed, 0, n_steps, records)


def test_reward_of_ones_own_is_that_of_its_table():
    found = []
    for own in (True, False):
        case = CASES["mean action of the others, two features"]
        scene, env, seeing, rule, population = set_up(case, runs=2)
        table = np.array(
            [[[[crowded(g, f, s, a) for a in range(3)] for s in range(2)] for f in range(4)] for g in range(2)]
        )
        records = records_of(2, 4, every=5)
        if own:
            play_crowded(scene, *env, *seeing, rule, population, SEED, 20, records)
        else:
            advance(scene._replace(r_l=table), env, seeing, rule, population, 0, 20, records)
        found.append([*population, *records[1:]])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("run", "steps", "points", "text"),
    [
        (2**32, (0, 1), 0, "run: found"),
        (0, (-1, 1), 0, "first_step, n_steps: found"),
        (0, (2**56 - 1, 2), 0, "first_step, n_steps: found"),
        (0, (0, 5), 4, "records: found"),
    ],
)
def test_bad_addresses_are_refused(run, steps, points, text):
    scene, env, seeing, rule, population = set_up(CASES["mean action of the others, two features"])
    population.run[0] = run
    with pytest.raises(ValueError, match=text):
        advance(scene, env, seeing, rule, population, *steps, records_of(1, points))


# The Gaussian squeeze: everyone receives x·exp(−(x − 400)²/200²), x the sum of the actions 0 to 9.


def squeeze_score(n, bins, steps, runs):
    """Share of the best reward, over the last tenth of the steps, for tables with so many bins of the others' mean."""
    total = np.arange(9 * n + 1.0)
    reward = total * np.exp(-((total - 400) ** 2) / 200**2)
    scene = Scene(
        np.ones((1, 1, 1, 1)),
        np.ones((1, 1, 1, 10, 1)),
        reward[None, :, None],
        np.zeros((1, 1, 1, 10)),
        *np.ones((2, 1)),
    )
    weights = np.arange(10.0)[None]
    env = Lens(1, weights, total[None, 1:] / n, np.array([9 * n + 1]), 0), graph_of(EVERYONE, 3)
    seeing = Lens(1, weights, np.linspace(0, 9, bins + 1)[None, 1:-1].copy(), np.array([bins]), 0), graph_of(OTHERS, 3)
    changes = {"alpha": 0.1, "gamma": 0.0, "temperature": 0.0, "epsilon_start": 0.1, "epsilon_end": 0.01}
    rule = rule_of(epsilon_steps=steps // 2, **changes)
    population = population_of(scene, seeing[0], n, runs)
    records = records_of(runs, 10, every=steps // 10)
    synchronous.draw_learners(scene, SEED, population)
    synchronous.observe_start(scene, *env, *seeing, rule, population, 0)
    advance(scene, env, seeing, rule, population, 0, steps, records)
    return records.reward[:, -1] / reward.max()


def test_squeeze_of_many_agents_needs_the_mean_action():
    assert squeeze_score(500, 1, 20_000, 2).max() < 1e-6
    assert squeeze_score(500, 90, 20_000, 2).min() > 0.3
    # With few agents uniform play is nearly the best there is, and those who see nothing stay there.
    assert squeeze_score(100, 1, 20_000, 2).min() > 0.7
    assert squeeze_score(100, 90, 20_000, 2).max() < 0.3
