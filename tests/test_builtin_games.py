"""The built-in games: their tables against formulas written down a second time, and whether counts matter in them."""

import itertools
import math

import numpy as np
import pytest

from kofn.engine.game_files import list_games, load_game
from kofn.engine.solve import solve
from oracles import (
    additive_fit_residual,
    backup_shared,
    best_count_blind_value,
    best_keys,
    count_vectors_listed,
    initial_value,
    solve_by_listing,
)

COUPLED = ("cooling", "irrigation", "servers", "traffic")
UNCOUPLED = (*COUPLED, "formation", "robots")
WITH_FIELD = ("epidemic", "gaussian-squeeze", "inventory-tiny", "ising")
GENERATED = ("inventory", "inventory-large")


@pytest.fixture(scope="module", params=COUPLED)
def coupled(request):
    return load_game(request.param)


def test_the_games():
    assert list_games() == sorted([*UNCOUPLED, *WITH_FIELD, *GENERATED])
    for name in (*UNCOUPLED, *WITH_FIELD):
        game = load_game(name)
        assert game.name == name
        assert game.description
        assert game.n_agents >= (3 if name == "inventory-tiny" else 14)


def test_formation_against_formulas():
    game = load_game("formation")
    wide, narrow = np.arange(-2, 3), np.arange(-1, 2)
    assert game.labels.global_states == game.labels.global_actions == tuple(wide)
    assert game.labels.local_states == game.labels.local_actions == tuple(narrow)
    assert (game.gamma, game.n_agents, game.dirichlet) == (0.9, 14, False)
    assert game.rho_g.tolist() == [0.2] * 5
    assert game.rho_l.tolist() == [1 / 3] * 3
    s_g, a_g = np.meshgrid(wide, wide, indexing="ij")
    np.testing.assert_allclose(game.r_g, 1 + np.where(a_g == 0, 0.2, 0.1) + 0.1 * abs(s_g), rtol=0, atol=1e-14)
    np.testing.assert_array_equal(game.P_g, np.clip(s_g + a_g, -2, 2)[..., None] == wide)
    s_g, s, a = np.meshgrid(wide, narrow, narrow, indexing="ij")
    gap = abs(s - s_g)
    reward = (1 - abs(s)) + (0.5 - 0.1 * abs(a)) + (0.3 - 0.1 * gap) + 0.2 * (gap <= 1)
    np.testing.assert_allclose(game.r_l, np.maximum(0.1, reward), rtol=0, atol=1e-14)
    np.testing.assert_array_equal(game.P_l, np.clip(s + a - s_g, -1, 1)[..., None] == narrow)


def test_robots_against_formulas():
    game = load_game("robots")
    assert game.labels.local_actions == ("stay", "up", "down")
    assert (game.gamma, game.n_agents, game.dirichlet) == (0.95, 1000, True)
    assert game.rho_g.tolist() == [0.2] * 5
    assert game.rho_l.tolist() == [0.3] * 5
    ring = np.eye(5)
    logits = 0.1 + 3.0 * ring[None, :, :] + 0.5 * ring[:, None, :]
    np.testing.assert_allclose(game.P_g, softmax(logits), rtol=0, atol=1e-15)
    pointed = np.stack([np.zeros((5, 5)), np.roll(ring, 1, axis=1), np.roll(ring, -1, axis=1)], axis=1)
    logits = 0.1 + 3.5 * ring[None, :, None, :] + 1.5 * pointed[None] + 0.3 * ring[:, None, None, :]
    np.testing.assert_allclose(game.P_l, softmax(logits), rtol=0, atol=1e-15)
    assert game.P_l[0, 1, 1].argsort()[-2:].tolist() == [2, 1]  # up from zone 1 leads to zone 2
    np.testing.assert_array_equal(game.r_g, np.ones((5, 5)))
    apart = abs(np.subtract.outer(np.arange(5), np.arange(5)))
    distance = np.minimum(apart, 5 - apart)
    base = np.where(distance == 0, 10.0, 2.0 / (1.0 + distance))
    np.testing.assert_allclose(game.r_l, base[..., None] + np.array([0.0, 0.5, -0.3]), rtol=0, atol=1e-14)


