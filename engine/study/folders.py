"""The folder of a study: where its cells are, and whether what is there already belongs to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..files import KofnFileError, open_checked, read_config

_ADVICE = "take another folder, or --force"


class Named(Protocol):
    """A cell of any study."""

    @property
    def name(self) -> str: ...


def cell_path(folder: str | Path, cell: Named) -> Path:
    """The file of a cell of a study in a folder."""
    return Path(folder) / "cells" / f"{cell.name}.h5"


def check_same_cell(
    path: Path, found: Mapping[str, Any], expected: Mapping[str, Any], shown: Callable[[Any], str] = str
) -> None:
    """KofnFileError that names the first setting in which a cell that was found differs from the one asked for."""
    for key, value in expected.items():
        if found.get(key) != value:
            raise KofnFileError(
                f"{path}: cell of another study, {key} is {shown(found.get(key))}, expected {shown(value)}; {_ADVICE}"
            )


def check_other_kinds(folder: Path, names: Sequence[str]) -> None:
    """Refuse to write beside the results of studies of other kinds, which have these names."""
    for name in names:
        if (folder / name).exists():
            raise KofnFileError(f"{folder / name}: a study of another kind, expected none; {_ADVICE}")


def check_earlier(path: Path, file_format: str, what: str, asked: set[str]) -> None:
    """Refuse to replace results, if there are any, that share none of what the config lists, such as its games."""
    if not path.exists():
        return
    with open_checked(path, file_format) as file:
        found = read_config(file).get(what, [])
    if asked.isdisjoint(found):
        names = ", ".join(map(str, found))[:60]
        raise KofnFileError(f"{path}: study of {names}, expected one of the same {what}; {_ADVICE}")
