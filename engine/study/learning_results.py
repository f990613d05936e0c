"""Results of a study of learning: arrays over named axes, NaN where the grid has no point."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..game import Game
from ..learning.baselines import best_team_reward, uniform_score
from ..learning.ising import crossing, is_ising
from ..learning.result import CURVES, Learned, half_width, mean_curve
from .labelled import LabelledArrays, Layout
from .learning_settings import method_of
from .results import Field
from .settings import game_name

_POINT = ("game", "method", "n", "temperature")
_CROSSING = "temperature where the mean |weight| falls through one half"

COORDINATES = {
    "game": Field(("game",), "game", "1"),
    "method": Field(("method",), "method of learning", "1"),
    "n": Field(("n",), "local agents", "agents"),
    "temperature": Field(("temperature",), "T of the Boltzmann law", "reward"),
    "run": Field(("run",), "independent population", "1"),
    "step": Field(("step",), "steps made at the end of a point of the curves", "steps"),
}
TEXTS = ("game", "method")
_UNITS = {"reward": "reward", "weight": "1", "abs_weight": "1"}
_WHAT = {
    "reward": "system reward per step",
    "weight": "mean weight that agents see",
    "abs_weight": "absolute mean weight",
}

ARRAYS = {
    **{name: Field((*_POINT, "run"), f"{_WHAT[name]}, tail of each run", _UNITS[name]) for name in CURVES},
    **{f"mean_{name}": Field(_POINT, f"{_WHAT[name]}, mean over the runs", _UNITS[name]) for name in CURVES},
    **{f"{name}_half_width": Field(_POINT, "half width of its 95 % t interval", _UNITS[name]) for name in CURVES},
    **{
        f"{name}_curve": Field((*_POINT, "step"), f"{_WHAT[name]}, mean over the runs", _UNITS[name]) for name in CURVES
    },
    **{
        f"{name}_curve_half_width": Field((*_POINT, "step"), "half width of its 95 % t interval", _UNITS[name])
        for name in CURVES
    },
    "uniform_reward": Field(("game", "n"), "expected system reward of uniform play", "reward"),
    "best_reward": Field(("game", "n"), "largest team reward of any field value", "reward"),
    "crossing": Field(("game", "method", "n"), _CROSSING, "reward"),
    "crossing_low": Field(("game", "method", "n"), "the same of the lower ends of the 95 % intervals", "reward"),
    "crossing_high": Field(("game", "method", "n"), "the same of the upper ends of the 95 % intervals", "reward"),
    "heat_bath": Field(("game", "n", "temperature", "run"), "|m| of the heat bath at T = 2 T_q, tail of each run", "1"),
}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LearningStudy(LabelledArrays):
    """Results of a study of learning. Axes are named in `COORDINATES`; entries are NaN where the grid has no point.

    Parameters
    ----------
    config : dict                what was asked for
    game, method : str           names along these axes
    n, run, step : int64, temperature : float64    places along these axes
    arrays : {name: float64}     the `ARRAYS`: tail means of every run, their means and 95 % half widths, learning curves,
        references and crossings
    """

    layout = Layout(COORDINATES, TEXTS, "iuf", ARRAYS)
    game: np.ndarray
    method: np.ndarray
    n: np.ndarray
    temperature: np.ndarray
    run: np.ndarray
    step: np.ndarray

    def ns_of(self, game: str) -> list[int]:
        """The numbers of agents of a game."""
        return list(self.config["agents"][game])

    def __repr__(self) -> str:
        return f"LearningStudy({self.sizes('game', 'method', 'n', 'temperature', 'run')})"


def collect_learning(
    config: Mapping[str, Any], cells: Iterable[Learned], heat_baths: Mapping[tuple[str, int], np.ndarray] | None = None
) -> LearningStudy:
    """Put what cells hold together.

    Parameters
    ----------
    config : dict      of the study
    cells : of Learned, of as many runs and steps each; one at a time is held
    heat_baths : {(game, n): float64[n_temperature, n_runs]}, optional    |m| for Ising games
    """
    games, methods = list(config["games"]), list(config["method"])
    ns = sorted({n for found in config["agents"].values() for n in found})
    temperatures = list(config["temperature"])
    runs = config["runs"]
    arrays: dict[str, np.ndarray] = {}
    steps = np.zeros(0, dtype=np.int64)
    of_games: dict[tuple[str, int], Game] = {}
    for cell in cells:
        settings, name = cell.settings, game_name(cell.game)
        if not arrays:
            steps = cell.point_steps
            lengths = (len(games), len(methods), len(ns), len(temperatures), runs, steps.size)
            sizes = dict(zip((*_POINT, "run", "step"), lengths, strict=True))
            arrays = {key: np.full([sizes[axis] for axis in field.axes], math.nan) for key, field in ARRAYS.items()}
        at = (
            games.index(name), methods.index(method_of(settings, methods)), ns.index(settings.n),
            temperatures.index(settings.temperature),
        )  # fmt: skip
        _fill_point(arrays, at, cell)
        if (name, settings.n) not in of_games:
            of_games[name, settings.n] = cell.game
            place = (at[0], at[2])
            arrays["uniform_reward"][place] = uniform_score(cell.game, settings.n)
            arrays["best_reward"][place] = best_team_reward(cell.game)
    for (name, n), game in of_games.items():
        if is_ising(game):
            _fill_crossings(arrays, games.index(name), ns.index(n), temperatures)
    for (name, n), bath in (heat_baths or {}).items():
        arrays["heat_bath"][games.index(name), ns.index(n)] = bath
    return LearningStudy(
        config=dict(config), game=np.array(games), method=np.array(methods), n=np.array(ns, dtype=np.int64),
        temperature=np.array(temperatures, dtype=np.float64), run=np.arange(runs, dtype=np.int64), step=steps, arrays=arrays,
    )  # fmt: skip


def _fill_point(arrays: dict[str, np.ndarray], at: tuple[int, ...], cell: Learned) -> None:
    for name in CURVES:
        tail = cell.tail_means(name)
        arrays[name][at] = tail
        arrays[f"mean_{name}"][at] = tail.mean()
        arrays[f"{name}_half_width"][at] = half_width(tail)
        mean, half = mean_curve(cell.curves[name][:, : cell.n_points])
        arrays[f"{name}_curve"][at] = mean
        arrays[f"{name}_curve_half_width"][at] = half


def _fill_crossings(arrays: dict[str, np.ndarray], game: int, n: int, temperatures: Sequence[float]) -> None:
    mean, half = arrays["mean_abs_weight"][game, :, n], np.nan_to_num(arrays["abs_weight_half_width"][game, :, n])
    for name, sign in (("crossing", 0.0), ("crossing_low", -1.0), ("crossing_high", 1.0)):
        for method in range(mean.shape[0]):
            arrays[name][game, method, n] = crossing(temperatures, mean[method] + sign * half[method])


def study_of_learned(learned: Learned) -> LearningStudy:
    """Learned tables as a study of one cell."""
    settings, name = learned.settings, game_name(learned.game)
    config = {
        "games": [name], "game_digests": {name: learned.game.digest()}, "agents": {name: [settings.n]},
        "method": [settings.method], "n": [settings.n], "temperature": [settings.temperature], "steps": learned.step,
        "runs": settings.runs, "seed": settings.seed, "constants": {}, "notes": [],
        "descriptions": {name: learned.game.description.strip()},
    }  # fmt: skip
    config["learning"] = {key: value for key, value in settings.config().items() if key not in config}
    return collect_learning(config, [learned])
