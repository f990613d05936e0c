"""The figures of a study: a folder for each game, class and expectation, in it one for each n, unless there is just one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...kernels.lattice import lattice_size
from .. import figures
from ..action_classes import count_items
from ..deployment import largest_rewards
from ..game import Game
from .gap_figures import plot_gap_against_k, plot_gaps_of_all_n
from .plan import cell_name
from .results import AS_GOOD_AS_SOLVED, Study
from .settings import game_name


def draw_figures(
    result: Study, games: Sequence[Game], folder: str | Path, times: Mapping[tuple[str, str, str, int], float]
) -> list[Path]:
    """Draw the figures of a study into a folder.

    Parameters
    ----------
    result : Study
    games : its games
    folder : path
    times : {(game, actions, expectation, k): seconds}    to solve; may lack entries

    Returns
    -------
    list of the paths written
    """
    panels = [
        (game, actions, expectation)
        for game in games
        for actions in result.actions.tolist()
        for expectation in result.expectation.tolist()
    ]
    paths = []
    for game, actions, expectation in panels:
        place = Path(folder)
        if len(panels) > 1:
            place /= cell_name(game, actions, expectation, 1).rpartition(".k=")[0]
            place.mkdir(exist_ok=True)
        panel = _Panel(result, game, actions, expectation)
        paths += panel.draw_solves(place, times)
        ns = result.ns_of(game_name(game))
        paths += panel.draw_gaps(place, ns)
        for n in ns:
            inner = place / f"n={n}" if len(ns) > 1 else place
            inner.mkdir(exist_ok=True)
            paths += panel.draw_agents(inner, n)
    return paths


class _Panel:
    """One game, class and expectation of a study."""

    def __init__(self, result: Study, game: Game, actions: str, expectation: str):
        self.result, self.game = result, game
        self.labels = {"game": game_name(game), "actions": actions, "expectation": expectation}
        parts = [f"{actions} actions"] if result.actions.size > 1 else []
        parts += [f"{expectation} expectation"] if result.expectation.size > 1 else []
        self.title = ", ".join([game_name(game), *parts])
        value = self._by_k("value")
        self.has_k = np.isfinite(value).any(axis=1)
        self.ks = result.k[self.has_k]

    def _by_k(self, name: str, **labels: Any) -> np.ndarray:
        """An array of the panel over (k, seed)."""
        result = self.result
        index: list[Any] = []
        for axis in result.axes(name):
            label = (self.labels | labels).get(axis)
            index.append(slice(None) if label is None else result.position(axis, label))
        return getattr(result, name)[tuple(index)]

    def draw_solves(self, folder: Path, times: Mapping[tuple[str, str, str, int], float]) -> list[Path]:
        """What does not depend on n."""
        value = self._by_k("value")[self.has_k]
        half = self._by_k("value_half_width")[self.has_k].max(axis=1)
        # Each seed of the sampled expectation is a game of its own.
        spread = half + (value.max(axis=1) - value.min(axis=1)) / 2
        middle = (value.max(axis=1) + value.min(axis=1)) / 2
        paths = figures.plot_value_against_k(
            self.ks, middle, spread, folder / "value-against-k.png", f"{self.title}, value of the k-agent game"
        )
        names = tuple(self.labels.values())
        seconds = np.array([times.get((*names, k), math.nan) for k in self.ks.tolist()])
        if not np.isfinite(seconds).any():
            return paths
        n_sl, n_al, actions = self.game.n_sl, self.game.n_al, self.labels["actions"]
        ks = self.ks.tolist()
        sizes = {"count vectors": [lattice_size(k, n_sl) for k in ks]}
        if actions != "fixed":
            sizes["local decisions, over all count vectors"] = [count_items(k, n_sl, n_al, actions) for k in ks]
        return paths + figures.plot_solve_time_against_k(
            self.ks, seconds, folder / "solve-time-against-k.png", f"{self.title}, time to solve for k agents", sizes
        )

    def draw_gaps(self, folder: Path, ns: Sequence[int]) -> list[Path]:
        """The gaps of all n in one figure, if there are several."""
        gap = np.stack([self._by_k("gap", n=n)[self.has_k].mean(axis=1) for n in ns])
        half = np.stack([self._by_k("gap_half_width", n=n)[self.has_k].max(axis=1) for n in ns])
        if len(ns) == 1 or not np.isfinite(gap).any():
            return []
        return plot_gaps_of_all_n(self.ks, gap, half, ns, folder / "gap-against-k.png", f"{self.title}, optimality gap")

    def draw_agents(self, folder: Path, n: int) -> list[Path]:
        """What n agents earn."""
        result, config = self.result, self.result.config
        use = self.has_k & (result.k <= n)
        ks = result.k[use]
        mean = self._by_k("mean_return", n=n)[use].mean(axis=1)
        exact = self._by_k("exact_value", n=n)[use].mean(axis=1)
        low, high = (float(self._by_k(name, n=n)) for name in ("optimal_lower", "optimal_upper"))
        runs = result.run.size * result.seed.size if np.isfinite(mean).any() else None
        title = self.title + (f", {config['steps']} steps" if runs else f", n = {n}")
        paths = []
        # Seeds are independent.
        half = np.sqrt((self._by_k("return_half_width", n=n)[use] ** 2).sum(axis=1)) / result.seed.size
        if np.isfinite(mean).any():
            trace = self._by_k("trace_return", n=n)[use].mean(axis=1)
            # A point of the trace holds what was earned up to its last step.
            last_step = np.append(result.trace_step[1:], config["steps"])
            paths += figures.plot_cumulative_reward(
                last_step, trace, ks, title, folder / "reward-over-time.png", n_agents=n, n_runs=runs
            )
        if np.isfinite(mean).any() or np.isfinite(exact).any():
            shown, name = (mean, "Discounted return") if np.isfinite(mean).any() else (exact, "Exact value")
            paths += figures.plot_reward_against_k(
                ks, shown, half, folder / "reward-against-k.png", title, f"{name} [reward units]", exact=exact,
                lines=self._lines(low, high), n_agents=n, n_runs=runs,
            )  # fmt: skip
        if np.isfinite(self._by_k("gap", n=n)[use]).any():
            paths += self._draw_gap(folder, n, use, (low + high) / 2 - mean, half, runs)
        return paths

    def _lines(self, low: float, high: float) -> dict[str, float]:
        """Values to compare rewards with."""
        lines = {}
        # Agents decouple under a policy that never looks at the counts: its value is the same for every n.
        blind = float(self._by_k("blind_value"))
        if math.isfinite(blind):
            lines["best policy that never looks at the counts"] = blind
        if math.isfinite(low + high):
            if high - low <= AS_GOOD_AS_SOLVED * self.result.config["tol"]:
                lines["optimum"] = (low + high) / 2
            else:
                lines["optimum, at most"] = high
        return lines

    def _draw_gap(
        self, folder: Path, n: int, use: np.ndarray, simulated: np.ndarray, half: np.ndarray, runs: int | None
    ) -> list[Path]:
        result = self.result
        gap, width = (self._by_k(name, n=n)[use] for name in ("gap", "gap_half_width"))
        slopes = [np.atleast_1d(self._by_k(name, n=n)) for name in ("slope", "slope_low", "slope_high")]
        seeds = gap.shape[1] if self.labels["expectation"] == "sampled" else 1
        slope, least, most = (x[:seeds][np.isfinite(x[:seeds])] for x in slopes)
        fit = (float(slope.mean()), float(least.min()), float(most.max())) if slope.size else None
        matters = result.sensitivity[self.labels["game"]][self.labels["actions"]]["can_matter"]
        low, high = (float(self._by_k(name, n=n)) for name in ("optimal_lower", "optimal_upper"))
        notes = ["" if matters else "k cannot matter here", f"mean of {seeds} seeds" if seeds > 1 else ""]
        notes += ["the optimum is only bounded"] if high - low > AS_GOOD_AS_SOLVED * result.config["tol"] else []
        # What the steps cut off is no part of the gap.
        largest = largest_rewards(self.game)
        cut_off = self.game.gamma ** result.config["steps"] * largest.max() / (1.0 - self.game.gamma)
        return plot_gap_against_k(
            result.k[use], gap[:, :seeds].mean(axis=1), width[:, :seeds].max(axis=1), folder / "gap-against-k.png",
            f"{self.title}, optimality gap", simulated=simulated, simulated_half_width=half + cut_off,
            bound=result.bound[result.position("game", self.labels["game"]), result.position("n", n)][use],
            slope=fit, n_agents=n, n_runs=runs, note=", ".join(x for x in notes if x),
        )  # fmt: skip
