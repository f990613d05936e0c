"""Learning from samples: settings, views, the same bits after any stop, files, policies, play, exact measures."""

from __future__ import annotations

import dataclasses

import numba
import numpy as np
import pytest
from coupled_games import random_coupled_game

from kofn.engine.coupling import Field, Neighbourhood
from kofn.engine.deployment import deploy
from kofn.engine.evaluation.evaluate import evaluate
from kofn.engine.files import KofnFileError
from kofn.engine.game import Game
from kofn.engine.game_files import load_game
from kofn.engine.learning.files import read_learned, write_learned
from kofn.engine.learning.learn import check_memory, learn, take_tables
from kofn.engine.learning.learners import make_learners
from kofn.engine.learning.measure import measure, refuse_unmeasurable
from kofn.engine.learning.policy import boltzmann_laws, learned_policy, play, why_no_policy
from kofn.engine.learning.settings import LearningSettings
from kofn.engine.policy_files import read_any_policy
from kofn.engine.solve import Interrupted


@pytest.fixture(scope="module")
def games():
    """Games by name: a random one with a field of states, one with a field of actions, spins on a 4 × 4 torus."""
    rng = np.random.default_rng(8)
    return {
        "states": random_coupled_game(rng, of="states", gamma=0.7)[0],
        "actions": random_coupled_game(rng, of="actions", gamma=0.7)[0],
        "spins": load_game("ising", agents=16),
    }


# Settings with which every array that learners may have is there.
CASES = {
    "replay": ("states", {"replay": 7, "batch": 3, "target_every": 5, "alpha_power": 0.6, "tables": "own"}),
    "target": ("states", {"target_tau": 0.1, "inner": 2, "temperature": 0.5}),
    "actor": ("actions", {"method": "mfac", "temperature": 0.5, "sees": "actions", "bins": 4}),
    "independent": ("actions", {"method": "iq", "reward": "team"}),
    "sequential": ("spins", {"order": "sequential", "tables": "own", "temperature": 1.0}),
    "shared": ("spins", {"order": "sequential", "epsilon": (0.2, 0.2)}),
}


def settings_of(case, **changes):
    """A game's name and the settings of a case."""
    game, given = CASES[case]
    base = {"n": 16 if game == "spins" else 5, "steps": 60, "runs": 3, "seed": 4, "record_every": 7, "snapshots": 4}
    return game, LearningSettings(**(base | given | changes))


def stop_after(calls):
    """A `should_stop` that says so at its call number `calls`."""
    left = [calls]

    def ask():
        left[0] -= 1
        return left[0] < 0

    return ask


def assert_same(one, other):
    """The same bits in all arrays, curves and snapshots."""
    for part in ("arrays", "curves", "snapshots"):
        found, expected = getattr(one, part), getattr(other, part)
        assert found.keys() == expected.keys()
        for name, array in found.items():
            np.testing.assert_array_equal(array, expected[name], err_msg=f"{part} {name}", strict=True)


# ---- The same bits


@pytest.mark.parametrize("case", CASES)
def test_stopped_and_resumed_learning_ends_in_the_same_bits(games, case, tmp_path, monkeypatch):
    name, settings = settings_of(case)
    whole = learn(games[name], settings)
    assert np.abs(whole.q).max() > 0.0
    # Chunks of one point each, so that there is something to stop between.
    monkeypatch.setattr("kofn.engine.learning.learn.CHUNK_S", 0.0)
    checkpoint = tmp_path / "checkpoint.h5"
    said = []
    while True:
        try:
            found = learn(
                games[name], settings, checkpoint=checkpoint, checkpoint_every_s=0.0, resume=True,
                should_stop=stop_after(3),
            )  # fmt: skip
            break
        except Interrupted as stopped:
            said.append(str(stopped))
    assert len(said) >= 3
    assert all("--resume" in line for line in said)
    assert_same(found, whole)


@pytest.mark.parametrize("case", CASES)
def test_threads_do_not_change_a_bit(games, case, all_threads):
    name, settings = settings_of(case)
    found = [learn(games[name], settings)]
    numba.set_num_threads(1)
    found.append(learn(games[name], settings))
    assert_same(*found)


def test_runs_do_not_depend_on_how_many_there_are(games):
    name, settings = settings_of("target")
    few = learn(games[name], dataclasses.replace(settings, runs=2))
    many = learn(games[name], settings)
    np.testing.assert_array_equal(few.q, many.q[:2])
    assert not np.array_equal(many.q[0], many.q[1])


