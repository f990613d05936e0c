"""Games for alternations, as objects and as files: their rounds, and how they end, depend on the seed of their tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numba
import numpy as np
import pytest

from kofn.engine.game import Game
from oracles import random_game_tables


def small_game(number: int, gamma: float = 0.9, **extra) -> Game:
    """A game of two global and three local states, by the seed of its tables."""
    tables = random_game_tables(np.random.default_rng(number), 2, 2, 3, 2, gamma=gamma)
    return Game(**tables, name=f"small-{number}", **extra)


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


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Games this small only wait for a second thread."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)
