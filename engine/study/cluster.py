"""The cells of a study on a Dask cluster: workers that may have no disk in common send finished cells back as bytes.

One cell at a time runs in each worker, on as many threads as the worker has. A worker can be killed at any time: its cell
runs again on another one.
"""

from __future__ import annotations

import contextlib
import logging
import math
import platform
import queue
import re
import socket
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..files import reason_of, write_bytes_atomically
from ..solve import Interrupted
from ..tabulation import shown
from ..versions import library_versions
from .cells import run_cell

CONNECT_S = 5.0
POLL_S = 0.2
COUNT_WORKERS_S = 2.0
# After that many lost workers a cell is taken to be what kills them.
MAX_LOST_WORKERS = 3
CLOSE_S = 3.0
LARGEST_GREETING = 2**20

_one_at_a_time = threading.Lock()


def connect(address: str) -> Cluster:
    """Connect to a Dask scheduler.

    Parameters
    ----------
    address : str    such as tcp://host:8786

    Returns
    -------
    Cluster, to be closed

    Raises
    ------
    RuntimeError    one line: no `distributed`, nothing answers, or versions do not match
    """
    match = re.fullmatch(r"(?:tcp|tls|ws|wss|ucx)://\S+:(\d{1,5})", address)
    if match is None or int(match[1]) > 65535:
        raise RuntimeError(f"scheduler: found {shown(address)}, expected an address such as tcp://HOST:PORT")
    try:
        import distributed
    except ImportError:
        raise RuntimeError(
            "scheduler: found no package 'distributed', expected it to be installed (pip install 'kofn[cluster]')"
        ) from None
    _check_speaks_first(address)
    with contextlib.ExitStack() as quiet:
        quiet.enter_context(_quiet_logs())
        try:
            client = distributed.Client(
                address, timeout=CONNECT_S, set_as_default=False, name="kofn", direct_to_workers=False
            )
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise RuntimeError(f"scheduler: {address} does not answer ({reason})") from None
        cluster = Cluster(address, client, quiet.pop_all())
    try:
        cluster.check_versions()
    except BaseException:
        cluster.close()
        raise
    return cluster


def _check_speaks_first(address: str) -> None:
    """Refuse what listens at an address but is no scheduler: the library would wait for it without end.

    A Dask scheduler greets whoever connects by TCP with the length of its first message, a small number.
    """
    scheme, host, port = re.fullmatch(r"(\w+)://\[?(.*?)\]?:(\d+)", address).groups()  # type: ignore[union-attr]
    if scheme != "tcp":
        return
    try:
        with socket.create_connection((host, int(port)), timeout=CONNECT_S) as connection:
            greeting = connection.recv(8, socket.MSG_WAITALL)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = str(error.strerror) if isinstance(error, socket.gaierror) else reason_of(error)
    else:
        if len(greeting) == 8 and int.from_bytes(greeting, "little") <= LARGEST_GREETING:
            return
        reason = "what listens there is no Dask scheduler"
    raise RuntimeError(f"scheduler: {address} does not answer ({reason})")


