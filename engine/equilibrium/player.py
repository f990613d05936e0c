"""What a player can earn while all others keep to a policy: its own value under the policy, and its best response's.

Both solve a Bellman equation on the states of one player. A Krylov method finds the value of a response, a greedy step betters the
response, and one more step certifies the value whatever was done before (MacQueen 1966, as in `evaluation.evaluate`): with
δ = TV − V, the value lies in [TV + γ/(1-γ) min δ, TV + γ/(1-γ) max δ], for the T of the policy and for that of the best response.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...kernels.bellman.certificate import certified_offsets, change_range
from ...kernels.equilibrium.tagged import KEEPS_LAW, best_actions, follow_response
from ..evaluation.linear_systems import solve_linear
from ..solve import ConvergenceError, Interrupted

ROUNDS = 100
# Rounding of the rewards, and of the sums over them.
SUMS = 64.0 * np.finfo(float).eps


@dataclass(frozen=True, kw_only=True, eq=False)
class Player:
    """One player's decision problem. States have two axes, of which the law of a step may treat the second as a whole.

    Parameters
    ----------
    name : str                                          for progress
    gamma : float
    own_law : float64[n_rows, n_actions, n_columns]     what the policy has the player do
    shared_reward : float64[n_rows, n_columns]          whatever it does
    own_reward : float64[n_rows, n_actions], or float64[n_rows, n_actions, n_columns] where it depends on the column
    expect : function of a value float64[n_rows, n_columns], giving float64[n_rows, n_actions, n_columns]: E[V(next state)]
    relative_error : function without arguments         rounding and truncation of `expect`, relative to the largest |V|
    """

    name: str
    gamma: float
    own_law: np.ndarray
    shared_reward: np.ndarray
    own_reward: np.ndarray
    expect: Callable[[np.ndarray], np.ndarray]
    relative_error: Callable[[], float]

    def largest_reward(self) -> float:
        """Largest absolute reward of a step."""
        return float(np.abs(self.shared_reward).max() + np.abs(self.own_reward).max())

    def step_error(self, spread: float) -> float:
        """How far a computed r + γ P V may be off, if V spreads over so much and its middle is carried apart."""
        largest = self.largest_reward()
        return self.relative_error() * spread + SUMS * (largest + largest / (1.0 - self.gamma))

    def width_allowed(self, spread: float | None = None) -> float:
        """Certified width that rounding allows, at worst or where the values spread over so much."""
        spread = 2.0 * self.largest_reward() / (1.0 - self.gamma) if spread is None else spread
        return 2.0 * self.step_error(spread) / (1.0 - self.gamma)


@dataclass(frozen=True, kw_only=True, eq=False)
class CertifiedValue:
    """A value within `half_width`, and the lowest action that is best as far as that can be told."""

    value: np.ndarray  # float64[n_rows, n_columns]
    half_width: float
    best: np.ndarray  # int32[n_rows, n_columns]


class Steps:
    """Counts the steps of chains, reports them, and stops when asked."""

    def __init__(self, progress: Callable[[str, int], None] | None, should_stop: Callable[[], bool] | None):
        self._progress, self._should_stop = progress, should_stop
        self.what, self.n_steps = "", 0

    def count(self) -> None:
        """Count a step that is about to be taken."""
        if self._should_stop is not None and self._should_stop():
            raise Interrupted(f"stopped after {self.n_steps} steps of the chain; nothing written")
        self.n_steps += 1
        if self._progress is not None:
            self._progress(self.what, self.n_steps)


def own_value(player: Player, tol: float, steps: Steps) -> CertifiedValue:
    """The value of the policy to a player who keeps to it, certified within `tol` / 2."""
    steps.what = f"value of {player.name}"
    reward = _follow(player, _no_response(player), _rewards(player))
    return _solve(player, reward / (1.0 - player.gamma), tol, steps, may_deviate=False)


def best_response(player: Player, own: CertifiedValue, tol: float, steps: Steps) -> CertifiedValue:
    """The most that a player can earn, certified within `tol` / 2.

    Parameters
    ----------
    own : CertifiedValue    from `own_value`; where nothing is better the player keeps to the policy
    """
    steps.what = f"best response of {player.name}"
    return _solve(player, own.value, tol, steps, may_deviate=True)


def _solve(player: Player, value: np.ndarray, tol: float, steps: Steps, *, may_deviate: bool) -> CertifiedValue:
    """Policy iteration from a value, or with no deviation the evaluation of the policy."""
    gamma, stalls, width = player.gamma, 0, math.inf
    # What is not bettered by more than this stays as it is, so that ties within rounding do not come round and round; they make
    # the certified interval wider by an eighth of `tol` at most.
    tie = 0.125 * tol * (1.0 - gamma)
    rewards = _rewards(player)
    response = _no_response(player)
    for _ in range(ROUNDS):
        steps.count()
        # The middle is carried apart, exactly: rounding then grows with the spread of the values, not with their size.
        middle = 0.5 * (value.max() + value.min())
        q = rewards + gamma * player.expect(value - middle)
        best, action = np.empty_like(value), np.empty(value.shape, np.int32)
        best_actions(q, 0.0, best, action)
        current = _follow(player, response, q)
        backed_up = (best if may_deviate else current) + gamma * middle
        spread = float(value.max() - value.min())
        if player.width_allowed(spread) >= tol:
            raise ValueError(
                f"tol: found {tol:.3g}, expected more than {player.width_allowed(spread):.1g}, what rounding and "
                f"truncation allow"
            )
        below, above = certified_offsets(*change_range(value, backed_up), gamma, player.step_error(spread))
        width, centre = above - below, backed_up + (below + above) / 2.0
        if width <= tol:
            best_actions(q, tie + width, best, action)
            return CertifiedValue(value=centre, half_width=width / 2.0, best=action)
        gain = best - current
        better = gain > tie if may_deviate else np.zeros(gain.shape, bool)
        response[better] = action[better]
        stalls += not better.any()
        # Far from the best response a value need not be precise. The Euclidean norm bounds the largest entry; room is left for
        # the rounding error.
        wanted = 0.25 * 0.5**stalls * tol * (1.0 - gamma)
        atol = max(wanted, 1e-2 * float(gain[better].max()) * (1.0 - gamma)) if better.any() else wanted
        value = _response_value(player, response, rewards, centre, atol, steps)
    raise ConvergenceError(f"tol: reached a certified width of {width:.3g}, expected at most {tol:.3g}")


def _response_value(
    player: Player, response: np.ndarray, rewards: np.ndarray, start: np.ndarray, atol: float, steps: Steps
) -> np.ndarray:
    def apply(value: np.ndarray) -> np.ndarray:
        steps.count()
        return value - player.gamma * _follow(player, response, player.expect(value))

    return solve_linear(apply, _follow(player, response, rewards), start, atol=atol)


def _rewards(player: Player) -> np.ndarray:
    """float64[n_rows, n_actions, n_columns]."""
    own = player.own_reward
    return np.ascontiguousarray(player.shared_reward[:, None, :] + (own if own.ndim == 3 else own[:, :, None]))


def _no_response(player: Player) -> np.ndarray:
    return np.full(player.shared_reward.shape, KEEPS_LAW, dtype=np.int32)


def _follow(player: Player, response: np.ndarray, table: np.ndarray) -> np.ndarray:
    out = np.empty(response.shape)
    follow_response(player.own_law, response, table, out)
    return out
