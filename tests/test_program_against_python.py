"""Function texts without randomness: what Python itself computes, and its failures as one clear line."""

import itertools
import re
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st
from program_texts import frozen, many, python_function, text_of

from kofn.engine.program import Program, ProgramError

DETERMINISTIC = [
    "return 1.0 - abs(x - y)",
    "return max(-1, min(1, x + y))",
    "return 0.2 if abs(x - y) <= 1 else 0",
    "return x and y or not x",
    "return 0 < x < 3, -1 <= x <= y != 2",
    "return x in (1, 2), y not in [1, 2], x in range(-1, 2), 'b' in 'abc'",
    "a, (b, c) = x, [y, 2]\na, b = b, a\nreturn [a, b, c]",
    "a = b = [0] * 3\na[1] = x\nb[-1] += y\nreturn a + b[::-1]",
    "a = [1]\nb = a\nb += [2]\nb *= 2\nreturn a, b",
    "a = [1, 2]\na[0], a[1] = a[1], a[0]\na[1], a[0] = a\nreturn a",
    "a = [[0, 1], [2, 3]]\na[1][0] = x\nreturn a[1][0:2], a[0][-1], (1, 2, 3)[1:], 'abc'[::2]",
    "n = 0\nfor i in range(9):\n  if i == 3: continue\n  if i > 6: break\n  n += i * x\nelse:\n  n = -1\nreturn n",
    "for i in range(3):\n  pass\nelse:\n  x = 9\nreturn x, i",
    "n = 0\nwhile n < 10:\n  n += 1\n  if n * n > 30: break\nelse:\n  n = 99\nreturn n",
    "while False:\n  pass\nelse:\n  return 'else'\nreturn 0",
    "for i in range(4):\n  for j in range(4):\n    if j == 2: break\n    if i * j == 1: return i, j\nreturn None",
    "return [i * j for i in range(4) if i != x for j in range(i) if j != 1]",
    "x = 5\na = [x for x in range(3)]\nreturn a, x",
    "return [[a * b for b in range(a)] for a in range(4)]",
    "return [a for a, b in zip([1, 2, 3], [3, 2, 1]) if a >= b]",
    "return sum(a * a for a in range(5)), max(abs(a - 2) for a in [1, 5]), any(a > 3 for a in [1, 4]), all([])",
    "return any(1 / a > 0 for a in [1, 0]), list(a for a in 'ab')",
    "return list(enumerate([4, 5], start=1)), list(reversed([1, 2])), tuple(zip((1, 2), 'ab')), list(zip())",
    "z = reversed([1, 2, 3])\na = 2 in z\nreturn a, list(z), (1, 2) in zip([1], [2])",
    "z = zip([1, 2], [3, 4])\na = list(z)\nreturn a, list(z), bool(z)",
    "return sorted([3, 1, 2], reverse=True), sorted([[2, 1], [1, 9]]), min([[2], [1, 5]]), min([], default=7)",
    "return round(2.5), round(-1.25, 1), round(1234, -2), round(x), int(-2.7), int('12'), float('1e3'), bool([])",
    "return str(1.5) + str(x) + 'a' * 2, len('abc'), len([1, 2]), len(range(0, 10, 3))",
    "return 7 // 2, -7 // 2, 7 % -3, -7.5 % 2, 2**10, 2**-1, (-2) ** 3, 4**0.5, True + True, 1 / 3",
    "return math.exp(1), math.sqrt(2), math.floor(-1.5), math.hypot(3, 4), math.log(8, 2), math.atan2(1, 2), math.pi",
    "return math.comb(60, 30), math.perm(5, 2), math.perm(4), math.factorial(20), math.prod([2, 3.5])",
    "return math.isclose(1, 1 + 1e-12), math.inf > 1, math.fsum([0.1] * 10), math.dist([0, 0], [3, 4]), math.gcd()",
    "return math.comb(3, 5), math.lcm(4, 6), math.isnan(math.nan), math.inf - math.inf != 0, 1e308 * 10",
    "'a docstring'\nimport math, random\ny: float = 2.5\nreturn x * y",
    "if x == 0: return 'zero'\nelif x < 0: return 'below'\nelif x < 2: return 'one'\nelse: return 'above'",
    "return [1, 2] == [1, 2], (1, 2) < (1, 3), [1] == (1,), 'a' < 'b', None == 0, [[1]] != [[2]]",
    "return ((x, y), [x, [y, 'a']])",
    "return len('\\d')",
    "sum = 0\nfor value in [1, 2, x]:\n  sum += value\nreturn sum",
    "a = [1, 2, 3]\nfor v in a:\n  if len(a) < 6: a += [v]\nreturn a",
]


