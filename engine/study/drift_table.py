"""The results of a study of importance weights as a table for people, and what it will do."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

from ..export_tables import Table
from .drift_results import ARRAYS, DriftStudy
from .drift_settings import DriftStudySettings

_AXES = ("drift", "n", "samples", "form", "reward")


def drift_lines(result: DriftStudy) -> list[str]:
    """Lines that `kofn study` prints: a table for each drift and reward, and the moments of the weights."""
    asked = result.config
    lines = [
        f"{asked['replications']} estimates each, weights clipped at {asked['clip']:g}, bounds for delta = {asked['delta']:g}",
        "bound: variance + range + clipping, with the exact mean of weights above the clip. covered: with it; by mean: with a",
        "bound of it from the mean of the clipped weights; by sample: with what was above the clip in each sample;",
        "all four: of the value of infinitely many agents, with the mean-field term",
    ]
    for drift in result.drift.tolist():
        for reward in result.reward.tolist():
            lines += ["", f"{drift}, {reward}"]
            lines.append(
                f"{'n':>6s} {'samples':>8s} {'form':>9s} {'exact':>9s} {'bias':>9s} {'|error|':>9s} {'RMSE':>9s} {'bound':>9s} "
                f"{'variance':>9s} {'range':>9s} {'clipping':>9s} {'covered':>8s} {'95 % interval':>15s} {'by mean':>8s} "
                f"{'by sample':>9s} {'all four':>8s} {'clipped':>8s}"
            )
            for n, samples, form in itertools.product(result.n.tolist(), result.samples.tolist(), result.form.tolist()):
                lines.append(
                    _line(result, {"drift": drift, "n": n, "samples": samples, "form": form, "reward": reward})
                )
        lines += ["", f"{drift}: mean square of the weights, exact", f"{'n':>6s} {'product':>10s} {'marginal':>10s}"]
        for n in result.n.tolist():
            log_product = float(result.sel("log_second_moment_product", drift=drift, n=n))
            log_marginal = float(result.sel("log_second_moment_marginal", drift=drift, n=n))
            lines.append(f"{n:6d} {_power(log_product):>10s} {_power(log_marginal):>10s}")
    return lines


def _line(result: DriftStudy, at: dict[str, Any]) -> str:
    def of(name: str) -> float:
        return float(result.sel(name, **{axis: at[axis] for axis in ARRAYS[name].axes}))

    terms = " ".join(
        f"{of(name):9.3g}"
        for name in ("abs_error", "rmse", "half_width", "variance_term", "range_term", "clipping_term")
    )
    covered = f"{of('covered'):8.3f} {of('covered_low'):7.3f} - {of('covered_high'):.3f} "
    covered += f"{of('covered_complement'):8.3f} {of('covered_estimated'):9.3f}"
    return (
        f"{at['n']:6d} {at['samples']:8d} {at['form']:>9s} {of('exact'):9.4f} {of('estimate') - of('exact'):9.2g} {terms} "
        f"{covered} {of('covered_limit'):8.3f} {of('clip_rate'):8.2g}"
    )


def _power(log: float) -> str:
    """exp of a number that may be too large for a double."""
    if log == math.inf:
        return "inf"
    if log < math.log(1e15):
        return f"{math.exp(log):.4g}"
    exponent = math.floor(log / math.log(10))
    return f"{10 ** (log / math.log(10) - exponent):.2f}e{exponent}"


def drift_plan_lines(settings: DriftStudySettings, finished: frozenset[str] = frozenset()) -> list[str]:
    """The lines that `kofn study --dry-run` prints for a study of importance weights."""
    width = max(len(cell.name) for cell in settings.cells)
    draws = settings.replications * sum(settings.samples)
    lines = [f"{'cell':{width}s} {'estimates':>10s} {'samples':>9s}"]
    for cell in settings.cells:
        done = "  finished" if cell.name in finished else ""
        lines.append(
            f"{cell.name:{width}s} {settings.replications * len(settings.samples):10d} {float(draws):9.2e}{done}"
        )
    left = len(settings.cells) - len(finished)
    lines.append(f"{len(settings.cells)} cells, {len(finished)} finished; {float(left * draws):.2e} samples left")
    return lines


def tabulate_drift(result: DriftStudy) -> Table:
    """One row for each point of the grid, with what does not depend on all axes repeated."""

    def rows() -> Iterator[list[Any]]:
        labels = [getattr(result, axis).tolist() for axis in _AXES]
        for index in itertools.product(*(range(len(x)) for x in labels)):
            at = dict(zip(_AXES, index, strict=True))
            yield [values[i] for values, i in zip(labels, index, strict=True)] + [
                float(result.arrays[name][tuple(at[axis] for axis in field.axes)]) for name, field in ARRAYS.items()
            ]

    return Table(header=[*_AXES, *ARRAYS], rows=rows())
