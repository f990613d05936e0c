"""Parts that all figures share: style, axes, titles, and writing the file. No window, no global state."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, ScalarFormatter

from .files import write_bytes_atomically

WIDTH_IN = 7.2
DOTS_PER_INCH = 150
MAX_LEGEND = 8
"""More curves than this share a colour bar."""
MAX_TICKS_OF_BAR = 15

INK = "#0072B2"
EXACT_INK = "#000000"
# Colours of Okabe and Ito, told apart by the colour-blind; a dash pattern each, and a marker, for those who print grey.
LINE_STYLES = (
    ("#D55E00", "--", "s"),
    ("#009E73", "-.", "^"),
    ("#CC79A7", ":", "D"),
    ("#000000", (0, (7, 2, 1, 2)), "v"),
    ("#56B4E9", (0, (1, 1)), "P"),
    ("#E69F00", (0, (7, 2)), "X"),
)
# Viridis without its yellow end, which white paper swallows.
SEQUENCE, SEQUENCE_END = "viridis", 0.9

STYLE = {
    "font.size": 9.0,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "0.9",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "svg.hashsalt": "kofn",
}

TITLE_CHARACTERS, SUBTITLE_CHARACTERS = 74, 96
TITLE_PT = 11.0
# Horizontal lines that would make the axis this many times longer are left out.
FAR = 4.0
# Width of the axes and of a digit, for the choice of ticks alone.
AXES_WIDTH_IN, DIGIT_IN, TICK_GAP_IN = 6.0, 0.08, 0.1


@contextmanager
def new_figure(path: str | Path, height_in: float, *, svg: bool = False) -> Iterator[tuple[Figure, list[Path]]]:
    """A figure to draw, written at the end unless an error ended it; settings of the user's matplotlib neither enter nor change.

    Parameters
    ----------
    path : path          of the PNG; an SVG gets the same name with its own suffix
    height_in : float    of the figure
    svg : bool           whether to write an SVG as well

    Returns
    -------
    the figure, and the list that gets the paths written

    Raises
    ------
    ValueError      the name does not end in .png
    KofnFileError   a file cannot be written
    """
    paths: list[Path] = []
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        yield figure, paths
        paths += write_figure(figure, path, svg)


def increasing_ks(ks: Any) -> np.ndarray:
    """The subsample sizes as int64[n_k]; ValueError unless they are positive and increase."""
    found = np.asarray(ks)
    if (
        found.ndim != 1
        or found.size == 0
        or found.dtype.kind not in "iu"
        or found[0] < 1
        or (np.diff(found) <= 0).any()
    ):
        raise ValueError(f"ks: found {found.tolist()}, expected whole numbers of at least 1 in increasing order")
    return found.astype(np.int64)


def float_array(name: str, value: Any, shape: tuple[int | None, ...], *, may_be_empty: bool = False) -> np.ndarray:
    """An array of a shape (None: any size) as float64, NaN for what is not finite; ValueError if nothing is left."""
    array = np.array(value, dtype=np.float64)
    expected = "×".join("any" if size is None else str(size) for size in shape)
    if array.ndim != len(shape) or any(size not in (None, array.shape[i]) for i, size in enumerate(shape)):
        raise ValueError(f"{name}: found shape {array.shape}, expected {expected}")
    array[~np.isfinite(array)] = np.nan
    if not may_be_empty and not np.isfinite(array).any():
        raise ValueError(f"{name}: found no finite number, expected something to draw")
    return array


def colours_in_order(n: int) -> np.ndarray:
    """Colours from dark to light for n ordered curves, float64[n, 4]."""
    return matplotlib.colormaps[SEQUENCE](np.linspace(0.0, SEQUENCE_END, n) if n > 1 else np.array([0.25]))


def subtitle(*parts: str) -> str:
    """The parts that say something, in one line."""
    return " · ".join(part for part in parts if part)


def short_power(value: float) -> str:
    """One digit, such as 3e-7."""
    return f"{value:.1g}".replace("e-0", "e-").replace("e+0", "e")


def sample_size(n_agents: int | None, n_runs: int | None) -> str:
    """`n = 1,000 agents · 30 runs`, of what is known."""
    runs = "" if n_runs is None else f"{n_runs:,} run{'s' if n_runs != 1 else ''}"
    return subtitle("" if n_agents is None else f"n = {n_agents:,} agents", runs)


def add_titles(figure: Figure, title: str, below: str) -> None:
    """A bold title and a subtitle over the whole width, both wrapped; no markup is interpreted."""
    # `wrap` of matplotlib does not take part in the layout.
    title_lines = textwrap.wrap(title, TITLE_CHARACTERS) or [""]
    below_lines = textwrap.wrap(below, SUBTITLE_CHARACTERS)
    # Empty lines make the layout leave room for the subtitle, which has another font.
    room = "\n".join(title_lines + [" "] * len(below_lines))
    figure.suptitle(room, x=0.012, ha="left", fontsize=TITLE_PT, fontweight="bold", parse_math=False)
    below_title_in = 0.06 + len(title_lines) * 1.25 * TITLE_PT / 72
    y = 1.0 - below_title_in / figure.get_figheight()
    figure.text(0.012, y, "\n".join(below_lines), ha="left", va="top", color="0.3", parse_math=False)


def add_key(
    figure: Figure,
    panels: list[Axes],
    labels: Sequence[str],
    colours: np.ndarray,
    title: str,
    *,
    title_of_bar: str = "",
    places: Sequence[int] | None = None,
) -> None:
    """Tell which colour is which of some ordered numbers: a legend for few, a colour bar for many.

    Parameters
    ----------
    panels : the axes of the figure
    labels : n texts
    colours : float64[n, 4]
    title : str                     what the numbers are, with their unit
    title_of_bar : str              the same where there is room for more; default: `title`
    places : positions, optional    of the numbers that a colour bar labels; default: evenly spread ones
    """
    n = len(labels)
    if n <= MAX_LEGEND:
        handles = [Line2D([], [], color=colour, lw=2, label=x) for x, colour in zip(labels, colours, strict=True)]
        figure.legend(handles=handles, loc="outside right center", title=title)
        return
    mappable = ScalarMappable(BoundaryNorm(np.arange(n + 1) - 0.5, n), ListedColormap(colours))
    bar = figure.colorbar(mappable, ax=panels, label=title_of_bar or title, aspect=30, pad=0.02)
    shown = spread_evenly(n, MAX_TICKS_OF_BAR) if places is None else places
    bar.set_ticks(shown, labels=[labels[i] for i in shown])
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)


def add_key_of_ks(figure: Figure, panels: list[Axes], ks: np.ndarray, colours: np.ndarray) -> None:
    """Tell which colour is which k, if there are several."""
    if ks.size > 1:
        add_key(
            figure, panels, [str(k) for k in ks], colours, "k [agents]", title_of_bar="Subsample size k [agents]",
            places=_places_to_label(ks),
        )  # fmt: skip


def spread_evenly(n: int, most: int) -> list[int]:
    """Positions of at most so many of n things, from the first to the last."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64)).tolist()


