"""Randomness of a program text, enumerated.

A program that draws is run again from its start once for every branch of its draws: :class:`Branches` holds the
decisions of the current branch and moves depth first to the next. ``random.random()`` is not a number but a
:class:`UniformDraw`, an interval that every comparison with a threshold splits in two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .values import NUMBERS, SEQUENCES, Function, Refusal, Run, items_of, kind

MAX_BRANCHES = 100_000


class Branches:
    """Depth-first walk over the decisions that the draws of a program ask for.

    Attributes
    ----------
    drew : bool
        Whether any run so far has called a function of ``random``.
    """

    __slots__ = ("_draws", "_factors", "_n_branches", "_n_options", "_position", "_taken", "drew")

    def __init__(self) -> None:
        self.drew = False
        self._taken: list[int] = []
        self._n_options: list[int] = []
        self._position = 0
        self._n_branches = 0
        self._factors: list[float] = []
        self._draws: list[UniformDraw] = []

    def begin(self) -> None:
        """Go back to the first decision, for a run from the start."""
        self._n_branches += 1
        if self._n_branches > MAX_BRANCHES:
            raise Refusal(f"draws have more than {MAX_BRANCHES:,} branches")
        self._position = 0
        self._factors.clear()
        self._draws.clear()

    def advance(self) -> bool:
        """Move on to the next branch; False after the last one."""
        while self._taken and self._taken[-1] + 1 == self._n_options[-1]:
            self._taken.pop()
            self._n_options.pop()
        if not self._taken:
            return False
        self._taken[-1] += 1
        return True

    def decide(self, n_options: int) -> int:
        """Return the option that the current branch takes at its next decision."""
        if n_options > MAX_BRANCHES:
            raise Refusal(f"draws have more than {MAX_BRANCHES:,} branches")
        if self._position == len(self._taken):
            self._taken.append(0)
            self._n_options.append(n_options)
        self._position += 1
        return self._taken[self._position - 1]

    def probability(self) -> float:
        """Return the probability of the branch that has just been run.

        A uniform draw contributes the length of what is left of [0, 1): the second case of ``u < .2``, ``u < .5`` gets
        .5 - .2, which is exact where .8 * .375 would round.
        """
        return math.prod(self._factors) * math.prod(draw.high - draw.low for draw in self._draws)

    def draw_uniform(self) -> UniformDraw:
        """Draw from [0, 1)."""
        draw = UniformDraw(self)
        self._draws.append(draw)
        return draw

    def draw_equally(self, n_options: int) -> int:
        """Draw one of ``n_options`` indices, all of the same probability."""
        option = self.decide(n_options)
        self._factors.append(1.0 / n_options)
        return option

    def draw_weighted(self, weights: Sequence[float]) -> int:
        """Draw an index with probability proportional to its weight; indices of weight 0 are no branches."""
        if any(type(weight) not in NUMBERS or not 0 <= weight < math.inf for weight in weights):
            raise Refusal("random.choices: weights must be finite numbers and not negative")
        total = math.fsum(weights)
        if total == 0.0:
            raise Refusal("random.choices: all weights are 0")
        options = [index for index, weight in enumerate(weights) if weight > 0]
        option = options[self.decide(len(options))]
        self._factors.append(weights[option] / total)
        return option


class UniformDraw:
    """A number drawn from [0, 1), of which only the interval [low, high) is known; it may be compared, nothing else."""

    __slots__ = ("_branches", "high", "low")
    kind = "random.random()"

    def __init__(self, branches: Branches) -> None:
        self._branches = branches
        self.low = 0.0
        self.high = 1.0

    def _is_below(self, threshold: Any) -> bool:
        if type(threshold) not in NUMBERS or math.isnan(threshold):
            found = "nan" if type(threshold) is float else kind(threshold)
            raise Refusal(f"random.random() is compared with {found}, expected a number")
        if threshold <= self.low:
            return False
        if threshold >= self.high:
            return True
        if self._branches.decide(2) == 0:
            self.high = threshold
            return True
        self.low = threshold
        return False

    # a single point has probability 0, so that < and <= are the same event
    __lt__ = __le__ = _is_below

    def __gt__(self, threshold: Any) -> bool:
        return not self._is_below(threshold)

    __ge__ = __gt__


def refuse_use(*_: Any) -> Any:
    """Refuse to take a uniform draw for a number."""
    raise Refusal(
        "random.random() can only be compared with a number by <, <=, > or >= so that it can be enumerated; "
        "for a whole number use random.randrange(n)"
    )


_USES = (
    "eq ne bool int float index round floor ceil trunc abs neg pos complex add radd sub rsub mul rmul truediv rtruediv"
)
for _use in f"{_USES} floordiv rfloordiv mod rmod pow rpow".split():
    setattr(UniformDraw, f"__{_use}__", refuse_use)


def _branches(run: Run) -> Branches:
    if run.branches is None:
        raise Refusal("draws at random outside the function, expected draws inside it only")
    run.branches.drew = True
    return run.branches


def _random(run: Run) -> UniformDraw:
    return _branches(run).draw_uniform()


def _population(run: Run, name: str, value: Any) -> Any:
    if type(value) not in SEQUENCES or len(value) == 0:
        found = "an empty one" if type(value) in SEQUENCES else kind(value)
        raise Refusal(f"random.{name}: expected a list or tuple to draw from, found {found}")
    return value


def _choice(run: Run, values: Any) -> Any:
    values = _population(run, "choice", values)
    return values[_branches(run).draw_equally(len(values))]


def _choices(run: Run, values: Any, weights: Any = None, *, cum_weights: Any = None, k: Any = 1) -> list[Any]:
    values = _population(run, "choices", values)
    if type(k) is not int or k < 0:
        raise Refusal("random.choices: k must be a whole number of 0 or more")
    run.spend(k)
    if cum_weights is not None:
        if weights is not None:
            raise Refusal("random.choices: weights and cum_weights are both given, expected one of them")
        cumulative = items_of(run, cum_weights)
        if any(type(value) not in NUMBERS for value in cumulative):
            raise Refusal("random.choices: cum_weights must be numbers")
        weights = [upper - lower for lower, upper in zip([0, *cumulative], cumulative)]
    if weights is None:
        return [values[_branches(run).draw_equally(len(values))] for _ in range(k)]
    weights = items_of(run, weights)
    if len(weights) != len(values):
        raise Refusal(f"random.choices: {len(weights)} weights for {len(values)} values")
    run.spend(k * len(weights))
    return [values[_branches(run).draw_weighted(weights)] for _ in range(k)]


def _draw_from_range(run: Run, name: str, *limits: Any) -> int:
    values = range(*limits)
    if not values:
        raise Refusal(f"random.{name}: the range {', '.join(map(str, limits))} is empty")
    return values[_branches(run).draw_equally(len(values))]


def _randint(run: Run, low: Any, high: Any) -> int:
    if type(high) not in (int, bool):
        raise Refusal(f"random.randint: expected whole numbers, found {kind(high)}")
    return _draw_from_range(run, "randint", low, high + 1)


def _randrange(run: Run, *limits: Any) -> int:
    return _draw_from_range(run, "randrange", *limits)


RANDOM_FUNCTIONS = {
    "random": Function(_random, 0, 0),
    "choice": Function(_choice, 1, 1),
    "choices": Function(_choices, 1, 2, frozenset({"weights", "cum_weights", "k"})),
    "randint": Function(_randint, 2, 2),
    "randrange": Function(_randrange, 1, 3),
}
