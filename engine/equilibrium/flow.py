"""The flow of a population that plays one law: which contexts (s_g, b) an agent meets, and what comes after each.

s_g is common noise. Two forms:

mean field    n → ∞: given the path of s_g the law m of local states is deterministic,
              m' = Σ_s m(s) Σ_a β(a | s_g, s, b) P_l[s_g, f, s, a, ·],
              with f and the next b those of the mean action ā (or of m, for fields of states), and s_g' ~ P_g[s_g, f]
agents        n agents, simulated; the first ones are recorded, for every action that they could have executed

Both give the law K(f, b' | c, a) of a context c = (s_g, b) and an own action a, with s_g' ~ P_g[s_g, f] taken exactly. In the mean
field own actions change nothing. Among n agents they change f at once, which K holds, and what the others do later, which it does
not: O(1/n).

K is exact where the flow settled and each context is left in one way (`exact`): s_g is constant or moves deterministically, m has
come back to where it was, and the contexts of the period determine what follows. Otherwise K closes over the context: it averages
over what else m may be when (s_g, b) is met, as long-run frequencies of one simulated path, and the sampling error of that path is
part of it. A path ends in one recurrent class of s_g, and in one of several limits of m: nothing is said of the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...kernels.equilibrium.deviation import make_crowd, record_flow, start_crowd
from ...kernels.streams import checked_seed
from ..game import positive_integer
from ..learning.views import scene_of
from ..solve import Interrupted
from ..threads import in_threads
from .flow_law import PlayedLaw

DEFAULT_STEPS = 20_000
# Steps between two looks at whether to stop.
LOOK_EVERY = 100
# m has come back where no entry differs by more, and where it did so in one period more.
SETTLED = 1e-13
# Agents that are recorded, of all n.
MOST_RECORDED = 16
# Runs from here on are those of flows: a response is not checked on the random numbers that it was found with.
FIRST_RUN = 2**31
# Links of a run: where there are more, fewer agents are recorded.
MOST_LINKS = 4_000_000
# Links in memory, and moves of agents, of a piece of a run: between two pieces it may be stopped.
LINKS_AT_ONCE = 1_000_000
PIECE_MOVES = 20_000_000
# Entries of all kept laws of next states.
KEPT_ENTRIES = 30_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Flow:
    """What one agent meets in a population. Contexts that are never met are left out.

    Parameters
    ----------
    n : int or None             agents; None for the mean field
    contexts : int64[n_c, 2]    (s_g, b), in increasing order
    visits : float64[n_c]       steps that were spent in each
    local_law : float64[n_c, n_sl]      law of an agent's own state in each
    action_law : float64[n_al]          long-run law of actions
    source, action, field_value, target : int64[n_links]    context, own action (-1: any), field value, next context
    probability : float64[n_links]      of (f, c') given context and action
    steps : int                 recorded
    period : int                of a flow that settled; 0 for one that did not
    exact : bool                whether the links are exact for n → ∞
    dropped : float             mean probability of next contexts that were never met; the rest was scaled up
    """

    n: int | None
    contexts: np.ndarray
    visits: np.ndarray
    local_law: np.ndarray
    action_law: np.ndarray
    source: np.ndarray
    action: np.ndarray
    field_value: np.ndarray
    target: np.ndarray
    probability: np.ndarray
    steps: int
    period: int
    exact: bool
    dropped: float

    def in_words(self) -> str:
        """What kind of flow it is."""
        kind = "mean field" if self.n is None else f"{self.n} agents"
        contexts = f"{len(self.contexts)} context{'s' if len(self.contexts) != 1 else ''}"
        if self.period:
            kind += f", settled with period {self.period}"
        return f"{kind}, {contexts}" + ("" if self.exact else ", closed over (s_g, b)")


def mean_field_flow(
    played: PlayedLaw,
    *,
    steps: int = DEFAULT_STEPS,
    burn_in: int | None = None,
    seed: int = 0,
    should_stop: Callable[[], bool] | None = None,
) -> Flow:
    """The flow of infinitely many agents.

    Parameters
    ----------
    played : PlayedLaw
    steps : int               recorded, unless it settles before
    burn_in : int, optional   steps before; by default a tenth
    seed : int                of the path of s_g
    should_stop : function without arguments, asked every few steps

    Returns
    -------
    Flow

    Raises
    ------
    Interrupted
    """
    steps = positive_integer("steps", steps)
    asked = should_stop if should_stop is not None else lambda: False
    path = _Path(played, np.random.default_rng(int(checked_seed(seed))))
    path.go(steps // 10 if burn_in is None else burn_in, asked)
    path.start_recording()
    path.go(steps, asked)
    if path.period:
        # What is recorded of a flow that has settled is one period.
        path.start_recording()
        for _ in range(path.period):
            path.move()
    links = np.array([(c, -1, f, b) for (c, f, b) in sorted(path.links)], dtype=np.int64)
    weights = np.array([path.links[link] for link in sorted(path.links)], dtype=np.float64)
    return _assembled(
        played, None, links, weights, path.occupancy, steps=path.steps, period=path.period, action_law=path.action_law
    )


class _Path:
    """One path of (s_g, b, m), and what was met on it."""

    def __init__(self, played: PlayedLaw, generator: np.random.Generator):
        self._played, self._generator = played, generator
        game = played.game
        self._global_moves = played.global_moves()
        self._P_l = game.with_field_axis("P_l")
        self._laws: dict[tuple[int, int, int], np.ndarray] = {}
        self._before: dict[tuple[int, int], tuple[int, np.ndarray]] = {}
        self._came_back, self._time = 0, 0
        self.period = 0
        self.m = game.rho_l / game.rho_l.sum()
        self.s_g = int(generator.choice(game.n_sg, p=game.rho_g))
        uniform = np.full(game.n_al, 1.0 / game.n_al)
        self.b = int(played.seen.value_of(uniform if played.seen.of == "actions" else self.m))
        self.start_recording()

    def start_recording(self) -> None:
        """Forget what was met."""
        game = self._played.game
        self.links: dict[tuple[int, int, int], int] = {}
        self.occupancy = np.zeros((self._played.n_contexts, game.n_sl))
        self._actions = np.zeros(game.n_al)
        self.steps = 0

    @property
    def action_law(self) -> np.ndarray:
        return self._actions / max(self.steps, 1)

    def go(self, steps: int, should_stop: Callable[[], bool]) -> None:
        """Some steps, or until it has settled; Interrupted if asked to stop."""
        for step in range(steps):
            if self.period:
                return
            if step % LOOK_EVERY == 0 and should_stop():
                raise Interrupted(f"stopped after {step} of {steps} steps of the flow")
            self.move()

    def move(self) -> None:
        """One step."""
        played, game, s_g, b = self._played, self._played.game, self.s_g, self.b
        acts = self.m @ played.law[s_g, :, b]
        f = 0
        if game.field is not None:
            f = int(game.field.value_of(acts if game.field.of == "actions" else self.m))
        context = s_g * played.seen.n_values + b
        self.occupancy[context] += self.m
        self._actions += acts
        moves = self._global_moves[s_g, f if self._global_moves.shape[1] > 1 else 0]
        self._note_whether_settled(moves)
        self.m = self.m @ self._law(s_g, b, f)
        self.s_g = int(moves.argmax()) if moves.max() == 1.0 else int(self._generator.choice(game.n_sg, p=moves))
        self.b = int(played.seen.value_of(acts if played.seen.of == "actions" else self.m))
        link = (context, f, self.b)
        self.links[link] = self.links.get(link, 0) + 1
        self.steps += 1

    def _law(self, s_g: int, b: int, f: int) -> np.ndarray:
        """Law of the next state by the state, float64[n_sl, n_sl]; kept while there is room."""
        found = self._laws.get((s_g, b, f))
        if found is None:
            P_l = self._P_l[s_g, f if self._P_l.shape[1] > 1 else 0]
            found = np.einsum("sa,sat->st", self._played.law[s_g, :, b], P_l)
            if (len(self._laws) + 1) * found.size <= KEPT_ENTRIES:
                self._laws[s_g, b, f] = found
        return found

    def _note_whether_settled(self, moves: np.ndarray) -> None:
        """Settled: for two periods each (s_g, b) came with the m of the period before, and s_g moved without chance."""
        before = self._before.get((self.s_g, self.b))
        self._before[self.s_g, self.b] = self._time, self.m
        back = before is not None and float(np.abs(before[1] - self.m).max()) <= SETTLED
        self._came_back = self._came_back + 1 if back and moves.max() == 1.0 else 0
        if before is not None and self._came_back > 2 * (self._time - before[0]):
            self.period = self._time - before[0]
        self._time += 1


def agents_flow(
    played: PlayedLaw,
    n: int | None = None,
    *,
    steps: int = DEFAULT_STEPS,
    runs: int = 4,
    burn_in: int = 200,
    seed: int = 0,
    should_stop: Callable[[], bool] | None = None,
) -> Flow:
    """The flow of n agents, simulated.

    Parameters
    ----------
    played : PlayedLaw
    n : int, optional    agents; by default as many as learned
    steps : int          recorded, of all runs together
    runs : int
    burn_in : int        steps of each run before
    seed : int
    should_stop : function without arguments, asked before each piece of a run

    Returns
    -------
    Flow

    Raises
    ------
    Interrupted
    """
    n = positive_integer("n", played.n if n is None else n)
    steps, runs = positive_integer("steps", steps), positive_integer("runs", runs)
    game, B = played.game, played.seen.n_values
    each = -(-steps // runs)
    recorded = max(1, min(n, MOST_RECORDED, MOST_LINKS // (each * game.n_al)))
    piece = max(1, min(LINKS_AT_ONCE // (recorded * game.n_al), PIECE_MOVES // n))
    scene, sight, law, key = scene_of(game), played.sight(), played.played(), checked_seed(seed)
    scene = scene._replace(rho_l=scene.rho_l / scene.rho_l.sum())

    def record(run: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        crowd = make_crowd(sight, n)
        s_g = start_crowd(scene, sight, key, FIRST_RUN + run, crowd)
        codes, counts = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        met = np.zeros((2, played.n_contexts, game.n_sl), dtype=np.int64)
        edges = [*range(0, burn_in, piece), *range(burn_in, burn_in + each, piece), burn_in + each]
        for begin, end in itertools.pairwise(edges):
            if should_stop is not None and should_stop():
                raise Interrupted(f"stopped after {begin} of {edges[-1]} steps of {n} agents")
            counts_now = begin >= burn_in
            links = np.zeros((end - begin, recorded if counts_now else 0, game.n_al), dtype=np.int64)
            s_g = record_flow(scene, sight, law, key, FIRST_RUN + run, begin, s_g, crowd, game.n_f, links, met[1])
            if counts_now:
                met[0] += met[1]
                more = np.unique(links, return_counts=True)
                codes, counts = _merged(np.concatenate([codes, more[0]]), np.concatenate([counts, more[1]]))
        return codes, counts, met[0]

    found = in_threads(record, runs)
    codes, weights = _merged(*(np.concatenate([part[i] for part in found]) for i in (0, 1)))
    visits = sum(part[2] for part in found).astype(np.float64)
    rest, b = np.divmod(codes, B)
    rest, f = np.divmod(rest, game.n_f)
    c, a = np.divmod(rest, game.n_al)
    laws = played.law.transpose(0, 2, 1, 3).reshape(played.n_contexts, game.n_sl, game.n_al)
    action_law = np.einsum("cs,csa->a", visits, laws) / visits.sum()
    links = np.stack([c, a, f, b], axis=1)
    return _assembled(played, n, links, weights, visits / n, steps=each * runs, period=0, action_law=action_law)


def _merged(codes: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each code once, with the sum of its counts."""
    kept, inverse = np.unique(codes, return_inverse=True)
    totals = np.zeros(kept.size, dtype=np.int64)
    np.add.at(totals, inverse, counts)
    return kept, totals


def _assembled(
    played: PlayedLaw,
    n: int | None,
    links: np.ndarray,
    weights: np.ndarray,
    occupancy: np.ndarray,
    *,
    steps: int,
    period: int,
    action_law: np.ndarray,
) -> Flow:
    """A flow from counted links (c, a, f, b'): s_g' by its exact law, contexts that were never left dropped."""
    B = played.seen.n_values
    kept = np.unique(links[:, 0])
    number = np.full(played.n_contexts, -1)
    number[kept] = np.arange(kept.size)
    moves = played.global_moves()
    s_g, f = links[:, 0] // B, links[:, 2]
    next_law = moves[s_g, f if moves.shape[1] > 1 else 0]
    row, s_next = np.nonzero(next_law)
    target = number[s_next * B + links[row, 3]]
    weight = weights[row] * next_law[row, s_next]
    met = target >= 0
    source, action = number[links[row, 0]], links[row, 1]
    dropped = float(weight[~met].sum() / weight.sum())
    source, action, field_value, target, weight, dropped = _renewed(
        source, action, links[row, 2], target, weight, met, dropped
    )
    n_al = played.game.n_al
    place = source * (n_al + 1) + action + 1
    totals = np.bincount(place, weights=weight, minlength=kept.size * (n_al + 1))
    visits = occupancy[kept].sum(axis=1)
    return Flow(
        n=n,
        contexts=np.stack([kept // B, kept % B], axis=1),
        visits=visits,
        local_law=occupancy[kept] / np.maximum(visits, 1e-300)[:, None],
        action_law=action_law,
        source=source,
        action=action,
        field_value=field_value,
        target=target,
        probability=weight / totals[place],
        steps=steps,
        period=period,
        exact=n is None and period > 0 and source.size == kept.size,
        dropped=dropped,
    )


def _renewed(
    source: np.ndarray,
    action: np.ndarray,
    field_value: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    met: np.ndarray,
    dropped: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """Links to contexts that were met; a context and action without any stays where it is, once."""
    groups = np.stack([source, action], axis=1)
    lost = np.unique(groups[~met], axis=0)
    if lost.size:
        kept_groups = {tuple(group) for group in np.unique(groups[met], axis=0).tolist()}
        for c, a in lost.tolist():
            if (c, a) in kept_groups:
                continue
            first = int(np.flatnonzero((source == c) & (action == a))[0])
            target[first], met[first] = c, True
    return source[met], action[met], field_value[met], target[met], weight[met], dropped
