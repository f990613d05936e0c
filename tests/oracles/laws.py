"""Exact laws of the integer draws: rational arithmetic where it is small, 60 digits or scipy.stats where it is not."""

import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
from scipy import stats

from .counts import agents_of, count_vectors_listed, counts_of

try:
    import mpmath
except ImportError:  # comes with sympy; without it the last digits of huge cases are scipy's
    mpmath = None

EXACT_UP_TO = 300
"""Binomial coefficients of tops up to this are taken as Python integers."""


def binomial_pmf(n, p, support=None):
    """P(X = x) for X ~ Binomial(n, p) at every x of `support` (default 0..n), as float64[len(support)]."""
    support = range(n + 1) if support is None else [int(x) for x in support]
    if n <= EXACT_UP_TO:
        p = Fraction(p)
        top, bottom = p.numerator, p.denominator
        weights = [math.comb(n, x) * top**x * (bottom - top) ** (n - x) if 0 <= x <= n else 0 for x in support]
        return np.array([weight / bottom**n for weight in weights])
    if mpmath is None:
        return stats.binom.pmf(support, n, p)
    with mpmath.workdps(60):
        p = mpmath.mpf(p)
        return np.array([float(_choose(n, x) * p**x * (1 - p) ** (n - x)) if 0 <= x <= n else 0.0 for x in support])


def hypergeometric_pmf(good, bad, n_drawn, support=None):
    """P(x of n_drawn are good), drawing without replacement, at every x of `support` (default 0..n_drawn)."""
    support = range(n_drawn + 1) if support is None else [int(x) for x in support]
    if good + bad <= EXACT_UP_TO:
        ways = [math.comb(good, x) * math.comb(bad, n_drawn - x) if 0 <= x <= n_drawn else 0 for x in support]
        return np.array([way / math.comb(good + bad, n_drawn) for way in ways])
    if mpmath is None:
        return stats.hypergeom.pmf(support, good + bad, good, n_drawn)
    with mpmath.workdps(60):
        total = _choose(good + bad, n_drawn)
        return np.array([float(_choose(good, x) * _choose(bad, n_drawn - x) / total) for x in support])


def _choose(n, x):
    """Binomial coefficient by log-gamma at the working precision, zero outside 0..n."""
    if not 0 <= x <= n:
        return mpmath.mpf(0)
    return mpmath.exp(mpmath.loggamma(n + 1) - mpmath.loggamma(x + 1) - mpmath.loggamma(n - x + 1))


def multinomial_pmf(n, probabilities):
    """float64[|Λ(n, S)|]: the multinomial law over the count vectors in lexicographic order."""
    exact = [Fraction(float(p)) for p in probabilities]
    result = []
    for c in count_vectors_listed(n, len(exact)):
        ways = math.factorial(n) // math.prod(math.factorial(count) for count in c)
        result.append(float(ways * math.prod(p**count for p, count in zip(exact, c, strict=True))))
    return np.array(result)


def multivariate_hypergeometric_pmf(counts, n_drawn):
    """float64[|Λ(n_drawn, S)|]: counts of a sample without replacement, by listing every subset of labelled agents."""
    counts = [int(count) for count in counts]
    seen = Counter(counts_of(sample, len(counts)) for sample in itertools.combinations(agents_of(counts), n_drawn))
    n_subsets = math.comb(sum(counts), n_drawn)
    return np.array([seen[c] / n_subsets for c in count_vectors_listed(n_drawn, len(counts))])
