"""Compiler from the statements of a program text to closures ``execute(run) -> signal``.

The signal says how control leaves the statement: to the next one, out of a loop or round it, or out of the function.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .expressions import Assign, Evaluate, ExpressionCompiler, weight_of
from .functions import ARITHMETIC, augment, get_item, set_item
from .hints import operator_name, unknown_node
from .values import MAX_NESTING, Refusal, Run, iterable

Execute = Callable[[Run], int]
Compiled = tuple[int, Execute]  # steps that the statement itself is charged, and its closure

NEXT, BREAK, CONTINUE, RETURN = range(4)


class Code(NamedTuple):
    """A compiled body: ``execute(run)`` on ``run.variables`` of ``n_variables`` entries, the parameters first."""

    execute: Execute
    n_variables: int
    draws: bool


def compile_body(
    name: str, statements: Sequence[ast.stmt], parameters: Sequence[str], constants: Mapping[str, Any]
) -> Code:
    """Compile the body of the function ``name``.

    Raises
    ------
    Refusal
        With its line, for all that is not in the language.
    """
    compiler = _StatementCompiler(name, constants)
    for variable in dict.fromkeys([*parameters, *_assigned_names(statements)]):
        compiler.declare(variable)
    execute = compiler.block(statements)
    return Code(execute, compiler.n_variables, compiler.draws)


def check_nesting(tree: ast.AST) -> None:
    """Refuse a tree too deep for functions that call themselves; ``elif`` is no deeper than its ``if``."""
    pending = [(tree, 0, 1)]
    while pending:
        node, depth, line = pending.pop()
        line = getattr(node, "lineno", line)
        if depth > MAX_NESTING:
            raise Refusal(f"nested more than {MAX_NESTING} deep", line)
        flat = _elif(node)
        pending.extend((child, depth + (child is not flat), line) for child in ast.iter_child_nodes(node))


def check_import(node: ast.stmt) -> None:
    """Accept ``import math`` and ``import random``, which change nothing, and refuse all other imports."""
    if isinstance(node, ast.ImportFrom):
        raise Refusal("from ... import is not available, expected names such as math.exp", node.lineno)
    assert isinstance(node, ast.Import)
    for alias in node.names:
        if alias.name not in ("math", "random") or alias.asname is not None:
            renamed = f" as {alias.asname}" if alias.asname else ""
            raise Refusal(f"import {alias.name}{renamed} is not available, expected math or random alone", node.lineno)


def is_docstring(node: ast.stmt) -> bool:
    """Tell a text that stands alone, which does nothing."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _elif(node: ast.AST) -> ast.If | None:
    if isinstance(node, ast.If) and len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
        return node.orelse[0]
    return None


def _assigned_names(statements: Sequence[ast.stmt]) -> Iterator[str]:
    """Find the local variables; the variables of comprehensions are their own."""
    pending: list[ast.AST] = list(statements)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.comprehension):
            pending += [node.iter, *node.ifs]
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        pending.extend(ast.iter_child_nodes(node))


