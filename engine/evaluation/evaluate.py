"""The exact value of a policy that n agents play: no simulation, no Monte Carlo error.

V^π solves V = r + γ P V on the states (s_g, N) of the lumped chain. A Krylov method finds V; one more step certifies it, whatever
the method did: with δ = (r + γ P V) − V, V^π lies in [TV + γ/(1-γ) min δ, TV + γ/(1-γ) max δ]. Rounding, and the mass that was
cut off the laws of the next population, are parts of the bound.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from ...kernels.bellman.certificate import certified_offsets, change_range
from ..action_classes import list_counts
from ..backups.selection import default_memory_bytes
from ..game import Game, positive_integer
from ..initial_law import initial_count_law, initial_mean
from ..lifting import field_of_actions
from ..policy import SubsamplePolicy
from ..solve import ConvergenceError, Interrupted
from ..versions import library_versions
from .linear_systems import solve_linear
from .lumped_chain import LumpedChain
from .plan import EvaluationPlan, plan_evaluation

DEFAULT_TOL = 1e-8
MAX_TRUNCATION = 1e-12
MAX_STEP_ERROR = 1e-11
MAX_SHARE = 1e-9
# A chain that mixes more slowly than this many lazy steps tell has no certified average reward.
MAX_LAZY_STEPS = 2000
ROUNDS = 8
# Euclidean norm of what a system for an occupancy may be off by.
OCCUPANCY_ATOL = 1e-13
STATIONARY_RESIDUAL = 1e-10
# Width of the average reward that will do, in largest rewards, where rounding allows no less.
AVERAGE_ERROR = 1e-8


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Evaluation:
    """What a policy is worth to n agents. Arrays are read-only; axis N is Λ(n, n_sl) in rank order.

    Parameters
    ----------
    game : Game
    n, k_global, k_local : int
    route : str                      how the law of the next population was taken
    tol : float                      certified width that was asked for
    value : float64[n_sg, n_N]       V^π(s_g, N), midpoint of the certified interval
    half_width : float               |V^π − value| is at most this, rounding and truncation included
    truncated_mass : float           most that was cut off the law of a next population; part of `half_width`
    average_reward : float           long-run mean reward per step from the initial law
    average_half_width : float       certified; NaN if the long run depends on the start or mixes too slowly to tell
    discounted_occupancy : float64[n_sg, n_N] or None    (1 − γ) Σ_t γ^t Pr[(s_g, N)_t], from the initial law
    stationary_occupancy : float64[n_sg, n_N] or None    long-run share of the steps
    occupancy_error : float          the discounted occupancy is off by at most this in total; NaN without one
    stationary_residual : float      Σ |d P − d| of the stationary occupancy; NaN without one
    n_steps : int                    steps of the chain (or its adjoint) that were computed
    wall_time_s : float
    versions : dict
    """

    game: Game
    n: int
    k_global: int
    k_local: int
    route: str
    tol: float
    value: np.ndarray
    half_width: float
    truncated_mass: float
    average_reward: float
    average_half_width: float
    discounted_occupancy: np.ndarray | None
    stationary_occupancy: np.ndarray | None
    occupancy_error: float
    stationary_residual: float
    n_steps: int
    wall_time_s: float
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for entry in fields(self):
            array = getattr(self, entry.name)
            if isinstance(array, np.ndarray):
                array.setflags(write=False)

    @functools.cached_property
    def populations(self) -> np.ndarray:
        """The populations of the second axis, int64[n_N, n_sl]."""
        return list_counts(self.n, self.game.n_sl)

    @property
    def initial_value(self) -> float:
        """Mean of the value under the game's initial law, within `half_width`."""
        return initial_mean(self.game, self.value, self.n)

    def mean_population(self, occupancy: np.ndarray) -> np.ndarray:
        """Mean share of the agents in each local state under an occupancy, float64[n_sl]."""
        return occupancy.sum(axis=0) @ self.populations / self.n

    def __repr__(self) -> str:
        return (
            f"Evaluation({self.game.name or 'game'}, n={self.n}, k_global={self.k_global}, k_local={self.k_local}, "
            f"{self.route}, initial_value={self.initial_value:.9g} ± {self.half_width:.2g})"
        )


