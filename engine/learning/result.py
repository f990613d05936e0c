"""What was learned, and how it went."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..coupling import Field
from ..game import Game
from .settings import LearningSettings
from .views import seen_field

CURVES = ("reward", "weight", "abs_weight")

RATIO_NAMES = (
    "steps", "weight", "squared weight", "share clipped", "excess over the clip", "weighted reward", "squared weighted reward",
    "steps not weighed",
)  # fmt: skip
"""Sums over the replayed steps of a point of the curves, each step with its mean over the agents."""

POLICY_TABLES = ("q", "theta", "q_global")
"""The tables that a policy follows from."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """Exact worth of the policies that were learned on the way, for the n agents that learned.

    Parameters
    ----------
    step : int64[n_snapshots]
    value : float64[runs, n_snapshots]           from the initial law
    half_width : float64[runs, n_snapshots]      of its certified interval
    optimum, optimum_half_width : float          of the game of n agents who act as one
    global_gain, local_gain : float64[runs, n_snapshots]    what a best response gains over it, of the global agent and of one local
        agent, each for its own rewards; NaN where they were not asked for
    """

    step: np.ndarray
    value: np.ndarray
    half_width: np.ndarray
    optimum: float
    optimum_half_width: float
    global_gain: np.ndarray
    local_gain: np.ndarray

    @property
    def gap(self) -> np.ndarray:
        """Optimum minus value, float64[runs, n_snapshots]."""
        return self.optimum - self.value


@dataclass(frozen=True, kw_only=True, eq=False)
class Learned:
    """Learners after some steps.

    Parameters
    ----------
    game : Game
    settings : LearningSettings
    step : int                        steps made
    arrays : dict                     all that the next step needs: q float64[runs, n_tables, n_o, n_al], actions int32[runs, n], …
    curves : dict                     "reward", "weight", "abs_weight", float64[runs, n_points]: system reward, mean weight of
        what agents see (mean action, magnetisation), and its absolute value; with a correction "ratios", float64[runs, n_points,
        8], the sums that `RATIO_NAMES` lists
    wall_time_s : float
    versions : dict
    snapshots : dict                  "q", "theta", "q_global" after each of `settings.snapshot_steps`, with that axis first;
        filled as far as `step`
    measured : Measured, optional     what the policies of the snapshots are worth
    """

    game: Game
    settings: LearningSettings
    step: int
    arrays: dict[str, np.ndarray]
    curves: dict[str, np.ndarray]
    wall_time_s: float
    versions: dict[str, str]
    snapshots: dict[str, np.ndarray] = field(default_factory=dict)
    measured: Measured | None = None

    @property
    def q(self) -> np.ndarray:
        """float64[runs, n_tables, n_o, n_al]; an observation is (s_g · n_sl + s_l) · n_seen + value seen.

        ValueError if the tables were not kept.
        """
        if "q" not in self.arrays:
            raise ValueError("tables: found learned curves without their tables, expected them kept")
        return self.arrays["q"]

    @property
    def seen(self) -> Field:
        """The field that agents condition on; of one value for independent learners."""
        return seen_field(self.game, self.settings)

    @property
    def preferences(self) -> np.ndarray:
        """The table whose Boltzmann law agents play: the actor's, or Q; float64[runs, n_tables, n_o, n_al]."""
        return self.arrays.get("theta", self.q)

    @property
    def n_points(self) -> int:
        """Points of the curves that have been filled."""
        if self.settings.order == "sequential":
            return self.step // self.settings.record_every
        return -(-self.step // self.settings.record_every)

    @property
    def point_steps(self) -> np.ndarray:
        """Steps made at the end of each point of the curves, int64[n_points]."""
        return np.minimum(np.arange(1, self.n_points + 1, dtype=np.int64) * self.settings.record_every, self.step)

    def tail_means(self, curve: str) -> np.ndarray:
        """Mean of a curve over the last `tail_steps` of the steps, float64[runs]; NaN before the first point."""
        if self.n_points == 0:
            return np.full(self.settings.runs, np.nan)
        lengths = np.diff(self.point_steps, prepend=0)[self.first_of_tail :]
        # Of sequential learning a point is one sweep.
        weights = np.ones(lengths.size) if self.settings.order == "sequential" else lengths
        return self.curves[curve][:, self.first_of_tail : self.n_points] @ (weights / weights.sum())

    @property
    def first_of_tail(self) -> int:
        """The first of the last points that together are at least `settings.tail` of the steps."""
        starts = np.concatenate([[0], self.point_steps[:-1]])
        before = self.step * (1.0 - self.settings.tail) + 1e-9 * self.step
        return int(np.searchsorted(starts, before, side="right")) - 1

    @property
    def tail_steps(self) -> int:
        """Last steps that summaries average: whole points, at least `settings.tail` of all."""
        return self.step - int(self.point_steps[self.first_of_tail - 1]) if self.first_of_tail else self.step

    def summary(self) -> dict[str, Any]:
        """Means over runs with 95 % intervals over runs (Student's t), JSON-ready."""
        found: dict[str, Any] = {
            "game": self.game.name, "method": self.settings.method, "n": self.settings.n, "runs": self.settings.runs,
            "steps": self.step, "finished": self.step == self.settings.steps, "wall_time_s": self.wall_time_s,
        }  # fmt: skip
        for curve in CURVES:
            means = self.tail_means(curve)
            found[curve] = {
                "mean": float(means.mean()), "half_width": half_width(means), "least": float(means.min()),
                "largest": float(means.max()),
            }  # fmt: skip
        from .weighed import correction_summary

        correction = correction_summary(self)
        return found if correction is None else found | {"correction": correction}


def half_width(values: np.ndarray, level: float = 0.95) -> float:
    """Half width of Student's t interval of a mean; NaN for one value."""
    from scipy.special import stdtrit

    if values.size < 2:
        return math.nan
    return float(stdtrit(values.size - 1, 0.5 + level / 2) * values.std(ddof=1) / math.sqrt(values.size))


def mean_curve(curves: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Mean over runs and half width of its t interval, each float64[n_points], of curves float64[runs, n_points]."""
    from scipy.special import stdtrit

    runs = curves.shape[0]
    if runs < 2:
        return curves.mean(axis=0), np.full(curves.shape[1], math.nan)
    factor = float(stdtrit(runs - 1, 0.5 + level / 2)) / math.sqrt(runs)
    return curves.mean(axis=0), factor * curves.std(axis=0, ddof=1)
