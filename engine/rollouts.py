"""Runs of a policy with n agents: sizes first, then the arrays of the rollout kernels, then one thread per run."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import Protocol

import numba
import numpy as np

from ..kernels import execution
from ..kernels.lattice import enumerate_counts, fill_successors, lattice_size, lattice_sizes
from ..kernels.rollout import (
    AgentRecord,
    AgentRollout,
    CountRollout,
    FieldBins,
    Record,
    Schedule,
    advance_agent_runs,
    advance_count_runs,
    draw_starts,
    place_agents,
)
from .backups.selection import TooLargeError, readable_bytes
from .game import Game
from .lifting import depends_on_field
from .policy import SubsamplePolicy

Progress = Callable[[int, int], None]

N_BATCHES = 32
BURN_IN_SHARE = 10
"""One step in so many is left out of long-run figures, at the beginning."""

# The laws of all populations are tabulated if that is quick and the table stays near the processor. The rule looks at
# nothing but the game, the policy and n: a run does not depend on how many steps or runs were asked for.
MAX_TABLE_BYTES = 2**24
MAX_TABLE_PRODUCTS = 10**9

# Between two looks at the clock and the keyboard, per thread.
_CHUNK_S = 0.05
_POLL_S = 0.1
MOST_JOBS = 1000


class Runs(Protocol):
    """Runs that stand somewhere between their first and their last step."""

    record: Record
    schedule: Schedule
    step_s: float

    def advance(self, rows: slice, first_step: int, last_step: int) -> None: ...


def schedule_of(steps: int, trace_points: int) -> Schedule:
    """Burn-in, batches and the stride of the trace for a number of steps."""
    burn_in = steps // BURN_IN_SHARE
    return Schedule(
        n_steps=steps,
        burn_in=burn_in,
        n_batches=min(N_BATCHES, steps - burn_in),
        stride=-(-steps // trace_points),
    )


def n_trace_points(schedule: Schedule) -> int:
    """Points of the trace; the last one may stand for fewer steps."""
    return -(-schedule.n_steps // schedule.stride)


def make_record(game: Game, runs: int, first_run: int, schedule: Schedule) -> Record:
    """The record of runs before their first step, without a state."""
    points = n_trace_points(schedule)
    return Record(
        run=np.arange(first_run, first_run + runs, dtype=np.int64),
        global_state=np.zeros(runs, np.int64),
        population=np.zeros((runs, game.n_sl), np.int64),
        weight=np.ones(runs),
        discounted=np.zeros(runs),
        batch_rewards=np.zeros((runs, schedule.n_batches)),
        action_uses=np.zeros((runs, game.n_sg, game.n_ag), np.int64),
        population_sums=np.zeros((runs, game.n_sl)),
        trace_rewards=np.zeros((runs, points)),
        trace_discounted=np.zeros((runs, points)),
        trace_global_state=np.zeros((runs, points), np.int32),
        trace_global_action=np.zeros((runs, points), np.int32),
        trace_population=np.zeros((runs, points, game.n_sl), np.int64),
    )


def record_bytes(game: Game, runs: int, schedule: Schedule) -> int:
    """Size of a record, from sizes alone."""
    per_run = 8 * (4 + 2 * game.n_sl + schedule.n_batches + game.n_sg * game.n_ag)
    return runs * (per_run + n_trace_points(schedule) * (24 + 8 * game.n_sl))


def start_runs(game: Game, n: int, seed: np.uint64, record: Record, initial: tuple[int, np.ndarray] | None) -> None:
    """Set the initial states of a record: given, or drawn from the game's initial laws."""
    if initial is None:
        draw_starts(seed, record.run, n, game.rho_g, game.rho_l, game.dirichlet, record.global_state, record.population)
    else:
        record.global_state[:], record.population[:] = initial


def table_rows(game: Game, name: str) -> np.ndarray:
    """A table of a game by row (s_g, f), or by s_g where it does not depend on the field value."""
    table = game.with_field_axis(name)
    return table.reshape(-1, *table.shape[2:])


def field_bins(game: Game) -> FieldBins:
    """The field of a game as the rollouts read it; one without features where no table depends on it."""
    if not depends_on_field(game):
        return FieldBins(0, np.zeros((0, 1)), np.zeros((0, 1)), np.zeros(0, np.int64))
    field = game.field
    assert field is not None
    return FieldBins(int(field.of == "actions"), np.array(field.weights), np.array(field.edge_table), field.n_bins)


def acts_first(game: Game) -> bool:
    """Whether all agents have to act before a step's rewards and next states can be told."""
    return depends_on_field(game) and game.field is not None and game.field.of == "actions"


def _n_f_of_locals(game: Game) -> int:
    """Field values that the local tables depend on."""
    return max(game.with_field_axis(name).shape[1] for name in ("P_l", "r_l"))


def _n_others(game: Game, policy: SubsamplePolicy) -> int:
    return lattice_size(policy.k_local - 1, game.n_sl)


