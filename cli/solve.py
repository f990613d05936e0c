"""kofn solve: the surrogate game of k agents, to a certified width."""

from __future__ import annotations

from pathlib import Path

import click

from . import options
from .errors import KofnCommand, say
from .progress import ProgressLine, readable_seconds
from .signals import stop_on_signals
from .workers import workers_of


@click.command(cls=KofnCommand)
@click.argument("game")
@click.option("-k", "k", type=options.WholeNumber(1), required=True, help="Agents of the surrogate game.")
@options.output_file
@options.actions
@options.local_policy
@options.expectation
@options.samples
@options.tol
@click.option(
    "--method", type=click.Choice(["meet-in-the-middle", "symmetric-power", "recursion"]), default=None,
    help="Exact method.  [default: the cheapest that is stable and fits]",
)  # fmt: skip
@click.option(
    "--warm-start/--no-warm-start", default=None,
    help="Solve for k/2, k/4, … agents first.  [default: where it pays]",
)  # fmt: skip
@click.option(
    "--policy-sweeps/--no-policy-sweeps", default=None,
    help="Follow the greedy policy to its value between full sweeps.  [default: where it pays]",
)  # fmt: skip
@click.option(
    "--anderson/--no-anderson", default=None,
    help="Combine the last full sweeps where no policy is followed.  [default: where it pays]",
)  # fmt: skip
@click.option(
    "--drop-actions/--no-drop-actions", default=None,
    help="Leave out global actions proved not to be optimal.  [default: where it pays]",
)  # fmt: skip
@click.option("--max-sweeps", type=options.WholeNumber(1), default=1_000_000, show_default=True, help="Sweeps allowed.")
@options.seed
@options.scheduler_option("Spread the sweeps over the workers of a Dask scheduler.  [default: this machine]")
@options.memory
@options.threads
@options.checkpoint_option("Time between checkpoints; 0 is after every sweep.")
@options.resume
@click.option(
    "--store-q/--no-store-q",
    default=None,
    help="Store the Q-table.  [default: if it takes at most 64 MB and 2000 states]",
)
@options.force
@options.quiet
def solve(
    game, k, output, actions, local_policy, expectation, samples, tol, method, warm_start, policy_sweeps, anderson,
    drop_actions, max_sweeps, seed, scheduler, memory, threads, checkpoint_every, resume, store_q, force, quiet,
):  # fmt: skip
    """Solve GAME, a built-in name or a .toml, .json or .h5 file, for k agents.

    Writes value, certificate, greedy policy and the game itself to OUTPUT. SIGINT and SIGTERM leave a checkpoint.

    \b
    Example:
        kofn solve formation -k 8 -o formation-k8.h5
        kofn solve robots -k 30 --local-policy uniform -o robots-k30.h5
    """
    actions = options.class_of_actions(actions, local_policy)
    from ..engine.game_files import load_game
    from ..engine.policy import load_local_policy
    from ..engine.solution_files import write_solution
    from ..engine.solve import solve as solve_game

    options.check_outputs(output, inputs=[game, local_policy], force=force)
    checkpoint = Path(f"{output}.checkpoint")
    options.check_checkpoint(checkpoint, resume=resume, force=force)
    loaded = load_game(game)
    policy = None if local_policy is None else load_local_policy(local_policy, loaded)
    options.use_threads(threads)
    if resume and not checkpoint.exists() and not quiet:
        click.echo(f"{checkpoint}: no checkpoint, starting with sweep 1", err=True)
    line = ProgressLine(quiet)

    def show(report):
        line.show(
            f"sweep {report.sweep}  certified width {report.width:.3g} (asked {report.tol:.3g})  "
            f"{readable_seconds(report.elapsed_s)}  left {readable_seconds(report.seconds_left)}",
            final=report.width <= report.tol,
        )

    with stop_on_signals() as should_stop, workers_of(scheduler) as workers:
        try:
            solution = solve_game(
                loaded, k, actions, expectation, tol, local_policy=policy, method=method, warm_start=warm_start,
                policy_sweeps=policy_sweeps, anderson=anderson, drop_actions=drop_actions, samples=samples, seed=seed,
                max_sweeps=max_sweeps, memory_bytes=memory, checkpoint=checkpoint, checkpoint_every_s=checkpoint_every,
                resume=resume, progress=show, should_stop=should_stop,
                executor=workers,
            )  # fmt: skip
        finally:
            line.close()
        write_solution(output, solution, store_q=store_q, overwrite=force)
    # A kill in the middle of writing a checkpoint leaves a part.
    for leftover in (checkpoint, Path(f"{checkpoint}.partial")):
        leftover.unlink(missing_ok=True)
    say(f"game        {loaded.name}, k = {k}, {actions} actions, {expectation} expectation ({solution.method})")
    say(f"value       {solution.initial_value:.9g} from the initial law, certified to ± {solution.half_width:.2g}")
    say(
        f"work        {solution.n_sweeps} sweeps of {solution.value.size} states in {readable_seconds(solution.wall_time_s)}"
    )
    saved = _savings(solution)
    if saved:
        say(f"saved by    {saved}")
    say(f"written     {output}")


def _savings(solution):
    """What made the full sweeps fewer or cheaper, in one line."""
    parts = []
    if solution.level_sweeps:
        levels = ", ".join(f"{n} of k = {m}" for m, n in solution.level_sweeps.items())
        parts.append(f"sweeps of fewer agents ({levels})")
    if solution.n_policy_sweeps:
        parts.append(f"{solution.n_policy_sweeps} sweeps of a policy")
    if solution.n_combined:
        parts.append(f"{solution.n_combined} combinations of sweeps")
    if solution.n_dropped:
        parts.append(f"{solution.n_dropped} of {solution.game.n_sg * solution.game.n_ag} (s_g, a_g) dropped")
    return "; ".join(parts)
