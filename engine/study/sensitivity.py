"""The count sensitivity of each game and class of a study: does k matter at all? Asked before anything long runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..action_classes import count_items
from ..files import write_bytes_atomically
from ..sensitivity import CountSensitivity, count_sensitivity
from ..solve import solve
from .cells import Cell
from .settings import game_name

# It is taken at the largest k that is this cheap.
SENSITIVITY_ITEMS = 10_000
_IDENTITY = ("k", "actions", "expectation", "samples", "tol", "solve_seed", "game", "local_policy")

Sensitivities = dict[str, dict[str, dict[str, Any]]]


def sensitivities(path: Path, cells: Sequence[Cell], should_stop: Callable[[], bool]) -> Sensitivities:
    """Count sensitivities by game and class, kept in a file so that a study started again does not redo them.

    Parameters
    ----------
    path : path       of the file
    cells : of the grid
    should_stop : asked a few times per second

    Returns
    -------
    {game: {actions: summary}}
    """
    chosen: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        chosen.setdefault((game_name(cell.game), cell.actions), []).append(cell)
    kept = _kept(path)
    found: Sensitivities = {}
    entries = []
    for (name, actions), group in chosen.items():
        cell = _cheap_one(group)
        identity = {key: cell.identity[key] for key in _IDENTITY}
        summary = next((x["sensitivity"] for x in kept if x["identity"] == identity), None)
        if summary is None:
            summary = _summary_of(cell, should_stop)
        entries.append({"identity": identity, "sensitivity": summary})
        found.setdefault(name, {})[actions] = summary
    if entries != kept:
        write_bytes_atomically(path, json.dumps(entries, indent=1).encode())
    return found


def _cheap_one(cells: Sequence[Cell]) -> Cell:
    """The largest cheap k, with exact expectations if there are any."""
    exact = [cell for cell in cells if cell.expectation == "exact"] or list(cells)
    cheap = [c for c in exact if count_items(c.k, c.game.n_sl, c.game.n_al, c.actions) <= SENSITIVITY_ITEMS]
    return max(cheap, key=lambda cell: cell.k) if cheap else min(exact, key=lambda cell: cell.k)


def _kept(path: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return [
            x for x in entries if isinstance(x["identity"], dict) and isinstance(x["sensitivity"]["can_matter"], bool)
        ]
    except (OSError, ValueError, KeyError, TypeError):
        # Not there, not ours or damaged: it is cheap to compute anew.
        return []


def _summary_of(cell: Cell, should_stop: Callable[[], bool]) -> dict[str, Any]:
    solution = solve(
        cell.game, cell.k, cell.actions, cell.expectation, cell.tol, local_policy=cell.local_policy,
        samples=max(1, cell.samples), seed=cell.solve_seed, memory_bytes=cell.memory_bytes, should_stop=should_stop,
    )  # fmt: skip
    return summarise_sensitivity(count_sensitivity(solution))


def summarise_sensitivity(sensitivity: CountSensitivity) -> dict[str, Any]:
    """A count sensitivity as JSON-ready values."""
    blind, gap = sensitivity.count_blind, sensitivity.blind_gap
    return {
        "k": sensitivity.k,
        "share_of_global_states": sensitivity.share_of_global_states,
        "additive_residual": sensitivity.additive_residual,
        "relative_residual": sensitivity.relative_residual,
        "blind_gap": None if math.isnan(gap) else gap,
        "blind_value": None if blind is None else blind.value,
        "blind_is_best": blind is not None and bool(blind.is_best),
        "varies_within_field": sensitivity.varies_within_field,
        "can_matter": bool(sensitivity.can_matter),
        "verdict": sensitivity.verdict,
    }


def sensitivity_text(summary: dict[str, Any]) -> str:
    """A summary as a text of a few lines."""
    gap = summary["blind_gap"]
    lost = "an unknown amount" if gap is None else f"{gap:.3g}" if summary["blind_is_best"] else f"at most {gap:.3g}"
    within = summary.get("varies_within_field")
    field = (
        ""
        if within is None
        else f"  within one field value it varies in {100 * within:.0f} % of their pairs with one\n"
    )
    return (
        f"count sensitivity at k = {summary['k']}: the best a_g varies with the counts in "
        f"{100 * summary['share_of_global_states']:.0f} % of the global states\n"
        f"{field}"
        f"  additive fit off by at most {summary['additive_residual']:.3g} "
        f"({100 * summary['relative_residual']:.2g} % of the value's range)\n"
        f"  a policy blind to counts loses {lost} from the initial law\n"
        f"  {summary['verdict']}"
    )
