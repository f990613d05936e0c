"""kofn learn: agents learn from samples, by mean-field Q-learning, mean-field actor-critic or independent Q-learning."""

from __future__ import annotations

import math
from pathlib import Path

import click

from . import options
from .errors import KofnCommand, say, say_json
from .learning_options import with_learning_options
from .progress import ProgressLine, readable_seconds
from .signals import stop_on_signals


@click.command(cls=KofnCommand)
@click.argument("game")
@options.agents
@with_learning_options
@options.seed
@options.constants
@options.output_file
@options.figure_option("PNG of the learning curve with 95 % bands over runs, or of what --measure finds.")
@click.option(
    "--measure", type=options.WholeNumber(1, 1000), default=None, metavar="POINTS",
    help="Evaluate the policies exactly at so many points of the learning time: gap to the optimum, exploitability.",
)  # fmt: skip
@click.option(
    "--snapshots", type=options.WholeNumber(1, 10_000), default=None, metavar="COUNT",
    help="Keep the tables on the way, at so many steps that grow by factors: kofn gap takes how far a run still moves for noise.",
)  # fmt: skip
@options.memory
@options.threads
@options.checkpoint_option("Time between checkpoints.")
@options.resume
@options.as_json
@options.force
@options.quiet
def learn(
    game,
    n,
    seed,
    constants,
    output,
    figure,
    measure,
    snapshots,
    memory,
    threads,
    checkpoint_every,
    resume,
    as_json,
    force,
    quiet,
    **given,
):
    """Let n agents learn in GAME, a built-in name or a .toml, .json or .h5 file, and write their tables to OUTPUT.

    Runs are independent populations. SIGINT and SIGTERM leave a checkpoint, from which --resume goes on to the same bits. OUTPUT is
    a policy: deploy takes it, and evaluate, exploitability and refine where agents share a table and see states.

    \b
    Example:
        kofn learn ising --order sequential --tables own --temperature 0.9 --steps 2000 -o ising.h5
        kofn learn epidemic -n 14 --temperature 0.1 --steps 20_000 -o epidemic.h5
    """
    from ..engine.game_files import load_game
    from ..engine.learning.files import write_learned
    from ..engine.learning.learn import learn as run
    from ..engine.learning.measure import measure as run_measure
    from ..engine.learning.measure import refuse_unmeasurable
    from ..engine.learning.settings import LearningSettings

    if measure is not None and snapshots is not None:
        raise click.UsageError("--measure and --snapshots exclude each other: what is measured is kept")
    options.check_outputs(output, figure, inputs=[game], force=force)
    checkpoint = Path(f"{output}.checkpoint")
    options.check_checkpoint(checkpoint, resume=resume, force=force)
    loaded = load_game(game, agents=n, constants=constants)
    changes = {name: value for name, value in given.items() if value is not None}
    settings = LearningSettings(
        n=options.number_of_agents(n, loaded), seed=seed, snapshots=measure or snapshots or 0, **changes
    )
    if measure is not None:
        refuse_unmeasurable(loaded, settings, memory)
    options.use_threads(threads)
    if resume and not checkpoint.exists() and not quiet:
        click.echo(f"{checkpoint}: no checkpoint, starting with step 1", err=True)
    line = ProgressLine(quiet)

    def show(report):
        line.show(
            f"step {report.step} of {report.steps}  reward {report.reward:.4g}  {readable_seconds(report.elapsed_s)}  "
            f"left {readable_seconds(report.seconds_left)}",
            final=report.step == report.steps,
        )

    with stop_on_signals() as should_stop:
        try:
            learned = run(
                loaded, settings, memory_bytes=memory, checkpoint=checkpoint, checkpoint_every_s=checkpoint_every,
                resume=resume, progress=show, should_stop=should_stop,
            )  # fmt: skip
            if measure is not None:
                # What was learned stays if measuring it is stopped.
                write_learned(output, learned, overwrite=force)
                force = True
                learned = run_measure(
                    learned, memory_bytes=memory, should_stop=should_stop,
                    progress=lambda done, total: line.show(f"policy {done} of {total} measured", final=done == total),
                )  # fmt: skip
        finally:
            line.close()
        write_learned(output, learned, overwrite=force)
    for leftover in (checkpoint, Path(f"{checkpoint}.partial")):
        leftover.unlink(missing_ok=True)
    if figure is not None:
        _draw(figure, learned)
    if as_json:
        say_json(learned.summary())
    else:
        say_learned(learned)
        say(f"written     {output}")


def _draw(figure, learned):
    if learned.measured is not None:
        from ..engine.learning.measured_figures import draw_measured

        draw_measured(figure, learned)
        return
    from ..engine.learning.figures import draw_learning_curve

    draw_learning_curve(figure, learned)


def say_learned(learned):
    """Print what came out, for people."""
    from ..engine.learning.settings import rule_in_words

    settings, found = learned.settings, learned.summary()
    rule = rule_in_words(settings.temperature)
    say(f"game        {learned.game.name or 'game'}, n = {settings.n}, {settings.runs} runs of {learned.step} steps")
    say(f"method      {settings.method}, {settings.order}, {settings.tables} tables, {rule}")
    last = f"mean of the last {learned.tail_steps:,} steps"
    say(f"reward      {_with_interval(found['reward'])}, {last}")
    of = "mean action" if learned.seen.of == "actions" else "mean state"
    say(f"{of:<12}{_with_interval(found['weight'])}, absolute {_with_interval(found['abs_weight'])}")
    if "correction" in found:
        _say_correction(found["correction"])
    if learned.measured is not None:
        last = learned.measured
        gap = last.gap[:, -1]
        say(
            f"optimum     {last.optimum:.6g} of {settings.n} agents who act as one, certified to ± {last.optimum_half_width:.2g}"
        )
        say(f"value       {last.value[:, -1].mean():.6g}, exact, mean of runs; gap {gap.min():.4g} … {gap.max():.4g}")
        gains = " and ".join(
            f"{gain[:, -1].mean():.4g} ({agent})" for agent, gain in
            (("global agent", last.global_gain), ("a local agent", last.local_gain))
        )  # fmt: skip
        say(f"gains       {gains}: what a best response gains, mean of runs")
    moves = learned.step * settings.n * settings.runs
    rate = moves / max(learned.wall_time_s, 1e-9)
    say(f"work        {moves:.3g} agent-steps in {readable_seconds(learned.wall_time_s)}, {rate:.3g} per second")


def _say_correction(found):
    if found["neutral"] is not None:
        say(f"weights     none, they would change nothing: {found['neutral']}")
        return
    if "reward" not in found:
        say("weights     too few steps replayed to tell")
        return
    say(
        f"weights     {found['form']}, mean {found['mean_weight']:.3g}, effective sample {found['effective_share']:.1%}, clipped "
        f"{found['clip_rate']:.2%}, chi-square {found['chi2']:.3g}, steps left unweighed {found['unweighed']:.1%}"
    )
    bound = found["bound"]
    say(
        f"replayed    reward {found['reward']:.6g} by weighed steps, off by at most {bound['total']:.3g} = {bound['variance']:.3g} "
        f"(variance) + {bound['range']:.3g} (range) + {bound['clipping']:.3g} (clipping) + {bound['mean_field']:.3g} (mean field)"
    )


def _with_interval(found):
    half = f" ± {found['half_width']:.2g}" if math.isfinite(found["half_width"]) else ""
    return f"{found['mean']:.6g}{half}"
