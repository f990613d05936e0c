"""L-LEARN: the best policy of a local agent that sees (s_g, s_l), the global policy given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...kernels.bellman.certificate import certified_offsets, change_range
from ...kernels.bellman.local_agent import follow_local_agent, soften, sweep_local_agent
from ..game import Game
from ..lifting import LONE_AGENT, refuse_field
from ..solve import ConvergenceError
from ..tabulation import ROW_SUM_ATOL, shown

# Sweeps that follow the greedy policy between two that are certified.
FOLLOWED = 20
MAX_SWEEPS = 1_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalSolution:
    """A local agent's answer to a global policy.

    Parameters
    ----------
    q : float64[n_sg, n_sl, n_al]          one backup of `value`
    value : float64[n_sg, n_sl]            midpoint of the certified interval
    half_width : float                     |V* − value| is at most this
    policy : float64[n_sg, n_sl, n_al]     Boltzmann or greedy
    temperature : float64[n_sg, n_sl]      of the Boltzmann law; 0 where greedy
    n_sweeps : int                         certified sweeps
    """

    q: np.ndarray
    value: np.ndarray
    half_width: float
    policy: np.ndarray
    temperature: np.ndarray
    n_sweeps: int


def learn_local(
    game: Game,
    transition: np.ndarray,
    *,
    tau_min: float = 0.3,
    tau_scale: float = 3.0,
    greedy: bool = False,
    tol: float = 1e-8,
    max_sweeps: int = MAX_SWEEPS,
) -> LocalSolution:
    """Solve the (s_g, s_l) process of a local agent to a certified width (MacQueen 1966), and soften its policy.

    Parameters
    ----------
    game : Game
    transition : float64[n_sg, n_sl, n_sg]    law of s_g' given (s_g, own s_l), as a `Closure` has it
    tau_min, tau_scale : float    τ(s_g, s_l) = max(τ_min, (max_a Q − min_a Q) / τ_scale), in units of reward
    greedy : bool                 play the lowest best action instead
    tol : float                   certified width
    max_sweeps : int

    Returns
    -------
    LocalSolution

    Raises
    ------
    ValueError          one line that names the field; also a `tol` below what rounding allows
    ConvergenceError    `max_sweeps` spent
    """
    refuse_field(game, LONE_AGENT)
    laws = _checked_transition(transition, game)
    for name, number in (("tau_min", tau_min), ("tau_scale", tau_scale), ("tol", tol)):
        if not 0.0 < number < math.inf:
            raise ValueError(f"{name}: found {shown(number)}, expected a finite number above 0")
    tables = (laws, game.P_l, game.r_l, game.gamma, np.empty(game.n_sl))
    q = np.empty(game.r_l.shape)
    value, backed_up = np.zeros((game.n_sg, game.n_sl)), np.empty((game.n_sg, game.n_sl))
    rounding = (2 * game.n_sg + 2 * game.n_sl + 8) * float(np.finfo(float).eps)
    largest = float(np.abs(game.r_l).max())
    width = math.inf
    for n_sweeps in range(1, max_sweeps + 1):
        sweep_local_agent(value, *tables, q, backed_up)
        # The second term is the rounding of r + γ(…) itself.
        error = rounding * (largest + game.gamma * float(np.abs(value).max()))
        below, above = certified_offsets(*change_range(value, backed_up), game.gamma, error)
        width = above - below
        if width <= tol:
            value = backed_up + (below + above) / 2.0
            sweep_local_agent(value, *tables, q, backed_up)
            policy, temperature = _policy_of(q, tau_min, tau_scale, greedy, tie=width + 2.0 * error)
            return LocalSolution(
                q=q, value=value, half_width=width / 2.0, policy=policy, temperature=temperature, n_sweeps=n_sweeps
            )
        if 2.0 * error / (1.0 - game.gamma) >= tol:
            smallest = 2.0 * error / (1.0 - game.gamma)
            raise ValueError(f"tol: found {tol:.3g}, expected more than {smallest:.1g}, what rounding allows")
        choice = q.argmax(axis=2)
        value, backed_up = backed_up, value
        for _ in range(FOLLOWED):
            follow_local_agent(value, choice, *tables, backed_up)
            value, backed_up = backed_up, value
    raise ConvergenceError(f"max_sweeps: {max_sweeps} sweeps of the local agent left a width of {width:.3g}")


def _policy_of(
    q: np.ndarray, tau_min: float, tau_scale: float, greedy: bool, tie: float
) -> tuple[np.ndarray, np.ndarray]:
    policy, temperature = np.zeros(q.shape), np.zeros(q.shape[:2])
    if greedy:
        # Actions that are equally good up to what is certified: the lowest.
        best = (q >= q.max(axis=2, keepdims=True) - tie).argmax(axis=2)
        np.put_along_axis(policy, best[:, :, None], 1.0, axis=2)
    else:
        soften(q, float(tau_min), float(tau_scale), policy, temperature)
    return policy, temperature


def _checked_transition(transition: Any, game: Game) -> np.ndarray:
    laws = np.ascontiguousarray(transition, dtype=np.float64)
    expected = (game.n_sg, game.n_sl, game.n_sg)
    if laws.shape != expected:
        raise ValueError(f"transition: found shape {laws.shape}, expected {expected}")
    # Written so that NaN fails.
    if not (laws.min() >= 0.0 and np.abs(laws.sum(axis=2) - 1.0).max() <= ROW_SUM_ATOL):
        raise ValueError("transition: found a row that is no law, expected probabilities that add up to 1")
    return laws
