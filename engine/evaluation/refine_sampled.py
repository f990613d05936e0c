"""Refinement where the chain of (s_g, N) is too large: sampled occupancies, common random numbers, paired tests.

Runs of the policy, discounted, are a sample of the occupancy d(s_g, N), and a quadratic function of the shares N / n fitted
to them by temporal differences stands for V^π: for so many agents it is smooth. The next population does not depend on a_g, so
Q(s_g, N, a_g) follows from V^π at all s_g' and the N' that was drawn. All that only proposes a change. It is kept if the paired
difference of the returns, on fresh runs with common random numbers, has an interval above zero; the intervals of all tests
together hold with 95 %.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from ...kernels.evaluation.observations import sum_over_populations
from ...kernels.execution import make_sample_space
from ...kernels.streams import checked_seed
from ..deployment import CONFIDENCE, MAX_AGENTS, deploy, half_width_of, steps_until
from ..game import Game, positive_integer
from ..lifting import field_of_states
from ..policy import SubsamplePolicy
from ..solve import Interrupted
from ..versions import library_versions
from .refine import Refinement

# Proposals at fewer runs than this would be noise.
MIN_RUNS = 50
# With more features than this V^π is taken to be linear in the shares.
MAX_FEATURES = 1500
RIDGE = 1e-9
# Products that one look at the observations may take; beyond it only some of the visited states are looked at.
MAX_PRODUCTS = 4e9


def refine_sampled(
    game: Game,
    policy: SubsamplePolicy,
    n: int,
    *,
    runs: int = 2000,
    seed: int = 0,
    max_rounds: int = 10,
    memory_bytes: int | None = None,
    progress: Callable[[int, float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Refinement:
    """Improve the global agent of a policy for any number of agents, from simulation alone.

    Parameters
    ----------
    game : Game
    policy : SubsamplePolicy
    n : int             agents, at least the policy's larger k
    runs : int          states that are sampled in each round, and pairs of runs of each test
    seed : int
    max_rounds : int
    memory_bytes : int, optional
    progress : function of (rounds so far, gain so far)
    should_stop : function without arguments

    Returns
    -------
    Refinement    with method "sampled"; `gain` is the mean paired difference between the last policy and the first, on runs
        that no decision was taken on, and `half_width` its 95 % interval

    Raises
    ------
    ValueError, Interrupted
    """
    began = time.perf_counter()
    policy.check_fits(game)
    field_of_states(game, "what an action of the global agent is worth is looked up by the counts of the states")
    n = positive_integer("n", n)
    if not policy.k <= n <= MAX_AGENTS:
        raise ValueError(f"n: found {n} agents, expected {policy.k} to {MAX_AGENTS}")
    if positive_integer("runs", runs) < MIN_RUNS:
        raise ValueError(f"runs: found {runs}, expected at least {MIN_RUNS}")
    checked_seed(seed)
    work = _Sampling(game, n, runs, int(seed), memory_bytes, should_stop)
    first, current = policy, policy
    gains = [0.0]
    for _ in range(max_rounds):
        better = _improved(work, current)
        if better is None:
            break
        current, gain = better
        gains.append(gains[-1] + gain)
        if progress is not None:
            progress(len(gains) - 1, gains[-1])
    before, after = work.returns(first), work.returns(current, same_runs=True)
    difference = after - before
    return Refinement(
        policy=current,
        n=n,
        method="sampled",
        value_before=float(before.mean()),
        value_after=float(after.mean()),
        half_width=half_width_of(difference) if current is not first else 0.0,
        gain=float(difference.mean()),
        rounds=len(gains) - 1,
        n_changed=int((current.global_action != first.global_action).sum()),
        is_local_optimum=False,
        gains=np.array(gains),
        wall_time_s=time.perf_counter() - began,
        versions=library_versions(),
    )


class _Sampling:
    """Runs of policies with n agents, each set of runs with numbers of its own."""

    def __init__(self, game: Game, n: int, runs: int, seed: int, memory_bytes, should_stop):
        self.game, self.n, self.runs, self.seed = game, n, runs, seed
        self.memory_bytes, self._should_stop = memory_bytes, should_stop
        self._next_run = self._last_run = 0
        self.n_tests = 0
        self.steps = steps_until(game, 1e-3)

    def fresh_runs(self) -> int:
        """Number of the first of `runs` runs that nothing has used yet."""
        self._last_run = self._next_run
        self._next_run += self.runs
        return self._last_run

    def ask(self) -> None:
        """Raise Interrupted if the work is to stop."""
        if self._should_stop is not None and self._should_stop():
            raise Interrupted("stopped while refining; nothing written")

    def returns(self, policy: SubsamplePolicy, *, same_runs: bool = False) -> np.ndarray:
        """Discounted returns on fresh runs, or on those of the call before: common random numbers."""
        self.ask()
        first_run = self._last_run if same_runs else self.fresh_runs()
        return deploy(
            self.game, policy, self.n, steps=self.steps, runs=self.runs, seed=self.seed, first_run=first_run,
            trace_points=1, memory_bytes=self.memory_bytes, progress=lambda done, total: self.ask(),
        ).returns  # fmt: skip


def _improved(work: _Sampling, policy: SubsamplePolicy) -> tuple[SubsamplePolicy, float] | None:
    """A policy that passed its test, and the gain seen there; None if no proposal does."""
    gain, best = _proposals(work, policy)
    order = np.argsort(-gain, axis=None, kind="stable")
    order = order[gain.ravel()[order] > 0.0]
    size = order.size
    while size >= 1:
        action = policy.global_action.copy()
        action.ravel()[order[:size]] = best.ravel()[order[:size]]
        other = dataclasses.replace(policy, global_action=action)
        before = work.returns(policy)
        difference = work.returns(other, same_runs=True) - before
        work.n_tests += 1
        # Errors of 6/π² · 5 % / i² add up to 5 % over any number of tests.
        level = 1.0 - (1.0 - CONFIDENCE) * 6.0 / (math.pi * work.n_tests) ** 2
        if difference.mean() - half_width_of(difference, level) > 0.0:
            return other, float(difference.mean())
        size //= 2
    return None


def _proposals(work: _Sampling, policy: SubsamplePolicy) -> tuple[np.ndarray, np.ndarray]:
    """Estimated gain of the best a_g at every observation, float64[n_sg, n_c], and that a_g int32[n_sg, n_c]."""
    game, n = work.game, work.n
    steps = work.steps + 1
    runs = deploy(
        game, policy, n, steps=steps, runs=work.runs, seed=work.seed, first_run=work.fresh_runs(), trace_points=steps,
        memory_bytes=work.memory_bytes, progress=lambda done, total: work.ask(),
    )  # fmt: skip
    weight = np.broadcast_to((1.0 - game.gamma) * game.gamma ** np.arange(steps - 1), (work.runs, steps - 1)).ravel()
    s_g, s_next = runs.trace_global_state[:, :-1].ravel(), runs.trace_global_state[:, 1:].ravel()
    here = runs.trace_population[:, :-1].reshape(-1, game.n_sl)
    there = features_of(runs.trace_population[:, 1:].reshape(-1, game.n_sl) / n, game.n_sg)
    reward = runs.trace_reward[:, :-1].ravel()
    theta = fit_value(features_of(here / n, game.n_sg), there, s_g, s_next, reward, weight, game)
    # N' does not depend on a_g, so one drawn N' serves all actions.
    values = there @ theta.T
    space = make_sample_space(policy.k_global, game.n_sl)
    n_c = space.entries.shape[1]
    gain, best = np.zeros((game.n_sg, n_c)), policy.global_action.copy()
    looked_at, weight = _thinned(weight, int(MAX_PRODUCTS / (n_c * (game.n_ag + game.n_sl))))
    for state in range(game.n_sg):
        work.ask()
        chosen = looked_at[s_g[looked_at] == state]
        if not chosen.size:
            continue
        q = _action_values(game, state, here[chosen], values[chosen])
        sums = np.zeros((n_c, game.n_ag))
        measure = np.ascontiguousarray(weight[chosen]) / work.runs
        sum_over_populations(
            measure, np.ascontiguousarray(q - q.mean(axis=0)), np.ascontiguousarray(here[chosen]), space, sums
        )
        current = sums[np.arange(n_c), policy.global_action[state]]
        best[state] = sums.argmax(axis=1)
        gain[state] = sums.max(axis=1) - current
    return gain, best


def _action_values(game: Game, s_g: int, populations: np.ndarray, values: np.ndarray) -> np.ndarray:
    """r_g + γ Σ_{s_g'} P_g V(s_g', N') without the local reward, which is the same for all a_g: float64[n_ag, n_rows].

    Parameters
    ----------
    populations : int64[n_rows, n_sl]
    values : float64[n_rows, n_sg]    V(s_g', N') at the next population of each row
    """
    P_g, r_g = game.with_field_axis("P_g")[s_g], game.with_field_axis("r_g")[s_g]
    if len(P_g) == len(r_g) == 1:
        return r_g[0][:, None] + game.gamma * P_g[0] @ values.T
    assert game.field is not None
    field_values = game.field.value_of(populations)
    at = [field_values if len(table) > 1 else np.zeros_like(field_values) for table in (r_g, P_g)]
    return r_g[at[0]].T + game.gamma * np.einsum("nat,nt->an", P_g[at[1]], values)


def _thinned(weight: np.ndarray, n_kept: int) -> tuple[np.ndarray, np.ndarray]:
    """At most so many rows, spread evenly over the weight, and weights by row that stand for all of it."""
    if weight.size <= n_kept:
        return np.arange(weight.size), weight
    ends = np.cumsum(weight)
    n_kept = max(1, n_kept)
    chosen = np.searchsorted(ends, (np.arange(n_kept) + 0.5) * (ends[-1] / n_kept))
    rows, times = np.unique(chosen, return_counts=True)
    thinned = np.zeros(weight.size)
    thinned[rows] = times * (ends[-1] / n_kept)
    return rows, thinned


def features_of(shares: np.ndarray, n_sg: int) -> np.ndarray:
    """A constant, the shares of all local states but the last, and their products, float64[n_rows, n_features]."""
    free = shares[:, :-1]
    n_rows, n_free = free.shape
    columns = [np.ones((n_rows, 1)), free]
    if n_sg * (1 + n_free + n_free * (n_free + 1) // 2) <= MAX_FEATURES:
        first, second = np.triu_indices(n_free)
        columns.append(free[:, first] * free[:, second])
    return np.concatenate(columns, axis=1)


def fit_value(
    here: np.ndarray, there: np.ndarray, s_g: np.ndarray, s_next: np.ndarray, reward: np.ndarray, weight: np.ndarray,
    game: Game,
) -> np.ndarray:  # fmt: skip
    """Least-squares temporal differences (Bradtke and Barto 1996): V(s_g, N) ≈ θ[s_g] · features, float64[n_sg, n_features].

    Parameters
    ----------
    here, there : float64[n_rows, n_features]    features before and after a step
    s_g, s_next : int[n_rows]
    reward, weight : float64[n_rows]
    """
    n_features = here.shape[1]
    size = game.n_sg * n_features
    matrix, right = np.zeros((size, size)), np.zeros(size)
    weighted = here * weight[:, None]
    with threadpool_limits(limits=1, user_api="blas"):
        for state in range(game.n_sg):
            rows = s_g == state
            block = slice(state * n_features, (state + 1) * n_features)
            matrix[block, block] += weighted[rows].T @ here[rows]
            right[block] = weighted[rows].T @ reward[rows]
            for following in range(game.n_sg):
                both = rows & (s_next == following)
                column = slice(following * n_features, (following + 1) * n_features)
                matrix[block, column] -= game.gamma * weighted[both].T @ there[both]
        # Global states that are hardly ever visited must not blow up.
        matrix += RIDGE * max(float(np.trace(matrix)) / size, np.finfo(float).tiny) * np.eye(size)
        return np.linalg.solve(matrix, right).reshape(game.n_sg, n_features)
