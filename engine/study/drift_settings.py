"""What a study of importance weights under drift is asked to do: named drifts × n, each a cell of many repeated estimates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...kernels.streams import checked_seed
from ..backups.selection import TooLargeError, default_memory_bytes, readable_bytes
from ..game import positive_integer
from ..tabulation import shown
from .numbers import numbers_of
from .settings import DRIFT, DRIFT_KEYS, read_study_file, words

FORMS = ("none", "product", "marginal", "selfnorm")
"""Estimates: of raw samples, with weights of either form, and with those of the marginal form over their sum."""

ROW_SUM_ATOL = 1e-9
MAX_AGENTS, MAX_SAMPLES, MAX_REPLICATIONS = 10_000, 10**7, 10**6
MAX_UNITS = 1000
LARGEST_NUMBER = 1e100
"""Points of rewards may be this large: they are subtracted, and divided by steps."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Drift:
    """Agents played `mu` when samples were stored and play `pi` now."""

    name: str
    mu: np.ndarray  # float64[n_al]
    pi: np.ndarray  # float64[n_al]
    units: np.ndarray  # int64[n_al]: what an action adds to the total

    @property
    def span(self) -> int:
        return int(self.units.max() - self.units.min())


@dataclass(frozen=True, kw_only=True, eq=False)
class Reward:
    """Y as a function of the mean action: min(1, stock/mean), or a line through points, constant beyond them."""

    name: str
    stock: float | None = None
    at: tuple[float, ...] = ()
    value: tuple[float, ...] = ()

    def __call__(self, mean: np.ndarray) -> np.ndarray:
        if self.stock is None:
            return np.interp(mean, self.at, self.value)
        return np.minimum(1.0, self.stock / np.maximum(mean, self.stock))

    @property
    def largest(self) -> float:
        """Bound of |Y|."""
        return 1.0 if self.stock is not None else max(map(abs, self.value))

    @property
    def lipschitz(self) -> float:
        """Largest slope."""
        if self.stock is not None:
            return 1.0 / self.stock
        return float(np.abs(np.diff(self.value) / np.diff(self.at)).max(initial=0.0))


@dataclass(frozen=True, kw_only=True, eq=False)
class DriftCell:
    """One cell: all repetitions for a drift and a number of agents."""

    name: str
    drift: Drift
    n: int


