"""Let agents learn from samples: many runs side by side, with checkpoints from which they go on to the same bits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..backups.selection import TooLargeError, default_memory_bytes, readable_bytes
from ..game import Game
from ..solve import Interrupted
from ..versions import library_versions
from .files import read_learning_checkpoint, write_learned
from .learners import Learners, make_learners, n_tables, table_shape
from .result import POLICY_TABLES, Learned
from .settings import LearningSettings

# Seconds between two looks at the clock, and at whether to stop.
CHUNK_S = 0.3


@dataclass(frozen=True)
class LearningReport:
    """What a progress callback is told now and then."""

    step: int
    steps: int
    reward: float  # mean over runs, last point
    elapsed_s: float
    seconds_left: float


def learn(
    game: Game,
    settings: LearningSettings,
    *,
    tables: Learned | None = None,
    first_run: int = 0,
    memory_bytes: int | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every_s: float = 60.0,
    resume: bool = False,
    progress: Callable[[LearningReport], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Learned:
    """Let n agents learn, in several independent runs.

    Mean-field Q-learning: Q(s, a, ā) ← (1 − α) Q + α (r + γ Σ_a' π(a'|s', ā') Q(s', a', ā')), π ∝ exp(Q / T), with ā the mean
    action or mean state that an agent sees (Yang, Luo, Li, Zhou, Zhang and Wang 2018, eqs. 8 to 10, with the sign of the
    temperature that prefers good actions).

    Parameters
    ----------
    game : Game
    settings : LearningSettings
    tables : Learned, optional        tables to start with, in place of constant ones; of as many runs
    first_run : int                   number of the first run in the random streams
    memory_bytes : int, optional      limit; by default three quarters of the machine's memory
    checkpoint : path, optional       file that holds all that the next step needs, rewritten every `checkpoint_every_s`
        seconds and when stopped; a finished run leaves it to the caller to remove
    resume : bool                     continue from `checkpoint` if it exists
    progress : function of a LearningReport
    should_stop : function without arguments

    Returns
    -------
    Learned

    Raises
    ------
    ValueError       bad input, one line naming the field
    TooLargeError    the tables do not fit the memory
    Interrupted      `should_stop` said so; the checkpoint is on disk
    """
    check_memory(game, settings, default_memory_bytes() if memory_bytes is None else memory_bytes)
    run = _Run(game, settings, first_run, checkpoint, checkpoint_every_s)
    if tables is not None:
        take_tables(run.learners, tables)
    if resume and checkpoint is not None and Path(checkpoint).exists():
        run.take_over(Path(checkpoint))
    # Compiles, so that times are those of learning.
    run.learners.advance(0, 0)
    run.start_clock()
    chunk = 1
    while run.step < settings.steps:
        if should_stop is not None and should_stop():
            raise run.interrupted()
        began = time.perf_counter()
        n_steps = min(chunk, settings.steps - run.step, run.until_snapshot())
        run.learners.advance(run.step, n_steps)
        run.step += n_steps
        run.keep_snapshot()
        spent = time.perf_counter() - began
        # Any cut gives the same bits: a point of a curve goes on where it was left.
        chunk = max(1, int(chunk * min(4.0, max(0.25, CHUNK_S / max(spent, 1e-6)))))
        run.report(progress)
        run.save_now_and_then()
    return run.result()


class _Run:
    """Learning under way."""

    def __init__(
        self, game: Game, settings: LearningSettings, first_run: int, checkpoint: str | Path | None, every_s: float
    ):
        self._game, self._settings = game, settings
        self._checkpoint, self._every_s = checkpoint, every_s
        self.learners: Learners = make_learners(game, settings, first_run=first_run)
        self.step = 0
        self._began, self._spent_before = time.perf_counter(), 0.0
        self._saved, self._started_at = self._began, 0
        self._stops = settings.snapshot_steps
        arrays = self.learners.arrays()
        self.snapshots = {
            name: np.zeros((self._stops.size, *arrays[name].shape))
            for name in POLICY_TABLES
            if self._stops.size and name in arrays
        }

    def elapsed(self) -> float:
        """Seconds spent, before a resumption too."""
        return self._spent_before + time.perf_counter() - self._began

    def start_clock(self) -> None:
        """Count time from now on."""
        self._began = self._saved = time.perf_counter()

    def until_snapshot(self) -> int:
        """Steps to the next snapshot, or to the end."""
        after = self._stops[self._stops > self.step]
        return int(after[0]) - self.step if after.size else self._settings.steps - self.step

    def keep_snapshot(self) -> None:
        """Keep the tables, if they are due."""
        for place in np.flatnonzero(self._stops == self.step):
            for name, kept in self.snapshots.items():
                kept[place] = self.learners.arrays()[name]

    def take_over(self, path: Path) -> None:
        """Go on from a checkpoint."""
        found = read_learning_checkpoint(path, self._game, self._settings)
        restore(self.learners, found)
        self.snapshots = found.snapshots
        self.step = self._started_at = found.step
        self._spent_before = found.wall_time_s

    def result(self) -> Learned:
        """All that there is by now."""
        return Learned(
            game=self._game, settings=self._settings, step=self.step, arrays=self.learners.arrays(),
            curves=self.learners.curves(), wall_time_s=self.elapsed(), versions=library_versions(),
            snapshots=self.snapshots,
        )  # fmt: skip

    def _save(self) -> None:
        if self._checkpoint is not None:
            write_learned(self._checkpoint, self.result(), complete=True, overwrite=True)
        self._saved = time.perf_counter()

    def save_now_and_then(self) -> None:
        """Write a checkpoint if the last one is old."""
        if self.step < self._settings.steps and time.perf_counter() - self._saved >= self._every_s:
            self._save()

    def interrupted(self) -> Interrupted:
        """Save, and say where the learning stopped."""
        self._save()
        where = f"; continue with --resume from {self._checkpoint}" if self._checkpoint is not None else ""
        return Interrupted(f"stopped after {self.step} of {self._settings.steps} steps{where}")

    def report(self, progress: Callable[[LearningReport], None] | None) -> None:
        """Tell how far it is."""
        if progress is None:
            return
        done = max(1, self.step - self._started_at)
        left = (time.perf_counter() - self._began) / done * (self._settings.steps - self.step)
        found = self.result()
        reward = found.curves["reward"][:, found.n_points - 1].mean() if found.n_points else np.nan
        progress(LearningReport(self.step, self._settings.steps, float(reward), self.elapsed(), left))


def take_tables(learners: Learners, found: Learned) -> None:
    """Let learners start with the tables of others; ValueError if they are of another shape."""
    arrays = learners.arrays()
    for name in POLICY_TABLES:
        shape = arrays[name].shape if name in arrays else None
        there = found.arrays[name].shape if name in found.arrays else None
        if shape != there:
            raise ValueError(
                f"tables: found {name} of shape {there}, expected {shape} (runs, tables, observations, actions)"
            )
        if shape is not None:
            arrays[name][...] = found.arrays[name]
    if "target" in arrays:
        arrays["target"][...] = arrays["q"]
    learners.look()


def restore(learners: Learners, found: Learned) -> None:
    """Put the arrays and curves of a checkpoint into learners at their start."""
    arrays = learners.arrays()
    for name, array in arrays.items():
        array[...] = found.arrays[name]
    learners.restore_curves(found.curves)


def check_memory(game: Game, settings: LearningSettings, memory_bytes: int) -> None:
    """TooLargeError if tables, with those kept on the way, replay and curves do not fit."""
    cells = math.prod(table_shape(game, settings))
    copies = 1 + (settings.method == "mfac")
    copies += copies * settings.snapshot_steps.size + (settings.alpha_power > 0)
    copies += settings.target_every > 0 or settings.target_tau > 0
    ring, weighed = 3, settings.correction != "none"
    if weighed:
        copies += settings.correction == "selfnorm"
        ring += 2
    needed = (
        8
        * settings.runs
        * (cells * copies + 3 * settings.n_points + 8 * settings.n + settings.replay * settings.n * ring)
    )
    if game.neighbourhood is not None:
        links = settings.n * (game.neighbourhood.regular_degree() or 0)
        if 24 * links > memory_bytes:
            raise TooLargeError(
                f"n: {settings.n} agents with {links} neighbours in all take {readable_bytes(24 * links)}, expected at most "
                f"{readable_bytes(memory_bytes)}; lower n or the neighbours of an agent"
            )
    if needed > memory_bytes:
        raise TooLargeError(
            f"runs: {settings.runs} runs of {n_tables(settings)} tables take {readable_bytes(needed)}, expected at most "
            f"{readable_bytes(memory_bytes)}; lower runs, n, bins, replay or snapshots, share the tables, or raise the memory limit"
        )
