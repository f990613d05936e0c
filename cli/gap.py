"""kofn gap: how far learned policies are from an equilibrium of very many agents, and whether runs learned the same."""

from __future__ import annotations

import math

import click

from . import options
from .errors import KofnCommand, say, say_json
from .progress import ProgressLine, readable_seconds
from .signals import stop_on_signals

MEASURES = ("policy_tv", "policy_w1", "action_tv", "action_w1", "state_tv")
# Lines of single runs that are printed.
MOST_LINES = 40


@click.command(cls=KofnCommand)
@options.input_file
@click.option(
    "-n", "--agents", "n", type=options.WholeNumber(1), default=None,
    help="Local agents of the check, and of --flow agents.  [default: as many as learned]",
)  # fmt: skip
@click.option(
    "--flow", type=click.Choice(["mean-field", "agents"]), default="mean-field", show_default=True,
    help="Population that the policy is played against: infinitely many agents, or n, simulated.",
)  # fmt: skip
@click.option(
    "--run", "runs", type=options.NumberList("run,run", 0, 10**7), default=None,
    help="Runs of the learner, such as 0 or 0:9.  [default: all]",
)  # fmt: skip
@click.option(
    "--steps",
    type=options.WholeNumber(1, 10**8),
    default=20_000,
    show_default=True,
    help="Steps of the flow, unless it settles.",
)
@click.option(
    "--check", type=options.WholeNumber(0, 10**7), default=400, show_default=True, metavar="RUNS",
    help="Simulated runs in which one of n agents plays its best response, with common random numbers; 0 for none.",
)  # fmt: skip
@click.option(
    "--measure", type=click.Choice(MEASURES), default=None,
    help="Distance to group runs by.  [default: policy_w1 if actions are numbers, else policy_tv]",
)  # fmt: skip
@options.seed
@options.optional_output_file
@options.figure_option("PNG of the runs' distances: tree, noise floor, matrix.")
@options.common
def gap(file, n, flow, runs, steps, check, measure, seed, output, figure, memory, threads, as_json, force, quiet):
    """Compute what one agent gains by a best response to the policies learned in FILE, and group the runs by their policies.

    Agents see (s_g, s_l, b), b the mean of the others. The gain is exact for infinitely many agents where the population settles;
    else it takes (s_g, b) for all that tells what comes next. The check plays it among n agents, whatever was assumed.

    \b
    Example:
        kofn learn epidemic -n 40 --temperature 0.2 --steps 500 --runs 4 -o learned.h5
        kofn gap learned.h5 --check 100
    """
    from ..engine.equilibrium.flow_gaps import learned_gaps
    from ..engine.learning.files import read_learned

    options.check_outputs(output, figure, inputs=[file], force=force)
    learned = read_learned(file)
    for run in runs or ():
        if run >= learned.settings.runs:
            raise ValueError(f"run: found {run}, expected 0 to {learned.settings.runs - 1}")
    if figure is not None and len(runs or range(learned.settings.runs)) < 2:
        raise click.UsageError("--figure shows distances of runs, expected at least two of them")
    options.use_threads(threads)
    line = ProgressLine(quiet)
    with stop_on_signals() as should_stop:
        try:
            found = learned_gaps(
                learned, runs=runs, n=n, flow=flow, steps=steps, check_runs=check, measure=measure, seed=seed,
                memory_bytes=memory, progress=line.show, should_stop=should_stop,
            )  # fmt: skip
        finally:
            line.close()
    if output is not None:
        from ..engine.equilibrium.gap_files import write_gaps

        write_gaps(output, found, overwrite=force)
    if figure is not None and found.clusters is not None:
        from ..engine.equilibrium.cluster_figures import draw_clusters

        name = learned.game.name or "game"
        draw_clusters(figure, found.clusters, runs=found.runs, note=f"{name}, n = {learned.settings.n} agents")
    if as_json:
        say_json(_summary(found))
        return
    _say_gaps(found)
    if output is not None:
        say(f"written         {output}")
    if figure is not None:
        say(f"figure          {figure}")


