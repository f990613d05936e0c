"""Retailers and their upstream stock, unit by unit, over the periods of many runs.

Period t of a run draws from two places, (seed, PURPOSE_DEMAND, run, t + 1) and (seed, PURPOSE_SUPPLY, run, t + 1), and each
retailer from its own place among these numbers: whatever is ordered, demand and delays are the same. The start has step 0.

The uniforms for demand are float64[2n + 1]: demand of each retailer, whether its goods are late, and whether the season ends; those
for supply float64[2n + 2]: order of each, rounding of what it is sent, rounding of production, next level.
"""

from __future__ import annotations

import numpy as np

from ..compilation import kernel
from ..learning.fields import value_of_totals
from ..streams import PURPOSE_DEMAND, PURPOSE_SUPPLY, fill_doubles, new_stream, seek
from . import parts
from .orders import category_at, place_orders, sum_weights
from .parts import Retailers


@kernel
def draw_uniforms(stream, purpose, run, step, out_uniforms):
    """Uniforms of one place in the random streams.

    Parameters
    ----------
    stream : uint64[STREAM_WORDS]   advanced
    purpose, run, step : int64
    out_uniforms : float64[m]    overwritten
    """
    seek(stream, purpose, run, step)
    fill_doubles(stream, out_uniforms)


@kernel(error_model="numpy")
def demand_at(cumulative, grain, uniform):
    """Demand of one retailer, rounded to the grain without bias.

    One uniform serves both: given the demand, it is uniform on the part that belongs to it.

    Parameters
    ----------
    cumulative : float64[n_d]   P(demand ≤ d) in units, the last entry 1
    grain : int64
    uniform : float64

    Returns
    -------
    int64   units, a multiple of the grain
    """
    low, high = np.int64(0), np.int64(cumulative.shape[0] - 1)
    while low < high:
        middle = (low + high) >> 1
        if uniform < cumulative[middle]:
            high = middle
        else:
            low = middle + 1
    rest = low % grain
    if rest == 0:
        return low
    below = cumulative[low - 1]
    up = (uniform - below) * grain < rest * (cumulative[low] - below)
    return low - rest + (grain if up else 0)


@kernel
def send_share_of_all(available, grain, orders, uniform, retailers):
    """Share out what is there: everyone's order in full, or all that is there in proportion, rounded to the grain.

    Scarce goods are shared by systematic sampling: with S the orders summed up to a retailer, A the sum of all, U what is there
    in grains and V uniform on 0 … A − 1, the retailers up to it are sent ⌊(U·S + V)/A⌋. So each is sent its share rounded up or
    down with the right mean, and together exactly U.

    Parameters
    ----------
    available, grain : int64   units
    orders : int64[n_al]       units
    uniform : float64          V = ⌊uniform · A⌋
    retailers : Retailers      `sent` is overwritten

    Returns
    -------
    int64   units sent to all
    """
    n = retailers.order.shape[0]
    wanted = np.int64(0)
    for i in range(n):
        wanted += orders[retailers.order[i]] // grain
    there = available // grain
    if wanted <= there:
        for i in range(n):
            retailers.sent[i] = orders[retailers.order[i]]
        return wanted * grain
    offset = np.int64(uniform * wanted)
    summed = np.int64(0)
    before = np.int64(0)
    for i in range(n):
        summed += orders[retailers.order[i]] // grain
        until = (there * summed + offset) // wanted
        retailers.sent[i] = (until - before) * grain
        before = until
    return before * grain


@kernel
def send_share_of_each(rate, grain, orders, uniforms, retailers):
    """Send everyone the share `rate` of its order, rounded to the grain up or down by a coin of its own.

    Parameters
    ----------
    rate : float64         at most 1
    grain : int64          units
    orders : int64[n_al]   units
    uniforms : float64[n]
    retailers : Retailers  `sent` is overwritten

    Returns
    -------
    int64   units sent to all
    """
    total = np.int64(0)
    for i in range(retailers.order.shape[0]):
        sent = orders[retailers.order[i]]
        if rate < 1.0:
            share = sent / grain * rate
            sent = np.int64(share)
            if uniforms[i] < share - sent:
                sent += 1
            sent *= grain
        retailers.sent[i] = sent
        total += sent
    return total


