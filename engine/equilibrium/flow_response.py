"""What one agent gains by a best response against the flow of a population: exact values of a tabular decision problem.

A tagged local agent is in a context c = (s_g, b) and a state s; with K of the flow, r̄ and the next states averaged over f:

    Q(c, s, a) = Σ_{f, c'} K(f, c' | c, a) [ r_g + r_l[s_g, f, s, a] + γ Σ_s' P_l[s_g, f, s, a, s'] V(c', s') ]

The policy's own value and the largest one come from the same problem, so that their difference is no artefact of the model: it is
never negative but by rounding, and 0 exactly where the policy is optimal in it. It is the gain of one of infinitely many agents
where the flow is `exact`. Elsewhere it is that of an agent who takes (s_g, b) for all that tells the future of the population, and
among n agents of one who does not count on being answered by others; `flow_check` plays it.

The global agent's problem, for its own reward r_g, has the contexts for states,

    Q(c, a_g) = Σ_{f, b'} K(f, b' | c) [ r_g[s_g, f, a_g] + γ Σ_s_g' P_g[s_g, f, a_g, s_g'] V(s_g', b') ] :

neither f nor b' depend on what it does in the same step. Where its law sees a field of states that b does
not tell, its best response sees less than the law, and the gain may be negative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from ...kernels.equilibrium.tagged import KEEPS_LAW
from ..backups.selection import TooLargeError, default_memory_bytes, readable_bytes
from ..evaluation.linear_systems import solve_linear
from ..solve import ConvergenceError
from .flow import Flow
from .flow_law import PlayedLaw

# Certified width of values, relative to the largest reward over 1 − γ.
RELATIVE_TOL = 1e-10
MAX_ROUNDS = 1000
MAX_SOLVES = 20
# Contexts of the global agent's problem, whose matrices are dense.
MAX_GLOBAL_CONTEXTS = 3000


@dataclass(frozen=True, kw_only=True, eq=False)
class FlowGap:
    """What best responses gain against the flow. Gains are signed.

    Parameters
    ----------
    flow : Flow
    value, best : float           of a local agent, from the start law: contexts as often as visited, own state by its law there
    gain : float                  best − value
    worst_gain : float            the largest over contexts and states
    half_width : float            each of these is off by at most this, within the decision problem
    global_value, global_best, global_gain : float or None    of the global agent; None where it decides nothing
    nash_conv : float             sum of the positive parts of the gains, one term for each kind of agent
    own_values, gains : float64[n_c, n_sl]    by context and own state
    response : int32[n_o]         a best action by observation; KEEPS_LAW where the law is as good, or the context is never met
    values : float64[2, n_o]      of the law, and the largest, by observation; where the context is never met the mean over those
        with the same own state
    q : float64[2, n_o, n_al]     Q with these values; 0 where the context is never met
    """

    flow: Flow
    value: float
    best: float
    gain: float
    worst_gain: float
    half_width: float
    global_value: float | None
    global_best: float | None
    global_gain: float | None
    nash_conv: float
    own_values: np.ndarray
    gains: np.ndarray
    response: np.ndarray
    values: np.ndarray
    q: np.ndarray


def flow_gap(played: PlayedLaw, flow: Flow, *, memory_bytes: int | None = None) -> FlowGap:
    """Best responses of a tagged local agent, and of the global agent, against the flow of a law.

    Parameters
    ----------
    played : PlayedLaw
    flow : Flow                     of this law
    memory_bytes : int, optional    limit; by default three quarters of the machine's memory

    Returns
    -------
    FlowGap

    Raises
    ------
    TooLargeError, ConvergenceError
    """
    problem = TaggedProblem(played, flow, default_memory_bytes() if memory_bytes is None else memory_bytes)
    own, own_error = problem.value_of_law(problem.own_law)
    best, response, best_error = problem.best_response(own)
    gains = best - own
    start = flow.visits[:, None] / flow.visits.sum() * flow.local_law
    gain = float((start * gains).sum())
    global_value = global_best = global_gain = None
    if played.game.n_ag > 1:
        global_value, global_best = _global_values(played, flow)
        global_gain = global_best - global_value
    return FlowGap(
        flow=flow,
        value=float((start * own).sum()),
        best=float((start * best).sum()),
        gain=gain,
        worst_gain=float(gains.max()),
        half_width=own_error + best_error,
        global_value=global_value,
        global_best=global_best,
        global_gain=global_gain,
        nash_conv=max(gain, 0.0) + max(global_gain or 0.0, 0.0),
        own_values=own,
        gains=gains,
        response=_by_observation(played, flow, response, np.int32(KEEPS_LAW)),
        values=np.stack([_by_observation(played, flow, value, value.mean(axis=0)[:, None]) for value in (own, best)]),
        q=np.stack([_by_observation(played, flow, problem.q(value), 0.0) for value in (own, best)]),
    )


def _by_observation(played: PlayedLaw, flow: Flow, table: np.ndarray, elsewhere: Any) -> np.ndarray:
    """A table [n_c, n_sl, …] as one by observation, [n_o, …], with something else in contexts that are never met."""
    game = played.game
    found = np.empty((game.n_sg, game.n_sl, played.seen.n_values, *table.shape[2:]), dtype=table.dtype)
    found[:] = elsewhere
    s_g, b = flow.contexts.T
    found[s_g, :, b] = table
    return found.reshape(-1, *table.shape[2:])


class TaggedProblem:
    """The decision problem of a tagged agent. Rows are (c, s), or (c, s, a); a group is (c, a, f).

    Parameters
    ----------
    played : PlayedLaw
    flow : Flow
    memory_bytes : int

    Attributes
    ----------
    own_law : float64[n_c, n_sl, n_al]
    reward : float64[n_c, n_sl, n_al]
    """

    def __init__(self, played: PlayedLaw, flow: Flow, memory_bytes: int):
        game = played.game
        self.gamma = game.gamma
        s_g, b = flow.contexts.T
        self.own_law = np.ascontiguousarray(played.law[s_g, :, b])
        self.n_c, self.n_sl, self.n_al = self.own_law.shape
        self.reward = _mean_rewards(played, flow)
        self.tol = RELATIVE_TOL * max(float(np.abs(self.reward).max()), 1e-300) / (1.0 - self.gamma)
        groups, number = _groups(flow, by_field=game.has_field_axis("P_l"))
        self._n_groups = len(groups)
        self._next_contexts = sparse.csr_matrix(
            (flow.probability, (number, flow.target)), shape=(self._n_groups, self.n_c)
        )
        self._next_states = self._law_of_next_states(played, flow, groups, memory_bytes)

    def _law_of_next_states(
        self, played: PlayedLaw, flow: Flow, groups: np.ndarray, memory_bytes: int
    ) -> sparse.csr_matrix:
        """P_l of every row (c, s, a), spread over the groups: float64[n_c · n_sl · n_al, n_groups · n_sl]."""
        P_l = played.game.with_field_axis("P_l")
        filled = np.count_nonzero(P_l, axis=-1).mean() * self.n_sl
        needed = int(28 * filled * sum(self.n_al if a < 0 else 1 for _, a, _ in groups.tolist()))
        if needed > memory_bytes:
            raise TooLargeError(
                f"game: the problem of a tagged agent in {self.n_c} contexts takes {readable_bytes(needed)}, expected at most "
                f"{readable_bytes(memory_bytes)}; lower the bins that agents see or the states"
            )
        parts = []
        for g, (c, a, f) in enumerate(groups.tolist()):
            table = P_l[flow.contexts[c, 0], f]
            s, action, t = np.nonzero(table if a < 0 else table[:, a : a + 1])
            action = action if a < 0 else np.full_like(s, a)
            rows = (c * self.n_sl + s) * self.n_al + action
            parts.append((table[s, action, t], rows, g * self.n_sl + t))
        values, rows, columns = (np.concatenate(part) for part in zip(*parts, strict=True))
        shape = (self.n_c * self.n_sl * self.n_al, self._n_groups * self.n_sl)
        return sparse.csr_matrix((values, (rows, columns)), shape=shape)

    def q(self, value: np.ndarray) -> np.ndarray:
        """Q(c, s, a), float64[n_c, n_sl, n_al], of values float64[n_c, n_sl] from the next step on."""
        future = self._next_states @ (self._next_contexts @ value).ravel()
        return self.reward + self.gamma * future.reshape(self.reward.shape)

    def value_of_law(self, law: np.ndarray, start: np.ndarray | None = None) -> tuple[np.ndarray, float]:
        """Value of a law float64[n_c, n_sl, n_al], float64[n_c, n_sl], and what it is off by at most."""
        pairs = self.n_c * self.n_sl
        row, a = np.nonzero(law.reshape(pairs, self.n_al))
        chooses = sparse.csr_matrix(
            (law.reshape(pairs, self.n_al)[row, a], (row, row * self.n_al + a)), shape=(pairs, pairs * self.n_al)
        )
        moves = chooses @ self._next_states
        reward = (law * self.reward).sum(axis=-1)
        value = np.zeros_like(reward) if start is None else start

        def forward(x: np.ndarray) -> np.ndarray:
            return self.gamma * (moves @ (self._next_contexts @ x).ravel()).reshape(x.shape)

        wanted = 0.1 * self.tol * (1.0 - self.gamma)
        for _ in range(MAX_SOLVES):
            residual = reward + forward(value) - value
            if float(np.abs(residual).max()) <= wanted:
                break
            value = solve_linear(lambda x: x - forward(x), reward, value, atol=0.5 * wanted)
        else:
            raise ConvergenceError(f"values of the law: residual {np.abs(residual).max():.1g}, expected {wanted:.1g}")
        return value, float(np.abs(residual).max()) / (1.0 - self.gamma)

    def best_response(self, own: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Largest values, a best action of each (c, s) (KEEPS_LAW where the own law is as good), what they are off by.

        Policy iteration (Howard 1960) from the actions that are best against the own values; an action is changed only for one
        that is better by more than rounding.
        """
        q = self.q(own)
        actions = q.argmax(axis=-1)
        value = own
        for _ in range(MAX_ROUNDS):
            value, _ = self.value_of_law(np.eye(self.n_al)[actions], value)
            q = self.q(value)
            better = q.max(axis=-1) > np.take_along_axis(q, actions[..., None], axis=-1)[..., 0] + self.tol
            if not better.any():
                break
            actions = np.where(better, q.argmax(axis=-1), actions)
        else:
            raise ConvergenceError(f"best response: not found after {MAX_ROUNDS} rounds")
        best = q.max(axis=-1)
        # The law is as good where it only takes actions that are best.
        keeps = (self.own_law * (best[..., None] - q)).sum(axis=-1) <= 2.0 * self.tol
        error = float(np.abs(best - value).max()) / (1.0 - self.gamma)
        return value, np.where(keeps, KEEPS_LAW, actions).astype(np.int32), error


