"""Figures of learning show the numbers that they are given; what they are compared with is right on small cases."""

import itertools
import math

import numpy as np
import pytest
from drawn_figures import LONG_TITLE, check_texts, collect_figures, legend_of, subtitle_of

from kofn.engine.game_files import load_game
from kofn.engine.learning import figures
from kofn.engine.learning.baselines import best_team_reward, uniform_score
from kofn.engine.learning.figures import draw_curves, draw_learning_curve, draw_scores
from kofn.engine.learning.ising import (
    CRITICAL_TEMPERATURE,
    crossing,
    is_ising,
    is_torus_of_two,
    onsager_magnetisation,
    simulate_heat_bath,
)
from kofn.engine.learning.lattice_figures import draw_lattices, draw_magnetisation
from kofn.engine.learning.learn import learn
from kofn.engine.learning.result import mean_curve
from kofn.engine.learning.settings import LearningSettings
from kofn.engine.solve import Interrupted

STEPS = np.arange(1, 41) * 250
TEMPERATURES = [0.7, 0.9, 1.1, 1.3, 1.5]


@pytest.fixture
def drawn(monkeypatch):
    return collect_figures(monkeypatch)


def curves_of(n):
    return np.linspace(1.0, 2.0, n)[:, None] * (1 - 0.9 ** np.arange(1, 41))


# ---- Curves


@pytest.mark.parametrize("n", [1, 2, 8, 30])
def test_curves_of_temperatures_are_legible(n, drawn):
    curves = curves_of(n)
    temperatures = np.linspace(0.725, 2.0, n).round(3).tolist()
    draw_curves(
        "a.png", STEPS, curves, 0.1 * curves, temperatures, title=LONG_TITLE, key="Temperature T [reward units]", note="mfq",
        n_agents=1_000_000, n_runs=20, lines={"best team reward": 423.0326158},
    )  # fmt: skip
    (figure,) = drawn
    check_texts(figure)
    axes = figure.axes[0]
    assert len([line for line in axes.lines if len(line.get_xdata()) == 40]) == n
    # The best team reward is on the axis, however far away.
    assert axes.get_ylim()[1] > 423
    assert "best team reward: 423.033" in legend_of(figure)
    alone = "of 0.725 and 2 alone" in " ".join(subtitle_of(figure).split())
    assert alone == (n > figures.MAX_BANDS)
    assert len(axes.collections) == (n if n <= figures.MAX_BANDS else 2)


def test_curves_of_methods_have_means_bands_and_names(drawn):
    curves = curves_of(3)
    draw_curves("a.png", STEPS, curves, 0.1 * curves, ["mfq", "mfac", "iq"], unit_of_time="sweeps")
    (figure,) = drawn
    check_texts(figure)
    axes = figure.axes[0]
    assert legend_of(figure) == ["mfq", "mfac", "iq"]
    assert len({line.get_color() for line in axes.lines}) == 3
    for line, band, curve in zip(axes.lines, axes.collections, curves, strict=True):
        np.testing.assert_array_equal(line.get_xydata(), np.stack([STEPS, curve], axis=1))
        outline = band.get_paths()[0].vertices
        np.testing.assert_allclose([outline[:, 1].min(), outline[:, 1].max()], [0.9 * curve[0], 1.1 * curve[-1]])
    assert axes.get_xlabel() == "Time [sweeps]"


def test_figure_of_learned_tables_is_mean_and_t_interval_over_runs(drawn, tmp_path, monkeypatch):
    game = load_game("gaussian-squeeze", agents=3, constants={"mu": 10.0, "sigma": 5.0})
    learned = learn(game, LearningSettings(n=3, steps=30, runs=5, method="iq"))
    draw_learning_curve("a.png", learned)
    (figure,) = drawn
    check_texts(figure)
    line, best = figure.axes[0].lines
    reward = learned.curves["reward"]
    np.testing.assert_allclose(line.get_ydata(), reward.mean(axis=0))
    np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 31))
    totals = np.arange(28)
    np.testing.assert_allclose(best.get_ydata(), (totals * np.exp(-(((totals - 10) / 5) ** 2))).max())
    assert subtitle_of(figure).startswith("n = 3 agents · 5 runs · iq, greedy")
    # 2.776 is the 97.5 % point of Student's t with 4 degrees of freedom.
    half = mean_curve(reward)[1]
    np.testing.assert_allclose(half, 2.7764451 * reward.std(axis=0, ddof=1) / math.sqrt(5), rtol=1e-6)
    assert np.isnan(mean_curve(reward[:1])[1]).all()
    monkeypatch.undo()
    assert draw_learning_curve(tmp_path / "a.png", learned, svg=True) == [tmp_path / "a.png", tmp_path / "a.svg"]
    once = (tmp_path / "a.png").read_bytes()
    draw_learning_curve(tmp_path / "a.png", learned)
    assert (tmp_path / "a.png").read_bytes() == once


