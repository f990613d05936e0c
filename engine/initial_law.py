"""The law of the counts at the start: multinomial, or Dirichlet-multinomial where each run draws its own law."""

from __future__ import annotations

import math

import numpy as np

from .action_classes import list_counts
from .game import Game


def initial_count_law(game: Game, k: int) -> np.ndarray:
    """Probability of every count vector of k agents at the start, float64[n_c] in rank order."""
    return count_law(game.rho_l, k, dirichlet=game.dirichlet)


def count_law(rho: np.ndarray, k: int, *, dirichlet: bool = False) -> np.ndarray:
    """Law of the counts of k agents that draw their states from ρ, or from a law that is Dirichlet with concentration ρ.

    Parameters
    ----------
    rho : float64[n_sl]    probabilities, or concentrations
    k : int

    Returns
    -------
    float64[n_c]    in rank order of Λ(k, n_sl)
    """
    n_sl = rho.shape[0]
    counts = list_counts(k, n_sl)
    # Log weight of x agents in state s: ρ^x / x!, or for a Dirichlet law Γ(α + x) / (Γ(α) x!).
    weights = np.empty((n_sl, k + 1))
    for s, share in enumerate(rho.tolist()):
        for x in range(k + 1):
            if dirichlet:
                weights[s, x] = math.lgamma(share + x) - math.lgamma(share) - math.lgamma(x + 1)
            else:
                power = x * math.log(share) if share > 0.0 else (0.0 if x == 0 else -math.inf)
                weights[s, x] = power - math.lgamma(x + 1)
    log_law = weights[np.arange(n_sl), counts].sum(axis=1)
    law = np.exp(log_law - log_law.max())
    return law / law.sum()


def initial_mean(game: Game, value: np.ndarray, k: int) -> float:
    """Mean of a value float64[n_sg, n_c] under the game's initial law."""
    return float(game.rho_g @ value @ initial_count_law(game, k))
