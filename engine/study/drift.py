"""A study of importance weights: repeat estimates under known drifts, and compare them and their bound with exact values."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...kernels.importance.marginal import TRIM, log_marginal_of_others, make_marginal_work
from ...kernels.importance.replications import repeat_estimates
from ...kernels.streams import checked_seed
from ..solve import Interrupted
from .drift_files import (
    NAME,
    check_drift_folder,
    read_drift_cell,
    write_drift_cell,
    write_drift_study,
)
from .drift_results import CellResult, DriftStudy, collect_drift
from .drift_settings import Drift, DriftCell, DriftStudySettings
from .folders import cell_path

# Seconds between two looks at whether to stop.
CHUNK_S = 0.3


def run_drift_study(
    settings: DriftStudySettings,
    *,
    output: str | Path,
    memory_bytes: int | None = None,
    force: bool = False,
    on_part: Callable[[str, float], None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> DriftStudy:
    """Run a study of importance weights in a folder.

    Cells run one after the other, each on all threads, and have a file each in `output`/cells; a study that is started again
    takes finished cells over. `drift.h5` does not depend on interruptions or on the number of threads, bit for bit.

    Parameters
    ----------
    settings : DriftStudySettings
    output : path                    folder; made if it is missing
    memory_bytes : int, optional     limit; by default three quarters of the machine's memory
    force : bool                     redo all cells, also those that belong to another study
    on_part : function of (cell, share of it that is done)
    progress : function of (cell just finished, cells finished, cells in all)
    should_stop : asked a few times per second

    Returns
    -------
    DriftStudy

    Raises
    ------
    TooLargeError     the estimates would not fit; nothing was run
    KofnFileError     a file cannot be written, or a cell belongs to another study
    Interrupted       `should_stop` said so; finished cells are kept
    """
    from .drift_figures import draw_drift_figures

    settings.check(memory_bytes)
    folder = Path(output)
    if not force:
        check_drift_folder(folder, {drift.name for drift in settings.drawn_drifts})
    paths = [cell_path(folder, cell) for cell in settings.cells]
    if force:
        for path in paths:
            path.unlink(missing_ok=True)
    finished = count_finished_drift_cells(settings, folder)
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    done = len(finished)
    for cell, path in zip(settings.cells, paths, strict=True):
        if cell.name in finished:
            continue

        def show(share: float, name: str = cell.name) -> None:
            if on_part is not None:
                on_part(name, share)

        write_drift_cell(path, settings.identity(cell), repeat_cell(settings, cell, show, should_stop))
        done += 1
        if progress is not None:
            progress(cell.name, done, len(settings.cells))
    result = collect_drift(
        settings, [read_drift_cell(path, settings, cell) for cell, path in zip(settings.cells, paths, strict=True)]
    )
    write_drift_study(folder / NAME, result)
    draw_drift_figures(result, folder)
    return result


def count_finished_drift_cells(settings: DriftStudySettings, folder: str | Path) -> frozenset[str]:
    """Names of the cells that stand finished in a folder; KofnFileError if one belongs to another study."""
    found = set()
    for cell in settings.cells:
        path = cell_path(folder, cell)
        if path.exists():
            read_drift_cell(path, settings, cell)
            found.add(cell.name)
    return frozenset(found)


def repeat_cell(
    settings: DriftStudySettings,
    cell: DriftCell,
    on_part: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> CellResult:
    """All estimates of a cell."""
    drift, n_rewards = cell.drift, len(settings.drawn_rewards)
    shape = (len(settings.samples), settings.replications, 3)
    result = CellResult(np.empty((*shape, n_rewards, 2)), np.empty((*shape, 5)))
    log_marginal = log_weights_of_totals(drift, cell.n, should_stop)
    with np.errstate(divide="ignore"):
        log_ratios = np.where(drift.pi > 0.0, np.log(drift.pi), -np.inf) - np.where(
            drift.mu > 0.0, np.log(drift.mu), 0.0
        )
    values, seed = settings.values(cell), checked_seed(settings.seed)
    work, done = sum(settings.samples) * settings.replications, 0
    for i, n_samples in enumerate(settings.samples):
        first, chunk = 0, 1
        while first < settings.replications:
            if should_stop():
                raise Interrupted("stopped; finished cells are kept, start again to go on")
            last = min(first + chunk, settings.replications)
            began = time.perf_counter()
            repeat_estimates(
                seed, first, cell.n, drift.mu, drift.units, log_ratios, log_marginal, values, settings.clip, n_samples,
                result.values[i, first:last], result.weights[i, first:last],
            )  # fmt: skip
            took = time.perf_counter() - began
            done += (last - first) * n_samples
            # How repetitions are divided among calls does not change them.
            chunk = max(1, min(4 * chunk, int(chunk * CHUNK_S / max(took, 1e-6))))
            first = last
            if on_part is not None:
                on_part(done / work)
    return result


def log_weights_of_totals(drift: Drift, n: int, should_stop: Callable[[], bool] = lambda: False) -> np.ndarray:
    """float64[n·max(units) + 1]: log P_π/P_μ of every total of n agents, as one more agent sees them; −inf where P_π is 0."""
    units, n_al = drift.units, drift.units.size
    totals = np.arange(n * int(units.max()) + 1)
    # Agents that did different things may ask different questions: one for each action.
    asked = min(n_al, n + 1)
    counts = np.zeros((1, n_al), np.int64)
    counts[0, :asked] = 1
    counts[0, 0] += n + 1 - asked
    work = make_marginal_work(n + 1, 1, units)
    out = np.empty((1, n_al))
    logs = np.full((2, totals.size), -np.inf)
    for start in range(0, totals.size, asked):
        if should_stop():
            raise Interrupted("stopped; finished cells are kept, start again to go on")
        here = totals[start : start + asked]
        low, high = np.zeros((1, n_al), np.int64), np.full((1, n_al), -1)
        low[0, : here.size] = high[0, : here.size] = here
        for i, law in enumerate((drift.pi, drift.mu)):
            log_marginal_of_others(law[None].copy(), counts, units, low, high, TRIM, work, out)
            logs[i, here] = out[0, : here.size]
    found = np.full(totals.size, -np.inf)
    possible = logs[0] > -np.inf
    found[possible] = logs[0, possible] - logs[1, possible]
    return found
