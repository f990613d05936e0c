"""Comparisons as text for people and as CSV for programs."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from .compare import Comparison, GroupSummary

HEAD = (
    "metric", "group", "reference", "difference", "t interval", "bootstrap", "g", "delta", "p (t)", "p (rank)"
)  # fmt: skip


def comparison_lines(rows: Sequence[Comparison]) -> list[str]:
    """A table of text, p-values corrected."""
    cells = [
        (
            row.metric, row.group, row.reference, f"{row.difference:.5g}", _interval(row.t_low, row.t_high),
            _interval(row.boot_low, row.boot_high), _effect(row.hedges_g), f"{row.cliffs_delta:.2f}",
            _probability(row.p_t_adjusted), _probability(row.p_rank_adjusted),
        )
        for row in rows
    ]  # fmt: skip
    return aligned([HEAD, *cells], text_columns=3)


def summary_lines(rows: Sequence[GroupSummary]) -> list[str]:
    """A table of text of the groups themselves."""
    head = ("metric", "group", "seeds", "mean", "±", "median", "least", "largest")
    cells = [
        (
            row.metric, row.group, str(row.n), f"{row.mean:.6g}",
            f"{row.half_width:.2g}" if math.isfinite(row.half_width) else "", f"{row.median:.6g}", f"{row.least:.6g}",
            f"{row.largest:.6g}",
        )
        for row in rows
    ]  # fmt: skip
    return aligned([head, *cells], text_columns=2)


def aligned(rows: Sequence[Sequence[str]], *, text_columns: int) -> list[str]:
    """Rows of cells as lines; the first columns to the left, the others to the right. Names from files may hold anything."""
    rows = [["".join(c if c.isprintable() else "?" for c in cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i < text_columns else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def comparison_csv(rows: Sequence[Comparison]) -> str:
    """All fields of all comparisons, with a header; numbers in full."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0].row()), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.row() for row in rows)
    return out.getvalue()


def _interval(low: float, high: float) -> str:
    return f"{low:.4g} … {high:.4g}"


def _effect(g: float) -> str:
    return f"{g:.2f}" if math.isfinite(g) else "no spread"


def _probability(p: float) -> str:
    return f"{p:.1e}" if p < 1e-3 else f"{p:.3f}"
