"""Studies as HDF5 files: the results, the same bytes whenever and wherever they were computed; and the times, apart."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
from .cells import TIMES
from .results import ARRAYS, COORDINATES, TEXTS, Study
from .settings import game_name

FORMAT, TIMINGS_FORMAT = "kofn-study", "kofn-timings"


def write_study(path: str | Path, result: Study, games: Sequence[Game]) -> None:
    """Write a study atomically; an earlier file is replaced.

    The bytes depend on the settings and the results alone: no time of day, no machine, no number of workers.
    """

    def fill(file: h5py.File) -> None:
        write_root(file, FORMAT, result.config, None, kofn_version(), dated=False)
        write_text(file, "sensitivity", json.dumps(result.sensitivity, sort_keys=True))
        for i, game in enumerate(games):
            group = file.create_group(f"games/{_group_name(game_name(game), i)}")
            write_game_tables(group, game)
        for name, field in (COORDINATES | ARRAYS).items():
            data = getattr(result, name)
            if name in TEXTS:
                data = np.char.encode(data, "utf-8")
            dataset = create_array(file, name, data, axes=field.axes, long_name=field.long_name, units=field.units)
            if name in TEXTS:
                write_text(dataset, "_Encoding", "utf-8")

    write_atomically(path, fill, overwrite=True)


def _group_name(name: str, position: int) -> str:
    """The name of a game's group: its own where HDF5 takes it as one, and no other game's group can have it."""
    taken = re.fullmatch(r"game \d+", name)
    return name if name.strip(".") and "/" not in name and "\0" not in name and not taken else f"game {position}"


def read_study(path: str | Path) -> Study:
    """Read a study.

    Raises
    ------
    KofnFileError
    """
    with open_checked(path, FORMAT) as file:
        arrays: dict[str, np.ndarray] = {}
        sizes: dict[str, int] = {}
        for name, field in (COORDINATES | ARRAYS).items():
            array = read_array(file, name)
            expected = tuple(sizes.setdefault(axis, size) for axis, size in zip(field.axes, array.shape))
            if array.shape != expected or len(field.axes) != array.ndim:
                raise ValueError(f"{name} has shape {array.shape}, expected {expected}, as other arrays have it")
            arrays[name] = _checked(name, array)
        sensitivity = json.loads(read_text(file, "sensitivity"))
        return Study(config=read_config(file), sensitivity=sensitivity, **arrays)


def read_games(path: str | Path) -> dict[str, Game]:
    """The games of a study, by name, in the order of its axis."""
    with open_checked(path, FORMAT) as file:
        names = [text.decode() for text in read_array(file, "game").tolist()]
        return {name: read_game_tables(file[f"games/{_group_name(name, i)}"]) for i, name in enumerate(names)}


def check_results(folder: Path, games: set[str]) -> None:
    """Refuse to replace results in a folder that are not those of an earlier study of some of these games.

    Raises
    ------
    KofnFileError
    """
    for name, file_format in (("study.h5", FORMAT), ("timings.h5", TIMINGS_FORMAT)):
        path = folder / name
        if not path.exists():
            continue
        with open_checked(path, file_format) as file:
            found = read_config(file).get("games", []) if file_format == FORMAT else []
        if found and games.isdisjoint(found):
            names = ", ".join(map(str, found))[:60]
            raise KofnFileError(
                f"{path}: study of {names}, expected one of the same games; take another folder, or --force"
            )


def _checked(name: str, array: np.ndarray) -> np.ndarray:
    kind = "S" if name in TEXTS else "iu" if name in COORDINATES else "f"
    if array.dtype.kind not in kind or (kind == "f" and array.dtype != np.float64):
        raise ValueError(f"{name} is {array.dtype}, expected another type")
    return np.char.decode(array, "utf-8") if name in TEXTS else array


def write_timings(path: str | Path, times: Mapping[str, Mapping[str, Any]]) -> None:
    """Write what the cells of a study took, by cell; an earlier file is replaced.

    Parameters
    ----------
    times : {cell: {name in TIMES: seconds, "host": str, "created": str}}
    """
    names = sorted(times)

    def fill(file: h5py.File) -> None:
        write_root(file, TIMINGS_FORMAT, {}, None, kofn_version())
        for name in ("cell", "host", "created"):
            texts = names if name == "cell" else [times[cell][name] for cell in names]
            data = np.char.encode(np.array(texts), "utf-8")
            dataset = create_array(file, name, data, axes=("cell",), long_name=name)
            write_text(dataset, "_Encoding", "utf-8")
        for name in TIMES:
            data = np.array([times[cell][name] for cell in names])
            create_array(file, name, data, axes=("cell",), long_name=f"{name.removesuffix('_time_s')} time", units="s")

    write_atomically(path, fill, overwrite=True)


def read_timings(path: str | Path) -> dict[str, dict[str, Any]]:
    """What the cells of a study took, as `write_timings` has it; KofnFileError if it is no such file."""
    with open_checked(path, TIMINGS_FORMAT) as file:
        columns: dict[str, list[Any]] = {name: read_array(file, name, np.float64).tolist() for name in TIMES}
        for name in ("cell", "host", "created"):
            columns[name] = [text.decode() for text in read_array(file, name).tolist()]
        names = columns.pop("cell")
        return {cell: {name: column[i] for name, column in columns.items()} for i, cell in enumerate(names)}
