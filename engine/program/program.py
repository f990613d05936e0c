"""Function texts of game files: programs in a small, safe subset of Python, run over every branch of their randomness.

A text is parsed and compiled to closures over a whitelist (assignment, if, for, while, arithmetic, comparison, lists, a
few built-ins, ``math.*``), never handed to Python's own compiler. ``random.random() < p``, ``random.choice``,
``random.choices``, ``random.randint`` and ``random.randrange`` are enumerated, so that a stochastic transition becomes
an exact law. Steps, branches, sizes and nesting are bounded: a hostile text ends in a :class:`ProgramError`.
"""

from __future__ import annotations

import ast
import math
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

from .expressions import UNBOUND
from .randomness import Branches
from .statements import RETURN, check_import, check_nesting, compile_body, is_docstring
from .values import MAX_SOURCE_LENGTH, MAX_STEPS, Refusal, Run, admit, release

MAX_TOTAL_STEPS = 5_000_000
_MAX_MESSAGE_LENGTH = 300
_PARSER_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError, SystemError)
_RUN_ERRORS = (ArithmeticError, LookupError, TypeError, ValueError, RecursionError, MemoryError)


class ProgramError(ValueError):
    """A function text is not in the language, or failed: one line, ``NAME, line L: reason``."""


class Program:
    """A function text, checked, compiled, and ready to be tabulated.

    Parameters
    ----------
    source : str or sequence of str
        The text, or its lines: one ``def``, which may be preceded by ``import math``, ``import random`` and assignments
        of constants.
    name : str
        What messages call the program.
    n_parameters : int, optional
        How many positional parameters the function must have; needed unless ``parameters`` is given.
    constants : mapping of str to number, str or (nested) list, optional
        Names that the text may read. It cannot change them.
    parameters : sequence of str, optional
        Names of the arguments. The text may then also be a body without ``def``, or one expression.

    Attributes
    ----------
    name : str
    parameters : tuple of str
    draws : bool
        Whether the text calls any function of ``random``.
    steps_used : int
        Steps of all calls so far. One call is bounded by ``MAX_TOTAL_STEPS``; a caller with many can bound their sum.

    Raises
    ------
    ProgramError
        If the text is not in the language.
    """

    def __init__(
        self,
        source: str | Sequence[str],
        *,
        name: str,
        n_parameters: int | None = None,
        constants: Mapping[str, Any] = MappingProxyType({}),
        parameters: Sequence[str] | None = None,
    ) -> None:
        if n_parameters is None and parameters is None:
            raise TypeError("Program: neither n_parameters nor parameters is given, expected one of them")
        self.name = name
        self.steps_used = 0
        self._line = 1
        try:
            known = {key: _admit_as(key, value) for key, value in constants.items()}
            self._compile(_parse(_text_of(source)), known, n_parameters, parameters)
        except Refusal as refusal:
            self._fail(refusal.reason, refusal.line or self._line)

    def _compile(
        self, tree: ast.Module, constants: dict[str, Any], n_parameters: int | None, parameters: Sequence[str] | None
    ) -> None:
        function = next((node for node in tree.body if isinstance(node, ast.FunctionDef)), None)
        if function is not None:
            self._read_preamble(tree.body, function, constants)
            self._line = function.lineno
            name, body, self.parameters = function.name, function.body, _parameters_of(function)
        elif parameters is not None:
            name, body, self.parameters = "", tree.body, tuple(parameters)
            if len(body) == 1 and isinstance(body[0], ast.Expr):
                body = [ast.copy_location(ast.Return(body[0].value), body[0])]
        else:
            raise Refusal(f"no function found, expected one def with {n_parameters} parameters")
        expected = len(parameters or ()) if n_parameters is None else n_parameters
        if len(self.parameters) != expected:
            found = ", ".join(self.parameters)
            raise Refusal(f"{len(self.parameters)} parameters ({found}), expected {expected}")
        self._code = compile_body(name, body, self.parameters, constants)
        self.draws = self._code.draws

    def _read_preamble(self, body: Sequence[ast.stmt], function: ast.FunctionDef, constants: dict[str, Any]) -> None:
        """Accept what may stand beside the function, and evaluate the constants assigned before it."""
        for node in body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                check_import(node)
            elif isinstance(node, ast.Assign) and node.lineno < function.lineno:
                for target in node.targets:
                    if not isinstance(target, ast.Name):
                        raise Refusal("expected NAME = value for a constant", node.lineno)
                    constants[target.id] = self._constant(target.id, node.value, constants)
            elif node is not function and not is_docstring(node):
                raise Refusal("expected one def, and before it nothing but imports and constants", node.lineno)

    def _constant(self, key: str, value: ast.expr, constants: Mapping[str, Any]) -> Any:
        self._line = value.lineno
        code = compile_body("", [ast.copy_location(ast.Return(value), value)], (), constants)
        run = Run([UNBOUND] * code.n_variables, None, value.lineno)
        try:
            code.execute(run)
            release(run, run.result)  # bounds what admit() is about to copy
            return _admit_as(key, run.result)
        except _RUN_ERRORS as error:
            raise Refusal(_reason(error), value.lineno) from None
        finally:
            self.steps_used += MAX_STEPS - run.steps

    def outcomes(self, *arguments: Any) -> list[tuple[Any, float]]:
        """Run the program over every branch of its randomness.

        Parameters
        ----------
        *arguments : numbers, text, or lists or tuples of these
            One for each parameter, by position.

        Returns
        -------
        list of (value, probability)
            Each value once, in the order in which they are first met, with probabilities above 0 that add up to 1. A
            returned list is given as a tuple.

        Raises
        ------
        ProgramError
            If the program fails, or runs out of its budget, in any branch.
        """
        branches = Branches()
        variables = self._variables(arguments)
        laws: dict[Any, list[float]] = {}
        steps_before = self.steps_used
        more = True
        while more:
            value = self._run(variables, branches, arguments)
            laws.setdefault(value, []).append(branches.probability())
            if self.steps_used - steps_before > MAX_TOTAL_STEPS:
                reason = f"runs for more than {MAX_TOTAL_STEPS:,} steps over all branches of its draws"
                self._fail(reason, self._line, arguments)
            more = branches.advance()
        return _merge(laws)

    def value(self, *arguments: Any) -> Any:
        """Run a program that does not draw, and return its value.

        Parameters and errors are those of :meth:`outcomes`; a draw is an error too.
        """
        branches = Branches()
        value = self._run(self._variables(arguments), branches, arguments)
        if branches.drew:
            self._fail("draws at random, expected one value", self._line, arguments)
        return value

    def _variables(self, arguments: Sequence[Any]) -> list[Any]:
        """Lay out the variables of a run: the arguments first, the others without a value."""
        if len(arguments) != len(self.parameters):
            self._fail(f"called with {len(arguments)} arguments, expected {len(self.parameters)}", self._line)
        try:
            values = [admit(value) for value in arguments]
        except Refusal as refusal:
            self._fail(refusal.reason, self._line, arguments)
        return values + [UNBOUND] * (self._code.n_variables - len(values))

    def _run(self, variables: Sequence[Any], branches: Branches, arguments: Sequence[Any]) -> Any:
        """Run the program once, along the current branch of its draws."""
        run = Run([*variables], branches, self._line)
        try:
            branches.begin()
            if self._code.execute(run) != RETURN:
                raise Refusal("ends without a return")
            return release(run, run.result)
        except Refusal as refusal:
            self._fail(refusal.reason, run.line, arguments)
        except _RUN_ERRORS as error:
            self._fail(_reason(error), run.line, arguments)
        finally:
            self.steps_used += MAX_STEPS - run.steps

    def _fail(self, reason: str, line: int, arguments: Sequence[Any] = ()) -> NoReturn:
        if arguments:
            reason += ", for " + ", ".join(f"{key}={_show(value)}" for key, value in zip(self.parameters, arguments))
        message = " ".join(f"{self.name}, line {line}: {reason}".split())
        if len(message) > _MAX_MESSAGE_LENGTH:
            message = message[: _MAX_MESSAGE_LENGTH - 3] + "..."
        raise ProgramError(message) from None


