"""Figures: nothing overlaps or leaves the page, noise is not magnified, files are whole and the same each time."""

import subprocess
import sys
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from drawn_figures import LONG_TITLE, check_texts, collect_figures, legend_of, subtitle_of
from matplotlib.backends.backend_agg import FigureCanvasAgg

from kofn.engine.figure_parts import colours_in_order
from kofn.engine.figures import (
    plot_cumulative_reward,
    plot_reward_against_k,
    plot_solve_time_against_k,
    plot_value_against_k,
)
from kofn.engine.files import KofnFileError
from kofn.engine.study.gap_figures import plot_gap_against_k, plot_gaps_of_all_n

KS = {
    "one": [7],
    "two": [3, 9],
    "eight": list(range(1, 9)),
    "thirteen": list(range(2, 15)),
    "fifty": list(range(1, 51)),
    "factors": [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000],
    "clusters": [1, 2, 3, 100, 101, 102],
}
LINES = {"optimum for n = 1000": 131.2, "best policy that never looks at the counts": 112.0, "far away": -1e6}


def curves_of(ks, n_points=40):
    steps = np.arange(n_points)
    return steps, (10 - 3 / np.sqrt(np.array(ks)))[:, None] * (1 - 0.9**steps)


def draw_everything(ks, folder, **options):
    """All figures for these ks, with titles, lines and sizes."""
    steps, curves = curves_of(ks)
    ks_float = np.array(ks, dtype=float)
    half = np.full(len(ks), 0.4)
    sample = {"n_agents": 1_000_000, "n_runs": 30}
    plot_cumulative_reward(steps, curves, ks, LONG_TITLE, folder / "a.png", curves * 0.02, **sample, **options)
    label = "Discounted return [points]"
    plot_reward_against_k(
        ks, 130 - 9 / ks_float, half, folder / "b.png", LONG_TITLE, label, lines=LINES, **sample, **options
    )
    sizes = {"count vectors": ks_float**2, "joint actions": ks_float**6}
    plot_solve_time_against_k(ks, 1e-4 * ks_float**2, folder / "c.png", "Time", sizes, note="2 threads", **options)
    plot_solve_time_against_k(ks, 1e-4 * ks_float**2, folder / "d.png", LONG_TITLE, **options)
    plot_value_against_k(ks, 130 - 9 / ks_float, half * 1e-7, folder / "e.png", "Value", lines=LINES, **options)
    noise = np.resize([0.5, -2.0, 0.1], len(ks))
    plot_gap_against_k(
        ks, 9 / ks_float**0.7 - 0.6, half * 0.01, folder / "f.png", LONG_TITLE, simulated=9 / ks_float + noise,
        simulated_half_width=half, bound=5e4 / ks_float**0.5, slope=(-0.7, -0.8, -0.6), note="a note", **sample, **options,
    )  # fmt: skip
    gaps = np.array([9, 8, 7])[:, None] / ks_float**0.7 - 0.6
    plot_gaps_of_all_n(ks, gaps, gaps * 0.01, [5, 50, 1_000_000], folder / "h.png", LONG_TITLE, **options)
    exact = 130 - 9.3 / ks_float
    plot_reward_against_k(
        ks, exact + half, half, folder / "g.png", "Reward", label, exact=exact, lines=LINES, **options
    )


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn instead of written."""
    return collect_figures(monkeypatch)


def lines_of(axes):
    return [line for line in axes.get_lines() if len(line.get_xdata()) > 0]


@pytest.mark.parametrize("name", KS)
def test_texts_neither_overlap_nor_leave_the_figure(name, drawn, tmp_path):
    draw_everything(KS[name], tmp_path)
    assert len(drawn) == 8
    for figure in drawn:
        check_texts(figure)


@pytest.mark.parametrize("name", KS)
def test_every_k_has_its_curve_and_a_key(name, drawn, tmp_path):
    ks = KS[name]
    steps, curves = curves_of(ks)
    plot_cumulative_reward(steps, curves, ks, "t", tmp_path / "a.png", curves * 0.1)
    (figure,) = drawn
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert len(panels) == (1 if len(ks) == 1 else 2)
    for line, curve in zip(lines_of(panels[0]), curves, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), curve)
    colours = [line.get_color() for line in lines_of(panels[0])]
    assert len({tuple(colour) for colour in colours}) == len(ks)
    for line, curve in zip(lines_of(panels[1]) if len(ks) > 1 else [], curves, strict=len(ks) > 1):
        np.testing.assert_array_equal(line.get_ydata(), curve - curves[-1])
    assert len(panels[0].collections) == min(len(ks), 2 if len(ks) > 3 else 3), "confidence bands"
    has_bar = len(figure.axes) > len(panels)
    assert has_bar == (len(ks) > 8)
    if has_bar:
        labels = [text.get_text() for text in figure.axes[-1].get_yticklabels()]
        assert labels[0] == str(ks[0])
        assert labels[-1] == str(ks[-1])
        assert len(labels) <= 15
        assert set(labels) <= set(map(str, ks))
    elif len(ks) > 1:
        assert [text.get_text() for text in figure.legends[0].get_texts()] == [str(k) for k in ks]


@pytest.mark.parametrize("n", [2, 14, 50])
def test_colours_lighten_with_k_in_grey_as_well(n):
    luminance = colours_in_order(n)[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > 0).all()
    assert luminance[-1] < 0.85, "must stand out from white paper"


def test_reward_axis_fits_the_data_and_the_lines_near_it(drawn, tmp_path):
    lines = {"near": 101.5, "far": 0.0, "unknown": np.nan}
    plot_reward_against_k([1, 2, 3], [99, 100, 101], [0.5, np.nan, 0.5], tmp_path / "a.png", "t", "R [x]", lines=lines)
    (figure,) = drawn
    axes = figure.axes[0]
    low, high = axes.get_ylim()
    assert 97.5 < low < 98.5
    assert 101.5 < high < 102.5
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["near: 101.5", "far: 0, below the axis"]
    assert "bars: 95 % confidence" in [text.get_text() for text in figure.texts]


def test_without_intervals_the_subtitle_says_so(drawn, tmp_path):
    plot_reward_against_k([1, 2], [1.0, 2.0], [np.nan, np.nan], tmp_path / "a.png", "t", "R [x]", n_runs=1)
    assert [text.get_text() for text in drawn[0].texts if text is not drawn[0]._suptitle] == [
        "1 run · no confidence intervals"
    ]


def test_differences_within_the_certified_interval_are_not_magnified(drawn, tmp_path):
    plot_value_against_k([1, 2, 3], 30.0 + np.array([0, 1e-8, -1e-8]), [1e-8] * 3, tmp_path / "a.png", "t")
    low, high = drawn[0].axes[0].get_ylim()
    assert high - low >= 8e-8
    assert low < 30.0 < high
    assert [text.get_text() for text in drawn[0].texts][-1] == "certified to ± 1e-8, too little to be seen"
    plot_value_against_k([1, 2, 3], [1.0, 1.1, 1.2], [0.1, 0.1, 0.1], tmp_path / "a.png", "t")
    assert [text.get_text() for text in drawn[1].texts][-1] == "bars: certified intervals"


def test_equal_curves_leave_a_flat_difference(drawn, tmp_path):
    curves = np.tile(np.linspace(0, 1e6, 5), (3, 1)) * (1 + 1e-13 * np.arange(3)[:, None])
    plot_cumulative_reward(np.arange(5), curves, [1, 2, 3], "t", tmp_path / "a.png")
    low, high = drawn[0].axes[1].get_ylim()
    assert high - low >= 1.0 - 1e-9


@pytest.mark.parametrize(
    ("ks", "scale", "labels"),
    [
        ([7], "linear", ["7"]),
        (list(range(2, 15)), "linear", [str(k) for k in range(2, 15)]),
        ([1, 2, 4, 8, 16, 32, 64], "log", ["1", "2", "4", "8", "16", "32", "64"]),
        ([100, 200, 300], "linear", ["100", "200", "300"]),
    ],
)
def test_k_axis(ks, scale, labels, drawn, tmp_path):
    plot_value_against_k(ks, np.arange(len(ks)) + 1.0, np.zeros(len(ks)), tmp_path / "a.png", "t")
    axes = drawn[0].axes[0]
    assert axes.get_xscale() == scale
    assert [label.get_text() for label in axes.get_xticklabels()] == labels


@pytest.mark.parametrize("seconds", [[0.5, 0.0, 0.7], [1e-5, 1.0, 1e5], [3.0, 3.0, 3.0], [np.nan, np.nan, 2.0]])
def test_time_axis_is_logarithmic_with_two_labels_at_least(seconds, drawn, tmp_path):
    plot_solve_time_against_k([1, 2, 3], seconds, tmp_path / "a.png", "t", note="2 threads")
    axes = drawn[0].axes[0]
    assert axes.get_yscale() == "log"
    assert axes.get_ylabel() == "Time to solve [s]"
    assert subtitle_of(drawn[0]) == "2 threads"
    FigureCanvasAgg(drawn[0]).draw()
    low, high = axes.get_ylim()
    assert sum(low <= tick <= high for tick in axes.get_yticks()) >= 2
    shown = lines_of(axes)[0].get_ydata()
    np.testing.assert_array_equal(shown, np.where(np.array(seconds) > 0, seconds, np.nan))


def test_a_missing_value_leaves_a_gap(drawn, tmp_path):
    plot_reward_against_k([1, 2, 3], [1.0, np.inf, 3.0], [0.1, 0.1, np.nan], tmp_path / "a.png", "t", "R [x]")
    np.testing.assert_array_equal(lines_of(drawn[0].axes[0])[0].get_ydata(), [1.0, np.nan, 3.0])


# Gaps.


def test_gaps_that_are_not_certain_are_named_and_not_drawn(drawn, tmp_path):
    plot_gap_against_k([1, 2, 4, 8], [4.0, 2.0, 1e-9, -1e-10], [1e-8] * 4, tmp_path / "a.png", "t", n_agents=8)
    assert subtitle_of(drawn[0]) == "n = 8 agents · not above 0 for certain: k = 4, 8 (at most 1e-08)"
    axes = drawn[0].axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    np.testing.assert_array_equal(lines_of(axes)[0].get_ydata(), [4.0, 2.0, np.nan, np.nan])
    low, high = axes.get_ylim()
    assert 0.1 < low < 2.0
    assert high > 4.0
    assert legend_of(drawn[0]) == ["exact", "1/√k"]


def test_no_certain_gap_is_said_in_words(drawn, tmp_path):
    plot_gap_against_k([1, 2], [1e-9, 0.0], [1e-8, 1e-8], tmp_path / "a.png", "t", bound=[1.0, 0.7])
    assert [text.get_text() for text in drawn[0].axes[0].texts] == ["no gap is certified to be above 0"]
    assert drawn[0].legends == []


@pytest.mark.parametrize(
    ("factor", "label"), [(3.0, "bound by theory"), (1e6, "bound by theory: 1e+06 and more, above the axis")]
)
def test_bound_is_drawn_where_it_does_not_flatten_the_gaps(factor, label, drawn, tmp_path):
    gap = 2.0 / np.sqrt([1, 2, 4])
    plot_gap_against_k([1, 2, 4], gap, [0, 0, 0], tmp_path / "a.png", "t", bound=factor * gap, slope=(-0.5, -0.6, -0.4))
    assert legend_of(drawn[0]) == ["exact", "fit: slope -0.50, 95 % [-0.60, -0.40]", "1/√k", label]
    assert (drawn[0].axes[0].get_ylim()[1] > factor * 2.0) == (factor < 100)
    fitted, root = lines_of(drawn[0].axes[0])[1:3]
    for line in (fitted, root):
        slope = np.polyfit(np.log(line.get_xdata()), np.log(line.get_ydata()), 1)[0]
        assert slope == pytest.approx(-0.5)


# Files.


def test_files_are_whole_reproducible_and_of_the_stated_resolution(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        draw_everything(KS["thirteen"], folder, svg=True)
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(f"{name}.{kind}" for name in "abcdefgh" for kind in ("png", "svg"))
    for name in names:
        content = (first / name).read_bytes()
        assert content == (second / name).read_bytes(), name
        if name.endswith("png"):
            assert content.startswith(b"\x89PNG\r\n\x1a\n")
            assert int.from_bytes(content[16:20], "big") == round(7.2 * 150)
        else:
            ElementTree.fromstring(content)


def test_paths_are_returned_and_an_old_figure_is_replaced(tmp_path):
    path = tmp_path / "value.png"
    path.write_bytes(b"old")
    written = plot_value_against_k([1, 2], [1.0, 2.0], [0.0, 0.0], str(path), "t", svg=True)
    assert written == [path, tmp_path / "value.svg"]
    assert path.read_bytes().startswith(b"\x89PNG")


def test_settings_of_the_user_neither_enter_nor_change(tmp_path):
    draw_everything([1, 2], tmp_path)
    expected = (tmp_path / "a.png").read_bytes()
    with matplotlib.rc_context({"text.usetex": True, "font.size": 30, "lines.marker": "x", "savefig.bbox": "tight"}):
        before = dict(matplotlib.rcParams)
        draw_everything([1, 2], tmp_path)
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "a.png").read_bytes() == expected


def test_pyplot_and_windows_stay_out(tmp_path):
    program = (
        "import sys; from kofn.engine.figures import plot_value_against_k as plot; "
        f"plot([1, 2], [1.0, 2.0], [0.1, 0.1], {str(tmp_path / 'a.png')!r}, 't'); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_folder_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(KofnFileError, match=r"none/a\.png: cannot be written") as caught:
        plot_value_against_k([1], [1.0], [0.0], tmp_path / "none" / "a.png", "t")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("ks", "value", "half", "path", "message"),
    [
        ([], [], [], "a.png", r"ks: found \[\], expected whole numbers"),
        ([1, 1], [1, 2], [0, 0], "a.png", r"ks: found \[1, 1\]"),
        ([2, 1], [1, 2], [0, 0], "a.png", "increasing order"),
        ([0, 1], [1, 2], [0, 0], "a.png", "at least 1"),
        ([1.5], [1], [0], "a.png", r"ks: found \[1\.5\]"),
        ([1, 2], [1], [0, 0], "a.png", r"value: found shape \(1,\), expected 2"),
        ([1, 2], [1, 2], [[0, 0]], "a.png", r"half_width: found shape \(1, 2\), expected 2"),
        ([1, 2], [np.nan, np.inf], [0, 0], "a.png", "value: found no finite number"),
        ([1, 2], [1, 2], [0, 0], "a.pdf", r"out_path: found 'a\.pdf', expected a name that ends in \.png"),
    ],
)
def test_bad_arrays_are_named_and_nothing_is_written(ks, value, half, path, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        plot_value_against_k(ks, value, half, tmp_path / path, "t")
    assert list(tmp_path.iterdir()) == []


def test_bad_sizes_and_curves_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"extra_sizes\['items'\]: found shape \(1,\), expected 2"):
        plot_solve_time_against_k([1, 2], [1.0, 2.0], tmp_path / "a.png", "t", {"items": [3]})
    with pytest.raises(ValueError, match="seconds: found no finite number"):
        plot_solve_time_against_k([1, 2], [0.0, -1.0], tmp_path / "a.png", "t")
    with pytest.raises(ValueError, match=r"curves: found shape \(3, 2\), expected 2×3"):
        plot_cumulative_reward([0, 1, 2], np.zeros((3, 2)), [1, 2], "t", tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"bands: found shape \(3,\), expected 2×3"):
        plot_cumulative_reward([0, 1, 2], np.zeros((2, 3)), [1, 2], "t", tmp_path / "a.png", [1, 2, 3])
