"""Studies of importance weights: what they hold is what their cells say, interruptions change no bit, refusals are one line."""

import csv
import math
import shutil

import h5py
import numpy as np
import pytest
from command_runs import refused, strict_json, succeed, unchanged
from drawn_figures import check_texts, collect_figures, legend_of, subtitle_of
from oracles_importance import laws_of_total

from kofn.engine.drift.bound import corrected_estimate
from kofn.engine.files import KofnFileError
from kofn.engine.solve import Interrupted
from kofn.engine.study import drift_figures
from kofn.engine.study.drift import run_drift_study
from kofn.engine.study.drift_files import read_drift_cell, read_drift_study
from kofn.engine.study.drift_settings import DriftStudySettings, load_drift_study
from kofn.engine.study.settings import find_study_file

STUDY_FILE = """
method = "drift"
n = [2, 6]
samples = [30, 400]
replications = 40
clip = 1.5
delta = 0.1
seed = 3
[drifts.spread]
mu = [0.25, 0.5, 0.25]
pi = [0.4, 0.2, 0.4]
[drifts.shift]
mu = [0.5, 0.3, 0.2]
pi = [0.1, 0.3, 0.6]
units = [0, 1, 3]
[rewards.tent]
at = [0.0, 1.0, 3.0]
value = [0.0, 1.0, -1.0]
[rewards.fill]
stock = 0.8
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What a study said, and its folder."""
    folder = tmp_path_factory.mktemp("drift")
    (folder / "study.toml").write_text(STUDY_FILE)
    return succeed("study", folder / "study.toml", "-o", folder / "out", "-q"), folder / "out"


def settings_of(folder):
    return load_drift_study(folder.parent / "study.toml")


def test_study_says_what_its_cells_say(made):
    said, folder = made
    result, settings = read_drift_study(folder / "drift.h5"), settings_of(folder)
    labels = {name: getattr(result, name).tolist() for name in ("drift", "n", "samples", "form", "reward")}
    assert labels == {
        "drift": ["spread", "shift"], "n": [2, 6], "samples": [30, 400], "reward": ["tent", "fill"],
        "form": ["none", "product", "marginal", "selfnorm"],
    }  # fmt: skip
    cell = settings.cells[3]
    found = read_drift_cell(folder / "cells" / "shift.n=00006.h5", settings, cell)
    law = laws_of_total([[0.1, 0.3, 0.6]], [0] * 6, [0, 1, 3])
    exact = sum(p * min(1.0, 0.8 / max(t / 6, 1e-9)) for t, p in law.items())
    at = {"drift": "shift", "n": 6, "reward": "fill"}
    assert result.sel("exact", **at) == pytest.approx(exact, rel=1e-12)
    assert result.sel("limit", **at) == pytest.approx(0.8 / 2.1)
    assert result.sel("mean_field_term", **at) == pytest.approx(1 / 0.8 * 3 / (2 * math.sqrt(6)))
    before = laws_of_total([[0.5, 0.3, 0.2]], [0] * 6, [0, 1, 3])
    excess = sum(max(p - 1.5 * before[t], 0.0) for t, p in law.items())
    assert result.sel("excess", drift="shift", n=6, form="marginal") == pytest.approx(excess)
    second = sum(p * p / before[t] for t, p in law.items())
    assert result.sel("log_second_moment_marginal", drift="shift", n=6) == pytest.approx(math.log(second))
    chi2 = sum(p * p / q for p, q in zip((0.1, 0.3, 0.6), (0.5, 0.3, 0.2))) - 1
    assert result.sel("log_second_moment_product", drift="shift", n=6) == pytest.approx(6 * math.log(1 + chi2))
    for form, kernel_form in (("product", 1), ("selfnorm", 2)):
        mean, variance = found.values[1, :, kernel_form, 1].T
        weight, square, rate, above, raw = found.weights[1, :, kernel_form].T
        estimates = mean / weight if form == "selfnorm" else mean
        at |= {"samples": 400, "form": form}
        assert result.sel("estimate", **at) == pytest.approx(estimates.mean())
        assert result.sel("abs_error", **at) == pytest.approx(abs(estimates - exact).mean())
        assert result.sel("rmse", **at) == pytest.approx(math.sqrt(((estimates - exact) ** 2).mean()))
        log_term = math.log(4 / 0.1)
        first = np.sqrt(2 * variance * log_term / 400)
        second = 14 * 1.5 * 1.0 * log_term / (3 * 399)
        third = float(result.sel("excess", drift="shift", n=6, form=form))
        assert result.sel("variance_term", **at) == pytest.approx(first.mean())
        assert result.sel("range_term", **at) == pytest.approx(second)
        assert result.sel("clipping_term", **at) == pytest.approx(third)
        assert result.sel("clipping_term_estimated", **at) == pytest.approx(above.mean())
        assert result.sel("half_width", **at) == pytest.approx((first + second + third).mean())
        assert result.sel("covered", **at) == (abs(estimates - exact) <= first + second + third).mean()
        assert result.sel("covered_estimated", **at) == (abs(estimates - exact) <= first + second + above).mean()
        place = {key: at[key] for key in ("drift", "n", "samples", "form")}
        assert result.sel("clip_rate", **place) == pytest.approx(rate.mean())
        assert result.sel("effective_size", **place) == pytest.approx((400 * weight**2 / square).mean())
        assert result.sel("sampled_second_moment", **place) == pytest.approx(raw.mean())
    (row,) = [
        x.split() for x in said.partition("shift, fill")[2].splitlines() if x.split()[:3] == ["6", "400", "selfnorm"]
    ][:1]
    assert float(row[3]) == pytest.approx(exact, abs=1e-4)
    assert float(row[5]) == pytest.approx(float(result.sel("abs_error", **at)), rel=0.01)


