"""A policy beside the simple rules, under the same demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .baselines import Search, best_base_stock, best_constant
from .policies import OrderPolicy, random_orders
from .result import InventoryRuns, Paired, paired_difference
from .simulate import simulate_inventory
from .spec import InventorySpec

POLICY, BASE_STOCK, CONSTANT, RANDOM = "policy", "base-stock", "constant", "random"
RULES = (BASE_STOCK, CONSTANT, RANDOM)


@dataclass(frozen=True, kw_only=True, eq=False)
class InventoryComparison:
    """Runs of a policy and of the rules it is compared with.

    Parameters
    ----------
    played : str                       name of the policy that was asked for, a key of `runs`
    runs : dict of InventoryRuns       "policy" (if it is none of the rules), "base-stock", "constant", "random"
    """

    played: str
    runs: dict[str, InventoryRuns]

    @property
    def difference(self) -> Paired | None:
        """Profit of the policy minus that of base stock, paired over the runs; None for base stock itself."""
        if self.played == BASE_STOCK:
            return None
        return paired_difference(self.runs[self.played], self.runs[BASE_STOCK])

    @property
    def beats_base_stock(self) -> bool | None:
        """Whether that is above 0 with 95 % confidence."""
        return None if self.difference is None else self.difference.is_above

    def summary(self) -> dict[str, Any]:
        """All of it, JSON-ready."""
        gap = self.difference
        return {
            "game": self.runs[BASE_STOCK].config["game"],
            "played": self.played,
            "beats_base_stock": self.beats_base_stock,
            "profit_above_base_stock": None if gap is None else {"mean": gap.mean, "half_width": gap.half_width},
            "policies": {name: runs.summary() for name, runs in self.runs.items()},
        }


def compare_inventory(
    spec: InventorySpec,
    policy: str | OrderPolicy | Sequence[OrderPolicy],
    *,
    n: int,
    periods: int = 365,
    runs: int = 20,
    seed: int = 0,
    units: str = "unit",
    series: bool = False,
    memory_bytes: int | None = None,
    progress: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> InventoryComparison:
    """Simulate a policy, the best base stock, the best constant order and random orders, all under the same demand.

    The best are searched for with other random numbers.

    Parameters
    ----------
    policy : "base-stock", "constant" or "random", an OrderPolicy, or several (run r plays number r modulo their number)
    progress : function of a word on what is being done
    n, periods, runs, seed, units, series, memory_bytes, should_stop : as in `simulate_inventory`
    """
    tell = progress if progress is not None else lambda word: None
    search = Search(n=n, periods=periods, seed=seed, units=units, should_stop=should_stop)
    found: dict[str, OrderPolicy | Sequence[OrderPolicy]] = {}
    if not isinstance(policy, str):
        found[POLICY] = policy
    tell("searching the best base stock")
    found[BASE_STOCK] = best_base_stock(spec, search)
    tell("searching the best constant order")
    found[CONSTANT] = best_constant(spec, search)
    found[RANDOM] = random_orders()
    played = policy if isinstance(policy, str) else POLICY
    if played not in found:
        raise ValueError(f"policy: found {played!r}, expected one of {', '.join(RULES)}, or a policy")
    done = {}
    for name, each in found.items():
        tell(f"simulating {name}")
        done[name] = simulate_inventory(
            spec, each, n=n, periods=periods, runs=runs, seed=seed, units=units, memory_bytes=memory_bytes,
            series=series and name in (played, BASE_STOCK), should_stop=should_stop,
        )  # fmt: skip
    return InventoryComparison(played=played, runs=done)
