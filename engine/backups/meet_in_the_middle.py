"""Exact Bellman backups over joint actions by meeting in the middle: tables, sweeps. The plan is made in `splits`."""

from __future__ import annotations

import functools
import itertools
import math

import numba
import numpy as np
from threadpoolctl import ThreadpoolController

from ...kernels.bellman import joint as joint_kernels
from ...kernels.bellman import joint_policy as policy_kernels
from ...kernels.expectation import meet_in_the_middle as kernels
from ...kernels.lattice import fill_successors, fill_sums, lattice_size, lattice_sizes, rank_counts
from ..action_classes import list_counts
from .global_tables import MANY, GlobalTables, Improvement, RoundingTerms
from .row_options import RowOptions, make_row_options
from .splits import SplitPlan, members, plan_splits

EPSILON = float(np.finfo(np.float64).eps)


@functools.cache
def _blas() -> ThreadpoolController:
    """The BLAS libraries of this process, looked up once: that takes longer than a small sweep."""
    return ThreadpoolController()


class MeetInTheMiddle:
    """Exact backups over the joint actions of k agents.

    Parameters
    ----------
    P_g, r_g, gamma : tables of the global agent
    P_l : float64[n_sg, n_sl, n_al, n_sl]
    r_l : float64[n_sg, n_sl, n_al]
    k : int
    actions : "joint" or "shared"
    plan : from `plan_splits`
    row_class : int64[n_c], optional    serve row g of the tables at the count vectors of class g mod n_classes alone
    n_classes : int

    With classes, `sweep` and `greedy` write nothing meaningful elsewhere, and policies cannot be followed.
    """

    method = "meet in the middle"

    def __init__(
        self, P_g, P_l, r_g, r_l, gamma: float, k: int, actions: str, plan: SplitPlan | None = None,
        row_class: np.ndarray | None = None, n_classes: int = 1,
    ):  # fmt: skip
        self._row_class, self._n_classes = row_class, n_classes
        self.P_g, self.r_g, self.gamma, self.k = P_g, r_g, gamma, k
        self.tables = GlobalTables(P_g, r_g, gamma)
        n_sg, n_sl, n_al = P_l.shape[:3]
        self.n_sl = n_sl
        self.plan = plan or plan_splits(n_sg, k, n_sl, n_al, actions)
        self.options: RowOptions = make_row_options(k, n_al, actions)
        self.sizes = lattice_sizes(k, n_sl)
        self.counts = list_counts(k, n_sl)
        self._build_group_laws(P_l, r_l / k)
        self._build_sum_ranks()
        self._build_tasks()

    # Tables.

    def _build_group_laws(self, P_l: np.ndarray, r_l: np.ndarray) -> None:
        n_sg = P_l.shape[0]
        self.starts: dict[tuple[int, int], np.ndarray] = {}
        self.law_offset: dict[tuple[int, int, int], int] = {}
        self.reward_offset: dict[tuple[int, int, int], int] = {}
        n_laws = n_rewards = 0
        for group, levels in self.plan.levels.items():
            for m in levels:
                start = self._block_start(group, m)
                n_z = int(start[-1, 0])
                self.starts[group, m] = start
                for s_g in range(n_sg):
                    self.law_offset[group, m, s_g] = n_laws
                    self.reward_offset[group, m, s_g] = n_rewards
                    n_laws += n_z * lattice_size(m, self.n_sl)
                    n_rewards += n_z
        self.laws = np.empty(n_laws)
        self.rewards = np.empty(n_rewards)
        successors = []
        for m in range(self.k):
            successor = np.empty((lattice_size(m, self.n_sl), self.n_sl), dtype=np.int32)
            fill_successors(m, self.sizes, successor)
            successors.append(successor)
        for group, levels in self.plan.levels.items():
            inside = members(group, self.n_sl)
            for m in levels:
                if m == 0:
                    for s_g in range(n_sg):
                        laws, rewards = self._group_tables(group, 0, s_g)
                        laws[:], rewards[:] = 1.0, 0.0
                    continue
                parent, category = self._parents(group, m)
                for s_g in range(n_sg):
                    kernels.grow_group_laws(
                        *self._group_tables(group, m - 1, s_g),
                        parent,
                        category,
                        np.ascontiguousarray(P_l[s_g, inside]),
                        np.ascontiguousarray(r_l[s_g, inside]),
                        successors[m - 1],
                        *self._group_tables(group, m, s_g),
                    )

    def _block_start(self, group: int, m: int) -> np.ndarray:
        n_states = len(members(group, self.n_sl))
        start = np.zeros((lattice_size(m, n_states) + 1, n_states), dtype=np.int64)
        if n_states:
            kernels.fill_block_starts(m, self.options.n_options, start)
        else:
            start = np.array([[0], [1]], dtype=np.int64)
        return start

    def _group_tables(self, group: int, m: int, s_g: int) -> tuple[np.ndarray, np.ndarray]:
        n_z, n_next = int(self.starts[group, m][-1, 0]), lattice_size(m, self.n_sl)
        law, reward = self.law_offset[group, m, s_g], self.reward_offset[group, m, s_g]
        return self.laws[law : law + n_z * n_next].reshape(n_z, n_next), self.rewards[reward : reward + n_z]

    def _parents(self, group: int, m: int) -> tuple[np.ndarray, np.ndarray]:
        start = self.starts[group, m]
        parent = np.empty(int(start[-1, 0]), dtype=np.int64)
        category = np.empty((int(start[-1, 0]), 2), dtype=np.int64)
        options = self.options
        kernels.fill_group_parents(
            m,
            self.sizes,
            options.n_options,
            options.row_offset,
            options.row_parent,
            options.row_action,
            start,
            self.starts[group, m - 1],
            parent,
            category,
        )
        return parent, category

    def _build_sum_ranks(self) -> None:
        served = {
            int(self.counts[c, members(group, self.n_sl)].sum())
            for group in np.unique(self.plan.first_group)
            for c in np.flatnonzero(self.plan.first_group == group)
        }
        self.sum_offset: dict[int, int] = {}
        parts, offset = [], 0
        for m in sorted(served):
            first, second = list_counts(m, self.n_sl), list_counts(self.k - m, self.n_sl)
            ranks = np.empty((first.shape[0], second.shape[0]), dtype=np.int32)
            fill_sums(first, second, self.sizes, ranks)
            self.sum_offset[m] = offset
            parts.append(ranks.ravel())
            offset += ranks.size
        self.sum_rank = np.concatenate(parts)

    def _build_tasks(self) -> None:
        n_sg = self.r_g.shape[0]
        everything = (1 << self.n_sl) - 1
        blocks: dict[tuple[int, int, int], list[tuple[int, int, int]]] = {}
        for c, counts in enumerate(self.counts):
            group = int(self.plan.first_group[c])
            inside, outside = members(group, self.n_sl), members(everything ^ group, self.n_sl)
            m = int(counts[inside].sum())
            first = rank_counts(np.ascontiguousarray(counts[inside]), self.sizes)
            second = rank_counts(np.ascontiguousarray(counts[outside]), self.sizes) if outside else 0
            start = self.starts[everything ^ group, self.k - m]
            blocks.setdefault((group, m, first), []).append((int(start[second, 0]), int(start[second + 1, 0]), c))
        segments: list[tuple[int, int, int]] = []
        tasks = []
        for (group, m, first), runs in blocks.items():
            n_first, n_second = lattice_size(m, self.n_sl), lattice_size(self.k - m, self.n_sl)
            other = everything ^ group
            row, stop = (int(x) for x in self.starts[group, m][first : first + 2, 0])
            for row_class, own in self._by_class(runs):
                begin = len(segments)
                segments.extend(sorted(own))
                tasks += [
                    (
                        s_g,
                        n_first,
                        n_second,
                        stop - row,
                        self.law_offset[group, m, s_g] + row * n_first,
                        self.reward_offset[group, m, s_g] + row,
                        self.law_offset[other, self.k - m, s_g],
                        self.reward_offset[other, self.k - m, s_g],
                        self.sum_offset[m],
                        begin,
                        len(segments),
                        group,
                    )
                    for s_g in range(row_class, n_sg, self._n_classes)
                ]
        self.segments = np.array(segments, dtype=np.int64).reshape(-1, 3)
        self.tasks = np.array(tasks, dtype=np.int64)
        widths = self.segments[:, 1] - self.segments[:, 0]
        columns = np.array([widths[t[9] : t[10]].sum() for t in self.tasks], dtype=np.float64)
        n_ag = self.r_g.shape[1]
        rows, next_first, next_second = (self.tasks[:, i].astype(np.float64) for i in (3, 1, 2))
        self.task_cost = n_ag * rows * next_second * (next_first + columns) + 1e3
        self.work_size = max(int(joint_kernels.work_size(n_ag, task)) for task in self.tasks)
        self.cell_task = np.zeros((n_sg, self.counts.shape[0]), dtype=np.int64)
        for i, task in enumerate(self.tasks):
            self.cell_task[task[0], self.segments[task[9] : task[10], 2]] = i
        self._own = np.argsort(-self.task_cost, kind="stable")
        self._schedules: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def _by_class(self, runs: list[tuple[int, int, int]]) -> list[tuple[int, list[tuple[int, int, int]]]]:
        """Runs of second-group actions by the class of the count vector that they serve."""
        if self._row_class is None:
            return [(0, runs)]
        own: dict[int, list[tuple[int, int, int]]] = {}
        for run in runs:
            own.setdefault(int(self._row_class[run[2]]), []).append(run)
        return sorted(own.items())

    def _schedule(self, n_workers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Deal the tasks to the workers, longest first to the least loaded; with scratch for each worker."""
        if n_workers not in self._schedules:
            loads = [0.0] * n_workers
            dealt: list[list[int]] = [[] for _ in range(n_workers)]
            for task in self._own:
                worker = loads.index(min(loads))
                dealt[worker].append(int(task))
                loads[worker] += float(self.task_cost[task])
            start = np.concatenate([[0], np.cumsum([len(d) for d in dealt])]).astype(np.int64)
            order = np.array(list(itertools.chain.from_iterable(dealt)), dtype=np.int64)
            self._schedules[n_workers] = order, start, np.empty((n_workers, self.work_size))
        return self._schedules[n_workers]

    # Backups.

    @property
    def work(self) -> float:
        """Multiplications of a sweep."""
        return float(self.task_cost.sum())

    @property
    def policy_bytes(self) -> int:
        """Memory that following a policy takes."""
        return 8 * self.r_g.shape[0] * self.counts.shape[0] ** 2

    @property
    def policy_work(self) -> float:
        """Multiplications of a sweep that follows a policy, its tables' share included."""
        n_sg, n_c = self.r_g.shape[0], self.counts.shape[0]
        next_pairs = (self.tasks[self.cell_task[0], 1] * self.tasks[self.cell_task[0], 2]).sum()
        return float(n_sg * (n_c**2 + next_pairs / 8))

    def keep(self, kept: np.ndarray) -> None:
        """Go over these global actions alone, bool[n_sg, n_ag]; the others must not be optimal anywhere in their s_g."""
        self.tables = GlobalTables(self.P_g, self.r_g, self.gamma, kept)

    def restrict(self, part: int, n_parts: int) -> None:
        """Sweep and improve with one of n_parts parts of the tasks alone; -inf where the part has none."""
        self._own = np.argsort(-self.task_cost, kind="stable")[part::n_parts]
        self._schedules = {}

    def _law_tables(self) -> tuple:
        order, start, work = self._schedule(numba.get_num_threads())
        return self.laws, self.rewards, self.sum_rank, self.tasks, self.segments, order, start, work

    def sweep(self, value: np.ndarray, out_value: np.ndarray) -> None:
        """Write TV: one exact Bellman backup of `value`, float64[n_sg, n_c]."""
        if self._own.size < self.tasks.shape[0]:
            out_value[:] = -np.inf
        with _blas().limit(limits=1, user_api="blas"):
            joint_kernels.sweep_joint(self.tables.mixed(value), self.tables.n_kept, *self._law_tables(), out_value)

    def improve(self, value: np.ndarray, per_action: bool) -> Improvement:
        """TV with the choices that attain it: a_g, the row in the first group's block, the second group's action."""
        n_sg, n_ag = self.r_g.shape
        n_c = value.shape[1]
        backed_up = np.full((n_sg, n_c), -np.inf)
        choice = np.zeros((n_sg, n_c, 3), dtype=np.int64)
        action_value = np.full((n_sg, self.tables.width if per_action else 0, n_c if per_action else 0), -np.inf)
        with _blas().limit(limits=1, user_api="blas"):
            policy_kernels.improve_joint(
                self.tables.mixed(value), self.tables.n_kept, *self._law_tables(), backed_up, choice, action_value
            )
        choice[:, :, 0] = self.tables.actions(choice[:, :, 0])
        if per_action:
            action_value = self.tables.spread(action_value, n_ag)
        return Improvement(value=backed_up, choice=choice, action_value=action_value)

    def follow(self, choice: np.ndarray, previous: FollowedLaws | None = None) -> FollowedLaws:
        """A policy from `improve`, ready to be swept; `previous`, which is used up, lends the laws that are the same."""
        return FollowedLaws(self, choice, previous)

    def greedy(
        self, value: np.ndarray, backed_up: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """TV, unless it is known, with its greedy joint action.

        Value, a_g int32[n_sg, n_c], rank of z within its count vector int64[n_sg, n_c].
        """
        if backed_up is None:
            backed_up = np.empty((self.r_g.shape[0], value.shape[1]))
            self.sweep(value, backed_up)
        action = np.zeros(backed_up.shape, dtype=np.int32)
        item = np.zeros(backed_up.shape, dtype=np.int64)
        *tables, work = self._law_tables()
        with _blas().limit(limits=1, user_api="blas"):
            joint_kernels.greedy_joint(
                self.tables.mixed(value), self.tables.n_kept, *tables, backed_up, 2 * self.rounding_error(value),
                self.counts, self.options.n_options, work, action, item,
            )  # fmt: skip
        return backed_up, self.tables.actions(action).astype(np.int32), item

    @functools.cached_property
    def rounding_terms(self) -> RoundingTerms:
        """Rounding of a sweep: all terms are sums of non-negative weights that add up to one."""
        terms = 2 * self.k + 2 * math.log2(1 + self.counts.shape[0]) + self.P_g.shape[2] + 8
        return RoundingTerms(
            relative=terms * EPSILON, r_g=float(np.abs(self.r_g).max()), r_l=float(np.abs(self.rewards).max())
        )

    def rounding_error(self, value: np.ndarray) -> float:
        """Bound on the rounding error of one sweep."""
        return self.rounding_terms.error(value)


class FollowedLaws:
    """A policy over joint actions, as one law of the next counts per (s_g, count vector)."""

    def __init__(self, backup: MeetInTheMiddle, choice: np.ndarray, previous: FollowedLaws | None):
        n_sg, n_c = choice.shape[:2]
        self.choice = choice
        if previous is None:
            self.laws, self.rewards = np.empty((n_sg, n_c, n_c)), np.empty((n_sg, n_c))
            changed = np.ones((n_sg, n_c), dtype=bool)
        else:
            self.laws, self.rewards = previous.laws, previous.rewards
            changed = (choice[:, :, 1:] != previous.choice[:, :, 1:]).any(axis=2)
        policy_kernels.fill_policy_laws(
            np.ascontiguousarray(np.argwhere(changed)), backup.cell_task, choice, backup.tasks, backup.laws,
            backup.rewards, backup.sum_rank, self.laws, self.rewards,
        )  # fmt: skip
        played = np.zeros(backup.r_g.shape, dtype=bool)
        np.put_along_axis(played, choice[:, :, 0], True, axis=1)
        self._tables = GlobalTables(backup.P_g, backup.r_g, backup.gamma, played)
        self._position = self._tables.positions(choice[:, :, 0])
        self._no_rewards = np.zeros((n_sg, n_c))

    def apply(self, value: np.ndarray, *, rewards: bool = True) -> np.ndarray:
        """One sweep of the policy, float64[n_sg, n_c]; without rewards its linear part."""
        out = np.empty(self.rewards.shape)
        many = self.laws.size >= MANY
        follow = policy_kernels.follow_many_next_laws if many else policy_kernels.follow_next_laws
        follow(
            self._tables.mixed(value, rewards=rewards), self._position, self.laws,
            self.rewards if rewards else self._no_rewards, out,
        )  # fmt: skip
        return out
