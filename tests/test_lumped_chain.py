"""Laws of the next population: against plain convolutions, their adjoints, and each route against the others."""

import functools

import numba
import numpy as np
import pytest
from scipy import signal, stats

from kofn.engine.action_classes import list_counts
from kofn.engine.backups.symmetric_power import Factorisation
from kofn.engine.evaluation import lumped_chain
from kofn.engine.evaluation.lumped_chain import LumpedChain
from kofn.engine.evaluation.plan import FRESH_LAWS, STORED_LAWS, SYMMETRIC_POWER, plan_evaluation
from kofn.engine.game import Game
from kofn.engine.policy import SubsamplePolicy, blind_policy
from kofn.kernels.evaluation.next_laws import expect_rows, fill_next_laws, spread_rows
from kofn.kernels.lattice import lattice_size, lattice_sizes
from oracles import counts_chain, random_game_tables, random_policy, random_rows

MEMORY = 2**30


def next_laws(populations, laws, truncation):
    """(law float64[n_rows, n_N], lost, n_entries) of `fill_next_laws`, written out."""
    n, n_sl = int(populations[0].sum()), populations.shape[1]
    n_rows, n_c = len(populations), lattice_size(n, n_sl)
    n_runs = n_rows * lattice_size(n, n_sl - 1)
    mass, rank = np.full(n_rows * n_c, np.nan), np.full(n_runs, -1, np.int32)
    end, row_end = np.full(n_runs, -1), np.full(n_rows, -1)
    lost = fill_next_laws(populations, laws, truncation, lattice_sizes(n, n_sl), mass, rank, end, row_end)
    segments = mass, rank, end, row_end
    written = np.zeros((n_rows, n_c))
    spread_rows(*segments, np.eye(n_rows), written)
    return written, lost, segments


def convolved(population, law):
    """float64[n_N]: the law of the next population, multinomials convolved on a dense grid of all but the last count."""
    n, n_sl = int(population.sum()), len(population)
    parts = []
    for m, row in zip(population, law, strict=True):
        counts = list_counts(int(m), n_sl)
        grid = np.zeros((m + 1,) * (n_sl - 1))
        grid[tuple(counts[:, :-1].T)] = stats.multinomial.pmf(counts, m, row)
        parts.append(grid)
    total = functools.reduce(lambda a, b: signal.convolve(a, b, method="direct"), parts)
    return total[tuple(list_counts(n, n_sl)[:, :-1].T)]


def some_populations(rng, n, n_sl, n_rows):
    """Random populations, with those of one state first."""
    corners = n * np.eye(n_sl, dtype=np.int64)
    return np.concatenate([corners, rng.multinomial(n, rng.dirichlet(np.ones(n_sl)), size=n_rows)])


LAWS = {"dense": (0.0, False), "sparse": (0.6, False), "deterministic": (0.0, True)}


@pytest.mark.parametrize("kind", LAWS)
@pytest.mark.parametrize(("n", "n_sl"), [(1, 2), (30, 2), (7, 3), (24, 3), (9, 4), (16, 4), (5, 5)])
def test_laws_agree_with_convolutions(rng, kind, n, n_sl):
    populations = some_populations(rng, n, n_sl, 8)
    laws = random_rows(rng, (len(populations), n_sl, n_sl), *LAWS[kind])
    found, lost, _ = next_laws(populations, laws, 0.0)
    assert lost == 0.0
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=0, atol=1e-14)
    expected = np.array([convolved(N, law) for N, law in zip(populations, laws, strict=True)])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
    assert not found[expected == 0.0].any()


@pytest.mark.parametrize("truncation", [1e-2, 1e-4, 1e-8, 1e-12])
@pytest.mark.parametrize(("n", "n_sl"), [(60, 2), (24, 3), (40, 3), (16, 4)])
def test_no_more_is_cut_off_than_allowed(rng, truncation, n, n_sl):
    populations = some_populations(rng, n, n_sl, 8)
    laws = random_rows(rng, (len(populations), n_sl, n_sl))
    found, lost, segments = next_laws(populations, laws, truncation)
    assert lost <= truncation
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=0, atol=1e-14)
    assert (found >= 0.0).all()
    for law, N, rows in zip(found, populations, laws, strict=True):
        expected = convolved(N, rows)
        # What is left was divided by its sum: as much too large as what was cut off is too small.
        assert np.abs(law - expected).sum() <= 2 * lost / (1 - lost) + 1e-13
        assert expected[law == 0.0].sum() <= lost + 1e-13
    if truncation >= 1e-4:
        assert lost > 0.0
        assert segments[2][segments[3][-1] - 1] < 0.8 * found.size


