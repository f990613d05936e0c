"""Where replayed experience is biased because the others changed, and what the weights that mend it are made of.

The others touch an agent's transition (o, a, r, o') through the field values alone that their actions make: that of the game's
field, in r and in the next state, and the mean that is seen next, in o'. Given these the transition has the same law whatever the
others' policies are, so a row of the table that tells them apart needs no weights. Weights matter where a row averages over
them: a table without the mean (independent learners), one indexed by the mean of the step before, coarser bins than the
game's own. Tables over coarse observations are the form that function approximation takes here.
"""

from __future__ import annotations

import numpy as np

from ...kernels.learning.parts import MARGINAL, PRODUCT, Drift
from ..coupling import Field
from ..game import Game
from ..lifting import depends_on_field
from .settings import LearningSettings
from .views import seen_field, whole_weights

FORMS = {"product": PRODUCT, "marginal": MARGINAL, "selfnorm": MARGINAL}

# A total that no population reaches.
ANY_TOTAL = 2**62


def check_correction(game: Game, settings: LearningSettings) -> None:
    """ValueError for a correction, or an index, that the game has no meaning for."""
    if settings.index == "executed" and seen_field(game, settings).of != "actions":
        raise ValueError("index: found 'executed' where agents see states, expected it where they see actions")
    if settings.correction == "none":
        return
    where = f"correction: found {settings.correction!r}"
    if game.neighbourhood is not None:
        raise ValueError(f"{where} for a game on a graph, expected one where all agents share a field")
    if not _looks_at_actions(game, settings):
        raise ValueError(
            f"{where} where neither the game's field nor the agents look at actions, expected a field of actions; what the others "
            "do would matter through their states alone"
        )
    if seen_field(game, settings).of == "states" and seen_field(game, settings).n_values > 1:
        raise ValueError(f"{where} for agents who see states, expected sees = 'actions' or independent learners")
    if settings.correction != "product" and _units(game, settings) is None:
        raise ValueError(
            f"{where} for a field whose weights are no multiples of a unit above the lowest, expected such weights of one feature"
        )


def why_neutral(game: Game, settings: LearningSettings) -> str | None:
    """Why weights would change nothing on average, so that none are computed; None where they matter, or none are asked for."""
    if settings.correction == "none":
        return None
    seen = seen_field(game, settings)
    if not depends_on_field(game) and seen.n_values == 1:
        return "no table depends on the field, and agents see no mean"
    if settings.index != "executed":
        return None
    units, (whole, _, _, others, _, _) = _totals(game, settings)
    if not whole.size:
        return None
    for unit in units:
        # Each value seen, with an own action, must leave one value of the field.
        pairs = np.unique(np.stack([others, whole[unit : unit + others.size]]), axis=1)
        if np.unique(pairs[0]).size < pairs.shape[1]:
            return None
    return "tables are indexed by the executed mean, which tells what the others' actions did"


def drift_of(game: Game, settings: LearningSettings) -> Drift | None:
    """What the kernels take to weigh replayed steps; None where nothing is to be weighed, or where weights would be neutral."""
    if settings.correction == "none" or why_neutral(game, settings):
        return None
    units, bounds = _totals(game, settings)
    return Drift(FORMS[settings.correction], float(settings.clip), float(settings.min_ess), units, *bounds)


def _totals(game: Game, settings: LearningSettings) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Units of the actions, and both field values as intervals of totals; of size 0 where weights are no multiples of a unit."""
    found = _units(game, settings)
    if found is None:
        return np.zeros(game.n_al, dtype=np.int64), (np.zeros(0, dtype=np.int64),) * 6
    n = settings.n
    whole = game.field if depends_on_field(game) else None
    return found[0], (*_intervals(whole, n, *found), *_intervals(seen_field(game, settings), n - 1, *found))


def _looks_at_actions(game: Game, settings: LearningSettings) -> bool:
    own = game.field if depends_on_field(game) else None
    seen = seen_field(game, settings)
    return (own is not None and own.of == "actions") or (seen.of == "actions" and seen.n_values > 1)


def _units(game: Game, settings: LearningSettings) -> tuple[np.ndarray, float, float] | None:
    """Weights of the actions as whole multiples of a unit, the lowest, and the unit; None if they are none."""
    fields = [game.field if depends_on_field(game) else None, seen_field(game, settings)]
    rows = [field.weights for field in fields if field is not None and field.of == "actions" and field.n_values > 1]
    # Bins that agents see are of the weights of the game's own field of actions.
    if not rows or any(len(row) > 1 for row in rows) or any((row != rows[0]).any() for row in rows):
        return None
    return whole_weights(rows[0][0])


def _intervals(
    field: Field | None, m: int, units: np.ndarray, low: float, unit: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Field value of each total of m agents, and the first and the last total of each value."""
    totals = np.arange(m * int(units.max()) + 1, dtype=np.int64)
    if field is None or field.of != "actions" or field.n_values == 1:
        return np.zeros(totals.size, dtype=np.int64), np.array([-ANY_TOTAL]), np.array([ANY_TOTAL])
    values = np.full(totals.size, field.neutral, dtype=np.int64)
    if m > 0:
        # As the kernels find them.
        reached = (low * m + unit * totals)[:, None] >= field.edge_table[0][None, :] * m
        values = reached.sum(axis=1).astype(np.int64)
    firsts, lasts = np.full(field.n_values, 1, dtype=np.int64), np.zeros(field.n_values, dtype=np.int64)
    occur, first = np.unique(values, return_index=True)
    _, last = np.unique(values[::-1], return_index=True)
    firsts[occur], lasts[occur] = first, totals.size - 1 - last
    return values, firsts, lasts