def test_nothing_to_draw_is_refused(tmp_path):
    nothing = np.full((1, 40), np.nan)
    with pytest.raises(ValueError, match="means: found no finite number"):
        draw_curves(tmp_path / "a.png", STEPS, nothing, nothing, ["mfq"])
    with pytest.raises(ValueError, match="labels: found 8 curves"):
        draw_curves(tmp_path / "a.png", STEPS, curves_of(8), curves_of(8), list("abcdefgh"))
    with pytest.raises(ValueError, match="actions: found shape"):
        draw_lattices(tmp_path / "a.png", np.zeros((2, 3, 3), dtype=int), [1.0])
    with pytest.raises(ValueError, match="temperatures: found"):
        draw_magnetisation(tmp_path / "a.png", [1.0, 0.5], {"mfq": [1, 2]}, {"mfq": [0, 0]})
    assert list(tmp_path.iterdir()) == []


# ---- Scores against n


def test_scores_show_means_intervals_and_every_run(drawn):
    ns = [100, 500, 1000]
    runs = {"mfq": np.array([[60.0, 70], [250, 350], [np.nan, 300]]), "iq": np.array([[390.0, 400], [0, 0], [0, 0]])}
    half = {"mfq": [30, 90, np.nan], "iq": [20, 0, 0]}
    draw_scores(
        "a.png", ns, runs, half, uniform=[413.0, 0, 0], best=[423.0] * 3, note="last 5 % of 20,000 steps, greedy"
    )
    (figure,) = drawn
    check_texts(figure)
    axes = figure.axes[0]
    assert legend_of(figure) == ["mfq", "iq", "best team reward", "uniform play"]
    drawn_y = [np.asarray(line.get_ydata()) for line in axes.lines if len(line.get_xdata()) == 6]
    for dots, values in zip(drawn_y, runs.values(), strict=True):
        np.testing.assert_array_equal(dots, values.ravel())
    means = [np.asarray(container.lines[0].get_ydata()) for container in axes.containers]
    np.testing.assert_array_equal(means, [[65, 300, 300], [395, 0, 0]])
    bars = axes.containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose(np.array(bars)[:2, :, 1], [[35, 95], [210, 390]])
    # All that stands beside a place is inside the axes.
    box = axes.get_window_extent()
    for line in axes.lines:
        places = line.get_transform().transform(line.get_xydata())[:, 0]
        assert np.nanmin(places) > box.x0
        assert np.nanmax(places) < box.x1


# ---- Spins


def test_magnetisation_shows_learners_heat_bath_and_onsager(drawn):
    mean = np.array([0.99, 0.95, 0.8, 0.25, 0.14])
    draw_magnetisation(
        "a.png", TEMPERATURES, {"mfq": mean}, {"mfq": 0.02 * np.ones(5)}, heat_bath=mean + 0.01,
        heat_bath_half_width=0.03 * np.ones(5), note="20 × 20 torus · last 50 % of 10,000 sweeps", n_runs=20, title=LONG_TITLE,
    )  # fmt: skip
    (figure,) = drawn
    check_texts(figure)
    axes = figure.axes[0]
    onsager, critical, learners = axes.lines[:3]
    np.testing.assert_allclose(onsager.get_ydata(), onsager_magnetisation(onsager.get_xdata()))
    assert np.asarray(onsager.get_ydata())[-1] == 0.0
    assert critical.get_xdata() == [CRITICAL_TEMPERATURE] * 2
    np.testing.assert_array_equal(learners.get_xydata(), np.stack([TEMPERATURES, mean], axis=1))
    np.testing.assert_allclose(axes.containers[0].lines[0].get_ydata(), mean + 0.01)
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(1.01)
    assert [text for text in legend_of(figure) if "heat bath" not in text] == [
        "Onsager, infinite lattice", "critical temperature: 1.1346", "mfq"
    ]  # fmt: skip


def test_lattices_are_the_actions(drawn):
    rng = np.random.default_rng(3)
    actions = rng.integers(0, 2, size=(5, 6, 9))
    draw_lattices("a.png", actions, TEMPERATURES, title=LONG_TITLE, note="first run after 10,000 sweeps · mfq")
    (figure,) = drawn
    check_texts(figure)
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    np.testing.assert_array_equal(shown, actions)
    assert [axes.get_title() for axes in figure.axes if axes.images] == [f"$T_q$ = {t:g}" for t in TEMPERATURES]


