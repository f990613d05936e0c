"""What the weights of replayed steps were like, and the reward under present policies that they estimate, with its bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..coupling import Field
from ..drift.bound import DriftBound, drift_bound
from ..game import Game
from .correction import why_neutral
from .result import Learned

DELTA = 0.05
"""The bound fails with at most this probability."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WeighedReplay:
    """Weights of the steps replayed in the last part of learning, by run.

    A step has one weight for each agent, of what all others did; its own weight and reward are means over the agents.

    Parameters
    ----------
    steps : float64[runs]           steps replayed
    mean_weight : float64[runs]     expected to be 1 but for what the clip takes
    effective_share : float64[runs] effective sample size over the number of weights, mean(w)² / mean(w²)
    clip_rate : float64[runs]       share of weights above the clip
    chi2 : float64[runs]            χ² of the drift, mean(w²) / mean(w)² − 1
    unweighed : float64[runs]       share of steps that were replayed without weights, for too small an effective sample
    reward : float64[runs]          mean weighted reward of an agent: an estimate of it under the policies of these steps
    bound : DriftBound              of its error, arrays by run, as if the steps were independent samples
    """

    steps: np.ndarray
    mean_weight: np.ndarray
    effective_share: np.ndarray
    clip_rate: np.ndarray
    chi2: np.ndarray
    unweighed: np.ndarray
    reward: np.ndarray
    bound: DriftBound

    def summary(self) -> dict[str, Any]:
        """Means over runs, JSON-ready."""
        names = ("steps", "mean_weight", "effective_share", "clip_rate", "chi2", "unweighed", "reward")
        found: dict[str, Any] = {name: float(np.mean(getattr(self, name))) for name in names}
        parts = ("variance", "range", "clipping", "mean_field", "total")
        found["bound"] = {name: float(np.mean(getattr(self.bound, name))) for name in parts} | {"delta": DELTA}
        return found


def weighed_replay(learned: Learned) -> WeighedReplay | None:
    """Weights over the last `tail_steps` of learning; None where nothing was weighed, or too little for a variance."""
    if "ratios" not in learned.curves:
        return None
    sums = learned.curves["ratios"][:, learned.first_of_tail : learned.n_points].sum(axis=1)
    if sums.shape[1] == 0 or sums[:, 0].min() < 2:
        return None
    steps = sums[:, 0]
    mean, square, clipped, excess, paid, paid_square, unweighed = (sums[:, 1:] / steps[:, None]).T
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(square > 0.0, mean**2 / square, 0.0)
        chi2 = np.where(share > 0.0, 1.0 / share - 1.0, np.inf)
    game, settings = learned.game, learned.settings
    n_steps = int(steps.min())
    bound = drift_bound(
        sample_variance=np.maximum(paid_square - paid**2, 0.0) * steps / (steps - 1.0), n_samples=n_steps, clip=settings.clip,
        largest=largest_own_reward(game), delta=DELTA, excess=excess, excess_from="complement", clipped_mean=mean,
        # Of single weights, which is at least that of their means over the agents of a step.
        clipped_variance=np.maximum(square - mean**2, 0.0), n_agents=settings.n, lipschitz=lipschitz_of_rewards(game),
        span=weight_span(game),
    )  # fmt: skip
    return WeighedReplay(
        steps=steps, mean_weight=mean, effective_share=share, clip_rate=clipped, chi2=chi2, unweighed=unweighed, reward=paid,
        bound=bound,
    )  # fmt: skip


def correction_summary(learned: Learned) -> dict[str, Any] | None:
    """What came of a correction, JSON-ready; None where none was asked for."""
    settings = learned.settings
    if settings.correction == "none":
        return None
    found: dict[str, Any] = {"form": settings.correction, "neutral": why_neutral(learned.game, settings)}
    weighed = weighed_replay(learned)
    return found | ({} if weighed is None else weighed.summary())


def _own_rewards(game: Game) -> np.ndarray:
    """r_g + r_l with an axis of field values, float64[n_sg, n_f or 1, n_ag · n_sl · n_al]."""
    r_g, r_l = game.with_field_axis("r_g"), game.with_field_axis("r_l")
    total = r_g[:, :, :, None, None] + r_l[:, :, None]
    return total.reshape(*total.shape[:2], -1)


def largest_own_reward(game: Game) -> float:
    """Largest |r_g + r_l| of an agent."""
    return float(np.abs(_own_rewards(game)).max())


def weight_span(game: Game) -> float:
    """Largest less smallest weight of the field's first feature."""
    return 0.0 if game.field is None else float(np.ptp(game.field.weights[0]))


def lipschitz_of_rewards(game: Game) -> float:
    """Largest slope of an agent's reward against the mean of the game's field, from the middle of a bin to that of the next.

    0 where rewards do not depend on it, infinite where the field has several features, so that no single mean tells it.
    """
    rewards = _own_rewards(game)
    if game.field is None or rewards.shape[1] == 1:
        return 0.0
    if len(game.field.weights) > 1:
        return float("inf")
    return float(np.abs(np.diff(rewards, axis=1) / np.diff(_middles(game.field))[None, :, None]).max())


def _middles(field: Field) -> np.ndarray:
    ends = np.array([field.weights[0].min(), *field.edges[0], field.weights[0].max()])
    return 0.5 * (ends[1:] + ends[:-1])
