"""The results of a study of learning as a table for people, and what it will do."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

from ..backups.selection import readable_bytes
from ..export_tables import Table
from ..learning.ising import CRITICAL_TEMPERATURE
from ..learning.result import CURVES
from .learning_results import ARRAYS, LearningStudy
from .learning_settings import LearningStudySettings, table_bytes


def learning_lines(result: LearningStudy) -> list[str]:
    """Lines that `kofn study` prints: a table for each game, and what follows from it."""
    lines: list[str] = []
    tail = 100 * result.config["learning"]["tail"]
    wide = max(6, *(len(method) for method in result.method.tolist()))
    steps, runs = result.config["steps"], f"{result.run.size} {'run' if result.run.size == 1 else 'runs'}"
    for game in result.game.tolist():
        lines += ["", f"{game}, {runs}, last {tail:g} % of {steps} steps, 95 % intervals"]
        lines.append(
            f"{'method':>{wide}s} {'n':>6s} {'T':>8s} {'reward':>24s} {'least of a run':>15s} {'mean weight':>22s} "
            f"{'|mean weight|':>22s}"
        )
        for method in result.method.tolist():
            for n in result.ns_of(game):
                for temperature in result.temperature.tolist():
                    lines.append(_line(result, game, method, n, temperature, wide))
        lines += _conclusions(result, game)
    return lines


def _line(result: LearningStudy, game: str, method: str, n: int, temperature: float, wide: int) -> str:
    at = {"game": game, "method": method, "n": n, "temperature": temperature}

    def pair(name: str, width: int) -> str:
        mean, half = float(result.sel(f"mean_{name}", **at)), float(result.sel(f"{name}_half_width", **at))
        return f"{mean:{width}.6g} ± {half:7.2g}" if math.isfinite(half) else f"{mean:{width}.6g}" + 10 * " "

    least = float(result.sel("reward", **at).min())
    return (
        f"{method:>{wide}s} {n:6d} {temperature:8.6g} {pair('reward', 14)} {least:15.6g} {pair('weight', 12)} "
        f"{pair('abs_weight', 12)}".rstrip()
    )


def _conclusions(result: LearningStudy, game: str) -> list[str]:
    lines = []
    for n in result.ns_of(game):
        best, uniform = (float(result.sel(name, game=game, n=n)) for name in ("best_reward", "uniform_reward"))
        if math.isfinite(best):
            lines.append(f"  n = {n}: best team reward {best:.6g}, uniform play {uniform:.6g}")
        for method in result.method.tolist():
            at = {"game": game, "n": n, "method": method}
            middle, low, high = (float(result.sel(x, **at)) for x in ("crossing", "crossing_low", "crossing_high"))
            if math.isfinite(middle):
                text = f" ({low:.4f} to {high:.4f})" if math.isfinite(low + high) else ""
                lines.append(f"  {method}, n = {n}: |mean weight| falls through 0.5 at T = {middle:.4f}{text}")
                lines.append(f"  critical temperature of the infinite lattice: {CRITICAL_TEMPERATURE:.4f}")
    return lines


def learning_plan_lines(settings: LearningStudySettings, finished: frozenset[str] = frozenset()) -> list[str]:
    """The lines that `kofn study --dry-run` prints for a study of learning."""
    width = max(len(cell.name) for cell in settings.cells)
    lines = [f"{'cell':{width}s} {'runs':>6s} {'steps':>9s} {'tables':>9s} {'moves':>9s}"]
    for cell in settings.cells:
        asked = cell.settings
        size = readable_bytes(table_bytes(cell.game, asked))
        moves = asked.runs * asked.steps * asked.n
        done = "  finished" if cell.name in finished else ""
        lines.append(f"{cell.name:{width}s} {asked.runs:6d} {asked.steps:9d} {size:>9s} {moves:9.2e}{done}")
    lines += [f"note: {note}" for note in settings.notes]
    left = [cell for cell in settings.cells if cell.name not in finished]
    moves = sum(cell.settings.runs * cell.settings.steps * cell.settings.n for cell in left)
    lines.append(f"{len(settings.cells)} cells, {len(settings.cells) - len(left)} finished; {moves:.2e} moves left")
    return lines


def tabulate_learning(result: LearningStudy, what: str) -> Table:
    """One row for each cell, for each run of a cell, or for each point of its curves.

    Parameters
    ----------
    result : LearningStudy
    what : "cells", "runs" or "curves"
    """
    axes = ("game", "method", "n", "temperature")
    columns = {
        "cells": [name for name in ARRAYS if set(ARRAYS[name].axes) <= set(axes)],
        "runs": [*CURVES, "heat_bath"],
        "curves": [f"{name}_curve{part}" for name in CURVES for part in ("", "_half_width")],
    }[what]
    along = {"cells": (), "runs": ("run",), "curves": ("step",)}[what]
    labels = [getattr(result, axis).tolist() for axis in (*axes, *along)]

    def rows() -> Iterator[list[Any]]:
        for index in itertools.product(*(range(len(x)) for x in labels)):
            at = dict(zip((*axes, *along), index, strict=True))
            if labels[2][at["n"]] not in result.ns_of(labels[0][at["game"]]):
                continue
            places = [values[i] for values, i in zip(labels, index, strict=True)]
            yield places + [float(result.arrays[x][tuple(at[axis] for axis in ARRAYS[x].axes)]) for x in columns]

    return Table(header=[*axes, *along, *columns], rows=rows())
