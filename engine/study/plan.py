"""The cells of a study, what each will take, and what is left out: known before anything runs."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...kernels.lattice import lattice_size
from ..action_classes import count_items
from ..backups.selection import TooLargeError, default_memory_bytes, readable_bytes, readable_number
from ..game import Game
from .cells import EVALUATION_SHARE, Cell
from .estimates import CELL_S, Estimate, estimate_evaluation, estimate_rollouts, estimate_solve
from .settings import StudySettings, game_name

# Where it is not asked for, exact work may take so much, or as much as the rest of the study.
AUTO_S = 60.0
# Evaluations that a refinement takes, roughly.
REFINING = 10


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """A cell and what it will take.

    Parameters
    ----------
    cell : Cell
    n_c, n_items : int       count vectors, and local decisions over all of them
    method : str             of the solve
    memory_bytes : int       of the largest step
    solve_s, evaluate_s, deploy_s : float    rough times on one core
    """

    cell: Cell
    n_c: int
    n_items: int
    method: str
    memory_bytes: int
    solve_s: float
    evaluate_s: float
    deploy_s: float

    @property
    def time_s(self) -> float:
        """Rough time of the whole cell."""
        return CELL_S + self.solve_s + self.evaluate_s + self.deploy_s


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a study will do.

    Parameters
    ----------
    settings : StudySettings
    cells : of PlannedCell, the longest first; those of the grid and those for an optimum alone
    notes : of str           what is left out, and why
    memory_bytes : int       limit for the tables of each process
    """

    settings: StudySettings
    cells: tuple[PlannedCell, ...]
    notes: tuple[str, ...]
    memory_bytes: int

    @property
    def total_s(self) -> float:
        """Rough time of all cells together, on one core."""
        return sum(planned.time_s for planned in self.cells)

    @property
    def longest_s(self) -> float:
        """Rough time of the longest cell: no number of workers ends the study earlier."""
        return max(planned.time_s for planned in self.cells)


def plan_study(settings: StudySettings, memory_bytes: int | None = None) -> Plan:
    """Lay out the cells of a study.

    Parameters
    ----------
    settings : StudySettings
    memory_bytes : int, optional    limit for the tables of each process; by default three quarters of the machine's memory,
        a share for each core

    Raises
    ------
    TooLargeError    a cell would not fit; the message names it, its sizes and what to lower
    ValueError
    """
    # A share for each core, however many processes there are: the limit decides between methods, and so on bits.
    memory = default_memory_bytes() // len(os.sched_getaffinity(0)) if memory_bytes is None else memory_bytes
    notes: list[str] = []
    planned = []
    for cell in _cells_of_grid(settings, memory):
        try:
            planned.append(_planned(cell, memory))
        except TooLargeError as error:
            raise TooLargeError(f"{error} (cell {cell.name})") from None
    budget = max(AUTO_S, sum(p.time_s for p in planned))
    if settings.exact is not False:
        planned = _with_evaluations(settings, planned, memory, budget, notes)
        planned += _references(settings, planned, memory, budget, notes)
    planned.sort(key=lambda p: (-p.time_s, p.cell.name))
    return Plan(settings=settings, cells=tuple(planned), notes=tuple(notes), memory_bytes=memory)


def _cells_of_grid(settings: StudySettings, memory: int) -> Iterator[Cell]:
    s = settings
    for game in s.games:
        policy = s.local_policy_of(game)
        for actions in s.actions:
            for expectation in s.expectation:
                sampled = expectation == "sampled"
                for k in s.ks_of(game):
                    for seeds in [(seed,) for seed in s.seeds] if sampled else [s.seeds]:
                        yield Cell(
                            name=cell_name(game, actions, expectation, k, seeds[0] if sampled else None),
                            game=game, k=k, actions=actions, expectation=expectation,
                            samples=s.samples if sampled else 0, tol=s.tol,
                            local_policy=policy if actions == "fixed" else None,
                            solve_seed=seeds[0] if sampled else 0,
                            n=tuple(n for n in s.ns_of(game) if n >= k), evaluated_n=(), perhaps_n=(),
                            refined_n=tuple(n for n in s.ns_of(game) if n >= k) if s.refine else (),
                            seeds=seeds if s.simulate else (), steps=s.steps if s.simulate else 0,
                            runs=s.runs if s.simulate else 0, level=s.level if s.simulate else "",
                            memory_bytes=memory,
                        )  # fmt: skip