@pytest.mark.parametrize("case", ["target", "sequential"])
def test_learners_stepped_by_hand_end_in_the_same_bits(games, case):
    name, settings = settings_of(case, snapshots=0)
    learners, learned = make_learners(games[name], settings), learn(games[name], settings)
    learners.advance(0, 25)
    learners.advance(25, 35)
    for found, expected in ((learners.arrays(), learned.arrays), (learners.curves(), learned.curves)):
        assert found.keys() == expected.keys()
        for part, array in found.items():
            np.testing.assert_array_equal(array, expected[part], err_msg=part, strict=True)


# ---- Files


@pytest.mark.parametrize("case", CASES)
def test_files_give_back_what_was_written(games, case, tmp_path):
    name, settings = settings_of(case)
    learned = learn(games[name], settings)
    write_learned(tmp_path / "complete.h5", learned, complete=True)
    found = read_learned(tmp_path / "complete.h5")
    assert_same(found, learned)
    assert found.settings == settings
    assert found.game.same_tables(games[name])
    write_learned(tmp_path / "result.h5", learned)
    result = read_learned(tmp_path / "result.h5")
    np.testing.assert_array_equal(result.preferences, learned.preferences)
    assert result.summary() == learned.summary()


def test_checkpoint_of_other_learning_is_refused(games, tmp_path):
    name, settings = settings_of("target")
    learned = learn(games[name], settings)
    write_learned(tmp_path / "c.h5", learned, complete=True)
    for changes, word in (({"seed": 5}, "seed"), ({"alpha": 0.2}, "alpha"), ({"runs": 4}, "runs")):
        with pytest.raises(KofnFileError, match=f"checkpoint of other learning, {word} is"):
            learn(games[name], dataclasses.replace(settings, **changes), checkpoint=tmp_path / "c.h5", resume=True)
    with pytest.raises(KofnFileError, match="game is"):
        learn(
            random_coupled_game(np.random.default_rng(1), of="states")[0],
            settings,
            checkpoint=tmp_path / "c.h5",
            resume=True,
        )
    write_learned(tmp_path / "r.h5", learned)
    with pytest.raises(KofnFileError, match="a result, which cannot be continued"):
        learn(games[name], settings, checkpoint=tmp_path / "r.h5", resume=True)


# ---- Refusals


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"n": 0}, "n: found 0, expected a whole number"),
        ({"method": "dqn"}, "method: found 'dqn', expected one of mfq, mfac, iq"),
        ({"alpha": 1.5}, "alpha: found 1.5, expected a finite number from 0 to 1"),
        ({"temperature": float("nan")}, "temperature: found nan, expected a finite number"),
        ({"epsilon": (0.1, 2.0)}, r"epsilon\[1\]: found 2.0, expected a finite number from 0 to 1"),
        ({"tail": 0.0}, "tail: found 0, expected a share above 0"),
        ({"replay": -1}, "replay: found -1, expected a whole number from 0"),
        ({"method": "mfac"}, "temperature: found 0, expected a positive one"),
        ({"target_every": 3, "target_tau": 0.1}, "target_tau: found it with target_every"),
        ({"order": "sequential", "epsilon": (0.1, 0.1), "inner": 2}, "inner: found 2 in sequential order"),
        ({"order": "sequential", "epsilon": (0.2, 0.1)}, r"epsilon: found \(0.2, 0.1\) in sequential order"),
        ({"order": "sequential", "record_every": 11}, "record_every: found 11, expected at most 10, the steps"),
        ({"seed": -1}, "seed: found -1"),
        ({"start": (1,)}, r"start: found \(1,\), expected a word or a label"),
        ({"global_policy": None}, "global_policy: found None, expected a word or a label"),
    ],
)
def test_settings_name_what_is_wrong(changes, line):
    with pytest.raises(ValueError, match=f"^{line}"):
        LearningSettings(**({"n": 3, "steps": 10} | changes))


@pytest.mark.parametrize(
    ("game", "changes", "line"),
    [
        ("uncoupled", {}, "sees: found 'field' for a game without one, expected 'actions' or 'states'"),
        ("states", {"start": "2"}, r"start: found '2', expected 'random' or one of \[0, 1\]"),
        ("states", {"global_policy": "5"}, "global_policy: found '5', expected 'learn', 'uniform' or one of"),
        ("states", {"order": "sequential", "epsilon": (0.0, 0.0)}, "order: found 'sequential' for a game with states"),
        ("spins", {"n": 15}, "n: found 15 agents, expected a square number of at least 9"),
        ("states", {"reward_at": "seen", "sees": "actions"}, "reward_at: found 'seen', expected it only where"),
        (
            "spins",
            {"order": "sequential", "method": "iq", "epsilon": (0.0, 0.0)},
            "order: found 'sequential', expected agents that",
        ),
    ],
)
def test_games_that_do_not_fit_are_refused(games, game, changes, line):
    known = games | {"uncoupled": load_game("irrigation")}
    given = {"n": 16, "steps": 5, "runs": 2, "bins": None} | changes
    with pytest.raises(ValueError, match=line):
        learn(known[game], LearningSettings(**given))


