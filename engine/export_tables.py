"""Tables of results, one row per cell, run or state, for programs that read text."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from .deployment import Deployment
from .files import read_array, read_text
from .game import Game
from .solution import Solution

if TYPE_CHECKING:
    from .equilibrium.result import Equilibrium
    from .inventory.comparison import InventoryComparison

CELL_AXES = ("game", "actions", "expectation", "n", "k", "seed")

# The order of the columns; what is not named here comes after it, by name.
_FIRST = (
    "value", "value_half_width", "n_sweeps", "exact_value", "exact_half_width", "exact_average_reward",
    "exact_average_half_width", "exact_route", "mean_return", "return_half_width", "average_reward", "average_half_width",
    "optimal_lower", "optimal_upper", "gap", "gap_half_width", "worst_gap", "blind_value", "blind_gap", "bound",
    "refined_value", "refined_gain", "slope", "slope_low", "slope_high",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class NamedArray:
    """An array with what a file says about it.

    Parameters
    ----------
    axes : names of the axes
    data : numbers, or str as objects
    long_name, units : str
    """

    axes: tuple[str, ...]
    data: np.ndarray
    long_name: str
    units: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """A header and rows of str, int and float."""

    header: Sequence[str]
    rows: Iterable[Sequence[Any]]


def tabulate_rounds(equilibrium: Equilibrium) -> Table:
    """One row per round of an alternation."""
    from .equilibrium.result import BOUNDS, PLAYERS, REWARDS

    numbers = (
        "value", "half_width", "global_value", "surrogate_value", "change", "change_half_width", "kept", "n_sweeps",
        "solve_time_s", "wall_time_s", "exploitability",
    )  # fmt: skip
    gains = list(itertools.product(range(len(REWARDS)), range(len(PLAYERS)), range(len(BOUNDS))))
    rows = (
        [i + 1, *(getattr(entry, name) for name in numbers), *(float(entry.gains[place]) for place in gains)]
        for i, entry in enumerate(equilibrium.rounds)
    )
    named = [f"{REWARDS[r]}_{PLAYERS[p]}_gain_{BOUNDS[b]}" for r, p, b in gains]
    return Table(header=["round", *numbers, *named], rows=rows)


def read_named_arrays(group: h5py.Group) -> dict[str, NamedArray]:
    """Read every array of a group, but not of its subgroups.

    Raises
    ------
    ValueError, KeyError    damaged
    """
    found: dict[str, NamedArray] = {}
    for name, item in group.items():
        if not isinstance(item, h5py.Dataset):
            continue
        data = read_array(group, name)
        if data.dtype.kind in "SO":
            data = np.array([decoded(x) for x in data.ravel().tolist()], dtype=object).reshape(data.shape)
        axes = tuple(axis for axis in read_text(item, "axes", default=name).split(", ") if axis)
        if len(axes) == data.ndim:
            found[name] = NamedArray(
                axes=axes,
                data=data,
                long_name=read_text(item, "long_name", default=name),
                units=read_text(item, "units", default="1"),
            )
    for name, array in found.items():
        for axis, size in zip(array.axes, array.data.shape, strict=True):
            if axis in found and found[axis].data.shape not in ((size,), found[axis].data.shape[1:]):
                raise ValueError(f"{name} has {size} entries along {axis}, expected {found[axis].data.size}")
    return found


def decoded(text: Any) -> str:
    """A text of a file, which HDF5 gives as bytes or as str."""
    return text.decode("utf-8", errors="replace") if isinstance(text, bytes) else str(text)


def tabulate_study(arrays: dict[str, NamedArray], what: str) -> Table:
    """One row per cell, or per run of each cell, with everything that is known about it.

    Parameters
    ----------
    arrays : of a study file
    what : "cells" or "runs"

    Raises
    ------
    ValueError      arrays of another layout
    """
    missing = [axis for axis in CELL_AXES if axis not in arrays]
    if missing:
        raise ValueError(f"no axis {missing[0]}, expected {', '.join(CELL_AXES)}")
    axes = (*CELL_AXES, "run") if what == "runs" else CELL_AXES
    chosen = {
        name: array
        for name, array in arrays.items()
        if array.axes and name not in axes and set(array.axes) <= set(axes) and ("run" in array.axes or what != "runs")
    }
    names = [name for name in _FIRST if name in chosen]
    names += [name for name in chosen if name not in names]
    # What is there for single cells tells which cells there are.
    telling = [name for name in names if set(chosen[name].axes) == set(axes)]
    columns = {name: _broadcast(chosen[name], axes) for name in names}
    coordinates = [arrays[axis].data.tolist() if axis in arrays else range(10**18) for axis in axes]
    shape = tuple(next(columns[name].shape[i] for name in telling) for i in range(len(axes))) if telling else ()

    def rows() -> Iterator[list[Any]]:
        for index in itertools.product(*map(range, shape)) if telling else ():
            if any(not _is_missing(columns[name][index]) for name in telling):
                yield [values[i] for values, i in zip(coordinates, index, strict=True)] + [
                    columns[name][tuple(i if size > 1 else 0 for i, size in zip(index, columns[name].shape))]
                    for name in names
                ]

    return Table(header=[*axes, *names], rows=rows())


def _broadcast(array: NamedArray, axes: Sequence[str]) -> np.ndarray:
    """The array with an axis of one entry for each of `axes` that it does not have."""
    order = sorted(range(len(array.axes)), key=lambda i: axes.index(array.axes[i]))
    sizes = dict(zip(array.axes, array.data.shape, strict=True))
    return array.data.transpose(order).reshape([sizes.get(axis, 1) for axis in axes])


def _is_missing(value: Any) -> bool:
    return value == "" or value != value


def tabulate_solution(solution: Solution) -> Table:
    """One row per state of the surrogate game: labels, counts, value and greedy decision.

    A column `action_in_S` says what agents in the local state S play: an action, or actions with their probabilities.
    """
    labels = solution.game.labels
    policy, counts = solution.policy, solution.counts
    header = ["global_state", *(f"count_{s}" for s in labels.local_states), "value", "half_width", "global_action"]
    header += [f"action_in_{s}" for s in labels.local_states]
    own = solution.game.n_sl - 1  # rank of the sample that is one agent in state 0; a policy of k_local = 1 sees itself

    def rows() -> Iterator[list[Any]]:
        for s_g, state in enumerate(labels.global_states):
            for c, agents in enumerate(counts.tolist()):
                laws = (
                    _in_words(
                        policy.local_action[s_g, s, c if policy.k_local == solution.k else own - s],
                        labels.local_actions,
                    )
                    if agents[s]
                    else ""
                    for s in range(len(agents))
                )
                action = labels.global_actions[int(solution.global_action[s_g, c])]
                yield [
                    str(state), *agents, float(solution.value[s_g, c]), solution.half_width, str(action), *laws
                ]  # fmt: skip

    return Table(header=header, rows=rows())


def _in_words(law: np.ndarray, actions: Sequence[Any]) -> str:
    if law.max() == 1.0:
        return str(actions[int(law.argmax())])
    return " ".join(f"{actions[a]}:{float(law[a])!r}" for a in np.flatnonzero(law).tolist())


def tabulate_deployment(deployment: Deployment, game: Game) -> Table:
    """One row per run: return, mean reward, mean shares of the agents in each local state, and of the actions played."""
    labels = game.labels
    header = ["run", "return", "mean_reward", *(f"population_{s}" for s in labels.local_states)]
    header += [f"share_{s}_{a}" for s in labels.global_states for a in labels.global_actions]

    def rows() -> Iterator[list[Any]]:
        for run in range(len(deployment.returns)):
            yield [
                run, float(deployment.returns[run]), float(np.mean(deployment.batch_means[run])),
                *deployment.populations[run].tolist(), *deployment.action_shares[run].ravel().tolist(),
            ]  # fmt: skip

    return Table(header=header, rows=rows())


def tabulate_gaps(numbers: dict[str, np.ndarray]) -> Table:
    """One row per run of the learner, from the numbers of a file of gaps."""
    columns = (column.tolist() for column in numbers.values())
    return Table(header=list(numbers), rows=zip(*columns, strict=True))


def tabulate_inventory(comparison: InventoryComparison, what: str) -> Table:
    """One row per run of each policy, with its metrics; or per retailer; or per period of the policies whose series is kept.

    Parameters
    ----------
    comparison : InventoryComparison
    what : "runs", "retailers" or "periods"
    """
    from .inventory.files import TOTAL_NAMES
    from .inventory.result import METRICS

    def rows() -> Iterator[list[Any]]:
        for name, runs in comparison.runs.items():
            metrics = runs.metrics
            for i in range(runs.config["runs"]):
                found = [name, runs.config["first_run"] + i]
                if what == "runs":
                    yield [*found, *(float(column[i]) for column in metrics.values())]
                elif what == "retailers":
                    yield from ([*found, *pair] for pair in enumerate(runs.retailer_profit[i].tolist()))
                else:
                    yield from ([*found, t, *totals] for t, totals in enumerate(runs.series[i].tolist()))

    own = {"runs": METRICS, "retailers": ("retailer", "profit"), "periods": ("period", *TOTAL_NAMES)}
    return Table(header=["policy", "run", *own[what]], rows=rows())


def csv_bytes(table: Table) -> bytes:
    """A table as CSV in UTF-8: numbers with all their digits, nothing for what is not known."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.header)
    for row in table.rows:
        writer.writerow(["" if _is_missing(x) else x.item() if isinstance(x, np.generic) else x for x in row])
    return text.getvalue().encode()
