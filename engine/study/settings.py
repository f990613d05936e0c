"""What a study is asked to do: one frozen object, whether it comes from Python, from flags or from a TOML file."""

from __future__ import annotations

import dataclasses
import importlib.resources
import math
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..action_classes import ACTION_CLASSES
from ..backups.selection import EXPECTATIONS
from ..checkpoints import digest_of
from ..deployment import LEVELS, MAX_AGENTS
from ..equilibrium.settings import AlternationSettings
from ..files import reason_of
from ..game import Game, positive_integer
from ..game_files import list_games, load_game
from ..learning.settings import METHODS as LEARNING_METHODS
from ..policy import UNIFORM, checked_local_policy, load_local_policy, uniform_local_policy
from ..tabulation import shown
from .numbers import numbers_of

METHODS = ("solve", "nash")
# What a study says once for both phases is no field of the first.
NASH_FIELDS = tuple(
    f.name
    for f in dataclasses.fields(AlternationSettings)
    if f.name not in ("k", "n", "expectation", "samples", "tol", "seed")
)
# The keys of a study file whose method is one of learning.
LEARNING_KEYS = (
    "games", "method", "n", "temperature", "learning", "constants", "steps", "runs", "seed", "keep_tables",
)  # fmt: skip
# A study of importance weights has no game, and keys of its own.
DRIFT = "drift"
DRIFT_KEYS = ("method", "drifts", "rewards", "n", "samples", "form", "replications", "clip", "delta", "seed")
MAX_K = 10**9
MAX_SEED = 2**64 - 1
LARGEST_STUDY_FILE = 10**6
LARGEST_FLOAT = int(sys.float_info.max)


