"""Better policies from the same observations: improve what the global agent does where n agents really take it.

A policy that is optimal for k agents takes its sample for the population. With the exact occupancy d(s_g, N) of n agents that
play it, what an action is worth where the sample c is seen is Σ_N d(s_g, N) HG(c; N, k) Q^π(s_g, N, a_g). Changing a_g
towards the best of these, at all observations or only at those that gain most, is tried; a change is kept only if the exact
value from the initial law rises. So the value never falls, and the result is a local optimum among policies that see k agents.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ...kernels.evaluation.observations import sum_over_populations
from ...kernels.execution import make_sample_space
from ..backups.selection import default_memory_bytes
from ..game import Game
from ..policy import SubsamplePolicy
from ..solve import Interrupted
from ..threads import in_threads
from ..versions import library_versions
from .evaluate import (
    build_chain,
    certified_value,
    checked_agents,
    default_tol,
    discounted_occupancy,
    initial_measure,
)
from .lumped_chain import N_PARTS, LumpedChain

MAX_TRIALS = 200


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Refinement:
    """An improved policy and what it gained.

    Parameters
    ----------
    policy : SubsamplePolicy       same samples, same local agents, a better global agent
    n : int
    method : "exact" or "sampled"
    value_before, value_after : float    from the initial law. Exact: certified within `half_width`; sampled: means of
        simulated returns
    half_width : float             exact: of both values; sampled: 95 % interval of the paired gain
    gain : float                   exact: value_after − value_before; sampled: mean paired difference
    rounds : int                   times that the value rose
    n_changed : int                observations (s_g, c) whose a_g differs from the start
    is_local_optimum : bool        exact: no change at a single observation helps; sampled: always False
    gains : float64[rounds + 1]    gain after each round, 0 first
    wall_time_s : float
    versions : dict
    """

    policy: SubsamplePolicy
    n: int
    method: str
    value_before: float
    value_after: float
    half_width: float
    gain: float
    rounds: int
    n_changed: int
    is_local_optimum: bool
    gains: np.ndarray
    wall_time_s: float
    versions: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"Refinement(n={self.n}, {self.method}, {self.value_before:.9g} -> {self.value_after:.9g} "
            f"± {self.half_width:.2g}, {self.n_changed} observations changed)"
        )


def refine(
    game: Game,
    policy: SubsamplePolicy,
    n: int,
    *,
    tol: float | None = None,
    max_rounds: int = 100,
    memory_bytes: int | None = None,
    progress: Callable[[int, float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Refinement:
    """Improve the global agent of a policy for n agents by exact occupancies; its value never falls.

    Parameters
    ----------
    game : Game
    policy : SubsamplePolicy
    n : int                  agents, at least the policy's larger k
    tol : float, optional    certified width of the values that are compared; by default as in `evaluate`
    max_rounds : int
    memory_bytes : int, optional
    progress : function of (rounds so far, gain so far)
    should_stop : function without arguments, asked before each trial

    Returns
    -------
    Refinement

    Raises
    ------
    ValueError       bad input, one line naming the field
    TooLargeError    the chain does not fit; `refine_sampled` does without it
    Interrupted      `should_stop` said so
    """
    began = time.perf_counter()
    n = checked_agents(game, policy, n)
    limit = default_memory_bytes() if memory_bytes is None else memory_bytes
    chain = build_chain(game, policy, n, tol=tol, memory_bytes=limit)
    tol = default_tol(chain) if tol is None else tol
    search = _Search(chain, policy, tol, should_stop)
    first = search.value
    gains = [0.0]
    is_local_optimum = False
    while len(gains) <= max_rounds:
        step = search.improve()
        if step is None:
            is_local_optimum = search.tried_all
            break
        gains.append(search.value - first)
        if progress is not None:
            progress(len(gains) - 1, gains[-1])
    refined = search.policy
    return Refinement(
        policy=refined,
        n=n,
        method="exact",
        value_before=first,
        value_after=search.value,
        half_width=search.half_width,
        gain=search.value - first,
        rounds=len(gains) - 1,
        n_changed=int((refined.global_action != policy.global_action).sum()),
        is_local_optimum=is_local_optimum,
        gains=np.array(gains),
        wall_time_s=time.perf_counter() - began,
        versions=library_versions(),
    )


class _Search:
    """The policy so far, its exact value, and the changes that may raise it."""

    def __init__(self, chain: LumpedChain, policy: SubsamplePolicy, tol: float, should_stop: Callable[[], bool] | None):
        self._chain, self._tol, self._should_stop = chain, tol, should_stop
        self._start = initial_measure(chain.game, chain.n)
        self._space = make_sample_space(policy.k_global, chain.game.n_sl)
        self.policy, self.tried_all = policy, False
        self._v, self.half_width = certified_value(chain, tol)
        self.value = float((self._start * self._v).sum())

    def improve(self) -> int | None:
        """Raise the value by a change at as many observations as possible; their number, or None if none does."""
        worth = observation_worth(self._chain, self._v, self._start, self._space)
        current = self.policy.global_action
        best = worth.argmax(axis=2).astype(np.int32)
        gain = worth.max(axis=2) - np.take_along_axis(worth, current[:, :, None].astype(np.int64), axis=2)[:, :, 0]
        # Gains within rounding are none, and would be tried for ever.
        order = np.argsort(-gain, axis=None, kind="stable")
        order = order[gain.ravel()[order] > 1e-13 * max(1.0, float(np.abs(self._v).max()))]
        trials, size = 0, order.size
        while size >= 1:
            if self._try(best, order[:size], gain):
                return size
            trials += 1
            size //= 2
        # The best single change failed: the others, one by one.
        for place in range(1, min(order.size, MAX_TRIALS)):
            if self._try(best, order[place : place + 1], gain):
                return 1
        self.tried_all = order.size <= MAX_TRIALS
        return None

    def _try(self, best: np.ndarray, places: np.ndarray, gain: np.ndarray) -> bool:
        if self._should_stop is not None and self._should_stop():
            raise Interrupted("stopped while refining; nothing written")
        action = self.policy.global_action.copy()
        action.ravel()[places] = best.ravel()[places]
        policy = dataclasses.replace(self.policy, global_action=action)
        chain = self._chain.with_global_action(policy)
        # What the gain would be if the occupancy stayed as it is: a first look need not be more precise than that asks for.
        expected = float(gain.ravel()[places].sum()) / (1.0 - chain.game.gamma)
        tol, value = max(self._tol, 1e-2 * expected), self._v
        while True:
            value, half_width = certified_value(chain, tol, start=value)
            initial = float((self._start * value).sum())
            if initial + half_width <= self.value - self.half_width:
                return False
            if initial - half_width > self.value + self.half_width and tol <= self._tol:
                break
            if tol <= self._tol:
                return False
            tol = max(self._tol, 1e-3 * tol)
        self._chain, self._v, self.value, self.half_width = chain, value, initial, half_width
        self.policy = policy
        return True


def observation_worth(chain: LumpedChain, value: np.ndarray, start: np.ndarray, space) -> np.ndarray:
    """Σ_N d(s_g, N) HG(c; N, k) (Q^π(s_g, N, a_g) − V^π(s_g, N)), float64[n_sg, |Λ(k, n_sl)|, n_ag].

    Parameters
    ----------
    chain : LumpedChain
    value : float64[n_sg, n_N]     V^π
    start : float64[n_sg, n_N]     law of the start
    space : SampleSpace            of Λ(k, n_sl)
    """
    occupancy, _ = discounted_occupancy(chain, start)
    advantage = chain.q(value) - value[:, None, :]
    game, n_c = chain.game, space.entries.shape[1]
    # Parts of a fixed number, summed in order: the same bits on any number of threads.
    edges = np.linspace(0, chain.n_c, min(N_PARTS, chain.n_c) + 1).astype(np.int64)
    worth = np.zeros((game.n_sg, n_c, game.n_ag))
    for s_g in range(game.n_sg):

        def total(part: int, s_g: int = s_g) -> np.ndarray:
            rows = slice(edges[part], edges[part + 1])
            sums = np.zeros((n_c, game.n_ag))
            table = np.ascontiguousarray(advantage[s_g][:, rows])
            sum_over_populations(occupancy[s_g, rows], table, chain.populations[rows], space, sums)
            return sums

        for sums in in_threads(total, len(edges) - 1):
            worth[s_g] += sums
    return worth
