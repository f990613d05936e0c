"""Deployments in an HDF5 group: arrays with named axes, everything else as attributes."""

from __future__ import annotations

import json

import h5py

from .deployment import Deployment
from .files import create_array, read_text, write_text

# Field, axes, long name, units.
_ARRAYS = (
    ("returns", ("run",), "discounted return of the simulated steps", "reward"),
    ("batch_means", ("run", "batch"), "mean reward per step of consecutive batches of steps", "reward"),
    ("action_shares", ("run", "global_state", "global_action"), "share of the steps in s_g that played a_g", "1"),
    ("populations", ("run", "local_state"), "mean share of the agents in each local state", "1"),
    ("trace_step", ("point",), "first step of each point of the trace", "steps"),
    ("trace_reward", ("run", "point"), "mean reward per step over the steps of a point", "reward"),
    ("trace_return", ("run", "point"), "discounted reward up to the last step of a point", "reward"),
    ("trace_global_state", ("run", "point"), "global state before the first step of a point", "1"),
    (
        "trace_population",
        ("run", "point", "local_state"),
        "agents in each local state before the first step of a point",
        "agents",
    ),
    ("trace_agents", ("run", "point", "agent"), "local states of the first agents before the first step of a point", "1"),
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


def read_deployment(group: h5py.Group) -> Deployment:
    """Read back what `write_deployment` wrote, bit for bit.

    Parameters
    ----------
    group : h5py.Group

    Raises
    ------
    ValueError, KeyError, OSError   the group is incomplete or damaged
    """
    return Deployment(
        config=json.loads(read_text(group, "config")),
        versions=json.loads(read_text(group, "versions")),
        **{name: float(group.attrs[name]) for name in _NUMBERS},
        **{name: group[name][...] for name, *_ in _ARRAYS if name in group},
    )
