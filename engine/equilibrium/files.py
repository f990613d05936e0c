"""Alternations as HDF5 files: finished ones, and the checkpoint that holds all that the next round needs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..checkpoints import digest_of
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
from ..solution_files import read_policy, read_solution_arrays, solution_config, write_policy, write_solution_arrays
from ..versions import kofn_version
from .local_learner import LocalSolution
from .result import BOUNDS, PLAYERS, Equilibrium, Round
from .settings import AlternationSettings
from .tagged_chain import REWARDS

FORMAT = "kofn-equilibrium"

_STATES = ("global_state", "local_state")
_LOCAL: tuple[tuple[str, tuple[str, ...], str, str], ...] = (
    ("q", (*_STATES, "action"), "Q of a local agent that sees (s_g, s_l)", "reward"),
    ("value", _STATES, "its value, midpoint of the certified interval", "reward"),
    ("policy", (*_STATES, "action"), "law of a_l of the kept pair", "1"),
    ("temperature", _STATES, "temperature of the Boltzmann law, 0 where greedy", "reward"),
)
_ROUNDS: tuple[tuple[str, type, str, str], ...] = (
    ("value", np.float64, "value of the pair for n agents from the initial law, team reward", "reward"),
    ("half_width", np.float64, "half width of its interval", "reward"),
    ("global_value", np.float64, "the same after G-LEARN, before L-LEARN", "reward"),
    ("surrogate_value", np.float64, "certified value of the game of k agents", "reward"),
    ("change", np.float64, "value minus that of the best round before", "reward"),
    ("change_half_width", np.float64, "half width of its interval", "reward"),
    ("kept", np.int8, "whether the pair became the best", "1"),
    ("n_sweeps", np.int64, "certified sweeps of G-LEARN", "1"),
    ("solve_time_s", np.float64, "time of G-LEARN", "s"),
    ("wall_time_s", np.float64, "time of the round", "s"),
)


def write_equilibrium(
    path: str | Path, equilibrium: Equilibrium, *, first_policy: np.ndarray | None = None, overwrite: bool = False
) -> None:
    """Write an alternation atomically, finished or under way.

    Parameters
    ----------
    first_policy : float64[n_sg, n_sl, n_al], optional    local policy that the first round answered; a checkpoint needs it
    overwrite : bool

    Raises
    ------
    KofnFileError
    """

    def fill(file: h5py.File) -> None:
        settings = equilibrium.settings
        config: dict[str, Any] = {
            "alternation": settings.identity(equilibrium.game), "solution": solution_config(equilibrium.solution),
        }  # fmt: skip
        if first_policy is not None:
            config["first_policy"] = digest_of(first_policy)
        write_root(file, FORMAT, config, settings.seed, kofn_version())
        write_text(file, "stop", equilibrium.stop)
        write_text(file, "versions", json.dumps(equilibrium.versions, sort_keys=True))
        file.attrs["best_round"] = equilibrium.best_round
        file.attrs["is_exact"] = int(equilibrium.is_exact)
        file.attrs["wall_time_s"] = equilibrium.wall_time_s
        write_game_tables(file.create_group("game"), equilibrium.game)
        write_policy(file.create_group("policy"), equilibrium.policy)
        write_solution_arrays(file.create_group("solution"), equilibrium.solution)
        create_array(
            file, "next_local_policy", equilibrium.next_local_policy, axes=(*_STATES, "action"),
            long_name="law of a_l that a further round would answer",
        )  # fmt: skip
        local = file.create_group("local")
        local.attrs["half_width"], local.attrs["n_sweeps"] = equilibrium.local.half_width, equilibrium.local.n_sweeps
        for name, axes, long_name, units in _LOCAL:
            create_array(local, name, getattr(equilibrium.local, name), axes=axes, long_name=long_name, units=units)
        rounds = file.create_group("rounds")
        for name, kind, long_name, units in _ROUNDS:
            column: np.ndarray = equilibrium.column(name).astype(kind)
            create_array(rounds, name, column, axes=("round",), long_name=long_name, units=units)
        create_array(
            rounds, "exploitability", equilibrium.column("exploitability"), axes=("round",),
            long_name="how gains were computed",
        )  # fmt: skip
        create_array(
            rounds, "gains", np.stack([entry.gains for entry in equilibrium.rounds]),
            axes=("round", "reward", "player", "bound"), units="reward",
            long_name=f"what a best response gains; {', '.join(REWARDS)}; {', '.join(PLAYERS)}; {', '.join(BOUNDS)}",
        )  # fmt: skip

    write_atomically(path, fill, overwrite=overwrite)


def read_equilibrium(path: str | Path) -> Equilibrium:
    """Read an alternation, finished or under way; KofnFileError if the file is no such file or damaged."""
    with open_checked(path, FORMAT) as file:
        return _read(file)


def _read(file: h5py.File) -> Equilibrium:
    config = read_config(file)
    game = read_game_tables(file["game"])
    kept = {f.name: config["alternation"][f.name] for f in dataclasses.fields(AlternationSettings)}
    shape = (game.n_sg, game.n_sl)
    local = file["local"]
    shapes = {"q": (*shape, game.n_al), "policy": (*shape, game.n_al)}
    arrays = {name: read_array(local, name, np.float64, shapes.get(name, shape)) for name, *_ in _LOCAL}
    equilibrium = Equilibrium(
        game=game,
        settings=AlternationSettings(**kept),
        solution=read_solution_arrays(file["solution"], game, config["solution"]),
        local=LocalSolution(
            **arrays, half_width=float(local.attrs["half_width"]), n_sweeps=int(local.attrs["n_sweeps"])
        ),
        next_local_policy=read_array(file, "next_local_policy", np.float64, (*shape, game.n_al)),
        rounds=_read_rounds(file),
        best_round=int(file.attrs["best_round"]),
        is_exact=bool(file.attrs["is_exact"]),
        stop=read_text(file, "stop"),
        wall_time_s=float(file.attrs["wall_time_s"]),
        versions=json.loads(read_text(file, "versions")),
    )
    if not 0 <= equilibrium.best_round < len(equilibrium.rounds):
        raise ValueError("a best round that is none of its rounds")
    stored, rebuilt = read_policy(file["policy"]), equilibrium.policy
    for name in ("global_action", "local_action"):
        if not np.array_equal(getattr(stored, name), getattr(rebuilt, name)):
            raise ValueError("its policy does not follow from its parts")
    return equilibrium


def _read_rounds(file: h5py.File) -> tuple[Round, ...]:
    group = file["rounds"]
    kinds = np.char.decode(read_array(group, "exploitability"), "utf-8").tolist()
    columns = {name: read_array(group, name, kind, (len(kinds),)) for name, kind, *_ in _ROUNDS}
    gains = read_array(group, "gains", np.float64, (len(kinds), len(REWARDS), len(PLAYERS), len(BOUNDS)))
    if not kinds or not np.isfinite(columns["value"]).all():
        raise ValueError("rounds without a value")
    return tuple(
        Round(
            **{name: column[i].item() for name, column in columns.items() if name != "kept"},
            kept=bool(columns["kept"][i]), gains=gains[i], exploitability=str(kind),
        )
        for i, kind in enumerate(kinds)
    )  # fmt: skip


def read_alternation_checkpoint(
    path: Path,
    game: Game,
    settings: AlternationSettings,
    first_policy: np.ndarray,
    *,
    what: str = "checkpoint of another alternation",
    advice: str = "",
) -> Equilibrium:
    """Read the rounds made so far, or all; refuse those of another alternation, naming the first difference."""
    with open_checked(path, FORMAT) as file:
        config = read_config(file)
        found = config["alternation"] | {"first_policy": config.get("first_policy")}
        expected = settings.identity(game) | {"first_policy": digest_of(first_policy)}
        for key in sorted(expected):
            if found.get(key) != expected[key]:
                raise KofnFileError(f"{path}: {what}, {key} is {found.get(key)}, expected {expected[key]}{advice}")
        return _read(file)