def _groups(flow: Flow, *, by_field: bool) -> tuple[np.ndarray, np.ndarray]:
    """Distinct (c, a, f) of the links, f = 0 unless it matters, and the group of each link."""
    f = flow.field_value if by_field else np.zeros_like(flow.field_value)
    groups, number = np.unique(np.stack([flow.source, flow.action, f], axis=1), axis=0, return_inverse=True)
    return groups, number.ravel()


def _mean_rewards(played: PlayedLaw, flow: Flow) -> np.ndarray:
    """Mean of r_g + r_l over the field values, float64[n_c, n_sl, n_al]."""
    game = played.game
    groups, number = _groups(flow, by_field=True)
    weight = np.bincount(number, weights=flow.probability)
    c, a, f = groups.T
    s_g = flow.contexts[c, 0]
    r_l, r_g = game.with_field_axis("r_l"), played.global_rewards()
    f_l, f_g = (f if table.shape[1] > 1 else np.zeros_like(f) for table in (r_l, r_g))
    found = np.zeros((len(flow.contexts), game.n_al, game.n_sl))
    for action in range(game.n_al):
        mine = np.flatnonzero((a == action) | (a < 0))
        earned = r_l[s_g[mine], f_l[mine], :, action] + r_g[s_g[mine], f_g[mine], None]
        mix = sparse.csr_matrix((weight[mine], (c[mine], np.arange(mine.size))), shape=(found.shape[0], mine.size))
        found[:, action] = mix @ earned
    return np.ascontiguousarray(found.transpose(0, 2, 1))


