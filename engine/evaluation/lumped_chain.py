"""The Markov chain of (s_g, N) when n agents play a policy: exact, and never written out as one matrix.

Given s_g and the population N the agents draw independently, so that s_g' and N' are independent as well:

    a_g ~ π̄_g(· | s_g, N),  s_g' ~ P_g[s_g, a_g, ·],  N' = Σ_s Multinomial(N_s, M(s_g, N)[s, ·]),  M = Σ_a π̄_l P_l

with the hypergeometric means π̄ of the policy. Where M does not depend on N the law of N' is a symmetric power, taken in
place; elsewhere each population has a law of its own, which is built once and kept, or built anew in every step if the laws
do not fit the memory.
"""

from __future__ import annotations

import copy
import functools
import math

import numpy as np

from ...kernels import execution
from ...kernels.evaluation.global_agent import deal_to_next_states, mean_over_actions
from ...kernels.lattice import fill_successors, lattice_size, lattice_sizes
from ..action_classes import list_counts
from ..backups.global_tables import GlobalTables
from ..backups.symmetric_power import EPSILON
from ..game import Game
from ..policy import SubsamplePolicy
from .plan import BLOCK_ENTRIES, plan_evaluation
from .population_laws import N_PARTS, PopulationLaws, in_threads

__all__ = ["N_PARTS", "LumpedChain", "arrange_outcomes"]


def arrange_outcomes(game: Game, policy: SubsamplePolicy) -> np.ndarray:
    """What a local agent's step leads to by the others it sees, float64[n_sg, n_sl, n_sl + 1, |Λ(k_local − 1, n_sl)|].

    Entries of axis 2 are the law of the next state and, last, the mean reward.
    """
    k_others, n_sl = policy.k_local - 1, game.n_sl
    successors = np.empty((lattice_size(k_others, n_sl), n_sl), dtype=np.int32)
    fill_successors(k_others, lattice_sizes(k_others + 1, n_sl), successors)
    rows = np.empty((game.n_sg, n_sl, n_sl + 1, successors.shape[0]))
    execution.arrange_local_outcomes(policy.local_action, game.P_l, game.r_l, successors, rows)
    return rows


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
        outcomes = arrange_outcomes(game, policy)
        blind = [game.n_sl == 1 or bool((rows == rows[:, :, :1]).all()) for rows in outcomes]
        plan_evaluation(game, policy.k_global, policy.k_local, n, memory_bytes, blind=all(blind))
        self.game, self.n, self.truncation, self.error = game, n, truncation, error
        self.populations = list_counts(n, game.n_sl)
        self.n_c = self.populations.shape[0]
        self._global_steps = GlobalTables(game.P_g, np.zeros((game.n_sg, game.n_ag)), 1.0)
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

    in_threads = staticmethod(in_threads)

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
        starts = np.linspace(0, self.n_c, min(self.n_c, 64) + 1).astype(np.int64)
        for s_g in range(game.n_sg):
            if blind[s_g]:
                laws.append(np.ascontiguousarray(rows[s_g, :, :n_sl, 0]))
                reward[s_g] = shares @ rows[s_g, :, n_sl, 0]
                continue
            means = np.empty((self.n_c, n_sl, n_sl + 1))
            only = rows[s_g : s_g + 1]

            def fill(i: int, only: np.ndarray = only, means: np.ndarray = means) -> None:
                part = means[None, starts[i] : starts[i + 1]]
                execution.tabulate_local_means(only, self.populations[starts[i] : starts[i + 1]], space, part)

            in_threads(fill, len(starts) - 1)
            reward[s_g] = (shares * means[:, :, n_sl]).sum(axis=1)
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

    def expect(self, functions: np.ndarray) -> np.ndarray:
        """E[f(N') | s_g, N], float64[n_sg, n_functions, n_N], of functions float64[n_sg, n_functions, n_N] for each s_g."""
        return self._laws.expect(functions)

    def spread(self, measures: np.ndarray) -> np.ndarray:
        """The adjoint of `expect`: Σ_N m(N) Pr[N' | s_g, N], float64[n_sg, n_functions, n_N]."""
        return self._laws.spread(measures)

    def expect_actions(self, value: np.ndarray) -> np.ndarray:
        """E[V(s_g', N') | s_g, N, a_g], float64[n_sg, n_ag, n_N], of a value float64[n_sg, n_N]."""
        return self.expect(self._global_steps.mixed(value))

    def q(self, value: np.ndarray) -> np.ndarray:
        """Q(s_g, N; a_g), float64[n_sg, n_ag, n_N], where the local agents play their policy."""
        game = self.game
        return game.r_g[:, :, None] + self.local_reward[:, None, :] + game.gamma * self.expect_actions(value)

    @functools.cached_property
    def reward(self) -> np.ndarray:
        """Mean reward of a step, float64[n_sg, n_N]."""
        return np.einsum("gan,ga->gn", self.action_law, self.game.r_g) + self.local_reward

    def step_value(self, value: np.ndarray) -> np.ndarray:
        """E[V(s_g', N') | s_g, N], float64[n_sg, n_N]."""
        out = np.empty((self.game.n_sg, self.n_c))
        mean_over_actions(self.action_law, self.expect_actions(value), out)
        return out

    def step_measure(self, measure: np.ndarray) -> np.ndarray:
        """The measure one step later, float64[n_sg, n_N]: the adjoint of `step_value`."""
        out = np.empty((self.game.n_sg, self.n_c))
        deal_to_next_states(self.game.P_g, self.spread(measure[:, None, :] * self.action_law), out)
        return out

    def relative_error(self) -> float:
        """Bound on the rounding error of `step_value`, relative to the largest |V|; without what was cut off."""
        n_sl = self.game.n_sl
        terms = EPSILON * (
            2 * self.n * (n_sl + 1) + 2 * math.log2(1 + self.n_c) + 2 * self.game.n_sg + self.game.n_ag + 16
        )
        return terms + self._laws.power_error()
