"""The law of the counts at the start: multinomial, or Dirichlet-multinomial where each run draws its own law."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln, xlogy

from .action_classes import list_counts
from .game import Game


def initial_count_law(game: Game, k: int) -> np.ndarray:
    """Probability of every count vector of k agents at the start, float64[n_c] in rank order."""
    counts = list_counts(k, game.n_sl)
    log_law = gammaln(k + 1) - gammaln(counts + 1).sum(axis=1)
    if game.dirichlet:
        total = game.rho_l.sum()
        log_law += (
            gammaln(total) - gammaln(total + k) + (gammaln(counts + game.rho_l) - gammaln(game.rho_l)).sum(axis=1)
        )
    else:
        log_law += xlogy(counts, game.rho_l).sum(axis=1)
    law = np.exp(log_law)
    return law / law.sum()


def initial_mean(game: Game, value: np.ndarray, k: int) -> float:
    """Mean of a value float64[n_sg, n_c] under the game's initial law."""
    return float(game.rho_g @ value @ initial_count_law(game, k))
