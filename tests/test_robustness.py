"""Clumsy and hostile options: one line on stderr, exit code 1 or 2, nothing written."""

import shutil

import numpy as np
import pytest
from command_runs import refused, succeed, unchanged, write_game

from kofn.engine import deployment, solve

WORLDS = 10**400


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder with a game, and a solution of it for k = 3."""
    folder = tmp_path_factory.mktemp("shelf")
    write_game(folder)
    succeed("solve", folder / "rooms.toml", "-k", 3, "-o", folder / "s.h5", "-q")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch, shelf):
    """A working folder with the game and the solution."""
    monkeypatch.chdir(tmp_path)
    for name in ("rooms.toml", "s.h5"):
        shutil.copy(shelf / name, tmp_path)
    return tmp_path


def attack(command, here, *arguments, code, words):
    """Run a command with sound arguments before the bad ones; it has to be refused and to leave no trace."""
    sound = {
        "solve": ("rooms.toml", "-k", 2, "-o", "new.h5", "-q"),
        "deploy": ("s.h5", "-o", "new.h5", "-q"),
        "study": ("rooms.toml", "-k", "1:2", "-o", "new", "--jobs", 1, "--steps", 2, "--runs", 2, "-q"),
        "inspect": ("s.h5",),
        "games": (),
    }
    with unchanged(here):
        message = refused(command, *sound[command], *arguments, code=code)
    assert words in message
    assert len(message) < 500


NUMBERS = [
    ("0", "found '0', expected at least 1"),
    ("-1", "found '-1', expected at least 1"),
    ("1.5", "found '1.5', expected a whole number"),
    ("", "found '', expected a whole number"),
    ("many", "found 'many', expected a whole number"),
    ("0x10", "expected a whole number"),
    ("nan", "expected a whole number"),
    ("inf", "expected a whole number"),
    ("-inf", "expected a whole number"),
    ("9223372036854775807.5", "expected a whole number"),
    ("1e400", "expected at most"),
    ("1e999999999", "expected at most"),
    ("9" * 5000, "expected at most"),
    ("1" + "0" * 25, "expected at most"),
]


@pytest.mark.parametrize(("number", "words"), NUMBERS, ids=[number[:20] for number, _ in NUMBERS])
def test_numbers_that_are_no_sizes(here, number, words):
    for command, options in {
        "solve": ("-k", "--samples", "--max-sweeps", "--threads"),
        "deploy": ("-n", "--steps", "--runs", "--trace-points", "--threads"),
        "study": ("-n", "--steps", "--runs", "--samples", "--jobs"),
    }.items():
        for option in options:
            attack(command, here, option, number, code=2, words=words)


def test_whole_numbers_are_read_exactly(here):
    succeed("deploy", "s.h5", "-n", "1_000", "--steps", "1e1", "--seed", "9007199254740993.0", "-q", "-o", "d.h5")
    from kofn.engine.deployment_files import read_deployment_file

    config = read_deployment_file("d.h5").config
    assert (config["n"], config["steps"], config["seed"]) == (1000, 10, 2**53 + 1)


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("solve", ("--seed", "-1"), "expected at least 0"),
        ("solve", ("--seed", str(2**64)), "expected at most 18446744073709551615"),
        ("solve", ("--tol", "0"), "found '0', expected a finite number above 0"),
        ("solve", ("--tol", "-1e-3"), "expected a finite number above 0"),
        ("solve", ("--tol", "nan"), "expected a finite number above 0"),
        ("solve", ("--tol", "inf"), "expected a finite number above 0"),
        ("solve", ("--tol", "small"), "expected a finite number above 0"),
        ("solve", ("--checkpoint-every", "-1"), "expected a finite number of at least 0"),
        ("solve", ("--checkpoint-every", "nan"), "expected a finite number of at least 0"),
        ("solve", ("--memory", "much"), "expected a number with a unit such as 4GB"),
        ("solve", ("--memory", "-1GB"), "expected a number with a unit such as 4GB"),
        ("solve", ("--memory", "1XB"), "expected a number with a unit such as 4GB"),
        ("solve", ("--memory", "0XB"), "expected a number with a unit such as 4GB"),
        ("solve", ("--memory", ""), "expected a number with a unit such as 4GB"),
        ("solve", ("--memory", "nan"), "expected a number with a unit such as 4GB"),
        ("solve", ("--memory", "9" * 400 + "GB"), "expected a number with a unit such as 4GB"),
        ("solve", ("--actions", "fixed"), "'fixed' is not one of 'joint', 'shared', 'histogram'"),
        ("solve", ("--expectation", "guessed"), "'guessed' is not one of"),
        ("solve", ("--method", "magic"), "'magic' is not one of"),
        ("solve", ("--actions", "joint", "--local-policy", "uniform"), "--actions joint and --local-policy exclude each other"),
        ("study", ("--actions", "joint", "--local-policy", "uniform"), "--actions joint and --local-policy exclude each other"),
        ("solve", ("--frce",), "No such option"),
        ("deploy", ("--level", "cells"), "'cells' is not one of"),
        ("deploy", ("--rewards", "none"), "'none' is not one of"),
        ("deploy", ("--trace-agents", "-1"), "expected at least 0"),
        ("deploy", ("surplus",), "unexpected extra argument"),
        ("games", ("robots", "traffic"), "unexpected extra argument"),
        ("inspect", ("--state",), "requires an argument"),
    ],
)  # fmt: skip
def test_what_the_options_do_not_take(here, command, arguments, words):
    attack(command, here, *arguments, code=2, words=words)


@pytest.mark.parametrize(
    "sizes",
    ["0", "-1", "1.5", "", "a", "1:", ":3", "3:1", "1:3:0", "1:2:3:4", "1,,2", "1-3", "99999999999", "1:999999999", "9" * 5000],
    ids=lambda sizes: sizes[:20],
)  # fmt: skip
def test_lists_of_sizes_that_are_none(here, sizes):
    attack("study", here, "-k", sizes, code=2, words="expected")


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("solve", ("-k", "3", "--tol", "1e-300"), "tol: found 1e-300, expected more than the rounding error"),
        ("solve", ("--method", "recursion", "--expectation", "rounded"), "method: found 'recursion'"),
        (
            "solve",
            ("--method", "symmetric-power"),
            "method: found 'symmetric-power', which does not serve actions 'joint'",
        ),
        ("deploy", ("-n", "2"), "n: found 2 agents, expected at least 3"),
        ("deploy", ("-n", "1e10"), "n: found 10000000000, expected a whole number from 1 to 1073741824"),
        ("deploy", ("--steps", "1e18"), "steps: found 1000000000000000000, expected"),
        ("deploy", ("--runs", "1e12"), "runs: found 1000000000000, expected"),
        ("deploy", ("--trace-agents", "3"), "trace_agents: found 3 with level 'counts'"),
        (
            "deploy",
            ("--trace-agents", "5", "--level", "agents"),
            "trace_agents: found 5, expected a whole number from 0 to 4",
        ),
        ("deploy", ("--rewards", "mean", "--level", "agents"), "rewards: found 'mean' with level 'agents'"),
        ("study", ("-k", "5"), "k: found 5, expected at most n = 4"),
        ("study", ("-k", "1:9"), "k: found 9, expected at most n = 4"),
        ("study", ("-n", "1"), "k: found 2, expected at most n = 1"),
        ("study", ("-k", "4", "--memory", "1"), "lower k or raise the memory limit"),
        ("inspect", ("--state", ""), "state: found '', expected S_G:C0,C1,… with S_G one of off, on"),
        ("inspect", ("--state", "dim:1,2"), "state: found 'dim:1,2', expected S_G:C0,C1,… with S_G one of off, on"),
        ("inspect", ("--state", "on"), "state: found 'on', expected"),
        ("inspect", ("--state", "on:"), "expected whole numbers after the colon"),
        ("inspect", ("--state", "on:1,x"), "expected whole numbers after the colon"),
        ("inspect", ("--state", f"on:{WORLDS},1"), "expected whole numbers after the colon"),
        ("inspect", ("--state", "on:1,1"), "counts: found [1, 1], expected 2 whole numbers ≥ 0 that add up to 3"),
        ("inspect", ("--state", "on:-1,4"), "counts: found [-1, 4]"),
        ("inspect", ("--state", "on:3"), "counts: found [3]"),
    ],
)
def test_what_the_engine_does_not_take(here, command, arguments, words):
    attack(command, here, *arguments, code=1, words=words)


# ---- Too large for memory


@pytest.mark.parametrize("expectation", ["exact", "sampled", "rounded"])
@pytest.mark.parametrize("actions", ["joint", "shared", "histogram", "fixed"])
def test_a_lattice_too_large_says_how_many_bytes_and_what_to_lower(here, actions, expectation):
    choice = ("--local-policy", "uniform") if actions == "fixed" else ("--actions", actions)
    # The values alone are too large, and then what a sweep needs besides.
    cases = [("rooms.toml", 2**63 - 1, ()), ("robots", 200, ("--memory", "1MB"))]
    if actions == "joint" or (expectation != "exact" and actions != "fixed"):
        cases.append(("robots", 9, ("--memory", "260kB")))
    for game, k, limit in cases:
        with unchanged(here):
            message = refused(
                "solve", game, "-k", k, "-o", "new.h5", "-q", "--expectation", expectation, *choice, *limit
            )
        assert message.startswith("k: ")
        assert "lower k" in message
        assert any(unit in message for unit in (" kB", " MB", " GB", " PB", " bytes"))
        if limit:
            assert limit[1].replace("MB", " MB").replace("kB", " kB") in message


def test_a_deployment_too_large_says_how_many_bytes_and_what_to_lower(here):
    attack("deploy", here, "--runs", "1e9", "--memory", "1MB", code=1, words="expected at most 1 MB; lower runs")
    attack("deploy", here, "-n", "1e9", "--level", "agents", "--memory", "1MB", code=1, words="deployment: needs 16 GB")
    attack("study", here, "--memory", "300B", code=1, words="in 300 B (meet-in-the-middle needs")


@pytest.mark.parametrize(
    "error", [MemoryError(), np._core._exceptions._ArrayMemoryError((10**6, 10**6), np.dtype("f8"))]
)
def test_running_out_of_memory_is_one_line(here, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(solve, "solve", fail)
    monkeypatch.setattr(deployment, "deploy", fail)
    for command in ("solve", "deploy"):
        attack(command, here, code=1, words="memory: this needs more than the machine has; lower k or n")


@pytest.mark.parametrize(
    "error",
    [ArithmeticError("over\nflow"), OverflowError(), RuntimeError("a\n\n b"), OSError(5, "Input/output error", "x.h5")],
)
def test_whatever_else_the_engine_meets_is_one_line(here, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(solve, "solve", fail)
    attack("solve", here, code=1, words="x.h5: Input/output error" if isinstance(error, OSError) else "")


# ---- Local policies from files


def bad_policies(folder):
    """Write files that hold no local policy of the game; (name, words of the refusal)."""
    np.save(folder / "good.npy", np.full((2, 2, 2), 0.5))
    good = (folder / "good.npy").read_bytes()
    arrays = {
        "shape.npy": (np.full((2, 2, 3), 1 / 3), "found shape (2, 2, 3), expected (2, 2, 2)"),
        "flat.npy": (np.full(8, 0.5), "found shape (8,), expected (2, 2, 2)"),
        "nan.npy": (np.full((2, 2, 2), np.nan), "found a row that is no law, [nan, nan]"),
        "inf.npy": (np.full((2, 2, 2), np.inf), "found a row that is no law, [inf, inf]"),
        "negative.npy": (np.ones((2, 2, 1)) * [-0.5, 1.5], "found a row that is no law, [-0.5, 1.5]"),
        "sums.npy": (np.full((2, 2, 2), 0.4), "found a row that is no law"),
        "complex.npy": (np.full((2, 2, 2), 0.5j), "found complex128"),
        "empty.npy": (np.zeros((2, 2, 0)), "found shape (2, 2, 0)"),
    }
    for name, (array, _) in arrays.items():
        np.save(folder / name, array)
    np.save(folder / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    contents = {
        "nothing.npy": b"",
        "text.npy": b"0.5 0.5",
        "pickle.npy": b"\x80\x04K\x01.",
        "cut.npy": good[:-9],
        "header.npy": good[:40],
        # A header that asks for a terabyte.
        "huge.npy": good.replace(b"(2, 2, 2), }      ", b"(2, 2, 99999999999)}"[:18]),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    no_array = "found no array of numbers as numpy.save writes it"
    bad = {name: words for name, (_, words) in arrays.items()}
    bad |= dict.fromkeys([*contents, "pickled.npy"], no_array)
    (folder / "folder.npy").mkdir()
    (folder / "policy.txt").write_text("0.5 0.5")
    return bad | {
        "folder.npy": "is no regular file",
        "missing.npy": "expected 'uniform' or a .npy or .h5 file that exists",
        "unifrom": "expected 'uniform' or a .npy or .h5 file that exists",
        "policy.txt": "found the ending '.txt', expected .npy or .h5",
        "rooms.toml": "found the ending '.toml'",
        "s.h5": "found no dataset 'local_policy'",
        "": "found the ending ''",
    }


def test_local_policies_that_are_none(here):
    bad = bad_policies(here)
    assert len(bad) > 20
    for name, words in bad.items():
        for command in ("solve", "study"):
            attack(command, here, "--local-policy", name, code=1, words=words)


def test_an_advice_to_trust_pickles_is_not_passed_on(here):
    bad_policies(here)
    for name in ("pickled.npy", "pickle.npy", "text.npy"):
        assert "trust" not in refused("solve", "rooms.toml", "-k", 1, "-o", "n.h5", "--local-policy", name)
