"""What the learning kernels take: a game's tables, what is looked at and by whom, the rule, the runs and their records.

Every field is a scalar of one type or an array of one dtype, so that a kernel has one signature: whole numbers are
`int`, the others `float`, and arrays are C-ordered.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Whom an agent sees: everyone and itself, everyone but itself, or its neighbours in the graph.
EVERYONE = 0
OTHERS = 1
NEIGHBOURS = 2

# Weights of replayed transitions: of all actions of the others, or of the field values that these made.
PRODUCT = 0
MARGINAL = 1

# Sums over replayed steps: steps, mean weight, mean squared weight, share of weights clipped, mean excess over the clip, mean
# weighted reward, its square, steps left unweighted for a small effective sample.
RATIO_SUMS = 8


class Scene(NamedTuple):
    """The game. Each axis n_f is the number of the environment's field values, or 1 where the table has no such axis."""

    P_g: np.ndarray  # float64[n_sg, n_f, n_ag, n_sg]
    P_l: np.ndarray  # float64[n_sg, n_f, n_sl, n_al, n_sl]
    r_g: np.ndarray  # float64[n_sg, n_f, n_ag]
    r_l: np.ndarray  # float64[n_sg, n_f, n_sl, n_al]
    rho_g: np.ndarray  # float64[n_sg]
    rho_l: np.ndarray  # float64[n_sl]


class Lens(NamedTuple):
    """How a histogram of states or actions becomes one field value; a lens of no features has the one value 0."""

    of_actions: int  # 1: of actions, 0: of states
    weights: np.ndarray  # float64[D, n_x]
    edges: np.ndarray  # float64[D, E], increasing, padded with inf; lowered by what rounding may take from a mean
    n_values: np.ndarray  # int64[D], one more than the edges of a feature
    neutral: int  # the value where there is nobody to see


class Graph(NamedTuple):
    """Whom an agent sees. `indptr` and `indices` are read for NEIGHBOURS alone."""

    kind: int  # EVERYONE, OTHERS or NEIGHBOURS
    indptr: np.ndarray  # int64[n + 1]
    indices: np.ndarray  # int32[nnz]


class Drift(NamedTuple):
    """How replayed transitions are weighed for others who play other policies now than when these were stored.

    Totals are sums of `units` over agents. Field values are intervals of them: those of the environment's field over all n agents,
    those of the observation lens over the n − 1 others. Where a lens does not look at actions there is one value, of all totals.
    """

    form: int  # PRODUCT or MARGINAL
    clip: float  # largest weight
    least_ess: float  # effective share of the sample below which transitions are not weighed
    units: np.ndarray  # int64[n_al], whole weights of the actions above the lowest
    whole_value: np.ndarray  # int64[n·max(units) + 1], the environment's field value of a total of all agents
    whole_low: np.ndarray  # int64[n_f], first total of each value
    whole_high: np.ndarray  # int64[n_f], last total
    others_value: np.ndarray  # int64[(n − 1)·max(units) + 1], value seen of a total of the others
    others_low: np.ndarray  # int64[n_b]
    others_high: np.ndarray  # int64[n_b]


class Rule(NamedTuple):
    """How agents learn and explore. What is learned with follows from the tables that a `Population` has."""

    alpha: float
    alpha_power: float  # step alpha·visits**(−alpha_power) of the cell's visits, from 1; needs `visits` unless it is 0
    gamma: float
    temperature: float  # of the Boltzmann law; 0 is greedy
    epsilon_start: float
    epsilon_end: float
    epsilon_steps: int  # epsilon is linear over so many steps, then constant
    actor_alpha: float  # step of the actor, where there is one
    inner: int  # rounds in which the mean action answers itself before an observation; 0: the last executed actions
    team: int  # 1: everyone receives r_g + the mean of r_l; 0: its own r_l + r_g
    reward_at_seen: int  # 1: r_l at the observed field value; only where both lenses are the same
    batch: int  # replayed transitions per table and step, or past steps if by_step; 0: the step's own transitions
    by_step: int  # 1: replay past steps, with the transitions of all agents
    index_executed: (
        int  # 1: a transition updates the row of the mean that was executed in it, not of the one seen before it
    )
    target_every: int  # copy the tables to the target after every so many steps; 0: never
    target_tau: float  # otherwise move the target towards the tables by this share each step
    learning: int  # 0: play on with the tables as they are
    global_learns: int  # 1: by its own table, with the same rule from the system reward; 0: by `global_law`
    global_law: np.ndarray  # float64[n_sg, n_f or 1, n_ag]


