"""What a pair is worth to n agents, and what its players could gain: exactly where that fits, else simulated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...kernels.lattice import lattice_size
from ..backups.selection import TooLargeError
from ..deployment import deploy, half_width_of, steps_until
from ..evaluation.evaluate import check_evaluation, evaluate, initial_measure
from ..game import Game
from ..policy import SubsamplePolicy
from ..solve import Interrupted
from .mean_field import MOST_DRAWN_FROM, mean_field_gains
from .result import PLAYERS
from .settings import AlternationSettings
from .tagged_chain import REWARDS

# Where it is not asked for, exact work goes on for so many states.
AUTO_STATES = 300_000
AUTO_TAGGED_STATES = 200_000


class Valuation:
    """Values pairs for n agents, all in the same way.

    Parameters
    ----------
    game : Game
    settings : AlternationSettings
    memory_bytes : int
    """

    def __init__(self, game: Game, settings: AlternationSettings, memory_bytes: int):
        self._game, self._settings, self._memory_bytes = game, settings, memory_bytes
        self.is_exact = settings.value == "exact" or (settings.value == "auto" and self._fits())
        if settings.value == "exact":
            check_evaluation(game, settings.k, 1, settings.n, memory_bytes)
        self.steps = settings.steps or steps_until(game)

    def _fits(self) -> bool:
        game, settings = self._game, self._settings
        if game.n_sg * lattice_size(settings.n, game.n_sl) > AUTO_STATES:
            return False
        try:
            check_evaluation(game, settings.k, 1, settings.n, self._memory_bytes)
        except TooLargeError:
            return False
        return True

    def value(self, policy: SubsamplePolicy, should_stop: Callable[[], bool]) -> tuple[float, float, np.ndarray | None]:
        """Team value from the initial law, its half width, and if simulated the return of every run; may raise Interrupted."""
        settings, game = self._settings, self._game
        if self.is_exact:
            exact = evaluate(
                game, policy, settings.n, occupancies=False, average=False, memory_bytes=self._memory_bytes,
                should_stop=should_stop,
            )  # fmt: skip
            # A sum of NumPy, not a product of a BLAS: the same bits on any number of threads.
            return float((initial_measure(game, settings.n) * exact.value).sum()), exact.half_width, None

        def look(done: int, total: int) -> None:
            if should_stop():
                raise Interrupted(f"stopped after {done} of {total} steps of a simulation")

        deployment = deploy(
            game, policy, settings.n, steps=self.steps, runs=settings.runs, seed=settings.seed, trace_points=1,
            memory_bytes=self._memory_bytes, progress=look,
        )  # fmt: skip
        return deployment.mean_return, half_width_of(deployment.returns), deployment.returns


def gains_of(
    game: Game,
    policy: SubsamplePolicy,
    settings: AlternationSettings,
    *,
    memory_bytes: int,
    should_stop: Callable[[], bool],
) -> tuple[str, np.ndarray]:
    """What best responses to a pair gain, as asked for.

    Parameters
    ----------
    game, policy, settings

    Returns
    -------
    str                     "exact", "mean-field" or "none"
    float64[2, 2, 2]        axes (reward, player, bound); NaN where nothing is known
    """
    gains = np.full((len(REWARDS), len(PLAYERS), 2), np.nan)
    kind = settings.exploitability
    if kind == "auto":
        states = game.n_sg * game.n_sl * lattice_size(settings.n - 1, game.n_sl)
        kind = "exact" if states <= AUTO_TAGGED_STATES else "mean-field"
        # No reason to lose a pair: more agents than the brackets can draw samples from have none.
        if settings.n >= MOST_DRAWN_FROM:
            kind = "none"
    if kind == "exact":
        from .exploitability import exploitability

        try:
            for r, reward in enumerate(REWARDS):
                found = exploitability(
                    game, policy, settings.n, reward=reward, memory_bytes=memory_bytes, should_stop=should_stop
                )
                slack = 2.0 * found.half_width
                for p, gain in enumerate((found.global_gain, found.local_gain)):
                    gains[r, p] = gain - slack, gain + slack
        except TooLargeError:
            if settings.exploitability == "exact":
                raise
            kind = "mean-field"
    if kind == "mean-field":
        gains = mean_field_gains(
            game, policy, settings.n, steps=settings.steps, seed=settings.seed, memory_bytes=memory_bytes,
            should_stop=should_stop,
        ).gains  # fmt: skip
    return kind, gains
