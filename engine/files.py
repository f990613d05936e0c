"""HDF5 files that survive a power cut: written beside, synced, renamed; every chunk with a checksum; no pickle."""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import io
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

FORMAT_VERSION = 1

MAX_TEXT_BYTES = 60_000

MAX_COMPRESSION = 1000
"""A file that was packed again by another tool may be so much smaller than its arrays; what claims more is damaged."""


class KofnFileError(OSError):
    """A file that cannot be read or written; the message is one line that names it."""


def reason_of(error: BaseException) -> str:
    """What an error says, on one line and without the library's inner monologue."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    # The text of a KeyError has quotes around it.
    text = " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())
    wrapped = re.fullmatch(r"(?:Unable to|Can't) [a-z ]+ \((.+)\)", text)
    return (wrapped[1] if wrapped else text)[:300] or type(error).__name__


def write_atomically(path: str | Path, fill: Callable[[h5py.File], None], *, overwrite: bool = False) -> None:
    """Write an HDF5 file so that a reader sees the old file or the new one, never a part.

    Parameters
    ----------
    path : path of the file; what a link points to is replaced, and the link stays
    fill : function of the open file
    overwrite : bool    whether an existing file may be replaced

    Raises
    ------
    KofnFileError
        The file exists, or cannot be written (the partial file is removed).
    """
    target = _target(path, overwrite)
    with _partial_file(path, target) as handle:
        disk = _Disk(handle)
        try:
            # The latest layout checksums the metadata as well: a flipped bit in an attribute is noticed.
            with h5py.File(disk, "w", libver="latest") as file:
                fill(file)
        finally:
            disk.report()


def write_bytes_atomically(path: str | Path, data: bytes, *, overwrite: bool = True) -> None:
    """Write a file of bytes so that a reader sees the old file or the new one."""
    target = _target(path, overwrite)
    with _partial_file(path, target) as handle:
        disk = _Disk(handle)
        disk.write(memoryview(data))
        disk.report()


def check_writable(path: str | Path, *, overwrite: bool = False) -> None:
    """Refuse at once a path that could not be written at the end of long work."""
    target = _target(path, overwrite)
    if not target.parent.is_dir():
        folder = target.parent if os.path.islink(path) else Path(path).parent
        raise KofnFileError(f"{path}: cannot be written (no folder {folder})")
    partial = _partial_of(target)
    if os.path.lexists(partial) and (os.path.islink(partial) or not os.path.isfile(partial)):
        raise KofnFileError(f"{path}: cannot be written ({partial} is in the way)")
    try:
        if len(os.fsencode(partial.name)) > os.statvfs(target.parent).f_namemax:
            raise OSError(errno.ENAMETOOLONG, "")
        # Of a name of its own: the partial file may be one that another process is writing now.
        tempfile.TemporaryFile(dir=target.parent).close()
    except OSError as error:
        raise KofnFileError(f"{path}: cannot be written ({reason_of(error)})") from error


def _target(path: str | Path, overwrite: bool) -> Path:
    """The file to write, with links followed; KofnFileError if what is there may not be replaced."""
    if os.path.isdir(path):
        raise KofnFileError(f"{path}: is a folder, expected a file")
    if os.path.exists(path):
        if not overwrite:
            raise KofnFileError(f"{path}: exists already, expected a new file (or --force)")
        # A rename would put a file in the place of a device such as /dev/null.
        if not os.path.isfile(path):
            raise KofnFileError(f"{path}: is a device or a pipe, expected a file")
    return Path(os.path.realpath(path))


def _partial_of(target: Path) -> Path:
    return target.with_name(target.name + ".partial")


@contextlib.contextmanager
def _partial_file(path: str | Path, target: Path) -> Iterator[io.FileIO]:
    """Give an empty file beside the target, and put it in the target's place at the end.

    Whatever goes wrong, it is removed; what the system refuses is a KofnFileError.
    """
    partial = _partial_of(target)
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(partial, flags, 0o666), "r+b", buffering=0) as handle:
            if not _is_locked(handle) or not os.path.samestat(os.fstat(handle.fileno()), os.stat(partial)):
                raise KofnFileError(f"{path}: cannot be written (another process is writing it)")
            try:
                handle.truncate(0)
                yield handle
                os.fsync(handle.fileno())
                os.replace(partial, target)
            except BaseException:
                with contextlib.suppress(OSError):
                    partial.unlink()
                raise
    except KofnFileError:
        raise
    except OSError as error:
        raise KofnFileError(f"{path}: cannot be written ({reason_of(error)})") from error
    _sync_folder(target.parent)


def _is_locked(handle: io.FileIO) -> bool:
    """Lock a file; False if another process has it. Some network file systems have no locks, and do without.

    A record lock: HDF5 readers ask for the other kind (flock), and must not be turned away between rename and close.
    """
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass
    return True


class _Disk(io.RawIOBase):
    """A file as HDF5 wants it, one that never fails: the library crashes the process if it meets a full disk.

    The first error is kept for `report`; what comes after it goes nowhere.
    """

    def __init__(self, handle: io.FileIO):
        super().__init__()
        self._handle = handle
        self._error: BaseException | None = None

    def report(self) -> None:
        """Raise the error that was kept."""
        if self._error is not None:
            raise self._error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._handle.seek(offset, whence)

    def tell(self) -> int:
        return self._handle.tell()

    def readinto(self, out_bytes: Any, /) -> int | None:
        return self._handle.readinto(out_bytes)

    def write(self, data: Any, /) -> int:
        self._attempt(self._write_all, data)
        return len(data)

    def truncate(self, size: int | None = None, /) -> int:
        self._attempt(self._handle.truncate, size)
        return size or 0

    def flush(self) -> None:
        pass

    def _write_all(self, data: memoryview) -> None:
        written = 0
        while written < len(data):
            written += self._handle.write(data[written:])

    def _attempt(self, function: Callable[[Any], Any], argument: Any) -> None:
        if self._error is None:
            try:
                function(argument)
            # An interrupt as well: it would reach the library as a failed write.
            except BaseException as error:
                self._error = error


def _sync_folder(folder: Path) -> None:
    """Make a rename last. Some network file systems cannot, and the file is there all the same."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_root(
    file: h5py.File, file_format: str, config: Mapping[str, Any], seed: int | None, version: str, *, dated: bool = True
) -> None:
    """Write the root attributes that every file has; without the time of day if the same results make the same bytes."""
    write_text(file, "format", file_format)
    file.attrs["format_version"] = FORMAT_VERSION
    write_text(file, "kofn_version", version)
    if dated:
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
    group: h5py.Group,
    name: str,
    data: Any,
    *,
    axes: tuple[str, ...] = (),
    long_name: str = "",
    units: str = "1",
    compressed: bool = False,
) -> h5py.Dataset:
    """Write an array with named axes and a checksum on each chunk.

    Parameters
    ----------
    data : numbers, or texts: these become UTF-8 of fixed length, marked so that xarray reads them as str
    axes : names of the axes, see `name_axes`
    long_name, units : attributes; units "1" means a pure number
    compressed : by gzip, its lightest level, with shuffled bytes; readers need not know
    """
    array = np.asarray(data)
    text = array.dtype.kind in "SU"
    if text:
        array = np.char.encode(array, "utf-8") if array.dtype.kind == "U" else array
        array = array.astype(h5py.string_dtype(length=max(1, array.itemsize)))
    if array.ndim and array.size:
        options = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if compressed else {}
        dataset = group.create_dataset(name, data=array, chunks=_chunks(array), fletcher32=True, **options)
    else:
        dataset = group.create_dataset(name, data=array)
    if text:
        write_text(dataset, "_Encoding", "utf-8")
    describe_array(dataset, long_name or name, units, axes)
    # Other readers want a name for every axis.
    name_axes(dataset, axes or tuple(f"{name}_axis_{i}" for i in range(array.ndim)))
    return dataset


