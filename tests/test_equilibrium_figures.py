"""Figures of equilibria: the series and axes they promise, nothing that overlaps, files that are whole."""

import itertools

import numpy as np
import pytest
from drawn_figures import LONG_TITLE, check_texts, collect_figures, legend_of, subtitle_of
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from kofn.engine.equilibrium.figures import (
    draw_convergence,
    draw_heat_maps,
    draw_mode_accuracy,
    draw_reward,
)
from kofn.engine.files import KofnFileError

KS = np.array([1, 2, 3, 5, 8, 10])
STATES = ("0", "a state with a very long name", "$x$ and $y$", (1, 2), "4")
ROUNDS = np.arange(6)
VALUE = np.array([90.0, 110.0, 107.0, 118.0, 117.0, 121.0])
ACCEPTED = np.array([True, True, False, True, False, True])
EXPLOIT = np.array([[[20, 22], [9, 9.5], [12, 12], [4, 4], [5, 6], [0, 0.1]], [[30, 30]] * 3 + [[7, 8]] * 3], float)


def panels_of(n, n_points=75, n_states=5, named=True, seed=0):
    rng = np.random.default_rng(seed)
    panels = []
    for k in range(1, n + 1):
        shares = rng.dirichlet(np.ones(n_states), n_points)
        choice = rng.integers(-1, n_states, n_points) if named else None
        mode = shares.argmax(axis=1)
        panels.append((k, shares, choice, mode, float((choice == mode).mean()) if named else np.nan))
    return panels


def draw_everything(folder, n_panels=(1, 2, 3, 4, 5, 6), **options):
    mean, spread = 130 - 9 / KS, np.full(KS.size, 3.0)
    names = iter("abcdefghijklmnop")

    def path():
        return folder / f"{next(names)}.png"

    draw_reward(path(), KS, mean, spread, n_agents=1000, n_seeds=30, **options)
    draw_reward(path(), KS, mean, spread, refined=mean + 1, refined_spread=spread, title=LONG_TITLE, **options)
    draw_mode_accuracy(path(), KS, 1 - 0.7 / KS, spread / 30, n_agents=10**6, **options)
    for n in n_panels:
        draw_heat_maps(path(), panels_of(n), labels=STATES, title=LONG_TITLE, n_agents=1000, **options)
    draw_heat_maps(path(), panels_of(2, 30, 40, named=False), labels=range(40), steps_per_point=10, **options)
    draw_convergence(path(), ROUNDS, VALUE, np.ones(6), EXPLOIT, accepted=ACCEPTED, title=LONG_TITLE, **options)
    draw_convergence(path(), ROUNDS, VALUE, np.zeros(6), **options)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn instead of written."""
    return collect_figures(monkeypatch)


def points_of(container):
    """x, y and the bars' ends of an error bar container; ends None where it has no bars."""
    line, _, bars = container
    ends = np.array([segment[:, 1] for segment in bars[0].get_segments()]) if bars else None
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), ends


def test_texts_neither_overlap_nor_leave_the_figure_nor_do_legends_cover_data(drawn, tmp_path):
    draw_everything(tmp_path)
    assert len(drawn) == 12
    for figure in drawn:
        check_texts(figure)
        for legend, axes in itertools.product(figure.legends, figure.axes):
            assert not legend.get_window_extent().overlaps(axes.bbox)


# Against k


def test_reward_has_both_series_with_their_bars(drawn, tmp_path):
    mean, spread = np.array([1.0, 2.0, np.nan, 3.0, 3.5, 3.6]), np.full(6, 0.5)
    refined = np.array([2.0, np.nan, np.nan, 4.0, 4.5, 4.6])
    draw_reward(tmp_path / "a.png", KS, mean, spread, refined=refined, refined_spread=spread, n_agents=1000, n_seeds=7)
    (figure,) = drawn
    (axes,) = figure.axes
    for container, series in zip(axes.containers, (mean, refined), strict=True):
        seen = np.isfinite(series)
        x, y, ends = points_of(container)
        np.testing.assert_array_equal(x, KS[seen])
        np.testing.assert_array_equal(y, series[seen])
        np.testing.assert_allclose(ends, series[seen][:, None] + [-0.5, 0.5])
    assert legend_of(figure) == ["learned with k agents", "refined for n = 1,000 agents"]
    assert subtitle_of(figure) == "n = 1,000 agents · bars: standard deviation over 7 seeds"
    assert axes.get_ylabel() == "Mean discounted return\n[reward units]"
    assert axes.get_xlabel() == "Subsample size k [agents]"
    low, high = axes.get_ylim()
    assert low < 0.5 < 5.1 < high
    assert "3" not in [label.get_text() for label in axes.get_xticklabels()], "a k without a point"


