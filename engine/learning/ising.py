"""What is known of spins on a torus: Onsager's magnetisation, the heat bath, and where a curve crosses from order to disorder."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...kernels.learning.heat_bath import advance_heat_bath, fill_up_laws
from ...kernels.streams import checked_seed
from ..coupling import Neighbourhood
from ..game import Game, positive_integer
from ..solve import Interrupted
from ..tabulation import shown

CRITICAL_TEMPERATURE = 1.0 / math.log1p(math.sqrt(2.0))
"""Temperature T_q of Boltzmann learners at the critical point; they are a heat bath at T = 2 T_q."""

# Sweeps between two questions whether to stop.
SWEEPS_AT_ONCE = 1000


def is_torus_of_two(game: Game) -> bool:
    """Whether agents without states pick one of two actions on a torus, so that a run is a lattice of two colours."""
    return game.neighbourhood is not None and game.neighbourhood.graph == "torus" and game.n_al == 2 and game.n_sl == 1


def sides_of(game: Game, n: int) -> tuple[int, int]:
    """Rows and columns of the torus of n agents of a game that is played on one."""
    assert game.neighbourhood is not None
    return game.neighbourhood.sides(n)


def is_ising(game: Game) -> bool:
    """Whether a game is the Ising model: every spin earns half its product with the sum of its four neighbours, and no more."""
    field = game.field
    if not is_torus_of_two(game) or field is None or field.of != "actions" or game.n_sg > 1 or game.n_ag > 1:
        return False
    if len(field.weights) != 1 or field.weights[0].tolist() != [-1.0, 1.0] or game.n_f != 5 or game.gamma != 0.0:
        return False
    sums = np.arange(-4, 5, 2)
    right = 0.5 * sums[:, None] * np.array([-1.0, 1.0])
    tells_apart = np.array_equal(np.searchsorted(field.edge_table[0], sums / 4, side="right"), np.arange(5))
    r_l = game.with_field_axis("r_l")[0, :, 0]
    return tells_apart and not game.r_g.any() and r_l.shape == right.shape and bool(np.allclose(r_l, right, atol=1e-12))


def onsager_magnetisation(temperature: Any) -> np.ndarray:
    """Spontaneous magnetisation of the infinite square lattice at T = 2 T_q: (1 − sinh(2/T)^−4)^(1/8), 0 above the critical point.

    Source: Onsager's formula, proved by Yang (1952), "The spontaneous magnetization of a two-dimensional Ising model", Physical
    Review 85.

    Parameters
    ----------
    temperature : float[…], T_q ≥ 0

    Returns
    -------
    float64[…]
    """
    found = np.asarray(temperature, dtype=np.float64)
    magnetisation = np.zeros(found.shape)
    below = found < CRITICAL_TEMPERATURE
    # Far below the critical point sinh overflows, and the magnetisation is 1 to all digits.
    coupling = np.minimum(1.0 / np.maximum(found[below], 1e-300), 50.0)
    magnetisation[below] = np.maximum(0.0, 1.0 - np.sinh(coupling) ** -4.0) ** 0.125
    return magnetisation


def simulate_heat_bath(
    L: int,
    temperatures: Sequence[float] | np.ndarray,
    sweeps: int,
    runs: int,
    seed: int,
    *,
    tail: float = 0.5,
    up: bool | None = None,
    every: int = 1,
    should_stop: Callable[[], bool] = lambda: False,
) -> np.ndarray:
    """Mean |magnetisation| of the heat bath on an L × L torus, with spins updated one at a time in random order.

    Parameters
    ----------
    L : int                     side, at least 3
    temperatures : float[n_t]   T_q, half the physical temperature
    sweeps, runs, seed : int    of the sweeps a multiple of `every` is made, once at least
    tail : float                last part of the sweeps that is averaged
    up : bool, optional         whether all spins start up or down; by default at random
    every : int                 sweeps between two looks at the magnetisation
    should_stop : asked now and then

    Returns
    -------
    float64[n_t, runs]

    Raises
    ------
    ValueError, Interrupted
    """
    for name, value in (("L", L), ("sweeps", sweeps), ("runs", runs), ("every", every)):
        positive_integer(name, value)
    if not 0.0 < tail <= 1.0:
        raise ValueError(f"tail: found {tail}, expected a share above 0, at most 1")
    given = np.asarray(temperatures, dtype=np.float64)
    if given.ndim != 1 or not ((given >= 0.0) & np.isfinite(given)).all():
        raise ValueError(f"temperatures: found {shown(given.tolist())}, expected finite numbers of at least 0")
    n, points = L * L, max(1, sweeps // every)
    indptr, indices = Neighbourhood(graph="torus", shape=(L, L)).adjacency(n)
    first_point = min(points - 1, math.floor(points * (1.0 - tail) + 1e-9))
    found = np.zeros((given.size, runs))
    up_law = np.zeros(2 * 4 + 1)
    for i, temperature in enumerate(given.tolist()):
        fill_up_laws(2.0 * temperature, up_law)
        # Every temperature has runs of its own in the random streams, and its own start.
        numbers = np.arange(i * runs, (i + 1) * runs, dtype=np.int64)
        start = np.random.default_rng([seed, i]).integers(0, 2, size=(runs, n), dtype=np.int32)
        spins = start if up is None else np.full((runs, n), int(up), dtype=np.int32)
        n_up = np.zeros((runs, points), dtype=np.int64)
        total = points * every
        for first in range(0, total, SWEEPS_AT_ONCE):
            if should_stop():
                raise Interrupted("stopped; finished cells are kept, start again to go on")
            at_once = min(SWEEPS_AT_ONCE, total - first)
            advance_heat_bath(checked_seed(seed), numbers, first, at_once, every, indptr, indices, up_law, spins, n_up)
        found[i] = np.abs(2.0 * n_up[:, first_point:] / n - 1.0).mean(axis=1)
    return found


def crossing(temperatures: Sequence[float] | np.ndarray, m: Sequence[float] | np.ndarray, level: float = 0.5) -> float:
    """Temperature at which m falls through a level, linear between two points; NaN if it does not.

    Of several crossings it is the first, from the lowest temperature.

    Parameters
    ----------
    temperatures : float[n_t], increasing
    m : float[n_t]    such as the mean |magnetisation|; points that are NaN are left out
    level : float     half the height of full order by default
    """
    at, height = np.asarray(temperatures, dtype=np.float64), np.asarray(m, dtype=np.float64)
    at, height = at[np.isfinite(height)], height[np.isfinite(height)]
    for i in np.flatnonzero((height[:-1] >= level) & (height[1:] < level)).tolist():
        share = (height[i] - level) / (height[i] - height[i + 1])
        return float(at[i] + share * (at[i + 1] - at[i]))
    return math.nan
