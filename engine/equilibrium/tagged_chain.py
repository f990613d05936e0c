"""The chain of (s_g, s, N_o): one tagged local agent who may do as it likes, while everyone else plays a policy.

N_o are the counts of the other n − 1 agents, and N = N_o + e_s the population. Given (s_g, N) everyone draws independently:
the global agent from π̄_g(· | s_g, N), the others from M(s_g, N), the tagged agent from the row of P_l of its action; the tagged
agent may be in the samples of all others. The law of N_o' depends on s through N alone, so where the local policy does not look at
other agents one law for each s_g serves every s. In a game with a field of states all tables are those of f(N), in which the tagged
agent counts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from ...kernels import execution
from ...kernels.equilibrium.tagged import tagged_q
from ...kernels.lattice import MAX_RANK, fill_successors, lattice_size, lattice_sizes
from ..action_classes import list_counts
from ..backups.global_tables import GlobalTables
from ..backups.selection import TooLargeError, readable_bytes, readable_number
from ..backups.symmetric_power import EPSILON
from ..evaluation.lumped_chain import POPULATIONS_TELL, arrange_outcomes, field_values_of, local_means
from ..evaluation.plan import (
    BLOCK_ENTRIES,
    FRESH_LAWS,
    KRYLOV_VECTORS,
    MAX_STEP_WORK,
    MOST_THREADS,
    STORED_LAWS,
    SYMMETRIC_POWER,
    EvaluationPlan,
)
from ..evaluation.population_laws import PopulationLaws
from ..game import Game
from ..initial_law import initial_count_law
from ..lifting import field_of_actions, field_of_states
from ..policy import SubsamplePolicy
from ..threads import in_threads

SELFISH, TEAM = "selfish", "team"
REWARDS = SELFISH, TEAM
"""What a player maximises: its own reward, or the system's."""


def checked_reward(reward: str) -> str:
    """The name of a reward; ValueError if there is none of that name."""
    if reward not in REWARDS:
        raise ValueError(f"reward: found {reward!r}, expected {SELFISH!r} or {TEAM!r}")
    return reward


