"""Operators and functions of a program text, each guarded: sizes are checked before the work is done."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .randomness import UniformDraw, refuse_use
from .values import (
    CONTAINERS,
    ITERATORS,
    MAX_LENGTH,
    MAX_TEXT_LENGTH,
    NUMBERS,
    SCALARS,
    SEQUENCES,
    ConstantList,
    Function,
    Refusal,
    Run,
    bounded,
    items_of,
    iterable,
    kind,
    weigh,
)

UNLIMITED = 10**9
Operator = Callable[[Run, Any, Any], Any]


def _refuse_operands(symbol: str, left: Any, right: Any) -> Any:
    for operand in (left, right):
        if type(operand) is UniformDraw:
            refuse_use()
    raise Refusal(f"cannot compute {kind(left)} {symbol} {kind(right)}")


def require_number(value: Any, where: str) -> Any:
    """Pass a number on, refuse anything else."""
    if type(value) is UniformDraw:
        refuse_use()
    if type(value) not in NUMBERS:
        raise Refusal(f"{where}: expected a number, found {kind(value)}")
    return value


def _reserve(run: Run, value: Any, length: int) -> None:
    limit = MAX_TEXT_LENGTH if type(value) is str else MAX_LENGTH
    if length > limit:
        raise Refusal(f"{kind(value)} of length {length:,}, expected at most {limit:,}")
    run.spend(length)


def _join(run: Run, left: Any, right: Any) -> Any:
    same = type(left) is type(right) or (isinstance(left, list) and isinstance(right, list))
    if type(left) not in SEQUENCES or type(left) is range or not same:
        return _refuse_operands("+", left, right)
    _reserve(run, left, len(left) + len(right))
    return left + right


def _repeat(run: Run, left: Any, right: Any) -> Any:
    if type(left) in (int, bool):
        left, right = right, left
    if type(left) not in SEQUENCES or type(left) is range or type(right) not in (int, bool):
        return _refuse_operands("*", left, right)
    _reserve(run, left, len(left) * max(right, 0))
    return left * right


def _power(base: Any, exponent: Any) -> Any:
    if type(base) is not float and type(exponent) is not float and exponent > 64 and abs(base) > 1:
        raise Refusal("a whole number of 2**64 or more, expected a smaller one")
    result = base**exponent
    if type(result) is complex:
        raise Refusal("a negative number to a fractional power is not real")
    return result


class Arithmetic(NamedTuple):
    """An operator on numbers; ``otherwise`` handles what is not two numbers."""

    compute: Callable[[Any, Any], Any]
    otherwise: Operator

    def apply(self, run: Run, left: Any, right: Any) -> Any:
        """Compute the value of any two operands."""
        if type(left) in NUMBERS and type(right) in NUMBERS:
            return bounded(self.compute(left, right))
        return self.otherwise(run, left, right)


def _numbers_only(symbol: str) -> Operator:
    return lambda run, left, right: _refuse_operands(symbol, left, right)


def _compare(compute: Callable[[Any, Any], Any]) -> Operator:
    def apply(run: Run, left: Any, right: Any) -> Any:
        if type(left) in CONTAINERS and type(right) in CONTAINERS:
            weigh(run, left)
        return compute(left, right)

    return apply


def _contains(run: Run, item: Any, container: Any) -> bool:
    run.spend(operator.length_hint(iterable(container)) * (weigh(run, item) if type(item) in CONTAINERS else 1))
    return item in container


def _lacks(run: Run, item: Any, container: Any) -> bool:
    return not _contains(run, item, container)


ARITHMETIC = {
    "Add": Arithmetic(operator.add, _join),
    "Sub": Arithmetic(operator.sub, _numbers_only("-")),
    "Mult": Arithmetic(operator.mul, _repeat),
    "Div": Arithmetic(operator.truediv, _numbers_only("/")),
    "FloorDiv": Arithmetic(operator.floordiv, _numbers_only("//")),
    "Mod": Arithmetic(operator.mod, _numbers_only("%")),
    "Pow": Arithmetic(_power, _numbers_only("**")),
}
ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    "Lt": operator.lt,
    "LtE": operator.le,
    "Gt": operator.gt,
    "GtE": operator.ge,
    "Eq": operator.eq,
    "NotEq": operator.ne,
}
COMPARISONS: dict[str, Operator] = {name: _compare(compute) for name, compute in ORDERS.items()} | {
    "In": _contains,
    "NotIn": _lacks,
}
SIGNS: dict[str, Callable[[Any], Any]] = {"USub": operator.neg, "UAdd": operator.pos}


def augment(name: str, run: Run, left: Any, right: Any) -> Any:
    """Compute what ``left += right`` (or another operator) assigns; a list is changed in place, as in Python."""
    if isinstance(left, list) and name in ("Add", "Mult"):
        if type(left) is ConstantList:
            raise Refusal("a constant list cannot be changed, expected x = x + [...] for a new one")
        if name == "Add":
            added = items_of(run, right)
            _reserve(run, left, len(left) + len(added))
            left += added
        else:
            left[:] = _repeat(run, left, right)
        return left
    return ARITHMETIC[name].apply(run, left, right)


def get_item(run: Run, container: Any, index: Any) -> Any:
    """Read ``container[index]``, where the index may be a slice."""
    if type(container) not in SEQUENCES:
        raise Refusal(f"expected a list or a tuple to index, found {kind(container)}")
    if type(index) is slice:
        run.spend(len(container))
    return container[index]


def set_item(container: Any, index: Any, value: Any) -> None:
    """Write ``container[index]``."""
    if type(container) is not list:
        found = "a constant list" if type(container) is ConstantList else kind(container)
        raise Refusal(f"{found} cannot be changed, expected a list made in the function")
    container[index] = value


def _numeric(name: str, compute: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of numbers alone."""

    def call(run: Run, *arguments: Any, **keywords: Any) -> Any:
        for argument in arguments:
            require_number(argument, name)
        return bounded(compute(*arguments, **keywords))

    return call


