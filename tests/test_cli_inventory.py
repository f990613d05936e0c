"""`kofn inventory`: what it prints, writes and draws, the verdict on learned tables, and what it refuses."""

import json

import h5py
import numpy as np
import pytest
from command_runs import refused, strict_json, succeed

from kofn.engine.files import KofnFileError
from kofn.engine.inventory.files import COUNT_NAMES, TOTAL_NAMES, read_inventory
from kofn.engine.inventory.result import METRICS
from kofn.engine.inventory.tables import inventory_game
from kofn.engine.learning.files import write_learned
from kofn.engine.learning.learn import learn
from kofn.engine.learning.settings import LearningSettings
from kofn.kernels.inventory import parts

SHORT = ("--periods", 40, "--runs", 3, "-q")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """Two runs of tables that were hardly learned."""
    path = tmp_path_factory.mktemp("learned") / "learned.h5"
    asked = LearningSettings(n=3, steps=20, runs=2, sees="actions", bins=3, temperature=1.0)
    write_learned(path, learn(inventory_game("tiny"), asked))
    return path


def test_prints_writes_and_draws(here):
    said = succeed(
        "inventory", "tiny", "--policy", "constant", *SHORT, "-o", "a.h5", "--figure", "a.png", "--units", "lot"
    )
    lines = said.splitlines()
    assert lines[0] == "game        inventory-tiny, n = 3, 3 runs of 40 periods, lot by lot"
    assert "constant    constant" in said
    assert "(asked for)" in said
    for name, (unit, _, _) in METRICS.items():
        line = next(line for line in lines if line.startswith(name + " "))
        assert line.endswith(f"  {unit}")
    assert (here / "a.png").read_bytes().startswith(b"\x89PNG")
    found = read_inventory("a.h5")
    assert list(found.runs) == ["base-stock", "constant", "random"] or set(found.runs) == {
        "base-stock",
        "constant",
        "random",
    }
    assert found.runs["constant"].series.shape == (3, 40, parts.N_TOTALS)
    assert found.runs["random"].series.shape == (3, 0, parts.N_TOTALS)
    assert found.runs["random"].retailer_profit.shape == (3, 3)
    with h5py.File("a.h5") as file:
        assert file["constant/sums"].attrs["units"] == b"units"
        assert [name.decode() for name in file["constant/count"][()]] == list(COUNT_NAMES)
        summary = json.loads(file.attrs["summary"])
    assert summary == json.loads(json.dumps(found.summary()))
    assert (len(COUNT_NAMES), len(TOTAL_NAMES)) == (parts.N_COUNTS, parts.N_TOTALS)
    # The same question, the same file but for the times.
    succeed("inventory", "inventory-tiny", "--policy", "constant", *SHORT, "-o", "b.h5", "--units", "lot")
    again = read_inventory("b.h5")
    for name, runs in found.runs.items():
        np.testing.assert_array_equal(runs.sums, again.runs[name].sums)
        np.testing.assert_array_equal(runs.moments, again.runs[name].moments)
    assert "simulated inventories" in succeed("inspect", "a.h5")


def test_json_with_units_and_a_verdict(here, learned):
    found = strict_json(
        succeed("inventory", "tiny", "--policy", learned, *SHORT, "--json", "-n", 5, "--demand", "uniform")
    )
    assert found["played"] == "policy"
    assert found["beats_base_stock"] is False
    assert found["profit_above_base_stock"]["mean"] < 0
    assert set(found["policies"]) == {"policy", "base-stock", "constant", "random"}
    profit = found["policies"]["policy"]["metrics"]["profit"]
    assert profit["unit"] == "money per retailer and period"
    assert profit["system_mean"] == pytest.approx(5 * profit["mean"])
    said = succeed("inventory", "tiny", "--policy", learned, *SHORT, "--greedy")
    assert "verdict     does not beat base stock: profit -" in said
    assert "(mfq, greedy), 2 tables (asked for)" in said


def test_demand_of_a_file_and_other_parameters(here):
    (here / "demand.csv").write_text("day,demand\n" + "".join(f"{day},{day % 5}\n" for day in range(365)))
    found = strict_json(succeed("inventory", "tiny", *SHORT, "--demand", "demand.csv", "--set", "slip=0", "--json"))
    assert found["played"] == "base-stock"
    assert found["beats_base_stock"] is None
    # Two units of demand in a period on average, which are all served sooner or later.
    revenue = found["policies"]["base-stock"]["metrics"]["revenue"]["mean"]
    assert revenue == pytest.approx(4.0, abs=0.5)


def test_refusals(here, learned):
    path = here / "demand.csv"
    for text, message in (
        ("1\nnan\n", "row 2: demand: found 'nan'"),
        ("-4\n", "found '-4'"),
        ("a,b,c\n", "found 3 columns"),
    ):
        path.write_text(text if text[0] != "a" else text + "1,2,3\n")
        assert message in refused("inventory", "tiny", "--demand", path)
    assert "none.csv: cannot be read" in refused("inventory", "tiny", "--demand", here / "none.csv")
    assert "size: found 'huge', expected one of tiny, medium, large" in refused("inventory", "huge")
    assert "policy: found 'best', expected base-stock, constant, random or a file" in refused(
        "inventory", "tiny", "--policy", "best"
    )
    assert "policy: found one of another game" in refused("inventory", "medium", "--policy", learned)
    assert "constants: found lots" in refused("inventory", "tiny", "--set", "lots=3")
    (here / "a.h5").write_text("")
    assert "exists" in refused("inventory", "tiny", "-o", here / "a.h5")
    assert "a.h5" in refused("inventory", "tiny", "--policy", here / "a.h5")


def test_a_damaged_file_is_no_comparison(here, learned):
    with pytest.raises(KofnFileError):
        read_inventory(learned)
    succeed("inventory", "tiny", *SHORT, "-o", "a.h5")
    with h5py.File("a.h5", "a") as file:
        del file["random/sums"]
    with pytest.raises(KofnFileError):
        read_inventory("a.h5")
