"""What a learning run is asked for: checked once, stored with the result, compared when it is resumed."""

from __future__ import annotations

import dataclasses
import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...kernels.streams import checked_seed
from ..game import Game, positive_integer
from ..tabulation import shown

METHODS = ("mfq", "mfac", "iq")
ORDERS = ("synchronous", "sequential")
SEES = ("field", "actions", "states")
TABLES = ("shared", "own")
REWARDS = ("own", "team")
REWARD_AT = ("executed", "seen")
CORRECTIONS = ("none", "product", "marginal", "selfnorm")
REPLAY_BY = ("transition", "step")
INDEX = ("seen", "executed")
LEARN, UNIFORM = "learn", "uniform"

MAX_POINTS = 1000
"""Points of a learning curve, unless asked otherwise."""

MAX_BINS = 100
"""A field of more values than this is binned for the agents, unless they are asked to tell them apart."""


FILLED_IN: Any = None
"""Default of fields that depends on other fields; it is always replaced by a value."""


def rule_in_words(temperature: float) -> str:
    """How agents choose at a temperature, for titles and tables: "greedy" or "T = 0.9"."""
    return "greedy" if temperature == 0 else f"T = {temperature:g}"


def unit_of_time(order: str | None) -> str:
    """What the steps of an order of moves are called: "sweeps" or "steps"."""
    return "sweeps" if order == "sequential" else "steps"


