"""kofn inventory: retailers, unit by unit, under a policy and under the simple rules."""

from __future__ import annotations

import math
from pathlib import Path

import click

from . import options
from .errors import KofnCommand, say, say_json
from .progress import ProgressLine
from .signals import stop_on_signals

RULES = ("base-stock", "constant", "random")


@click.command(cls=KofnCommand)
@click.argument("game")
@options.agents
@click.option(
    "--policy", default="base-stock", show_default=True, metavar="RULE|LEARNED.h5",
    help="base-stock, constant, random, or a file of learned tables.",
)  # fmt: skip
@click.option(
    "--greedy", is_flag=True, help="Take the best order of learned tables, in place of the law they learned with."
)
@click.option("--periods", type=options.WholeNumber(1), default=365, show_default=True, help="Periods (days) of a run.")
@click.option("--runs", type=options.WholeNumber(1), default=20, show_default=True, help="Independent runs.")
@click.option(
    "--units", type=click.Choice(["unit", "lot"]), default="unit", show_default=True,
    help="Whole units and the season of the day; or lots, seasons and levels as in the tables.",
)  # fmt: skip
@click.option(
    "--demand", default=None, metavar="poisson|uniform|CSV",
    help="Demand; a CSV file has one demand per period, or columns day,demand.  [default: the game's own]",
)  # fmt: skip
@options.seed
@options.inventory_parameters
@options.optional_output_file
@options.figure_option("PNG of stock, backlog and orders by period.")
@options.common
def inventory(
    game,
    n,
    policy,
    greedy,
    periods,
    runs,
    units,
    demand,
    seed,
    constants,
    output,
    figure,
    memory,
    threads,
    as_json,
    force,
    quiet,
):
    """Simulate the retailers of GAME: inventory-tiny, inventory or inventory-large (or tiny, medium, large).

    Prints what the policy earns per retailer and period beside the best base stock, the best constant order and random orders,
    all under the same demand, with 95 % intervals over runs.

    \b
    Example:
        kofn inventory tiny --runs 5 --policy base-stock
        kofn inventory tiny -n 20 --policy constant --periods 90 --runs 3 -o quarter.h5 --figure quarter.png
    """
    from ..engine.inventory import GAME_SIZES
    from ..engine.inventory.comparison import compare_inventory
    from ..engine.inventory.spec import spec_of

    spec = spec_of(GAME_SIZES.get(game, game), **constants)
    if demand is not None:
        spec = spec.changed(demand=demand)
    learned = None if policy in RULES else _read(policy)
    options.check_outputs(output, figure, inputs=[None if policy in RULES else policy, demand], force=force)
    n = spec.agents if n is None else n
    chosen = policy if learned is None else _policies(spec, learned, n, runs, greedy)
    options.use_threads(threads)
    line = ProgressLine(quiet)
    with stop_on_signals() as should_stop:
        try:
            found = compare_inventory(
                spec, chosen, n=n, periods=periods, runs=runs, seed=seed, units=units, memory_bytes=memory,
                series=output is not None or figure is not None, progress=line.show, should_stop=should_stop,
            )  # fmt: skip
        finally:
            line.close()
    if output is not None:
        from ..engine.inventory.files import write_inventory

        write_inventory(output, found, overwrite=force)
    if figure is not None:
        from ..engine.inventory.figures import draw_inventory

        draw_inventory(figure, found)
    if as_json:
        say_json(found.summary())
    else:
        say_inventory(found)
        if output is not None:
            say(f"written     {output}")


def _read(policy):
    from ..engine.learning.files import read_learned

    if Path(policy).suffix.lower() not in (".h5", ".hdf5"):
        raise ValueError(f"policy: found {policy!r}, expected {', '.join(RULES)} or a file LEARNED.h5")
    return read_learned(policy)


def _policies(spec, learned, n, runs, greedy):
    """What each of the learned runs plays; as many as there are runs to simulate."""
    from ..engine.inventory.policies import learned_orders

    if learned.settings.tables == "own" and learned.settings.n != n:
        raise ValueError(
            f"n: found {n}, expected {learned.settings.n}, as many as learned: each has a table of its own"
        )
    return [learned_orders(spec, learned, run=run, greedy=greedy) for run in range(min(runs, learned.settings.runs))]


def say_inventory(found):
    """Print a comparison, for people."""
    from ..engine.inventory.result import METRICS

    summaries = {name: runs.summary() for name, runs in found.runs.items()}
    config = found.runs[found.played].config
    say(
        f"game        {config['game']}, n = {config['n']}, {config['runs']} runs of {config['periods']} periods, "
        f"{config['units']} by {config['units']}"
    )
    for name, summary in summaries.items():
        mark = " (asked for)" if name == found.played else ""
        say(f"{name:<12}{summary['policy']}{mark}")
    say("")
    say(f"{'':<16}" + "".join(f"{name:>22}" for name in summaries) + "  unit")
    for metric, (unit, _, _) in METRICS.items():
        cells = (_with_interval(summary["metrics"][metric]) for summary in summaries.values())
        say(f"{metric:<16}" + "".join(f"{cell:>22}" for cell in cells) + f"  {unit}")
    cells = (f"{summary['metrics']['profit']['system_mean']:.4g}" for summary in summaries.values())
    say(f"{'system profit':<16}" + "".join(f"{cell:>22}" for cell in cells) + "  money per period")
    say("")
    gap = found.difference
    if gap is None:
        return
    half = f" ± {gap.half_width:.2g}" if math.isfinite(gap.half_width) else ""
    if config["runs"] == 1:
        say(f"verdict     none from a single run: profit {gap.mean:+.4g} beside base stock")
        return
    verdict = "beats base stock" if found.beats_base_stock else "does not beat base stock"
    say(f"verdict     {verdict}: profit {gap.mean:+.4g}{half} beside it, paired over {config['runs']} runs")


def _with_interval(found):
    mean, width = found["mean"], found["half_width"]
    if math.isnan(mean):
        return "undefined"
    # Below this it is rounding.
    half = f" ± {width:.2g}" if width > 1e-12 * abs(mean) else ""
    return f"{mean:.4g}{half}"