def _convert(name: str, compute: Callable[..., Any]) -> Callable[..., Any]:
    """Make a conversion of one scalar."""

    def call(run: Run, value: Any) -> Any:
        if type(value) is UniformDraw:
            refuse_use()
        if type(value) not in SCALARS:
            raise Refusal(f"{name}: expected a number or text, found {kind(value)}")
        return bounded(compute(value))

    return call


def _abs(run: Run, value: Any) -> Any:
    return abs(require_number(value, "abs"))


def _bool(run: Run, value: Any) -> bool:
    return bool(value)


def _round(run: Run, value: Any, ndigits: Any = None) -> Any:
    require_number(value, "round")
    if ndigits is not None and abs(require_number(ndigits, "round")) > 400:
        raise Refusal(f"round: {ndigits} digits, expected at most 400")
    return bounded(round(value, ndigits))


def _len(run: Run, value: Any) -> int:
    if type(value) not in SEQUENCES:
        raise Refusal(f"len: expected a list, a tuple or text, found {kind(value)}")
    return len(value)


def _range(run: Run, *limits: Any) -> range:
    values = range(*limits)
    # the comparison by bounds comes first: len() of a range above 2**63 is an error of its own
    if values and abs(values[-1] - values[0]) >= MAX_LENGTH * abs(values.step):
        raise Refusal(f"a range of more than {MAX_LENGTH:,} numbers")
    return values


def _extreme(choose: Callable[..., Any]) -> Callable[..., Any]:
    def call(run: Run, *arguments: Any, **keywords: Any) -> Any:
        items = items_of(run, arguments[0]) if len(arguments) == 1 else arguments
        for item in items:
            if type(item) in CONTAINERS:
                weigh(run, item)
        return choose(items, **keywords)

    return call


def _sorted(run: Run, values: Any, *, reverse: Any = False) -> list[Any]:
    items = items_of(run, values)
    n_comparisons = len(items).bit_length()  # for each item, about
    run.spend(n_comparisons * sum(weigh(run, item) for item in items))
    return sorted(items, reverse=bool(reverse))


def _numbers_of(run: Run, values: Any, where: str) -> Any:
    items = items_of(run, values)
    for item in items:
        require_number(item, where)
    return items


def _sum(run: Run, values: Any, start: Any = 0) -> Any:
    return bounded(sum(_numbers_of(run, values, "sum"), require_number(start, "sum")))


def _walk(run: Run, values: Any) -> Iterable[Any]:
    """Go through an iterable that may stop early; iterators pay for their own steps."""
    return iterable(values) if type(values) in ITERATORS else items_of(run, values)


def _any(run: Run, values: Any) -> bool:
    return any(_walk(run, values))


def _all(run: Run, values: Any) -> bool:
    return all(_walk(run, values))


def _list(run: Run, values: Any = ()) -> list[Any]:
    return list(items_of(run, values))


def _tuple(run: Run, values: Any = ()) -> tuple[Any, ...]:
    return tuple(items_of(run, values))


def _enumerate(run: Run, values: Any, start: Any = 0) -> Any:
    if type(start) not in (int, bool):
        raise Refusal(f"enumerate: expected a whole number to start with, found {kind(start)}")
    return iter(list(enumerate(items_of(run, values), start)))