def cell_name(game: Game, actions: str, expectation: str, k: int, seed: int | None = None, use: str = "") -> str:
    """A readable name that no other cell of a study has, and that is a file name on any system."""
    parts = [plain_name(game), actions, expectation, f"k={k:04d}", *([] if seed is None else [f"seed={seed}"])]
    return ".".join([*parts, *([use] if use else [])])


def plain_name(game: Game) -> str:
    """The name of a game as a part of file names, one that no other game of a study has."""
    name = game_name(game)
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:40]
    # Two games may be the same but for the name.
    return plain if plain == name else f"{plain}-{hashlib.sha256(f'{name} {game.digest()}'.encode()).hexdigest()[:8]}"


def _planned(cell: Cell, memory: int) -> PlannedCell:
    """A cell of solve and simulation alone; TooLargeError if it does not fit."""
    game = cell.game
    estimate = estimate_solve(cell, memory)
    return PlannedCell(
        cell=cell,
        n_c=lattice_size(cell.k, game.n_sl),
        n_items=count_items(cell.k, game.n_sl, game.n_al, cell.actions),
        method=estimate.method,
        memory_bytes=estimate.memory_bytes,
        solve_s=estimate.time_s,
        evaluate_s=0.0,
        deploy_s=sum(estimate_rollouts(cell, n) for n in cell.n) * (2 if cell.refined_n else 1),
    )


def _with_evaluations(
    settings: StudySettings, planned: list[PlannedCell], memory: int, budget: float, notes: list[str]
) -> list[PlannedCell]:
    """The cells with the numbers of agents for which their policies are evaluated exactly."""
    result: list[PlannedCell] = []
    refused: dict[tuple[str, int, bool], tuple[int, str]] = {}
    for p in planned:
        cell, certain, perhaps = p.cell, {}, {}
        for n in cell.n:
            try:
                certain[n] = _evaluation(settings, cell, n, memory, budget)
            except TooLargeError as error:
                if settings.exact is True:
                    raise TooLargeError(f"{error} (exact evaluation of cell {cell.name})") from None
                refused.setdefault((game_name(cell.game), n, cell.actions == "fixed"), (cell.k, str(error)))
                with contextlib.suppress(TooLargeError):
                    perhaps[n] = _evaluation(settings, cell, n, memory, budget, blind=True)
        done = certain | perhaps
        result.append(
            dataclasses.replace(
                p,
                cell=dataclasses.replace(
                    cell,
                    evaluated_n=tuple(certain),
                    perhaps_n=tuple(perhaps),
                ),
                memory_bytes=max([p.memory_bytes, *(e.memory_bytes for e in done.values())]),
                evaluate_s=sum(e.time_s for e in done.values()) * (REFINING if settings.refine else 1),
            )
        )
    for (name, n, _), (k, reason) in refused.items():
        notes.append(f"{name}, n = {n}, from k = {k}: exact values only if no local agent looks at others ({reason})")
    return result


def _evaluation(
    settings: StudySettings, cell: Cell, n: int, memory: int, budget: float, blind: bool | None = None
) -> Estimate:
    """Estimate of an exact evaluation; TooLargeError if it does not fit, or takes too long without being asked for."""
    tol = EVALUATION_SHARE * cell.tol
    estimate = estimate_evaluation(cell.game, cell.k, cell.actions, n, tol, memory, blind=blind)
    if settings.exact == "auto" and estimate.time_s > budget:
        raise TooLargeError(_too_long("n: ", estimate.time_s, budget))
    return estimate


def _too_long(field: str, seconds: float, budget: float) -> str:
    return f"{field}about {_about(seconds)}, expected at most {_about(budget)} unless exact values are asked for"


def reference_class(actions: str) -> str:
    """The class of the optimum that a policy's value is compared with."""
    return "fixed" if actions == "fixed" else "joint"


