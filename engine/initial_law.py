"""The law of the counts at the start: multinomial, or Dirichlet-multinomial where each run draws its own law."""

from __future__ import annotations

import math

import numpy as np

from .action_classes import list_counts
from .game import Game


def initial_count_law(game: Game, k: int) -> np.ndarray:
    """Probability of every count vector of k agents at the start, float64[n_c] in rank order."""
    counts = list_counts(k, game.n_sl)
    # Log weight of x agents in state s: ρ^x / x!, or for a Dirichlet law Γ(α + x) / (Γ(α) x!).
    weights = np.empty((game.n_sl, k + 1))
    for s, rho in enumerate(game.rho_l.tolist()):
        for x in range(k + 1):
            if game.dirichlet:
                weights[s, x] = math.lgamma(rho + x) - math.lgamma(rho) - math.lgamma(x + 1)
            else:
                power = x * math.log(rho) if rho > 0.0 else (0.0 if x == 0 else -math.inf)
                weights[s, x] = power - math.lgamma(x + 1)
    log_law = weights[np.arange(game.n_sl), counts].sum(axis=1)
    law = np.exp(log_law - log_law.max())
    return law / law.sum()


def initial_mean(game: Game, value: np.ndarray, k: int) -> float:
    """Mean of a value float64[n_sg, n_c] under the game's initial law."""
    return float(game.rho_g @ value @ initial_count_law(game, k))
