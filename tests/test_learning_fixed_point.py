"""The fixed point of mean-field Q-learning: against labelled agents, and as what learning converges to."""

from __future__ import annotations

import numpy as np
import oracles_coupled
import oracles_mfq
import pytest
from coupled_games import random_coupled_game

from kofn.engine.coupling import Field
from kofn.engine.learning.fixed_point import mean_field_fixed_point
from kofn.engine.learning.learn import learn
from kofn.engine.learning.long_run import long_run_law
from kofn.engine.learning.settings import LearningSettings


def seen_pair(of, n_x, edges):
    """What agents see, as ours and as the oracle's: all states, or the others' last actions."""
    weights = np.arange(n_x, dtype=float)
    seen = Field(of=of, weights=weights, edges=(edges,), neutral=0)
    lens = oracles_coupled.field_of_histogram([weights], [edges])
    graph = "everyone" if of == "states" else "others"
    return seen, oracles_mfq.Sight(of, lens, len(edges) + 1, graph)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("reward", ["own", "team"])
@pytest.mark.parametrize("of", ["states", "actions"])
@pytest.mark.parametrize("sees", ["states", "actions"])
def test_fixed_point_is_that_of_labelled_agents(rng, of, sees, reward, temperature):
    game, tables = random_coupled_game(rng, of=of, gamma=0.8)
    seen, sight = seen_pair(sees, 2, [0.4])
    n_o = oracles_mfq.n_observations(tables, sight)
    behaviour = rng.dirichlet(np.ones(2), size=n_o)
    global_law = rng.dirichlet(np.ones(2), size=2)

    found = mean_field_fixed_point(
        game, 3, seen, temperature=temperature, behaviour=behaviour, global_law=global_law, reward=reward
    )

    samples = oracles_mfq.long_run_samples(tables, 3, sight, behaviour, lambda s_g, _: global_law[s_g], reward=reward)
    expected = oracles_mfq.mfq_fixed_point(samples, 0.8, temperature)[0]
    np.testing.assert_allclose(found.visits, samples.mass[0] / 3, atol=1e-12)
    np.testing.assert_allclose(found.q, expected, atol=1e-9)


def test_long_run_law_weighs_recurrent_classes_by_how_they_are_reached():
    matrix = np.array([
        [0.5, 0.2, 0.3, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]
    ])  # fmt: skip
    law = long_run_law(matrix, np.array([1.0, 0.0, 0.0, 0.0]))
    np.testing.assert_allclose(law, [0.0, 0.4, 0.3, 0.3], atol=1e-14)


def test_fixed_point_names_what_never_occurs(rng):
    game, _ = random_coupled_game(rng, of="states")
    seen, _ = seen_pair("states", 2, [0.5])
    never = np.tile([1.0, 0.0], (8, 1))
    found = mean_field_fixed_point(game, 3, seen, behaviour=never)
    assert np.isnan(found.q[:, 1]).all()
    assert np.isfinite(found.q[found.visits[:, 0] > 0, 0]).all()


def exploring(**changes):
    """Settings under which everybody explores all the time, and steps decrease so that tables average."""
    given = {"n": 4, "steps": 200_000, "runs": 8, "epsilon": (1.0, 1.0), "alpha": 1.0, "alpha_power": 0.8, "seed": 3}
    return LearningSettings(**given | changes)


def error_of(game, asked):
    """Distance of Q, mean of the runs, from the fixed point, for all that an agent meets in a hundredth of its steps."""
    learned = learn(game, asked)
    exact = mean_field_fixed_point(game, 4, learned.seen, temperature=asked.temperature)
    return np.abs(learned.q[:, 0].mean(axis=0) - exact.q)[exact.visits > 1e-2]


@pytest.mark.parametrize(("of", "temperature"), [("states", 0.0), ("actions", 0.5)])
def test_learning_converges_to_the_fixed_point(rng, of, temperature):
    # With twice the steps the largest error was below 0.026 in each of 20 random games, whose Q reach up to 5; the mean error of
    # tables that converge to something else by a tenth is above the bound for the median.
    game, _ = random_coupled_game(rng, of=of, gamma=0.6)
    errors = error_of(game, exploring(sees=of, bins=3, temperature=temperature))
    assert errors.max() < 0.06
    assert np.median(errors) < 0.02


@pytest.mark.parametrize(
    "changes", [{"replay": 50, "batch": 4}, {"target_every": 100}, {"target_tau": 0.01}, {"inner": 3}]
)
def test_replay_target_and_inner_rounds_reach_the_same_fixed_point(rng, changes):
    # The tables see others through what they condition on alone, so that where samples come from does not matter here.
    game, _ = random_coupled_game(rng, of="states", gamma=0.5)
    assert error_of(game, exploring(**changes)).max() < 0.1
