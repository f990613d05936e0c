"""Deployment: what a policy that sees k agents earns when n agents play it, by simulation."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numba
import numpy as np

from ..kernels.rollout import Record, Schedule
from ..kernels.streams import checked_seed
from .backups.selection import default_memory_bytes
from .game import Game, positive_integer
from .lifting import depends_on_field
from .policy import SubsamplePolicy
from .rollouts import (
    AgentRuns,
    CountRuns,
    Progress,
    acts_first,
    agent_runs_bytes,
    check_size,
    count_runs_bytes,
    finish_runs,
    make_record,
    n_trace_points,
    record_bytes,
    schedule_of,
    start_runs,
)
from .tabulation import shown
from .versions import library_versions

LEVELS = ("counts", "agents")
REWARDS = ("mean", "drawn")
CONFIDENCE = 0.95

MAX_AGENTS = 2**30
MAX_RUNS = 2**32
MAX_STEPS = 2**56
# Of the draws that one address of a stream has, half: agents may need a few more than they expect to.
MAX_DRAWS_PER_STEP = 2**32


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Deployment:
    """The runs of a policy with n agents. Arrays are read-only, with one row per run.

    Long-run figures leave out the first tenth of the steps as burn-in. Point i of the trace stands for the steps from
    `trace_step[i]` to the one before `trace_step[i + 1]`.

    Parameters
    ----------
    config : dict   n, k_global, k_local, steps, runs, first_run, seed, level, rewards, gamma, game, game_digest, …
    returns : float64[runs]   Σ_{t < steps} γ**t r_t
    batch_means : float64[runs, n_batches]   mean reward per step, over consecutive batches of steps
    action_shares : float64[runs, n_sg, n_ag]   share of the steps in each s_g that played each a_g; adds up to 1
    populations : float64[runs, n_sl]   mean share of the agents in each local state; adds up to 1
    trace_step : int64[n_points]   first step of each point
    trace_reward : float64[runs, n_points]   mean reward over the steps of a point
    trace_return : float64[runs, n_points]   discounted reward up to the last step of a point
    trace_global_state : int32[runs, n_points]   before the first step of a point
    trace_global_action : int32[runs, n_points]   in the first step of a point; −1 where an older file does not tell
    trace_population : int64[runs, n_points, n_sl]   before the first step of a point
    trace_agents : int32[runs, n_points, n_traced]   local states of the first agents, before the first step of a point
    truncation_bound : float   |Σ_{t >= steps} γ**t r_t| is at most this in every run
    wall_time_s : float   includes the compilation of the kernels, where they were not in the cache
    versions : dict   of kofn and of the libraries that computed this
    """

    config: dict[str, Any]
    returns: np.ndarray
    batch_means: np.ndarray
    action_shares: np.ndarray
    populations: np.ndarray
    trace_step: np.ndarray
    trace_reward: np.ndarray
    trace_return: np.ndarray
    trace_global_state: np.ndarray
    trace_global_action: np.ndarray
    trace_population: np.ndarray
    trace_agents: np.ndarray
    truncation_bound: float
    wall_time_s: float
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._freeze()

    @property
    def mean_return(self) -> float:
        """Mean over the runs of the discounted return of the first `steps` steps."""
        return float(self.returns.mean())

    @property
    def return_half_width(self) -> float:
        """Half width of the 95 % t interval of `mean_return` over the runs; NaN for one run."""
        return half_width_of(self.returns)

    @property
    def average_reward(self) -> float:
        """Mean reward per step after the burn-in, over all runs."""
        lengths = _batch_lengths(self.config["steps"] - self.config["burn_in"], self.batch_means.shape[1])
        return float((self.batch_means @ lengths).mean() / lengths.sum())

    @property
    def average_half_width(self) -> float:
        """Half width of the 95 % t interval of `average_reward`, from the batch means of all runs taken as independent.

        Too narrow if the chain forgets its state more slowly than a batch lasts; NaN for a single batch.
        """
        return half_width_of(self.batch_means)

    @property
    def occupancy(self) -> np.ndarray:
        """Share of the steps in each global state, float64[n_sg]."""
        return self.action_shares.sum(axis=2).mean(axis=0)

    @property
    def mean_population(self) -> np.ndarray:
        """Mean share of the agents in each local state, float64[n_sl]."""
        return self.populations.mean(axis=0)

    def __repr__(self) -> str:
        config = self.config
        return (
            f"Deployment({config['game'] or 'game'}, n={config['n']}, k_global={config['k_global']}, "
            f"k_local={config['k_local']}, steps={config['steps']}, runs={config['runs']}, "
            f"mean_return={self.mean_return:.6g} ± {self.return_half_width:.2g}, "
            f"average_reward={self.average_reward:.6g} ± {self.average_half_width:.2g})"
        )

    def __setstate__(self, state: dict) -> None:
        # Arrays come out of a pickle writeable.
        self.__dict__.update(state)
        self._freeze()

    def _freeze(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)


def _batch_lengths(steps: int, n_batches: int) -> np.ndarray:
    """Steps of each batch, int64[n_batches]: step t belongs to batch floor(t n_batches / steps)."""
    return np.diff(np.array([-(-i * steps // n_batches) for i in range(n_batches + 1)]))


def half_width_of(sample: np.ndarray, level: float = CONFIDENCE) -> float:
    """Half width of the t interval of the mean of independent draws, float64[n], at a confidence level; NaN for one draw."""
    if sample.size < 2:
        return math.nan
    # Imported here: it takes a tenth of a second, and most of what loads this module needs none of it.
    from scipy.special import stdtrit

    quantile = stdtrit(sample.size - 1, (1.0 + level) / 2.0)
    return float(quantile * sample.std(ddof=1) / math.sqrt(sample.size))


def deploy(
    game: Game,
    policy: SubsamplePolicy,
    n: int,
    *,
    steps: int,
    runs: int = 1,
    seed: int = 0,
    level: str = "counts",
    rewards: str | None = None,
    first_run: int = 0,
    initial: tuple[int, Sequence[int]] | None = None,
    trace_points: int = 1000,
    trace_agents: int = 0,
    memory_bytes: int | None = None,
    progress: Progress | None = None,
) -> Deployment:
    """Let n agents play a policy.

    The bits of a run depend on the game, the policy, n, the level, the rewards, the seed and the run's number alone,
    not on threads, on other runs, or on the number of steps: a longer run begins with the shorter one.

    Parameters
    ----------
    game : Game
    policy : SubsamplePolicy
    n : int           number of local agents, from the policy's larger k to 2**30
    steps : int
    runs : int        independent runs
    seed : int        0 to 2**64 - 1
    level : "counts" or "agents"
        "counts" draws how many agents do what, at a cost per step that does not grow with n; "agents" lets each agent
        draw its own sample and act, with n (k_local + 1) draws per step. The law of everything they share is the same.
    rewards : "mean" or "drawn"
        "mean" counts the mean reward given the global state, the global action and the counts of a step: same
        expectation, less noise. "drawn" counts the rewards of the actions drawn. Default: "mean" for counts; agents
        have "drawn" only, and so has a game with a field of actions, whose rewards depend on what all agents do.
    first_run : int   number of the first run, to add runs to earlier ones
    initial : (global_state, counts), optional
        Initial state of every run, counts adding up to n; by default drawn from the game's initial laws.
    trace_points : int   at most so many points per run
    trace_agents : int   with level "agents", how many agents the trace follows
    memory_bytes : int, optional   limit for tables; by default three quarters of the machine's memory
    progress : function of (steps done, steps in all) of all runs together, called now and then; may raise to stop

    Returns
    -------
    Deployment

    Raises
    ------
    ValueError      bad input, one line naming the field, what was found and what was expected
    TooLargeError   it does not fit the memory
    """
    began = time.perf_counter()
    policy.check_fits(game)
    _refuse_graph(game)
    n = _whole_number("n", n, 1, MAX_AGENTS)
    if policy.k > n:
        raise ValueError(
            f"n: found {n} agents, expected at least {policy.k}, as many as the policy looks at "
            f"(k_global = {policy.k_global}, k_local = {policy.k_local})"
        )
    steps = _whole_number("steps", steps, 1, MAX_STEPS)
    first_run = _whole_number("first_run", first_run, 0, MAX_RUNS - 1)
    runs = _whole_number("runs", runs, 1, MAX_RUNS - first_run)
    trace_points = positive_integer("trace_points", trace_points)
    trace_agents = _whole_number("trace_agents", trace_agents, 0, n)
    key = checked_seed(seed)
    drawn = _draws_rewards(game, level, rewards)
    if trace_agents and level != "agents":
        raise ValueError(f"trace_agents: found {trace_agents} with level {level!r}, expected 0, or level 'agents'")
    if level == "agents" and n * (policy.k_local + 1) + policy.k_global > MAX_DRAWS_PER_STEP:
        raise ValueError(f"n: found {n} with level 'agents', expected at most {MAX_DRAWS_PER_STEP} draws per step")
    start = None if initial is None else _checked_initial(initial, game, n)

    schedule = schedule_of(steps, trace_points)
    limit = default_memory_bytes() if memory_bytes is None else memory_bytes
    threads = min(numba.get_num_threads(), runs)
    needed = record_bytes(game, runs, schedule)
    if level == "agents":
        needed += agent_runs_bytes(n, runs, trace_agents, schedule, threads)
    else:
        needed += count_runs_bytes(game, policy, n, drawn, threads)
    check_size(needed, limit, "runs, trace_points or " + ("n" if level == "agents" else "k"))

    record = make_record(game, runs, first_run, schedule)
    start_runs(game, n, key, record, start)
    trace = np.empty((runs, n_trace_points(schedule), 0), np.int32)
    if level == "agents":
        agent_runs = AgentRuns(game, policy, n, seed=key, traced=trace_agents, schedule=schedule, record=record)
        trace = agent_runs.agents.trace
        finish_runs(agent_runs, progress)
    else:
        finish_runs(CountRuns(game, policy, n, seed=key, drawn=drawn, schedule=schedule, record=record), progress)

    config = {
        "game": game.name,
        "game_digest": game.digest(),
        "gamma": game.gamma,
        "k_global": policy.k_global,
        "k_local": policy.k_local,
        "n": n,
        "steps": steps,
        "runs": runs,
        "first_run": first_run,
        "seed": int(key),
        "level": level,
        "rewards": REWARDS[drawn],
        "burn_in": schedule.burn_in,
        "initial": None if start is None else [start[0], start[1].tolist()],
    }
    return _deployment(game, config, schedule, record, trace, began)


def _deployment(
    game: Game, config: dict[str, Any], schedule: Schedule, record: Record, trace_agents: np.ndarray, began: float
) -> Deployment:
    """Turn the sums of a record into means."""
    steps, counted = schedule.n_steps, schedule.n_steps - schedule.burn_in
    trace_step = np.arange(n_trace_points(schedule), dtype=np.int64) * schedule.stride
    return Deployment(
        config=config,
        returns=record.discounted,
        batch_means=record.batch_rewards / _batch_lengths(counted, schedule.n_batches),
        action_shares=record.action_uses / counted,
        populations=record.population_sums / (float(counted) * config["n"]),
        trace_step=trace_step,
        trace_reward=record.trace_rewards / np.diff(trace_step, append=steps),
        trace_return=record.trace_discounted,
        trace_global_state=record.trace_global_state,
        trace_global_action=record.trace_global_action,
        trace_population=record.trace_population,
        trace_agents=trace_agents,
        truncation_bound=_truncation_bound(game, steps),
        wall_time_s=time.perf_counter() - began,
        versions=library_versions(),
    )


def steps_until(game: Game, share: float = 1e-4) -> int:
    """Steps after which what is still to come is at most a share of the largest value."""
    return max(1, math.ceil(math.log(share) / math.log(game.gamma))) if game.gamma > 0.0 else 1


def largest_rewards(game: Game) -> np.ndarray:
    """Largest |r_g| + |r_l| in each global state, over all field values, float64[n_sg]."""
    return sum(np.abs(table).reshape(game.n_sg, -1).max(axis=1) for table in (game.r_g, game.r_l))


def _refuse_graph(game: Game) -> None:
    if game.neighbourhood is not None and depends_on_field(game):
        raise ValueError(
            "game: found a game on a graph, expected one where all agents share a field; agents of a policy for counts have no "
            "places on it"
        )


def _truncation_bound(game: Game, steps: int) -> float:
    largest = largest_rewards(game)
    return float(game.gamma**steps * largest.max() / (1.0 - game.gamma))


def _whole_number(name: str, value: Any, lowest: int, highest: int) -> int:
    number = 0 if lowest == 0 and value == 0 else positive_integer(name, value)
    if not lowest <= number <= highest:
        raise ValueError(f"{name}: found {number}, expected a whole number from {lowest} to {highest}")
    return number


def _draws_rewards(game: Game, level: str, rewards: str | None) -> bool:
    if level not in LEVELS:
        raise ValueError(f"level: found {shown(level)}, expected one of {LEVELS}")
    if rewards is None:
        return level == "agents" or acts_first(game)
    if rewards not in REWARDS:
        raise ValueError(f"rewards: found {shown(rewards)}, expected one of {REWARDS}")
    if level == "agents" and rewards == "mean":
        raise ValueError("rewards: found 'mean' with level 'agents', expected 'drawn': agents have drawn rewards only")
    if rewards == "mean" and acts_first(game):
        raise ValueError(
            "rewards: found 'mean' in a game with a field of actions, expected 'drawn': what an action earns depends on all of them"
        )
    return rewards == "drawn"


def _checked_initial(initial: Any, game: Game, n: int) -> tuple[int, np.ndarray]:
    try:
        global_state, counts = initial
        vector = np.asarray(counts)
    except (TypeError, ValueError):
        raise ValueError(f"initial: found {shown(initial)}, expected a pair (global_state, counts)") from None
    state = _whole_number("initial: global_state", global_state, 0, game.n_sg - 1)
    if vector.shape != (game.n_sl,) or vector.dtype.kind not in "iu" or (vector < 0).any() or int(vector.sum()) != n:
        raise ValueError(
            f"initial: found counts {shown(vector.tolist())}, "
            f"expected {game.n_sl} whole numbers >= 0 that add up to {n}"
        )
    return state, vector.astype(np.int64)
