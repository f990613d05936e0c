"""What a report tells: a study file cut into panels, one for each game, action class, expectation and n."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..equilibrium.files import read_equilibrium
from ..equilibrium.result import Equilibrium
from ..export_tables import CELL_AXES, NamedArray, read_named_arrays
from ..files import KofnFileError, open_checked, read_config, read_text
from ..game import Game
from ..study.files import read_games
from ..study.pairs import pair_path

_PER_CELL = (
    "value", "value_half_width", "exact_value", "exact_half_width", "mean_return", "return_half_width", "gap",
    "gap_half_width", "worst_gap", "refined_value", "refined_gain", "refined_gain_half_width", "refined_mean_return",
    "mode_accuracy", "bound",
)  # fmt: skip
_PER_PANEL = ("optimal_lower", "optimal_upper", "blind_value", "blind_gap")
_PER_SEED = ("slope", "slope_low", "slope_high")


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """The cells of one game, action class, expectation and n.

    Parameters
    ----------
    game, actions, expectation : str
    n : int
    k : int64[n_k]           those of which anything is known
    seeds : list of int
    cells : {name: float64[n_k, n_seeds]}    NaN for what is not known
    lines : {name: float}                    what does not depend on k
    fits : {name: float64[n_seeds]}          slopes
    """

    game: str
    actions: str
    expectation: str
    n: int
    k: np.ndarray
    seeds: list[int]
    cells: dict[str, np.ndarray]
    lines: dict[str, float]
    fits: dict[str, np.ndarray]

    @property
    def resolved(self) -> np.ndarray:
        """Where the gap is above what is certified of it, bool[n_k, n_seeds]."""
        return self.cells["gap"] > np.nan_to_num(self.cells["gap_half_width"])

    @property
    def resolution(self) -> float:
        """Largest half width of a gap; 0 if none is known."""
        return float(np.nanmax(self.cells["gap_half_width"], initial=0.0))


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportData:
    """Everything that a report shows.

    Parameters
    ----------
    config : dict                settings of the study
    kofn_version : str
    axes : {name: list}          values of the coordinates
    panels : list of Panel
    games : {name: Game}
    sensitivity : {game: {actions: summary}}
    timings : dict or None       texts and arrays of the timings, with their attributes
    pairs : {game: Equilibrium}  of the first phase of a study of method "nash"
    """

    config: dict[str, Any]
    kofn_version: str
    axes: dict[str, list]
    panels: list[Panel]
    games: dict[str, Game]
    sensitivity: dict[str, Any]
    timings: dict[str, Any] | None
    pairs: dict[str, Equilibrium] = field(default_factory=dict)


def read_report_data(folder: str | Path) -> ReportData:
    """Read study.h5 of a folder and, if it is there, timings.h5 beside it.

    Raises
    ------
    KofnFileError
    """
    if Path(folder).is_file():
        raise KofnFileError(f"{folder}: is a file, expected the folder of a study")
    path = Path(folder) / "study.h5"
    with open_checked(path, "kofn-study") as file:
        arrays = read_named_arrays(file)
        missing = [axis for axis in CELL_AXES if axis not in arrays]
        if missing:
            raise ValueError(f"no axis {missing[0]}, expected {', '.join(CELL_AXES)}")
        sensitivity = json.loads(read_text(file, "sensitivity", default="{}"))
        games = read_games(path)
        return ReportData(
            config=read_config(file),
            kofn_version=read_text(file, "kofn_version"),
            axes={axis: arrays[axis].data.tolist() for axis in CELL_AXES},
            panels=list(_panels(arrays)),
            games=games,
            sensitivity=sensitivity if isinstance(sensitivity, dict) else {},
            timings=_read_timings(path.with_name("timings.h5")),
            pairs=_read_pairs(Path(folder), games) if read_config(file).get("method") == "nash" else {},
        )


def _read_pairs(folder: Path, games: dict[str, Game]) -> dict[str, Equilibrium]:
    """The pairs that are there; a report can do without."""
    paths = {name: pair_path(folder, game) for name, game in games.items()}
    return {name: read_equilibrium(path) for name, path in paths.items() if path.exists()}


def _panels(arrays: dict[str, NamedArray]) -> Iterator[Panel]:
    coordinates = {axis: arrays[axis].data.tolist() for axis in CELL_AXES}
    for g, game in enumerate(coordinates["game"]):
        for a, actions in enumerate(coordinates["actions"]):
            for e, expectation in enumerate(coordinates["expectation"]):
                for i, n in enumerate(coordinates["n"]):
                    at = {"game": g, "actions": a, "expectation": e, "n": i}
                    cells = {name: _select(arrays, name, at, coordinates, ("k", "seed")) for name in _PER_CELL}
                    # A grid has holes, and the value of a surrogate game alone makes no panel.
                    known = np.isfinite(cells["mean_return"]) | np.isfinite(cells["exact_value"])
                    if not known.any():
                        continue
                    rows = known.any(axis=1)
                    yield Panel(
                        game=game,
                        actions=actions,
                        expectation=expectation,
                        n=n,
                        k=np.array(coordinates["k"], dtype=np.int64)[rows],
                        seeds=coordinates["seed"],
                        cells={name: values[rows] for name, values in cells.items()},
                        lines={name: float(_select(arrays, name, at, coordinates, ())) for name in _PER_PANEL},
                        fits={name: _select(arrays, name, at, coordinates, ("seed",)) for name in _PER_SEED},
                    )


def _select(
    arrays: dict[str, NamedArray], name: str, at: dict[str, int], coordinates: dict[str, list], kept: tuple[str, ...]
) -> np.ndarray:
    """The part of an array at a position, with the axes `kept`; NaN for an array that is not there."""
    shape = tuple(len(coordinates[axis]) for axis in kept)
    if name not in arrays:
        return np.full(shape, np.nan)
    array = arrays[name]
    if not set(array.axes) <= {*at, *kept}:
        raise ValueError(f"{name} has the axes {', '.join(array.axes)}, expected some of {', '.join([*at, *kept])}")
    part = array.data[tuple(at.get(axis, slice(None)) for axis in array.axes)].astype(np.float64)
    left = [axis for axis in array.axes if axis in kept]
    part = part.transpose([left.index(axis) for axis in kept if axis in left])
    return np.broadcast_to(part.reshape([len(coordinates[x]) if x in left else 1 for x in kept]), shape)


def _read_timings(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    with open_checked(path, "kofn-timings") as file:
        texts = {name: read_text(file, name) for name in file.attrs if isinstance(file.attrs[name], (bytes, str))}
        return texts | {name: array.data for name, array in read_named_arrays(file).items()}
