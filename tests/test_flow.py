"""Flows of populations, best responses against them, their check among n agents, and clusters of runs."""

import dataclasses

import numba
import numpy as np
import pytest
from oracles_flow import Labelled, fixed_points, response_values, silhouette_by_loops
from scipy import stats

import kofn
from kofn.engine.backups.selection import TooLargeError
from kofn.engine.coupling import Field
from kofn.engine.equilibrium import flow as flow_module
from kofn.engine.equilibrium.clusters import Habits, cluster_runs, distance, habits, silhouette
from kofn.engine.equilibrium.flow import agents_flow, mean_field_flow
from kofn.engine.equilibrium.flow_check import check_response
from kofn.engine.equilibrium.flow_gaps import gap_of_law, learned_gaps
from kofn.engine.equilibrium.flow_law import law_of_table, learned_law
from kofn.engine.equilibrium.flow_response import flow_gap
from kofn.engine.game import Game
from kofn.engine.solve import Interrupted
from kofn.kernels.equilibrium.tagged import KEEPS_LAW
from oracles import random_rows

WEIGHTS, EDGES = [0.0, 1.0], [0.3, 0.6]
# Of statistical tests: how often a right engine would fail each.
LEVEL = 1e-6


def coupled_game(rng, n_sg=1, n_sl=3, n_al=2, gamma=0.8, P_g=None, **changes):
    """A game whose every table has the axis of a field of actions with the values of WEIGHTS and EDGES."""
    n_f = len(EDGES) + 1
    tables = {
        "P_g": np.tile(np.array(P_g)[:, None, None, :], (1, n_f, 1, 1))
        if P_g
        else random_rows(rng, (n_sg, n_f, 1, n_sg)),
        "P_l": random_rows(rng, (n_sg, n_f, n_sl, n_al, n_sl)),
        "r_g": rng.normal(size=(n_sg, n_f, 1)),
        "r_l": rng.normal(size=(n_sg, n_f, n_sl, n_al)),
    }
    weights = np.linspace(0.0, 1.0, n_al)
    field = Field(of="actions", weights=weights, edges=(EDGES,))
    return Game(
        **tables | {"gamma": gamma, "rho_g": random_rows(rng, (n_sg,)), "rho_l": random_rows(rng, (n_sl,))} | changes,
        field=field,
    )


def random_law(rng, game):
    return law_of_table(game, random_rows(rng, (game.n_sg * game.n_sl * 3, game.n_al)))


def links_of(flow):
    return list(zip(flow.source, flow.action, flow.field_value, flow.target, flow.probability, strict=True))


def rewards_of(game):
    return lambda s_g, f, s, a: game.r_g[s_g, f, 0] + game.r_l[s_g, f, s, a]


# Flows.


def test_settled_mean_field_is_a_fixed_point_found_by_listing(rng):
    settled = 0
    for _ in range(12):
        game = coupled_game(rng)
        played = random_law(rng, game)
        flow = mean_field_flow(played, steps=2000)
        points = fixed_points(game.P_l[0], played.law[0], WEIGHTS, EDGES)
        if not flow.exact or flow.period != 1:
            continue
        settled += 1
        (value, m) = next(point for point in points if point[0] == flow.contexts[0, 1])
        assert flow.field_value.tolist() == [value]
        np.testing.assert_allclose(flow.local_law[0], m, atol=1e-11)
    assert settled >= 6


def test_two_state_chain_has_its_closed_form(rng):
    up, down = 0.3, 0.1
    P_l = np.array([[[1 - up, up]], [[down, 1 - down]]])
    game = Game(P_g=np.ones((1, 1, 1)), P_l=P_l[None], r_g=np.zeros((1, 1)), r_l=np.zeros((1, 2, 1)), gamma=0.5)
    flow = mean_field_flow(law_of_table(game, np.ones((2, 1))))
    np.testing.assert_allclose(flow.local_law, [[down / (up + down), up / (up + down)]], atol=1e-12)
    assert flow.exact


