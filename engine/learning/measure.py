"""What learned policies are worth over learning time: exact value, gap to the optimum, exploitability."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ..backups.selection import TooLargeError, default_memory_bytes
from ..equilibrium.exploitability import exploitability
from ..evaluation.evaluate import evaluate
from ..evaluation.plan import plan_evaluation
from ..game import Game
from ..solve import Interrupted, solve
from ..surrogate import check_fits
from .policy import learned_policy, why_no_policy
from .result import Learned, Measured
from .settings import LearningSettings

# Certified widths, in units of value.
TOL = 1e-6


def refuse_unmeasurable(game: Game, settings: LearningSettings, memory_bytes: int | None = None) -> None:
    """ValueError unless what is learned are policies that can be evaluated exactly, TooLargeError if n agents are too many."""
    reason = why_no_policy(game, settings)
    if reason is not None:
        raise ValueError(f"measure: found tables that will be no policy, {reason}")
    most, n = default_memory_bytes() if memory_bytes is None else memory_bytes, settings.n
    try:
        check_fits(game, n, "joint", "exact", 0, None, TOL, most)
        plan_evaluation(game, n, n, n, most)
    except TooLargeError as error:
        raise TooLargeError(f"measure: {n} agents are too many for exact values: {error}") from None


def measure(
    learned: Learned,
    *,
    gains: bool = True,
    memory_bytes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Learned:
    """Evaluate the policy of every run at every snapshot exactly, with the n agents that learned.

    Parameters
    ----------
    learned : Learned with snapshots
    gains : bool            also compute what best responses gain
    memory_bytes : int, optional
    progress : function of (policies measured, policies in all)
    should_stop : function without arguments

    Returns
    -------
    Learned    with `measured`

    Raises
    ------
    ValueError       no snapshots, or tables that are no policy
    TooLargeError    n agents are too many for exact values
    Interrupted
    """
    game, settings = learned.game, learned.settings
    refuse_unmeasurable(game, settings, memory_bytes)
    steps = settings.snapshot_steps
    if not steps.size:
        raise ValueError("measure: found no snapshots, expected some to evaluate")
    optimum = solve(game, settings.n, tol=TOL, memory_bytes=memory_bytes, should_stop=should_stop)
    shape = (settings.runs, steps.size)
    found = {name: np.full(shape, np.nan) for name in ("value", "half_width", "global_gain", "local_gain")}
    for place in range(steps.size):
        arrays = learned.arrays | {name: kept[place] for name, kept in learned.snapshots.items()}
        then = dataclasses.replace(learned, arrays=arrays)
        for run in range(settings.runs):
            if should_stop is not None and should_stop():
                raise Interrupted(
                    f"stopped after measuring {place * settings.runs + run} policies; nothing of it written"
                )
            policy = learned_policy(then, run=run, memory_bytes=memory_bytes)
            worth = evaluate(
                game, policy, settings.n, tol=TOL, occupancies=False, average=False, memory_bytes=memory_bytes
            )
            found["value"][run, place], found["half_width"][run, place] = worth.initial_value, worth.half_width
            if gains:
                gained = exploitability(game, policy, settings.n, memory_bytes=memory_bytes)
                found["global_gain"][run, place] = gained.global_gain
                found["local_gain"][run, place] = gained.local_gain
            if progress is not None:
                progress(place * settings.runs + run + 1, steps.size * settings.runs)
    measured = Measured(step=steps, optimum=optimum.initial_value, optimum_half_width=optimum.half_width, **found)
    return dataclasses.replace(learned, measured=measured)
