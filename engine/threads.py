"""Work that is spread over threads, each of which runs kernels that release the interpreter."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any

import numba


def in_threads(function: Callable[[int], Any], n_jobs: int) -> list[Any]:
    """Results of a function of 0 … n_jobs - 1, on as many threads as kernels may use."""
    threads = min(numba.get_num_threads(), n_jobs)
    if threads <= 1:
        return [function(i) for i in range(n_jobs)]
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, range(n_jobs)))
