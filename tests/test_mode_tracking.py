"""How often the global action names a most populated local state: by hand, by counting, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

import kofn
from kofn.engine.deployment import deploy
from kofn.engine.game import Game, Labels
from kofn.engine.mode_tracking import mode_accuracy, mode_track, named_local_states
from kofn.engine.policy import SubsamplePolicy
from oracles import count_vectors_listed, random_game_tables, random_policy

LEVELS = ("counts", "agents")


def labelled_game(rng, global_actions, local_states):
    tables = random_game_tables(rng, 2, len(global_actions), len(local_states), 2)
    return Game(**tables, labels=Labels((0, 1), global_actions, local_states, (0, 1)))


def deployed(rng, game, n=7, k=2, **options):
    policy = SubsamplePolicy(**random_policy(rng, game, k, 1)._asdict())
    return deploy(game, policy, n, **{"steps": 60, "runs": 3, "trace_points": 60} | options)


def with_trace(deployment, actions, populations):
    return replace(
        deployment,
        trace_global_action=np.array(actions, np.int32),
        trace_population=np.array(populations, np.int64),
    )


def test_by_hand(rng):
    """Hit; miss; a tie that names either; a tie of all; an action that names no state."""
    game = labelled_game(rng, ("c", "a", "elsewhere"), ("a", "b", "c"))
    populations = [[5, 1, 1], [5, 1, 1], [3, 1, 3], [3, 1, 3], [2, 2, 2], [7, 0, 0]]
    found = with_trace(deployed(rng, game), [[1, 0, 0, 1, 0, 2], [0, 1, 2, 2, 2, 1]], [populations, populations])
    np.testing.assert_array_equal(mode_accuracy(found, game), [4 / 6, 2 / 6])
    track = mode_track(found, game)
    assert track.k == 2
    assert track.choice.tolist() == [0, 2, 2, 0, 2, -1]
    assert track.mode.tolist() == [0, 0, 0, 0, 0, 0]
    np.testing.assert_array_equal(track.shares, np.array(populations) / 7)
    assert track.accuracy == 4 / 6
    assert mode_track(found, game, 1).accuracy == 2 / 6


@pytest.mark.parametrize("level", LEVELS)
def test_accuracy_is_what_counting_step_by_step_gives(rng, level):
    game = labelled_game(rng, (2, 0, 9), (0, 1, 2))
    found = deployed(rng, game, level=level)
    expected = []
    for actions, populations in zip(found.trace_global_action, found.trace_population, strict=True):
        hits = 0
        for a_g, N in zip(actions, populations, strict=True):
            fullest = [label for label, count in zip(game.labels.local_states, N, strict=True) if count == max(N)]
            hits += str(game.labels.global_actions[a_g]) in map(str, fullest)
        expected.append(hits / len(actions))
    accuracy = mode_accuracy(found, game)
    assert accuracy.dtype == np.float64
    np.testing.assert_allclose(accuracy, expected, rtol=1e-15)
    assert 0.0 < accuracy.mean() < 1.0


@pytest.mark.parametrize("level", LEVELS)
def test_a_global_agent_who_sees_all_and_names_the_mode_is_always_right(rng, level):
    game, n = labelled_game(rng, (0, 1, 2), (0, 1, 2)), 6
    policy = random_policy(rng, game, n, 1)
    fullest = [np.argmax(N) for N in count_vectors_listed(n, 3)]
    emptiest = [np.argmin(N) for N in count_vectors_listed(n, 3)]
    for actions, always_right in ((fullest, True), (emptiest, False)):
        subsample = SubsamplePolicy(**policy._asdict() | {"global_action": np.tile(actions, (2, 1))})
        found = deploy(game, subsample, n, steps=40, runs=2, trace_points=40, level=level)
        all_equal = (found.trace_population == n // 3).all(axis=2).mean(axis=1)
        np.testing.assert_array_equal(mode_accuracy(found, game), [1.0, 1.0] if always_right else all_equal)


def test_labels_are_compared_as_text(rng):
    game = labelled_game(rng, ("1", "(0, 1)", "x"), (1, (0, 1)))
    np.testing.assert_array_equal(named_local_states(game), [[True, False], [False, True], [False, False]])
    assert mode_accuracy(deployed(rng, game), game).shape == (3,)


def test_two_states_with_one_text_are_both_named(rng):
    game = labelled_game(rng, (1, 2), (1, "1", 2))
    found = with_trace(deployed(rng, game), [[0, 0, 1]], [[[7, 0, 0], [0, 7, 0], [0, 7, 0]]])
    np.testing.assert_allclose(mode_accuracy(found, game), [2 / 3], rtol=1e-15)


def test_actions_that_name_no_state_are_refused_in_one_line(rng):
    game = labelled_game(rng, ("open", "shut"), ("dry", "moist"))
    found = deployed(rng, game)
    with pytest.raises(ValueError) as caught:
        mode_accuracy(found, game)
    assert str(caught.value) == (
        "global_actions: found ('open', 'shut'), expected labels of local states among them: ('dry', 'moist')"
    )
    track = mode_track(found, game)
    assert track.choice is None
    assert np.isnan(track.accuracy)
    np.testing.assert_allclose(track.shares.sum(axis=1), 1.0, rtol=1e-15)


def test_another_game_and_an_older_file_are_refused_in_one_line(rng):
    game, other = (labelled_game(rng, (0, 1), (0, 1)) for _ in range(2))
    found = deployed(rng, game)
    older = replace(found, trace_global_action=np.full_like(found.trace_global_action, -1))
    for ask in (mode_accuracy, mode_track):
        with pytest.raises(ValueError, match=r"^deployment: found a game with digest \w{12}…, expected \w{12}…$"):
            ask(found, other)
        with pytest.raises(ValueError, match=r"^trace_global_action: found -1, expected positions of global actions"):
            ask(older, game)


def test_the_dispatcher_of_the_robots_names_zones():
    game = kofn.load_game("robots")
    np.testing.assert_array_equal(named_local_states(game), np.eye(5, dtype=bool))
