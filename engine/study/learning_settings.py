"""What a study of learning is asked to do: games × methods × n × temperatures, each a cell of several runs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..backups.selection import default_memory_bytes, readable_bytes
from ..deployment import MAX_AGENTS
from ..game import Game
from ..game_files import load_game
from ..learning.learn import check_memory
from ..learning.learners import make_learners, table_shape
from ..learning.settings import CORRECTIONS, METHODS, LearningSettings
from ..tabulation import shown
from .numbers import numbers_of, reals_of
from .plan import plain_name
from .settings import LEARNING_KEYS, game_name, read_study_file

GRID = ("method", "n", "temperature", "steps", "runs", "seed")
# Tables on the way are kept by single learning alone.
LEARNING_FIELDS = tuple(f.name for f in dataclasses.fields(LearningSettings) if f.name not in (*GRID, "snapshots"))

DEFAULTS = {f.name: f.default for f in dataclasses.fields(LearningSettings)}

MAX_METHODS = 7

ONLINE = "online"
"""Suffix of a method that learns without replay."""

MAX_KEPT_TABLES_BYTES = 64_000_000
"""Larger tables of one cell are not kept where every agent has one of its own, unless they are asked for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LearningCell:
    """One cell of a study of learning: all runs of a game, a method, a number of agents and a temperature."""

    name: str
    game: Game
    method: str  # as the study has it, such as "mfq+marginal"
    settings: LearningSettings
    keeps_tables: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class LearningStudySettings:
    """A grid of games × methods × n × temperatures.

    A list may be one entry, a sequence, or for numbers a text such as "100,500" or "0.7:1.8:0.1" (ranges include both ends).
    All cells draw from the same seed, so that run i of every cell has the same random streams.

    Parameters
    ----------
    games : Game, or name or path as `load_game` takes it; what is loaded is loaded for every n, for a field of totals is of n
    method : of "mfq", "mfac", "iq", with a suffix for a correction, such as "mfq+marginal" (or "+none"), or "+online" for no replay
    steps, runs, seed : as in `LearningSettings`
    n : local agents; by default each game's own number
    temperature : T of the Boltzmann law; 0 is greedy
    learning : dict           other fields of `LearningSettings`
    constants : dict          as `load_game` takes them
    keep_tables : bool        keep the tables of every cell, however large

    Raises
    ------
    ValueError    one line that names the field
    """

    games: tuple[str | Path | Game, ...]
    steps: int
    method: tuple[str, ...] = ("mfq",)
    n: tuple[int, ...] = ()
    temperature: tuple[float, ...] = (0.0,)
    runs: int = 20
    seed: int = 0
    learning: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    keep_tables: bool = False
    cells: tuple[LearningCell, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        games = (self.games,) if isinstance(self.games, str | Path | Game) else tuple(self.games)
        if not games:
            raise ValueError("games: found none, expected at least one")
        put("games", games)
        put("method", _methods(self.method))
        put("n", tuple(sorted(numbers_of("n", self.n, 1, MAX_AGENTS))))
        put("temperature", reals_of("temperature", self.temperature))
        for name in ("learning", "constants"):
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"{name}: found {shown(getattr(self, name))}, expected names with values")
            put(name, dict(getattr(self, name)))
        for name in self.learning:
            if name not in LEARNING_FIELDS:
                raise ValueError(f"learning: {shown(name)}: unknown, expected one of {', '.join(LEARNING_FIELDS)}")
        if not isinstance(self.keep_tables, bool):
            raise ValueError(f"keep_tables: found {shown(self.keep_tables)}, expected true or false")
        put("cells", tuple(self._cells()))

    def _cells(self) -> list[LearningCell]:
        cells, seen = [], set()
        for given in self.games:
            loaded = self._load(given, None) if not self.n else None
            if loaded is not None and loaded.n_agents is None:
                raise ValueError(f"n: missing, and game {game_name(loaded)} does not say how many agents it has")
            ns = self.n if loaded is None or loaded.n_agents is None else (loaded.n_agents,)
            for n in ns:
                game = loaded if loaded is not None else self._load(given, n)
                if (game_name(game), n) in seen:
                    raise ValueError(f"games: found several games named {game_name(game)!r}, expected different names")
                seen.add((game_name(game), n))
                cells += [
                    self._cell(game, method, n, temperature)
                    for method in self.method
                    for temperature in self.temperature
                ]
        return cells

    def _load(self, given: str | Path | Game, n: int | None) -> Game:
        if isinstance(given, Game):
            if self.constants:
                raise ValueError("constants: found some for a game that is loaded already, expected a name or a path")
            return given
        if not isinstance(given, str | Path):
            raise ValueError(f"games: found {shown(given)}, expected names or paths")
        return load_game(given, agents=n, constants=self.constants or None)

    def _cell(self, game: Game, method: str, n: int, temperature: float) -> LearningCell:
        fields = {"n": n, "temperature": temperature, "steps": self.steps, "runs": self.runs, "seed": self.seed}
        settings = LearningSettings(**fields | _with_tuples(self.learning) | fields_of_method(method))
        name = f"{plain_name(game)}.{method}.n={n:04d}.T={temperature!r}"
        kept = self.keep_tables or settings.tables != "own" or table_bytes(game, settings) <= MAX_KEPT_TABLES_BYTES
        return LearningCell(name=name, game=game, method=method, settings=settings, keeps_tables=kept)

    @property
    def config(self) -> dict[str, Any]:
        """All settings, JSON-ready."""
        games = {game_name(cell.game): cell.game for cell in self.cells}
        agents = {
            name: list(dict.fromkeys(cell.settings.n for cell in self.cells if game_name(cell.game) == name))
            for name in games
        }
        digests = {f"{game_name(cell.game)}, n = {cell.settings.n}": cell.game.digest() for cell in self.cells}
        common = self.cells[0].settings.config()
        # Suffixes of methods change these in some cells.
        common |= {name: self.learning.get(name, DEFAULTS[name]) for name in ("replay", "correction")}
        # Where they are not given these depend on the temperature, and on the correction.
        named = [
            name
            for name in LEARNING_FIELDS
            if name not in ("epsilon", "replay_by") or self.learning.get(name) is not None
        ]
        return {
            "games": list(games), "game_digests": digests, "agents": agents, "method": list(self.method), "n": list(self.n),
            "temperature": list(self.temperature), "steps": self.cells[0].settings.steps, "runs": self.cells[0].settings.runs,
            "seed": self.cells[0].settings.seed, "learning": {name: common[name] for name in named},
            "constants": dict(self.constants), "notes": self.notes,
            "descriptions": {name: game.description.strip() for name, game in games.items()},
        }  # fmt: skip

    @property
    def notes(self) -> list[str]:
        """What is left out, and why."""
        return [
            f"cell {cell.name}: its tables take {readable_bytes(table_bytes(cell.game, cell.settings))} and are not kept; "
            "ask for them with --keep-tables"
            for cell in self.cells
            if not cell.keeps_tables
        ]  # fmt: skip

    def check(self, memory_bytes: int | None = None) -> None:
        """Refuse now what a cell would refuse when it is its turn.

        Raises
        ------
        ValueError, TooLargeError
        """
        memory = default_memory_bytes() if memory_bytes is None else memory_bytes
        tried = set()
        for cell in self.cells:
            check_memory(cell.game, cell.settings, memory)
            if (kind := (id(cell.game), cell.method)) not in tried:
                tried.add(kind)
                make_learners(cell.game, dataclasses.replace(cell.settings, runs=1))