def _n_means(game: Game, drawn: bool) -> int:
    """Entries of a row that is averaged: the laws of the actions, or those of the next states and the mean reward."""
    return game.n_al if drawn else game.n_sl + 1


def tabulates(game: Game, policy: SubsamplePolicy, n: int, drawn: bool) -> bool:
    """Whether the means of all populations are computed beforehand."""
    n_others = _n_others(game, policy)
    n_means = game.n_sg * lattice_size(n, game.n_sl) * game.n_sl * _n_means(game, drawn)
    return n_others > 1 and 8 * n_means <= MAX_TABLE_BYTES and n_means * n_others <= MAX_TABLE_PRODUCTS


def count_runs_bytes(game: Game, policy: SubsamplePolicy, n: int, drawn: bool, threads: int) -> int:
    """Memory of the lumped rollout besides its record, from sizes alone."""
    n_others, n_means = _n_others(game, policy), _n_means(game, drawn)
    rows = 8 * game.n_sg * game.n_sl * n_means * n_others * (1 if drawn else _n_f_of_locals(game))
    samples = 16 * game.n_sl * n_others + 32 * n_others * threads
    table = 0
    if tabulates(game, policy, n, drawn):
        table = 8 * lattice_size(n, game.n_sl) * game.n_sl * (1 + game.n_sg * n_means)
    return rows + samples + table


def agent_runs_bytes(n: int, runs: int, traced: int, schedule: Schedule, threads: int) -> int:
    """Memory of the rollout agent by agent besides its record, from sizes alone."""
    return 4 * runs * (n + traced * n_trace_points(schedule)) + 12 * n * threads


def check_size(needed: int, memory_bytes: int, lower: str) -> None:
    """Refuse what does not fit, with a TooLargeError of one line."""
    if needed > memory_bytes:
        found, limit = readable_bytes(needed), readable_bytes(memory_bytes)
        raise TooLargeError(f"deployment: needs {found}, expected at most {limit}; lower {lower}")


class CountRuns:
    """Runs of the lumped law.

    Parameters
    ----------
    game, policy, n
    seed : uint64
    drawn : bool   draw the agents' actions and count their rewards, instead of taking the mean of both
    schedule : Schedule
    record : Record   at its start
    """

    def __init__(
        self,
        game: Game,
        policy: SubsamplePolicy,
        n: int,
        *,
        seed: np.uint64,
        drawn: bool,
        schedule: Schedule,
        record: Record,
    ) -> None:
        self.schedule, self.record = schedule, record
        self._scalars = (seed, n, policy.k_global, game.gamma, drawn)
        self._space = execution.make_sample_space(policy.k_local - 1, game.n_sl)
        rows = arrange_rows(game, policy, drawn)
        tabulated = tabulates(game, policy, n, drawn)
        self._rollout = CountRollout(
            P_g=table_rows(game, "P_g"),
            P_l=table_rows(game, "P_l"),
            r_g=table_rows(game, "r_g"),
            r_l=table_rows(game, "r_l"),
            global_action=policy.global_action,
            rows=rows,
            tabulated=self._tabulate(game, rows, n, tabulated),
            field=field_bins(game),
            sizes=lattice_sizes(max(policy.k_global, n if tabulated else 1), game.n_sl),
        )
        # 0.2 ns a product and 1 µs for the draws, on the machine where this was written.
        self.step_s = 1e-6 * game.n_sl + (0.0 if tabulated else 2e-10 * rows[0].size)

    def _tabulate(self, game: Game, rows: np.ndarray, n: int, tabulated: bool) -> np.ndarray:
        n_rows, n_sl, n_means, n_others = rows.shape
        if n_others == 1:
            return rows.reshape(n_rows, 1, n_sl, n_means)
        if not tabulated:
            return np.empty((n_rows, 0, n_sl, n_means))
        populations = np.empty((lattice_size(n, n_sl), n_sl), np.int64)
        enumerate_counts(n, populations)
        table = np.empty((game.n_sg, populations.shape[0], n_sl, n_means))
        n_f = n_rows // game.n_sg
        if n_f == 1:
            execution.tabulate_local_means(rows, populations, self._space, table)
            return table
        assert game.field is not None
        values = game.field.value_of(populations)
        for f in np.unique(values):
            places = np.flatnonzero(values == f)
            part = np.empty((game.n_sg, places.size, n_sl, n_means))
            execution.tabulate_local_means(np.ascontiguousarray(rows[f::n_f]), populations[places], self._space, part)
            table[:, places] = part
        return table

    def advance(self, rows: slice, first_step: int, last_step: int) -> None:
        """Advance some runs, which stand before `first_step`, until they stand before `last_step`."""
        record = Record._make(array[rows] for array in self.record)
        advance_count_runs(first_step, last_step, *self._scalars, self._rollout, self._space, self.schedule, record)