@dataclass(frozen=True, kw_only=True)
class LearningSettings:
    """How agents learn.

    Parameters
    ----------
    n : int                 local agents
    steps : int             steps of all agents; in sequential order sweeps of n moves of one agent each
    runs : int              independent populations, each with streams of its own
    seed : int
    method : "mfq", "mfac" or "iq"
        Mean-field Q-learning, mean-field actor-critic (Yang et al. 2018), or independent Q-learning, which sees no mean.
    order : "synchronous" or "sequential"
        All agents act at once, or one after the other, picked at random; the latter needs agents without states.
    sees : "field", "actions" or "states"
        What an agent's mean is of: the game's field, or a mean of actions or states. Of actions it is that of the others in the
        step before, of states that of all agents now; on a graph both are of the neighbours.
    bins : int, optional
        Equal bins of the mean in place of the field's own; by default 100 for fields of more values.
    tables : "shared" or "own"      one table for all agents, or one each
    temperature : float             T of the Boltzmann law exp(Q / T); 0 is greedy, ties to the lowest action
    epsilon : (float, float)
        Share of uniform actions, by a coin of every agent, at the start and at the end; by default (0.1, 0.01) if
        greedy, constant in sequential order, else 0.
    epsilon_steps : int, optional   steps from the one to the other; by default half of all
    alpha : float                   step size
    alpha_power : float             a cell's step size is alpha / visits^alpha_power; 0 keeps it constant
    actor_alpha : float             step size of the actor's table
    inner : int
        Rounds in which the mean action answers itself before agents act; 0 takes the one of the step before.
    reward : "own" or "team"        r_g + an agent's own r_l, or r_g + the mean of r_l
    reward_at : "executed" or "seen"
        Field value by which local rewards are taken: that of the actions executed, or the one seen before.
    replay : int                    transitions kept for replay; 0 learns from each step at once
    batch : int                     replayed transitions per table and step; if by step, past steps
    replay_by : "transition" or "step"
        Replay single transitions, or past steps with those of all agents, who then share a table; by default the former
        unless there is a correction.
    correction : "none", "product", "marginal" or "selfnorm"
        Weight of a replayed transition, for others who play other policies now than when it was stored: of all their actions, of
        the field values that these made, or the latter with each cell's weights normalised. Only where weights matter.
    clip : float                    largest weight
    min_ess : float                 effective share of recent weights below which replay goes on without them
    index : "seen" or "executed"    whether a transition updates the row of the mean seen before it, or of the one executed in it
    target_every, target_tau :      copy of the table for the bootstrap, made every so many steps, or moved by a share each step
    initial_q : float               first entry of all tables
    start : str                     "random", or the label of the action (or with states the state) that all agents start with
    global_policy : str             "learn", "uniform" or the label of one action
    record_every : int, optional    steps of a point of the curves; by default a thousandth of all
    tail : float in (0, 1]          last part of the steps that summaries average
    snapshots : int                 tables kept on the way, at steps that grow by factors, the last one included
    """

    n: int
    steps: int
    runs: int = 20
    seed: int = 0
    method: str = "mfq"
    order: str = "synchronous"
    sees: str = "field"
    bins: int | None = None
    tables: str = "shared"
    temperature: float = 0.0
    epsilon: tuple[float, float] = FILLED_IN
    epsilon_steps: int = FILLED_IN
    alpha: float = 0.1
    alpha_power: float = 0.0
    actor_alpha: float = 0.01
    inner: int = 0
    reward: str = "own"
    reward_at: str = "executed"
    replay: int = 0
    batch: int = 1
    replay_by: str = FILLED_IN
    correction: str = "none"
    clip: float = 10.0
    min_ess: float = 0.1
    index: str = "seen"
    target_every: int = 0
    target_tau: float = 0.0
    initial_q: float = 0.0
    start: str = "random"
    global_policy: str = LEARN
    record_every: int = FILLED_IN
    tail: float = 0.1
    snapshots: int = 0

    def __post_init__(self) -> None:
        for name in ("n", "steps", "runs"):
            object.__setattr__(self, name, positive_integer(name, getattr(self, name)))
        object.__setattr__(self, "seed", int(checked_seed(self.seed)))
        if self.replay_by is None:
            weighed = isinstance(self.correction, str) and self.correction != "none"
            object.__setattr__(self, "replay_by", REPLAY_BY[weighed])
        choices = {
            "method": METHODS, "order": ORDERS, "sees": SEES, "tables": TABLES, "reward": REWARDS, "reward_at": REWARD_AT,
            "correction": CORRECTIONS, "replay_by": REPLAY_BY, "index": INDEX,
        }  # fmt: skip
        for name, allowed in choices.items():
            if not isinstance(getattr(self, name), str) or getattr(self, name) not in allowed:
                raise ValueError(f"{name}: found {shown(getattr(self, name))}, expected one of {', '.join(allowed)}")
        if self.epsilon is None:
            greedy = (0.1, 0.1) if self.order == "sequential" else (0.1, 0.01)
            is_greedy = isinstance(self.temperature, (int, float)) and self.temperature == 0
            object.__setattr__(self, "epsilon", greedy if is_greedy else (0.0, 0.0))
        elif not isinstance(self.epsilon, (tuple, list)) or len(self.epsilon) != 2:
            raise ValueError(f"epsilon: found {shown(self.epsilon)}, expected two numbers, at the start and at the end")
        defaults = {
            "epsilon_steps": max(1, self.steps // 2),
            "record_every": max(1, -(-self.steps // MAX_POINTS)),
        }
        for name, value in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for name in ("start", "global_policy"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (str, int, float)):
                raise ValueError(f"{name}: found {shown(value)}, expected a word or a label")
            object.__setattr__(self, name, str(value))
        self._check_numbers()
        self._check_combinations()

    def _check_numbers(self) -> None:
        for name, least, most in (
            ("epsilon_steps", 1, 2**62), ("record_every", 1, 2**62), ("inner", 0, 10_000), ("replay", 0, 2**31 - 1),
            ("batch", 1, 1_000_000), ("target_every", 0, 2**62), ("bins", 1, 10_000_000), ("snapshots", 0, 10_000),
        ):  # fmt: skip
            value = getattr(self, name)
            if name == "bins" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise ValueError(f"{name}: found {shown(value)}, expected a whole number from {least} to {most}")
        ranges: dict[str, tuple[float, float, float]] = {
            "temperature": (self.temperature, 0.0, math.inf), "alpha": (self.alpha, 0.0, 1.0),
            "alpha_power": (self.alpha_power, 0.0, 1.0), "actor_alpha": (self.actor_alpha, 0.0, math.inf),
            "target_tau": (self.target_tau, 0.0, 1.0), "tail": (self.tail, 0.0, 1.0),
            "initial_q": (self.initial_q, -math.inf, math.inf), "clip": (self.clip, 1.0, math.inf),
            "min_ess": (self.min_ess, 0.0, 1.0),
        }  # fmt: skip
        for i, share in enumerate(self.epsilon):
            ranges[f"epsilon[{i}]"] = (share, 0.0, 1.0)
        for name, (given, low, high) in ranges.items():
            number = given if isinstance(given, (int, float)) and not isinstance(given, bool) else math.nan
            # Within what a double can hold: NaN, infinities and larger whole numbers fail.
            if not (max(low, -sys.float_info.max) <= number <= min(high, sys.float_info.max)):
                raise ValueError(f"{name}: found {shown(given)}, expected a finite number from {low:g} to {high:g}")
        if self.tail == 0.0:
            raise ValueError("tail: found 0, expected a share above 0")
        object.__setattr__(self, "epsilon", (float(self.epsilon[0]), float(self.epsilon[1])))

    def _check_combinations(self) -> None:
        if self.order == "sequential" and self.record_every > self.steps:
            raise ValueError(f"record_every: found {self.record_every}, expected at most {self.steps}, the steps")
        if self.method == "mfac" and self.temperature == 0.0:
            raise ValueError("temperature: found 0, expected a positive one for the actor's Boltzmann law")
        if self.target_every and self.target_tau:
            raise ValueError("target_tau: found it with target_every, expected one of the two")
        self._check_replay()
        if self.order == "sequential":
            refused = {
                "method": self.method == "mfac", "alpha_power": self.alpha_power > 0, "inner": self.inner > 0,
                "reward": self.reward == "team", "replay": self.replay > 0, "target_every": self.target_every > 0,
                "target_tau": self.target_tau > 0, "reward_at": self.reward_at == "seen",
                "epsilon": self.epsilon[0] != self.epsilon[1], "index": self.index == "executed",
            }  # fmt: skip
            for name, found in refused.items():
                if found:
                    value = getattr(self, name)
                    raise ValueError(
                        f"{name}: found {shown(value)} in sequential order, expected it in synchronous order alone"
                    )

    def _check_replay(self) -> None:
        if self.index == "executed" and self.inner > 0:
            raise ValueError(f"inner: found {self.inner} with index 'executed', expected 0: the mean is that of a step")
        if self.replay_by == "step" and self.tables == "own" and self.n > 1:
            raise ValueError("tables: found 'own' with replay by step, expected one table that all agents share")
        if self.correction == "none":
            return
        if self.replay == 0:
            raise ValueError(f"replay: found 0 with correction {self.correction!r}, expected past steps to weigh")
        if self.replay_by != "step":
            raise ValueError(f"replay_by: found {self.replay_by!r} with a correction, expected 'step'")
        if self.temperature == 0.0 and min(self.epsilon) == 0.0:
            raise ValueError("epsilon: found 0 for greedy agents with a correction, expected more at both ends")

    @property
    def n_points(self) -> int:
        """Points of the curves."""
        if self.order == "sequential":
            return self.steps // self.record_every
        return -(-self.steps // self.record_every)

    @property
    def snapshot_steps(self) -> np.ndarray:
        """Steps after which tables are kept, increasing, int64[at most `snapshots`]."""
        if self.snapshots == 0:
            return np.zeros(0, dtype=np.int64)
        first = 1.0 if self.snapshots > 1 else float(self.steps)
        return np.unique(np.geomspace(first, self.steps, self.snapshots).round().astype(np.int64))

    def config(self) -> dict[str, Any]:
        """The settings, JSON-ready."""
        return dataclasses.asdict(self) | {"epsilon": list(self.epsilon)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LearningSettings:
        """Settings from what `config` gave."""
        return cls(**config | {"epsilon": tuple(config["epsilon"])})

    def identity(self, game: Game) -> dict[str, Any]:
        """What a checkpoint must agree with, JSON-ready."""
        return {"game": game.digest()} | self.config()
