"""kofn inspect: what a file is, how it was made, and what it says."""

from __future__ import annotations

import click

from . import options
from .errors import KofnCommand, say, say_json


@click.command(cls=KofnCommand)
@options.input_file
@click.option(
    "--state", "states", multiple=True, metavar="S_G:C0,C1,…",
    help="Put the policy into words at this global state and these counts (may be given several times).",
)  # fmt: skip
@options.as_json
def inspect(file, states, as_json):
    """Tell what FILE is: a solution, a deployment, a study, a cell or a checkpoint.

    \b
    Example:
        kofn inspect formation-k8.h5
        kofn inspect formation-k8.h5 --state 1:4,2,2
    """
    from ..engine.inspection import inspect_file, report_lines

    report = inspect_file(file, states)
    if as_json:
        say_json(report)
        return
    say("\n".join(report_lines(report)))