def test_too_many_tables_are_refused_before_they_are_made(games):
    settings = LearningSettings(n=10**6, steps=10, runs=1000, tables="own")
    with pytest.raises(ValueError, match=r"runs: 1000 runs of 1000000 tables take .*, expected at most"):
        learn(games["states"], settings, memory_bytes=10**9)


def test_tables_kept_on_the_way_count_as_memory(games):
    settings = LearningSettings(n=5, steps=1000, runs=10, record_every=1000, snapshots=100)
    check_memory(games["states"], dataclasses.replace(settings, snapshots=0), 20_000)
    with pytest.raises(ValueError, match=r"runs: 10 runs of 1 tables take .*, expected at most .* snapshots"):
        check_memory(games["states"], settings, 20_000)


# ---- Policies


def two_states():
    """A game in which it pays to go where few are: the field is the share in state 1."""
    P_l = np.zeros((1, 2, 2, 2))
    P_l[0, :, 0, 0] = P_l[0, :, 1, 1] = 1.0
    r_l = np.zeros((1, 3, 2, 2))
    r_l[0, :, 1, :] = np.array([1.0, 0.0, -1.0])[:, None]
    return Game(
        P_g=np.ones((1, 1, 1)), P_l=P_l, r_g=np.zeros((1, 1)), r_l=r_l, gamma=0.8,
        field=Field(of="states", weights=np.array([0.0, 1.0]), edges=((0.3, 0.6),)),
    )  # fmt: skip


def test_learned_policy_plays_the_table():
    game = two_states()
    settings = LearningSettings(n=6, steps=3000, runs=2, temperature=0.3)
    learned = learn(game, settings)
    policy = learned_policy(learned, run=1)
    assert (policy.k_local, policy.k_global) == (6, 1)
    table = learned.q[1, 0].reshape(2, 3, 2)
    for ones in range(7):
        counts = [6 - ones, ones]
        value = int(game.field.value_of(np.array(counts)))
        for s in range(2):
            expected = np.exp(table[s, value] / 0.3)
            # Counts of 6 agents in two states, in rank order: state 0 from none to all.
            law = policy.local_action[0, s, 6 - ones]
            np.testing.assert_allclose(law, expected / expected.sum(), rtol=1e-12)


def test_exact_value_of_a_learned_policy_is_what_its_players_earn():
    # 200 runs of 2000 steps each: the mean of the long-run rewards has a standard error of about 0.002, and the exact value is
    # missed by four of them with probability 6e-5. A policy whose tables were read transposed is off by 0.1.
    game = two_states()
    learned = learn(game, LearningSettings(n=6, steps=4000, runs=1, temperature=0.3))
    exact = evaluate(game, learned_policy(learned), 6).average_reward
    many = dataclasses.replace(
        learned, settings=dataclasses.replace(learned.settings, runs=200),
        arrays={name: np.repeat(array, 200, axis=0) for name, array in learned.arrays.items()},
    )  # fmt: skip
    played = play(many, steps=2000, seed=9)
    means = played.curves["reward"][:, 100:].mean(axis=1)
    assert abs(means.mean() - exact) < 4 * means.std(ddof=1) / np.sqrt(200)
    simulated = deploy(game, learned_policy(learned), 6, steps=2000, runs=50, seed=3)
    assert abs(simulated.average_reward - exact) < 0.03


def test_play_leaves_the_tables_as_they_are(games):
    for case in ("actor", "sequential", "replay"):
        name, settings = settings_of(case)
        learned = learn(games[name], settings)
        played = play(learned, steps=40, seed=1)
        np.testing.assert_array_equal(played.preferences, learned.preferences)
        assert played.step == 40


def test_first_observation_answers_by_the_tables_put_in(games):
    game = games["actions"]
    settings = LearningSettings(n=5, steps=1, runs=2, sees="actions", bins=4, inner=1, temperature=0.01)
    learned = learn(game, settings)
    # Everyone is sure to take the last action, of the largest weight: the mean that answers it is in the last bin.
    learned.arrays["q"][...] = np.arange(game.n_al)
    learners = make_learners(game, settings)
    take_tables(learners, learned)
    assert game.labels.local_actions == tuple(range(game.n_al))
    np.testing.assert_array_equal(learners.arrays()["seen"] % 4, 3)


def test_play_draws_other_numbers_than_learning_did(games):
    name, settings = settings_of("target", alpha=0.0, epsilon=(0.0, 0.0), record_every=1)
    learned = learn(games[name], settings)
    played = play(learned, steps=settings.steps, seed=settings.seed)
    assert not np.array_equal(played.curves["reward"], learned.curves["reward"])
    assert played.tail_steps == settings.steps


