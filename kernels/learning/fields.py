"""Field values: what a lens makes of the histogram that each agent sees."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compilation import kernel
from .parts import EVERYONE, NEIGHBOURS, OTHERS


class FieldScratch(NamedTuple):
    """Work space of one thread, for one lens."""

    totals: np.ndarray  # float64[D]
    shifted: np.ndarray  # float64[D]
    by_own: np.ndarray  # int64[n_x], values by what the agent itself is in


@kernel
def make_field_scratch(lens):
    """Allocate the work space of `fill_values` for a Lens."""
    n_features, n_x = lens.weights.shape
    return FieldScratch(np.zeros(n_features), np.zeros(n_features), np.zeros(n_x, np.int64))


@kernel
def count_values(lens):
    """Number of field values of a Lens: the product of its features' numbers of values; 1 without features."""
    n_values = 1
    for d in range(lens.n_values.shape[0]):
        n_values *= lens.n_values[d]
    return n_values


@kernel(forceinline=True)
def value_of_totals(lens, totals, n_seen):
    """Field value of summed weights: per feature the number of edges that the mean reaches, the first most significant.

    A total reaches an edge from edge·m on, with m = `n_seen`: edges that a mean may meet exactly are given a little low.

    Parameters
    ----------
    lens : Lens
    totals : float64[D]   Σ over the agents that are seen of their weights
    n_seen : int64        how many they are; 0 gives the lens's neutral value

    Returns
    -------
    int64
    """
    if n_seen == 0:
        return np.int64(lens.neutral)
    value = np.int64(0)
    for d in range(lens.weights.shape[0]):
        low, high = np.int64(0), lens.n_values[d] - 1
        while low < high:
            middle = (low + high) >> 1
            if totals[d] >= lens.edges[d, middle] * n_seen:
                low = middle + 1
            else:
                high = middle
        value = value * lens.n_values[d] + low
    return value


@kernel
def _sum_weights(lens, present, chosen, out_totals):
    """Sum the weights of all present agents."""
    for d in range(out_totals.shape[0]):
        total = 0.0
        for j in range(present.shape[0]):
            total += lens.weights[d, chosen[present[j]]]
        out_totals[d] = total


@kernel
def _fill_values_of_others(lens, present, chosen, scratch, out_values):
    """Agents in the same state, or of the same action, see the same others: one search for each of these."""
    totals, shifted = scratch.totals, scratch.shifted
    _sum_weights(lens, present, chosen, totals)
    for x in range(lens.weights.shape[1]):
        for d in range(totals.shape[0]):
            shifted[d] = totals[d] - lens.weights[d, x]
        scratch.by_own[x] = value_of_totals(lens, shifted, present.shape[0] - 1)
    for j in range(present.shape[0]):
        out_values[present[j]] = scratch.by_own[chosen[present[j]]]


@kernel
def _fill_values_of_neighbours(lens, graph, alive, present, chosen, scratch, out_values):
    totals = scratch.totals
    for j in range(present.shape[0]):
        agent = present[j]
        n_seen = np.int64(0)
        for d in range(totals.shape[0]):
            totals[d] = 0.0
        for place in range(graph.indptr[agent], graph.indptr[agent + 1]):
            other = graph.indices[place]
            if alive.shape[0] == 0 or alive[other] != 0:
                n_seen += 1
                for d in range(totals.shape[0]):
                    totals[d] += lens.weights[d, chosen[other]]
        out_values[agent] = value_of_totals(lens, totals, n_seen)


@kernel
def fill_values(lens, graph, alive, present, chosen, scratch, out_values):
    """Field value that each present agent sees. Absent agents are seen by nobody, and their values are left alone.

    Parameters
    ----------
    lens : Lens
    graph : Graph
    alive : uint8[n] or uint8[0]   0: absent; without entries nobody is
    present : int64[n_present]     the agents that `alive` tells of, in order
    chosen : int32[n]              what is looked at: states or actions
    scratch : FieldScratch         from `make_field_scratch`, overwritten
    out_values : int64[n]          overwritten
    """
    if lens.weights.shape[0] == 0:
        for j in range(present.shape[0]):
            out_values[present[j]] = 0
    elif graph.kind == NEIGHBOURS:
        _fill_values_of_neighbours(lens, graph, alive, present, chosen, scratch, out_values)
    elif graph.kind == OTHERS:
        _fill_values_of_others(lens, present, chosen, scratch, out_values)
    else:
        value = value_of_all(lens, present, chosen, scratch)
        for j in range(present.shape[0]):
            out_values[present[j]] = value


@kernel
def value_of_all(lens, present, chosen, scratch):
    """Field value of all present agents.

    Parameters
    ----------
    lens : Lens
    present : int64[n_present]
    chosen : int32[n]        states or actions
    scratch : FieldScratch   overwritten

    Returns
    -------
    int64
    """
    _sum_weights(lens, present, chosen, scratch.totals)
    return value_of_totals(lens, scratch.totals, present.shape[0])


@kernel
def fill_values_of_means(lens, graph, alive, present, means, scratch, out_values):
    """Field value that each present agent would see if everyone weighed what it weighs on average.

    Parameters
    ----------
    lens : Lens
    graph : Graph
    alive : uint8[n] or uint8[0]
    present : int64[n_present]
    means : float64[n, D]      expected weights of each agent
    scratch : FieldScratch     overwritten
    out_values : int64[n]      overwritten for the present agents
    """
    totals, shifted = scratch.totals, scratch.shifted
    for d in range(totals.shape[0]):
        totals[d] = 0.0
        for j in range(present.shape[0]):
            totals[d] += means[present[j], d]
    for j in range(present.shape[0]):
        agent = present[j]
        n_seen = np.int64(present.shape[0])
        for d in range(totals.shape[0]):
            shifted[d] = totals[d]
        if graph.kind == OTHERS:
            n_seen -= 1
            for d in range(totals.shape[0]):
                shifted[d] -= means[agent, d]
        elif graph.kind != EVERYONE:
            n_seen = _sum_neighbours(graph, alive, agent, means, shifted)
        out_values[agent] = value_of_totals(lens, shifted, n_seen)


@kernel
def _sum_neighbours(graph, alive, agent, means, out_totals):
    """Sum the neighbours' expected weights; return how many neighbours are there."""
    n_seen = np.int64(0)
    for d in range(out_totals.shape[0]):
        out_totals[d] = 0.0
    for place in range(graph.indptr[agent], graph.indptr[agent + 1]):
        other = graph.indices[place]
        if alive.shape[0] == 0 or alive[other] != 0:
            n_seen += 1
            for d in range(out_totals.shape[0]):
                out_totals[d] += means[other, d]
    return n_seen
