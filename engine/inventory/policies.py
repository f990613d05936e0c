"""How retailers order: simple rules, tables, and what was learned; every simple rule is a table as well."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...kernels.inventory.parts import BASE_STOCK, CONSTANT, RANDOM, TABLE
from ..checked import real_array
from ..coupling import Field
from ..game import Game
from ..learning.policy import boltzmann_laws
from ..learning.result import Learned
from ..policy import SubsamplePolicy, blind_policy
from ..tabulation import ROW_SUM_ATOL, shown
from .spec import MOST_LOTS, InventorySpec
from .tables import inventory_labels


@dataclass(frozen=True, kw_only=True, eq=False)
class OrderPolicy:
    """How all retailers order; made by the functions of this module.

    Parameters
    ----------
    kind : int                      of `kernels.inventory.parts`
    name : str                      for people
    constant : int                  position in the order sizes
    base : int64[n_seasons]         units
    laws : float64[n_tables, n_o, n_al]
        Of one table for all or one for each retailer; o = (s_g·n_sl + s_l)·B + b, with b the value that `seen` gives the others'
        last orders.
    seen : Field, optional          of actions; None: of one value
    """

    kind: int
    name: str
    constant: int = 0
    base: np.ndarray | None = None
    laws: np.ndarray | None = None
    seen: Field | None = None

    @property
    def n_tables(self) -> int:
        """Tables: 1, or one for each retailer."""
        return 1 if self.laws is None else self.laws.shape[0]

    def __repr__(self) -> str:
        return f"OrderPolicy({self.name})"


def random_orders() -> OrderPolicy:
    """Every order size is equally likely."""
    return OrderPolicy(kind=RANDOM, name="random")


def constant_orders(spec: InventorySpec, lots: float) -> OrderPolicy:
    """Always the same order, one of the sizes of the spec."""
    if lots not in spec.orders:
        raise ValueError(f"lots: found {shown(lots)}, expected one of {', '.join(map(str, spec.orders))}")
    place = spec.orders.index(int(lots))
    return OrderPolicy(kind=CONSTANT, name=f"constant {spec.orders[place] * spec.lot} units", constant=place)


def base_stock(spec: InventorySpec, levels: float | Sequence[float]) -> OrderPolicy:
    """Order up to a level: the size nearest to level − (on hand − backlog + in transit), the smaller one of two.

    Parameters
    ----------
    levels : int or int[n_seasons]    units, one for all seasons or one each
    """
    found = real_array("levels", levels)
    given = found.ravel().tolist() * (spec.n_seasons if found.ndim == 0 else 1)
    # Above this the largest order is placed always.
    most = 3 * MOST_LOTS * spec.lot
    if len(given) != spec.n_seasons or any(not (abs(level) <= most and level == math.floor(level)) for level in given):
        raise ValueError(
            f"levels: found {shown(levels)}, expected one whole number of units for each of {spec.n_seasons} seasons"
        )
    base = np.array(given, dtype=np.int64)
    name = ", ".join(str(level) for level in (base if np.ptp(base) else base[:1]))
    return OrderPolicy(kind=BASE_STOCK, name=f"base stock {name} units", base=base)


def table_orders(spec: InventorySpec, laws: Any, seen: Field | None = None, name: str = "table") -> OrderPolicy:
    """Laws over the order sizes by observation.

    Parameters
    ----------
    laws : float64[n_o, n_al], or float64[n, n_o, n_al] of one table for each retailer
    seen : Field of actions, optional    what retailers see of the others' last orders; n_o = n_sg · n_sl · its values

    Raises
    ------
    ValueError
    """
    found = real_array("laws", laws)
    found = found[None] if found.ndim == 2 else found
    n_values = 1 if seen is None else seen.n_values
    if seen is not None and n_values > 1 and (seen.of != "actions" or seen.weights.shape[1] != len(spec.orders)):
        raise ValueError(
            f"seen: found a field of {seen.weights.shape[1]} {seen.of}, expected one of {len(spec.orders)} actions, the order sizes"
        )
    shape = (spec.n_sg * spec.n_sl * n_values, len(spec.orders))
    if found.ndim != 3 or found.shape[1:] != shape:
        raise ValueError(f"laws: found shape {found.shape}, expected (tables, {shape[0]}, {shape[1]})")
    gap = np.abs(found.sum(axis=-1) - 1.0).max()
    if not (found.min() >= 0.0 and gap <= ROW_SUM_ATOL):
        raise ValueError(
            f"laws: found rows that are no probabilities, the worst sum is off by {gap:.1e}; expected sums of 1"
        )
    found.setflags(write=False)
    return OrderPolicy(kind=TABLE, name=name, laws=found, seen=seen if n_values > 1 else None)


def learned_orders(spec: InventorySpec, learned: Learned, *, run: int = 0, greedy: bool = False) -> OrderPolicy:
    """What the retailers of one run learned, without exploration: by the Boltzmann law they learned with, or greedily.

    The game that was learned may have had another demand, production or prices; its states and orders have to be those of the spec.

    Raises
    ------
    ValueError
    """
    if not isinstance(learned, Learned):
        raise ValueError(f"learned: found {shown(learned)}, expected what learn or read_learned gave")
    check_states(spec, learned.game)
    if not 0 <= run < learned.settings.runs:
        raise ValueError(f"run: found {run}, expected 0 to {learned.settings.runs - 1}")
    temperature = 0.0 if greedy else learned.settings.temperature
    laws = boltzmann_laws(learned.preferences[run], temperature)
    method = f"learned ({learned.settings.method}{', greedy' if temperature == 0.0 else ''})"
    return table_orders(spec, laws, learned.seen, name=method)


def check_states(spec: InventorySpec, game: Game) -> None:
    """Refuse a game whose states or orders are not those of the spec."""
    expected, found = inventory_labels(spec), game.labels
    for space in ("global_states", "local_states", "local_actions"):
        if getattr(found, space) != getattr(expected, space):
            raise ValueError(
                f"policy: found one of another game, whose {space.replace('_', ' ')} are {shown(list(getattr(found, space)))}, "
                f"expected {shown(list(getattr(expected, space)))}"
            )


def table_law(spec: InventorySpec, policy: OrderPolicy) -> np.ndarray:
    """A simple rule, or a table that sees nothing of others, as laws by (s_g, s_l): float64[n_sg · n_sl, n_al].

    Lot for lot it is the same policy.
    """
    n_al = len(spec.orders)
    shape = (spec.n_seasons, len(spec.stock_levels), spec.n_sl, n_al)
    if policy.kind == RANDOM:
        laws = np.full(shape, 1.0 / n_al)
    elif policy.kind == CONSTANT:
        laws = np.zeros(shape)
        laws[..., policy.constant] = 1.0
    elif policy.base is not None:
        x, z = np.array(inventory_labels(spec).local_states).T
        lacking = policy.base[:, None] - spec.lot * (x + z)
        chosen = np.searchsorted(order_cuts(spec), lacking, side="left")
        laws = np.broadcast_to(np.eye(n_al)[chosen][:, None], shape)
    elif policy.laws is not None and policy.seen is None and policy.n_tables == 1:
        return policy.laws[0].copy()
    else:
        raise ValueError(f"policy: found {policy.name}, which depends on others, expected one that does not")
    return np.array(laws).reshape(-1, n_al)


def subsample_policy(game: Game, spec: InventorySpec, policy: OrderPolicy) -> SubsamplePolicy:
    """The same laws as a policy that sees itself alone (k = 1), for deploy, evaluate and exploitability."""
    check_states(spec, game)
    return blind_policy(game, table_law(spec, policy).reshape(game.n_sg, game.n_sl, game.n_al))


def order_cuts(spec: InventorySpec) -> np.ndarray:
    """Midpoints between neighbouring order sizes, float64[n_al − 1], in units."""
    sizes = spec.lot * np.array(spec.orders, dtype=np.float64)
    return 0.5 * (sizes[1:] + sizes[:-1])
