"""What the tests of function texts share: short ways to write one, and Python itself as the oracle."""

import math
import random
import textwrap
import warnings

from hypothesis import HealthCheck, settings

from kofn.engine.program import Program


def text_of(body, parameters="x"):
    return f"def f({parameters}):\n" + textwrap.indent(textwrap.dedent(body).strip("\n"), "    ")


def program_of(body, parameters="x", **options):
    return Program(text_of(body, parameters), name="f", n_parameters=parameters.count(",") + 1, **options)


def law_of(body, *arguments, **options):
    parameters = ", ".join("xyz"[: len(arguments)]) if arguments else "x"
    return dict(program_of(body, parameters, **options).outcomes(*(arguments or (0,))))


def python_function(source, **names):
    """Compile with Python itself: the oracle. Only texts written in this file come here."""
    space = {"math": math, "random": random, **names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(source, space)
    return space["f"]


def frozen(value):
    return tuple(frozen(item) for item in value) if isinstance(value, list | tuple) else value


def many(times):
    """Ask for more examples than the profile has: a text is cheap, and the grammar is large."""
    return settings(max_examples=times * settings().max_examples, suppress_health_check=list(HealthCheck))