class Population(NamedTuple):
    """The runs, one per row: all that the next step needs but its number. Absent parts have size 0 after n_runs.

    An observation is ((s_g·n_sl) + s)·B + b, with b one of the B values of the observation lens.
    """

    run: np.ndarray  # int64[n_runs], number of the run in the random streams
    s_g: np.ndarray  # int64[n_runs]
    states: np.ndarray  # int32[n_runs, n]
    actions: np.ndarray  # int32[n_runs, n], executed last
    seen: np.ndarray  # int32[n_runs, n], current observation
    alive: np.ndarray  # uint8[n_runs, n], or [n_runs, 0]: all are. Those that are not neither act, move nor count
    q: np.ndarray  # float64[n_runs, n_tables, n_o, n_al], n_tables = n or 1 (shared)
    target: np.ndarray  # float64 like q, or [n_runs, 0, 0, 0]: the bootstrap reads q itself
    theta: np.ndarray  # float64 like q, or [n_runs, 0, 0, 0]: the law comes from q (MF-Q), otherwise from theta (MF-AC)
    visits: np.ndarray  # int64 like q, or [n_runs, 0, 0, 0]
    mass: np.ndarray  # float64 like q, weights that a cell has met, or [n_runs, 0, 0, 0]: cells are not self-normalised
    q_global: np.ndarray  # float64[n_runs, n_sg, n_f or 1, n_ag], or [n_runs, 0, 0, 0]
    visits_global: np.ndarray  # int64 like q_global, or [n_runs, 0, 0, 0]
    ring_seen: np.ndarray  # int32[n_runs, capacity, n], the ring of past transitions, or [n_runs, 0, 0]
    ring_action: np.ndarray  # int32[n_runs, capacity, n]
    ring_reward: np.ndarray  # float64[n_runs, capacity, n]
    ring_next: np.ndarray  # int32[n_runs, capacity, n]
    ring_acted: np.ndarray  # int32[n_runs, capacity, n], observation acted on, or [n_runs, 0, 0]: `ring_seen` is that
    ring_log_law: np.ndarray  # float64[n_runs, capacity, n], log probability of what the others did, or [n_runs, 0, 0]
    ring_head: np.ndarray  # int64[n_runs], place that is written next
    ring_filled: np.ndarray  # int64[n_runs]
    ratio_means: np.ndarray  # float64[n_runs, 3]: replayed steps, and recent means of the weights and of their squares


class Records(NamedTuple):
    """Means over `every` steps at a time; point p holds the steps from p·every. The last point may hold fewer.

    The weight of an agent is that of the observation lens' first feature at its action (or state, before the step);
    0 for a lens without features.
    """

    every: int
    reward: np.ndarray  # float64[n_runs, n_points], r_g + the mean of r_l
    weight: np.ndarray  # float64[n_runs, n_points], of the agents' mean weight
    abs_weight: np.ndarray  # float64[n_runs, n_points], of its absolute value
    ratios: (
        np.ndarray
    )  # float64[n_runs, n_points, RATIO_SUMS], sums over the replayed steps of a point, or [n_runs, 0, RATIO_SUMS]


class Tables(NamedTuple):
    """The agents' tables of one run; absent ones have size 0."""

    q: np.ndarray  # float64[n_tables, n_o, n_al]
    target: np.ndarray  # float64[n_tables, n_o, n_al]
    theta: np.ndarray  # float64[n_tables, n_o, n_al]
    visits: np.ndarray  # int64[n_tables, n_o, n_al]
    mass: np.ndarray  # float64[n_tables, n_o, n_al]


class Ring(NamedTuple):
    """The past transitions of one run."""

    seen: np.ndarray  # int32[capacity, n]
    action: np.ndarray  # int32[capacity, n]
    reward: np.ndarray  # float64[capacity, n]
    next: np.ndarray  # int32[capacity, n]
    acted: np.ndarray  # int32[capacity, n] or int32[0, 0]
    log_law: np.ndarray  # float64[capacity, n] or float64[0, 0]
