"""The figures of a study of method "nash": reward and mode accuracy against k, heat maps, convergence of the pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..equilibrium.figures import draw_heat_maps, draw_mode_accuracy, draw_reward, draw_rounds
from ..equilibrium.result import Equilibrium
from ..figure_parts import spread_evenly
from ..game import Game
from ..mode_tracking import mode_track
from .cells import read_cell
from .plan import cell_name, plain_name
from .results import Study
from .settings import game_name

# Panels of the heat maps.
N_PANELS = 4


def draw_nash_figures(
    result: Study, games: Sequence[Game], folder: Path, pairs: Mapping[str, Equilibrium]
) -> list[Path]:
    """Draw the figures of the two-phase experiment into a folder.

    Parameters
    ----------
    result : Study
    games : its games
    folder : path; its cells are read for the heat maps
    pairs : {game: Equilibrium}    of the first phase

    Returns
    -------
    list of the paths written
    """
    paths = []
    for game in games:
        name = game_name(game)
        place = folder / "nash" / plain_name(game) if len(games) > 1 else folder / "nash"
        place.mkdir(parents=True, exist_ok=True)
        paths += draw_rounds(place / "convergence.png", pairs[name])
        for expectation in result.expectation.tolist():
            several = result.expectation.size > 1
            inner = place / expectation if several else place
            inner.mkdir(exist_ok=True)
            for n in result.ns_of(name):
                last = inner / f"n={n}" if len(result.ns_of(name)) > 1 else inner
                last.mkdir(exist_ok=True)
                paths += _draw_agents(last, result, game, expectation, n, several)
                paths += _draw_heat_maps(last, folder, result, game, expectation, n)
    return paths


def _draw_agents(place: Path, result: Study, game: Game, expectation: str, n: int, several: bool) -> list[Path]:
    def over_seeds(array: str) -> tuple[np.ndarray, np.ndarray]:
        found = result.sel(array, game=game_name(game), actions="fixed", expectation=expectation, n=n)
        found = found.reshape(result.k.size, result.seed.size)[seen]
        return found.mean(axis=1), found.std(axis=1, ddof=1) if result.seed.size > 1 else np.zeros(found.shape[0])

    mean_return = result.sel("mean_return", game=game_name(game), actions="fixed", expectation=expectation, n=n)
    seen = np.isfinite(mean_return.reshape(result.k.size, -1)).any(axis=1)
    if not seen.any():
        return []
    ks = result.k[seen]
    title = game_name(game) + (f", {expectation} expectation" if several else "")
    refined, refined_spread = over_seeds("refined_mean_return")
    n_seeds = int(result.seed.size)
    paths = draw_reward(
        place / "reward.png", ks, *over_seeds("mean_return"), refined=refined if np.isfinite(refined).any() else None,
        refined_spread=refined_spread if np.isfinite(refined).any() else None,
        label=f"Mean discounted return\nof {result.config['steps']} steps [reward units]", title=f"{title}: reward against k",
        n_agents=n, n_seeds=n_seeds,
    )  # fmt: skip
    accuracy, spread = over_seeds("mode_accuracy")
    if np.isfinite(accuracy).any():
        title = f"{title}: mode accuracy against k"
        paths += draw_mode_accuracy(
            place / "mode-accuracy.png", ks, accuracy, spread, title=title, n_agents=n, n_seeds=n_seeds
        )
    return paths


def _draw_heat_maps(place: Path, folder: Path, result: Study, game: Game, expectation: str, n: int) -> list[Path]:
    """One run for some k from the smallest to the largest, all from the same random numbers."""
    ks = [k for k in result.k.tolist() if k <= n]
    chosen = [ks[i] for i in spread_evenly(len(ks), N_PANELS)]
    seed = result.seed.tolist()[0]
    panels, step = [], 1
    for k in chosen:
        name = cell_name(game, "fixed", expectation, k, seed if expectation == "sampled" else None)
        deployment = read_cell(folder / "cells" / f"{name}.h5").deployments.get((n, seed))
        if deployment is not None:
            panels.append(mode_track(deployment, game))
            step = int(np.diff(deployment.trace_step)[0]) if deployment.trace_step.size > 1 else 1
    if not panels:
        return []
    return draw_heat_maps(
        place / "heat-maps.png", panels, labels=game.labels.local_states, steps_per_point=step,
        title=f"{game_name(game)}: where the agents are", n_agents=n,
    )  # fmt: skip
