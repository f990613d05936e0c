"""Cells of a study: solve one surrogate game, evaluate and deploy its policy for every n, keep all in one file.

A finished cell is never redone.
"""

from __future__ import annotations

import datetime
import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from ..action_classes import list_counts
from ..backups.symmetric_power import Factorisation
from ..checkpoints import digest_of
from ..deployment import Deployment, deploy
from ..deployment_files import read_deployment, write_deployment
from ..files import (
    create_array,
    open_checked,
    read_array,
    read_config,
    read_text,
    write_atomically,
    write_root,
    write_text,
)
from ..game import Game
from ..game_tables import read_game_tables, write_game_tables
from ..policy import SubsamplePolicy
from ..solution import Solution
from ..solution_files import read_solution_arrays, solution_config, write_solution_arrays
from ..solve import Interrupted, solve
from ..versions import kofn_version
from .folders import check_same_cell

if TYPE_CHECKING:
    from ..evaluation.refine import Refinement

FORMAT = "kofn-cell"
# A larger table of exact values is not kept: the worst gap is then unknown, the gap from the initial law is not.
MAX_KEPT_TABLE_BYTES = 64_000_000
# The certified width of a solve is allowed for the gap; what exact values add to it should be little.
EVALUATION_SHARE = 0.1
# Of the rounding error that such a width allows.
SAFETY = 0.05
# Sampled states and paired runs of a refinement that is not exact.
REFINING_RUNS = 600
REFINING_SEED = 2**63 + 1
TIMES = ("solve_time_s", "evaluate_time_s", "refine_time_s", "deploy_time_s")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One job of a study: what to solve, and what to do with the policy for every n."""

    name: str
    game: Game
    k: int
    actions: str
    expectation: str
    samples: int
    tol: float
    local_policy: np.ndarray | None
    solve_seed: int
    n: tuple[int, ...]
    evaluated_n: tuple[int, ...]
    perhaps_n: tuple[int, ...]  # evaluated if the policy turns out to make it quick
    refined_n: tuple[int, ...]
    seeds: tuple[int, ...]
    steps: int
    runs: int
    level: str
    memory_bytes: int | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that the bits of the result depend on, JSON-ready."""
        keys = ("k", "actions", "expectation", "samples", "tol", "n", "steps", "runs", "seeds", "level")
        identity = {key: getattr(self, key) for key in keys}
        policy = None if self.local_policy is None else digest_of(self.local_policy)
        identity |= {key: getattr(self, key) for key in ("evaluated_n", "perhaps_n", "refined_n", "solve_seed")}
        return json.loads(json.dumps(identity | {"game": self.game.digest(), "local_policy": policy}))


@dataclass(frozen=True, kw_only=True)
class ExactResult:
    """Exact value of a cell's policy with n agents.

    Parameters
    ----------
    route : str
    initial_value, half_width : float
    average_reward, average_half_width : float    NaN where not certified
    value : float64[n_sg, n_N] or None            None if the table is too large to keep
    """

    route: str
    initial_value: float
    half_width: float
    average_reward: float
    average_half_width: float
    value: np.ndarray | None