def test_one_series_needs_no_legend_and_may_have_no_bars(drawn, tmp_path):
    draw_reward(tmp_path / "a.png", [4], [2.0], [np.nan], label="Return [points]")
    (figure,) = drawn
    assert figure.legends == []
    assert points_of(figure.axes[0].containers[0])[2] is None
    assert figure.axes[0].get_ylabel() == "Return [points]"
    assert "bars" not in subtitle_of(figure)


def test_equal_rewards_are_not_magnified(drawn, tmp_path):
    draw_reward(tmp_path / "a.png", [1, 2], [1e6, 1e6 + 1e-9], [0.0, 0.0])
    low, high = drawn[0].axes[0].get_ylim()
    assert high - low >= 0.9


def test_mode_accuracy_is_shown_from_0_to_100_percent(drawn, tmp_path):
    draw_mode_accuracy(tmp_path / "a.png", [1, 2, 3], [0.2, np.nan, 0.95], [0.1, 0.1, 0.2])
    axes = drawn[0].axes[0]
    FigureCanvasAgg(drawn[0]).draw()
    assert axes.get_ylabel() == "Mode accuracy [% of the steps]"
    assert {"0", "50", "100"} & {label.get_text() for label in axes.get_yticklabels()}
    x, y, ends = points_of(axes.containers[0])
    assert (x.tolist(), y.tolist()) == ([1, 3], [0.2, 0.95])
    np.testing.assert_allclose(ends, [[0.1, 0.3], [0.75, 1.15]])
    low, high = axes.get_ylim()
    assert low < 0.0
    assert high > 1.15


# Heat maps


@pytest.mark.parametrize(("n", "shape"), [(1, (1, 1)), (2, (2, 1)), (3, (3, 1)), (4, (2, 2)), (5, (3, 2)), (6, (3, 2))])
def test_heat_maps_have_a_panel_for_each_k_and_one_colour_bar(n, shape, drawn, tmp_path):
    panels = panels_of(n)
    draw_heat_maps(tmp_path / "a.png", panels, labels=STATES)
    (figure,) = drawn
    *grid, bar = figure.axes
    assert bar.get_ylabel() == "Share of the agents [%]"
    FigureCanvasAgg(figure).draw()
    ticks = [label.get_text() for label in bar.get_yticklabels()]
    np.testing.assert_allclose([float(tick) for tick in ticks], 100 * bar.get_yticks(), rtol=1e-9)
    assert len(grid) == n
    geometry = grid[0].get_subplotspec().get_gridspec().get_geometry()
    assert geometry == shape
    largest = max(panel[1].max() for panel in panels)
    for axes, (k, shares, choice, mode, accuracy) in zip(grid, panels, strict=True):
        (image,) = axes.get_images()
        np.testing.assert_array_equal(image.get_array(), shares.T)
        assert image.get_clim() == (0.0, largest)
        assert image.get_extent() == [-0.5, 74.5, -0.5, 4.5]
        assert axes.get_title(loc="left") == f"k = {k} · mode accuracy {100 * accuracy:.0f} %"
        jumps, dashed = axes.get_lines()
        chosen = np.where(choice >= 0, choice, np.nan)
        np.testing.assert_array_equal(jumps.get_ydata(orig=True), chosen)
        np.testing.assert_array_equal(dashed.get_ydata(orig=True), mode)
        assert dashed.is_dashed()
        assert not jumps.is_dashed()
        segments = np.array([segment for segment in axes.collections[0].get_segments() if len(segment) == 2])
        named = chosen[np.isfinite(chosen)]
        np.testing.assert_array_equal(segments[:, :, 1], np.stack([named, named], axis=1))
        assert axes.get_xlim() == (-0.5, 74.5)
        assert axes.get_ylim() == (-0.5, 4.5)
    assert legend_of(figure) == ["state that the global agent names", "state with most agents"]
    bottom = [axes for axes in grid if axes.get_xlabel()]
    assert len(bottom) == n - (shape[0] - 1) * shape[1]
    assert {axes.get_xlabel() for axes in bottom} == {"Time [steps]"}
    labels = [label.get_text() for label in grid[0].get_yticklabels()]
    assert labels == ["0", "a state with a …", "$x$ and $y$", "(1, 2)", "4"]


