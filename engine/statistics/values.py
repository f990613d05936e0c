"""Raw values of single seeds, from tables with a header (CSV) and from files of learning, gaps and inventories (HDF5)."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..files import KofnFileError, reason_of
from ..tabulation import shown

SEED = "seed"
FILE = "file"
MAX_CSV_BYTES = 200_000_000


@dataclass(frozen=True, kw_only=True)
class SeedTable:
    """Rows of text, one for each seed and what else tells rows apart.

    Parameters
    ----------
    columns : tuple of str    names, "seed" and "file" among them
    rows : list of dict       text by column; numbers are read when they are asked for
    """

    columns: tuple[str, ...]
    rows: list[dict[str, str]]


def read_seed_table(paths: Sequence[str | Path]) -> SeedTable:
    """Rows of all files together; "file" is the name of a row's file without its suffix.

    A .csv file has one header line and the column "seed"; a file of learning has a row for each run, with the columns game, method,
    n, temperature and the metrics reward, weight and abs_weight (means over the last part of the steps) and, if measured, value,
    gap, local_gain, global_gain; a file of gaps has all numbers of a run; a file of inventories has a row for each run of each
    policy, with the columns game, policy and n and all metrics.

    Raises
    ------
    KofnFileError, ValueError
    """
    for path in paths:
        if list(paths).count(path) > 1:
            raise ValueError(f"files: found {path} twice, expected each once")
    columns: dict[str, None] = {}
    rows = []
    names = _names(paths)
    for path, name in zip(paths, names, strict=True):
        found = _csv_rows(Path(path)) if Path(path).suffix.lower() == ".csv" else _hdf5_rows(Path(path))
        for row in found:
            columns |= dict.fromkeys(row)
            rows.append({FILE: name} | row)
    return SeedTable(columns=(FILE, *[name for name in columns if name != FILE]), rows=rows)


def _names(paths: Sequence[str | Path]) -> list[str]:
    """Stems of the files; whole paths where stems are the same."""
    stems = [Path(path).stem for path in paths]
    return [stem if stems.count(stem) == 1 else str(path) for stem, path in zip(stems, paths, strict=True)]


def _csv_rows(path: Path) -> list[dict[str, str]]:
    try:
        if path.stat().st_size > MAX_CSV_BYTES:
            raise KofnFileError(f"{path}: found {path.stat().st_size} bytes, expected at most {MAX_CSV_BYTES}")
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file, strict=True))
    except KofnFileError:
        raise
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise KofnFileError(f"{path}: cannot be read ({reason_of(error)})") from error
    lines = [line for line in lines if line]
    header = [name.strip() for name in lines[0]] if lines else []
    if SEED not in header:
        raise ValueError(f"{path}: found columns {', '.join(header) or 'none'}, expected {SEED!r} among them")
    for name in header:
        if not name or header.count(name) > 1:
            raise ValueError(f"{path}: found column {name!r} {header.count(name)} times, expected distinct names")
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(header):
            raise ValueError(f"{path}: found {len(line)} cells in row {number}, expected {len(header)}")
    if len(lines) == 1:
        raise ValueError(f"{path}: found a header without rows, expected a row for each seed")
    seeds = [line[header.index(SEED)].strip() for line in lines[1:]]
    if "" in seeds:
        raise ValueError(f"{path}: found no seed in row {seeds.index('') + 2}, expected one in every row")
    return [dict(zip(header, (cell.strip() for cell in line), strict=True)) for line in lines[1:]]


def _hdf5_rows(path: Path) -> list[dict[str, str]]:
    from ..equilibrium.gap_files import FORMAT as GAP
    from ..equilibrium.gap_files import read_gap_numbers
    from ..files import open_checked, read_config, read_text
    from ..inventory.files import FORMAT as INVENTORY
    from ..learning.files import FORMAT as LEARNED
    from ..learning.files import read_learned

    with open_checked(path, LEARNED, GAP, INVENTORY) as file:
        found = read_text(file, "format")
        if found == INVENTORY:
            return _inventory_rows(path)
        config = read_config(file)
        first_seed = int(file.attrs["seed"]) if found == LEARNED else int(config["learning"]["seed"])
        settings = config["learning"]
        game = read_text(file["game"], "name", "") if found == LEARNED else str(config["game"])
    described = {"game": game} | {name: str(settings[name]) for name in ("method", "n", "temperature")}
    if found == GAP:
        columns = read_gap_numbers(path)
        runs = columns.pop("run")
    else:
        learned = read_learned(path, tables=False)
        columns = {name: learned.tail_means(name) for name in ("reward", "weight", "abs_weight")}
        if learned.measured is not None:
            measured = {name: getattr(learned.measured, name) for name in ("value", "gap", "local_gain", "global_gain")}
            columns |= {name: values[:, -1] for name, values in measured.items()}
        runs = np.arange(learned.settings.runs)
    return [
        described | {SEED: f"{first_seed}:{run}"} | {name: repr(float(values[i])) for name, values in columns.items()}
        for i, run in enumerate(runs.tolist())
    ]


def _inventory_rows(path: Path) -> list[dict[str, str]]:
    from ..inventory.files import read_inventory

    rows = []
    for policy, runs in read_inventory(path).runs.items():
        config, metrics = runs.config, runs.metrics
        described = {"game": str(config["game"]), "policy": policy, "n": str(config["n"])}
        for i in range(config["runs"]):
            seed = f"{config['seed']}:{config['first_run'] + i}"
            rows.append(described | {SEED: seed} | {name: repr(float(values[i])) for name, values in metrics.items()})
    return rows


def grouped_values(
    table: SeedTable,
    metric: str,
    by: Sequence[str],
    *,
    where: Mapping[str, str] | None = None,
    paired: bool = True,
) -> dict[str, np.ndarray]:
    """Values of a metric by group; paired groups have the same seeds in the same order.

    Parameters
    ----------
    table : SeedTable
    metric : str             a column of numbers
    by : sequence of str     columns whose values make the groups, joined by " / "
    where : {column: text}, optional    rows that count; numbers match by value
    paired : bool

    Returns
    -------
    {group: float64[n_seeds]}    in the order in which groups appear

    Raises
    ------
    ValueError    missing columns, no rows, a seed twice in a group, NaN, seeds without a partner
    """
    where = where or {}
    for name in (metric, *by, *where):
        if name not in table.columns:
            raise ValueError(f"columns: found {', '.join(table.columns)}, expected {name!r} among them")
    groups: dict[str, dict[str, float]] = {}
    for row in table.rows:
        if any(not _same(row.get(name, ""), value) for name, value in where.items()):
            continue
        group = " / ".join(row.get(name, "") for name in by)
        seeds = groups.setdefault(group, {})
        seed = row[SEED]
        if seed in seeds:
            raise ValueError(
                f"rows: found seed {seed} twice in group {group!r}, expected once; name what tells them apart with --by or --where"
            )
        seeds[seed] = _number(row.get(metric, ""), metric, group, seed)
    if not groups:
        raise ValueError(f"rows: found none of {len(table.rows)} where {_shown(where)}, expected some")
    if paired:
        _check_partners(groups)
    first = next(iter(groups.values()))
    order = list(first) if paired else None
    return {
        name: np.array([seeds[seed] for seed in (order or seeds)], dtype=np.float64) for name, seeds in groups.items()
    }


def _same(found: str, expected: str) -> bool:
    try:
        return found == expected or float(found) == float(expected)
    except ValueError:
        return False


def _shown(where: Mapping[str, str]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in where.items()) or "nothing is asked for"


def _number(text: str, metric: str, group: str, seed: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{metric}: found {shown(text)} for seed {seed} of {shown(group)}, expected a finite number")
    return value


def _check_partners(groups: Mapping[str, Mapping[str, float]]) -> None:
    names = list(groups)
    for name in names[1:]:
        for one, other in ((name, names[0]), (names[0], name)):
            alone = [seed for seed in groups[one] if seed not in groups[other]]
            if alone:
                raise ValueError(
                    f"seeds: found seed {alone[0]} of {one!r} without a partner in {other!r}, expected the same seeds; "
                    "compare --unpaired"
                )
