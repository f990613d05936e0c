"""kofn study with a file whose method is "drift": repeated estimates under known drifts, and their bound."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from .errors import say
from .study_cells import running_cells, say_written

# What the command line may change in such a file: its name there, its name in the file.
TAKEN = {"n": "n", "runs": "replications", "seeds": "seed"}


def study_drift(
    changes: dict[str, Any],
    document: Mapping[str, Any],
    where: str,
    *,
    output: Path,
    dry_run: bool,
    memory: int | None,
    force: bool,
    quiet: bool,
) -> None:
    """Run a study of importance weights, or print its cells."""
    from ..engine.study.drift import count_finished_drift_cells, run_drift_study
    from ..engine.study.drift_settings import drift_settings_from
    from ..engine.study.drift_table import drift_lines, drift_plan_lines

    if len(changes.get("seeds", (0,))) > 1:
        raise click.UsageError(f"--seeds: found {len(changes['seeds'])}, expected one for a study of drift")
    given = {TAKEN[name]: x[0] if name == "seeds" else x for name, x in changes.items()}
    settings = drift_settings_from(document, where=where, **given)
    if dry_run:
        settings.check(memory)
        finished = frozenset() if output is None or force else count_finished_drift_cells(settings, output)
        for line in drift_plan_lines(settings, finished):
            say(line)
        return
    with running_cells(quiet) as cells:

        def show_part(cell: str, share: float) -> None:
            cells.line.show(f"cell {cell}  {100 * share:.0f} %  {cells.elapsed()}")

        result = run_drift_study(
            settings, output=output, memory_bytes=memory, force=force, on_part=show_part, progress=cells.show_done,
            should_stop=cells.should_stop,
        )  # fmt: skip
    for line in drift_lines(result):
        say(line)
    say_written(output, "drift.h5", len(settings.cells))
