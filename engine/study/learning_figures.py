"""The figures of a study of learning: curves, score against n, and for spins on a torus magnetisation and snapshots."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ..figure_parts import spread_evenly
from ..game import Game
from ..learning.figures import draw_curves, draw_scores
from ..learning.files import read_learned
from ..learning.ising import is_ising, is_torus_of_two, sides_of
from ..learning.lattice_figures import MAX_PANELS, draw_lattices, draw_magnetisation
from ..learning.result import half_width
from ..learning.settings import rule_in_words, unit_of_time
from .folders import cell_path
from .learning_results import LearningStudy
from .learning_settings import LearningStudySettings
from .plan import plain_name
from .settings import game_name

REWARD = "System reward per step\n[reward units]"


def draw_learning_figures(result: LearningStudy, settings: LearningStudySettings, folder: Path) -> list[Path]:
    """Draw what a study has to show into its folder, with a folder inside for each game if there are several.

    Returns
    -------
    list of the paths written
    """
    paths = []
    games = {game_name(cell.game): cell.game for cell in settings.cells}
    for name, game in games.items():
        place = folder / plain_name(game) if len(games) > 1 else folder
        place.mkdir(exist_ok=True)
        ns = result.ns_of(name)
        for n in ns:
            suffix = f".n={n}" if len(ns) > 1 else ""
            paths += _draw_curves(place, suffix, result, game, n)
            if is_torus_of_two(game):
                paths += _draw_spins(place, suffix, result, settings, folder, game, n)
        if len(ns) > 1:
            paths += _draw_scores(place, result, name, ns)
    return paths


def _draw_curves(place: Path, suffix: str, result: LearningStudy, game: Game, n: int) -> list[Path]:
    """All methods on the same axes; with several temperatures a figure for each method, coloured by temperature."""
    name, temperatures = game_name(game), result.temperature.tolist()
    best = float(result.sel("best_reward", game=name, n=n))
    options: dict[str, Any] = {
        "n_agents": n, "n_runs": int(result.run.size), "title": f"{name}: reward while learning", "label": REWARD,
        "lines": {"best team reward": best} if math.isfinite(best) else {},
        "unit_of_time": unit_of_time(result.config["learning"]["order"]),
    }  # fmt: skip
    curves, half = (result.sel(array, game=name, n=n) for array in ("reward_curve", "reward_curve_half_width"))
    methods = result.method.tolist()
    if result.step.size == 0:
        return []
    if len(temperatures) == 1:
        at = place / f"learning-curves{suffix}.png"
        note = rule_in_words(temperatures[0])
        note = f"{methods[0]}, {note}" if len(methods) == 1 else note
        return draw_curves(at, result.step, curves[:, 0], half[:, 0], methods, note=note, **options)
    paths = []
    for i, method in enumerate(methods):
        at = place / f"learning-curves{suffix}{f'.{method}' if len(methods) > 1 else ''}.png"
        key = "Temperature T [reward units]"
        paths += draw_curves(at, result.step, curves[i], half[i], temperatures, key=key, note=method, **options)
    return paths


def _draw_scores(place: Path, result: LearningStudy, name: str, ns: list[int]) -> list[Path]:
    paths = []
    rows = [result.position("n", n) for n in ns]
    for temperature in result.temperature.tolist():
        at = {"game": name, "temperature": temperature}
        methods = result.method.tolist()
        suffix = f".T={temperature!r}" if result.temperature.size > 1 else ""
        tail = 100 * result.config["learning"]["tail"]
        paths += draw_scores(
            place / f"score-against-n{suffix}.png", ns,
            {method: result.sel("reward", method=method, **at)[rows] for method in methods},
            {method: result.sel("reward_half_width", method=method, **at)[rows] for method in methods},
            uniform=result.sel("uniform_reward", game=name)[rows], best=result.sel("best_reward", game=name)[rows],
            title=f"{name}: reward against the number of agents", label=REWARD,
            note=f"last {tail:g} % of {result.config['steps']:,} steps, {rule_in_words(temperature)}",
        )  # fmt: skip
    return paths


def _draw_spins(
    place: Path, suffix: str, result: LearningStudy, settings: LearningStudySettings, folder: Path, game: Game, n: int
) -> list[Path]:
    name, ising = game_name(game), is_ising(game)
    time = f"{result.config['steps']:,} {unit_of_time(result.config['learning']['order'])}"
    tail = f"last {100 * result.config['learning']['tail']:g} % of {time}"
    methods = result.method.tolist()
    paths = []
    if result.temperature.size > 1:
        bath = result.sel("heat_bath", game=name, n=n)
        known = bool(np.isfinite(bath).any())
        rows, columns = sides_of(game, n)
        paths += draw_magnetisation(
            place / f"magnetisation{suffix}.png", result.temperature,
            {method: result.sel("mean_abs_weight", game=name, method=method, n=n) for method in methods},
            {method: result.sel("abs_weight_half_width", game=name, method=method, n=n) for method in methods},
            heat_bath=bath.mean(axis=1) if known else None, onsager=ising,
            heat_bath_half_width=np.array([half_width(row) for row in bath]) if known else None,
            label="Mean magnetisation |m| [per spin]" if ising else "Mean |weight of the actions| [1]",
            title=f"{name}: order against temperature", note=f"{rows} × {columns} torus · {tail}",
            n_runs=int(result.run.size),
        )  # fmt: skip
    for method in methods:
        cells = {
            cell.settings.temperature: cell
            for cell in settings.cells
            if (game_name(cell.game), cell.settings.n, cell.method) == (name, n, method)
        }
        temperatures = result.temperature.tolist()
        shown = [cells[temperatures[i]] for i in spread_evenly(len(temperatures), MAX_PANELS)]
        lattices = [
            read_learned(cell_path(folder, cell), tables=False).arrays["actions"][0].reshape(sides_of(game, n))
            for cell in shown
        ]
        paths += draw_lattices(
            place / f"lattices{suffix}{f'.{method}' if len(methods) > 1 else ''}.png", np.array(lattices),
            [cell.settings.temperature for cell in shown], labels=[f"action {x}" for x in game.labels.local_actions],
            title=f"{name}: actions at the end", note=f"first run after {time} · {method}",
        )  # fmt: skip
    return paths
