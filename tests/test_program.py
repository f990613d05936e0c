"""Function texts: sources, constants, arguments, messages, and what the language does not have."""

import math

import numpy as np
import pytest
from program_texts import program_of, text_of

from kofn.engine.program import Program, ProgramError


def test_source_as_lines_with_preamble():
    lines = [
        "'''Rates.'''",
        "import math",
        "import random",
        "A = [0.5, 0.25]",
        "B = A[0] * math.e",
        "",
        *text_of("return A[x] * B").split("\n"),
    ]
    program = Program(lines, name="rate", n_parameters=1)
    assert program.parameters == ("x",)
    assert program.value(1) == 0.25 * 0.5 * math.e


def test_indented_source_annotations_and_comments():
    source = """
        # the text of a nested block
        def move(state: int, action: int, /) -> int:
            # a comment
            return state + action  # another
    """
    assert Program(source, name="move", n_parameters=2).value(2, 3) == 5


@pytest.mark.parametrize(
    "source",
    ["x + y", "  x + y  # sum", "return x + y", "total = x\ntotal += y\nreturn total", text_of("return a + b", "a, b")],
)
def test_body_or_expression_with_named_parameters(source):
    assert Program(source, name="f", parameters=("x", "y")).value(2, 3) == 5


def test_constants_are_visible_and_cannot_be_changed():
    constants = {"P": [[0.25, 0.75], [1, 0]], "low": -1, "label": "a", "n": np.int64(3), "v": np.array([1.5, 2.5])}
    assert program_of("return P[x][1], low, label, n, v[0], P + [x], P[0] * 2", constants=constants).value(0) == (
        (0.75, -1, "a", 3, 1.5, ((0.25, 0.75), (1, 0), 0), (0.25, 0.75, 0.25, 0.75))
    )
    for body in (
        "P[0] = 1",
        "P[0][0] += 1",
        "q = P\nq += [1]",
        "for P[0][0] in [1]: pass",
        "q = P\nq *= 2",
        "[q] = P[:1]\nq[0] = 5",
    ):
        with pytest.raises(ProgramError, match="a constant list cannot be changed"):
            program_of(body + "\nreturn 0", constants=constants).value(0)
    with pytest.raises(ProgramError, match="low is used before it has a value"):
        program_of("low += 1\nreturn low", constants=constants).value(0)
    assert constants["P"] == [[0.25, 0.75], [1, 0]]
    with pytest.raises(ProgramError, match=r"^f, line 1: k: found dict, expected numbers, text or lists of these$"):
        program_of("return 0", constants={"k": {}})


HIDDEN = {
    "return math.pi": "math.pi is not available",
    "return math.exp(1)": "math.exp is not available",
    "return abs(1)": "abs is a variable here, not a function",
    "return random.random() < 1": "random.random",
}


@pytest.mark.parametrize("body", HIDDEN)
def test_a_name_of_the_text_hides_a_module_or_a_function(body):
    with pytest.raises(ProgramError, match=HIDDEN[body]):
        program_of(body, "random", constants={"math": 3, "abs": 4})


def test_arguments_are_values_and_not_changed():
    program = program_of("return x[0] + x[1]")
    for argument in ([1, 2], (1, 2), np.array([1, 2])):
        assert program.value(argument) == 3
    assert type(program_of("return x").value(np.float64(0.5))) is float
    assert program_of("return x").value([1, [2]]) == (1, (2,))
    with pytest.raises(ProgramError, match="cannot be changed"):
        program_of("x[0] = 1\nreturn x").value([5])
    with pytest.raises(ProgramError, match=r"^f, line 1: called with 2 arguments, expected 1$"):
        program.value(1, 2)
    with pytest.raises(ProgramError, match="found object"):
        program.value(object())
    with pytest.raises(ProgramError, match="2\\*\\*64"):
        program.value(10**30)


def test_message_names_line_reason_and_arguments():
    program = Program(
        "def g(local_state, global_state, local_action):\n    y = 1\n\n    return (y +\n        1 / local_action)",
        name="local_reward",
        n_parameters=3,
    )
    with pytest.raises(ProgramError) as caught:
        program.value(1, -2, 0)
    expected = "local_reward, line 4: division by zero, for local_state=1, global_state=-2, local_action=0"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    "body",
    [
        "while 1 / (1 - x) > 0:\n  x += 1\n  y = 0",
        "for y, z in [(1, 2), 3]:\n  x = y\n  x = z",
        "\n\nreturn (\nx\n/ 0)",
    ],
)
def test_line_of_a_failure_is_that_of_its_statement(body):
    line = 2 + len(body) - len(body.lstrip("\n"))
    with pytest.raises(ProgramError, match=f"^f, line {line}: "):
        Program("def f(x):\n" + "\n".join("    " + part for part in body.split("\n")), name="f", n_parameters=1).value(
            0
        )


def test_runs_do_not_share_variables():
    program = program_of("if x > 0: y = [x]\ny[0] += 1\nreturn y")
    assert program.value(1) == (2,)
    assert program.value(1) == (2,)
    with pytest.raises(ProgramError, match="y is used before"):
        program.value(0)