def test_seasons_settle_into_their_period(rng):
    game = coupled_game(rng, n_sg=2, n_sl=2, P_g=[[0.0, 1.0], [1.0, 0.0]])
    flow = mean_field_flow(random_law(rng, game), steps=3000)
    assert flow.exact
    assert flow.period == 2
    np.testing.assert_array_equal(flow.contexts[:, 0], [0, 1])
    np.testing.assert_array_equal(flow.target, [1, 0])


def test_common_noise_has_the_frequencies_of_its_chain(rng):
    # s_g does not look at the agents, so its long run is known; 10,000 steps of a chain that forgets within two.
    P_g = [[0.6, 0.4], [0.7, 0.3]]
    game = coupled_game(rng, n_sg=2, P_g=P_g)
    flow = mean_field_flow(random_law(rng, game), steps=10_000)
    assert not flow.exact
    share = flow.visits[flow.contexts[:, 0] == 0].sum() / flow.visits.sum()
    assert abs(share - 0.7 / 1.1) < 0.02
    totals = np.bincount(flow.source, weights=flow.probability)
    np.testing.assert_allclose(totals, 1.0, atol=1e-12)


@pytest.fixture(scope="module")
def three_agents():
    """A game, its law, and the labelled agents of it."""
    rng = np.random.default_rng(5)
    game = coupled_game(rng, n_sg=2, n_sl=2, gamma=0.7)
    played = random_law(rng, game)
    P_g = game.P_g[:, :, 0]
    oracle = Labelled(3, P_g, game.P_l, rewards_of(game), played.law, WEIGHTS, EDGES, WEIGHTS, EDGES)
    return game, played, oracle


def test_flow_of_three_agents_is_that_of_labelled_agents(three_agents):
    _, played, oracle = three_agents
    flow = agents_flow(played, 3, steps=40_000, burn_in=30)
    visits, links = oracle.links(3)
    # Each frequency of 120,000 agent-steps that forget within a few has a standard error of at most 0.003.
    shares = flow.visits[:, None] * flow.local_law / flow.visits.sum()
    for (s_g, b, s), p in visits.items():
        c = np.flatnonzero((flow.contexts == [s_g, b]).all(axis=1))
        assert abs((shares[c[0], s] if c.size else 0.0) - p) < 0.015
    found = {}
    for c, a, f, c_next, p in links_of(flow):
        key = (*flow.contexts[c].tolist(), a, f, int(flow.contexts[c_next, 1]))
        found[key] = found.get(key, 0.0) + p
    assert found.keys() == {key for key, p in links.items() if p > 0.0}
    assert all(abs(found[key] - links[key]) < 0.03 for key in found)


def test_flow_of_agents_is_the_same_in_any_pieces_and_stops_between_them(three_agents, monkeypatch):
    _, played, _ = three_agents
    whole = agents_flow(played, 3, steps=999, burn_in=30)
    monkeypatch.setattr(flow_module, "LINKS_AT_ONCE", 7 * 3 * played.game.n_al)
    pieces = agents_flow(played, 3, steps=999, burn_in=30)
    for name in (
        "contexts",
        "visits",
        "local_law",
        "action_law",
        "source",
        "action",
        "field_value",
        "target",
        "probability",
    ):
        np.testing.assert_array_equal(getattr(pieces, name), getattr(whole, name))
    asked = []
    with pytest.raises(Interrupted, match=r"stopped after \d+ of 280 steps of 3 agents"):
        agents_flow(played, 3, steps=999, burn_in=30, should_stop=lambda: len(asked) > 20 or asked.append(0))


