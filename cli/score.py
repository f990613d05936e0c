"""kofn score: play and exploitability of every run of a study of learning, as raw values and as a table."""

from __future__ import annotations

import math
from pathlib import Path

import click

from . import options
from .errors import KofnCommand, say, say_json
from .progress import ProgressLine
from .signals import stop_on_signals

# Scores of the table, and what they are called there.
SHOWN = {
    "reward": "while learning", "played": "played on", "profit": "profit", "on_hand": "on hand", "backlog": "backlog",
    "fill_rate": "fill rate", "bullwhip": "bullwhip", "nash_conv": "NashConv",
}  # fmt: skip


@click.command(cls=KofnCommand)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--steps", type=options.WholeNumber(1), default=365, show_default=True, help="Steps (periods) of an episode."
)
@click.option("--episodes", type=options.WholeNumber(1), default=4, show_default=True, help="Episodes of each run.")
@click.option(
    "--gains/--no-gains", default=True, show_default=True, help="Find what best responses gain, and clusters of runs."
)
@click.option(
    "--flow-steps", type=options.WholeNumber(1, 10**8), default=5_000, show_default=True,
    help="Steps of the population flow that best responses are found against.",
)  # fmt: skip
@click.option(
    "--units", type=click.Choice(["lot", "unit"]), default="lot", show_default=True,
    help="What goods of inventory games come in: lots as learned, or units.",
)  # fmt: skip
@options.seed
@options.output_option("CSV file to write, a row for each run.")
@options.figure_option("PNG of the scores against n, of a study of one game and temperature.")
@options.common
def score(
    folder, steps, episodes, gains, flow_steps, units, seed, output, figure, memory, threads, as_json, force, quiet
):
    """Score every run of the study of learning in FOLDER by play without learning, and by what best responses gain.

    Runs of one number have the same random numbers in all methods, so that scores are paired. In inventory games the best base
    stock, the best constant order and random orders are scored beside them. OUTPUT goes to kofn compare. Scores that are found
    stay in FOLDER/scores.

    \b
    Example:
        kofn study inventory-tiny --method mfq,iq --steps 200 --runs 3 --temperature 5 -o tiny-study
        kofn score tiny-study --episodes 1 --flow-steps 200 -o scores.csv
    """
    from ..engine.files import write_bytes_atomically
    from ..engine.study.scores import ScoreSettings, csv_of, score_study, summarise_scores

    read = [folder / "learning.h5", *folder.glob("cells/*.h5"), *folder.glob("scores/*.csv")]
    options.check_outputs(output, figure, inputs=read, force=force)
    settings = ScoreSettings(steps=steps, episodes=episodes, flow_steps=flow_steps, gains=gains, units=units, seed=seed)
    options.use_threads(threads)
    line = ProgressLine(quiet)

    def show(name, done, total):
        line.show(f"{name} scored  {done} of {total}", final=done == total)

    with stop_on_signals() as should_stop:
        try:
            rows = score_study(folder, settings, memory_bytes=memory, progress=show, should_stop=should_stop)
        finally:
            line.close()
    write_bytes_atomically(output, csv_of(rows).encode(), overwrite=force)
    lines = summarise_scores(rows)
    if figure is not None:
        from ..engine.study.score_figures import draw_scores

        draw_scores(figure, lines, n_runs=len({row["seed"] for row in rows}))
    if as_json:
        say_json({"scores": [vars(found) for found in lines]})
        return
    say_scores(lines)
    say(f"written     {output}")


def say_scores(lines):
    """Print one line for each method and n, a table for each game."""
    for game in dict.fromkeys(found.game for found in lines):
        of_game = [found for found in lines if found.game == game]
        shown = [name for name in SHOWN if any(name in found.means for found in of_game)]
        several = len({found.temperature for found in of_game} - {""}) > 1
        names = [
            found.method + (f", T = {found.temperature}" if several and found.temperature else "") for found in of_game
        ]
        wide = max(map(len, names))
        clusters = any(found.clusters for found in of_game)
        say(f"{game}: means over runs with 95 % intervals")
        head = f"{'n':>7s}  {'method':<{wide}s}" + "".join(f"{SHOWN[name]:>20s}" for name in shown)
        say(head + ("  clusters" if clusters else ""))
        for name, found in zip(names, of_game, strict=True):
            cells = "".join(f"{_cell(found.means.get(name)):>20s}" for name in shown)
            groups = f"{found.clusters or '':>10}" if clusters else ""
            flag = "  does not beat base stock" if found.beats_base_stock is False else ""
            say(f"{found.n:7d}  {name:<{wide}s}{cells}{groups}{flag}")


def _cell(found):
    if found is None:
        return ""
    mean, half = found
    if math.isnan(mean):
        return "undefined"
    return f"{mean:.4g} ± {half:.2g}" if math.isfinite(half) and half > 1e-12 * abs(mean) else f"{mean:.4g}"