@kernel
def serve(x, arrived, demand, x_low, x_high):
    """Let demand meet what there is, after older backlog, and cut what is beyond the limits.

    Parameters
    ----------
    x, arrived, demand : int64   units; x is the net inventory before the arrivals
    x_low, x_high : int64        least and most net inventory

    Returns
    -------
    (served, served at once, lost, spoiled, on hand, backlog, owed) : int64   units; owed is what was lost and the backlog
    """
    stock = max(x, 0) + arrived
    owed_before = max(-x, 0)
    served = min(stock, owed_before + demand)
    stock, owed = stock - served, owed_before + demand - served
    spoiled, lost = max(stock - x_high, 0), max(owed + x_low, 0)
    return served, max(served - owed_before, 0), lost, spoiled, stock - spoiled, owed - lost, owed


@kernel
def _meet_demand(world, day, luck, retailers, counts, totals):
    """Arrivals and demand of all retailers."""
    n, cumulative = retailers.x.shape[0], world.demand[world.row[day]]
    for i in range(n):
        order, sent, before = world.orders[retailers.order[i]], retailers.sent[i], retailers.z[i] + retailers.sent[i]
        retailers.z[i] = min(before, world.z_high) if luck[n + i] < world.slip else sent
        demand = demand_at(cumulative, world.grain, luck[i])
        arrived = before - retailers.z[i]
        served, at_once, lost, spoiled, on_hand, backlog, owed = serve(
            retailers.x[i], arrived, demand, world.x_low, world.x_high
        )
        retailers.x[i] = on_hand - backlog
        found = (demand, order, sent, served, at_once, lost, spoiled, on_hand, backlog)
        for place in range(9):
            counts[i, place] += found[place]
            totals[place] += found[place]
        counts[i, parts.OFF_TARGET] += abs(on_hand - world.target)
        counts[i, parts.SHORT_PERIODS] += 1 if owed > 0 else 0
        counts[i, parts.ORDERED_SQUARED] += order * order
        counts[i, parts.DEMANDED_SQUARED] += demand * demand
        totals[parts.IN_TRANSIT] += retailers.z[i]


@kernel
def _nearest_level(levels, stock, n):
    """Position of the level nearest to the stock of n retailers; the lower one of two."""
    best = np.int64(0)
    for level in range(1, levels.shape[0]):
        if abs(levels[level] * n - stock) < abs(levels[best] * n - stock):
            best = np.int64(level)
    return best


@kernel
def _note(totals, n, out_moments, out_series, period):
    """Add a period to the moments, and to the series if there is one."""
    ordered, demand = totals[parts.ORDERED] / n, totals[parts.DEMANDED] / n
    out_moments[0] += ordered
    out_moments[1] += ordered * ordered
    out_moments[2] += demand
    out_moments[3] += demand * demand
    out_moments[4] += totals[parts.ADJUSTED] / n
    if out_series.shape[0] > 0:
        for place in range(parts.N_TOTALS):
            out_series[period, place] = totals[place]


@kernel
def _start_run(world, retailers, demand, supply, totals):
    """Place retailers and stock; return season and level."""
    n = retailers.x.shape[0]
    n_x, n_z = (world.x_high - world.x_low) // world.lot + 1, world.z_high // world.lot + 1
    season, level = np.int64(0), np.int64(world.levels.shape[0] - 1)
    if world.start_anywhere != 0:
        level = np.int64(supply[2 * n] * world.levels.shape[0])
        if world.random_seasons != 0:
            season = np.int64(demand[2 * n] * world.row.shape[0])
    for i in range(n):
        retailers.x[i], retailers.z[i] = world.start_x, world.start_z
        if world.start_anywhere != 0:
            retailers.x[i] = world.x_low + world.lot * np.int64(demand[i] * n_x)
            retailers.z[i] = world.lot * np.int64(demand[n + i] * n_z)
        retailers.order[i] = np.int64(supply[i] * world.orders.shape[0])
        totals[parts.ON_HAND] += max(retailers.x[i], 0)
        totals[parts.BACKLOG] += max(-retailers.x[i], 0)
        totals[parts.IN_TRANSIT] += retailers.z[i]
    totals[parts.UPSTREAM] = world.levels[level] * n
    return season, level