def test_a_row_for_rewards_does_not_matter(rng):
    """The tables of means carry the mean reward as a last column: it is no state."""
    populations = some_populations(rng, 6, 3, 2)
    laws = random_rows(rng, (len(populations), 3, 3))
    wider = np.concatenate([laws, rng.normal(size=(*laws.shape[:2], 1))], axis=2)
    np.testing.assert_array_equal(next_laws(populations, wider, 1e-12)[0], next_laws(populations, laws, 1e-12)[0])


def test_rows_of_laws_and_their_adjoint(rng):
    populations = list_counts(8, 3)
    laws = random_rows(rng, (len(populations), 3, 3), 0.3)
    written, _, segments = next_laws(populations, laws, 1e-9)
    functions, weights = rng.normal(size=(3, written.shape[1])), rng.normal(size=(3, len(populations)))
    weights[:, ::4] = 0.0
    expected = np.full((3, len(populations)), np.nan)
    expect_rows(*segments, functions, expected)
    np.testing.assert_allclose(expected, functions @ written.T, rtol=0, atol=1e-13)
    measures = np.ones((3, written.shape[1]))
    spread_rows(*segments, weights, measures)
    np.testing.assert_allclose(measures - 1.0, weights @ written, rtol=0, atol=1e-13)


# The chain, by each route.


def blind_case(rng, sizes, laws="dense", k_global=2):
    tables = random_game_tables(rng, *sizes, *LAWS[laws])
    policy = random_policy(rng, tables, k_global, 1)
    return Game(**tables), SubsamplePolicy(**policy._asdict())


def counting_case(rng, sizes, k_local=3):
    tables = random_game_tables(rng, *sizes)
    policy = random_policy(rng, tables, 2, k_local)
    return Game(**tables), SubsamplePolicy(**policy._asdict())


def chain_by(route, game, policy, n, truncation=1e-13):
    """The chain by a route of its own choice, or made to take another one."""
    blind = route == SYMMETRIC_POWER
    plan = plan_evaluation(game, policy.k_global, policy.k_local, n, MEMORY, blind=blind)
    memory = plan.bytes_needed - (route == FRESH_LAWS)
    # No power is exact enough for an error of zero.
    error = 1e-9 if blind else 0.0
    chain = LumpedChain(game, policy, n, truncation=truncation, memory_bytes=memory, error=error)
    assert chain.routes == [route] * game.n_sg
    return chain


def assert_products_agree(first, second):
    """Two dot products, given by their terms: each law's by itself, as errors may cancel in the whole."""
    for here, there in zip(first, second, strict=True):
        off = float(abs(here.sum() - there.sum()))
        assert off <= 1e-12 * float(np.abs(here).sum() + np.abs(there).sum())


def assert_adjoint(rng, chain, functions=2):
    shape = (chain.game.n_sg, functions, chain.n_c)
    f, m = rng.normal(size=shape), rng.normal(size=shape)
    kept = f.copy(), m.copy()
    assert_products_agree(m * chain.expect(f), chain.spread(m) * f)
    np.testing.assert_array_equal(f, kept[0])
    np.testing.assert_array_equal(m, kept[1])
    value, measure = rng.normal(size=shape[::2]), rng.normal(size=shape[::2])
    assert_products_agree([measure * chain.step_value(value)], [chain.step_measure(measure) * value])


ROUTES = (SYMMETRIC_POWER, STORED_LAWS, FRESH_LAWS)