def check_evaluation(
    game: Game, k_global: int, k_local: int, n: int, memory_bytes: int | None = None
) -> EvaluationPlan:
    """Sizes of an exact evaluation before any work; a TooLargeError says what does not fit."""
    limit = default_memory_bytes() if memory_bytes is None else memory_bytes
    return plan_evaluation(game, k_global, k_local, n, limit)


def checked_agents(game: Game, policy: SubsamplePolicy, n: int) -> int:
    """The number of agents; ValueError if they cannot play the policy in the game."""
    policy.check_fits(game)
    n = positive_integer("n", n)
    if policy.k > n:
        raise ValueError(f"n: found {n} agents, expected at least {policy.k}, as many as the policy looks at")
    return n


def evaluate(
    game: Game,
    policy: SubsamplePolicy,
    n: int,
    *,
    tol: float | None = None,
    occupancies: bool = True,
    average: bool = True,
    memory_bytes: int | None = None,
    progress: Callable[[str, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Evaluation:
    """The exact value of a policy played by n agents.

    Parameters
    ----------
    game : Game
    policy : SubsamplePolicy
    n : int                  agents, at least the policy's larger k
    tol : float, optional    certified width, in units of value; by default DEFAULT_TOL, or what rounding allows
    occupancies : bool       also compute how often each state is visited
    average : bool           also compute the long-run average reward
    memory_bytes : int, optional    limit for tables; by default three quarters of the machine's memory
    progress : function of (what is computed, steps of the chain so far)
    should_stop : function without arguments, asked before each step

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError          bad input, one line naming the field; also a `tol` below what rounding allows
    TooLargeError       the chain does not fit; the message gives its sizes
    ConvergenceError    the certified width was not reached
    Interrupted         `should_stop` said so
    """
    began = time.perf_counter()
    n = checked_agents(game, policy, n)
    if tol is not None and not 0.0 < tol < math.inf:
        raise ValueError(f"tol: found {tol}, expected a positive number")
    limit = default_memory_bytes() if memory_bytes is None else memory_bytes
    chain = build_chain(game, policy, n, tol=tol, memory_bytes=limit)
    tol = default_tol(chain) if tol is None else tol
    work = _Work(chain, progress, should_stop)
    value, half_width = certified_value(chain, tol, work)
    start = initial_measure(game, n)
    gain, gain_half_width = math.nan, math.nan
    if average:
        gain, gain_half_width = _average_reward(chain, value, tol, work)
    discounted = stationary = None
    error = residual = math.nan
    if occupancies:
        discounted, error = discounted_occupancy(chain, start, work)
    if occupancies or (average and math.isnan(gain_half_width)):
        stationary, residual = stationary_occupancy(chain, start, work)
        if average and math.isnan(gain_half_width):
            gain = float((stationary * chain.reward).sum())
    return Evaluation(
        game=game,
        n=n,
        k_global=policy.k_global,
        k_local=policy.k_local,
        route=chain.route,
        tol=tol,
        value=value,
        half_width=half_width,
        truncated_mass=chain.truncated_mass,
        average_reward=gain,
        average_half_width=gain_half_width,
        discounted_occupancy=discounted,
        stationary_occupancy=stationary if occupancies else None,
        occupancy_error=error,
        stationary_residual=residual if occupancies else math.nan,
        n_steps=work.n_steps,
        wall_time_s=time.perf_counter() - began,
        versions=library_versions(),
    )


def initial_measure(game: Game, n: int) -> np.ndarray:
    """The law of (s_g, N) at the start, float64[n_sg, n_N]."""
    return np.outer(game.rho_g, initial_count_law(game, n))


def build_chain(game: Game, policy: SubsamplePolicy, n: int, *, tol: float | None, memory_bytes: int) -> LumpedChain:
    """The lumped chain, with so little cut off its laws that it takes at most an eighth of `tol`.

    Without a `tol` the symmetric power serves as long as its rounding is below MAX_STEP_ERROR.
    """
    if field_of_actions(game) is not None:
        from .action_chain import ActionFieldChain

        return ActionFieldChain(game, policy, n, memory_bytes=memory_bytes)
    largest = largest_value(game)
    wanted = (DEFAULT_TOL if tol is None else tol) * (1.0 - game.gamma) / 8.0
    # Occupancies have no units: however large `tol` is, they want a step that is nearly exact.
    share = min(wanted / largest, MAX_SHARE) if wanted < largest else MAX_SHARE
    error = max(share, MAX_STEP_ERROR) if tol is None else share
    truncation = min(MAX_TRUNCATION, 0.5 * share)
    return LumpedChain(game, policy, n, truncation=truncation, memory_bytes=memory_bytes, error=error)


def largest_value(game: Game) -> float:
    """Largest absolute value that a policy can have."""
    return float((np.abs(game.r_g).max() + np.abs(game.r_l).max()) / (1.0 - game.gamma))


class _Work:
    """Counts the steps of a chain, reports them, and stops when asked."""

    def __init__(
        self,
        chain: LumpedChain,
        progress: Callable[[str, int], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ):
        self._chain, self._progress, self._should_stop = chain, progress, should_stop
        self.what, self.n_steps = "", 0

    def step_value(self, value: np.ndarray) -> np.ndarray:
        self._count()
        return self._chain.step_value(value)

    def step_measure(self, measure: np.ndarray) -> np.ndarray:
        self._count()
        return self._chain.step_measure(measure)

    def _count(self) -> None:
        if self._should_stop is not None and self._should_stop():
            raise Interrupted(f"stopped after {self.n_steps} steps of the chain; nothing written")
        self.n_steps += 1
        if self._progress is not None:
            self._progress(self.what, self.n_steps)


def certified_value(
    chain: LumpedChain, tol: float, work: _Work | None = None, start: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """V^π as the midpoint of a certified interval, float64[n_sg, n_N], and half of its width, at most `tol` / 2.

    Raises
    ------
    ValueError          `tol` is below the rounding error
    ConvergenceError
    """
    work = _Work(chain) if work is None else work
    work.what = "value"
    gamma, reward = chain.game.gamma, chain.reward
    value = reward / (1.0 - gamma) if start is None else start
    width = math.inf
    for attempt in range(ROUNDS):
        # The middle is carried apart, exactly: rounding then grows with the spread of the values, not with their size.
        middle = 0.5 * (value.max() + value.min())
        backed_up = reward + gamma * work.step_value(value - middle) + gamma * middle
        error = _step_error(chain, float(value.max() - value.min()))
        if 2.0 * error / (1.0 - gamma) >= tol:
            raise ValueError(
                f"tol: found {tol:.3g}, expected more than {2 * error / (1 - gamma):.1g}, what rounding and "
                f"truncation allow"
            )
        below, above = certified_offsets(*change_range(value, backed_up), gamma, error)
        width = above - below
        if width <= tol:
            return backed_up + (below + above) / 2.0, width / 2.0
        # The Euclidean norm bounds the largest entry; room is left for the rounding error.
        atol = 0.25 * 0.5**attempt * tol * (1.0 - gamma)
        centre = backed_up + (below + above) / 2.0
        value = solve_linear(lambda v: v - gamma * work.step_value(v), reward, centre, atol=atol)
    raise ConvergenceError(f"tol: reached a certified width of {width:.3g}, expected at most {tol:.3g}")


def _step_error(chain: LumpedChain, spread: float) -> float:
    """How far a computed r + γ P V may be off, if V spreads over so much and its middle is carried apart."""
    largest_reward = largest_value(chain.game) * (1.0 - chain.game.gamma)
    sums = 64.0 * np.finfo(float).eps
    return (chain.relative_error() + chain.truncated_mass) * spread + sums * (
        largest_reward + largest_value(chain.game)
    )


def default_tol(chain: LumpedChain) -> float:
    """DEFAULT_TOL, or twice what rounding allows at worst."""
    worst = 2.0 * _step_error(chain, largest_value(chain.game)) / (1.0 - chain.game.gamma)
    return max(DEFAULT_TOL, 2.0 * worst)


def discounted_occupancy(chain: LumpedChain, start: np.ndarray, work: _Work | None = None) -> tuple[np.ndarray, float]:
    """(1 − γ) Σ_t γ^t d_t from a start, float64[n_sg, n_N], and a bound on the sum of its absolute errors."""
    work = _Work(chain) if work is None else work
    work.what = "discounted occupancy"
    gamma = chain.game.gamma
    right = (1.0 - gamma) * start
    found = solve_linear(lambda d: d - gamma * work.step_measure(d), right, start, atol=OCCUPANCY_ATOL)
    # One more step is closer, and smooths rounding away.
    occupancy = np.maximum(right + gamma * work.step_measure(found), 0.0)
    occupancy /= occupancy.sum()
    residual = float(np.abs(right + gamma * work.step_measure(occupancy) - occupancy).sum())
    return occupancy, (residual + gamma * 2.0 * chain.truncated_mass + chain.relative_error()) / (1.0 - gamma)


def _average_reward(chain: LumpedChain, value: np.ndarray, tol: float, work: _Work) -> tuple[float, float]:
    """Long-run average reward and its certified half width; NaN where no interval narrower than `tol` is found.

    For any h the averages from all starts lie between min and max of r + P h − h (Odoni 1969). If one recurrent class is
    reached from everywhere, I − P + 1 u^T is regular for any law u, and gives an h that makes the interval a point.
    """
    work.what = "average reward"
    reward = chain.reward
    largest = float(np.abs(reward).max())
    relative = value - value.mean()
    interval = (-math.inf, math.inf)
    for attempt in range(3):
        change = reward + work.step_value(relative) - relative
        error = _step_error(chain, float(relative.max() - relative.min()))
        interval = max(interval[0], change.min() - error), min(interval[1], change.max() + error)
        # A bias that blows up has errors as large: it certifies nothing.
        if interval[1] - interval[0] <= max(tol, min(4.0 * error, AVERAGE_ERROR * largest)):
            return (interval[0] + interval[1]) / 2.0, max(0.0, interval[1] - interval[0]) / 2.0
        if attempt == 2:
            break
        relative = solve_linear(
            lambda h: h - work.step_value(h) + h.mean(),
            reward,
            relative + change.mean(),
            atol=0.1 * tol,
            max_restarts=5,
        )
        relative = relative - relative.mean()
        if not np.isfinite(relative).all():
            break
    return (interval[0] + interval[1]) / 2.0, math.nan


def stationary_occupancy(chain: LumpedChain, start: np.ndarray, work: _Work | None = None) -> tuple[np.ndarray, float]:
    """Long-run share of the steps from a start, and Σ |d P − d|.

    What a Krylov method started there adds to the start is a polynomial of P in P start − start, so that also with several
    recurrent classes, and for periodic chains, it ends where the long-run mean does.
    """
    work = _Work(chain) if work is None else work
    work.what = "stationary occupancy"
    uniform = np.full_like(start, 1.0 / start.size)
    found = solve_linear(
        lambda d: d - work.step_measure(d) + d.sum() * uniform, uniform, start, atol=OCCUPANCY_ATOL, max_restarts=5
    )
    found = np.maximum(found, 0.0)
    if np.isfinite(found).all() and found.sum() > 0.5:
        occupancy = found / found.sum()
        residual = float(np.abs(work.step_measure(occupancy) - occupancy).sum())
        if residual <= STATIONARY_RESIDUAL:
            return occupancy, residual
    # Lazy steps converge from any start, slowly.
    occupancy = start
    for _ in range(MAX_LAZY_STEPS):
        moved = work.step_measure(occupancy)
        residual = float(np.abs(moved - occupancy).sum())
        if residual <= STATIONARY_RESIDUAL:
            break
        occupancy = 0.5 * (occupancy + moved)
        occupancy = occupancy / occupancy.sum()
    return occupancy, residual


def evaluation_config(evaluation: Evaluation) -> dict[str, Any]:
    """What was asked for, as JSON-ready values."""
    keys = ("n", "k_global", "k_local", "tol")
    return {key: getattr(evaluation, key) for key in keys} | {
        "game": evaluation.game.name,
        "game_digest": evaluation.game.digest(),
    }
