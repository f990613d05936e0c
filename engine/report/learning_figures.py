"""The figures of a report on learning: curves, reward against n, order against temperature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..learning.ising import CRITICAL_TEMPERATURE, onsager_magnetisation
from ..learning.result import half_width
from ..learning.settings import rule_in_words, unit_of_time
from ..study.learning_results import LearningStudy
from .charts import BOTTOM_PX, RIGHT_PX, TOP_PX, Chart, Scale, grows, k_axis, label_width, linear_ticks
from .figures import Entry, figure_html
from .numbers import number, plus_minus

MAX_SERIES = 4
# Points of a line on the page; longer curves are averaged.
MAX_POINTS = 150
_SHAPES = ("circle", "square", "up", "down")


class _Series(NamedTuple):
    """A line with a 95 % interval at each of its points."""

    label: str
    x: np.ndarray
    mean: np.ndarray
    half: np.ndarray


def curves_figure(result: LearningStudy, game: str, n: int, identity: str) -> str:
    """Reward against steps, of at most four methods and temperatures."""
    methods, temperatures = result.method.tolist(), result.temperature.tolist()
    most = max(1, MAX_SERIES // len(methods))
    chosen = [
        temperatures[i]
        for i in np.unique(np.linspace(0, len(temperatures) - 1, min(most, len(temperatures))).astype(int))
    ]
    series = []
    for method in methods:
        for temperature in chosen:
            at = {"game": game, "method": method, "n": n, "temperature": temperature}
            label = method + (f", T = {temperature:g}" if len(temperatures) > 1 else "")
            mean, half = result.sel("reward_curve", **at), result.sel("reward_curve_half_width", **at)
            series.append(_Series(label, *_thinned(result.step.astype(np.float64), mean, half)))
    if not result.step.size:
        return ""
    best = float(result.sel("best_reward", game=game, n=n))
    levels = {"best team reward": best} if math.isfinite(best) else {}
    time = unit_of_time(result.config["learning"].get("order"))

    def draw(width: float, height: float) -> tuple[Chart, list[Entry], str]:
        chart = _frame(
            series, [*levels.values()], width, height, f"Time [{time}]", "System reward per step [reward]", zero=True
        )
        entries = [_draw(chart, one, i, marks=False) for i, one in enumerate(series)]
        entries += [_level(chart, value, text) for text, value in levels.items()]
        ends = "; ".join(f"{one.label}: {number(float(one.mean[-1]), 4)}" for one in series)
        return chart, entries, f"Reward at the end, {ends}."

    return figure_html(identity, draw, f"Reward while learning, n = {n:,}")


def score_figure(result: LearningStudy, game: str, temperature: float, identity: str) -> str:
    """Reward over the tail of the runs against n."""
    ns = np.array(result.ns_of(game), dtype=np.int64)
    rows = [result.position("n", n) for n in ns.tolist()]
    series = []
    for method in result.method.tolist():
        at = {"game": game, "method": method, "temperature": temperature}
        mean, half = result.sel("mean_reward", **at)[rows], result.sel("reward_half_width", **at)[rows]
        series.append(_Series(method, ns.astype(np.float64), mean, half))
    levels = [result.sel(name, game=game)[rows] for name in ("best_reward", "uniform_reward")]
    known = [x for x in np.concatenate(levels).tolist() if math.isfinite(x)]

    def draw(width: float, height: float) -> tuple[Chart, list[Entry], str]:
        chart = _frame(series, known, width, height, "Agents n", "System reward per step [reward]", ns=ns)
        entries = [_draw(chart, one, i, shift=7.0 * (i - (len(series) - 1) / 2)) for i, one in enumerate(series)]
        for values, css, text in zip(
            levels, ("ink dashed", "muted dotted"), ("best team reward", "uniform play"), strict=True
        ):
            if np.isfinite(values).any():
                chart.path(ns.astype(float).tolist(), values.tolist(), css)
                entries.append(Entry(css=css, text=text))
        pairs = [f"{one.label} {number(float(m), 4)} at n = {x:.0f}" for one in series for x, m in zip(one.x, one.mean)]
        return chart, entries, f"{'; '.join(pairs)}."

    return figure_html(identity, draw, f"Reward against the number of agents, {rule_in_words(temperature)}")


def order_figure(result: LearningStudy, game: str, n: int, identity: str) -> str:
    """|Mean weight| against temperature, with the heat bath and Onsager's curve for an Ising game; empty for one temperature."""
    at = result.temperature
    if at.size < 2:
        return ""
    series = [
        _Series(
            method, at, result.sel("mean_abs_weight", game=game, method=method, n=n),
            result.sel("abs_weight_half_width", game=game, method=method, n=n),
        )
        for method in result.method.tolist()
    ]  # fmt: skip
    bath = result.sel("heat_bath", game=game, n=n)
    ising = bool(np.isfinite(bath).any())
    if ising:
        series.append(_Series("heat bath at 2 T", at, bath.mean(axis=1), np.array([half_width(row) for row in bath])))

    def draw(width: float, height: float) -> tuple[Chart, list[Entry], str]:
        what = "Mean magnetisation |m|" if ising else "|Mean weight|"
        chart = _frame(series, [0.0, 1.0] if ising else [], width, height, "Temperature T [reward]", what)
        entries = []
        if ising:
            fine = np.unique(np.append(np.linspace(at[0], at[-1], 200), np.clip(CRITICAL_TEMPERATURE, at[0], at[-1])))
            chart.path(fine.tolist(), onsager_magnetisation(fine).tolist(), "ink thin")
            entries.append(
                Entry(css="ink thin", text=f"Onsager, infinite lattice; critical at T = {CRITICAL_TEMPERATURE:.4f}")
            )
        entries += [_draw(chart, one, i, hollow=ising and one is series[-1]) for i, one in enumerate(series)]
        pairs = [f"{number(float(m), 3)} at T = {x:g}" for x, m in zip(series[0].x, series[0].mean)]
        return chart, entries, f"{series[0].label}: {'; '.join(pairs)}."

    return figure_html(identity, draw, f"Order against temperature, n = {n:,}")


