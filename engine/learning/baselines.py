"""What learning is compared with: uniform play, and the best that a team can earn where that is plain to see."""

from __future__ import annotations

import math

import numpy as np

from ..game import Game
from .views import whole_weights

# Sums of weights that are told apart.
MAX_SUMS = 10_000_000


def best_team_reward(game: Game) -> float:
    """Largest system reward of a game without states, where all receive the same by the field value; else NaN."""
    if not _has_one_state(game) or game.neighbourhood is not None or np.ptp(game.r_l) > 0.0:
        return math.nan
    return float(game.r_g.max() + game.r_l.flat[0])


def uniform_score(game: Game, n: int) -> float:
    """Expected system reward of n agents without states who all act uniformly at random.

    Exact, by the law of the sum of the weights. NaN for games with states or with several actions of the global agent, and for
    fields that are no bins of a sum of whole weights.
    """
    if not _has_one_state(game):
        return math.nan
    graph = game.neighbourhood
    counted, others = n, n - 1
    if graph is not None:
        degree = n - 1 if graph.graph == "complete" else graph.regular_degree()
        if degree is None:
            return math.nan
        counted = others = degree
    if game.field is None:
        return float(game.r_g.mean() + game.r_l.mean())
    if game.field.of != "actions" or len(game.field.weights) > 1:
        return math.nan
    units = whole_weights(game.field.weights[0])
    if units is None or (int(units[0].max()) * counted + 1) > MAX_SUMS:
        return math.nan
    steps, low, unit = units
    law = _law_of_sum(steps, others)
    reward = np.zeros(game.n_al)
    r_g, r_l = game.with_field_axis("r_g")[0, :, 0], game.with_field_axis("r_l")[0, :, 0]
    for action in range(game.n_al):
        own = int(steps[action]) if graph is None else 0
        means = low + unit * (np.arange(law.size) + own) / counted
        value = np.searchsorted(game.field.edge_table[0], means, side="right")
        earned = r_g[value if r_g.size > 1 else 0 * value] + r_l[value if r_l.shape[0] > 1 else 0 * value, action]
        reward[action] = law @ earned
    return float(reward.mean())


def _has_one_state(game: Game) -> bool:
    return game.n_sg == game.n_sl == game.n_ag == 1


def _law_of_sum(steps: np.ndarray, n: int) -> np.ndarray:
    """Law of a sum of n independent uniform picks among `steps`; direct convolutions, so that small terms keep their digits."""
    one = np.bincount(steps) / steps.size
    law = np.ones(1)
    power = one
    while n:
        if n & 1:
            law = np.convolve(law, power)
        n >>= 1
        if n:
            power = np.convolve(power, power)
    return law