def name_axes(dataset: h5py.Dataset, axes: tuple[str, ...]) -> None:
    """Name the axes of a dataset in a way that all HDF5 and netCDF readers understand: by dimension scales.

    The one-dimensional dataset of an axis's name in the same group becomes its scale; else a plain index is made. If the
    name is that of an array with other axes, the scale gets the suffix `_index`.
    """
    group, name = dataset.parent, dataset.name.rpartition("/")[2]
    if axes == (name,):
        dataset.make_scale(name)
        return
    for i, axis in enumerate(axes):
        scale_name = axis
        if axis == name or (axis in group and group[axis].shape != (dataset.shape[i],) and not group[axis].is_scale):
            scale_name = f"{axis}_index"
        if scale_name not in group:
            index = np.arange(dataset.shape[i])
            create_array(group, scale_name, index, axes=(scale_name,), long_name=f"index of {axis}")
        scale = group[scale_name]
        if scale.shape != (dataset.shape[i],):
            raise ValueError(f"{name}: axis {axis} has {dataset.shape[i]} entries, expected {scale.shape[0]}")
        dataset.dims[i].label = scale_name
        dataset.dims[i].attach_scale(scale)


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
    if not os.path.exists(path):
        raise KofnFileError(f"{path}: no such file")
    # Opening a pipe would wait for a writer.
    if not os.path.isfile(path):
        raise KofnFileError(f"{path}: is no regular file, expected {_one_of(formats)}")
    try:
        with h5py.File(path, "r") as file:
            found = read_text(file, "format", default="none")
            if found not in formats:
                raise KofnFileError(f"{path}: format {found!r}, expected {_one_of(formats)}")
            version = file.attrs.get("format_version")
            if not is_current_version(version):
                raise KofnFileError(f"{path}: format version {version}, expected {FORMAT_VERSION}")
            yield file
    except KofnFileError:
        raise
    # Damage shows as almost any exception of h5py and of those who take its values for what they should be.
    except (OSError, LookupError, RuntimeError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise KofnFileError(f"{path}: damaged or not a kofn file ({reason_of(error)})") from error


def is_current_version(version: Any) -> bool:
    """Whether a root attribute `format_version` is the one that this code writes and reads."""
    return np.ndim(version) == 0 and isinstance(version, (int, np.integer)) and version == FORMAT_VERSION


def _one_of(formats: tuple[str, ...]) -> str:
    return " or ".join(", ".join(map(repr, part)) for part in (formats[:-1], formats[-1:]) if part)


def read_array(group: h5py.Group, name: str, dtype: Any = None, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Read an array, after a look at its type and size: a wrong shape must not ask for terabytes.

    Parameters
    ----------
    dtype, shape : what it must have; None will take any

    Raises
    ------
    ValueError, KeyError
    """
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"{name} is no array")
    if dtype not in (None, dataset.dtype) or shape not in (None, dataset.shape):
        expected = " of shape ".join(str(x) for x in (dtype and np.dtype(dtype), shape) if x is not None)
        raise ValueError(f"{name} is {dataset.dtype} of shape {dataset.shape}, expected {expected}")
    if dataset.nbytes > MAX_COMPRESSION * dataset.id.get_storage_size():
        raise ValueError(f"{name} of shape {dataset.shape} has {dataset.id.get_storage_size()} bytes in the file")
    return dataset[...]


def read_config(file: h5py.File) -> dict[str, Any]:
    """The configuration that a file was made with."""
    return json.loads(read_text(file, "config"))
