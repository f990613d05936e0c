"""Print the README's table of the Gaussian squeeze: rewards as shares of the best, by method and number of agents.

Usage: python benchmarks/squeeze_table.py FOLDER, that of
    kofn study gaussian-squeeze-scaling -o FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import kofn

FAIR = 0.4


def main(folder: str) -> None:
    study = kofn.read_learning_study(Path(folder) / "learning.h5")
    methods = study.method.tolist()
    print(f"| n | uniform play | independent Q | MF-Q | lowest and highest run | runs above {FAIR} |")
    print("|---|---|---|---|---|---|")
    for i, n in enumerate(study.n.tolist()):
        best = float(study.arrays["best_reward"][0, i])
        shares = {method: study.arrays["reward"][0, j, i, 0] / best for j, method in enumerate(methods)}
        learned = shares["mfq"]
        uniform = float(study.arrays["uniform_reward"][0, i]) / best
        cells = [f"{n}", f"{uniform:.3f}", f"{shares['iq'].mean():.3f}", f"{learned.mean():.3f}"]
        cells += [f"{learned.min():.3f} … {learned.max():.3f}", f"{int((learned > FAIR).sum())} of {learned.size}"]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main(sys.argv[1])
