"""Settings of a study, from Python, flags and TOML; and the plan that follows from them."""

import re

import pytest
from command_runs import refused, succeed, unchanged, write_game

from kofn.engine.backups.selection import TooLargeError
from kofn.engine.game_files import list_games, load_game
from kofn.engine.study import plan as study_plan
from kofn.engine.study.drift_settings import is_drift, load_drift_study
from kofn.engine.study.learning_settings import is_learning, load_learning_study
from kofn.engine.study.numbers import numbers_of
from kofn.engine.study.plan import plan_lines, plan_study
from kofn.engine.study.settings import StudySettings, find_study_file, load_study, read_study_file

STUDY = """
games = ["rooms.toml", "formation"]
n = [3, 6]
k = "1:2,n"
actions = ["joint", "shared"]
expectation = "exact"
samples = 4
seeds = "0:2"
steps = 7
runs = 2
level = "counts"
tol = 1e-4
simulate = true
exact = "auto"
refine = false
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder with a game and a study of it."""
    monkeypatch.chdir(tmp_path)
    write_game(tmp_path)
    (tmp_path / "grid.toml").write_text(STUDY)
    return tmp_path


# ---- Lists of numbers


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (8, (8,)),
        ("8", (8,)),
        ("1:4", (1, 2, 3, 4)),
        ("2:9:3", (2, 5, 8)),
        ("1:3,10, 7 ,n", (1, 2, 3, 10, 7, "n")),
        ([1, "4:5", 9], (1, 4, 5, 9)),
        (range(1, 3), (1, 2)),
        ("n", ("n",)),
        ([], ()),
    ],
)
def test_lists_of_numbers(value, expected):
    assert numbers_of("k", value, 1, 100, word="n") == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "k: found '', expected numbers such as 8, 1:20, 2:14:4 or 1:5,10 or n"),
        ("1,,2", "k: found '', expected"),
        ("m", "k: found 'm', expected"),
        ("3:1", "k: found '3:1', expected a range"),
        ("1:5:0", "k: found '1:5:0', expected a range"),
        ("1:99999999", "k: found '1:99999999', expected a range"),
        ("0:3", "k: found 0, expected at least 1"),
        ("101", "k: found 101, expected at most 100"),
        ("1:3,2", "k: found 2 twice"),
        (True, "k: found True, expected whole numbers"),
        (1.5, "k: found 1.5, expected whole numbers"),
        ([1, 2.0], "k: found 2.0, expected whole numbers"),
        (None, "k: found None, expected whole numbers"),
        ({"a": 1}, "k: found 'a', expected"),
        ([[1]], "k: found [1], expected whole numbers"),
        ([10**5000], "k: found a number of thousands of digits, expected at most 100"),
    ],
)
def test_what_is_no_list_of_numbers(value, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        numbers_of("k", value, 1, 100, word="n")


# ---- Files


def test_study_file_says_what_the_call_says(here):
    found = load_study("grid.toml")
    expected = StudySettings(
        games=["rooms.toml", "formation"], n=[6, 3], k=[2, 1, "n"], actions=["joint", "shared"], samples=4, seeds=[0, 1, 2],
        steps=7, runs=2, tol=1e-4,
    )  # fmt: skip
    assert found.config == expected.config
    assert found.ks_of(found.games[0]) == (1, 2, 3, 6)
    assert found.n == (3, 6)


def test_paths_are_relative_to_the_file(here, monkeypatch):
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    assert load_study("../grid.toml").games[0].name == "rooms"


def test_n_is_that_of_each_game_unless_given(here):
    settings = StudySettings(games=["rooms.toml", "formation"], k="1:6")
    assert [settings.ns_of(game) for game in settings.games] == [(4,), (load_game("formation").n_agents,)]
    assert settings.ks_of(settings.games[0]) == (1, 2, 3, 4)
    assert settings.ks_of(settings.games[1]) == (1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("samples = 4", "sample = 4", "sample: unknown, expected one of games, k, n,"),
        ("samples = 4", "samples = 0", "samples: found 0, expected"),
        ("samples = 4", "samples = 4.5", "samples: found 4.5, expected"),
        ("samples = 4", "samples = true", "samples: found True, expected"),
        ('k = "1:2,n"', "", "k: missing, expected sample sizes"),
        ('k = "1:2,n"', 'k = "1:2,m"', "k: found 'm', expected numbers"),
        ('k = "1:2,n"', "k = [1, 1]", "k: found 1 twice, expected each once"),
        ('k = "1:2,n"', "k = [7, 8]", "k: found 8, expected at most n = 6"),
        ('k = "1:2,n"', "k = []", "k: found no sample size, expected at least one"),
        ("n = [3, 6]", "n = [3, 3]", "n: found 3 twice"),
        ("n = [3, 6]", "n = 2.5", "n: found 2.5, expected whole numbers"),
        ("n = [3, 6]", "n = 0", "n: found 0, expected at least 1"),
        ('["rooms.toml", "formation"]', "[]", "games: found none, expected at least one"),
        ('["rooms.toml", "formation"]', "3", "games: found 3, expected names or paths"),
        ('["rooms.toml", "formation"]', "[3]", "games: found 3, expected names or paths"),
        ('["rooms.toml", "formation"]', '["rooms.toml", "rooms.toml"]', "games: found 2 games named 'rooms'"),
        ('["rooms.toml", "formation"]', '["nowhere.toml"]', "nowhere.toml: cannot be read"),
        ('["joint", "shared"]', '["joint", "joint"]', "actions: found 'joint' twice"),
        ('["joint", "shared"]', '["alone"]', "actions: found 'alone', expected one of joint"),
        ('["joint", "shared"]', '["fixed"]', "local_policy: found none with actions fixed"),
        ('["joint", "shared"]', "7", "actions: found 7, expected one or more of joint"),
        ('expectation = "exact"', 'expectation = "guessed"', "expectation: found 'guessed'"),
        ('seeds = "0:2"', "seeds = [-1]", "seeds: found -1, expected at least 0"),
        ("steps = 7", 'steps = "7"', "steps: found '7', expected a whole number"),
        ("runs = 2", "runs = -2", "runs: found -2, expected"),
        ('level = "counts"', 'level = "cells"', "level: found 'cells', expected one of counts, agents"),
        ("tol = 1e-4", "tol = nan", "tol: found nan, expected a finite number above 0"),
        ("tol = 1e-4", "tol = 0", "tol: found 0, expected a finite number above 0"),
        ("simulate = true", "simulate = 1", "simulate: found 1, expected true or false"),
        ('exact = "auto"', 'exact = "yes"', "exact: found 'yes', expected true, false or 'auto'"),
        ("refine = false", 'refine = "no"', "refine: found 'no', expected true or false"),
    ],
)
def test_what_is_wrong_with_a_study_file_is_one_line(old, new, message, here):
    assert STUDY.count(old) == 1
    (here / "grid.toml").write_text(STUDY.replace(old, new))
    with unchanged(here):
        found = refused("study", "grid.toml", "-o", "new")
    assert found.startswith("grid.toml: ")
    assert message in found
    assert len(found) < 400


