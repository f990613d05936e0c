"""What an inventory game is made of, with units, and the three sizes that are built in."""

from __future__ import annotations

import dataclasses
import itertools
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..coupling import Field
from ..coupling_files import TOTALS
from ..game import positive_integer
from ..sections import suggestion
from ..table_checks import discount
from ..tabulation import shown
from .demand import (
    DAYS,
    KINDS,
    MOST_UNITS,
    DemandHistory,
    demand_laws,
    in_lots,
    means_of_days,
    means_of_seasons,
    read_demand,
    season_of_days,
)

MOST_LOTS = 1000
STARTS = ("target", "uniform")


@dataclass(frozen=True, kw_only=True)
class InventorySpec:
    """Parameters of an inventory game; `tables` says what they do.

    Parameters
    ----------
    lot : int                       units per lot
    max_backlog : int               lots; net inventory is at least −max_backlog
    max_inventory : int             lots; net inventory is at most this
    max_transit : int               lots; most that can be under way to a retailer
    orders : tuple of int           lots; the sizes that can be ordered, increasing, at most max_transit
    n_seasons : int                 seasons of a year, of equal length
    stock_levels : tuple of int     units per retailer; levels of the stock upstream, increasing
    order_edges : tuple of float or "totals"
        lots; edges of the bins of the mean order. With "totals" each possible sum of the orders of `agents` retailers is a value
    production : float              units per retailer and period; at least the lowest stock level
    agents : int                    retailers that the game is stated for
    demand : "poisson", "uniform", the path of a CSV file, or a DemandHistory
    mean_demand, amplitude : float  units per retailer and period; of day t the mean is mean + amplitude·sin(2πt/365)
    max_demand : int                units; a larger demand counts as this
    slip : float                    probability that a shipment is a period late
    price, cost : float             money per unit
    holding : float                 money per unit and period that the stock on hand is off its target
    backlog_cost : float            money per unit and period of backlog
    target : int                    units on hand
    gamma : float
    start : "target" or "uniform"
        Where retailers start: with the target on hand, a period's mean demand in transit, in the first season with the upstream
        stock full; or anywhere.
    name : str

    Raises
    ------
    ValueError    one line: the parameter, what was found, what was expected
    """

    lot: int = 5
    max_backlog: int = 8
    max_inventory: int = 12
    max_transit: int = 10
    orders: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 8)
    n_seasons: int = 2
    stock_levels: tuple[int, ...] = (15, 25, 40)
    order_edges: tuple[float, ...] | str = (2.0, 3.5, 4.1, 4.5, 5.5, 6.5)
    production: float = 22.0
    agents: int = 100
    demand: str | DemandHistory = "poisson"
    mean_demand: float = 15.0
    amplitude: float = 10.0
    max_demand: int = 60
    slip: float = 0.1
    price: float = 2.0
    cost: float = 1.0
    holding: float = 0.5
    backlog_cost: float = 1.0
    target: int = 10
    gamma: float = 0.95
    start: str = "target"
    name: str = "inventory"

    def __post_init__(self) -> None:
        for name, least, most in _WHOLE:
            object.__setattr__(self, name, _whole(name, getattr(self, name), least, most))
        for name, least_number, most_number in _NUMBERS:
            object.__setattr__(self, name, _number(name, getattr(self, name), least_number, most_number))
        object.__setattr__(self, "agents", positive_integer("agents", self.agents))
        orders = _increasing("orders", self.orders, (0, self.max_transit))
        object.__setattr__(self, "orders", tuple(int(order) for order in orders))
        if len(self.orders) < 2:
            raise ValueError(f"orders: found {shown(self.orders)}, expected at least two sizes")
        levels = _increasing("stock_levels", self.stock_levels, (0, MOST_UNITS))
        object.__setattr__(self, "stock_levels", tuple(int(level) for level in levels))
        if self.stock_levels[0] > self.production:
            raise ValueError(
                f"production: found {self.production:g}, expected at least the lowest stock level, {self.stock_levels[0]}: "
                "goods would come from nowhere"
            )
        if self.amplitude > self.mean_demand:
            raise ValueError(f"amplitude: found {self.amplitude:g}, expected at most mean_demand, {self.mean_demand:g}")
        if self.target > self.lot * self.max_inventory:
            raise ValueError(f"target: found {self.target}, expected at most {self.lot * self.max_inventory} units")
        object.__setattr__(self, "gamma", discount(self.gamma))
        if not isinstance(self.name, str) or not self.name or not self.name.isprintable():
            raise ValueError(f"name: found {shown(self.name)}, expected a printable word")
        if not isinstance(self.start, str) or self.start not in STARTS:
            raise ValueError(f"start: found {shown(self.start)}, expected one of {', '.join(STARTS)}")
        if isinstance(self.demand, str) and self.demand not in KINDS:
            if not self.demand.strip() or (not Path(self.demand).suffix and not Path(self.demand).exists()):
                hint = suggestion(self.demand, KINDS)
                raise ValueError(f"demand: found {shown(self.demand)}, expected {', '.join(KINDS)} or a CSV file{hint}")
            object.__setattr__(self, "demand", read_demand(self.demand))
        if not isinstance(self.demand, str | DemandHistory):
            raise ValueError(f"demand: found {shown(self.demand)}, expected {', '.join(KINDS)} or a CSV file")
        self._check_edges()
        # A season that was never observed shows here.
        self.laws_of_seasons  # noqa: B018

    def _check_edges(self) -> None:
        if isinstance(self.order_edges, str) and self.order_edges == TOTALS:
            return
        most = max(self.orders)
        edges = _increasing("order_edges", self.order_edges, (0.0, float(most)), whole=False)
        if edges[0] <= 0.0:
            raise ValueError(f"order_edges: found {edges[0]:g} first, expected above 0")
        object.__setattr__(self, "order_edges", edges)

    def changed(self, **changes: Any) -> Self:
        """These parameters with some others. Tuples may come as text: "0,1,2".

        Raises
        ------
        ValueError
        """
        known = [field.name for field in dataclasses.fields(self)]
        for name, value in changes.items():
            if name not in known:
                raise ValueError(
                    f"constants: found {name}, expected one of {', '.join(known)}{suggestion(name, known)}"
                )
            if name in ("orders", "stock_levels", "order_edges") and value != TOTALS:
                changes[name] = _numbers_of(name, value)
        return dataclasses.replace(self, **changes)

    @property
    def n_x(self) -> int:
        """Values of the net inventory in lots."""
        return self.max_backlog + self.max_inventory + 1

    @property
    def n_z(self) -> int:
        """Values of the goods in transit in lots."""
        return self.max_transit + 1

    @property
    def n_sl(self) -> int:
        """Local states (x, z): x-index · n_z + z."""
        return self.n_x * self.n_z

    @property
    def n_sg(self) -> int:
        """Global states (season, upstream stock per retailer)."""
        return self.n_seasons * len(self.stock_levels)

    @property
    def season_ends(self) -> float:
        """Probability that a season ends with a period, of the table game."""
        return self.n_seasons / DAYS if self.n_seasons > 1 else 0.0

    @cached_property
    def field(self) -> Field:
        """The mean order in lots, in bins; a value is the middle of its bin, or the sum of all orders.

        The highest bin stands for the largest order: when goods are scarce everybody tends to order that, and with the middle of
        the bin more would be sent than there is.
        """
        weights = np.array(self.orders, dtype=np.float64)
        if isinstance(self.order_edges, str):
            return Field.of_totals("actions", weights, self.agents)
        middles = [0.5 * (low + high) for low, high in itertools.pairwise([weights[0], *self.order_edges])]
        values = (*middles, weights[-1])
        return Field(of="actions", weights=weights, edges=(np.array(self.order_edges),), values=values)

    @property
    def mean_orders(self) -> np.ndarray:
        """Mean order in units that each field value stands for, float64[n_f]."""
        lots = np.array(self.field.values, dtype=np.float64)
        return self.lot * (lots / self.agents if isinstance(self.order_edges, str) else lots)

    @cached_property
    def laws_of_seasons(self) -> np.ndarray:
        """Law of the demand in units by season, float64[n_seasons, n_d]."""
        if isinstance(self.demand, DemandHistory):
            laws = self.demand.laws(self.n_seasons)
            return np.repeat(laws, self.n_seasons, axis=0) if len(laws) == 1 else laws
        means = means_of_seasons(self.mean_demand, self.amplitude, self.n_seasons)
        return demand_laws(self.demand, tuple(means.tolist()), self.max_demand)

    @cached_property
    def laws_of_days(self) -> tuple[np.ndarray, np.ndarray]:
        """Law of the demand in units by day: float64[n_rows, n_d], and the row of each day, int64[365].

        A history is known by season alone.
        """
        if isinstance(self.demand, DemandHistory):
            return self.laws_of_seasons, season_of_days(self.n_seasons)
        means = means_of_days(self.mean_demand, self.amplitude)
        return demand_laws(self.demand, tuple(means.tolist()), self.max_demand), np.arange(DAYS, dtype=np.int64)

    @property
    def laws_in_lots(self) -> np.ndarray:
        """Law of the demand in lots by season, float64[n_seasons, n_d]."""
        return in_lots(self.laws_of_seasons, self.lot)

    def parts(self) -> dict[str, Any]:
        """The parameters, JSON-ready; of a history its source."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        found["demand"] = self.demand.source if isinstance(self.demand, DemandHistory) else self.demand
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


_WHOLE = (
    ("lot", 1, MOST_UNITS),
    ("max_backlog", 0, MOST_LOTS),
    ("max_inventory", 1, MOST_LOTS),
    ("max_transit", 1, MOST_LOTS),
    ("n_seasons", 1, DAYS),
    ("max_demand", 1, MOST_UNITS),
    ("target", 0, MOST_UNITS),
)
_NUMBERS = (
    ("production", 0.0, 1e4),
    ("mean_demand", 0.0, 1e4),
    ("amplitude", 0.0, 1e4),
    ("slip", 0.0, 1.0),
    ("price", 0.0, 1e6),
    ("cost", 0.0, 1e6),
    ("holding", 0.0, 1e6),
    ("backlog_cost", 0.0, 1e6),
)


def _whole(name: str, value: Any, least: int, most: int) -> int:
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    # A number within the limits is no infinity and no NaN.
    if not real or not least <= value <= most or value != int(value):
        raise ValueError(f"{name}: found {shown(value)}, expected a whole number from {least} to {most}")
    return int(value)


def _number(name: str, value: Any, least: float, most: float) -> float:
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not least <= value <= most:
        raise ValueError(f"{name}: found {shown(value)}, expected a number from {least:g} to {most:g}")
    return float(value)


def _numbers_of(name: str, value: Any) -> tuple[float, ...]:
    """Numbers of a text "1,2,3", of one number, or of a sequence."""
    parts = value.split(",") if isinstance(value, str) else [value] if isinstance(value, numbers.Real) else value
    try:
        return tuple(float(part) for part in parts)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name}: found {shown(value)}, expected numbers such as 0,1,2") from None


def _increasing(name: str, values: Any, limits: tuple[float, float], *, whole: bool = True) -> tuple[float, ...]:
    found = _numbers_of(name, values)
    low, high = limits
    fits = found and all(low <= value <= high and (not whole or value == int(value)) for value in found)
    if not fits or any(after <= before for before, after in itertools.pairwise(found)):
        kind = "whole numbers" if whole else "numbers"
        raise ValueError(f"{name}: found {shown(values)}, expected increasing {kind} from {low:g} to {high:g}")
    return found


SIZES: Mapping[str, InventorySpec] = {
    "tiny": InventorySpec(
        name="inventory-tiny", lot=10, max_backlog=2, max_inventory=4, max_transit=2, orders=(0, 1, 2), n_seasons=1,
        stock_levels=(10, 20), order_edges=TOTALS, production=15.0, agents=3, start="uniform", amplitude=0.0,
        gamma=0.9,
    ),
    "medium": InventorySpec(),
    "large": InventorySpec(
        name="inventory-large", lot=3, max_backlog=16, max_inventory=24, max_transit=20, orders=(0, 2, 4, 6, 8, 10),
        stock_levels=(18, 36), order_edges=(6.0, 8.25), agents=1000,
    ),
}  # fmt: skip
"""The built-in sizes: 21, 231 and 861 local states."""


def spec_of(spec: InventorySpec | str, **changes: Any) -> InventorySpec:
    """A spec, or a size by its name, with changes."""
    if isinstance(spec, str):
        if spec not in SIZES:
            raise ValueError(f"size: found {shown(spec)}, expected one of {', '.join(SIZES)}{suggestion(spec, SIZES)}")
        spec = SIZES[spec]
    if not isinstance(spec, InventorySpec):
        raise ValueError(f"spec: found {shown(spec)}, expected an InventorySpec or one of {', '.join(SIZES)}")
    return spec.changed(**changes) if changes else spec