def softmax(logits):
    weights = np.exp(logits)
    return weights / weights.sum(axis=-1, keepdims=True)


def test_traffic_against_formulas():
    game = load_game("traffic")
    assert game.labels.local_states == ((0, 0), (1, 0), (0, 1), (1, 1))
    green = [[1, 0], [0, 0], [0, 1], [0, 0]]
    for s_g, (s, queues), a in itertools.product(range(4), enumerate(game.labels.local_states), range(2)):
        law, delay = np.ones(4), -3.0 * a
        for side, rate in enumerate((0.12, 0.08)):
            arrives = rate / 2 if a else rate
            stays = 0.3 if green[s_g][side] else 1.0
            queued = stays if queues[side] else arrives * stays
            law *= [queued if after[side] else 1.0 - queued for after in game.labels.local_states]
            delay -= queues[side] * (20.0 + 30.0 * arrives * stays)
        np.testing.assert_allclose(game.P_l[s_g, s, a], law, rtol=0, atol=1e-15)
        assert game.r_l[s_g, s, a] == pytest.approx(delay, abs=1e-12)
    following = [[0, 1], [2, 2], [3, 2], [0, 0]]
    np.testing.assert_array_equal(game.P_g.argmax(axis=-1), following)
    np.testing.assert_array_equal(game.r_g, [[0, -2], [0, 0], [-2, 0], [0, 0]])


def test_cooling_against_formulas():
    game = load_game("cooling")
    drift = 0.65 * np.eye(4) + 0.35 * np.eye(4, k=1)
    drift[3, 3] = 1.0
    running = 0.25 * np.eye(4) + 0.7 * np.eye(4, k=-1) + 0.05 * np.eye(4, k=1)
    running[0, 0], running[3, 3] = 0.95, 0.3
    for s_g, (market, event) in enumerate(game.labels.global_states):
        np.testing.assert_allclose(game.P_l[s_g, :, 0], drift, rtol=0, atol=1e-15)
        np.testing.assert_allclose(game.P_l[s_g, :, 1], drift if event else running, rtol=0, atol=1e-15)
        energy = 0.0 if event else (5.0, 15.0)[market]
        np.testing.assert_array_equal(game.r_l[s_g], -np.array([[0, 5, 20, 100]]).T - [[0, energy]])
        paid = event * (20.0, 40.0)[market]
        np.testing.assert_array_equal(game.r_g[s_g], [paid, paid - (0.0 if event else 20.0)])
        for a_g, (t, (after, flag)) in itertools.product(range(2), enumerate(game.labels.global_states)):
            stays = (0.9, 0.85)[market]
            expected = (stays if after == market else 1.0 - stays) * (flag == a_g)
            assert game.P_g[s_g, a_g, t] == pytest.approx(expected, abs=1e-15)


def test_servers_against_formulas():
    game = load_game("servers")
    batches = {-1: {-1: 0.92, 0: 0.04, 1: 0.04}, 0: {-1: 0.7, 0: 0.3}, 1: {-1: 0.7, 1: 0.3}}
    for s_g, (charge, batch) in enumerate(game.labels.global_states):
        for a_g, (t, (after, next_batch)) in itertools.product(range(2), enumerate(game.labels.global_states)):
            expected = (after == a_g) * batches[batch].get(next_batch, 0.0)
            assert game.P_g[s_g, a_g, t] == pytest.approx(expected, abs=1e-15)
        for (s, (pool, busy)), a in itertools.product(enumerate(game.labels.local_states), range(2)):
            spared = (0.65 if pool == charge else 0.97) * (0.1 if pool == batch else 1.0)
            ends = (0.15, 0.25)[a]
            free = ends * spared if busy else spared
            moves = [0.995 if after == pool else 0.005 for after in (0, 1)]
            law = [moves[after] * (1.0 - free if loaded else free) for after, loaded in game.labels.local_states]
            np.testing.assert_allclose(game.P_l[s_g, s, a], law, rtol=0, atol=1e-15)
            cost = 0.42 * a + busy * (1.0 + 4.0 * (1.0 - spared) * (1.0 - ends))
            assert game.r_l[s_g, s, a] == pytest.approx(-cost, abs=1e-14)
    assert not game.r_g.any()


