"""kofn nash: an approximate Nash equilibrium of the global agent and the local agents, by alternating best response."""

from __future__ import annotations

import math
from pathlib import Path

import click

from . import options
from .errors import KofnCommand, say, say_json
from .nash_options import with_nash_options
from .progress import ProgressLine, readable_seconds
from .signals import stop_on_signals
from .workers import workers_of


@click.command(cls=KofnCommand)
@click.argument("game")
@click.option(
    "-k", "k", type=options.WholeNumber(1), default=None,
    help="Agents that the global agent sees.  [required without --config, whose largest k is the default]",
)  # fmt: skip
@options.agents
@options.output_file
@with_nash_options
@click.option(
    "--expectation", type=click.Choice(["exact", "sampled", "rounded"]), default=None,
    help="How the global agent computes E[V(c')].  [default: exact]",
)  # fmt: skip
@options.optional_samples
@options.optional_tol
@click.option(
    "--value", type=click.Choice(["auto", "exact", "simulated"]), default=None,
    help="How a pair is valued for n agents; auto is exact where it fits.  [default: auto]",
)  # fmt: skip
@click.option(
    "--steps", type=options.WholeNumber(1), default=None, help="Steps of a simulation.  [default: until 1e-4 is left]"
)
@click.option("--runs", type=options.WholeNumber(2, 10**7), default=None, help="Runs of a simulation.  [default: 1000]")
@click.option(
    "--exploitability", type=click.Choice(["auto", "exact", "mean-field", "none"]), default=None,
    help="What best responses gain, after each round; auto is exact where it is quick.  [default: auto]",
)  # fmt: skip
@options.figure_option("PNG of value and exploitability over the rounds.")
@options.local_policy
@options.seed
@options.scheduler_option(
    "Spread the global agent's sweeps over the workers of a Dask scheduler.  [default: this machine]"
)
@options.memory
@options.threads
@options.checkpoint_option("Time between checkpoints of the global agent's solve; rounds have theirs.")
@options.resume
@options.as_json
@options.force
@options.quiet
def nash(
    game, k, n, output, config, figure, local_policy, seed, scheduler, memory, threads, checkpoint_every, resume, as_json, force,
    quiet, **given,
):  # fmt: skip
    """Alternate best responses in GAME, a built-in name or a .toml, .json or .h5 file, and write the best pair to OUTPUT.

    The global agent solves the game of k agents, the local policy given; a local agent answers under the law of the next global
    state that this induces. Each pair is valued for n agents, and its exploitability computed. SIGINT and SIGTERM leave a
    checkpoint. The pair is a policy: deploy, evaluate, refine, exploitability take OUTPUT.

    \b
    Example:
        kofn nash robots -k 10 -o robots-nash.h5
        kofn nash irrigation -k 4 -n 24 --closure tagged -o irrigation-nash.h5
    """
    from ..engine.equilibrium.alternate import alternate, solve_checkpoints
    from ..engine.equilibrium.files import write_equilibrium
    from ..engine.equilibrium.settings import AlternationSettings, read_authors_config
    from ..engine.game_files import load_game
    from ..engine.policy import load_local_policy

    options.check_outputs(output, figure, inputs=[game, local_policy, config], force=force)
    checkpoint = Path(f"{output}.checkpoint")
    options.check_checkpoint(checkpoint, *solve_checkpoints(checkpoint), resume=resume, force=force)
    loaded = load_game(game)
    base: dict = {}
    if config is not None:
        authors = read_authors_config(config)
        authors.check_fits(loaded)
        base = authors.alternation | {"k": authors.k[-1], "steps": authors.steps, "runs": authors.runs * authors.seeds}
    changes = {name: value for name, value in given.items() if value is not None}
    if k is not None:
        changes["k"] = k
    elif "k" not in base:
        raise click.UsageError("Missing option '-k'.")
    if n is not None or "n" not in base:
        changes["n"] = options.number_of_agents(n, loaded)
    settings = AlternationSettings(**{**base, **changes, "seed": seed})
    first = None if local_policy is None else load_local_policy(local_policy, loaded)
    options.use_threads(threads)
    if resume and not checkpoint.exists() and not quiet:
        click.echo(f"{checkpoint}: no checkpoint, starting with round 1", err=True)
    line = ProgressLine(quiet)
    with stop_on_signals() as should_stop, workers_of(scheduler) as workers:
        try:
            found = alternate(
                loaded, settings=settings, local_policy=first, memory_bytes=memory, checkpoint=checkpoint,
                checkpoint_every_s=checkpoint_every, resume=resume, progress=line.show, should_stop=should_stop,
                executor=workers,
            )  # fmt: skip
        finally:
            line.close()
        write_equilibrium(output, found, overwrite=force)
    for path in (checkpoint, Path(f"{checkpoint}.partial"), *solve_checkpoints(checkpoint)):
        path.unlink(missing_ok=True)
    if figure is not None:
        from ..engine.equilibrium.figures import draw_rounds

        draw_rounds(figure, found)
    summary = found.summary()
    if as_json:
        say_json(summary)
        return
    how = "exact" if found.is_exact else f"95 %, {settings.runs} simulated runs"
    say(f"game        {loaded.name or 'game'}, k = {settings.k}, n = {settings.n}, {settings.expectation} expectation")
    say(f"            local agents: {settings.closure} closure, {'greedy' if settings.greedy else 'Boltzmann'}")
    for number, entry in enumerate(found.rounds, 1):
        gains = "" if entry.exploitability == "none" else f"  NashConv {_bracket(*entry.nash_conv())}"
        mark = "*" if number - 1 == found.best_round else " "
        say(f"round {number:2d} {mark}  value {_with_bound(entry.value, entry.half_width)}{gains}")
    say(f"kept        round {found.best_round + 1} (*), {how}; stopped: {found.stop}")
    if summary["exploitability"] != "none":
        for reward, players in summary["gains"].items():
            gains = ", ".join(f"{player} agent {_bracket(g['low'], g['high'])}" for player, g in players.items())
            say(f"gains       {reward} reward: {gains} ({summary['exploitability']})")
        say("            NashConv is of what each learns with: the team's reward, and a local agent's own")
    say(f"time        {readable_seconds(found.wall_time_s)}")
    say(f"written     {output}" + ("" if figure is None else f", {figure}"))


def _bracket(low, high):
    """A number with its bound, or a bracket where that is wide."""
    middle, half = (low + high) / 2, (high - low) / 2
    return _with_bound(middle, half) if half <= 1e-3 * max(1.0, abs(middle)) else f"{low:.4g} to {high:.4g}"


def _with_bound(value, half_width):
    """A number to as many decimals as its bound is worth."""
    if not 0.0 < half_width < math.inf:
        return f"{value:.9g}"
    decimals = min(12, max(0, 1 - math.floor(math.log10(half_width))))
    return f"{value:.{decimals}f} ± {half_width:.2g}"