def test_without_names_there_is_only_the_map(drawn, tmp_path):
    draw_heat_maps(tmp_path / "a.png", panels_of(2, named=False), labels=STATES, n_agents=50)
    (figure,) = drawn
    assert figure.legends == []
    for k, axes in enumerate(figure.axes[:2], 1):
        assert len(axes.get_images()) == 1
        assert list(axes.get_lines()) == []
        assert axes.get_title(loc="left") == f"k = {k}"
    assert subtitle_of(figure) == "n = 50 agents · one run per panel"


def test_time_is_in_steps_and_many_states_have_few_labels(drawn, tmp_path):
    draw_heat_maps(tmp_path / "a.png", panels_of(1, 20, 40), labels=range(40), steps_per_point=10)
    axes = drawn[0].axes[0]
    assert axes.get_xlim() == (-5.0, 195.0)
    assert axes.get_lines()[1].get_xdata(orig=True).tolist() == list(range(0, 200, 10))
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [str(i) for i in range(0, 40, 4)]


# Convergence


def test_convergence_tells_accepted_rounds_from_reverted_ones(drawn, tmp_path):
    draw_convergence(tmp_path / "a.png", ROUNDS, VALUE, np.ones(6), EXPLOIT, accepted=ACCEPTED, note="k = 3")
    (figure,) = drawn
    above, below = figure.axes
    assert above.get_ylabel() == "Value of the pair\n[reward units]"
    assert below.get_ylabel() == "Exploitability\n[reward units]"
    assert below.get_xlabel() == "Outer round"
    expected = [(VALUE, np.stack([VALUE - 1, VALUE + 1], axis=1)), *((ends.mean(axis=1), ends) for ends in EXPLOIT)]
    containers = [*above.containers, *below.containers]
    assert len(containers) == 6
    for (middle, ends), pair in zip(expected, (containers[:2], containers[2:4], containers[4:]), strict=True):
        for container, chosen in zip(pair, (ACCEPTED, ~ACCEPTED), strict=True):
            x, y, shown = points_of(container)
            np.testing.assert_array_equal(x, ROUNDS[chosen])
            np.testing.assert_array_equal(y, middle[chosen])
            np.testing.assert_allclose(shown, ends[chosen])
        accepted, reverted = (container[0] for container in pair)
        assert to_hex(reverted.get_markerfacecolor()) == "#ffffff"
        assert to_hex(accepted.get_markerfacecolor()) == to_hex(accepted.get_color())
        assert (accepted.get_linestyle(), reverted.get_linestyle()) == ("-", "None")
    assert containers[2][0].get_color() != containers[4][0].get_color()
    assert containers[2][0].get_marker() != containers[4][0].get_marker()
    assert legend_of(figure) == ["global agent", "local agent", "accepted", "reverted"]
    assert subtitle_of(figure) == "bars: intervals · k = 3"
    low, high = below.get_ylim()
    assert low < 0.0
    assert high > 30.0


def test_convergence_without_exploitability_and_without_reverted_rounds(drawn, tmp_path):
    none = np.full((2, 6, 2), np.nan)
    for exploit in (None, none):
        draw_convergence(tmp_path / "a.png", ROUNDS, VALUE, np.zeros(6), exploit)
    for figure in drawn:
        (axes,) = figure.axes
        assert len(axes.containers) == 1
        assert figure.legends == []
        assert axes.get_xlabel() == "Outer round"


def test_one_player_alone_and_missing_rounds_are_left_out(drawn, tmp_path):
    exploit = np.full((2, 6, 2), np.nan)
    exploit[1, [0, 5]] = [[3.0, 4.0], [0.0, 0.0]]
    value = np.where(ROUNDS == 1, np.nan, VALUE)
    draw_convergence(tmp_path / "a.png", ROUNDS, value, np.zeros(6), exploit)
    above, below = drawn[0].axes
    assert points_of(above.containers[0])[0].tolist() == [0, 2, 3, 4, 5]
    (local,) = below.containers
    assert points_of(local)[0].tolist() == [0, 5]


