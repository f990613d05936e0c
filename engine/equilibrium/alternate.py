"""Alternating best response: G-LEARN and L-LEARN in turn (Anand and Karmarkar 2026, ALTERNATING-MARL).

G-LEARN solves the game of k agents for the global agent, the local policy given. L-LEARN solves the process of one local agent,
the global policy given, under the law of s_g' that a closure says it induces. After each round the pair is valued for n agents:
exactly where that fits, else by simulations that share their random numbers. The best pair is kept.
"""

from __future__ import annotations

import glob
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..backups.selection import default_memory_bytes
from ..deployment import half_width_of
from ..game import Game
from ..lifting import LONE_AGENT, refuse_field
from ..policy import checked_local_policy, uniform_local_policy
from ..solution import Solution
from ..solve import Interrupted, SweepReport, solve
from ..versions import library_versions
from .closures import close, pair_policy
from .files import read_alternation_checkpoint, write_equilibrium
from .local_learner import LocalSolution, learn_local
from .result import CONVERGED, FIXED_POINT, REVERTED, SPENT, Equilibrium, Round
from .settings import AlternationSettings
from .valuation import Valuation, gains_of

# A local policy that moved by no more than this did not move.
SAME_POLICY = 1e-12


def alternate(
    game: Game,
    k: int | None = None,
    n: int | None = None,
    *,
    settings: AlternationSettings | None = None,
    local_policy: np.ndarray | None = None,
    memory_bytes: int | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every_s: float = 60.0,
    resume: bool = False,
    progress: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    executor: Any = None,
    **options: Any,
) -> Equilibrium:
    """Find an approximate Nash equilibrium of the global agent and the local agents.

    Parameters
    ----------
    game : Game
    k : int                    agents that the global agent sees
    n : int, optional          agents that play; by default the game's own number
    settings : AlternationSettings, optional    instead of k, n and options
    local_policy : float64[n_sg, n_sl, n_al], optional    that the first G-LEARN answers; by default uniform
    memory_bytes : int, optional    limit for tables; by default three quarters of the machine's memory
    checkpoint : path, optional     rewritten after each round; a G-LEARN under way has one of its own beside it
    checkpoint_every_s : float      of the latter
    resume : bool              continue from `checkpoint` if it exists; the result has the bits of an undisturbed run
    progress : function of a text
    should_stop : function without arguments, asked now and then
    executor : concurrent.futures.Executor or distributed.Client, optional    computes the sweeps of G-LEARN in parts
    options : fields of `AlternationSettings`

    Returns
    -------
    Equilibrium

    Raises
    ------
    ValueError       one line that names the field
    TooLargeError    something does not fit the memory
    KofnFileError    the checkpoint belongs to another alternation
    Interrupted      `should_stop` said so; the checkpoints are on disk
    """
    refuse_field(game, LONE_AGENT)
    if settings is None:
        agents = game.n_agents if n is None else n
        if agents is None:
            raise ValueError("n: missing, and the game does not say how many agents it has")
        if k is None:
            raise ValueError("k: missing, expected the number of agents that the global agent sees")
        settings = AlternationSettings(k=k, n=agents, **options)
    elif k is not None or n is not None or options:
        raise ValueError("settings: found together with k, n or options, expected one or the other")
    start = uniform_local_policy(game) if local_policy is None else checked_local_policy(local_policy, game)
    run = _Alternation(
        game, settings, start, memory_bytes=default_memory_bytes() if memory_bytes is None else memory_bytes,
        checkpoint=None if checkpoint is None else Path(checkpoint), every_s=checkpoint_every_s,
        progress=progress or (lambda text: None), should_stop=should_stop or (lambda: False), executor=executor,
    )  # fmt: skip
    if resume:
        run.restore()
    else:
        run.forget()
    return run.finish()


def solve_checkpoints(checkpoint: Path) -> list[Path]:
    """Files of G-LEARNs under way beside a checkpoint, and what a kill in the middle of writing one left."""
    return sorted(checkpoint.parent.glob(f"{glob.escape(checkpoint.name)}.round-*"))


