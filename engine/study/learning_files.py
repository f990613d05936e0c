"""Studies of learning as HDF5 files: the same bytes whenever and wherever they were computed."""

from __future__ import annotations

from pathlib import Path

from ..files import open_checked, read_text
from ..learning.files import FORMAT as LEARNED
from ..learning.files import read_learned
from .folders import check_earlier, check_other_kinds, check_same_cell
from .labelled_files import read_labelled, write_labelled
from .learning_results import LearningStudy, study_of_learned
from .learning_settings import LearningCell

FORMAT = "kofn-learning-study"
NAME = "learning.h5"


def write_learning_study(path: str | Path, result: LearningStudy) -> None:
    """Write a study of learning atomically; an earlier file is replaced. The bytes depend on settings and results alone."""
    write_labelled(path, FORMAT, result)


def read_learning_study(path: str | Path) -> LearningStudy:
    """Read a study of learning; KofnFileError if the file is no such file or damaged."""
    return read_labelled(path, FORMAT, LearningStudy)


def read_as_study(path: str | Path) -> LearningStudy:
    """Read a study of learning, or learned tables as a study of one cell; KofnFileError if the file is neither."""
    with open_checked(path, FORMAT, LEARNED) as file:
        is_study = read_text(file, "format") == FORMAT
    return read_learning_study(path) if is_study else study_of_learned(read_learned(path, tables=False))


def check_learning_cell(path: Path, cell: LearningCell) -> bool:
    """Whether a cell stands finished at a path, with its tables if they are to be kept.

    KofnFileError if what is there belongs to another study.
    """
    if not path.exists():
        return False
    found = read_learned(path, tables=False)
    there, expected = found.settings.identity(found.game), cell.settings.identity(cell.game)
    # What is asked for comes before what follows from it.
    order = sorted(expected, key=lambda name: (name not in ("game", "n", "steps", "runs", "seed"), name))
    check_same_cell(path, there, {name: expected[name] for name in order})
    with open_checked(path, LEARNED) as file:
        has_tables = bool(file.attrs["tables"])
    return found.step == cell.settings.steps and (has_tables or not cell.keeps_tables)


def check_learning_folder(folder: Path, games: set[str]) -> None:
    """Refuse to write beside results that are not those of an earlier study of learning of some of these games."""
    check_other_kinds(folder, ("study.h5", "drift.h5"))
    check_earlier(folder / NAME, FORMAT, "games", games)
