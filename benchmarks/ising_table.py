"""Print the README's table of the Ising transition: learners, heat bath, Onsager, and how far tables are from their fixed point.

Usage: python benchmarks/ising_table.py FOLDER, that of
    kofn study ising-transition --runs 50 -o FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import kofn
from kofn.engine.learning.ising import onsager_magnetisation

SHOWN = (0.8, 0.9, 1.0, 1.1, 1.15, 1.2, 1.3, 1.5, 2.0)
NEAR = 0.02


def error_of_tables(folder: Path, temperature: float) -> float:
    """Mean squared distance of Q(u, ±1) from ±(u − 2), over runs, agents and the entries of both actions."""
    (path,) = [path for path in (folder / "cells").glob("*.h5") if f"T={temperature}.h5" in path.name]
    learned = kofn.read_learned(path)
    ups = np.arange(5.0) - 2.0
    return float(np.mean((learned.q - np.stack([-ups, ups], axis=1)) ** 2))


def main(folder: str) -> None:
    study = kofn.read_learning_study(Path(folder) / "learning.h5")
    print("| T_q | Onsager | heat bath | MF-Q | runs within 0.02 of Onsager | mean squared error of Q |")
    print("|---|---|---|---|---|---|")
    for i, temperature in enumerate(study.temperature.tolist()):
        if round(temperature, 3) not in SHOWN:
            continue
        onsager = float(onsager_magnetisation(temperature))
        bath = float(study.arrays["heat_bath"][0, 0, i].mean())
        runs = study.arrays["abs_weight"][0, 0, 0, i]
        mean, half = (float(study.arrays[name][0, 0, 0, i]) for name in ("mean_abs_weight", "abs_weight_half_width"))
        near = f"{int((np.abs(runs - onsager) <= NEAR).sum())} of {runs.size}" if onsager > 0.0 else ""
        cells = [f"{temperature:g}", f"{onsager:.3f}", f"{bath:.3f}", f"{mean:.3f} ± {half:.3f}"]
        cells += [near, f"{error_of_tables(Path(folder), temperature):.1e}"]
        print(f"| {' | '.join(cells)} |")
    crossing = float(study.arrays["crossing"][0, 0, 0])
    print(f"\nhalf height is crossed at T_q = {crossing:.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
