"""What kofn study shows of the cells of any study: how far they are, and what was written."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .errors import say
from .progress import ProgressLine, readable_seconds
from .signals import stop_on_signals


class RunningCells:
    """Cells that are run one after the other or side by side.

    Parameters
    ----------
    line : ProgressLine    shows how far they are
    should_stop            tells whether to stop
    """

    def __init__(self, line: ProgressLine, should_stop: Callable[[], bool]):
        self.line, self.should_stop = line, should_stop
        self._began = time.perf_counter()

    def elapsed(self) -> str:
        """The time since the start."""
        return readable_seconds(time.perf_counter() - self._began)

    def show_done(self, cell: str, done: int, total: int) -> None:
        """Show that a cell is done."""
        self.line.show(f"cell {cell} done  {done} of {total} cells  {self.elapsed()}", final=done == total)


@contextlib.contextmanager
def running_cells(quiet: bool) -> Iterator[RunningCells]:
    """Run cells inside this: signals stop them, and the line of their progress is ended at the end."""
    line = ProgressLine(quiet)
    with stop_on_signals() as should_stop:
        try:
            yield RunningCells(line, should_stop)
        finally:
            line.close()


def say_written(output: Path, files: str, n_cells: int) -> None:
    """Say what stands in the folder of a study."""
    figures = len(list(output.rglob("*.png")))
    say(f"\nwritten: {files}, {n_cells} cells and {figures} figures in {output}")
