"""Options and parameter types that several commands share."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def _shortened(value: Any) -> str:
    """A value as it was typed, cut to a readable length."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


class Bytes(click.ParamType):
    """A number of bytes with a unit, such as 4GB or 512MiB."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"\s*([0-9]+\.?[0-9]*(?:e[0-9]+)?|\.[0-9]+)\s*([A-Za-z]*)\s*", value)
        number = math.inf if match is None else float(match[1]) * _UNITS.get(match[2].upper(), math.inf)
        # Zero with an unknown unit is no number.
        if not math.isfinite(number):
            self.fail(f"found {_shortened(value)}, expected a number with a unit such as 4GB or 512MiB", param, ctx)
        return int(number)


class WholeNumber(click.ParamType):
    """A whole number; 1_000_000 and 1e6 will do."""

    name = "integer"

    def __init__(self, minimum: int, maximum: int = 2**63 - 1):
        self.minimum, self.maximum = minimum, maximum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            number = Decimal(value)
        except InvalidOperation:
            number = Decimal("nan")
        if not number.is_finite() or number != number.to_integral_value():
            self.fail(f"found {_shortened(value)}, expected a whole number", param, ctx)
        if number < self.minimum:
            self.fail(f"found {_shortened(value)}, expected at least {self.minimum}", param, ctx)
        if number > self.maximum:
            self.fail(f"found {_shortened(value)}, expected at most {self.maximum}", param, ctx)
        return int(number)


class PositiveNumber(click.ParamType):
    """A finite number above zero, or at least zero."""

    name = "number"

    def __init__(self, zero: bool = False):
        self.zero = zero

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        # Written so that NaN fails.
        if not (0.0 < number < math.inf or (self.zero and number == 0.0)):
            expected = "a finite number of at least 0" if self.zero else "a finite number above 0"
            self.fail(f"found {_shortened(value)}, expected {expected}", param, ctx)
        return number


class NumberList(click.ParamType):
    """Whole numbers: 8, or 1:20, or 2:14:4, or a list of these such as 1:5,10,20; a word may stand for a number."""

    def __init__(self, name: str, minimum: int, maximum: int, word: str = ""):
        self.name, self.minimum, self.maximum, self.word = name, minimum, maximum, word

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int | str, ...]:
        if isinstance(value, tuple):
            return value
        # A single number may be written in any way that other options take, such as 1e6.
        if (not self.word or value != self.word) and not set(value) & set(",:"):
            return (WholeNumber(self.minimum, self.maximum).convert(value, param, ctx),)
        from ..engine.study.numbers import numbers_of

        try:
            return numbers_of("", value, self.minimum, self.maximum, word=self.word)
        except ValueError as error:
            self.fail(str(error).removeprefix(": "), param, ctx)


class RealList(click.ParamType):
    """Real numbers of at least 0: 0.5, or 0.7:1.8:0.1, or a list of these."""

    name = "t,t:t:step"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        from ..engine.study.numbers import reals_of

        try:
            return reals_of("", value)
        except ValueError as error:
            self.fail(str(error).removeprefix(": "), param, ctx)


class Words(click.ParamType):
    """One or more of some words, separated by commas; each may take a suffix after a plus sign, where there are some."""

    name = "word,word"

    def __init__(self, known: tuple[str, ...], *, suffixes: tuple[str, ...] = ()):
        self.known, self.suffixes = known, suffixes

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[{'|'.join(self.known)}],…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        words = tuple(word.strip() for word in value.split(","))
        for word in words:
            plain, plus, suffix = word.partition("+")
            if plus and self.suffixes and plain in self.known and suffix not in self.suffixes:
                self.fail(f"{_shortened(word)}: +{suffix} is not one of {', '.join(self.suffixes)}", param, ctx)
            if (plain if self.suffixes else word) not in self.known:
                self.fail(f"{_shortened(word)} is not one of {', '.join(map(repr, self.known))}", param, ctx)
            if words.count(word) > 1:
                self.fail(f"found {word!r} twice, expected each once", param, ctx)
        return words


class OutputPath(click.Path):
    """A path to write to. An empty one, as of a shell variable that is not set, does not mean the present folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("found an empty path, expected one to write to", param, ctx)
        return super().convert(value, param, ctx)


class Pair(click.ParamType):
    """Two numbers, START:END, or one that stands for both."""

    name = "pair"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        if isinstance(value, tuple):
            return value
        parts = str(value).split(":")
        try:
            numbers = [float(part) for part in parts]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 2):
            self.fail(f"found {_shortened(value)}, expected START:END", param, ctx)
        return numbers[0], numbers[-1]


