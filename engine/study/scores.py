"""What a study of learning comes to, run by run: play after learning, what best responses gain, and for retailers their goods.

One row for each run of each cell, so that whoever compares methods has the raw values, paired by run: run r of every method has
the same random numbers, in learning and in what it is scored by.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..backups.selection import TooLargeError
from ..deployment import deploy
from ..equilibrium.flow_gaps import LearnedGaps, gap_of_law, learned_gaps
from ..equilibrium.flow_law import law_of_table, why_no_flow
from ..files import KofnFileError, write_bytes_atomically
from ..game import Game
from ..inventory import GAME_SIZES
from ..inventory.baselines import Search, best_base_stock, best_constant
from ..inventory.policies import OrderPolicy, learned_orders, random_orders, table_law
from ..inventory.simulate import simulate_inventory
from ..inventory.spec import InventorySpec, spec_of
from ..inventory.tables import inventory_game
from ..learning.files import read_learned
from ..learning.policy import play
from ..learning.result import Learned, half_width
from ..learning.settings import LearningSettings
from ..solve import Interrupted, solve
from ..tabulation import shown
from .learning_files import NAME, read_learning_study
from .learning_results import LearningStudy
from .learning_settings import fields_of_method, method_of
from .settings import game_name

FOLDER = "scores"
COLUMNS = ("game", "method", "n", "temperature", "seed")
GOODS = ("profit", "on_hand", "backlog", "fill_rate", "short_periods", "bullwhip")
GAINS = ("gain", "worst_gain", "nash_conv", "cluster")
RULES = ("base stock", "constant", "random")
OPTIMUM = "optimum"
OPTIMUM_BYTES = 4_000_000_000
"""Beside few retailers the optimum of all who act as one is scored, where it is solved within so much memory."""


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """How runs are scored.

    Parameters
    ----------
    steps : int       steps (periods) that agents play on for, without learning
    episodes : int    how often, from different starts; scores are means over them
    flow_steps : int  of the population flow that best responses are found against
    gains : bool      whether to find them
    units : str       what retailers' goods come in: "lot", as they learned, or "unit"
    seed : int
    """

    steps: int = 365
    episodes: int = 4
    flow_steps: int = 5_000
    gains: bool = True
    units: str = "lot"
    seed: int = 0

    @property
    def tag(self) -> str:
        """What tells files of other settings apart."""
        flow = self.flow_steps if self.gains else 0
        return f"{self.units}-{self.steps}-{self.episodes}-{flow}-{self.seed}"


def score_study(
    folder: str | Path,
    settings: ScoreSettings = ScoreSettings(),
    *,
    memory_bytes: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[dict[str, str]]:
    """Score every run of every cell of a study of learning, and beside retailers the simple rules.

    A cell's scores are kept in a file of their own in `folder`/scores, so that scoring that is stopped goes on where it was.

    Returns
    -------
    list of dict    a row for each run; numbers as text, as they are in the files

    Raises
    ------
    KofnFileError    no such study, cells that are missing or were kept without tables
    ValueError       a game or settings that cannot be scored
    Interrupted      what is scored is kept
    """
    folder = Path(folder)
    study = read_learning_study(folder / NAME)
    jobs = list(_jobs(study, folder))
    (folder / FOLDER).mkdir(exist_ok=True)
    rows: list[dict[str, str]] = []
    for done, (name, identity, n_rows, make) in enumerate(jobs):
        if should_stop():
            raise Interrupted(f"stopped after {done} of {len(jobs)} cells; start again to go on")
        kept = folder / FOLDER / f"{name}.{settings.tag}-{identity}.csv"
        found = kept_rows(kept, n_rows)
        if found is None:
            made = make(settings, memory_bytes, should_stop)
            write_bytes_atomically(kept, csv_of(made).encode(), overwrite=True)
            found = kept_rows(kept, n_rows) or []
        rows += found
        if progress is not None:
            progress(name, done + 1, len(jobs))
    return rows


def kept_rows(path: Path, n_rows: tuple[int, ...]) -> list[dict[str, str]] | None:
    """Rows of a file of scores; None if there is no such file, or one that is damaged and has to be made again."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            rows = list(reader)
        names = reader.fieldnames or []
        scores = [name for name in names if name not in ("game", "method")]
        for row in rows:
            for name in scores:
                float(row[name] or "nan")
    except (FileNotFoundError, UnicodeDecodeError, csv.Error, ValueError, TypeError):
        return None
    whole = all(None not in row and None not in row.values() for row in rows)
    return rows if whole and len(rows) in n_rows and set(COLUMNS) <= set(names) else None


