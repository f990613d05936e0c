"""Print the README's tables of the Gaussian squeeze: rewards as shares of the best, by method and number of agents.

Usage: python benchmarks/squeeze_table.py FOLDER, that of
    kofn study gaussian-squeeze-scaling -o FOLDER
    kofn study gaussian-squeeze-scaling --method mfq -n 500,1000 --runs 1000 -o FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

import kofn

FAIR = 0.4


def main(folder: str) -> None:
    study = kofn.read_learning_study(Path(folder) / "learning.h5")
    methods = study.method.tolist()
    print(
        f"| n | uniform play | independent Q | MF-Q | its runs, 5 … 95 % | lowest … highest | above {FAIR} | chance of that |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for i, n in enumerate(study.n.tolist()):
        best = float(study.arrays["best_reward"][0, i])
        shares = {method: study.arrays["reward"][0, j, i, 0] / best for j, method in enumerate(methods)}
        learned = shares["mfq"]
        uniform = float(study.arrays["uniform_reward"][0, i]) / best
        blind = f"{shares['iq'].mean():.3f}" if "iq" in shares else ""
        middle, ends = np.quantile(learned, [0.05, 0.95]), (learned.min(), learned.max())
        above = int((learned > FAIR).sum())
        # Clopper and Pearson (1934): never shorter than 95 %.
        chance = binomtest(above, learned.size).proportion_ci(0.95, method="exact")
        cells = [f"{n}", f"{uniform:.3f}", blind, f"{learned.mean():.3f}"]
        cells += [f"{low:.3f} … {high:.3f}" for low, high in (middle, ends)]
        cells += [f"{above} of {learned.size}", f"{chance.low:.3f} … {chance.high:.3f}"]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main(sys.argv[1])
