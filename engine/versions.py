"""Versions that a result carries: what computed it."""

from __future__ import annotations

import functools
import importlib

from .. import __version__


def kofn_version() -> str:
    """Version of this package."""
    return __version__


@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    # All four are loaded by then; asking the installation's metadata would take longer than a small solve.
    libraries = ("numpy", "numba", "scipy", "h5py")
    return (("kofn", __version__), *((name, importlib.import_module(name).__version__) for name in libraries))


def library_versions() -> dict[str, str]:
    """Versions of kofn and of the libraries that compute."""
    return dict(_versions())
