"""What mean-field Q-learning converges to, computed: the fixed point of its operator under a given exploring behaviour.

Agents that explore by a fixed law make (s_g, how many agents are of each type) a Markov chain; an agent's type is its state and,
where agents see actions, its last action. In the long run of that chain

    Q(o, a) = E[r + γ v(o') | o, a],    v(o) = Σ_a π_T(a | o) Q(o, a)

is what the updates of Q(o, a) with decreasing step sizes average to; o is what an agent observes. Counts of types take the place of
labelled agents, and joint actions that begin alike share the steps of their laws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..coupling import Field
from ..game import Game, positive_integer
from ..tabulation import ROW_SUM_ATOL, shown
from .exploring_chain import ExploringChain
from .long_run import long_run_law
from .policy import boltzmann_laws
from .settings import REWARDS

MOST_ROUNDS = 1_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class FixedPoint:
    """The fixed point of mean-field Q-learning.

    Parameters
    ----------
    q : float64[n_o, n_al]        NaN where an observation or an action never occurs in the long run
    visits : float64[n_o, n_al]   long-run share of (observation, action) among an agent's steps
    """

    q: np.ndarray
    visits: np.ndarray


def mean_field_fixed_point(
    game: Game,
    n: int,
    seen: Field,
    *,
    temperature: float = 0.0,
    behaviour: np.ndarray | None = None,
    global_law: np.ndarray | None = None,
    reward: str = "own",
    tol: float = 1e-12,
) -> FixedPoint:
    """The fixed point of mean-field Q-learning with one table for all agents.

    Parameters
    ----------
    game : Game without a neighbourhood
    n : int
    seen : Field                  what agents see: of all states, or of the others' last actions
    temperature : float           of the Boltzmann law in v; 0 is the maximum
    behaviour : float64[n_o, n_al], optional    law by which agents act, default uniform; o = (s_g · n_sl + s_l) · F + value seen
    global_law : float64[n_sg, n_ag], optional    of the global agent, default uniform
    reward : "own" or "team"
    tol : float                   change of Q at which the rounds stop, relative to the largest

    Returns
    -------
    FixedPoint

    Raises
    ------
    ValueError, TooLargeError, RuntimeError (no convergence)

    Source: Yang, Luo, Li, Zhou, Zhang and Wang (2018), "Mean field multi-agent reinforcement learning", eqs. 8 to 10; where an
    observation is not all there is to know this is Q-learning with state aggregation, Singh, Jaakkola and Jordan (1995),
    "Reinforcement learning with soft state aggregation", Theorem 1.
    """
    if game.neighbourhood is not None:
        raise ValueError("game: found a game on a graph, expected one where all agents share a field")
    if reward not in REWARDS:
        raise ValueError(f"reward: found {shown(reward)}, expected one of {', '.join(REWARDS)}")
    n_x = game.n_sl if isinstance(seen, Field) and seen.of == "states" else game.n_al
    if not isinstance(seen, Field) or seen.weights.shape[1] != n_x:
        raise ValueError(f"seen: found {shown(seen)}, expected a Field of the game's {n_x} states or actions")
    # Written so that NaN fails.
    for name, value, least in (("temperature", temperature, 0.0), ("tol", tol, 1e-15)):
        if not least <= value < np.inf:
            raise ValueError(f"{name}: found {shown(value)}, expected a finite number of at least {least:g}")
    laws = _checked_laws(game, seen, behaviour, global_law)
    chain = ExploringChain(game, positive_integer("n", n), seen, *laws, team=reward == "team")
    law = long_run_law(chain.matrix(), chain.start())
    mass, paid, leads = chain.average(law)
    visited = mass > 0.0
    safe = np.where(visited, mass, 1.0)
    paid, leads = paid / safe, leads / safe[:, :, None]
    q = np.zeros(mass.shape)
    for _ in range(MOST_ROUNDS):
        pi = boltzmann_laws(q, temperature)
        backed_up = np.where(visited, paid + game.gamma * (leads @ (pi * q).sum(axis=1)), 0.0)
        change = float(np.abs(backed_up - q).max())
        q = backed_up
        if change <= tol * max(1.0, float(np.abs(q).max())):
            return FixedPoint(q=np.where(visited, q, np.nan), visits=mass)
    raise RuntimeError(f"temperature: {MOST_ROUNDS} rounds of the operator did not settle, expected a fixed point")


def _checked_laws(game: Game, seen: Field, behaviour, global_law) -> tuple[np.ndarray, np.ndarray]:
    """The laws by which agents and the global agent act, uniform where none is given; ValueError names what is no law."""
    n_o = game.n_sg * game.n_sl * seen.n_values
    behaviour = np.full((n_o, game.n_al), 1.0 / game.n_al) if behaviour is None else np.asarray(behaviour)
    global_law = np.full((game.n_sg, game.n_ag), 1.0 / game.n_ag) if global_law is None else np.asarray(global_law)
    if behaviour.shape != (n_o, game.n_al) or global_law.shape != (game.n_sg, game.n_ag):
        raise ValueError(
            f"behaviour, global_law: found shapes {behaviour.shape} and {global_law.shape}, expected "
            f"{(n_o, game.n_al)} and {(game.n_sg, game.n_ag)}"
        )
    for name, law in (("behaviour", behaviour), ("global_law", global_law)):
        if not (law.min() >= 0.0 and np.abs(law.sum(axis=1) - 1.0).max() <= ROW_SUM_ATOL):
            raise ValueError(f"{name}: found rows that are no laws, expected probabilities that add up to 1")
    return behaviour, global_law
