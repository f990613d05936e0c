"""Studies of corrections, and the scores of their runs: against play, gaps and simulations one by one; refusals."""

import csv
import json
import math

import numpy as np
import pytest
from command_runs import refused, succeed

from kofn.engine.equilibrium.flow_gaps import learned_gaps
from kofn.engine.inventory.policies import learned_orders
from kofn.engine.inventory.simulate import simulate_inventory
from kofn.engine.inventory.spec import spec_of
from kofn.engine.learning.files import read_learned
from kofn.engine.study.learning_files import read_learning_study
from kofn.engine.study.learning_settings import LearningStudySettings, fields_of_method, method_of
from kofn.engine.study.scores import summarise_scores

METHODS = ("mfq+none", "mfq+marginal", "mfq+online")
STUDY = """
games = ["inventory-tiny"]
method = ["mfq+none", "mfq+marginal", "mfq+online"]
n = 3
temperature = 5
steps = 40
runs = 3

[learning]
replay = 30
replay_by = "step"
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """(folder, what the study printed)."""
    place = tmp_path_factory.mktemp("scores")
    (place / "study.toml").write_text(STUDY)
    said = succeed("study", place / "study.toml", "-o", place / "found")
    return place / "found", said


def scores_of(folder, output, *options):
    given = ("--steps", 50, "--episodes", 2, "--flow-steps", 100, *options)
    return succeed("score", folder, *given, "-o", output)


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# ---- Methods with a suffix


def test_a_suffix_is_a_correction_or_no_replay(study):
    folder, said = study
    assert read_learning_study(folder / "learning.h5").method.tolist() == list(METHODS)
    found = {name: read_learned(folder / "cells" / f"inventory-tiny.{name}.n=0003.T=5.0.h5") for name in METHODS}
    settings = {name: learned.settings for name, learned in found.items()}
    assert [each.correction for each in settings.values()] == ["none", "marginal", "none"]
    assert [each.replay for each in settings.values()] == [30, 30, 0]
    assert [method_of(each, METHODS) for each in settings.values()] == list(METHODS)
    assert all(name in said for name in METHODS)
    # The same seeds, and something else learned.
    tables = [learned.q for learned in found.values()]
    assert not np.array_equal(tables[0], tables[1])
    assert not np.array_equal(tables[0], tables[2])


def test_the_method_that_says_most_is_the_one():
    settings = LearningStudySettings(
        games="inventory-tiny", steps=5, method=("mfq", "mfq+product"), learning={"replay": 3}
    )
    assert [cell.method for cell in settings.cells] == ["mfq", "mfq+product"]
    assert [method_of(cell.settings, settings.method) for cell in settings.cells] == ["mfq", "mfq+product"]
    assert fields_of_method("iq+online") == {"method": "iq", "replay": 0, "correction": "none"}
    with pytest.raises(ValueError, match=r"method: found 'mfq\+best', expected one of mfq"):
        LearningStudySettings(games="inventory-tiny", steps=5, method="mfq+best")


def test_as_many_methods_as_figures_can_tell_apart(tmp_path):
    words = [f"{plain}+{suffix}" for plain in ("mfq", "iq") for suffix in ("none", "product", "marginal", "online")]
    given = (
        "inventory-tiny",
        "-n",
        3,
        "--steps",
        6,
        "--runs",
        2,
        "--temperature",
        5,
        "--replay",
        4,
        "--replay-by",
        "step",
    )
    succeed("study", *given, "--method", ",".join(words[:7]), "-o", tmp_path / "seven", "-q")
    assert list((tmp_path / "seven").rglob("learning-curves*.png"))
    said = refused("study", *given, "--method", ",".join(words), "-o", tmp_path / "eight", "-q")
    assert "method: found 8, expected at most 7" in said


def test_unknown_suffixes_are_refused_on_the_command_line(tmp_path):
    said = refused("study", "inventory-tiny", "--method", "mfq+best", "--steps", 5, "-o", tmp_path / "x", code=2)
    assert "+best is not one of none, product, marginal, selfnorm, online" in said


# ---- Scores


def test_scores_are_those_of_each_run_alone(study, tmp_path):
    folder, _ = study
    said = scores_of(folder, tmp_path / "scores.csv")
    rows = rows_of(tmp_path / "scores.csv")
    # With the optimum of all three who act as one.
    assert len(rows) == 3 * (len(METHODS) + 4)
    learned = read_learned(folder / "cells" / "inventory-tiny.mfq+marginal.n=0003.T=5.0.h5")
    spec = spec_of("tiny")
    gaps = learned_gaps(learned, check_runs=0, steps=100)
    for run in range(3):
        (row,) = [row for row in rows if (row["method"], row["seed"]) == ("mfq+marginal", str(run))]
        # Episode e of run r has the demand of run r + 3 e.
        alone = [
            simulate_inventory(spec, learned_orders(spec, learned, run=run), n=3, periods=50, runs=1, units="lot", first_run=first)
            for first in (run, run + 3)
        ]  # fmt: skip
        assert float(row["profit"]) == pytest.approx(np.mean([each.profit[0] for each in alone]), rel=1e-12)
        assert float(row["backlog"]) == pytest.approx(
            np.mean([each.metrics["backlog"][0] for each in alone]), rel=1e-12
        )
        assert float(row["nash_conv"]) == pytest.approx(gaps.gaps[run].nash_conv, rel=1e-12)
        assert float(row["reward"]) == learned.tail_means("reward")[run]
    for method in ("base stock", "constant", "random"):
        assert f"  {method}" in said
    assert "does not beat base stock" in said
    lines = {line.method: line for line in summarise_scores(rows)}
    profits = [float(row["profit"]) for row in rows if row["method"] == "mfq+online"]
    assert lines["mfq+online"].means["profit"][0] == pytest.approx(np.mean(profits))
    assert lines["base stock"].beats_base_stock is None
    assert lines["optimum"].means["profit"][0] > lines["base stock"].means["profit"][0]
    # Base stock is closer to an equilibrium than agents who order at random.
    assert lines["base stock"].means["nash_conv"][0] < lines["random"].means["nash_conv"][0]


def test_scores_are_kept_and_taken_over(study, tmp_path):
    folder, _ = study
    scores_of(folder, tmp_path / "one.csv")
    kept = sorted((folder / "scores").iterdir())
    times = [path.stat().st_mtime_ns for path in kept]
    scores_of(folder, tmp_path / "two.csv")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert [path.stat().st_mtime_ns for path in sorted((folder / "scores").iterdir())] == times
    found = json.loads(scores_of(folder, tmp_path / "three.csv", "--json"))
    assert {line["method"] for line in found["scores"]} == {*METHODS, "base stock", "constant", "random", "optimum"}
    assert "exists" in refused("score", folder, "-o", tmp_path / "one.csv", code=1)


def test_scores_without_gains_and_what_is_no_study(study, tmp_path):
    folder, _ = study
    scores_of(folder, tmp_path / "plain.csv", "--no-gains")
    assert "nash_conv" not in rows_of(tmp_path / "plain.csv")[0]
    refused("score", tmp_path, "-o", tmp_path / "other.csv", code=1)
    compared = succeed(
        "compare", tmp_path / "plain.csv", "--metric", "profit", "--by", "method", "--reference", "mfq+none"
    )
    assert "mfq+marginal" in compared


# ---- What a correction says of itself


def test_learning_tells_its_weights_and_their_bound(tmp_path):
    given = ("-n", 3, "--runs", 2, "--steps", 60, "--temperature", 5, "--replay", 20)
    path = tmp_path / "x.h5"
    said = succeed("learn", "inventory-tiny", *given, "--correction", "marginal", "-o", path)
    assert "weights     marginal, mean" in said
    assert "replayed    reward" in said
    summary = read_learned(path).summary()["correction"]
    bound = summary["bound"]
    parts = sum(bound[name] for name in ("variance", "range", "clipping", "mean_field"))
    assert bound["total"] == pytest.approx(parts)
    assert all(bound[name] > 0.0 for name in ("variance", "range", "mean_field"))
    assert summary["steps"] == 6
    assert 0.0 < summary["effective_share"] <= 1.0
    plain = read_learned(path).curves["ratios"][:, -6:].sum(axis=1)
    assert summary["reward"] == pytest.approx((plain[:, 5] / plain[:, 0]).mean())
    said = succeed(
        "learn", "inventory-tiny", *given, "--correction", "marginal", "--index", "executed", "-o", path, "--force"
    )
    assert "weights     none, they would change nothing" in said
    assert math.isclose(read_learned(path).step, 60)