@dataclass(frozen=True, kw_only=True, eq=False)
class StudySettings:
    """A grid of games × actions × expectations × n × k × seeds, and what to do at each of its points.

    A list may be one entry, a sequence, or for numbers a text such as "1:20,30" (ranges include both ends). Pairs with
    k > n are left out.

    Parameters
    ----------
    games : Game, or name or path as `load_game` takes it
    n : agents at deployment; by default each game's own number
    k : sample sizes; the word "n" stands for every n of the grid
    actions : "joint", "shared", "histogram", "fixed"; by default "joint", or "fixed" with a `local_policy`
    expectation : "exact", "sampled" (with `samples` draws for each item) or "rounded"
    samples : int
    local_policy : float64[n_sg, n_sl, n_al] for one game, {game: array}, or as `load_local_policy` takes it; for actions "fixed"
    method : "solve", or "nash": first alternate best responses at each game's largest k, then for every k the global agent alone
        answers the local policy of that pair
    nash : dict             fields of `AlternationSettings` for the first phase, for method "nash"
    seeds : of the simulations and of the sampled expectation
    steps, runs, level : as in `deploy`
    tol : float             certified width of each solve, in units of value
    simulate : bool         whether to simulate
    exact : bool or "auto"  whether to compute values with n agents, optima and gaps exactly; "auto": where it fits
    refine : bool           whether to refine every policy for its n

    Raises
    ------
    ValueError    one line that names the field
    """

    games: tuple[Game, ...]
    k: tuple[int, ...]
    n: tuple[int, ...] = ()
    k_is_n: bool = False
    actions: tuple[str, ...] = ()
    expectation: tuple[str, ...] = ("exact",)
    samples: int = 10
    local_policy: np.ndarray | Mapping[str, np.ndarray] | str | None = None
    method: str = "solve"
    nash: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    steps: int = 200
    runs: int = 20
    level: str = "counts"
    tol: float = 1e-6
    simulate: bool = True
    exact: bool | str = "auto"
    refine: bool = False

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        put("games", _games(self.games))
        put("n", tuple(sorted(numbers_of("n", self.n, 1, MAX_AGENTS))))
        ks = numbers_of("k", self.k, 1, MAX_K, word="n")
        put("k_is_n", bool(self.k_is_n) or "n" in ks)
        put("k", tuple(sorted(k for k in ks if k != "n")))
        if not self.k and not self.k_is_n:
            raise ValueError("k: found no sample size, expected at least one")
        policy = self.local_policy
        if policy is not None and not isinstance(policy, str | Path | np.ndarray | Sequence | Mapping):
            raise ValueError(f"local_policy: found {shown(policy)}, expected a policy or its name")
        self._check_method()
        default = ("joint",) if policy is None and self.method == "solve" else ("fixed",)
        put("actions", words("actions", self.actions or default, ACTION_CLASSES))
        put("expectation", words("expectation", self.expectation, EXPECTATIONS))
        if self.method == "nash" and self.actions != ("fixed",):
            raise ValueError(f"actions: found {', '.join(self.actions)} with method 'nash', expected 'fixed'")
        if self.method == "solve" and ("fixed" in self.actions) != (policy is not None):
            found = "a local policy" if policy is not None else "none"
            raise ValueError(
                f"local_policy: found {found} with actions {', '.join(self.actions)}, expected one with 'fixed' alone"
            )
        for name in ("samples", "steps", "runs"):
            put(name, positive_integer(name, getattr(self, name)))
        put("seeds", tuple(sorted(numbers_of("seeds", self.seeds, 0, MAX_SEED))))
        if not self.seeds:
            raise ValueError("seeds: found none, expected at least one")
        if not isinstance(self.level, str) or self.level not in LEVELS:
            raise ValueError(f"level: found {shown(self.level)}, expected one of {', '.join(LEVELS)}")
        tol = self.tol
        if isinstance(tol, int) and abs(tol) > LARGEST_FLOAT:
            raise ValueError(f"tol: found {shown(tol)}, expected a finite number above 0")
        if isinstance(tol, bool) or not isinstance(tol, int | float | np.number) or not 0.0 < tol < math.inf:
            raise ValueError(f"tol: found {shown(tol)}, expected a finite number above 0")
        put("tol", float(tol))
        for name in ("simulate", "refine"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}: found {shown(getattr(self, name))}, expected true or false")
        if not isinstance(self.exact, bool) and self.exact != "auto":
            raise ValueError(f"exact: found {shown(self.exact)}, expected true, false or 'auto'")
        self._check_sizes()
        # A policy that does not fit shows now.
        for game in self.games:
            self.local_policy_of(game)
            if self.method == "nash":
                self.alternation_of(game)

    def _check_method(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method: found {shown(self.method)}, expected one of {', '.join(METHODS)}")
        if not isinstance(self.nash, Mapping):
            raise ValueError(f"nash: found {shown(self.nash)}, expected fields of an alternation")
        if self.method == "solve" and self.nash:
            raise ValueError(
                f"nash: found {', '.join(map(str, self.nash))} with method 'solve', expected method 'nash'"
            )
        for name in self.nash:
            if name not in NASH_FIELDS:
                raise ValueError(f"nash: {shown(name)}: unknown, expected one of {', '.join(NASH_FIELDS)}")
        object.__setattr__(self, "nash", dict(self.nash))

    def alternation_of(self, game: Game) -> AlternationSettings:
        """The first phase of method "nash" for a game: its largest k, its largest n."""
        try:
            return AlternationSettings(
                **{
                    "k": self.ks_of(game)[-1], "n": self.ns_of(game)[-1], "expectation": self.expectation[0],
                    "samples": self.samples, "tol": self.tol, "seed": self.seeds[0], **self.nash,
                }
            )  # fmt: skip
        except ValueError as error:
            raise ValueError(f"nash: {error}") from None

    def _check_sizes(self) -> None:
        largest = max((n for game in self.games for n in self.ns_of(game)), default=0)
        if self.k and self.k[-1] > largest:
            raise ValueError(f"k: found {self.k[-1]}, expected at most n = {largest}")
        for game in self.games:
            if not self.ks_of(game):
                raise ValueError(
                    f"k: found none of at most n = {max(self.ns_of(game))} for game {game_name(game)}, expected one"
                )

    def ns_of(self, game: Game) -> tuple[int, ...]:
        """Numbers of agents that play a game, ascending."""
        if self.n:
            return self.n
        if game.n_agents is None:
            raise ValueError(f"n: missing, and game {game_name(game)} does not say how many agents it has")
        return (game.n_agents,)

    def ks_of(self, game: Game) -> tuple[int, ...]:
        """Sample sizes of a game's cells, ascending: those asked for that some n reaches."""
        ns = self.ns_of(game)
        return tuple(sorted({k for k in self.k if k <= ns[-1]} | (set(ns) if self.k_is_n else set())))

    def local_policy_of(self, game: Game) -> np.ndarray | None:
        """The given policy of the local agents, for class `fixed`; where it is still to be found, one of the same shape."""
        if self.local_policy is None:
            return uniform_local_policy(game) if self.method == "nash" else None
        if isinstance(self.local_policy, Mapping):
            if game_name(game) not in self.local_policy:
                raise ValueError(f"local_policy: found none for game {game_name(game)}, expected one for each game")
            return checked_local_policy(self.local_policy[game_name(game)], game)
        if isinstance(self.local_policy, str | Path):
            return load_local_policy(self.local_policy, game)
        return checked_local_policy(self.local_policy, game)

    @property
    def config(self) -> dict[str, Any]:
        """All settings, JSON-ready."""
        kept = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del kept["k_is_n"], kept["local_policy"]
        policy: Any = self.local_policy
        if policy is not None and str(policy) != UNIFORM:
            policies = {game_name(game): self.local_policy_of(game) for game in self.games}
            policy = {name: digest_of(table) for name, table in policies.items() if table is not None}
        lists = {name: list(kept[name]) for name in ("n", "actions", "expectation", "seeds")}
        lists["k"] = [*self.k, "n"] if self.k_is_n else list(self.k)
        games = {game_name(game): game.digest() for game in self.games}
        agents = {game_name(game): list(self.ns_of(game)) for game in self.games}
        return kept | lists | {"games": list(games), "game_digests": games, "agents": agents, "local_policy": policy}


SETTINGS = tuple(field.name for field in dataclasses.fields(StudySettings) if field.name != "k_is_n")
"""The keys of a study file."""


def game_name(game: Game) -> str:
    """The name of a game in results."""
    return game.name or "game"


def find_study_file(name: str) -> Path | None:
    """The study file that a word on the command line may mean: a shipped one by its name, or a TOML file."""
    shipped = importlib.resources.files("kofn.data") / "studies" / f"{name}.toml"
    if name not in list_games() and re.fullmatch(r"[a-z0-9-]+", name) and shipped.is_file():
        return Path(str(shipped))
    path = Path(name)
    return path if name not in list_games() and path.suffix.lower() == ".toml" else None


def read_study_file(path: str | Path) -> dict[str, Any] | None:
    """The settings in a TOML file, their names checked, their values not; None if it is a game instead.

    Relative paths of games and policies are relative to the file's folder.

    Raises
    ------
    ValueError    one line: file, field, what was found and what was expected
    """
    path = Path(path)
    try:
        if path.is_file() and path.stat().st_size > LARGEST_STUDY_FILE:
            return None
        document = tomllib.loads(path.read_bytes().decode("utf-8-sig")) if path.is_file() else {}
    except (ValueError, RecursionError, OSError):
        # `load_game` says what is wrong with a file that is neither.
        return None
    methods = document.get("method")
    if methods in (DRIFT, [DRIFT]):
        _check_keys(path, document, DRIFT_KEYS)
        return document
    if "drifts" in document:
        raise ValueError(f'{path}: method: found {shown(methods)} beside drifts, expected "{DRIFT}"')
    if "games" not in document and ("k" not in document or "global" in document):
        return None
    given = methods if isinstance(methods, list) else [methods]
    learning = any(str(method).partition("+")[0] in LEARNING_METHODS for method in given)
    _check_keys(path, document, LEARNING_KEYS if learning else SETTINGS)
    if "games" not in document:
        raise ValueError(f"{path}: games: missing, expected at least one")
    games = document["games"]
    try:
        document["games"] = [_beside(path, game) for game in ([games] if isinstance(games, str) else games)]
    except TypeError:
        raise ValueError(f"{path}: games: found {shown(games)}, expected names or paths") from None
    if isinstance(document.get("local_policy"), str) and document["local_policy"] != UNIFORM:
        document["local_policy"] = str(path.parent / document["local_policy"])
    return document


def _check_keys(path: Path, document: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in document:
        if key not in known:
            plain = key if re.fullmatch(r"[\w-]{1,60}", key) else shown(key)
            raise ValueError(f"{path}: {plain}: unknown, expected one of {', '.join(known)}")


def load_study(path: str | Path, **changes: Any) -> StudySettings:
    """Settings from a TOML study file; changes go before what the file says.

    Raises
    ------
    ValueError    one line: file, field, what was found and what was expected
    """
    document = read_study_file(path)
    if document is None:
        if not Path(path).is_file():
            raise ValueError(f"{path}: no such file, expected a study file")
        raise ValueError(f"{path}: {_reason_for_no_study(Path(path))}, expected a study file with games and k")
    return settings_from(document, where=str(path), **changes)


def settings_from(document: Mapping[str, Any], *, where: str, **changes: Any) -> StudySettings:
    """Settings from what `read_study_file` found; errors name the file unless a change is at fault."""
    for key in document:
        if key not in SETTINGS:
            raise ValueError(
                f"{where}: {key}: found it in a study of {' or '.join(METHODS)}, expected one of {', '.join(SETTINGS)}"
            )
    if "k" not in document and "k" not in changes:
        raise ValueError(f"{where}: k: missing, expected sample sizes")
    try:
        return StudySettings(**{**document, **changes})
    except ValueError as error:
        field = str(error).partition(":")[0]
        raise error if field in changes else ValueError(f"{where}: {error}") from None


def _reason_for_no_study(path: Path) -> str:
    try:
        document = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError, OSError) as error:
        return f"found no TOML ({reason_of(error)})"
    return f"found {', '.join(list(document)[:5]) or 'nothing'}"


def _beside(path: Path, game: Any) -> Any:
    if isinstance(game, str) and game not in list_games() and Path(game).suffix:
        return str(path.parent / game)
    return game


def _games(value: Any) -> tuple[Game, ...]:
    parts = [value] if isinstance(value, str | Path | Game) else list(value)
    games = []
    for part in parts:
        if not isinstance(part, str | Path | Game):
            raise ValueError(f"games: found {shown(part)}, expected names or paths")
        games.append(part if isinstance(part, Game) else load_game(part))
    names = [game_name(game) for game in games]
    if not games:
        raise ValueError("games: found none, expected at least one")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"games: found {names.count(name)} games named {name!r}, expected different names")
    return tuple(games)


def words(name: str, value: Any, known: Sequence[str]) -> tuple[str, ...]:
    """Words as a tuple, from a sequence or from a text with commas; ValueError unless each is known and there once."""
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(parts, Sequence) or not parts:
        raise ValueError(f"{name}: found {shown(value)}, expected one or more of {', '.join(known)}")
    for part in parts:
        if part not in known:
            raise ValueError(f"{name}: found {shown(part)}, expected one of {', '.join(known)}")
        if parts.count(part) > 1:
            raise ValueError(f"{name}: found {part!r} twice, expected each once")
    return tuple(parts)
