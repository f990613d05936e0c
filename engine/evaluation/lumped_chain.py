"""The Markov chain of (s_g, N) when n agents play a policy: exact, and never written out as one matrix.

Given s_g and the population N the agents draw independently, so that s_g' and N' are independent as well:

    a_g ~ π̄_g(· | s_g, N),  s_g' ~ P_g[s_g, a_g, ·],  N' = Σ_s Multinomial(N_s, M(s_g, N)[s, ·]),  M = Σ_a π̄_l P_l

with the hypergeometric means π̄ of the policy. In a game with a field of states all tables are those of f(N). Where M does not
depend on N the law of N' is a symmetric power, taken in place; elsewhere each population has a law of its own, which is built
once and kept, or built anew in every step if the laws do not fit the memory.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...kernels import execution
from ...kernels.evaluation.global_agent import deal_to_next_states, mean_over_actions
from ..action_classes import list_counts
from ..backups.global_tables import GlobalTables
from ..backups.symmetric_power import EPSILON
from ..game import Game
from ..lifting import field_of_states, values_at
from ..policy import SubsamplePolicy
from ..rollouts import arrange_rows
from ..threads import in_threads
from .plan import BLOCK_ENTRIES, plan_evaluation
from .population_laws import N_PARTS, PopulationLaws

__all__ = ["N_PARTS", "LumpedChain", "arrange_outcomes"]

POPULATIONS_TELL = "the chain of the populations is exact only where they tell the field value"


def arrange_outcomes(game: Game, policy: SubsamplePolicy) -> np.ndarray:
    """What a local agent's step leads to by the others it sees, float64[n_sg, n_f, n_sl, n_sl + 1, |Λ(k_local − 1, n_sl)|].

    Entries of axis 3 are the law of the next state and, last, the mean reward. Axis 1 is that of the field values, of size 1
    where neither P_l nor r_l depends on them.
    """
    rows = arrange_rows(game, policy, drawn=False)
    return rows.reshape(game.n_sg, -1, *rows.shape[1:])


def field_values_of(game: Game, populations: np.ndarray) -> np.ndarray | None:
    """The field value at each population, int64[n_N], or None where no table depends on it; ValueError if they do not tell it."""
    field = field_of_states(game, POPULATIONS_TELL)
    return None if field is None else field.value_of(populations)


def local_means(
    rows: np.ndarray, populations: np.ndarray, field_values: np.ndarray | None, space: execution.SampleSpace
) -> np.ndarray:
    """What rows of one s_g come to on average in each population, float64[n_N, n_sl, n_x].

    Parameters
    ----------
    rows : float64[n_f or 1, n_sl, n_x, |Λ(k_local − 1, n_sl)|]
    populations : int64[n_N, n_sl]
    field_values : int64[n_N] or None    which row to take
    space : SampleSpace                  of Λ(k_local − 1, n_sl)
    """
    n_c = len(populations)
    means = np.empty((n_c, *rows.shape[1:3]))
    if len(rows) == 1 or field_values is None:
        runs: list[tuple[int, Any]] = [(0, slice(0, n_c))]
    else:
        runs = [(int(f), np.flatnonzero(field_values == f)) for f in np.unique(field_values)]
    for f, places in runs:
        chosen, only = populations[places], rows[f : f + 1]
        found = means[places] if isinstance(places, slice) else np.empty((len(chosen), *means.shape[1:]))
        starts = np.linspace(0, len(chosen), min(len(chosen), 64) + 1).astype(np.int64)

        def fill(i: int, only=only, chosen=chosen, found=found, starts=starts) -> None:
            part = found[None, starts[i] : starts[i + 1]]
            execution.tabulate_local_means(only, chosen[starts[i] : starts[i + 1]], space, part)

        in_threads(fill, len(starts) - 1)
        if not isinstance(places, slice):
            means[places] = found
    return means


def _is_blind(rows: np.ndarray) -> bool:
    """Whether the law of the next state, by rows float64[n_f, n_sl, n_sl + 1, n_others], depends neither on others nor on a field.

    Without a field the mean reward is asked for too.
    """
    n_f, n_sl = rows.shape[:2]
    table = rows[:, :, :n_sl] if n_f > 1 else rows
    return n_sl == 1 or bool((table == table[:1, :, :, :1]).all())


class LumpedChain:
    """The chain of (s_g, N) under a policy.

    Parameters
    ----------
    game, policy, n
    truncation : float     at most this mass is cut off the law of a next population
    memory_bytes : int
    error : float          rounding error of a step, relative to the largest |V|, that the caller can use

    Attributes
    ----------
    populations : int64[n_N, n_sl]
    action_law : float64[n_sg, n_ag, n_N]     π̄_g
    local_reward : float64[n_sg, n_N]         (1/n) Σ_s N_s E r_l
    routes : list of str                      how the law of N' is taken, for each s_g
    """

    def __init__(
        self, game: Game, policy: SubsamplePolicy, n: int, *, truncation: float, memory_bytes: int, error: float
    ):
        # What every route takes, before anything of that size is allocated; then whether the laws depend on the population,
        # which shows in the policy alone.
        plan_evaluation(game, policy.k_global, policy.k_local, n, memory_bytes, blind=True)
        field_of_states(game, POPULATIONS_TELL)
        outcomes = arrange_outcomes(game, policy)
        blind = [_is_blind(rows) for rows in outcomes]
        plan_evaluation(game, policy.k_global, policy.k_local, n, memory_bytes, blind=all(blind))
        self.game, self.n, self.truncation, self.error = game, n, truncation, error
        self.populations = list_counts(n, game.n_sl)
        self.n_c = self.populations.shape[0]
        self._field_values = field_values_of(game, self.populations)
        self._coupled_steps = self._field_values is not None and game.has_field_axis("P_g")
        if not self._coupled_steps:
            self._P_g = game.with_field_axis("P_g")[:, 0]
            self._global_steps = GlobalTables(self._P_g, np.zeros((game.n_sg, game.n_ag)), 1.0)
        self.action_law = self._mix_global(policy)
        laws, self.local_reward = self._mix_local(outcomes, blind, policy.k_local - 1)
        self._laws = PopulationLaws(
            laws,
            self.populations,
            truncation=truncation,
            error=error,
            choose_route=lambda blind: (
                plan_evaluation(game, policy.k_global, policy.k_local, n, memory_bytes, blind=blind).route
            ),
            block_entries=BLOCK_ENTRIES,
        )
        self.routes, self.rho = self._laws.routes, self._laws.rho

    # Tables.

    def with_global_action(self, policy: SubsamplePolicy) -> LumpedChain:
        """The chain with the global agent of another policy; the tables of the local agents are shared, and stay as they are."""
        other = copy.copy(self)
        other.__dict__.pop("reward", None)
        other.action_law = self._mix_global(policy)
        return other

    def _mix_global(self, policy: SubsamplePolicy) -> np.ndarray:
        game = self.game
        law = np.empty((game.n_sg, game.n_ag, self.n_c))
        space = execution.make_sample_space(policy.k_global, game.n_sl)
        starts = np.linspace(0, self.n_c, min(self.n_c, 64) + 1).astype(np.int64)

        def fill(i: int) -> None:
            rows = slice(starts[i], starts[i + 1])
            part = np.empty((game.n_sg, starts[i + 1] - starts[i], game.n_ag))
            execution.tabulate_global_laws(policy.global_action, self.populations[rows], space, part)
            law[:, :, rows] = part.transpose(0, 2, 1)

        in_threads(fill, len(starts) - 1)
        return law

    def _mix_local(self, rows: np.ndarray, blind: list[bool], k_others: int) -> tuple[list[np.ndarray], np.ndarray]:
        """Next-state laws of each s_g, float64[n_sl, n_sl] where blind, else float64[n_N, n_sl, n_sl], and mean rewards."""
        game, n_sl = self.game, self.game.n_sl
        space = execution.make_sample_space(k_others, n_sl)
        shares = self.populations / self.n
        laws: list[np.ndarray] = []
        reward = np.empty((game.n_sg, self.n_c))
        for s_g in range(game.n_sg):
            if blind[s_g]:
                laws.append(np.ascontiguousarray(rows[s_g, 0, :, :n_sl, 0]))
                if rows.shape[1] == 1:
                    reward[s_g] = shares @ rows[s_g, 0, :, n_sl, 0]
                    continue
            means = local_means(rows[s_g], self.populations, self._field_values, space)
            reward[s_g] = (shares * means[:, :, n_sl]).sum(axis=1)
            if blind[s_g]:
                continue
            # A law that rounding left off one would lose or make mass in every step.
            law = np.ascontiguousarray(means[:, :, :n_sl])
            law /= np.maximum(law.sum(axis=2, keepdims=True), np.finfo(float).tiny)
            laws.append(law)
        return laws, reward

    @property
    def route(self) -> str:
        """How the law of the next population is taken, over all s_g."""
        return self._laws.route

    @property
    def truncated_mass(self) -> float:
        """The most that was cut off a law so far."""
        return self._laws.truncated_mass

    # Steps.

    def expect(self, functions: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """E[f(N') | s_g, N], float64[n_sg, n_functions, n_N], of functions float64[n_sg, n_functions, n_N] for each s_g."""
        return self._laws.expect(functions)

    def spread(self, measures: np.ndarray) -> np.ndarray:
        """The adjoint of `expect`: Σ_N m(N) Pr[N' | s_g, N], float64[n_sg, n_functions, n_N]."""
        return self._laws.spread(measures)

    def _next_laws(self, s_g: int) -> np.ndarray:
        """P_g[s_g, f(N), a_g, s_g'] where it depends on the field, float64[n_N, n_ag, n_sg]."""
        return self.game.P_g[s_g, self._field_values]

    def expect_actions(self, value: np.ndarray) -> np.ndarray:
        """E[V(s_g', N') | s_g, N, a_g], float64[n_sg, n_ag, n_N], of a value float64[n_sg, n_N]."""
        if not self._coupled_steps:
            return self.expect(self._global_steps.mixed(value))
        game = self.game
        expected = self.expect([value] * game.n_sg)
        out = np.empty((game.n_sg, game.n_ag, self.n_c))
        for s_g in range(game.n_sg):
            # Sums of NumPy, not products of a BLAS: the same bits on any number of threads.
            out[s_g] = np.einsum("nat,tn->an", self._next_laws(s_g), expected[s_g])
        return out

    def q(self, value: np.ndarray) -> np.ndarray:
        """Q(s_g, N; a_g), float64[n_sg, n_ag, n_N], where the local agents play their policy."""
        return self.global_reward + self.local_reward[:, None, :] + self.game.gamma * self.expect_actions(value)

    @functools.cached_property
    def global_reward(self) -> np.ndarray:
        """r_g by population, float64[n_sg, n_ag, n_N or 1]."""
        table = self.game.with_field_axis("r_g")
        if self._field_values is not None:
            table = values_at(table, self._field_values)
        return table.transpose(0, 2, 1)

    @functools.cached_property
    def reward(self) -> np.ndarray:
        """Mean reward of a step, float64[n_sg, n_N]."""
        r_g = self.global_reward
        if r_g.shape[2] == 1:
            return np.einsum("gan,ga->gn", self.action_law, r_g[:, :, 0]) + self.local_reward
        return np.einsum("gan,gan->gn", self.action_law, r_g) + self.local_reward

    def step_value(self, value: np.ndarray) -> np.ndarray:
        """E[V(s_g', N') | s_g, N], float64[n_sg, n_N]."""
        out = np.empty((self.game.n_sg, self.n_c))
        mean_over_actions(self.action_law, self.expect_actions(value), out)
        return out

    def step_measure(self, measure: np.ndarray) -> np.ndarray:
        """The measure one step later, float64[n_sg, n_N]: the adjoint of `step_value`."""
        moving = measure[:, None, :] * self.action_law
        if self._coupled_steps:
            by_next = [np.einsum("an,nat->tn", moving[s_g], self._next_laws(s_g)) for s_g in range(self.game.n_sg)]
            return self.spread(np.stack(by_next)).sum(axis=0)
        out = np.empty((self.game.n_sg, self.n_c))
        deal_to_next_states(self._P_g, self.spread(moving), out)
        return out

    def relative_error(self) -> float:
        """Bound on the rounding error of `step_value`, relative to the largest |V|; without what was cut off."""
        n_sl = self.game.n_sl
        terms = EPSILON * (
            2 * self.n * (n_sl + 1) + 2 * math.log2(1 + self.n_c) + 2 * self.game.n_sg + self.game.n_ag + 16
        )
        return terms + self._laws.power_error()
