"""Mean-field brackets: against exact best responses, and games with gains in closed form.

A bracket is an interval of level 95 %. Widened by `influence` it holds at any n. Comparisons with exact gains widen the simulated
part to 3.9 standard errors, a level of about 1e-4 for each bracket; seeds are fixed. Their power is stated as widths: gains off by
more than that would show.
"""

import numba
import numpy as np
import pytest

from kofn.engine.backups.selection import TooLargeError
from kofn.engine.equilibrium import mean_field
from kofn.engine.equilibrium.exploitability import exploitability
from kofn.engine.equilibrium.mean_field import mean_field_gains
from kofn.engine.game import Game
from kofn.engine.policy import SubsamplePolicy, blind_policy
from kofn.engine.solve import Interrupted
from kofn.kernels.lattice import lattice_sizes, rank_counts
from oracles import random_game_tables, random_policy

GLOBAL, LOCAL = 0, 1
SELFISH, TEAM = 0, 1


def random_pair(rng, sizes, k, **changes):
    tables = random_game_tables(rng, *sizes, gamma=0.8) | changes
    return Game(**tables), SubsamplePolicy(**random_policy(rng, tables, k, 1)._asdict())


def assert_holds(found, selfish, team):
    """Exact gains are in the brackets, widened by what those leave out."""
    slack = 2.0 * selfish.half_width + 1e-9
    gains, value = found.gains, found.value
    # By half a width more: 3.9 standard errors instead of 1.96, 1e-4 for each two-sided bracket.
    more = np.diff(gains[SELFISH], axis=1) * np.array([-0.5, 0.5])
    gains = gains + np.stack([more, np.zeros((2, 2))])
    assert gains[SELFISH, GLOBAL, 0] - slack <= selfish.global_gain <= gains[SELFISH, GLOBAL, 1] + slack
    low, high = gains[SELFISH, LOCAL] + np.array([-1.0, 1.0]) * (found.influence + slack)
    assert low <= selfish.local_gain <= high
    assert team.global_gain <= gains[TEAM, GLOBAL, 1] + slack
    assert team.local_gain <= gains[TEAM, LOCAL, 1] + slack
    assert (found.gains[:, :, 0] <= found.gains[:, :, 1]).all()
    assert (found.gains[:, :, 0] >= 0.0).all()
    assert value[TEAM, GLOBAL] == value[TEAM, LOCAL] == pytest.approx(value[SELFISH].sum(), abs=1e-9)


def exact_gains(game, policy, n):
    return [exploitability(game, policy, n, reward=reward) for reward in ("selfish", "team")]


@pytest.mark.parametrize(
    ("sizes", "k", "n"),
    [((2, 2, 2, 2), 3, 30), ((3, 2, 2, 3), 5, 60), ((2, 3, 3, 2), 4, 20), ((3, 3, 2, 2), 10, 10), ((2, 2, 3, 2), 1, 1)],
)
def test_exact_gains_are_in_the_brackets_at_any_n(rng, sizes, k, n):
    game, policy = random_pair(rng, sizes, k)
    found = mean_field_gains(game, policy, n, runs=400, seed=5)
    assert_holds(found, *exact_gains(game, policy, n))


def test_brackets_close_in_on_the_exact_gain_as_n_grows(rng):
    """What is left out falls as 1/n; the exact gain of n = 150 is then in a bracket no wider than a tenth of it."""
    game, policy = random_pair(rng, (2, 2, 2, 2), 3)
    influences = []
    for n in (10, 50, 150):
        selfish, team = exact_gains(game, policy, n)
        found = mean_field_gains(game, policy, n, runs=2000, seed=6)
        assert_holds(found, selfish, team)
        influences.append(found.influence)
    assert influences[2] < influences[1] / 2.0 < influences[0] / 4.0
    low, high = found.gains[SELFISH, LOCAL]
    assert high - low < 0.1 * selfish.local_gain


@pytest.mark.parametrize("dirichlet", [False, True])
def test_brackets_collapse_where_the_population_has_no_say(rng, dirichlet):
    """P_g alike for all a_g: the deviator changes nothing for itself, at any n. Width: 5 % of the exact gain."""
    sizes = (3, 2, 3, 2)
    rows = np.repeat(rng.dirichlet(np.ones(3), (3, 1)), 2, axis=1)
    changes = {"P_g": rows} | ({"rho_l": np.array([0.5, 2.0, 1.0]), "dirichlet": True} if dirichlet else {})
    game, policy = random_pair(rng, sizes, 3, **changes)
    selfish, team = exact_gains(game, policy, 12)
    found = mean_field_gains(game, policy, 12, runs=4000, steps=80, seed=7)
    assert_holds(found, selfish, team)
    assert found.influence == 0.0
    low, high = found.gains[SELFISH, LOCAL]
    assert high - low < 0.05 * selfish.local_gain


