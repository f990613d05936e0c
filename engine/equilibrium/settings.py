"""What an alternation is asked to do: one frozen object, whether it comes from Python, from flags or from the authors' JSON."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..backups.selection import EXPECTATIONS
from ..deployment import MAX_AGENTS
from ..files import reason_of
from ..game import Game, positive_integer
from ..tabulation import shown
from .closures import CLOSURES
from .mean_field import MOST_DRAWN_FROM

VALUATIONS = ("auto", "exact", "simulated")
EXPLOITABILITIES = ("auto", "exact", "mean-field", "none")
LARGEST_CONFIG = 10**6
LARGEST_FLOAT = sys.float_info.max
MAX_SEEDS = 10_000
MAX_RUNS = 10**7


@dataclass(frozen=True, kw_only=True)
class AlternationSettings:
    """Alternating best response: G-LEARN, then L-LEARN, round after round.

    Parameters
    ----------
    k : int                  agents that the global agent sees
    n : int                  agents that play the pair
    expectation : "exact", "sampled" (with `samples` draws) or "rounded", of G-LEARN
    samples : int
    closure : "uniform", "joint" or "tagged", of L-LEARN
    greedy : bool            local agents play a best action instead of a Boltzmann law
    tau_min, tau_scale : float    τ(s_g, s_l) = max(τ_min, (max_a Q − min_a Q) / τ_scale)
    max_rounds : int
    rtol : float             stop when the value changes by less, relative to the value before
    tol : float              certified width of G-LEARN and L-LEARN
    max_sweeps : int         of a G-LEARN
    value : "auto", "exact" or "simulated"    the value of a pair for n agents; "auto": exact where it fits
    steps : int or None      of a simulation; by default until what is left out is below 1e-4 of the largest value
    runs : int               of a simulation; all rounds share their random numbers
    exploitability : "auto", "exact", "mean-field" or "none"    computed after each round; "auto": exact where it is quick
    seed : int

    Raises
    ------
    ValueError    one line that names the field
    """

    k: int
    n: int
    expectation: str = "exact"
    samples: int = 10
    closure: str = "joint"
    greedy: bool = False
    tau_min: float = 0.3
    tau_scale: float = 3.0
    max_rounds: int = 20
    rtol: float = 1e-4
    tol: float = 1e-6
    max_sweeps: int = 1_000_000
    value: str = "auto"
    steps: int | None = None
    runs: int = 1000
    exploitability: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("k", "n", "samples", "max_rounds", "max_sweeps", "runs"):
            object.__setattr__(self, name, positive_integer(name, getattr(self, name)))
        if self.steps is not None:
            object.__setattr__(self, "steps", positive_integer("steps", self.steps))
        if self.n > MAX_AGENTS:
            raise ValueError(f"n: found {self.n}, expected at most {MAX_AGENTS}")
        if not 2 <= self.runs <= MAX_RUNS:
            raise ValueError(f"runs: found {self.runs}, expected 2 to {MAX_RUNS}")
        if self.exploitability == "mean-field" and self.n >= MOST_DRAWN_FROM:
            raise ValueError(
                f"n: found {self.n} with exploitability 'mean-field', expected fewer than {MOST_DRAWN_FROM}"
            )
        if self.k > self.n:
            raise ValueError(f"k: found {self.k}, expected at most n = {self.n}")
        for name, known in (
            ("expectation", EXPECTATIONS),
            ("closure", CLOSURES),
            ("value", VALUATIONS),
            ("exploitability", EXPLOITABILITIES),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: found {shown(getattr(self, name))}, expected one of {', '.join(known)}")
        for name in ("tau_min", "tau_scale", "tol", "rtol"):
            number = getattr(self, name)
            # Written so that NaN fails. A change of exactly nothing always stops.
            is_number = not isinstance(number, bool) and isinstance(number, int | float)
            if not (is_number and (0.0 < number <= LARGEST_FLOAT or (name == "rtol" and number == 0.0))):
                least = "of at least 0" if name == "rtol" else "above 0"
                raise ValueError(f"{name}: found {shown(number)}, expected a finite number {least}")
            object.__setattr__(self, name, float(number))
        if not isinstance(self.greedy, bool):
            raise ValueError(f"greedy: found {shown(self.greedy)}, expected true or false")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**64:
            raise ValueError(f"seed: found {shown(self.seed)}, expected a whole number from 0 to {2**64 - 1}")

    def identity(self, game: Game) -> dict[str, Any]:
        """All that the bits of the result depend on, JSON-ready."""
        return dataclasses.asdict(self) | {"game": game.name, "game_digest": game.digest()}


@dataclass(frozen=True, kw_only=True)
class AuthorsConfig:
    """The JSON of hyperparameters in the layout of the authors' code, read field by field.

    Parameters
    ----------
    alternation : dict    fields of `AlternationSettings` that it sets, without k
    k : (int, …)          of the experiment
    n : int
    gamma : float
    sizes : dict          n_sg, n_sl, n_ag, n_al, as far as given
    steps, runs, seeds : int    of the evaluation: horizon, rollouts per seed, number of seeds
    """

    alternation: dict[str, Any]
    k: tuple[int, ...]
    n: int
    gamma: float | None
    sizes: dict[str, int]
    steps: int
    runs: int
    seeds: int

    def check_fits(self, game: Game) -> None:
        """Refuse a game of other sizes or another discount, with a ValueError of one line."""
        for size, found in self.sizes.items():
            if found != getattr(game, size):
                key = {name: key for key, name in _SIZES.items()}[size]
                raise ValueError(f"environment.{key}: found {found}, expected {getattr(game, size)} as in the game")
        if self.gamma is not None and self.gamma != game.gamma:
            raise ValueError(f"environment.gamma: found {self.gamma}, expected {game.gamma} as in the game")


_SIZES = {
    "n_global_states": "n_sg",
    "n_local_states": "n_sl",
    "n_global_actions": "n_ag",
    "n_local_actions": "n_al",
}
# Of the authors' code.
DEFAULT_K = (1, 2, 3, 5, 7, 10, 15, 20)
# Section -> key -> (kind of number, default of the authors' code or None where it must be given).
_KEYS: dict[str, dict[str, tuple[str, Any]]] = {
    "environment": {**dict.fromkeys(_SIZES, ("size", 0)), "n_agents": ("size", 1000), "gamma": ("share", -1.0)},
    "global_agent": {
        "n_mc_samples": ("size", 30), "max_vi_iterations": ("size", 100), "convergence_threshold": ("positive", 1e-6),
    },
    "local_agent": {
        "max_vi_iterations": ("size", 100), "convergence_threshold": ("positive", 1e-6),
        "softmax_temperature_scale": ("positive", 3.0), "softmax_temperature_min": ("positive", 0.3),
    },
    "alternating": {"n_outer_iterations": ("size", 5), "convergence_rtol": ("positive", 0.01)},
    "evaluation": {"n_rollouts": ("size", 50), "horizon": ("size", 50)},
    "experiment": {"k_range": ("range", None), "k_values": ("sizes", None), "n_eval_seeds": ("seeds", 10)},
}  # fmt: skip
_EXPECTED = {
    "size": "a whole number of at least 1", "share": "a number from 0 to below 1", "positive": "a finite number above 0",
    "range": "two whole numbers, the first and the last k", "sizes": "whole numbers of at least 1",
    "seeds": f"a whole number from 1 to {MAX_SEEDS}",
}  # fmt: skip


def read_authors_config(path: str | Path) -> AuthorsConfig:
    """Read hyperparameters as the authors' code has them.

    Their limits of sweeps (`max_vi_iterations`) have no counterpart: sweeps go on until the width `convergence_threshold` is
    certified. `n_mc_samples`, which their code reads and does not use, sets the draws of the sampled expectation.

    Raises
    ------
    ValueError    one line: file, field, what was found and what was expected
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise ValueError("no such file, expected a JSON of hyperparameters")
        if path.stat().st_size > LARGEST_CONFIG:
            raise ValueError(f"found {path.stat().st_size} bytes, expected at most {LARGEST_CONFIG}")
        return _config_of(_parsed(path.read_bytes()))
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: {reason_of(error)}") from None


