"""Studies as HDF5 files: one file, with k, run and step as named axes."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

from .files import (
    create_array,
    open_checked,
    read_array,
    read_config,
    read_text,
    write_atomically,
    write_root,
    write_text,
)
from .game import Game
from .game_tables import write_game_tables
from .study import Study
from .versions import kofn_version

FORMAT = "kofn-study"
_INTEGERS = ("k", "trace_step", "n_sweeps")

# Field, axes, long name, units.
_ARRAYS: tuple[tuple[str, tuple[str, ...], str, str], ...] = (
    ("k", ("k",), "agents of the surrogate game", "agents"),
    ("trace_step", ("trace_step",), "first step of each point of the trace", "steps"),
    ("value", ("k",), "certified value of the surrogate game from the initial law", "reward"),
    ("value_half_width", ("k",), "half width of the certified interval", "reward"),
    ("n_sweeps", ("k",), "certified sweeps", "1"),
    ("solve_time_s", ("k",), "wall time of the solve", "s"),
    ("returns", ("k", "run"), "discounted return of each run", "reward"),
    ("mean_return", ("k",), "mean discounted return over the runs", "reward"),
    ("return_half_width", ("k",), "half width of its 95 % t interval", "reward"),
    ("average_reward", ("k",), "long-run mean reward per step", "reward"),
    ("average_half_width", ("k",), "half width of its 95 % batch-means interval", "reward"),
    ("trace_return", ("k", "run", "trace_step"), "discounted reward up to the last step of a point", "reward"),
    ("occupancy", ("k", "global_state"), "share of the steps in each global state", "1"),
    ("mean_population", ("k", "local_state"), "mean share of the agents in each local state", "1"),
)


def write_study(path: str | Path, result: Study, game: Game) -> None:
    """Write a study atomically; an earlier file is replaced."""

    def fill(file: h5py.File) -> None:
        write_root(file, FORMAT, result.config, result.config["seed"], kofn_version())
        write_text(file, "sensitivity", json.dumps(result.sensitivity, sort_keys=True))
        write_game_tables(file.create_group("game"), game)
        for name, axes, long_name, units in _ARRAYS:
            create_array(file, name, getattr(result, name), axes=axes, long_name=long_name, units=units)

    write_atomically(path, fill, overwrite=True)


def read_study(path: str | Path) -> Study:
    """Read a study.

    Raises
    ------
    KofnFileError
    """
    with open_checked(path, FORMAT) as file:
        arrays = {name: read_array(file, name, np.int64 if name in _INTEGERS else np.float64) for name, *_ in _ARRAYS}
        sizes: dict[str, int] = {}
        for name, axes, *_ in _ARRAYS:
            expected = tuple(sizes.setdefault(axis, size) for axis, size in zip(axes, arrays[name].shape))
            if arrays[name].shape != expected or len(axes) != arrays[name].ndim:
                raise ValueError(f"{name} has shape {arrays[name].shape}, expected {expected}, as other arrays have it")
        return Study(config=read_config(file), sensitivity=json.loads(read_text(file, "sensitivity")), **arrays)