MALFORMED = {
    "": "no function found",
    "x = 1": "no function found",
    "def f(x): return 1\ndef g(x): return 2": "line 2: expected one def",
    "def f(x): return 1\nA = 2": "line 2: expected one def",
    "print(1)\ndef f(x): return 1": "line 1: expected one def",
    "A, B = 1, 2\ndef f(x): return 1": "line 1: expected NAME = value",
    "A = 1\nB = 1 / 0\ndef f(x): return 1": "line 2: division by zero",
    "A = random.random()\ndef f(x): return 1": "line 1: draws at random outside",
    "A = 10**100\ndef f(x): return 1": "line 1: a whole number of 2",
    "A = range(3)\ndef f(x): return 1": "line 1: the value is a range",
    "def f(x, y): return 1": r"line 1: 2 parameters \(x, y\), expected 1",
    "def f(): return 1": "0 parameters",
    "def f(x, x): return 1": "1: two parameters of the same name",
    "def f(x=1): return 1": "defaults",
    "def f(*x): return 1": "defaults",
    "def f(x, *, y): return 1": "defaults",
    "def f(x, **y): return 1": "defaults",
    "@property\ndef f(x): return 1": "decorator",
    "async def f(x): return 1": "no function",
    "def f(x)\n  return 1": "line 1: not valid Python: expected ':'",
    "def f(x):\nreturn 1": "line 2: not valid Python",
    "def f(x): return 1 1": "not valid Python",
    "from math import exp\ndef f(x): return 1": "line 1: from ... import",
    "import os\ndef f(x): return 1": "line 1: import os is not available, expected math or random alone",
    "import math as m\ndef f(x): return 1": "import math as m",
}


@pytest.mark.parametrize("source", MALFORMED)
def test_malformed_source(source):
    with pytest.raises(ProgramError, match=MALFORMED[source]):
        Program(source, name="f", n_parameters=1)


def test_source_of_another_type():
    for source in (None, 5, b"def f(x): return 1", [1, 2], {"a": 1}):
        with pytest.raises(ProgramError, match="expected text or a list of lines"):
            Program(source, name="f", n_parameters=1)
    with pytest.raises(TypeError, match="n_parameters"):
        Program("1", name="f")


REFUSED = {
    "return np.clip(x, 0, 1)": r"line 2: numpy is not available in function texts; write max\(low, min\(high, x\)\)",
    "return np.random.rand()": "numpy is not available",
    "y = []\ny.append(1)\nreturn y": r"line 3: attribute \.append .* write xs \+= \[x\]",
    "x + 1": "a value that nothing uses",
    "return": "return without a value",
    "return lambda: 1": "lambda is not available",
    "return {1: 2}": "a dictionary",
    "return {1, 2}": "a set",
    "return f'{x}'": "an f-string",
    "return (y := 1)": "the operator :=",
    "return [*[1]]": "a starred expression",
    "return max(*[1])": "a starred expression",
    "return max(**{})": r"max does not take \*\*",
    "return max([1], key=abs)": "max does not take key=",
    "return x is None": "operator is \\(write ==\\)",
    "return 1 << 3": "operator <<",
    "return x & 1": "write and",
    "return ~x": "write not",
    "return x @ x": "operator @",
    "return 1j": "complex is not available",
    "return b'a'": "bytes is not available",
    "return ...": "ellipsis is not available",
    "return y": "name y is not defined",
    "return [i for i in i]": "name i is not defined",
    "return abs": "abs is not a value",
    "return math": "math is not a value",
    "return math.exp": "math.exp is not a value, expected a call",
    "return math.foo": "math.foo is not available",
    "return foo(x)": "function foo is not available",
    "return x(1)": "x is a variable here",
    "return f(x)": "f calls itself",
    "return abs(1, 2)": "abs is called with 2 arguments, expected 1",
    "return min()": "min is called with 0 arguments, expected 1 or more",
    "def g(y): return y\nreturn g(x)": "line 2: def inside a function",
    "global x\nreturn x": "global is not available",
    "try: return 1\nexcept: return 2": "try is not available",
    "with x: return 1": "with is not available",
    "class A: pass\nreturn 1": "class is not available",
    "del x\nreturn 1": "del is not available",
    "assert x\nreturn 1": "assert is not available",
    "raise x": "raise is not available",
    "yield x": "yield is not available",
    "a, *b = [1, 2]\nreturn a": "a starred expression",
    "x.y = 1\nreturn x": r"attribute \.y",
    "x.y += 1\nreturn x": r"attribute \.y",
    "y = [1, 2]\ny[0:1] = [3]\nreturn y": "assignment to a slice",
    "break": "break outside a loop",
    "for i in [1]: pass\nelse: continue\nreturn 1": "continue outside a loop",
    "__y = 1\nreturn 1": "begins with two underscores",
    "return (i for i in [1])": "a generator outside a call",
    "match x:\n  case 1: return 1": "match is not available",
    "import os\nreturn 1": "import os",
    "y: int\nreturn 1": "an annotation without a value",
}


@pytest.mark.parametrize("body", REFUSED)
def test_what_is_not_in_the_language_is_refused_with_its_line(body):
    with pytest.raises(ProgramError, match=REFUSED[body]):
        program_of(body)
