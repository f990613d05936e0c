"""What the inventory simulator takes: the world, a policy, and the places of what it counts.

Goods are whole units throughout. `grain` is the number of units that orders, shipments and demands are multiples of: 1, or a lot.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..learning.parts import Lens

DAYS = 365

# Kinds of policies.
RANDOM = 0
CONSTANT = 1
BASE_STOCK = 2
TABLE = 3

# Places of the counts of a retailer: sums over periods, in units, but for the squares and the periods.
DEMANDED = 0
ORDERED = 1
SENT = 2
SERVED = 3
SERVED_AT_ONCE = 4
LOST = 5
SPOILED = 6
ON_HAND = 7
BACKLOG = 8
OFF_TARGET = 9
SHORT_PERIODS = 10
ORDERED_SQUARED = 11
DEMANDED_SQUARED = 12
N_COUNTS = 13

# Places of a period's totals over all retailers, in units; the first nine are also counts of retailers.
IN_TRANSIT = 9
UPSTREAM = 10
PRODUCED = 11
ADJUSTED = 12
SEASON = 13
N_TOTALS = 14


class World(NamedTuple):
    """The retailers' world, in units. Seasons and the upstream stock may each follow the laws of the table game."""

    grain: int
    lot: int  # units per lot of states and orders
    x_low: int  # least net inventory
    x_high: int
    z_high: int  # most in transit
    orders: np.ndarray  # int64[n_al]
    levels: np.ndarray  # int64[n_levels], upstream stock per retailer
    by_levels: int  # 1: the upstream stock goes from level to level, 0: it is a number of units
    rates: np.ndarray  # float64[n_levels, n_f], share of an order that is sent, where it goes by levels
    stock_law: np.ndarray  # float64[n_levels, n_f, n_levels], likewise
    field: Lens  # of all orders, likewise
    random_seasons: int  # 1: a season ends with a probability, 0: it is that of the day
    season: np.ndarray  # int64[365], season of a day
    season_ends: float  # probability
    production: float  # per retailer and period
    slip: float
    target: int
    demand: np.ndarray  # float64[n_rows, n_d], cumulative, the last column 1
    row: np.ndarray  # int64[365], row of a day; or int64[n_seasons], of a random season
    start_anywhere: int  # 1: uniform on the lots of x and z, and on the levels
    start_x: int
    start_z: int


class Policy(NamedTuple):
    """How retailers order."""

    kind: int
    constant: int  # position in the orders
    base: np.ndarray  # int64[n_seasons], units that on hand, minus backlog, plus in transit are raised to
    cuts: np.ndarray  # float64[n_al − 1], units between two orders at which the larger is nearer
    law: np.ndarray  # float64[n_tables, n_o, n_al], of one table for all or one for each retailer
    lens: Lens  # of the others' last orders; o = ((s_g·n_sl) + s_l)·B + value


class Retailers(NamedTuple):
    """The retailers of one run, and what happens to them in a period."""

    x: np.ndarray  # int64[n], net inventory
    z: np.ndarray  # int64[n], in transit
    order: np.ndarray  # int64[n], position of the last order
    sent: np.ndarray  # int64[n], units
    seen: np.ndarray  # int64[n_al], value of the others' last orders, by the own one
    sums: np.ndarray  # float64[2, D], work space
