"""What mean-field Q-learning converges to, computed: the fixed point of its operator under a given exploring behaviour.

Agents that explore by a fixed law make (s_g, how many agents are of each type) a Markov chain; an agent's type is its state and,
where agents see actions, its last action. In the long run of that chain

    Q(o, a) = E[r + γ v(o') | o, a],    v(o) = Σ_a π_T(a | o) Q(o, a)

is what the updates of Q(o, a) with decreasing step sizes average to; o is what an agent observes. Counts of types take the place of
labelled agents, so that a handful of agents is exact in milliseconds.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from ...kernels.lattice import lattice_size
from ..action_classes import list_counts
from ..backups.selection import TooLargeError
from ..coupling import Field
from ..game import Game, positive_integer
from ..tabulation import ROW_SUM_ATOL, shown
from .long_run import long_run_law
from .policy import boltzmann_laws
from .settings import REWARDS

# States of the chain, times outcomes of a step: minutes.
MOST_OUTCOMES = 20_000_000
MOST_ROUNDS = 1_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class FixedPoint:
    """The fixed point of mean-field Q-learning.

    Parameters
    ----------
    q : float64[n_o, n_al]        NaN where an observation or an action never occurs in the long run
    visits : float64[n_o, n_al]   long-run share of (observation, action) among an agent's steps
    """

    q: np.ndarray
    visits: np.ndarray


def mean_field_fixed_point(
    game: Game,
    n: int,
    seen: Field,
    *,
    temperature: float = 0.0,
    behaviour: np.ndarray | None = None,
    global_law: np.ndarray | None = None,
    reward: str = "own",
    tol: float = 1e-12,
) -> FixedPoint:
    """The fixed point of mean-field Q-learning with one table for all agents.

    Parameters
    ----------
    game : Game without a neighbourhood
    n : int
    seen : Field                  what agents see: of all states, or of the others' last actions
    temperature : float           of the Boltzmann law in v; 0 is the maximum
    behaviour : float64[n_o, n_al], optional    law by which agents act, default uniform; o = (s_g · n_sl + s_l) · F + value seen
    global_law : float64[n_sg, n_ag], optional    of the global agent, default uniform
    reward : "own" or "team"
    tol : float                   change of Q at which the rounds stop, relative to the largest

    Returns
    -------
    FixedPoint

    Raises
    ------
    ValueError, TooLargeError, RuntimeError (no convergence)

    Source: Yang, Luo, Li, Zhou, Zhang and Wang (2018), "Mean field multi-agent reinforcement learning", eqs. 8 to 10; where an
    observation is not all there is to know this is Q-learning with state aggregation, Singh, Jaakkola and Jordan (1995),
    "Reinforcement learning with soft state aggregation", Theorem 1.
    """
    if game.neighbourhood is not None:
        raise ValueError("game: found a game on a graph, expected one where all agents share a field")
    if reward not in REWARDS:
        raise ValueError(f"reward: found {shown(reward)}, expected one of {', '.join(REWARDS)}")
    n_x = game.n_sl if isinstance(seen, Field) and seen.of == "states" else game.n_al
    if not isinstance(seen, Field) or seen.weights.shape[1] != n_x:
        raise ValueError(f"seen: found {shown(seen)}, expected a Field of the game's {n_x} states or actions")
    # Written so that NaN fails.
    for name, value, least in (("temperature", temperature, 0.0), ("tol", tol, 1e-15)):
        if not least <= value < np.inf:
            raise ValueError(f"{name}: found {shown(value)}, expected a finite number of at least {least:g}")
    chain = _Chain(game, positive_integer("n", n), seen, behaviour, global_law, team=reward == "team")
    joint = chain.joint()
    law = long_run_law(joint, chain.start())
    mass, paid, leads = chain.average(law)
    visited = mass > 0.0
    safe = np.where(visited, mass, 1.0)
    paid, leads = paid / safe, leads / safe[:, :, None]
    q = np.zeros(mass.shape)
    for _ in range(MOST_ROUNDS):
        pi = boltzmann_laws(q, temperature)
        backed_up = np.where(visited, paid + game.gamma * (leads @ (pi * q).sum(axis=1)), 0.0)
        change = float(np.abs(backed_up - q).max())
        q = backed_up
        if change <= tol * max(1.0, float(np.abs(q).max())):
            return FixedPoint(q=np.where(visited, q, np.nan), visits=mass)
    raise RuntimeError(f"temperature: {MOST_ROUNDS} rounds of the operator did not settle, expected a fixed point")


class _Chain:
    """The chain of (s_g, counts of types) of n exploring agents, and what it means to one of them."""

    def __init__(self, game: Game, n: int, seen: Field, behaviour, global_law, *, team: bool):
        self.game, self.n, self.seen, self.team = game, n, seen, team
        self.by_action = seen.of == "actions" and seen.n_values > 1
        # A type is s_l · n_al + last action, or s_l alone.
        self.n_types = game.n_sl * (game.n_al if self.by_action else 1)
        self.counts = list_counts(n, self.n_types)
        self.rank = {tuple(row): i for i, row in enumerate(self.counts.tolist())}
        n_o = game.n_sg * game.n_sl * seen.n_values
        self.behaviour = np.full((n_o, game.n_al), 1.0 / game.n_al) if behaviour is None else np.asarray(behaviour)
        self.global_law = (
            np.full((game.n_sg, game.n_ag), 1.0 / game.n_ag) if global_law is None else np.asarray(global_law)
        )
        if self.behaviour.shape != (n_o, game.n_al) or self.global_law.shape != (game.n_sg, game.n_ag):
            raise ValueError(
                f"behaviour, global_law: found shapes {self.behaviour.shape} and {self.global_law.shape}, expected "
                f"{(n_o, game.n_al)} and {(game.n_sg, game.n_ag)}"
            )
        size = game.n_sg * len(self.counts)
        outcomes = lattice_size(n, self.n_types * game.n_al) // max(1, len(self.counts)) * len(self.counts)
        if size * max(size, outcomes) > MOST_OUTCOMES:
            raise TooLargeError(
                f"n: {n} agents of {self.n_types} types make a chain of {size} states with {outcomes} outcomes each, expected "
                f"at most {MOST_OUTCOMES} in all; lower n"
            )
        for name, law in (("behaviour", self.behaviour), ("global_law", self.global_law)):
            if not (law.min() >= 0.0 and np.abs(law.sum(axis=1) - 1.0).max() <= ROW_SUM_ATOL):
                raise ValueError(f"{name}: found rows that are no laws, expected probabilities that add up to 1")
        self._laws: dict = {}

    # What agents see, and do.

    def _state(self, x: int) -> int:
        return x // self.game.n_al if self.by_action else x

    def _type(self, s: int, a: int) -> int:
        return s * self.game.n_al + a if self.by_action else s

    def _observation(self, s_g: int, x: int, counts: tuple[int, ...]) -> int:
        game, seen = self.game, self.seen
        if seen.n_values == 1:
            value = 0
        elif self.by_action:
            histogram = np.array(counts).reshape(game.n_sl, game.n_al).sum(axis=0)
            histogram[x % game.n_al] -= 1
            value = int(seen.value_of(histogram))
        else:
            value = int(seen.value_of(np.array(counts)))
        return (s_g * game.n_sl + self._state(x)) * seen.n_values + value

    def _field(self, counts: tuple[int, ...], histogram: np.ndarray) -> int:
        """Value of the game's field, from the types before the step and the actions executed in it."""
        field = self.game.field
        if field is None:
            return 0
        if field.of == "actions":
            return int(field.value_of(histogram))
        states = np.array(counts).reshape(self.game.n_sl, -1).sum(axis=1)
        return int(field.value_of(states))

    # Outcomes of a step.

    def _choices(self, s_g: int, counts: tuple[int, ...], agents: tuple[int, ...]):
        """All (z, probability): how many of `agents` (by type) take each action, where all of `counts` are seen."""
        rows = []
        for x, m in enumerate(agents):
            if m == 0:
                rows.append([((0,) * self.game.n_al, 1.0)])
                continue
            law = self.behaviour[self._observation(s_g, x, counts)]
            row = []
            for z in list_counts(m, self.game.n_al).tolist():
                ways = math.factorial(m) / math.prod(math.factorial(c) for c in z)
                row.append((tuple(z), ways * math.prod(p**c for p, c in zip(law, z, strict=True))))
            rows.append([(z, p) for z, p in row if p > 0.0])
        for parts in itertools.product(*rows):
            yield np.array([z for z, _ in parts]), math.prod(p for _, p in parts)

    def _next(self, s_g: int, f: int, z: np.ndarray) -> dict[tuple[int, ...], float]:
        """Law of the next counts of agents of which z[x, a] are of type x and take action a."""
        key = (s_g, f, z.tobytes())
        if key not in self._laws:
            P_l = self.game.with_field_axis("P_l")
            found = {(0,) * self.n_types: 1.0}
            for x, a in np.argwhere(z).tolist():
                row = P_l[s_g, f if P_l.shape[1] > 1 else 0, self._state(x), a]
                for _ in range(z[x, a]):
                    found = self._add_agent(found, row, a)
            self._laws[key] = found
        return self._laws[key]

    def _add_agent(self, law: dict, row: np.ndarray, a: int) -> dict:
        grown: dict[tuple[int, ...], float] = {}
        for counts, mass in law.items():
            for s in np.flatnonzero(row).tolist():
                x = self._type(s, a)
                after = (*counts[:x], counts[x] + 1, *counts[x + 1 :])
                grown[after] = grown.get(after, 0.0) + mass * row[s]
        return grown

    def _global_moves(self, s_g: int, f: int) -> tuple[float, np.ndarray]:
        """Mean of r_g, and the law of s_g'."""
        P_g, r_g = self.game.with_field_axis("P_g"), self.game.with_field_axis("r_g")
        law = self.global_law[s_g]
        f_P, f_r = (f if table.shape[1] > 1 else 0 for table in (P_g, r_g))
        return float(law @ r_g[s_g, f_r]), law @ P_g[s_g, f_P]

    # The chain, and one agent in it.

    def start(self) -> np.ndarray:
        """Law of the first (s_g, counts): states from the initial laws, last actions uniform."""
        game = self.game
        rho_l = game.rho_l / game.rho_l.sum()
        row = np.repeat(rho_l / game.n_al, game.n_al) if self.by_action else rho_l
        ways = [math.factorial(self.n) / math.prod(map(math.factorial, c)) for c in self.counts.tolist()]
        law = np.array(ways) * np.prod(row**self.counts, axis=1)
        return np.outer(game.rho_g, law).ravel()

    def joint(self) -> np.ndarray:
        """The transition matrix, float64[n_sg · n_counts, n_sg · n_counts]."""
        size = len(self.counts)
        matrix = np.zeros((self.game.n_sg * size, self.game.n_sg * size))
        for s_g, i in itertools.product(range(self.game.n_sg), range(size)):
            counts = tuple(self.counts[i].tolist())
            row = matrix[s_g * size + i].reshape(self.game.n_sg, size)
            for z, p in self._choices(s_g, counts, counts):
                f = self._field(counts, z.sum(axis=0))
                _, moves = self._global_moves(s_g, f)
                for after, mass in self._next(s_g, f, z).items():
                    row[:, self.rank[after]] += p * mass * moves
        return matrix

    def average(self, law: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Under a law of (s_g, counts): mass of (o, a), mass times reward, and mass times the law of the next o."""
        game, size = self.game, len(self.counts)
        n_o, n_al = self.behaviour.shape
        mass, paid, leads = np.zeros((n_o, n_al)), np.zeros((n_o, n_al)), np.zeros((n_o, n_al, n_o))
        for s_g, i in itertools.product(range(game.n_sg), range(size)):
            if law[s_g * size + i] <= 0.0:
                continue
            counts = tuple(self.counts[i].tolist())
            for x in np.flatnonzero(self.counts[i]).tolist():
                o = self._observation(s_g, x, counts)
                share = law[s_g * size + i] * counts[x] / self.n
                others = (*counts[:x], counts[x] - 1, *counts[x + 1 :])
                for z, p in self._choices(s_g, counts, others):
                    for a in range(n_al):
                        weight = share * p * self.behaviour[o, a]
                        if weight > 0.0:
                            mass[o, a] += weight
                            paid[o, a] += weight * self._add_step(s_g, counts, x, a, z, weight, leads[o, a])
        return mass, paid, leads

    def _add_step(self, s_g, counts, x, a, z, weight, out_leads) -> float:
        """Reward of an agent of type x that takes action a beside others' z; adds the law of its next observation."""
        game = self.game
        histogram = z.sum(axis=0)
        histogram[a] += 1
        f = self._field(counts, histogram)
        r_g, moves = self._global_moves(s_g, f)
        r_l, P_l = game.with_field_axis("r_l"), game.with_field_axis("P_l")
        table = r_l[s_g, f if r_l.shape[1] > 1 else 0]
        own = table[self._state(x), a]
        if self.team:
            states = [self._state(y) for y in range(self.n_types)]
            own = (own + (z * table[states]).sum()) / self.n
        row = P_l[s_g, f if P_l.shape[1] > 1 else 0, self._state(x), a]
        for after, p in self._next(s_g, f, z).items():
            for s in np.flatnonzero(row).tolist():
                y = self._type(s, a)
                whole = (*after[:y], after[y] + 1, *after[y + 1 :])
                for s_g_next in np.flatnonzero(moves).tolist():
                    out_leads[self._observation(s_g_next, y, whole)] += weight * p * row[s] * moves[s_g_next]
        return r_g + own