def test_games_and_broken_files_are_no_studies(here):
    assert read_study_file("rooms.toml") is None
    (here / "broken.toml").write_text("games = [")
    assert "broken.toml: " in refused("study", "broken.toml", "-k", 1, "-o", "new")
    with pytest.raises(ValueError, match=r"broken\.toml: found no TOML"):
        load_study("broken.toml")
    with pytest.raises(ValueError, match=r"rooms\.toml: found name, description, .* expected a study file"):
        load_study("rooms.toml")
    with pytest.raises(ValueError, match=r"none\.toml: no such file"):
        load_study("none.toml")


def test_options_go_before_the_file(here):
    said = succeed("study", "grid.toml", "-k", "2", "--actions", "shared", "-n", 3, "--dry-run")
    assert re.findall(r"^\S+\.k=\S+", said, re.MULTILINE)
    assert set(re.findall(r"\b(rooms|formation)\.(joint|shared)\.exact\.k=(\d+)", said)) == {
        ("rooms", "shared", "0002"), ("formation", "shared", "0002"), ("rooms", "joint", "0003"), ("formation", "joint", "0003")
    }  # fmt: skip
    # What an option got wrong is not the file's fault.
    assert refused("study", "grid.toml", "-k", "9", "-o", "new").startswith("k: found 9")


@pytest.mark.slow
def test_study_file_runs_as_the_same_flags_do(here):
    succeed("study", "grid.toml", "-o", "a", "--jobs", 1, "-q")
    succeed(
        "study", "rooms.toml", "formation", "-n", "3,6", "-k", "1:2,n", "--actions", "joint,shared", "--samples", 4,
        "--seeds", "0:2", "--steps", 7, "--runs", 2, "--tol", "1e-4", "-o", "b", "--jobs", 1, "-q",
    )  # fmt: skip
    assert (here / "a" / "study.h5").read_bytes() == (here / "b" / "study.h5").read_bytes()


def test_shipped_studies_are_sound():
    path = find_study_file("irrigation-scaling")
    assert path is not None
    for file in path.parent.glob("*.toml"):
        assert file.stem not in list_games()
        document = read_study_file(file)
        if is_drift(document):
            assert load_drift_study(file).cells
            continue
        if is_learning(document.get("method")):
            assert load_learning_study(file).cells
            with pytest.raises(ValueError, match=r"found it in a study of solve or nash"):
                load_study(file)
            continue
        settings = load_study(file)
        assert plan_study(settings, 2 * 10**9).cells
    scaling = load_study(path)
    assert scaling.ks_of(scaling.games[0]) == (1, 2, 4, 8, 16, 32, 50, 64, 100, 128, 200, 300)


# ---- Plans