def csv_of(rows: list[dict[str, Any]]) -> str:
    """Rows as CSV with one header; what a row does not have is empty."""
    names: dict[str, None] = {}
    for row in rows:
        names |= dict.fromkeys(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _text(value) for key, value in row.items()})
    return text.getvalue()


def _text(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return value


def _jobs(study: LearningStudy, folder: Path) -> Iterator[tuple[str, str, tuple[int, ...], Callable]]:
    """(name, digest of what it depends on, numbers of rows, function that scores) of every cell, and of the rules of retailers."""
    for path, learned in _cells_of(study, folder):
        identity = learned.settings.identity(learned.game)
        yield path.name.removesuffix(".h5"), _digest(identity), (learned.settings.runs,), _Cell(path, study)
    constants, digests, runs = study.config.get("constants", {}), study.config["game_digests"], study.run.size
    for game in study.game.tolist():
        if game in GAME_SIZES:
            for n in study.ns_of(game):
                identity = {"game": digests.get(f"{game}, n = {n}"), "constants": constants, "runs": runs}
                # With or without an optimum.
                sizes = (len(RULES) * runs, (len(RULES) + 1) * runs)
                yield f"{game}.rules.n={n:04d}", _digest(identity), sizes, _Rules(game, n, runs, constants)


def _digest(identity: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]


def _cells_of(study: LearningStudy, folder: Path) -> list[tuple[Path, Learned]]:
    """Files of the study's cells, without their tables; others that an earlier study left in the folder are passed over."""
    wanted = {
        (game, n, method, temperature)
        for game in study.game.tolist()
        for n in study.ns_of(game)
        for method in study.method.tolist()
        for temperature in study.temperature.tolist()
    }
    found: dict[tuple[Any, ...], tuple[Path, Learned]] = {}
    for path in sorted((folder / "cells").glob("*.h5")):
        learned = read_learned(path, tables=False)
        settings, methods = learned.settings, study.method.tolist()
        if not any(_is_of(settings, method) for method in methods):
            continue
        key = (game_name(learned.game), settings.n, method_of(settings, methods), settings.temperature)
        if key in wanted:
            _check_cell(path, learned, study.config)
            found[key] = (path, learned)
    missing = sorted(wanted - found.keys())
    if missing:
        game, n, method, temperature = missing[0]
        raise KofnFileError(
            f"{folder / 'cells'}: found {len(found)} of {len(wanted)} cells, none of {game}, {method}, n = {n}, temperature "
            f"{temperature:g}; run the study again"
        )
    return list(found.values())


def _is_of(settings: LearningSettings, method: str) -> bool:
    return all(getattr(settings, name) == value for name, value in fields_of_method(method).items())


def _check_cell(path: Path, learned: Learned, config: dict[str, Any]) -> None:
    """KofnFileError for a cell that is not finished, or of a study with other settings."""
    there = learned.settings.config() | {"game": learned.game.digest(), "steps done": learned.step}
    digest = config["game_digests"].get(f"{game_name(learned.game)}, n = {learned.settings.n}", there["game"])
    expected = {name: config[name] for name in ("steps", "runs", "seed")} | {
        "game": digest,
        "steps done": config["steps"],
    }
    # What a method's suffix says is in its name.
    expected |= {name: value for name, value in config["learning"].items() if name not in ("replay", "correction")}
    for name, value in expected.items():
        if there.get(name, value) != value:
            raise KofnFileError(
                f"{path}: cell of another study, {name} is {shown(there[name])}, expected {shown(value)}; run the study again"
            )


class _Cell:
    """Scores all runs of one cell."""

    def __init__(self, path: Path, study: LearningStudy):
        self._path, self._methods, self._constants = path, study.method.tolist(), study.config.get("constants", {})

    def __call__(
        self, settings: ScoreSettings, memory_bytes: int | None, should_stop: Callable[[], bool]
    ) -> list[dict[str, Any]]:
        learned = read_learned(self._path)
        if "q" not in learned.arrays:
            raise KofnFileError(f"{self._path}: found curves without tables, expected a study with --keep-tables")
        options = learned.settings
        method = method_of(options, self._methods)
        rows = [
            {
                "game": learned.game.name,
                "method": method,
                "n": options.n,
                "temperature": options.temperature,
                "seed": run,
            }
            for run in range(options.runs)
        ]
        for name, values in self._columns(learned, settings, memory_bytes, should_stop).items():
            for row, value in zip(rows, values.tolist(), strict=True):
                row[name] = value
        return rows

    def _columns(
        self, learned: Learned, settings: ScoreSettings, memory_bytes: int | None, should_stop: Callable[[], bool]
    ) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {"reward": learned.tail_means("reward")}
        if learned.game.name in GAME_SIZES:
            spec = spec_of(GAME_SIZES[learned.game.name], **self._constants)
            policies = [learned_orders(spec, learned, run=run) for run in range(learned.settings.runs)]
            found |= play_of_retailers(spec, policies, learned.settings.n, settings, should_stop)
        else:
            played = [
                play(learned, steps=settings.steps, seed=settings.seed + episode, should_stop=should_stop)
                for episode in range(settings.episodes)
            ]
            found["played"] = np.mean([each.tail_means("reward") for each in played], axis=0)
        if settings.gains and why_no_flow(learned) is None:
            gaps = learned_gaps(
                learned, check_runs=0, steps=settings.flow_steps, seed=settings.seed, memory_bytes=memory_bytes,
                should_stop=should_stop,
            )  # fmt: skip
            found |= gains_of(gaps)
        return found


class _Rules:
    """Scores the simple rules among n retailers, as often as a method has runs."""

    def __init__(self, game: str, n: int, runs: int, constants: dict[str, Any]):
        self._game, self._n, self._runs, self._constants = game, n, runs, constants

    def __call__(
        self, settings: ScoreSettings, memory_bytes: int | None, should_stop: Callable[[], bool]
    ) -> list[dict[str, Any]]:
        spec = spec_of(GAME_SIZES[self._game], **self._constants)
        search = Search(
            n=self._n, periods=settings.steps, seed=settings.seed, units=settings.units, should_stop=should_stop
        )
        policies = (best_base_stock(spec, search), best_constant(spec, search), random_orders())
        rows, game = [], inventory_game(spec, agents=self._n)
        for method, policy in zip(RULES, policies, strict=True):
            found = play_of_retailers(spec, [policy] * self._runs, self._n, settings, should_stop)
            if settings.gains:
                law = law_of_table(game, table_law(spec, policy), n=self._n)
                gap, _ = gap_of_law(
                    law, steps=settings.flow_steps, check_runs=0, seed=settings.seed, memory_bytes=memory_bytes,
                    should_stop=should_stop,
                )  # fmt: skip
                found |= {name: np.full(self._runs, getattr(gap, name)) for name in GAINS[:-1]}
            for run in range(self._runs):
                row = {"game": self._game, "method": method, "n": self._n, "temperature": math.nan, "seed": run}
                rows.append(row | {name: float(values[run]) for name, values in found.items()})
        rows += self._optimum(game, settings)
        return rows

    def _optimum(self, game: Game, settings: ScoreSettings) -> list[dict[str, Any]]:
        """Profits of the optimal joint policy of all retailers, each of whom sees everything; none where they are too many."""
        try:
            policy = solve(game, self._n, tol=1e-4, memory_bytes=OPTIMUM_BYTES).policy
        except TooLargeError:
            return []
        played = deploy(
            game,
            policy,
            self._n,
            steps=settings.steps,
            runs=self._runs * settings.episodes,
            seed=settings.seed,
            trace_points=1,
        )
        profits = played.trace_reward[:, 0].reshape(settings.episodes, -1).mean(axis=0)
        return [
            {
                "game": self._game,
                "method": OPTIMUM,
                "n": self._n,
                "temperature": math.nan,
                "seed": run,
                "profit": float(profit),
            }
            for run, profit in enumerate(profits)
        ]


def play_of_retailers(
    spec: InventorySpec, policies: list[OrderPolicy], n: int, settings: ScoreSettings, should_stop: Callable[[], bool]
) -> dict[str, np.ndarray]:
    """Goods and money of each policy, means over the episodes: float64[policies] by metric. Policy r has the demand of run r."""
    played = simulate_inventory(
        spec, policies, n=n, periods=settings.steps, runs=len(policies) * settings.episodes, seed=settings.seed,
        units=settings.units, should_stop=should_stop,
    )  # fmt: skip
    return {name: played.metrics[name].reshape(settings.episodes, -1).mean(axis=0) for name in GOODS}


def gains_of(gaps: LearnedGaps) -> dict[str, np.ndarray]:
    """What best responses gain against each run's policy, and the cluster that the run is in."""
    found = {name: gaps.column(name) for name in ("gain", "worst_gain", "nash_conv")}
    if gaps.clusters is not None:
        found["cluster"] = gaps.clusters.labels
    return found


@dataclass(frozen=True, kw_only=True)
class ScoreLine:
    """Means of a method among n agents, over its runs.

    Parameters
    ----------
    game, method, n, temperature : as in the rows
    means : dict of (mean, half width of its 95 % t interval) by score
    clusters : int              groups of runs with policies farther apart than noise; 0 if unknown
    beats_base_stock : bool or None     profit above that of base stock with 95 % confidence, paired by run; None without one
    """

    game: str
    method: str
    n: int
    temperature: str
    means: dict[str, tuple[float, float]]
    clusters: int
    beats_base_stock: bool | None


def summarise_scores(rows: list[dict[str, str]]) -> list[ScoreLine]:
    """One line for each game, n, temperature and method, in the order of the rows."""
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault((row["game"], row["n"], row["temperature"], row["method"]), []).append(row)
    lines = []
    for (game, n, temperature, method), found in sorted(groups.items(), key=lambda item: (item[0][0], int(item[0][1]))):
        scores = [name for name in found[0] if name not in (*COLUMNS, "cluster")]
        values = {name: np.array([float(row[name] or "nan") for row in found]) for name in scores if found[0][name]}
        base = groups.get((game, n, "", RULES[0]))
        beats = None
        if base is not None and method not in (*RULES, OPTIMUM) and "profit" in values:
            profits = {row["seed"]: float(row["profit"]) for row in base}
            gap = values["profit"] - np.array([profits[row["seed"]] for row in found])
            beats = bool(gap.mean() > half_width(gap))
        clusters = max((int(row["cluster"]) for row in found if row.get("cluster")), default=0)
        means = {name: (float(x.mean()), half_width(x)) for name, x in values.items()}
        lines.append(
            ScoreLine(
                game=game,
                method=method,
                n=int(n),
                temperature=temperature,
                means=means,
                clusters=clusters,
                beats_base_stock=beats,
            )
        )
    return lines
