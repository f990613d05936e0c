"""Shared by every test: the path to the oracles, one seeded generator, one hypothesis profile, the threads of a process."""

import os
import sys
from pathlib import Path

# Processes share the cores, so threads that wait sleep; read when the first parallel kernel runs.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).resolve().parent))

# No clocks: the first example of a property may compile kernels, and machines differ.
settings.register_profile(
    "ci", deadline=None, derandomize=True, max_examples=30, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", settings.get_profile("ci"), derandomize=False, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# Each of several processes takes its share of the cores.
ALL_THREADS = numba.config.NUMBA_NUM_THREADS
SHARE = max(1, ALL_THREADS // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
numba.set_num_threads(SHARE)


@pytest.fixture
def all_threads():
    """All threads for a test of what they do; it may change their number."""
    numba.set_num_threads(ALL_THREADS)
    yield
    numba.set_num_threads(SHARE)


@pytest.fixture
def one_thread():
    """One thread for work so small that it would only wait for a second."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


@pytest.fixture
def rng():
    """A generator with the same seed in every test."""
    return np.random.default_rng(20240611)
