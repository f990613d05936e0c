"""Checks of a game's tables: shapes, finite entries, rows of probabilities."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from .tabulation import ROW_SUM_ATOL, shown

NEGATIVE_ATOL = 1e-15
"""A negative probability no larger than this is the rounding of a difference such as 1 - 0.9 - 0.1, and becomes 0."""

# Axes of each table without a field, and what they are.
AXES = {"P_g": 3, "P_l": 4, "r_g": 2, "r_l": 3}
_MEANINGS = {
    "P_g": ("(n_sg, n_ag, n_sg)", ""),
    "P_l": ("(n_sg, n_sl, n_al, n_sl)", ", n_sg as in P_g"),
    "r_g": ("(n_sg, n_ag)", " as in P_g"),
    "r_l": ("(n_sg, n_sl, n_al)", " as in P_l"),
}


def checked_tables(given: dict[str, Any], n_f: int | None, *, by_agent: bool) -> dict[str, np.ndarray]:
    """Copy the four tables and check that their sizes agree and that every entry is finite.

    Parameters
    ----------
    given : dict        P_g, P_l, r_g and r_l
    n_f : int or None   field values, if there is a field: each table may then have an axis of them
    by_agent : bool     whether each agent has a field value of its own, which P_g and r_g cannot depend on
    """
    tables: dict[str, np.ndarray] = {}
    axes: dict[str, str] = {}
    for name, value in given.items():
        axes[name] = _MEANINGS[name][0]
        if n_f is not None and _n_axes(value) == AXES[name] + 1:
            if by_agent and name.endswith("_g"):
                raise ValueError(f"{name}: found a field axis, expected none where each agent has its own neighbours")
            axes[name] = axes[name].replace("(n_sg", "(n_sg, n_f", 1)
        tables[name] = _as_table(name, value, axes[name])
    n_sg, n_ag = tables["P_g"].shape[0], tables["P_g"].shape[-2]
    n_sl, n_al = tables["P_l"].shape[-3:-1]
    sizes = {"n_sg": n_sg, "n_ag": n_ag, "n_sl": n_sl, "n_al": n_al, "n_f": n_f or 1}
    for name, table in tables.items():
        shape = tuple(sizes[size] for size in axes[name].strip("()").split(", "))
        if table.shape != shape:
            meaning = axes[name] + _MEANINGS[name][1]
            raise ValueError(f"{name}: found shape {table.shape}, expected {shape}, which is {meaning}")
    return tables


def _n_axes(value: Any) -> int:
    try:
        return np.ndim(value)
    except ValueError:
        return 0


def _as_table(name: str, value: Any, axes: str) -> np.ndarray:
    """Copy to float64 in C order; check the number of axes, that none is empty, and that every entry is finite."""
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{name}: found a masked array, expected every entry to be given")
    try:
        found = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name}: found lists of unequal lengths, expected a table {axes}") from None
    if found.dtype.kind not in "biuf":
        raise ValueError(f"{name}: found entries of type {found.dtype}, expected real numbers")
    if found.ndim != axes.count(",") + 1 - axes.count(",)"):
        raise ValueError(f"{name}: found {found.ndim} axes with shape {found.shape}, expected {axes}")
    if found.size == 0:
        raise ValueError(f"{name}: found shape {found.shape}, expected at least one entry along every axis")
    with np.errstate(over="ignore"):
        table = np.array(found, dtype=np.float64, order="C", copy=True)
    if not np.isfinite(table).all():
        worst = tuple(int(i) for i in np.argwhere(~np.isfinite(table))[0])
        raise ValueError(f"{name}{list(worst)}: found {table[worst]}, expected a finite number")
    return table


def stochastic(name: str, table: np.ndarray, spaces: tuple[tuple, ...]) -> np.ndarray:
    """Check rows of probabilities, in place normalise those off by rounding. `spaces` label all axes but the last."""
    lowest = np.unravel_index(int(table.argmin()), table.shape)
    if table[lowest] < -NEGATIVE_ATOL:
        where = _row_name(name, lowest[:-1], spaces)
        raise ValueError(f"{where}: found probability {table[lowest]:.6g} at entry {lowest[-1]}, expected none below 0")
    np.maximum(table, 0.0, out=table)
    sums = table.sum(axis=-1)
    gaps = np.abs(sums - 1.0)
    worst = np.unravel_index(int(gaps.argmax()), gaps.shape)
    if not gaps[worst] <= ROW_SUM_ATOL:
        where = _row_name(name, worst, spaces)
        raise ValueError(f"{where}: found row sum {sums[worst]:.12g}, expected 1 within {ROW_SUM_ATOL:g}")
    # A row just divided by its sum misses 1 by at most n·2⁻⁵², so a second pass leaves every bit alone.
    off = gaps > max(1e-15, table.shape[-1] * 2.0**-52)
    table[off] /= sums[off][:, np.newaxis]
    return table


def _row_name(name: str, index: tuple, spaces: tuple[tuple, ...]) -> str:
    """`P_g[0, 1] (labels -2, -1)`: a row by its indices and labels."""
    if not spaces:
        return name
    where = tuple(int(i) for i in index)
    labels = ", ".join(shown(space[i]) for space, i in zip(spaces, where))
    return f"{name}{list(where)} (labels {labels})"


def law(name: str, value: Any, size: int) -> np.ndarray:
    """A law over `size` states, by default uniform."""
    if value is None:
        return np.full(size, 1.0 / size)
    found = _as_table(name, value, "(n,)")
    if found.shape != (size,):
        raise ValueError(f"{name}: found {found.size} entries, expected {size}, one per state")
    return stochastic(name, found, ())


def concentration(value: Any, size: int) -> np.ndarray:
    """The Dirichlet concentration rho_l, one positive number or `size` of them."""
    if value is None:
        raise ValueError("rho_l: missing, expected a Dirichlet concentration because dirichlet is True")
    if np.ndim(value) == 0:
        value = [value] * size
    found = _as_table("rho_l", value, "(n,)")
    if found.shape != (size,):
        raise ValueError(f"rho_l: found {found.size} entries, expected {size}, one per state")
    if not found.min() > 0.0:
        raise ValueError(f"rho_l: found concentration {found.min():.6g}, expected positive numbers")
    return found


def discount(value: Any) -> float:
    """gamma in [0, 1)."""
    is_number = isinstance(value, (numbers.Real, np.floating, np.integer)) and not isinstance(value, bool)
    if not is_number or not 0.0 <= value < 1.0:
        raise ValueError(f"gamma: found {shown(value)}, expected a number with 0 <= gamma < 1")
    return float(value) + 0.0
