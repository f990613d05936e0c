"""The workers of a Dask scheduler, as the sweeps of one solve use them."""

from __future__ import annotations

import contextlib


@contextlib.contextmanager
def workers_of(scheduler):
    """The workers of a scheduler, or None without one."""
    if scheduler is None:
        yield None
        return
    from ..engine.study.cluster import connect

    cluster = connect(scheduler)
    try:
        yield cluster.workers()
    finally:
        cluster.close()
