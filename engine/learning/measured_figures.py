"""What learned policies are worth over learning time, as a figure: the gap to the optimum, and what best responses gain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from ..figure_parts import INK, LINE_STYLES, add_titles, new_figure, sample_size, subtitle
from .result import Learned
from .settings import rule_in_words

HIGH_IN = 5.2


def draw_measured(path: str | Path, learned: Learned, *, svg: bool = False) -> list[Path]:
    """Two panels over the steps of learning: V*_n − V of every run, and the gains of best responses; means as thick lines.

    Parameters
    ----------
    path, svg : as in `engine.figure_parts.new_figure`
    learned : Learned    with `measured`

    Returns : list of the paths written

    Raises : ValueError (nothing was measured), and what `engine.figure_parts.new_figure` raises
    """
    measured, settings = learned.measured, learned.settings
    if measured is None:
        raise ValueError("learned: found nothing measured, expected exact values")
    with new_figure(path, HIGH_IN, svg=svg) as (figure, paths):
        above, below = figure.subplots(2, 1, sharex=True)
        _draw_runs(above, measured.step, measured.gap, INK, "o", "")
        above.set_ylabel("Gap to the optimum\n[reward units]")
        above.set_ylim(bottom=min(0.0, 1.1 * float(np.nanmin(measured.gap))))
        gains = {"the global agent": measured.global_gain, "a local agent": measured.local_gain}
        shown = {name: gain for name, gain in gains.items() if np.isfinite(gain).any()}
        for (name, gain), (colour, _, marker) in zip(shown.items(), LINE_STYLES, strict=False):
            _draw_runs(below, measured.step, gain, colour, marker, name)
        below.set_ylabel("Gain of a best response\n[reward units]")
        below.set_ylim(bottom=0.0)
        below.set_xscale("log")
        below.set_xlabel("Steps of learning")
        if shown:
            figure.legend(loc="outside lower center", ncols=2)
        add_titles(
            figure,
            f"{learned.game.name or 'game'}: worth of the policy while learning",
            subtitle(
                sample_size(settings.n, settings.runs), f"{settings.method}, {rule_in_words(settings.temperature)}",
                f"optimum {measured.optimum:.5g} of {settings.n} agents who act as one", "exact",
            ),
        )  # fmt: skip
    return paths


def _draw_runs(axes: Axes, steps: np.ndarray, values: np.ndarray, colour: str, marker: str, label: str) -> None:
    """Every run as a thin line, their mean as a thick one."""
    for row in values:
        axes.plot(steps, row, color=colour, lw=0.7, alpha=0.35)
    axes.plot(steps, values.mean(axis=0), color=colour, lw=1.6, marker=marker, ms=4, label=label or None)
