"""Runs of n retailers, unit by unit: the measure of what lots, seasons and levels of the table game leave out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...kernels.inventory import parts
from ...kernels.inventory.simulate import simulate_run
from ...kernels.streams import checked_seed
from ..backups.selection import TooLargeError, default_memory_bytes, readable_bytes
from ..checked import whole_number
from ..game import positive_integer
from ..solve import Interrupted
from ..tabulation import shown
from ..threads import in_threads
from ..versions import library_versions
from .policies import OrderPolicy
from .result import InventoryRuns
from .spec import InventorySpec, spec_of
from .world import SEASONS, UNITS, UPSTREAM, policy_of, world_of

MAX_ORDERED = 2**31
"""Units that all retailers together may order in a period: products of two such numbers fit 64 bits."""

MAX_RUNS = 2**30
MAX_PERIODS = 10_000_000


def simulate_inventory(
    spec: InventorySpec | str,
    policy: OrderPolicy | Sequence[OrderPolicy],
    *,
    n: int | None = None,
    periods: int = 365,
    runs: int = 20,
    seed: int = 0,
    units: str = "unit",
    seasons: str | None = None,
    upstream: str | None = None,
    series: bool = False,
    first_run: int = 0,
    memory_bytes: int | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> InventoryRuns:
    """Let retailers order, and count all goods and what they cost.

    Parameters
    ----------
    spec : InventorySpec, or "tiny", "medium", "large"
    policy : OrderPolicy, or several, of which run r plays number r modulo their number
    n : int, optional           retailers; by default the spec's agents
    periods, runs, seed : int   the same seed and run have the same demand and the same late shipments whatever is ordered
    units : "unit" or "lot"     what goods come in. States are seen in lots, and orders are of the spec's sizes, in both
    seasons : "day" or "random", optional
        The mean demand of the day, t mod 365, the default for units; or seasons that end at random, the default for lots.
    upstream : "stock" or "levels", optional
        Whole units that all share, the default for units; or levels and bins of the mean order, the default for lots. So lots are
        the table game unless told otherwise: its profit has the mean of the rewards there.
    series : bool               also keep the totals of every period
    first_run : int             number of the first run in the random streams
    memory_bytes : int, optional
    should_stop : function without arguments

    Returns
    -------
    InventoryRuns

    Raises
    ------
    ValueError        bad input
    TooLargeError     the counts do not fit the memory
    ArithmeticError   goods or demands do not balance in some period, which they always should
    Interrupted
    """
    spec = spec_of(spec)
    n = positive_integer("n", spec.agents if n is None else n)
    spec = spec.changed(agents=n) if n != spec.agents else spec
    periods, runs = positive_integer("periods", periods), positive_integer("runs", runs)
    first_run = whole_number("first_run", first_run, 0, 2**32)
    _check_sizes(spec, n, periods, runs, first_run, series, memory_bytes)
    as_in_tables = units == "lot"
    seasons = SEASONS[as_in_tables] if seasons is None else seasons
    upstream = UPSTREAM[as_in_tables] if upstream is None else upstream
    for name, value, known in (
        ("units", units, UNITS),
        ("seasons", seasons, SEASONS),
        ("upstream", upstream, UPSTREAM),
    ):
        if value not in known:
            raise ValueError(f"{name}: found {shown(value)}, expected one of {', '.join(known)}")
    played = _as_list(policy)
    _check_policies(spec, played, n)
    began = time.perf_counter()
    world, key = world_of(spec, units, seasons, upstream), checked_seed(seed)
    as_read = [policy_of(spec, each) for each in played[:runs]]
    sums = np.zeros((runs, parts.N_COUNTS), dtype=np.int64)
    profits, variances = np.zeros((runs, n)), np.zeros((runs, 2))
    moments, imbalance = np.zeros((runs, 5)), np.zeros(runs, dtype=np.int64)
    kept = np.zeros((runs, periods if series else 0, parts.N_TOTALS), dtype=np.int64)

    def play(run: int) -> None:
        if should_stop is not None and should_stop():
            raise Interrupted(f"stopped before run {run} of {runs}; nothing of it written")
        counts = np.zeros((n, parts.N_COUNTS), dtype=np.int64)
        chosen = as_read[run % len(played)]
        imbalance[run] = simulate_run(world, chosen, key, first_run + run, periods, counts, moments[run], kept[run])
        sums[run] = counts.sum(axis=0)
        profits[run] = profits_of(spec, counts) / periods
        variances[run] = _variances(counts, periods)

    in_threads(play, runs)
    if imbalance.any():
        worst = int(imbalance.argmax())
        raise ArithmeticError(
            f"goods: found {imbalance[worst]} units too many or too few in run {worst}, expected a balance"
        )
    config = {
        "game": spec.name, "policy": played[0].name if len(played) == 1 else f"{played[0].name}, {len(played)} tables", "n": n,
        "periods": periods, "runs": runs, "first_run": first_run, "seed": int(key), "units": units, "seasons": seasons,
        "upstream": upstream, "spec": spec.parts(),
    }  # fmt: skip
    return InventoryRuns(
        config=config, sums=sums, retailer_profit=profits, variances=variances, moments=moments, series=kept,
        wall_time_s=time.perf_counter() - began, versions=library_versions(),
    )  # fmt: skip


def profits_of(spec: InventorySpec, counts: np.ndarray) -> np.ndarray:
    """Money earned, from counts int64[…, N_COUNTS]: float64[…]."""
    return (
        spec.price * counts[..., parts.SERVED]
        - spec.cost * counts[..., parts.SENT]
        - spec.holding * counts[..., parts.OFF_TARGET]
        - spec.backlog_cost * counts[..., parts.BACKLOG]
    )


def _variances(counts: np.ndarray, periods: int) -> tuple[float, float]:
    """Variance over time of a retailer's orders and demands, mean over retailers."""
    pairs = ((parts.ORDERED, parts.ORDERED_SQUARED), (parts.DEMANDED, parts.DEMANDED_SQUARED))
    found = [
        float(np.mean(counts[:, squared] / periods - (counts[:, first] / periods) ** 2)) for first, squared in pairs
    ]
    return found[0], found[1]


