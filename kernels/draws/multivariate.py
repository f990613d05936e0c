"""Draws of count vectors: multinomial and multivariate hypergeometric."""

import numpy as np

from ..compilation import kernel
from ..streams import next_below
from .binomial import draw_binomial
from .hypergeometric import draw_hypergeometric

# Agents are drawn one at a time up to this many per category; beyond, a hypergeometric draw per category is faster
# (3 categories: 12 agents take 100 ns either way).
_SINGLES_PER_CATEGORY = 4


@kernel(forceinline=True)
def _positive_mass(probabilities, start):
    """Sum of the positive entries from `start` on."""
    mass = 0.0
    for category in range(start, probabilities.shape[0]):
        if probabilities[category] > 0.0:
            mass += probabilities[category]
    return mass


@kernel(error_model="numpy")
def draw_multinomial(n, probabilities, stream, out_counts):
    """Place n agents independently: one binomial draw per category, given those before it.

    Rounding: the mass of the categories still to come is summed afresh each time it has halved, so it keeps its
    relative precision however small it becomes, and the rarer side of each binomial is the one that is drawn. After
    the last category with a positive probability that mass is exactly 0, so the category takes whoever is left.
    Probabilities count relative to their sum; one that is 0 (or negative, or NaN) gets exactly 0.

    Parameters
    ----------
    n : int64                        number of agents, up to 2**30; counts as 0 if negative
    probabilities : float64[n_categories]   at least one positive
    stream : uint64[STREAM_WORDS]   advanced
    out_counts : int64[n_categories]   overwritten; adds up to n (to 0 if no probability is positive)
    """
    to_come = _positive_mass(probabilities, 0)
    summed = to_come
    remaining = np.int64(max(n, 0))
    for category in range(probabilities.shape[0]):
        mass = probabilities[category]
        placed = np.int64(0)
        if remaining > 0 and mass > 0.0:
            to_come -= mass
            if to_come <= 0.5 * summed:
                to_come = _positive_mass(probabilities, category + 1)
                summed = to_come
            placed = draw_binomial(remaining, min(mass, to_come) / (mass + to_come), stream)
            if mass > to_come:
                placed = remaining - placed
        out_counts[category] = placed
        remaining -= placed


@kernel
def draw_multivariate_hypergeometric(counts, n_drawn, stream, out_counts):
    """Draw agents without replacement from a population given by its counts.

    Small samples are drawn agent by agent, large ones by one hypergeometric draw per category given those before it;
    a sample of more than half of the population is drawn as its complement.

    Parameters
    ----------
    counts : int64[n_categories]   at least 0, adding up to at most 2**31
    n_drawn : int64                counts as 0 if negative, as all if larger than the population
    stream : uint64[STREAM_WORDS]   advanced
    out_counts : int64[n_categories]   overwritten, must not alias `counts`; adds up to n_drawn
    """
    n_categories = counts.shape[0]
    population = np.int64(0)
    for category in range(n_categories):
        population += counts[category]
        out_counts[category] = 0
    sample = min(max(n_drawn, 0), population)
    draws_left_over = sample > population - sample
    if draws_left_over:
        sample = population - sample
    if sample <= _SINGLES_PER_CATEGORY * n_categories:
        _draw_one_by_one(counts, sample, population, stream, out_counts)
    else:
        _draw_by_category(counts, sample, population, stream, out_counts)
    if draws_left_over:
        for category in range(n_categories):
            out_counts[category] = counts[category] - out_counts[category]


@kernel(forceinline=True)
def _draw_one_by_one(counts, sample, population, stream, out_counts):
    """Add `sample` agents to `out_counts`, each uniform among those of `counts` that are not yet in it."""
    for drawn in range(sample):
        place = next_below(population - drawn, stream)
        # No early exit: the branch would be mispredicted for most agents, at twice the cost.
        for category in range(counts.shape[0]):
            available = counts[category] - out_counts[category]
            # As unsigned, a place that an earlier category has used up is above every count.
            out_counts[category] += np.int64(np.uint64(place) < np.uint64(available))
            place -= available


@kernel(forceinline=True)
def _draw_by_category(counts, sample, population, stream, out_counts):
    """Set `out_counts` to a sample, category by category."""
    for category in range(counts.shape[0]):
        population -= counts[category]
        drawn = draw_hypergeometric(counts[category], population, sample, stream)
        out_counts[category] = drawn
        sample -= drawn
