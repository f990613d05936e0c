"""Cells of a study: solve one surrogate game, deploy its policy, keep both in one file. A finished cell is never redone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .checkpoints import digest_of
from .deployment import Deployment, deploy
from .deployment_files import read_deployment, write_deployment
from .files import KofnFileError, open_checked, read_config, write_atomically, write_root
from .game import Game
from .game_tables import read_game_tables, write_game_tables
from .solution import Solution
from .solution_files import read_solution_arrays, solution_config, write_solution_arrays
from .solve import Interrupted, solve
from .versions import kofn_version

FORMAT = "kofn-cell"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One job of a study: what to solve, and how to deploy it."""

    game: Game
    k: int
    actions: str
    expectation: str
    samples: int
    tol: float
    local_policy: np.ndarray | None
    n: int
    steps: int
    runs: int
    seed: int
    level: str
    memory_bytes: int | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that the bits of the result depend on, JSON-ready."""
        keys = ("k", "actions", "expectation", "samples", "tol", "n", "steps", "runs", "seed", "level")
        policy = None if self.local_policy is None else digest_of(self.local_policy)
        return {key: getattr(self, key) for key in keys} | {"game": self.game.digest(), "local_policy": policy}


def check_cell(path: Path, cell: Cell) -> bool:
    """Whether a finished cell stands at a path; KofnFileError if it is a cell of something else."""
    if not path.exists():
        return False
    with open_checked(path, FORMAT) as file:
        found = read_config(file)["cell"]
        expected = json.loads(json.dumps(cell.identity))
        for key, value in expected.items():
            if found.get(key) != value:
                raise KofnFileError(
                    f"{path}: cell of another study, {key} is {found.get(key)}, expected {value}; "
                    "take another folder, or --force"
                )
    return True


def run_cell(path: Path, cell: Cell, should_stop: Callable[[], bool], *, checkpoint_every_s: float = 60.0) -> None:
    """Solve and deploy a cell and write its file; a checkpoint beside it takes over what an earlier try had done.

    Raises
    ------
    Interrupted    `should_stop` said so; the checkpoint is on disk
    """
    checkpoint = _checkpoint_of(path)
    solution = solve(
        cell.game, cell.k, cell.actions, cell.expectation, cell.tol, local_policy=cell.local_policy,
        samples=max(1, cell.samples), seed=cell.seed, memory_bytes=cell.memory_bytes, checkpoint=checkpoint,
        checkpoint_every_s=checkpoint_every_s, resume=True, should_stop=should_stop,
    )  # fmt: skip

    def stop_if_asked(_done: int, _total: int) -> None:
        if should_stop():
            raise Interrupted(f"stopped while deploying k = {cell.k}")

    deployment = deploy(
        cell.game, solution.policy, cell.n, steps=cell.steps, runs=cell.runs, seed=cell.seed, level=cell.level,
        memory_bytes=cell.memory_bytes, progress=stop_if_asked,
    )  # fmt: skip
    write_cell(path, cell, solution, deployment)
    remove_checkpoint(path)


def _checkpoint_of(path: Path) -> Path:
    return path.with_name(path.name + ".checkpoint")


def remove_checkpoint(path: Path) -> None:
    """Remove the checkpoint of a cell, and what a kill in the middle of writing one left."""
    checkpoint = _checkpoint_of(path)
    for file in (checkpoint, checkpoint.with_name(checkpoint.name + ".partial")):
        file.unlink(missing_ok=True)


def write_cell(path: Path, cell: Cell, solution: Solution, deployment: Deployment) -> None:
    """Write a finished cell atomically."""

    def fill(file: h5py.File) -> None:
        config = {"cell": cell.identity, "solution": solution_config(solution)}
        write_root(file, FORMAT, config, cell.seed, kofn_version())
        write_game_tables(file.create_group("game"), cell.game)
        write_solution_arrays(file.create_group("solution"), solution)
        write_deployment(file.create_group("deployment"), deployment)

    write_atomically(path, fill, overwrite=True)


def read_cell(path: Path) -> tuple[Solution, Deployment]:
    """Read a finished cell.

    Raises
    ------
    KofnFileError
    """
    with open_checked(path, FORMAT) as file:
        game = read_game_tables(file["game"])
        solution = read_solution_arrays(file["solution"], game, read_config(file)["solution"])
        return solution, read_deployment(file["deployment"])
