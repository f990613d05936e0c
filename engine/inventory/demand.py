"""Demand per retailer and period, in whole units: laws by day or season, from a formula or from a history.

The mean of day t of a year of 365 is mean + amplitude · sin(2πt/365). A year has seasons of equal length; day d lies in season
⌊d · n_seasons / 365⌋. The law of a season is that of the mean over its days, so that a season's demand varies a little less than
that of its days together.
"""

from __future__ import annotations

import csv
import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..tabulation import shown

DAYS = 365
"""Periods of a year."""

MOST_UNITS = 10_000
"""A retailer's demand in one period may not be larger."""

MOST_ROWS = 1_000_000
KINDS = ("poisson", "uniform")


def season_of_days(n_seasons: int) -> np.ndarray:
    """Season of each day of the year, int64[365]."""
    return np.arange(DAYS, dtype=np.int64) * n_seasons // DAYS


def means_of_days(mean: float, amplitude: float) -> np.ndarray:
    """Mean demand of each day of the year, float64[365], in units."""
    return mean + amplitude * np.sin(2.0 * np.pi * np.arange(DAYS) / DAYS)


def means_of_seasons(mean: float, amplitude: float, n_seasons: int) -> np.ndarray:
    """Mean demand of each season, float64[n_seasons], in units."""
    season = season_of_days(n_seasons)
    return np.bincount(season, means_of_days(mean, amplitude)) / np.bincount(season)


@functools.lru_cache(maxsize=16)
def demand_laws(kind: str, means: tuple[float, ...], most: int) -> np.ndarray:
    """Laws of a kind with these means on 0 … most, what lies above it lumped there: float64[n, most + 1], read-only.

    The laws of the last calls are kept: the days of a year take longer than a year of a hundred retailers.
    """
    laws = poisson_laws(np.array(means), most) if kind == "poisson" else np.array([uniform_law(x, most) for x in means])
    laws.setflags(write=False)
    return laws


def poisson_laws(means: np.ndarray, most: int) -> np.ndarray:
    """Poisson laws of means float64[n] on 0 … most, what lies above it lumped there: float64[n, most + 1]."""
    # scipy.special alone: scipy.stats takes most of a second to import.
    from scipy.special import gammaln, pdtrc, xlogy

    units = np.arange(most + 1)
    laws = np.exp(xlogy(units, means[:, None]) - gammaln(units + 1) - means[:, None])
    laws[:, most] = pdtrc(most - 1, means)
    return laws / laws.sum(axis=1, keepdims=True)


def uniform_law(mean: float, most: int) -> np.ndarray:
    """Uniform on 0 … h with h = 2·mean, lumped as `poisson_laws`; between two whole h a mixture, so that the mean is exact."""
    low = math.floor(2.0 * mean)
    law = np.zeros(max(low + 1, most) + 1)
    share = 2.0 * mean - low
    law[: low + 1] += (1.0 - share) / (low + 1)
    law[: low + 2] += share / (low + 2)
    law[most] = law[most:].sum()
    return law[: most + 1]


