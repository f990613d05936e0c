"""The result of an alternation: the pair that was kept, and what every round came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..game import Game
from ..policy import SubsamplePolicy
from ..solution import Solution
from .closures import pair_policy
from .local_learner import LocalSolution
from .settings import AlternationSettings
from .tagged_chain import REWARDS, SELFISH, TEAM

PLAYERS = ("global", "local")
BOUNDS = ("low", "high")
# What G-LEARN and L-LEARN maximise, by player.
LEARNED = (TEAM, SELFISH)

CONVERGED = "converged"
FIXED_POINT = "fixed point"
REVERTED = "reverted"
SPENT = "rounds spent"


@dataclass(frozen=True, kw_only=True)
class Round:
    """One G-LEARN and the L-LEARN after it.

    Parameters
    ----------
    value : float            of the pair for n agents from the initial law, team reward
    half_width : float       certified, or of the 95 % interval of a simulation
    global_value : float     the same after G-LEARN, before L-LEARN
    surrogate_value : float  certified value of G-LEARN's own game of k agents
    change : float           value minus that of the best round before, on common random numbers; NaN in the first
    change_half_width : float
    kept : bool              whether the pair became the best
    gains : float64[2, 2, 2]    what a best response gains, axes (reward, player, bound); NaN where not computed
    exploitability : str     "exact", "mean-field" or "none"
    n_sweeps : int           of G-LEARN
    solve_time_s, wall_time_s : float    of G-LEARN, and of the whole round
    """

    value: float
    half_width: float
    global_value: float
    surrogate_value: float
    change: float
    change_half_width: float
    kept: bool
    gains: np.ndarray
    exploitability: str
    n_sweeps: int
    solve_time_s: float
    wall_time_s: float

    @property
    def learned_gains(self) -> np.ndarray:
        """Gains in the reward that each player learns with, float64[2, 2] (player, bound): the team's, and a local agent's own."""
        return np.stack([self.gains[REWARDS.index(reward), p] for p, reward in enumerate(LEARNED)])

    def nash_conv(self, reward: str = "learned") -> tuple[float, float]:
        """Sum of the positive parts of the gains of the two kinds of player: lower and upper bound.

        Parameters
        ----------
        reward : "learned", "selfish" or "team"
        """
        gains = self.learned_gains if reward == "learned" else self.gains[REWARDS.index(reward)]
        low, high = np.maximum(gains, 0.0).sum(axis=0)
        return float(low), float(high)


@dataclass(frozen=True, kw_only=True, eq=False)
class Equilibrium:
    """An approximate Nash equilibrium found by alternating best response.

    Parameters
    ----------
    game : Game
    settings : AlternationSettings
    solution : Solution          G-LEARN of the kept pair; its local policy is the one it answered
    local : LocalSolution        L-LEARN of the kept pair
    next_local_policy : float64[n_sg, n_sl, n_al]    what the next round would answer
    rounds : of Round
    best_round : int             the round whose pair was kept
    is_exact : bool              whether values are exact, or simulated
    stop : str                   "converged", "fixed point", "reverted", "rounds spent"; empty while under way
    wall_time_s : float
    versions : dict
    """

    game: Game
    settings: AlternationSettings
    solution: Solution
    local: LocalSolution
    next_local_policy: np.ndarray
    rounds: tuple[Round, ...]
    best_round: int
    is_exact: bool
    stop: str
    wall_time_s: float
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def policy(self) -> SubsamplePolicy:
        """The kept pair: the global agent sees k agents, local agents none but themselves."""
        return pair_policy(self.game, self.solution.k, self.solution.global_action, self.local.policy)

    @property
    def local_policy(self) -> np.ndarray:
        """π_l(a | s_g, s_l) of the kept pair, float64[n_sg, n_sl, n_al]."""
        return self.local.policy

    @property
    def value(self) -> float:
        """Value of the kept pair for n agents from the initial law, team reward."""
        return self.rounds[self.best_round].value

    @property
    def half_width(self) -> float:
        """Of `value`: certified, or of the 95 % interval of a simulation."""
        return self.rounds[self.best_round].half_width

    def column(self, name: str) -> np.ndarray:
        """A number of every round, in order."""
        return np.array([getattr(entry, name) for entry in self.rounds])

    def summary(self) -> dict[str, Any]:
        """What a reader asks first, JSON-ready."""
        best = self.rounds[self.best_round]
        gains = {
            reward: {
                player: dict(zip(BOUNDS, map(float, best.gains[r, p]), strict=True)) for p, player in enumerate(PLAYERS)
            }
            for r, reward in enumerate(REWARDS)
        }
        return {
            "game": self.game.name,
            "k": self.settings.k,
            "n": self.settings.n,
            "value": best.value,
            "half_width": best.half_width,
            "is_exact": self.is_exact,
            "rounds": len(self.rounds),
            "best_round": self.best_round + 1,
            "stop": self.stop,
            "exploitability": best.exploitability,
            "gains": gains,
            "nash_conv": {reward: list(best.nash_conv(reward)) for reward in ("learned", *REWARDS)},
            "wall_time_s": self.wall_time_s,
        }

    def __repr__(self) -> str:
        return (
            f"Equilibrium({self.game.name or 'game'}, k={self.settings.k}, n={self.settings.n}, {len(self.rounds)} rounds, "
            f"{self.stop or 'under way'}, value={self.value:.6g} ± {self.half_width:.2g})"
        )
