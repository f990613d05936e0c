"""What best responses gain where n is too large for the exact chain: brackets from simulated paths of the global state.

To one agent among very many the path of (s_g, N) is weather: its own deviation is in the sample of the global agent with
probability k/n a step. Given the weather its process is its own, and has exact values along a path:

* a policy that sees (s_g, N, s), chosen on other paths, gives a lower bound of what a best response gains;
* an agent that knows the whole path, and pays for what it should not know yet, gives an upper bound (Brown, Smith and Sun 2010,
  Information relaxations and duality in stochastic dynamic programs, Operations Research 58).

Both take an approximate value that is linear in the shares, W(s_g, N, s) = Σ_j slopes[s_g, s, j] N_j/n. Its mean one step later
is exact: s_g' and N' are independent given (s_g, N), and the mean of N' is linear in N. So what is paid has mean zero for any agent
that does not look ahead, and serves as a control variate of all values. It still has with a few samples of the global agent in
place of the law of s_g': they are drawn by that law.

What weather leaves out: as long as the sample of the global agent leads to the same s_g' with the deviator in it as with an
agent in its place that does not deviate, the paths agree. They part in step t with probability at most k/n times the total
variation that one agent more in a sample of k − 1 can make, and not before step 1.

The global agent's own reward does not depend on the population, so its best response is exact for any n. With the team reward it
is at most the optimum of any k' ≤ n agents: watch k' of them, the rest is private randomness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...kernels.lattice import fill_successors, lattice_size, lattice_sizes
from ..backups.selection import TooLargeError, choose_exact, default_memory_bytes, readable_bytes
from ..deployment import Deployment, deploy, half_width_of, steps_until
from ..game import Game, positive_integer
from ..lifting import refuse_field
from ..policy import SubsamplePolicy
from ..solve import Interrupted, solve
from ..surrogate import useful_error
from .local_learner import learn_local

DEFAULT_RUNS = 200
# Count vectors times global states of the game that bounds the global agent from above.
BOUNDING_STATES = 200_000
BOUNDING_TOL_SHARE = 1e-5
# Rough steps of a sweep of that game.
BOUNDING_WORK = 1e8
# Samples of the global agent for each step of each path.
SAMPLES = 16
# Backups that fit the approximate value, and the weight of its start among that of the data.
FIT_SWEEPS = 20
RIDGE = 1e-4
# NumPy draws samples from fewer agents.
MOST_DRAWN_FROM = 10**9


@dataclass(frozen=True, kw_only=True, eq=False)
class MeanFieldGains:
    """Brackets of what best responses to a pair gain, from the initial law.

    Parameters
    ----------
    n, runs, steps, seed : int
    gains : float64[2, 2, 2]     axes (reward selfish or team, player global or local, low or high). Simulated parts are widened by
        their 95 % intervals: a bracket holds with 95 %, as far as means of paths are normal
    value : float64[2, 2]        of the pair, axes (reward, player), simulated
    influence : float            what is left out of the local agent's bracket with its own reward, on either side, at most: the
        agent can be in the sample. O(k/n) and crude: where it makes a difference, the rest of the path goes as badly as can be
    truncation : float           what steps after the last could add to any gain; part of `gains`
    """

    n: int
    runs: int
    steps: int
    seed: int
    gains: np.ndarray
    value: np.ndarray
    influence: float
    truncation: float


class _Weather(NamedTuple):
    """Simulated paths, as a local agent meets them."""

    states: np.ndarray  # int64[n_paths, n_steps]
    shares: np.ndarray  # float64[n_paths, n_steps, n_sl], N/n
    next_law: np.ndarray  # float64[n_paths, n_steps, n_sg], unbiased for the law of s_g' given (s_g, N)

    def part(self, paths: slice) -> _Weather:
        return _Weather(*(array[paths] for array in self))


def mean_field_gains(
    game: Game,
    policy: SubsamplePolicy,
    n: int,
    *,
    runs: int = DEFAULT_RUNS,
    steps: int | None = None,
    seed: int = 0,
    memory_bytes: int | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> MeanFieldGains:
    """Bracket the gains of best responses to a pair that n agents play.

    Parameters
    ----------
    game : Game
    policy : SubsamplePolicy    with k_local = 1: local agents that see no others
    n : int
    runs : int                  simulated paths; the first half chooses the local agent's answer, the second half values it
    steps : int, optional       of a path; by default until what is left out is below 1e-4 of the largest value
    seed : int
    memory_bytes : int, optional
    should_stop : function without arguments

    Returns
    -------
    MeanFieldGains

    Raises
    ------
    ValueError, TooLargeError, Interrupted
    """
    refuse_field(game, "the brackets hold where agents touch each other through the global agent alone")
    if policy.k_local != 1:
        raise ValueError(f"policy: found local agents that see {policy.k_local}, expected 1: themselves alone")
    if positive_integer("runs", runs) < 4:
        raise ValueError(f"runs: found {runs}, expected at least 4")
    if n >= MOST_DRAWN_FROM:
        raise ValueError(f"n: found {n} agents, expected fewer than {MOST_DRAWN_FROM}")
    steps = steps_until(game) if steps is None else positive_integer("steps", steps)
    _check_size(game, runs, steps, default_memory_bytes() if memory_bytes is None else memory_bytes)

    def ask() -> None:
        if should_stop is not None and should_stop():
            raise Interrupted("stopped while bracketing what best responses gain; nothing written")

    def look(done: int, total: int) -> None:
        ask()

    paths = deploy(
        game, policy, n, steps=steps, runs=runs, seed=seed, trace_points=steps, memory_bytes=memory_bytes, progress=look
    )
    # Sums of NumPy, not products of a BLAS, throughout: the same bits on any number of threads.
    weights = game.gamma ** np.arange(steps)
    left = game.gamma**steps / (1.0 - game.gamma)
    gains, value = np.zeros((2, 2, 2)), np.empty((2, 2))

    own_rewards = (game.r_g[paths.trace_global_state, paths.trace_global_action] * weights).sum(axis=1)
    local_rewards = paths.returns - own_rewards
    value[0] = own_rewards.mean(), local_rewards.mean()
    value[1] = paths.mean_return

    regret = _regret_of_global_agent(game)
    regrets = (regret[paths.trace_global_state, paths.trace_global_action] * weights).sum(axis=1)
    left_g = left * float(regret.max())
    gains[0, 0] = _bracket(regrets, regrets, 0.0, left_g)

    above = _bound_of_team_value(game, policy, n, memory_bytes, should_stop) - paths.returns
    gains[1, 0, 1] = _bracket(above, above, 0.0, paths.truncation_bound)[1]

    seen, shifts = _watch_samples(game, policy, paths, ask)
    lower, upper = _local_brackets(game, policy, seen, local_rewards, ask)
    # Along one path, whatever the agent does is worth a reward of the same s_g.
    left_l = left * float(np.ptp(game.r_l, axis=(1, 2)).max())
    gains[0, 1] = _bracket(lower, upper, left_l, left_l)

    own_shift, team_shift = _influences(game, policy, n, shifts)
    # One agent's reward is 1/n of the team's; the rest of what it does to the team goes through the sample.
    gains[1, 1, 1] = gains[0, 1, 1] / n + team_shift
    return MeanFieldGains(
        n=n, runs=runs, steps=steps, seed=seed, gains=gains, value=value, influence=own_shift,
        truncation=max(left_g, left_l, paths.truncation_bound),
    )  # fmt: skip


def _check_size(game: Game, runs: int, steps: int, memory_bytes: int) -> None:
    """Refuse more paths than fit the memory, with a TooLargeError of one line."""
    n_sl = game.n_sl
    needed = 8 * runs * steps * (6 + 12 * n_sl + 4 * game.n_sg + n_sl * (n_sl - 1) + 2 * n_sl * game.n_al)
    if needed > memory_bytes:
        raise TooLargeError(
            f"runs: {runs} paths of {steps} steps take {readable_bytes(needed)}, expected at most "
            f"{readable_bytes(memory_bytes)}; lower runs or steps"
        )


def _bracket(low: np.ndarray, high: np.ndarray, below: float, above: float) -> tuple[float, float]:
    """From the lower end of the interval of one mean to the upper end of that of another, with a slack on either side.

    No best response loses.
    """
    return (
        max(0.0, float(low.mean()) - half_width_of(low) - below),
        max(0.0, float(high.mean()) + half_width_of(high) + above),
    )


def _regret_of_global_agent(game: Game) -> np.ndarray:
    """What each a_g loses to the best process of r_g alone, float64[n_sg, n_ag].

    Whatever the population does, that is a process of s_g. A policy's loss is the discounted sum of these along its path, in the
    mean (Kakade and Langford 2002, lemma 6.1).
    """
    choice = np.full(game.n_sg, -1)
    value = np.zeros(game.n_sg)
    everywhere = np.arange(game.n_sg)
    while True:
        q = game.r_g + game.gamma * np.einsum("gat,t->ga", game.P_g, value)
        rounding = 1e-12 * max(1.0, float(np.abs(q).max()))
        better = q.max(axis=1) > q[everywhere, choice] + rounding
        improved = np.where(better | (choice < 0), q.argmax(axis=1), choice)
        if (improved == choice).all():
            regret = q.max(axis=1, keepdims=True) - q
            return np.where(regret > rounding, regret, 0.0)
        choice = improved
        moves = game.P_g[everywhere, choice]
        value = np.linalg.solve(np.eye(game.n_sg) - game.gamma * moves, game.r_g[everywhere, choice])


def _bound_of_team_value(
    game: Game, policy: SubsamplePolicy, n: int, memory_bytes: int | None, should_stop: Callable[[], bool] | None
) -> float:
    """A bound on what the global agent can reach for the team, the local policy given: the optimum of k' ≤ n agents."""
    law, limit = policy.law_alone, default_memory_bytes() if memory_bytes is None else memory_bytes
    spread = (float(np.ptp(game.r_g)) + float(np.ptp(game.r_l))) / (1.0 - game.gamma)
    tol = max(BOUNDING_TOL_SHARE * spread, 1e-6)
    k = 1
    while k < n and game.n_sg * lattice_size(k + 1, game.n_sl) <= BOUNDING_STATES:
        k += 1
    while k > 1 and not _is_quick(game, k, law, useful_error(game, tol), limit):
        k = max(1, 3 * k // 4)
    solution = solve(game, k, local_policy=law, tol=tol, memory_bytes=limit, should_stop=should_stop)
    return solution.initial_value + solution.half_width


def _is_quick(game: Game, k: int, local_policy: np.ndarray, error: float, memory_bytes: int) -> bool:
    try:
        choice = choose_exact(game, k, "fixed", local_policy, method=None, error=error, memory_bytes=memory_bytes)
    except TooLargeError:
        return False
    return game.n_sg * choice.work <= BOUNDING_WORK


def _watch_samples(
    game: Game, policy: SubsamplePolicy, paths: Deployment, ask: Callable[[], None]
) -> tuple[_Weather, np.ndarray]:
    """Draw samples of k − 1 agents along the paths, and let each agent in turn be the last.

    Returns
    -------
    _Weather
    float64[2, n_paths, n_steps]    how far the last agent's state moves the global agent, at most: the law of s_g' in total
        variation, r_g
    """
    n, k, n_sl = paths.config["n"], policy.k_global, game.n_sl
    states, population = paths.trace_global_state.astype(np.int64), paths.trace_population
    sizes = lattice_sizes(k, n_sl)
    successors = np.empty((lattice_size(k - 1, n_sl), n_sl), dtype=np.int32)
    fill_successors(k - 1, sizes, successors)
    moves = _moves_of_global_agent(game)
    next_law = np.zeros((*states.shape, game.n_sg))
    shifts = np.zeros((2, *states.shape))
    generator = np.random.default_rng(paths.config["seed"])
    for _ in range(SAMPLES):
        ask()
        sample = _draw_sample(population, k - 1, generator)
        actions = policy.global_action[states[..., None], successors[_ranks(sample, sizes)]]
        last = (population - sample) / (n - k + 1)
        for s in range(n_sl):
            next_law += last[..., s, None] * game.P_g[states, actions[..., s]]
        largest = [moves[:, states, actions[..., s], actions[..., t]] for s in range(n_sl) for t in range(s)]
        if largest:
            shifts += np.max(largest, axis=0)
    return _Weather(states, population / n, next_law / SAMPLES), shifts / SAMPLES


def _draw_sample(population: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    """Counts of agents drawn without replacement, int64[…, n_sl], from a population int64[…, n_sl]."""
    sample = np.zeros_like(population)
    others, rest = population.sum(axis=-1), np.full(population.shape[:-1], size)
    for s in range(population.shape[-1] - 1):
        others = others - population[..., s]
        sample[..., s] = generator.hypergeometric(population[..., s], others, rest)
        rest = rest - sample[..., s]
    sample[..., -1] = rest
    return sample


def _ranks(counts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Ranks of count vectors int64[…, n_sl] in their lattice; `sizes` as `lattice_sizes` has them."""
    ranks, rest = np.zeros(counts.shape[:-1], dtype=np.int64), counts.sum(axis=-1)
    for s in range(counts.shape[-1]):
        table = sizes[counts.shape[-1] - s]
        ranks += table[rest] - table[rest - counts[..., s]]
        rest = rest - counts[..., s]
    return ranks


def _local_brackets(
    game: Game, policy: SubsamplePolicy, seen: _Weather, local_rewards: np.ndarray, ask: Callable[[], None]
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds of what an agent could gain along each path of the second half, float64[n_paths] each.

    Parameters
    ----------
    local_rewards : float64[n_runs]    of the pair, discounted, mean over the agents
    """
    half = seen.states.shape[0] // 2
    own_moves = np.einsum("gsa,gsat->gst", policy.law_alone, game.P_l)
    fit, use = seen.part(slice(half)), seen.part(slice(half, None))
    slopes = _fit_value(game, own_moves, fit, ask)
    expected = _expected_value(slopes, own_moves, use)
    # What the path tells of (s_g', N') beyond its law is paid for.
    price = np.zeros(expected.shape)
    price[:, :-1] = np.einsum("rtsj,rtj->rts", slopes[use.states[:, 1:]], use.shares[:, 1:]) - expected[:, :-1]
    paid = np.zeros(price[:, 0].shape)
    answering, knowing = paid, paid
    for t in range(use.states.shape[1] - 1, -1, -1):
        ask()
        s_g = use.states[:, t]
        paid = game.gamma * np.einsum("rst,rt->rs", own_moves[s_g], paid - price[:, t])
        answer = _action_values(game, s_g, expected[:, t]).argmax(axis=2)
        q = _action_values(game, s_g, answering - price[:, t])
        answering = np.take_along_axis(q, answer[..., None], axis=2)[..., 0]
        knowing = _action_values(game, s_g, knowing - price[:, t]).max(axis=2)
    start = use.shares[:, 0]
    own = local_rewards[half:] + (start * paid).sum(axis=1)
    return (start * answering).sum(axis=1) - own, (start * knowing).sum(axis=1) - own


def _action_values(game: Game, s_g: np.ndarray, ahead: np.ndarray) -> np.ndarray:
    """Q of a local agent, float64[n, n_sl, n_al], in global states int64[n] with values float64[n, n_sl] ahead."""
    return game.r_l[s_g] + game.gamma * np.einsum("nsat,nt->nsa", game.P_l[s_g], ahead)


def _fit_value(game: Game, own_moves: np.ndarray, seen: _Weather, ask: Callable[[], None]) -> np.ndarray:
    """Slopes of an approximate value of a best response, float64[n_sg, n_sl, n_sl]: fitted value iteration along some paths.

    Starts at the value of an agent that sees (s_g, s) alone, and stays there where the paths do not lead. The level is of no
    consequence: it cancels in prices and in choices.
    """
    states, shares, next_law = (array.reshape(-1, *array.shape[2:]) for array in seen)
    # A trace of every move in every place: laws where the paths do not lead.
    weights = 1e-9 * game.P_g.mean(axis=1)[:, None, :] + np.zeros((game.n_sg, game.n_sl, game.n_sg))
    rows = [np.flatnonzero(states == s_g) for s_g in range(game.n_sg)]
    for s_g, at in enumerate(rows):
        weights[s_g] += np.einsum("ms,mt->st", shares[at], next_law[at])
    # Any start will do: its width need only be small beside the rewards.
    tol = max(1e-8, 1e-9 * float(np.abs(game.r_l).max()) / (1.0 - game.gamma))
    alone = learn_local(game, weights / weights.sum(axis=2, keepdims=True), greedy=True, tol=tol).value
    fits = []
    for at in rows:
        gram = np.einsum("mi,mj->ij", shares[at], shares[at]) + (RIDGE * len(at) + 1e-9) * np.eye(game.n_sl)
        fits.append(np.einsum("ij,mj->mi", np.linalg.inv(gram), shares[at]))
    slopes = np.repeat(alone[:, :, None], game.n_sl, axis=2)
    for _ in range(FIT_SWEEPS):
        ask()
        expected = _expected_value(slopes, own_moves, _Weather(states, shares, next_law))
        target = _action_values(game, states, expected).max(axis=2)
        slopes = np.stack([
            alone[s_g, :, None] + np.einsum("ms,mj->sj", target[at] - alone[s_g], fit)
            for s_g, (at, fit) in enumerate(zip(rows, fits, strict=True))
        ])  # fmt: skip
    return slopes


def _expected_value(slopes: np.ndarray, own_moves: np.ndarray, seen: _Weather) -> np.ndarray:
    """Mean of W(s_g', N', s') given (s_g, N), float64[…, n_sl] by s'."""
    next_shares = np.einsum("...i,...ij->...j", seen.shares, own_moves[seen.states])
    return np.einsum("...g,...j,gsj->...s", seen.next_law, next_shares, slopes)


def _influences(game: Game, policy: SubsamplePolicy, n: int, shifts: np.ndarray) -> tuple[float, float]:
    """What it adds to a local agent's gain that it can be in the sample, at most: of its own reward, of the team's.

    Parameters
    ----------
    shifts : float64[2, n_paths, n_steps]    as `_watch_samples` has them
    """
    gamma, steps = game.gamma, shifts.shape[2]
    own_range = _range_of_own_value(game, policy, steps)
    team_range = (float(np.ptp(game.r_g)) + float(np.ptp(game.r_l))) / (1.0 - gamma)
    # The deviator is where it would have been before its first move, and so is what the sample tells of it.
    weights = np.where(np.arange(steps) > 0, gamma ** np.arange(steps), 0.0) * policy.k_global / n
    left = gamma**steps / (1.0 - gamma) * policy.k_global / n
    moved, changed = (shifts * weights).sum(axis=2)
    all_moves = _moves_of_global_agent(game)
    most_moved, most_changed = (all_moves.max(axis=(1, 2, 3)) * left).tolist()
    own = moved * gamma * own_range
    team = changed + moved * gamma * team_range
    return (
        min(gamma**2 * own_range, _bracket(own, own, 0.0, most_moved * gamma * own_range)[1]),
        min(gamma * team_range, _bracket(team, team, 0.0, most_changed + most_moved * gamma * team_range)[1]),
    )


def _moves_of_global_agent(game: Game) -> np.ndarray:
    """How far two a_g differ, float64[2, n_sg, n_ag, n_ag]: the laws of s_g' in total variation, r_g."""
    return np.stack([
        0.5 * np.abs(game.P_g[:, :, None] - game.P_g[:, None]).sum(axis=3),
        np.abs(game.r_g[:, :, None] - game.r_g[:, None]),
    ])  # fmt: skip


def _range_of_own_value(game: Game, policy: SubsamplePolicy, sweeps: int) -> float:
    """A bound on how far the values of one best response differ between global states.

    Every a_g that the policy ever plays in s_g is chosen for the agent, or against it. The sweeps start at bounds, and keep them.
    """
    played = np.zeros((game.n_sg, game.n_ag, 1, 1), dtype=bool)
    played[np.arange(game.n_sg)[:, None], policy.global_action] = True
    bounds = []
    for largest, choose, never in ((game.r_l.max(), np.max, -np.inf), (game.r_l.min(), np.min, np.inf)):
        value = np.full((game.n_sg, game.n_sl), largest / (1.0 - game.gamma))
        for _ in range(sweeps):
            ahead = np.einsum("gxh,ht->gxt", game.P_g, value)
            q = np.where(played, np.einsum("gsat,gxt->gxsa", game.P_l, ahead), never)
            value = (game.r_l + game.gamma * choose(q, axis=1)).max(axis=2)
        bounds.append(value)
    return float((bounds[0].max(axis=0) - bounds[1].min(axis=0)).max())
