"""Small games and policies for tests of equilibria, and alternations of them, compared bit by bit."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np

from kofn.engine.equilibrium.alternate import alternate
from kofn.engine.equilibrium.result import Equilibrium
from kofn.engine.game import Game
from oracles import ListedPolicy, random_game_tables, random_rows

K, N = 2, 4


@functools.lru_cache
def small_game(number: int, gamma: float = 0.9, **extra) -> Game:
    """A game of two global and three local states, by the seed of its tables."""
    tables = random_game_tables(np.random.default_rng(number), 2, 2, 3, 2, gamma=gamma)
    return Game(**tables, name=f"small-{number}", **extra)


def steering_game(gamma: float = 0.9) -> dict[str, Any]:
    """Both kinds of action name the next state, and a local agent is paid 1 wherever s_g = 1."""
    return {
        "P_g": np.tile(np.eye(2), (2, 1, 1)),
        "P_l": np.tile(np.eye(2), (2, 2, 1, 1)),
        "r_g": np.zeros((2, 2)),
        "r_l": np.broadcast_to(np.array([0.0, 1.0])[:, np.newaxis, np.newaxis], (2, 2, 2)),
        "gamma": gamma,
        "rho_g": np.array([1.0, 0.0]),
        "rho_l": np.array([1.0, 0.0]),
    }


def steering_pair() -> ListedPolicy:
    """The global agent goes where the one agent is that it sees; every local agent goes to 0."""
    local_action = np.broadcast_to(np.array([1.0, 0.0]), (2, 2, 2, 2))
    return ListedPolicy(1, 1, np.array([[1, 0], [1, 0]]), local_action)


def random_local_policy(rng: np.random.Generator, tables: dict[str, Any], deterministic: bool = False) -> np.ndarray:
    """A policy of local agents that see (s_g, s_l), float64[n_sg, n_sl, n_al]."""
    return random_rows(rng, tables["r_l"].shape, deterministic=deterministic)


@functools.lru_cache
def alternated(number: int, k: int = K, n: int = N, **options) -> Equilibrium:
    """The alternation of a small game, computed once; without exploitability unless asked for."""
    return alternate(small_game(number), k, n, **{"exploitability": "none"} | options)


def write_tables(path: Path, game: Game) -> Path:
    """Write the tables of a game as TOML."""
    lines = [f"name = '{game.name}'", f"gamma = {game.gamma}"]
    if game.n_agents is not None:
        lines.append(f"agents = {game.n_agents}")
    for player, states, actions in (("global", game.n_sg, game.n_ag), ("local", game.n_sl, game.n_al)):
        lines.append(f"[{player}]\nstates = {list(range(states))}\nactions = {list(range(actions))}")
    lines.append("[tables]")
    lines += [f"{name} = {getattr(game, name).tolist()}" for name in ("P_g", "P_l", "r_g", "r_l")]
    path.write_text("\n".join(lines) + "\n")
    return path


def bits_of(value: Any) -> Any:
    """All that a result holds but times and versions, to be compared."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: bits_of(getattr(value, name)) for name in names if "time_s" not in name and name != "versions"}
    if isinstance(value, list | tuple):
        return [bits_of(entry) for entry in value]
    return repr(value)


def assert_same(left: Any, right: Any) -> None:
    """Assert equal bits, and name the fields that differ."""
    left, right = bits_of(left), bits_of(right)
    assert [name for name in right if left[name] != right[name]] == []