class Cluster:
    """A connection to a scheduler; made by `connect`."""

    def __init__(self, address: str, client: Any, quiet: contextlib.ExitStack):
        self._address, self._client, self._quiet = address, client, quiet

    def check_versions(self) -> None:
        """Refuse a scheduler that speaks another version of the protocol, and workers of other versions of anything."""
        try:
            found = self._client.get_versions(check=False)
        except Exception as error:
            raise RuntimeError(f"scheduler: {self._address} does not answer ({type(error).__name__})") from None
        ours = found["client"]["packages"]
        theirs = {"the scheduler": found["scheduler"], **{f"worker {x}": v for x, v in found["workers"].items()}}
        for where, versions in theirs.items():
            for package in ("python", "dask", "distributed"):
                mine, other = ours.get(package), versions["packages"].get(package)
                if package == "python":
                    mine, other = (".".join(str(x).split(".")[:2]) for x in (mine, other))
                if mine != other:
                    raise RuntimeError(f"scheduler: {where} has {package} {other}, expected {mine} as here")

    def workers(self) -> Any:
        """The workers as the sweeps of one solve use them."""
        from ..sweeps.spread import DaskWorkers

        return DaskWorkers(self._client, self._address)

    def n_workers(self) -> int:
        """Workers that the scheduler has now."""
        return len(self._client.scheduler_info(n_workers=-1).get("workers", ()))

    def run_cells(
        self,
        cells: Sequence[Any],
        paths: Sequence[Path],
        should_stop: Callable[[], bool],
        on_wait: Callable[[str], None] | None = None,
        run: Callable[[Path, Any, Callable[[], bool]], None] = run_cell,
    ) -> Iterator[int]:
        """Run cells in their order and give the position of each when its file is written.

        Parameters
        ----------
        cells : of Cell, or of what `run` takes; with a name each
        paths : where the coordinator writes them
        should_stop : asked a few times per second
        on_wait : function of a text, called once if there is no worker
        run : function of (path, cell, should_stop) that writes the file of a cell

        Raises
        ------
        Interrupted    `should_stop` said so; what runs on the workers was told to stop
        RuntimeError   the scheduler was lost, or a cell killed its workers
        ValueError, …  what a cell raised
        """
        client, expected = self._client, _versions()
        waiting = list(range(len(cells)))[::-1]
        running: dict[Any, int] = {}
        # Futures as they end: a worker gets its next cell at once, before the file of the last one has come.
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        n_workers, counted_at = 0, -math.inf
        future = None
        try:
            while waiting or running:
                # A question that goes over the network.
                if not n_workers or time.monotonic() - counted_at > COUNT_WORKERS_S:
                    n_workers, counted_at = self.n_workers(), time.monotonic()
                if on_wait is not None and not n_workers:
                    on_wait(f"scheduler: {self._address} has no workers, waiting for one")
                    on_wait = None
                # Not more cells than workers, so that none waits behind another while a worker is idle.
                idle = max(1, n_workers) - len(running) + (future is not None)
                for position in [waiting.pop() for _ in range(min(idle, len(waiting)))]:
                    started = client.submit(
                        compute_cell,
                        cells[position],
                        expected,
                        run,
                        key=f"{cells[position].name}-{time.time_ns()}",
                        pure=False,
                        retries=0,
                    )
                    running[started] = position
                    started.add_done_callback(ended.put)
                if future is not None:
                    position = running.pop(future)
                    content = self._result(future, cells[position])
                    if content is None:
                        waiting.append(position)
                    else:
                        write_bytes_atomically(paths[position], content)
                        yield position
                if client.status != "running":
                    raise self._lost()
                if (waiting or running) and should_stop():
                    raise Interrupted("stopped; finished cells are kept, start again to go on")
                future = None
                with contextlib.suppress(queue.Empty):
                    future = ended.get(timeout=POLL_S)
        finally:
            for future in running:
                with contextlib.suppress(Exception):
                    future.cancel()

    def _result(self, future: Any, cell: Any) -> bytes | None:
        """The file of a cell; None if its worker was told to leave in the middle of it."""
        from distributed import KilledWorker

        if future.status == "cancelled" or self._client.status != "running":
            raise self._lost()
        try:
            return future.result(timeout=CONNECT_S)
        except KilledWorker:
            raise RuntimeError(
                f"scheduler: cell {cell.name} ended the workers that ran it, {MAX_LOST_WORKERS} and more; finished cells are "
                "kept; give the workers more memory or lower --memory"
            ) from None
        except Interrupted:
            return None
        except (TimeoutError, OSError) as error:
            if self._client.status != "running":
                raise self._lost() from None
            raise error

    def _lost(self) -> RuntimeError:
        return RuntimeError(f"scheduler: {self._address} was lost; finished cells are kept, start again to go on")

    def close(self) -> None:
        """Close the connection; what still runs for it on the workers is told to stop."""
        with self._quiet, contextlib.suppress(Exception):
            self._client.close(timeout=CLOSE_S)


def compute_cell(
    cell: Any, expected: dict[str, str], run: Callable[[Path, Any, Callable[[], bool]], None] = run_cell
) -> bytes:
    """Run a cell in a worker and give its file. Done again from the start it gives the same bits.

    Parameters
    ----------
    cell : Cell, or what `run` takes
    expected : dict    versions that the coordinator has; others could give other bits
    run : function that writes its file
    """
    import numba

    found = _versions()
    for name, version in expected.items():
        if found.get(name) != version:
            raise RuntimeError(
                f"scheduler: worker on {platform.node()} has {name} {found.get(name)}, expected {version} as here"
            )
    should_stop, threads = _watch()
    with _one_at_a_time, tempfile.TemporaryDirectory(prefix="kofn-") as folder:
        numba.set_num_threads(max(1, min(threads, numba.config.NUMBA_NUM_THREADS)))
        path = Path(folder) / f"{cell.name}.h5"
        run(path, cell, should_stop)
        return path.read_bytes()


def _watch() -> tuple[Callable[[], bool], int]:
    """A function that tells whether anybody still wants the task under way, and the threads of its worker."""
    from distributed import get_worker
    from distributed.worker import thread_state

    worker = get_worker()
    key = thread_state.key

    def should_stop() -> bool:
        task = worker.state.tasks.get(key)
        return worker.status.name not in ("running", "paused") or task is None or task.state == "cancelled"

    return should_stop, worker.state.nthreads


def _versions() -> dict[str, str]:
    return library_versions() | {"python": ".".join(platform.python_version_tuple()[:2])}


@contextlib.contextmanager
def _quiet_logs() -> Iterator[None]:
    """Dask logs and warns of what it meets; a user gets one line."""
    # Many of them have a level of their own.
    everyone = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]
    talkers = [
        x for x in everyone if x.name.partition(".")[0] in ("distributed", "tornado", "asyncio") and not x.disabled
    ]
    for logger in talkers:
        logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"distributed|tornado|asyncio")
            yield
    finally:
        for logger in talkers:
            logger.disabled = False
