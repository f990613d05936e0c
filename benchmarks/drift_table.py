"""Print the README's tables of inventories under drift, from the scores of every run.

Usage: python benchmarks/drift_table.py SCORES.csv, that of
    kofn study inventory-drift -o FOLDER
    kofn score FOLDER -o SCORES.csv --figure FIGURE.png
"""

from __future__ import annotations

import csv
import sys

import numpy as np

from kofn.engine.learning.result import half_width
from kofn.engine.statistics.compare import Comparison, compare, corrected

METRICS = {"profit": "profit", "on_hand": "stock on hand", "backlog": "backlog", "nash_conv": "NashConv"}
REFERENCE, WEIGHED = "mfq+none", ("mfq+product", "mfq+marginal", "mfq+selfnorm")
RULES = ("base stock", "constant", "random")


def main(path: str) -> None:
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    values: dict[tuple[int, str, str], np.ndarray] = {}
    for row in rows:
        for metric in METRICS:
            key = (int(row["n"]), row["method"], metric)
            values[key] = np.append(values.get(key, np.zeros(0)), float(row[metric]))
    ns = sorted({n for n, _, _ in values})
    methods = [method for method in dict.fromkeys(row["method"] for row in rows) if method not in RULES]
    print(f"| n | method | {' | '.join(METRICS.values())} | beats base stock |\n|---|---|---|---|---|---|---|")
    for n in ns:
        for method in (*methods, RULES[0]):
            cells = [_mean(values[n, method, metric]) for metric in METRICS]
            print(f"| {n} | {method} | {' | '.join(cells)} | {_beats(values, n, method)} |")
    found = [
        (n, comparison)
        for n in ns
        for metric in METRICS
        for comparison in compare(
            {name: values[n, name, metric] for name in (REFERENCE, *WEIGHED)}, reference=REFERENCE, metric=metric,
            correction="none",
        )
    ]  # fmt: skip
    together = corrected([comparison for _, comparison in found])
    told = {(n, c.group, c.metric): c for (n, _), c in zip(found, together, strict=True)}
    print(f"\n| n | weights | {' | '.join(METRICS.values())} |\n|---|---|---|---|---|---|")
    for n in ns:
        for group in WEIGHED:
            cells = [_difference(told[n, group, metric]) for metric in METRICS]
            print(f"| {n} | {group.partition('+')[2]} | {' | '.join(cells)} |")
    print(f"\n{len(together)} comparisons; * p < 0.05 by paired t after Holm's correction for all of them")


def _mean(found: np.ndarray) -> str:
    half = half_width(found)
    return f"{found.mean():.4g} ± {half:.2g}" if half > 1e-9 else f"{found.mean():.4g}"


def _beats(values: dict[tuple[int, str, str], np.ndarray], n: int, method: str) -> str:
    if method in RULES:
        return ""
    gap = values[n, method, "profit"] - values[n, RULES[0], "profit"]
    return "yes" if gap.mean() > half_width(gap) else "no"


def _difference(found: Comparison) -> str:
    half = (found.t_high - found.t_low) / 2
    return f"{found.difference:+.3g} ± {half:.2g}{' *' if found.p_t_adjusted < 0.05 else ''}"


if __name__ == "__main__":
    main(sys.argv[1])
