"""Learning one agent at a time, against labelled agents in plain Python, exact laws and the Ising model's magnetisation.

Level: every statistical test here rejects a right kernel with probability 1e-7 or less.
"""

import itertools
import math
from functools import partial

import numpy as np
import pytest
from numba import get_num_threads, njit, set_num_threads
from scipy import stats

from kofn.kernels.learning.heat_bath import advance_heat_bath, fill_up_laws
from kofn.kernels.learning.sequential import (
    NOTHING_PENDING,
    Learner,
    Play,
    Society,
    SweepRecord,
    advance_sequential,
    advance_sequential_with,
    split_word,
)
from kofn.kernels.learning.two_actions import advance_two_actions, suits_two_actions
from kofn.kernels.streams import PURPOSE_HEAT_BATH, PURPOSE_LEARNING, checked_seed, new_stream, next_uint64, seek

LEVEL = 1e-7
SEED = checked_seed(11)


def society_of(neighbours, weights, value_of):
    """A society from lists of neighbours; `value_of(degree, total)` names the field value."""
    degrees = [len(others) for others in neighbours]
    totals = max(degrees) * max(weights)
    lookup = [[value_of(degree, total) for total in range(totals + 1)] for degree in range(max(degrees) + 1)]
    flat = [j for others in neighbours for j in others]
    indptr = np.concatenate([[0], np.cumsum(degrees)]).astype(np.int64)
    return Society(indptr, np.array(flat, np.int32), np.array(weights, np.int64), np.array(lookup, np.int32))


def torus(length):
    return [
        [(x + dx) % length * length + (y + dy) % length for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))]
        for x in range(length)
        for y in range(length)
    ]


def ring(n, reach=1):
    return [[(i + d) % n for d in range(-reach, reach + 1) if d] for i in range(n)]


def start(rng, n_runs, n, n_values, n_al, *, own=True, q=0.0):
    """A play before its first sweep, with random actions."""
    tables = np.empty((n_runs, n if own else 1, n_values, n_al))
    tables[:] = q
    actions = rng.integers(0, n_al, (n_runs, n)).astype(np.int32)
    pending = np.full((n_runs, n), NOTHING_PENDING, np.int32)
    return Play(np.arange(n_runs), tables, actions, pending, np.full((n_runs, n), np.nan))


def copy_of(play):
    return Play(*(array.copy() for array in play))


def record_of(play, n_points):
    n_runs = play.action.shape[0]
    return SweepRecord(np.full((n_runs, n_points), -1), np.full((n_runs, n_points), np.nan))


def same(one, other):
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True))


def words_of(seed, purpose, run, step, n):
    stream = new_stream(seed)
    seek(stream, purpose, run, step)
    return [int(next_uint64(stream)) for _ in range(n)]


def boltzmann(values, temperature):
    if temperature == 0.0:
        return [float(a == values.index(max(values))) for a in range(len(values))]
    weights = [math.exp((value - max(values)) / temperature) for value in values]
    return [weight / sum(weights) for weight in weights]


class Villager:
    """An agent that remembers in dictionaries what the kernels keep in arrays."""

    def __init__(self, q, friends, action):
        self.q, self.friends, self.action, self.waiting = q, friends, action, None

    def tick(self, seen, uniform, pay, learner):
        """Choose on seeing `seen`; returns the reward."""
        alpha, gamma, temperature, epsilon = learner
        actions = sorted({a for _, a in self.q})
        law = boltzmann([self.q[seen, a] for a in actions], temperature)
        if self.waiting is not None:
            where, what, paid = self.waiting
            ahead = sum(p * self.q[seen, a] for p, a in zip(law, actions, strict=True))
            self.q[where, what] = (1 - alpha) * self.q[where, what] + alpha * (paid + gamma * ahead)
            law = boltzmann([self.q[seen, a] for a in actions], temperature)
        if uniform < epsilon:
            self.action = actions[int(uniform / epsilon * len(actions))]
        else:
            left = (uniform - epsilon) / (1 - epsilon)
            cumulative = list(itertools.accumulate(law))
            self.action = next((a for a in actions if left < cumulative[a]), actions[-1])
        reward = pay(seen, self.action)
        if gamma:
            self.waiting = (seen, self.action, reward)
        else:
            self.q[seen, self.action] += alpha * (reward - self.q[seen, self.action])
        return reward


