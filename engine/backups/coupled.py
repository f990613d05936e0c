"""Backups of a game with a field of states, from backups of its rows (s_g, f): at counts c the row of f(c) is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..lifting import LiftedGame
from .global_tables import RoundingTerms
from .listed import Listed

if TYPE_CHECKING:
    from .selection import Backup


class Coupled:
    """The backup of a coupled game, from one that serves all rows at all counts, or at those of their field value.

    Parameters
    ----------
    inner : Backup       of the rows
    lifted : LiftedGame
    """

    def __init__(self, inner: Backup, lifted: LiftedGame):
        self._inner, self._lifted = inner, lifted
        self.method, self.work = inner.method, inner.work
        self.rounding_terms, self.rounding_error = inner.rounding_terms, inner.rounding_error

    def sweep(self, value: np.ndarray, out_value: np.ndarray) -> None:
        """Write TV: one backup of `value`, float64[n_sg, n_c]."""
        rows = np.empty((self._lifted.n_sg, value.shape[1]))
        self._inner.sweep(value, rows)
        out_value[:] = rows[self._lifted.cells]

    def greedy(
        self, value: np.ndarray, backed_up: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """TV, unless it is known, with the greedy choice: value, a_g int32[n_sg, n_c], item int64[n_sg, n_c]."""
        cells = self._lifted.cells
        if backed_up is None:
            backed_up = np.empty_like(value)
            self.sweep(value, backed_up)
        # At counts of other field values anything will do.
        rows = np.full((self._lifted.n_sg, value.shape[1]), -np.inf)
        rows[cells] = backed_up
        _, action, item = self._inner.greedy(value, rows)
        return backed_up, action[cells], item[cells]


class CoupledListed:
    """The backup of a coupled game over listed items: for each field value a list of the items of its count vectors.

    Parameters
    ----------
    make : function of a field value's position and the ranks of its count vectors, int64[…], giving a Listed of all s_g there
    lifted : LiftedGame
    """

    def __init__(self, make: Callable[[int, np.ndarray], Listed], lifted: LiftedGame):
        self._lifted = lifted
        self._places = [np.flatnonzero(lifted.row_class == f) for f in range(lifted.n_f)]
        self._parts = [make(f, places) for f, places in enumerate(self._places)]
        self.method = self._parts[0].method
        self.work = sum(part.work for part in self._parts)
        terms = [part.rounding_terms for part in self._parts]
        self.rounding_terms = RoundingTerms(
            relative=max(x.relative for x in terms), r_g=max(x.r_g for x in terms), r_l=max(x.r_l for x in terms)
        )
        self.rounding_error = self.rounding_terms.error

    def sweep(self, value: np.ndarray, out_value: np.ndarray) -> None:
        """Write TV: one backup of `value`, float64[n_sg, n_c]."""
        for part, places in zip(self._parts, self._places, strict=True):
            found = np.empty((value.shape[0], places.size))
            part.sweep(value, found)
            out_value[:, places] = found

    def greedy(
        self, value: np.ndarray, backed_up: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """TV with the greedy choice: value, a_g int32[n_sg, n_c], item int64[n_sg, n_c]."""
        out = np.empty(value.shape)
        action, item = np.empty(value.shape, np.int32), np.empty(value.shape, np.int64)
        tie = 2 * self.rounding_error(value)
        for part, places in zip(self._parts, self._places, strict=True):
            out[:, places], action[:, places], item[:, places] = part.greedy(value, tie=tie)
        return out, action, item

    def q(self, value: np.ndarray, s_g: int, c: int) -> np.ndarray:
        """Q(s_g, c; a_g, item) from a value, float64[n_ag, n_items of c]."""
        f = int(self._lifted.row_class[c])
        return self._parts[f].q(value, s_g, int(np.searchsorted(self._places[f], c)))