def test_bound_holds_and_raw_samples_are_of_the_old_law(made):
    result = read_drift_study(made[1] / "drift.h5")
    for form in ("product", "marginal"):
        # All of 40 estimates: the bound is far from tight.
        for name in ("covered", "covered_complement", "covered_limit"):
            assert (result.sel(name, form=form) == 1.0).all()
    raw = {"form": "none", "drift": "shift", "samples": 400, "n": 6}
    assert (result.sel("covered", **raw) == 0.0).all()
    off = result.sel("estimate", **raw) - result.sel("before", drift="shift", n=6)
    assert (abs(off) < 0.02).all()
    assert (abs(result.sel("exact", drift="shift", n=6) - result.sel("before", drift="shift", n=6)) > 0.2).all()
    # Complement of the clipped mean, in `corrected_estimate` and in the study.
    assert corrected_estimate([0.0, 1.0], [1.0, 1.0], clip=2.0, largest=1.0).bound.clipping == 1.0


def test_started_again_a_study_is_the_same_to_the_bit(made, tmp_path, monkeypatch):
    _, folder = made
    settings = settings_of(folder)
    whole = (folder / "drift.h5").read_bytes()
    told = []
    with pytest.raises(Interrupted, match="finished cells are kept"):
        run_drift_study(
            settings,
            output=tmp_path,
            progress=lambda *words: told.append(words),
            should_stop=lambda: len(told) == 2,
        )
    finished = sorted((tmp_path / "cells").glob("*"))
    assert len(finished) == 2
    assert not (tmp_path / "drift.h5").exists()
    kept = finished[0].stat().st_mtime_ns
    told = []
    run_drift_study(settings, output=tmp_path, progress=lambda *words: told.append(words))
    assert finished[0].stat().st_mtime_ns == kept
    assert [words[1:] for words in told] == [(3, 4), (4, 4)]
    assert (tmp_path / "drift.h5").read_bytes() == whole
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "weight-variance.png", "coverage.tent.png", "coverage.fill.png",
    }  # fmt: skip
    monkeypatch.setattr(drift_figures, "draw_drift_figures", lambda *_: [])
    # Another delta is another reading of the same cells, another seed another study.
    other = load_drift_study(folder.parent / "study.toml", delta=0.5)
    assert (
        run_drift_study(other, output=tmp_path).sel("half_width").max()
        < read_drift_study(folder / "drift.h5").sel("half_width").max()
    )
    assert finished[0].stat().st_mtime_ns == kept
    other = load_drift_study(folder.parent / "study.toml", seed=4)
    with pytest.raises(KofnFileError, match="cell of another study, seed is 3, expected 4; take another folder"):
        run_drift_study(other, output=tmp_path)
    run_drift_study(other, output=tmp_path, force=True)
    assert read_drift_study(tmp_path / "drift.h5").config["seed"] == 4