@pytest.mark.parametrize("of", ["states", "actions"])
def test_many_agents_flow_like_infinitely_many(rng, of):
    # s_g looks at nobody and the edges are far from every mean, so that 1000 agents are a mean field but for 1/√1000 = .03.
    game = coupled_game(rng, n_sg=2, P_g=[[0.5, 0.5], [0.2, 0.8]])
    seen = Field(of=of, weights=np.array([0.0, 1.0, 0.4])[: game.n_sl if of == "states" else 2], edges=([0.02, 0.98],))
    game = dataclasses.replace(game, field=seen)
    played = random_law(rng, game)
    infinite, many = mean_field_flow(played), agents_flow(played, 1000, steps=4000, burn_in=20)
    np.testing.assert_array_equal(many.contexts, infinite.contexts)
    np.testing.assert_allclose(many.local_law, infinite.local_law, atol=0.02)
    np.testing.assert_allclose(many.action_law, infinite.action_law, atol=0.02)
    assert flow_gap(played, many).gain == pytest.approx(flow_gap(played, infinite).gain, abs=0.05)


# Best responses.


@pytest.mark.parametrize("kind", ["constant", "seasons", "noise", "agents"])
def test_best_response_is_the_best_of_all_responses(rng, kind):
    seasons = {"n_sg": 2, "P_g": [[0.0, 1.0], [1.0, 0.0]]}
    options = {"constant": {"n_sl": 3, "n_al": 3}, "seasons": seasons | {"n_sl": 2}, "noise": {"n_sg": 2, "n_sl": 2}}
    for _ in range(3):
        game = coupled_game(rng, **options.get(kind, {"n_sl": 2}))
        played = random_law(rng, game)
        flow = agents_flow(played, 2, steps=200) if kind == "agents" else mean_field_flow(played, steps=400)
        if len(flow.contexts) * game.n_sl > 9:
            continue
        found = flow_gap(played, flow)
        law = [played.law[s_g, :, b].tolist() for s_g, b in flow.contexts]
        own, best = response_values(links_of(flow), flow.contexts.tolist(), game.P_l, rewards_of(game), game.gamma, law)
        np.testing.assert_allclose(found.own_values, own, atol=1e-8)
        np.testing.assert_allclose(found.gains, best - own, atol=1e-8)
        start = flow.visits[:, None] * flow.local_law / flow.visits.sum()
        assert found.gain == pytest.approx(float((start * (best - own)).sum()), abs=1e-8)
        assert found.nash_conv == found.gain >= 0.0


def two_roads(cost_of_highway=0.5):
    """Everyone takes the street, which costs the share of those on it, or the highway, which costs the same to all."""
    edges = np.arange(0.05, 1.0, 0.1)
    shares = np.arange(0.0, 1.01, 0.1).round(1)
    r_l = np.stack([-shares, np.full(11, -cost_of_highway)], axis=1)[None, :, None, :]
    field = Field(of="actions", weights=np.array([1.0, 0.0]), edges=(edges,), values=tuple(shares.tolist()))
    return Game(
        P_g=np.ones((1, 1, 1)), P_l=np.ones((1, 1, 2, 1)), r_g=np.zeros((1, 1)), r_l=r_l, gamma=0.5, field=field
    )  # fmt: skip


def test_no_gain_in_the_equilibrium_of_a_congestion_game():
    game = two_roads()
    for share, gain in ((0.5, 0.0), (0.8, 0.8 * 0.3 / 0.5), (0.2, 0.8 * 0.3 / 0.5), (1.0, 0.5 / 0.5)):
        played = law_of_table(game, np.tile([share, 1.0 - share], (11, 1)))
        found = flow_gap(played, mean_field_flow(played))
        assert found.nash_conv == pytest.approx(gain, abs=1e-9)
        assert (found.response == KEEPS_LAW).all() == (share == 0.5)
        assert found.global_gain is None