def test_irrigation_against_formulas():
    game = load_game("irrigation")
    assert game.n_sl == 2
    assert game.n_agents == 300
    for s_g, (level, gate) in enumerate(game.labels.global_states):
        wet = 0.85 * (0.0, 0.6, 1.0)[level] * gate
        for a, w in enumerate((0.0, wet)):
            law = [[1 - 0.08 * (1 - w), 0.08 * (1 - w)], [w, 1 - w]]
            np.testing.assert_allclose(game.P_l[s_g, :, a], law, rtol=0, atol=1e-15)
        np.testing.assert_array_equal(game.r_l[s_g], [[0, -1], [-10, -11]])
        np.testing.assert_array_equal(game.r_g[s_g], [-5.0 * gate, -5.0 * gate - (0 if gate else 8)])
        down = 0.3 if gate and level > 0 else 0.0
        moves = {-1: down * 0.65, 0: down * 0.35 + (1 - down) * 0.65, 1: (1 - down) * 0.35}
        for a_g in range(2):
            law = np.zeros(6)
            for move, p in moves.items():
                law[game.labels.global_states.index((max(0, min(2, level + move)), a_g))] += p
            np.testing.assert_allclose(game.P_g[s_g, a_g], law, rtol=0, atol=1e-15)


def test_counts_decide_the_global_action(coupled):
    """Solve k = 3 by listing labelled agents: a_g follows the counts, and looking at them is worth a lot."""
    k = 3
    V = solve_by_listing(coupled, k, actions="shared", tol=1e-6)
    _, q = backup_shared(coupled, V, k)
    best = {state: {a_g for a_g, _ in best_keys(q_of_actions, atol=1e-3)} for state, q_of_actions in q.items()}
    lattice = count_vectors_listed(k, coupled.n_sl)
    # In these global states no single action is optimal for every count vector.
    varying = [s_g for s_g in range(coupled.n_sg) if not set.intersection(*(best[s_g, c] for c in lattice))]
    assert len(varying) >= coupled.n_sg / 3
    rho_l = coupled.rho_l / coupled.rho_l.sum()
    blind, _ = best_count_blind_value(coupled, coupled.rho_g, rho_l)
    lost = initial_value(V, coupled.rho_g, rho_l, k) - blind
    spread = V.max() - V.min()
    assert lost > 0.1 * spread
    assert additive_fit_residual(V, lattice) > 0.01 * spread


@pytest.mark.parametrize("name", COUPLED)
def test_no_state_is_cut_off(name):
    """Whatever is played uniformly, every state is reached: stationary laws exist and are unique."""
    game = load_game(name)
    globally = game.P_g.mean(axis=1)
    locally = game.P_l.mean(axis=(0, 2))
    for steps in (globally, locally):
        assert np.linalg.matrix_power(steps, 50).min() > 0.0


@pytest.mark.parametrize("name", [*UNCOUPLED, "epidemic"])
def test_small_enough_for_exact_work(name):
    game = load_game(name)
    assert solve(game, 2, tol=1.0).half_width <= 0.5
    assert game.n_sl <= 5
    assert game.n_al <= 3
    assert game.n_sg <= 6
    assert game.n_ag <= 5
    assert math.isfinite(game.r_l.sum())


def test_games_on_graphs_are_refused():
    with pytest.raises(ValueError) as refusal:
        solve(load_game("ising"), 2)
    line = "game: found a game on a graph, expected one where all agents share a field; only where the counts"
    assert str(refusal.value).startswith(line)
    assert "\n" not in str(refusal.value)
