"""Results of a study: arrays over named axes, NaN where the grid has no point."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

# A certified bracket of the optimum of at most so many certified widths.
AS_GOOD_AS_SOLVED = 10

_P = ("game", "actions", "expectation")
_POINT = (*_P, "n", "k", "seed")


class Field(NamedTuple):
    """An array of a study."""

    axes: tuple[str, ...]
    long_name: str
    units: str = "reward"


COORDINATES = {
    "game": Field(("game",), "game", "1"),
    "actions": Field(("actions",), "action class", "1"),
    "expectation": Field(("expectation",), "how E[V(c')] is computed", "1"),
    "n": Field(("n",), "agents at deployment", "agents"),
    "k": Field(("k",), "agents of the surrogate game", "agents"),
    "seed": Field(("seed",), "seed of simulations and of the sampled expectation", "1"),
    "run": Field(("run",), "run of a simulation", "1"),
    "trace_step": Field(("trace_step",), "first step of each point of the trace", "steps"),
    "global_state": Field(("global_state",), "position of a global state", "1"),
    "local_state": Field(("local_state",), "position of a local state", "1"),
}
TEXTS = ("game", "actions", "expectation", "exact_route")

ARRAYS = {
    "value": Field((*_P, "k", "seed"), "certified value of the surrogate game from the initial law"),
    "value_half_width": Field((*_P, "k", "seed"), "half width of the certified interval"),
    "n_sweeps": Field((*_P, "k", "seed"), "certified sweeps", "1"),
    "returns": Field((*_POINT, "run"), "discounted return of each run"),
    "mean_return": Field(_POINT, "mean discounted return over the runs"),
    "return_half_width": Field(_POINT, "half width of its 95 % t interval"),
    "average_reward": Field(_POINT, "simulated long-run mean reward per step"),
    "average_half_width": Field(_POINT, "half width of its 95 % batch-means interval"),
    "trace_return": Field((*_POINT, "trace_step"), "discounted reward up to the last step of a point, mean of runs"),
    "occupancy": Field((*_POINT, "global_state"), "share of the steps in each global state", "1"),
    "mean_population": Field((*_POINT, "local_state"), "mean share of the agents in each local state", "1"),
    "exact_value": Field(_POINT, "exact value of the policy with n agents from the initial law"),
    "exact_half_width": Field(_POINT, "half width of its certified interval"),
    "exact_average_reward": Field(_POINT, "exact long-run mean reward per step"),
    "exact_average_half_width": Field(_POINT, "half width of its certified interval"),
    "exact_route": Field(_POINT, "how the exact value was computed", "1"),
    "optimal_lower": Field(("game", "actions", "n"), "certified lower bound of the n-agent optimum, initial law"),
    "optimal_upper": Field(("game", "actions", "n"), "certified upper bound of the n-agent optimum, initial law"),
    "gap": Field(_POINT, "optimum minus exact value, from the initial law"),
    "gap_half_width": Field(_POINT, "half width of the certified interval of the gap"),
    "worst_gap": Field(_POINT, "largest gap over global states and populations"),
    "blind_value": Field(("game", "actions"), "value of the best policy found that never looks at the counts"),
    "blind_gap": Field(("game", "actions", "n"), "optimum minus blind_value"),
    "bound": Field(("game", "n", "k"), "bound on the gap by Anand, Karmarkar and Qu (2024)"),
    "refined_value": Field(_POINT, "exact value of the refined policy"),
    "refined_gain": Field(_POINT, "what refining gained, exact or the mean of paired simulations"),
    "refined_gain_half_width": Field(_POINT, "half width of its certified or 95 % interval"),
    "refined_mean_return": Field(_POINT, "mean discounted return of the refined policy over the runs"),
    "mode_accuracy": Field(_POINT, "share of the traced steps in which a_g names a most populated local state", "1"),
    "refined_mode_accuracy": Field(_POINT, "the same of the refined policy", "1"),
    "slope": Field((*_P, "n", "seed"), "slope of log gap against log k, over k < n", "1"),
    "slope_low": Field((*_P, "n", "seed"), "lower end of its 95 % bootstrap interval", "1"),
    "slope_high": Field((*_P, "n", "seed"), "upper end of its 95 % bootstrap interval", "1"),
}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Study:
    """Results of a study. Axes are named in `ARRAYS`; entries are NaN (texts: empty) where the grid has no point.

    P stands for the axes game, actions, expectation. Optima, gaps and bounds are from the game's initial law, of the class
    `fixed` for actions fixed and `joint` otherwise.

    Parameters
    ----------
    config : dict                           what was asked for
    sensitivity : {game: {actions: dict}}   count sensitivities, see `CountSensitivity`
    game, actions, expectation : str        names along these axes
    n, k, seed, run, trace_step, global_state, local_state : int    places along these axes
    value, value_half_width, n_sweeps : float64[P, k, seed]
    returns : float64[P, n, k, seed, run]
    mean_return, return_half_width, average_reward, average_half_width : float64[P, n, k, seed]    simulated, with 95 %
        intervals
    trace_return : float64[P, n, k, seed, trace_step]
    occupancy : float64[P, n, k, seed, global_state]
    mean_population : float64[P, n, k, seed, local_state]
    exact_value, exact_half_width, exact_average_reward, exact_average_half_width : float64[P, n, k, seed]
    exact_route : str[P, n, k, seed]
    optimal_lower, optimal_upper : float64[game, actions, n]    certified bracket of the optimum of n agents
    gap, gap_half_width : float64[P, n, k, seed]
    worst_gap : float64[P, n, k, seed]      NaN unless the optimum of n agents is solved
    blind_value : float64[game, actions]
    blind_gap : float64[game, actions, n]
    bound : float64[game, n, k]
    refined_value : float64[P, n, k, seed]    NaN where refining was sampled
    refined_gain, refined_gain_half_width : float64[P, n, k, seed]    certified, or 95 % of paired simulations where sampled
    refined_mean_return : float64[P, n, k, seed]
    mode_accuracy, refined_mode_accuracy : float64[P, n, k, seed]    NaN where no global action is named like a local state
    slope, slope_low, slope_high : float64[P, n, seed]
    """

    config: dict[str, Any]
    sensitivity: dict[str, dict[str, dict[str, Any]]]
    game: np.ndarray
    actions: np.ndarray
    expectation: np.ndarray
    n: np.ndarray
    k: np.ndarray
    seed: np.ndarray
    run: np.ndarray
    trace_step: np.ndarray
    global_state: np.ndarray
    local_state: np.ndarray
    value: np.ndarray
    value_half_width: np.ndarray
    n_sweeps: np.ndarray
    returns: np.ndarray
    mean_return: np.ndarray
    return_half_width: np.ndarray
    average_reward: np.ndarray
    average_half_width: np.ndarray
    trace_return: np.ndarray
    occupancy: np.ndarray
    mean_population: np.ndarray
    exact_value: np.ndarray
    exact_half_width: np.ndarray
    exact_average_reward: np.ndarray
    exact_average_half_width: np.ndarray
    exact_route: np.ndarray
    optimal_lower: np.ndarray
    optimal_upper: np.ndarray
    gap: np.ndarray
    gap_half_width: np.ndarray
    worst_gap: np.ndarray
    blind_value: np.ndarray
    blind_gap: np.ndarray
    bound: np.ndarray
    refined_value: np.ndarray
    refined_gain: np.ndarray
    refined_gain_half_width: np.ndarray
    refined_mean_return: np.ndarray
    mode_accuracy: np.ndarray
    refined_mode_accuracy: np.ndarray
    slope: np.ndarray
    slope_low: np.ndarray
    slope_high: np.ndarray

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    def axes(self, name: str) -> tuple[str, ...]:
        """Names of the axes of an array."""
        return (COORDINATES | ARRAYS)[name].axes

    def position(self, axis: str, label: Any) -> int:
        """Where a label stands on an axis; ValueError if it does not."""
        labels = getattr(self, axis).tolist()
        if label not in labels:
            shown = ", ".join(map(str, labels[:20])) + (", …" if len(labels) > 20 else "")
            raise ValueError(f"{axis}: found {label!r}, expected one of {shown}")
        return labels.index(label)

    def sel(self, name: str, **labels: Any) -> np.ndarray:
        """Part of an array, by labels: `study.sel("gap", game="irrigation", n=50)`.

        Parameters
        ----------
        name : str     of an array
        labels         axis=label; the axis is taken away. Axes that are not named stay, but for those of one entry among
            game, actions, expectation, n and seed, which are taken away as well.

        Returns
        -------
        read-only view of the array, its other axes in their order
        """
        if name not in ARRAYS:
            raise ValueError(f"name: found {name!r}, expected one of {', '.join(ARRAYS)}")
        axes = self.axes(name)
        for axis in labels:
            if axis not in axes:
                raise ValueError(f"{axis}: no axis of {name}, expected some of {', '.join(axes)}")
        array = getattr(self, name)
        index: list[Any] = []
        for axis, size in zip(axes, array.shape, strict=True):
            if axis in labels:
                index.append(self.position(axis, labels[axis]))
            else:
                alone = size == 1 and axis in (*_P, "n", "seed")
                index.append(0 if alone else slice(None))
        return array[tuple(index)]

    def ns_of(self, game: str) -> list[int]:
        """The numbers of agents that played a game."""
        return list(self.config["agents"][game])

    def __repr__(self) -> str:
        sizes = ", ".join(
            f"{name} {getattr(self, name).size}" for name in ("game", "actions", "expectation", "n", "k", "seed")
        )
        return f"Study({sizes})"


def empty_arrays(sizes: dict[str, int]) -> dict[str, np.ndarray]:
    """All arrays of a study, for axes of these sizes, without entries."""
    arrays = {}
    for name, field in ARRAYS.items():
        shape = [sizes[axis] for axis in field.axes]
        arrays[name] = np.full(shape, "", dtype="U40") if name in TEXTS else np.full(shape, math.nan)
    return arrays
