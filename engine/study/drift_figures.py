"""The figures of a study of importance weights: how weights spread as agents get more, and whether the bound holds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from ..figure_parts import (
    EXACT_INK,
    INK,
    LINE_STYLES,
    add_titles,
    new_figure,
    spread_out,
    subtitle,
)
from .drift_results import DriftStudy

FORM_STYLES = {
    "none": (LINE_STYLES[2][0], ":", "D"),
    "product": (LINE_STYLES[0][0], "--", "s"),
    "marginal": (INK, "-", "o"),
    "selfnorm": (LINE_STYLES[1][0], "-.", "^"),
}
LARGEST_LOG = 300.0
"""Larger powers of ten are not drawn."""
SEEN_APART = 0.01
"""Shares that differ by less are drawn once."""
APART = 1.04
"""Factor between the places of forms that would hide one another."""


def draw_drift_figures(result: DriftStudy, folder: Path) -> list[Path]:
    """Draw what a study has to show into its folder.

    Returns
    -------
    list of the paths written
    """
    paths = draw_weight_variances(folder / "weight-variance.png", result)
    for reward in result.reward.tolist():
        suffix = f".{reward}" if result.reward.size > 1 else ""
        paths += draw_coverage(folder / f"coverage{suffix}.png", result, reward)
    return paths


def draw_weight_variances(path: Path, result: DriftStudy) -> list[Path]:
    """Variance of the weights against n, a panel for each drift: exact curves, and what the largest samples showed."""
    ns = result.n
    with new_figure(path, 3.9) as (figure, paths):
        panels = figure.subplots(1, result.drift.size, squeeze=False, sharey=True)[0]
        for axes, drift in zip(panels, result.drift.tolist(), strict=True):
            _draw_variances(axes, result, drift)
            _set_n_axis(axes, ns, len(panels))
            axes.set_title(drift, loc="left", fontsize=9.0)
            axes.set_ylabel("Variance of the weights [1]" if axes is panels[0] else "")
        handles = [
            Line2D([], [], color=FORM_STYLES["product"][0], label="product: (1 + χ²)ⁿ − 1"),
            Line2D([], [], color=FORM_STYLES["marginal"][0], label="marginal: by convolution"),
        ]
        if _sampled(result):
            handles.append(
                Line2D([], [], color="0.4", ls="none", marker="o", mfc="none", label="of samples, not clipped")
            )
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        note = f"points: {int(result.samples[-1]):,} samples, mean of {result.config['replications']:,} estimates"
        add_titles(
            figure, "Variance of importance weights against the number of agents",
            subtitle(note if _sampled(result) else ""),
        )  # fmt: skip
    return paths


def _sampled(result: DriftStudy) -> list[str]:
    return [form for form in ("product", "marginal") if form in result.form.tolist()]


def _draw_variances(axes: Axes, result: DriftStudy, drift: str) -> None:
    log_product = result.sel("log_second_moment_product", drift=drift)
    log_marginal = result.sel("log_second_moment_marginal", drift=drift)
    with np.errstate(over="ignore"):
        product, marginal = (
            np.where(logs < LARGEST_LOG * math.log(10), np.expm1(logs), np.nan) for logs in (log_product, log_marginal)
        )
    axes.set_yscale("log")
    for form, values in (("product", product), ("marginal", marginal)):
        colour, _, marker = FORM_STYLES[form]
        axes.plot(result.n, np.where(values > 0.0, values, np.nan), color=colour, lw=1.3)
        if form in _sampled(result):
            found = result.sel("sampled_second_moment", drift=drift, samples=int(result.samples[-1]), form=form) - 1.0
            shown = np.where((found > 0.0) & (found < 10**LARGEST_LOG), found, np.nan)
            axes.plot(result.n, shown, ls="none", marker=marker, ms=5.5, mfc="none", mec=colour)
    axes.yaxis.set_major_locator(LogLocator(numticks=8))
    axes.yaxis.set_minor_locator(NullLocator())


def draw_coverage(path: Path, result: DriftStudy, reward: str) -> list[Path]:
    """Share of estimates within the bound, and below it the bound beside the mean error, for every drift."""
    samples = int(result.samples[-1])
    drifts = result.drift.tolist()
    with new_figure(path, 5.4) as (figure, paths):
        panels = figure.subplots(2, len(drifts), squeeze=False, sharex=True, sharey="row")
        for column, drift in enumerate(drifts):
            top, bottom = panels[:, column]
            top.set_title(drift, loc="left", fontsize=9.0)
            top.axhline(1.0 - result.config["delta"], color=EXACT_INK, lw=1.0, ls="--")
            for form in result.form.tolist():
                _draw_form(top, bottom, result, {"drift": drift, "samples": samples, "reward": reward, "form": form})
            bottom.set_yscale("log")
            _set_n_axis(bottom, result.n, len(drifts))
        panels[0, 0].set_ylabel("Covered share [1]")
        panels[0, 0].set_ylim(-0.04, 1.06)
        panels[1, 0].set_ylabel("Bound and mean |error|\n[reward units]")
        handles: list[Any] = [
            Line2D([], [], color=colour, ls=dashes, marker=marker, ms=4.5, label=form)
            for form, (colour, dashes, marker) in FORM_STYLES.items()
            if form in result.form.tolist()
        ]
        handles.append(Line2D([], [], color="0.4", ls="none", marker="x", ms=5, label="mean |error|"))
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        by_sample = np.abs(result.sel("covered_estimated") - result.sel("covered")) > SEEN_APART
        note = f"{samples:,} samples, {result.config['replications']:,} estimates"
        below = subtitle(
            note, f"clip {result.config['clip']:g}", f"dashed: 1 − δ = {1.0 - result.config['delta']:g}", "bars: 95 %",
            "open: mean weight above the clip taken from each sample" if by_sample.any() else "",
        )  # fmt: skip
        add_titles(figure, f"{reward}: coverage and width of the bound", below)
    return paths


def _draw_form(top: Axes, bottom: Axes, result: DriftStudy, at: dict[str, Any]) -> None:
    colour, dashes, marker = FORM_STYLES[at["form"]]
    places = result.n * APART ** (list(FORM_STYLES).index(at["form"]) - 1.5)
    covered, low, high = (result.sel(name, **at) for name in ("covered", "covered_low", "covered_high"))
    bars = np.nan_to_num(np.maximum([covered - low, high - covered], 0.0))
    top.errorbar(
        places, covered, yerr=bars, color=colour, ls=dashes, marker=marker, ms=4.5, lw=1.2, elinewidth=1.0, capsize=2
    )
    estimated = result.sel("covered_estimated", **at)
    differs = np.abs(estimated - covered) > SEEN_APART
    top.plot(places, np.where(differs, estimated, np.nan), color=colour, ls="none", marker=marker, ms=5.5, mfc="none")
    width, error = result.sel("half_width", **at), result.sel("abs_error", **at)
    bottom.plot(result.n, np.where(width > 0.0, width, np.nan), color=colour, ls=dashes, marker=marker, ms=4.5, lw=1.2)
    bottom.plot(places, np.where(error > 0.0, error, np.nan), color=colour, ls="none", marker="x", ms=5)


def _set_n_axis(axes: Axes, ns: np.ndarray, n_panels: int) -> None:
    axes.set_xlabel("Agents n [agents]")
    if ns.size > 1:
        axes.set_xscale("log")
        margin = max(1.15, (ns[-1] / ns[0]) ** 0.05)
        axes.set_xlim(ns[0] / margin, ns[-1] * margin)
    ticks = spread_out(ns, np.log(ns) * n_panels) if n_panels == 1 else ns.tolist()[:: max(1, -(-ns.size // 6))]
    axes.set_xticks(ticks, labels=[str(n) for n in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