def fields_of_method(method: str) -> dict[str, Any]:
    """What a method of a study, such as "mfq+marginal", says of `LearningSettings`."""
    plain, _, suffix = method.partition("+")
    if suffix == ONLINE:
        return {"method": plain, "replay": 0, "correction": "none"}
    return {"method": plain, "correction": suffix} if suffix else {"method": plain}


def method_of(settings: LearningSettings, methods: Sequence[str]) -> str:
    """The method of a study, one of `methods`, that settings are of: the one that says most of what they are."""

    def fits(method: str) -> bool:
        return all(getattr(settings, name) == value for name, value in fields_of_method(method).items())

    return max(filter(fits, methods), key=lambda method: len(fields_of_method(method)))


def table_bytes(game: Game, settings: LearningSettings) -> int:
    """Bytes of the tables of local agents of all runs of a cell."""
    return 8 * settings.runs * math.prod(table_shape(game, settings))


def is_learning(methods: Any) -> bool:
    """Whether a study's methods are those of learning; ValueError for a mixture with others."""
    given = [methods] if isinstance(methods, str) else methods
    if not isinstance(given, Sequence) or not any(str(method).partition("+")[0] in METHODS for method in given):
        return False
    others = [method for method in given if str(method).partition("+")[0] not in METHODS]
    if others:
        raise ValueError(f"method: found {shown(others[0])} beside {', '.join(METHODS)}, expected it alone")
    return True


def learning_settings_from(document: Mapping[str, Any], *, where: str, **changes: Any) -> LearningStudySettings:
    """Settings from what `read_study_file` found; errors name the file unless a change is at fault."""
    for key in document:
        if key not in LEARNING_KEYS:
            raise ValueError(
                f"{where}: {key}: found it in a study of learning, expected one of {', '.join(LEARNING_KEYS)}"
            )
    merged = {**document, **changes}
    for name in ("learning", "constants"):
        if isinstance(document.get(name), Mapping) and isinstance(changes.get(name), Mapping):
            merged[name] = {**document[name], **changes[name]}
    if "steps" not in merged:
        raise ValueError(f"{where}: steps: missing, expected a whole number")
    try:
        return LearningStudySettings(**merged)
    except ValueError as error:
        at_fault = str(error).partition(":")[0]
        given = {*changes, *changes.get("learning", {})}
        raise error if at_fault in given else ValueError(f"{where}: {error}") from None


def load_learning_study(path: str | Path, **changes: Any) -> LearningStudySettings:
    """Settings from a TOML study file whose method is one of learning; changes go before what the file says.

    Raises
    ------
    ValueError    one line: file, field, what was found and what was expected
    """
    document = read_study_file(path)
    if document is None or not is_learning(changes.get("method", document.get("method"))):
        raise ValueError(f"{path}: found no study of learning, expected games and a method of {', '.join(METHODS)}")
    return learning_settings_from(document, where=str(path), **changes)


def _methods(value: Any) -> tuple[str, ...]:
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(parts, Sequence) or not parts:
        raise ValueError(f"method: found {shown(value)}, expected one or more of {', '.join(METHODS)}")
    for part in parts:
        plain, plus, suffix = str(part).partition("+")
        if plain not in METHODS or (plus and suffix not in (*CORRECTIONS, ONLINE)):
            raise ValueError(
                f"method: found {shown(part)}, expected one of {', '.join(METHODS)}, or one with a suffix +"
                f"{', +'.join((*CORRECTIONS, ONLINE))}"
            )
        if list(parts).count(part) > 1:
            raise ValueError(f"method: found {part!r} twice, expected each once")
    if len(parts) > MAX_METHODS:
        raise ValueError(f"method: found {len(parts)}, expected at most {MAX_METHODS} to tell apart in figures")
    return tuple(parts)


def _with_tuples(learning: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as `LearningSettings` takes them: a file has lists where it has tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in learning.items()}