def _say_gaps(found):
    learned, several = found.learned, len(found.runs) > 1
    flows = [gap.flow for gap in found.gaps]
    say(
        f"policy          {learned.game.name or 'game'}, {learned.settings.method}, learned by {learned.settings.n} agents"
    )
    words = list(dict.fromkeys(flow.in_words() for flow in flows))
    say(f"flow            {words[0]}" + (f"; other runs: {len(words) - 1} other forms" if len(words) > 1 else ""))
    dropped = max(flow.dropped for flow in flows)
    if dropped > 0.0:
        say(f"                left out: next contexts that were never met, {dropped:.2g} of all")
    say(f"{'run':>4}  {'value':>12}  {'best':>12}  {'gain':>10}  {'at worst':>10}" + _check_head(found))
    for i in range(min(len(found.gaps), MOST_LINES)):
        gap = found.gaps[i]
        text = f"{found.runs[i]:>4}  {gap.value:>12.6g}  {gap.best:>12.6g}  {gap.gain:>10.4g}  {gap.worst_gain:>10.4g}"
        say(text + _check_cells(found, i))
    if len(found.gaps) > MOST_LINES:
        say(f"                and {len(found.gaps) - MOST_LINES} more runs")
    if found.gaps[0].global_gain is None:
        say("global agent    decides nothing")
    else:
        say(f"global agent    gains {_mean_in_words(found, 'global_gain')}")
    say(f"NashConv        {_mean_in_words(found, 'nash_conv')}" + (", mean of runs" if several else ""))
    if found.checks:
        check = found.checks[0]
        say(
            f"check           one of {found.n} agents responds; {check.runs} paths of {check.steps} steps, common random numbers"
        )
        say(
            "                ±: 95 %, paired; expected: gain from the same starts; floor: ± of two independent arms of the policy;"
        )
        say("                detectable: gain that is told from 0 with a probability of 80 %")
    if found.clusters is not None:
        say(f"clusters        {found.clusters.verdict()}")
    say(f"time            {readable_seconds(found.wall_time_s)}")


def _check_head(found):
    if not found.checks:
        return ""
    return f"  {f'n = {found.n}':>12} {'±':>9}  {'expected':>10}  {'floor':>9}  {'detectable':>10}"


def _check_cells(found, i):
    if not found.checks:
        return ""
    check = found.checks[i]
    numbers = f"  {check.gain:>12.4g} {check.gain_half_width:>9.2g}  {check.predicted.mean():>10.4g}"
    return f"{numbers}  {check.noise_floor:>9.2g}  {check.detectable:>10.2g}"


def _mean_in_words(found, name):
    mean, half = found.mean(name)
    return f"{mean:.6g}" + (f" ± {half:.2g}" if math.isfinite(half) else "")


def _summary(found):
    from ..engine.equilibrium.gap_files import NUMBERS, check_numbers

    flows = [gap.flow for gap in found.gaps]
    summary = {
        "game": found.learned.game.name, "n": found.n, "flow": found.flow, "runs": list(found.runs), "seed": found.seed,
        "exact": [flow.exact for flow in flows], "period": [flow.period for flow in flows],
        "dropped": [flow.dropped for flow in flows],
    }  # fmt: skip
    summary |= {name: found.column(name).tolist() for name in NUMBERS}
    summary |= {name: column.tolist() for name, column in check_numbers(found).items()}
    summary["mean"] = {
        name: dict(zip(("mean", "half_width"), found.mean(name), strict=True)) for name in ("gain", "nash_conv")
    }
    if found.checks:
        summary["check"] = {name: getattr(found.checks[0], name) for name in ("runs", "steps", "burn_in", "truncation")}
    if found.clusters is not None:
        clusters = found.clusters
        summary["clusters"] = {
            "measure": clusters.measure, "labels": clusters.labels.tolist(), "floor": clusters.floor,
            "floor_of": clusters.floor_of, "last_join": clusters.last_join, "silhouette": clusters.silhouette,
            "verdict": clusters.verdict(),
        }  # fmt: skip
    return summary