@pytest.mark.parametrize("laws", LAWS)
@pytest.mark.parametrize(("sizes", "n"), [((2, 3, 2, 2), 25), ((3, 2, 3, 2), 14), ((2, 2, 4, 2), 8), ((1, 1, 5, 2), 6)])
def test_all_routes_give_the_same_numbers(rng, sizes, n, laws):
    game, policy = blind_case(rng, sizes, laws)
    chains = [chain_by(route, game, policy, n) for route in ROUTES]
    f = rng.normal(size=(game.n_sg, 3, chains[0].n_c))
    m = rng.exponential(size=f.shape)
    expected, spread = chains[1].expect(f), chains[1].spread(m)
    for chain in chains:
        assert_adjoint(rng, chain)
        np.testing.assert_allclose(chain.reward, chains[0].reward, rtol=0, atol=1e-12)
        np.testing.assert_allclose(chain.expect(f), expected, rtol=0, atol=1e-10)
        np.testing.assert_allclose(chain.spread(m), spread, rtol=0, atol=1e-10 * m.sum())
        np.testing.assert_allclose(chain.expect(np.ones_like(f)), 1.0, rtol=0, atol=1e-12)
        assert chain.spread(m).sum() == pytest.approx(m.sum(), rel=1e-12)
    for name in ("expect", "spread"):
        stored, anew = (getattr(chain, name)(f) for chain in chains[1:])
        np.testing.assert_array_equal(stored, anew)


