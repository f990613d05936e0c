"""Studies of importance weights and their cells as HDF5 files: the same bytes whenever and wherever they were computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..files import create_array, open_checked, read_array, read_config, write_atomically, write_root
from ..versions import kofn_version
from .drift_results import CellResult, DriftStudy
from .drift_settings import DriftCell, DriftStudySettings
from .folders import check_earlier, check_other_kinds, check_same_cell
from .labelled_files import read_labelled, write_labelled

FORMAT, CELL_FORMAT = "kofn-drift-study", "kofn-drift-cell"
NAME = "drift.h5"


def write_drift_study(path: str | Path, result: DriftStudy) -> None:
    """Write a study atomically; an earlier file is replaced. The bytes depend on settings and results alone."""
    write_labelled(path, FORMAT, result)


def read_drift_study(path: str | Path) -> DriftStudy:
    """Read a study of importance weights; KofnFileError if the file is no such file or damaged."""
    return read_labelled(path, FORMAT, DriftStudy)


def write_drift_cell(path: str | Path, identity: dict[str, Any], result: CellResult) -> None:
    """Write the estimates of a cell atomically."""

    def fill(file: h5py.File) -> None:
        write_root(file, CELL_FORMAT, identity, None, kofn_version(), dated=False)
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
    with open_checked(path, CELL_FORMAT) as file:
        check_same_cell(path, read_config(file), settings.identity(cell))
        shape = (len(settings.samples), settings.replications, 3)
        return CellResult(
            read_array(file, "values", np.float64, (*shape, len(settings.drawn_rewards), 2)),
            read_array(file, "weight_sums", np.float64, (*shape, 5)),
        )


def check_drift_folder(folder: Path, drifts: set[str]) -> None:
    """Refuse to write beside results that are not those of an earlier study of some of these drifts."""
    check_other_kinds(folder, ("study.h5", "learning.h5"))
    check_earlier(folder / NAME, FORMAT, "drifts", drifts)
