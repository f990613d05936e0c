"""Whole processes: the authors' experiment, start-up, first compilation, memory."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

KOFN = [sys.executable, "-c", "from kofn.cli import main; main()"]


def run(*arguments, **environment):
    """Run kofn in a process of its own and give what it printed."""
    return subprocess.run(
        [*KOFN, *arguments], check=True, capture_output=True, text=True, env={**os.environ, **environment}, timeout=900
    ).stdout


def test_authors_experiment(benchmark, tmp_path):
    """`formation`, n = 14, k = 2 … 14, 200 steps × 20 runs: solving, deploying, figures."""
    folders = iter([tmp_path / str(i) for i in range(9)])
    arguments = ("study", "formation", "-n", "14", "-k", "2:14", "--steps", "200", "--runs", "20", "-q", "-o")
    run(*arguments, str(next(folders)))
    printed = benchmark.pedantic(lambda: run(*arguments, str(next(folders))), rounds=3)
    assert re.search(r"^ +14 ", printed, re.MULTILINE)


def test_start_up_of_numba(benchmark, tmp_path):
    """What any program with one cached compiled function costs: the floor under the next figure."""
    script = tmp_path / "sum.py"
    script.write_text(
        "import numpy\nfrom numba import njit\n@njit(cache=True)\ndef f(x):\n    return x.sum()\nf(numpy.ones(3))\n"
    )
    benchmark.pedantic(lambda: subprocess.run([sys.executable, script], check=True), rounds=7, warmup_rounds=1)


@pytest.mark.parametrize("command", [["--help"], ["solve", "--help"]])
def test_help(benchmark, command):
    assert "Usage" in benchmark.pedantic(run, args=command, rounds=7, warmup_rounds=1)


def test_import(benchmark):
    command = [sys.executable, "-c", "import kofn"]
    benchmark.pedantic(lambda: subprocess.run(command, check=True), rounds=7, warmup_rounds=1)


def test_start_up_of_a_second_solve(benchmark, tmp_path):
    """A solve that takes no time itself: what a command costs once the kernels are in the cache."""
    path = tmp_path / "s.h5"
    arguments = ("solve", "formation", "-k", "2", "-q", "--force", "-o", str(path))
    run(*arguments)
    benchmark.pedantic(run, args=arguments, rounds=7)
    assert path.exists()


def test_compilation_of_a_first_solve(benchmark, enough, tmp_path):
    """The same with an empty cache of compiled kernels."""
    enough(False)
    path = tmp_path / "s.h5"
    arguments = ("solve", "formation", "-k", "2", "-q", "--force", "-o", str(path))
    caches = iter([tmp_path / f"cache{i}" for i in range(9)])
    benchmark.pedantic(lambda: run(*arguments, NUMBA_CACHE_DIR=str(next(caches))), rounds=1)
    assert path.exists()


def test_memory_of_a_large_joint_solve(benchmark, tmp_path):
    """Peak resident memory of `kofn solve formation -k 20`, without a stored Q."""
    path = tmp_path / "s.h5"
    arguments = [*KOFN, "solve", "formation", "-k", "20", "-q", "--no-store-q", "-o", str(path)]

    def peak_bytes():
        with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as process:
            peak = 0
            while process.poll() is None:
                try:
                    status = Path(f"/proc/{process.pid}/status").read_text()
                except OSError:
                    break
                found = re.search(r"VmHWM:\s+(\d+) kB", status)
                peak = max(peak, 1024 * int(found[1])) if found else peak
                time.sleep(0.01)
        return peak

    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc")
    peak = benchmark.pedantic(peak_bytes, rounds=1)
    assert path.exists()
    benchmark.extra_info["peak_bytes"] = peak
