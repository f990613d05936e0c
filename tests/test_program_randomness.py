"""Randomness of function texts: exact laws against sums by hand, a walk over a grid, and Python's own generator."""

import math
import random
import textwrap
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from program_texts import law_of, many, program_of, python_function, text_of

from kofn.engine.program import Program, ProgramError

LAWS = {
    "coin": ("return 1 if random.random() < 0.3 else 0", {1: 0.3, 0: 0.7}),
    "coin from the right": ("return 1 if 0.25 >= random.random() else 0", {1: 0.25, 0: 0.75}),
    "coin above": ("return 1 if random.random() > 0.25 else 0", {0: 0.25, 1: 0.75}),
    "certain": ("return 1 if random.random() < 1 else 0", {1: 1.0}),
    "impossible": ("return 1 if random.random() < -0.5 else 0", {0: 1.0}),
    "clipped": ("return random.random() < 1.0000001", {True: 1.0}),
    "between": ("return 0.2 <= random.random() < 0.5", {True: 0.5 - 0.2, False: 0.7}),
    "not": ("return 5 if not random.random() < 0.25 else 6", {6: 0.25, 5: 0.75}),
    "die": ("return random.randint(1, 4)", dict.fromkeys((1, 2, 3, 4), 0.25)),
    "two dice": (
        "return random.randint(1, 6) + random.randrange(1, 7)",
        {total: (6 - abs(total - 7)) / 36 for total in range(2, 13)},
    ),
    "randrange": ("return random.randrange(0, 10, 5)", {0: 0.5, 5: 0.5}),
    "randrange of one": ("return random.randrange(4)", dict.fromkeys(range(4), 0.25)),
    "choice": ("return random.choice([x, 1, 1, 'a'])", {0: 0.25, 1: 0.5, "a": 0.25}),
    "choice of lists": ("return random.choice([[1, 2], (1, 2), [3]])", {(1, 2): 2 / 3, (3,): 1 / 3}),
    "choice of range": ("return random.choice(range(2))", {0: 0.5, 1: 0.5}),
    "weights": ("return random.choices([1, 2, 3], [1, 0, 3])[0]", {1: 0.25, 3: 0.75}),
    "named weights": ("return random.choices([1, 2, 3], weights=(0, 0, 3), k=1)[0]", {3: 1.0}),
    "cumulative": ("return random.choices('abc', cum_weights=[1, 1, 4])[0]", {"a": 0.25, "c": 0.75}),
    "branches of probability 0": (
        "y = random.choices([1, 0], [1, 0])[0]\nif random.random() < 0 or random.random() >= 1: y = 0\nreturn 1 / y",
        {1.0: 1.0},
    ),
    "two of plain choices": ("return sum(random.choices([0, 1], k=2))", {0: 0.25, 1: 0.5, 2: 0.25}),
    "plain choices": ("return random.choices([1, 2])[0]", {1: 0.5, 2: 0.5}),
    "two of choices": (
        "return random.choices([0, 1], [3, 1], k=2)",
        {(0, 0): 9 / 16, (0, 1): 3 / 16, (1, 0): 3 / 16, (1, 1): 1 / 16},
    ),
    "binomial": (
        "for i in range(4):\n  if random.random() < 0.5: x += 1\nreturn x",
        {k: math.comb(4, k) / 16 for k in range(5)},
    ),
    "nested": (
        "if random.random() < 0.5:\n  if random.random() < 0.5: return 1\n  return random.choice([2, 3])\nreturn 4",
        {1: 0.25, 2: 0.125, 3: 0.125, 4: 0.5},
    ),
    "thresholds": (
        "u = random.random()\nif u < .2: return 0\nelif u < .5: return 1\nelif u <= .75: return 2\nreturn 3",
        {0: 0.2, 1: 0.5 - 0.2, 2: 0.25, 3: 0.25},
    ),
    "thresholds out of order": (
        "u = random.random()\nif u > .5: x += 1\nif u < .25: x += 10\nif u < .75: x += 100\nreturn x",
        {110: 0.25, 100: 0.25, 101: 0.25, 1: 0.25},
    ),
    "cumulative sum": (
        "u = random.random()\nc = 0\nfor i, p in enumerate([.25, 0, .5]):\n  c += p\n  if u < c: return i\nreturn 9",
        {0: 0.25, 2: 0.5, 9: 0.25},
    ),
    "two uniforms": (
        "u = random.random()\nv = random.random()\nreturn (u < .5) + (v < .5) + 10 * (u < .25) + 0 * (v > .5)",
        {12: 0.125, 11: 0.125, 2: 0.125, 1: 0.375, 0: 0.25},
    ),
    "drawn in a list": (
        "us = [random.random() for i in range(3)]\nreturn sum([u < .5 for u in us])",
        {0: 1 / 8, 1: 3 / 8, 2: 3 / 8, 3: 1 / 8},
    ),
    "any": ("return any(random.random() < .5 for i in range(2))", {True: 0.75, False: 0.25}),
    "unused": ("u = random.random()\nv = random.choice([1, 2])\nreturn x", {0: 1.0}),
    "drawn probability": (
        "p = random.choice([0.25, 0.75])\nreturn random.random() < p and p",
        {0.25: 1 / 8, 0.75: 3 / 8, False: 0.5},
    ),
    "geometric, cut": (
        "while random.random() < 0.5 and x < 3: x += 1\nreturn x",
        {0: 0.5, 1: 0.25, 2: 0.125, 3: 0.125},
    ),
}