@dataclass(frozen=True, kw_only=True)
class RefinedResult:
    """A cell's policy refined for n agents.

    Parameters
    ----------
    method : "exact", or "sampled" where the exact chain does not fit
    value_before, value_after : float    from the initial law: certified, or means of simulated returns
    gain : float          exact: their difference; sampled: mean of paired differences
    half_width : float    exact: of both values; sampled: 95 % interval of the gain
    deployments : {seed: Deployment}    of the refined policy, on the random numbers of the unrefined one's
    """

    method: str
    value_before: float
    value_after: float
    gain: float
    half_width: float
    deployments: dict[int, Deployment]


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What a finished cell holds.

    Parameters
    ----------
    solution : Solution
    exact : {n: ExactResult}
    refined : {n: RefinedResult}
    deployments : {(n, seed): Deployment}
    times : {name in TIMES: seconds}
    host, created : str
    """

    solution: Solution
    exact: dict[int, ExactResult]
    refined: dict[int, RefinedResult]
    deployments: dict[tuple[int, int], Deployment]
    times: dict[str, float]
    host: str
    created: str


def check_cell(path: Path, cell: Cell) -> bool:
    """Whether a finished cell stands at a path; KofnFileError if it is a cell of something else."""
    if not path.exists():
        return False
    with open_checked(path, FORMAT) as file:
        check_same_cell(path, read_config(file)["cell"], cell.identity, _short)
    return True


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return (text if len(text) <= 60 else text[:57] + "...") or "none"


def run_cell(path: Path, cell: Cell, should_stop: Callable[[], bool], *, checkpoint_every_s: float = 60.0) -> None:
    """Solve, evaluate and deploy a cell and write its file; a checkpoint beside it takes over an earlier try's sweeps.

    Raises
    ------
    Interrupted    `should_stop` said so; the checkpoint is on disk
    """
    solution = solve(
        cell.game, cell.k, cell.actions, cell.expectation, cell.tol, local_policy=cell.local_policy,
        samples=max(1, cell.samples), seed=cell.solve_seed, memory_bytes=cell.memory_bytes,
        checkpoint=_checkpoint_of(path), checkpoint_every_s=checkpoint_every_s, resume=True, should_stop=should_stop,
    )  # fmt: skip

    def stop_if_asked(*_: object) -> None:
        if should_stop():
            raise Interrupted(f"stopped in cell {cell.name}, after its solve")

    exact, refined = {}, {}
    deployments: dict[tuple[int, int], Deployment] = {}
    times = dict.fromkeys(TIMES, 0.0) | {"solve_time_s": solution.wall_time_s}
    for n in cell.n:
        began = time.perf_counter()
        if n in cell.evaluated_n or (n in cell.perhaps_n and has_quick_route(cell, solution.policy, n)):
            exact[n] = _evaluate(cell, solution, n, should_stop)
        times["evaluate_time_s"] += time.perf_counter() - began
        began = time.perf_counter()
        refinement = _refine(cell, solution, n, n in exact, should_stop) if n in cell.refined_n else None
        times["refine_time_s"] += time.perf_counter() - began

        def simulate(policy: SubsamplePolicy, n: int = n) -> dict[int, Deployment]:
            found = {}
            for seed in cell.seeds:
                stop_if_asked()
                found[seed] = deploy(
                    cell.game, policy, n, steps=cell.steps, runs=cell.runs, seed=seed, level=cell.level,
                    memory_bytes=cell.memory_bytes, progress=stop_if_asked,
                )  # fmt: skip
                times["deploy_time_s"] += found[seed].wall_time_s
            return found

        deployments |= {(n, seed): found for seed, found in simulate(solution.policy).items()}
        if refinement is not None:
            facts = {name: float(getattr(refinement, name)) for name in _REFINED}
            refined[n] = RefinedResult(method=refinement.method, deployments=simulate(refinement.policy), **facts)
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    result = CellResult(
        solution=solution, exact=exact, refined=refined, deployments=deployments, times=times, host=platform.node(),
        created=created,
    )  # fmt: skip
    write_cell(path, cell, result)
    remove_checkpoint(path)


def has_quick_route(cell: Cell, policy: SubsamplePolicy, n: int) -> bool:
    """Whether no local agent looks at the others, so that the next population is a symmetric power, and a stable one."""
    game = cell.game
    if game.has_field_axis("P_l"):
        return False
    counts = list_counts(policy.k_local, game.n_sl)
    laws = np.empty((game.n_sg, game.n_sl, game.n_sl))
    for s in range(game.n_sl):
        # The sample includes the agent itself.
        rows = policy.local_action[:, s, counts[:, s] > 0]
        if (rows != rows[:, :1]).any():
            return False
        laws[:, s] = np.einsum("ga,gat->gt", rows[:, 0], game.P_l[:, s])
    largest = (np.abs(game.r_g).max() + np.abs(game.r_l).max()) / (1.0 - game.gamma)
    error = SAFETY * EVALUATION_SHARE * cell.tol * (1.0 - game.gamma) / max(largest, np.finfo(float).tiny)
    return all(Factorisation(law[None, None], n).relative_error(n) <= error for law in laws)


def _evaluate(cell: Cell, solution: Solution, n: int, should_stop: Callable[[], bool]) -> ExactResult:
    from ..evaluation.evaluate import evaluate

    found = _at_tol_or_what_rounding_allows(
        evaluate, cell, solution, n, memory_bytes=cell.memory_bytes, occupancies=False, should_stop=should_stop
    )
    return ExactResult(
        route=found.route,
        initial_value=found.initial_value,
        half_width=found.half_width,
        average_reward=found.average_reward,
        average_half_width=found.average_half_width,
        value=found.value if found.value.nbytes <= MAX_KEPT_TABLE_BYTES else None,
    )


def _at_tol_or_what_rounding_allows(
    function: Callable[..., Any], cell: Cell, solution: Solution, n: int, **settings: Any
) -> Any:
    """The width that was reached is part of the result."""
    try:
        return function(cell.game, solution.policy, n, tol=EVALUATION_SHARE * cell.tol, **settings)
    except ValueError as error:
        if not str(error).startswith("tol: "):
            raise
        return function(cell.game, solution.policy, n, **settings)


def _refine(cell: Cell, solution: Solution, n: int, is_exact: bool, should_stop: Callable[[], bool]) -> Refinement:
    from ..evaluation.refine import refine
    from ..evaluation.refine_sampled import refine_sampled

    if is_exact:
        return _at_tol_or_what_rounding_allows(
            refine, cell, solution, n, memory_bytes=cell.memory_bytes, should_stop=should_stop
        )
    # Random numbers that no seed of the study's simulations is likely to have.
    return refine_sampled(
        cell.game, solution.policy, n, runs=REFINING_RUNS, seed=REFINING_SEED, memory_bytes=cell.memory_bytes,
        should_stop=should_stop,
    )  # fmt: skip


def _checkpoint_of(path: Path) -> Path:
    return path.with_name(path.name + ".checkpoint")


def remove_checkpoint(path: Path) -> None:
    """Remove the checkpoint of a cell, and what a kill in the middle of writing one left."""
    checkpoint = _checkpoint_of(path)
    for file in (checkpoint, checkpoint.with_name(checkpoint.name + ".partial")):
        file.unlink(missing_ok=True)


def write_cell(path: Path, cell: Cell, result: CellResult) -> None:
    """Write a finished cell atomically."""

    def fill(file: h5py.File) -> None:
        config = {"cell": cell.identity, "solution": solution_config(result.solution)}
        write_root(file, FORMAT, config, cell.solve_seed, kofn_version())
        write_text(file, "host", result.host or "unknown")
        for name in TIMES:
            file.attrs[name] = result.times[name]
        write_game_tables(file.create_group("game"), cell.game)
        write_solution_arrays(file.create_group("solution"), result.solution)
        for n, exact in result.exact.items():
            _write_exact(file.create_group(f"exact/n={n}"), exact)
        for n, refined in result.refined.items():
            group = file.create_group(f"refined/n={n}")
            write_text(group, "method", refined.method)
            for name in _REFINED:
                group.attrs[name] = getattr(refined, name)
            for seed, deployment in refined.deployments.items():
                write_deployment(group.create_group(f"seed={seed}"), deployment)
        for (n, seed), deployment in result.deployments.items():
            write_deployment(file.create_group(f"deployments/n={n}/seed={seed}"), deployment)

    write_atomically(path, fill, overwrite=True)


_NUMBERS = ("initial_value", "half_width", "average_reward", "average_half_width")
_REFINED = ("value_before", "value_after", "gain", "half_width")


def _write_exact(group: h5py.Group, exact: ExactResult) -> None:
    write_text(group, "route", exact.route)
    for name in _NUMBERS:
        group.attrs[name] = getattr(exact, name)
    if exact.value is not None:
        create_array(
            group, "value", exact.value, axes=("global_state", "population"),
            long_name="exact value of the policy with n agents", units="reward",
        )  # fmt: skip


def read_cell(path: Path) -> CellResult:
    """Read a finished cell.

    Raises
    ------
    KofnFileError
    """
    with open_checked(path, FORMAT) as file:
        config = read_config(file)
        game = read_game_tables(file["game"])
        identity = config["cell"]
        found = [n for n in identity["perhaps_n"] if f"exact/n={n}" in file]
        exact = {n: _read_exact(file[f"exact/n={n}"]) for n in (*identity["evaluated_n"], *found)}
        return CellResult(
            solution=read_solution_arrays(file["solution"], game, config["solution"]),
            exact=exact,
            refined={n: _read_refined(file[f"refined/n={n}"], identity["seeds"]) for n in identity["refined_n"]},
            deployments={
                (n, seed): read_deployment(file[f"deployments/n={n}/seed={seed}"])
                for n in identity["n"]
                for seed in identity["seeds"]
            },
            times={name: float(file.attrs[name]) for name in TIMES},
            host=read_text(file, "host"),
            created=read_text(file, "created"),
        )


def _read_exact(group: h5py.Group) -> ExactResult:
    numbers = {name: float(group.attrs[name]) for name in _NUMBERS}
    if not math.isfinite(numbers["initial_value"]):
        raise ValueError("an exact value that is not finite")
    value = read_array(group, "value", np.float64) if "value" in group else None
    return ExactResult(route=read_text(group, "route"), value=value, **numbers)


def _read_refined(group: h5py.Group, seeds: list[int]) -> RefinedResult:
    return RefinedResult(
        method=read_text(group, "method"),
        deployments={seed: read_deployment(group[f"seed={seed}"]) for seed in seeds},
        **{name: float(group.attrs[name]) for name in _REFINED},
    )


def read_times(path: Path) -> dict[str, Any]:
    """What a finished cell took: seconds by the names in TIMES, `host` and `created`."""
    with open_checked(path, FORMAT) as file:
        times: dict[str, Any] = {name: float(file.attrs[name]) for name in TIMES}
        return times | {name: read_text(file, name) for name in ("host", "created")}