def test_dry_run_prints_the_plan_and_runs_nothing(here):
    with unchanged(here):
        said = succeed("study", "rooms.toml", "-k", "1:3", "--dry-run", "--jobs", 2)
    lines = said.splitlines()
    assert lines[0].split() == ["cell", "counts", "decisions", "method", "memory", "solve", "exact", "simulate"]
    assert len([line for line in lines if line.startswith("rooms.joint.exact.k=")]) == 4
    assert "4 cells, 0 finished; about" in said
    assert said.splitlines()[-1].startswith("critical path: rooms.joint.exact.k=")
    succeed("study", "rooms.toml", "-k", "1:2", "-o", "st", "--steps", 5, "--runs", 2, "--jobs", 1, "-q")
    options = ("--steps", 5, "--runs", 2)
    said = succeed("study", "rooms.toml", "-k", "1:3", "-o", "st", *options, "--dry-run")
    assert len(re.findall(r"  finished$", said, re.MULTILINE)) == 3
    said = succeed("study", "rooms.toml", "-k", "1:2", "-o", "st", *options, "--dry-run")
    assert said.endswith("3 cells, all finished\n")
    assert "cell of another study, steps is 5, expected 6" in refused(
        "study", "rooms.toml", "-k", "1:2", "-o", "st", "--steps", 6, "--runs", 2, "--dry-run"
    )


def test_longest_cells_come_first():
    plan = plan_study(StudySettings(games="formation", n=14, k="1:14", steps=10, runs=1, exact=False))
    times = [planned.time_s for planned in plan.cells]
    assert times == sorted(times, reverse=True)
    assert [planned.cell.k for planned in plan.cells] == list(range(14, 0, -1))
    assert plan.longest_s == times[0] <= plan.total_s


def test_plan_does_not_depend_on_the_order_of_the_settings(here):
    plans = [
        plan_study(StudySettings(games="formation", n=n, k=k, actions=actions))
        for n, k, actions in (("6,4", "1:3", "joint,shared"), ([4, 6], [3, 2, 1], ["shared", "joint"]))
    ]
    names = [[planned.cell.name for planned in plan.cells] for plan in plans]
    assert names[0] == names[1]


def test_cell_that_does_not_fit_is_refused_by_name_before_anything_runs(here):
    for arguments, name in (
        (("robots", "-k", "2,40", "-n", 50), r"robots\.joint\.exact\.k=0040"),
        (("rooms.toml", "-k", "4", "--memory", "1kB"), r"rooms\.joint\.exact\.k=0004"),
    ):
        for option in ("--dry-run", "-q"):
            with unchanged(here):
                message = refused("study", *arguments, "-o", "new", option)
            assert re.match(rf"k: .*lower k.* \(cell {name}\)$", message), message


def test_exact_values_that_do_not_fit(here):
    # 50,000 robots have far too many populations.
    arguments = ("robots", "-n", 50_000, "-k", "2", "--local-policy", "uniform")
    message = refused("study", *arguments, "--exact", "-o", "new")
    assert message.startswith("n: 50000 agents in")
    assert message.endswith("(exact evaluation of cell robots.fixed.exact.k=0002)")
    said = succeed("study", *arguments, "--dry-run")
    assert (
        "note: robots, n = 50000, from k = 2: exact values only if no local agent looks at others (n: 50000 agents in"
        in said
    )
    assert "note: robots, n = 50000: the fixed optimum is not solved, only bounded (k: 50000 agents in" in said


def test_exact_work_nobody_asked_for_may_not_take_longer_than_the_rest(monkeypatch):
    settings = StudySettings(games="formation", n=14, k=2, steps=1, runs=1)
    assert [p.cell.k for p in plan_study(settings).cells] == [14, 2]
    monkeypatch.setattr(study_plan, "AUTO_S", 0.0)
    monkeypatch.setattr(study_plan, "estimate_evaluation", _takes_an_hour)
    plan = plan_study(settings)
    assert plan.cells[-1].cell.evaluated_n == ()
    assert "exact values only if no local agent looks at others (n: about 60 min, expected at most" in plan.notes[0]
    asked = StudySettings(games="formation", n=14, k=2, steps=1, runs=1, exact=True)
    assert plan_study(asked).cells[-1].cell.evaluated_n or plan_study(asked).cells[0].cell.evaluated_n


def _takes_an_hour(*_, **__):
    from kofn.engine.study.estimates import Estimate

    return Estimate("by hand", 1, 3600.0)


def test_plan_lines_are_readable():
    plan = plan_study(StudySettings(games="formation", n=14, k="2:3", steps=10, runs=1))
    lines = plan_lines(plan, 4)
    assert max(map(len, lines)) < 132
    assert "with 4 at a time" in lines[-2]


def test_impossible_sizes_are_refused_at_once():
    with pytest.raises(TooLargeError, match=r"k: .*\(cell robots\.joint\.exact\.k=100000\)"):
        plan_study(StudySettings(games="robots", n=10**6, k=10**5))
