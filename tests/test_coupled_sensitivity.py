"""Count sensitivity of games with a field of states: blind policies against labelled agents, and what the field is good for."""

import itertools

import numpy as np
import pytest
from coupled_games import random_coupled_game
from oracles_coupled import deployed_value

from kofn.engine.count_blind import best_count_blind
from kofn.engine.coupling import Field
from kofn.engine.evaluation.evaluate import evaluate
from kofn.engine.evaluation.gaps import sampling_bound
from kofn.engine.game import Game
from kofn.engine.game_files import load_game
from kofn.engine.sensitivity import count_sensitivity
from kofn.engine.solve import solve
from kofn.engine.study.sensitivity import sensitivity_text, summarise_sensitivity


def blind_values(game, oracle, laws_of_maps, k):
    """From the initial law: what k labelled agents earn under every map to a_g and to one of the given laws of a_l by state."""
    start = game.rho_g
    for _ in range(k):
        start = np.multiply.outer(start, game.rho_l)
    options = list(itertools.product(range(game.n_ag), laws_of_maps))
    values = []
    for chosen in itertools.product(options, repeat=game.n_sg):
        value = deployed_value(
            oracle,
            k,
            lambda s_g, counts, chosen=chosen: np.eye(game.n_ag)[chosen[s_g][0]],
            lambda s_g, s, counts, chosen=chosen: np.asarray(chosen[s_g][1])[s],
        )
        values.append((start * value).sum())
    return values


@pytest.mark.parametrize("gamma", [0.0, 0.8])
@pytest.mark.parametrize("actions", ["joint", "shared", "histogram", "fixed"])
def test_the_best_blind_policy_is_the_best_of_all_maps(actions, gamma, rng):
    game, oracle = random_coupled_game(rng, gamma=gamma)
    k, policy = 2, None
    laws = [np.eye(2)[list(f)] for f in itertools.product(range(2), repeat=2)]
    if actions == "histogram":
        laws = [np.array([[1 - x / k, x / k]] * 2) for x in range(k + 1)]
    if actions == "fixed":
        policy = rng.dirichlet(np.ones(2), (2, 2))
        values = blind_values_of_policy(game, oracle, policy, k)
    else:
        values = blind_values(game, oracle, laws, k)
    found = best_count_blind(game, actions, k, policy)
    assert found.value == pytest.approx(max(values), abs=1e-10)
    assert found.n_tried == len(values)
    assert found.is_best == (actions != "joint")
    exact = evaluate(game, found.policy, k)
    assert exact.initial_value == pytest.approx(found.value, abs=1e-7)


def blind_values_of_policy(game, oracle, policy, k):
    start = game.rho_g
    for _ in range(k):
        start = np.multiply.outer(start, game.rho_l)
    return [
        (
            start * deployed_value(oracle, k, lambda s_g, c, g=g: np.eye(2)[g[s_g]], lambda s_g, s, c: policy[s_g, s])
        ).sum()
        for g in itertools.product(range(2), repeat=game.n_sg)
    ]


def test_with_many_maps_ascent_comes_close(rng, monkeypatch):
    game, _ = random_coupled_game(rng, n_sg=3)
    best = best_count_blind(game, "shared", 3)
    monkeypatch.setattr("kofn.engine.count_blind.MAX_MAPS", 200)
    found = best_count_blind(game, "shared", 3)
    assert best.is_best
    assert not found.is_best
    assert found.n_tried <= 200 < best.n_tried
    assert best.value - 0.1 <= found.value <= best.value + 1e-12


def test_large_tables_are_refused(rng):
    game, _ = random_coupled_game(rng, n_sl=3, n_al=3)
    with pytest.raises(
        ValueError, match=r"^k: blind policies of 200 agents need tables of \d+ bytes, expected at most"
    ):
        best_count_blind(game, "shared", 200)


def steering_game(edges, rewarded):
    """Action 1 pays where `rewarded(x)` for a share x of agents in state 1, and action 0 elsewhere; agents move at random.

    r_g has a value for each bin of x, so that it is the field that tells which action pays.
    """
    field = Field(of="states", weights=[0, 1], edges=edges)
    r_g = np.zeros((1, field.n_values, 2))
    for f in range(field.n_values):
        r_g[0, f, int(rewarded[f])] = 1.0
    return Game(
        P_g=np.ones((1, 2, 1)), P_l=np.full((1, 2, 1, 2), 0.5), r_g=r_g, r_l=np.zeros((1, 2, 1)), gamma=0.5, field=field
    )


def test_a_field_that_is_enough_is_named_so():
    found = count_sensitivity(solve(steering_game([0.5], [0, 1]), 4))
    assert found.share_of_global_states == 1.0
    assert found.varies_within_field == 0.0
    assert found.can_matter
    assert "the global agent could act on the field alone" in found.verdict
    assert "act on each other through the field" in found.verdict
    # The best constant action is right in 11 or 5 of 16 cases: the sum of two or more, of four coins.
    assert found.count_blind.value == pytest.approx(11 / 16 / 0.5, abs=1e-9)
    assert found.blind_gap == pytest.approx(5 / 16 / 0.5, abs=1e-6)
    summary = summarise_sensitivity(found)
    assert summary["varies_within_field"] == 0.0
    assert "within one field value it varies in 0 % of their pairs with one" in sensitivity_text(summary)


def test_a_field_that_is_not_enough_is_named_so(rng):
    # The next global state, and with it the reward, depends on a_g and the counts decide what is worth more; P_l has the field.
    P_g = np.zeros((2, 2, 2))
    P_g[:, 0, 0] = P_g[:, 1, 1] = 1.0
    field = Field(of="states", weights=[0, 0, 1], edges=[0.5])
    P_l = np.broadcast_to(np.eye(3)[None, None, :, None], (2, 2, 3, 1, 3))
    r_l = np.zeros((2, 3, 1))
    r_l[0, 0], r_l[1, 1] = 1.0, 1.0
    game = Game(P_g=P_g, P_l=P_l, r_g=np.zeros((2, 2)), r_l=r_l, gamma=0.5, field=field)
    found = count_sensitivity(solve(game, 4))
    # Both actions pay where as many agents are in state 0 as in state 1, so that one value of two has no single best action …
    assert found.share_of_global_states == 1.0
    # … and with two or more agents in state 2 the counts of the others can still lean either way.
    assert found.varies_within_field == 1.0
    assert "the field alone is not enough for the global agent" in found.verdict


def test_a_game_without_a_field_says_nothing_of_it(rng):
    game, _ = random_coupled_game(rng, axes=dict.fromkeys(("P_g", "P_l", "r_g", "r_l"), False))
    found = count_sensitivity(solve(game, 3))
    assert found.varies_within_field is None
    assert "field" not in found.verdict
    assert "field" not in sensitivity_text(summarise_sensitivity(found))


def test_other_expectations_have_no_blind_value(rng):
    game, _ = random_coupled_game(rng)
    for expectation in ("sampled", "rounded"):
        found = count_sensitivity(solve(game, 3, expectation=expectation))
        assert found.count_blind is None
        assert found.varies_within_field is not None


def test_theory_bounds_no_game_with_a_field(rng):
    game, _ = random_coupled_game(rng)
    with pytest.raises(
        ValueError, match=r"^game: found a game with a field, expected one without; the bound is proved for"
    ):
        sampling_bound(game, 10, 2)


def test_epidemic():
    found = count_sensitivity(solve(load_game("epidemic"), 6, "shared", tol=1e-4))
    assert found.can_matter
    assert 0.0 <= found.varies_within_field <= 1.0
    assert found.blind_gap > 0.0
