"""kofn refine: a better policy from the same observations, for n agents."""

from __future__ import annotations

import click

from . import options
from .errors import KofnCommand, say, say_json
from .progress import ProgressLine, readable_seconds
from .signals import stop_on_signals


@click.command(cls=KofnCommand)
@options.input_file
@options.agents
@options.output_file
@click.option(
    "--method", type=click.Choice(["auto", "exact", "sampled"]), default="auto", show_default=True,
    help="Exact occupancies, or sampled ones with paired tests; auto is exact where it fits.",
)  # fmt: skip
@click.option(
    "--runs", type=options.WholeNumber(50, 10**7), default=2000, show_default=True,
    help="Sampled states, and pairs of runs of a test, if sampled.",
)  # fmt: skip
@click.option("--max-rounds", type=options.WholeNumber(1), default=100, show_default=True, help="Improvements at most.")
@options.seed
@options.common
def refine(file, n, output, method, runs, max_rounds, seed, memory, threads, as_json, force, quiet):
    """Improve the global agent's decisions in FILE for n agents, and write the policy to OUTPUT.

    A policy that is optimal for k agents is not the best one that sees k of n. The improved one sees the same samples; its
    value is never lower: exactly so, or by a paired test where the states are too many.

    \b
    Example:
        kofn refine formation-k8.h5 -n 100 -o refined.h5
        kofn deploy refined.h5 -n 100 --runs 20
    """
    from ..engine.backups.selection import TooLargeError
    from ..engine.evaluation.refine import refine as run_exact
    from ..engine.evaluation.refine_sampled import refine_sampled
    from ..engine.policy_files import read_any_policy, write_refinement

    options.check_outputs(output, inputs=[file], force=force)
    game, policy = read_any_policy(file)
    n_agents = options.number_of_agents(n, game)
    options.use_threads(threads)
    line = ProgressLine(quiet)

    def show(rounds, gain):
        line.show(f"improvement {rounds}  gain so far {gain:.6g}")

    with stop_on_signals() as should_stop:
        try:
            refinement = None
            if method != "sampled":
                try:
                    refinement = run_exact(
                        game, policy, n_agents, max_rounds=max_rounds, memory_bytes=memory, progress=show,
                        should_stop=should_stop,
                    )  # fmt: skip
                except TooLargeError as error:
                    if method == "exact":
                        raise
                    line.close()
                    if not quiet:
                        click.echo(f"{error}; sampling instead", err=True)
            if refinement is None:
                refinement = refine_sampled(
                    game, policy, n_agents, runs=runs, seed=seed, max_rounds=max_rounds, memory_bytes=memory,
                    progress=show, should_stop=should_stop,
                )  # fmt: skip
        finally:
            line.close()
    config = {"game": game.name, "source": file.name, "seed": seed if refinement.method == "sampled" else 0}
    write_refinement(output, refinement, game, config, overwrite=force)
    facts = (
        "n", "method", "value_before", "value_after", "gain", "half_width", "rounds", "n_changed", "is_local_optimum"
    )  # fmt: skip
    if as_json:
        say_json({key: getattr(refinement, key) for key in facts})
        return
    kind = "exact" if refinement.method == "exact" else f"simulated, {runs} paired runs"
    say(f"policy      {game.name or 'game'}, k = {policy.k_global}, played by {n_agents} agents")
    say(f"value       {refinement.value_before:.9g} -> {refinement.value_after:.9g} from the initial law, {kind}")
    bound = f"± {refinement.half_width:.2g}" + ("" if refinement.method == "exact" else " (95 %)")
    say(f"gain        {refinement.gain:.6g} {bound}, in {refinement.rounds} improvements")
    best = ", no change at a single one helps" if refinement.is_local_optimum else ""
    say(f"changed     {refinement.n_changed} of {policy.global_action.size} observations{best}")
    say(f"time        {readable_seconds(refinement.wall_time_s)}")
    say(f"written     {output}")
