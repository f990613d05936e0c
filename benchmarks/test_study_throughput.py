"""Whole studies: exact gaps up to 300 agents, and two workers, local or of a Dask cluster, against one process with one thread."""

import os
import subprocess
import sys
import time

import pytest

KOFN = [sys.executable, "-c", "from kofn.cli import main; main()"]
# Two dozen solves of a few seconds each on one core; k = 2 is there for the count sensitivity, which comes first and by itself.
STUDY = ("study", "irrigation", "-n", "288", "--tol", "1e-6", "--no-simulate", "--no-exact")
KS = {True: "2,244:288:2", False: "2:3"}
ONE_THREAD = {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def run(folder, ks, *arguments):
    subprocess.run(
        [*KOFN, *STUDY, "-k", ks, "-q", "-o", str(folder), *arguments], check=True, capture_output=True, timeout=900,
        env={**os.environ, **ONE_THREAD},
    )  # fmt: skip


@pytest.fixture(scope="module")
def measured(request):
    """False where benchmarks run as tests, on something small."""
    return not request.config.getoption("benchmark_disable")


@pytest.fixture(scope="module")
def alone(tmp_path_factory, measured):
    """Seconds of the study in one process, and its file."""
    folder = tmp_path_factory.mktemp("alone") / "study"
    run(folder.with_name("warm-up"), "2", "--jobs", "1")
    began = time.perf_counter()
    run(folder, KS[measured], "--jobs", "1")
    return time.perf_counter() - began, (folder / "study.h5").read_bytes()


def test_exact_gaps_of_three_hundred_agents(benchmark, enough, tmp_path):
    """The shipped study of n ≤ 300 with exact gaps, on all cores, figures included."""
    enough(False)
    command = [*KOFN, "study", "irrigation-scaling", "-q", "-o", str(tmp_path / "study")]
    benchmark.pedantic(subprocess.run, args=(command,), kwargs={"check": True, "capture_output": True}, rounds=1)
    assert (tmp_path / "study" / "study.h5").exists()


def test_two_local_workers(benchmark, tmp_path, alone, measured):
    benchmark.pedantic(run, args=(tmp_path / "study", KS[measured], "--jobs", "2"), rounds=1)
    assert (tmp_path / "study" / "study.h5").read_bytes() == alone[1]
    benchmark.extra_info.update(alone_s=alone[0])


def test_two_workers_of_a_cluster(benchmark, tmp_path, alone, measured):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, worker_dashboard_address=None
    ) as cluster:
        arguments = ("--scheduler", cluster.scheduler_address)
        run(tmp_path / "warm-up", "2,3", *arguments)
        benchmark.pedantic(run, args=(tmp_path / "study", KS[measured], *arguments), rounds=1)
    assert (tmp_path / "study" / "study.h5").read_bytes() == alone[1]
    benchmark.extra_info.update(alone_s=alone[0])
