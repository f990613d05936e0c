"""Versions that a result carries: what computed it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def kofn_version() -> str:
    """Version of this package."""
    try:
        return version("kofn")
    except PackageNotFoundError:
        return "unknown"


def library_versions() -> dict[str, str]:
    """Versions of kofn and of the libraries that compute."""
    return {"kofn": kofn_version()} | {name: version(name) for name in ("numpy", "numba", "scipy", "h5py")}
