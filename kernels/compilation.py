"""The one decorator of all kernels: numba's njit with a disk cache that notices every edit.

Numba's own cache looks at the file of the decorated function alone, so an edit to a helper in another file would go
unnoticed. Here the cache folder is named after a digest of all kernel sources and of the settings that change
machine code.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import numba
from numba import config, njit

# Reassociation and contraction let LLVM vectorise sums; NaN and infinity keep their meaning.
VECTORISABLE = {"nsz", "arcp", "contract", "afn", "reassoc"}


def _digest_of_kernel_sources() -> str:
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for source in sorted(folder.rglob("*.py")):
        digest.update(source.relative_to(folder).as_posix().encode())
        digest.update(source.read_bytes())
    digest.update(f"{numba.__version__} boundscheck={config.BOUNDSCHECK}".encode())
    return digest.hexdigest()[:16]


def _cache_folder() -> str:
    """Folder for compiled kernels: NUMBA_CACHE_DIR, else the user's cache folder, else one under the temporary folder."""
    base = config.CACHE_DIR or os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = os.path.join(base, "kofn", _digest_of_kernel_sources())
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        folder = os.path.join(tempfile.gettempdir(), f"kofn-{os.getuid()}", _digest_of_kernel_sources())
        os.makedirs(folder, mode=0o700, exist_ok=True)
    return folder


_CACHE_FOLDER = _cache_folder()


def kernel(function=None, **options):
    """Compile a function with `numba.njit`, cached on disk. Takes njit's keyword options (`parallel`, `fastmath`, …)."""
    if function is None:
        return lambda decorated: kernel(decorated, **options)
    # Numba reads the folder when it decorates, and a user's own kernels must keep theirs.
    before = config.CACHE_DIR
    config.CACHE_DIR = _CACHE_FOLDER
    try:
        return njit(cache=True, **options)(function)
    finally:
        config.CACHE_DIR = before