def _thinned(x: np.ndarray, mean: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A curve of at most so many points: blocks of points become their means, half widths too, which is cautious."""
    block = -(-x.size // MAX_POINTS)
    starts = np.arange(0, x.size, max(block, 1))
    sizes = np.diff(np.append(starts, x.size))
    ends = starts + sizes - 1
    return x[ends], np.add.reduceat(mean, starts) / sizes, np.add.reduceat(half, starts) / sizes


def _frame(
    series: Sequence[_Series], extra: Sequence[float], width: float, height: float, x_title: str, y_title: str, *,
    ns: np.ndarray | None = None, zero: bool = False,
) -> Chart:  # fmt: skip
    ends = [one.mean + sign * np.nan_to_num(one.half) for one in series for sign in (-1.0, 1.0)]
    values = np.concatenate([*ends, np.array(extra)])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.07 * (high - low) or max(0.5, 1e-6 * abs(high))
    low, high = low - margin, high + margin
    y_ticks = linear_ticks(low, high, 6)
    left = label_width(y_ticks)
    if ns is not None:
        x, x_ticks = k_axis(ns, left, width, log=grows(ns))
    else:
        first, last = (0.0 if zero else float(series[0].x[0])), float(series[0].x[-1])
        room = 0.02 * (last - first) or 0.5
        x = Scale(low=first - room, high=last + room, start_px=left, end_px=width - RIGHT_PX - 8, log=False)
        x_ticks = linear_ticks(first, last if last > first else first + 1.0, 7 if width > 400 else 5)
    y = Scale(low=low, high=high, start_px=height - BOTTOM_PX, end_px=TOP_PX, log=False)
    return Chart(
        width=width, height=height, x=x, y=y, x_ticks=x_ticks, y_ticks=y_ticks, x_title=x_title, y_title=y_title
    )


def _draw(chart: Chart, one: _Series, i: int, *, marks: bool = True, hollow: bool = False, shift: float = 0.0) -> Entry:
    css = f"c{i % 4 + 1}"
    xs, half = one.x.tolist(), np.nan_to_num(one.half)
    if not marks:
        if half.any():
            chart.area(xs, (one.mean - half).tolist(), (one.mean + half).tolist(), css)
        chart.path(xs, one.mean.tolist(), f"{css} thin")
        return Entry(css=css, text=one.label)
    if not shift:
        chart.path(xs, one.mean.tolist(), f"{css} thin")
    for x, mean, margin in zip(xs, one.mean.tolist(), half.tolist(), strict=True):
        if math.isfinite(mean):
            if margin > 0:
                chart.bar(x, mean - margin, mean + margin, css, shift)
            label = f"{one.label} at {x:g}: {number(mean, 5)}" + (f" ± {plus_minus(margin)}" if margin > 0 else "")
            chart.point(x, mean, _SHAPES[i % 4], f"{css} hollow" if hollow else css, label, shift)
    return Entry(css=f"{css} hollow" if hollow else css, shape=_SHAPES[i % 4], line=not shift, text=one.label)


def _level(chart: Chart, value: float, text: str) -> Entry:
    text = f"{text}: {number(value, 6)}"
    chart.level(value, "ink dashed", text)
    return Entry(css="ink dashed", text=text)