def _text_of(source: Any) -> str:
    if not isinstance(source, str):
        if not isinstance(source, Sequence) or any(not isinstance(line, str) for line in source):
            raise Refusal(f"found {type(source).__name__}, expected text or a list of lines")
        source = "\n".join(source)
    if len(source) > MAX_SOURCE_LENGTH:
        raise Refusal(f"{len(source):,} characters, expected at most {MAX_SOURCE_LENGTH:,}")
    return textwrap.dedent(source)


def _parse(text: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a text is not to decide what is printed
            tree = ast.parse(text)
    except SyntaxError as error:
        raise Refusal(f"not valid Python: {error.msg}", error.lineno) from None
    except _PARSER_ERRORS as error:
        reason = "nested too deeply" if isinstance(error, RecursionError | MemoryError | SystemError) else error
        raise Refusal(f"not valid Python: {reason}") from None
    check_nesting(tree)
    return tree


def _parameters_of(function: ast.FunctionDef) -> tuple[str, ...]:
    arguments = function.args
    if function.decorator_list:
        raise Refusal("a decorator, expected a plain def")
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.defaults:
        raise Refusal("defaults, * or ** among the parameters, expected plain names")
    names = tuple(argument.arg for argument in (*arguments.posonlyargs, *arguments.args))
    if len(set(names)) < len(names):
        raise Refusal("two parameters of the same name")
    return names


def _admit_as(key: str, value: Any) -> Any:
    try:
        return admit(value)
    except Refusal as refusal:
        raise Refusal(f"{key}: {refusal.reason}") from None


def _reason(error: Exception) -> str:
    """Say what went wrong in Python's own words, which name its classes at most."""
    if isinstance(error, RecursionError | MemoryError):
        return "nested too deeply"
    text = str(error.args[-1]) if error.args else type(error).__name__
    return text.replace("ConstantList", "list")


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _merge(laws: Mapping[Any, Sequence[float]]) -> list[tuple[Any, float]]:
    """Add up the branches of equal value.

    The probability of a branch is a product of rounded factors; the division takes the rounding out of the total.
    """
    probabilities = {value: math.fsum(parts) for value, parts in laws.items()}
    total = math.fsum(probabilities.values())
    return [(value, p / total) for value, p in probabilities.items() if p > 0]
