"""From a spec and a policy to what the simulator's kernels take."""

from __future__ import annotations

import numpy as np

from ...kernels.inventory.parts import Policy, World
from ..learning.views import NO_LENS, lens_of
from .demand import season_of_days
from .policies import OrderPolicy, order_cuts
from .spec import InventorySpec
from .tables import fill_rates, start_lots, stock_laws

UNITS = ("unit", "lot")
SEASONS = ("day", "random")
UPSTREAM = ("stock", "levels")


def world_of(spec: InventorySpec, units: str, seasons: str, upstream: str) -> World:
    """The world of a spec.

    Parameters
    ----------
    units : "unit" or "lot"          what goods come in; demand is rounded to lots as in the table game
    seasons : "day" or "random"      the mean demand of the day, t mod 365; or the table game's seasons, which end at random
    upstream : "stock" or "levels"   whole units that all share; or the table game's levels, with its bins of the mean order
    """
    is_random, by_levels = seasons == "random", upstream == "levels"
    laws, row = (spec.laws_of_seasons, np.arange(spec.n_seasons)) if is_random else spec.laws_of_days
    cumulative = np.cumsum(laws, axis=1)
    cumulative[:, -1] = 1.0
    x, z = start_lots(spec)
    n_levels, n_f = len(spec.stock_levels), spec.field.n_values
    return World(
        grain=spec.lot if units == "lot" else 1,
        lot=spec.lot,
        x_low=-spec.lot * spec.max_backlog,
        x_high=spec.lot * spec.max_inventory,
        z_high=spec.lot * spec.max_transit,
        orders=spec.lot * np.array(spec.orders, dtype=np.int64),
        levels=np.array(spec.stock_levels, dtype=np.int64),
        by_levels=int(by_levels),
        rates=fill_rates(spec) if by_levels else np.ones((n_levels, n_f)),
        stock_law=stock_laws(spec) if by_levels else np.zeros((n_levels, n_f, n_levels)),
        field=lens_of(spec.field),
        random_seasons=int(is_random),
        season=season_of_days(spec.n_seasons),
        season_ends=spec.season_ends,
        production=spec.production,
        slip=spec.slip,
        target=spec.target,
        demand=cumulative,
        row=np.ascontiguousarray(row, dtype=np.int64),
        start_anywhere=int(spec.start == "uniform"),
        start_x=spec.lot * x,
        start_z=spec.lot * z,
    )


def policy_of(spec: InventorySpec, policy: OrderPolicy) -> Policy:
    """A policy as the kernels read it."""
    return Policy(
        kind=policy.kind,
        constant=policy.constant,
        base=np.zeros(spec.n_seasons, dtype=np.int64) if policy.base is None else policy.base,
        cuts=order_cuts(spec),
        law=np.zeros((1, 1, len(spec.orders))) if policy.laws is None else np.array(policy.laws),
        lens=NO_LENS if policy.seen is None else lens_of(policy.seen),
    )
