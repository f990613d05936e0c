"""Compiler from the expressions of a program text to nested closures ``evaluate(run) -> value``.

Only nodes with a method here exist in the language; every other one is refused with its line. No text is ever turned
into Python code.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .functions import (
    ARITHMETIC,
    COMPARISONS,
    FUNCTIONS,
    MATH_CONSTANTS,
    MATH_FUNCTIONS,
    ORDERS,
    SIGNS,
    UNLIMITED,
    get_item,
    require_number,
    set_item,
)
from .hints import operator_name, unknown_attribute, unknown_node
from .randomness import RANDOM_FUNCTIONS
from .values import (
    INT_LIMIT,
    MAX_TEXT_LENGTH,
    NUMBERS,
    SCALARS,
    Function,
    Refusal,
    Run,
    bounded,
    items_of,
    iterable,
)

Evaluate = Callable[[Run], Any]
Assign = Callable[[Run, Any], None]
Walk = Callable[[Run], Iterator[Any]]

UNBOUND = object()
MAX_COMPREHENSION_LEVELS = 8


def weight_of(*nodes: ast.AST) -> int:
    """Count the nodes of expressions: the steps that running them once is charged."""
    return sum(1 for node in nodes for _ in ast.walk(node))


def stored_names(node: ast.AST) -> list[str]:
    """List the variables that a target of an assignment sets."""
    return [part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]


class ExpressionCompiler:
    """Compiles expressions of one function.

    Parameters
    ----------
    name : str
        The function's own name, which it may not call.
    constants : mapping of str to value
        Visible names, with values as :func:`~.program_values.admit` makes them.
    """

    def __init__(self, name: str, constants: Mapping[str, Any]) -> None:
        self.n_variables = 0
        self.draws = False
        self._name = name
        self._constants = constants
        self._slots: dict[str, int] = {}

    def declare(self, variable: str) -> None:
        """Give a variable its place in ``run.variables``."""
        if variable.startswith("__"):
            raise Refusal(f"name {variable} begins with two underscores")
        self._slots[variable] = self.n_variables
        self.n_variables += 1

    def expression(self, node: ast.expr) -> Evaluate:
        """Compile an expression."""
        method = getattr(self, f"_compile_{type(node).__name__}", None)
        try:
            if method is None:
                raise unknown_node(node)
            return method(node)
        except Refusal as refusal:
            raise Refusal(refusal.reason, refusal.line or node.lineno) from None

    def target(self, node: ast.expr) -> Assign:
        """Compile what an assignment sets: a name, an element, or a tuple of targets."""
        if isinstance(node, ast.Name):
            slot = self._slots[node.id]

            def assign(run: Run, value: Any) -> None:
                run.variables[slot] = value

            return assign
        if isinstance(node, ast.Tuple | ast.List):
            return _unpack([self.target(element) for element in node.elts])
        if isinstance(node, ast.Subscript):
            container, index = self.expression(node.value), self._index(node)
            return lambda run, value: set_item(container(run), index(run), value)
        if isinstance(node, ast.Attribute):
            raise unknown_attribute(node)
        raise unknown_node(node)

    def _index(self, node: ast.Subscript) -> Evaluate:
        if isinstance(node.slice, ast.Slice):
            raise Refusal("assignment to a slice, expected one element")
        return self.expression(node.slice)

    def _compile_Constant(self, node: ast.Constant) -> Evaluate:
        value = node.value
        if type(value) not in SCALARS:
            raise Refusal(f"{type(value).__name__} is not available in function texts")
        if type(value) is int and value >= INT_LIMIT:
            raise Refusal("a whole number of 2**64 or more, expected a smaller one")
        if type(value) is str and len(value) > MAX_TEXT_LENGTH:
            raise Refusal(f"text of length {len(value):,}, expected at most {MAX_TEXT_LENGTH:,}")
        return lambda run: value

    def _compile_Name(self, node: ast.Name) -> Evaluate:
        name = node.id
        if name in self._slots:
            slot = self._slots[name]

            def load(run: Run) -> Any:
                value = run.variables[slot]
                if value is UNBOUND:
                    raise Refusal(f"{name} is used before it has a value")
                return value

            return load
        if name in self._constants:
            value = self._constants[name]
            return lambda run: value
        if name in FUNCTIONS or name in ("math", "random"):
            raise Refusal(
                f"{name} is not a value, expected a call such as {name}{'(...)' if name in FUNCTIONS else '.…'}"
            )
        raise Refusal(f"name {name} is not defined")

    def _compile_Attribute(self, node: ast.Attribute) -> Evaluate:
        if self._is_module(node.value, "math"):
            if node.attr in MATH_CONSTANTS:
                value = MATH_CONSTANTS[node.attr]
                return lambda run: value
            if node.attr in MATH_FUNCTIONS:
                raise Refusal(f"math.{node.attr} is not a value, expected a call")
        raise unknown_attribute(node)

    def _is_module(self, node: ast.expr, module: str) -> bool:
        hidden = module in self._slots or module in self._constants
        return isinstance(node, ast.Name) and node.id == module and not hidden

    def _compile_UnaryOp(self, node: ast.UnaryOp) -> Evaluate:
        operand = self.expression(node.operand)
        if isinstance(node.op, ast.Not):
            return lambda run: not operand(run)
        name = operator_name(node.op, SIGNS)
        sign, where = SIGNS[name], "-" if name == "USub" else "+"
        if isinstance(node.operand, ast.Constant) and type(node.operand.value) in NUMBERS:
            value = sign(node.operand.value)
            return lambda run: value
        return lambda run: sign(require_number(operand(run), where))

    def _compile_BinOp(self, node: ast.BinOp) -> Evaluate:
        compute, otherwise = ARITHMETIC[operator_name(node.op, ARITHMETIC)]
        left, right = self.expression(node.left), self.expression(node.right)

        def binary(run: Run) -> Any:
            a = left(run)
            b = right(run)
            if type(a) in NUMBERS and type(b) in NUMBERS:
                value = compute(a, b)
                return value if type(value) is float else bounded(value)
            return otherwise(run, a, b)

        return binary

    def _compile_BoolOp(self, node: ast.BoolOp) -> Evaluate:
        *first, last = [self.expression(value) for value in node.values]
        decisive = isinstance(node.op, ast.Or)

        def connect(run: Run) -> Any:
            for operand in first:
                value = operand(run)
                if bool(value) is decisive:
                    return value
            return last(run)

        return connect

    def _compile_Compare(self, node: ast.Compare) -> Evaluate:
        names = [operator_name(op, COMPARISONS) for op in node.ops]
        left, *rest = [self.expression(operand) for operand in (node.left, *node.comparators)]
        if len(names) == 1 and names[0] in ORDERS:
            compute, otherwise, right = ORDERS[names[0]], COMPARISONS[names[0]], rest[0]

            def compare(run: Run) -> Any:
                a = left(run)
                b = right(run)
                return compute(a, b) if type(a) in NUMBERS else otherwise(run, a, b)

            return compare
        links = [(COMPARISONS[name], operand) for name, operand in zip(names, rest)]

        def chain(run: Run) -> Any:
            a = left(run)
            for holds, operand in links:
                b = operand(run)
                if not holds(run, a, b):
                    return False
                a = b
            return True

        return chain

    def _compile_IfExp(self, node: ast.IfExp) -> Evaluate:
        test, body, otherwise = self.expression(node.test), self.expression(node.body), self.expression(node.orelse)
        return lambda run: body(run) if test(run) else otherwise(run)

    def _compile_List(self, node: ast.List) -> Evaluate:
        items = [self.expression(item) for item in node.elts]
        return lambda run: [item(run) for item in items]

    def _compile_Tuple(self, node: ast.Tuple) -> Evaluate:
        items = [self.expression(item) for item in node.elts]
        return lambda run: tuple([item(run) for item in items])

    def _compile_Subscript(self, node: ast.Subscript) -> Evaluate:
        container, index = self.expression(node.value), self.expression(node.slice)
        return lambda run: get_item(run, container(run), index(run))

    def _compile_Slice(self, node: ast.Slice) -> Evaluate:
        parts = (node.lower, node.upper, node.step)
        start, stop, step = [self.expression(part) if part else lambda run: None for part in parts]
        return lambda run: slice(start(run), stop(run), step(run))

    def _compile_ListComp(self, node: ast.ListComp) -> Evaluate:
        walk = self._comprehension(node)
        return lambda run: list(walk(run))

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp) -> Walk:
        """Compile ``element for … in … if …`` to a generator; its variables live in places of their own."""
        if len(node.generators) > MAX_COMPREHENSION_LEVELS:
            raise Refusal(f"more than {MAX_COMPREHENSION_LEVELS} for in one comprehension")
        sources = [self.expression(node.generators[0].iter)]  # this one alone is evaluated outside
        outer = self._slots
        self._slots = dict(outer)
        own = dict.fromkeys(name for part in node.generators for name in stored_names(part.target))
        for name in own:
            self.declare(name)
        places = [self._slots[name] for name in own]
        sources += [self.expression(part.iter) for part in node.generators[1:]]
        element = self.expression(node.elt)
        walk: Walk | None = None
        for part, source in zip(reversed(node.generators), reversed(sources)):
            if part.is_async:
                raise Refusal("async is not available in function texts")
            weight = weight_of(part) + (weight_of(node.elt) if walk is None else 0)
            conditions = [self.expression(condition) for condition in part.ifs]
            walk = _level(source, self.target(part.target), conditions, weight, element, walk)
        self._slots = outer
        assert walk is not None
        inside = walk

        def start(run: Run) -> Iterator[Any]:
            for place in places:
                run.variables[place] = UNBOUND
            return inside(run)

        return start

    def _compile_Call(self, node: ast.Call) -> Evaluate:
        label, function = self._function(node.func)
        keywords: dict[str, Evaluate] = {}
        for keyword in node.keywords:
            if keyword.arg is None or keyword.arg not in function.keywords:
                raise Refusal(f"{label} does not take {f'{keyword.arg}=' if keyword.arg else '**'}")
            keywords[keyword.arg] = self.expression(keyword.value)
        if not function.least <= len(node.args) <= function.most:
            expected = f"{function.least}" + (f" to {function.most}" if function.most < UNLIMITED else " or more")
            raise Refusal(f"{label} is called with {len(node.args)} arguments, expected {expected}")
        arguments = [self._argument(argument) for argument in node.args]
        call = function.call
        if keywords:
            named = list(keywords.items())
            return lambda run: call(run, *[get(run) for get in arguments], **{name: get(run) for name, get in named})
        if len(arguments) == 1:
            first = arguments[0]
            return lambda run: call(run, first(run))
        if len(arguments) == 2:
            first, second = arguments
            return lambda run: call(run, first(run), second(run))
        return lambda run: call(run, *[get(run) for get in arguments])

    def _argument(self, node: ast.expr) -> Evaluate:
        return self._comprehension(node) if isinstance(node, ast.GeneratorExp) else self.expression(node)

    def _function(self, node: ast.expr) -> tuple[str, Function]:
        """Find the function that a call names."""
        if isinstance(node, ast.Attribute):
            if self._is_module(node.value, "math") and node.attr in MATH_FUNCTIONS:
                return f"math.{node.attr}", MATH_FUNCTIONS[node.attr]
            if self._is_module(node.value, "random") and node.attr in RANDOM_FUNCTIONS:
                self.draws = True
                return f"random.{node.attr}", RANDOM_FUNCTIONS[node.attr]
            raise unknown_attribute(node)
        if not isinstance(node, ast.Name):
            raise Refusal("calls something that is not the name of a function")
        if node.id in self._slots or node.id in self._constants:
            raise Refusal(f"{node.id} is a variable here, not a function")
        if node.id == self._name:
            raise Refusal(f"{node.id} calls itself, expected a loop")
        if node.id not in FUNCTIONS:
            raise Refusal(f"function {node.id} is not available in function texts")
        return node.id, FUNCTIONS[node.id]


def _level(
    source: Evaluate, assign: Assign, conditions: list[Evaluate], weight: int, element: Evaluate, inner: Walk | None
) -> Walk:
    """Make one ``for`` of a comprehension, around the next one or around the element."""

    def walk(run: Run) -> Iterator[Any]:
        for value in iterable(source(run)):
            run.spend(weight)
            assign(run, value)
            if all(condition(run) for condition in conditions):
                if inner is None:
                    yield element(run)
                else:
                    yield from inner(run)

    return walk


def _unpack(targets: Sequence[Assign]) -> Assign:
    def assign(run: Run, value: Any) -> None:
        values = tuple(items_of(run, value))  # setting an element may change the list itself
        if len(values) != len(targets):
            raise Refusal(f"{len(values)} values for {len(targets)} names")
        for target, item in zip(targets, values):
            target(run, item)

    return assign
