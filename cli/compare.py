"""kofn compare: groups of seeds against each other, with intervals, tests and effect sizes."""

from __future__ import annotations

from pathlib import Path

import click

from . import options
from .errors import KofnCommand, say, say_json


def _conditions(ctx, param, given):
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"found {text!r}, expected COLUMN=VALUE", ctx, param)
        found[name] = value
    return found


@click.command(cls=KofnCommand)
@click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--metric", "metrics", multiple=True, required=True, metavar="NAME", help="Column of values; may be repeated."
)
@click.option(
    "--by", multiple=True, default=("file",), show_default=True, metavar="COLUMN",
    help="Column whose values are the groups; repeated, their combinations.",
)  # fmt: skip
@click.option("--reference", default=None, metavar="GROUP", help="Compare all others with it.  [default: all pairs]")
@click.option(
    "--where", multiple=True, callback=_conditions, metavar="COLUMN=VALUE", help="Rows that count; may be repeated."
)
@click.option(
    "--unpaired", is_flag=True, help="Welch and Mann-Whitney of independent seeds, in place of pairs by seed."
)
@click.option(
    "--correction", type=click.Choice(["holm", "fdr", "none"]), default="holm", show_default=True,
    help="Of p-values, for the number of comparisons.",
)  # fmt: skip
@click.option(
    "--resamples",
    type=options.WholeNumber(100, 10**6),
    default=9999,
    show_default=True,
    help="Of the bootstrap over seeds.",
)
@options.seed
@options.figure_option("PNG of the groups' densities, a panel for each metric.")
@options.output_option("CSV file to write, a row for each comparison.", required=False)
@options.as_json
@options.force
def compare(
    files, metrics, by, reference, where, unpaired, correction, resamples, seed, figure, output, as_json, force
):
    """Compare groups of seeds in FILES: tables with a header (.csv), or results of learn, gap and inventory (.h5).

    A table has a column "seed"; every other column is a metric or tells groups apart. A run of a result is a seed. Differences
    have 95 % intervals (t and bootstrap over seeds), tests, Hedges' g and Cliff's delta.

    \b
    Example:
        kofn learn epidemic -n 20 --steps 300 --runs 8 -o mean-field.h5
        kofn learn epidemic -n 20 --steps 300 --runs 8 --method iq -o independent.h5
        kofn compare mean-field.h5 independent.h5 --metric reward --reference independent
    """
    import dataclasses

    from ..engine.files import write_bytes_atomically
    from ..engine.statistics.compare import compare as compare_groups
    from ..engine.statistics.compare import corrected, summarise
    from ..engine.statistics.intervals import bootstrap_kind
    from ..engine.statistics.table import comparison_csv, comparison_lines, summary_lines
    from ..engine.statistics.values import grouped_values, read_seed_table

    options.check_outputs(output, figure, inputs=files, force=force)
    metrics = tuple(dict.fromkeys(metrics))
    table = read_seed_table(files)
    groups = {
        metric: grouped_values(table, metric, tuple(dict.fromkeys(by)), where=where, paired=not unpaired)
        for metric in metrics
    }
    rows, summaries = [], []
    for metric, found in groups.items():
        rows += compare_groups(
            found,
            reference=reference,
            paired=not unpaired,
            metric=metric,
            correction="none",
            resamples=resamples,
            seed=seed,
        )
        summaries += summarise(metric, found)
    # All comparisons of all metrics are one family.
    rows = corrected(rows, correction)
    if output is not None:
        write_bytes_atomically(output, comparison_csv(rows).encode(), overwrite=force)
    if figure is not None:
        from ..engine.statistics.figures import draw_densities

        sizes = sorted({row.n for row in summaries})
        seeds = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        draw_densities(figure, groups, note=f"{seeds} seeds a group; bars below are seeds, diamonds means")
    if as_json:
        say_json(
            {
                "correction": correction,
                "groups": [dataclasses.asdict(row) for row in summaries],
                "comparisons": [row.row() for row in rows],
            }
        )
        return
    for line in summary_lines(summaries):
        say(line)
    say("")
    for line in comparison_lines(rows):
        say(line)
    tests = "Welch's t, Mann-Whitney U" if unpaired else "paired t, Wilcoxon signed ranks"
    say("")
    kinds = " and ".join(sorted({bootstrap_kind(row.n) for row in summaries}))
    say(f"intervals  95 %, Student's t and {kinds} bootstrap over seeds, {resamples} resamples")
    say(
        f"tests      {tests}; p-values corrected for {len(rows)} comparison{'s' if len(rows) > 1 else ''}: {correction}"
    )
    for path in (output, figure):
        if path is not None:
            say(f"written    {path}")
