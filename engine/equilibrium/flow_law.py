"""What a population plays: one law of actions for every observation (s_g, s_l, b), learned or given."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...kernels.equilibrium.deviation import Played
from ...kernels.learning.parts import EVERYONE, OTHERS, Graph
from ...kernels.learning.runs import Sight
from ..coupling import Field
from ..game import Game
from ..learning.learners import global_law
from ..learning.policy import boltzmann_laws
from ..learning.result import Learned
from ..learning.settings import LEARN
from ..learning.views import lens_of, seen_field

ROW_SUM_ATOL = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class PlayedLaw:
    """A game, what its local agents see, and the law that all of them play.

    Parameters
    ----------
    game : Game                               without a neighbourhood
    seen : Field                              what b is the value of: of the others' last actions, or of all states now
    law : float64[n_sg, n_sl, B, n_al]
    global_law : float64[n_sg, n_f or 1, n_ag]    of the global agent; an axis of field values only for a field of states
    n : int or None                           agents that it was learned with
    """

    game: Game
    seen: Field
    law: np.ndarray
    global_law: np.ndarray
    n: int | None = None

    def __post_init__(self) -> None:
        game = self.game
        if game.neighbourhood is not None:
            raise ValueError("game: found a game on a graph, expected one where all agents share a field")
        shape = (game.n_sg, game.n_sl, self.seen.n_values, game.n_al)
        laws = {
            "law": _checked_law("law", self.law, shape),
            "global_law": _checked_law("global_law", self.global_law, (game.n_sg, -1, game.n_ag)),
        }
        if laws["global_law"].shape[1] not in (1, game.n_f):
            raise ValueError(f"global_law: found {laws['global_law'].shape[1]} field values, expected 1 or {game.n_f}")
        if laws["global_law"].shape[1] > 1 and (game.field is None or game.field.of == "actions"):
            raise ValueError("global_law: found a law that depends on a field of actions, expected one of s_g alone")
        for name, array in laws.items():
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def n_contexts(self) -> int:
        """Contexts (s_g, b), numbered s_g · B + b."""
        return self.game.n_sg * self.seen.n_values

    @property
    def table(self) -> np.ndarray:
        """The law by observation, float64[n_o, n_al]."""
        return self.law.reshape(-1, self.game.n_al)

    def global_moves(self) -> np.ndarray:
        """Law of s_g' given (s_g, f), float64[n_sg, n_f or 1, n_sg]."""
        return (self.global_law[..., None] * self.game.with_field_axis("P_g")).sum(axis=-2)

    def global_rewards(self) -> np.ndarray:
        """Mean of r_g given (s_g, f), float64[n_sg, n_f or 1]."""
        return (self.global_law * self.game.with_field_axis("r_g")).sum(axis=-1)

    def played(self) -> Played:
        """The laws as the kernels take them."""
        return Played(law=np.array(self.table), global_law=np.array(self.global_law))

    def sight(self) -> Sight:
        """What tables depend on and agents condition on, as the kernels take it."""
        nobody = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)
        kind = OTHERS if self.seen.of == "actions" else EVERYONE
        everyone = Graph(EVERYONE, *nobody)
        return Sight(lens_of(self.game.field), everyone, lens_of(self.seen), Graph(kind, *nobody))