def test_summaries_average_whole_points_by_their_length(games):
    name, settings = settings_of("target", record_every=7, tail=0.2)
    fine = learn(games[name], dataclasses.replace(settings, record_every=1))
    coarse = learn(games[name], settings)
    # 60 steps are eight points of seven and one of four; two of them, eleven steps, would not be a fifth of all.
    assert coarse.tail_steps == 18
    np.testing.assert_allclose(coarse.tail_means("reward"), fine.curves["reward"][:, -18:].mean(axis=1), rtol=1e-12)
    assert fine.tail_steps == 12


def test_play_with_other_agents_needs_shared_tables(games):
    name, settings = settings_of("shared")
    assert play(learn(games[name], settings), n=25, steps=5).settings.n == 25
    name, settings = settings_of("sequential")
    with pytest.raises(ValueError, match=r"tables: found q of shape \(3, 16, 5, 2\), expected \(3, 25, 5, 2\)"):
        play(learn(games[name], settings), n=25, steps=5)


@pytest.mark.parametrize(
    ("case", "reason"),
    [("replay", "a table of its own"), ("sequential", "neighbours on a graph"), ("actor", "see the last actions")],
)
def test_tables_that_are_no_policy_say_why(games, case, reason):
    name, settings = settings_of(case)
    learned = learn(games[name], settings)
    assert reason in why_no_policy(games[name], settings)
    with pytest.raises(ValueError, match=reason):
        learned_policy(learned)


def test_any_policy_reads_learned_tables(tmp_path):
    learned = learn(two_states(), LearningSettings(n=4, steps=50, runs=2))
    write_learned(tmp_path / "learned.h5", learned)
    game, policy = read_any_policy(tmp_path / "learned.h5")
    assert game.same_tables(learned.game)
    np.testing.assert_array_equal(policy.local_action, learned_policy(learned).local_action)


def test_boltzmann_law_of_no_temperature_is_greedy_with_ties_to_the_lowest():
    np.testing.assert_array_equal(boltzmann_laws(np.array([[1.0, 3.0, 3.0]]), 0.0), [[0.0, 1.0, 0.0]])


# ---- Measures


def test_measured_gap_closes_while_agents_learn():
    game = two_states()
    settings = LearningSettings(n=5, steps=4000, runs=3, reward="team", snapshots=5, seed=2)
    measured = measure(learn(game, settings)).measured
    assert measured.step.tolist() == settings.snapshot_steps.tolist()
    assert (measured.gap >= -measured.half_width - measured.optimum_half_width).all()
    assert (measured.local_gain >= -1e-6).all()
    # After a step the tables say next to nothing; after 4000 most of what they cost is gone.
    assert measured.gap[:, -1].max() < 0.35 * measured.gap[:, 0].max()


def test_too_many_agents_to_measure_are_refused_at_once():
    with pytest.raises(ValueError, match="measure: 1000 agents are too many for exact values: k: "):
        refuse_unmeasurable(load_game("epidemic"), LearningSettings(n=1000, steps=10))


def test_measured_learning_is_read_back(tmp_path):
    learned = measure(learn(two_states(), LearningSettings(n=3, steps=20, runs=2, snapshots=2)))
    write_learned(tmp_path / "m.h5", learned)
    found = read_learned(tmp_path / "m.h5").measured
    for field in dataclasses.fields(found):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(learned.measured, field.name))


# ---- Neighbourhoods


def test_neighbours_of_every_kind_of_graph_see_each_other():
    kinds = {
        "torus": (Neighbourhood(graph="torus", shape=(3, 4)), 12, 4),
        "ring": (Neighbourhood(graph="ring", reach=2), 7, 4),
        "regular": (Neighbourhood(graph="regular", degree=3, seed=1), 10, 3),
    }
    for neighbourhood, n, degree in kinds.values():
        starts, neighbours = neighbourhood.adjacency(n)
        assert np.diff(starts).tolist() == [degree] * n
        matrix = np.zeros((n, n))
        for i in range(n):
            matrix[i, neighbours[starts[i] : starts[i + 1]]] += 1
        assert (matrix == matrix.T).all()
        assert (matrix.diagonal() == 0).all()
        assert neighbourhood.regular_degree() == degree
    with pytest.raises(ValueError, match="n_agents: found 5 for graph 'ring', expected it for 'edges'"):
        Neighbourhood(graph="ring", n_agents=5)
    star = Neighbourhood(graph="edges", edges=np.array([[0, 1], [2, 0]]), n_agents=4)
    starts, neighbours = star.adjacency(4)
    assert starts.tolist() == [0, 2, 3, 4, 4]
    assert neighbours.tolist() == [1, 2, 0, 0]