def _global_values(played: PlayedLaw, flow: Flow) -> tuple[float, float]:
    """The global agent's value and the largest one, from contexts as often as they are visited."""
    game = played.game
    n_c = len(flow.contexts)
    if n_c > MAX_GLOBAL_CONTEXTS:
        raise TooLargeError(
            f"bins: found {n_c} contexts (s_g, b), expected at most {MAX_GLOBAL_CONTEXTS} for the global agent's best response"
        )
    s_g, b = flow.contexts.T
    # An agent's own actions, by the law that all play.
    acts = np.einsum("cs,csa->ca", flow.local_law, played.law[s_g, :, b])
    weight = flow.probability * np.where(flow.action < 0, 1.0, acts[flow.source, flow.action])
    P_g, r_g = game.with_field_axis("P_g"), game.with_field_axis("r_g")
    f = flow.field_value
    f_P, f_r, f_law = (f if x.shape[1] > 1 else np.zeros_like(f) for x in (P_g, r_g, played.global_law))
    reward, own_reward = np.zeros((n_c, game.n_ag)), np.zeros(n_c)
    earned = r_g[s_g[flow.source], f_r]
    np.add.at(reward, flow.source, weight[:, None] * earned)
    np.add.at(own_reward, flow.source, weight * (played.global_law[s_g[flow.source], f_law] * earned).sum(axis=1))
    own_moves, moves = np.zeros((n_c, n_c)), np.zeros((n_c, game.n_ag, n_c))
    np.add.at(own_moves, (flow.source, flow.target), weight)
    number = np.full((game.n_sg, played.seen.n_values), -1)
    number[s_g, b] = np.arange(n_c)
    for s_next in range(game.n_sg):
        target = number[s_next, b[flow.target]]
        met = target >= 0
        law = P_g[s_g[flow.source[met]], f_P[met], :, s_next]
        for a_g in range(game.n_ag):
            np.add.at(moves, (flow.source[met], a_g, target[met]), weight[met] * law[:, a_g])
    totals = moves.sum(axis=-1, keepdims=True)
    stay = np.broadcast_to(np.eye(n_c)[:, None], moves.shape)
    moves = np.where(totals > 0.0, moves / np.where(totals > 0.0, totals, 1.0), stay)
    start = flow.visits / flow.visits.sum()
    value = np.linalg.solve(np.eye(n_c) - game.gamma * own_moves, own_reward)
    best = _dense_policy_iteration(reward, moves, game.gamma)
    return float(start @ value), float(start @ best)


def _dense_policy_iteration(reward: np.ndarray, moves: np.ndarray, gamma: float) -> np.ndarray:
    """Largest values float64[n_c] of rewards float64[n_c, n_a] and moves float64[n_c, n_a, n_c]."""
    n_c = len(reward)
    rows = np.arange(n_c)
    actions = reward.argmax(axis=1)
    tol = RELATIVE_TOL * max(float(np.abs(reward).max()), 1e-300) / (1.0 - gamma)
    for _ in range(MAX_ROUNDS):
        value = np.linalg.solve(np.eye(n_c) - gamma * moves[rows, actions], reward[rows, actions])
        q = reward + gamma * moves @ value
        better = q.max(axis=1) > q[rows, actions] + tol
        if not better.any():
            return value
        actions = np.where(better, q.argmax(axis=1), actions)
    raise ConvergenceError(f"best response of the global agent: not found after {MAX_ROUNDS} rounds, width {math.inf}")
