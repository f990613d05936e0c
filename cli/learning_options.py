"""Options of learning from samples, for one run and for studies: without defaults, for a file may give them."""

from __future__ import annotations

import click

from . import options

METHODS = ("mfq", "mfac", "iq")
VARIANTS = ("none", "product", "marginal", "selfnorm", "online")

# What a study has lists of, or says for all its cells.
_GRID = (
    click.option(
        "--method", type=click.Choice(METHODS), default=None,
        help="Mean-field Q-learning, mean-field actor-critic, or independent Q-learning.  [default: mfq]",
    ),
    click.option(
        "--steps", type=options.WholeNumber(1), required=True,
        help="Steps of all agents; in sequential order sweeps of n single moves.",
    ),
    click.option("--runs", type=options.WholeNumber(1, 10**7), default=None, help="Independent populations.  [default: 20]"),
    click.option(
        "--temperature", type=options.PositiveNumber(zero=True), default=None,
        help="T of the Boltzmann law exp(Q/T); 0 is greedy.  [default: 0]",
    ),
)  # fmt: skip
OTHERS = (
    click.option(
        "--order", type=click.Choice(["synchronous", "sequential"]), default=None,
        help="All agents move at once, or one after the other, picked at random.  [default: synchronous]",
    ),
    click.option(
        "--sees", type=click.Choice(["field", "actions", "states"]), default=None,
        help="What an agent's mean is of: the game's field, the others' last actions, or all present states.  [default: field]",
    ),
    click.option(
        "--bins", type=options.WholeNumber(1, 10**7), default=None,
        help="Equal bins of the mean.  [default: the field's own, 100 if it has more]",
    ),
    click.option(
        "--tables", type=click.Choice(["shared", "own"]), default=None,
        help="One table for all agents, or one each.  [default: shared]",
    ),
    click.option(
        "--epsilon", type=options.Pair(), default=None, metavar="START:END",
        help="Share of random actions, at the start and at the end.  [default: 0.1:0.01 if greedy (in sequential order 0.1), or 0]",
    ),
    click.option(
        "--epsilon-steps", type=options.WholeNumber(1), default=None, help="Steps in between.  [default: half of all]"
    ),
    click.option(
        "--alpha", type=options.PositiveNumber(zero=True), default=None, help="Step size, up to 1.  [default: 0.1]"
    ),
    click.option(
        "--alpha-power", type=options.PositiveNumber(zero=True), default=None,
        help="Divide the step size by the cell's visits to this power.  [default: 0]",
    ),
    click.option(
        "--actor-alpha", type=options.PositiveNumber(zero=True), default=None,
        help="Step size of the actor.  [default: 0.01]",
    ),
    click.option(
        "--inner", type=options.WholeNumber(0, 10_000), default=None,
        help="Rounds in which the mean action answers itself before agents act; 0 is the last one.  [default: 0]",
    ),
    click.option(
        "--reward", type=click.Choice(["own", "team"]), default=None,
        help="An agent's own reward, or the mean over agents; r_g comes with both.  [default: own]",
    ),
    click.option(
        "--reward-at", type=click.Choice(["executed", "seen"]), default=None,
        help="Field value of local rewards: of the actions executed, or the one seen before.  [default: executed]",
    ),
    click.option(
        "--replay", type=options.WholeNumber(0, 2**31 - 1), default=None,
        help="Transitions kept for replay; 0 learns from each step at once.  [default: 0]",
    ),
    click.option(
        "--batch", type=options.WholeNumber(1, 10**6), default=None,
        help="Replayed transitions per table and step; with --replay-by step past steps.  [default: 1]",
    ),
    click.option(
        "--replay-by", type=click.Choice(["transition", "step"]), default=None,
        help="Replay single transitions, or past steps with those of all agents.  [default: transition; with --correction step]",
    ),
    click.option(
        "--correction", type=click.Choice(["none", "product", "marginal", "selfnorm"]), default=None,
        help="Weigh replayed steps for others who play other policies by now: by all their actions, by the field values that "
        "these made, or by the latter with normalised cells.  [default: none]",
    ),
    click.option("--clip", type=options.PositiveNumber(), default=None, help="Largest weight.  [default: 10]"),
    click.option(
        "--min-ess", type=options.PositiveNumber(zero=True), default=None,
        help="Effective share of recent weights below which replay goes on without them.  [default: 0.1]",
    ),
    click.option(
        "--index", type=click.Choice(["seen", "executed"]), default=None,
        help="Row that a transition updates: of the mean seen before it, or of the one executed in it.  [default: seen]",
    ),
    click.option(
        "--target-every", type=options.WholeNumber(0), default=None,
        help="Copy the table for the bootstrap every so many steps; 0 has none.  [default: 0]",
    ),
    click.option(
        "--target-tau", type=options.PositiveNumber(zero=True), default=None,
        help="Or move that copy by this share each step.  [default: 0]",
    ),
    click.option("--initial-q", type=float, default=None, help="First entry of all tables.  [default: 0]"),
    click.option(
        "--start", default=None, metavar="random|LABEL",
        help="Action, or with states the state, that all agents start with.  [default: random]",
    ),
    click.option(
        "--global-policy", default=None, metavar="learn|uniform|LABEL",
        help="What the global agent does.  [default: learn]",
    ),
    click.option(
        "--record-every", type=options.WholeNumber(1), default=None,
        help="Steps of a point of the curves.  [default: a thousandth of all]",
    ),
    click.option(
        "--tail", type=options.PositiveNumber(), default=None,
        help="Last part of the steps that summaries average.  [default: 0.1]",
    ),
)  # fmt: skip
NAMES = (
    "order", "sees", "bins", "tables", "epsilon", "epsilon_steps", "alpha", "alpha_power", "actor_alpha", "inner",
    "reward", "reward_at", "replay", "batch", "replay_by", "correction", "clip", "min_ess", "index", "target_every",
    "target_tau", "initial_q", "start", "global_policy", "record_every", "tail",
)  # fmt: skip
with_learning_options = options.with_options((*_GRID, *OTHERS))
