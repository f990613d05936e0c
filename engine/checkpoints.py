"""Checkpoints of a solve: all that the next sweep needs, so that a resumed run ends in the same bits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .files import (
    KofnFileError,
    create_array,
    open_checked,
    read_array,
    read_config,
    read_text,
    write_atomically,
    write_root,
    write_text,
)
from .versions import kofn_version

FORMAT = "kofn-checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """State of a solve between two sweeps."""

    identity: Mapping[str, Any]  # what is being solved; a checkpoint of anything else is refused
    value: np.ndarray  # float64[n_sg, n_c]
    widths: list[float]  # certified width after each sweep so far
    elapsed_s: float


def digest_of(value: np.ndarray) -> str:
    """SHA-256 of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()


def write_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically; the previous one stays until this one is on disk."""

    def fill(file: h5py.File) -> None:
        write_root(file, FORMAT, checkpoint.identity, None, kofn_version())
        create_array(file, "value", checkpoint.value, long_name="value after the last sweep", units="reward")
        create_array(file, "widths", np.array(checkpoint.widths), long_name="certified width after each sweep")
        write_text(file, "value_digest", digest_of(checkpoint.value))
        file.attrs["elapsed_s"] = checkpoint.elapsed_s

    write_atomically(path, fill, overwrite=True)


def read_checkpoint(path: str | Path, identity: Mapping[str, Any], shape: tuple[int, ...]) -> Checkpoint:
    """Read a checkpoint of the named solve; refuse one of another configuration, naming the first difference."""
    with open_checked(path, FORMAT) as file:
        found = read_config(file)
        expected = json.loads(json.dumps(identity))
        for key in sorted(found.keys() | expected.keys()):
            if found.get(key) != expected.get(key):
                raise KofnFileError(
                    f"{path}: checkpoint of another solve, {key} is {_short(found.get(key))}, expected {_short(expected.get(key))}"
                )
        value = read_array(file, "value", np.float64, shape)
        widths = [float(w) for w in read_array(file, "widths", np.float64)]
        if digest_of(value) != read_text(file, "value_digest") or not np.isfinite(value).all():
            raise KofnFileError(f"{path}: damaged checkpoint, its value does not match its digest")
        return Checkpoint(identity=identity, value=value, widths=widths, elapsed_s=float(file.attrs["elapsed_s"]))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "…"
