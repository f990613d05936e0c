"""A learned table as a policy like any other, and as learners that play on without learning."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ...kernels.lattice import lattice_size
from ..action_classes import list_counts
from ..backups.selection import TooLargeError, default_memory_bytes, readable_bytes
from ..game import Game, positive_integer
from ..policy import SubsamplePolicy
from .learn import learn
from .learners import global_law
from .result import Learned
from .settings import FILLED_IN, LEARN, UNIFORM, LearningSettings
from .views import seen_field

# Runs from here on are those of play: none of their random numbers was learned with.
FIRST_PLAYED_RUN = 2**31


def boltzmann_laws(table: np.ndarray, temperature: float) -> np.ndarray:
    """π(a) ∝ exp(table[a] / T) along the last axis; for T = 0 the best action, ties to the lowest.

    Parameters
    ----------
    table : float64[…, n_a]
    temperature : float, at least 0

    Returns
    -------
    float64[…, n_a]
    """
    if temperature == 0.0:
        return np.eye(table.shape[-1])[table.argmax(axis=-1)]
    weights = np.exp((table - table.max(axis=-1, keepdims=True)) / temperature)
    return weights / weights.sum(axis=-1, keepdims=True)


def why_no_policy(game: Game, settings: LearningSettings) -> str | None:
    """Why learned tables are not a policy of samples of states, or None if they are one."""
    seen = seen_field(game, settings)
    if game.neighbourhood is not None:
        return "its agents see their neighbours on a graph, and a sample of agents has none"
    if settings.tables == "own" and settings.n > 1:
        return "every agent has a table of its own, and a policy is one law for all; learn with shared tables"
    if seen.of == "actions" and seen.n_values > 1:
        return "its agents see the last actions, and a policy sees states; learn with sees = 'states'"
    if game.n_ag > 1 and settings.global_policy == UNIFORM:
        return "its global agent plays at random, and a policy has one action; learn with a global policy"
    if game.n_ag > 1 and settings.global_policy == LEARN and game.field is not None and game.field.of == "actions":
        return "its global agent sees the last actions, and a policy sees states"
    return None


def learned_policy(
    learned: Learned, *, run: int = 0, k: int | None = None, memory_bytes: int | None = None
) -> SubsamplePolicy:
    """The policy of one run: Boltzmann (or greedy) local agents, a greedy global agent, without exploration.

    Agents see what they learned to see in a sample of k agents, themselves included: with k agents deployed that is all of them.

    Parameters
    ----------
    learned : Learned
    run : int
    k : int, optional       agents that everyone sees; by default as many as learned
    memory_bytes : int, optional

    Raises
    ------
    ValueError       the tables are no such policy; the message says why
    TooLargeError    k agents have too many count vectors
    """
    game, settings = learned.game, learned.settings
    reason = why_no_policy(game, settings)
    if reason is not None:
        raise ValueError(f"policy: found learned tables that are none, {reason}")
    if not 0 <= run < settings.runs:
        raise ValueError(f"run: found {run}, expected 0 to {settings.runs - 1}")
    seen = seen_field(game, settings)
    k = settings.n if k is None else positive_integer("k", k)
    k_local = k if seen.n_values > 1 else 1
    sees_field = game.n_ag > 1 and settings.global_policy == LEARN and game.field is not None
    k_global = k if sees_field else 1
    most = default_memory_bytes() if memory_bytes is None else memory_bytes
    needed = 8 * lattice_size(max(k_local, k_global), game.n_sl) * game.n_sg * (game.n_sl * game.n_al + game.n_sl)
    if needed > most:
        raise TooLargeError(
            f"k: the policy of agents who see {k} takes {readable_bytes(needed)}, expected at most {readable_bytes(most)}; "
            "lower k, the number of agents that everyone sees"
        )
    table = learned.preferences[run, 0].reshape(game.n_sg, game.n_sl, seen.n_values, game.n_al)
    laws = boltzmann_laws(table, settings.temperature)
    values = np.zeros(lattice_size(k_local, game.n_sl), dtype=np.int64)
    if seen.n_values > 1:
        values = seen.value_of(list_counts(k_local, game.n_sl))
    return SubsamplePolicy(
        k_global=k_global,
        k_local=k_local,
        global_action=_global_actions(learned, run, k_global),
        local_action=np.ascontiguousarray(laws[:, :, values]),
    )


def _global_actions(learned: Learned, run: int, k: int) -> np.ndarray:
    """The global agent's greedy action for every s_g and sample of k agents, int32[n_sg, n_c]."""
    game, settings = learned.game, learned.settings
    n_c = lattice_size(k, game.n_sl)
    if game.n_ag == 1 or settings.global_policy != LEARN:
        return np.repeat(global_law(game, settings)[:, 0].argmax(axis=1)[:, None], n_c, axis=1).astype(np.int32)
    best = learned.arrays["q_global"][run].argmax(axis=-1)
    values = np.zeros(n_c, dtype=np.int64)
    if game.field is not None:
        values = game.field.value_of(list_counts(k, game.n_sl))
    return np.ascontiguousarray(best[:, values].astype(np.int32))


def play(
    learned: Learned,
    *,
    n: int | None = None,
    steps: int = 1000,
    seed: int = 0,
    start: str | None = None,
    memory_bytes: int | None = None,
    progress: Callable[[Any], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Learned:
    """Let the agents of all runs play on from a new start, with their tables as they are and without exploration.

    Parameters
    ----------
    learned : Learned
    n : int, optional       agents; another number than learned needs shared tables
    steps, seed, start : as in `LearningSettings`
    memory_bytes : int, optional

    Returns
    -------
    Learned    of step size 0, whose summaries average all steps

    Where a policy has the global agent's best action, here it goes on drawing from its Boltzmann law. The random numbers are
    others than those of learning with the same seed.
    """
    settings = dataclasses.replace(
        learned.settings, n=learned.settings.n if n is None else n, steps=steps, seed=seed, snapshots=0, alpha=0.0, actor_alpha=0.0,
        alpha_power=0.0, epsilon=(0.0, 0.0), epsilon_steps=FILLED_IN, record_every=FILLED_IN, replay=0, replay_by=FILLED_IN,
        correction="none", target_every=0, target_tau=0.0, tail=1.0, start=learned.settings.start if start is None else start,
    )  # fmt: skip
    return learn(
        learned.game, settings, tables=learned, first_run=FIRST_PLAYED_RUN, memory_bytes=memory_bytes, progress=progress,
        should_stop=should_stop,
    )  # fmt: skip