def village_after(n_sweeps, neighbours, weights, value_of, learner, pay, play, row):
    """Play a run with villagers: their actions, their tables, and (total, mean reward) per sweep."""
    n_tables, n_values, n_al = play.q.shape[1:]
    tables = [
        {(u, a): float(play.q[row, t, u, a]) for u in range(n_values) for a in range(n_al)} for t in range(n_tables)
    ]
    villagers = [
        Villager(tables[i % n_tables], friends, int(play.action[row, i])) for i, friends in enumerate(neighbours)
    ]
    n, told = len(villagers), []
    for sweep in range(n_sweeps):
        rewards = []
        for word in words_of(SEED, PURPOSE_LEARNING, int(play.run[row]), sweep, n):
            i, rest = divmod(word * n, 2**64)
            seen = value_of(len(neighbours[i]), sum(weights[villagers[j].action] for j in neighbours[i]))
            rewards.append(villagers[i].tick(seen, (rest >> 11) / 2**53, pay, learner))
        told.append((sum(weights[v.action] for v in villagers), sum(rewards) / n))
    return [v.action for v in villagers], tables, told


IRREGULAR = [[1, 2, 3], [0, 2], [0, 1, 4, 4], [0], [2, 5], []]


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("gamma", [0.0, 0.7])
@pytest.mark.parametrize(("temperature", "epsilon"), [(0.0, 0.2), (0.4, 0.0), (1.5, 0.3), (2.0, 1.0)])
def test_the_villagers_do_the_same(rng, own, gamma, temperature, epsilon):
    weights, r_l = [0, 1, 3], rng.normal(size=(4, 3))

    def value_of(degree, total):
        return 3 if degree == 0 else min(2, 2 * total // (3 * degree))

    society = society_of(IRREGULAR, weights, value_of)
    learner = Learner(0.3, gamma, temperature, epsilon)
    play = start(rng, 3, len(IRREGULAR), 4, 3, own=own, q=rng.normal(size=(4, 3)))
    play.run[:] = [4, 0, 9]
    before, record = copy_of(play), record_of(play, 20)
    advance_sequential(SEED, 0, 40, 2, society, learner, r_l, play, record)
    for row in range(3):
        actions, tables, told = village_after(
            40, IRREGULAR, weights, value_of, learner, lambda u, a: float(r_l[u, a]), before, row
        )
        assert play.action[row].tolist() == actions
        for table, expected in zip(play.q[row], tables, strict=True):
            np.testing.assert_allclose(
                table.ravel(), [expected[key] for key in sorted(expected)], rtol=1e-11, atol=1e-12
            )
        totals, means = zip(*told[1::2], strict=True)
        assert record.total[row].tolist() == list(totals)
        np.testing.assert_allclose(record.reward[row], means, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("n", [1, 3, 400, 2**32 - 1])
def test_a_word_is_split_into_an_agent_and_a_uniform_number(rng, n):
    words = [0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1, *map(int, rng.integers(0, 2**64, 200, dtype=np.uint64))]
    for word in words:
        i, rest = divmod(word * n, 2**64)
        assert split_word(np.uint64(word), np.uint64(n)) == (i, rest >> 11)


ADVANCE_TABLE = (advance_sequential, advance_two_actions)


@pytest.mark.parametrize("advance", ADVANCE_TABLE)
def test_the_same_bits_for_any_threads_chunks_and_grouping(rng, advance, all_threads):
    society = society_of(torus(5), [0, 1], lambda _, total: total)
    gamma = 0.0 if advance is advance_two_actions else 0.8
    learner, r_l = Learner(0.2, gamma, 0.7, 0.05), rng.normal(size=(5, 2))
    first = start(rng, 6, 25, 5, 2)
    play, record = copy_of(first), record_of(first, 10)
    advance(SEED, 0, 30, 3, society, learner, r_l, play, record)
    for threads, cuts in itertools.product({1, get_num_threads()}, ([30], [1, 4, 25], [7, 16, 7])):
        set_num_threads(threads)
        again, record_again, done = copy_of(first), record_of(first, 10), 0
        for n_sweeps in cuts:
            advance(SEED, done, n_sweeps, 3, society, learner, r_l, again, record_again)
            done += n_sweeps
        assert same(play, again)
        assert same(record, record_again)
    for rows in ([5, 1], [0], [2, 3, 4]):
        part = Play(*(array[rows] for array in first))
        record_part = record_of(part, 10)
        advance(SEED, 0, 30, 3, society, learner, r_l, part, record_part)
        assert same(Play(*(array[rows] for array in play)), part)
        assert same(SweepRecord(*(array[rows] for array in record)), record_part)


REGULAR = {
    "pair": [[1], [0]],
    "odd torus of more than one batch": torus(23),
    "double edges": torus(2),
    "ring": ring(9),
    "eight neighbours": ring(30, reach=4),
}


@pytest.mark.parametrize("graph", REGULAR)
@pytest.mark.parametrize("epsilon", [0.0, 1e-3, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [0.0, 1e-300, 0.05, 0.8, 3.0, math.inf])
def test_two_actions_do_the_same_as_the_general_kernel(rng, graph, epsilon, temperature):
    neighbours, weights = REGULAR[graph], [2, 1] if graph == "ring" else [0, 1]
    degree = len(neighbours[0])
    # Two totals may mean the same.
    society = society_of(neighbours, weights, lambda _, total: total % 4)
    for alpha in (0.0, 0.1, 1.0):
        learner, r_l = Learner(alpha, 0.0, temperature, epsilon), rng.normal(size=(4, 2))
        play = start(rng, 2, len(neighbours), 4, 2, q=rng.normal(size=(len(neighbours), 4, 2)) * degree)
        assert suits_two_actions(society, learner, play)
        plays, records = (play, copy_of(play)), (record_of(play, 12), record_of(play, 12))
        for advance, one, record in zip(ADVANCE_TABLE, plays, records, strict=True):
            advance(SEED, 5, 12, 1, society, learner, r_l, one, SweepRecord(*(np.tile(a, 2) for a in record)))
            advance(SEED, 0, 12, 1, society, learner, r_l, one, record)
        assert same(*plays)
        assert same(*records)


def test_what_two_actions_do_not_suit(rng):
    society = society_of(torus(3), [0, 1], lambda _, total: total)
    learner, play = Learner(0.1, 0.0, 1.0, 0.0), start(rng, 1, 9, 5, 2)
    assert suits_two_actions(society, learner, play)
    assert not suits_two_actions(society, learner._replace(gamma=0.5), play)
    assert not suits_two_actions(society, learner, start(rng, 1, 9, 5, 2, own=False))
    assert not suits_two_actions(society, learner, start(rng, 1, 9, 5, 3))
    one_way = [[(i + 1) % 9, (i + 2) % 9] for i in range(9)]
    uneven = [[1], [0, 2], [1]]
    for neighbours in (one_way, uneven, [[]] * 9):
        other = society_of(neighbours, [0, 1], lambda _, total: total)
        assert not suits_two_actions(other, learner, start(rng, 1, len(neighbours), 5, 2))


# Spins: action 1 is up. Q(u, up) - Q(u, down) = S, the sum of the neighbours' spins.

CLUSTER = [[1, 2, 3], [0, 2], [0, 1, 4], [0], [2]]
N_SAMPLES = 40_000


def gibbs_law(neighbours, temperature):
    """exp(Σ_edges s_i s_j / T), normalised, of every configuration: bit i of its number is agent i, up."""
    edges = [(i, j) for i, others in enumerate(neighbours) for j in others if i < j]
    spins = [[2 * (x >> i & 1) - 1 for i in range(len(neighbours))] for x in range(2 ** len(neighbours))]
    weights = [math.exp(sum(s[i] * s[j] for i, j in edges) / temperature) for s in spins]
    return np.array(weights) / sum(weights)


def frozen_learners(rng, temperature, n_sweeps):
    society = society_of(CLUSTER, [0, 1], lambda degree, total: 2 * total - degree + 3)
    play = start(rng, N_SAMPLES, 5, 7, 2, own=False, q=[[0.0, spins] for spins in range(-3, 4)])
    learner = Learner(0.0, 0.0, temperature / 2, 0.0)
    record = record_of(play, 1)
    advance_sequential(SEED, 0, n_sweeps, n_sweeps, society, learner, np.zeros((7, 2)), play, record)
    np.testing.assert_array_equal(record.total[:, 0], play.action.sum(axis=1))
    return play.action


def heat_bath(rng, temperature, n_sweeps):
    society, law = society_of(CLUSTER, [0, 1], lambda _, total: 0), np.full(7, np.nan)
    fill_up_laws(temperature, law)
    up = rng.integers(0, 2, (N_SAMPLES, 5)).astype(np.int32)
    n_up, run = np.full((N_SAMPLES, 1), -1), np.arange(N_SAMPLES)
    advance_heat_bath(SEED, run, 0, n_sweeps, n_sweeps, society.indptr, society.indices, law, up, n_up)
    np.testing.assert_array_equal(n_up[:, 0], up.sum(axis=1))
    return up


@pytest.mark.parametrize("dynamics", [frozen_learners, heat_bath])
def test_frozen_tables_and_the_heat_bath_reach_the_gibbs_law(rng, dynamics):
    """One sample per run, after 40 sweeps: the slowest mode has died out by then, far below the sampling error."""
    expected = N_SAMPLES * gibbs_law(CLUSTER, 2.5)
    up = dynamics(rng, 2.5, 40)
    found = np.bincount(up @ (1 << np.arange(5)), minlength=32)
    assert stats.chisquare(found, expected).pvalue > LEVEL
    # Power: a temperature off by 8 % is rejected with a probability of more than 0.99.
    shifted = N_SAMPLES * gibbs_law(CLUSTER, 2.5 * 1.08)
    distance = ((shifted - expected) ** 2 / expected).sum()
    assert stats.ncx2.sf(stats.chi2.isf(LEVEL, 31), 31, distance) > 0.99


def test_the_heat_bath_by_hand(rng):
    law = np.full(7, np.nan)
    fill_up_laws(1.7, law)
    society = society_of(CLUSTER, [0, 1], lambda _, total: 0)
    first = rng.integers(0, 2, (4, 5)).astype(np.int32)
    up, n_up = first.copy(), np.full((4, 30), -1)
    run = np.array([3, 0, 7, 2])
    advance = partial(advance_heat_bath, SEED, run)
    for done, n_sweeps in ((0, 11), (11, 19)):
        advance(done, n_sweeps, 1, society.indptr, society.indices, law, up, n_up)
    for row in range(4):
        spins = {i: 2 * int(first[row, i]) - 1 for i in range(5)}
        for sweep in range(30):
            for word in words_of(SEED, PURPOSE_HEAT_BATH, int(run[row]), sweep, 5):
                i, rest = divmod(word * 5, 2**64)
                p = 1 / (1 + math.exp(-2 * sum(spins[j] for j in CLUSTER[i]) / 1.7))
                spins[i] = 1 if rest / 2**64 < p else -1
            assert n_up[row, sweep] == list(spins.values()).count(1)
        assert up[row].tolist() == [(spins[i] + 1) // 2 for i in range(5)]


@pytest.mark.parametrize(("temperature", "expected"), [(0.0, [0, 0, 0.5, 1, 1]), (math.inf, [0.5] * 5)])
def test_extreme_heat_baths(temperature, expected):
    law = np.full(5, np.nan)
    fill_up_laws(temperature, law)
    assert law.tolist() == expected
    fill_up_laws(1e-300, law)
    np.testing.assert_allclose(law, [0, 0, 0.5, 1, 1], atol=1e-300)


def ising(rng, n_seeds, t_q, n_sweeps, length=20):
    """Magnetisation per site after every sweep, and the tables: Q_0 = 0, alpha 0.1, random start."""
    society = society_of(torus(length), [0, 1], lambda _, total: total)
    n = length**2
    play = start(rng, n_seeds, n, 5, 2)
    record = record_of(play, n_sweeps)
    r_l = np.array([[2.0 - u, u - 2.0] for u in range(5)])
    learner = Learner(0.1, 0.0, t_q, 0.0)
    advance_two_actions(SEED, 0, n_sweeps, 1, society, learner, r_l, play, record)
    # A reward of s_i S_i / 2 per agent, seen when it acts.
    assert np.abs(record.reward).max() <= 2.0
    return 2.0 * record.total / n - 1.0, play.q, r_l


def test_the_ising_tables_settle(rng):
    _, q, r_l = ising(rng, 2, 1.3, 10_000)
    assert ((q - r_l) ** 2).mean() < 1e-6


@pytest.mark.parametrize("t_q", [0.9, 1.0])
def test_learners_order_as_onsager_says(rng, t_q):
    magnetisation, _, _ = ising(rng, 10, t_q, 6000)
    expected = (1 - math.sinh(1 / t_q) ** -4) ** 0.125
    found = np.abs(magnetisation[:, 3000:]).mean(axis=1)
    assert (np.abs(found - expected) < 0.02).all()


def test_learners_in_disorder_are_a_heat_bath(rng):
    """Means of 64 independent runs; a difference of a tenth is rejected with a probability above 0.99."""
    magnetisation, _, _ = ising(rng, 64, 1.5, 4000)
    learned = np.abs(magnetisation[:, 2000:]).mean(axis=1)
    law = np.full(9, np.nan)
    fill_up_laws(3.0, law)
    society = society_of(torus(20), [0, 1], lambda _, total: total)
    up, n_up = rng.integers(0, 2, (64, 400)).astype(np.int32), np.full((64, 4000), -1)
    advance_heat_bath(SEED, np.arange(64), 0, 4000, 1, society.indptr, society.indices, law, up, n_up)
    bathed = np.abs(2 * n_up[:, 2000:] / 400 - 1).mean(axis=1)
    error = math.sqrt((learned.var(ddof=1) + bathed.var(ddof=1)) / 64)
    reach = stats.t.isf(LEVEL / 2, 126) * error
    assert abs(learned.mean() - bathed.mean()) < reach
    assert reach + stats.t.isf(0.01, 126) * error < 0.1 * bathed.mean()


# Looking ahead.


@pytest.mark.parametrize("temperature", [0.0, 0.5, math.inf])
def test_a_hermit_reaches_bellmans_fixed_point(rng, temperature):
    """Nothing is random but which action is tried, and each is tried often: the tables converge to rounding."""
    society = society_of([[]], [0, 1, 1], lambda _, total: 0)
    r_l, gamma = np.array([[1.0, 0.2, 0.7]]), 0.9
    learner, play = Learner(0.5, gamma, temperature, 0.2), start(rng, 2, 1, 1, 3)
    advance_sequential(SEED, 0, 5000, 5000, society, learner, r_l, play, record_of(play, 1))
    q = r_l[0].tolist()
    for _ in range(1000):
        ahead = sum(p * value for p, value in zip(boltzmann(q, temperature), q, strict=True))
        q = [reward + gamma * ahead for reward in r_l[0].tolist()]
    np.testing.assert_allclose(play.q[:, 0, 0], [q, q], rtol=1e-9)


def test_a_pair_at_random_reaches_bellmans_fixed_point(rng):
    """Both choose blindly. Until an agent's next tick the other has moved with probability 1/2, so u' = u in 3 of 4.

    Steps of 0.002 over 10,000 ticks per cell leave a bias of that order and, averaged over 40 agents, a standard error
    of less than 0.002. With u in place of u' the entries would be 0.3 to 0.4 off.
    """
    society = society_of([[1], [0]], [0, 1], lambda _, total: total)
    r_l, gamma = np.array([[1.0, 0.0], [-1.0, 0.5]]), 0.6
    learner, play = Learner(0.002, gamma, math.inf, 0.0), start(rng, 20, 2, 2, 2)
    advance_sequential(SEED, 0, 40_000, 40_000, society, learner, r_l, play, record_of(play, 1))
    stay = np.array([[0.75, 0.25], [0.25, 0.75]])
    # v(u) = mean reward at u + gamma * E[v(u')].
    ahead = np.linalg.solve(np.eye(2) - gamma * stay, r_l.mean(axis=1))
    np.testing.assert_allclose(play.q.mean(axis=(0, 1)), r_l + gamma * (stay @ ahead)[:, None], atol=0.02)


# A user's own reward.


@njit
def squared_surprise(value, action):
    return (value - 1.5 * action) ** 2 / (1.0 + value)


@njit
def whole_reward(value, action):
    return value - action


@njit
def users_kernel(seed, n_sweeps, society, learner, play, record):
    advance_sequential_with(squared_surprise, seed, 0, n_sweeps, 1, society, learner, play, record)
    return record.reward[0, 0]


@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_a_users_own_reward(rng, gamma):
    society = society_of(IRREGULAR, [0, 1, 3], lambda _, total: total)
    n_values = society.value_of_total.max() + 1
    learner, first = Learner(0.2, gamma, 0.7, 0.1), start(rng, 3, 6, n_values, 3)
    for reward in (squared_surprise, whole_reward):
        r_l = np.array([[reward.py_func(u, a) for a in range(3)] for u in range(n_values)], float)
        by_table, by_function = copy_of(first), copy_of(first)
        records = record_of(first, 25), record_of(first, 25)
        advance_sequential(SEED, 0, 25, 1, society, learner, r_l, by_table, records[0])
        if reward is squared_surprise:
            assert users_kernel(SEED, 25, society, learner, by_function, records[1]) == records[1].reward[0, 0]
        else:
            advance_sequential_with(reward, SEED, 0, 25, 1, society, learner, by_function, records[1])
        np.testing.assert_allclose(by_function.q, by_table.q, rtol=1e-14)
        np.testing.assert_array_equal(by_function.action, by_table.action)
        np.testing.assert_allclose(records[1].reward, records[0].reward, rtol=1e-14)
