"""The command line as documented: every command, its examples, its options, what goes to stdout and what to stderr."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import h5py
import numpy as np
import pytest
from command_runs import refused, run, strict_json, succeed, write_game
from readme import code_blocks

from kofn import __version__
from kofn.cli import main
from kofn.engine.deployment_files import read_deployment_file
from kofn.engine.game_files import list_games, load_game
from kofn.engine.solution_files import read_solution
from kofn.engine.study.files import read_study

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SMALL_STUDY = ("--steps", "5", "--runs", "2", "-q")
# Where agents learn the cells run one after the other, and there is nothing to say about processes.
LEARNING = {"mfq", "mfac", "iq", "ising-transition", "gaussian-squeeze-scaling", "inventory-drift"}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder with a game, a solution of it for k = 3, and one of formation for k = 8."""
    folder = tmp_path_factory.mktemp("shelf")
    write_game(folder)
    succeed("solve", folder / "rooms.toml", "-k", 3, "-o", folder / "s.h5", "-q")
    succeed("solve", "formation", "-k", 8, "-o", folder / "formation-k8.h5", "-q")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch, shelf):
    """An empty working folder with the game in it."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(shelf / "rooms.toml", tmp_path)
    return tmp_path


def examples(command):
    return re.findall(r"^\s+kofn (.+)$", command.help.partition("Example:")[2], re.MULTILINE)


def smaller(words):
    """An example's words with sizes that a test can wait for."""
    sizes = {"30": "3", "2:14": "2:3", "1:30": "1:2", "1:6": "1:2", "1e6": "50", "20": "2"}
    small = list(SMALL_STUDY) if words[0] == "study" and "--dry-run" not in words else []
    if "drift-coverage" in words:
        small = ["--runs", "5", "-q"]
    elif small and LEARNING.isdisjoint(re.split("[,+]", ",".join(words))):
        small += ["--jobs", "1"]
    return [sizes.get(word, word) for word in words] + small


# ---- What is documented


@pytest.mark.parametrize("name", main.commands)
def test_every_command_says_what_it_does_with_an_example(name):
    command = main.commands[name]
    assert examples(command)
    assert command.get_short_help_str(200).endswith((".", "..."))
    assert f"kofn {name}" in README
    for flag in ("--help", "-h"):
        result = run(name, flag)
        assert (result.exit_code, result.stderr) == (0, "")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert all(option in result.stdout for option in parameter.opts)
        else:
            assert parameter.human_readable_name.upper() in command.help or parameter.human_readable_name == "NAME"


@pytest.mark.parametrize("name", ["kofn", *main.commands])
def test_every_example_runs(name, here, shelf):
    if name not in ("kofn", "solve"):
        shutil.copy(shelf / "formation-k8.h5", here)
    for example in examples(main if name == "kofn" else main.commands[name]):
        assert succeed(*smaller(shlex.split(example)))


def test_the_readme_shows_every_command():
    # What it shows is run in test_readme.
    blocks = [block for block in code_blocks(README) if block.language == "bash" and block.not_run is None]
    lines = [line for block in blocks for line in block.text.splitlines()]
    assert {shlex.split(line, comments=True)[1] for line in lines if line.startswith("kofn ")} == set(main.commands)


def test_games_in_the_readme_can_be_solved(here):
    blocks = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    games = [text for text in blocks if not text.startswith("games")]
    assert games
    for text in games:
        (here / "game.toml").write_text(text, encoding="utf-8")
        succeed("solve", "game.toml", "-k", 2, "-o", "game.h5", "-q", "--force")


def test_group_help_version_and_what_is_no_command():
    assert all(name in succeed("--help") for name in main.commands)
    assert succeed("--version") == f"kofn, version {__version__}\n"
    assert run().exit_code == 2
    assert "No such command 'nope'" in refused("nope", code=2)
    assert "No such option '--nope'" in refused("--nope", code=2)
    for name in main.commands:
        assert "No such option '--nope'" in refused(name, "--nope", code=2)


