"""kofn deploy: n agents play a solution's policy."""

from __future__ import annotations

import math

import click

from . import options
from .errors import KofnCommand, say, say_json
from .play import learned_players, play_learned, refuse_for_players
from .progress import ProgressLine, readable_seconds
from .signals import stop_on_signals


@click.command(cls=KofnCommand)
@options.input_file
@options.agents
@click.option("--steps", type=options.WholeNumber(1), default=1000, show_default=True, help="Steps of each run.")
@click.option("--runs", type=options.WholeNumber(1), default=1, show_default=True, help="Independent runs.")
@options.seed
@click.option(
    "--level", type=click.Choice(["counts", "agents"]), default="counts", show_default=True,
    help="Simulate the counts (the same law, a cost free of n) or every agent.",
)  # fmt: skip
@click.option(
    "--rewards", type=click.Choice(["mean", "drawn"]), default=None,
    help="Count mean rewards given the counts (less noise), or those of the actions drawn.  [default: mean for counts]",
)  # fmt: skip
@click.option(
    "--trace-points", type=options.WholeNumber(1), default=1000, show_default=True, help="Points of the trace."
)
@click.option(
    "--trace-agents",
    type=options.WholeNumber(0),
    default=0,
    show_default=True,
    help="Agents to follow, at level agents.",
)
@options.optional_output_file
@options.common
def deploy(
    file,
    n,
    steps,
    runs,
    seed,
    level,
    rewards,
    trace_points,
    trace_agents,
    output,
    memory,
    threads,
    as_json,
    force,
    quiet,
):
    """Let n agents play the policy in FILE, a solution, a cell of a study, a pair or learned tables.

    Learned tables of agents on a graph, with own tables, or that see actions play in all their runs, without learning.

    \b
    Example:
        kofn deploy formation-k8.h5 -n 1000 --steps 1e6
        kofn deploy formation-k8.h5 -n 14 --runs 20 --level agents -o runs.h5
    """
    from ..engine.deployment import deploy as run
    from ..engine.deployment_files import write_deployment_file
    from ..engine.policy_files import read_any_policy
    from ..engine.solve import Interrupted

    options.check_outputs(output, inputs=[file], force=force)
    learned = learned_players(file)
    if learned is not None:
        refuse_for_players(click.get_current_context())
        options.use_threads(threads)
        play_learned(
            learned, n, steps=steps, seed=seed, memory=memory, output=output, as_json=as_json, force=force, quiet=quiet
        )
        return
    game, policy = read_any_policy(file)
    n_agents = options.number_of_agents(n, game)
    options.use_threads(threads)
    line = ProgressLine(quiet)
    with stop_on_signals() as should_stop:

        def show(done, total):
            line.show(f"step {done} of {total}", final=done == total)
            if should_stop():
                raise Interrupted(f"stopped after {done} of {total} steps; nothing written")

        try:
            deployment = run(
                game, policy, n_agents, steps=steps, runs=runs, seed=seed, level=level, rewards=rewards,
                trace_points=trace_points, trace_agents=trace_agents, memory_bytes=memory, progress=show,
            )  # fmt: skip
        finally:
            line.close()
    if output is not None:
        write_deployment_file(output, deployment, game, policy, overwrite=force)
    labels = game.labels
    summary = {
        "config": deployment.config,
        "mean_return": deployment.mean_return,
        "return_half_width": deployment.return_half_width,
        "average_reward": deployment.average_reward,
        "average_half_width": deployment.average_half_width,
        "truncation_bound": deployment.truncation_bound,
        "occupancy": {str(s): float(x) for s, x in zip(labels.global_states, deployment.occupancy, strict=True)},
        "mean_population": {
            str(s): float(x) for s, x in zip(labels.local_states, deployment.mean_population, strict=True)
        },
        "wall_time_s": deployment.wall_time_s,
    }
    if as_json:
        say_json(summary)
        return
    interval = _interval(deployment.return_half_width, f"over {runs} runs")
    say(f"return          {deployment.mean_return:.9g}{interval}, discounted, {steps} steps")
    say(f"                what later steps add is at most {deployment.truncation_bound:.2g}")
    say(f"average reward  {deployment.average_reward:.9g}{_interval(deployment.average_half_width, 'batch means')}")
    say(f"global states   {_shares(summary['occupancy'])}")
    say(f"local states    {_shares(summary['mean_population'])}")
    rate = steps * runs / max(deployment.wall_time_s, 1e-9)
    say(f"work            {steps * runs} steps in {readable_seconds(deployment.wall_time_s)}, {rate:.3g} per second")
    if output is not None:
        say(f"written         {output}")


def _shares(shares):
    return ", ".join(f"{label}: {100 * share:.3g} %" for label, share in shares.items())


def _interval(half_width, kind):
    """One run, or one batch, has no interval."""
    return f" ± {half_width:.2g} (95 %, {kind})" if math.isfinite(half_width) else ""
