"""Studies of learning as HDF5 files: the same bytes whenever and wherever they were computed."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

from ..files import (
    FORMAT_VERSION,
    KofnFileError,
    create_array,
    open_checked,
    read_array,
    read_config,
    read_text,
    write_atomically,
    write_text,
)
from ..learning.files import FORMAT as LEARNED
from ..learning.files import read_learned
from ..versions import kofn_version
from .learning_results import ARRAYS, COORDINATES, TEXTS, LearningStudy, study_of_learned
from .learning_settings import LearningCell

FORMAT = "kofn-learning-study"
NAME = "learning.h5"


def write_learning_study(path: str | Path, result: LearningStudy) -> None:
    """Write a study of learning atomically; an earlier file is replaced.

    The bytes depend on the settings and the results alone: no time of day, no machine, no number of threads.
    """

    def fill(file: h5py.File) -> None:
        write_text(file, "format", FORMAT)
        file.attrs["format_version"] = FORMAT_VERSION
        write_text(file, "kofn_version", kofn_version())
        write_text(file, "config", json.dumps(result.config, sort_keys=True))
        for name, field in COORDINATES.items():
            data = getattr(result, name)
            create_array(file, name, data, axes=field.axes, long_name=field.long_name, units=field.units)
        for name, field in ARRAYS.items():
            create_array(file, name, result.arrays[name], axes=field.axes, long_name=field.long_name, units=field.units)

    write_atomically(path, fill, overwrite=True)


def read_learning_study(path: str | Path) -> LearningStudy:
    """Read a study of learning; KofnFileError if the file is no such file or damaged."""
    with open_checked(path, FORMAT) as file:
        coordinates = {}
        for name in COORDINATES:
            found = read_array(file, name)
            if found.ndim != 1 or found.dtype.kind not in ("S" if name in TEXTS else "iuf"):
                raise ValueError(f"{name} is {found.dtype} of shape {found.shape}, expected one axis")
            coordinates[name] = np.char.decode(found, "utf-8") if name in TEXTS else found
        arrays = {
            name: read_array(file, name, np.float64, tuple(coordinates[axis].size for axis in field.axes))
            for name, field in ARRAYS.items()
        }
        return LearningStudy(config=read_config(file), arrays=arrays, **coordinates)


def read_as_study(path: str | Path) -> LearningStudy:
    """Read a study of learning, or learned tables as a study of one cell; KofnFileError if the file is neither."""
    with open_checked(path, FORMAT, LEARNED) as file:
        is_study = read_text(file, "format") == FORMAT
    return read_learning_study(path) if is_study else study_of_learned(read_learned(path, tables=False))


def learning_cell_path(folder: str | Path, cell: LearningCell) -> Path:
    """The file of a cell of a study in a folder."""
    return Path(folder) / "cells" / f"{cell.name}.h5"


def check_learning_cell(path: Path, cell: LearningCell) -> bool:
    """Whether a cell stands finished at a path, with its tables if they are to be kept.

    KofnFileError if what is there belongs to another study.
    """
    if not path.exists():
        return False
    found = read_learned(path, tables=False)
    there, expected = found.settings.identity(found.game), cell.settings.identity(cell.game)
    # What is asked for comes before what follows from it.
    for key in sorted(expected, key=lambda name: (name not in ("game", "n", "steps", "runs", "seed"), name)):
        if there.get(key) != expected[key]:
            raise KofnFileError(
                f"{path}: cell of another study, {key} is {there.get(key)}, expected {expected[key]}; "
                "take another folder, or --force"
            )
    with open_checked(path, LEARNED) as file:
        has_tables = bool(file.attrs["tables"])
    return found.step == cell.settings.steps and (has_tables or not cell.keeps_tables)


def check_learning_folder(folder: Path, games: set[str]) -> None:
    """Refuse to write beside results that are not those of an earlier study of learning of some of these games."""
    for other in ("study.h5", "drift.h5"):
        if (folder / other).exists():
            raise KofnFileError(
                f"{folder / other}: a study of another kind, expected none; take another folder, or --force"
            )
    path = folder / NAME
    if path.exists():
        with open_checked(path, FORMAT) as file:
            found = read_config(file).get("games", [])
        if games.isdisjoint(found):
            names = ", ".join(map(str, found))[:60]
            raise KofnFileError(
                f"{path}: study of {names}, expected one of the same games; take another folder, or --force"
            )
