"""Solve the k-agent surrogate game by certified value iteration."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..kernels.bellman.certificate import certified_offsets, change_range
from ..kernels.lattice import lattice_size
from .action_classes import ACTION_CLASSES
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
from .checkpoints import Checkpoint, digest_of, read_checkpoint, write_checkpoint
from .game import Game, positive_integer
from .policy import checked_local_policy
from .solution import Solution
from .versions import library_versions


class ConvergenceError(RuntimeError):
    """The sweeps allowed did not reach the certified width asked for."""


class Interrupted(RuntimeError):
    """The solve was asked to stop; the message says where its checkpoint is."""


@dataclass(frozen=True)
class SweepReport:
    """What a progress callback is told after a sweep."""

    sweep: int
    width: float  # certified width
    tol: float
    elapsed_s: float
    seconds_left: float  # nan while unknown


def solve(
    game: Game,
    k: int,
    actions: str = "joint",
    expectation: str = "exact",
    tol: float = 1e-6,
    *,
    local_policy: np.ndarray | None = None,
    method: str | None = None,
    samples: int = 10,
    seed: int = 0,
    max_sweeps: int = 1_000_000,
    memory_bytes: int | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every_s: float = 60.0,
    resume: bool = False,
    progress: Callable[[SweepReport], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Solution:
    """Solve the surrogate game of k agents to a certified width.

    After each sweep V* lies between TV + γ/(1-γ) min δ and TV + γ/(1-γ) max δ, where δ = TV - V (MacQueen 1966); a bound on
    rounding is added. The sweeps stop when the interval is at most `tol` wide.

    Parameters
    ----------
    game : Game
    k : int, at least 1
    actions : "joint", "shared", "histogram" or "fixed"; a `local_policy` means "fixed"
    expectation : "exact", "sampled" (with `samples` draws for each item, from `seed`) or "rounded"
    tol : float                       certified width, in units of value
    local_policy : float64[n_sg, n_sl, n_al]    π_l(a | s_g, s), for class `fixed`
    method : str, optional            "meet-in-the-middle", "symmetric-power" or "recursion"; by default the cheapest that is
        stable and fits
    max_sweeps : int
    memory_bytes : int, optional      limit for tables; by default three quarters of the machine's memory
    checkpoint : path, optional       file that holds all that the next sweep needs, rewritten every `checkpoint_every_s`
        seconds (0: after every sweep) and when stopped; a finished solve leaves it to the caller to remove
    resume : bool                     continue from `checkpoint` if it exists
    progress : function of a SweepReport, called after each sweep
    should_stop : function without arguments, asked after each sweep

    Returns
    -------
    Solution

    Raises
    ------
    ValueError          bad input, one line naming the field; also a `tol` below what rounding allows
    TooLargeError       no method fits the memory
    ConvergenceError    `max_sweeps` spent
    Interrupted         `should_stop` said so
    """
    began = time.perf_counter()
    k = positive_integer("k", k)
    if local_policy is not None:
        if actions not in ("joint", "fixed"):
            raise ValueError(f"actions: found {actions!r} with a local policy, expected 'fixed'")
        actions = "fixed"
        local_policy = checked_local_policy(local_policy, game)
    _check_options(actions, expectation, tol, method, local_policy)
    samples = positive_integer("samples", samples) if expectation == "sampled" else 0
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed: found {seed}, expected a whole number from 0 to 2**64 - 1")
    seed = seed if expectation == "sampled" else 0
    limit = default_memory_bytes() if memory_bytes is None else memory_bytes
    check_lattice(game, k, actions, limit)
    backup = _make_backup(game, k, actions, expectation, tol, local_policy, method, samples, seed, limit)

    identity = {
        "game": game.digest(),
        "k": k,
        "actions": actions,
        "expectation": expectation,
        "method": backup.method,
        "samples": samples,
        "seed": seed,
        "tol": tol,
    }
    if local_policy is not None:
        identity["local_policy"] = digest_of(local_policy)
    state = Checkpoint(
        identity=identity, value=np.zeros((game.n_sg, lattice_size(k, game.n_sl))), widths=[], elapsed_s=0.0
    )
    if resume and checkpoint is not None and Path(checkpoint).exists():
        state = read_checkpoint(checkpoint, identity, state.value.shape)
    value, widths = state.value, state.widths
    spent_before = state.elapsed_s
    saved = time.perf_counter()

    def elapsed() -> float:
        return spent_before + time.perf_counter() - began

    def save() -> None:
        if checkpoint is not None:
            write_checkpoint(checkpoint, Checkpoint(identity=identity, value=value, widths=widths, elapsed_s=elapsed()))

    backed_up = np.empty_like(value)
    swept_since_start = 0
    while not widths or widths[-1] > tol:
        if len(widths) >= max_sweeps:
            save()
            raise ConvergenceError(
                f"max_sweeps: {max_sweeps} sweeps reached a certified width of {widths[-1]:.3g}, expected at most {tol:.3g}"
            )
        backup.sweep(value, backed_up)
        below, above = _offsets(backup, value, backed_up, game.gamma, tol)
        value, backed_up = backed_up, value
        widths.append(above - below)
        swept_since_start += 1
        if progress is not None:
            left = _seconds_left(widths, tol, (time.perf_counter() - began) / swept_since_start)
            progress(SweepReport(len(widths), widths[-1], tol, elapsed(), left))
        if should_stop is not None and should_stop() and widths[-1] > tol:
            save()
            where = f"; continue with --resume from {checkpoint}" if checkpoint is not None else ""
            raise Interrupted(f"stopped after sweep {len(widths)} at certified width {widths[-1]:.3g}{where}")
        if time.perf_counter() - saved >= checkpoint_every_s:
            save()
            saved = time.perf_counter()

    # The greedy policy comes with a last backup, which also narrows the interval once more.
    final, action, item = backup.greedy(value)
    below, above = _offsets(backup, value, final, game.gamma, tol)
    return Solution(
        game=game,
        k=k,
        actions=actions,
        expectation=expectation,
        method=backup.method,
        samples=samples,
        seed=seed,
        tol=tol,
        value=final + (below + above) / 2,
        half_width=(above - below) / 2,
        global_action=action,
        item=item,
        local_policy=local_policy,
        widths=np.array(widths),
        rounding_error=backup.rounding_error(value),
        wall_time_s=elapsed(),
        versions=library_versions(),
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


def _make_backup(game, k, actions, expectation, tol, local_policy, method, samples, seed, limit) -> Backup:
    if expectation != "exact":
        return make_listed(game, k, actions, samples, seed, local_policy, limit)
    error = _useful_error(game, tol)
    return make_exact(game, k, actions, local_policy, method=method, error=error, memory_bytes=limit)


def _useful_error(game: Game, tol: float) -> float:
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
        error = _useful_error(game, tol)
        choose_exact(game, k, actions, local_policy, method=None, error=error, memory_bytes=memory_bytes)
    else:
        check_listed(game, k, actions, samples, memory_bytes)


def _offsets(backup: Backup, value: np.ndarray, backed_up: np.ndarray, gamma: float, tol: float) -> tuple[float, float]:
    sweep_error = backup.rounding_error(value)
    if 2 * sweep_error / (1.0 - gamma) >= tol:
        raise ValueError(
            f"tol: found {tol:.3g}, expected more than the rounding error of {2 * sweep_error / (1 - gamma):.1g}"
        )
    low, high = change_range(value, backed_up)
    return certified_offsets(low, high, gamma, sweep_error)


def _seconds_left(widths: list[float], tol: float, seconds_per_sweep: float) -> float:
    """Extrapolate the geometric decay of the certified width over the last ten sweeps."""
    span = min(10, len(widths) - 1)
    if span < 1 or not 0.0 < widths[-1] < widths[-1 - span]:
        return math.nan
    decay = (math.log(widths[-1 - span]) - math.log(widths[-1])) / span
    return max(0.0, math.log(widths[-1] / tol) / decay) * seconds_per_sweep