@pytest.mark.parametrize("route", [STORED_LAWS, FRESH_LAWS])
@pytest.mark.parametrize("sizes", [(2, 2, 2, 2), (2, 3, 3, 2), (1, 2, 4, 3)])
def test_routes_of_policies_that_look_at_others(rng, sizes, route):
    game, policy = counting_case(rng, sizes)
    chain = chain_by(route, game, policy, 4)
    P, reward = counts_chain(game, policy, 4)
    value, measure = rng.normal(size=(game.n_sg, chain.n_c)), rng.exponential(size=(game.n_sg, chain.n_c))
    np.testing.assert_allclose(chain.reward.ravel(), reward, rtol=0, atol=1e-13)
    np.testing.assert_allclose(chain.step_value(value).ravel(), P @ value.ravel(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(chain.step_measure(measure).ravel(), measure.ravel() @ P, rtol=0, atol=1e-12)
    assert_adjoint(rng, chain)


@pytest.mark.parametrize("block_entries", [1, 500])
def test_blocks_of_any_size(rng, monkeypatch, block_entries):
    game, policy = counting_case(rng, (2, 2, 3, 2))
    f = rng.normal(size=(2, 2, lattice_size(10, 3)))
    whole = chain_by(STORED_LAWS, game, policy, 10)
    monkeypatch.setattr(lumped_chain, "BLOCK_ENTRIES", block_entries)
    cut = chain_by(STORED_LAWS, game, policy, 10)
    np.testing.assert_array_equal(cut.expect(f), whole.expect(f))
    np.testing.assert_allclose(cut.spread(f), whole.spread(f), rtol=0, atol=1e-12)
    assert_adjoint(rng, cut)


def test_laws_of_some_global_states_only(rng):
    """Blind in one global state and not in the other: each takes its own route, and the two meet in one step."""
    game, policy = counting_case(rng, (3, 2, 3, 2), k_local=2)
    local = np.array(policy.local_action)
    local[1] = local[1][:, :1]
    policy = SubsamplePolicy(k_global=2, k_local=2, global_action=policy.global_action, local_action=local)
    chain = LumpedChain(game, policy, 4, truncation=0.0, memory_bytes=MEMORY, error=1e-9)
    assert chain.routes == [STORED_LAWS, SYMMETRIC_POWER, STORED_LAWS]
    assert chain.route == "stored laws and symmetric power"
    P, _ = counts_chain(game, policy, 4)
    value = rng.normal(size=(3, chain.n_c))
    np.testing.assert_allclose(chain.step_value(value).ravel(), P @ value.ravel(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(chain.step_measure(value).ravel(), value.ravel() @ P, rtol=0, atol=1e-12)
    assert_adjoint(rng, chain)


@pytest.mark.parametrize("n_sl", [1, 2])
def test_one_local_state_and_one_agent(rng, n_sl):
    game, policy = blind_case(rng, (2, 2, n_sl, 2), k_global=1)
    chain = chain_by(SYMMETRIC_POWER, game, policy, 1)
    P, _ = counts_chain(game, policy, 1)
    value = rng.normal(size=(2, chain.n_c))
    np.testing.assert_allclose(chain.step_value(value).ravel(), P @ value.ravel(), rtol=0, atol=1e-14)
    np.testing.assert_allclose(chain.step_measure(value).ravel(), value.ravel() @ P, rtol=0, atol=1e-14)


@pytest.mark.parametrize("route", ROUTES)
def test_same_bits_on_any_number_of_threads(rng, route, all_threads):
    game, policy = blind_case(rng, (1, 3, 3, 2))
    n = 20
    f = rng.normal(size=(1, 3, lattice_size(n, 3)))
    found = []
    for threads in (numba.get_num_threads(), 1):
        numba.set_num_threads(threads)
        chain = chain_by(route, game, policy, n)
        found.append((chain.expect(f), chain.spread(f), chain.action_law, chain.reward))
    for one, more in zip(*found, strict=True):
        np.testing.assert_array_equal(one, more)


# Laws for which the symmetric power would lose all digits.


def unstable_law(rng, n_sl, least):
    """A law whose every factorisation amplifies by at least so much per agent."""
    while True:
        law = rng.dirichlet(np.full(n_sl, 0.5), n_sl)
        if Factorisation(law[None, None], 2).rho >= least:
            return law


def unstable_game(rng, law):
    n_sl = len(law)
    return Game(
        P_g=rng.dirichlet(np.ones(2), (2, 1)),
        P_l=np.broadcast_to(law[None, :, None, :], (2, n_sl, 1, n_sl)),
        r_g=rng.normal(size=(2, 1)),
        r_l=rng.normal(size=(2, n_sl, 1)),
        gamma=0.9,
    )


def test_an_unstable_symmetric_power_is_refused(rng):
    n = 40
    law = unstable_law(rng, 3, 2.5)
    game = unstable_game(rng, law)
    chain = LumpedChain(game, blind_policy(game), n, truncation=1e-14, memory_bytes=MEMORY, error=1e-10)
    assert chain.routes == [STORED_LAWS] * 2
    assert chain.relative_error() <= 1e-10
    f = np.broadcast_to(rng.normal(size=chain.n_c), (2, 1, chain.n_c)).copy()
    found = chain.expect(f)[0, 0]
    rows = rng.integers(chain.n_c, size=25)
    expected = [convolved(chain.populations[i], law) @ f[0, 0] for i in rows]
    np.testing.assert_allclose(found[rows], expected, rtol=0, atol=1e-12)
    # Had it been taken, it would have been wrong: the refusal is not for nothing.
    loose = LumpedChain(game, blind_policy(game), n, truncation=1e-14, memory_bytes=MEMORY, error=1e20)
    assert loose.routes == [SYMMETRIC_POWER] * 2
    off = np.abs(loose.expect(f)[0, 0, rows] - expected).max()
    assert 1e-10 < off <= loose.relative_error() * np.abs(f).max()


def test_only_the_unstable_law_is_refused(rng):
    """One global state has a stable law: it keeps the symmetric power."""
    law = unstable_law(rng, 3, 2.5)
    game = unstable_game(rng, law)
    tables = np.array(game.P_l)
    tables[1] = np.broadcast_to(np.array([[0.8, 0.2, 0.0], [0.1, 0.8, 0.1], [0.0, 0.2, 0.8]])[:, None, :], (3, 1, 3))
    game = Game(P_g=game.P_g, P_l=tables, r_g=game.r_g, r_l=game.r_l, gamma=0.9)
    chain = LumpedChain(game, blind_policy(game), 40, truncation=1e-14, memory_bytes=MEMORY, error=1e-10)
    assert chain.routes == [STORED_LAWS, SYMMETRIC_POWER]
    f = rng.normal(size=(2, 1, chain.n_c))
    found = chain.expect(f)
    for s_g in range(2):
        for i in rng.integers(chain.n_c, size=10):
            expected = convolved(chain.populations[i], tables[s_g, :, 0]) @ f[s_g, 0]
            assert abs(found[s_g, 0, i] - expected) <= 1e-11
    assert_adjoint(rng, chain)