def _constants(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
    """Numbers (or texts) by name, from NAME=VALUE."""
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise click.BadParameter(f"found {_shortened(text)}, expected NAME=VALUE", ctx, param)
        try:
            found[name] = int(value)
        except ValueError:
            try:
                found[name] = float(value)
            except ValueError:
                found[name] = value
    return found


SEED = WholeNumber(0, 2**64 - 1)

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def output_option(text: str, *, folder: bool = False, required: bool = True) -> Decorator:
    """Where to write, a file or a folder."""
    kind = OutputPath(file_okay=not folder, dir_okay=folder, path_type=Path)
    return click.option("-o", "--output", type=kind, required=required, help=text)


def figure_option(text: str) -> Decorator:
    """Where to draw."""
    return click.option("--figure", type=OutputPath(dir_okay=False, path_type=Path), default=None, help=text)


def scheduler_option(text: str) -> Decorator:
    """A Dask scheduler whose workers compute."""
    return click.option("--scheduler", metavar="tcp://HOST:PORT", default=None, help=text)


def checkpoint_option(text: str) -> Decorator:
    """How often checkpoints are written."""
    return click.option(
        "--checkpoint-every", type=PositiveNumber(zero=True), default=60.0, show_default=True, metavar="SECONDS",
        help=text,
    )  # fmt: skip


def with_options(several: Sequence[Decorator]) -> Decorator:
    """Add several options to a command, in their order."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(several):
            command = option(command)
        return command

    return add


input_file = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
output_file = output_option("HDF5 file to write.")
optional_output_file = output_option("HDF5 file to write.", required=False)
agents = click.option(
    "-n", "--agents", "n", type=WholeNumber(1), default=None, help="Local agents.  [default: the game's own]"
)
force = click.option("--force", is_flag=True, help="Replace what exists.")
quiet = click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
seed = click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of all random streams.")
threads = click.option("--threads", type=WholeNumber(1, 4096), default=None, help="Threads.  [default: all cores]")
memory = click.option(
    "--memory", type=Bytes(), default=None,
    help="Limit for tables, such as 4GB.  [default: 3/4 of the machine's memory]",
)  # fmt: skip
constants = click.option(
    "--set", "constants", multiple=True, callback=_constants, metavar="NAME=VALUE",
    help="Another value of a constant of a .toml game, or of a parameter of inventory and inventory-large; may be repeated.",
)  # fmt: skip
inventory_parameters = click.option(
    "--set", "constants", multiple=True, callback=_constants, metavar="NAME=VALUE",
    help="Another value of a parameter, such as production=18 or orders=0,2,4; may be repeated.",
)  # fmt: skip
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
actions = click.option(
    "--actions", type=click.Choice(["joint", "shared", "histogram"]), default=None,
    help="What the k agents may do together.  [default: joint]",
)  # fmt: skip
expectation = click.option(
    "--expectation", type=click.Choice(["exact", "sampled", "rounded"]), default="exact", show_default=True,
    help="How E[V(c')] is computed.",
)  # fmt: skip
samples = click.option(
    "--samples", type=WholeNumber(1, 10**6), default=10, show_default=True, help="Draws for each item, if sampled."
)
tol = click.option("--tol", type=PositiveNumber(), default=1e-6, show_default=True, help="Certified width, in reward.")
# Without a default, for a file may give one.
optional_samples = click.option(
    "--samples", type=WholeNumber(1, 10**6), default=None, help="Draws for each item, if sampled.  [default: 10]"
)
optional_tol = click.option(
    "--tol", type=PositiveNumber(), default=None, help="Certified width, in reward.  [default: 1e-06]"
)
resume = click.option("--resume", is_flag=True, help="Continue from OUTPUT.checkpoint, if there is one.")
local_policy = click.option(
    "--local-policy", metavar="uniform|FILE", default=None,
    help="Fix the local agents' policy (.npy float64[n_sg, n_sl, n_al], .h5 with it, or a pair); only the global agent optimises.",
)  # fmt: skip

# What commands that compute have in common.
common = with_options([memory, threads, as_json, force, quiet])


def use_threads(count: int | None) -> None:
    """Set the number of threads of all parallel kernels, at most as many as there are cores."""
    if count is not None:
        import numba

        numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))


def check_outputs(
    output: Path | None, figure: Path | None = None, *, inputs: Sequence[str | Path | None] = (), force: bool
) -> None:
    """Refuse places that cannot be written to, before work begins: what the command reads (also with --force), what exists
    (without it), a figure that is no PNG, or that would take the place of the output."""
    from ..engine.files import check_writable

    for option, path in (("--output", output), ("--figure", figure)):
        if path is None:
            continue
        if option == "--figure" and path.suffix.lower() != ".png":
            raise click.UsageError(f"--figure {click.format_filename(path)}: expected a name that ends in .png")
        check_is_no_input(path, *inputs, option=option)
        check_writable(path, overwrite=force)
    if output is not None and figure is not None and os.path.abspath(output) == os.path.abspath(figure):
        raise click.UsageError(f"--figure {click.format_filename(figure)} is the output as well, expected another file")


def check_is_no_input(output: Path, *inputs: str | Path | None, option: str = "--output") -> None:
    """Refuse to write to a file that the command reads, also with --force."""
    for given in inputs:
        if given is not None and os.path.exists(given) and os.path.exists(output) and os.path.samefile(given, output):
            raise click.UsageError(
                f"{option} {click.format_filename(output)} is what the command reads, expected another file"
            )


def check_checkpoint(checkpoint: Path, *beside: Path, resume: bool, force: bool) -> None:
    """Refuse a checkpoint that is left over unless it is to be continued or replaced, and a place where none can be written."""
    from ..engine.files import KofnFileError, check_writable

    if any(path.exists() for path in (checkpoint, *beside)) and not (resume or force):
        raise KofnFileError(f"{checkpoint}: exists already, expected --resume to continue or --force to start anew")
    check_writable(checkpoint, overwrite=True)


def number_of_agents(n: int | None, game: Any) -> int:
    """The number of agents asked for, or the game's own."""
    if n is None and game.n_agents is None:
        raise click.UsageError(f"missing option -n: {game.name or 'the game'} does not say how many agents it has")
    return n or game.n_agents


def class_of_actions(actions: str | None, local_policy: str | None) -> str:
    """The action class that the options ask for together."""
    if local_policy is not None:
        if actions is not None:
            raise click.UsageError(f"--actions {actions} and --local-policy exclude each other")
        return "fixed"
    return actions or "joint"
