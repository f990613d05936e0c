"""Print the README's table of the two-phase experiment: backends, and their policies refined, under one evaluation.

Usage: python benchmarks/nash_table.py FOLDER, that of
    kofn study robots --method nash -k 1:50 -n 1000 --seeds 0:14 --runs 50 --steps 50 --closure uniform
        --expectation exact,rounded --refine -o FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

import kofn

SHOWN = (1, 2, 3, 5, 8, 10, 15, 20, 25, 30, 35, 40, 45, 50)


def paired(difference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds and half width of its 95 % t interval, of differences float64[n_k, n_seeds]."""
    n_seeds = difference.shape[1]
    half_width = stdtrit(n_seeds - 1, 0.975) * difference.std(axis=1, ddof=1) / n_seeds**0.5
    return difference.mean(axis=1), half_width


def main(folder: str) -> None:
    study = kofn.read_study(Path(folder) / "study.h5")
    returns = {kind: study.sel("mean_return", expectation=kind) for kind in ("exact", "rounded")}
    refined = study.sel("refined_mean_return", expectation="exact")
    gain, gain_half = paired(refined - returns["rounded"])
    plain, plain_half = paired(returns["exact"] - returns["rounded"])
    print("| k | rounded | exact | exact − rounded, paired | exact, refined for n | refined − rounded, paired |")
    print("|---|---|---|---|---|---|")
    for i, k in enumerate(study.k.tolist()):
        if k in SHOWN:
            cells = [f"{returns[kind][i].mean():.2f}" for kind in ("rounded", "exact")]
            cells += [f"{plain[i]:+.2f} ± {plain_half[i]:.2f}", f"{refined[i].mean():.2f}"]
            print(f"| {k} | {' | '.join(cells)} | {gain[i]:+.2f} ± {gain_half[i]:.2f} |".replace("-", "−"))
    below = [k for k, high in zip(study.k.tolist(), gain + gain_half, strict=True) if high < 0.0]
    print(f"\nk at which the refined policy is below the rounded one by more than its interval: {below or 'none'}")


if __name__ == "__main__":
    main(sys.argv[1])
