"""Commands as processes of their own: start them, watch them, kill them, compare what they leave behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

KOFN = Path(sysconfig.get_path("scripts")) / "kofn"

# Texts and numbers that say when and how fast a file was computed, not what.
TIMING = {
    "created",
    "host",
    "wall_time_s",
    "elapsed_s",
    "solve_time_s",
    "evaluate_time_s",
    "refine_time_s",
    "deploy_time_s",
}
_BOOKKEEPING = {"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "DIMENSION_LABELS", "_Netcdf4Dimid"}


class Session:
    """A command in a session of its own, so that everything it starts can be found.

    Parameters
    ----------
    command : program and arguments
    folder : path   where it runs
    threads : int   numba's threads; those of two processes on the same cores mostly wait for each other
    """

    def __init__(self, *command: Any, folder: Path, threads: int = 1):
        self._process = subprocess.Popen(
            [str(word) for word in command], cwd=folder, start_new_session=True, text=True,
            env=os.environ | {"NUMBA_NUM_THREADS": str(threads)},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            # A shell starts what it runs in the background with SIGINT ignored, and every child would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        self.pid = self._process.pid

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.communicate()

    def finish(self, timeout_s: float) -> tuple[int, str, str]:
        """Wait for the command; exit code, stdout, stderr."""
        out, err = self._process.communicate(timeout=timeout_s)
        return self._process.returncode, out, err

    def wait_for_end(self, timeout_s: float) -> int:
        """Wait for the command, but not for what it started and shares its output with; exit code."""
        return self._process.wait(timeout_s)

    def kill(self, number: int) -> None:
        """Send a signal to the command alone."""
        self._process.send_signal(number)

    def kill_all(self, number: int) -> None:
        """Send a signal to the command and everything it started, as a terminal or a batch system does."""
        os.killpg(self.pid, number)

    def kill_one(self, pid: int, number: int) -> None:
        """Send a signal to a process that the command started."""
        assert pid in self.members()
        os.kill(pid, number)

    def running(self) -> bool:
        return self._process.poll() is None

    def members(self) -> list[int]:
        """Living processes of the session, the command and what it started."""
        return [pid for pid, (state, session) in _process_table().items() if session == self.pid and state != "Z"]

    def workers(self) -> list[int]:
        """Living processes that a pool of the command started."""
        return [pid for pid in self.members() if b"spawn_main" in _read_process_file(pid, "cmdline")]

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
        """Poll until a condition holds; fail if the command ends before."""
        deadline = time.monotonic() + timeout_s
        while not (found := condition()):
            if not self.running() or time.monotonic() > deadline:
                state = "took too long" if self.running() else f"ended with code {self._process.returncode}"
                raise AssertionError(f"the command {state} while it was waited for")
            time.sleep(0.002)
        return found

    def is_empty_soon(self, timeout_s: float = 5.0) -> bool:
        """Whether no process of the session is left."""
        deadline = time.monotonic() + timeout_s
        while self.members():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True


def catches_sigterm(pid: int) -> bool:
    """Whether a process has a handler for SIGTERM: a command that can be stopped has come to its work."""
    for line in _read_process_file(pid, "status").splitlines():
        if line.startswith(b"SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def _process_table() -> dict[int, tuple[str, int]]:
    """State and session of every process."""
    table = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (stat := _read_process_file(int(entry), "stat")):
            # The name before the last bracket may hold anything.
            state, _parent, _group, session = stat.rpartition(b")")[2].split()[:4]
            table[int(entry)] = (state.decode(), int(session))
    return table


def _read_process_file(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def contents(path: Path) -> dict[str, Any]:
    """Every dataset and attribute of an HDF5 file but the timing, as bytes that can be compared."""
    found: dict[str, Any] = {}

    def look(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if name.rpartition("/")[2] in TIMING:
            return
        if isinstance(item, h5py.Dataset):
            array = item[...]
            # Texts of variable length come as objects, whose bytes are addresses.
            values = array.tolist() if array.dtype.hasobject else array.tobytes()
            found[name] = (array.dtype.str, array.shape, values)
        for key, value in item.attrs.items():
            if key not in TIMING | _BOOKKEEPING:
                found[f"{name}@{key}"] = np.asarray(value).tobytes()

    with h5py.File(path) as file:
        look("", file)
        file.visititems(look)
    return found


def assert_same_contents(path: Path, expected: Path) -> None:
    """Fail, naming what differs, unless two files hold the same bits but for the timing."""
    left, right = contents(path), contents(expected)
    assert left.keys() == right.keys()
    different = [name for name, value in left.items() if value != right[name]]
    assert not different, f"{path.name}: {different} differ"
