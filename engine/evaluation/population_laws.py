"""Laws of the next population, for a list of laws by which the agents of one population move.

Where an agent's law does not depend on the population, the law of the next population is a symmetric power, taken in place;
elsewhere each population has a law of its own, which is built once and kept, or built anew in every step if the laws do not
fit the memory.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numba
import numpy as np

from ...kernels.evaluation.next_laws import expect_rows, fill_next_laws, spread_rows
from ...kernels.evaluation.symmetric_power import expect_laws, spread_laws
from ...kernels.lattice import fill_relabelled, lattice_size, lattice_sizes
from ..backups.symmetric_power import Factorisation, row_tables
from ..threads import in_threads
from .plan import BLOCK_ENTRIES, STORED_LAWS, SYMMETRIC_POWER

# Measures are summed in so many parts, whatever the number of threads: the same bits.
N_PARTS = 8


class _Block(NamedTuple):
    """Laws of the populations first … stop, as segments (see `kernels.evaluation.next_laws`)."""

    mass: np.ndarray
    rank: np.ndarray
    end: np.ndarray
    row_end: np.ndarray


class PopulationLaws:
    """The next population N' = Σ_s Multinomial(N_s, M[s, ·]), for each law M of a list.

    Parameters
    ----------
    laws : list of float64[n_sl, n_sl], where every population moves by it, or float64[n_N, n_sl, n_sl], one for each
    populations : int64[n_N, n_sl]     Λ(n, n_sl)
    truncation : float                 at most this mass is cut off the law of a next population
    error : float                      relative rounding error up to which the symmetric power is taken
    choose_route : function of whether the symmetric power serves every law; gives the route of the others, or refuses
    block_entries : int                probabilities of a block of laws while it is built, at most

    Attributes
    ----------
    routes : list of str               how the law of N' is taken, for each law
    truncated_mass : float             the most that was cut off a law
    rho : float                        amplification of the symmetric powers
    """

    def __init__(
        self,
        laws: list[np.ndarray],
        populations: np.ndarray,
        *,
        truncation: float,
        error: float,
        choose_route: Callable[[bool], str],
        block_entries: int = BLOCK_ENTRIES,
    ):
        self.populations = populations
        self.n_c, self.n_sl = populations.shape
        self.n = int(populations[0].sum())
        self.truncation, self.truncated_mass = truncation, 0.0
        self._sizes = lattice_sizes(self.n, self.n_sl)
        self._laws, self._blocks = list(laws), {}
        # Entries of the laws that are kept; those that are built anew take long.
        self._entries: list[float] = [math.inf] * len(laws)
        self._factors: Factorisation | None = None
        self.rho = 1.0
        blind = self._try_symmetric_power(error)
        own = [law for law, served in enumerate(blind) if not served]
        route = choose_route(not own)
        self._kept = route == STORED_LAWS
        self.routes = [SYMMETRIC_POWER if served else route for served in blind]
        self._first = self._block_starts(block_entries)
        if self._kept:
            for law in own:
                self._blocks[law] = in_threads(functools.partial(self._build_block, law), len(self._first) - 1)
                self._entries[law] = sum(block.mass.size for block in self._blocks[law])

    def _try_symmetric_power(self, error: float) -> list[bool]:
        """Set up the symmetric power where it serves and is stable; returns where."""
        laws, n_laws = self._laws, len(self._laws)
        blind = [law.ndim == 2 for law in laws]
        if not any(blind):
            return blind
        # A law that is not needed is the identity.
        matrices = np.stack([law if ok else np.eye(self.n_sl) for law, ok in zip(laws, blind, strict=True)])[:, None]
        factors = Factorisation(matrices, self.n)
        if factors.relative_error(self.n) > error:
            for i in range(n_laws):
                if blind[i] and Factorisation(matrices[i : i + 1], self.n).relative_error(self.n) > error:
                    blind[i] = False
                    matrices[i] = np.eye(self.n_sl)
                    laws[i] = np.ascontiguousarray(np.broadcast_to(laws[i], (self.n_c, *laws[i].shape)))
            factors = Factorisation(matrices, self.n)
        self.rho = factors.rho
        if any(blind):
            self._factors = factors
            self._relabelled = np.empty((len(factors.order_list), self.n_c), dtype=np.int32)
            for order, out in zip(factors.order_list, self._relabelled, strict=True):
                fill_relabelled(self.n, np.array(order, dtype=np.int64), self._sizes, out)
            self._rows = row_tables(self.n, self.n_sl)
        return blind

    def _block_starts(self, block_entries: int) -> np.ndarray:
        """First population of each block of laws, and the number of populations."""
        size = max(1, block_entries // self.n_c)
        n_blocks = max(-(-self.n_c // size), min(self.n_c, N_PARTS))
        return np.linspace(0, self.n_c, n_blocks + 1).astype(np.int64)

    def _build_block(self, law: int, i: int) -> _Block:
        rows = slice(self._first[i], self._first[i + 1])
        n_rows, n_sl = int(self._first[i + 1] - self._first[i]), self.n_sl
        n_runs = n_rows * lattice_size(self.n, n_sl - 1)
        mass, rank = np.empty(n_rows * self.n_c), np.empty(n_runs, np.int32)
        end, row_end = np.empty(n_runs, np.int64), np.empty(n_rows, np.int64)
        lost = fill_next_laws(
            self.populations[rows], self._laws[law][rows], self.truncation, self._sizes, mass, rank, end, row_end
        )
        self.truncated_mass = max(self.truncated_mass, lost)
        used = row_end[-1]
        return _Block(mass[: end[used - 1]].copy(), rank[:used].copy(), end[:used].copy(), row_end)

    def _block(self, law: int, i: int) -> _Block:
        return self._blocks[law][i] if self._kept else self._build_block(law, i)

    @property
    def route(self) -> str:
        """How the law of the next population is taken, over all laws."""
        return " and ".join(sorted(set(self.routes), key=self.routes.index))

    def power_error(self) -> float:
        """Bound on the rounding error of the symmetric powers, relative to the largest |f|; 0 where none is taken."""
        return 0.0 if self._factors is None else self._factors.relative_error(self.n)

    def expect(self, functions: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """E[f(N') | N], float64[n_laws, n_functions, n_N], of functions float64[n_functions, n_N] for each law."""
        expected = np.empty((len(functions), *functions[0].shape))
        self._carry_in_place(expect_laws, functions, expected)
        for law, route in enumerate(self.routes):
            if route == SYMMETRIC_POWER:
                continue

            def fill(i: int, law: int = law) -> None:
                block = self._block(law, i)
                part = np.empty((functions[law].shape[0], self._first[i + 1] - self._first[i]))
                expect_rows(*block, functions[law], part)
                expected[law, :, self._first[i] : self._first[i + 1]] = part

            in_threads(fill, len(self._first) - 1, len(functions[law]) * self._entries[law])
        return expected

    def spread(self, measures: np.ndarray) -> np.ndarray:
        """The adjoint of `expect`: Σ_N m(N) Pr[N' | N] under each law, float64[n_laws, n_functions, n_N]."""
        moved = np.zeros_like(measures)
        self._carry_in_place(spread_laws, measures, moved)
        n_blocks = len(self._first) - 1
        n_parts = min(N_PARTS, n_blocks)
        for law, route in enumerate(self.routes):
            if route == SYMMETRIC_POWER:
                continue

            def fill(part: int, law: int = law) -> np.ndarray:
                total = np.zeros(measures.shape[1:])
                for i in range(part, n_blocks, n_parts):
                    rows = slice(self._first[i], self._first[i + 1])
                    spread_rows(*self._block(law, i), np.ascontiguousarray(measures[law][:, rows]), total)
                return total

            for total in in_threads(fill, n_parts, measures.shape[1] * self._entries[law]):
                moved[law] += total
        return moved

    def _carry_in_place(
        self, kernel: Callable[..., None], functions: Sequence[np.ndarray] | np.ndarray, out: np.ndarray
    ) -> None:
        """Write `expect` or `spread` for the laws that the symmetric power serves."""
        factors = self._factors
        if factors is None:
            return
        served = np.array([law for law, route in enumerate(self.routes) if route == SYMMETRIC_POWER], dtype=np.int64)
        carried = np.empty((served.size, *out.shape[1:]))
        kernel(
            np.stack([functions[law] for law in served]), served, self._edges(served.size, out.shape[1]),
            factors.probability, factors.orders, self._relabelled, self._rows, carried,
        )  # fmt: skip
        out[served] = carried

    @staticmethod
    def _edges(n_laws: int, n_functions: int) -> np.ndarray:
        """Deal the functions of a law to several threads where there are fewer laws than threads."""
        n_parts = min(n_functions, -(-numba.get_num_threads() // n_laws))
        return np.linspace(0, n_functions, n_parts + 1).astype(np.int64)
