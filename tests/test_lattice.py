"""The lattice of count vectors against plain enumeration."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kofn.kernels.lattice import (
    advance_counts,
    enumerate_counts,
    fill_moves,
    fill_relabelled,
    fill_successors,
    fill_sums,
    lattice_size,
    lattice_sizes,
    rank_counts,
    unrank_counts,
)

totals, state_counts = st.integers(0, 7), st.integers(1, 5)


def listed(m, n_states):
    """Λ(m, S) by filtering all tuples, in lexicographic order."""
    return [c for c in itertools.product(range(m + 1), repeat=n_states) if sum(c) == m]


@given(m=totals, n_states=state_counts)
def test_enumeration_is_lexicographic_and_complete(m, n_states):
    expected = listed(m, n_states)
    assert lattice_size(m, n_states) == len(expected)
    assert lattice_sizes(m, n_states)[n_states, m] == len(expected)
    counts = np.full((len(expected), n_states), -7)
    enumerate_counts(m, counts)
    np.testing.assert_array_equal(counts, expected)


@given(m=totals, n_states=state_counts)
def test_rank_and_unrank_are_inverse(m, n_states):
    sizes = lattice_sizes(m, n_states)
    for rank, c in enumerate(listed(m, n_states)):
        assert rank_counts(np.array(c), sizes) == rank
        counts = np.full(n_states, -7)
        unrank_counts(rank, m, sizes, counts)
        assert tuple(counts) == c


@given(m=st.integers(0, 10**4), n_states=st.integers(1, 4), data=st.data())
def test_rank_and_unrank_are_inverse_on_large_lattices(m, n_states, data):
    rank = data.draw(st.integers(0, lattice_size(m, n_states) - 1))
    sizes = lattice_sizes(m, n_states)
    counts = np.empty(n_states, np.int64)
    unrank_counts(rank, m, sizes, counts)
    assert counts.sum() == m
    assert counts.min() >= 0
    assert rank_counts(counts, sizes) == rank


@given(m=totals, n_states=state_counts)
def test_neighbour_tables(m, n_states):
    here, above = listed(m, n_states), {c: i for i, c in enumerate(listed(m + 1, n_states))}
    position = {c: i for i, c in enumerate(here)}
    successors = np.full((len(here), n_states), -7, np.int32)
    fill_successors(m, lattice_sizes(m + 1, n_states), successors)
    moves = np.full((len(here), n_states, n_states), -7, np.int32)
    fill_moves(m, lattice_sizes(m, n_states), moves)
    for i, c in enumerate(here):
        for j in range(n_states):
            up = tuple(x + (s == j) for s, x in enumerate(c))
            assert successors[i, j] == above[up]
            for source in range(n_states):
                if c[source] == 0:
                    assert moves[i, source, j] == -1
                else:
                    moved = tuple(x - (s == source) + (s == j) for s, x in enumerate(c))
                    assert moves[i, source, j] == position[moved]


@given(m=st.integers(0, 4), other=st.integers(0, 4), n_states=st.integers(1, 4))
def test_sums(m, other, n_states):
    first, second = listed(m, n_states), listed(other, n_states)
    position = {c: i for i, c in enumerate(listed(m + other, n_states))}
    ranks = np.full((len(first), len(second)), -7, np.int32)
    fill_sums(np.array(first), np.array(second), lattice_sizes(m + other, n_states), ranks)
    for (i, a), (j, b) in itertools.product(enumerate(first), enumerate(second)):
        assert ranks[i, j] == position[tuple(x + y for x, y in zip(a, b, strict=True))]


@given(m=totals, order=st.permutations(range(4)))
def test_relabelling(m, order):
    here = listed(m, 4)
    ranks = np.full(len(here), -7, np.int32)
    fill_relabelled(m, np.array(order), lattice_sizes(m, 4), ranks)
    for i, c in enumerate(here):
        assert here[ranks[i]] == tuple(c[s] for s in order)


def test_last_vector_has_no_successor():
    counts = np.array([3, 0, 0])
    assert not advance_counts(counts)
    np.testing.assert_array_equal(counts, [3, 0, 0])


def test_sizes_are_exact_where_int64_would_overflow():
    assert lattice_size(10**9, 5) == 41666667083333334791666668750000001
