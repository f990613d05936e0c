"""Simulated inventories as HDF5 files: the raw counts of every run, by policy."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

from ...kernels.inventory import parts
from ..files import create_array, open_checked, read_array, read_text, write_atomically, write_root, write_text
from ..versions import kofn_version
from .comparison import InventoryComparison
from .result import InventoryRuns

FORMAT = "kofn-inventory"

COUNT_NAMES = (
    "demanded", "ordered", "sent", "served", "served_at_once", "lost", "spoiled", "on_hand", "backlog", "off_target",
    "short_periods", "ordered_squared", "demanded_squared",
)  # fmt: skip
"""Columns of `sums`, in units summed over retailers and periods (two are squares, one counts periods)."""

TOTAL_NAMES = (*COUNT_NAMES[:9], "in_transit", "upstream", "produced", "adjusted", "season")
"""Columns of `series`, in units summed over retailers, but for the season."""

_ARRAYS = (
    ("sums", ("run", "count"), "counts summed over retailers and periods", "units"),
    ("retailer_profit", ("run", "retailer"), "profit of each retailer", "money per period"),
    ("variances", ("run", "order_or_demand"), "variance over time of a retailer's orders, of its demand", "units2"),
    (
        "moments",
        ("run", "moment"),
        "sums over periods: mean order, its square, mean demand, its square, units added upstream",
        "units, units2",
    ),
    ("series", ("run", "period", "total"), "totals over the retailers at the end of each period", "units"),
)


def write_inventory(path: str | Path, comparison: InventoryComparison, *, overwrite: bool = False) -> None:
    """Write a comparison atomically; KofnFileError if it cannot be written."""
    first = comparison.runs[comparison.played]

    def fill(file: h5py.File) -> None:
        config = {"played": comparison.played} | first.config
        write_root(file, FORMAT, config, first.config["seed"], kofn_version())
        write_text(file, "summary", json.dumps(comparison.summary(), sort_keys=True))
        for name, runs in comparison.runs.items():
            _write_runs(file.create_group(name), runs)

    write_atomically(path, fill, overwrite=overwrite)


def _write_runs(group: h5py.Group, runs: InventoryRuns) -> None:
    write_text(group, "config", json.dumps(runs.config, sort_keys=True))
    write_text(group, "versions", json.dumps(runs.versions, sort_keys=True))
    group.attrs["wall_time_s"] = runs.wall_time_s
    create_array(group, "count", COUNT_NAMES, axes=("count",), long_name="what is counted")
    if runs.series.size:
        create_array(group, "total", TOTAL_NAMES, axes=("total",), long_name="what is added up")
    for name, axes, long_name, units in _ARRAYS:
        array = getattr(runs, name)
        if array.size:
            create_array(group, name, array, axes=axes, long_name=long_name, units=units)


def read_inventory(path: str | Path) -> InventoryComparison:
    """Read back what `write_inventory` wrote; KofnFileError if the file is no such file or damaged."""
    with open_checked(path, FORMAT) as file:
        played = json.loads(read_text(file, "config"))["played"]
        runs = {name: _read_runs(group) for name, group in file.items() if isinstance(group, h5py.Group)}
        if played not in runs:
            raise ValueError(f"no group {played}")
        return InventoryComparison(played=played, runs=runs)


def _read_runs(group: h5py.Group) -> InventoryRuns:
    config = json.loads(read_text(group, "config"))
    runs, n = config["runs"], config["n"]
    shapes = {
        "sums": (runs, parts.N_COUNTS), "retailer_profit": (runs, n), "variances": (runs, 2), "moments": (runs, 5),
        "series": (runs, config["periods"] if "series" in group else 0, parts.N_TOTALS),
    }  # fmt: skip
    arrays = {
        name: read_array(group, name, shape=shape)
        if name in group or 0 not in shape
        else np.zeros(shape, dtype=np.int64)
        for name, shape in shapes.items()
    }
    return InventoryRuns(
        config=config,
        versions=json.loads(read_text(group, "versions")),
        wall_time_s=float(group.attrs["wall_time_s"]),
        **arrays,
    )
