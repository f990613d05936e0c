"""Independent jobs on a pool of processes that can be asked to stop, and that do not outlive their parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from .solve import Interrupted

POLL_S = 0.2

_stop_event: Any = None


def run_jobs(
    jobs: Sequence[tuple[Callable[..., None], tuple]],
    n_processes: int,
    should_stop: Callable[[], bool],
    warm_up: Callable[[], None],
) -> Iterator[int]:
    """Run jobs and give the position of each as it ends; with one process, here and in order.

    Parameters
    ----------
    jobs : (function, arguments) pairs. A function gets its arguments and a function that tells whether to stop; both have
        to be picklable.
    n_processes : int
    should_stop : asked a few times per second
    warm_up : called once in each process before its first job

    Raises
    ------
    Interrupted    `should_stop` said so; jobs under way were told and have ended
    RuntimeError   a process was killed from outside, or what a job raised
    """
    if n_processes == 1 or len(jobs) <= 1:
        for position, (function, arguments) in enumerate(jobs):
            if should_stop():
                raise Interrupted("stopped between two cells")
            if position == 0:
                warm_up()
            function(*arguments, should_stop)
            yield position
        return
    # Numba's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    n_processes = min(n_processes, len(jobs))
    threads = max(1, len(os.sched_getaffinity(0)) // n_processes)
    with ProcessPoolExecutor(n_processes, context, _start_worker, (stop, threads, warm_up)) as pool:
        positions: dict[Future, int] = {}
        try:
            positions = {pool.submit(_run_job, *job): i for i, job in enumerate(jobs)}
            pending = set(positions)
            while pending:
                done, pending = wait(pending, timeout=POLL_S, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                    yield positions[future]
                if pending and should_stop():
                    raise Interrupted("stopped")
        except BrokenProcessPool as error:
            raise RuntimeError(
                "jobs: a worker process was killed; finished cells are kept, start again to go on"
            ) from error
        finally:
            stop.set()
            for future in positions:
                future.cancel()


def _start_worker(stop: Any, threads: int, warm_up: Callable[[], None]) -> None:
    global _stop_event
    _stop_event = stop
    # A terminal's Ctrl-C reaches the whole group; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import numba

    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    warm_up()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_job(function: Callable[..., None], arguments: tuple) -> None:
    function(*arguments, _stop_event.is_set)
