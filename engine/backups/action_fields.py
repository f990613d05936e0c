"""Exact backups of games with a field of actions: the joint action z of the k agents tells the field value, and so the tables.

    Q(s_g, c; a_g, z) = r_g[s_g, f(z), a_g] + (1/k) Σ z r_l[s_g, f(z)] + γ Σ_{s_g'} P_g[s_g, f(z), a_g, s_g'] E[V(s_g', c') | z]

Where agents draw their actions (classes `histogram` and `fixed`), a choice is a mixture of joint actions.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy.sparse import csr_array
from scipy.special import xlogy

from ...kernels.lattice import lattice_size
from ..action_classes import count_items, item_starts, list_counts, list_items
from ..game import Game
from .global_tables import RoundingTerms
from .item_laws import EPSILON, ItemLaws, ItemPlan, ItemTree, check_items, plan_items

METHOD = "recursion"


def width_of(game: Game) -> int:
    """Most next states that a local agent may reach from one state by one action."""
    return int((game.P_l > 0.0).sum(axis=-1).max())


def plan_joint(game: Game, k: int, n_items: int) -> ItemPlan:
    """Sizes of the laws of `n_items` joint actions of k agents, at most."""
    n_laws = min(game.n_f, lattice_size(k, game.n_al)) if game.has_field_axis("P_l") else 1
    return plan_items(game.n_sg, game.n_sl, game.n_sl * game.n_al, n_laws, k, width_of(game), n_items)


def plan_backup(game: Game, k: int, actions: str, memory_bytes: int) -> ItemPlan:
    """Sizes of a backup; TooLargeError, which names them, if it does not fit."""
    n_items = count_items(k, game.n_sl, game.n_al, "shared" if actions == "shared" else "joint")
    plan = plan_joint(game, k, n_items)
    n_choices = {"histogram": lattice_size(k, game.n_al), "fixed": game.n_sg}.get(actions, 0)
    needed = plan.bytes_needed + n_items * (24 * n_choices + 8 * game.n_ag * game.n_sg + 24 * game.n_ag)
    plan = ItemPlan(n_items=n_items, bytes_needed=needed, n_entries=plan.n_entries)
    check_items(plan, f"k: {k} agents have", memory_bytes, "lower k or raise the memory limit")
    return plan


def list_joint_actions(k: int, n_sl: int, n_al: int) -> np.ndarray:
    """All joint actions z in the order of their count vectors, then in that of the items; int64[n_items, n_sl, n_al]."""
    items = list_counts(k, n_sl * n_al).reshape(-1, n_sl, n_al)
    counts = items.sum(axis=2)
    # Items of one count vector are in lexicographic order, as the lattice is: a stable sort keeps it.
    return items[np.lexsort(counts.T[::-1])]


def draw_weights(items: np.ndarray, laws: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Probability of each joint action where agents draw their actions independently, float64[n_items].

    Parameters
    ----------
    items : int64[n_items, n_sl, n_al]
    laws : float64[n_items or 1, n_sl, n_al]    laws of the actions
    starts : int64[n_c + 1]                     the items of each count vector, whose probabilities add up to 1
    """
    k = int(items[0].sum())
    log_factorial = np.array([math.lgamma(m + 1.0) for m in range(k + 1)])
    ways = log_factorial[items.sum(axis=2)].sum(axis=1) - log_factorial[items].sum(axis=(1, 2))
    weights = np.exp(ways + xlogy(items, laws).sum(axis=(1, 2)))
    return weights / np.repeat(np.add.reduceat(weights, starts[:-1]), np.diff(starts))