def test_global_agent_gains_what_its_own_chain_says(rng):
    # Its rewards and moves look at nothing but s_g: the best of its four responses, from the long run of uniform play.
    P_g, r_g = random_rows(rng, (2, 2, 2)), rng.normal(size=(2, 2))
    game = Game(P_g=P_g, P_l=np.ones((2, 1, 1, 1)), r_g=r_g, r_l=np.zeros((2, 1, 1)), gamma=0.6)
    played = law_of_table(game, np.ones((2, 1)))
    found = flow_gap(played, mean_field_flow(played, steps=4000))
    start = found.flow.visits / found.flow.visits.sum()

    def value(law):
        moves, earned = np.einsum("sa,sat->st", law, P_g), (law * r_g).sum(axis=1)
        return np.linalg.solve(np.eye(2) - 0.6 * moves, earned)

    best = np.max([value(np.eye(2)[[a, b]]) for a in (0, 1) for b in (0, 1)], axis=0)
    assert found.global_value == pytest.approx(start @ value(np.full((2, 2), 0.5)), abs=1e-9)
    assert found.global_gain == pytest.approx(start @ (best - value(np.full((2, 2), 0.5))), abs=1e-9)
    assert found.nash_conv == pytest.approx(found.global_gain, abs=1e-9)


# The check among n agents.


def test_check_is_what_labelled_agents_earn(three_agents):
    game, played, oracle = three_agents
    gap = flow_gap(played, agents_flow(played, 3, steps=4000, burn_in=30))
    table = gap.response.reshape(2, 2, 3)

    def response(s_g, s, b):
        return None if table[s_g, s, b] == KEEPS_LAW else int(table[s_g, s, b])

    burn_in, steps = 3, 12
    check = check_response(
        played, gap.response, 3, values=gap.values, q=gap.q, runs=20_000, steps=steps, burn_in=burn_in, seed=2
    )
    start = oracle.start(game.rho_g, game.rho_l)
    law = oracle.mean_return(start, burn_in, steps, game.gamma)
    best = oracle.mean_return(start, burn_in, steps, game.gamma, response)
    errors = check.quiet_returns.std(axis=0, ddof=1) / np.sqrt(check.runs)
    paired = check.differences.std(ddof=1) / np.sqrt(check.runs)
    z = stats.norm.isf(LEVEL / 2)
    assert abs(check.value - law) < z * errors[0]
    assert abs(check.quiet_returns[:, 1].mean() - best) < z * errors[1]
    assert abs(check.gain - (best - law)) < z * paired
    # A response of other actions, or a burn-in of none, would be noticed: each is at least 10 standard errors away.
    other = oracle.mean_return(start, burn_in, steps, game.gamma, lambda *o: 1 - (response(*o) or 0))
    assert abs(other - best) > 10 * paired
    assert best - law > 10 * paired
    # Common random numbers: the paired error is below that of independent arms. A part of what is left was known noise.
    assert check.gain_half_width < check.noise_floor
    assert check.differences.var() < 0.8 * np.diff(check.returns).var()
    gains = dict(zip(map(tuple, gap.flow.contexts), gap.gains, strict=True))
    s_g, s, b = np.unravel_index(check.start, (2, 2, 3))
    np.testing.assert_array_equal(check.predicted[:100], [gains[s_g[i], b[i]][s[i]] for i in range(100)])
    plain = check_response(played, gap.response, 3, runs=50, steps=steps, burn_in=burn_in, seed=2)
    np.testing.assert_array_equal(plain.returns, check.returns[:50])
    np.testing.assert_array_equal(plain.noise, 0.0)


@pytest.mark.parametrize("of", ["states", "actions"])
def test_noise_has_mean_zero_whatever_the_values_are(rng, of):
    game = coupled_game(rng, n_sg=2)
    seen = Field(of=of, weights=np.array([0.0, 1.0, 0.5])[: game.n_sl if of == "states" else 2], edges=(EDGES,))
    played = random_law(rng, dataclasses.replace(game, field=seen))
    response = rng.integers(-1, 2, 18)
    check = check_response(
        played,
        response,
        2,
        values=rng.normal(size=(2, 18)),
        q=rng.normal(size=(2, 18, 2)),
        runs=20_000,
        steps=3,
        burn_in=1,
    )
    error = check.noise.std(axis=0, ddof=1) / np.sqrt(check.runs)
    assert (np.abs(check.noise.mean(axis=0)) < stats.norm.isf(LEVEL / 2) * error).all()


