"""`kofn compare`: tables and files of learning in, comparisons out; refusals in one line."""

import csv

import numpy as np
import pytest
from command_runs import refused, strict_json, succeed

from kofn.engine.equilibrium.gap_files import read_gap_numbers
from kofn.engine.inventory.files import read_inventory
from kofn.engine.learning.files import read_learned
from kofn.engine.statistics.compare import compare

TABLE = """method,size,seed,profit,bullwhip
a,1,0,1.0,2
a,1,1,2.0,2.5
a,1,2,4.0,2.25
b,1,2,4.5,1
b,1,0,1.75,1.5
b,1,1,2.25,1.25
b,2,0,9,9
b,2,1,9.5,8
b,2,2,9.25,7
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with a table."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(TABLE)
    return tmp_path


def test_compare_is_compare_with_seeds_matched_by_name(here):
    words = ("compare", "t.csv", "--metric", "profit", "--metric", "bullwhip", "--by", "method", "--where", "size=1.0")
    said = strict_json(succeed(*words, "--json", "-o", "c.csv", "--figure", "c.png", "--resamples", 200))
    profit, bullwhip = said["comparisons"]
    (expected,) = compare({"a": [1, 2, 4], "b": [1.75, 2.25, 4.5]}, metric="profit", correction="none", resamples=200)
    for name in ("difference", "t_low", "boot_high", "p_t", "p_rank", "hedges_g"):
        assert profit[name] == getattr(expected, name)
    smallest = min(profit["p_t"], bullwhip["p_t"])
    assert min(row["p_t_adjusted"] for row in said["comparisons"]) == pytest.approx(2 * smallest)
    with open("c.csv", newline="") as file:
        written = list(csv.DictReader(file))
    assert float(written[0]["t_low"]) == expected.t_low
    assert (here / "c.png").stat().st_size > 10_000
    text = succeed(*words, "--reference", "a")
    assert "corrected for 2 comparisons: holm" in text
    # Three seeds a group are too few for BCa.
    assert "Student's t and percentile bootstrap over seeds" in text
    by_two = strict_json(succeed("compare", "t.csv", "--metric", "profit", "--by", "method", "--by", "size", "--json"))
    assert [row["group"] for row in by_two["groups"]] == ["a / 1", "b / 1", "b / 2"]
    welch = strict_json(succeed(*words[:4], *words[6:], "--unpaired", "--json"))["comparisons"][0]
    assert welch["p_t"] == compare({"a": [1, 2, 4], "b": [1.75, 2.25, 4.5]}, paired=False)[0].p_t


def test_runs_of_learning_and_of_gaps_are_seeds(here):
    common = ("-n", 6, "--runs", 3, "--steps", 100, "-q")
    succeed("learn", "epidemic", *common, "-o", "field.h5")
    succeed("learn", "epidemic", *common, "--method", "iq", "-o", "blind.h5")
    said = strict_json(
        succeed("compare", "field.h5", "blind.h5", "--metric", "reward", "--reference", "blind", "--json")
    )
    means = {name: read_learned(f"{name}.h5", tables=False).tail_means("reward") for name in ("field", "blind")}
    assert said["comparisons"][0]["difference"] == pytest.approx((means["field"] - means["blind"]).mean(), abs=1e-12)
    by_method = strict_json(
        succeed("compare", "field.h5", "blind.h5", "--metric", "reward", "--by", "method", "--json")
    )
    assert [row["group"] for row in by_method["groups"]] == ["mfq", "iq"]
    for name in ("field", "blind"):
        succeed("gap", f"{name}.h5", "--check", 0, "--steps", 50, "-o", f"{name}-gap.h5", "-q")
    said = strict_json(succeed("compare", "field-gap.h5", "blind-gap.h5", "--metric", "nash_conv", "--json"))
    found = [read_gap_numbers(f"{name}-gap.h5")["nash_conv"].mean() for name in ("field", "blind")]
    np.testing.assert_allclose([row["mean"] for row in said["groups"]], found)
    # Other seeds have no partners.
    succeed("learn", "epidemic", *common, "--seed", 1, "-o", "other.h5")
    assert "without a partner" in refused("compare", "field.h5", "other.h5", "--metric", "reward")
    succeed("compare", "field.h5", "other.h5", "--metric", "reward", "--unpaired")


def test_runs_of_inventories_are_seeds_of_every_policy(here):
    succeed("inventory", "tiny", "--periods", 30, "--runs", 6, "-q", "-o", "shop.h5")
    words = ("compare", "shop.h5", "--metric", "profit", "--by", "policy", "--reference", "random", "--json")
    said, runs = strict_json(succeed(*words)), read_inventory("shop.h5").runs
    assert [row["group"] for row in said["groups"]] == list(runs)
    expected = runs["base-stock"].profit - runs["random"].profit
    found = next(row for row in said["comparisons"] if "base-stock" in row["group"])
    assert found["difference"] == pytest.approx(expected.mean(), abs=1e-12)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["--metric", "profits", "--by", "method"],
            "columns: found file, method, size, seed, profit, bullwhip, expected 'profits'",
        ),
        (["--metric", "profit", "--by", "methods"], "expected 'methods' among them"),
        (["--metric", "profit", "--by", "method"], "rows: found seed 0 twice in group 'b', expected once"),
        (["--metric", "profit"], "rows: found seed 2 twice in group 't'"),
        (["--metric", "profit", "--where", "size=3"], "rows: found none of 9 where size = 3, expected some"),
        (["--metric", "profit", "--where", "size=2"], "groups: found t, expected at least two to compare"),
        (
            ["--metric", "profit", "--by", "seed", "--unpaired", "--where", "size=2"],
            "found 1 seed, expected at least 2",
        ),
        (
            ["--metric", "method", "--by", "method", "--where", "size=1"],
            "method: found 'a' for seed 0 of 'a', expected a finite",
        ),
        (["--metric", "profit", "--by", "method", "--where", "size=1", "--reference", "c"], "reference: found 'c'"),
    ],
)
def test_bad_requests_are_one_line(here, words, line):
    assert line in refused("compare", "t.csv", *words)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a,b\n1,2\n", "found columns a, b, expected 'seed' among them"),
        ("", "found columns none, expected 'seed'"),
        ("seed,m\n0,1,2\n", "found 3 cells in row 2, expected 2"),
        ("seed,m,m\n0,1,2\n", "found column 'm' 2 times"),
        ("g,seed,m\na,0,1\na,1,nan\nb,0,1\nb,1,2\n", "m: found 'nan' for seed 1 of 'a', expected a finite number"),
        ("g,seed,m\na,0,1\na,1,3\nb,0,1\n", "seeds: found seed 1 of 'a' without a partner in 'b'"),
        ("g,seed,m\na,0,1\nb,0,1\n", "m of a: found 1 seed, expected at least 2"),
        ("g,seed,m\na,0,1\na,1,\n", "m: found '' for seed 1 of 'a'"),
    ],
)
def test_bad_tables_are_one_line(here, text, line):
    (here / "bad.csv").write_text(text)
    assert line in refused("compare", "bad.csv", "--metric", "m", "--by", "g" if "g," in text else "file")


def test_files_are_kept(here):
    words = ("compare", "t.csv", "--metric", "profit", "--by", "method", "--where", "size=1")
    (here / "mine.csv").write_text("mine")
    assert "exists already" in refused(*words, "-o", "mine.csv")
    assert "what the command reads" in refused(*words, "-o", "t.csv", "--force", code=2)
    assert "no such file" in refused("compare", "none.h5", "--metric", "profit").lower()
    assert "cannot be read" in refused("compare", "none.csv", "--metric", "profit")
    assert (here / "t.csv").read_text() == TABLE