def _zip(run: Run, *columns: Any, strict: Any = False) -> Any:
    return iter(list(zip(*[items_of(run, column) for column in columns], strict=bool(strict))))


def _reversed(run: Run, values: Any) -> Any:
    if type(values) not in SEQUENCES:
        raise Refusal(f"reversed: expected a list or a tuple, found {kind(values)}")
    return iter(list(reversed(items_of(run, values))))


FUNCTIONS = {
    "abs": Function(_abs, 1, 1),
    "all": Function(_all, 1, 1),
    "any": Function(_any, 1, 1),
    "bool": Function(_bool, 1, 1),
    "enumerate": Function(_enumerate, 1, 2, frozenset({"start"})),
    "float": Function(_convert("float", float), 1, 1),
    "int": Function(_convert("int", int), 1, 1),
    "len": Function(_len, 1, 1),
    "list": Function(_list, 0, 1),
    "max": Function(_extreme(max), 1, UNLIMITED, frozenset({"default"})),
    "min": Function(_extreme(min), 1, UNLIMITED, frozenset({"default"})),
    "range": Function(_range, 1, 3),
    "reversed": Function(_reversed, 1, 1),
    "round": Function(_round, 1, 2, frozenset({"ndigits"})),
    "sorted": Function(_sorted, 1, 1, frozenset({"reverse"})),
    "str": Function(_convert("str", str), 1, 1),
    "sum": Function(_sum, 1, 2, frozenset({"start"})),
    "tuple": Function(_tuple, 0, 1),
    "zip": Function(_zip, 0, UNLIMITED, frozenset({"strict"})),
}


def _count_arguments(n: Any, k: Any) -> None:
    if type(n) not in (int, bool) or type(k) not in (int, bool) or n < 0 or k < 0:
        raise Refusal("expected whole numbers of 0 or more")


def _comb(run: Run, n: Any, k: Any) -> int:
    _count_arguments(n, k)
    if k > n:
        return 0
    result = 1
    for i in range(1, min(k, n - k) + 1):  # doubles at least in every round, so the bound stops it
        run.spend(1)
        result = bounded(result * (n - i + 1) // i)
    return result


def _perm(run: Run, n: Any, k: Any = None) -> int:
    k = n if k is None else k
    _count_arguments(n, k)
    if k > n:
        return 0
    result = 1
    for i in range(k):
        run.spend(1)
        result = bounded(result * (n - i))
    return result


def _factorial(run: Run, n: Any) -> int:
    return _perm(run, n)


def _prod(run: Run, values: Any, *, start: Any = 1) -> Any:
    result = require_number(start, "math.prod")
    for item in _numbers_of(run, values, "math.prod"):
        result = bounded(result * item)
    return result


def _lcm(run: Run, *values: Any) -> int:
    result = 1
    for value in values:
        result = bounded(math.lcm(result, require_number(value, "math.lcm")))
    return result


def _fsum(run: Run, values: Any) -> float:
    return math.fsum(_numbers_of(run, values, "math.fsum"))


def _dist(run: Run, first: Any, second: Any) -> float:
    return math.dist(_numbers_of(run, first, "math.dist"), _numbers_of(run, second, "math.dist"))


_MATH_OF_ONE = (
    "acos acosh asin asinh atan atanh cbrt ceil cos cosh degrees erf erfc exp exp2 expm1 fabs floor frexp gamma "
    "isfinite isinf isnan isqrt lgamma log10 log1p log2 modf radians sin sinh sqrt tan tanh trunc ulp"
)
_MATH_OF_TWO = "atan2 copysign fmod ldexp nextafter pow remainder"
_MATH_BY_ARGUMENTS = {(1, 1): _MATH_OF_ONE, (2, 2): _MATH_OF_TWO, (1, 2): "log", (0, UNLIMITED): "gcd hypot"}
MATH_FUNCTIONS = {
    name: Function(_numeric(f"math.{name}", getattr(math, name)), least, most)
    for (least, most), names in _MATH_BY_ARGUMENTS.items()
    for name in names.split()
} | {
    "comb": Function(_comb, 2, 2),
    "dist": Function(_dist, 2, 2),
    "factorial": Function(_factorial, 1, 1),
    "fsum": Function(_fsum, 1, 1),
    "isclose": Function(_numeric("math.isclose", math.isclose), 2, 2, frozenset({"rel_tol", "abs_tol"})),
    "lcm": Function(_lcm, 0, UNLIMITED),
    "perm": Function(_perm, 1, 2),
    "prod": Function(_prod, 1, 1, frozenset({"start"})),
}
MATH_CONSTANTS = {name: getattr(math, name) for name in ("e", "inf", "nan", "pi", "tau")}
