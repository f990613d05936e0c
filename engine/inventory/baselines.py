"""The best of the simple rules, found by simulation under common random numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..tabulation import shown
from .policies import OrderPolicy, base_stock, constant_orders
from .simulate import simulate_inventory
from .spec import InventorySpec, spec_of

SEARCH_RUN = 2**30
"""Runs from here on are those of searches: what is found is measured by other random numbers."""

SEARCH_AGENTS = 100
MAX_ROUNDS = 10


@dataclass(frozen=True)
class Search:
    """How policies are compared in a search.

    Parameters
    ----------
    n : int          retailers, at most SEARCH_AGENTS of them
    periods, runs, seed : int
    units : "unit" or "lot"
    """

    n: int = SEARCH_AGENTS
    periods: int = 365
    runs: int = 8
    seed: int = 0
    units: str = "unit"
    should_stop: Callable[[], bool] | None = None

    def profit(self, spec: InventorySpec, policy: OrderPolicy) -> float:
        """Mean profit per retailer and period."""
        found = simulate_inventory(
            spec, policy, n=min(self.n, SEARCH_AGENTS), periods=self.periods, runs=self.runs, seed=self.seed, units=self.units,
            first_run=SEARCH_RUN, should_stop=self.should_stop,
        )  # fmt: skip
        return float(found.profit.mean())


def best_constant(spec: InventorySpec | str, search: Search = Search()) -> OrderPolicy:
    """The order size that earns most when everyone orders it always; ties go to the smaller one."""
    spec, search = spec_of(spec), _checked(search)
    policies = [constant_orders(spec, lots) for lots in spec.orders]
    profits = [search.profit(spec, policy) for policy in policies]
    return policies[int(np.argmax(profits))]


def best_base_stock(spec: InventorySpec | str, search: Search = Search()) -> OrderPolicy:
    """The base stock that earns most when everyone plays it: one level for each season.

    First one level for all, among all multiples of a lot; then each season's level in turn, by steps of a lot, and unit by unit
    of ever smaller steps where goods are units, until no step is better. A local optimum; ties go to what was found first.
    """
    spec, search = spec_of(spec), _checked(search)
    known: dict[tuple[int, ...], float] = {}

    def profit(levels: tuple[int, ...]) -> float:
        if levels not in known:
            known[levels] = search.profit(spec, base_stock(spec, levels))
        return known[levels]

    # From here on the largest order is placed always.
    most = spec.lot * (spec.max_inventory + spec.max_transit + spec.orders[-1])
    common = [(level,) * spec.n_seasons for level in range(0, most + 1, spec.lot)]
    best = max(common, key=profit)
    step = spec.lot
    while True:
        best = _climb(best, step, most, profit)
        if step == 1 or search.units == "lot":
            return base_stock(spec, best)
        step = max(1, step // 2)


def _checked(search: Search) -> Search:
    if not isinstance(search, Search):
        raise ValueError(f"search: found {shown(search)}, expected a Search")
    return search


def _climb(best: tuple[int, ...], step: int, most: int, profit: Callable[[tuple[int, ...]], float]) -> tuple[int, ...]:
    """Move one level at a time by a step, as long as that is better."""
    for _ in range(MAX_ROUNDS):
        before = best
        for season in range(len(best)):
            for way in (step, -step):
                while True:
                    levels = (*best[:season], best[season] + way, *best[season + 1 :])
                    if not 0 <= levels[season] <= most or profit(levels) <= profit(best):
                        break
                    best = levels
        if best == before:
            break
    return best
