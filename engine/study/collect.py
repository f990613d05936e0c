"""From finished cells to the arrays of a study: values, exact gaps, slopes and bounds. No clock enters."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..deployment import Deployment
from ..evaluation.gaps import fit_slope, sampling_bound
from ..game import Game
from ..lifting import depends_on_field
from ..mode_tracking import mode_accuracy, named_local_states
from .cells import Cell, CellResult, read_cell
from .plan import Plan, reference_class
from .results import AS_GOOD_AS_SOLVED, Study, empty_arrays
from .settings import game_name

MAX_NOTES = 50


class _Grid:
    """Arrays being filled, by labels."""

    def __init__(self, plan: Plan, n_trace: int):
        s = plan.settings
        games = s.games
        self.settings = s
        self.coordinates: dict[str, np.ndarray] = {
            "game": np.array([game_name(game) for game in games]),
            "actions": np.array(s.actions),
            "expectation": np.array(s.expectation),
            "n": np.array(sorted({n for game in games for n in s.ns_of(game)}), dtype=np.int64),
            "k": np.array(sorted({k for game in games for k in s.ks_of(game)}), dtype=np.int64),
            "seed": np.array(s.seeds, dtype=np.int64 if max(s.seeds) < 2**63 else np.uint64),
            "run": np.arange(s.runs if s.simulate else 1, dtype=np.int64),
            "trace_step": np.arange(n_trace, dtype=np.int64),
            "global_state": np.arange(max(game.n_sg for game in games), dtype=np.int64),
            "local_state": np.arange(max(game.n_sl for game in games), dtype=np.int64),
        }
        self.arrays = empty_arrays({axis: labels.size for axis, labels in self.coordinates.items()})
        self._places = {axis: {x: i for i, x in enumerate(c.tolist())} for axis, c in self.coordinates.items()}

    def at(self, **labels: Any) -> tuple[Any, ...]:
        """Positions of labels, in the order given."""
        return tuple(self._places[axis][label] for axis, label in labels.items())

    def panel(self, cell: Cell) -> tuple[Any, ...]:
        return self.at(game=game_name(cell.game), actions=cell.actions, expectation=cell.expectation)


def collect(plan: Plan, path_of: Callable[[Cell], Path], sensitivity: dict[str, dict[str, dict[str, Any]]]) -> Study:
    """Read every finished cell of a plan and put the study together.

    Parameters
    ----------
    plan : Plan
    path_of : function that gives the file of a cell
    sensitivity : {game: {actions: summary}}
    """
    cells = [planned.cell for planned in plan.cells]
    optima = _Optima(cells, path_of)
    grid: _Grid | None = None
    for cell in cells:
        if not cell.n:
            continue
        result = read_cell(path_of(cell))
        if grid is None:
            deployments = list(result.deployments.values())
            grid = _Grid(plan, deployments[0].trace_step.size if deployments else 1)
            if deployments:
                grid.coordinates["trace_step"] = deployments[0].trace_step
        _put_cell(grid, cell, result)
        optima.add(cell, result)
        _put_worst_gaps(grid, cell, result, optima)
    if grid is None:
        raise RuntimeError("study: found no cell with agents to deploy on, expected one")
    _put_optima(grid, optima, sensitivity)
    _put_gaps(grid, sensitivity)
    config = plan.settings.config | {"notes": list(plan.notes[:MAX_NOTES])}
    return Study(config=config, sensitivity=sensitivity, **grid.coordinates, **grid.arrays)


def _put_cell(grid: _Grid, cell: Cell, result: CellResult) -> None:
    """Write the entries that one cell owns."""
    a, panel = grid.arrays, grid.panel(cell)
    seeds = [cell.solve_seed] if cell.expectation == "sampled" else grid.settings.seeds
    solution = result.solution
    (k,) = grid.at(k=cell.k)
    for seed in seeds:
        place = (*panel, k, *grid.at(seed=seed))
        a["value"][place], a["value_half_width"][place] = solution.initial_value, solution.half_width
        a["n_sweeps"][place] = solution.n_sweeps
        for n in cell.n:
            point = (*panel, *grid.at(n=n), k, *grid.at(seed=seed))
            if n in result.exact:
                exact = result.exact[n]
                a["exact_value"][point], a["exact_half_width"][point] = exact.initial_value, exact.half_width
                a["exact_average_reward"][point] = exact.average_reward
                a["exact_average_half_width"][point] = exact.average_half_width
                a["exact_route"][point] = exact.route
            if n in result.refined:
                refined = result.refined[n]
                a["refined_gain"][point], a["refined_gain_half_width"][point] = refined.gain, refined.half_width
                if refined.method == "exact":
                    a["refined_value"][point] = refined.value_after
                if seed in refined.deployments:
                    a["refined_mean_return"][point] = refined.deployments[seed].mean_return
                    a["refined_mode_accuracy"][point] = _mode_accuracy(refined.deployments[seed], cell.game)
            if (n, seed) in result.deployments:
                _put_deployment(a, point, result.deployments[n, seed])
                a["mode_accuracy"][point] = _mode_accuracy(result.deployments[n, seed], cell.game)


def _put_deployment(a: dict[str, np.ndarray], point: tuple[Any, ...], deployment: Deployment) -> None:
    for name in ("returns", "mean_return", "return_half_width", "average_reward", "average_half_width"):
        a[name][point] = getattr(deployment, name)
    a["trace_return"][point] = deployment.trace_return.mean(axis=0)
    a["occupancy"][(*point, slice(deployment.occupancy.size))] = deployment.occupancy
    a["mean_population"][(*point, slice(deployment.mean_population.size))] = deployment.mean_population


def _mode_accuracy(deployment: Deployment, game: Game) -> float:
    """Mean over the runs; NaN where no global action is named like a local state."""
    return float(mode_accuracy(deployment, game).mean()) if named_local_states(game).any() else math.nan


class _Optima:
    """Solved games of all n agents, and what bounds the optimum of those that are not."""

    def __init__(self, cells: list[Cell], path_of: Callable[[Cell], Path]):
        self.solved: dict[tuple[str, str, int], tuple[float, float, np.ndarray]] = {}
        # (game, class) -> (k, upper bound) and (n, lower bound) pairs.
        self.upper: dict[tuple[str, str], list[tuple[int, float]]] = {}
        self.lower: dict[tuple[str, str], list[tuple[int, float]]] = {}
        ns = {(game_name(cell.game), n) for cell in cells for n in cell.n}
        for cell in cells:
            name = game_name(cell.game)
            if cell.expectation == "exact" and cell.actions in ("joint", "fixed") and (name, cell.k) in ns:
                solution = read_cell(path_of(cell)).solution
                self.solved[name, cell.actions, cell.k] = solution.initial_value, solution.half_width, solution.value
                if not cell.n:
                    self._bound_above(cell, solution.initial_value + solution.half_width)

    def add(self, cell: Cell, result: CellResult) -> None:
        """Take the bounds of a cell of the grid."""
        name = game_name(cell.game)
        self._bound_above(cell, result.solution.initial_value + result.solution.half_width)
        for n, exact in result.exact.items():
            bound = exact.initial_value - exact.half_width
            if n in result.refined and result.refined[n].method == "exact":
                bound = max(bound, result.refined[n].value_after - result.refined[n].half_width)
            # Whatever agents do, together they can do in class joint.
            for actions in dict.fromkeys(("joint", reference_class(cell.actions))):
                self.lower.setdefault((name, actions), []).append((n, bound))

    def _bound_above(self, cell: Cell, bound: float) -> None:
        """A solved game of k agents bounds that of n ≥ k agents of the same class.

        The n agents split into random samples of k; their optimum, played on a sample, is at most the sample's own.
        """
        if cell.expectation != "exact":
            return
        # All classes in which agents choose are the same for one agent.
        actions = "joint" if cell.actions != "fixed" and cell.k == 1 else cell.actions
        self.upper.setdefault((game_name(cell.game), actions), []).append((cell.k, bound))


def _put_optima(grid: _Grid, optima: _Optima, sensitivity: dict[str, dict[str, dict[str, Any]]]) -> None:
    a = grid.arrays
    for game in grid.settings.games:
        name, ns = game_name(game), grid.settings.ns_of(game)
        (g,) = grid.at(game=name)
        # With a field V*_k bounds nothing but itself, no theory bounds the gap, and what is blind is worth another sum for each n.
        coupled = depends_on_field(game)
        for n in ns if not coupled else ():
            for k in (k for k in grid.settings.ks_of(game) if k <= n):
                a["bound"][(g, *grid.at(n=n, k=k))] = sampling_bound(game, n, k)
        for actions in grid.settings.actions:
            blind = sensitivity[name][actions]["blind_value"]
            place = grid.at(game=name, actions=actions)
            a["blind_value"][place] = math.nan if blind is None or coupled else blind
            reference = reference_class(actions)
            for n in ns:
                at_n = (*place, *grid.at(n=n))
                if (name, reference, n) in optima.solved:
                    value, half, _ = optima.solved[name, reference, n]
                    low, high = value - half, value + half
                else:
                    above = [x for k, x in optima.upper.get((name, reference), []) if k == n or (k < n and not coupled)]
                    below = [x for m, x in optima.lower.get((name, reference), []) if m == n]
                    low, high = max(below, default=math.nan), min(above, default=math.nan)
                a["optimal_lower"][at_n], a["optimal_upper"][at_n] = low, high
                a["blind_gap"][at_n] = (low + high) / 2 - a["blind_value"][place]


def _put_worst_gaps(grid: _Grid, cell: Cell, result: CellResult, optima: _Optima) -> None:
    reference = reference_class(cell.actions)
    seeds = [cell.solve_seed] if cell.expectation == "sampled" else grid.settings.seeds
    for n, exact in result.exact.items():
        solved = optima.solved.get((game_name(cell.game), reference, n))
        if solved is None or exact.value is None:
            continue
        worst = float((solved[2] - exact.value).max())
        for seed in seeds:
            grid.arrays["worst_gap"][(*grid.panel(cell), *grid.at(n=n, k=cell.k, seed=seed))] = worst


def _put_gaps(grid: _Grid, sensitivity: dict[str, dict[str, dict[str, Any]]]) -> None:
    a, c = grid.arrays, grid.coordinates
    low, high = (a[name][:, :, None, :, None, None] for name in ("optimal_lower", "optimal_upper"))
    a["gap"][...] = (low + high) / 2 - a["exact_value"]
    a["gap_half_width"][...] = (high - low) / 2 + a["exact_half_width"]
    for g, name in enumerate(c["game"].tolist()):
        for i, actions in enumerate(c["actions"].tolist()):
            if not sensitivity[name][actions]["can_matter"]:
                continue
            for e, m, s in np.ndindex(c["expectation"].size, c["n"].size, c["seed"].size):
                # Within a bracket of the optimum all gaps move together, and with them any slope.
                if (
                    not a["optimal_upper"][g, i, m] - a["optimal_lower"][g, i, m]
                    <= AS_GOOD_AS_SOLVED * grid.settings.tol
                ):
                    continue
                gap, half = (a[x][g, i, e, m, :, s] for x in ("gap", "gap_half_width"))
                # With k = n nothing is hidden any more: that point is not on the line.
                use = np.isfinite(gap) & (c["k"] < c["n"][m])
                if not use.any():
                    continue
                fit = fit_slope(c["k"][use], gap[use], resolution=float(half[use].max()), seed=0)
                place = (g, i, e, m, s)
                a["slope"][place], a["slope_low"][place], a["slope_high"][place] = fit.slope, fit.low, fit.high
