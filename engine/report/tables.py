"""The tables of a report, with headers that screen readers announce and a frame of their own to scroll in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .data import Panel
from .numbers import MISSING, decimals_for, fixed, number, plus_minus, prose

# Array, its half width, heading, whether only the leading digits matter (for what falls over decades).
_COLUMNS = (
    ("value", "value_half_width", "V* of the k‑agent game", False),
    ("exact_value", "exact_half_width", "Exact value, n agents", False),
    ("mean_return", "return_half_width", "Simulated return", False),
    ("gap", "gap_half_width", "Gap to V*", True),
    ("worst_gap", "gap_half_width", "Worst gap of any start", True),
    ("refined_gain", "refined_gain_half_width", "Gain by refining", True),
    ("refined_mean_return", "", "Simulated return, refined", False),
    ("mode_accuracy", "", "Mode accuracy", False),
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell: HTML, whether it is text (flush left), and whether it may take several lines."""

    html: str
    text: bool = False
    wraps: bool = False
    heading: bool = False

    def to_html(self, scope: str = "") -> str:
        css = " ".join(name for name, on in (("text", self.text), ("wrap", self.wraps)) if on)
        css = f' class="{css}"' if css else ""
        if scope or self.heading:
            return f'<th scope="{scope or "row"}"{css}>{self.html}</th>'
        return f"<td{css}>{self.html}</td>"


def table_html(caption: str, header: Sequence[Cell], rows: Sequence[Sequence[Cell]]) -> str:
    """A table with a caption, in a region that scrolls sideways where it is too wide for the page."""
    head = "".join(cell.to_html("col") for cell in header)
    body = "".join(f"<tr>{''.join(cell.to_html() for cell in row)}</tr>" for row in rows)
    label = prose(caption)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}"><table><caption>{label}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def cells_table(panel: Panel) -> str:
    """One row for each k and seed, with the columns of which anything is known."""
    columns = _known_columns(panel)
    formatted = [_column(panel, *column) for column in columns]
    several_seeds = len(panel.seeds) > 1
    header = [Cell(html="k")] + [Cell(html="seed")] * several_seeds + [Cell(html=column[2]) for column in columns]
    rows = []
    for i, k in enumerate(panel.k.tolist()):
        for j, seed in enumerate(panel.seeds):
            if any(np.isfinite(panel.cells[column[0]][i, j]) for column in columns):
                row = [Cell(html=fixed(k, 0), heading=True)] + [Cell(html=str(seed))] * several_seeds
                rows.append(row + [Cell(html=column[i][j]) for column in formatted])
    return table_html(f"All numbers for n = {panel.n:,}, {panel.actions} actions", header, rows)


def n_columns(panel: Panel) -> int:
    """Columns of the table of a panel, without k and seed."""
    return len(_known_columns(panel))


def _known_columns(panel: Panel) -> list[tuple[str, str, str, bool]]:
    return [column for column in _COLUMNS if np.isfinite(panel.cells[column[0]]).any()]


def _column(panel: Panel, name: str, half_name: str, _: str, leading: bool) -> list[list[str]]:
    values = panel.cells[name]
    half = panel.cells[half_name] if half_name else np.full_like(values, np.nan)
    places = decimals_for(values, half)
    texts: list[list[str]] = []
    for row, half_row in zip(values.tolist(), half.tolist(), strict=True):
        texts.append([])
        for value, margin in zip(row, half_row, strict=True):
            if leading and value <= np.nan_to_num(margin):
                text = f"≤ {plus_minus(max(value, 0.0) + (margin if math.isfinite(margin) else 0.0))}"
                texts[-1].append(text if math.isfinite(margin) else number(value))
                continue
            text = number(value) if leading else fixed(value, places)
            if text != MISSING and math.isfinite(margin):
                text += f'<span class="pm">± {plus_minus(margin)}</span>'
            texts[-1].append(text)
    return texts
