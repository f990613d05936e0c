"""The best policy that never looks at the counts where agents act on each other through a field of states.

No agent faces a decision process of its own then: the value is that of all k agents together, a linear system on (s_g, c) for each
map from global states to a global action and the local actions of the agents.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from ..kernels.lattice import lattice_size
from .action_classes import list_counts, next_state_laws
from .count_blind import ROUNDING, CountBlind, search_maps
from .evaluation.plan import STORED_LAWS
from .evaluation.population_laws import PopulationLaws
from .game import Game
from .initial_law import initial_count_law
from .lifting import LiftedGame, values_at

MAX_TABLE_BYTES = 2**28
"""For the laws of the next counts under every local decision; and for one linear system."""

MAX_TRUNCATION = 1e-15
POWER_ERROR = 1e-12


def best_count_blind_coupled(
    game: Game, actions: str, k: int, local_policy: np.ndarray | None, starts: Iterable[np.ndarray]
) -> CountBlind:
    """`best_count_blind` for a game with a field of states, and k agents.

    In the classes `joint` and `shared` all agents of one state take one action, which follows from s_g; in `joint`, where they
    might draw it, the best such policy may fall short of the best one that is blind. In `histogram` they draw from h(s_g) / k.

    Raises
    ------
    ValueError    the tables would be too large
    """
    n_c = lattice_size(k, game.n_sl)
    n_h = {"fixed": 1, "histogram": lattice_size(k, game.n_al)}.get(actions, game.n_al**game.n_sl)
    needed = 8 * max(game.n_sg * n_h * n_c**2, (game.n_sg * n_c) ** 2)
    if needed > MAX_TABLE_BYTES:
        raise ValueError(
            f"k: blind policies of {k} agents need tables of {needed} bytes, expected at most {MAX_TABLE_BYTES}"
        )
    search = _Search(game, actions, k, local_policy)
    tried_all = search_maps(search, starts, game.n_sg * n_c)
    a_g, h = np.divmod(search.best_option, search.n_h)
    return CountBlind(
        value=search.best_value,
        global_action=a_g.astype(np.int32),
        local_action=search.action_laws[np.arange(game.n_sg), h],
        is_best=tried_all and (actions != "joint" or game.n_al == 1),
        n_tried=search.n_tried,
    )


class _Search:
    """Laws and rewards of all options, and the best map seen so far; an option is a_g · n_h + h."""

    def __init__(self, game: Game, actions: str, k: int, local_policy: np.ndarray | None):
        self.game, self.has_all_options = game, True
        counts = list_counts(k, game.n_sl)
        lifted = LiftedGame(game, counts)
        kind = "shared" if actions == "joint" else actions
        laws, rewards = next_state_laws(lifted.P_l, lifted.r_l, k, kind, lifted.by_row(local_policy))
        self.n_h = laws.shape[1]
        self.n_options = game.n_ag * self.n_h
        by_counts = (game.n_sg, lifted.n_f, self.n_h)
        laws, rewards = (table.reshape(*by_counts, *table.shape[2:]) for table in (laws, rewards))
        self.laws = np.stack([_next_counts(counts, laws[s_g, lifted.row_class]) for s_g in range(game.n_sg)])
        self.local_reward = np.einsum("gchs,cs->ghc", rewards[:, lifted.row_class], counts / k)
        field_values = lifted.field_values[lifted.row_class]
        self.P_g, self.r_g = (values_at(game.with_field_axis(name), field_values) for name in ("P_g", "r_g"))
        self.action_laws, self.single_action_h = _action_laws(game, kind, k, local_policy)
        self.start = np.outer(game.rho_g, initial_count_law(game, k)).ravel()
        self.best_value, self.n_tried = -np.inf, 0
        self.best_option = np.zeros(game.n_sg, dtype=np.int64)

    def consider(self, option: np.ndarray) -> float:
        """Value of a map from the initial law; the map is kept if it is the best so far."""
        game, n_c = self.game, self.laws.shape[2]
        moves = np.empty((game.n_sg, n_c, game.n_sg, n_c))
        reward = np.empty((game.n_sg, n_c))
        for s_g, chosen in enumerate(option):
            a_g, h = divmod(int(chosen), self.n_h)
            moves[s_g] = self.P_g[s_g, :, a_g, :, None] * self.laws[s_g, h][:, None, :]
            reward[s_g] = self.r_g[s_g, :, a_g] + self.local_reward[s_g, h]
        system = np.eye(self.start.size) - game.gamma * moves.reshape(self.start.size, -1)
        value = float(self.start @ np.linalg.solve(system, reward.ravel()))
        self.n_tried += 1
        if value > self.best_value + ROUNDING * abs(value):
            self.best_value, self.best_option = value, option.copy()
        return value


def _next_counts(counts: np.ndarray, laws: np.ndarray) -> np.ndarray:
    """Law of the next counts under each local decision, float64[n_h, n_c, n_c], from float64[n_c, n_h, n_sl, n_sl]."""
    n_c = len(counts)
    by_decision = [np.ascontiguousarray(laws[:, h]) for h in range(laws.shape[1])]
    if counts.shape[1] == 1:
        return np.ones((len(by_decision), 1, 1))
    populations = PopulationLaws(
        by_decision, counts, truncation=MAX_TRUNCATION, error=POWER_ERROR, choose_route=lambda blind: STORED_LAWS
    )
    return populations.expect([np.eye(n_c)] * len(by_decision)).transpose(0, 2, 1)


def _action_laws(game: Game, actions: str, k: int, local_policy: np.ndarray | None) -> tuple[np.ndarray, list[int]]:
    """Law of a_l under each local decision, float64[n_sg, n_h, n_sl, n_al], and decisions of one action for all to start with."""
    if local_policy is not None:
        return local_policy[:, None], [0]
    if actions == "histogram":
        mixtures = list_counts(k, game.n_al) / k
        laws = np.repeat(mixtures[:, None, :], game.n_sl, axis=1)
        singles = np.flatnonzero(mixtures.max(axis=1) == 1.0).tolist()
    else:
        maps = np.array(list(itertools.product(range(game.n_al), repeat=game.n_sl)), dtype=np.int64)
        laws = np.eye(game.n_al)[maps]
        singles = np.flatnonzero((maps == maps[:, :1]).all(axis=1)).tolist()
    return np.repeat(laws[None], game.n_sg, axis=0), singles
