"""What the tests of random draws share: streams at fixed seeds, goodness of fit, and laws to compare with."""

import math

import numpy as np
from scipy import stats

from kofn.kernels import streams

FAMILY_LEVEL = 1e-6
N_DRAWS = 100_000
MIN_EXPECTED = 10.0
MAX_LISTED = 300
ALL_ZEROS, ALL_ONES = 0, 2**64 - 1


def stream_for(case):
    """A stream of its own for each numbered case."""
    stream = streams.new_stream(streams.checked_seed(20240611))
    streams.seek(stream, 200, case, 0)
    return stream


def stream_of_words(word):
    """A stream whose next 256 bits repeat `word`."""
    stream = streams.new_stream(streams.checked_seed(0))
    stream[3], stream[4:] = 0, np.uint64(word)
    return stream


def block_index(stream):
    """Blocks computed since the stream was set up: more than 0 once all words of `stream_of_words` are spent."""
    return int(stream[1]) & (2**32 - 1)


def draw_many(fill, *arguments, case=0, size=N_DRAWS):
    out = np.full(size, -1, np.int64)
    fill(*arguments, stream_for(case), out)
    return out


def pool(observed, expected):
    """Merge neighbouring cells until each expects at least MIN_EXPECTED; what is left over joins the last cell."""
    pooled = [[0.0, 0.0]]
    for seen, due in zip(observed, expected, strict=True):
        pooled[-1][0] += seen
        pooled[-1][1] += due
        if pooled[-1][1] >= MIN_EXPECTED:
            pooled.append([0.0, 0.0])
    rest = pooled.pop()
    if pooled:
        pooled[-1][0] += rest[0]
        pooled[-1][1] += rest[1]
    return np.array(pooled)


def p_value_of_cells(observed, expected):
    """Chi-square test of pooled cells; where all mass is in one of them, exact test of the draws outside the mode."""
    assert abs(observed.sum() - expected.sum()) <= 1e-9 * expected.sum()
    assert not observed[expected == 0.0].any(), "drew what cannot happen"
    cells = pool(observed, expected)
    if len(cells) > 1:
        return stats.chisquare(cells[:, 0], cells[:, 1] * (cells[:, 0].sum() / cells[:, 1].sum())).pvalue
    mode, total = expected.argmax(), int(observed.sum())
    outside = np.delete(expected, mode).sum() / total
    return stats.binomtest(total - int(observed[mode]), total, min(outside, 1.0)).pvalue


def p_value(sample, support, law):
    """Test a sample of integers against scipy's frozen `law` on lowest … highest: all values, or cells if too many."""
    lowest, highest = support
    assert lowest <= sample.min()
    assert sample.max() <= highest
    if highest - lowest < MAX_LISTED:
        listed = np.arange(lowest, highest + 1)
        return p_value_of_cells(np.bincount(sample - lowest, minlength=listed.size), law.pmf(listed) * sample.size)
    mean, deviation = law.stats(moments="mv")[0], math.sqrt(law.stats(moments="mv")[1])
    if deviation < MAX_LISTED / 20:
        start = max(lowest, math.floor(mean - MAX_LISTED / 2))
        last_of_cell = np.arange(start, min(start + MAX_LISTED, highest))
    else:
        levels = np.linspace(0.0, 1.0, MAX_LISTED)[1:-1]
        last_of_cell = np.unique(np.floor(mean + deviation * stats.norm.ppf(levels)).astype(np.int64))
    observed = np.bincount(np.searchsorted(last_of_cell, sample), minlength=last_of_cell.size + 1)
    return p_value_of_cells(observed, np.diff(law.cdf(last_of_cell), prepend=0.0, append=1.0) * sample.size)


def assert_none_rejected(p_values):
    """Hold the smallest p-value of {case: p-value} against the family's level."""
    worst = min(p_values, key=p_values.get)
    assert p_values[worst] > FAMILY_LEVEL / len(p_values), f"{worst}: p-value {p_values[worst]:.1e}"


class Hypergeometric:
    """The law as normalised products of odds, outwards from the mode: scipy's loses digits at 1e9."""

    def __init__(self, good, bad, n_drawn):
        total = good + bad
        self.lowest, self.highest = max(0, n_drawn - bad), min(good, n_drawn)
        self.mean = n_drawn * good / total if total else 0.0
        spread = (total - n_drawn) / (total - 1) if total > 1 else 0.0
        self.variance = self.mean * (bad / total if total else 0.0) * spread
        reach = 12.0 * math.sqrt(self.variance) + 40.0
        self.values = np.arange(
            max(self.lowest, math.floor(self.mean - reach)), min(self.highest, self.mean + reach) + 1
        )
        k = self.values[:-1].astype(np.longdouble)
        steps = np.log((good - k) * (n_drawn - k)) - np.log((k + 1) * (bad - n_drawn + k + 1))
        logs = np.concatenate([[np.longdouble(0)], np.cumsum(steps)])
        mass = np.exp(logs - logs.max())
        self.mass = (mass / mass.sum()).astype(np.float64)

    def pmf(self, k):
        place = np.clip(np.searchsorted(self.values, k), 0, self.values.size - 1)
        return np.where(self.values[place] == k, self.mass[place], 0.0)

    def cdf(self, k):
        below = np.concatenate([[0.0], np.cumsum(self.mass)])
        return below[np.searchsorted(self.values, k, side="right")]

    def stats(self, moments):
        assert moments == "mv"
        return self.mean, self.variance


def p_value_of_hypergeometric(sample, good, bad, n_drawn):
    law = Hypergeometric(good, bad, n_drawn)
    return p_value(sample, (law.lowest, law.highest), law)
