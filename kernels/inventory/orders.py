"""What retailers order: at random, always the same, up to a base stock, or by a table."""

from __future__ import annotations

import numpy as np

from ..compilation import kernel
from ..learning.fields import count_values, value_of_totals
from .parts import BASE_STOCK, CONSTANT, RANDOM


@kernel
def category_at(probabilities, uniform):
    """The category whose part of [0, 1) a uniform lies in; the last one that has a part, if rounding leaves the uniform past all.

    Parameters
    ----------
    probabilities : float64[n]
    uniform : float64

    Returns
    -------
    int64
    """
    category = np.int64(0)
    for candidate in range(probabilities.shape[0]):
        probability = probabilities[candidate]
        if probability > 0.0:
            category = np.int64(candidate)
            if uniform < probability:
                break
            uniform -= probability
    return category


@kernel
def nearest_order(cuts, lacking):
    """Position of the order nearest to what is lacking; the smaller one of two.

    Parameters
    ----------
    cuts : float64[n_al − 1]   midpoints between orders, in units
    lacking : int64            units

    Returns
    -------
    int64
    """
    position = np.int64(0)
    for place in range(cuts.shape[0]):
        if lacking > cuts[place]:
            position += 1
    return position


@kernel(error_model="numpy")
def lot_state(above, z, lot, n_z):
    """Local state of the table game nearest to given goods; halves go up.

    Parameters
    ----------
    above : int64     net inventory above the least one, units
    z : int64         in transit, units
    lot, n_z : int64  units per lot, values of the lots in transit

    Returns
    -------
    int64
    """
    return (2 * above + lot) // (2 * lot) * n_z + min((2 * z + lot) // (2 * lot), n_z - 1)


@kernel
def sum_weights(lens, order, out_totals):
    """Summed weights of all orders.

    Parameters
    ----------
    lens : Lens
    order : int64[n]          positions
    out_totals : float64[≥ D] overwritten for the features of the lens
    """
    for d in range(lens.weights.shape[0]):
        total = 0.0
        for i in range(order.shape[0]):
            total += lens.weights[d, order[i]]
        out_totals[d] = total


@kernel
def _see_others(lens, retailers):
    """Value of the others' last orders, for each own one."""
    totals, others = retailers.sums[0], retailers.sums[1]
    sum_weights(lens, retailers.order, totals)
    for own in range(retailers.seen.shape[0]):
        for d in range(lens.weights.shape[0]):
            others[d] = totals[d] - lens.weights[d, own]
        retailers.seen[own] = value_of_totals(lens, others, retailers.order.shape[0] - 1)


@kernel(error_model="numpy")
def place_orders(world, policy, season, level, uniforms, retailers):
    """Let every retailer order.

    Parameters
    ----------
    world : World
    policy : Policy
    season, level : int64    as retailers see them
    uniforms : float64[≥ n]  one for each retailer
    retailers : Retailers    `order` is overwritten, of the last orders, and work space
    """
    n_al = world.orders.shape[0]
    if policy.kind == RANDOM or policy.kind == CONSTANT:
        for i in range(retailers.order.shape[0]):
            retailers.order[i] = np.int64(uniforms[i] * n_al) if policy.kind == RANDOM else policy.constant
        return
    if policy.kind == BASE_STOCK:
        for i in range(retailers.order.shape[0]):
            retailers.order[i] = nearest_order(policy.cuts, policy.base[season] - retailers.x[i] - retailers.z[i])
        return
    _see_others(policy.lens, retailers)
    n_values = count_values(policy.lens)
    n_z = world.z_high // world.lot + 1
    first = (season * world.levels.shape[0] + level) * ((world.x_high - world.x_low) // world.lot + 1) * n_z
    for i in range(retailers.order.shape[0]):
        state = lot_state(retailers.x[i] - world.x_low, retailers.z[i], world.lot, n_z)
        o = (first + state) * n_values + retailers.seen[retailers.order[i]]
        retailers.order[i] = category_at(policy.law[i if policy.law.shape[0] > 1 else 0, o], uniforms[i])
