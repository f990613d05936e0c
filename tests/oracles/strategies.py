"""Hypothesis strategies for small games and policies."""

import numpy as np
from hypothesis import strategies as st

from .execution import random_policy
from .tables import random_game_tables


def seeds():
    """Seeds of numpy generators."""
    return st.integers(0, 2**32 - 1)


@st.composite
def game_tables(draw, max_sg=3, max_ag=3, max_sl=3, max_al=3, gammas=(0.0, 0.5, 0.9)):
    """Dict of the tables of a random game: dense, sparse or deterministic, sizes from 1 up to the given ones."""
    sizes = [draw(st.integers(1, largest), label="size") for largest in (max_sg, max_ag, max_sl, max_al)]
    sparsity = draw(st.sampled_from([0.0, 0.5, 0.9]))
    deterministic = draw(st.booleans())
    gamma = draw(st.sampled_from(gammas))
    return random_game_tables(np.random.default_rng(draw(seeds())), *sizes, sparsity, deterministic, gamma)


@st.composite
def games_with_policy(draw, max_k=3, **bounds):
    """(tables, ListedPolicy) with subsample sizes from 1 up to `max_k`; `bounds` go to `game_tables`."""
    tables = draw(game_tables(**bounds))
    k_global, k_local = draw(st.integers(1, max_k)), draw(st.integers(1, max_k))
    pure = draw(st.booleans())
    return tables, random_policy(np.random.default_rng(draw(seeds())), tables, k_global, k_local, pure)