def test_onsager_curve_is_the_known_one():
    # The same formula in powers of x = exp(2/T) at T = 1.6, 1.8 and 2.0.
    x = np.exp(2 / np.array([1.6, 1.8, 2.0]))
    np.testing.assert_allclose(onsager_magnetisation([0.8, 0.9, 1.0]) ** 8, 1 - 16 / (x - 1 / x) ** 4, rtol=1e-12)
    np.testing.assert_allclose(onsager_magnetisation([0.8, 0.9, 1.0]), [0.980, 0.957, 0.911], atol=5e-4)
    assert onsager_magnetisation(0.0) == onsager_magnetisation(0.05) == 1.0
    assert pytest.approx(1.1345926) == CRITICAL_TEMPERATURE
    assert np.sinh(1.0 / CRITICAL_TEMPERATURE) == pytest.approx(1.0)
    assert onsager_magnetisation([CRITICAL_TEMPERATURE, 1.2, 50.0]).tolist() == [0.0, 0.0, 0.0]


def test_crossing_is_where_the_line_falls_through_one_half():
    assert crossing([1.0, 2.0, 3.0], [0.9, 0.6, 0.2]) == pytest.approx(2.25)
    assert crossing([1.0, 2.0, 3.0], [0.9, np.nan, 0.1]) == pytest.approx(2.0)
    assert crossing([1.0, 2.0], [0.5, 0.4]) == 1.0
    assert math.isnan(crossing([1.0, 2.0], [0.9, 0.6]))
    assert math.isnan(crossing([1.0, 2.0], [0.2, 0.6]))


def test_heat_bath_has_the_boltzmann_law_of_a_small_torus():
    """Four temperatures, 200 runs of 900 sweeps: level 10⁻⁴ each with z = 4, power 0.99 against 0.01 in mean |m|."""
    temperatures = [0.9, 1.2, 1.6, 2.5]
    found = simulate_heat_bath(3, temperatures, 1000, 200, 7, tail=0.9)
    bonds = [(3 * r + c, 3 * r + (c + 1) % 3) for r in range(3) for c in range(3)]
    bonds += [(3 * r + c, 3 * ((r + 1) % 3) + c) for r in range(3) for c in range(3)]
    spins = np.array(list(itertools.product((-1, 1), repeat=9)))
    agree = sum(spins[:, i] * spins[:, j] for i, j in bonds)
    for temperature, runs in zip(temperatures, found, strict=True):
        law = np.exp(agree / (2 * temperature))
        exact = law @ np.abs(spins.mean(axis=1)) / law.sum()
        error = runs.std(ddof=1) / math.sqrt(runs.size)
        assert error < 0.0015
        assert abs(runs.mean() - exact) < 4 * error
    np.testing.assert_array_equal(simulate_heat_bath(3, temperatures, 1000, 200, 7, tail=0.9), found)


def test_heat_bath_keeps_a_start_in_the_cold_and_can_be_stopped():
    np.testing.assert_array_equal(simulate_heat_bath(4, [0.0], 20, 3, 0, up=True), [[1.0, 1.0, 1.0]])
    with pytest.raises(Interrupted):
        simulate_heat_bath(4, [1.0], 20, 3, 0, should_stop=lambda: True)
    with pytest.raises(ValueError, match="tail: found 0"):
        simulate_heat_bath(4, [1.0], 20, 3, 0, tail=0)
    with pytest.raises(ValueError, match="temperatures: found"):
        simulate_heat_bath(4, [-1.0], 20, 3, 0)


def test_the_ising_game_is_known_by_its_tables():
    ising = load_game("ising")
    assert is_ising(ising)
    assert is_torus_of_two(ising)
    assert not is_torus_of_two(load_game("formation"))
    assert not is_ising(load_game("gaussian-squeeze", agents=5))


# ---- Baselines


@pytest.mark.parametrize("n", [1, 2, 4])
def test_uniform_play_is_the_mean_over_all_joint_actions(n):
    game = load_game("gaussian-squeeze", agents=n, constants={"mu": 12.0, "sigma": 6.0})
    totals = np.array([sum(actions) for actions in itertools.product(range(10), repeat=n)])
    reward = totals * np.exp(-(((totals - 12) / 6) ** 2))
    assert uniform_score(game, n) == pytest.approx(reward.mean(), rel=1e-12)
    assert best_team_reward(game) == pytest.approx(reward.max(), rel=1e-12)


def test_baselines_on_a_torus_and_where_they_are_not_known():
    assert uniform_score(load_game("ising"), 400) == pytest.approx(0.0, abs=1e-12)
    assert math.isnan(best_team_reward(load_game("ising")))
    for value in (uniform_score(load_game("formation"), 5), best_team_reward(load_game("formation"))):
        assert math.isnan(value)