@dataclass(frozen=True, kw_only=True, eq=False)
class DriftStudySettings:
    """A grid of drifts × n × sample sizes × forms × rewards; all forms and rewards see the same samples.

    Parameters
    ----------
    drifts : {name: {mu, pi, units}}     laws of an action, and whole weights of the actions (by default 0, 1, 2, …)
    rewards : {name: {stock} or {at, value}}   see `Reward`
    n : agents whose actions are reweighted
    samples : sizes of a sample, each at least 2
    form : of "none", "product", "marginal", "selfnorm"
    replications : estimates of each kind
    clip : float       largest weight
    delta : float      the bound may fail with this probability
    seed : int

    Raises
    ------
    ValueError    one line that names the field
    """

    drifts: Mapping[str, Mapping[str, Any]]
    rewards: Mapping[str, Mapping[str, Any]]
    n: tuple[int, ...]
    samples: tuple[int, ...]
    form: tuple[str, ...] = FORMS
    replications: int = 1000
    clip: float = 10.0
    delta: float = 0.05
    seed: int = 0
    cells: tuple[DriftCell, ...] = field(init=False, repr=False)
    drawn_drifts: tuple[Drift, ...] = field(init=False, repr=False)
    drawn_rewards: tuple[Reward, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        put("n", tuple(sorted(numbers_of("n", self.n, 1, MAX_AGENTS))))
        put("samples", tuple(sorted(numbers_of("samples", self.samples, 2, MAX_SAMPLES))))
        for name in ("n", "samples"):
            if not getattr(self, name):
                raise ValueError(f"{name}: found none, expected at least one")
        put("form", words("form", self.form, FORMS))
        put("replications", positive_integer("replications", self.replications))
        if self.replications > MAX_REPLICATIONS:
            raise ValueError(f"replications: found {self.replications}, expected at most {MAX_REPLICATIONS}")
        put("clip", _real("clip", self.clip, 0.0, math.inf))
        put("delta", _real("delta", self.delta, 0.0, 1.0))
        put("seed", int(checked_seed(self.seed)))
        put("drawn_drifts", tuple(_drift(*item) for item in _named("drifts", self.drifts)))
        put("drawn_rewards", tuple(_reward(*item) for item in _named("rewards", self.rewards)))
        cells = [
            DriftCell(name=f"{drift.name}.n={n:05d}", drift=drift, n=n) for drift in self.drawn_drifts for n in self.n
        ]
        put("cells", tuple(cells))

    def totals(self, cell: DriftCell) -> np.ndarray:
        """What n agents' units can add up to, from 0 on."""
        return np.arange(cell.n * int(cell.drift.units.max()) + 1)

    def values(self, cell: DriftCell) -> np.ndarray:
        """float64[n_rewards, n_totals]: Y of every total."""
        return np.array([reward(self.totals(cell) / cell.n) for reward in self.drawn_rewards])

    def identity(self, cell: DriftCell) -> dict[str, Any]:
        """What the samples of a cell depend on, JSON-ready."""
        drift = cell.drift
        return {
            "drift": drift.name, "n": cell.n, "mu": drift.mu.tolist(), "pi": drift.pi.tolist(), "units": drift.units.tolist(),
            "samples": list(self.samples), "replications": self.replications, "clip": self.clip, "seed": self.seed,
            "rewards": _plain(self.rewards),
        }  # fmt: skip

    @property
    def config(self) -> dict[str, Any]:
        """All settings, JSON-ready."""
        return {
            "method": DRIFT, "drifts": _plain(self.drifts), "rewards": _plain(self.rewards), "n": list(self.n),
            "samples": list(self.samples), "form": list(self.form), "replications": self.replications, "clip": self.clip,
            "delta": self.delta, "seed": self.seed,
        }  # fmt: skip

    def check(self, memory_bytes: int | None = None) -> None:
        """Refuse now what would not fit; TooLargeError."""
        memory = default_memory_bytes() if memory_bytes is None else memory_bytes
        rows = self.replications * len(self.samples) * 3 * (2 * len(self.drawn_rewards) + 5)
        needed = 8 * (rows * max(1, len(self.cells)) + 60 * self.n[-1] * max(d.units.max() for d in self.drawn_drifts))
        if needed > memory:
            raise TooLargeError(
                f"replications: estimates take {readable_bytes(needed)}, expected at most {readable_bytes(memory)}"
            )


def is_drift(document: Mapping[str, Any] | None) -> bool:
    """Whether a study file asks for repeated estimates under drift."""
    return document is not None and document.get("method") in (DRIFT, [DRIFT])


def drift_settings_from(document: Mapping[str, Any], *, where: str, **changes: Any) -> DriftStudySettings:
    """Settings from what `read_study_file` found; errors name the file unless a change is at fault."""
    merged = {**document, **changes}
    merged.pop("method", None)
    for key in ("drifts", "rewards", "n", "samples"):
        if key not in merged:
            raise ValueError(f"{where}: {key}: missing, expected at least one")
    for key in merged:
        if key not in DRIFT_KEYS:
            raise ValueError(f"{where}: {key}: found it in a study of drift, expected one of {', '.join(DRIFT_KEYS)}")
    try:
        return DriftStudySettings(**merged)
    except ValueError as error:
        at_fault = str(error).partition(":")[0]
        raise error if at_fault in changes else ValueError(f"{where}: {error}") from None


def load_drift_study(path: str | Path, **changes: Any) -> DriftStudySettings:
    """Settings from a TOML study file with method "drift"; changes go before what the file says.

    Raises
    ------
    ValueError    one line: file, field, what was found and what was expected
    """
    document = read_study_file(path)
    if document is None or not is_drift(document):
        raise ValueError(f'{path}: found no study of drift, expected method = "{DRIFT}"')
    return drift_settings_from(document, where=str(path), **changes)


def _plain(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: {key: np.asarray(value).tolist() for key, value in table.items()} for name, table in tables.items()}


def _real(name: str, value: Any, above: float, below: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not above < value < below:
        between = "a finite number above 0" if below == math.inf else f"a number between {above:g} and {below:g}"
        raise ValueError(f"{name}: found {shown(value)}, expected {between}")
    return float(value)


def _named(where: str, tables: Any) -> list[tuple[str, Mapping[str, Any]]]:
    if not isinstance(tables, Mapping) or not tables or not all(isinstance(t, Mapping) for t in tables.values()):
        raise ValueError(f"{where}: found {shown(tables)}, expected at least one table with a name")
    for name in tables:
        if not (isinstance(name, str) and name and len(name) <= 40 and all(c.isalnum() or c in "-_" for c in name)):
            raise ValueError(f"{where}: found name {shown(name)}, expected letters, digits, - and _")
    return list(tables.items())


def _check_keys(where: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            raise ValueError(f"{where}: {shown(key)}: unknown, expected one of {', '.join(known)}")


def _numbers(where: str, values: Any) -> np.ndarray:
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.zeros(0)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"{where}: found {shown(values)}, expected a list of finite numbers")
    return array


def _drift(name: str, table: Mapping[str, Any]) -> Drift:
    where = f"drifts: {name}"
    _check_keys(where, table, ("mu", "pi", "units"))
    laws = {}
    for key in ("mu", "pi"):
        if key not in table:
            raise ValueError(f"{where}: {key}: missing, expected a law of an action")
        laws[key] = _numbers(f"{where}: {key}", table[key])
        gap = abs(laws[key].sum() - 1.0)
        if not (laws[key].min() >= 0.0 and gap <= ROW_SUM_ATOL):
            raise ValueError(f"{where}: {key}: found {shown(table[key])}, expected probabilities that add up to 1")
        laws[key] = laws[key] / laws[key].sum()
    n_al = laws["mu"].size
    if laws["pi"].size != n_al:
        raise ValueError(f"{where}: pi: found {laws['pi'].size} numbers, expected {n_al} as in mu")
    units = _numbers(f"{where}: units", table.get("units", list(range(n_al))))
    if units.size != n_al or units.min() < 0 or units.max() > MAX_UNITS or (units != np.round(units)).any():
        raise ValueError(
            f"{where}: units: found {shown(table.get('units'))}, expected {n_al} whole numbers from 0 to {MAX_UNITS}"
        )
    return Drift(name=name, units=units.astype(np.int64), **laws)


def _reward(name: str, table: Mapping[str, Any]) -> Reward:
    where = f"rewards: {name}"
    _check_keys(where, table, ("stock", "at", "value"))
    if "stock" in table:
        if len(table) > 1:
            raise ValueError(
                f"{where}: found stock beside {', '.join(k for k in table if k != 'stock')}, expected it alone"
            )
        return Reward(name=name, stock=_real(f"{where}: stock", table["stock"], 0.0, math.inf))
    for key in ("at", "value"):
        if key not in table:
            raise ValueError(f"{where}: {key}: missing, expected a list of numbers (or stock alone)")
    at, value = (_numbers(f"{where}: {key}", table[key]) for key in ("at", "value"))
    if at.size != value.size or (np.diff(at) <= 0).any():
        raise ValueError(
            f"{where}: at: found {shown(table['at'])}, expected {value.size} ascending numbers, as many as values"
        )
    for key, array in (("at", at), ("value", value)):
        if np.abs(array).max() > LARGEST_NUMBER:
            raise ValueError(f"{where}: {key}: found {shown(table[key])}, expected numbers up to {LARGEST_NUMBER:g}")
    return Reward(name=name, at=tuple(at.tolist()), value=tuple(value.tolist()))