def arrange_rows(game: Game, policy: SubsamplePolicy, drawn: bool) -> np.ndarray:
    """The rows that `lumped_local_means` averages, float64[n_rows, n_sl, n_means, |Λ(k_local − 1, n_sl)|].

    Rows are those of s_g, or of (s_g, f) where what comes of an action depends on the field value.
    """
    n_others = _n_others(game, policy)
    successors = np.empty((n_others, game.n_sl), np.int32)
    fill_successors(policy.k_local - 1, lattice_sizes(policy.k_local, game.n_sl), successors)
    n_f = 1 if drawn else _n_f_of_locals(game)
    rows = np.empty((game.n_sg * n_f, game.n_sl, _n_means(game, drawn), n_others))
    if drawn:
        execution.arrange_local_laws(policy.local_action, successors, rows)
        return rows
    P_l, r_l = game.with_field_axis("P_l"), game.with_field_axis("r_l")
    for f in range(n_f):
        tables = [np.ascontiguousarray(table[:, f if table.shape[1] > 1 else 0]) for table in (P_l, r_l)]
        part = rows if n_f == 1 else np.empty((game.n_sg, *rows.shape[1:]))
        for table in tables:
            # As those of a game are: another type would compile the kernel once more.
            table.setflags(write=False)
        execution.arrange_local_outcomes(policy.local_action, *tables, successors, part)
        if n_f > 1:
            rows[f::n_f] = part
    return rows


class AgentRuns:
    """Runs agent by agent; parameters as in `CountRuns`, and how many agents to trace."""

    def __init__(
        self,
        game: Game,
        policy: SubsamplePolicy,
        n: int,
        *,
        seed: np.uint64,
        traced: int,
        schedule: Schedule,
        record: Record,
    ) -> None:
        self.schedule, self.record = schedule, record
        self._scalars = (seed, policy.k_global, policy.k_local, game.gamma)
        runs = record.run.shape[0]
        self.agents = AgentRecord(
            state=np.empty((runs, n), np.int32), trace=np.zeros((runs, n_trace_points(schedule), traced), np.int32)
        )
        self._rollout = AgentRollout(
            P_g=table_rows(game, "P_g"),
            P_l=table_rows(game, "P_l"),
            r_g=table_rows(game, "r_g"),
            r_l=table_rows(game, "r_l"),
            global_action=policy.global_action,
            local_action=policy.local_action,
            field=field_bins(game),
            sizes=lattice_sizes(policy.k, game.n_sl),
        )
        self.step_s = 1e-6 + 2e-8 * n * (policy.k_local + 4)

    def advance(self, rows: slice, first_step: int, last_step: int) -> None:
        """Advance some runs, which stand before `first_step`, until they stand before `last_step`."""
        record = Record._make(array[rows] for array in self.record)
        agents = AgentRecord._make(array[rows] for array in self.agents)
        if first_step == 0:
            place_agents(self._scalars[0], record, agents)
        advance_agent_runs(first_step, last_step, *self._scalars, self._rollout, self.schedule, record, agents)


def finish_runs(runs: Runs, progress: Progress | None = None, chunk_steps: int | None = None) -> None:
    """Advance every run to its end, on as many threads as numba may use.

    The kernels let go of the interpreter's lock and stop now and then, so that an interrupt from the keyboard or an
    exception from `progress` ends the work soon.

    Parameters
    ----------
    runs : Runs
    progress : function of (steps done, steps in all), of all runs together
    chunk_steps : int   steps between two stops; changes no result
    """
    n_runs, n_steps = runs.record.run.shape[0], runs.schedule.n_steps
    threads = min(numba.get_num_threads(), n_runs)
    chunk = chunk_steps or max(1, int(_CHUNK_S / runs.step_s))
    # Short runs go together: a call of a kernel takes 0.1 ms to unpack its arguments.
    together = min(max(1, chunk // n_steps), -(-n_runs // threads))
    done = [0] * n_runs
    stop = threading.Event()

    def finish(block: slice) -> None:
        for first in range(block.start, block.stop, together):
            rows = slice(first, min(first + together, block.stop))
            for first_step in range(0, n_steps, chunk):
                if stop.is_set():
                    return
                last_step = min(first_step + chunk, n_steps)
                runs.advance(rows, first_step, last_step)
                done[rows] = [last_step] * (rows.stop - rows.start)

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        # Not so many that looking after them takes longer than they do.
        size = together * -(-n_runs // (together * MOST_JOBS))
        blocks = [slice(first, min(first + size, n_runs)) for first in range(0, n_runs, size)]
        pending = {pool.submit(finish, rows) for rows in blocks}
        try:
            while pending:
                finished, pending = concurrent.futures.wait(
                    pending, timeout=_POLL_S, return_when=concurrent.futures.FIRST_EXCEPTION
                )
                for future in finished:
                    future.result()
                if progress is not None:
                    progress(sum(done), n_runs * n_steps)
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