def test_a_dominant_action_is_found(rng):
    """a = 1 pays 1 and a = 0 nothing, a_g = 1 pays 2: who never plays them gains 4 and 8 at γ = 3/4, who does gains none."""
    tables = random_game_tables(rng, 2, 2, 3, 2, gamma=0.75)
    tables["r_g"] = np.tile([0.0, 2.0], (2, 1))
    tables["r_l"] = np.tile([0.0, 1.0], (2, 3, 1))
    game = Game(**tables)
    for action, gains in ((0, (8.0, 4.0)), (1, (0.0, 0.0))):
        law = np.broadcast_to(np.eye(2)[action], (2, 3, 2))
        found = mean_field_gains(
            game, blind_policy(game, law, np.full(2, action), k_global=2), 10**6, runs=8, steps=100
        )
        for player, gain in enumerate(gains):
            low, high = found.gains[SELFISH, player]
            assert low - 1e-9 <= gain <= high + 1e-9
            assert high - low <= 1e-9


def meeting_game(noise):
    """Everyone chooses where to be next, and an agent earns 1 where it meets the global agent, who errs with some probability."""
    return Game(
        P_g=np.broadcast_to((1.0 - noise) * np.eye(2) + noise / 2.0, (2, 2, 2)),
        P_l=np.broadcast_to(np.eye(2), (2, 2, 2, 2)),
        r_g=np.zeros((2, 2)),
        r_l=np.broadcast_to(np.eye(2)[:, :, None], (2, 2, 2)),
        gamma=0.75,
    )


@pytest.mark.parametrize(("place", "gain"), [(0, 0.0), (1, 1.5)])
def test_who_knows_the_path_pays_for_it(place, gain):
    """The global agent is in place 0 with 3/4 after the start. Agents gain γ/(1 − γ) (3/4 − 1/4) = 3/2 by going there.

    Knowing the path alone they would be met always, and gain 3/4 more. Width: a tenth of that.
    """
    game = meeting_game(0.5)
    policy = blind_policy(game, np.broadcast_to(np.eye(2)[place], (2, 2, 2)), np.zeros(2, int), k_global=3)
    found = mean_field_gains(game, policy, 1000, runs=400, steps=80, seed=1)
    low, high = found.gains[SELFISH, LOCAL]
    assert low - 1e-9 <= gain <= high + 1e-9
    assert high - low <= 0.075
    assert found.influence <= 1e-9


def test_samples_have_the_law_of_the_global_agent(rng):
    """Counts of samples are within five standard errors of the exact means, exact for k = n."""
    population = np.tile([3, 0, 5, 4], (4000, 1))
    sample = mean_field._draw_sample(population, 5, rng)
    assert (sample.sum(axis=1) == 5).all()
    assert (sample <= population).all()
    share, n = population[0] / 12, 12
    spread = np.sqrt(5 * share * (1 - share) * (n - 5) / (n - 1) / len(sample))
    assert (np.abs(sample.mean(axis=0) - 5 * share) <= 5 * spread).all()
    np.testing.assert_array_equal(mean_field._draw_sample(population, 12, rng), population)
    sizes = lattice_sizes(5, 4)
    np.testing.assert_array_equal(mean_field._ranks(sample, sizes), [rank_counts(c, sizes) for c in sample])


def test_same_bits_on_any_number_of_threads(rng, all_threads):
    game, policy = random_pair(rng, (2, 3, 3, 2), 4)
    found = [vars(mean_field_gains(game, policy, 500, runs=20, steps=30, seed=3))]
    numba.set_num_threads(1)
    found.append(vars(mean_field_gains(game, policy, 500, runs=20, steps=30, seed=3)))
    for name, value in found[0].items():
        np.testing.assert_array_equal(value, found[1][name])


def test_refuses_in_one_line(rng):
    game, policy = random_pair(rng, (2, 2, 2, 2), 2)
    sighted = blind_policy(game, k_global=2, k_local=2)
    for pair, n, options, start in (
        (sighted, 10, {}, "policy: found local agents that see 2, expected 1"),
        (policy, 10, {"runs": 3}, "runs: found 3, expected at least 4"),
        (policy, 10, {"runs": 0}, "runs: found 0"),
        (policy, 10, {"steps": 0}, "steps: found 0"),
        (policy, 1, {}, "n: found 1 agents, expected at least 2"),
        (policy, 10**9, {}, "n: found 1000000000 agents, expected fewer"),
    ):
        with pytest.raises(ValueError, match=start) as error:
            mean_field_gains(game, pair, n, **options)
        assert "\n" not in str(error.value)
    with pytest.raises(Interrupted, match="stopped while bracketing"):
        mean_field_gains(game, policy, 10, runs=4, steps=4, should_stop=lambda: True)


def test_more_paths_than_fit_are_refused_before_any_is_drawn():
    game, pair = random_pair(np.random.default_rng(3), (2, 2, 2, 2), 2)
    with pytest.raises(
        TooLargeError, match=r"runs: 1000 paths of 50 steps take [\d.]+ MB, expected at most 1 MB; lower"
    ):
        mean_field_gains(game, pair, 5, runs=1000, steps=50, memory_bytes=10**6)


def test_large_rewards_are_no_reason_to_refuse():
    game, pair = random_pair(np.random.default_rng(4), (2, 2, 2, 2), 2)
    large = Game(
        P_g=game.P_g,
        P_l=game.P_l,
        r_g=1e12 * game.r_g,
        r_l=1e12 * game.r_l,
        gamma=game.gamma,
        rho_g=game.rho_g,
        rho_l=game.rho_l,
    )
    found, right = (mean_field_gains(each, pair, 5, runs=50, steps=30) for each in (large, game))
    np.testing.assert_allclose(found.gains, 1e12 * right.gains, rtol=0.05, atol=1e9)
