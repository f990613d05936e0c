"""A year of 100 retailers, unit by unit, on one core, against plain vectorised NumPy; and memory that grows with n alone."""

import resource
import time

import numpy as np
import pytest

from kofn.engine.inventory.policies import base_stock, order_cuts
from kofn.engine.inventory.simulate import simulate_inventory
from kofn.engine.inventory.spec import SIZES
from kofn.kernels.inventory import parts

LEVELS, PERIODS = (55, 28), 365


def run_kernel(n, periods=PERIODS, runs=1):
    """Counts of base stock on the medium size."""
    spec = SIZES["medium"]
    return simulate_inventory(spec, base_stock(spec, LEVELS), n=n, periods=periods, runs=runs, seed=1)


def run_numpy(n, seed):
    """The same job, all retailers at a time: profit per retailer and period."""
    spec, rng = SIZES["medium"], np.random.default_rng(seed)
    lot = spec.lot
    sizes, cuts = lot * np.array(spec.orders), order_cuts(spec)
    x, z, stock, profit = np.full(n, 10), np.full(n, 20), 40 * n, 0.0
    for day in range(PERIODS):
        order = sizes[np.searchsorted(cuts, LEVELS[day > 182] - x - z, side="left")]
        wanted, sent = order.sum(), order
        if wanted > stock:
            sent = np.diff((stock * np.cumsum(order) + rng.integers(wanted)) // wanted, prepend=0)
        stock = min(stock - sent.sum() + 22 * n, 40 * n)
        late = rng.random(n) < spec.slip
        in_transit = np.where(late, np.minimum(z + sent, lot * spec.max_transit), sent)
        on_shelf = np.maximum(x, 0) + z + sent - in_transit
        demand = np.minimum(rng.poisson(15 + 10 * np.sin(2 * np.pi * day / 365), n), spec.max_demand)
        owed = np.maximum(-x, 0) + demand
        served = np.minimum(on_shelf, owed)
        shelf = np.minimum(on_shelf - served, lot * spec.max_inventory)
        queue = np.minimum(owed - served, lot * spec.max_backlog)
        x, z = shelf - queue, in_transit
        profit += (2 * served - sent - 0.5 * abs(shelf - spec.target) - queue).sum()
    return profit / (n * PERIODS)


@pytest.mark.parametrize("n", [100, 1000])
def test_year_of_retailers(benchmark, enough, one_core, n):
    enough(n == 100)
    expected = run_kernel(n)
    began = time.perf_counter()
    by_numpy = run_numpy(n, 1)
    taken = time.perf_counter() - began
    # Both are of the same law: the standard deviation of a year's mean is about .1 for 100 retailers.
    assert abs(by_numpy - expected.profit[0]) < 10 / np.sqrt(n)
    benchmark.extra_info.update(retailer_periods=n * PERIODS, numpy_s=taken, memory_growth_bytes=growth_with_periods(n))
    np.testing.assert_array_equal(benchmark.pedantic(run_kernel, args=(n,), rounds=5).sums, expected.sums)
    if benchmark.stats is not None:
        benchmark.extra_info["numpy_over_kernel"] = taken / benchmark.stats.stats.min


def growth_with_periods(n):
    """How much the largest memory of the process grows when a run gets ten times as long."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    long = run_kernel(n, 10 * PERIODS)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert long.sums[0, parts.DEMANDED] > 9 * n * PERIODS * 15
    # An array of the periods and the retailers would take 8 bytes each.
    assert grown < 8 * 10 * PERIODS * n / 2
    return grown