def test_options_go_before_the_file(made, tmp_path, monkeypatch):
    monkeypatch.setattr(drift_figures, "draw_drift_figures", lambda *_: [])
    file = made[1].parent / "study.toml"
    words = ["study", file, "-n", 3, "--runs", 5, "--seed", 9, "-o", tmp_path / "out", "-q"]
    assert "spread.n=00003" in succeed(*words, "--dry-run")
    assert not (tmp_path / "out").exists()
    said = succeed(*words)
    assert "5 estimates each" in said
    config = read_drift_study(tmp_path / "out" / "drift.h5").config
    assert (config["n"], config["replications"], config["seed"]) == ([3], 5, 9)
    assert "2 cells, 2 finished" in succeed(*words, "--dry-run")
    for change in (["--k", 2], ["--tol", 1], ["--method", "mfq"], ["--jobs", 2], ["--scheduler", "tcp://x"]):
        found = refused("study", file, *change, "-o", tmp_path / "out", code=2)
        assert "is for studies of games" in found or "No such option" in found
    assert "--seeds: found 2, expected one" in refused("study", file, "--seeds", "0:1", "-o", tmp_path / "o", code=2)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("n = [2, 6]", "", "n: missing, expected at least one"),
        ("n = [2, 6]", "n = [0]", "n: found 0, expected at least 1"),
        ("n = [2, 6]", "games = ['ising']", "games: unknown, expected one of method, drifts"),
        ("samples = [30, 400]", "samples = [1]", "samples: found 1, expected at least 2"),
        ("clip = 1.5", "clip = 0", "clip: found 0, expected a finite number above 0"),
        ("delta = 0.1", "delta = 1.5", "delta: found 1.5, expected a number between 0 and 1"),
        ("seed = 3", "seed = -3", "seed: found -3"),
        ("seed = 3", "form = ['marginal', 'all']", "form: found 'all', expected one of none, product"),
        ("replications = 40", "replications = 0", "replications: found 0"),
        ("replications = 40", "replications = 1_000_000_000", "replications: found 1000000000, expected at most"),
        ("pi = [0.4, 0.2, 0.4]", "pi = [0.4, 0.2]", "drifts: spread: pi: found [0.4, 0.2], expected probabilities"),
        ("pi = [0.4, 0.2, 0.4]", "pi = [0.4, 0.6]", "drifts: spread: pi: found 2 numbers, expected 3 as in mu"),
        ("pi = [0.4, 0.2, 0.4]", "", "drifts: spread: pi: missing"),
        ("mu = [0.5, 0.3, 0.2]", "mu = 'even'", "drifts: shift: mu: found 'even', expected a list of finite numbers"),
        ("units = [0, 1, 3]", "units = [0, 1.5, 3]", "drifts: shift: units: found [0, 1.5, 3], expected 3 whole numbers"),
        ("units = [0, 1, 3]", "unit = [0, 1, 3]", "drifts: shift: 'unit': unknown, expected one of mu, pi, units"),
        ("[drifts.shift]", "[drifts.'a b']", "drifts: found name 'a b', expected letters"),
        ("stock = 0.8", "stock = 0.0", "rewards: fill: stock: found 0.0, expected a finite number above 0"),
        ("stock = 0.8", "stock = 0.8\nat = [1]", "rewards: fill: found stock beside at, expected it alone"),
        ("stock = 0.8", "", "rewards: fill: at: missing"),
        ("at = [0.0, 1.0, 3.0]", "at = [0.0, 1.0, 1.0]", "rewards: tent: at: found [0.0, 1.0, 1.0], expected 3 ascending"),
    ],
)  # fmt: skip
def test_bad_study_files_are_one_line(old, new, message, tmp_path):
    assert STUDY_FILE.count(old) == 1
    (tmp_path / "study.toml").write_text(STUDY_FILE.replace(old, new))
    with unchanged(tmp_path):
        found = refused("study", tmp_path / "study.toml", "-o", tmp_path / "out", "-q")
    assert message in found
    assert "study.toml: " in found


