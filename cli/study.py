"""kofn study: solve for every k, deploy on n agents, compare."""

from __future__ import annotations

from pathlib import Path

import click

from . import options
from .errors import KofnCommand, say
from .progress import ProgressLine, readable_seconds
from .signals import stop_on_signals


@click.command(cls=KofnCommand)
@click.argument("game")
@click.option(
    "-n", "--agents", "n", type=options.WholeNumber(1), default=None, help="Local agents.  [default: the game's own]"
)
@click.option("-k", "ks", type=options.KList(), required=True, help="Sample sizes, such as 1:20 or 2,4,8.")
@click.option(
    "-o", "--output", type=options.OutputPath(file_okay=False, path_type=Path), required=True, help="Folder to write."
)
@options.actions
@options.local_policy
@options.expectation
@options.samples
@options.tol
@click.option("--steps", type=options.WholeNumber(1), default=200, show_default=True, help="Steps of each run.")
@click.option("--runs", type=options.WholeNumber(1), default=20, show_default=True, help="Runs for each k.")
@click.option(
    "--level", type=click.Choice(["counts", "agents"]), default="counts", show_default=True, help="Simulator."
)
@options.seed
@click.option(
    "--jobs", type=options.WholeNumber(1, 4096), default=None, help="Processes.  [default: one for each core]"
)
@options.memory
@options.force
@options.quiet
def study(
    game,
    n,
    ks,
    output,
    actions,
    local_policy,
    expectation,
    samples,
    tol,
    steps,
    runs,
    level,
    seed,
    jobs,
    memory,
    force,
    quiet,
):
    """Solve GAME for every k, deploy each policy on n agents, draw the figures.

    Started again it takes over what is finished and continues the rest. --force redoes everything.

    \b
    Example:
        kofn study formation -n 14 -k 2:14 -o formation-study
        kofn study robots -n 1000 -k 1:30 --local-policy uniform -o robots-study
    """
    actions = options.class_of_actions(actions, local_policy)
    import time

    from ..engine.game_files import load_game
    from ..engine.policy import load_local_policy
    from ..engine.study import study as run_study

    began = time.perf_counter()
    loaded = load_game(game)
    n_agents = n or loaded.n_agents
    if n_agents is None:
        raise click.UsageError(f"missing option -n: {game} does not say how many agents it has")
    policy = None if local_policy is None else load_local_policy(local_policy, loaded)
    line = ProgressLine(quiet)

    def show(k, done, total):
        elapsed = time.perf_counter() - began
        line.show(f"k = {k} done  {done} of {total} cells  {readable_seconds(elapsed)}", final=done == total)

    with stop_on_signals() as should_stop:
        try:
            result = run_study(
                loaded, n_agents, ks, output=output, actions=actions, expectation=expectation, samples=samples,
                local_policy=policy, tol=tol, steps=steps, runs=runs, seed=seed, level=level, jobs=jobs, memory_bytes=memory,
                force=force, on_sensitivity=say, progress=show, should_stop=should_stop,
            )  # fmt: skip
        finally:
            line.close()
    say(f"\n{'k':>5s} {'certified value':>28s} {'return, n agents':>24s} {'average reward':>24s} {'solve':>9s}")
    for i, k in enumerate(result.k):
        say(
            f"{k:5d} {result.value[i]:16.9g} ± {result.value_half_width[i]:8.1e}"
            f" {result.mean_return[i]:14.6g} ± {result.return_half_width[i]:6.2g}"
            f" {result.average_reward[i]:14.6g} ± {result.average_half_width[i]:6.2g}"
            f" {readable_seconds(result.solve_time_s[i]):>9s}"
        )
    say(f"\nwritten: study.h5, {len(result.k)} cells and 4 figures in {output}")
