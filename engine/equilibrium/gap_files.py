"""Gaps of learned policies as HDF5 files."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

from ..files import (
    create_array,
    open_checked,
    read_array,
    read_config,
    read_text,
    write_atomically,
    write_root,
    write_text,
)
from ..game_tables import write_game_tables
from ..versions import kofn_version
from .clusters import Clusters
from .flow_gaps import LearnedGaps

FORMAT = "kofn-gap"

NUMBERS = {
    "value": "value of the law to a local agent, against the flow",
    "best": "value of a best response",
    "gain": "best minus value",
    "worst_gain": "the largest gain over contexts and own states",
    "half_width": "each value is off by at most this, within the decision problem",
    "global_value": "value of its law to the global agent",
    "global_best": "value of its best response",
    "global_gain": "best minus value of the global agent",
    "nash_conv": "sum of the positive parts of the gains",
}
"""Numbers of every run, with what they are; NaN for those of a global agent that decides nothing."""

CHECKED = {
    "check_value": "mean return of the law among n agents",
    "check_gain": "mean paired gain of the response",
    "check_predicted": "mean gain in the decision problem from the same starts",
    "check_half_width": "half width of its 95 % interval",
    "check_noise_floor": "half width of two arms of the law with independent random numbers",
    "check_detectable": "smallest gain that is told from 0 with a probability of 80 %",
}


def check_numbers(found: LearnedGaps) -> dict[str, np.ndarray]:
    """The numbers of the checks by their names in `CHECKED`, float64[runs]; empty without checks."""
    if not found.checks:
        return {}
    columns = [
        (
            check.value,
            check.gain,
            float(check.predicted.mean()),
            check.gain_half_width,
            check.noise_floor,
            check.detectable,
        )
        for check in found.checks
    ]
    return dict(zip(CHECKED, np.array(columns).T, strict=True))


def write_gaps(path: str | Path, found: LearnedGaps, *, overwrite: bool = False) -> None:
    """Write gaps atomically.

    Raises
    ------
    KofnFileError
    """
    learned = found.learned
    config = {
        "game": learned.game.name, "game_digest": learned.game.digest(), "learning": learned.settings.config(), "n": found.n,
        "flow": found.flow,
    }  # fmt: skip
    if found.checks:
        config |= {name: getattr(found.checks[0], name) for name in ("steps", "burn_in")}

    def fill(file: h5py.File) -> None:
        write_root(file, FORMAT, config, found.seed, kofn_version())
        write_text(file, "versions", json.dumps(found.versions, sort_keys=True))
        file.attrs["wall_time_s"] = found.wall_time_s
        write_game_tables(file.create_group("game"), learned.game)
        create_array(file, "run", np.array(found.runs, dtype=np.int64), axes=("run",), long_name="run of the learner")
        for name, long_name in NUMBERS.items():
            create_array(file, name, found.column(name), axes=("run",), long_name=long_name, units="reward")
        for name, column in check_numbers(found).items():
            create_array(file, name, column, axes=("run",), long_name=CHECKED[name], units="reward")
        if found.checks:
            long_name = "discounted returns of one agent among n: of the law, of the response"
            for name, text in (("returns", long_name), ("noise", "noise of mean 0 in the " + long_name)):
                array = np.stack([getattr(check, name) for check in found.checks])
                create_array(file, f"check_{name}", array, axes=("run", "path", "arm"), units="reward", long_name=text)
        create_array(
            file, "response", np.stack([gap.response for gap in found.gaps]), axes=("run", "observation"),
            long_name="best action by observation; -1 where the law is as good or the context is never met",
        )  # fmt: skip
        create_array(
            file, "action_law", np.stack([gap.flow.action_law for gap in found.gaps]), axes=("run", "local_action"),
            long_name="long-run law of actions",
        )  # fmt: skip
        flows = {"exact": bool, "period": np.int64, "steps": np.int64, "dropped": np.float64}
        for name, kind in flows.items():
            column = np.array([getattr(gap.flow, name) for gap in found.gaps]).astype(
                np.int64 if kind is bool else kind
            )
            create_array(file, f"flow_{name}", column, axes=("run",), long_name=f"{name} of the flow")
        if found.clusters is not None:
            _write_clusters(file.create_group("clusters"), found.clusters)

    write_atomically(path, fill, overwrite=overwrite)


def _write_clusters(group: h5py.Group, clusters: Clusters) -> None:
    write_text(group, "measure", clusters.measure)
    write_text(group, "floor_of", clusters.floor_of)
    write_text(group, "verdict", clusters.verdict())
    group.attrs["floor"], group.attrs["silhouette"] = clusters.floor, clusters.silhouette
    create_array(group, "labels", clusters.labels, axes=("run",), long_name="cluster of the run, from 1")
    create_array(group, "linkage", clusters.linkage, axes=("join", "entry"), long_name="joins as SciPy has them")
    for name, matrix in clusters.distances.items():
        create_array(group, name, matrix, axes=("run", "other_run"), long_name=f"distance of runs, {name}")


def read_clusters(path: str | Path) -> Clusters | None:
    """The clusters in a file, or None if it has none; KofnFileError if it is no such file or damaged."""
    with open_checked(path, FORMAT) as file:
        if "clusters" not in file:
            return None
        group = file["clusters"]
        labels = read_array(group, "labels", np.int64)
        runs = labels.size
        return Clusters(
            measure=read_text(group, "measure"),
            distances={
                name: read_array(group, name, np.float64, (runs, runs))
                for name in group
                if name.startswith(("policy_", "action_", "state_"))
            },
            linkage=read_array(group, "linkage", np.float64, (runs - 1, 4)),
            labels=labels,
            floor=float(group.attrs["floor"]),
            floor_of=read_text(group, "floor_of"),
            silhouette=float(group.attrs["silhouette"]),
        )


def read_gap_numbers(path: str | Path) -> dict[str, np.ndarray]:
    """Numbers of every run by name, with "run"; KofnFileError if the file is no such file or damaged."""
    with open_checked(path, FORMAT) as file:
        run = read_array(file, "run", np.int64)
        read_config(file)
        names = [name for name in (*NUMBERS, *CHECKED) if name in file]
        return {"run": run} | {name: read_array(file, name, np.float64, run.shape) for name in names}
