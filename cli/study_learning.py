"""kofn study with a method of learning: agents learn for every method, n and temperature of a grid."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .errors import say
from .learning_options import NAMES
from .progress import ProgressLine, readable_seconds
from .signals import stop_on_signals

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
    began = time.perf_counter()
    shown = ProgressLine(quiet)

    def show(cell: str, done: int, total: int) -> None:
        elapsed = readable_seconds(time.perf_counter() - began)
        shown.show(f"cell {cell} done  {done} of {total} cells  {elapsed}", final=done == total)

    def show_steps(cell: str, report: LearningReport) -> None:
        shown.show(
            f"cell {cell}  step {report.step} of {report.steps}  reward {report.reward:.4g}  "
            f"{readable_seconds(report.elapsed_s)}  left {readable_seconds(report.seconds_left)}"
        )

    with stop_on_signals() as should_stop:
        try:
            result = run_learning_study(
                settings, output=output, scheduler=scheduler, memory_bytes=memory, force=force, on_wait=shown.say,
                on_steps=show_steps, progress=show, should_stop=should_stop,
            )  # fmt: skip
        finally:
            shown.close()
    for line in learning_lines(result):
        say(line)
    for note in result.config["notes"]:
        say(f"note: {note}")
    figures = len(list(output.rglob("*.png")))
    say(f"\nwritten: learning.h5, {len(settings.cells)} cells and {figures} figures in {output}")


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