def _references(
    settings: StudySettings, planned: list[PlannedCell], memory: int, budget: float, notes: list[str]
) -> list[PlannedCell]:
    """Cells that solve the game of all n agents, where the grid has no such cell and it can be done."""
    in_grid = {(game_name(p.cell.game), p.cell.actions, p.cell.k) for p in planned if p.cell.expectation == "exact"}
    found: list[PlannedCell] = []
    for game in settings.games:
        for actions in dict.fromkeys(reference_class(a) for a in settings.actions):
            for n in settings.ns_of(game):
                if (game_name(game), actions, n) in in_grid:
                    continue
                cell = Cell(
                    name=cell_name(game, actions, "exact", n, use="optimum"), game=game, k=n, actions=actions,
                    expectation="exact", samples=0, tol=settings.tol,
                    local_policy=settings.local_policy_of(game) if actions == "fixed" else None, solve_seed=0, n=(),
                    evaluated_n=(), perhaps_n=(), refined_n=(), seeds=(), steps=0, runs=0, level="", memory_bytes=memory,
                )  # fmt: skip
                try:
                    reference = _planned(cell, memory)
                    if reference.time_s > budget and settings.exact == "auto":
                        raise TooLargeError(_too_long("", reference.time_s, budget))
                    found.append(reference)
                except TooLargeError as error:
                    notes.append(
                        f"{game_name(game)}, n = {n}: the {actions} optimum is not solved, only bounded ({error})"
                    )
    return found


def plan_lines(plan: Plan, n_processes: int, finished: frozenset[str] = frozenset()) -> list[str]:
    """The lines that `kofn study --dry-run` prints."""
    width = max(len(p.cell.name) for p in plan.cells)
    lines = [
        f"{'cell':{width}s} {'counts':>9s} {'decisions':>10s}  {'method':19s} {'memory':>8s} {'solve':>9s} {'exact':>9s}"
        f" {'simulate':>9s}"
    ]
    for p in plan.cells:
        lines.append(
            f"{p.cell.name:{width}s} {readable_number(p.n_c):>9s} {readable_number(p.n_items):>10s}  {p.method:19s}"
            f" {readable_bytes(p.memory_bytes):>8s} {_about(p.solve_s):>9s} {_about(p.evaluate_s):>9s}"
            f" {_about(p.deploy_s):>9s}" + ("  finished" if p.cell.name in finished else "")
        )
    lines += [f"note: {note}" for note in plan.notes]
    waiting = [p for p in plan.cells if p.cell.name not in finished]
    if not waiting:
        return [*lines, f"{len(plan.cells)} cells, all finished"]
    total = sum(p.time_s for p in waiting)
    longest = max(waiting, key=lambda p: p.time_s)
    lines.append(
        f"{len(plan.cells)} cells, {len(plan.cells) - len(waiting)} finished; about {_about(total)} of work on one core, "
        f"{_about(max(longest.time_s, total / n_processes))} with {n_processes} at a time"
    )
    lines.append(f"critical path: {longest.cell.name}, about {_about(longest.time_s)}")
    return lines


def _about(seconds: float) -> str:
    if seconds < 0.1:
        return "< 0.1 s" if seconds else "-"
    size, unit = next(x for x in ((86_400, "d"), (3600, "h"), (60, "min"), (0, "s")) if seconds >= 2 * x[0])
    amount = seconds / (size or 1)
    return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.2g} {unit}"


def solve_times(
    settings: StudySettings, times: Mapping[str, Mapping[str, Any]]
) -> dict[tuple[str, str, str, int], float]:
    """Seconds to solve for each (game, actions, expectation, k), a mean over the seeds of the sampled expectation.

    Parameters
    ----------
    times : {cell: {"solve_time_s": seconds, …}}    as `read_timings` gives it
    """
    found: dict[tuple[str, str, str, int], float] = {}
    for game in settings.games:
        for actions in settings.actions:
            for expectation in settings.expectation:
                seeds = settings.seeds if expectation == "sampled" else (None,)
                for k in settings.ks_of(game):
                    names = [cell_name(game, actions, expectation, k, seed) for seed in seeds]
                    taken = [times[name]["solve_time_s"] for name in names if name in times]
                    if taken:
                        found[game_name(game), actions, expectation, k] = sum(taken) / len(taken)
    return found