def plan_tagged(
    game: Game, k_global: int, k_local: int, n: int, memory_bytes: int, *, n_laws: int | None = None, blind: bool
) -> EvaluationPlan:
    """Sizes of the chain of a tagged agent, or a TooLargeError that names them.

    Parameters
    ----------
    n_laws : int, optional    laws of the next population, from n_sg to n_sg n_sl; by default as many as k_local asks for at least
    blind : bool              whether the symmetric power serves all of them

    Returns
    -------
    EvaluationPlan    `n_populations` are those of the others
    """
    if field_of_actions(game) is not None:
        from .tagged_actions import plan_tagged_actions

        return plan_tagged_actions(game, k_global, k_local, n, memory_bytes)
    n_sg, n_ag, n_sl, n_al = game.n_sg, game.n_ag, game.n_sl, game.n_al
    n_others, n_all = lattice_size(n - 1, n_sl), lattice_size(n, n_sl)
    states = n_sg * n_sl * n_others
    n_laws = n_sg if n_laws is None else n_laws
    columns = n_sg if game.has_field_axis("P_g") else min(n_ag, n_sg)
    functions = n_laws * columns * n_sl
    samples = lattice_size(k_global, n_sl) + lattice_size(k_local - 1, n_sl)
    # Vectors and tables over the states; tables over the populations; functions, what is expected of them, samples.
    base = 8 * states * (KRYLOV_VECTORS + 12 + 4 * n_al + columns + n_ag)
    base += 8 * n_all * (n_sg * n_ag + n_sl * (n_sl + n_al + 3))
    base += 8 * n_others * (functions + n_sg * columns * n_sl) + 40 * samples * n_sl * (n_sl + n_al)
    mixing = n_sg * n_all * samples * (n_sl * (n_sl + n_al + 1) if k_local > 1 else 1)
    folding = states * n_sl * (columns + n_al)
    too_large = (
        f"n: the {n - 1} agents other than the tagged one, in {n_sl} states, have {readable_number(n_others)} populations, "
        f"so that its chain has {readable_number(states)} states"
    )
    route = SYMMETRIC_POWER
    if blind:
        needed = base + 16 * n_others * (functions + columns * n_sl * MOST_THREADS) + 2 * n_others * n_sl**2
        build_work = mixing
        step_work = folding + functions * n_others * n_sl * (n_sl - 1) * (n // n_sl + 8) // 2
    else:
        # A law reaches some seven standard deviations to either side in each count.
        width = min(n, 2 * math.ceil(7.5 * math.sqrt(n) / 2) + 2)
        entries = min(n_others, width ** (n_sl - 1))
        base += 8 * n ** (n_sl - 1) * MOST_THREADS + 8 * n_laws * n_others * n_sl**2
        base += 16 * max(BLOCK_ENTRIES, n_others) * MOST_THREADS
        stored, law_work = base + 9 * n_laws * n_others * entries, n_laws * n_others * n * entries * n_sl
        fits = stored <= memory_bytes
        route, needed = (STORED_LAWS, stored) if fits else (FRESH_LAWS, base)
        build_work = mixing + (law_work if fits else 0)
        step_work = folding + functions * n_others * entries + (0 if fits else law_work)
    if n_all > MAX_RANK or needed > memory_bytes:
        raise TooLargeError(
            f"{too_large}, which take {readable_bytes(needed)}, expected at most {readable_bytes(memory_bytes)}; "
            "lower n or raise the memory limit"
        )
    if step_work + build_work > MAX_STEP_WORK:
        raise TooLargeError(
            f"{too_large}, and a step takes {readable_number(step_work + build_work)} multiplications, expected at most "
            f"{readable_number(MAX_STEP_WORK)}; lower n or k"
        )
    return EvaluationPlan(
        route=route, n_populations=n_others, bytes_needed=needed, build_work=build_work, step_work=step_work
    )


class TaggedChain:
    """The decision problem of one local agent among n whose n − 1 others, and the global agent, play a policy.

    Parameters
    ----------
    game, policy, n
    truncation : float     at most this mass is cut off the law of the others' next counts
    memory_bytes : int
    error : float          rounding error of a step, relative to the largest |V|, that the caller can use

    Attributes
    ----------
    populations : int64[n_No, n_sl]                  Λ(n − 1, n_sl), the counts of the others
    own_law : float64[n_sg, n_sl, n_al, n_No]        π̄_l(a | s_g, s, N_o + e_s), what the policy has the tagged agent do
    initial : float64[n_sg, n_sl, n_No]              law of the start

    Raises
    ------
    TooLargeError    before anything of that size is allocated
    """

    def __init__(
        self, game: Game, policy: SubsamplePolicy, n: int, *, truncation: float, memory_bytes: int, error: float
    ):
        sizes = game, policy.k_global, policy.k_local, n, memory_bytes
        plan_tagged(*sizes, blind=True)
        n_sl = game.n_sl
        field_of_states(game, POPULATIONS_TELL)
        rows = _arrange_rows(game, policy)
        blind = [n_sl == 1 or bool((table == table[:1, :, :, :1]).all()) for table in rows[:, :, :, :n_sl]]
        n_laws = sum(1 if ok else n_sl for ok in blind)
        plan_tagged(*sizes, n_laws=n_laws, blind=all(blind))
        self.game, self.n = game, n
        self.populations = list_counts(n - 1, n_sl)
        self.n_c = self.populations.shape[0]
        # Ranks of N = N_o + e_s, and how likely N is with the tagged agent in s.
        self._joined = np.empty((self.n_c, n_sl), dtype=np.int32)
        fill_successors(n - 1, lattice_sizes(n, n_sl), self._joined)
        at_start = initial_count_law(game, n)[self._joined] * (self.populations + 1) / n
        self._field_values = field_values_of(game, list_counts(n, n_sl))
        self.initial = game.rho_g[:, None, None] * at_start.T
        self._weights, global_reward = self._mix_global(policy)
        laws, self._law_of, self.own_law, others_reward = self._mix_local(rows, blind, policy.k_local - 1)
        self._team_reward = global_reward + others_reward / n
        self._laws = PopulationLaws(
            laws,
            self.populations,
            truncation=truncation,
            error=error,
            choose_route=lambda blind: plan_tagged(*sizes, n_laws=n_laws, blind=blind).route,
        )

    # Tables.

    def _mix_global(self, policy: SubsamplePolicy) -> tuple[np.ndarray, np.ndarray]:
        """Weights of what the global agent's move is listed by, float64[n_sg, n_sl, n_x, n_No], and its mean reward."""
        game = self.game
        P_g, r_g = game.with_field_axis("P_g"), game.with_field_axis("r_g")
        # Actions or next states, whichever are fewer: each takes an expectation over the others' next counts. With a P_g that
        # depends on N it is the next states.
        by_action = game.n_ag <= game.n_sg and P_g.shape[1] == 1
        self._steps = GlobalTables(P_g[:, 0], np.zeros((game.n_sg, game.n_ag)), 1.0) if by_action else None
        space = execution.make_sample_space(policy.k_global, game.n_sl)
        laws = tabulate(
            execution.tabulate_global_laws, policy.global_action, list_counts(self.n, game.n_sl), space, (game.n_ag,)
        )
        weights = np.empty((game.n_sg, game.n_sl, game.n_ag if by_action else game.n_sg, self.n_c))
        reward = np.empty((game.n_sg, game.n_sl, self.n_c))
        for s_g in range(game.n_sg):
            # Sums of NumPy, not products of a BLAS: the same bits on any number of threads.
            table = laws[s_g]
            if not by_action:
                table = self._mean_over_actions(laws[s_g], P_g[s_g])
            means = self._mean_over_actions(laws[s_g], r_g[s_g])
            for s in range(game.n_sl):
                weights[s_g, s] = table[self._joined[:, s]].T
                reward[s_g, s] = means[self._joined[:, s]]
        return weights, reward

    def _mean_over_actions(self, law: np.ndarray, table: np.ndarray) -> np.ndarray:
        """Σ_a law[N, a] table[f(N), a, …], float64[n_N, …]; a table whose first axis has one entry has it for every N."""
        if len(table) == 1:
            return np.einsum("na,a...->n...", law, table[0])
        return np.einsum("na,na...->n...", law, table[self._field_values])

    def _mix_local(
        self, rows: np.ndarray, blind: list[bool], k_others: int
    ) -> tuple[list[np.ndarray], list[list[int]], np.ndarray, np.ndarray]:
        """Laws of the others' moves, which of them each (s_g, s) takes, the own law, and Σ_j N_o[j] E r_l[s_g, j, b]."""
        game, n_sl = self.game, self.game.n_sl
        space = execution.make_sample_space(k_others, n_sl)
        populations = list_counts(self.n, n_sl)
        laws: list[np.ndarray] = []
        law_of: list[list[int]] = []
        own_law = np.empty((game.n_sg, n_sl, game.n_al, self.n_c))
        reward = np.empty((game.n_sg, n_sl, self.n_c))
        for s_g in range(game.n_sg):
            table = rows[s_g]
            if (table == table[:1, :, :, :1]).all():
                means = np.broadcast_to(table[0, :, :, 0], (len(populations), *table.shape[1:3]))
            else:
                means = local_means(table, populations, self._field_values, space)
            law_of.append([len(laws) + (0 if blind[s_g] else s) for s in range(n_sl)])
            if blind[s_g]:
                laws.append(np.ascontiguousarray(table[0, :, :n_sl, 0]))
            for s in range(n_sl):
                seen = means[self._joined[:, s]]
                own_law[s_g, s] = seen[:, s, n_sl + 1 :].T
                reward[s_g, s] = (self.populations * seen[:, :, n_sl]).sum(axis=1)
                if not blind[s_g]:
                    # A law that rounding left off one would lose or make mass in every step.
                    law = np.ascontiguousarray(seen[:, :, :n_sl])
                    law /= np.maximum(law.sum(axis=2, keepdims=True), np.finfo(float).tiny)
                    laws.append(law)
        return laws, law_of, own_law, reward

    @property
    def route(self) -> str:
        """How the law of the others' next counts is taken, over all (s_g, s)."""
        return self._laws.route

    @property
    def truncated_mass(self) -> float:
        """The most that was cut off a law so far."""
        return self._laws.truncated_mass

    def reward_tables(self, reward: str) -> tuple[np.ndarray, np.ndarray]:
        """Rewards float64[n_sg, n_sl, n_No], whatever the tagged agent does, and by its action: float64[n_sg, n_sl, n_al].

        Where r_l depends on a field these are float64[n_sg, n_sl, n_al, n_No].
        """
        own = self._own_reward
        if checked_reward(reward) == TEAM:
            return self._team_reward, own / self.n
        return np.zeros_like(self._team_reward), np.array(own)

    @functools.cached_property
    def _own_reward(self) -> np.ndarray:
        game = self.game
        if self._field_values is None or not game.has_field_axis("r_l"):
            return game.with_field_axis("r_l")[:, 0]
        own = np.empty(self.own_law.shape)
        for s in range(game.n_sl):
            own[:, s] = game.r_l[:, self._field_values[self._joined[:, s]], s].transpose(0, 2, 1)
        return own

    # Steps.

    def q(self, value: np.ndarray, reward: str) -> np.ndarray:
        """Q(s_g, s, N_o; a), float64[n_sg, n_sl, n_al, n_No], of a value float64[n_sg, n_sl, n_No].

        Parameters
        ----------
        reward : "selfish" or "team"
        """
        return self._back_up(value, *self.reward_tables(reward), self.game.gamma)

    def expect_actions(self, value: np.ndarray) -> np.ndarray:
        """E[V(s_g', s', N_o') | s_g, s, N_o, a], float64[n_sg, n_sl, n_al, n_No], of a value float64[n_sg, n_sl, n_No]."""
        game = self.game
        return self._back_up(value, np.zeros(value.shape), np.zeros((game.n_sg, game.n_sl, game.n_al)), 1.0)

    def _back_up(self, value: np.ndarray, shared: np.ndarray, own: np.ndarray, gamma: float) -> np.ndarray:
        game = self.game
        expected = self._expect_moves(value)
        out = np.empty(self.own_law.shape)

        P_l = game.with_field_axis("P_l")
        by_population = own.ndim == 4
        no_reward = np.zeros(game.n_al)

        def fill(pair: int) -> None:
            s_g, s = divmod(pair, game.n_sl)
            moves, weights = expected[self._law_of[s_g][s]], self._weights[s_g, s]
            action_reward = no_reward if by_population else own[s_g, s]
            if P_l.shape[1] == 1:
                tagged_q(moves, weights, P_l[s_g, 0, s], shared[s_g, s], action_reward, gamma, out[s_g, s])
            else:
                for f, places in self._places_by_field(s):
                    part = np.empty((game.n_al, places.size))
                    tagged_q(
                        np.ascontiguousarray(moves[:, :, places]), np.ascontiguousarray(weights[:, places]), P_l[s_g, f, s],
                        shared[s_g, s, places], action_reward, gamma, part,
                    )  # fmt: skip
                    out[s_g, s][:, places] = part
            if by_population:
                out[s_g, s] += own[s_g, s]

        n_pairs = game.n_sg * game.n_sl
        in_threads(fill, n_pairs, n_pairs * game.n_al * expected[0].size)
        return out

    def _places_by_field(self, s: int) -> list[tuple[int, np.ndarray]]:
        """Field values that occur with the tagged agent in s, and the N_o at which each does."""
        assert self._field_values is not None
        values = self._field_values[self._joined[:, s]]
        return [(int(f), np.flatnonzero(values == f)) for f in np.unique(values)]

    def _expect_moves(self, value: np.ndarray) -> np.ndarray:
        """E[V_x(N_o', s')] under each law of the next population, float64[n_laws, n_x, n_sl, n_No]."""
        n_sg, n_sl, n_c = value.shape
        if self._steps is None:
            by_state = [value.reshape(n_sg * n_sl, n_c)] * n_sg
        else:
            mixed = self._steps.mixed(value.reshape(n_sg, n_sl * n_c))
            by_state = [functions.reshape(-1, n_c) for functions in mixed]
        functions = [by_state[s_g] for s_g, laws in enumerate(self._law_of) for _ in sorted(set(laws))]
        return self._laws.expect(functions).reshape(len(functions), -1, n_sl, n_c)

    def relative_error(self) -> float:
        """Bound on the rounding error of `expect_actions`, relative to the largest |V|; without what was cut off."""
        game, n = self.game, self.n
        terms = EPSILON * (
            2 * n * (game.n_sl + 1) + 2 * math.log2(1 + self.n_c) + 2 * game.n_sg + game.n_ag + 2 * game.n_sl + 16
        )
        return terms + self._laws.power_error()


def _arrange_rows(game: Game, policy: SubsamplePolicy) -> np.ndarray:
    """What a local agent does by the others it sees: `arrange_outcomes`, and then the law of its action, on axis 3."""
    k_others, n_sl = policy.k_local - 1, game.n_sl
    successors = np.empty((lattice_size(k_others, n_sl), n_sl), dtype=np.int32)
    fill_successors(k_others, lattice_sizes(k_others + 1, n_sl), successors)
    laws = np.empty((game.n_sg, n_sl, game.n_al, successors.shape[0]))
    execution.arrange_local_laws(policy.local_action, successors, laws)
    outcomes = arrange_outcomes(game, policy)
    laws = np.broadcast_to(laws[:, None], (game.n_sg, outcomes.shape[1], *laws.shape[1:]))
    return np.concatenate([outcomes, laws], axis=3)


def tabulate(
    kernel: Callable[..., None], table: np.ndarray, populations: np.ndarray, space, shape: tuple[int, ...]
) -> np.ndarray:
    """A table over populations, float64[n_sg, n_N, …], of one of the kernels that take a policy to n agents."""
    n_c = len(populations)
    out = np.empty((table.shape[0], n_c, *shape))
    starts = np.linspace(0, n_c, min(n_c, 64) + 1).astype(np.int64)

    def fill(i: int) -> None:
        rows = slice(starts[i], starts[i + 1])
        part = np.empty((table.shape[0], starts[i + 1] - starts[i], *shape))
        kernel(table, populations[rows], space, part)
        out[:, rows] = part

    in_threads(fill, len(starts) - 1)
    return out
