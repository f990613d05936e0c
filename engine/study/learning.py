"""A study of learning: let agents learn in every cell of a grid of games, methods, n and temperatures, and compare."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..files import KofnFileError
from ..learning.files import read_learned, write_learned
from ..learning.ising import is_ising, sides_of, simulate_heat_bath
from ..learning.learn import LearningReport, learn
from ..learning.learners import start_label
from ..solve import Interrupted
from .folders import cell_path
from .learning_files import (
    NAME,
    check_learning_cell,
    check_learning_folder,
    read_learning_study,
    write_learning_study,
)
from .learning_results import LearningStudy, collect_learning
from .learning_settings import LearningCell, LearningStudySettings
from .settings import game_name

# Sweeps of the heat bath that learned magnetisation is compared with.
MAX_HEAT_BATH_SWEEPS = 10_000
HEAT_BATH_EVERY = 10


def run_learning_study(
    settings: LearningStudySettings,
    *,
    output: str | Path,
    scheduler: str | None = None,
    memory_bytes: int | None = None,
    force: bool = False,
    on_wait: Callable[[str], None] | None = None,
    on_steps: Callable[[str, LearningReport], None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> LearningStudy:
    """Run a study of learning in a folder.

    Cells run one after the other, each on all threads. Each has a file of its own in `output`/cells; a study that is started
    again takes finished cells over and continues the one under way from its checkpoint. `learning.h5` does not depend on
    interruptions or on the number of threads, bit for bit.

    Parameters
    ----------
    settings : LearningStudySettings
    output : path                    folder; made if it is missing
    scheduler : str, optional        address of a Dask scheduler, whose workers then run the cells
    memory_bytes : int, optional     limit for the tables of a cell; by default three quarters of the machine's memory
    force : bool                     redo all cells, also those that belong to another study
    on_wait : function of a text, called if the scheduler has no workers
    on_steps : function of (cell, LearningReport), told how far a cell is that runs here
    progress : function of (cell just finished, cells finished, cells in all)
    should_stop : asked a few times per second

    Returns
    -------
    LearningStudy

    Raises
    ------
    ValueError        settings that do not fit a game
    TooLargeError     a cell would not fit; nothing was run
    KofnFileError     a file cannot be written, or a cell belongs to another study
    Interrupted       `should_stop` said so
    RuntimeError      the scheduler was lost; finished cells are kept
    """
    from .learning_figures import draw_learning_figures

    settings.check(memory_bytes)
    folder = Path(output)
    if not force:
        check_learning_folder(folder, {game_name(cell.game) for cell in settings.cells})
    waiting = [cell for cell in settings.cells if not _is_finished(cell_path(folder, cell), cell, force)]
    client = None
    if scheduler is not None:
        from .cluster import connect

        client = connect(scheduler)
    try:
        (folder / "cells").mkdir(parents=True, exist_ok=True)
        paths = [cell_path(folder, cell) for cell in waiting]
        if client is not None:
            ended = client.run_cells(waiting, paths, should_stop, on_wait, run=run_learning_cell)
        else:
            ended = _run_here(waiting, paths, memory_bytes, on_steps, should_stop)
        done = len(settings.cells) - len(waiting)
        for position in ended:
            done += 1
            if progress is not None:
                progress(waiting[position].name, done, len(settings.cells))
    finally:
        if client is not None:
            client.close()
    cells = (read_learned(cell_path(folder, cell), tables=False) for cell in settings.cells)
    result = collect_learning(
        settings.config, cells, _heat_baths(settings, None if force else folder / NAME, should_stop)
    )
    write_learning_study(folder / NAME, result)
    draw_learning_figures(result, settings, folder)
    return result


def count_finished_cells(settings: LearningStudySettings, folder: str | Path) -> frozenset[str]:
    """Names of the cells that stand finished in a folder; KofnFileError if one belongs to another study."""
    cells = settings.cells
    return frozenset(cell.name for cell in cells if check_learning_cell(cell_path(folder, cell), cell))


def run_learning_cell(
    path: Path,
    cell: LearningCell,
    should_stop: Callable[[], bool],
    *,
    memory_bytes: int | None = None,
    progress: Callable[[LearningReport], None] | None = None,
) -> None:
    """Let the agents of a cell learn, from its checkpoint if there is one, and write its file."""
    checkpoint = checkpoint_of(path)
    learned = learn(
        cell.game, cell.settings, memory_bytes=memory_bytes, checkpoint=checkpoint, resume=True, progress=progress,
        should_stop=should_stop,
    )  # fmt: skip
    write_learned(path, learned, tables=cell.keeps_tables, overwrite=True)
    checkpoint.unlink(missing_ok=True)


def checkpoint_of(path: Path) -> Path:
    """Where a cell keeps what it has done so far."""
    return path.with_name(path.name + ".checkpoint")


def _is_finished(path: Path, cell: LearningCell, force: bool) -> bool:
    """Whether a cell is finished; with `force` nothing is, after the files are removed."""
    checkpoint = checkpoint_of(path)
    if force:
        path.unlink(missing_ok=True)
        checkpoint.unlink(missing_ok=True)
    if not check_learning_cell(path, cell):
        return False
    checkpoint.unlink(missing_ok=True)  # of a study that was killed just before it did so itself
    return True


def _run_here(
    cells: Sequence[LearningCell],
    paths: Sequence[Path],
    memory_bytes: int | None,
    on_steps: Callable[[str, LearningReport], None] | None,
    should_stop: Callable[[], bool],
) -> Iterator[int]:
    for position, (cell, path) in enumerate(zip(cells, paths, strict=True)):

        def show(report: LearningReport, name: str = cell.name) -> None:
            if on_steps is not None:
                on_steps(name, report)

        try:
            run_learning_cell(path, cell, should_stop, memory_bytes=memory_bytes, progress=show)
        except Interrupted:
            raise Interrupted("stopped; finished cells and a checkpoint are kept, start again to go on") from None
        yield position


def _heat_baths(
    settings: LearningStudySettings, earlier: Path | None, should_stop: Callable[[], bool]
) -> dict[tuple[str, int], np.ndarray]:
    """|m| of the heat bath for every Ising game and n, from an earlier file of the same study if there is one."""
    known = None
    if earlier is not None:
        with contextlib.suppress(KofnFileError):
            known = read_learning_study(earlier)
    if known is not None and known.config != settings.config:
        known = None
    found: dict[tuple[str, int], np.ndarray] = {}
    for cell in settings.cells:
        key = game_name(cell.game), cell.settings.n
        if key in found or not is_ising(cell.game):
            continue
        rows, columns = sides_of(cell.game, cell.settings.n)
        if rows != columns or len(settings.temperature) < 2:
            continue
        if known is not None:
            found[key] = known.sel("heat_bath", game=key[0], n=key[1])
            continue
        start = start_label(cell.game, cell.settings)
        sweeps = min(max(cell.settings.steps, HEAT_BATH_EVERY), MAX_HEAT_BATH_SWEEPS)
        found[key] = simulate_heat_bath(
            rows, settings.temperature, sweeps, cell.settings.runs, cell.settings.seed, tail=cell.settings.tail,
            every=HEAT_BATH_EVERY, up=None if start is None else start[1] == 1, should_stop=should_stop,
        )  # fmt: skip
    return found
