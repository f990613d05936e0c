"""Inventories by hand: laws by listing every outcome, and goods that are single things in lists; no code of the engine."""

import itertools
import math

import numpy as np

DAYS = 365


def poisson(mean, most):
    """P(D = d) for d = 0 … most, with the tail at most."""
    law = [math.exp(-mean) * mean**d / math.factorial(d) for d in range(most)]
    return [*law, 1.0 - sum(law)]


def season_mean(mean, amplitude, n_seasons, season):
    days = [day for day in range(DAYS) if day * n_seasons // DAYS == season]
    return sum(mean + amplitude * math.sin(2 * math.pi * day / DAYS) for day in days) / len(days)


def lots_of(units, lot):
    """(lots, probability) of a demand that is rounded at random."""
    yield units // lot, 1 - units % lot / lot
    if units % lot:
        yield units // lot + 1, units % lot / lot


def outcomes_of_order(p, level, mean_order, x, z, order, season):
    """(probability, next x, next z, money) of a retailer in lots, one for each demand, rounding, delay and shipment.

    `p` is a dict of the parameters; `level` and `mean_order` are in units per retailer.
    """
    rate = 1.0 if mean_order <= level else level / mean_order
    mean = season_mean(p["mean_demand"], p["amplitude"], p["n_seasons"], season)
    share = order * rate
    shipments = [(math.floor(share + 1e-9), 1 - (share - math.floor(share + 1e-9)))]
    shipments.append((shipments[0][0] + 1, 1 - shipments[0][1]))
    for (sent, p_sent), late in itertools.product(shipments, (False, True)):
        if p_sent < 1e-8:
            continue
        if late:
            waiting = z + sent
            arrived = max(0, waiting - p["max_transit"])
            z_next = waiting - arrived
        else:
            arrived, z_next = z, sent
        p_late = p["slip"] if late else 1 - p["slip"]
        for units, p_units in enumerate(poisson(mean, p["max_demand"])):
            for demand, p_round in lots_of(units, p["lot"]):
                yield p_sent * p_late * p_units * p_round, *one_day(p, x, arrived, demand), z_next, sent


def one_day(p, x, arrived, demand):
    """(next x, lots handed to customers) by handing out lot by lot."""
    shelf, queue = max(x, 0) + arrived, max(-x, 0) + demand
    handed = 0
    while shelf and queue:
        shelf, queue, handed = shelf - 1, queue - 1, handed + 1
    return min(shelf, p["max_inventory"]) - min(queue, p["max_backlog"]), handed


def law_and_reward(p, level, mean_order, x, z, order, season):
    """(dict of the next (x, z), mean money) of a retailer."""
    law, money = {}, 0.0
    for probability, x_next, handed, z_next, sent in outcomes_of_order(p, level, mean_order, x, z, order, season):
        law[x_next, z_next] = law.get((x_next, z_next), 0.0) + probability
        units = p["lot"] * x_next
        earned = p["lot"] * (p["price"] * handed - p["cost"] * sent)
        earned -= p["holding"] * abs(max(units, 0) - p["target"]) + p["backlog_cost"] * max(-units, 0)
        money += probability * earned
    return law, money


def next_stock(p, level, mean_order):
    """Dict of the next level of the upstream stock."""
    levels = p["stock_levels"]
    left = min(max(level - min(level, mean_order) + p["production"], levels[0]), levels[-1])
    for low, high in itertools.pairwise(levels):
        if low <= left <= high:
            return {low: (high - left) / (high - low), high: (left - low) / (high - low)}
    return {levels[0]: 1.0}


def mean_rewards_of_chain(game, laws, seen_by, periods):
    """Expected mean reward of each period for n = 2 labelled agents who see each other's last order.

    Parameters
    ----------
    game : Game with a field of actions, of one global action
    laws : float64[n_o, n_al]    o = (s_g·n_sl + s_l)·B + b
    seen_by : list of b by the other's last action
    periods : int
    """
    n_sl, n_al, B = game.n_sl, game.n_al, max(seen_by) + 1
    rewards = []
    # Law before the orders are drawn: s_g, both states, both last orders.
    start = np.multiply.outer(game.rho_g, np.outer(game.rho_l, game.rho_l))
    state = np.repeat(np.repeat(start[..., None, None], n_al, axis=-2), n_al, axis=-1) / n_al**2
    for _ in range(periods):
        ordered = np.zeros_like(state)
        for s_g, i, j, a, b in np.argwhere(state > 0):
            mine = laws[(s_g * n_sl + i) * B + seen_by[b]]
            other = laws[(s_g * n_sl + j) * B + seen_by[a]]
            ordered[s_g, i, j] += state[s_g, i, j, a, b] * np.outer(mine, other)
        state = np.zeros_like(state)
        reward = 0.0
        for s_g, i, j, a, b in np.argwhere(ordered > 0):
            p = ordered[s_g, i, j, a, b]
            counts = np.zeros(n_al, dtype=int)
            counts[a] += 1
            counts[b] += 1
            f = int(game.field.value_of(counts))
            reward += p * 0.5 * (game.r_l[s_g, f, i, a] + game.r_l[s_g, f, j, b])
            moved = np.multiply.outer(game.P_g[s_g, f, 0], np.outer(game.P_l[s_g, f, i, a], game.P_l[s_g, f, j, b]))
            state[..., a, b] += p * moved
        rewards.append(reward)
    return np.array(rewards)


class Shop:
    """A retailer whose goods are single things in lists, and whose customers stand in a queue."""

    def __init__(self, on_hand, in_transit):
        self.shelf, self.road, self.queue = list(on_hand), list(in_transit), []


def play_units(p, order_of, n, periods, rng):
    """One run of n labelled retailers, every unit of goods a thing of its own.

    Parameters
    ----------
    p : dict of the parameters, in units: x_high, x_low, z_high, production, store, slip, mean, amplitude, max_demand, …
    order_of : function of (day, net inventory, in transit) to units
    rng : random.Random

    Returns
    -------
    dict    money, fill rate, orders, by period and retailer: lists
    """
    names = itertools.count()
    store = [next(names) for _ in range(n * p["store"])]
    shops = [
        Shop([next(names) for _ in range(p["start_x"])], [next(names) for _ in range(p["start_z"])]) for _ in range(n)
    ]
    found = {"money": [], "orders": [], "demand": [], "at_once": []}
    for day in range(periods):
        orders = [order_of(day % DAYS, len(shop.shelf) - len(shop.queue), len(shop.road)) for shop in shops]
        parcels = share_out(store, orders, rng)
        for _ in range(n * p["production"]):
            if len(store) < n * p["store"]:
                store.append(next(names))
        for shop, parcel, order in zip(shops, parcels, orders, strict=True):
            money = -p["cost"] * len(parcel)
            if rng.random() < p["slip"]:
                shop.road += parcel
                # The oldest goods go first.
                while len(shop.road) > p["z_high"]:
                    shop.shelf.append(shop.road.pop(0))
            else:
                shop.shelf += shop.road
                shop.road = parcel
            mean = p["mean_demand"] + p["amplitude"] * math.sin(2 * math.pi * (day % DAYS) / DAYS)
            customers = min(draw_poisson(mean, rng), p["max_demand"])
            older = len(shop.queue)
            shop.queue += [day] * customers
            served = 0
            while shop.queue and shop.shelf:
                shop.queue.pop(0)
                shop.shelf.pop(0)
                served += 1
            del shop.shelf[p["x_high"] :]
            del shop.queue[-p["x_low"] :]
            money += p["price"] * served - p["holding"] * abs(len(shop.shelf) - p["target"])
            money -= p["backlog_cost"] * len(shop.queue)
            found["money"].append(money)
            found["orders"].append(order)
            found["demand"].append(customers)
            found["at_once"].append(max(served - older, 0))
    return found


def share_out(store, orders, rng):
    """Take from the store what each is sent: all, or every so many of the units ordered, laid side by side."""
    line = [i for i, order in enumerate(orders) for _ in range(order)]
    parcels = [[] for _ in orders]
    there, offset = len(store), rng.random()
    if len(line) > there:
        line = [line[int((unit + offset) * len(line) / there)] for unit in range(there)]
    for i in line:
        parcels[i].append(store.pop())
    return parcels


def draw_poisson(mean, rng):
    """Arrivals in a unit of time."""
    clock, count = rng.expovariate(mean), 0
    while clock < 1.0:
        clock, count = clock + rng.expovariate(mean), count + 1
    return count