def test_check_of_the_law_itself_has_no_gain_at_all(three_agents):
    _, played, _ = three_agents
    nothing = np.full(12, KEEPS_LAW, dtype=np.int32)
    check = check_response(played, nothing, 4, runs=10, steps=5)
    np.testing.assert_array_equal(check.differences, 0.0)
    assert check.noise_floor > 0.0


def test_check_has_the_same_bits_on_any_number_of_threads(three_agents, all_threads):
    _, played, _ = three_agents
    response = np.zeros(12, dtype=np.int32)
    together = check_response(played, response, 5, runs=13, steps=6)
    numba.set_num_threads(1)
    alone = check_response(played, response, 5, runs=13, steps=6)
    np.testing.assert_array_equal(alone.returns, together.returns)
    first = check_response(played, response, 5, runs=4, steps=6)
    np.testing.assert_array_equal(first.returns, alone.returns[:4])


# Clusters.


def populations(rng, centres, noise, n_each=6, n_sl=12):
    """Habits of runs around centres float[n_sl] (probability of the last of three actions), with noise of their own."""
    found = []
    for centre in centres:
        for _ in range(n_each):
            p = np.clip(centre + noise * rng.normal(size=n_sl), 0.0, 1.0)
            law = np.stack([1 - p, np.zeros(n_sl), p], axis=1)[None]
            found.append(Habits(law=law, occupancy=np.full((1, n_sl), 1 / n_sl)))
    return found


def test_two_planted_equilibria_are_found_and_noise_is_one_cluster(rng):
    base = np.full(12, 0.5)
    scale = np.array([0.0, 1.0, 2.0])
    for snapshots in (False, True):
        runs = populations(rng, [base - 0.2, base + 0.2], 0.05)
        kept = populations(rng, [base - 0.2, base + 0.2], 0.05) if snapshots else None
        found = cluster_runs(runs, scale=scale, snapshots=kept)
        assert found.labels.tolist() == [1] * 6 + [2] * 6
        assert found.verdict().startswith("2 clusters of 6, 6 runs at a policy_w1 distance of")
        assert found.silhouette > 0.7
        assert found.floor_of == ("own snapshots" if snapshots else "permutation")
    # Noise alone: a false alarm happens in some 5 % of permutation tests, in 3 of 20 or fewer with probability 0.98.
    alarms = sum(cluster_runs(populations(rng, [base], 0.1, 10), scale=scale).n_clusters > 1 for _ in range(20))
    assert alarms <= 3
    assert "one cluster" in cluster_runs(populations(rng, [base], 0.0, 5), scale=scale).verdict()


def test_without_a_floor_there_is_no_verdict(rng):
    runs = populations(rng, [np.full(2, 0.2), np.full(2, 0.8)], 0.01, n_sl=2)
    found = cluster_runs(runs)
    assert found.n_clusters == 1
    assert "no verdict" in found.verdict()
    assert cluster_runs(runs, floor=0.1).n_clusters == 2


def test_distances_are_those_of_scipy(rng):
    scale = np.array([2.0, 0.0, 5.0])
    one, other = (
        Habits(law=rng.dirichlet(np.ones(3), (2, 4)), occupancy=rng.dirichlet(np.ones(8)).reshape(2, 4)) for _ in "ab"
    )
    cells = [(g, s) for g in range(2) for s in range(4)]
    weight = {cell: (one.occupancy[cell] + other.occupancy[cell]) / 2 for cell in cells}

    def w1(p, q):
        return stats.wasserstein_distance(scale, scale, p, q)

    expected = {
        "policy_w1": sum(weight[cell] * w1(one.law[cell], other.law[cell]) for cell in cells),
        "policy_tv": sum(weight[cell] * sum(np.maximum(one.law[cell] - other.law[cell], 0)) for cell in cells),
        "action_w1": w1(*(sum(x.occupancy[cell] * x.law[cell] for cell in cells) for x in (one, other))),
        "state_tv": sum(np.maximum(one.occupancy.sum(axis=0) - other.occupancy.sum(axis=0), 0)),
    }
    for measure, value in expected.items():
        assert distance(one, other, measure, scale) == pytest.approx(value, abs=1e-12)


