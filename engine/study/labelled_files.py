"""Files of results that are arrays over named axes: the same bytes whenever and wherever they were computed."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np

from ..files import create_array, open_checked, read_array, read_config, write_atomically, write_root
from ..versions import kofn_version
from .labelled import LabelledArrays

Results = TypeVar("Results", bound=LabelledArrays)


def write_labelled(path: str | Path, file_format: str, result: LabelledArrays) -> None:
    """Write results atomically; an earlier file is replaced.

    The bytes depend on the settings and the results alone: no time of day, no machine, no number of threads.
    """

    def fill(file: h5py.File) -> None:
        write_root(file, file_format, result.config, None, kofn_version(), dated=False)
        for name, field in result.layout.coordinates.items():
            data = getattr(result, name)
            create_array(file, name, data, axes=field.axes, long_name=field.long_name, units=field.units)
        for name, field in result.layout.arrays.items():
            create_array(file, name, result.arrays[name], axes=field.axes, long_name=field.long_name, units=field.units)

    write_atomically(path, fill, overwrite=True)


def read_labelled(path: str | Path, file_format: str, kind: type[Results]) -> Results:
    """Read results of a kind; KofnFileError if the file is no such file or damaged."""
    layout = kind.layout
    with open_checked(path, file_format) as file:
        coordinates = {}
        for name in layout.coordinates:
            found = read_array(file, name)
            if found.ndim != 1 or found.dtype.kind not in ("S" if name in layout.texts else layout.numbers):
                raise ValueError(f"{name} is {found.dtype} of shape {found.shape}, expected one axis")
            coordinates[name] = np.char.decode(found, "utf-8") if name in layout.texts else found
        arrays = {
            name: read_array(file, name, np.float64, tuple(coordinates[axis].size for axis in field.axes))
            for name, field in layout.arrays.items()
        }
        return kind(config=read_config(file), arrays=arrays, **coordinates)