def _check_sizes(
    spec: InventorySpec, n: int, periods: int, runs: int, first_run: int, series: bool, memory_bytes: int | None
) -> None:
    most = MAX_ORDERED // (spec.lot * max(spec.max_transit, spec.max_inventory, spec.stock_levels[-1]))
    if n > most:
        raise ValueError(f"n: found {n} retailers, expected at most {most}")
    for name, value, limit in (("periods", periods, MAX_PERIODS), ("runs", runs, MAX_RUNS)):
        if value > limit:
            raise ValueError(f"{name}: found {value}, expected at most {limit}")
    if first_run > 2**32 - runs:
        raise ValueError(f"first_run: found {first_run}, expected at most {2**32 - runs} for {runs} runs")
    needed = 8 * (runs * n + n * (parts.N_COUNTS + 5) + (runs * periods * parts.N_TOTALS if series else 0))
    available = default_memory_bytes() if memory_bytes is None else memory_bytes
    if needed > available:
        raise TooLargeError(
            f"runs: {runs} runs of {n} retailers take {readable_bytes(needed)}, expected at most {readable_bytes(available)}; "
            "lower runs or n" + (", or keep no series" if series else "")
        )


def _as_list(policy: Any) -> list[OrderPolicy]:
    played = list(policy) if isinstance(policy, list | tuple) else [policy]
    for each in played:
        if not isinstance(each, OrderPolicy):
            raise ValueError(
                f"policy: found {shown(each)}, expected an OrderPolicy, as of base_stock or learned_orders"
            )
    return played


def _check_policies(spec: InventorySpec, played: list[OrderPolicy], n: int) -> None:
    if not played:
        raise ValueError("policy: found none, expected at least one")
    for policy in played:
        if policy.n_tables not in (1, n):
            raise ValueError(f"policy: found tables of {policy.n_tables} retailers, expected {n}, or one for all")
        if policy.constant >= len(spec.orders) or (policy.base is not None and policy.base.size != spec.n_seasons):
            raise ValueError(
                f"policy: found {policy.name} of another spec, expected one of this spec's orders and seasons"
            )
        if policy.laws is not None and policy.laws.shape[2] != len(spec.orders):
            raise ValueError(f"policy: found laws of {policy.laws.shape[2]} orders, expected {len(spec.orders)}")
