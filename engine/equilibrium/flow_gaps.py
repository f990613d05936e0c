"""How far the policies of all runs of a learner are from an equilibrium, and whether they are in the same one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..checked import whole_number
from ..game import positive_integer
from ..learning.result import Learned, half_width
from ..solve import Interrupted
from ..tabulation import shown
from ..versions import library_versions
from .clusters import Clusters, Habits, action_scale, cluster_runs, habits
from .flow import DEFAULT_STEPS, Flow, agents_flow, mean_field_flow
from .flow_check import DEFAULT_RUNS, FiniteCheck, check_response
from .flow_law import PlayedLaw, learned_law
from .flow_response import FlowGap, flow_gap

FLOWS = ("mean-field", "agents")


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnedGaps:
    """Gaps of some runs of a learner.

    Parameters
    ----------
    learned : Learned
    n : int                         agents of the checks, and of the flow if it is of agents
    flow : "mean-field" or "agents"
    runs : tuple of int             runs of the learner
    gaps : list of FlowGap          one a run
    checks : list of FiniteCheck    one a run, or none
    clusters : Clusters or None     None for a single run
    seed : int
    wall_time_s : float
    versions : dict
    """

    learned: Learned
    n: int
    flow: str
    runs: tuple[int, ...]
    gaps: list[FlowGap]
    checks: list[FiniteCheck]
    clusters: Clusters | None
    seed: int
    wall_time_s: float
    versions: dict[str, str] = field(default_factory=dict)

    def column(self, name: str) -> np.ndarray:
        """A number of every gap, float64[runs]; NaN where it is None."""
        found = [getattr(gap, name) for gap in self.gaps]
        return np.array([np.nan if value is None else value for value in found], dtype=np.float64)

    def mean(self, name: str) -> tuple[float, float]:
        """Mean over the runs and half width of its 95 % interval (Student's t)."""
        values = self.column(name)
        return float(values.mean()), half_width(values)


def gap_of_law(
    played: PlayedLaw,
    n: int | None = None,
    *,
    flow: str = "mean-field",
    steps: int = DEFAULT_STEPS,
    check_runs: int = DEFAULT_RUNS,
    seed: int = 0,
    memory_bytes: int | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[FlowGap, FiniteCheck | None]:
    """What best responses gain against one law, learned or not, and what the local one gains among n agents.

    Parameters
    ----------
    played : PlayedLaw    of `learned_law`, or of `law_of_table` for a baseline
    n : int, optional     agents; by default as many as learned
    others : as in `learned_gaps`

    Returns
    -------
    (FlowGap, FiniteCheck or None)
    """
    gap = flow_gap(played, _flow_of(played, n, flow, steps, seed, should_stop), memory_bytes=memory_bytes)
    if not check_runs:
        return gap, None
    check = check_response(
        played, gap.response, n, values=gap.values, q=gap.q, runs=check_runs, seed=seed, should_stop=should_stop
    )
    return gap, check


def _flow_of(
    played: PlayedLaw,
    n: int | None,
    flow: str,
    steps: int,
    seed: int,
    should_stop: Callable[[], bool] | None = None,
) -> Flow:
    if flow not in FLOWS:
        raise ValueError(f"flow: found {flow!r}, expected one of {', '.join(FLOWS)}")
    if flow == "agents":
        return agents_flow(played, n, steps=steps, seed=seed, should_stop=should_stop)
    return mean_field_flow(played, steps=steps, seed=seed, should_stop=should_stop)


def learned_gaps(
    learned: Learned,
    *,
    runs: tuple[int, ...] | None = None,
    n: int | None = None,
    flow: str = "mean-field",
    steps: int = DEFAULT_STEPS,
    check_runs: int = DEFAULT_RUNS,
    measure: str | None = None,
    seed: int = 0,
    memory_bytes: int | None = None,
    progress: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> LearnedGaps:
    """What best responses gain against the policies that a learner ended with, and clusters of these policies.

    Parameters
    ----------
    learned : Learned
    runs : tuple of int, optional    by default all
    n : int, optional                agents; by default as many as learned
    flow : "mean-field" or "agents"  of infinitely many agents, or of n
    steps : int                      recorded of the flow
    check_runs : int                 simulated runs of n agents in which one plays its best response; 0 for none
    measure : str, optional          distance to group runs by, see `clusters.MEASURES`
    seed : int
    memory_bytes : int, optional
    progress : function of what is done now
    should_stop : function without arguments

    Returns
    -------
    LearnedGaps

    Raises
    ------
    ValueError, TooLargeError, ConvergenceError, Interrupted
    """
    began = time.perf_counter()
    if not isinstance(learned, Learned):
        raise ValueError(f"learned: found {shown(learned)}, expected what learn or read_learned gave")
    runs = _checked_runs(runs, learned.settings.runs)
    if check_runs != 0:
        positive_integer("check_runs", check_runs)
    n = learned.settings.n if n is None else n

    gaps: list[FlowGap] = []
    checks: list[FiniteCheck] = []
    now: list[Habits] = []
    before: list[Habits] = []
    for run in runs:
        if should_stop is not None and should_stop():
            raise Interrupted(f"stopped after {len(gaps)} of {len(runs)} runs")
        if progress is not None:
            progress(f"run {run}")
        played = learned_law(learned, run)
        gap, check = gap_of_law(
            played, n, flow=flow, steps=steps, check_runs=check_runs, seed=seed, memory_bytes=memory_bytes,
            should_stop=should_stop,
        )  # fmt: skip
        gaps.append(gap)
        if check is not None:
            checks.append(check)
        now.append(habits(played, gap.flow))
        last = _snapshot_before_the_last(learned)
        if last is not None and len(runs) > 1:
            played = learned_law(learned, run, snapshot=last)
            before.append(habits(played, _flow_of(played, n, flow, steps, seed, should_stop)))
    clusters = None
    if len(runs) > 1:
        scale = action_scale(learned.game)
        clusters = cluster_runs(now, scale=scale, measure=measure, snapshots=before or None, seed=seed)
    return LearnedGaps(
        learned=learned, n=n, flow=flow, runs=runs, gaps=gaps, checks=checks, clusters=clusters, seed=seed,
        wall_time_s=time.perf_counter() - began, versions=library_versions(),
    )  # fmt: skip


def _checked_runs(runs: tuple[int, ...] | None, n_runs: int) -> tuple[int, ...]:
    if runs is None:
        return tuple(range(n_runs))
    if not isinstance(runs, tuple | list | range) or not runs or len(set(map(str, runs))) < len(runs):
        raise ValueError(f"runs: found {shown(runs)}, expected different numbers of runs")
    return tuple(whole_number("run", run, 0, n_runs - 1) for run in runs)


def _snapshot_before_the_last(learned: Learned) -> int | None:
    """Number of the last table kept before the end, if any was."""
    steps = learned.settings.snapshot_steps
    earlier = np.flatnonzero(steps < learned.step)
    return int(earlier[-1]) if learned.snapshots and earlier.size else None