@kernel
def _supply(world, level, stock, retailers, uniforms, totals):
    """Send goods and make new ones: return the next level, if it goes by levels, and fill the totals of the upstream stock."""
    n = retailers.x.shape[0]
    f = np.int64(0)
    if world.by_levels != 0:
        sum_weights(world.field, retailers.order, retailers.sums[0])
        f = value_of_totals(world.field, retailers.sums[0], n)
        sent = send_share_of_each(world.rates[level, f], world.grain, world.orders, uniforms[n:], retailers)
    else:
        sent = send_share_of_all(stock, world.grain, world.orders, uniforms[n], retailers)
    made = world.production * n
    produced = np.int64(made)
    if uniforms[2 * n] < made - produced:
        produced += 1
    # Production stops when the store is full.
    produced = min(produced, world.levels[-1] * n - (stock - sent))
    totals[parts.PRODUCED], totals[parts.UPSTREAM] = produced, stock - sent + produced
    if world.by_levels != 0:
        level = category_at(world.stock_law[level, f], uniforms[2 * n + 1])
        totals[parts.ADJUSTED] = world.levels[level] * n - totals[parts.UPSTREAM]
        totals[parts.UPSTREAM] = world.levels[level] * n
    return level


@kernel
def _imbalance(before, after):
    """Largest amount of goods, or of demand, that came from nowhere or got lost in a period."""
    sent, served = after[parts.SENT], after[parts.SERVED]
    retail = before[parts.ON_HAND] + before[parts.IN_TRANSIT] + sent - served - after[parts.SPOILED]
    retail -= after[parts.ON_HAND] + after[parts.IN_TRANSIT]
    upstream = before[parts.UPSTREAM] - sent + after[parts.PRODUCED] + after[parts.ADJUSTED] - after[parts.UPSTREAM]
    demand = before[parts.BACKLOG] + after[parts.DEMANDED] - served - after[parts.LOST] - after[parts.BACKLOG]
    return max(abs(retail), abs(upstream), abs(demand))


@kernel
def _make_retailers(world, policy, n):
    """Allocate the retailers of a run."""
    n_features = max(world.field.weights.shape[0], policy.lens.weights.shape[0])
    x, z, order, sent = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    return Retailers(x, z, order, sent, np.zeros(world.orders.shape[0], np.int64), np.zeros((2, n_features)))


@kernel(nogil=True)
def simulate_run(world, policy, seed, run, n_periods, out_counts, out_moments, out_series):
    """Play one run, on one thread, which lets the interpreter's lock go.

    Memory beyond the outputs grows with the number of retailers alone.

    Parameters
    ----------
    world : World
    policy : Policy
    seed : uint64
    run, n_periods : int64              number of the run in the random streams
    out_counts : int64[n, N_COUNTS]     zeros; sums over the periods, for each retailer
    out_moments : float64[5]            zeros; Σ over the periods of the mean order, its square, the mean demand, its square, and of
        what rounding to levels and bins added to the upstream stock per retailer
    out_series : int64[n_periods, N_TOTALS] or int64[0, N_TOTALS]   totals over the retailers, where kept

    Returns
    -------
    int64   the largest amount in units by which a period's goods or demands do not balance
    """
    n = out_counts.shape[0]
    stream, retailers = new_stream(seed), _make_retailers(world, policy, n)
    luck_of_demand, luck_of_supply = np.zeros(2 * n + 1), np.zeros(2 * n + 2)
    totals, before = np.zeros(parts.N_TOTALS, np.int64), np.zeros(parts.N_TOTALS, np.int64)
    season, level, imbalance = np.int64(0), np.int64(0), np.int64(0)
    for step in range(n_periods + 1):
        draw_uniforms(stream, PURPOSE_DEMAND, run, step, luck_of_demand)
        draw_uniforms(stream, PURPOSE_SUPPLY, run, step, luck_of_supply)
        if step == 0:
            season, level = _start_run(world, retailers, luck_of_demand, luck_of_supply, totals)
            continue
        for place in range(parts.N_TOTALS):
            before[place], totals[place] = totals[place], 0
        stock, day = before[parts.UPSTREAM], (step - 1) % parts.DAYS
        seen = level if world.by_levels != 0 else _nearest_level(world.levels, stock, n)
        place_orders(world, policy, season, seen, luck_of_supply, retailers)
        level = _supply(world, level, stock, retailers, luck_of_supply, totals)
        _meet_demand(world, season if world.random_seasons != 0 else day, luck_of_demand, retailers, out_counts, totals)
        totals[parts.SEASON] = season
        if world.random_seasons == 0:
            season = world.season[(day + 1) % parts.DAYS]
        elif luck_of_demand[2 * n] < world.season_ends:
            season = (season + 1) % world.row.shape[0]
        imbalance = max(imbalance, _imbalance(before, totals))
        _note(totals, n, out_moments, out_series, step - 1)
    return imbalance
