"""Exact Q of one (s_g, count vector), for all global actions and items, without the tables of a sweep."""

from __future__ import annotations

import numpy as np

from ...kernels.expectation.meet_in_the_middle import grow_group_laws
from ...kernels.lattice import fill_successors, fill_sums, lattice_size, lattice_sizes
from ..action_classes import list_counts, next_state_laws
from ..game import Game
from ..lifting import COUNTS_TELL, field_of_actions, field_of_states
from .row_options import make_row_options


def _row_laws(rows: np.ndarray, agents: int, actions: str) -> np.ndarray:
    """Laws of the next counts of `agents` agents of one state, for each of its row options.

    Parameters
    ----------
    rows : float64[n_al, n_sl]

    Returns
    -------
    float64[n_options, |Λ(agents, n_sl)|]
    """
    n_al, n_sl = rows.shape
    options = make_row_options(agents, n_al, actions)
    laws, rewards = np.ones((1, 1)), np.zeros(1)
    for m in range(1, agents + 1):
        chosen = slice(options.row_offset[m], options.row_offset[m + 1])
        category = np.zeros((options.n_options[m], 2), dtype=np.int64)
        category[:, 1] = options.row_action[chosen]
        successors = np.empty((lattice_size(m - 1, n_sl), n_sl), dtype=np.int32)
        fill_successors(m - 1, lattice_sizes(m, n_sl), successors)
        grown = np.empty((options.n_options[m], lattice_size(m, n_sl)))
        grown_rewards = np.empty(options.n_options[m])
        grow_group_laws(
            laws, rewards, options.row_parent[chosen], category, rows[None], np.zeros((1, n_al)), successors, grown,
            grown_rewards,
        )  # fmt: skip
        laws, rewards = grown, grown_rewards
    return laws


def expect_at_counts(values: np.ndarray, rows: np.ndarray, counts: np.ndarray, actions: str) -> np.ndarray:
    """E[V(c') | z] for all z that a count vector offers, one state's agents after the other.

    Parameters
    ----------
    values : float64[n, n_c]    several functions of the counts
    rows : float64[n_sl, n_al, n_sl]
    counts : int64[n_sl]
    actions : "joint" or "shared"

    Returns
    -------
    float64[n, n_items]
    """
    n_sl = counts.shape[0]
    left = int(counts.sum())
    sizes = lattice_sizes(left, n_sl)
    expected = values[:, None, :]
    for s in range(n_sl):
        agents = int(counts[s])
        laws = _row_laws(np.ascontiguousarray(rows[s]), agents, actions)
        left -= agents
        ranks = np.empty((lattice_size(left, n_sl), lattice_size(agents, n_sl)), dtype=np.int32)
        fill_sums(list_counts(left, n_sl), list_counts(agents, n_sl), sizes, ranks)
        contracted = expected[:, :, ranks] @ laws.T
        expected = contracted.transpose(0, 1, 3, 2).reshape(values.shape[0], -1, ranks.shape[0])
    return expected[:, :, 0]


def exact_q(
    game: Game, k: int, actions: str, local_policy: np.ndarray | None, value: np.ndarray, s_g: int, counts: np.ndarray,
    items: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Q(s_g, c; a_g, item) for a value float64[n_sg, n_c], float64[n_ag, n_items]."""
    if field_of_actions(game) is not None:
        from .action_fields import action_field_q

        return action_field_q(game, k, actions, local_policy, value, s_g, counts)
    field = field_of_states(game, COUNTS_TELL)
    f = 0 if field is None else int(field.value_of(counts))
    P_g, P_l, r_g, r_l = (
        table[s_g, f if table.shape[1] > 1 else 0] for table in map(game.with_field_axis, ("P_g", "P_l", "r_g", "r_l"))
    )
    mixed = r_g[:, None] + game.gamma * (P_g @ value)
    if actions in ("joint", "shared"):
        reward = np.tensordot(items, r_l, axes=2) / k
        return expect_at_counts(mixed, P_l, counts, actions) + reward
    laws, rewards = next_state_laws(
        P_l[None], r_l[None], k, actions, None if local_policy is None else local_policy[[s_g]]
    )
    columns = [expect_at_counts(mixed, law[:, None, :], counts, "joint")[:, 0] for law in laws[0]]
    return np.stack(columns, axis=1) + (rewards[0] @ counts) / k
