"""The tiny inventory game three ways: learned, exact by counts, and brute force over 18,522 states of labelled retailers."""

import numpy as np
import oracles_inventory_exact as labelled
import pytest
from oracles_coupled import CoupledTables, field_of_histogram

from kofn.engine.coupling import Field
from kofn.engine.deployment import deploy
from kofn.engine.evaluation.evaluate import evaluate
from kofn.engine.game_files import load_game
from kofn.engine.learning.fixed_point import mean_field_fixed_point
from kofn.engine.learning.learn import learn
from kofn.engine.learning.policy import learned_policy
from kofn.engine.learning.settings import LearningSettings

N = 3


@pytest.fixture(scope="module")
def game():
    return load_game("inventory-tiny")


def test_the_learned_values_are_the_exact_ones(game):
    """Q of independent learners who explore fully, with decreasing steps: where a cell has 1 % of the visits or more, the mean of
    four runs of 300,000 periods is within 2 of values of up to 131. Runs of 3,000,000 come within 0.2."""
    blind = Field(of="actions", weights=np.zeros(3), edges=(np.zeros(0),))
    exact = mean_field_fixed_point(game, N, blind)
    learned = learn(
        game, LearningSettings(
            n=N, steps=300_000, runs=4, method="iq", epsilon=(1.0, 1.0), alpha=1.0, alpha_power=0.6,
        ),
    )  # fmt: skip
    often = exact.visits >= 0.01
    assert exact.visits[often].sum() > 0.8
    assert np.nanmax(exact.q) > 100.0
    assert np.abs(learned.q[:, 0].mean(axis=0) - exact.q)[often].max() < 2.0


def test_the_value_of_a_learned_policy_is_that_of_labelled_retailers(game):
    """Exact by counts and by labelled retailers; a simulation of 400 runs within four standard errors, level 1e-4."""
    learned = learn(game, LearningSettings(n=N, steps=3000, runs=1, method="iq", temperature=3.0))
    policy = learned_policy(learned)
    exact = evaluate(game, policy, N, tol=1e-8, occupancies=False, average=False)
    law = policy.local_action[:, :, 0]
    field = field_of_histogram([game.field.weights[0]], [game.field.edges[0]])
    oracle = CoupledTables(game.P_g, game.P_l, game.r_g, game.r_l, game.gamma, of="actions", field=field)
    value = labelled.from_counts(exact.value, game.n_sl, N)
    updated = labelled.policy_backup(oracle, value, np.ones((game.n_sg, 1)), law)
    assert labelled.distance_from_fixed_point(oracle, value, updated) <= 1e-6
    start = game.rho_l
    brute = sum(p * np.einsum("abc,a,b,c", value[s_g], start, start, start) for s_g, p in enumerate(game.rho_g))
    assert exact.initial_value == pytest.approx(brute, abs=1e-9)
    played = deploy(game, policy, N, steps=200, runs=400, seed=2)
    error = played.returns.std(ddof=1) / 20
    assert abs(played.returns.mean() - exact.initial_value) < 4 * error
    assert error < 0.05 * abs(exact.initial_value) + 2.0
