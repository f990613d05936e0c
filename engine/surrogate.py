"""The surrogate game as `solve` is asked for it: options checked, and the backup for any number of agents."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ..kernels.streams import checked_seed
from .action_classes import ACTION_CLASSES, count_items
from .backups.selection import (
    EXACT_METHODS,
    EXPECTATIONS,
    Backup,
    check_lattice,
    check_listed,
    choose_exact,
    default_memory_bytes,
    make_exact,
    make_listed,
)
from .checkpoints import digest_of
from .game import Game, positive_integer
from .lifting import COUNTS_TELL, LISTED_BY_COUNTS, field_of_actions, field_of_states
from .policy import checked_local_policy
from .sweeps.spread import DaskWorkers, Problem, SpreadBackup, Workers, as_workers

# Certified width of the solves for fewer agents, as a share of the largest value.
LEVEL_TOL = 1e-4
# Items times global states and actions from which a sweep is longer than the way to a worker and back.
ITEMS_TO_SPREAD = 100_000


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    """What is solved, but for the number of agents.

    Parameters
    ----------
    game : Game
    actions : "joint", "shared", "histogram" or "fixed"
    expectation : "exact", "sampled" or "rounded"
    tol : float                       certified width
    local_policy : float64[n_sg, n_sl, n_al] or None    for class `fixed`
    method : str or None              of the exact expectation; None: the cheapest
    samples, seed : int               0 unless sampled
    memory_bytes : int
    workers : Workers, DaskWorkers or None    what computes long sweeps in parts
    """

    game: Game
    actions: str
    expectation: str
    tol: float
    local_policy: np.ndarray | None
    method: str | None
    samples: int
    seed: int
    memory_bytes: int
    workers: Workers | DaskWorkers | None

    def backup(self, k: int) -> Backup:
        """The backup for k agents; TooLargeError if it does not fit."""
        game = self.game
        check_lattice(game, k, self.actions, self.memory_bytes)
        items = game.n_sg * game.n_ag * count_items(k, game.n_sl, game.n_al, self.actions)
        if self.workers is not None and items >= ITEMS_TO_SPREAD:
            return self._spread(k, self.workers)
        if self.expectation != "exact":
            return make_listed(game, k, self.actions, self.samples, self.seed, self.local_policy, self.memory_bytes)
        return make_exact(
            game, k, self.actions, self.local_policy, method=self.method, error=useful_error(game, self.tol),
            memory_bytes=self.memory_bytes,
        )  # fmt: skip

    def _spread(self, k: int, workers: Workers | DaskWorkers) -> Backup:
        method, error = None, useful_error(self.game, self.tol)
        if self.expectation == "exact":
            method = choose_exact(
                self.game, k, self.actions, self.local_policy, method=self.method, error=error,
                memory_bytes=self.memory_bytes,
            ).method  # fmt: skip
        problem = Problem(
            game=self.game, k=k, actions=self.actions, expectation=self.expectation, local_policy=self.local_policy,
            method=method, samples=self.samples, seed=self.seed, error=error, memory_bytes=self.memory_bytes,
        )  # fmt: skip
        return cast(Backup, SpreadBackup(problem, workers))

    def level_tol(self) -> float:
        """Certified width for fewer agents: well below what they differ from k agents by, and not below `tol`."""
        scale = (np.ptp(self.game.r_g) + np.ptp(self.game.r_l)) / (1.0 - self.game.gamma)
        return max(self.tol, LEVEL_TOL * float(scale))

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with, JSON-ready."""
        identity = {
            "game": self.game.digest(),
            "actions": self.actions,
            "expectation": self.expectation,
            "samples": self.samples,
            "seed": self.seed,
        }
        return identity if self.local_policy is None else identity | {"local_policy": digest_of(self.local_policy)}


def make_surrogate(
    game: Game, actions: str, expectation: str, tol: float, *, local_policy: np.ndarray | None, method: str | None,
    samples: int, seed: int, memory_bytes: int | None, executor: Any,
) -> Surrogate:  # fmt: skip
    """Check what `solve` is asked for, and fill in what follows; ValueError names the field."""
    if local_policy is not None:
        if actions not in ("joint", "fixed"):
            raise ValueError(f"actions: found {actions!r} with a local policy, expected 'fixed'")
        actions = "fixed"
        local_policy = checked_local_policy(local_policy, game)
    _check_options(actions, expectation, tol, method, local_policy)
    field = field_of_actions(game)
    if field is not None and expectation != "exact":
        field_of_states(game, LISTED_BY_COUNTS)
    if field is None:
        field = field_of_states(game, COUNTS_TELL)
    if field is not None and executor is not None:
        raise ValueError(
            "executor: found one for a game with a field, expected none; sweeps of a coupled game are not cut into parts"
        )
    samples = positive_integer("samples", samples) if expectation == "sampled" else 0
    seed = int(checked_seed(seed))
    return Surrogate(
        game=game,
        actions=actions,
        expectation=expectation,
        tol=tol,
        local_policy=local_policy,
        method=method,
        samples=samples,
        seed=seed if expectation == "sampled" else 0,
        memory_bytes=default_memory_bytes() if memory_bytes is None else memory_bytes,
        workers=None if executor is None else as_workers(executor),
    )


def _check_options(
    actions: str, expectation: str, tol: float, method: str | None, local_policy: np.ndarray | None
) -> None:
    if actions not in ACTION_CLASSES:
        raise ValueError(f"actions: found {actions!r}, expected one of {', '.join(ACTION_CLASSES)}")
    if actions == "fixed" and local_policy is None:
        raise ValueError("local_policy: missing, expected a policy float64[n_sg, n_sl, n_al] for actions 'fixed'")
    if expectation not in EXPECTATIONS:
        raise ValueError(f"expectation: found {expectation!r}, expected one of {', '.join(EXPECTATIONS)}")
    if not 0.0 < tol < math.inf:
        raise ValueError(f"tol: found {tol}, expected a positive number")
    if method is not None and (expectation != "exact" or method not in EXACT_METHODS):
        raise ValueError(
            f"method: found {method!r}, expected one of {', '.join(EXACT_METHODS)} with expectation 'exact'"
        )


def useful_error(game: Game, tol: float) -> float:
    """Largest rounding error of a sweep, relative to the largest value, that leaves room for the certified width.

    The slack on either side of the interval is error / (1 - γ); together they may take half of the width.
    """
    largest = (np.abs(game.r_g).max() + np.abs(game.r_l).max()) / (1.0 - game.gamma)
    return 0.25 * tol * (1.0 - game.gamma) / max(largest, np.finfo(float).tiny)


def check_fits(
    game: Game, k: int, actions: str, expectation: str, samples: int, local_policy: np.ndarray | None, tol: float,
    memory_bytes: int,
) -> None:  # fmt: skip
    """Refuse, before any work, a solve that would not fit the memory (TooLargeError)."""
    check_lattice(game, k, actions, memory_bytes)
    if expectation == "exact":
        error = useful_error(game, tol)
        choose_exact(game, k, actions, local_policy, method=None, error=error, memory_bytes=memory_bytes)
    else:
        check_listed(game, k, actions, samples, memory_bytes)
