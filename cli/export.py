"""kofn export: results as a CSV table or a netCDF file."""

from __future__ import annotations

from pathlib import Path

import click

from . import options
from .errors import KofnCommand, say
from .signals import end_on_signals


@click.command(cls=KofnCommand)
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@options.output_option("File to write; its suffix .csv or .nc decides what.")
@click.option(
    "--what", type=click.Choice(["cells", "runs", "states", "rounds", "curves", "retailers", "periods"]), default=None,
    help="Rows of a CSV table; curves are those of learning.  [default: cells of a study, states of a solution, rounds of an "
    "alternation, else runs]",
)  # fmt: skip
@options.force
def export(path, output, what, force):
    """Write FILE, or the study in a folder FILE, as a long CSV table or as netCDF-4.

    A table has one row per cell of a study (game, actions, expectation, n, k, seed), per run, or per state of a solution; of
    retailers also one per retailer or period.
    A netCDF file has everything, with named coordinates.

    \b
    Example:
        kofn export formation-k8.h5 -o formation-k8.csv
        kofn study formation -n 14 -k 2:14 -o formation-study
        kofn export formation-study -o formation-runs.csv --what runs
        kofn export formation-study -o formation.nc
    """
    if output.suffix.lower() not in (".csv", ".nc"):
        raise click.UsageError(f"--output {click.format_filename(output)}: expected a name that ends in .csv or .nc")
    if output.suffix.lower() == ".nc" and what is not None:
        raise click.UsageError("--what is for CSV alone: a netCDF file holds everything")

    from ..engine.export import export_file, file_of

    options.check_is_no_input(output, file_of(path))
    with end_on_signals():
        said = export_file(path, output, what=what, overwrite=force)
    say(f"written: {said}")
