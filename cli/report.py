"""kofn report: a study, or learned tables, as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from . import options
from .errors import KofnCommand, say
from .signals import end_on_signals


@click.command(cls=KofnCommand)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@options.output_option("HTML file to write.")
@options.force
def report(folder, output, force):
    """Write the study in the folder DIR as one self-contained HTML page; DIR may be a file of learned tables.

    Settings, games, whether k matters, figures, tables, machine. No script, no network; light and dark; to be mailed.

    \b
    Example:
        kofn study formation -n 14 -k 2:14 -o formation-study
        kofn report formation-study -o formation.html
    """
    from ..engine.report.page import write_report

    read = [folder, *(folder / name for name in ("study.h5", "timings.h5", "learning.h5"))]
    options.check_outputs(output, inputs=read, force=force)
    with end_on_signals():
        size = write_report(folder, output, overwrite=force)
    say(f"written: {output}, {size:,} bytes")
