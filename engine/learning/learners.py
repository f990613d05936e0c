"""The two ways to learn, as objects that hold all arrays of the runs and advance them: all at once, or one after the other."""

from __future__ import annotations

import math
from typing import Protocol

import numba
import numpy as np

from ...kernels.learning.parts import RATIO_SUMS, Population, Records, Rule
from ...kernels.learning.sequential import NOTHING_PENDING, Learner, Play, Society, SweepRecord, advance_sequential
from ...kernels.learning.synchronous import draw_learners, learn_synchronous, observe_start
from ...kernels.learning.two_actions import advance_two_actions, suits_two_actions
from ...kernels.learning.with_weights import learn_with_weights
from ...kernels.streams import checked_seed
from ..game import Game
from ..tabulation import Space, shown
from ..threads import in_threads
from .correction import check_correction, drift_of
from .settings import LEARN, UNIFORM, LearningSettings
from .views import Views, seen_field, views_of, whole_weights

NO_TABLES = (0, 0, 0)
# The runs of one thread go in so many parts, so that threads end at about the same time.
PARTS_PER_THREAD = 4
# Links of a graph that is written out for sequential play.
MAX_LINKS = 50_000_000
# Units between the lowest and the highest weight in sequential play.
MAX_WEIGHT = 10_000


class Learners(Protocol):
    """Runs of learners: arrays that change, and a step."""

    views: Views

    def arrays(self) -> dict[str, np.ndarray]: ...

    def curves(self) -> dict[str, np.ndarray]: ...

    def restore_curves(self, curves: dict[str, np.ndarray]) -> None: ...

    def look(self) -> None: ...

    def advance(self, first: int, n_steps: int) -> None: ...


def make_learners(game: Game, settings: LearningSettings, *, first_run: int = 0) -> Learners:
    """Learners at their start, by the order of moves.

    Raises
    ------
    ValueError    settings that do not fit the game
    """
    if settings.order == "sequential":
        return SequentialLearners(game, settings, first_run=first_run)
    return SynchronousLearners(game, settings, first_run=first_run)


def n_tables(settings: LearningSettings) -> int:
    """Tables of a run."""
    return settings.n if settings.tables == "own" else 1


def table_shape(game: Game, settings: LearningSettings) -> tuple[int, int, int]:
    """Sizes of the tables of a run: (n_tables, n_o, n_al)."""
    n_o = game.n_sg * game.n_sl * seen_field(game, settings).n_values
    return n_tables(settings), n_o, game.n_al


def start_label(game: Game, settings: LearningSettings) -> tuple[str, int] | None:
    """Whether agents start with one action or in one state, and which; None if at random."""
    if settings.start == "random":
        return None
    of, labels = "actions", game.labels.local_actions
    if game.n_sl > 1:
        of, labels = "states", game.labels.local_states
    position = _find(labels, settings.start)
    if position is None:
        raise ValueError(f"start: found {settings.start!r}, expected 'random' or one of {shown(list(labels))}")
    return of, position


def _find(labels: tuple, text: str) -> int | None:
    """Position of a label given as text."""
    texts = [str(label) for label in labels]
    if text in texts:
        return texts.index(text)
    try:
        return Space(labels).find(float(text))
    except ValueError:
        return None


def global_law(game: Game, settings: LearningSettings) -> np.ndarray:
    """The given law of the global agent, float64[n_sg, 1, n_ag]; uniform where it learns instead."""
    law = np.full((game.n_sg, 1, game.n_ag), 1.0 / game.n_ag)
    if settings.global_policy in (LEARN, UNIFORM):
        return law
    position = _find(game.labels.global_actions, settings.global_policy)
    if position is None:
        labels = shown(list(game.labels.global_actions))
        raise ValueError(
            f"global_policy: found {settings.global_policy!r}, expected {LEARN!r}, {UNIFORM!r} or one of {labels}"
        )
    return np.broadcast_to(np.eye(game.n_ag)[position], law.shape).copy()


