"""Replay weighed for others who changed: weights against labelled agents, where they mend a bias and where they change nothing."""

import dataclasses
import itertools
import math

import numba
import numpy as np
import pytest

from kofn.engine.coupling import Field
from kofn.engine.game import Game
from kofn.engine.game_files import load_game
from kofn.engine.learning.correction import drift_of, why_neutral
from kofn.engine.learning.files import read_learned, write_learned
from kofn.engine.learning.learn import learn
from kofn.engine.learning.learners import make_learners
from kofn.engine.learning.policy import boltzmann_laws
from kofn.engine.learning.settings import LearningSettings
from kofn.engine.solve import Interrupted
from kofn.kernels.learning import drift as kernels
from kofn.kernels.learning.parts import RATIO_SUMS, Ring, Tables
from kofn.kernels.streams import new_stream, next_below

N = 4
UNITS = [1.0, 3.0, 2.0]
EDGES = (1.4, 1.8, 2.3)


def market(rng, gamma=0.6, n_sl=2):
    """A random game whose tables depend on four bins of the mean of three actions."""
    field = Field(of="actions", weights=np.array(UNITS), edges=(np.array(EDGES),))
    return Game(
        P_g=rng.dirichlet(np.ones(2), (2, 4, 1)), P_l=rng.dirichlet(np.ones(n_sl), (2, 4, n_sl, 3)),
        r_g=rng.normal(size=(2, 4, 1)), r_l=rng.normal(size=(2, 4, n_sl, 3)), gamma=gamma, field=field,
    )  # fmt: skip


@pytest.fixture
def game(rng):
    return market(rng)


def settings_of(**changes):
    given = {
        "n": N,
        "steps": 40,
        "runs": 2,
        "temperature": 0.7,
        "epsilon": (0.2, 0.2),
        "replay": 9,
        "batch": 2,
        "seed": 3,
    }
    return LearningSettings(**given | {"correction": "marginal"} | changes)


# ---- The oracle: every action of every other agent is tried.


def value_of(edges, total, m):
    return sum(total / m >= edge - 1e-12 for edge in edges)


def statistic(settings, i, actions):
    """What agent i's reward and next observation can tell of the actions of all agents."""
    others = sum(UNITS[a] for j, a in enumerate(actions) if j != i)
    seen = 0
    if settings.method != "iq":
        low, high, bins = 1.0, 3.0, settings.bins
        edges = EDGES if bins is None else [low + (high - low) * b / bins for b in range(1, bins)]
        seen = value_of(edges, others, N - 1)
    return value_of(EDGES, others + UNITS[actions[i]], N), seen


def probability(settings, form, laws, i, actions):
    """Of what the others did, under laws of all agents: of all their actions, or of what agent i can tell of them."""
    others = [j for j in range(N) if j != i]
    if form == "product":
        return math.prod(laws[j][actions[j]] for j in others)
    total = 0.0
    for tried in itertools.product(range(3), repeat=N - 1):
        together = list(actions)
        for j, a in zip(others, tried, strict=True):
            together[j] = a
        if statistic(settings, i, together) == statistic(settings, i, actions):
            total += math.prod(laws[j][a] for j, a in zip(others, tried, strict=True))
    return total


def laws_of(table, seen, temperature, epsilon):
    return [(1 - epsilon) * boltzmann_laws(table[o], temperature) + epsilon / 3 for o in seen]


VIEWS = {
    "field": {},
    "bins": {"bins": 3},
    "executed": {"index": "executed", "bins": 2},
    "independent": {"method": "iq"},
}


@pytest.mark.parametrize("form", ["product", "marginal"])
@pytest.mark.parametrize("view", VIEWS)
def test_laws_of_the_others_are_those_of_labelled_agents(game, rng, view, form):
    settings = settings_of(correction=form, **VIEWS[view])
    drift = drift_of(game, settings)
    table = rng.normal(size=(1, 2 * 2 * make_learners(game, settings).views.seen.n_values, 3))
    work = kernels.make_drift_work(drift, N, table.shape[1], 3)
    for _ in range(20):
        seen = rng.integers(table.shape[1], size=N).astype(np.int32)
        if rng.random() < 0.5:
            seen[:3] = seen[0]
        actions = rng.integers(3, size=N).astype(np.int32)
        kernels.fill_log_laws(drift, table, 0.7, 0.2, seen, actions, work)
        laws = laws_of(table[0], seen, 0.7, 0.2)
        expected = [probability(settings, form, laws, i, actions) for i in range(N)]
        np.testing.assert_allclose(np.exp(work.log_law), expected, rtol=1e-12)


def filled_ring(rng, capacity, n_o):
    seen, following = rng.integers(n_o, size=(2, capacity, N)).astype(np.int32)
    laws = np.log(rng.uniform(0.02, 0.4, (capacity, N)))
    rewards = rng.normal(size=(capacity, N))
    return Ring(
        seen, rng.integers(3, size=(capacity, N)).astype(np.int32), rewards, following, np.zeros((0, 0), np.int32), laws
    )


