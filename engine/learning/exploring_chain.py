"""The chain of n exploring agents, by joint actions of types, and what it means to one of them in the long run.

An agent's type is its state and, where agents see actions, its last action. Given (s_g, how many agents are of each type) agents
act independently, so that the law of the joint action z of types is known; z tells the field value and the others' actions. The
agent that is looked at is any of the n, so that it is of type x and takes action a with probability z[x, a] / n.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import block_array, csr_array

from ...kernels.lattice import lattice_size
from ..action_classes import item_starts, list_counts
from ..backups.action_fields import draw_weights, list_joint_actions
from ..backups.item_laws import ItemLaws, ItemTree, distinct_items, plan_items
from ..backups.selection import TooLargeError, default_memory_bytes, readable_bytes
from ..coupling import Field
from ..game import Game


class ExploringChain:
    """The chain of (s_g, counts of types) of n exploring agents.

    Parameters
    ----------
    game : Game without a neighbourhood
    n : int
    seen : Field                          of all states, or of the others' last actions
    behaviour : float64[n_o, n_al]        law by which agents act; o = (s_g · n_sl + s_l) · F + value seen
    global_law : float64[n_sg, n_ag]
    team : bool                           whether agents earn the mean of r_l instead of their own
    memory_bytes : int, optional          by default three quarters of the machine's memory

    Raises
    ------
    TooLargeError    before anything large is allocated
    """

    def __init__(
        self, game: Game, n: int, seen: Field, behaviour: np.ndarray, global_law: np.ndarray, *, team: bool,
        memory_bytes: int | None = None,
    ):  # fmt: skip
        self.game, self.n, self.seen, self.team = game, n, seen, team
        self.by_action = seen.of == "actions" and seen.n_values > 1
        self.n_types = game.n_sl * (game.n_al if self.by_action else 1)
        self._check_size(default_memory_bytes() if memory_bytes is None else memory_bytes)
        x = np.arange(self.n_types)
        self._state = x // game.n_al if self.by_action else x
        self._counts = list_counts(n, self.n_types)
        self._items = list_joint_actions(n, self.n_types, game.n_al)
        starts = item_starts(n, self.n_types, game.n_al, "joint")
        self._population = np.repeat(np.arange(len(self._counts)), np.diff(starts))
        self._observed = self._observations()
        self._field_values = self._fields()
        self._weights = [
            draw_weights(self._items, behaviour[self._observed[s_g]][self._population], starts)
            for s_g in range(game.n_sg)
        ]
        P_g, r_g = game.with_field_axis("P_g"), game.with_field_axis("r_g")
        self._moves = np.einsum("ga,gfat->gft", global_law, P_g)
        self._paid = np.einsum("ga,gfa->gf", global_law, r_g)
        self._P_l, self._r_l = game.with_field_axis("P_l"), game.with_field_axis("r_l")

    def _check_size(self, memory_bytes: int) -> None:
        game, n = self.game, self.n
        n_c = lattice_size(n, self.n_types)
        n_items = lattice_size(n, self.n_types * game.n_al)
        n_laws = game.n_f if game.has_field_axis("P_l") else 1
        plan = plan_items(game.n_sg, self.n_types, self.n_types * game.n_al, n_laws, n, game.n_sl, n_items)
        # The matrix may have no zero, and is copied once.
        needed = plan.bytes_needed + 32 * (game.n_sg * n_c) ** 2
        if needed > memory_bytes:
            raise TooLargeError(
                f"n: {n} agents of {self.n_types} types make a chain of {game.n_sg * n_c} states with {n_items} joint actions, "
                f"which take {readable_bytes(needed)}, expected at most {readable_bytes(memory_bytes)}; lower n"
            )

    def _observations(self) -> np.ndarray:
        """What agents of each type observe, int64[n_sg, n_counts, n_types]; anything where there are none."""
        game, seen, counts = self.game, self.seen, self._counts
        value = np.zeros(counts.shape, dtype=np.int64)
        if self.by_action:
            last = counts.reshape(-1, game.n_sl, game.n_al).sum(axis=1)
            others = last[:, None, :] - np.eye(game.n_al, dtype=np.int64)
            value = np.tile(seen.value_of(np.maximum(others, 0)), game.n_sl)
        elif seen.n_values > 1:
            value = np.repeat(seen.value_of(counts)[:, None], self.n_types, axis=1)
        row = np.arange(game.n_sg)[:, None, None] * game.n_sl + self._state
        return row * seen.n_values + value

    def _fields(self) -> np.ndarray:
        """Value of the game's field for each joint action, int64[n_items]."""
        field = self.game.field
        if field is None:
            return np.zeros(len(self._items), dtype=np.int64)
        if field.of == "actions":
            return field.value_of(self._items.sum(axis=1))
        states = self._counts.reshape(len(self._counts), self.game.n_sl, -1).sum(axis=2)
        return field.value_of(states)[self._population]

    def _of_field(self, table: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Positions on an axis of field values that may be of size 1."""
        return values if table.shape[1] > 1 else np.zeros_like(values)

    # The chain.

    def start(self) -> np.ndarray:
        """Law of the first (s_g, counts), float64[n_sg · n_counts]: states from the initial laws, last actions uniform."""
        game = self.game
        rho_l = game.rho_l / game.rho_l.sum()
        row = np.repeat(rho_l / game.n_al, game.n_al) if self.by_action else rho_l
        law = draw_weights(self._counts[:, None, :], row[None, None], np.array([0, len(self._counts)]))
        return np.outer(game.rho_g, law).ravel()

    def matrix(self) -> csr_array:
        """The transition matrix, sparse float64[n_sg · n_counts, n_sg · n_counts]."""
        n_sg, n_items = self.game.n_sg, len(self._items)
        f = self._of_field(self._P_l, self._field_values)
        tree = ItemTree(self._items.reshape(n_items, -1), f, self.n_types)
        f_moves = self._of_field(self._moves, self._field_values)
        shape = (len(self._counts), n_items)
        blocks = []
        for s_g in range(n_sg):
            laws = ItemLaws(tree, self._type_laws(s_g))

            def mean_law(weights: np.ndarray, laws: ItemLaws = laws) -> csr_array:
                kept = np.flatnonzero(weights)
                return laws.laws_of(csr_array((weights[kept], (self._population[kept], kept)), shape=shape))

            if self._moves.shape[1] == 1:
                alone = mean_law(self._weights[s_g])
                blocks.append([alone * p if p > 0.0 else None for p in self._moves[s_g, 0]])
            else:
                moves = self._moves[s_g, f_moves]
                blocks.append([mean_law(self._weights[s_g] * moves[:, t]) for t in range(n_sg)])
        # A column of blocks that are all empty would have no width.
        empty = csr_array((len(self._counts), len(self._counts)))
        return csr_array(block_array([[empty if b is None else b for b in row] for row in blocks]))

    def _type_laws(self, s_g: int) -> np.ndarray:
        """Law of an agent's next type, float64[n_f or 1, n_types · n_al, n_types]."""
        game, n_types = self.game, self.n_types
        laws = self._P_l[s_g][:, self._state]
        if not self.by_action:
            return laws.reshape(len(laws), -1, n_types)
        rows = np.zeros((len(laws), n_types, game.n_al, game.n_sl, game.n_al))
        for a in range(game.n_al):
            rows[:, :, a, :, a] = laws[:, :, a]
        return rows.reshape(len(laws), -1, n_types)

    # One agent in it.

    def average(self, law: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Under a law of (s_g, counts): mass of (o, a), mass times reward, and mass times the law of the next o.

        Returns
        -------
        float64[n_o, n_al], float64[n_o, n_al], float64[n_o, n_al, n_o]
        """
        game = self.game
        n_o, n_al = game.n_sg * game.n_sl * self.seen.n_values, game.n_al
        mass, paid, leads = np.zeros(n_o * n_al), np.zeros(n_o * n_al), np.zeros((n_o * n_al, n_o))
        item, x, a = np.nonzero(self._items)
        f = self._field_values[item]
        f_r, f_g = self._of_field(self._r_l, f), self._of_field(self._paid, f)
        law = law.reshape(game.n_sg, -1)
        for s_g in range(game.n_sg):
            weight = (law[s_g][self._population] * self._weights[s_g])[item] * self._items[item, x, a] / self.n
            cell = self._observed[s_g, self._population[item], x] * n_al + a
            reward = self._r_l[s_g, f_r, self._state[x], a]
            if self.team:
                reward = np.bincount(item, self._items[item, x, a] * reward)[item] / self.n
            mass += np.bincount(cell, weight, n_o * n_al)
            paid += np.bincount(cell, weight * (self._paid[s_g, f_g] + reward), n_o * n_al)
            kept = weight > 0.0
            self._add_leads(s_g, item[kept], x[kept], a[kept], cell[kept], weight[kept], leads)
        return mass.reshape(n_o, n_al), paid.reshape(n_o, n_al), leads.reshape(n_o, n_al, n_o)

    def _add_leads(self, s_g, item, x, a, cell, weight, out_leads) -> None:
        """Add the law of the next observation of agents of type x that take action a in a joint action, times a weight."""
        game, n_v = self.game, self.seen.n_values
        f = self._field_values[item]
        # All that the next own state and s_g' depend on, but for the value seen next.
        key = cell * game.n_f + f
        found, first, group = np.unique(key, return_index=True, return_inverse=True)
        seen_next = self._values_seen_next(s_g, item, x, a, f, group, weight, len(found))
        f = f[first]
        own = self._P_l[s_g, self._of_field(self._P_l, f), self._state[x[first]], a[first]]
        moves = self._moves[s_g, self._of_field(self._moves, f)]
        step = np.einsum("it,isv->itsv", moves, own[:, :, None] * seen_next)
        np.add.at(out_leads, cell[first], step.reshape(len(found), game.n_sg * game.n_sl * n_v))

    def _values_seen_next(self, s_g, item, x, a, f, group, weight, n_groups) -> np.ndarray:
        """Weight of each value that the agent sees next, by its next state, float64[n_groups, n_sl or 1, n_values]."""
        game, n_v = self.game, self.seen.n_values
        if n_v == 1:
            return np.bincount(group, weight, n_groups)[:, None, None]
        if self.by_action:
            others = self._items.sum(axis=1)[item]
            others[np.arange(len(item)), a] -= 1
            value = self.seen.value_of(others)
            return np.bincount(group * n_v + value, weight, n_groups * n_v).reshape(n_groups, 1, n_v)
        after, leaf = self._values_after(s_g, item, x, a, f)
        shape = (n_groups, len(after))
        summed = csr_array((weight, (group, leaf)), shape=shape) @ after
        return summed.reshape(n_groups, game.n_sl, n_v)

    def _values_after(self, s_g, item, x, a, f) -> tuple[np.ndarray, np.ndarray]:
        """Law of the value of all states after a step by the agent's next state, for each law and joint action of the others.

        Returns
        -------
        float64[n_leaves, n_sl · n_values], and the leaf of each entry
        """
        game, n_v = self.game, self.seen.n_values
        counts = list_counts(self.n - 1, game.n_sl)
        after = counts[:, None, :] + np.eye(game.n_sl, dtype=np.int64)
        indicator = (self.seen.value_of(after)[:, :, None] == np.arange(n_v)).astype(np.float64)
        indicator = indicator.reshape(len(counts), -1)
        others = self._items[item].reshape(len(item), -1)
        others[np.arange(len(item)), x * game.n_al + a] -= 1
        law = self._of_field(self._P_l, f)
        first, leaf = distinct_items(law, others)
        laws = ItemLaws(ItemTree(others[first], law[first], game.n_sl), self._type_laws(s_g))
        return laws.expect(indicator), leaf