def _places_to_label(ks: np.ndarray) -> list[int]:
    """Positions of at most some fifteen ks: the first, the last, and round numbers between them if there are any."""
    n, most = ks.size, MAX_TICKS_OF_BAR
    if n <= most:
        return list(range(n))
    for step in (2, 5, 10, 20, 50, 100, 200, 500, 1000):
        round_ones = np.flatnonzero(ks % step == 0)
        # Labels as far apart as those of `most` even ones.
        inner = [int(i) for i in round_ones if i >= n / most and n - 1 - i >= n / most]
        if len(inner) <= most - 2 and (np.diff(inner) >= n / most).all():
            break
    if len(inner) >= 3:
        return [0, *inner, n - 1]
    return spread_evenly(n, most)


def set_k_axis(axes: Axes, ks: np.ndarray) -> None:
    """Label the k axis: every k if there is room; logarithmic where the ks grow by factors rather than by steps."""
    axes.set_xlabel("Subsample size k [agents]")
    grow = ks.size > 2 and ks[-1] >= 20 * ks[0] and _unevenness(np.log(ks)) < _unevenness(ks)
    if grow:
        set_log_k_axis(axes, ks)
        return
    pad = max(0.5, 0.02 * (ks[-1] - ks[0]))
    axes.set_xlim(ks[0] - pad, ks[-1] + pad)
    ticks = spread_out(ks, ks)
    if len(ticks) < ks.size:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, steps=[1, 2, 5, 10]))
    else:
        axes.set_xticks(ticks, labels=[str(k) for k in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def set_log_k_axis(axes: Axes, ks: np.ndarray) -> None:
    """A logarithmic k axis with ticks at the ks whose labels fit."""
    axes.set_xlabel("Subsample size k [agents]")
    axes.set_xscale("log")
    margin = max(1.15, (ks[-1] / ks[0]) ** 0.03)
    axes.set_xlim(ks[0] / margin, ks[-1] * margin)
    ticks = spread_out(ks, np.log(ks))
    axes.set_xticks(ticks, labels=[str(k) for k in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def _unevenness(places: np.ndarray) -> float:
    gaps = np.diff(places)
    return float(gaps.std() / gaps.mean())


def spread_out(ks: np.ndarray, places: np.ndarray) -> list[int]:
    """The ks whose labels fit side by side, the last one always among them."""
    inches = (places - places[0]) / max(places[-1] - places[0], 1) * AXES_WIDTH_IN
    kept: list[int] = []
    left_of_next = math.inf
    for k, place in zip(ks[::-1].tolist(), inches[::-1].tolist(), strict=True):
        half_label = len(str(k)) * DIGIT_IN / 2
        if place + half_label + TICK_GAP_IN <= left_of_next:
            kept.append(k)
            left_of_next = place - half_label
    return kept[::-1]


def plain_numbers(axes: Axes) -> None:
    """Write the tick labels of the y axis in full: no common factor or offset at its head."""
    formatter = ScalarFormatter(useOffset=False)
    formatter.set_scientific(False)
    axes.yaxis.set_major_formatter(formatter)


def show_at_least(axes: Axes, least: float) -> None:
    """Widen the y axis to span at least this, so that noise is not magnified."""
    low, high = axes.get_ylim()
    if high - low < least:
        axes.set_ylim((low + high - least) / 2, (low + high + least) / 2)


def set_log_y(axes: Axes, values: np.ndarray) -> None:
    """A logarithmic y axis with at least two labelled ticks."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    decades = math.log10(high / low)
    axes.set_yscale("log")
    margin = 10 ** max(0.06 * decades, 0.35)
    axes.set_ylim(low / margin, high * margin)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.5 else (1.0,), numticks=12))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _in_full_or_power(value)))


def _in_full_or_power(value: float) -> str:
    if 1e-4 <= value < 1e5:
        return f"{value:,.10g}"
    exponent = math.floor(math.log10(value) + 1e-9)
    factor = round(value / 10.0**exponent)
    return f"$10^{{{exponent}}}$" if factor == 1 else f"${factor}\\cdot10^{{{exponent}}}$"


def draw_points(axes: Axes, ks: np.ndarray, mean: np.ndarray, half_width: np.ndarray, label: str = "") -> list[Any]:
    """Points with bars, joined by a thin line; the handle for a legend, if they have a label."""
    axes.plot(ks, mean, color=INK, lw=0.8, alpha=0.6)
    bars = np.nan_to_num(half_width)
    drawn = axes.errorbar(
        ks, mean, yerr=bars, fmt="o", ms=4, color=INK, ecolor=INK, elinewidth=1.1, capsize=2.5, label=label
    )
    return [drawn] if label else []


def draw_exact(axes: Axes, ks: np.ndarray, values: np.ndarray, label: str) -> list[Any]:
    """Open diamonds for what is known without noise; the handle for a legend."""
    return axes.plot(ks, values, ls="none", marker="D", ms=6.5, mfc="none", mec=EXACT_INK, mew=1.2, label=label)


def limit_and_compare(
    figure: Figure,
    axes: Axes,
    low: float,
    high: float,
    least: float,
    lines: Mapping[str, float],
    series: Sequence[Any] = (),
) -> None:
    """Fit the y axis to the data and to the horizontal lines near them; name all lines in a legend.

    Parameters
    ----------
    low, high : float    range of the data
    least : float        the axis spans at least this, so that noise is not magnified
    lines : {label: value}
    series : legend handles of what is drawn already
    """
    flat = high - low <= least
    if flat:
        low, high = (low + high - least) / 2, (low + high + least) / 2
    shown_low, shown_high = low, high
    handles = list(series)
    for (label, value), (colour, dashes, _) in zip(lines.items(), repeated_styles(len(lines)), strict=True):
        if not math.isfinite(value):
            continue
        # A far line would flatten the data, unless they are flat anyway.
        near = flat or max(high, value) - min(low, value) <= FAR * (high - low)
        text = f"{label}: {value:.6g}" + ("" if near else f", {'above' if value > high else 'below'} the axis")
        text = textwrap.fill(text, SUBTITLE_CHARACTERS - 8)
        handles.append(Line2D([], [], color=colour, ls=dashes, lw=1.3, label=text))
        if near:
            axes.axhline(value, color=colour, ls=dashes, lw=1.3, zorder=1.5)
            shown_low, shown_high = min(shown_low, value), max(shown_high, value)
    margin = 0.08 * (shown_high - shown_low) or 0.5
    axes.set_ylim(shown_low - margin, shown_high + margin)
    if handles:
        short = max(len(str(handle.get_label())) for handle in handles) <= SUBTITLE_CHARACTERS // 2 - 6
        figure.legend(handles=handles, loc="outside lower center", ncols=2 if short and len(handles) > 1 else 1)


def repeated_styles(n: int) -> Iterable[tuple[Any, Any, str]]:
    """Colour, dashes and marker of n lines."""
    return (LINE_STYLES[i % len(LINE_STYLES)] for i in range(n))


def write_figure(figure: Figure, out_path: str | Path, svg: bool) -> list[Path]:
    """Write a PNG and, if asked for, an SVG beside it, each atomically; the same figure makes the same bytes."""
    path = Path(out_path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"out_path: found {path.name!r}, expected a name that ends in .png")
    paths = [path]
    write_bytes_atomically(path, _rendered(figure, "png"))
    if svg:
        paths.append(path.with_suffix(".svg"))
        write_bytes_atomically(paths[-1], _rendered(figure, "svg"))
    return paths


def _rendered(figure: Figure, file_format: str) -> bytes:
    buffer = io.BytesIO()
    metadata = {"Date": None} if file_format == "svg" else {}
    figure.savefig(buffer, format=file_format, dpi=DOTS_PER_INCH, metadata=metadata)
    return buffer.getvalue()