REPLAYS = {
    "plain": {}, "product": {"correction": "product"}, "clipped": {"clip": 1.5}, "normalised": {"correction": "selfnorm"},
    "actor": {"method": "mfac", "correction": "product", "actor_alpha": 0.3}, "low ess": {"min_ess": 0.8},
}  # fmt: skip


@pytest.mark.parametrize("case", REPLAYS)
def test_replay_moves_cells_by_their_weights(game, rng, case):
    settings = settings_of(alpha=0.3, batch=3, **REPLAYS[case])
    learners = make_learners(game, settings)
    drift, rule = drift_of(game, settings), learners._rule
    arrays = learners.arrays()
    shape = arrays["q"].shape[1:]
    none = np.zeros((0, 0, 0))
    actor, normalised = "theta" in arrays, "mass" in arrays
    tables = Tables(
        rng.normal(size=shape), none, rng.normal(size=shape) if actor else none, np.zeros((0, 0, 0), np.int64),
        np.zeros(shape) if normalised else none,
    )  # fmt: skip
    ring = filled_ring(rng, 5, shape[1])
    stream = new_stream(8)
    places = [next_below(4, stream) for _ in range(9)]
    q, theta, mass, log_law = (
        tables.q[0].copy(),
        (tables.theta if actor else tables.q)[0].copy(),
        np.zeros(shape[1:]),
        ring.log_law.copy(),
    )
    means, sums, seen_weights, weighed_steps = np.zeros(3), np.zeros(RATIO_SUMS), [], 0
    stream, work = new_stream(8), kernels.make_drift_work(drift, N, shape[1], 3)
    form = "product" if settings.correction == "product" else "marginal"
    for turn in range(3):
        kernels.replay_steps(
            drift, tables, rule, ring, 4, 4, 0.2, stream, np.zeros(3), work, means, sums
        )  # fmt: skip
        for place in places[3 * turn : 3 * turn + 3]:
            if not actor:
                theta = q
            laws = laws_of(theta, ring.seen[place], 0.7, 0.2)
            found = [
                probability(settings, form, laws, i, ring.action[place]) / math.exp(log_law[place, i]) for i in range(N)
            ]
            weights = [min(w, settings.clip) for w in found]
            seen_weights.append(weights)
            first, second = (
                np.mean([np.mean(w) for w in seen_weights]),
                np.mean([np.mean(np.square(w)) for w in seen_weights]),
            )
            weighed = first**2 >= settings.min_ess * second
            weighed_steps += weighed
            for i in range(N):
                w = weights[i] if weighed else 1.0
                o, a, o_next = ring.seen[place, i], ring.action[place, i], ring.next[place, i]
                law_next = boltzmann_laws(theta[o_next], 0.7)
                aim = ring.reward[place, i] + 0.6 * float(law_next @ q[o_next])
                step = 1 - 0.7**w
                if normalised:
                    mass[o, a] = 0.7 * mass[o, a] + 0.3 * w
                    step = 0.3 * w / mass[o, a]
                q[o, a] += step * (aim - q[o, a])
                if actor:
                    law = boltzmann_laws(theta[o], 0.7)
                    theta[o] += 0.3 * (q[o, a] - law @ q[o]) * (np.eye(3)[a] - law)
    np.testing.assert_allclose(tables.q[0], q, rtol=1e-10)
    assert (sums[0], sums[7]) == (9, 9 - weighed_steps)
    assert case != "low ess" or 0 < weighed_steps < 9
    np.testing.assert_allclose(sums[1], np.sum([np.mean(w) for w in seen_weights]), rtol=1e-12)
    if case == "clipped":
        assert sums[3] > 0.0
        assert sums[4] > 0.0


# ---- Where weights matter


def squeeze_of_three(gamma=0.0):
    """One state; everyone earns by the bin of the mean of three actions and by its own."""
    r_l = np.array([[[[0.0, 1.0, 0.5]], [[2.0, 2.0, 0.0]], [[4.0, 3.0, 1.0]], [[6.0, 5.0, -2.0]]]])
    field = Field(of="actions", weights=np.array(UNITS), edges=(np.array(EDGES),))
    return Game(
        P_g=np.ones((1, 1, 1)), P_l=np.ones((1, 1, 3, 1)), r_g=np.zeros((1, 1)), r_l=r_l, gamma=gamma, field=field
    )


MU, PI = np.array([0.6, 0.3, 0.1]), np.array([0.3, 0.3, 0.4])


STORED = 12_000
# Four standard errors or more of every weighted mean of so many steps, by enumeration.
NEAR = 0.2


