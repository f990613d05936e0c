"""The best policy that never looks at the counts: the value that any sampling of agents has to beat.

With a_g = g(s_g) no local agent can influence another, if there is no field. Each faces a decision process of its own on
(s_g, s_l), and the value of a population is the mean of theirs, for any number of agents. What remains is a search over the maps g.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ..kernels.count_blind import evaluate_count_blind
from ..kernels.lattice import lattice_size
from .action_classes import ACTION_CLASSES, list_counts, next_state_laws
from .game import Game, positive_integer
from .lifting import field_of_states
from .policy import SubsamplePolicy, checked_local_policy

MAX_MAPS = 20_000
"""Maps tried at most; all of them if there are no more."""

MAX_WORK = 1e10
"""Multiplications that they may take together, roughly (n_sg · n_sl)³ for each; some seconds."""

MAX_EQUATIONS = 4096
"""Larger values of n_sg · n_sl are refused: the dense system would take more than 128 MiB."""

MAX_OPTIONS = 1024
"""With more pairs of a global action and a histogram only histograms of a single local action are tried."""

N_RANDOM_STARTS = 8

# Values closer than this, relatively, are equal up to rounding.
ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class CountBlind:
    """A policy in which no decision depends on the states of other agents.

    Parameters
    ----------
    value : float               its mean from the initial law, the same for any number of agents unless they share a field
    global_action : int32[n_sg]                 a_g = g(s_g)
    local_action : float64[n_sg, n_sl, n_al]    law of a_l
    is_best : bool              whether all maps were tried; else the best one may be worth more
    n_tried : int               maps tried
    """

    value: float
    global_action: np.ndarray
    local_action: np.ndarray
    is_best: bool
    n_tried: int

    @property
    def policy(self) -> SubsamplePolicy:
        """The policy in the form that n agents play. Its samples have one agent, and it ignores them."""
        n_sl = self.local_action.shape[1]
        return SubsamplePolicy(
            k_global=1,
            k_local=1,
            global_action=np.repeat(self.global_action[:, None], n_sl, axis=1),
            local_action=np.repeat(self.local_action[:, :, None], n_sl, axis=2),
        )


def best_count_blind(
    game: Game,
    actions: str = "joint",
    k: int = 1,
    local_policy: np.ndarray | None = None,
    *,
    starts: Iterable[np.ndarray] = (),
) -> CountBlind:
    """The best policy, from the initial law, whose decisions ignore the states of all other agents.

    In the classes `joint` and `shared` the local agents play the best response of a single agent, which both classes
    contain; in `fixed` the given policy. In `histogram` all agents play one action law h(s_g) / k, which is what that
    class offers to agents that look at nothing but s_g: there a map gives each s_g a pair (a_g, h).

    All maps are tried if there are at most MAX_MAPS; otherwise coordinate ascent, one global state at a time, from the
    given starts, the constant maps and a few random ones. Of maps of equal value the first one tried wins. With a field of
    states see `best_count_blind_coupled`.

    Parameters
    ----------
    game : Game
    actions : "joint", "shared", "histogram" or "fixed"
    k : int                     agents of the surrogate game; matters to `histogram` and to games with a field alone
    local_policy : float64[n_sg, n_sl, n_al]    for class `fixed`
    starts : maps int[n_sg] from global states to global actions

    Returns
    -------
    CountBlind

    Raises
    ------
    ValueError    bad input, or n_sg · n_sl above MAX_EQUATIONS
    """
    k = positive_integer("k", k)
    if actions not in ACTION_CLASSES:
        raise ValueError(f"actions: found {actions!r}, expected one of {', '.join(ACTION_CLASSES)}")
    if (local_policy is None) != (actions != "fixed"):
        found = "none" if local_policy is None else "one"
        raise ValueError(f"local_policy: found {found} for actions {actions!r}, expected one for 'fixed' alone")
    if field_of_states(
        game, "the value of a blind policy follows from the counts only where they tell the field value"
    ):
        from .count_blind_coupled import best_count_blind_coupled

        policy = None if local_policy is None else checked_local_policy(local_policy, game)
        return best_count_blind_coupled(game, actions, k, policy, starts)
    n_equations = game.n_sg * game.n_sl
    if n_equations > MAX_EQUATIONS:
        raise ValueError(f"game: found n_sg · n_sl = {n_equations}, expected at most {MAX_EQUATIONS}")
    search = _Search(game, actions, k, None if local_policy is None else checked_local_policy(local_policy, game))
    tried_all = search_maps(search, starts, n_equations)
    return CountBlind(
        value=search.best_value,
        global_action=(search.best_option // search.n_h).astype(np.int32),
        local_action=search.best_local_action,
        is_best=tried_all,
        n_tried=search.n_tried,
    )


class _Search:
    """Tables of the lone agent, and the best map seen so far.

    A map holds an option a_g · n_h + h for each s_g; h is 0 but for class `histogram`, where it counts histograms.
    """

    def __init__(self, game: Game, actions: str, k: int, local_policy: np.ndarray | None):
        self.game = game
        self.has_all_options = True
        self.single_action_h = [0]
        self.action_laws: np.ndarray | None = None  # broadcasts to float64[n_sg, n_h, n_sl, n_al]
        P_l, r_l = game.P_l[:, None], game.r_l[:, None]
        if local_policy is not None:
            self.action_laws = local_policy[:, None]
            laws, rewards = next_state_laws(game.P_l, game.r_l, k, actions, local_policy)
            P_l, r_l = laws[:, :, :, None], rewards[..., None]
        elif actions == "histogram":
            self.has_all_options = game.n_ag * lattice_size(k, game.n_al) <= MAX_OPTIONS
            mixtures = list_counts(k, game.n_al) / k if self.has_all_options else np.eye(game.n_al)
            self.single_action_h = np.flatnonzero(mixtures.max(axis=1) == 1.0).tolist()
            self.action_laws = mixtures[None, :, None]
            P_l = np.einsum("ha,gsat->ghst", mixtures, game.P_l)[:, :, :, None]
            r_l = np.einsum("ha,gsa->ghs", mixtures, game.r_l)[..., None]
        self.n_h = P_l.shape[1]
        self.n_options = game.n_ag * self.n_h
        self.tables = (game.P_g, np.ascontiguousarray(P_l), game.r_g, np.ascontiguousarray(r_l), game.gamma)
        # Also the mean of a Dirichlet law is its normalised concentration.
        self.law = np.outer(game.rho_g, game.rho_l / game.rho_l.sum()).ravel()
        self.response = np.zeros((game.n_sg, game.n_sl), dtype=np.int64)
        self.work = np.empty((self.law.size, self.law.size))
        self.value = np.empty(self.law.size)
        self.best_value = -math.inf
        self.best_option = np.zeros(game.n_sg, dtype=np.int64)
        self.best_local_action = np.empty((game.n_sg, game.n_sl, game.n_al))
        self.n_tried = 0

    def consider(self, option: np.ndarray) -> float:
        """Value of a map from the initial law; the map is kept if it is the best so far."""
        evaluate_count_blind(*self.tables, option, self.response, self.work, self.value)
        self.n_tried += 1
        value = float(self.law @ self.value)
        if value > self.best_value + ROUNDING * abs(value):
            self.best_value, self.best_option = value, option.copy()
            self.best_local_action[:] = self._local_action(option)
        return value

    def _local_action(self, option: np.ndarray) -> np.ndarray:
        game = self.game
        if self.action_laws is None:
            return np.eye(game.n_al)[self.response]
        laws = np.broadcast_to(self.action_laws, (game.n_sg, self.n_h, game.n_sl, game.n_al))
        return laws[np.arange(game.n_sg), option % self.n_h]


def search_maps(search: Any, starts: Iterable[np.ndarray], n_equations: int) -> bool:
    """Let a search consider all maps or, of too many, climb from some starts; tell whether it was all of them.

    Parameters
    ----------
    starts : maps int[n_sg] from global states to global actions
    n_equations : int    of the linear system that one map takes
    """
    n_sg = search.game.n_sg
    limit = max(1, min(MAX_MAPS, int(MAX_WORK / n_equations**3)))
    try_all = search.has_all_options and search.n_options**n_sg <= limit
    # One thread: the same bits on every machine, and the systems are small.
    with threadpool_limits(limits=1, user_api="blas"):
        if try_all:
            for option in itertools.product(range(search.n_options), repeat=n_sg):
                search.consider(np.array(option, dtype=np.int64))
        else:
            _ascend(search, _start_options(search, starts), limit)
    return try_all


def _start_options(search: Any, maps: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The given and the constant g, with each histogram of a single local action, then random maps."""
    n_sg, n_ag = search.game.n_sg, search.game.n_ag
    for g in itertools.chain(maps, (np.full(n_sg, a_g) for a_g in range(n_ag))):
        for h in search.single_action_h:
            yield np.asarray(g, dtype=np.int64) * search.n_h + h
    # A fixed seed: one game, one answer.
    generator = np.random.default_rng(0)
    for _ in range(N_RANDOM_STARTS):
        yield generator.integers(search.n_options, size=n_sg)


def _ascend(search: Any, starts: Iterable[np.ndarray], limit: int) -> None:
    """Coordinate ascent from each start, until no change of one option helps or `limit` maps were tried."""
    for option in starts:
        if search.n_tried >= limit:
            return
        value = search.consider(option)
        states_without_gain = 0
        for s_g in itertools.cycle(range(option.size)):
            before = option[s_g]
            best = before
            for choice in range(search.n_options):
                if search.n_tried >= limit:
                    return
                if choice == before:
                    continue
                option[s_g] = choice
                found = search.consider(option)
                if found > value + ROUNDING * abs(value):
                    value, best = found, choice
            option[s_g] = best
            # After a gain this state has its best option for the others as they are.
            states_without_gain = states_without_gain + 1 if best == before else 1
            if states_without_gain >= option.size:
                break
