"""Learned tables as HDF5 files: results, and checkpoints that hold all that the next step needs."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

from ..files import (
    KofnFileError,
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
from ..versions import kofn_version
from .learners import make_learners, table_shape
from .result import CURVES, POLICY_TABLES, RATIO_NAMES, Learned, Measured
from .settings import LearningSettings

FORMAT = "kofn-learned"

_CELLS = ("run", "table", "observation", "local_action")
_GLOBAL_CELLS = ("run", "global_state", "global_field", "global_action")
_RING = ("run", "transition", "agent")
# Name, axes, long name, whether a result needs it as well as a checkpoint.
_ARRAYS: dict[str, tuple[tuple[str, ...], str, bool]] = {
    "q": (_CELLS, "Q(observation, action); observation is (s_g · n_sl + s_l) · n_seen + value seen", True),
    "target": (_CELLS, "copy of Q for the bootstrap", False),
    "theta": (_CELLS, "preferences of the actor", True),
    "visits": (_CELLS, "updates of a cell", True),
    "mass": (_CELLS, "weights that a cell has met", False),
    "q_global": (_GLOBAL_CELLS, "Q of the global agent", True),
    "visits_global": (_GLOBAL_CELLS, "updates of a cell", True),
    "actions": (("run", "agent"), "actions executed last", True),
    "states": (("run", "agent"), "local states", True),
    "s_g": (("run",), "global state", True),
    "seen": (("run", "agent"), "observations", False),
    "alive": (("run", "agent"), "whether the agent is there", False),
    "run": (("run",), "number of the run in the random streams", False),
    "pending_value": (("run", "agent"), "field value at the agent's last move", False),
    "pending_reward": (("run", "agent"), "reward of the agent's last move", False),
    "ring_seen": (_RING, "replay: observation", False),
    "ring_action": (_RING, "replay: action", False),
    "ring_reward": (_RING, "replay: reward", False),
    "ring_next": (_RING, "replay: next observation", False),
    "ring_acted": (_RING, "replay: observation acted on", False),
    "ring_log_law": (_RING, "replay: log probability of what the others did", False),
    "ratio_means": (("run", "ratio_mean"), "steps replayed, recent means of weights and of their squares", False),
    "ring_head": (("run",), "replay: place that is written next", False),
    "ring_filled": (("run",), "replay: transitions kept", False),
}
# What a file may lack.
_TABLES = ("q", "target", "theta", "visits", "mass", "q_global", "visits_global")
_MEASURED = {
    "value": "exact value of the learned policy with n agents, from the initial law",
    "half_width": "half width of its certified interval",
    "global_gain": "what a best response of the global agent gains, for r_g",
    "local_gain": "what a best response of a local agent gains, for its own rewards",
}
_LONG_NAMES = {
    "reward": ("system reward per step, mean over the steps of a point", "reward"),
    "weight": ("mean weight of the actions or states that agents see", "1"),
    "abs_weight": ("absolute value of it", "1"),
}


def write_learned(
    path: str | Path, learned: Learned, *, complete: bool = False, tables: bool = True, overwrite: bool = False
) -> None:
    """Write learned tables atomically.

    Parameters
    ----------
    complete : bool     with all that the next step needs, such as the replay ring; a checkpoint is complete
    tables : bool       without them curves and last actions stay
    overwrite : bool

    Raises
    ------
    KofnFileError
    """

    def fill(file: h5py.File) -> None:
        write_root(file, FORMAT, {"learning": learned.settings.config()}, learned.settings.seed, kofn_version())
        write_text(file, "versions", json.dumps(learned.versions, sort_keys=True))
        file.attrs["step"], file.attrs["wall_time_s"] = learned.step, learned.wall_time_s
        file.attrs["complete"], file.attrs["tables"] = int(complete), int(tables)
        write_game_tables(file.create_group("game"), learned.game)
        state = file.create_group("learners")
        for name, array in learned.arrays.items():
            axes, long_name, always = _ARRAYS[name]
            if (complete or always) and (tables or name not in _TABLES):
                create_array(state, name, array, axes=axes, long_name=long_name)
        if learned.snapshots:
            kept = file.create_group("snapshots")
            create_array(kept, "step", learned.settings.snapshot_steps, axes=("snapshot",), units="steps")
            for name, array in learned.snapshots.items():
                axes, long_name, _ = _ARRAYS[name]
                create_array(kept, name, array, axes=("snapshot", *axes), long_name=long_name, units="reward")
        if learned.measured is not None:
            _write_measured(file.create_group("measured"), learned.measured)
        curves = file.create_group("curves")
        n_points = learned.n_points
        steps = learned.point_steps
        create_array(curves, "step", steps, axes=("step",), long_name="steps made at the end of a point", units="steps")
        for name in CURVES:
            long_name, units = _LONG_NAMES[name]
            create_array(
                curves, name, learned.curves[name][:, :n_points], axes=("run", "step"), long_name=long_name, units=units
            )
        if "ratios" in learned.curves:
            create_array(
                curves, "ratios", learned.curves["ratios"][:, :n_points], axes=("run", "step", "ratio_sum"),
                long_name=f"sums over the replayed steps of a point: {', '.join(RATIO_NAMES)}",
            )  # fmt: skip

    write_atomically(path, fill, overwrite=overwrite)


def _write_measured(group: h5py.Group, measured: Measured) -> None:
    group.attrs["optimum"], group.attrs["optimum_half_width"] = measured.optimum, measured.optimum_half_width
    create_array(group, "step", measured.step, axes=("snapshot",), long_name="steps made", units="steps")
    for name, long_name in _MEASURED.items():
        create_array(
            group, name, getattr(measured, name), axes=("run", "snapshot"), long_name=long_name, units="reward"
        )


def _read_measured(group: h5py.Group, steps: np.ndarray, runs: int) -> Measured:
    shape = (runs, steps.size)
    return Measured(
        step=read_array(group, "step", np.int64, steps.shape),
        optimum=float(group.attrs["optimum"]),
        optimum_half_width=float(group.attrs["optimum_half_width"]),
        **{name: read_array(group, name, np.float64, shape) for name in _MEASURED},
    )


def read_learned(path: str | Path, *, tables: bool = True) -> Learned:
    """Read what was learned, finished or under way; KofnFileError if the file is no such file or damaged.

    Parameters
    ----------
    tables : bool    without them curves and last actions are read, which is quick; a file may not have them
    """
    with open_checked(path, FORMAT) as file:
        return _read(file, tables and bool(file.attrs["tables"]))


def _read(file: h5py.File, tables: bool) -> Learned:
    settings = LearningSettings.from_config(read_config(file)["learning"])
    game = read_game_tables(file["game"])
    arrays = {}
    # Before anything of the size that the settings claim is made.
    for name, shape in {
        "actions": (settings.runs, settings.n),
        "q": (settings.runs, *table_shape(game, settings)),
    }.items():
        if name in file["learners"] and file["learners"][name].shape != shape:
            raise ValueError(f"{name} of shape {file['learners'][name].shape}, expected {shape} by the settings")
    if tables:
        for name, array in make_learners(game, settings).arrays().items():
            if bool(file.attrs["complete"]) or _ARRAYS[name][2]:
                arrays[name] = read_array(file["learners"], name, array.dtype, array.shape)
    else:
        arrays["actions"] = read_array(file["learners"], "actions", np.int32, (settings.runs, settings.n))
    steps = settings.snapshot_steps
    names = [name for name in POLICY_TABLES if steps.size and name in arrays]
    snapshots = {
        name: read_array(file["snapshots"], name, np.float64, (steps.size, *arrays[name].shape)) for name in names
    }
    learned = Learned(
        game=game, settings=settings, step=int(file.attrs["step"]), arrays=arrays, curves={},
        wall_time_s=float(file.attrs["wall_time_s"]), versions=json.loads(read_text(file, "versions")),
        snapshots=snapshots,
        measured=_read_measured(file["measured"], steps, settings.runs) if "measured" in file else None,
    )  # fmt: skip
    if not 0 <= learned.step <= settings.steps:
        raise ValueError(f"step {learned.step} of {settings.steps}")
    for name in CURVES:
        curve = np.zeros((settings.runs, settings.n_points))
        curve[:, : learned.n_points] = read_array(file["curves"], name, np.float64, (settings.runs, learned.n_points))
        learned.curves[name] = curve
    if "ratios" in file["curves"]:
        sums = np.zeros((settings.runs, settings.n_points, len(RATIO_NAMES)))
        shape = (settings.runs, learned.n_points, len(RATIO_NAMES))
        sums[:, : learned.n_points] = read_array(file["curves"], "ratios", np.float64, shape)
        learned.curves["ratios"] = sums
    return learned


def read_learning_checkpoint(path: Path, game: Game, settings: LearningSettings) -> Learned:
    """Read the steps made so far; refuse those of other learning, naming the first difference."""
    found = read_learned(path)
    there, expected = found.settings.identity(found.game), settings.identity(game)
    for key in sorted(expected):
        if there.get(key) != expected[key]:
            raise KofnFileError(
                f"{path}: checkpoint of other learning, {key} is {there.get(key)}, expected {expected[key]}"
            )
    if set(make_learners(game, settings).arrays()) - set(found.arrays):
        raise KofnFileError(f"{path}: a result, which cannot be continued; expected a checkpoint")
    return found
