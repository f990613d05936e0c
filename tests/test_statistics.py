"""Comparisons of groups of seeds against closed forms, SciPy, and coverage; the figure of densities."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from kofn.engine.statistics.compare import adjust, compare, corrected, summarise
from kofn.engine.statistics.figures import draw_densities
from kofn.engine.statistics.intervals import (
    bootstrap_difference,
    bootstrap_interval,
    cliffs_delta,
    common_language,
    hedges_g,
    t_interval,
)
from kofn.engine.statistics.table import comparison_csv, comparison_lines, summary_lines

# Extra hours of sleep under two drugs, the same ten patients (Student 1908, Biometrika 6, from Cushny and Peebles).
ONE = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
OTHER = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])


def test_students_sleep():
    # As every textbook has it: t = 4.0621 with 9 degrees of freedom paired, t = 1.8608 with 17.776 by Welch.
    (paired,) = compare({"one": ONE, "other": OTHER}, metric="sleep")
    assert (paired.group, paired.reference, paired.metric) == ("other", "one", "sleep")
    assert paired.difference == pytest.approx(1.58)
    assert paired.p_t == pytest.approx(0.002833, abs=1e-6)
    assert (paired.t_low, paired.t_high) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)
    (alone,) = compare({"one": ONE, "other": OTHER}, paired=False)
    assert alone.p_t == pytest.approx(0.07939, abs=1e-5)
    assert (alone.t_low, alone.t_high) == pytest.approx((-0.2054832, 3.3654832), abs=1e-6)
    assert alone.p_rank == pytest.approx(stats.mannwhitneyu(OTHER, ONE).pvalue)


def test_rank_tests_of_few_seeds_count_orders():
    # Of 20 orders of three and three, two are as extreme; of 32 signs of five differences, two.
    assert compare({"a": [1, 2, 3], "b": [4, 5, 6]}, paired=False)[0].p_rank == pytest.approx(2 / 20)
    assert compare({"a": np.zeros(5), "b": [1, 2, 3, 4, 5]})[0].p_rank == pytest.approx(2 / 32)


def test_effect_sizes_are_their_definitions():
    one, other = np.array([3.0, 5.0, 7.0]), np.array([1.0, 3.0, 5.0, 6.0])
    pooled = math.sqrt((8.0 + 14.75) / 5)
    # Hedges' correction for five degrees of freedom: Γ(5/2) / (√(5/2) Γ(2)).
    correction = 0.75 * math.sqrt(math.pi) / math.sqrt(2.5)
    assert hedges_g(one, other) == pytest.approx(correction * (5.0 - 3.75) / pooled)
    signs = [int(x > y) - int(x < y) for x, y in itertools.product(one, other)]
    assert cliffs_delta(one, other) == pytest.approx(sum(signs) / 12)
    u = stats.mannwhitneyu(one, other).statistic
    assert common_language(one, other) == pytest.approx(u / 12)
    assert hedges_g(one, one) == cliffs_delta(one, one) == 0.0
    assert hedges_g(np.ones(3), np.zeros(3)) == math.inf


def test_p_values_are_corrected_together():
    given = [0.01, 0.04, 0.03, 0.005]
    # Holm: 4 · .005, 3 · .01, 2 · .03, then no less than the one before.
    np.testing.assert_allclose(adjust(given), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(adjust(given, "fdr"), [0.02, 0.04, 0.04, 0.02])
    np.testing.assert_allclose(adjust(given, "none"), given)
    assert adjust([0.6, 0.9]).max() == 1.0
    rng = np.random.default_rng(2)
    groups = {name: rng.normal(size=8) for name in "abcd"}
    rows = compare(groups)
    assert [(row.group, row.reference) for row in rows] == [(y, x) for x, y in itertools.combinations("abcd", 2)]
    np.testing.assert_allclose([row.p_t_adjusted for row in rows], adjust([row.p_t for row in rows]))
    rows = compare(groups, reference="c", correction="fdr")
    assert [(row.group, row.reference) for row in rows] == [("a", "c"), ("b", "c"), ("d", "c")]
    np.testing.assert_allclose([row.p_rank_adjusted for row in rows], adjust([row.p_rank for row in rows], "fdr"))
    assert corrected(rows, "none")[0].p_t_adjusted == rows[0].p_t


def test_t_intervals_cover():
    # 2000 samples of 8 normals: coverage .95 has a standard error of .0049; the level of this test is 1e-6.
    samples = np.random.default_rng(3).normal(2.0, 3.0, size=(2000, 8))
    covered = np.mean([low <= 2.0 <= high for low, high in map(t_interval, samples)])
    assert abs(covered - 0.95) < 4.9 * 0.0049
    # z in place of t would cover .905, and be noticed.
    assert abs(0.905 - 0.95) > 4.9 * 0.0049


def test_bootstrap_intervals_cover_about_as_they_say():
    # Skewed values of 30 seeds: BCa covers .92 to .94 there; 300 samples tell it from .80 with power .999 at level 1e-4.
    samples = np.random.default_rng(4).exponential(size=(300, 30))
    ends = [bootstrap_interval(sample, resamples=400) for sample in samples]
    covered = np.mean([low <= 1.0 <= high for low, high in ends])
    assert 0.87 < covered < 0.98
    ends = [bootstrap_difference(a, b, resamples=400) for a, b in zip(samples[::2], samples[1::2], strict=True)]
    assert 0.85 < np.mean([low <= 0.0 <= high for low, high in ends]) < 0.995


def test_bootstrap_is_scipys_and_repeats_itself():
    expected = stats.bootstrap((ONE,), np.mean, n_resamples=500, method="BCa", rng=np.random.default_rng(7))
    found = bootstrap_interval(ONE, resamples=500, seed=7)
    assert found == pytest.approx(tuple(expected.confidence_interval))
    assert found == bootstrap_interval(ONE, resamples=500, seed=7)
    low, high = bootstrap_interval(np.array([1.0, 2.0, 4.0]), resamples=500)
    assert 1.0 <= low < high <= 4.0


def test_seeds_without_spread_are_certain():
    (same,) = compare({"a": [1.0, 2.0, 4.0], "b": [1.0, 2.0, 4.0]})
    assert (same.p_t, same.p_rank, same.difference, same.hedges_g) == (1.0, 1.0, 0.0, 0.0)
    (shifted,) = compare({"a": [1.0, 2.0, 4.0], "b": [2.0, 3.0, 5.0]})
    assert (shifted.t_low, shifted.t_high, shifted.boot_low, shifted.boot_high, shifted.p_t) == (1, 1, 1, 1, 0)
    (constant,) = compare({"a": np.ones(4), "b": np.ones(4)}, paired=False)
    assert (constant.p_t, constant.p_rank, constant.cliffs_delta) == (1.0, 1.0, 0.0)
    (apart,) = compare({"a": np.zeros(4), "b": np.ones(4)}, paired=False)
    assert (apart.p_t, apart.t_low, apart.boot_high, apart.common_language) == (0.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("groups", "options", "line"),
    [
        ({"a": [1.0], "b": [2.0]}, {}, "value of a: found 1 seed, expected at least 2"),
        ({"a": [1.0, 2.0]}, {}, "groups: found a, expected at least two to compare"),
        ({"a": [1.0, np.nan], "b": [1.0, 2.0]}, {}, "value of a: found nan at place 1, expected finite numbers"),
        ({"a": [1.0, 2.0], "b": [1.0, 2.0, 3.0]}, {}, "seeds: found 3 of b and 2 of a, expected as many for pairs"),
        ({"a": [1.0, 2.0], "b": [1.0, 2.0]}, {"reference": "c"}, "reference: found 'c', expected one of a, b"),
        (
            {"a": [1.0, 2.0], "b": [1.0, 2.0]},
            {"correction": "x"},
            "correction: found 'x', expected one of holm, fdr, none",
        ),
        ({"a": [1.0, 2.0], "b": [1.0, 2.0]}, {"level": 1.0}, "level: found 1.0, expected a number between 0 and 1"),
        ({"a": [[1.0, 2.0]], "b": [1.0, 2.0]}, {}, "value of a: found shape (1, 2), expected at least 2"),
    ],
)
def test_bad_groups_are_one_line(groups, options, line):
    with pytest.raises(ValueError) as caught:
        compare(groups, **options)
    assert str(caught.value) == line


def test_tables_have_a_line_for_each_row():
    rows = compare({"a": ONE, "b": OTHER})
    head, line = comparison_lines(rows)
    assert head.split()[:3] == ["metric", "group", "reference"]
    assert "1.58" in line
    assert "0.7001 … 2.46" in line
    written = comparison_csv(rows).splitlines()
    assert dict(zip(written[0].split(","), written[1].split(","), strict=True))["difference"] == repr(
        rows[0].difference
    )
    (summary,) = summarise("sleep", {"one": ONE})
    assert summary.half_width == pytest.approx(t_interval(ONE)[1] - ONE.mean())
    assert math.isnan(summarise("sleep", {"one": [1.0]})[0].half_width)
    assert len(summary_lines([summary])) == 2


def test_figures_are_written_and_refuse_what_they_cannot_show(tmp_path):
    paths = draw_densities(
        tmp_path / "d.png", {"sleep": {"one": ONE, "same": np.ones(10)}, "b": {"one": OTHER}}, svg=True
    )
    assert [path.name for path in paths] == ["d.png", "d.svg"]
    assert paths[0].stat().st_size > 10_000
    with pytest.raises(ValueError, match="groups: found 8, expected 1 to 7"):
        draw_densities(tmp_path / "e.png", {"m": {str(i): ONE for i in range(8)}})
    assert not (tmp_path / "e.png").exists()
