"""Whether a best response gains among n agents: one agent plays it, the others play on, in two arms with common random numbers.

Any response's gain among n agents is a lower bound of the most that an agent can gain there, so this checks a computed gain from
below, without the assumptions of the flow. Agent 0 keeps to the law in one arm and follows the response in the other; every draw of
every agent is the same in both arms as long as their situations are. The gain is paired over runs, and freed of the noise of the
agent's own draws, as far as the values of the decision problem tell what they were worth; that changes no mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np

from ...kernels.equilibrium.deviation import Arms, play_two_arms
from ...kernels.equilibrium.tagged import KEEPS_LAW
from ...kernels.streams import checked_seed
from ..game import positive_integer
from ..learning.result import half_width
from ..learning.views import scene_of
from ..solve import Interrupted
from ..threads import in_threads
from .flow_law import PlayedLaw

DEFAULT_RUNS = 400
LEVEL, POWER = 0.95, 0.8
# Rewards after the horizon weigh no more than this share of all.
TRUNCATED_SHARE = 1e-4
MOST_STEPS = 100_000
PARTS_PER_THREAD = 4
# Single moves of agents in one part, at most, unless a run has more: about a second.
PART_MOVES = 20_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class FiniteCheck:
    """Discounted returns of one agent among n, with and without its response.

    Parameters
    ----------
    n, steps, burn_in, seed : int
    returns : float64[runs, 2]    of the law, of the response; r_g + the agent's own r_l
    noise : float64[runs, 2]      in the returns, of mean 0; see `kernels.equilibrium.deviation.play_two_arms`
    start : int64[runs]           observation of the agent at the first step that counts
    predicted : float64[runs]     what the decision problem has for its gain from there
    truncation : float            what later steps could add to a gain, at most
    """

    n: int
    steps: int
    burn_in: int
    seed: int
    returns: np.ndarray
    noise: np.ndarray
    start: np.ndarray
    predicted: np.ndarray
    truncation: float

    @property
    def runs(self) -> int:
        return len(self.returns)

    @property
    def quiet_returns(self) -> np.ndarray:
        """Returns less their known noise, float64[runs, 2]."""
        return self.returns - self.noise

    @property
    def value(self) -> float:
        """Mean return of the law."""
        return float(self.quiet_returns[:, 0].mean())

    @property
    def differences(self) -> np.ndarray:
        """Response minus law, float64[runs]."""
        return self.quiet_returns[:, 1] - self.quiet_returns[:, 0]

    @property
    def gain(self) -> float:
        """Mean paired difference."""
        return float(self.differences.mean())

    @property
    def gain_half_width(self) -> float:
        """Half width of its 95 % interval (Student's t); NaN for one run."""
        return half_width(self.differences, LEVEL)

    @property
    def noise_floor(self) -> float:
        """Half width that two arms of the law alone would have with independent random numbers."""
        return math.sqrt(2.0) * half_width(self.quiet_returns[:, 0], LEVEL)

    @property
    def detectable(self) -> float:
        """Smallest gain that so many paired runs would tell from 0 with a probability of 80 %, at a level of 5 %, two-sided."""
        from scipy.special import ndtri

        if self.runs < 2:
            return math.nan
        error = self.differences.std(ddof=1) / math.sqrt(self.runs)
        return float((ndtri(0.5 + LEVEL / 2) + ndtri(POWER)) * error)


def check_response(
    played: PlayedLaw,
    response: np.ndarray,
    n: int | None = None,
    *,
    values: np.ndarray | None = None,
    q: np.ndarray | None = None,
    runs: int = DEFAULT_RUNS,
    steps: int | None = None,
    burn_in: int = 200,
    seed: int = 0,
    should_stop: Callable[[], bool] | None = None,
) -> FiniteCheck:
    """Let one of n agents follow a response, and keep to the law, with the same random numbers.

    Parameters
    ----------
    played : PlayedLaw
    response : int32[n_o]      actions by observation, or KEEPS_LAW
    n : int, optional          agents; by default as many as learned
    values : float64[2, n_o], optional       of the law and of the response, such as those of `flow_gap`: what own moves are worth
    q : float64[2, n_o, n_al], optional      and own actions. Without them no noise is taken out
    runs : int
    steps : int, optional      that count; by default until later rewards weigh 1e-4 of all
    burn_in : int              steps of the law before, from the game's initial laws
    seed : int
    should_stop : function without arguments, asked before each part of the runs

    Returns
    -------
    FiniteCheck

    Raises
    ------
    ValueError, Interrupted
    """
    game = played.game
    n = positive_integer("n", played.n if n is None else n)
    runs = positive_integer("runs", runs)
    table = np.array(response, dtype=np.int32)
    if table.shape != (len(played.table),) or table.min() < -1 or table.max() >= game.n_al:
        raise ValueError(
            f"response: found shape {table.shape}, expected ({len(played.table)},) of actions 0 to {game.n_al - 1}, or -1"
        )
    if steps is None:
        steps = 1 if game.gamma == 0.0 else min(MOST_STEPS, math.ceil(math.log(TRUNCATED_SHARE) / math.log(game.gamma)))
    steps = positive_integer("steps", steps)
    scene = scene_of(game)
    scene = scene._replace(rho_l=scene.rho_l / scene.rho_l.sum())
    sight, law, key = played.sight(), played.played(), checked_seed(seed)
    numbers = np.arange(runs, dtype=np.int64)
    arms = _arms(played, table, values, q)
    start, returns = np.zeros(runs, dtype=np.int64), np.zeros((runs, 2, 2))
    # Whether to stop is asked between parts.
    n_parts = min(runs, max(PARTS_PER_THREAD * numba.get_num_threads(), 2 * runs * n * (burn_in + steps) // PART_MOVES))
    ends = np.linspace(0, runs, n_parts + 1).astype(np.int64)

    def play(part: int) -> None:
        if should_stop is not None and should_stop():
            raise Interrupted(f"stopped in the check among {n} agents")
        rows = slice(ends[part], ends[part + 1])
        play_two_arms(
            scene, sight, law, arms, key, numbers[rows], burn_in, steps, game.gamma, n, start[rows], returns[rows]
        )

    in_threads(play, n_parts)
    span = np.ptp(game.r_l) + np.ptp(game.r_g)
    truncation = float(span) * game.gamma**steps / (1.0 - game.gamma)
    return FiniteCheck(
        n=n,
        steps=steps,
        burn_in=burn_in,
        seed=int(key),
        returns=returns[..., 0],
        noise=returns[..., 1],
        start=start,
        predicted=np.zeros(runs) if values is None else np.diff(np.asarray(values), axis=0)[0, start],
        truncation=truncation,
    )


def _arms(played: PlayedLaw, response: np.ndarray, values: np.ndarray | None, q: np.ndarray | None) -> Arms:
    n_o, n_al = played.table.shape
    found = np.zeros((2, n_o)) if values is None else np.array(values, dtype=np.float64)
    by_action = np.zeros((2, n_o, n_al)) if q is None else np.array(q, dtype=np.float64)
    for name, array, shape in (("values", found, (2, n_o)), ("q", by_action, (2, n_o, n_al))):
        if array.shape != shape or not np.isfinite(array).all():
            raise ValueError(f"{name}: found shape {array.shape}, expected {shape} of finite numbers")
    if played.seen.of == "states":
        # b depends on the own next state then: a value may look at it no more than at its mean.
        by_b = found.reshape(2, -1, played.seen.n_values)
        found = np.repeat(by_b.mean(axis=2), played.seen.n_values, axis=1)
    keeps = np.full(n_o, KEEPS_LAW, dtype=np.int32)
    return Arms(response=np.stack([keeps, response]), value=found, q=by_action)
