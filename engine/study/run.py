"""A study: solve each surrogate game of a grid, evaluate and deploy each policy for every n, compare."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..game import Game, positive_integer
from ..solve import solve
from .cells import Cell, check_cell, read_times, remove_checkpoint, run_cell
from .collect import collect
from .folders import cell_path
from .jobs import run_jobs
from .pairs import find_pairs
from .plan import Plan, plan_study, solve_times
from .results import Study
from .sensitivity import sensitivities, sensitivity_text
from .settings import StudySettings, game_name

if TYPE_CHECKING:
    from ..equilibrium.result import Equilibrium

__all__ = ["Study", "StudySettings", "count_finished", "processes", "run_study", "study"]


def study(
    games: Game | str | Path | Sequence[Game | str | Path],
    n: int | str | Sequence[int] = (),
    k: int | str | Sequence[int | str] = (),
    *,
    output: str | Path,
    actions: str | Sequence[str] = (),
    expectation: str | Sequence[str] = "exact",
    samples: int = 10,
    local_policy: np.ndarray | str | None = None,
    method: str = "solve",
    nash: Mapping[str, Any] | None = None,
    tol: float = 1e-6,
    steps: int = 200,
    runs: int = 20,
    seeds: int | str | Sequence[int] = 0,
    level: str = "counts",
    simulate: bool = True,
    exact: bool | str = "auto",
    refine: bool = False,
    jobs: int | None = None,
    scheduler: str | None = None,
    memory_bytes: int | None = None,
    force: bool = False,
    on_sensitivity: Callable[[str], None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Study:
    """Solve games for every k, evaluate and simulate each policy with every n, and write results and figures to a folder.

    Every list may be a single entry; lists of numbers may be texts such as "1:20,30", and k may contain the word "n".

    Parameters
    ----------
    games, n, k, actions, expectation, samples, local_policy, method, nash, tol, steps, runs, seeds, level, simulate, exact,
    refine : as in `StudySettings`
    output, jobs, scheduler, memory_bytes, force, on_sensitivity, progress, should_stop : as in `run_study`

    Returns
    -------
    Study

    Raises
    ------
    ValueError, KofnFileError, Interrupted, RuntimeError
    """
    settings: dict[str, Any] = {
        "games": games, "n": n, "k": k, "actions": actions, "expectation": expectation, "samples": samples,
        "local_policy": local_policy, "method": method, "nash": nash or {}, "tol": tol, "steps": steps, "runs": runs,
        "seeds": seeds, "level": level, "simulate": simulate, "exact": exact, "refine": refine,
    }  # fmt: skip
    return run_study(
        StudySettings(**settings), output=output, jobs=jobs, scheduler=scheduler, memory_bytes=memory_bytes, force=force,
        on_sensitivity=on_sensitivity, progress=progress, should_stop=should_stop,
    )  # fmt: skip


def run_study(
    settings: StudySettings,
    *,
    output: str | Path,
    jobs: int | None = None,
    scheduler: str | None = None,
    memory_bytes: int | None = None,
    force: bool = False,
    on_sensitivity: Callable[[str], None] | None = None,
    on_wait: Callable[[str], None] | None = None,
    on_pair: Callable[[str], None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Study:
    """Run a study in a folder.

    Each cell (game, actions, expectation, k, and the seed if sampled) has a file of its own in `output`/cells. A study that
    is started again takes the finished cells over and continues the others from their checkpoints. `study.h5` does not
    depend on interruptions or on the number of jobs, bit for bit.

    Parameters
    ----------
    settings : StudySettings
    output : path                    folder; made if it is missing
    jobs : int, optional             processes; by default one for each core
    scheduler : str, optional        address of a Dask scheduler, whose workers then run the cells
    memory_bytes : int, optional     limit for the tables of each process; by default three quarters of the machine's memory,
        a share for each core
    force : bool                     redo cells that belong to another study instead of refusing
    on_sensitivity : function of a text, called before the cells run, for each game and class
    on_wait : function of a text, called if the scheduler has no workers
    on_pair : function of a text, told how far the first phase of method "nash" is
    progress : function of (cell just finished, cells finished, cells in all)
    should_stop : asked a few times per second

    Returns
    -------
    Study

    Raises
    ------
    TooLargeError     a cell would not fit; nothing was run
    KofnFileError     a file cannot be written, or a cell belongs to another study
    Interrupted       `should_stop` said so
    RuntimeError      a worker was killed, or the scheduler was lost; finished cells are kept
    """
    from .figures import draw_figures
    from .files import check_results, write_study, write_timings

    n_processes = processes(jobs)
    plan = plan_study(settings, memory_bytes)
    folder = Path(output)
    pairs: dict[str, Equilibrium] = {}
    paths = {planned.cell.name: cell_path(folder, planned.cell) for planned in plan.cells}
    if not force:
        check_results(folder, {game_name(game) for game in settings.games})
    client = None
    if scheduler is not None:
        from .cluster import connect

        client = connect(scheduler)
    try:
        (folder / "cells").mkdir(parents=True, exist_ok=True)
        if settings.method == "nash":
            settings, pairs = find_pairs(
                settings, folder, memory_bytes=memory_bytes, force=force, progress=on_pair, should_stop=should_stop,
                executor=None if client is None else client.workers(),
            )  # fmt: skip
            plan = plan_study(settings, memory_bytes)
            paths = {planned.cell.name: cell_path(folder, planned.cell) for planned in plan.cells}
        waiting = _waiting(plan, paths, force)
        names = [game.name for game in settings.games]
        grid = [planned.cell for planned in plan.cells if planned.cell.n]
        grid.sort(key=lambda cell: (names.index(cell.game.name), settings.actions.index(cell.actions), cell.name))
        found = sensitivities(folder / "sensitivity.json", grid, should_stop)
        if on_sensitivity is not None:
            several = len(found) * len(settings.actions) > 1
            for name, by_class in found.items():
                for actions, summary in by_class.items():
                    on_sensitivity((f"{name}, {actions} actions, " if several else "") + sensitivity_text(summary))
        done = len(plan.cells) - len(waiting)
        for position in _run(waiting, paths, client, n_processes, should_stop, on_wait):
            done += 1
            if progress is not None:
                progress(waiting[position].name, done, len(plan.cells))
    finally:
        if client is not None:
            client.close()

    result = collect(plan, lambda cell: paths[cell.name], found)
    times = {name: read_times(path) for name, path in paths.items()}
    write_study(folder / "study.h5", result, settings.games)
    write_timings(folder / "timings.h5", times)
    draw_figures(result, settings.games, folder, solve_times(settings, times))
    if pairs:
        from .nash_figures import draw_nash_figures

        draw_nash_figures(result, settings.games, folder, pairs)
    return result


def processes(jobs: int | None) -> int:
    """How many processes run cells here; by default one for each core."""
    return positive_integer("jobs", len(os.sched_getaffinity(0)) if jobs is None else jobs)


def count_finished(plan: Plan, folder: str | Path) -> frozenset[str]:
    """Names of the cells of a plan that stand finished in a folder; KofnFileError if one belongs to another study."""
    cells = [planned.cell for planned in plan.cells]
    return frozenset(cell.name for cell in cells if check_cell(cell_path(folder, cell), cell))


def _waiting(plan: Plan, paths: dict[str, Path], force: bool) -> list[Cell]:
    """The cells that are not finished, the longest first; with `force` all of them, after their files are removed."""
    waiting = []
    for planned in plan.cells:
        cell, path = planned.cell, paths[planned.cell.name]
        if force:
            path.unlink(missing_ok=True)
            remove_checkpoint(path)
        if not check_cell(path, cell):
            waiting.append(cell)
        else:
            remove_checkpoint(path)  # of a study that was killed just before it did so itself
    return waiting


def _run(
    cells: Sequence[Cell],
    paths: dict[str, Path],
    client: Any,
    n_processes: int,
    should_stop: Callable[[], bool],
    on_wait: Callable[[str], None] | None,
) -> Iterator[int]:
    """Run cells here or on a cluster and give the position of each as it ends."""
    if client is not None:
        yield from client.run_cells(cells, [paths[cell.name] for cell in cells], should_stop, on_wait)
        return
    work = [(run_cell, (paths[cell.name], cell)) for cell in cells]
    kinds = {(cell.actions, cell.expectation): cell for cell in reversed(cells)}
    warm_up = functools.partial(_warm_up, list(kinds.values()))
    yield from run_jobs(work, min(n_processes, max(1, len(cells))), should_stop, warm_up)


def _warm_up(cells: Sequence[Cell]) -> None:
    """Load the compiled kernels, so that the first cell's time is its own."""
    for cell in cells:
        game = cell.game
        # The first sweep is always this close, and rounding never asks for more, whatever the rewards' units are.
        tol = max(cell.tol, 2 * (np.abs(game.r_g).max() + np.abs(game.r_l).max()) / (1 - game.gamma))
        solve(
            game,
            1,
            cell.actions,
            cell.expectation,
            tol,
            local_policy=cell.local_policy,
            samples=1,
            seed=cell.solve_seed,
        )
