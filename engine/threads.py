"""Work that is spread over threads, each of which runs kernels that release the interpreter."""

from __future__ import annotations

import concurrent.futures
import math
from collections.abc import Callable
from typing import Any

import numba

# Multiplications that take as long as to start threads and to wait for them: a millisecond.
WORTH_THREADS = 1_000_000


def in_threads(function: Callable[[int], Any], n_jobs: int, operations: float = math.inf) -> list[Any]:
    """Results of a function of 0 … n_jobs - 1, on as many threads as kernels may use.

    Where `operations`, what all jobs multiply together, is known to be small, they are done one after the other.
    """
    threads = min(numba.get_num_threads(), n_jobs) if operations > WORTH_THREADS else 1
    if threads <= 1:
        return [function(i) for i in range(n_jobs)]
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, range(n_jobs)))