def in_lots(law: np.ndarray, lot: int) -> np.ndarray:
    """Law of the demand in lots, each demand rounded up or down at random so that its mean stays.

    A demand of q·lot + r units becomes q + 1 lots with probability r/lot, else q. This adds r(lot − r) to the variance in units²,
    on average (lot² − 1)/6 where r is spread evenly: Poisson demand of mean 15 has variance 19 in lots of 5, 32 in lots of 10.

    Parameters
    ----------
    law : float64[…, n_d]    in units
    lot : int                units per lot

    Returns
    -------
    float64[…, ⌈(n_d − 1) / lot⌉ + 1]
    """
    n_d = law.shape[-1]
    found = np.zeros((*law.shape[:-1], -(-(n_d - 1) // lot) + 1))
    for units in range(n_d):
        lots, rest = divmod(units, lot)
        found[..., lots] += law[..., units] * (lot - rest) / lot
        if rest:
            found[..., lots + 1] += law[..., units] * rest / lot
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class DemandHistory:
    """Demands that were observed.

    Parameters
    ----------
    units : int64[n]                demand of a period, 0 to MOST_UNITS
    days : int64[n], optional       day of each; of any year: what counts is the day modulo 365
    source : str                    where they are from, for messages
    """

    units: np.ndarray
    days: np.ndarray | None = None
    source: str = "demand"

    def __post_init__(self) -> None:
        for name in ("units", "days"):
            found = getattr(self, name)
            if found is None:
                continue
            found = np.array(found)
            if found.ndim != 1 or found.size == 0 or found.dtype.kind not in "iu":
                raise ValueError(
                    f"{self.source}: found {name} of shape {found.shape}, expected a list of whole numbers"
                )
            found = found.astype(np.int64)
            found.setflags(write=False)
            object.__setattr__(self, name, found)
        if self.units.min() < 0 or self.units.max() > MOST_UNITS:
            worst = self.units.min() if self.units.min() < 0 else self.units.max()
            raise ValueError(f"{self.source}: found a demand of {worst} units, expected 0 to {MOST_UNITS}")
        if self.days is not None and (self.days.size != self.units.size or self.days.min() < 0):
            raise ValueError(f"{self.source}: found no day of at least 0 for each demand, expected one")

    def laws(self, n_seasons: int) -> np.ndarray:
        """How often each demand was observed, by season: float64[n_seasons, n_d], of one row where no days are known.

        Raises
        ------
        ValueError    a season without observations
        """
        n_d = int(self.units.max()) + 1
        if self.days is None:
            return (np.bincount(self.units, minlength=n_d) / self.units.size)[None]
        season = season_of_days(n_seasons)[self.days % DAYS]
        counts = np.bincount(season * n_d + self.units, minlength=n_seasons * n_d).reshape(n_seasons, n_d)
        empty = np.flatnonzero(counts.sum(axis=1) == 0)
        if empty.size:
            first, last = np.flatnonzero(season_of_days(n_seasons) == empty[0])[[0, -1]]
            raise ValueError(
                f"{self.source}: found no demand of season {empty[0]} (days {first} to {last}), expected some of every season"
            )
        return counts / counts.sum(axis=1, keepdims=True)


def read_demand(path: str | Path) -> DemandHistory:
    """Demands from a CSV file: one column of them, one period a row, or two columns `day,demand`; a header may come first.

    Raises
    ------
    ValueError
        One line with the row: no such file, no numbers, or demands that are not whole numbers from 0 to 10,000.
    """
    where = str(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = []
            for number, row in enumerate(csv.reader(file), start=1):
                if number > MOST_ROWS:
                    raise ValueError(f"{where}: found more than {MOST_ROWS} rows, expected fewer")
                if any(cell.strip() for cell in row):
                    rows.append((number, [cell.strip() for cell in row]))
    except OSError as error:
        raise ValueError(
            f"{where}: cannot be read, {error.strerror or error}; expected a CSV file of demands"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{where}: found no text ({error}), expected a CSV file of demands") from None
    if rows and _is_header(rows[0][1]):
        header = [cell.lower() for cell in rows[0][1]]
        if len(header) == 2 and header != ["day", "demand"]:
            raise ValueError(f"{where}: found columns {shown(','.join(header))}, expected day,demand")
        rows = rows[1:]
    if not rows:
        raise ValueError(f"{where}: found no numbers, expected one demand per row")
    n_columns = len(rows[0][1])
    if n_columns not in (1, 2):
        raise ValueError(f"{where}: found {n_columns} columns, expected one of demands, or day,demand")
    names = ["demand"] if n_columns == 1 else ["day", "demand"]
    columns: list[list[int]] = [[] for _ in names]
    for number, row in rows:
        if len(row) != n_columns:
            raise ValueError(f"{where}: row {number}: found {len(row)} columns, expected {n_columns} as in the first")
        for column, name, cell in zip(columns, names, row, strict=True):
            column.append(_whole(f"{where}: row {number}: {name}", cell, MOST_UNITS if name == "demand" else 2**53))
    days = np.array(columns[0], dtype=np.int64) if n_columns == 2 else None
    return DemandHistory(units=np.array(columns[-1], dtype=np.int64), days=days, source=where)


def _is_header(row: list[str]) -> bool:
    """Whether no cell of a first row is a number."""
    for cell in row:
        try:
            float(cell)
        except ValueError:
            continue
        return False
    return True


def _whole(where: str, cell: str, most: int) -> int:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number == math.floor(number) and 0 <= number <= most):
        raise ValueError(f"{where}: found {shown(cell)}, expected a whole number from 0 to {most}")
    return int(number)