class SynchronousLearners:
    """All agents act at once, step after step."""

    def __init__(self, game: Game, settings: LearningSettings, *, first_run: int = 0):
        self.views = views_of(game, settings)
        self._seed = checked_seed(settings.seed)
        check_correction(game, settings)
        self._rule = _rule_of(game, settings)
        self.drift = drift_of(game, settings)
        weighed = self.drift is not None
        self._population = _population_of(game, settings, weighed=weighed)
        shape = (settings.runs, settings.n_points)
        ratios = np.zeros((settings.runs, settings.n_points if weighed else 0, RATIO_SUMS))
        self._records = Records(settings.record_every, np.zeros(shape), np.zeros(shape), np.zeros(shape), ratios)
        population, views = self._population, self.views
        population.run[:] += first_run
        draw_learners(views.scene, self._seed, population)
        start = start_label(game, settings)
        if start is not None:
            getattr(population, start[0])[:] = start[1]
        self.look()

    def look(self) -> None:
        """Observe anew before the first step, since tables that were put in may answer otherwise."""
        views = self.views
        observe_start(
            views.scene, views.env_lens, views.env_graph, views.lens, views.graph, self._rule, self._population, 0
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """All that the next step needs but its number."""
        return {name: array for name, array in self._population._asdict().items() if array.size}

    def curves(self) -> dict[str, np.ndarray]:
        """Means over the steps of each point; with corrections also sums over its replayed steps."""
        names = ("reward", "weight", "abs_weight", "ratios")
        return {name: getattr(self._records, name) for name in names if getattr(self._records, name).size}

    def restore_curves(self, curves: dict[str, np.ndarray]) -> None:
        """Put in what `curves` gave before."""
        for name, curve in curves.items():
            getattr(self._records, name)[...] = curve

    def arguments(self, first: int, n_steps: int, rows: slice = slice(None)) -> tuple:
        """What `kernels.learning.synchronous.learn_synchronous` takes for some steps of some runs, all by default.

        `kernels.learning.with_reward.learn_with_reward` takes a jitted reward before them, `with_weights.learn_with_weights`
        takes `drift`. The arrays are those of the learners.
        """
        views = self.views
        records = Records(self._records.every, *(curve[rows] for curve in self._records[1:]))
        population = Population(*(array[rows] for array in self._population))
        return (
            views.scene, views.env_lens, views.env_graph, views.lens, views.graph, self._rule, population, self._seed, first,
            n_steps, records,
        )  # fmt: skip

    def advance(self, first: int, n_steps: int) -> None:
        """Make steps first … first + n_steps − 1; the runs are shared out among as many threads as kernels may use."""
        runs = self._population.run.size
        n_parts = min(runs, PARTS_PER_THREAD * numba.get_num_threads())
        ends = np.linspace(0, runs, n_parts + 1).astype(np.int64)

        def advance(part: int) -> None:
            arguments = self.arguments(first, n_steps, slice(ends[part], ends[part + 1]))
            if self.drift is None:
                learn_synchronous(*arguments)
            else:
                learn_with_weights(self.drift, *arguments)

        in_threads(advance, n_parts)


def _rule_of(game: Game, settings: LearningSettings) -> Rule:
    return Rule(
        alpha=float(settings.alpha),
        alpha_power=float(settings.alpha_power),
        gamma=float(game.gamma),
        temperature=float(settings.temperature),
        epsilon_start=settings.epsilon[0],
        epsilon_end=settings.epsilon[1],
        epsilon_steps=settings.epsilon_steps,
        actor_alpha=float(settings.actor_alpha),
        inner=settings.inner,
        team=int(settings.reward == "team"),
        reward_at_seen=int(settings.reward_at == "seen"),
        batch=settings.batch if settings.replay else 0,
        target_every=settings.target_every,
        target_tau=float(settings.target_tau),
        learning=int(settings.alpha > 0.0 or (settings.method == "mfac" and settings.actor_alpha > 0.0)),
        global_learns=int(settings.global_policy == LEARN and game.n_ag > 1),
        global_law=global_law(game, settings),
        by_step=int(settings.replay_by == "step"),
        index_executed=int(settings.index == "executed"),
    )


def _population_of(game: Game, settings: LearningSettings, *, weighed: bool = False) -> Population:
    runs, n = settings.runs, settings.n
    shape = (runs, *table_shape(game, settings))
    none = (runs, *NO_TABLES)
    q = np.full(shape, float(settings.initial_q))
    visited = settings.alpha_power > 0
    n_f = game.n_f if game.neighbourhood is None else 1
    of_global = (runs, game.n_sg, n_f, game.n_ag) if settings.global_policy == LEARN and game.n_ag > 1 else none
    no_ring = (runs, 0, 0)
    ring = (runs, settings.replay, n) if settings.replay else no_ring
    has_target = settings.target_every > 0 or settings.target_tau > 0
    return Population(
        run=np.arange(runs, dtype=np.int64),
        s_g=np.zeros(runs, dtype=np.int64),
        states=np.zeros((runs, n), dtype=np.int32),
        actions=np.zeros((runs, n), dtype=np.int32),
        seen=np.zeros((runs, n), dtype=np.int32),
        alive=np.zeros((runs, 0), dtype=np.uint8),
        q=q,
        target=q.copy() if has_target else np.zeros(none),
        theta=np.zeros(shape if settings.method == "mfac" else none),
        visits=np.zeros(shape if visited else none, dtype=np.int64),
        mass=np.zeros(shape if weighed and settings.correction == "selfnorm" else none),
        q_global=np.full(of_global, float(settings.initial_q)),
        visits_global=np.zeros(of_global if visited else none, dtype=np.int64),
        ring_seen=np.zeros(ring, dtype=np.int32),
        ring_action=np.zeros(ring, dtype=np.int32),
        ring_reward=np.zeros(ring),
        ring_next=np.zeros(ring, dtype=np.int32),
        ring_acted=np.zeros(ring if weighed and settings.index == "executed" else no_ring, dtype=np.int32),
        ring_log_law=np.zeros(ring if weighed else no_ring),
        ring_head=np.zeros(runs, dtype=np.int64),
        ring_filled=np.zeros(runs, dtype=np.int64),
        ratio_means=np.zeros((runs, 3 if weighed else 0)),
    )


class SequentialLearners:
    """One agent after the other, picked at random; agents without states on a graph, who see the game's own field."""

    def __init__(self, game: Game, settings: LearningSettings, *, first_run: int = 0):
        self.views = views_of(game, settings)
        _check_sequential(game, settings, self.views)
        self._seed = checked_seed(settings.seed)
        self._every = settings.record_every
        self._society, self._low, self._step = society_of(game, settings.n)
        self._learner = Learner(
            alpha=float(settings.alpha), gamma=float(game.gamma), temperature=float(settings.temperature),
            epsilon=settings.epsilon[0],
        )  # fmt: skip
        self._r_l = np.ascontiguousarray(game.with_field_axis("r_l")[0, :, 0] + game.r_g[0, 0])
        if self._r_l.shape[0] == 1:
            self._r_l = np.repeat(self._r_l, self.views.seen.n_values, axis=0)
        runs, n = settings.runs, settings.n
        start = _population_of(game, settings)
        start.run[:] += first_run
        draw_learners(self.views.scene, self._seed, start)
        label = start_label(game, settings)
        if label is not None:
            start.actions[:] = label[1]
        self._play = Play(
            run=start.run, q=start.q, action=start.actions,
            pending_value=np.full((runs, n), NOTHING_PENDING, dtype=np.int32), pending_reward=np.zeros((runs, n)),
        )  # fmt: skip
        self._record = SweepRecord(
            total=np.zeros((runs, settings.n_points), dtype=np.int64), reward=np.zeros((runs, settings.n_points))
        )
        self._fast = bool(suits_two_actions(self._society, self._learner, self._play))

    def arrays(self) -> dict[str, np.ndarray]:
        """All that the next sweep needs but its number."""
        names = {"action": "actions"}
        return {names.get(name, name): array for name, array in self._play._asdict().items()}

    def curves(self) -> dict[str, np.ndarray]:
        """Every `record_every`-th sweep: the mean reward of its moves, and the mean weight of the actions after it."""
        weight = self._low + self._record.total * self._step / self._play.action.shape[1]
        return {"reward": self._record.reward, "weight": weight, "abs_weight": np.abs(weight)}

    def restore_curves(self, curves: dict[str, np.ndarray]) -> None:
        """Put in what `curves` gave before."""
        self._record.reward[...] = curves["reward"]
        agents = self._play.action.shape[1]
        self._record.total[...] = np.rint((curves["weight"] - self._low) * agents / self._step)

    def look(self) -> None:
        """Nothing: an agent looks when it is its turn."""

    def arguments(self, first: int, n_steps: int) -> tuple:
        """What `kernels.learning.sequential.advance_sequential_with` takes after a jitted reward, for some sweeps of all runs."""
        return self._seed, first, n_steps, self._every, self._society, self._learner, self._play, self._record

    def advance(self, first: int, n_steps: int) -> None:
        """Make sweeps first … first + n_steps − 1."""
        advance = advance_two_actions if self._fast else advance_sequential
        *before, play, record = self.arguments(first, n_steps)
        advance(*before, self._r_l, play, record)


def _check_sequential(game: Game, settings: LearningSettings, views: Views) -> None:
    if game.n_sg > 1 or game.n_sl > 1 or game.n_ag > 1:
        raise ValueError("order: found 'sequential' for a game with states, expected it where agents have no states")
    if game.neighbourhood is None or game.field is None or game.field.of != "actions":
        raise ValueError("order: found 'sequential', expected it in a game whose field is of the neighbours' actions")
    if views.seen.parts() != game.field.parts():
        raise ValueError("order: found 'sequential', expected agents that see the game's own field")
    if len(game.field.weights) > 1:
        raise ValueError("order: found 'sequential' with a field of several features, expected one")


def society_of(game: Game, n: int) -> tuple[Society, float, float]:
    """The graph of a game with whole-number weights, the lowest weight, and the unit of the others above it."""
    field, graph = game.field, game.neighbourhood
    assert field is not None
    assert graph is not None
    units = whole_weights(field.weights[0])
    if units is None or units[0].max() > MAX_WEIGHT:
        raise ValueError(
            f"field.weights: found {shown(field.weights[0].tolist())}, expected multiples of a unit above the lowest, up to "
            f"{MAX_WEIGHT}, in sequential order"
        )
    whole, low, unit = units
    indptr, indices = graph.adjacency(n)
    if graph.graph == "complete":
        if n * (n - 1) > MAX_LINKS:
            raise ValueError(f"n: found {n} agents who all see each other, expected at most {math.isqrt(MAX_LINKS)}")
        indptr = np.arange(n + 1, dtype=np.int64) * (n - 1)
        others = np.arange(n * (n - 1), dtype=np.int64)
        row, place = np.divmod(others, n - 1)
        indices = (place + (place >= row)).astype(np.int32)
    most = int(np.diff(indptr).max())
    top = int(whole.max())
    table = np.full((most + 1, most * top + 1), field.neutral, dtype=np.int32)
    edges = field.edge_table[0]
    for degree in range(1, most + 1):
        means = low + unit * np.arange(degree * top + 1) / degree
        table[degree, : means.size] = np.searchsorted(edges, means, side="right")
    society = Society(indptr=indptr, indices=indices, weights=whole, value_of_total=table)
    return society, low, unit
