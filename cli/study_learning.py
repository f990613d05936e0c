"""kofn study with a method of learning: agents learn for every method, n and temperature of a grid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .errors import say
from .learning_options import NAMES
from .progress import readable_seconds
from .study_cells import running_cells, say_written

if TYPE_CHECKING:
    from ..engine.learning.learn import LearningReport
    from ..engine.study.learning_settings import LearningStudySettings


def study_learning(
    games: tuple[str, ...],
    changes: dict[str, Any],
    document: Mapping[str, Any] | None,
    where: str,
    *,
    output: Path,
    dry_run: bool,
    scheduler: str | None,
    memory: int | None,
    force: bool,
    quiet: bool,
) -> None:
    """Run a study of learning, or print its cells."""
    from ..engine.study.learning import count_finished_cells, run_learning_study
    from ..engine.study.learning_table import learning_lines, learning_plan_lines

    settings = _settings(games, changes, document, where)
    if dry_run:
        settings.check(memory)
        finished = frozenset() if output is None or force else count_finished_cells(settings, output)
        for line in learning_plan_lines(settings, finished):
            say(line)
        return
    with running_cells(quiet) as cells:

        def show_steps(cell: str, report: LearningReport) -> None:
            cells.line.show(
                f"cell {cell}  step {report.step} of {report.steps}  reward {report.reward:.4g}  "
                f"{readable_seconds(report.elapsed_s)}  left {readable_seconds(report.seconds_left)}"
            )

        result = run_learning_study(
            settings, output=output, scheduler=scheduler, memory_bytes=memory, force=force, on_wait=cells.line.say,
            on_steps=show_steps, progress=cells.show_done, should_stop=cells.should_stop,
        )  # fmt: skip
    for line in learning_lines(result):
        say(line)
    for note in result.config["notes"]:
        say(f"note: {note}")
    say_written(output, "learning.h5", len(settings.cells))


def _settings(
    games: tuple[str, ...], changes: dict[str, Any], document: Mapping[str, Any] | None, where: str
) -> LearningStudySettings:
    from ..engine.study.learning_settings import LearningStudySettings, learning_settings_from

    fields = {name: changes.pop(name) for name in NAMES if name in changes}
    if fields:
        changes["learning"] = fields
    seeds = changes.pop("seeds", (0,) if document is None else None)
    if seeds is not None:
        if len(seeds) > 1:
            raise click.UsageError(
                f"--seeds: found {len(seeds)}, expected one where agents learn; --runs are independent"
            )
        (changes["seed"],) = seeds
    if document is not None:
        return learning_settings_from(document, where=where, **changes)
    if "steps" not in changes:
        raise click.UsageError("Missing option '--steps'.")
    return LearningStudySettings(games=games, **changes)
