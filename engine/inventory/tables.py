"""The inventory game: retailers who order from one upstream stock that may not suffice for all.

One kind of local agent, so one echelon: all retailers are alike, and the upstream stock decides nothing (the global agent has the
one action "none"). Goods are in lots; a local state is (x, z), net inventory (negative: backlog) and lots in transit, a local
action the size of an order, a global state (season, upstream stock in units per retailer).

A period, in this order:
1. Everyone orders; ā is the mean order of all, of which the tables know the bin (a field of actions). The upstream stock u serves
   the share φ = min(1, u/ā) of each order: a retailer who orders a is sent ⌊aφ⌋ lots, and one more with probability frac(aφ).
2. What is in transit arrives, except with probability `slip`: then it joins what is sent now, and arrives a period later; what
   does not fit into `max_transit` arrives at once. What is sent now will arrive in the next period: lead time one period.
3. Demand comes, in units, rounded to lots as `demand.in_lots` says. It is served from the stock on hand, after older backlog.
   Backlog beyond max_backlog is demand lost; stock beyond max_inventory is taken away without refund (spoiled).
4. The season ends with probability n_seasons/365, so that a year has 365 periods on average. The upstream stock becomes
   u − min(u, ā) + production, but at most its highest level, rounded at random to a level next to it so that its mean stays.

The reward is money per retailer and period, its mean given (s_g, f, s_l, a):
price · (units handed to customers) − cost · (units sent to the retailer) − holding · |on hand − target| − backlog_cost · backlog,
with stock on hand and backlog at the end of the period, in units. What is ordered but not sent costs nothing, so that under
scarcity it pays to order more than is needed, as in the rationing game of Lee, Padmanabhan and Whang (1997), "Information
distortion in a supply chain: the bullwhip effect", Management Science 43. The global agent's reward is 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..game import Game, Labels
from .demand import DAYS
from .spec import InventorySpec, spec_of

MAX_BYTES = 2**31
"""The transition table may not be larger."""


def inventory_game(spec: InventorySpec | str = "medium", **changes: Any) -> Game:
    """The tables of an inventory game.

    Parameters
    ----------
    spec : InventorySpec, or "tiny", "medium", "large"
    changes : other values of parameters of the spec

    Returns
    -------
    Game    P_l float64[n_sg, n_f, n_sl, n_al, n_sl], r_l float64[n_sg, n_f, n_sl, n_al], P_g float64[n_sg, n_f, 1, n_sg]

    Raises
    ------
    ValueError    a parameter out of range, or tables of more than 2 GiB
    """
    spec = spec_of(spec, **changes)
    n_bytes = 8 * spec.n_sg * spec.field.n_values * spec.n_sl**2 * len(spec.orders)
    if n_bytes > MAX_BYTES:
        raise ValueError(
            f"spec: found tables of {n_bytes:.3g} bytes ({spec.n_sg} global states, {spec.field.n_values} values of the mean "
            f"order, {spec.n_sl} local states, {len(spec.orders)} orders), expected at most {MAX_BYTES:.3g}; take larger lots"
        )
    seasons = [(season, level) for season in range(spec.n_seasons) for level in spec.stock_levels]
    local_states = [
        (x, z) for x in range(-spec.max_backlog, spec.max_inventory + 1) for z in range(spec.max_transit + 1)
    ]
    P_l, r_l = _local_tables(spec)
    rho_g, rho_l = _start(spec)
    return Game(
        P_g=_global_table(spec), P_l=P_l, r_g=np.zeros((spec.n_sg, 1)), r_l=r_l, gamma=spec.gamma, rho_g=rho_g, rho_l=rho_l,
        name=spec.name, labels=Labels(seasons, ("none",), local_states, spec.orders),  # type: ignore[arg-type]
        n_agents=spec.agents, description=describe(spec), field=spec.field,
    )  # fmt: skip


def describe(spec: InventorySpec) -> str:
    """One line about a game of such parameters."""
    return (
        f"Retailers who order from one scarce stock, in lots of {spec.lot} units: {spec.n_sl} local states, "
        f"{len(spec.orders)} order sizes"
    )


def fill_rates(spec: InventorySpec) -> np.ndarray:
    """Share of each order that is served, float64[n_levels, n_f]."""
    levels = np.array(spec.stock_levels, dtype=np.float64)[:, None]
    orders = np.broadcast_to(spec.mean_orders, (len(levels), spec.mean_orders.size))
    return np.divide(np.minimum(levels, orders), orders, out=np.ones(orders.shape), where=orders > 0)


def _global_table(spec: InventorySpec) -> np.ndarray:
    """Law of the next season and upstream stock, float64[n_sg, n_f, 1, n_sg]."""
    levels = np.array(spec.stock_levels, dtype=np.float64)
    n_levels, n_f = len(levels), spec.field.n_values
    seasons = np.eye(spec.n_seasons)
    if spec.n_seasons > 1:
        ends = spec.n_seasons / DAYS
        seasons = (1.0 - ends) * seasons + ends * np.roll(seasons, 1, axis=1)
    stock = np.zeros((n_levels, n_f, n_levels))
    left = levels[:, None] - np.minimum(levels[:, None], spec.mean_orders) + spec.production
    left = np.clip(left, levels[0], levels[-1])
    for u, f in np.ndindex(n_levels, n_f):
        stock[u, f] = _between(left[u, f], levels)
    table = np.einsum("ij,ufv->iufjv", seasons, stock)
    return table.reshape(spec.n_sg, n_f, 1, spec.n_sg)


def _between(value: float, levels: np.ndarray) -> np.ndarray:
    """Law on the two levels around a value that has its mean."""
    law = np.zeros(len(levels))
    above = int(np.searchsorted(levels, value))
    law[above] = 1.0
    if levels[above] > value:
        law[above] = (value - levels[above - 1]) / (levels[above] - levels[above - 1])
        law[above - 1] = 1.0 - law[above]
    return law


def _local_tables(spec: InventorySpec) -> tuple[np.ndarray, np.ndarray]:
    """P_l float64[n_sg, n_f, n_sl, n_al, n_sl] and r_l float64[n_sg, n_f, n_sl, n_al]."""
    n_seasons, n_levels, n_f = spec.n_seasons, len(spec.stock_levels), spec.field.n_values
    n_x, n_z, n_al = spec.n_x, spec.n_z, len(spec.orders)
    after, money, handed_on = _after_demand(spec)
    rates = fill_rates(spec)
    P_l = np.zeros((n_seasons, n_levels, n_f, n_x, n_z, n_al, n_x, n_z))
    r_l = np.zeros((n_seasons, n_levels, n_f, n_x, n_z, n_al))
    on_hand = np.maximum(np.arange(n_x) - spec.max_backlog, 0)
    for u, f, z, a in np.ndindex(n_levels, n_f, n_z, n_al):
        wanted = spec.orders[a] * rates[u, f]
        for sent, arrived, in_transit, probability in shipments(spec, z, float(wanted)):
            rows = slice(arrived, arrived + n_x)
            P_l[:, u, f, :, z, a, :, in_transit] += probability * after[:, rows]
            served = spec.lot * (on_hand + arrived - handed_on[:, rows])
            r_l[:, u, f, :, z, a] += probability * (spec.price * served + money[:, rows] - spec.cost * spec.lot * sent)
    shape = (spec.n_sg, n_f, spec.n_sl, n_al)
    return P_l.reshape(*shape, spec.n_sl), r_l.reshape(shape)


def shipments(spec: InventorySpec, z: int, wanted: float) -> list[tuple[int, int, int, float]]:
    """All that can become of z lots in transit and an order of which `wanted` lots, maybe a broken number, are served.

    Returns
    -------
    list of (lots sent, lots arrived, lots in transit afterwards, probability)
    """
    # A product such as 3 · (1/3) must not become 2 lots and one more almost surely.
    nearest = round(wanted)
    if abs(wanted - nearest) < 1e-12 * max(1.0, wanted):
        wanted = float(nearest)
    whole = int(wanted)
    found = []
    for sent, probability in ((whole, 1.0 - (wanted - whole)), (whole + 1, wanted - whole)):
        if probability <= 0.0:
            continue
        if spec.slip < 1.0:
            found.append((sent, z, sent, probability * (1.0 - spec.slip)))
        if spec.slip > 0.0:
            in_transit = min(z + sent, spec.max_transit)
            found.append((sent, z + sent - in_transit, in_transit, probability * spec.slip))
    return found


def _after_demand(spec: InventorySpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What demand makes of the net inventory w after arrivals, w from −max_backlog to max_inventory + max_transit.

    Returns
    -------
    law of the next x          float64[n_seasons, n_w, n_x]
    mean cost of x', negative  float64[n_seasons, n_w], of holding and backlog
    mean of (w − D)⁺           float64[n_seasons, n_w], lots that are not handed to customers
    """
    demand = spec.laws_in_lots
    w = np.arange(-spec.max_backlog, spec.max_inventory + spec.max_transit + 1)
    left = w[:, None] - np.arange(demand.shape[1])
    x_next = np.clip(left, -spec.max_backlog, spec.max_inventory)
    law = np.zeros((spec.n_seasons, w.size, spec.n_x))
    for i, lots in np.ndindex(x_next.shape):
        law[:, i, x_next[i, lots] + spec.max_backlog] += demand[:, lots]
    units = spec.lot * np.arange(-spec.max_backlog, spec.max_inventory + 1)
    cost = spec.holding * np.abs(np.maximum(units, 0) - spec.target) + spec.backlog_cost * np.maximum(-units, 0)
    return law, -(law @ cost), demand @ np.maximum(left, 0).T


def start_lots(spec: InventorySpec) -> tuple[int, int]:
    """Net inventory and lots in transit of retailers that start at their target."""
    first = spec.laws_in_lots[0]
    demand = float(first @ np.arange(first.size))
    return min(round(spec.target / spec.lot), spec.max_inventory), min(round(demand), spec.max_transit)


def _start(spec: InventorySpec) -> tuple[np.ndarray, np.ndarray]:
    """Laws of the first states: rho_g float64[n_sg], rho_l float64[n_sl]."""
    if spec.start == "uniform":
        return np.full(spec.n_sg, 1.0 / spec.n_sg), np.full(spec.n_sl, 1.0 / spec.n_sl)
    x, z = start_lots(spec)
    rho_g, rho_l = np.zeros(spec.n_sg), np.zeros(spec.n_sl)
    rho_g[len(spec.stock_levels) - 1] = 1.0
    rho_l[(x + spec.max_backlog) * spec.n_z + z] = 1.0
    return rho_g, rho_l
