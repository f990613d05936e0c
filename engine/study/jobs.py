"""Independent jobs on a pool of processes that can be asked to stop, and that do not outlive their parent.

Any process can be killed at any time, by the system when memory runs out: nothing here waits for a lock that a killed
process may hold, and what travels through the pool's pipes is small enough never to fill one that nobody reads.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from ..solve import Interrupted

POLL_S = 0.2

_PR_SET_PDEATHSIG = 1


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
    RuntimeError   a process was killed from outside, or what a job raised; the other jobs were told and have ended
    """
    if n_processes == 1 or len(jobs) <= 1:
        for position, (function, arguments) in enumerate(jobs):
            if should_stop():
                raise _interrupted()
            if position == 0:
                warm_up()
            function(*arguments, should_stop)
            yield position
        return
    # Numba's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    stop = context.RawValue(ctypes.c_bool, False)
    work = pickle.dumps((warm_up, list(jobs)))
    shared_work = context.RawArray(ctypes.c_char, len(work))
    shared_work.raw = work
    n_processes = min(n_processes, len(jobs))
    threads = max(1, len(os.sched_getaffinity(0)) // n_processes)
    with ProcessPoolExecutor(n_processes, context, _start_worker, (stop, threads, shared_work)) as pool:
        try:
            with _workers_of_our_own():
                try:
                    positions: dict[Future, int] = {pool.submit(_run_job, i): i for i in range(len(jobs))}
                    # The pool looks for new processes when something is submitted, just before it starts one: without
                    # this it would not notice that the last one was killed.
                    pool.submit(_do_nothing)
                except Exception:
                    # A pool that breaks closes what the next process is being given; asked again, it says that it is broken.
                    pool.submit(_do_nothing)
                    raise
            pending = set(positions)
            while pending:
                done, pending = wait(pending, timeout=POLL_S, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                    yield positions[future]
                if pending and should_stop():
                    raise _interrupted()
        except BaseException as error:
            stop.value = True
            # Cancelled one by one, the jobs that wait would trip up a pool that breaks at the same time.
            pool.shutdown(wait=True, cancel_futures=True)
            if not isinstance(error, BrokenProcessPool):
                raise
            # Those who end a whole group of processes end the workers too.
            if should_stop():
                raise _interrupted() from error
            raise RuntimeError(
                "jobs: a worker process was killed; finished cells are kept, start again to go on"
            ) from error


def _interrupted() -> Interrupted:
    return Interrupted("stopped; finished cells are kept, start again to go on")


@contextlib.contextmanager
def _workers_of_our_own() -> Iterator[None]:
    """Processes started inside know nothing of the user's script and its terminal.

    They do not run the script again, so that it needs no `if __name__ == "__main__"`. And they never see SIGINT: a terminal's
    Ctrl-C reaches the whole group, and the parent decides.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    script = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class _Worker:
    """What a process of the pool knows: its jobs, and whether it may end at any moment or after the sweep under way."""

    def __init__(self, stop: Any, threads: int, work: Any) -> None:
        self._stop, self._threads, self._work = stop, threads, work
        self._jobs: list[tuple[Callable[..., None], tuple]] | None = None
        self._busy = self._told_to_end = False

    def should_stop(self) -> bool:
        return self._told_to_end or self._stop.value

    def run(self, position: int) -> None:
        if self._jobs is None:
            self._jobs = self._prepare()
        if self.should_stop():
            raise _interrupted()
        function, arguments = self._jobs[position]
        self._busy = True
        try:
            function(*arguments, self.should_stop)
        finally:
            self._busy = False
            if self._told_to_end:
                os._exit(1)

    def _prepare(self) -> list[tuple[Callable[..., None], tuple]]:
        import numba

        numba.set_num_threads(min(self._threads, numba.config.NUMBA_NUM_THREADS))
        warm_up, jobs = pickle.loads(self._work.raw)
        warm_up()
        return jobs

    def end_soon(self, _number: int, _frame: object) -> None:
        """Answer to SIGTERM, which a broken pool sends to those who are left: finish the sweep, leave a checkpoint."""
        if not self._busy:
            os._exit(1)
        self._told_to_end = True

    def watch(self) -> None:
        """End with the parent, and do not let it wait for imports and compilation when it wants to stop."""
        parent = multiprocessing.parent_process()
        while parent is not None and parent.is_alive() and (self._busy or not self._stop.value):
            parent.join(POLL_S)
        os._exit(1)


_worker: _Worker


def _start_worker(stop: Any, threads: int, work: Any) -> None:
    global _worker
    _worker = _Worker(stop, threads, work)
    signal.signal(signal.SIGTERM, _worker.end_soon)
    if sys.platform == "linux":
        # The thread below runs between two sweeps at best; the kernel does not wait.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    threading.Thread(target=_worker.watch, daemon=True).start()


def _run_job(position: int) -> None:
    _worker.run(position)


def _do_nothing() -> None:
    pass
