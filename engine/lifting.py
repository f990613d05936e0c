"""A game with a field of states as the solvers take it: each global state split into one row for each field value.

The counts tell the field value, so nothing is added to the state. What a row (s_g, f) gives at counts of another field value is
never used.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .action_classes import list_counts
from .coupling import Field, refuse_coupling, refuse_unless_states
from .game import Game

LONE_AGENT = "a local agent's best response follows from s_g and its own state only where nothing else touches it"
COUNTS_TELL = (
    "only where the counts of the states tell the field value does a game of counts stand for the game of agents"
)
LISTED_BY_COUNTS = (
    "the sampled and the rounded expectation list next counts by tables that the counts of the states tell; "
    "expectation 'exact' serves a field of actions"
)


def depends_on_field(game: Game) -> bool:
    """Whether any table depends on the field value; without that a field couples nobody."""
    return game.field is not None and any(game.has_field_axis(table) for table in ("P_g", "P_l", "r_g", "r_l"))


def field_of_states(game: Game, what: str) -> Field | None:
    """The field that the tables depend on, None if they depend on none; ValueError unless it is of all agents' states.

    Parameters
    ----------
    what : str    why a field of another kind is refused
    """
    if not depends_on_field(game):
        return None
    refuse_unless_states(game, what)
    return game.field


def field_of_actions(game: Any) -> Field | None:
    """The field of all agents' actions that the tables depend on, or None: there the joint action tells the field value.

    Parameters
    ----------
    game : Game, or a part or a lift of one, which have no field of their own
    """
    if getattr(game, "field", None) is None or game.field.of != "actions" or game.neighbourhood is not None:
        return None
    return game.field if depends_on_field(game) else None


def refuse_field(game: Game, what: str) -> None:
    """ValueError for a game whose tables depend on a field, with the reason why `what` cannot be had for it."""
    if depends_on_field(game):
        refuse_coupling(game, what)


def values_at(table: np.ndarray, field_values: np.ndarray) -> np.ndarray:
    """A table with an axis of field values, float64[n_sg, n_f or 1, …], by counts: float64[n_sg, n_counts or 1, …].

    Parameters
    ----------
    field_values : int64[n_counts]
    """
    return table if table.shape[1] == 1 else table[:, field_values]


class LiftedGame:
    """The tables of a coupled game by row g = s_g · n_f + f, where f counts the field values that occur among k agents.

    Parameters
    ----------
    game : Game      with a field of states
    counts : int64[n_c, n_sl]

    Attributes
    ----------
    n_f : int                         field values that occur
    field_values : int64[n_f]         these values
    row_class : int64[n_c]            f of each count vector
    P_g, P_l, r_g, r_l : tables of a game whose global states are the rows, but for the next ones, s_g'
    n_sg : int                        rows
    """

    def __init__(self, game: Game, counts: np.ndarray):
        assert game.field is not None
        self.base, self.gamma = game, game.gamma
        self.field_values, self.row_class = np.unique(game.field.value_of(counts), return_inverse=True)
        self.n_f = len(self.field_values)
        self.n_sg, self.n_ag, self.n_sl, self.n_al = game.n_sg * self.n_f, game.n_ag, game.n_sl, game.n_al

    def _rows(self, name: str) -> np.ndarray:
        table = values_at(self.base.with_field_axis(name), self.field_values)
        table = np.broadcast_to(table, (self.base.n_sg, self.n_f, *table.shape[2:]))
        return np.ascontiguousarray(table.reshape(self.n_sg, *table.shape[2:]))

    @functools.cached_property
    def P_g(self) -> np.ndarray:
        """float64[n_rows, n_ag, n_sg]."""
        return self._rows("P_g")

    @functools.cached_property
    def P_l(self) -> np.ndarray:
        """float64[n_rows, n_sl, n_al, n_sl]."""
        return self._rows("P_l")

    @functools.cached_property
    def r_g(self) -> np.ndarray:
        """float64[n_rows, n_ag]."""
        return self._rows("r_g")

    @functools.cached_property
    def r_l(self) -> np.ndarray:
        """float64[n_rows, n_sl, n_al]."""
        return self._rows("r_l")

    def by_row(self, table: np.ndarray | None) -> np.ndarray | None:
        """A table over the global states, such as a local policy, by row."""
        return None if table is None else np.repeat(table, self.n_f, axis=0)

    @functools.cached_property
    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of each (s_g, c) in a table over rows and count vectors."""
        rows = np.arange(self.base.n_sg)[:, None] * self.n_f + self.row_class[None, :]
        return rows, np.arange(self.row_class.size)[None, :]


def lift(game: Any, k: int) -> LiftedGame | None:
    """The k-agent game by rows, or None where no table depends on a field; ValueError for a field of another kind than of states.

    Parameters
    ----------
    game : Game, or a part or a lift of one, which have no field of their own
    """
    if getattr(game, "field", None) is None or field_of_states(game, COUNTS_TELL) is None:
        return None
    return LiftedGame(game, list_counts(k, game.n_sl))
