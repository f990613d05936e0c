"""What a local agent that sees (s_g, s_l) alone is told of s_g': the law that the global agent induces, the population summed out.

Three closures of Anand and Karmarkar (2026, ALTERNATING-MARL), from the coarsest to the finest. None of them samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..action_classes import list_counts
from ..backups.selection import default_memory_bytes
from ..evaluation.evaluate import build_chain, initial_measure, stationary_occupancy
from ..game import Game, positive_integer
from ..initial_law import count_law
from ..lifting import LONE_AGENT, refuse_field
from ..policy import SubsamplePolicy, checked_local_policy
from ..tabulation import shown

CLOSURES = ("uniform", "joint", "tagged")
# Squarings of a lazy chain: it has then made 2**60 steps.
SQUARINGS = 60
# Long-run laws are computed to about a tenth of this: what has no more mass was not seen.
SMALLEST_MASS = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Closure:
    """The law of s_g' for a local agent.

    Parameters
    ----------
    kind : "uniform", "joint" or "tagged"
    transition : float64[n_sg, n_sl, n_sg]    Pr[s_g' | s_g, own s_l]
    local_law : float64[n_sl]    long-run share of the agents in each state
    """

    kind: str
    transition: np.ndarray
    local_law: np.ndarray


def close(
    game: Game,
    global_action: np.ndarray,
    k: int,
    local_policy: np.ndarray,
    closure: str = "joint",
    *,
    memory_bytes: int | None = None,
) -> Closure:
    """Sum the population out of the global agent's decisions.

    * "uniform": counts of the sample are Multinomial(k, μ), where μ is stationary for local agents whose s_g is drawn
      uniformly in every step, and that start by the game's initial law. The form of the authors' code, summed over Λ(k)
      instead of drawn.
    * "joint": counts follow the long-run law of (s_g, c) of k agents that play the pair, given s_g.
    * "tagged": the same law as an agent of the sample sees it, given s_g and its own state.

    The last two fall back to "uniform" where the long-run law has no mass beyond what it is computed to.

    Parameters
    ----------
    game : Game
    global_action : int32[n_sg, n_c]          a_g by sample of k agents
    k : int
    local_policy : float64[n_sg, n_sl, n_al]
    closure : "uniform", "joint" or "tagged"
    memory_bytes : int, optional

    Returns
    -------
    Closure

    Raises
    ------
    ValueError       one line that names the field
    TooLargeError    the chain of (s_g, c) does not fit
    """
    refuse_field(game, LONE_AGENT)
    if closure not in CLOSURES:
        raise ValueError(f"closure: found {shown(closure)}, expected one of {', '.join(CLOSURES)}")
    k = positive_integer("k", k)
    laws = checked_local_policy(local_policy, game)
    moves = np.einsum("gsa,gsat->gst", laws, game.P_l).mean(axis=0)
    local_law = stationary_local_law(moves, game.rho_l / game.rho_l.sum())
    actions = np.asarray(global_action)
    counts = list_counts(k, game.n_sl)
    shares = np.repeat(_shares(actions, count_law(local_law, k)[None], game)[:, None], game.n_sl, axis=1)
    if closure != "uniform":
        occupancy = _long_run(game, actions, k, laws, memory_bytes)
        local_law = occupancy.sum(axis=0) @ counts / k
        for s in range(game.n_sl):
            weights = occupancy * (counts[:, s] / k) if closure == "tagged" else occupancy
            seen = weights.sum(axis=1) > SMALLEST_MASS
            shares[seen, s] = _shares(actions, weights, game)[seen]
    return Closure(
        kind=closure, transition=np.einsum("gsa,gat->gst", shares, game.P_g), local_law=local_law / local_law.sum()
    )


def stationary_local_law(moves: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Long-run law of a chain, float64[n_sl], of moves float64[n_sl, n_sl] from a law float64[n_sl].

    Squares the lazy chain: it has the same long-run means, and is not periodic.
    """
    lazy = 0.5 * (np.eye(moves.shape[0]) + moves)
    for _ in range(SQUARINGS):
        lazy = lazy @ lazy
        lazy /= lazy.sum(axis=1, keepdims=True)
    law = start @ lazy
    return law / law.sum()


def _shares(global_action: np.ndarray, weights: np.ndarray, game: Game) -> np.ndarray:
    """Law of a_g for each s_g, float64[n_sg, n_ag], of weights float64[n_sg or 1, n_c] over the samples; NaN without any."""
    weights = np.broadcast_to(weights, global_action.shape)
    sums = np.stack([
        np.bincount(actions, weights=row, minlength=game.n_ag)
        for actions, row in zip(global_action, weights, strict=True)
    ])  # fmt: skip
    with np.errstate(invalid="ignore"):
        return sums / sums.sum(axis=1, keepdims=True)


def _long_run(
    game: Game, global_action: np.ndarray, k: int, local_policy: np.ndarray, memory_bytes: int | None
) -> np.ndarray:
    """Long-run law of (s_g, c) of k agents from the initial law, float64[n_sg, n_c]."""
    policy = pair_policy(game, k, global_action, local_policy)
    limit = default_memory_bytes() if memory_bytes is None else memory_bytes
    chain = build_chain(game, policy, k, tol=None, memory_bytes=limit)
    occupancy, _ = stationary_occupancy(chain, initial_measure(game, k))
    return occupancy


def pair_policy(game: Game, k: int, global_action: np.ndarray, local_policy: np.ndarray) -> SubsamplePolicy:
    """A pair as a policy: the global agent sees k agents, local agents see none but themselves."""
    return SubsamplePolicy(
        k_global=k,
        k_local=1,
        global_action=global_action,
        local_action=np.repeat(local_policy[:, :, None, :], game.n_sl, axis=2),
    )