@pytest.mark.parametrize("label", LAWS)
def test_law_by_hand(label):
    body, expected = LAWS[label]
    law = law_of(body)
    assert law == pytest.approx(expected, rel=1e-15, abs=0)
    assert math.fsum(law.values()) == pytest.approx(1.0, abs=1e-16)


def test_probabilities_of_thresholds_are_differences_without_rounding():
    law = law_of("u = random.random()\nif u < .1: return 0\nif u < .4: return 1\nif u < .8: return 2\nreturn 3")
    assert law == {0: 0.1, 1: 0.4 - 0.1, 2: 0.8 - 0.4, 3: 1 - 0.8}


def test_rounding_is_taken_out_of_the_total():
    law = law_of("return [random.randrange(10), random.randrange(10)]")
    assert math.fsum([0.1 * 0.1] * 100) != 1.0
    assert math.fsum(law.values()) == 1.0


def test_what_underflows_is_no_outcome():
    assert law_of("return (random.random() < 1e-300) + (random.random() < 1e-300)") == {1: 2e-300, 0: 1.0}


GRID = 10


@st.composite
def drawing_bodies(draw, depth=2):
    """Statements that compare up to three uniforms with multiples of 1/10, and add up what comes out."""
    threshold = st.sampled_from(["0", "0.1", "0.2", "0.5", "0.5", "0.9", "1", "p"])
    uniform = st.sampled_from(["u", "u", "w", "random.random()"])
    lines = []
    for position in range(draw(st.integers(1, 2))):
        test = f"{draw(uniform)} {draw(st.sampled_from(['<', '<=', '>', '>=']))} {draw(threshold)}"
        inner = textwrap.indent(draw(drawing_bodies(depth=depth - 1)), "  ") if depth else "  pass"
        lines += [f"if {test}:", f"  n += {10 ** (position + 2 * depth)}", inner]
        lines += draw(
            st.sampled_from([["else:", "  p = 0.3"], ["else:", "  w = u"], [f"elif u < {draw(threshold)}: n += 5"]])
        )
    return "\n".join(lines)


class NeedsMore(Exception):
    pass


class GivenDraws:
    """Stands for the module ``random``: hands out given numbers."""

    def give(self, cells):
        self._left = [(cell + 0.5) / GRID for cell in reversed(cells)]

    def random(self):
        if not self._left:
            raise NeedsMore
        return self._left.pop()


@many(2)
@given(drawing_bodies())
def test_law_equals_a_walk_over_the_grid(body):
    """Thresholds lie on the grid, so that a uniform is as good as the middle of a cell, all cells alike."""
    source = text_of(f"p = 0.7\nn = 0\nu = random.random()\nw = random.random()\n{body}\nreturn n")
    law = dict(Program(source, name="f", n_parameters=1).outcomes(0))
    draws = GivenDraws()
    python = python_function(source, random=draws)
    expected = defaultdict(float)
    pending = [()]
    while pending:
        cells = pending.pop()
        draws.give(cells)
        try:
            expected[python(0)] += float(GRID) ** -len(cells)
        except NeedsMore:
            if len(cells) == 3:
                return  # too many draws for a walk over all cells
            pending += [(*cells, cell) for cell in range(GRID)]
    assert law == pytest.approx(expected, abs=1e-12)