def test_exploitability_over_decades_is_logarithmic(drawn, tmp_path):
    exploit = np.array([1e2, 1e1, 1e0, 1e-1, 1e-2, 1e-3])[None, :, None] * np.ones((2, 6, 2))
    draw_convergence(tmp_path / "a.png", ROUNDS, VALUE, np.zeros(6), exploit)
    assert drawn[0].axes[1].get_yscale() == "log"


# Files and bad input


def test_files_are_whole_and_reproducible(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        draw_everything(folder, n_panels=(3,), svg=True)
    names = sorted(path.name for path in first.iterdir())
    assert len(names) == 14
    for name in names:
        content = (first / name).read_bytes()
        assert content == (second / name).read_bytes(), name
        assert content.startswith(b"\x89PNG\r\n\x1a\n" if name.endswith("png") else b"<?xml")


def test_paths_are_returned(tmp_path):
    written = draw_mode_accuracy(str(tmp_path / "a.png"), [1, 2], [0.1, 0.2], [0.0, 0.0], svg=True)
    assert written == [tmp_path / "a.png", tmp_path / "a.svg"]
    with pytest.raises(KofnFileError, match=r"none/a\.png: cannot be written"):
        draw_mode_accuracy(tmp_path / "none" / "a.png", [1], [0.1], [0.0])


def bad_panel(**change):
    k, shares, choice, mode, accuracy = panels_of(1)[0]
    panel = {"shares": shares, "choice": choice, "mode": mode} | change
    return [(k, panel["shares"], panel["choice"], panel["mode"], accuracy)]


@pytest.mark.parametrize(
    ("draw", "arguments", "options", "message"),
    [
        (draw_reward, ([2, 1], [1, 2], [0, 0]), {}, "ks: found [2, 1], expected whole numbers"),
        (draw_reward, ([1, 2], [1], [0, 0]), {}, "mean: found shape (1,), expected 2"),
        (draw_reward, ([1, 2], [1, 2], [0]), {}, "spread: found shape (1,), expected 2"),
        (draw_reward, ([1, 2], [np.nan, np.nan], [0, 0]), {}, "mean: found no finite number"),
        (draw_reward, ([1], [1], [0]), {"refined": [1, 2]}, "refined: found shape (2,), expected 1"),
        (draw_mode_accuracy, ([1, 2], [1], [0, 0]), {}, "mean: found shape (1,), expected 2"),
        (draw_heat_maps, ([],), {"labels": STATES}, "panels: found none, expected at least one"),
        (draw_heat_maps, (panels_of(1),), {"labels": "ab"}, "panels[0]: shares: found shape (75, 5), expected any×2"),
        (draw_heat_maps, (bad_panel(mode=[1]),), {"labels": STATES}, "panels[0]: mode: found shape (1,), expected 75"),
        (
            draw_heat_maps,
            (bad_panel(choice=np.full(75, 5)),),
            {"labels": STATES},
            "panels[0]: choice: found 5 to 5, expected -1 to 4",
        ),
        (
            draw_heat_maps,
            (bad_panel(mode=np.full(75, -1)),),
            {"labels": STATES},
            "panels[0]: mode: found -1 to -1, expected 0 to 4",
        ),
        (draw_convergence, ([1, 1], [1, 2], [0, 0]), {}, "rounds: found [1, 1], expected whole numbers"),
        (draw_convergence, ([0, 1], [1], [0, 0]), {}, "value: found shape (1,), expected 2"),
        (draw_convergence, ([0, 1], [1, 2], [0, 0], np.zeros((2, 2))), {}, "exploit: found shape (2, 2), expected 2×2×2"),
        (draw_convergence, ([0, 1], [1, 2], [0, 0]), {"accepted": [True]}, "accepted: found shape (1,), expected 2"),
    ],
)  # fmt: skip
def test_bad_arrays_are_named_and_nothing_is_written(draw, arguments, options, message, tmp_path):
    with pytest.raises(ValueError) as caught:
        draw(tmp_path / "a.png", *arguments, **options)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
