"""Exports: every number arrives with all its digits, in files that other programs read."""

import csv
import io
import math
import os

import h5py
import numpy as np
import pytest
import xarray
from command_runs import refused, succeed, unchanged, write_game
from study_example import CELL, KS, NASTY, RUNS, example_arrays, write_example_study

from kofn.engine.deployment_files import read_deployment_file
from kofn.engine.equilibrium.gap_files import read_gap_numbers
from kofn.engine.export import export_file
from kofn.engine.files import KofnFileError
from kofn.engine.inventory.files import TOTAL_NAMES, read_inventory
from kofn.engine.solution_files import read_solution


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder with a game, two solutions, a deployment and a study made up."""
    folder = tmp_path_factory.mktemp("shelf")
    game = write_game(folder)
    succeed("solve", game, "-k", 3, "-o", folder / "s.h5", "-q")
    succeed("solve", game, "-k", 3, "--local-policy", "uniform", "-o", folder / "f.h5", "-q")
    succeed("deploy", folder / "s.h5", "--steps", 20, "--runs", 3, "-o", folder / "d.h5", "-q")
    write_example_study(folder / "study", nasty=True)
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows_of(path):
    """The rows of a CSV file as dictionaries."""
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


# ---- CSV


def test_a_study_has_a_row_for_each_cell(shelf, here):
    succeed("export", shelf / "study", "-o", "s.csv")
    rows = rows_of(here / "s.csv")
    # 2 games × 2 classes × 2 n × 6 k, without the largest k of the first game.
    assert len(rows) == 2 * 2 * 2 * 6 - 4
    assert list(rows[0])[:8] == [*CELL, "value", "value_half_width"]
    arrays = example_arrays()
    games = ["formation", NASTY]
    for row in rows:
        at = {"game": games.index(row["game"]), "actions": ["joint", "shared"].index(row["actions"]), "expectation": 0}
        at |= {"n": [60, 1000].index(int(row["n"])), "k": KS.index(int(row["k"])), "seed": 0}
        for name in ("value", "mean_return", "gap", "blind_value", "bound", "slope", "optimal_upper"):
            axes, data = arrays[name]
            expected = data[tuple(at[axis] for axis in axes)]
            assert row[name] == ("" if math.isnan(expected) else repr(float(expected))), name
        assert row["exact_route"] == ("dense" if row["n"] == "60" else "")


def test_a_study_has_a_row_for_each_run(shelf, here):
    succeed("export", shelf / "study" / "study.h5", "-o", "r.csv", "--what", "runs")
    rows = rows_of(here / "r.csv")
    assert list(rows[0]) == [*CELL, "run", "returns"]
    assert len(rows) == 44 * RUNS
    returns = example_arrays()["returns"][1]
    np.testing.assert_array_equal([float(row["returns"]) for row in rows], returns[np.isfinite(returns)])


def test_a_solution_has_a_row_for_each_state(shelf, here):
    for name in ("s", "f"):
        solution = read_solution(shelf / f"{name}.h5")
        succeed("export", shelf / f"{name}.h5", "-o", f"{name}.csv")
        rows = rows_of(here / f"{name}.csv")
        assert [float(row["value"]) for row in rows] == solution.value.ravel().tolist()
        assert [row["global_action"] for row in rows] == [str(a) for a in solution.global_action.ravel().tolist()]
        assert [int(row["count_b"]) for row in rows] == solution.counts[:, 1].tolist() * 2
        assert [row["global_state"] for row in rows] == ["off"] * 4 + ["on"] * 4
        # Nobody is in state a at the first count vector, everybody at the last.
        assert [row["action_in_a"] == "" for row in rows] == [True, False, False, False] * 2
    assert {row["action_in_a"] for row in rows} == {"", "stay:0.5 swap:0.5"}


def test_actions_in_a_solution_table_are_those_of_the_policy(shelf, here):
    solution = read_solution(shelf / "s.h5")
    succeed("export", shelf / "s.h5", "-o", "s.csv")
    rows = rows_of(here / "s.csv")
    for i, row in enumerate(rows):
        s_g, c = divmod(i, 4)
        for s, label in enumerate("ab"):
            if solution.counts[c, s]:
                law = solution.policy.local_action[s_g, s, c]
                said = dict(part.partition(":")[::2] for part in row[f"action_in_{label}"].split())
                expected = {a: "" if p == 1 else repr(float(p)) for a, p in zip(("stay", "swap"), law) if p}
                assert said == expected


def test_a_deployment_has_a_row_for_each_run(shelf, here):
    deployment = read_deployment_file(shelf / "d.h5")
    succeed("export", shelf / "d.h5", "-o", "d.csv")
    rows = rows_of(here / "d.csv")
    assert [float(row["return"]) for row in rows] == deployment.returns.tolist()
    assert [float(row["population_b"]) for row in rows] == deployment.populations[:, 1].tolist()
    assert [float(row["share_on_1"]) for row in rows] == deployment.action_shares[:, 1, 1].tolist()


def test_gaps_have_a_row_for_each_run(here):
    succeed("learn", "epidemic", "-n", 6, "--runs", 3, "--steps", 50, "-q", "-o", "l.h5")
    succeed("gap", "l.h5", "--check", 4, "--steps", 50, "--run", "0,2", "-o", "g.h5", "-q")
    succeed("export", "g.h5", "-o", "g.csv")
    found, rows = read_gap_numbers("g.h5"), rows_of(here / "g.csv")
    assert list(rows[0]) == list(found)
    assert [row["run"] for row in rows] == ["0", "2"]
    for name, column in found.items():
        assert [float(row[name] or "nan") for row in rows] == pytest.approx(column.tolist(), abs=0.0, nan_ok=True)
    succeed("export", "g.h5", "-o", "g.nc")
    with xarray.open_dataset("g.nc", engine="h5netcdf") as dataset:
        np.testing.assert_array_equal(dataset["gain"].values, found["gain"])


def test_inventories_have_rows_for_runs_retailers_and_periods(here):
    succeed("inventory", "tiny", "--policy", "constant", "--periods", 20, "--runs", 3, "-q", "-o", "i.h5")
    found = read_inventory("i.h5").runs
    tables = {}
    for what in ("runs", "retailers", "periods"):
        succeed("export", "i.h5", "-o", f"{what}.csv", "--what", what)
        tables[what] = rows_of(here / f"{what}.csv")
    succeed("export", "i.h5", "-o", "default.csv")
    assert rows_of(here / "default.csv") == tables["runs"]
    for name, runs in found.items():
        rows = [row for row in tables["runs"] if row["policy"] == name]
        assert [float(row["profit"]) for row in rows] == runs.profit.tolist()
        rows = [row for row in tables["retailers"] if row["policy"] == name]
        assert [float(row["profit"]) for row in rows] == runs.retailer_profit.ravel().tolist()
        assert [row["run"] for row in rows] == [str(run) for run in range(3) for _ in range(3)]
    rows = [row for row in tables["periods"] if row["policy"] == "constant"]
    column = [int(row["on_hand"]) for row in rows]
    assert column == found["constant"].series[:, :, TOTAL_NAMES.index("on_hand")].ravel().tolist()
    succeed("export", "i.h5", "-o", "i.nc")
    with xarray.open_dataset("i.nc", engine="h5netcdf", group="constant") as dataset:
        np.testing.assert_array_equal(dataset["sums"].values, found["constant"].sums)


# ---- netCDF


def test_a_study_as_netcdf(shelf, here):
    succeed("export", shelf / "study", "-o", "s.nc")
    with xarray.open_dataset("s.nc", engine="h5netcdf") as dataset:
        assert dataset.game.values.tolist() == ["formation", NASTY]
        for name, (axes, data) in example_arrays().items():
            assert dataset[name].dims == axes
            np.testing.assert_array_equal(dataset[name].values, data)
        assert dataset.attrs["kofn_version"] == "0.1.0"
    with h5py.File("s.nc") as file:
        assert "_NCProperties" in file.attrs
        assert all("_Netcdf4Dimid" in file[axis].attrs for axis in CELL)
    first = (here / "s.nc").read_bytes()
    succeed("export", shelf / "study", "-o", "s.nc", "--force")
    assert (here / "s.nc").read_bytes() == first


@pytest.mark.parametrize("name", ["s", "f", "d"])
def test_other_files_as_netcdf_with_their_groups(name, shelf, here):
    succeed("export", shelf / f"{name}.h5", "-o", "x.nc")
    with h5py.File(shelf / f"{name}.h5") as file:
        groups = ["/", *[key for key in file if isinstance(file[key], h5py.Group)]]
        for group in groups:
            with xarray.open_dataset("x.nc", engine="h5netcdf", group=group) as dataset:
                for key, item in file[group].items():
                    if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu":
                        np.testing.assert_array_equal(dataset[key].values, item[...])
    with xarray.open_dataset("x.nc", engine="h5netcdf", group="game") as dataset:
        assert dataset.local_action.values.tolist() == ["stay", "swap"]


# ---- Refusals


def test_an_existing_file_is_kept_without_force(shelf, here):
    for name in ("a.csv", "a.nc"):
        (here / name).write_bytes(b"precious")
        with unchanged(here):
            message = refused("export", shelf / "s.h5", "-o", name)
            assert message == f"{name}: exists already, expected a new file (or --force)"
        succeed("export", shelf / "s.h5", "-o", name, "--force")
    assert sorted(os.listdir()) == ["a.csv", "a.nc"]


def test_what_cannot_be_exported_is_one_line(shelf, here):
    (here / "damaged.h5").write_bytes((shelf / "study" / "study.h5").read_bytes()[:-3000])
    (here / "empty").mkdir()
    with unchanged(here):
        assert "expected a name that ends in .csv or .nc" in refused("export", shelf / "s.h5", "-o", "a.txt", code=2)
        assert "--what is for CSV alone" in refused("export", shelf / "s.h5", "-o", "a.nc", "--what", "runs", code=2)
        message = refused("export", shelf / "s.h5", "-o", "a.csv", "--what", "runs")
        assert message == "what: found 'runs', expected states for a kofn-solution file"
        assert refused("export", "none.h5", "-o", "a.csv") == "none.h5: no such file"
        assert refused("export", "empty", "-o", "a.csv") == "empty/study.h5: no such file"
        assert refused("export", "damaged.h5", "-o", "a.csv").startswith("damaged.h5: damaged or not a kofn file")
        assert refused("export", "damaged.h5", "-o", "a.nc").startswith("damaged.h5: damaged or not a kofn file")
        assert refused("export", shelf / "rooms.toml", "-o", "a.nc").endswith("(file signature not found)")
        assert refused("export", shelf / "s.h5", "-o", "none/a.nc").startswith("none/a.nc: cannot be written")
    with unchanged(shelf):
        own = shelf / "study.csv"
        os.link(shelf / "s.h5", own)
        assert "is what the command reads" in refused("export", shelf / "s.h5", "-o", own, "--force", code=2)
        own.unlink()


def test_the_engine_refuses_as_the_command_does(shelf, here):
    with pytest.raises(ValueError, match=r"output: found suffix '.txt', expected one of .csv, .nc"):
        export_file(shelf / "s.h5", "a.txt")
    with pytest.raises(ValueError, match="what: found 'runs', expected none"):
        export_file(shelf / "s.h5", "a.nc", what="runs")
    with pytest.raises(KofnFileError, match="no such file"):
        export_file("none.h5", "a.csv")
    assert os.listdir() == []


@pytest.mark.slow
def test_a_computed_study_and_its_cells(here):
    game = write_game(here)
    succeed("study", game, "-n", 6, "-k", "1:3", "--steps", 5, "--runs", 2, "--jobs", 1, "-q", "-o", "study")
    succeed("export", "study", "-o", "s.csv")
    assert [row["k"] for row in rows_of(here / "s.csv")] == ["1", "2", "3"]
    succeed("export", "study", "-o", "r.csv", "--what", "runs")
    assert len(rows_of(here / "r.csv")) == 6
    succeed("export", "study", "-o", "s.nc")
    cell = next((here / "study" / "cells").glob("*.h5"))
    succeed("export", cell, "-o", "c.csv")
    succeed("export", cell, "-o", "c.nc")
