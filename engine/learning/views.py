"""From a game and settings to what the learning kernels take: tables, lenses, graphs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...kernels.learning.parts import EVERYONE, NEIGHBOURS, OTHERS, Graph, Lens, Scene
from ..coupling import Field
from ..game import Game
from .settings import MAX_BINS, LearningSettings

NO_LENS = Lens(
    of_actions=0, weights=np.zeros((0, 1)), edges=np.zeros((0, 1)), n_values=np.zeros(0, dtype=np.int64), neutral=0
)


@dataclass(frozen=True, kw_only=True)
class Views:
    """Who sees what: the environment's field, and what the agents condition on."""

    scene: Scene
    env_lens: Lens
    env_graph: Graph
    lens: Lens
    graph: Graph
    seen: Field  # what the agents see; of one value for independent learners


def scene_of(game: Game) -> Scene:
    """The game's tables, each with an axis of field values."""
    P_g, P_l, r_g, r_l = (np.ascontiguousarray(game.with_field_axis(name)) for name in ("P_g", "P_l", "r_g", "r_l"))
    return Scene(P_g, P_l, r_g, r_l, np.array(game.rho_g), np.array(game.rho_l))


def lens_of(field: Field | None) -> Lens:
    """A field as the kernels read it."""
    if field is None:
        return NO_LENS
    return Lens(
        of_actions=int(field.of == "actions"), weights=np.array(field.weights), edges=np.array(field.edge_table),
        n_values=field.n_bins, neutral=int(field.neutral),
    )  # fmt: skip


def graph_of(game: Game, field: Field | None, n: int, *, itself: bool) -> Graph:
    """Whom a field is taken over: everyone, everyone but oneself, or the neighbours."""
    nobody = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)
    if field is None or (game.neighbourhood is None and itself):
        return Graph(EVERYONE, *nobody)
    if game.neighbourhood is None or game.neighbourhood.graph == "complete":
        return Graph(OTHERS, *nobody)
    return Graph(NEIGHBOURS, *game.neighbourhood.adjacency(n))


def seen_field(game: Game, settings: LearningSettings) -> Field:
    """The field that the agents condition on; of one value for independent learners.

    Raises
    ------
    ValueError    there is nothing to see, or it has no numbers to take a mean of
    """
    own = game.field
    if settings.method == "iq":
        of = settings.sees if settings.sees != "field" else "actions" if own is None else own.of
        weights = _weights(game, of)
        return Field(of=of, weights=np.zeros(_size(game, of)) if weights is None else weights, edges=(np.zeros(0),))
    if settings.sees == "field":
        if own is None:
            raise ValueError("sees: found 'field' for a game without one, expected 'actions' or 'states'")
        if settings.bins is None and own.n_values <= MAX_BINS:
            return own
        if len(own.weights) > 1:
            raise ValueError(
                f"field: found {len(own.weights)} features and {own.n_values} values to put in bins, expected one feature"
            )
        return binned(own.of, own.weights[0], settings.bins or MAX_BINS)
    weights = _weights(game, settings.sees)
    if weights is None:
        raise ValueError(
            f"sees: found {settings.sees!r}, whose labels are no numbers to take a mean of; expected 'field'"
        )
    return binned(settings.sees, weights, settings.bins or MAX_BINS)


def _size(game: Game, of: str) -> int:
    return game.n_al if of == "actions" else game.n_sl


def _weights(game: Game, of: str) -> np.ndarray | None:
    """Weights of a mean of states or actions: the field's own, or numbers that label them, or 0 and 1 for two."""
    labels = game.labels.local_actions if of == "actions" else game.labels.local_states
    own = game.field
    if own is not None and own.of == of and len(own.weights) == 1:
        return own.weights[0]
    if all(isinstance(label, (int, float)) for label in labels):
        return np.array(labels, dtype=np.float64)
    return np.array([0.0, 1.0]) if len(labels) == 2 else None


def whole_weights(weights: np.ndarray) -> tuple[np.ndarray, float, float] | None:
    """Weights as whole multiples of a unit above the lowest: (int64[n_x], lowest, unit); None if they are none."""
    low = float(weights.min())
    above = weights - low
    unit = float(above[above > 0].min()) if (above > 0).any() else 1.0
    whole = np.rint(above / unit)
    return (whole.astype(np.int64), low, unit) if np.allclose(whole, above / unit, rtol=0, atol=1e-9) else None


def binned(of: str, weights: np.ndarray, bins: int) -> Field:
    """A field of equal bins between the lowest and the highest weight."""
    low, high = float(weights.min()), float(weights.max())
    if low == high:
        bins = 1
    edges = low + (high - low) * np.arange(1, bins) / bins
    return Field(of=of, weights=np.array(weights), edges=(edges,))


def views_of(game: Game, settings: LearningSettings) -> Views:
    """All that the kernels look at."""
    if game.neighbourhood is not None:
        game.neighbourhood.check_agents(settings.n)
    seen = seen_field(game, settings)
    if settings.reward_at == "seen" and (game.field is None or seen.parts() != game.field.parts()):
        raise ValueError("reward_at: found 'seen', expected it only where agents see the game's own field")
    n = settings.n
    return Views(
        scene=scene_of(game),
        env_lens=lens_of(game.field),
        env_graph=graph_of(game, game.field, n, itself=True),
        lens=lens_of(seen),
        graph=graph_of(game, seen, n, itself=seen.of == "states"),
        seen=seen,
    )