@pytest.mark.parametrize("body", DETERMINISTIC)
def test_value_is_pythons(body):
    source = text_of(body, "x, y")
    ours, python = Program(source, name="f", n_parameters=2), python_function(source)
    for arguments in itertools.product((-2, 0, 1, 2.5), (-1, 3)):
        expected = python(*arguments)
        if expected is None:
            with pytest.raises(ProgramError, match="the value is None"):
                ours.value(*arguments)
        else:
            assert repr(ours.value(*arguments)) == repr(frozen(expected))
            assert ours.outcomes(*arguments) == [(frozen(expected), 1.0)]


FAILING = [
    "return 1 / x",
    "return math.sqrt(-1 - x)",
    "return [1, 2][x + 5]",
    "return 'a' + 1",
    "return [1] < 2",
    "return math.log(x)",
    "return 0.0 ** -1",
    "return [1][0.5]",
    "return min([])",
    "return int('x')",
    "return int(math.nan)",
    "return math.exp(1000)",
    "return 10.0 ** 400",
    "a, b = 1, 2, 3\nreturn a",
    "a, b = 5\nreturn a",
    "if x: y = 1\nreturn y",
    "for i in 3: pass\nreturn 0",
    "return len(5)",
    "return sum(['a'])",
    "y += 1\nreturn y",
    "for i in range(2): y = [b for a in [1] for b in ([b] if i else [1])]\nreturn y",
    "a = (1, 2)\na[0] = 3\nreturn a",
    "return round('a')",
    "return range(1.5)[0]",
]
NO_RETURN = ["pass", "x = 1", "if x: return 1"]


@pytest.mark.parametrize("body", FAILING + NO_RETURN)
def test_what_fails_in_python_is_one_clear_line(body):
    source = text_of(body)
    python = python_function(source)
    if body in NO_RETURN:
        assert python(0) is None
    else:
        with pytest.raises((ArithmeticError, LookupError, TypeError, ValueError, NameError)):
            python(0)
    with pytest.raises(ProgramError, match=r"^f, line [23]: [^\n]+, for x=0$"):
        Program(source, name="f", n_parameters=1).outcomes(0)


# a grammar of small programs, half typed, so that most of them run

NUMBERS = st.sampled_from(["0", "1", "2", "-3", "0.5", "-1.5", "x", "y", "n", "v", "True", "7", "1e-3"])
LISTS = st.sampled_from(["[1, 2, 3]", "items", "items", "[]", "(0.5, x)", "range(4)", "range(-1, 6, 2)", "[[1], [2]]"])
ARITHMETIC = st.sampled_from(["+", "-", "*", "/", "//", "%"])
COMPARISON = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])


@st.composite
def expressions(draw, depth=3):
    if depth == 0:
        return draw(NUMBERS)
    one = expressions(depth=depth - 1)
    few = lists(depth=depth - 1)
    form = draw(st.integers(0, 14))
    if form <= 2:
        return f"({draw(one)} {draw(ARITHMETIC)} {draw(one)})"
    if form == 3:
        return f"({draw(one)} {draw(COMPARISON)} {draw(one)} {draw(COMPARISON)} {draw(one)})"
    if form == 4:
        return f"({draw(one)} if {draw(one)} else {draw(one)})"
    if form == 5:
        return f"({draw(one)} {draw(st.sampled_from(['and', 'or']))} not {draw(one)} {draw(COMPARISON)} {draw(one)})"
    if form == 6:
        return (
            f"{draw(st.sampled_from(['abs', 'round', 'int', 'float', 'bool', 'math.floor', 'math.exp']))}({draw(one)})"
        )
    if form == 7:
        return f"{draw(st.sampled_from(['min', 'max', 'math.atan2', 'math.fmod']))}({draw(one)}, {draw(one)})"
    if form == 8:
        name = draw(st.sampled_from(["sum", "len", "min", "max", "any", "all", "math.prod", "math.fsum"]))
        return f"{name}({draw(few)})"
    if form == 9:
        return f"{draw(few)}[{draw(st.sampled_from(['', 'int']))}({draw(one)}) % 3]"
    if form == 10:
        return f"({draw(one)} {draw(st.sampled_from(['in', 'not in']))} {draw(few)})"
    if form == 11:
        return f"({draw(one)} ** {draw(st.sampled_from(['2', '3', '0.5', '-1', '0']))})"
    if form == 12:
        return f"sum(v {draw(ARITHMETIC)} {draw(one)} for v in {draw(few)} if {draw(one)})"
    return draw(NUMBERS)