def test_help_loads_no_numerical_library():
    program = (
        "import sys, kofn.cli; print(sorted({'numpy', 'numba', 'h5py', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_solving_loads_neither_figures_nor_statistics_nor_retailers(tmp_path):
    program = (
        "import sys\nfrom kofn.cli import main\n"
        f"main(['solve', 'formation', '-k', '2', '-q', '-o', {str(tmp_path / 's.h5')!r}], standalone_mode=False)\n"
        "slow = {'scipy.stats', 'matplotlib', 'dask', 'kofn.engine.inventory.spec', 'kofn.engine.learning.learn'}\n"
        "sys.exit(str(sorted(slow & set(sys.modules))) if slow & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# ---- What they do


def test_games_lists_and_describes():
    listed = succeed("games")
    assert [line.split()[0] for line in listed.splitlines()] == list_games()
    # The largest takes seconds to make.
    for name in set(list_games()) - {"inventory-large"}:
        described = succeed("games", name)
        assert load_game(name).description in described
        assert described.startswith(f"{name}\n")


def test_games_describes_a_file(here):
    described = succeed("games", "rooms.toml")
    assert "A lamp and walkers" in described
    assert re.search(r"^agents +4$", described, re.MULTILINE)
    (here / "rooms.toml").write_text(
        (here / "rooms.toml")
        .read_text()
        .replace("agents = 4", "")
        .replace("[local]", "[local]\ninitial = {dirichlet = 1}")
    )
    described = succeed("games", "rooms.toml")
    assert "any number" in described
    assert "Dirichlet law of the local states: 1, 1" in described


@pytest.mark.parametrize("expectation", ["exact", "sampled", "rounded"])
@pytest.mark.parametrize("actions", ["joint", "shared", "histogram", "fixed"])
def test_solve_every_class_and_expectation(actions, expectation, here):
    choice = ["--local-policy", "uniform"] if actions == "fixed" else ["--actions", actions]
    said = succeed("solve", "rooms.toml", "-k", 2, "-o", "s.h5", "-q", "--expectation", expectation, *choice)
    assert f"rooms, k = 2, {actions} actions, {expectation} expectation" in said
    solution = read_solution("s.h5")
    assert (solution.k, solution.actions, solution.expectation) == (2, actions, expectation)
    assert f"{solution.initial_value:.9g}" in said
    assert sorted(path.name for path in here.iterdir()) == ["rooms.toml", "s.h5"]


def test_options_of_solve_reach_the_solver(here):
    succeed(
        "solve", "rooms.toml", "-k", "2", "-o", "s.h5", "--expectation", "sampled", "--samples", "7", "--seed", 2**64 - 1,
        "--tol", "1e-3", "--max-sweeps", "1e3", "--memory", "1.5GB", "--threads", "1", "--checkpoint-every", "0", "-q",
    )  # fmt: skip
    solution = read_solution("s.h5")
    assert (solution.samples, solution.seed, solution.tol) == (7, 2**64 - 1, 1e-3)
    for flag, stored in (("--store-q", True), ("--no-store-q", False)):
        succeed("solve", "rooms.toml", "-k", 1, "-o", "s.h5", "-q", "--force", "--method", "recursion", flag)
        with h5py.File("s.h5") as file:
            assert ("q" in file) is stored
    assert read_solution("s.h5").method == "recursion"


@pytest.mark.parametrize("suffix", ["npy", "h5"])
def test_solve_with_a_local_policy_from_a_file(suffix, here):
    policy = np.array([[[0.25, 0.75], [1, 0]], [[0, 1], [0.5, 0.5]]])
    if suffix == "npy":
        np.save("policy.npy", policy)
    else:
        with h5py.File("policy.h5", "w") as file:
            file["local_policy"] = policy
    succeed("solve", "rooms.toml", "-k", 2, "-o", "s.h5", "-q", "--local-policy", f"policy.{suffix}")
    np.testing.assert_array_equal(read_solution("s.h5").local_policy, policy)


def test_a_solve_can_be_stopped_and_resumed(here):
    stopped = ("solve", "rooms.toml", "-k", 2, "-o", "s.h5", "-q", "--checkpoint-every", 0)
    assert refused(*stopped, "--max-sweeps", 2).startswith("max_sweeps: 2 sweeps reached")
    assert "resume to continue or --force" in refused(*stopped)
    result = run(*stopped, "--resume")
    assert (result.exit_code, result.stderr) == (0, "")
    succeed("solve", "rooms.toml", "-k", 2, "-o", "straight.h5", "-q")
    np.testing.assert_array_equal(read_solution("s.h5").value, read_solution("straight.h5").value)
    assert sorted(path.name for path in here.iterdir()) == ["rooms.toml", "s.h5", "straight.h5"]


def test_resume_without_a_checkpoint_says_so_and_starts(here):
    result = run("solve", "rooms.toml", "-k", 1, "-o", "s.h5", "--resume")
    assert result.exit_code == 0
    assert result.stderr.startswith("s.h5.checkpoint: no checkpoint, starting with sweep 1\n")


def test_progress_goes_to_stderr_and_quiet_is_quiet(here, shelf):
    for arguments in (
        ("solve", "rooms.toml", "-k", 2, "-o", "s.h5", "--force"),
        ("deploy", shelf / "s.h5", "--steps", 20, "-o", "d.h5", "--force"),
        ("study", "rooms.toml", "-k", 1, "-o", "st", "--steps", 5, "--runs", 2, "--jobs", 1, "--force"),
    ):
        loud, quiet = run(*arguments), run(*arguments, "-q")
        assert loud.exit_code == quiet.exit_code == 0
        assert re.search(r"^((sweep|step) \d+|cell rooms\.joint\.exact\.k=)", loud.stderr)
        assert not re.search(r"^(sweep|step) \d+", loud.stdout, re.MULTILINE)
        assert quiet.stderr == ""
        assert quiet.stdout
    for arguments in (("games",), ("inspect", "s.h5"), ("inspect", "s.h5", "--json")):
        assert run(*arguments).stderr == ""


def test_deploy_says_the_same_in_words_in_json_and_in_a_file(here, shelf):
    arguments = ("deploy", shelf / "s.h5", "-n", 9, "--steps", 40, "--runs", 3, "--seed", 5, "-q")
    said = succeed(*arguments, "-o", "d.h5")
    report = strict_json(succeed(*arguments, "--json"))
    written = read_deployment_file("d.h5")
    assert report["mean_return"] == written.mean_return
    assert report["return_half_width"] == written.return_half_width
    assert f"{written.mean_return:.9g}" in said
    assert report["config"] == written.config
    assert sum(report["occupancy"].values()) == pytest.approx(1)
    assert set(report["mean_population"]) == {"a", "b"}


def test_deploy_options(here, shelf):
    report = strict_json(succeed("deploy", shelf / "s.h5", "--steps", 1, "-q", "--json"))
    assert report["config"]["n"] == 4
    # One run of one step has no interval.
    assert report["return_half_width"] is None
    assert report["average_half_width"] is None
    assert "nan" not in succeed("deploy", shelf / "s.h5", "--steps", 1, "-q")
    succeed(
        "deploy", shelf / "s.h5", "-n", 5, "--steps", 30, "--level", "agents", "--rewards", "drawn", "--trace-points", 10,
        "--trace-agents", 2, "--memory", "1GB", "--threads", 1, "-o", "d.h5", "-q",
    )  # fmt: skip
    assert read_deployment_file("d.h5").trace_agents.shape == (1, 10, 2)


def test_deploy_needs_a_number_of_agents(here):
    write_game(here, ("agents = 4\n", ""))
    succeed("solve", "rooms.toml", "-k", 1, "-o", "s.h5", "-q")
    assert "missing option -n" in refused("deploy", "s.h5", code=2)
    assert "missing option -n" in refused("study", "rooms.toml", "-k", 1, "-o", "st", code=2)


def test_study_writes_what_it_says_and_takes_over_what_is_there(here):
    arguments = ("study", "rooms.toml", "-k", "1:2", "-o", "st", *SMALL_STUDY)
    said = succeed(*arguments)
    result = read_study("st/study.h5")
    for k in (1, 2):
        assert re.search(rf"^ +{k} +{result.sel('value', k=k):.9g} ±", said, re.MULTILINE)
        assert re.search(rf"^ +{k} .* {result.sel('exact_value', k=k):.9g} ", said, re.MULTILINE)
    assert "written: study.h5, timings.h5, 3 cells and 5 figures in st" in said
    assert len(list(here.glob("st/*.png"))) == 5
    cells = {path: path.read_bytes() for path in here.glob("st/cells/*")}
    assert len(cells) == 3
    assert "4 cells" in succeed(*arguments, "-k", "1:3")
    assert all(path.read_bytes() == content for path, content in cells.items())
    # A cell is a solution to deploy as well.
    assert "return" in succeed("deploy", "st/cells/rooms.joint.exact.k=0002.h5", "--steps", 3, "-q")


def test_inspect_every_kind_of_file(here, shelf):
    succeed("deploy", shelf / "s.h5", "--steps", 5, "-o", "d.h5", "-q")
    succeed("study", "rooms.toml", "-k", "1", "-o", "st", *SMALL_STUDY)
    refused("solve", "rooms.toml", "-k", 2, "-o", "c.h5", "-q", "--max-sweeps", 1)
    kinds = {
        shelf / "s.h5": "kofn-solution",
        "d.h5": "kofn-deployment",
        "st/study.h5": "kofn-study",
        "st/timings.h5": "kofn-timings",
        "st/cells/rooms.joint.exact.k=0001.h5": "kofn-cell",
        "c.h5.checkpoint": "kofn-checkpoint",
    }
    for path, kind in kinds.items():
        report = strict_json(succeed("inspect", path, "--json"))
        assert report["format"] == kind
        assert report["kofn_version"] == __version__
        words = succeed("inspect", path)
        assert report["what"] in words
        assert all(array["name"] in words for array in report["arrays"])


def test_inspect_puts_states_into_words(shelf):
    report = strict_json(succeed("inspect", shelf / "s.h5", "--json", "--state", "on:2,1", "--state", "off:0,3"))
    solution = read_solution(shelf / "s.h5")
    for entry, (s_g, counts) in zip(report["policy"], ((1, [2, 1]), (0, [0, 3])), strict=True):
        assert entry["counts"] == counts
        assert entry["value"] == solution.value[s_g, solution.rank(counts)]
    assert "In global state on with 2 in a, 1 in b, the global agent plays" in report["policy"][0]["words"]