def exact_critic(game, law):
    """E[r | own action] where the three others act by `law`."""
    found = np.zeros(3)
    for a, *others in itertools.product(range(3), repeat=N):
        f = value_of(EDGES, UNITS[a] + sum(UNITS[b] for b in others), N)
        found[a] += np.prod(law[others]) * game.r_l[0, f, 0, a]
    return found


def stale_critic(correction, *, shuffle=False):
    """A critic without the mean, learned from 12,000 steps played by MU that are replayed while everyone plays PI."""
    game, rng = squeeze_of_three(), np.random.default_rng(5)
    settings = settings_of(
        method="mfac", sees="actions", bins=1, temperature=1.0, epsilon=(0.0, 0.0), actor_alpha=0.0,
        alpha=1.0, alpha_power=1.0, replay=STORED,
        batch=10 * STORED, clip=100.0, min_ess=0.0, replay_by="step", correction=correction,
    )  # fmt: skip
    drift, rule = drift_of(game, settings), make_learners(game, settings)._rule
    actions = rng.choice(3, p=MU, size=(STORED, N)).astype(np.int32)
    rows = np.zeros((STORED, N), np.int32)
    values = [value_of(EDGES, sum(UNITS[a] for a in row), N) for row in actions]
    rewards = np.array([game.r_l[0, f, 0, row] for f, row in zip(values, actions, strict=True)])
    ring = Ring(rows, actions, rewards, rows, np.zeros((0, 0), np.int32), np.zeros((STORED, N)))
    none, theta = np.zeros((0, 0, 0)), np.log(MU)[None, None]
    work = kernels.make_drift_work(drift, N, 1, 3)
    if drift is not None:
        for place in range(STORED):
            kernels.fill_log_laws(drift, theta, 1.0, 0.0, rows[place], actions[place], work)
            ring.log_law[place] = work.log_law
        if shuffle:
            ring.log_law[:] = rng.permutation(ring.log_law)
    normalised = np.zeros((1, 1, 3)) if correction == "selfnorm" else none
    tables = Tables(np.zeros((1, 1, 3)), none, np.log(PI)[None, None].copy(), np.zeros((1, 1, 3), np.int64), normalised)
    sums, law = np.zeros(RATIO_SUMS), np.zeros(3)
    kernels.replay_steps(drift, tables, rule, ring, 0, STORED, 0.0, new_stream(1), law, work, np.zeros(3), sums)
    return tables.q[0, 0]


def test_weights_remove_the_bias_of_a_critic_without_the_mean():
    """Level below 1e-3, standard errors being 0.05 at most; a bias of 0.65, three times what passes, would not be missed."""
    game = squeeze_of_three()
    exact, then = exact_critic(game, PI), exact_critic(game, MU)
    assert np.abs(exact - then).max() > 3 * NEAR
    np.testing.assert_allclose(stale_critic("none"), then, atol=NEAR)
    for correction in ("product", "marginal", "selfnorm"):
        np.testing.assert_allclose(stale_critic(correction), exact, atol=NEAR)


def test_weights_in_another_order_give_another_answer():
    game = squeeze_of_three()
    assert np.abs(stale_critic("marginal", shuffle=True) - exact_critic(game, PI)).max() > NEAR


def row_means(settings, law, *, weighed):
    """E_μ[w r | row] / E_μ[w | row], by enumeration, with rows of the executed bins and the own action; w by `law` over MU."""
    game = squeeze_of_three()
    paid, mass = {}, {}
    for a, *others in itertools.product(range(3), repeat=N):
        actions = (a, *others)
        value, seen = statistic(settings, 0, actions)
        then, now = (probability(settings, "marginal", [p] * N, 0, actions) for p in (MU, law))
        p = np.prod(MU[list(actions)]) * (now / then if weighed else 1.0)
        paid[seen, a] = paid.get((seen, a), 0.0) + p * game.r_l[0, value, 0, a]
        mass[seen, a] = mass.get((seen, a), 0.0) + p
    return np.array([paid[key] / mass[key] for key in sorted(paid)])


# ---- Where they do not


def test_weights_change_no_row_that_tells_the_field_and_mend_one_that_does_not():
    """A row of a fine mean keeps its value under any weights; one of two bins has that of the policy of today only with them."""
    fine, coarse = settings_of(sees="actions", bins=40), settings_of(sees="actions", bins=2)
    np.testing.assert_allclose(row_means(fine, PI, weighed=True), row_means(fine, PI, weighed=False), rtol=1e-12)
    today = row_means(coarse, PI, weighed=True)
    assert np.abs(today - row_means(coarse, PI, weighed=False)).max() > 0.2


