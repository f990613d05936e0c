"""Results for other programs: CSV tables and netCDF-4 files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .export_tables import (
    Table,
    csv_bytes,
    decoded,
    read_named_arrays,
    tabulate_deployment,
    tabulate_gaps,
    tabulate_inventory,
    tabulate_rounds,
    tabulate_solution,
    tabulate_study,
)
from .files import check_writable, open_checked, read_array, read_config, read_text, write_bytes_atomically
from .game_tables import read_game_tables

TABLES = {
    "kofn-study": ("cells", "runs"),
    "kofn-solution": ("states",),
    "kofn-deployment": ("runs",),
    "kofn-cell": ("states",),
    "kofn-equilibrium": ("rounds", "states"),
    "kofn-learning-study": ("cells", "runs", "curves"),
    "kofn-learned": ("runs", "cells", "curves"),
    "kofn-drift-study": ("cells",),
    "kofn-gap": ("runs",),
    "kofn-inventory": ("runs", "retailers", "periods"),
}
"""What there is to tabulate in each kind of file; the first is the default."""

SUFFIXES = (".csv", ".nc")


def export_file(path: str | Path, output: str | Path, *, what: str | None = None, overwrite: bool = False) -> str:
    """Write what a file holds, or a study's folder, as CSV (one table, see `TABLES`) or as netCDF-4 (all of it).

    Parameters
    ----------
    path : path of a file, or of the folder of a study
    output : path; its suffix `.csv` or `.nc` decides
    what : rows of the table, one of `TABLES`; for CSV only
    overwrite : bool

    Returns
    -------
    str     what was written, for people

    Raises
    ------
    ValueError, KofnFileError
    """
    source, target = file_of(path), Path(output)
    check_writable(target, overwrite=overwrite)
    with open_checked(source, *TABLES) as file:
        kind = read_text(file, "format")
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"output: found suffix {target.suffix!r}, expected one of {', '.join(SUFFIXES)}")
    if suffix == ".nc" and what is not None:
        raise ValueError(f"what: found {what!r}, expected none: a netCDF file holds everything")
    if what not in (None, *TABLES[kind]):
        raise ValueError(f"what: found {what!r}, expected {' or '.join(TABLES[kind])} for a {kind} file")
    if suffix == ".nc":
        with open_checked(source, kind) as file:
            data, n_arrays = netcdf_bytes(file)
        said = f"{n_arrays} arrays"
    else:
        table = _tabulate(source, kind, what or TABLES[kind][0])
        data, said = csv_bytes(table), f"{len(table.header)} columns"
    write_bytes_atomically(target, data, overwrite=overwrite)
    return f"{said}, {len(data):,} bytes in {target}"


def file_of(path: str | Path) -> Path:
    """The file itself, or the study file of a folder."""
    if not Path(path).is_dir():
        return Path(path)
    names = ("study.h5", "learning.h5", "drift.h5")
    return next((Path(path) / name for name in names if (Path(path) / name).exists()), Path(path) / names[0])


def _tabulate(path: Path, kind: str, what: str) -> Table:
    from .deployment_files import read_deployment
    from .solution_files import read_any_solution

    if kind == "kofn-equilibrium":
        from .equilibrium.files import read_equilibrium

        equilibrium = read_equilibrium(path)
        return tabulate_rounds(equilibrium) if what == "rounds" else tabulate_solution(equilibrium.solution)
    if kind in ("kofn-learning-study", "kofn-learned"):
        from .study.learning_files import read_as_study
        from .study.learning_table import tabulate_learning

        return tabulate_learning(read_as_study(path), what)
    if kind == "kofn-drift-study":
        from .study.drift_files import read_drift_study
        from .study.drift_table import tabulate_drift

        return tabulate_drift(read_drift_study(path))
    if kind == "kofn-gap":
        from .equilibrium.gap_files import read_gap_numbers

        return tabulate_gaps(read_gap_numbers(path))
    if kind == "kofn-inventory":
        from .inventory.files import read_inventory

        return tabulate_inventory(read_inventory(path), what)
    if what == "states":
        return tabulate_solution(read_any_solution(path))
    with open_checked(path, kind) as file:
        if kind == "kofn-study":
            return tabulate_study(read_named_arrays(file), what)
        return tabulate_deployment(read_deployment(file["deployment"]), read_game_tables(file["game"]))


def netcdf_bytes(file: h5py.File) -> tuple[bytes, int]:
    """A file of ours as netCDF-4, groups included, and the number of its arrays.

    Texts become netCDF strings. The bytes depend on the file and on the versions of the libraries alone.
    """
    import h5netcdf

    buffer = io.BytesIO()
    with h5netcdf.File(buffer, "w") as target:
        n_arrays = _copy_group(file, target)
    return buffer.getvalue(), n_arrays


def _copy_group(source: h5py.Group, target: Any) -> int:
    """Copy the attributes and arrays of a group and of its subgroups; the number of arrays copied."""
    for name in source.attrs:
        target.attrs[name] = _attribute(source.attrs[name])
    # The configuration of a study is checked here: what is no JSON is no file of ours.
    if isinstance(source, h5py.File):
        read_config(source)
    datasets = {name: item for name, item in source.items() if isinstance(item, h5py.Dataset)}
    for name, item in datasets.items():
        if item.is_scale:
            target.dimensions[name] = item.shape[0]
    for name, item in datasets.items():
        axes = (name,) if item.is_scale else _axes(source, name, item)
        data = read_array(source, name) if item.dtype.kind in "fiu" or item.ndim == 0 else item[...]
        if item.dtype.kind in "fiub":
            variable = target.create_variable(
                name, axes, data.dtype, data=data, fletcher32=bool(data.ndim and data.size)
            )
        else:
            texts = np.array([decoded(x) for x in np.ravel(data).tolist()], dtype=object).reshape(np.shape(data))
            variable = target.create_variable(name, axes, h5py.string_dtype(), data=texts)
        for attribute in ("long_name", "units"):
            if attribute in item.attrs:
                variable.attrs[attribute] = read_text(item, attribute)
    groups = {name: item for name, item in source.items() if isinstance(item, h5py.Group)}
    return len(datasets) + sum(_copy_group(item, target.create_group(name)) for name, item in groups.items())


def _axes(group: h5py.Group, name: str, item: h5py.Dataset) -> tuple[str, ...]:
    """Names of the scales of an array, as `name_axes` chose them.

    HDF5 keeps its own labels in a heap without checksums, and crashes when it reads one that is damaged.
    """
    told = read_text(item, "axes", default="")
    names = told.split(", ") if told else [f"{name}_axis_{i}" for i in range(item.ndim)]
    if len(names) != item.ndim:
        raise ValueError(f"{name} has {item.ndim} axes, expected {len(names)}, {told}")
    found = []
    for axis, size in zip(names, item.shape, strict=True):
        is_scale = axis != name and axis in group and group[axis].is_scale and group[axis].shape == (size,)
        found.append(axis if is_scale else f"{axis}_index")
    return tuple(found)


def _attribute(value: Any) -> Any:
    """An attribute as netCDF has it: truth values are numbers there."""
    if isinstance(value, bytes):
        return decoded(value)
    return np.int8(value) if isinstance(value, np.bool_) else value
