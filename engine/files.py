"""HDF5 files that survive a power cut: written beside, synced, renamed; every chunk with a checksum; no pickle."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

FORMAT_VERSION = 1


MAX_TEXT_BYTES = 60_000


class KofnFileError(OSError):
    """A file that cannot be read or written; the message is one line that names it."""


def _reason(error: BaseException) -> str:
    """The first line of an error, without the library's inner monologue."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, OSError) and error.strerror and error.errno:
        text = error.strerror
    return text


def write_atomically(path: str | Path, fill: Callable[[h5py.File], None], *, overwrite: bool = False) -> None:
    """Write an HDF5 file so that a reader sees the old file or the new one, never a part.

    Parameters
    ----------
    path : path of the file
    fill : function of the open file
    overwrite : bool    whether an existing file may be replaced

    Raises
    ------
    KofnFileError
        The file exists, or cannot be written (the partial file is removed).
    """
    path = Path(path)
    if not overwrite and path.exists():
        raise KofnFileError(f"{path}: exists already, expected a new file (or --force)")
    partial = path.with_name(path.name + ".partial")
    try:
        # The latest layout checksums the metadata as well: a flipped bit in an attribute is noticed.
        with h5py.File(partial, "w", libver="latest") as file:
            fill(file)
            file.flush()
        with open(partial, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(partial, path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        # RuntimeError: what h5py makes of a full disk when it closes the file.
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, KofnFileError):
            raise
        raise KofnFileError(f"{path}: cannot be written ({_reason(error)})") from error


def write_bytes_atomically(path: str | Path, data: bytes) -> None:
    """Write a file of bytes so that a reader sees the old file or the new one."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(partial, path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise KofnFileError(f"{path}: cannot be written ({_reason(error)})") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder or Path("."), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_writable(path: str | Path, *, overwrite: bool = False) -> None:
    """Refuse at once a path that could not be written at the end of long work."""
    path = Path(path)
    if not overwrite and path.exists():
        raise KofnFileError(f"{path}: exists already, expected a new file (or --force)")
    if path.is_dir():
        raise KofnFileError(f"{path}: is a folder, expected a file")
    folder = path.parent if str(path.parent) else Path(".")
    if not folder.is_dir():
        raise KofnFileError(f"{folder}: no such folder, expected one to write {path.name} into")
    probe = path.with_name(path.name + ".partial")
    try:
        with open(probe, "ab"):
            pass
        probe.unlink()
    except OSError as error:
        raise KofnFileError(f"{path}: cannot be written ({_reason(error)})") from error


def write_root(file: h5py.File, file_format: str, config: Mapping[str, Any], seed: int | None, version: str) -> None:
    """Write the root attributes that every file has."""
    write_text(file, "format", file_format)
    file.attrs["format_version"] = FORMAT_VERSION
    write_text(file, "kofn_version", version)
    write_text(file, "created", datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))
    write_text(file, "config", json.dumps(config, sort_keys=True))
    if seed is not None:
        file.attrs["seed"] = np.uint64(seed)


def write_text(item: h5py.Group | h5py.Dataset, name: str, text: str) -> None:
    """Write a text attribute of fixed length.

    HDF5 keeps texts of variable length in a heap without checksums, and a flipped bit there can make the library loop
    for ever: whatever is read back must not go through it.
    """
    encoded = text.encode()
    if len(encoded) > MAX_TEXT_BYTES or "\0" in text:
        raise ValueError(
            f"{name}: found {len(encoded)} bytes of text, expected at most {MAX_TEXT_BYTES}, none of them zero"
        )
    item.attrs.create(name, encoded, dtype=h5py.string_dtype(length=max(1, len(encoded))))


def read_text(item: h5py.Group | h5py.Dataset, name: str, default: str | None = None) -> str:
    """Read an attribute written by `write_text`; KeyError if it is missing and there is no default."""
    if default is not None and name not in item.attrs:
        return default
    found = item.attrs[name]
    return found.decode() if isinstance(found, bytes) else str(found)


def create_array(
    group: h5py.Group, name: str, data: Any, *, axes: tuple[str, ...] = (), long_name: str = "", units: str = "1"
) -> h5py.Dataset:
    """Write an array with named axes and a checksum on each chunk.

    Parameters
    ----------
    axes : names of the axes. If the group has a one-dimensional dataset of that name it becomes the axis's scale, else a
        plain index is made.
    long_name, units : attributes; units "1" means a pure number
    """
    array = np.asarray(data)
    if array.ndim and array.size:
        dataset = group.create_dataset(name, data=array, chunks=_chunks(array), fletcher32=True)
    else:
        dataset = group.create_dataset(name, data=array)
    describe_array(dataset, long_name or name, units, axes)
    for i, axis in enumerate(axes):
        if axis == name:
            dataset.make_scale(axis)
            return dataset
        if axis not in group:
            scale = create_array(group, axis, np.arange(array.shape[i]), axes=(axis,), long_name=f"index of {axis}")
        else:
            scale = group[axis]
        if scale.shape[0] != array.shape[i]:
            raise ValueError(f"{name}: axis {axis} has {array.shape[i]} entries, expected {scale.shape[0]}")
        dataset.dims[i].label = axis
        dataset.dims[i].attach_scale(scale)
    return dataset


def describe_array(dataset: h5py.Dataset, long_name: str, units: str, axes: tuple[str, ...]) -> None:
    """Write the texts that tell what an array is."""
    write_text(dataset, "long_name", long_name)
    write_text(dataset, "units", units)
    if axes:
        write_text(dataset, "axes", ", ".join(axes))


def _chunks(array: np.ndarray) -> tuple[int, ...]:
    """Chunks of at most about a megabyte, cut along the first axes."""
    shape, limit = list(array.shape), max(1, 2**20 // array.itemsize)
    chunks = [1] * len(shape)
    for i in reversed(range(len(shape))):
        chunks[i] = max(1, min(shape[i], limit))
        limit //= chunks[i]
    return tuple(chunks)


@contextlib.contextmanager
def open_checked(path: str | Path, *formats: str) -> Iterator[h5py.File]:
    """Open a file of ours for reading; every way it can be wrong becomes a KofnFileError of one line.

    Parameters
    ----------
    path : path of the file
    formats : the values of the root attribute `format` that will do
    """
    path = Path(path)
    if not path.exists():
        raise KofnFileError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            found = read_text(file, "format", default="none")
            if found not in formats:
                raise KofnFileError(f"{path}: format {found!r}, expected {' or '.join(map(repr, formats))}")
            version = file.attrs.get("format_version")
            if version != FORMAT_VERSION:
                raise KofnFileError(f"{path}: format version {version}, expected {FORMAT_VERSION}")
            yield file
    except KofnFileError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise KofnFileError(f"{path}: damaged or not a kofn file ({_reason(error)})") from error


def read_config(file: h5py.File) -> dict[str, Any]:
    """The configuration that a file was made with."""
    return json.loads(read_text(file, "config"))