class JointActionTables:
    """What joint actions pay, and where they lead, in a game with a field.

    Parameters
    ----------
    game : Game
    items : int64[n_items, n_sl, n_al]

    Attributes
    ----------
    field_value : int64[n_items]             f of each item
    local_reward : float64[n_sg, n_items]    mean of r_l over the agents
    """

    def __init__(self, game: Game, items: np.ndarray):
        assert game.field is not None
        self.game, self.n_items, self.k = game, len(items), int(items[0].sum())
        self.field_value = game.field.value_of(items.sum(axis=1 if game.field.of == "actions" else 2))
        occurring, position = np.unique(self.field_value, return_inverse=True)
        by_law = game.has_field_axis("P_l")
        self._occurring = occurring if by_law else np.zeros(1, dtype=np.int64)
        categories = items.reshape(self.n_items, -1)
        self._tree = ItemTree(categories, position if by_law else np.zeros_like(position), game.n_sl)
        self._laws: dict[int, ItemLaws] = {}
        r_l = game.with_field_axis("r_l").reshape(game.n_sg, -1, categories.shape[1])
        self.local_reward = np.empty((game.n_sg, self.n_items))
        for s_g in range(game.n_sg):
            if r_l.shape[1] == 1:
                self.local_reward[s_g] = np.einsum("ic,c->i", categories, r_l[s_g, 0]) / self.k
                continue
            for f in occurring:
                here = self.field_value == f
                self.local_reward[s_g, here] = np.einsum("ic,c->i", categories[here], r_l[s_g, f]) / self.k

    def laws(self, s_g: int) -> ItemLaws:
        """Laws of the next counts at one s_g; made when they are first asked for."""
        if s_g not in self._laws:
            rows = self.game.with_field_axis("P_l")[s_g, self._occurring]
            self._laws[s_g] = ItemLaws(self._tree, rows.reshape(len(rows), -1, self.game.n_sl))
        return self._laws[s_g]

    def global_reward(self, s_g: int, a_g: int) -> np.ndarray | float:
        """r_g of each item, float64[n_items]; a number where it does not depend on the field value."""
        r_g = self.game.with_field_axis("r_g")[s_g, :, a_g]
        return float(r_g[0]) if r_g.size == 1 else r_g[self.field_value]

    def next_law(self, s_g: int, a_g: int) -> np.ndarray:
        """P_g of each item, float64[n_items or 1, n_sg]."""
        P_g = self.game.with_field_axis("P_g")[s_g, :, a_g]
        return P_g if len(P_g) == 1 else P_g[self.field_value]

    def expect(self, s_g: int, value: np.ndarray) -> np.ndarray:
        """E[V(s_g', c') | z, a_g], float64[n_ag, n_items], of a value float64[n_sg, n_c]."""
        expected = self.laws(s_g).expect(np.ascontiguousarray(value.T))
        out = np.empty((self.game.n_ag, self.n_items))
        for a_g in range(self.game.n_ag):
            # Sums of NumPy, not products of a BLAS: the same bits on any number of threads.
            law = np.broadcast_to(self.next_law(s_g, a_g), expected.shape)
            np.einsum("it,it->i", law, expected, out=out[a_g])
        return out

    def spread(self, s_g: int, masses: np.ndarray) -> np.ndarray:
        """The adjoint of `expect`: the measure on (s_g', c') that masses float64[n_ag, n_items] move to, float64[n_sg, n_c]."""
        moved = np.zeros((self.n_items, self.game.n_sg))
        for a_g in range(self.game.n_ag):
            moved += masses[a_g][:, None] * self.next_law(s_g, a_g)
        return np.ascontiguousarray(self.laws(s_g).spread(moved).T)

    def relative_error(self) -> float:
        """Bound on the rounding error of `expect`, relative to the largest |V|."""
        return EPSILON * (self.k * (self.game.n_sl + 1) + self.game.n_sg + 8)


def weights_error(k: int, n_categories: int, most_items: int) -> float:
    """Bound on the relative rounding error of a sum over the items of a count vector, with weights of `draw_weights`."""
    return EPSILON * (8.0 * math.lgamma(k + 1.0) + 8.0 * n_categories + 2.0 * most_items + 8.0)


