"""The fixed point of learning by sparse joint laws: against labelled agents, and for thousands of states."""

import numpy as np
import oracles_coupled
import oracles_mfq
import pytest
from coupled_games import random_coupled_game

from kofn.engine.backups.selection import TooLargeError
from kofn.engine.coupling import Field
from kofn.engine.evaluation.evaluate import evaluate
from kofn.engine.game_files import load_game
from kofn.engine.learning import long_run
from kofn.engine.learning.fixed_point import mean_field_fixed_point
from kofn.engine.policy import blind_policy

# Of states, of the others' last actions, or of nothing: edges of the value seen.
SIGHTS = {"states": ("states", [0.4, 0.8]), "actions": ("actions", [0.4, 0.8]), "blind": ("actions", [])}


def seen_pair(kind, n_x):
    of, edges = SIGHTS[kind]
    weights = np.linspace(0.0, 1.0, n_x)
    seen = Field(of=of, weights=weights, edges=(edges,), neutral=0)
    graph = "everyone" if of == "states" else "others"
    return seen, oracles_mfq.Sight(of, oracles_coupled.field_of_histogram([weights], [edges]), len(edges) + 1, graph)


@pytest.mark.parametrize("kind", SIGHTS)
@pytest.mark.parametrize(("n", "of", "reward"), [(1, "actions", "own"), (2, "actions", "team"), (2, "states", "own")])
def test_fixed_point_is_that_of_labelled_agents(n, of, reward, kind, rng):
    game, tables = random_coupled_game(rng, n_sl=3, n_al=2, of=of, gamma=0.8, sparsity=0.4)
    seen, sight = seen_pair(kind, 3 if kind == "states" else 2)
    behaviour = rng.dirichlet(np.ones(2), size=oracles_mfq.n_observations(tables, sight))
    global_law = rng.dirichlet(np.ones(2), size=2)
    found = mean_field_fixed_point(
        game, n, seen, temperature=0.5, behaviour=behaviour, global_law=global_law, reward=reward
    )
    samples = oracles_mfq.long_run_samples(tables, n, sight, behaviour, lambda s_g, _: global_law[s_g], reward=reward)
    expected = oracles_mfq.mfq_fixed_point(samples, 0.8, 0.5)[0]
    np.testing.assert_allclose(found.visits, samples.mass[0] / n, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.q, expected, rtol=0, atol=1e-9)


def test_large_systems_are_solved_like_small_ones(monkeypatch, rng):
    # Two closed classes, one of them of period two, and states that are left.
    blocks = [rng.dirichlet(np.ones(4), 4) for _ in range(2)]
    matrix = np.zeros((14, 14))
    matrix[:4, :4] = blocks[0]
    matrix[4:6, 6:8], matrix[6:8, 4:6] = rng.dirichlet(np.ones(2), 2), rng.dirichlet(np.ones(2), 2)
    matrix[8:] = rng.dirichlet(np.ones(14), 6)
    start = rng.dirichlet(np.ones(14))
    expected = long_run.long_run_law(matrix, start)
    two = np.eye(14) + matrix
    np.testing.assert_allclose(start @ np.linalg.matrix_power(two / 2, 2**12), expected, rtol=0, atol=1e-10)
    monkeypatch.setattr(long_run, "DENSE_STATES", 0)
    np.testing.assert_allclose(long_run.long_run_law(matrix, start), expected, rtol=0, atol=1e-12)


def test_blind_learners_in_the_inventory_game(monkeypatch):
    # Where mass is stationary, Σ mass (Q − γ max Q) is the mean reward of a step: that of the exploring policy, 462 states.
    monkeypatch.setattr(long_run, "DENSE_STATES", 100)
    game = load_game("inventory-tiny")
    found = mean_field_fixed_point(game, 2, Field(of="actions", weights=np.arange(3.0), edges=((),)))
    earned = (found.visits * (found.q - game.gamma * found.q.max(axis=1, keepdims=True))).sum()
    exact = evaluate(game, blind_policy(game), 2, occupancies=False)
    assert abs(earned - exact.average_reward) <= exact.average_half_width + 1e-8
    np.testing.assert_allclose(found.visits, np.repeat(found.visits.sum(axis=1)[:, None] / 3, 3, axis=1), atol=1e-15)


def test_what_does_not_fit_is_refused_with_its_sizes():
    game = load_game("inventory-tiny")
    seen = Field(of="actions", weights=np.arange(3.0), edges=((0.7, 1.3),))
    with pytest.raises(TooLargeError, match=r"^n: 4 agents of 63 types make a chain of .* states with .*lower n"):
        mean_field_fixed_point(game, 4, seen)
