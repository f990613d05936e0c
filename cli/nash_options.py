"""Options of alternating best response, for one pair and for studies: without defaults, for a file may give them."""

from __future__ import annotations

from pathlib import Path

import click

from . import options

OPTIONS = (
    click.option(
        "--closure", type=click.Choice(["uniform", "joint", "tagged"]), default=None,
        help="What local agents are told of s_g': stationary law under uniform s_g, long-run law of (s_g, counts), or that law "
        "as the agent itself sees it.  [default: joint]",
    ),
    click.option(
        "--greedy/--softmax", default=None,
        help="Local agents play a best action or a Boltzmann law.  [default: softmax]",
    ),
    click.option(
        "--tau-min", type=options.PositiveNumber(), default=None, help="Lowest temperature, in reward.  [default: 0.3]"
    ),
    click.option(
        "--tau-scale", type=options.PositiveNumber(), default=None,
        help="The temperature is the range of Q over this.  [default: 3]",
    ),
    click.option("--max-rounds", type=options.WholeNumber(1, 10_000), default=None, help="Rounds at most.  [default: 20]"),
    click.option(
        "--rtol", type=options.PositiveNumber(zero=True), default=None,
        help="Stop when the value changes by less, relatively.  [default: 1e-4]",
    ),
    click.option(
        "--config", type=click.Path(dir_okay=False, path_type=Path), default=None, metavar="JSON",
        help="Hyperparameters in the layout of the authors' code; options given here go before it.",
    ),
)  # fmt: skip
NAMES = ("closure", "greedy", "tau_min", "tau_scale", "max_rounds", "rtol")
with_nash_options = options.with_options(OPTIONS)
