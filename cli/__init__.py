"""The command line: each command parses, calls the engine, prints. stdout is data, stderr is progress."""

from __future__ import annotations

import gc
import io
import sys

import click

from .. import __version__
from .compare import compare
from .deploy import deploy
from .errors import KofnGroup
from .evaluate import evaluate
from .exploitability import exploitability
from .export import export
from .games import games
from .gap import gap
from .inspect import inspect
from .inventory import inventory
from .learn import learn
from .nash import nash
from .refine import refine
from .report import report
from .score import score
from .solve import solve
from .study import study

GC_THRESHOLD = 200_000


@click.group(cls=KofnGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="kofn")
def main() -> None:
    """Learn with k agents, act with n: games of one global agent and n homogeneous local agents, solved exactly.

    \b
    Example:
        kofn solve formation -k 8 -o formation-k8.h5
        kofn deploy formation-k8.h5 -n 1000 --steps 1e6
    """
    # Loading the libraries makes half a million objects that stay: collecting among them again and again takes a fifth
    # of the start-up.
    gc.set_threshold(GC_THRESHOLD)
    # A name that the terminal has no letters for must not end a command that did its work.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


for command in (
    games, solve, nash, learn, evaluate, exploitability, gap, refine, deploy, inventory, study, score, compare, inspect,
    report, export,
):  # fmt: skip
    main.add_command(command)
