"""The Markov chain of (s_g, N) when n agents play a policy in a game with a field of actions: exact, for few agents.

Given s_g and N the agents draw their actions independently, so that the law of the joint action z is known; z tells the field
value, and so the tables by which everything moves:

    E[V(s_g', N') | s_g, N] = Σ_z Pr[z | s_g, N] Σ_{a_g} π̄_g(a_g | s_g, N) Σ_{s_g'} P_g[s_g, f(z), a_g, s_g'] E[V(s_g', N') | z]
"""

from __future__ import annotations

import functools

import numpy as np

from ...kernels import execution
from ...kernels.evaluation.global_agent import mean_over_actions
from ...kernels.lattice import MAX_RANK, fill_successors, lattice_size, lattice_sizes
from ..action_classes import item_starts, list_counts
from ..backups.action_fields import JointActionTables, draw_weights, list_joint_actions, plan_joint, weights_error
from ..backups.item_laws import check_items
from ..backups.selection import TooLargeError, readable_bytes, readable_number
from ..game import Game
from ..policy import SubsamplePolicy
from .lumped_chain import LumpedChain, local_means
from .plan import JOINT_ACTIONS, KRYLOV_VECTORS, EvaluationPlan


def plan_action_chain(game: Game, k_global: int, k_local: int, n: int, memory_bytes: int) -> EvaluationPlan:
    """Sizes of the chain, or a TooLargeError that names them."""
    n_c = lattice_size(n, game.n_sl)
    states = game.n_sg * n_c
    n_items = lattice_size(n, game.n_sl * game.n_al)
    samples = lattice_size(k_global, game.n_sl) + lattice_size(k_local - 1, game.n_sl)
    base = 8 * states * (KRYLOV_VECTORS + 12 + 3 * game.n_ag + game.n_sl * game.n_al) + 16 * n_c * game.n_sl
    base += 40 * samples * game.n_sl
    what = (
        f"n: {n} agents in {game.n_sl} states have {readable_number(n_c)} populations, so that the chain has "
        f"{readable_number(states)} states"
    )
    if n_c > MAX_RANK or base > memory_bytes:
        raise TooLargeError(
            f"{what}, which take {readable_bytes(base)}, expected at most {readable_bytes(memory_bytes)}; lower n, raise the "
            "memory limit, or simulate"
        )
    plan = plan_joint(game, n, n_items)
    check_items(plan, f"{what} and", memory_bytes - base, "lower n, raise the memory limit, or simulate")
    return EvaluationPlan(
        route=JOINT_ACTIONS,
        n_populations=n_c,
        bytes_needed=base + plan.bytes_needed,
        build_work=states * samples * game.n_sl * game.n_al + game.n_sg * plan.n_entries,
        step_work=game.n_sg**2 * plan.n_entries,
    )


class ByJointActions:
    """What is known of every chain whose steps are taken joint action by joint action."""

    @property
    def route(self) -> str:
        """How the law of the next counts is taken."""
        return JOINT_ACTIONS

    @property
    def truncated_mass(self) -> float:
        """Nothing is cut off."""
        return 0.0


