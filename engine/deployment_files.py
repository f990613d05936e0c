"""Deployments in an HDF5 group: arrays with named axes, everything else as attributes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .deployment import Deployment
from .files import create_array, open_checked, read_text, write_atomically, write_root, write_text
from .game import Game
from .game_tables import write_game_tables
from .policy import SubsamplePolicy
from .solution_files import write_policy
from .versions import kofn_version

FORMAT = "kofn-deployment"

# Field, axes, long name, units. `trace_step` comes before the arrays that it is the scale of.
_ARRAYS: tuple[tuple[str, tuple[str, ...], str, str], ...] = (
    ("returns", ("run",), "discounted return of the simulated steps", "reward"),
    ("batch_means", ("run", "batch"), "mean reward per step of consecutive batches of steps", "reward"),
    ("action_shares", ("run", "global_state", "global_action"), "share of the steps in s_g that played a_g", "1"),
    ("populations", ("run", "local_state"), "mean share of the agents in each local state", "1"),
    ("trace_step", ("trace_step",), "first step of each point of the trace", "steps"),
    ("trace_reward", ("run", "trace_step"), "mean reward per step over the steps of a point", "reward"),
    ("trace_return", ("run", "trace_step"), "discounted reward up to the last step of a point", "reward"),
    ("trace_global_state", ("run", "trace_step"), "global state before the first step of a point", "1"),
    ("trace_global_action", ("run", "trace_step"), "global action in the first step of a point", "1"),
    ("trace_population", ("run", "trace_step", "local_state"), "agents in each state before a point", "agents"),
    ("trace_agents", ("run", "trace_step", "agent"), "local states of the first agents before a point", "1"),
)
_NUMBERS = ("truncation_bound", "wall_time_s")


def write_deployment(group: h5py.Group, deployment: Deployment) -> None:
    """Write a deployment into an empty HDF5 group. The game and the policy are the caller's to store.

    Parameters
    ----------
    group : h5py.Group   open for writing
    deployment : Deployment
    """
    write_text(group, "config", json.dumps(deployment.config, sort_keys=True))
    write_text(group, "versions", json.dumps(deployment.versions, sort_keys=True))
    for name in _NUMBERS:
        group.attrs[name] = getattr(deployment, name)
    for name, axes, long_name, units in _ARRAYS:
        array = getattr(deployment, name)
        if array.size:
            create_array(group, name, array, axes=axes, long_name=long_name, units=units)


def write_deployment_file(
    path: str | Path, deployment: Deployment, game: Game, policy: SubsamplePolicy, *, overwrite: bool = False
) -> None:
    """Write a deployment with its game and its policy as a file of its own, atomically."""

    def fill(file: h5py.File) -> None:
        write_root(file, FORMAT, deployment.config, deployment.config["seed"], kofn_version())
        write_game_tables(file.create_group("game"), game)
        write_policy(file.create_group("policy"), policy)
        write_deployment(file.create_group("deployment"), deployment)

    write_atomically(path, fill, overwrite=overwrite)


def read_deployment_file(path: str | Path) -> Deployment:
    """Read a file written by `write_deployment_file`; KofnFileError if it is no such file or damaged."""
    with open_checked(path, FORMAT) as file:
        return read_deployment(file["deployment"])


def read_deployment(group: h5py.Group) -> Deployment:
    """Read back what `write_deployment` wrote, bit for bit.

    Files from before the trace had global actions are read with `trace_global_action` filled with −1.

    Parameters
    ----------
    group : h5py.Group

    Raises
    ------
    ValueError, KeyError, OSError   the group is incomplete or damaged
    """
    config = json.loads(read_text(group, "config"))
    arrays = {name: group[name][...] for name, *_ in _ARRAYS if name in group}
    if "trace_agents" not in arrays:
        arrays["trace_agents"] = np.empty((*arrays["trace_reward"].shape, 0), np.int32)
    if "trace_global_action" not in arrays:
        arrays["trace_global_action"] = np.full(arrays["trace_reward"].shape, -1, np.int32)
    sizes = {"run": config["runs"]}
    for name, axes, *_ in _ARRAYS:
        expected = tuple(sizes.setdefault(axis, size) for axis, size in zip(axes, arrays[name].shape))
        if arrays[name].shape != expected or len(axes) != arrays[name].ndim:
            raise ValueError(f"{name}: found shape {arrays[name].shape}, expected {expected}, as other arrays have it")
    found: dict[str, Any] = arrays | {name: float(group.attrs[name]) for name in _NUMBERS}
    return Deployment(config=config, versions=json.loads(read_text(group, "versions")), **found)
