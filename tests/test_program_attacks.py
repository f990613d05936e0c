"""Hostile function texts: each ends in one line, in bounded work, and reaches nothing."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from program_texts import many, program_of, text_of

from kofn.engine.program import Program, ProgramError
from kofn.engine.program import program as program_module
from kofn.engine.program.values import MAX_STEPS

ATTACKS = [
    "return ().__class__.__bases__[0].__subclasses__()",
    "return x.__class__",
    "return math.__loader__",
    "return math.__dict__['exp']",
    "return random.__builtins__",
    "return random._os.system('true')",
    "return random.SystemRandom()",
    "return random.seed(1)",
    "return random.setstate(1)",
    "return random.Random(1).random()",
    "return math.exp.__self__",
    "return abs.__self__",
    "return __import__('os')",
    "return __builtins__",
    "return getattr(x, 'real')",
    "return open('/etc/passwd')",
    "return eval('1')",
    "return exec('1')",
    "return compile('1', '', 'eval')",
    "return globals()",
    "return vars()",
    "return type(x)",
    "return input()",
    "return print(1)",
    "return pow(2, 10**9)",
    "return '{0.__class__}'.format(x)",
    "return '%s' % x",
    "return '%1000000000d' % x",
    "return f'{x:>1000000000}'",
    "return (lambda: 1)()",
    "while True: pass",
    "while True: x += 1",
    "while 1:\n  while 1:\n    x = 0",
    "for i in range(10**18): pass\nreturn 1",
    "for i in range(10**5):\n  for j in range(10**5): pass\nreturn 1",
    "y = [1]\nfor i in y: y += [1]\nreturn 1",
    "return 10**10**10",
    "return 2**10**9",
    "return (2**63) * (2**63)",
    "for i in range(100): x = (x + 2) * (x + 2)\nreturn 1",
    "x = 3\nwhile True: x = x * x",
    "x = 3.0\nwhile x > 0: x = x * x",
    "return 1 << 10**9",
    "return -(10**10**10)",
    "return 9" + "9" * 5000,
    "return int('9' * 10**6)",
    "return int('9' * 900)",
    "return int(1e300)",
    "return round(1e308) * round(1e308)",
    "return round(5, -10**9)",
    "return math.floor(1e300)",
    "return math.factorial(10**9)",
    "return math.factorial(21)",
    "return math.comb(10**9, 5 * 10**8)",
    "return math.perm(10**9)",
    "return math.perm(10**18, 10**17)",
    "return math.prod([2**60] * 100000)",
    "return math.prod(range(1, 100000))",
    "return math.lcm(2**63, 2**62 - 1)",
    "return math.ldexp(1.0, 10**12)",
    "return 'a' * 10**10",
    "return len('a' * 10**10)",
    "y = 'a'\nfor i in range(99): y = y + y\nreturn y",
    "return [0] * 10**9",
    "return [[0] * 10**5] * 10**5",
    "return ([0] * 10**5) + ([0] * 10**5) == 1",
    "y = [0]\nfor i in range(99): y = y + y\nreturn y",
    "y = [0]\nfor i in range(99): y += y\nreturn y",
    "y = [0]\nwhile True: y *= 2",
    "y = (0,)\nwhile True: y = (y, y)",
    "y = [0]\nz = [0]\nfor i in range(19):\n  y = [y, y]\n  z = [z, z]\nreturn y == z",
    "y = [0]\nfor i in range(19): y = [y, y]\nreturn y",
    "y = [0]\nz = [0]\nfor i in range(99):\n  y = [y, y]\n  z = [z, z]\nreturn y < z",
    "y = [0]\nz = [0]\nfor i in range(19):\n  y = [y, y]\n  z = [z, z]\nreturn len(sorted([y, z]))",
    "y = [0]\nz = [0]\nfor i in range(19):\n  y = [y, y]\n  z = [z, z]\nreturn 1 if max(y, z) else 0",
    "y = [0]\nfor i in range(19): y = [y, y]\nreturn [[1]] in y or y in y",
    "y = [0]\ny[0] = y\nreturn y",
    "y = [0]\ny[0] = y\nz = [0]\nz[0] = z\nreturn y == z",
    "y = [0]\nfor i in range(10**5): y = [y]\nreturn y == [y]",
    "y = [0]\nfor i in range(10**5): y = enumerate([y])\nreturn y",
    "y = range(3)\nfor i in range(10**5): y = zip(y)\nreturn list(y)",
    "return list(range(10**10))",
    "return list(range(2**63 + 2**62))",
    "return range(2**70)",
    "return sum(range(10**12))",
    "return max(range(10**12))",
    "return 0.5 in range(10**12)",
    "return sorted(list(range(10**5)) * 5)",
    "return sum([[1]] * 5, [])",
    "return sum(['a'] * 5)",
    "return sum(['a'] * 5, '')",
    "return [i for i in range(10**9)]",
    "return [0 for a in range(99) for b in range(99) for c in range(99) for d in range(99)]",
    "return [[0 for b in range(10**4)] for a in range(10**4)]",
    "return [" + "0 " + "for a in x " * 500 + "]",
    "return sum(a for a in range(10**5) for b in range(10**5))",
    "return any(False for a in range(10**5) for b in range(10**5))",
    "return tuple(zip(range(10**5), range(10**5), range(10**5)))",
    "for i in range(10**5): y = [" + "1, " * 3000 + "]\nreturn 1",
    "return random.choices([0, 1], k=10**9)",
    "return [random.random() < .5 for i in range(1000)]",
    "return random.randint(0, 10**18)",
    "return random.choice(range(10**18))",
    "return random.choices(range(10**5), range(10**5), k=3)",
    "for i in range(10**5): y = random.random()\nreturn " + " + ".join(["random.choice([0, 1])"] * 30),
    "return " + "-" * 5000 + "1",
    "return " + "(" * 5000 + "1" + ")" * 5000,
    "return " + "[" * 150 + "]" * 150,
    "return " + "+".join(["1"] * 5000),
    "return " + "not " * 4000 + "x",
    "return x" + ".a" * 5000,
    "return x" + "[0]" * 5000,
    "return x" + "()" * 5000,
    "return " + "1 if x else " * 1500 + "2",
    "return " + "lambda: " * 2000 + "2",
    "return " + "abs(" * 2000 + "1" + ")" * 2000,
    "return 2" + "**2" * 4000,
    "return x" + " <= x" * 3000 + " < 'a'",
    "return " + "x and " * 3000 + "y",
    "if x: pass\n" + "elif x: pass\n" * 1100 + "return y",
    "\n".join(" " * depth + "if x == 0:" for depth in range(90)) + "\n" + " " * 90 + "return y",
    "return '" + "a" * 19_000 + "'",
    "x = " * 2000 + "y",
    "return '\\ud800' + x",
    "return float('" + "1" * 500 + "x')",
    "return x.\ud800",
    "return '\0'",
    "#" * 30_000,
]


@pytest.mark.parametrize("body", ATTACKS, ids=[f"{i}-{body[:30]!r}" for i, body in enumerate(ATTACKS)])
def test_hostile_text_ends_in_one_line(body):
    with pytest.raises(ProgramError) as caught:
        program_of(body).outcomes(0)
    message = str(caught.value)
    assert re.match(r"^f, line \d+: ", message)
    assert len(message.splitlines()) == 1
    assert len(message) <= 300


GUARDS = {
    "return 'a' * 2000": "text of length 2,000, expected at most 1,000",
    "return 'a' * 600 + 'b' * 600": "text of length 1,200, expected at most 1,000",
    "return [0] * 150_000": "a list of length 150,000, expected at most 100,000",
    "return range(10**6)[0]": "a range of more than 100,000 numbers",
    "return 2**1000": "a whole number of 2**64 or more",
    "return 2**64": "a whole number of 2**64 or more",
    "return -(2**63) * 2": "a whole number of 2**64 or more",
    "return round(5, -500)": "round: -500 digits, expected at most 400",
    "y = [0]\nfor i in range(50): y = [y]\nreturn y == [y]": "lists nested more than 20 deep",
    "y = [0]\nfor i in range(50): y = [y]\nreturn y": "lists nested more than 20 deep",
    "return " + "abs(" * 150 + "x" + ")" * 150: "nested more than 100 deep",
    "while True: pass": "runs for more than 200,000 steps",
    "return random.randrange(200_000)": "draws have more than 100,000 branches",
    "#" * 30_000: "30,014 characters, expected at most 20,000",
}


@pytest.mark.parametrize("body", GUARDS, ids=range(len(GUARDS)))
def test_the_guard_that_refuses_is_the_one_meant_to(body):
    with pytest.raises(ProgramError, match=re.escape(GUARDS[body])):
        program_of(body).outcomes(0)


def test_steps_bound_the_work_of_a_call():
    for body in (
        "while True: pass",
        "for i in range(10**5): y = [" + "1, " * 3000 + "]",
        "return [0] * 10**5 + [0] * 10**5",
    ):
        program = program_of(body)
        with pytest.raises(ProgramError):
            program.outcomes(0)
        assert 0 < program.steps_used <= MAX_STEPS + 10_000
    program = program_of(
        "for i in range(16):\n  for j in range(99): x += random.choice([0, 1]) if j == 0 else 0\nreturn x"
    )
    with pytest.raises(ProgramError, match="steps over all branches"):
        program.outcomes(0)
    assert program.steps_used <= program_module.MAX_TOTAL_STEPS + MAX_STEPS


def test_deep_stack_of_the_caller_is_no_other_error():
    program = program_of("return " + "abs(" * 90 + "x" + ")" * 90)
    assert program.value(-1) == 1

    def call_at_depth(depth):
        return program.value(-1) if depth == 0 else call_at_depth(depth - 1)

    outcomes = set()
    for depth in range(500, 1000, 5):
        try:
            outcomes.add(call_at_depth(depth))
        except ProgramError as error:
            outcomes.add(str(error))
        except RecursionError:  # of this test's own frames, before or after the program's
            break
    assert outcomes <= {1, "f, line 2: nested too deeply, for x=-1"}
    assert 1 in outcomes


def ends_well(source, **options):
    """Give a law or a message of one line; any other exception goes through."""
    try:
        law = Program(source, name="f", n_parameters=1, **options).outcomes(1)
    except ProgramError as error:
        return len(str(error).splitlines()) == 1
    return abs(math.fsum(p for _, p in law) - 1.0) < 1e-12


@many(3)
@given(st.text(max_size=60))
def test_any_text_is_a_program_or_an_error(source):
    assert ends_well(source)
    assert ends_well(source, parameters=("x",))
    assert ends_well(f"def f(x):\n  return {source}")


TOKENS = """
    x y i 0 1 2.5 -1 10**9 'a' None True [ ] ( ) , : = += *= == < <= > in not and or if else for while return break
    continue pass def import math random lambda is + - * / // % ** . abs( min( max( round( int( len( sum( range( sorted(
    zip( list( math.pi math.exp( math.comb( random.random() random.choice( random.choices( random.randint(0, .a @ ;
"""
LINES = st.lists(st.sampled_from(TOKENS.split()), max_size=9).map(" ".join)


@many(8)
@given(st.lists(st.tuples(st.integers(0, 2), LINES), min_size=1, max_size=5))
def test_any_soup_of_tokens_is_a_program_or_an_error(lines):
    body = "\n".join("  " * depth + line for depth, line in lines)
    assert ends_well(text_of(body))
    assert ends_well(body, parameters=("x",))


VALUES = "x y 0 -1 2.5 'ab' None [1,2] [] (x,y) range(3) random.random() [[1],[2]] math.nan"
CALLS = """
    abs min max round int float bool str sum len range enumerate zip sorted any all list tuple reversed math.exp
    math.log math.comb math.perm math.prod math.dist math.gcd math.ldexp math.isqrt random.choice random.choices
    random.randint random.randrange
"""


@st.composite
def chaos(draw, depth=3):
    """Expressions that parse and make no sense: every operation meets every kind of value."""
    if depth == 0:
        return draw(st.sampled_from(VALUES.split()))
    one = chaos(depth=depth - 1)
    form = draw(st.integers(0, 7))
    if form == 0:
        return f"({draw(one)} {draw(st.sampled_from(['+', '-', '*', '/', '//', '%', '**']))} {draw(one)})"
    if form == 1:
        return f"({draw(one)} {draw(st.sampled_from(['<', '>=', '==', '!=', 'in', 'not in']))} {draw(one)})"
    if form == 2:
        return f"{draw(one)}[{draw(one)}]"
    if form == 3:
        return f"{draw(one)}[{draw(one)}:{draw(one)}:{draw(one)}]"
    if form in (4, 5):
        return f"{draw(st.sampled_from(CALLS.split()))}({', '.join(draw(st.lists(one, max_size=3)))})"
    if form == 6:
        return f"[{draw(one)} for y in {draw(one)}]"
    return f"({draw(one)} if {draw(one)} else -{draw(one)})"


@many(5)
@given(chaos(), chaos(depth=2), chaos(depth=2))
def test_every_operation_on_every_kind_of_value_is_a_value_or_an_error(first, second, third):
    assert ends_well(
        f"y = 1\ny = {first}\ny += {second}\nfor x in [0, 1]:\n  y[x] = {third}\n  if y: break\nreturn y",
        parameters=("x",),
    )
    assert ends_well(f"y = 2\nreturn {first}", parameters=("x",))
