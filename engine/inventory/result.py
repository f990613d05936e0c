"""What simulated retailers earned, with units and intervals over runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...kernels.inventory import parts
from ..learning.result import half_width

MONEY, GOODS = "money per retailer and period", "units per retailer"
PER_PERIOD = "units per retailer and period"

# Name: unit, what it is, whether n retailers together have n times as much.
METRICS: dict[str, tuple[str, str, bool]] = {
    "profit": (MONEY, "revenue − purchase − holding − backlog cost", True),
    "revenue": (MONEY, "price of the units handed to customers", True),
    "purchase": (MONEY, "cost of the units sent to retailers", True),
    "holding": (MONEY, "cost of the stock on hand being off its target", True),
    "backlog_cost": (MONEY, "cost of the backlog", True),
    "on_hand": (GOODS, "stock on hand at the end of a period", True),
    "backlog": (GOODS, "demand not yet served at the end of a period", True),
    "order": (PER_PERIOD, "order", True),
    "sent": (PER_PERIOD, "goods sent", True),
    "lost": (PER_PERIOD, "demand lost beyond the backlog that customers stand", True),
    "spoiled": (PER_PERIOD, "stock taken away beyond what the store holds", True),
    "added": (PER_PERIOD, "goods that levels and bins of the table game add upstream", True),
    "fill_rate": ("share of demand", "demand served in its period", False),
    "short_periods": ("share of periods", "periods in which a retailer could not serve all", False),
    "bullwhip": ("1", "variance of a retailer's orders / of its demand", False),
    "system_bullwhip": ("1", "variance of all orders / of all demand", False),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class InventoryRuns:
    """Runs of one policy; arrays with one row per run.

    Parameters
    ----------
    config : dict                         game, policy, n, periods, runs, first_run, seed, units, seasons, upstream, spec
    sums : int64[runs, N_COUNTS]          counts of `kernels.inventory.parts`, summed over retailers and periods
    retailer_profit : float64[runs, n]    money per period of each retailer
    variances : float64[runs, 2]          over time, of a retailer's orders and of its demand, mean over retailers; units²
    moments : float64[runs, 5]            Σ over periods of the mean order, its square, the mean demand, its square, and of what
        rounding to levels and bins added to the upstream stock per retailer
    series : int64[runs, periods, N_TOTALS]    totals over the retailers; or int64[runs, 0, N_TOTALS]
    wall_time_s : float
    versions : dict
    """

    config: dict[str, Any]
    sums: np.ndarray
    retailer_profit: np.ndarray
    variances: np.ndarray
    moments: np.ndarray
    series: np.ndarray
    wall_time_s: float
    versions: dict[str, str]

    @property
    def metrics(self) -> dict[str, np.ndarray]:
        """Each metric by run, float64[runs], in the units of METRICS."""
        spec, periods = self.config["spec"], self.config["periods"]
        each = self.sums / (self.config["n"] * periods)
        mean = self.moments / periods
        with np.errstate(divide="ignore", invalid="ignore"):
            found = {
                "revenue": spec["price"] * each[:, parts.SERVED],
                "purchase": spec["cost"] * each[:, parts.SENT],
                "holding": spec["holding"] * each[:, parts.OFF_TARGET],
                "backlog_cost": spec["backlog_cost"] * each[:, parts.BACKLOG],
                "on_hand": each[:, parts.ON_HAND],
                "backlog": each[:, parts.BACKLOG],
                "order": each[:, parts.ORDERED],
                "sent": each[:, parts.SENT],
                "lost": each[:, parts.LOST],
                "spoiled": each[:, parts.SPOILED],
                "fill_rate": each[:, parts.SERVED_AT_ONCE] / each[:, parts.DEMANDED],
                "short_periods": each[:, parts.SHORT_PERIODS],
                "added": mean[:, 4],
                "bullwhip": self.variances[:, 0] / self.variances[:, 1],
                "system_bullwhip": (mean[:, 1] - mean[:, 0] ** 2) / (mean[:, 3] - mean[:, 2] ** 2),
            }
        # Beside a demand that never varies, or a single period, there is no ratio.
        for name in ("bullwhip", "system_bullwhip"):
            found[name] = np.where(np.isfinite(found[name]), found[name], np.nan)
        profit = found["revenue"] - found["purchase"] - found["holding"] - found["backlog_cost"]
        return {name: profit if name == "profit" else found[name] for name in METRICS}

    @property
    def profit(self) -> np.ndarray:
        """Money per retailer and period, by run, float64[runs]."""
        return self.metrics["profit"]

    def summary(self) -> dict[str, Any]:
        """Means over runs with 95 % intervals (Student's t), their units, and n times as much for the system; JSON-ready."""
        n = self.config["n"]
        found = {}
        for name, values in self.metrics.items():
            unit, meaning, extensive = METRICS[name]
            found[name] = {
                "mean": float(values.mean()),
                "half_width": half_width(values),
                "unit": unit,
                "meaning": meaning,
            }
            if extensive:
                found[name] |= {"system_mean": n * float(values.mean()), "system_half_width": n * half_width(values)}
        by_retailer = self.retailer_profit.mean(axis=0)
        spread = {"least": float(by_retailer.min()), "largest": float(by_retailer.max()), "unit": MONEY}
        return {
            "policy": self.config["policy"], "n": n, "periods": self.config["periods"], "runs": self.config["runs"],
            "units": self.config["units"], "metrics": found, "retailers": spread, "wall_time_s": self.wall_time_s,
        }  # fmt: skip

    def __repr__(self) -> str:
        config = self.config
        return (
            f"InventoryRuns({config['policy']}, n={config['n']}, periods={config['periods']}, runs={config['runs']}, "
            f"units={config['units']!r}, profit={self.profit.mean():.6g} ± {half_width(self.profit):.2g})"
        )


@dataclass(frozen=True)
class Paired:
    """A difference of profits over runs of the same demand."""

    mean: float  # money per retailer and period
    half_width: float  # of the 95 % interval of Student's t; NaN for one run

    @property
    def is_above(self) -> bool:
        """Whether the whole interval lies above 0."""
        return math.isfinite(self.half_width) and self.mean > self.half_width


def paired_difference(first: InventoryRuns, second: InventoryRuns) -> Paired:
    """Profit of the first minus that of the second, run by run.

    Raises
    ------
    ValueError    the runs are not of the same retailers, periods, seed and units, and so not of the same demand
    """
    for name in ("n", "periods", "runs", "first_run", "seed", "units", "seasons", "upstream", "spec"):
        if first.config[name] != second.config[name]:
            raise ValueError(f"runs: found {name} {first.config[name]} and {second.config[name]}, expected the same")
    gap = first.profit - second.profit
    return Paired(float(gap.mean()), half_width(gap))


def beats_base_stock(runs: InventoryRuns, base: InventoryRuns) -> bool:
    """Whether the profit is above that of base stock, with 95 % confidence, paired over the runs."""
    return paired_difference(runs, base).is_above