class _StatementCompiler(ExpressionCompiler):
    def __init__(self, name: str, constants: Mapping[str, Any]) -> None:
        super().__init__(name, constants)
        self._loop_depth = 0

    def block(self, statements: Sequence[ast.stmt]) -> Execute:
        """Compile statements in order; each notes its line and pays for itself before it runs."""
        steps = [step for statement in statements if (step := self._statement(statement)) is not None]

        def execute(run: Run) -> int:
            for line, weight, step in steps:
                run.line = line
                run.steps -= weight
                if run.steps < 0:
                    run.spend(0)  # refuses
                signal = step(run)
                if signal != NEXT:
                    return signal
            return NEXT

        return execute

    def _statement(self, node: ast.stmt) -> tuple[int, int, Execute] | None:
        """Compile one statement to (line, steps, closure); None for one without effect."""
        method = getattr(self, f"_compile_{type(node).__name__}", None)
        try:
            if method is None:
                raise unknown_node(node)
            compiled = method(node)
        except Refusal as refusal:
            raise Refusal(refusal.reason, refusal.line or node.lineno) from None
        return None if compiled is None else (node.lineno, *compiled)

    def _compile_Pass(self, node: ast.Pass) -> Compiled:
        return 1, lambda run: NEXT

    def _compile_Import(self, node: ast.Import) -> None:
        check_import(node)

    def _compile_ImportFrom(self, node: ast.ImportFrom) -> None:
        check_import(node)

    def _compile_Expr(self, node: ast.Expr) -> None:
        if is_docstring(node):
            return
        self.expression(node.value)  # refuses with a better reason if it can
        raise Refusal("a value that nothing uses, expected an assignment or return")

    def _compile_Return(self, node: ast.Return) -> Compiled:
        if node.value is None:
            raise Refusal("return without a value")
        value = self.expression(node.value)

        def execute(run: Run) -> int:
            run.result = value(run)
            return RETURN

        return weight_of(node), execute

    def _compile_Assign(self, node: ast.Assign) -> Compiled:
        value = self.expression(node.value)
        assigns = [self.target(target) for target in node.targets]
        return weight_of(node), _assign_one(assigns[0], value) if len(assigns) == 1 else _assign_all(assigns, value)

    def _compile_AnnAssign(self, node: ast.AnnAssign) -> Compiled:
        if node.value is None:
            raise Refusal("an annotation without a value")
        return weight_of(node), _assign_one(self.target(node.target), self.expression(node.value))

    def _compile_AugAssign(self, node: ast.AugAssign) -> Compiled:
        name = operator_name(node.op, ARITHMETIC)
        value = self.expression(node.value)
        if isinstance(node.target, ast.Subscript):
            container, index = self.expression(node.target.value), self._index(node.target)

            def execute_item(run: Run) -> int:
                into, at = container(run), index(run)
                set_item(into, at, augment(name, run, get_item(run, into, at), value(run)))
                return NEXT

            return weight_of(node), execute_item
        assign = self.target(node.target)
        before = self._compile_Name(node.target)  # type: ignore[arg-type]  # target() refuses attributes

        def execute(run: Run) -> int:
            assign(run, augment(name, run, before(run), value(run)))
            return NEXT

        return weight_of(node), execute

    def _compile_If(self, node: ast.If) -> Compiled:
        branches, weight, last = [], 0, node
        while True:
            branches.append((self.expression(last.test), self.block(last.body)))
            weight += weight_of(last.test)
            following = _elif(last)
            if following is None:
                break
            last = following
        otherwise = self.block(last.orelse)

        def execute(run: Run) -> int:
            for test, body in branches:
                if test(run):
                    return body(run)
            return otherwise(run)

        return weight, execute

    def _compile_While(self, node: ast.While) -> Compiled:
        test, weight, line = self.expression(node.test), weight_of(node.test), node.lineno
        body, otherwise = self._loop_body(node.body), self.block(node.orelse)

        def execute(run: Run) -> int:
            while test(run):
                run.spend(weight)
                signal = body(run)
                if signal == BREAK:
                    return NEXT
                if signal == RETURN:
                    return RETURN
                run.line = line
            return otherwise(run)

        return weight, execute

    def _compile_For(self, node: ast.For) -> Compiled:
        values, assign, line = self.expression(node.iter), self.target(node.target), node.lineno
        weight = weight_of(node.target)
        body, otherwise = self._loop_body(node.body), self.block(node.orelse)

        def execute(run: Run) -> int:
            for value in iterable(values(run)):
                run.spend(weight)
                assign(run, value)
                signal = body(run)
                if signal == BREAK:
                    return NEXT
                if signal == RETURN:
                    return RETURN
                run.line = line
            return otherwise(run)

        return weight_of(node.iter), execute

    def _loop_body(self, statements: Sequence[ast.stmt]) -> Execute:
        self._loop_depth += 1
        body = self.block(statements)
        self._loop_depth -= 1
        return body

    def _compile_Break(self, node: ast.Break) -> Compiled:
        return self._leave("break", BREAK)

    def _compile_Continue(self, node: ast.Continue) -> Compiled:
        return self._leave("continue", CONTINUE)

    def _leave(self, word: str, signal: int) -> Compiled:
        if self._loop_depth == 0:
            raise Refusal(f"{word} outside a loop")
        return 1, lambda run: signal


def _assign_one(assign: Assign, value: Evaluate) -> Execute:
    def execute(run: Run) -> int:
        assign(run, value(run))
        return NEXT

    return execute


def _assign_all(assigns: Sequence[Assign], value: Evaluate) -> Execute:
    def execute(run: Run) -> int:
        assigned = value(run)
        for assign in assigns:
            assign(run, assigned)
        return NEXT

    return execute
