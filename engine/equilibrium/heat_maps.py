"""Where the agents are over time, and which local state the global agent names: heat maps, one for each k."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from ..figure_parts import (
    LINE_STYLES,
    add_titles,
    float_array,
    new_figure,
    sample_size,
    subtitle,
)

# Light enough for both lines to stand out from its dark end, too.
HEAT, HEAT_END = "Blues", 0.75
CHOICE: dict[str, Any] = {"color": LINE_STYLES[0][0], "lw": 2.4}
# Where the choice jumps to and fro, thick lines from state to state would hide the map.
JUMP_WIDTH = 0.6
MODE: dict[str, Any] = {"color": "#000000", "lw": 1.0, "ls": (0, (3, 2))}
PANEL_IN, ONE_PANEL_IN, OUTSIDE_PANELS_IN = 1.4, 2.2, 1.6
MAX_ONE_COLUMN = 3
MAX_STATE_LABELS, LABEL_CHARACTERS = 10, 16


def draw_heat_maps(
    path: str | Path,
    panels: Sequence[tuple[int, Any, Any, Any, float]],
    *,
    labels: Sequence[Any],
    steps_per_point: int = 1,
    title: str = "Where the agents are",
    n_agents: int | None = None,
    svg: bool = False,
) -> list[Path]:
    """Shares of the agents in each local state over time, a panel for each k, with what the global agent names.

    Parameters
    ----------
    path, title, n_agents, svg : as in `engine.equilibrium.figures.draw_reward`
    panels : sequence of (k, shares, choice, mode, accuracy), as `engine.mode_tracking.mode_track` returns them
        k : int
        shares : float[T, n_sl]   of the agents in each local state
        choice : int[T]           local state that a_g names, −1 for none; None: a panel of shares alone
        mode : int[T]             most populated local state
        accuracy : float          share of the steps in which a_g names a most populated state
    labels : n_sl labels of the local states
    steps_per_point : int         steps from one row of `shares` to the next

    Returns, Raises : as in `engine.equilibrium.figures.draw_reward`
    """
    if not panels:
        raise ValueError("panels: found none, expected at least one")
    shares = [float_array(f"panels[{i}]: shares", panel[1], (None, len(labels))) for i, panel in enumerate(panels)]
    n_columns = 1 if len(panels) <= MAX_ONE_COLUMN else 2
    n_rows = -(-len(panels) // n_columns)
    height = OUTSIDE_PANELS_IN + (ONE_PANEL_IN if len(panels) == 1 else PANEL_IN * n_rows)
    with new_figure(path, height, svg=svg) as (figure, paths):
        grid = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True).ravel().tolist()
        for axes in grid[len(panels) :]:
            axes.remove()
        grid = grid[: len(panels)]
        largest = max(float(np.nanmax(x)) for x in shares)
        for i, (axes, panel, x) in enumerate(zip(grid, panels, shares, strict=True)):
            image = _draw_shares(axes, x, largest, steps_per_point)
            text = f"k = {panel[0]}"
            if panel[2] is not None:
                choice = _positions(f"panels[{i}]: choice", panel[2], x.shape, -1)
                mode = _positions(f"panels[{i}]: mode", panel[3], x.shape, 0)
                _draw_choice(axes, choice, mode, steps_per_point)
                text += f" · mode accuracy {100 * panel[4]:.0f} %"
            axes.set_title(text, loc="left", fontsize="medium")
            if i % n_columns == 0:
                axes.set_ylabel("Local state")
                _label_states(axes, labels)
            if i // n_columns == n_rows - 1:
                axes.set_xlabel("Time [steps]")
        bar = figure.colorbar(image, ax=grid, label="Share of the agents [%]", aspect=30, pad=0.02)
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g}"))
        bar.outline.set_visible(False)
        if any(panel[2] is not None for panel in panels):
            handles = [
                Line2D([], [], label="state that the global agent names", **CHOICE),
                Line2D([], [], label="state with most agents", **MODE),
            ]
            figure.legend(handles=handles, loc="outside lower center", ncols=2)
        each = "one run" if len(panels) == 1 else "one run per panel"
        add_titles(figure, title, subtitle(sample_size(n_agents, None), each))
    return paths


def _positions(name: str, value: Any, shape: tuple[int, ...], lowest: int) -> np.ndarray:
    """Positions of local states as float64[T], NaN for those below 0."""
    n_points, n_states = shape
    found = float_array(name, value, (n_points,))
    if not ((found >= lowest) & (found < n_states)).all():
        raise ValueError(f"{name}: found {np.min(found):g} to {np.max(found):g}, expected {lowest} to {n_states - 1}")
    return np.where(found >= 0.0, found, np.nan)


def _draw_shares(axes: Axes, shares: np.ndarray, largest: float, steps_per_point: int) -> Any:
    n_points, n_states = shares.shape
    half = steps_per_point / 2
    axes.grid(visible=False)
    colours = ListedColormap(matplotlib.colormaps[HEAT](np.linspace(0.0, HEAT_END, 256)))
    return axes.imshow(
        shares.T, aspect="auto", origin="lower", cmap=colours, vmin=0.0, vmax=largest,
        extent=(-half, n_points * steps_per_point - half, -0.5, n_states - 0.5),
    )  # fmt: skip


def _draw_choice(axes: Axes, choice: np.ndarray, mode: np.ndarray, steps_per_point: int) -> None:
    times = np.arange(choice.size) * steps_per_point
    half = steps_per_point / 2
    axes.step(times, choice, where="mid", color=CHOICE["color"], lw=JUMP_WIDTH)
    axes.hlines(choice, times - half, times + half, **CHOICE)
    axes.step(times, mode, where="mid", **MODE)
    axes.set_xlim(-half, times[-1] + half)


def _label_states(axes: Axes, labels: Sequence[Any]) -> None:
    """Label as many states as there is room for, from the first on."""
    places = np.arange(0, len(labels), -(-len(labels) // MAX_STATE_LABELS))
    texts = [str(labels[i]) for i in places.tolist()]
    cut = [text if len(text) <= LABEL_CHARACTERS else text[: LABEL_CHARACTERS - 1] + "…" for text in texts]
    axes.set_yticks(places, labels=cut, parse_math=False)