def test_silhouette_is_that_of_its_definition(rng):
    points = rng.normal(size=(9, 2))
    apart = np.linalg.norm(points[:, None] - points, axis=-1)
    labels = np.array([1, 1, 1, 2, 2, 2, 2, 3, 1])
    assert silhouette(apart, labels) == pytest.approx(silhouette_by_loops(apart, labels.tolist()), abs=1e-12)


def test_habits_average_over_what_is_seen(rng):
    game = coupled_game(rng, n_sg=2)
    played = random_law(rng, game)
    flow = mean_field_flow(played, steps=500)
    found = habits(played, flow)
    np.testing.assert_allclose(found.law.sum(axis=-1), 1.0)
    np.testing.assert_allclose(found.actions, flow.action_law, atol=1e-10)


# Learned tables.


@pytest.fixture(scope="module")
def learned():
    settings = kofn.LearningSettings(n=20, steps=300, runs=3, temperature=0.2, snapshots=4, alpha=0.2)
    return kofn.learn(coupled_game(np.random.default_rng(8), n_sg=2), settings)


def test_gaps_of_learned_tables(learned):
    found = learned_gaps(learned, steps=500, check_runs=20)
    assert len(found.gaps) == len(found.checks) == 3
    assert found.clusters.floor_of == "own snapshots"
    played = learned_law(learned, 1)
    weights = np.exp(learned.q[1, 0] / 0.2)
    np.testing.assert_allclose(played.table, weights / weights.sum(axis=1, keepdims=True), rtol=1e-12)
    assert found.column("gain")[1] == pytest.approx(flow_gap(played, mean_field_flow(played, steps=500)).gain, abs=1e-9)
    assert (found.column("gain") > -1e-9).all()
    among = learned_gaps(learned, runs=(0,), flow="agents", steps=400, check_runs=0)
    assert among.gaps[0].flow.n == 20
    assert among.clusters is None


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"tables": "own"}, "policy: found learned tables that are no law of (s_g, s_l, b), every agent has a table"),
        ({"inner": 2}, "its mean action answers itself"),
    ],
)
def test_tables_without_a_flow_are_refused(learned, changes, line):
    other = dataclasses.replace(learned, settings=dataclasses.replace(learned.settings, **changes))
    with pytest.raises(ValueError) as caught:
        learned_law(other)
    assert line in str(caught.value)


def test_bad_laws_and_responses_are_refused(rng, three_agents):
    game, played, _ = three_agents
    for table, line in (
        (np.ones((5, 2)), "law: found shape (5, 2), expected a multiple of 4 rows of 2 actions"),
        (np.full((12, 2), np.nan), "law: found rows that are no probabilities"),
        (np.full((8, 2), 0.5), "law: found 2 values seen, expected 3"),
    ):
        with pytest.raises(ValueError) as caught:
            law_of_table(game, table)
        assert line in str(caught.value)
    with pytest.raises(TooLargeError, match="lower the bins that agents see or the states"):
        flow_gap(played, mean_field_flow(played, steps=50), memory_bytes=100)
    with pytest.raises(ValueError, match="flow: found 'x', expected one of mean-field, agents"):
        gap_of_law(played, 3, flow="x")
    with pytest.raises(ValueError, match="values: found shape"):
        check_response(played, np.full(12, -1), 3, values=np.zeros(12))
    with pytest.raises(ValueError, match="response: found"):
        check_response(played, np.full(12, 7), 3)
    with pytest.raises(ValueError, match="runs: found 1, expected at least 2"):
        cluster_runs([None])