def test_rows_of_the_executed_mean_need_no_weights(game):
    fine = settings_of(index="executed")
    assert why_neutral(game, fine) is None
    stateless = squeeze_of_three()
    totals = dataclasses.replace(
        stateless, field=Field.of_totals("actions", UNITS, N),
        r_l=np.random.default_rng(1).normal(size=(1, 9, 1, 3)),
    )  # fmt: skip
    assert "executed mean" in why_neutral(totals, settings_of(index="executed"))
    assert why_neutral(totals, settings_of(index="executed", bins=2)) is None
    assert why_neutral(totals, settings_of()) is None
    blind = Game(
        P_g=np.ones((1, 1, 1)), P_l=np.ones((1, 1, 3, 1)), r_g=np.zeros((1, 1)), r_l=np.zeros((1, 1, 3)), gamma=0.0,
        field=stateless.field,
    )  # fmt: skip
    assert "no table depends" in why_neutral(blind, settings_of(method="iq", sees="actions"))


# ---- The same bits, files, refusals


BITS = {"correction": "selfnorm", "index": "executed", "bins": 2, "record_every": 7, "snapshots": 3, "runs": 3}


def assert_same(one, other):
    for part in ("arrays", "curves", "snapshots"):
        found, expected = getattr(one, part), getattr(other, part)
        assert found.keys() == expected.keys()
        for name, array in found.items():
            np.testing.assert_array_equal(array, expected[name], err_msg=f"{part} {name}", strict=True)


def test_stops_threads_and_files_change_no_bit(game, all_threads, tmp_path, monkeypatch):
    settings = settings_of(**BITS)
    whole = learn(game, settings)
    assert {"mass", "ring_acted", "ring_log_law", "ratio_means"} <= whole.arrays.keys()
    assert whole.curves["ratios"][:, :, 0].sum() == 3 * 40 * 2
    monkeypatch.setattr("kofn.engine.learning.learn.CHUNK_S", 0.0)
    calls, stopped, found = itertools.count(1), 0, None
    while found is None:
        try:
            found = learn(
                game, settings, checkpoint=tmp_path / "c.h5", checkpoint_every_s=0.0, resume=True,
                should_stop=lambda: next(calls) % 4 == 0,
            )  # fmt: skip
        except Interrupted:
            stopped += 1
    assert stopped >= 3
    assert_same(found, whole)
    numba.set_num_threads(1)
    assert_same(learn(game, settings), whole)
    write_learned(tmp_path / "whole.h5", whole, complete=True)
    assert_same(read_learned(tmp_path / "whole.h5"), whole)


def test_agents_with_todays_policy_have_weights_of_one(game):
    """Nobody learns, so that the laws stay as they were: weights are 1 and the step sizes those of no correction."""
    common = {"alpha": 0.0, "method": "mfac", "actor_alpha": 1e-300, "bins": 2}
    for form in ("product", "marginal"):
        sums = learn(game, settings_of(correction=form, **common)).curves["ratios"].sum(axis=(0, 1))
        np.testing.assert_allclose(sums[1:3] / sums[0], 1.0, rtol=1e-12)
        assert (sums[3], sums[7]) == (0.0, 0.0)


REFUSED = {
    "replay": ({"replay": 0}, "replay: found 0 with correction 'marginal'"),
    "unit": ({"replay_by": "transition"}, "replay_by: found 'transition' with a correction"),
    "own tables": ({"tables": "own"}, "tables: found 'own' with replay by step"),
    "greedy": ({"temperature": 0.0, "epsilon": (0.1, 0.0)}, "epsilon: found 0 for greedy agents"),
    "clip": ({"clip": 0.5}, "clip: found 0.5, expected a finite number from 1"),
    "least": ({"min_ess": 1.5}, "min_ess: found 1.5"),
    "word": ({"correction": "best"}, "correction: found 'best'"),
    "inner": ({"index": "executed", "inner": 2}, "inner: found 2 with index 'executed'"),
    "order": (
        {"order": "sequential", "correction": "none", "index": "executed", "replay": 0},
        "index: found 'executed' in seq",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_settings_that_do_not_go_together_are_refused(case):
    changes, line = REFUSED[case]
    with pytest.raises(ValueError, match=line):
        settings_of(**changes)


def test_games_without_a_field_of_actions_are_refused(game):
    for name, changes, line in (
        ("epidemic", {}, "neither the game's field nor the agents look at actions"),
        ("ising", {"n": 9}, "for a game on a graph"),
        ("epidemic", {"index": "executed", "correction": "none"}, "index: found 'executed' where agents see states"),
    ):
        with pytest.raises(ValueError, match=line):
            make_learners(load_game(name, agents=9), settings_of(**changes))
    odd = dataclasses.replace(
        game, field=Field(of="actions", weights=np.array([0.0, 1.0, math.pi]), edges=(np.array(EDGES),))
    )
    with pytest.raises(ValueError, match="no multiples of a unit"):
        make_learners(odd, settings_of())
    make_learners(odd, settings_of(correction="product"))
