"""What a program text is told about what its language does not have."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from .values import Refusal

_NODES = {
    "AsyncFor": "async for",
    "AsyncFunctionDef": "async def",
    "AsyncWith": "async with",
    "ClassDef": "class",
    "Delete": "del",
    "Dict": "a dictionary",
    "DictComp": "a dictionary",
    "FormattedValue": "an f-string",
    "FunctionDef": "def inside a function",
    "GeneratorExp": "a generator outside a call such as sum(x for x in xs)",
    "JoinedStr": "an f-string",
    "NamedExpr": "the operator :=",
    "Set": "a set",
    "SetComp": "a set",
    "Starred": "a starred expression",
    "TryStar": "try",
    "YieldFrom": "yield",
}
_OPERATORS = {
    "BitAnd": "& (write and)",
    "BitOr": "| (write or)",
    "BitXor": "^ (write ** for a power)",
    "Invert": "~ (write not)",
    "Is": "is (write ==)",
    "IsNot": "is not (write !=)",
    "LShift": "<<",
    "MatMult": "@",
    "RShift": ">>",
}
_RANDOM = {
    "uniform": "compare random.random() with a probability",
    "shuffle": "draw one element with random.choice",
    "sample": "draw one element with random.choice",
    "seed": "the draws of a function are enumerated, so it needs no seed",
}
_RANDOM_DEFAULT = "use random.random() < p, random.choice, random.choices, random.randint or random.randrange"
_NUMPY = {
    "clip": "max(low, min(high, x))",
    "maximum": "max(x, y)",
    "minimum": "min(x, y)",
    "where": "x if condition else y",
}
_METHODS = {"append": "xs += [x]", "extend": "xs += ys", "sort": "xs = sorted(xs)", "copy": "list(xs)"}


def unknown_node(node: ast.AST) -> Refusal:
    """Say that a construct is not available."""
    word = type(node).__name__
    return Refusal(f"{_NODES.get(word, word.lower())} is not available in function texts")


def operator_name(node: ast.AST, table: Mapping[str, Any]) -> str:
    """Return an operator's key in its table, or say that it is not available."""
    name = type(node).__name__
    if name not in table:
        raise Refusal(f"operator {_OPERATORS.get(name, name)} is not available in function texts")
    return name


def unknown_attribute(node: ast.Attribute) -> Refusal:
    """Say that ``x.name`` is not available, and what to write instead."""
    name = node.attr
    root: ast.expr = node
    while isinstance(root, ast.Attribute):
        root = root.value
    module = root.id if isinstance(root, ast.Name) else ""
    if module == "random":
        return Refusal(f"random.{name} cannot be enumerated; {_RANDOM.get(name, _RANDOM_DEFAULT)}")
    if module == "math":
        return Refusal(f"math.{name} is not available in function texts")
    if module in ("np", "numpy"):
        return Refusal(f"numpy is not available in function texts; write {_NUMPY.get(name, 'math.* or random.*')}")
    hint = f"; write {_METHODS[name]}" if name in _METHODS else ""
    return Refusal(f"attribute .{name} is not available in function texts{hint}")
