"""How often the global agent names the local state that most agents are in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .deployment import Deployment
from .game import Game
from .tabulation import shown


class ModeTrack(NamedTuple):
    """One run of a deployment, to be seen next to others; T is the number of points of the trace."""

    k: int  # k_global of the policy
    shares: np.ndarray  # float64[T, n_sl], of the agents in each local state
    choice: np.ndarray | None  # int64[T], the local state that a_g names, −1 for none; None if no action names any
    mode: np.ndarray  # int64[T], the most populated local state, of equal ones the first
    accuracy: float  # of this run, as in `mode_accuracy`; NaN if no action names a local state


def named_local_states(game: Game) -> np.ndarray:
    """Which local states each global action is named like, bool[n_ag, n_sl]; labels are compared as text."""
    actions, states = (
        np.array([str(label) for label in space], dtype=object)
        for space in (game.labels.global_actions, game.labels.local_states)
    )
    return actions[:, None] == states


def mode_accuracy(deployment: Deployment, game: Game) -> np.ndarray:
    """Share of the traced steps in which a_g is named like a most populated local state, float64[runs].

    Traced are the first steps of the points of the trace, so every step if `trace_points` is at least `steps`. Counts
    are those that a_g is chosen at, before the step. Where several local states hold equally many agents, more than
    any other, a_g may name any of them. A global action that is named like no local state counts as a miss.

    Parameters
    ----------
    deployment : Deployment   of this game
    game : Game

    Raises
    ------
    ValueError   no global action is named like a local state, the deployment is of another game, or comes from a file
        that holds no global actions
    """
    named = named_local_states(game)
    if not named.any():
        raise ValueError(
            f"global_actions: found {shown(game.labels.global_actions)}, "
            f"expected labels of local states among them: {shown(game.labels.local_states)}"
        )
    _check_trace(deployment, game)
    populations = deployment.trace_population
    is_mode = populations == populations.max(axis=2, keepdims=True)
    return (is_mode & named[deployment.trace_global_action]).any(axis=2).mean(axis=1)


def mode_track(deployment: Deployment, game: Game, run: int = 0) -> ModeTrack:
    """What `mode_accuracy` compares, step by step, for one row of a deployment.

    Raises
    ------
    ValueError   the deployment is of another game, or comes from a file that holds no global actions
    """
    named = named_local_states(game)
    _check_trace(deployment, game)
    populations = deployment.trace_population[run]
    choice, accuracy = None, np.nan
    if named.any():
        state_of_action = np.where(named.any(axis=1), named.argmax(axis=1), -1)
        choice = state_of_action[deployment.trace_global_action[run]]
        accuracy = float(mode_accuracy(deployment, game)[run])
    config = deployment.config
    return ModeTrack(config["k_global"], populations / config["n"], choice, populations.argmax(axis=1), accuracy)


def _check_trace(deployment: Deployment, game: Game) -> None:
    found, expected = deployment.config["game_digest"], game.digest()
    if found != expected:
        raise ValueError(f"deployment: found a game with digest {found[:12]}…, expected {expected[:12]}…")
    lowest = int(deployment.trace_global_action.min())
    if lowest < 0:
        raise ValueError(f"trace_global_action: found {lowest}, expected positions of global actions: an older file")
