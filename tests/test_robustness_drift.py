"""What learning under drift, inventories, scores and comparisons refuse, each in one line, and what they leave alone."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from command_runs import refused, succeed, unchanged

import kofn
from kofn.engine.statistics.intervals import cliffs_delta, hedges_g
from kofn.engine.study.scores import kept_rows

LAW = {"pi": [[0.5, 0.3, 0.2]], "mu": [[0.4, 0.3, 0.3]], "group": [0, 0, 0], "action": [0, 1, 2]}
SAMPLE = {"values": [0.1, 0.2, 0.3], "weights": [1.0, 0.5, 2.0], "clip": 2.0, "largest": 1.0}
BY = ("--metric", "x", "--by", "method", "--resamples", "100")


def seeds(folder: Path, text: str) -> Path:
    path = folder / "seeds.csv"
    path.write_text("seed,method,x\n" + text, encoding="utf-8")
    return path


def line_of(call, *args, **kwargs) -> str:
    with pytest.raises(ValueError) as caught:
        call(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "change",
    [{"pi": {}}, {"pi": "x"}, {"mu": [[1j, 0, 0]]}, {"group": [[1, 2], [3]]}, {"clip": "x"}, {"clip": None}, {"form": []}],
    ids=str,
)  # fmt: skip
def test_weights_name_the_argument_at_fault(change):
    assert next(iter(change)) in line_of(kofn.importance_weights, **LAW | change).partition(":")[0]


def test_no_edges_are_one_bin():
    found = kofn.importance_weights(**LAW, edges=[])
    np.testing.assert_allclose(found.weights, 1.0)


@pytest.mark.parametrize(
    "change",
    [{"values": {}}, {"weights": [math.inf] * 3}, {"clip": [1, 2]}, {"largest": None}, {"delta": "x"}, {"excess": None},
     {"n_agents": 1.5}, {"n_agents": 10**400}, {"lipschitz": "x"}, {"span": None}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_estimates_name_the_argument_at_fault(change):
    assert line_of(kofn.corrected_estimate, **SAMPLE | change).startswith(f"{next(iter(change))}: found ")


@pytest.mark.parametrize(
    "change",
    [{"gamma": math.nan}, {"gamma": "x"}, {"name": 3}, {"name": ""}, {"start": []}, {"lot": 10**400}, {"price": 10**400},
     {"orders": (0, 10**400)}, {"demand": ""}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_inventory_parameters_name_the_field(change):
    assert line_of(kofn.InventorySpec, **change).startswith(f"{next(iter(change))}: found ")


def test_simulations_refuse_what_is_no_policy():
    for change, field in (({"policy": "random"}, "policy"), ({"spec": None}, "spec"), ({"first_run": 1.5}, "first_run"),
                          ({"periods": 10**8}, "periods")):  # fmt: skip
        given = {"spec": "tiny", "policy": kofn.random_orders(), "periods": 2, "runs": 1} | change
        assert line_of(kofn.simulate_inventory, **given).startswith(f"{field}: found ")
    spec = kofn.InventorySpec(max_transit=1000)
    assert kofn.base_stock(spec, 5 * 1020).base is not None
    assert line_of(kofn.base_stock, spec, {}).startswith("levels: ")
    assert line_of(kofn.learned_orders, spec, None).startswith("learned: ")
    assert line_of(kofn.learned_gaps, "tables.h5").startswith("learned: ")


@pytest.mark.parametrize(
    "change", [{"correction": 3}, {"clip": 10**400}, {"temperature": np.zeros(2)}, {"method": np.zeros(2)}], ids=str
)
def test_learning_settings_name_the_field(change):
    name = next(iter(change))
    assert line_of(kofn.LearningSettings, n=2, steps=3, **change).startswith(f"{name}: found ")


def test_differences_that_are_the_same_but_for_rounding(tmp_path):
    """In 0.1·i + 0.3 − 0.1·i rounding is the only spread: no warning, no effect of 10^16."""
    rows = "".join(f"{i},{m},{0.1 * i + 0.3 * (m == 'b')}\n" for m in "ab" for i in range(6))
    assert "0.3 … 0.3" in succeed("compare", seeds(tmp_path, rows), *BY)
    rows = "".join(f"{i},{m},{0.1 if m == 'a' else 0.3}\n" for m in "ab" for i in range(6))
    assert "no spread" in succeed("compare", seeds(tmp_path, rows), *BY)
    assert math.isinf(hedges_g(np.full(6, 0.1), np.full(6, 0.3)))


def test_cliffs_delta_is_that_of_all_pairs(rng):
    one, other = rng.integers(0, 5, 7), rng.integers(0, 5, 9)
    pairs = [(x > y) - (x < y) for x in one.tolist() for y in other.tolist()]
    assert cliffs_delta(one, other) == pytest.approx(sum(pairs) / len(pairs), abs=1e-15)


def test_comparisons_refuse_in_one_line(tmp_path):
    path = seeds(tmp_path, "")
    assert "without rows" in refused("compare", path, *BY)
    assert "no seed in row 2" in refused("compare", seeds(tmp_path, ",a,1\n0,b,2\n"), *BY)
    assert len(refused("compare", seeds(tmp_path, f"0,a,{'z' * 5000}\n0,b,2\n"), *BY)) < 300
    assert "up to 1e+100" in refused("compare", seeds(tmp_path, "0,a,1e308\n1,a,2\n0,b,-1e308\n1,b,1\n"), *BY)
    assert "twice" in refused("compare", path, path, *BY)
    many = "".join(f"{i},m{m},{i}\n" for m in range(200) for i in range(2))
    assert "name a reference" in refused("compare", seeds(tmp_path, many), *BY)
    same = tmp_path / "x.png"
    refused("compare", path, *BY, "-o", same, "--figure", same, code=2)
    assert not same.exists()


def test_names_from_files_keep_to_their_line(tmp_path):
    rows = "".join(f'{i},"a\n\x1b[31m",{i}\n{i},b,{i * i}\n' for i in range(3))
    assert "\x1b" not in (said := succeed("compare", seeds(tmp_path, rows), *BY))
    assert "a??[31m" in said


def test_demand_that_never_varies_has_no_bullwhip(tmp_path):
    demand = tmp_path / "zero.csv"
    demand.write_text("0\n", encoding="utf-8")
    said = succeed("inventory", "tiny", "--runs", 2, "--periods", 3, "--demand", demand, "-q")
    assert "undefined" in said
    assert " nan" not in said
    assert " inf" not in said
    said = succeed("inventory", "tiny", "--runs", 1, "--periods", 2, "--policy", "random", "-q")
    assert "none from a single run" in said


def test_a_file_of_drifts_with_another_method_is_no_game(tmp_path):
    path = tmp_path / "drift.toml"
    path.write_text('method = "drift+none"\n[drifts.a]\nmu = [1.0]\npi = [1.0]\n', encoding="utf-8")
    assert "method: found 'drift+none' beside drifts, expected \"drift\"" in refused(
        "study", path, "-o", tmp_path / "out"
    )
    text = 'method = "drift"\nn = 2\nsamples = 4\n[drifts.a]\nmu = [0.5, 0.5]\npi = [0.5, 0.5]\n'
    path.write_text(text + "[rewards.r]\nat = [1, 2]\nvalue = [1e308, -1e308]\n", encoding="utf-8")
    assert "rewards: r: value: found" in refused("study", path, "-o", tmp_path / "out")


def test_scores_are_of_the_studys_cells_alone(tmp_path):
    folder = tmp_path / "study"
    options = ("--runs", 2, "--temperature", 1, "-o", folder, "-q")
    succeed("study", "epidemic", "--method", "mfq,iq", "-n", 3, "--steps", 5, *options)
    score = ("score", folder, "--steps", 2, "--episodes", 1, "--no-gains", "-q")
    succeed(*score, "-o", tmp_path / "first.csv")
    cells = sorted((folder / "cells").iterdir())
    with unchanged(folder):
        refused(*score, "-o", cells[0], "--force", code=2)
    # A damaged file of scores is made again.
    kept = sorted((folder / "scores").iterdir())
    kept[0].write_text(kept[0].read_text(encoding="utf-8")[:60], encoding="utf-8")
    assert kept_rows(kept[0], 2) is None
    succeed(*score, "-o", tmp_path / "second.csv")
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "second.csv").read_bytes()
    # Scores of an earlier study with the same names do not count for the next.
    succeed("study", "epidemic", "--method", "mfq,iq", "-n", 3, "--steps", 7, *options, "--force")
    succeed(*score, "-o", tmp_path / "third.csv")
    assert (tmp_path / "third.csv").read_bytes() != (tmp_path / "first.csv").read_bytes()
    cells[0].unlink()
    assert "found 1 of 2 cells" in refused(*score, "-o", tmp_path / "fourth.csv")
    assert not (tmp_path / "fourth.csv").exists()