def test_folders_and_files_of_other_kinds_are_refused(made, tmp_path):
    _, folder = made
    shutil.copy(folder / "drift.h5", tmp_path)
    file = tmp_path / "study.toml"
    file.write_text(STUDY_FILE.replace("drifts.spread", "drifts.a").replace("drifts.shift", "drifts.b"))
    found = refused("study", file, "-o", tmp_path, "-q")
    assert "drift.h5: study of " in found
    assert "expected one of the same drifts; take another folder, or --force" in found
    (tmp_path / "learning.h5").write_bytes(b"")
    assert "learning.h5: a study of another kind" in refused("study", file, "-o", tmp_path, "-q")
    with pytest.raises(ValueError, match=r"drifts: found \[\], expected at least one table with a name"):
        DriftStudySettings(drifts=[], rewards={}, n=(1,), samples=(2,))
    assert "replications: estimates take" in refused("study", file, "-o", tmp_path / "out", "-q", "--memory", "1kB")
    with pytest.raises(ValueError, match="found no study of drift"):
        load_drift_study(find_study_file("ising-transition"))


def test_shipped_study_of_drift_loads():
    settings = load_drift_study(find_study_file("drift-coverage"))
    assert len(settings.cells) == 10
    assert [reward.largest for reward in settings.drawn_rewards] == [1.0, 1.0]
    chi2 = [(drift.pi**2 / drift.mu).sum() - 1 for drift in settings.drawn_drifts]
    assert chi2 == pytest.approx([0.08, 0.07])
    bell, fill = settings.drawn_rewards
    means = np.linspace(0.01, 2.0, 200)
    assert fill(means) == pytest.approx(np.minimum(1.0, 0.8 / means))
    for reward in (bell, fill):
        slopes = np.abs(np.diff(reward(means)) / np.diff(means))
        assert slopes.max() <= reward.lipschitz * (1 + 1e-9)
        assert slopes.max() > 0.95 * reward.lipschitz


def test_figures_show_the_numbers(made, monkeypatch):
    figures = collect_figures(monkeypatch)
    result = read_drift_study(made[1] / "drift.h5")
    drift_figures.draw_drift_figures(result, made[1])
    for figure in figures:
        check_texts(figure)
    variance, coverage, _ = figures
    product = variance.axes[1].lines[0].get_ydata()
    np.testing.assert_allclose(product, np.expm1(result.sel("log_second_moment_product", drift="shift")))
    assert legend_of(variance)[0] == "product: (1 + χ²)ⁿ − 1"
    assert "400 samples" in subtitle_of(coverage)
    assert legend_of(coverage) == ["none", "product", "marginal", "selfnorm", "mean |error|"]
    shown = [line.get_ydata() for line in coverage.axes[0].lines]
    expected = result.sel("covered", drift="spread", samples=400, form="none", reward="tent")
    assert any(len(y) == 2 and (np.asarray(y) == expected).all() for y in shown)


def test_other_commands_take_the_files(made, tmp_path):
    _, folder = made
    found = strict_json(succeed("inspect", "--json", folder / "drift.h5"))
    assert found["what"] == "study of importance weights"
    assert found["config"]["n"] == [2, 6]
    assert "cell of a study of importance weights" in succeed("inspect", folder / "cells" / "spread.n=00002.h5")
    succeed("export", folder, "-o", tmp_path / "cells.csv")
    with open(tmp_path / "cells.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    result = read_drift_study(folder / "drift.h5")
    assert [float(row["rmse"]) for row in rows] == result.arrays["rmse"].ravel().tolist()
    at = {"drift": rows[-1]["drift"], "n": int(rows[-1]["n"]), "form": rows[-1]["form"]}
    assert float(rows[-1]["excess"]) == result.sel("excess", **at)
    succeed("export", folder, "-o", tmp_path / "study.nc")
    for damage in ("rmse", "n"):
        path = tmp_path / "drift.h5"
        shutil.copy(folder / "drift.h5", path)
        with h5py.File(path, "r+") as file:
            del file[damage]
            file[damage] = np.zeros((1, 2))
        with pytest.raises(KofnFileError, match=f"{damage} is float64 of shape"):
            read_drift_study(path)