def _checked_law(name: str, given: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    found = np.array(given, dtype=np.float64, order="C")
    if found.ndim != len(shape) or any(size not in (-1, found.shape[i]) for i, size in enumerate(shape)):
        expected = tuple("any" if size == -1 else size for size in shape)
        raise ValueError(f"{name}: found shape {found.shape}, expected {expected}")
    # Written so that NaN fails.
    if not (found.min() >= 0.0 and np.abs(found.sum(axis=-1) - 1.0).max() <= ROW_SUM_ATOL):
        raise ValueError(f"{name}: found rows that are no probabilities, expected rows that add up to 1")
    return found


def law_of_table(
    game: Game,
    table: np.ndarray,
    *,
    seen: Field | None = None,
    global_table: np.ndarray | None = None,
    n: int | None = None,
) -> PlayedLaw:
    """A given law, such as that of a baseline.

    Parameters
    ----------
    game : Game
    table : float64[n_o, n_al]       rows by observation (s_g · n_sl + s_l) · B + b
    seen : Field, optional           what b is the value of; by default the game's field, or nothing where there is one row
        for each (s_g, s_l)
    global_table : float64[n_sg, n_f or 1, n_ag], optional    by default uniform
    n : int, optional                agents

    Raises
    ------
    ValueError
    """
    found = np.asarray(table, dtype=np.float64)
    cells = game.n_sg * game.n_sl
    if found.ndim != 2 or found.shape[0] % cells or found.shape[1] != game.n_al:
        raise ValueError(f"law: found shape {found.shape}, expected a multiple of {cells} rows of {game.n_al} actions")
    n_values = found.shape[0] // cells
    if seen is None:
        blind = Field(of="actions", weights=np.zeros(game.n_al), edges=(np.zeros(0),))
        seen = blind if n_values == 1 or game.field is None else game.field
    if n_values != seen.n_values:
        raise ValueError(f"law: found {n_values} values seen, expected {seen.n_values}")
    if global_table is None:
        global_table = np.full((game.n_sg, 1, game.n_ag), 1.0 / game.n_ag)
    law = found.reshape(game.n_sg, game.n_sl, n_values, game.n_al)
    return PlayedLaw(game=game, seen=seen, law=law, global_law=global_table, n=n)


def why_no_flow(learned: Learned) -> str | None:
    """Why learned tables have no flow of one law, or None if they do."""
    game, settings = learned.game, learned.settings
    if game.neighbourhood is not None:
        return "its agents see their neighbours on a graph"
    if settings.tables == "own" and settings.n > 1:
        return "every agent has a table of its own; learn with shared tables"
    if settings.order != "synchronous":
        return "its agents move one after the other"
    if settings.inner > 0:
        return "its mean action answers itself before agents act; learn with inner = 0"
    if _global_sees_actions(learned):
        return "its global agent sees the last actions"
    return None


def learned_law(learned: Learned, run: int = 0, *, snapshot: int | None = None) -> PlayedLaw:
    """The law of one run: Boltzmann (or greedy) local agents and a greedy global agent, without exploration.

    Parameters
    ----------
    learned : Learned
    run : int
    snapshot : int, optional    number of a table that was kept on the way; by default the last tables

    Raises
    ------
    ValueError    the tables are no such law; the message says why
    """
    reason = why_no_flow(learned)
    if reason is not None:
        raise ValueError(f"policy: found learned tables that are no law of (s_g, s_l, b), {reason}")
    game, settings = learned.game, learned.settings
    if not 0 <= run < settings.runs:
        raise ValueError(f"run: found {run}, expected 0 to {settings.runs - 1}")
    seen = seen_field(game, settings)
    tables = learned.arrays if snapshot is None else {name: kept[snapshot] for name, kept in learned.snapshots.items()}
    preferences = tables["theta"] if "theta" in tables else tables["q"] if snapshot is not None else learned.preferences
    law = boltzmann_laws(preferences[run, 0], settings.temperature)
    given = global_law(game, settings)
    if game.n_ag > 1 and settings.global_policy == LEARN:
        given = boltzmann_laws(tables["q_global"][run], 0.0)
    shape = (game.n_sg, game.n_sl, seen.n_values, game.n_al)
    return PlayedLaw(game=game, seen=seen, law=law.reshape(shape), global_law=given, n=settings.n)


def _global_sees_actions(learned: Learned) -> bool:
    game = learned.game
    return (
        game.n_ag > 1
        and learned.settings.global_policy == LEARN
        and game.field is not None
        and game.field.of == "actions"
        and math.prod(game.field.n_bins.tolist()) > 1
    )