def test_law_agrees_with_pythons_generator():
    """Level 1e-6 by the chi-square statistic on 5 cells; a shift of .03 in one cell is found with power above .99."""
    source = text_of(
        """
        import random
        if random.random() < 0.35:
            x += random.choice([-1, 1, 1])
        u = random.random()
        if u < 0.2:
            return x
        elif u < 0.45:
            x = x + random.choices([0, 1], weights=[2, 1])[0]
        return max(-1, min(3, x + random.randint(0, 1)))
        """
    )
    law = dict(Program(source, name="f", n_parameters=1).outcomes(0))
    python, generator, n = python_function(source, random=random.Random(7)), random.Random(7), 20_000
    assert generator.random() == random.Random(7).random()
    counts = Counter(python(0) for _ in range(n))
    assert set(counts) == set(law)
    assert len(law) == 5
    chi_square = sum((counts[value] - n * p) ** 2 / (n * p) for value, p in law.items())
    assert chi_square < 33.4  # quantile 1 - 1e-6 with 4 degrees of freedom


NOT_ENUMERABLE = {
    "return random.gauss(0, 1)": "random.gauss cannot be enumerated; use random.random",
    "return random.uniform(0, 1) < 0.5": "compare random.random",
    "y = [1, 2]\nrandom.shuffle(y)\nreturn y": "line 3: random.shuffle cannot be enumerated; draw one element",
    "return random.sample([1, 2], 1)": "random.choice",
    "return random.random": "random.random cannot",
    "return random.random() * 2": "can only be compared",
    "return int(random.random() * 3)": r"random\.randrange\(n\)",
    "u = random.random()\nreturn u": r"the value is random\.random\(\)",
    "return [random.random()]": r"the value is random\.random\(\)",
    "return random.random() == 0.5": "can only be compared",
    "return random.random() < random.random()": "is compared with random.random",
    "return random.random() < math.nan": "is compared with nan",
    "return random.random() < 'a'": "is compared with text",
    "if random.random(): return 1\nreturn 2": "can only be compared",
    "return [1, 2][random.random()]": "can only be compared",
    "return math.exp(random.random())": "can only be compared",
    "return -random.random()": "can only be compared",
    "return abs(random.random())": "can only be compared",
    "return str(random.random())": "can only be compared",
    "return sum([random.random()])": "can only be compared",
    "return random.random() in [0.5]": "can only be compared",
    "return range(random.random())": "can only be compared",
    "return random.choice([])": "an empty one",
    "return random.choice(5)": "found a whole number",
    "return random.choices([1, 2], [1])[0]": "1 weights for 2 values",
    "return random.choices([1, 2], [0, 0])[0]": "all weights are 0",
    "return random.choices([1, 2], [-1, 2])[0]": "not negative",
    "return random.choices([1, 2], [math.nan, 2])[0]": "finite",
    "return random.choices([1, 2], [1, 1], cum_weights=[1, 2])[0]": "expected one of them",
    "return random.choices([1, 2], cum_weights=[2, 1])[0]": "not negative",
    "return random.choices([1, 2], k=-1)": "k must be",
    "return random.randint(2, 1)": "the range 2, 2 is empty",
    "return random.randint(0, 1.5)": "found a float",
    "return random.randrange(0)": "is empty",
    "return random.randrange(1, 2, 0)": "must not be zero",
    "return random.randrange(10**18)": "more than 100,000 branches",
    "while random.random() < .5: x += 1\nreturn x": "steps",
}


@pytest.mark.parametrize("body", NOT_ENUMERABLE)
def test_what_cannot_be_enumerated_is_refused(body):
    with pytest.raises(ProgramError, match=NOT_ENUMERABLE[body]):
        program_of(body).outcomes(0)


def test_too_many_branches(monkeypatch):
    monkeypatch.setattr("kofn.engine.program.randomness.MAX_BRANCHES", 1000)
    body = "for i in range({}): x += random.choice([0, 1])\nreturn x"
    assert len(law_of(body.format(9))) == 10
    with pytest.raises(ProgramError, match="draws have more than 1,000 branches"):
        law_of(body.format(10))


def test_value_refuses_draws():
    program = program_of("return 5 if random.random() < x else 5")
    assert program.draws
    assert program.outcomes(0.5) == [(5, 1.0)]
    with pytest.raises(ProgramError, match=r"^f, line 1: draws at random, expected one value, for x=0\.5$"):
        program.value(0.5)
    assert not program_of("return x").draws
