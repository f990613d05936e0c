"""Reports: self-contained, well-formed, honest about what is not known, and nothing of a file becomes markup."""

import html
import itertools
import math
import re
from html.parser import HTMLParser

import h5py
import numpy as np
import pytest
from command_runs import refused, succeed, unchanged, write_game
from study_example import KS, NASTY, write_example_study

from kofn.engine.files import KofnFileError, create_array
from kofn.engine.report.charts import Scale, k_axis, label_width, linear_ticks, log_ticks
from kofn.engine.report.data import read_report_data
from kofn.engine.report.numbers import decimals_for, fixed, number, plus_minus, prose
from kofn.engine.report.page import report_html, write_report
from kofn.engine.report.style import STYLE

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """A page taken apart: fails where tags do not match."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs), tuple(self.open)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attrs for name, attrs, _ in self.tags if name == tag]


def page_of(folder, **options):
    write_example_study(folder, **options)
    return Page(report_html(read_report_data(folder)))


@pytest.fixture(scope="module")
def nasty(tmp_path_factory):
    return page_of(tmp_path_factory.mktemp("nasty"), nasty=True)


def test_nothing_is_loaded_and_nothing_runs(nasty):
    assert {tag for tag, _, _ in nasty.tags}.isdisjoint({"script", "img", "iframe", "object", "embed", "use", "image"})
    for tag, attrs, _ in nasty.tags:
        assert not [name for name in attrs if name.startswith("on") or name in ("src", "srcset", "style")], tag
        if "href" in attrs:
            assert attrs["href"].startswith("#") or attrs["href"] == "data:,", attrs
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    (policy,) = (x["content"] for x in nasty.all("meta") if x.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_text_of_files_stays_text(nasty):
    assert NASTY in nasty.text
    assert f"{NASTY}, n = 1000, from k = 1: no exact values" in nasty.text
    assert "<img src=x onerror=alert(2)> & more" in nasty.text
    assert all(name != "b" or "h3" in parents for name, _, parents in nasty.tags)


def test_every_text_of_a_file_is_escaped(tmp_path):
    write_example_study(tmp_path, n_games=1, actions=("<i>joint", "shared"))
    data = read_report_data(tmp_path)
    for mapping in (data.config, data.sensitivity["formation"]["shared"]):
        mapping.update(dict.fromkeys(mapping, "<i>") | {"<i>": ["<i>"]})
    data.timings.update({"versions": '{"<i>": "<i>"}', "<i>": "<i>", "host": np.array(["<i>"])})
    object.__setattr__(data, "kofn_version", "<i>")
    data.axes["expectation"].append("<i>")
    page = Page(report_html(data))
    assert not page.all("i")
    assert page.text.count("<i>") > 20
    check_links(page)


def test_a_study_without_sensitivities_has_no_link_to_them(tmp_path):
    write_example_study(tmp_path)
    data = read_report_data(tmp_path)
    data.sensitivity.clear()
    page = Page(report_html(data))
    assert "Does k matter" not in page.text
    check_links(page)


def test_names_of_parts_are_unique_and_links_arrive(nasty):
    check_links(nasty)


def check_links(page):
    names = [attrs["id"] for _, attrs, _ in page.tags if "id" in attrs]
    assert len(set(names)) == len(names)
    for _, attrs, _ in page.tags:
        if attrs.get("href", "").startswith("#"):
            assert attrs["href"][1:] in names
        for name in attrs.get("aria-labelledby", "").split():
            assert name in names


def test_figures_and_tables_can_be_read_aloud(nasty):
    charts = [attrs for attrs in nasty.all("svg") if attrs.get("role") == "img"]
    # Both n of both classes of two games have a value figure; the gap is known for three of them. Each is drawn twice.
    assert len(charts) == 2 * (8 + 3)
    assert len(charts) + len([x for x in nasty.all("svg") if x.get("aria-hidden") == "true"]) == len(nasty.all("svg"))
    assert nasty.all("desc")
    assert all(attrs.get("scope") in ("row", "col") for attrs in nasty.all("th"))
    assert len(nasty.all("caption")) == len(nasty.all("table")) == 9
    headings = [int(tag[1]) for tag, _, _ in nasty.tags if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(headings))
    assert nasty.all("html")[0]["lang"] == "en"


def test_the_same_study_makes_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_example_study(tmp_path / name)
        write_report(tmp_path / name, tmp_path / f"{name}.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_numbers_of_the_study_are_there(tmp_path):
    page = page_of(tmp_path)
    with h5py.File(tmp_path / "study.h5") as file:
        gap = file["gap"][1, 0, 0, 0, :, 0]
        returns = file["mean_return"][0, 1, 0, 1, 2, 0]
    for value in gap:
        assert number(float(value)) in page.text
    assert fixed(returns, 3) in page.text
    assert "slope −0.56 (95 % interval −0.61 … −0.52), steeper than the −½ of 1/√k" in page.text
    assert "k cannot matter" in page.text
    assert "The gap is below what is certified at every k" in page.text
    assert "With n = 1,000 agents nothing was evaluated exactly" in page.text
    assert "Looking pays from k = 4 on" in page.text
    assert "node-1 and node-2" in page.text
    assert f"k = 1 … {KS[-1]}" in page.text


@pytest.mark.parametrize(
    "options",
    [
        {"leave_out": ("exact_value", "gap", "slope", "bound", "blind_value", "blind_gap", "optimal_lower", "value")},
        {"leave_out": ("mean_return", "return_half_width", "returns", "slope_low", "gap_half_width")},
        {"leave_out": ("optimal_lower", "optimal_upper"), "timings": False},
        {"n_games": 1, "actions": ("fixed",)},
        {"seeds": 3, "n_games": 1, "actions": ("joint",)},
    ],
)
def test_what_is_not_known_is_left_out(options, tmp_path):
    page = page_of(tmp_path, **options)
    assert not re.search(r"\bnan\b", page.text, re.IGNORECASE)
    assert page.all("figure")
    if "timings" in options:
        assert "not kept beside this study" in page.text
    if "seeds" in options:
        assert page.text.count("seed") >= 2
    if "mean_return" in options.get("leave_out", ()):
        assert "Simulated return −" not in page.text


def test_an_unfinished_study_says_so(tmp_path):
    write_example_study(tmp_path)
    with h5py.File(tmp_path / "study.h5", "a") as file:
        for name in ("mean_return", "exact_value"):
            file[name][...] = np.nan
    page = Page(report_html(read_report_data(tmp_path)))
    assert "No cell of this study is finished" in page.text
    assert not page.all("figure")


def test_gaps_of_any_size_can_be_drawn(tmp_path):
    for i, scale in enumerate((1e-9, 1.0, 1e12)):
        write_example_study(tmp_path / str(i))
        with h5py.File(tmp_path / str(i) / "study.h5", "a") as file:
            for name in file:
                if name != "exact_route" and name.startswith(
                    ("gap", "exact", "optimal", "blind", "value", "mean", "return_h")
                ):
                    file[name][...] = file[name][...] * scale
        page = Page(report_html(read_report_data(tmp_path / str(i))))
        assert page.all("figure")
        for attrs in page.all("path"):
            assert not re.search(r"nan|inf|e[+-]?\d", attrs["d"]), attrs


# ---- The command


def test_command_writes_once_and_again_with_force(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_example_study(tmp_path / "study")
    assert succeed("report", "study", "-o", "r.html").startswith("written: r.html, ")
    first = (tmp_path / "r.html").read_bytes()
    with unchanged(tmp_path):
        assert refused("report", "study", "-o", "r.html") == "r.html: exists already, expected a new file (or --force)"
        message = refused("report", "study", "-o", "study/study.h5", "--force", code=2)
        assert "is what the command reads" in message
        assert refused("report", "none", "-o", "n.html") == "none/study.h5: no such file"
        assert refused("report", "study/study.h5", "-o", "n.html").startswith(
            "study/study.h5: is a file, expected the folder"
        )
        assert refused("report", "study", "-o", "none/n.html") == "none/n.html: cannot be written (no folder none)"
    succeed("report", "study", "-o", "r.html", "--force")
    assert (tmp_path / "r.html").read_bytes() == first


def test_damaged_and_foreign_files_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_example_study(tmp_path / "study")
    whole = path.read_bytes()
    path.write_bytes(whole[:-5000])
    assert refused("report", "study", "-o", "r.html").startswith("study/study.h5: damaged or not a kofn file")
    path.write_bytes(whole)
    with h5py.File(path, "a") as file:
        del file["seed"]
    message = refused("report", "study", "-o", "r.html")
    assert message.startswith("study/study.h5: damaged or not a kofn file (no axis seed, expected game, ")
    path.write_bytes(whole)
    with h5py.File(path, "a") as file:
        del file["gap"]
        create_array(file, "gap", np.ones((2, 3)), axes=("game", "colour"))
    assert "gap has the axes game, colour" in refused("report", "study", "-o", "r.html")
    path.write_bytes(whole)
    path.with_name("timings.h5").write_bytes(b"no file of ours")
    assert refused("report", "study", "-o", "r.html").startswith("study/timings.h5: damaged")
    with pytest.raises(KofnFileError):
        read_report_data(tmp_path / "study")


@pytest.mark.slow
def test_a_computed_study_can_be_reported(tmp_path):
    game = write_game(tmp_path)
    succeed("study", game, "-n", 6, "-k", "1:3", "--steps", 5, "--runs", 2, "--jobs", 1, "-q", "-o", tmp_path / "study")
    succeed("report", tmp_path / "study", "-o", tmp_path / "r.html")
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "A lamp and walkers" in page.text
    assert "All numbers for n = 6, joint actions" in page.text
    # Unless the machine is named in the times.
    (tmp_path / "study" / "timings.h5").unlink()
    Page(report_html(read_report_data(tmp_path / "study")))


# ---- Parts


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "0"), (1.0, "1.00"), (9.999, "10.0"), (-0.5, "−0.500"), (1234.5, "1\u202f234"),
        (0.000123456, "0.000123"), (1.5e-7, "1.50·10⁻⁷"), (-2e9, "−2.00·10⁹"), (math.nan, "–"), (math.inf, "∞"),
        (-math.inf, "−∞"), (99999.6, "100\u202f000"),
    ],
)  # fmt: skip
def test_numbers_are_written_for_people(value, text):
    assert number(value) == text


def test_half_widths_have_few_digits():
    assert plus_minus(0.0456) == "0.046"
    assert plus_minus(4.2e-7) == "4·10⁻⁷"
    assert fixed(-0.0004, 2) == "0.00"
    assert decimals_for(np.array([9.12345, np.nan]), np.array([0.045, np.nan])) == 3
    assert decimals_for(np.array([9.12345])) == 5
    assert decimals_for(np.array([np.nan])) == 5
    assert decimals_for(np.array([123456789.0])) == 0


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (9.1, 9.4), (-3e-9, 4e-9), (1e6, 1e6 + 0.5), (-1e9, 2e9)])
def test_linear_ticks_are_round_distinct_and_few(low, high):
    ticks = linear_ticks(low, high, 6)
    values = [value for value, _ in ticks]
    assert 2 <= len(ticks) <= 7
    assert all(low - 1e-9 * (high - low) <= value <= high + 1e-9 * (high - low) for value in values)
    assert len({label for _, label in ticks}) == len(ticks)
    assert label_width(ticks) > 0


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.9), (0.01, 1.0), (1e-9, 1e3), (1e-30, 1e30)])
def test_logarithmic_ticks_are_few(low, high):
    ticks = log_ticks(low, high, 7)
    assert 1 <= len(ticks) <= 7
    assert all(low <= value * (1 + 1e-9) and value <= high * (1 + 1e-9) for value, _ in ticks)


def test_labels_of_k_do_not_touch():
    for ks in (np.arange(1, 200), np.array([1, 10, 100, 1000, 10**6]), np.array([7]), np.array([3, 4])):
        for log in (True, False):
            scale, ticks = k_axis(ks, 40.0, 342.0, log)
            assert ticks[-1][0] == ks[-1]
            places = [scale(value) for value, _ in ticks]
            widths = [8 * len(label) for _, label in ticks]
            for i in range(len(ticks) - 1):
                assert places[i] + widths[i] / 2 < places[i + 1] - widths[i + 1] / 2


def test_scales_map_ends_to_ends():
    scale = Scale(low=1.0, high=100.0, start_px=50.0, end_px=250.0, log=True)
    assert (scale(1.0), scale(10.0), scale(100.0)) == (50.0, 150.0, 250.0)
    assert scale.holds(100.0)
    assert not scale.holds(math.nan)


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return sum(
        w * (x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4)
        for w, x in zip((0.2126, 0.7152, 0.0722), parts)
    )


def test_colours_have_contrast_in_light_and_dark():
    blocks = [
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", STYLE, re.S)
    ]
    light, dark = blocks[:2]
    assert luminance(light["page"]) > 0.8
    assert luminance(dark["page"]) < 0.05
    for colours in (light, dark):
        for ground in ("page", "card"):
            for ink in ("ink", "muted", "c1", "c2", "c3", "c4"):
                pair = sorted((luminance(colours[ink]), luminance(colours[ground])))
                assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (ink, ground)


def test_control_characters_of_a_name_do_not_break_the_page(tmp_path):
    write_example_study(tmp_path, n_games=1)
    data = read_report_data(tmp_path)
    data.sensitivity["formation"]["joint"]["verdict"] = "k can\x1b[31m matter\x08: \x01very\u2028bad"
    page = report_html(data)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", page)
    assert html.unescape(page).count("\ufffd") == 4
    assert prose("e\u0301 👩\u200d🚀 \u202eab") == "e\u0301 👩\u200d🚀 \ufffdab"