class _Alternation:
    """The rounds so far, the best pair, and the local policy that the next round answers."""

    def __init__(
        self, game: Game, settings: AlternationSettings, local_policy: np.ndarray, *, memory_bytes: int,
        checkpoint: Path | None, every_s: float, progress: Callable[[str], None], should_stop: Callable[[], bool],
        executor: Any,
    ):  # fmt: skip
        self.game, self.settings = game, settings
        self._first_policy = local_policy
        self._memory_bytes, self._executor, self._every_s = memory_bytes, executor, every_s
        self._checkpoint, self._progress, self._should_stop = checkpoint, progress, should_stop
        self._valuation = Valuation(game, settings, memory_bytes)
        self._state: Equilibrium | None = None
        self._best_sample: np.ndarray | None = None
        self._elapsed_before = 0.0
        self._began = time.perf_counter()

    def restore(self) -> None:
        if self._checkpoint is None or not self._checkpoint.exists():
            return
        self._state = read_alternation_checkpoint(self._checkpoint, self.game, self.settings, self._first_policy)
        self._elapsed_before = self._state.wall_time_s
        # With another limit of memory the rounds go on as they began.
        self._valuation.is_exact = self._state.is_exact

    def forget(self) -> None:
        for path in [] if self._checkpoint is None else [self._checkpoint, *solve_checkpoints(self._checkpoint)]:
            path.unlink(missing_ok=True)

    def finish(self) -> Equilibrium:
        while self._state is None or not self._state.stop:
            try:
                self._state = self._next_round()
            except Interrupted:
                raise self._interrupted() from None
            if self._checkpoint is not None:
                write_equilibrium(self._checkpoint, self._state, first_policy=self._first_policy, overwrite=True)
                self._solve_checkpoint(len(self._state.rounds) - 1).unlink(missing_ok=True)
        return self._state

    # A round.

    def _next_round(self) -> Equilibrium:
        began = time.perf_counter()
        state, settings, game = self._state, self.settings, self.game
        number = 0 if state is None else len(state.rounds)
        answered = self._first_policy if state is None else state.next_local_policy
        title = f"round {number + 1} of at most {settings.max_rounds}"
        solution = self._learn_global(number, answered, title)
        self._progress(f"{title}: local agents, {settings.closure} closure")
        closure = close(
            game, solution.global_action, settings.k, answered, settings.closure, memory_bytes=self._memory_bytes
        )
        local = learn_local(
            game, closure.transition, tau_min=settings.tau_min, tau_scale=settings.tau_scale, greedy=settings.greedy,
            tol=settings.tol,
        )  # fmt: skip
        if self._should_stop():
            raise self._interrupted()
        self._progress(f"{title}: value for {settings.n} agents")
        before = pair_policy(game, settings.k, solution.global_action, answered)
        policy = pair_policy(game, settings.k, solution.global_action, local.policy)
        half_way, *_ = self._valuation.value(before, self._should_stop)
        value, half_width, sample = self._valuation.value(policy, self._should_stop)
        change, change_half_width = self._change(value, half_width, sample)
        kept = not change <= 0.0
        self._progress(f"{title}: exploitability")
        kind, gains = gains_of(game, policy, settings, memory_bytes=self._memory_bytes, should_stop=self._should_stop)
        entry = Round(
            value=value,
            half_width=half_width,
            global_value=half_way,
            surrogate_value=solution.initial_value,
            change=change,
            change_half_width=change_half_width,
            kept=kept,
            gains=gains,
            exploitability=kind,
            n_sweeps=solution.n_sweeps,
            solve_time_s=solution.wall_time_s,
            wall_time_s=time.perf_counter() - began,
        )
        if kept:
            self._best_sample = sample
        return self._after(entry, solution, local, answered)

    def _after(self, entry: Round, solution: Solution, local: LocalSolution, answered: np.ndarray) -> Equilibrium:
        before = self._state
        rounds = (entry,) if before is None else (*before.rounds, entry)
        if before is not None and not entry.kept:
            solution, kept_local, best = before.solution, before.local, before.best_round
        else:
            kept_local, best = local, len(rounds) - 1
        return Equilibrium(
            game=self.game,
            settings=self.settings,
            solution=solution,
            local=kept_local,
            # After a drop the kept pair is answered again.
            next_local_policy=kept_local.policy if self._dropped(entry) else local.policy,
            rounds=rounds,
            best_round=best,
            is_exact=self._valuation.is_exact,
            stop=self._stop(rounds, local, answered),
            wall_time_s=self._elapsed_before + time.perf_counter() - self._began,
            versions=library_versions(),
        )

    def _learn_global(self, number: int, answered: np.ndarray, title: str) -> Solution:
        settings = self.settings
        checkpoint = None if self._checkpoint is None else self._solve_checkpoint(number)

        def show(report: SweepReport) -> None:
            self._progress(f"{title}: global agent, sweep {report.sweep}, width {report.width:.2g} of {report.tol:.2g}")

        return solve(
            self.game, settings.k, "fixed", settings.expectation, settings.tol, local_policy=answered,
            samples=settings.samples, seed=settings.seed, max_sweeps=settings.max_sweeps,
            memory_bytes=self._memory_bytes, checkpoint=checkpoint, checkpoint_every_s=self._every_s,
            resume=checkpoint is not None and checkpoint.exists(), progress=show, should_stop=self._should_stop,
            executor=self._executor,
        )  # fmt: skip

    def _solve_checkpoint(self, number: int) -> Path:
        assert self._checkpoint is not None
        return self._checkpoint.with_name(f"{self._checkpoint.name}.round-{number + 1}")

    def _interrupted(self) -> Interrupted:
        number = 0 if self._state is None else len(self._state.rounds)
        files = [] if self._checkpoint is None else [self._checkpoint, *solve_checkpoints(self._checkpoint)]
        kept = f"checkpoint in {self._checkpoint}" if any(path.exists() for path in files) else "nothing kept"
        return Interrupted(f"stopped in round {number + 1}; {number} finished, {kept}")

    # What a round came to.

    def _change(self, value: float, half_width: float, sample: np.ndarray | None) -> tuple[float, float]:
        """Value minus that of the best pair, and its half width."""
        state = self._state
        if state is None:
            return math.nan, math.nan
        if sample is None:
            return value - state.value, half_width + state.half_width
        if self._best_sample is None:
            # Of a run that was resumed: the same random numbers give the same sample.
            self._best_sample = self._valuation.value(state.policy, self._should_stop)[2]
        assert self._best_sample is not None
        difference = sample - self._best_sample
        return float(difference.mean()), half_width_of(difference)

    def _dropped(self, entry: Round) -> bool:
        """Whether a round is worse than the best one by more than its interval."""
        return entry.change < 0.0 and not entry.change + entry.change_half_width > 0.0

    def _stop(self, rounds: tuple[Round, ...], local: LocalSolution, answered: np.ndarray) -> str:
        settings, entry = self.settings, rounds[-1]
        if float(np.abs(local.policy - answered).max()) <= SAME_POLICY:
            return FIXED_POINT
        if len(rounds) >= 2:
            previous = rounds[-2].value
            if abs(entry.value - previous) < settings.rtol * max(abs(previous), 1e-6) or entry.value == previous:
                return CONVERGED
            # The kept pair was answered already: answering it again gives the same round, unless G-LEARN draws.
            if self._dropped(entry):
                return REVERTED
        return SPENT if len(rounds) >= settings.max_rounds else ""
