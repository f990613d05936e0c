"""Studies of importance weights and their cells as HDF5 files: the same bytes whenever and wherever they were computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..files import (
    FORMAT_VERSION,
    KofnFileError,
    create_array,
    open_checked,
    read_array,
    read_config,
    write_atomically,
    write_text,
)
from ..versions import kofn_version
from .drift_results import ARRAYS, COORDINATES, TEXTS, CellResult, DriftStudy
from .drift_settings import DriftCell, DriftStudySettings

FORMAT, CELL_FORMAT = "kofn-drift-study", "kofn-drift-cell"
NAME = "drift.h5"


def write_drift_study(path: str | Path, result: DriftStudy) -> None:
    """Write a study atomically; an earlier file is replaced. The bytes depend on settings and results alone."""

    def fill(file: h5py.File) -> None:
        _write_root(file, FORMAT, result.config)
        for name, field in COORDINATES.items():
            data = getattr(result, name)
            create_array(file, name, data, axes=field.axes, long_name=field.long_name, units=field.units)
        for name, field in ARRAYS.items():
            create_array(file, name, result.arrays[name], axes=field.axes, long_name=field.long_name, units=field.units)

    write_atomically(path, fill, overwrite=True)


def read_drift_study(path: str | Path) -> DriftStudy:
    """Read a study of importance weights; KofnFileError if the file is no such file or damaged."""
    with open_checked(path, FORMAT) as file:
        coordinates = {}
        for name in COORDINATES:
            found = read_array(file, name)
            if found.ndim != 1 or found.dtype.kind not in ("S" if name in TEXTS else "iu"):
                raise ValueError(f"{name} is {found.dtype} of shape {found.shape}, expected one axis")
            coordinates[name] = np.char.decode(found, "utf-8") if name in TEXTS else found
        arrays = {
            name: read_array(file, name, np.float64, tuple(coordinates[axis].size for axis in field.axes))
            for name, field in ARRAYS.items()
        }
        return DriftStudy(config=read_config(file), arrays=arrays, **coordinates)


def drift_cell_path(folder: str | Path, cell: DriftCell) -> Path:
    """The file of a cell of a study in a folder."""
    return Path(folder) / "cells" / f"{cell.name}.h5"


def write_drift_cell(path: str | Path, identity: dict[str, Any], result: CellResult) -> None:
    """Write the estimates of a cell atomically."""

    def fill(file: h5py.File) -> None:
        _write_root(file, CELL_FORMAT, identity)
        axes = ("samples", "replication", "weights")
        create_array(file, "samples", identity["samples"], axes=("samples",), long_name="samples of an estimate")
        create_array(
            file, "values", result.values, axes=(*axes, "reward", "moment"), units="reward",
            long_name="mean and variance of clipped weight times Y: without weights, product form, marginal form",
        )  # fmt: skip
        create_array(
            file, "weight_sums", result.weights, axes=(*axes, "sum"),
            long_name="of the weights: mean and mean square clipped, share above the clip, mean excess, mean square",
        )  # fmt: skip

    write_atomically(path, fill, overwrite=True)


def read_drift_cell(path: Path, settings: DriftStudySettings, cell: DriftCell) -> CellResult:
    """The estimates of a cell; KofnFileError if the file is damaged or belongs to another study."""
    expected = settings.identity(cell)
    with open_checked(path, CELL_FORMAT) as file:
        found = read_config(file)
        for key, value in expected.items():
            if found.get(key) != value:
                raise KofnFileError(
                    f"{path}: cell of another study, {key} is {found.get(key)}, expected {value}; take another folder, or --force"
                )
        shape = (len(settings.samples), settings.replications, 3)
        return CellResult(
            read_array(file, "values", np.float64, (*shape, len(settings.drawn_rewards), 2)),
            read_array(file, "weight_sums", np.float64, (*shape, 5)),
        )


def check_drift_folder(folder: Path, drifts: set[str]) -> None:
    """Refuse to write beside results that are not those of an earlier study of some of these drifts."""
    for other in ("study.h5", "learning.h5"):
        if (folder / other).exists():
            raise KofnFileError(
                f"{folder / other}: a study of another kind, expected none; take another folder, or --force"
            )
    path = folder / NAME
    if path.exists():
        with open_checked(path, FORMAT) as file:
            found = read_config(file).get("drifts", {})
        if drifts.isdisjoint(found):
            raise KofnFileError(
                f"{path}: study of {', '.join(found)[:60]}, expected one of the same drifts; take another folder, or --force"
            )


def _write_root(file: h5py.File, kind: str, config: dict[str, Any]) -> None:
    write_text(file, "format", kind)
    file.attrs["format_version"] = FORMAT_VERSION
    write_text(file, "kofn_version", kofn_version())
    write_text(file, "config", json.dumps(config, sort_keys=True))
