"""The chain of one tagged local agent in a game with a field of actions: its own action moves the field value.

A state is (s_g, s, N_o) as in `tagged_chain`. Given it the others draw their joint action z_o independently of what the tagged
agent does, and z_o with the tagged agent's action tells the field value, and so the tables by which everything moves.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from ...kernels import execution
from ...kernels.lattice import MAX_RANK, fill_successors, lattice_size, lattice_sizes
from ..action_classes import item_starts, list_counts
from ..backups.action_fields import draw_weights, list_joint_actions, weights_error, width_of
from ..backups.item_laws import EPSILON, ItemLaws, ItemTree, check_items, plan_items
from ..backups.selection import TooLargeError, readable_bytes, readable_number
from ..evaluation.action_chain import ByJointActions, local_action_laws
from ..evaluation.plan import JOINT_ACTIONS, KRYLOV_VECTORS, EvaluationPlan
from ..game import Game
from ..initial_law import initial_count_law
from ..policy import SubsamplePolicy
from .tagged_chain import TEAM, TaggedChain, checked_reward, tabulate


def plan_tagged_actions(game: Game, k_global: int, k_local: int, n: int, memory_bytes: int) -> EvaluationPlan:
    """Sizes of the chain, or a TooLargeError that names them; `n_populations` are those of the others."""
    n_sg, n_sl, n_al = game.n_sg, game.n_sl, game.n_al
    n_others, n_all = lattice_size(n - 1, n_sl), lattice_size(n, n_sl)
    states = n_sg * n_sl * n_others
    n_items = lattice_size(n - 1, n_sl * n_al)
    by_law = game.has_field_axis("P_l")
    n_laws = min(game.n_f, lattice_size(n, n_al)) if by_law else 1
    samples = lattice_size(k_global, n_sl) + lattice_size(k_local - 1, n_sl)
    base = 8 * states * (KRYLOV_VECTORS + 12 + 5 * n_al) + 8 * n_sg * n_all * (game.n_ag + n_sl * n_al)
    base += 8 * n_sg * n_sl * n_items * (2 + n_al * n_sg) + 8 * n_items * n_sl * n_al + 40 * samples * n_sl * n_al
    base += n_sl * n_al * n_items * (n_sg * (16 * width_of(game) + 24) + 25 * n_sl)
    what = (
        f"n: the {n - 1} agents other than the tagged one, in {n_sl} states, have {readable_number(n_others)} populations, "
        f"so that its chain has {readable_number(states)} states"
    )
    lower = "lower n or raise the memory limit"
    if n_all > MAX_RANK or base > memory_bytes:
        raise TooLargeError(
            f"{what}, which take {readable_bytes(base)}, expected at most {readable_bytes(memory_bytes)}; {lower}"
        )
    leaves = n_items * (n_al if by_law else 1)
    plan = plan_items(n_sg, n_sl, n_sl * n_al, n_laws, n - 1, width_of(game), leaves, columns=n_sg * n_sl)
    check_items(plan, f"{what} and", memory_bytes - base, lower)
    return EvaluationPlan(
        route=JOINT_ACTIONS,
        n_populations=n_others,
        bytes_needed=base + plan.bytes_needed,
        build_work=n_sg * n_all * samples * n_sl * n_al + n_sg * plan.n_entries,
        step_work=n_sg**2 * n_sl * (plan.n_entries + n_sl * n_al * n_items),
    )


class TaggedActionChain(ByJointActions, TaggedChain):
    """The decision problem of one local agent among n in a game with a field of actions; see `TaggedChain`.

    Parameters
    ----------
    game, policy, n
    memory_bytes : int

    Raises
    ------
    TooLargeError    before anything of that size is allocated
    """

    def __init__(self, game: Game, policy: SubsamplePolicy, n: int, *, memory_bytes: int):
        plan_tagged_actions(game, policy.k_global, policy.k_local, n, memory_bytes)
        n_sl = game.n_sl
        self.game, self.n = game, n
        self.populations = list_counts(n - 1, n_sl)
        self.n_c = self.populations.shape[0]
        self._joined = np.empty((self.n_c, n_sl), dtype=np.int32)
        fill_successors(n - 1, lattice_sizes(n, n_sl), self._joined)
        at_start = initial_count_law(game, n)[self._joined] * (self.populations + 1) / n
        self.initial = game.rho_g[:, None, None] * at_start.T
        self._items = list_joint_actions(n - 1, n_sl, game.n_al)
        self._start = item_starts(n - 1, n_sl, game.n_al, "joint")
        self._others = np.repeat(np.arange(self.n_c), np.diff(self._start))
        self._list_leaves()
        everyone = list_counts(n, n_sl)
        laws = local_action_laws(game, policy, everyone)
        space = execution.make_sample_space(policy.k_global, n_sl)
        shape = (game.n_ag,)
        self._global_law = tabulate(execution.tabulate_global_laws, policy.global_action, everyone, space, shape)
        own = np.arange(n_sl)
        self.own_law = np.ascontiguousarray(laws[:, self._joined, own].transpose(0, 2, 3, 1))
        self._weights = np.empty((game.n_sg, n_sl, len(self._items)))
        for s_g, s in np.ndindex(game.n_sg, n_sl):
            seen = laws[s_g][self._joined[self._others, s]]
            self._weights[s_g, s] = draw_weights(self._items, seen, self._start)
        self._moves = np.stack([self._mix_moves(s_g) for s_g in range(game.n_sg)])
        self._own_steps = [self._own_step(s_g) for s_g in range(game.n_sg)]

    def _list_leaves(self) -> None:
        """Field value and leaf of each own action and joint action of the others, and the laws of the leaves."""
        game = self.game
        assert game.field is not None
        actions = self._items.sum(axis=1) + np.eye(game.n_al, dtype=np.int64)[:, None, :]
        self._field = game.field.value_of(actions)
        by_law = game.has_field_axis("P_l")
        law = self._field if by_law else np.zeros_like(self._field)
        n_items = len(self._items)
        keys = (np.arange(n_items) * game.n_f + law).ravel()
        found, leaf = np.unique(keys, return_inverse=True)
        self._leaf = leaf.reshape(game.n_al, n_items)
        item, law_of_leaf = np.divmod(found, game.n_f)
        occurring, position = np.unique(law_of_leaf, return_inverse=True)
        tree = ItemTree(self._items.reshape(n_items, -1)[item], position, game.n_sl)
        rows = game.with_field_axis("P_l")[:, occurring].reshape(game.n_sg, len(occurring), -1, game.n_sl)
        self._leaf_laws = [ItemLaws(tree, rows[s_g]) for s_g in range(game.n_sg)]

    def _at(self, name: str, s_g: int, a: int) -> np.ndarray:
        """A table of one s_g at the field values that come with an own action, float64[n_items or 1, …]."""
        table = self.game.with_field_axis(name)[s_g]
        return table if len(table) == 1 else table[self._field[a]]

    def _mix_moves(self, s_g: int) -> np.ndarray:
        """Probability of the others' joint action and s_g', float64[n_sl, n_al, n_items, n_sg]."""
        game = self.game
        out = np.empty((game.n_sl, game.n_al, len(self._items), game.n_sg))
        for s, a in np.ndindex(game.n_sl, game.n_al):
            law = self._global_law[s_g][self._joined[self._others, s]] * self._weights[s_g, s][:, None]
            P_g = np.broadcast_to(self._at("P_g", s_g, a), (len(law), game.n_ag, game.n_sg))
            np.einsum("ib,ibt->it", law, P_g, out=out[s, a])
        return out

    def _own_step(self, s_g: int) -> csr_array:
        """From functions of (leaf, s') to those of (s, a, joint action of the others): the tagged agent's own move, sparse."""
        game, n_items = self.game, len(self._items)
        law = np.empty((game.n_sl, game.n_al, n_items, game.n_sl))
        for a in range(game.n_al):
            law[:, a] = self._at("P_l", s_g, a)[:, :, a].transpose(1, 0, 2)
        columns = np.broadcast_to(self._leaf[:, :, None] * game.n_sl + np.arange(game.n_sl), law.shape)
        there = law > 0.0
        starts = np.concatenate([[0], np.cumsum(there.sum(axis=3).ravel())])
        shape = (law.size // game.n_sl, (int(self._leaf.max()) + 1) * game.n_sl)
        return csr_array((law[there], columns[there], starts), shape=shape)

    def reward_tables(self, reward: str) -> tuple[np.ndarray, np.ndarray]:
        """Rewards float64[n_sg, n_sl, n_No], whatever the tagged agent does, which are none; and by its action:

        float64[n_sg, n_sl, n_al, n_No].
        """
        game, team = self.game, checked_reward(reward) == TEAM
        own = np.empty(self.own_law.shape)
        for s_g, a in np.ndindex(game.n_sg, game.n_al):
            r_l = self._at("r_l", s_g, a)
            r_g = np.broadcast_to(self._at("r_g", s_g, a), (len(self._items), game.n_ag))
            others = np.einsum("isb,isb->i", self._items, np.broadcast_to(r_l, self._items.shape))
            for s in range(game.n_sl):
                paid = np.broadcast_to(r_l[:, s, a], others.shape)
                if team:
                    law = self._global_law[s_g][self._joined[self._others, s]]
                    paid = np.einsum("ib,ib->i", law, r_g) + (paid + others) / self.n
                own[s_g, s, a] = np.add.reduceat(self._weights[s_g, s] * paid, self._start[:-1])
        return np.zeros(self.initial.shape), own

    def q(self, value: np.ndarray, reward: str) -> np.ndarray:
        """Q(s_g, s, N_o; a), float64[n_sg, n_sl, n_al, n_No], of a value float64[n_sg, n_sl, n_No]."""
        return self.reward_tables(reward)[1] + self.game.gamma * self.expect_actions(value)

    def expect_actions(self, value: np.ndarray) -> np.ndarray:
        """E[V(s_g', s', N_o') | s_g, s, N_o, a], float64[n_sg, n_sl, n_al, n_No], of a value float64[n_sg, n_sl, n_No]."""
        game = self.game
        out = np.empty(self.own_law.shape)
        functions = np.ascontiguousarray(value.reshape(-1, self.n_c).T)
        for s_g in range(game.n_sg):
            expected = self._leaf_laws[s_g].expect(functions).reshape(-1, game.n_sg, game.n_sl)
            after = np.ascontiguousarray(expected.transpose(0, 2, 1)).reshape(-1, game.n_sg)
            moved = (self._own_steps[s_g] @ after).reshape(self._moves[s_g].shape)
            mean = np.einsum("sait,sait->sai", self._moves[s_g], moved)
            out[s_g] = np.add.reduceat(mean, self._start[:-1], axis=2)
        return out

    def relative_error(self) -> float:
        """Bound on the rounding error of `expect_actions`, relative to the largest |V|."""
        game, most = self.game, int(np.diff(self._start).max())
        terms = EPSILON * (self.n * (game.n_sl + 1) + 2 * game.n_sg * game.n_sl + game.n_ag + 16)
        return terms + weights_error(self.n, game.n_sl * game.n_al, most)