class ActionFieldBackup:
    """Exact backups for k agents in a game with a field of actions.

    Parameters
    ----------
    game : Game
    k : int
    actions : "joint", "shared", "histogram" or "fixed"
    local_policy : float64[n_sg, n_sl, n_al] or None    for class `fixed`
    counts : int64[n_sl], optional                      the one count vector to back up; by default all
    """

    method = METHOD

    def __init__(
        self, game: Game, k: int, actions: str, local_policy: np.ndarray | None, counts: np.ndarray | None = None
    ):
        self.game, self.k = game, k
        listed = "shared" if actions == "shared" else "joint"
        if counts is not None:
            items = list_items(counts, game.n_al, listed)
            starts = np.array([0, len(items)])
        else:
            starts = item_starts(k, game.n_sl, game.n_al, listed)
            if listed == "joint":
                items = list_joint_actions(k, game.n_sl, game.n_al)
            else:
                items = np.concatenate([list_items(c, game.n_al, listed) for c in list_counts(k, game.n_sl)])
        self._tables = JointActionTables(game, items)
        self._most_items = int(np.diff(starts).max())
        self._start, self._mixing = starts, None
        if actions in ("histogram", "fixed"):
            n_h = lattice_size(k, game.n_al) if actions == "histogram" else 1
            self._start = np.arange(len(starts)) * n_h
            self._mixing = _mixtures(items, starts, game, k, local_policy)

    @functools.cached_property
    def work(self) -> float:
        """Multiplications of a sweep."""
        game = self.game
        entries = sum(self._tables.laws(s_g).n_entries for s_g in range(game.n_sg))
        mixing = 0 if self._mixing is None else sum(weights.nnz for weights in self._mixing)
        return float(entries * game.n_sg + game.n_ag * (game.n_sg**2 * self._tables.n_items + mixing))

    def q_of_choices(self, s_g: int, value: np.ndarray) -> np.ndarray:
        """Q(s_g, ·; a_g, choice), float64[n_ag, n_choices], of all count vectors one after the other."""
        tables = self._tables
        q = tables.expect(s_g, value)
        q *= self.game.gamma
        q += tables.local_reward[s_g]
        for a_g in range(self.game.n_ag):
            q[a_g] += tables.global_reward(s_g, a_g)
        if self._mixing is None:
            return q
        return np.stack([self._mixing[s_g] @ row for row in q])

    def sweep(self, value: np.ndarray, out_value: np.ndarray) -> None:
        """Write TV: one exact Bellman backup of `value`, float64[n_sg, n_c]."""
        for s_g in range(self.game.n_sg):
            best = self.q_of_choices(s_g, value).max(axis=0)
            np.maximum.reduceat(best, self._start[:-1], out=out_value[s_g])

    def greedy(
        self, value: np.ndarray, backed_up: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """TV with the greedy choice.

        Value, a_g int32[n_sg, n_c], item int64[n_sg, n_c]; ties within rounding go to the lowest (a_g, item).
        """
        # Values and choice come from one pass: a known TV saves nothing.
        shape = (self.game.n_sg, len(self._start) - 1)
        found, item = np.empty(shape), np.full(shape, -1, dtype=np.int64)
        action = np.full(shape, -1, dtype=np.int32)
        first = self._start[:-1]
        sizes = np.diff(self._start)
        place = np.arange(self._start[-1]) - np.repeat(first, sizes)
        tie = 2 * self.rounding_error(value)
        for s_g in range(self.game.n_sg):
            q = self.q_of_choices(s_g, value)
            np.maximum.reduceat(q.max(axis=0), first, out=found[s_g])
            least = np.repeat(found[s_g] - tie, sizes)
            for a_g in range(self.game.n_ag):
                lowest = np.minimum.reduceat(np.where(q[a_g] >= least, place, place.size), first)
                chosen = (action[s_g] < 0) & (lowest < place.size)
                action[s_g, chosen], item[s_g, chosen] = a_g, lowest[chosen]
        return found, action, item

    @functools.cached_property
    def rounding_terms(self) -> RoundingTerms:
        """Rounding of a sweep: every term is a mean with weights that are not negative."""
        relative = self._tables.relative_error()
        if self._mixing is not None:
            relative += weights_error(self.k, self.game.n_sl * self.game.n_al, self._most_items)
        relative += EPSILON * self.game.n_sl * self.game.n_al
        return RoundingTerms(
            relative=relative, r_g=float(np.abs(self.game.r_g).max()), r_l=float(np.abs(self.game.r_l).max())
        )

    def rounding_error(self, value: np.ndarray) -> float:
        """Bound on the rounding error of one sweep."""
        return self.rounding_terms.error(value)


def _mixtures(
    items: np.ndarray, starts: np.ndarray, game: Game, k: int, local_policy: np.ndarray | None
) -> list[csr_array]:
    """For each s_g the laws of the joint action under each choice, sparse float64[n_c · n_h, n_items].

    A choice is a histogram of class `histogram`, or the one given local policy.
    """
    if local_policy is not None:
        weights = [draw_weights(items, law[None], starts)[None] for law in local_policy]
    else:
        laws = list_counts(k, game.n_al) / k
        shared = np.stack([draw_weights(items, law[None, None], starts) for law in laws])
        weights = [shared]
    n_h, n_c = len(weights[0]), len(starts) - 1
    counts_of_item = np.repeat(np.arange(n_c), np.diff(starts))
    mixtures = []
    for table in weights:
        item, choice = np.nonzero(table.T)
        rows = counts_of_item[item] * n_h + choice
        mixtures.append(csr_array((table[choice, item], (rows, item)), shape=(n_c * n_h, len(items))))
    return mixtures if local_policy is not None else mixtures * game.n_sg


def action_field_q(
    game: Game, k: int, actions: str, local_policy: np.ndarray | None, value: np.ndarray, s_g: int, counts: np.ndarray
) -> np.ndarray:
    """Q(s_g, c; a_g, item) for a value float64[n_sg, n_c], float64[n_ag, n_items]."""
    return ActionFieldBackup(game, k, actions, local_policy, counts).q_of_choices(s_g, value)