@st.composite
def lists(draw, depth=2):
    if depth == 0:
        return draw(LISTS)
    one, few = expressions(depth=depth - 1), lists(depth=depth - 1)
    form = draw(st.integers(0, 7))
    if form == 0:
        return f"[{draw(one)}, {draw(one)}, {draw(one)}]"
    if form == 1:
        return f"(list({draw(few)}) + list({draw(few)}))"
    if form == 2:
        return f"[{draw(one)} for v in {draw(few)} if {draw(one)}]"
    if form == 3:
        return f"{draw(few)}[int({draw(one)}):{draw(st.sampled_from(['', '3', '-1']))}]"
    if form == 4:
        return f"{draw(st.sampled_from(['sorted', 'list', 'tuple', 'reversed', 'enumerate']))}({draw(few)})"
    if form == 5:
        return f"[a * b for a, b in zip({draw(few)}, {draw(few)})]"
    return draw(LISTS)


@st.composite
def statements(draw, depth):
    """One statement, with a block of its own where it has one."""
    small = expressions(depth=1)
    form = draw(st.integers(0, 9 if depth else 6))
    if form == 0:
        return f"n = {draw(expressions())}"
    if form == 1:
        return f"{draw(st.sampled_from(['n', 'v', 'x']))} {draw(ARITHMETIC)}= {draw(expressions())}"
    if form == 2:
        return f"items = {draw(lists())}"
    if form == 3:
        return f"items[int({draw(small)}) % 3] = {draw(small)}"
    if form == 4:
        return f"n, v = {draw(small)}, n"
    if form == 5:
        return f"items {draw(st.sampled_from(['*= 2', '*= n', '+= items', '+= [n, x]', '+= range(3)']))}"
    if form == 6:
        return f"if {draw(expressions())}: return {draw(expressions())}"
    block = textwrap.indent(draw(bodies(depth=depth - 1)), "  ")
    if form == 7:
        return f"if {draw(expressions())}:\n{block}\nelse:\n  v = n"
    if form == 8:
        return f"for v in {draw(lists())}:\n{block}\n  if {draw(small)}: break"
    return f"while n {draw(COMPARISON)} {draw(NUMBERS)} and len(items) < 9:\n  items += [n]\n{block}"


def bodies(depth=2):
    """One to three statements."""
    return st.lists(statements(depth), min_size=1, max_size=3).map("\n".join)


BOUNDS = r"2\*\*64|more than 200,000 steps|of length|a range of more than|400"


@many(4)
@given(bodies(), st.one_of(expressions(), lists()), st.sampled_from([(0, 1), (2, -1), (1.5, 3), (-2, 0.25)]))
def test_small_programs_equal_python(body, result, arguments):
    """The program runs first: Python itself would not survive what the bounds refuse."""
    source = text_of(f"n = 1\nv = 2\nitems = [3, 1, 2]\n{body}\nreturn {result}", "x, y")
    try:
        found = Program(source, name="f", n_parameters=2).value(*arguments)
    except ProgramError as error:
        if re.search(BOUNDS, str(error)):
            return
        found = error
    try:
        expected = python_function(source)(*arguments)
    except Exception:
        assert isinstance(found, ProgramError), source
        return
    if isinstance(found, ProgramError):
        assert re.search("not real|the value is", str(found)), (source, expected, found)
    else:
        assert repr(found) == repr(frozen(expected)), source