def _parsed(content: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"found no JSON ({reason_of(error)}), expected hyperparameters") from None
    if not isinstance(document, dict):
        raise ValueError(f"found {shown(document)}, expected an object with {', '.join(_KEYS)}")
    return document


def _config_of(document: Mapping[str, Any]) -> AuthorsConfig:
    for section, content in document.items():
        if section not in _KEYS:
            raise ValueError(f"{shown(section)}: unknown section, expected {', '.join(_KEYS)}")
        if not isinstance(content, dict):
            raise ValueError(f"{section}: found {shown(content)}, expected a section of keys and values")
        for key, value in content.items():
            if key not in _KEYS[section]:
                raise ValueError(f"{section}.{shown(key)}: unknown key, expected {', '.join(_KEYS[section])}")
            kind = _KEYS[section][key][0]
            if not _is_of_kind(kind, value):
                raise ValueError(f"{section}.{key}: found {shown(value)}, expected {_EXPECTED[kind]}")
    get = {
        section: {k: document.get(section, {}).get(k, v[1]) for k, v in keys.items()} for section, keys in _KEYS.items()
    }
    experiment, environment = get["experiment"], get["environment"]
    if experiment["k_range"] is not None:
        first, last = experiment["k_range"]
        ks = tuple(range(first, last + 1))
    elif experiment["k_values"] is not None:
        ks = tuple(sorted(set(experiment["k_values"])))
    else:
        ks = tuple(k for k in DEFAULT_K if k <= environment["n_agents"])
    if ks[-1] > environment["n_agents"]:
        raise ValueError(f"experiment: found k = {ks[-1]}, expected at most n_agents = {environment['n_agents']}")
    return AuthorsConfig(
        alternation={
            "n": environment["n_agents"],
            "samples": get["global_agent"]["n_mc_samples"],
            "closure": "uniform",
            "tau_min": get["local_agent"]["softmax_temperature_min"],
            "tau_scale": get["local_agent"]["softmax_temperature_scale"],
            "max_rounds": get["alternating"]["n_outer_iterations"],
            "rtol": get["alternating"]["convergence_rtol"],
            "tol": min(get[agent]["convergence_threshold"] for agent in ("global_agent", "local_agent")),
        },
        k=ks,
        n=environment["n_agents"],
        gamma=None if environment["gamma"] < 0.0 else float(environment["gamma"]),
        sizes={name: environment[key] for key, name in _SIZES.items() if environment[key]},
        steps=get["evaluation"]["horizon"],
        runs=get["evaluation"]["n_rollouts"],
        seeds=experiment["n_eval_seeds"],
    )


def _is_of_kind(kind: str, value: Any) -> bool:
    if kind in ("range", "sizes"):
        if (
            not isinstance(value, list)
            or not value
            or len(value) > 10**5
            or not all(_is_of_kind("size", x) for x in value)
        ):
            return False
        return kind == "sizes" or (len(value) == 2 and value[0] <= value[1] <= value[0] + 10**5)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if kind == "size":
        return isinstance(value, int) and 1 <= value < 2**40
    if kind == "seeds":
        return isinstance(value, int) and 1 <= value <= MAX_SEEDS
    return 0.0 <= value < 1.0 if kind == "share" else 0.0 < value <= LARGEST_FLOAT