class ActionFieldChain(ByJointActions, LumpedChain):
    """The chain of (s_g, N) under a policy, in a game with a field of actions.

    Parameters
    ----------
    game, policy, n
    memory_bytes : int

    Attributes
    ----------
    populations : int64[n_N, n_sl]
    action_law : float64[n_sg, n_ag, n_N]     π̄_g
    local_reward : float64[n_sg, n_N]         (1/n) Σ_s N_s E r_l

    Raises
    ------
    TooLargeError    before anything of that size is allocated
    """

    def __init__(self, game: Game, policy: SubsamplePolicy, n: int, *, memory_bytes: int):
        plan_action_chain(game, policy.k_global, policy.k_local, n, memory_bytes)
        self.game, self.n, self.truncation, self.error = game, n, 0.0, 0.0
        self.populations = list_counts(n, game.n_sl)
        self.n_c = self.populations.shape[0]
        self.action_law = self._mix_global(policy)
        self._tables, self._weights, self._start = self._mix_actions(policy)
        self.routes, self.rho = [JOINT_ACTIONS] * game.n_sg, 1.0
        self.local_reward = self._over_items(self._tables.local_reward)

    def _mix_actions(self, policy: SubsamplePolicy) -> tuple[JointActionTables, np.ndarray, np.ndarray]:
        """The joint actions that can occur, their probabilities, float64[n_sg, n_items], and where those of each N start."""
        game = self.game
        laws = local_action_laws(game, policy, self.populations)
        items = list_joint_actions(self.n, game.n_sl, game.n_al)
        starts = item_starts(self.n, game.n_sl, game.n_al, "joint")
        populations = np.repeat(np.arange(self.n_c), np.diff(starts))
        weights = np.stack([draw_weights(items, law[populations], starts) for law in laws])
        kept = (weights > 0.0).any(axis=0)
        first = np.concatenate([[0], np.cumsum(np.add.reduceat(kept.astype(np.int64), starts[:-1]))])
        return JointActionTables(game, items[kept]), weights[:, kept], first

    def _over_items(self, table: np.ndarray) -> np.ndarray:
        """Means over the joint actions of each population, float64[n_sg, n_N], of float64[n_sg, n_items]."""
        return np.add.reduceat(self._weights * table, self._start[:-1], axis=1)

    def expect_actions(self, value: np.ndarray) -> np.ndarray:
        """E[V(s_g', N') | s_g, N, a_g], float64[n_sg, n_ag, n_N], of a value float64[n_sg, n_N]."""
        out = np.empty((self.game.n_sg, self.game.n_ag, self.n_c))
        for s_g in range(self.game.n_sg):
            expected = self._tables.expect(s_g, value)
            out[s_g] = np.add.reduceat(self._weights[s_g] * expected, self._start[:-1], axis=1)
        return out

    @functools.cached_property
    def global_reward(self) -> np.ndarray:
        """Mean of r_g over the joint actions, float64[n_sg, n_ag, n_N]."""
        game = self.game
        shape = (game.n_sg, self._tables.n_items)
        by_action = [
            np.stack([np.broadcast_to(self._tables.global_reward(s_g, a_g), shape[1]) for s_g in range(game.n_sg)])
            for a_g in range(game.n_ag)
        ]
        return np.stack([self._over_items(table) for table in by_action], axis=1)

    def step_value(self, value: np.ndarray) -> np.ndarray:
        """E[V(s_g', N') | s_g, N], float64[n_sg, n_N]."""
        out = np.empty((self.game.n_sg, self.n_c))
        mean_over_actions(self.action_law, self.expect_actions(value), out)
        return out

    def step_measure(self, measure: np.ndarray) -> np.ndarray:
        """The measure one step later, float64[n_sg, n_N]: the adjoint of `step_value`."""
        moved = np.zeros((self.game.n_sg, self.n_c))
        sizes = np.diff(self._start)
        for s_g in range(self.game.n_sg):
            moving = np.repeat(measure[s_g] * self.action_law[s_g], sizes, axis=1)
            moved += self._tables.spread(s_g, moving * self._weights[s_g])
        return moved

    def relative_error(self) -> float:
        """Bound on the rounding error of `step_value`, relative to the largest |V|."""
        most = int(np.diff(self._start).max())
        return self._tables.relative_error() + weights_error(
            self.n, self.game.n_sl * self.game.n_al, most + self.game.n_ag
        )


def local_action_laws(game: Game, policy: SubsamplePolicy, populations: np.ndarray) -> np.ndarray:
    """Law of a local agent's action in each population, π̄_l, float64[n_sg, n_N, n_sl, n_al]."""
    k_others = policy.k_local - 1
    successors = np.empty((lattice_size(k_others, game.n_sl), game.n_sl), np.int32)
    fill_successors(k_others, lattice_sizes(policy.k_local, game.n_sl), successors)
    rows = np.empty((game.n_sg, game.n_sl, game.n_al, len(successors)))
    execution.arrange_local_laws(policy.local_action, successors, rows)
    space = execution.make_sample_space(k_others, game.n_sl)
    laws = np.stack([local_means(rows[s_g : s_g + 1], populations, None, space) for s_g in range(game.n_sg)])
    return laws / np.maximum(laws.sum(axis=3, keepdims=True), np.finfo(float).tiny)
