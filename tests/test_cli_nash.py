"""`kofn nash` and `kofn exploitability`: what they print and write, the authors' file, refusals, and stops that change no bit."""

import copy
import json
import random
import signal
import time

import h5py
import numpy as np
import pytest
from command_runs import refused, run, strict_json, succeed, unchanged
from nash_games import small_game, write_tables
from processes import KOFN, Session, assert_same_contents, catches_sigterm

from kofn.engine.equilibrium.alternate import alternate
from kofn.engine.equilibrium.exploitability import exploitability
from kofn.engine.equilibrium.files import read_equilibrium
from kofn.engine.equilibrium.mean_field import mean_field_gains
from kofn.engine.equilibrium.settings import read_authors_config
from kofn.engine.game_files import load_game

pytestmark = pytest.mark.usefixtures("one_thread")

TIMEOUT_S = 120.0
AUTHORS = {
    "environment": {
        "n_global_states": 5, "n_local_states": 5, "n_global_actions": 5, "n_local_actions": 3, "n_agents": 6,
        "gamma": 0.95,
    },
    "global_agent": {"n_mc_samples": 4, "max_vi_iterations": 100, "convergence_threshold": 1e-2},
    "local_agent": {
        "max_vi_iterations": 100, "convergence_threshold": 1e-3, "softmax_temperature_scale": 2.5,
        "softmax_temperature_min": 0.4,
    },
    "alternating": {"n_outer_iterations": 2, "convergence_rtol": 0.02},
    "evaluation": {"n_rollouts": 3, "horizon": 11},
    "experiment": {"k_range": [1, 3], "n_eval_seeds": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder with a game of four agents and its pair for k = 2."""
    folder = tmp_path_factory.mktemp("shelf")
    write_tables(folder / "game.toml", small_game(18, n_agents=4))
    succeed("nash", folder / "game.toml", "-k", 2, "-o", folder / "pair.h5", "-q")
    assert sorted(path.name for path in folder.iterdir()) == ["game.toml", "pair.h5"]
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch, shelf):
    """An empty working folder with the game and the pair in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("game.toml", "pair.h5"):
        (tmp_path / name).write_bytes((shelf / name).read_bytes())
    return tmp_path


# ---- What they print and write


def test_nash_is_alternate(here):
    game = load_game("game.toml")
    for words, options in (
        (["--closure", "tagged", "--greedy"], {"closure": "tagged", "greedy": True}),
        (
            ["--expectation", "sampled", "--samples", 3, "--seed", 4, "--tol", 1e-3, "--tau-min", 0.1, "--tau-scale", 4],
            {"expectation": "sampled", "samples": 3, "seed": 4, "tol": 1e-3, "tau_min": 0.1, "tau_scale": 4.0},
        ),
        (
            ["--value", "simulated", "--steps", 9, "--runs", 8, "--max-rounds", 2, "--rtol", 0, "--exploitability", "none"],
            {"value": "simulated", "steps": 9, "runs": 8, "max_rounds": 2, "rtol": 0.0, "exploitability": "none"},
        ),
    ):  # fmt: skip
        said = succeed("nash", "game.toml", "-k", 2, "-n", 3, "-o", "a.h5", "--force", *words)
        found, right = read_equilibrium("a.h5"), alternate(game, 2, 3, **options)
        assert found.settings == right.settings
        np.testing.assert_array_equal(found.column("value"), right.column("value"))
        np.testing.assert_array_equal(found.local_policy, right.local_policy)
        assert f"kept        round {found.best_round + 1} (*)" in said
        assert f"stopped: {found.stop}" in said
        assert said.count("\nround ") == len(found.rounds)
        assert ("NashConv" in said) == ("none" not in words)
        assert said.endswith("written     a.h5\n")
    assert sorted(path.name for path in here.iterdir()) == ["a.h5", "game.toml", "pair.h5"]


def test_figure_of_the_rounds(here):
    said = succeed("nash", "game.toml", "-k", 2, "-o", "a.h5", "--figure", "rounds.png")
    assert said.endswith("written     a.h5, rounds.png\n")
    assert (here / "rounds.png").read_bytes().startswith(b"\x89PNG")
    for name, reason in (("rounds.png", "exists already"), ("rounds.pdf", "ends in .png"), ("no/x.png", "no folder")):
        result = run("nash", "game.toml", "-k", 2, "-o", "b.h5", "--figure", name)
        assert result.exit_code in (1, 2)
        assert reason in result.stderr
        assert not (here / "b.h5").exists()


@pytest.mark.parametrize("kind", ["auto", "none", "mean-field"])
def test_nash_as_json(kind, here):
    words = ["--steps", 20] if kind == "mean-field" else []
    said = succeed("nash", "game.toml", "-k", 2, "-o", "a.h5", "--json", "--exploitability", kind, *words)
    summary, found = strict_json(said), read_equilibrium("a.h5")
    assert summary["value"] == found.value
    assert (summary["k"], summary["n"], summary["stop"]) == (2, 4, found.stop)
    assert summary["best_round"] == found.best_round + 1
    bounds = summary["gains"]["selfish"]["local"].values()
    assert all((bound is None) == (kind == "none") for bound in bounds)


def test_progress_goes_to_stderr_alone(here):
    result = run("nash", "game.toml", "-k", 2, "-o", "a.h5", "--max-rounds", 1)
    assert result.exit_code == 0
    for words in ("global agent, sweep", "local agents, joint closure", "value for 4 agents", "exploitability"):
        assert f"round 1 of at most 1: {words}" not in result.stdout
    assert run("nash", "game.toml", "-k", 2, "-o", "a.h5", "--force", "-q").stderr == ""


def test_local_policy_is_what_the_first_round_answers(here):
    policy = np.random.default_rng(1).dirichlet(np.ones(2), size=(2, 3))
    np.save("policy.npy", policy)
    succeed("nash", "game.toml", "-k", 2, "-o", "a.h5", "--local-policy", "policy.npy", "--max-rounds", 1, "-q")
    right = alternate(load_game("game.toml"), 2, 4, local_policy=policy, max_rounds=1)
    np.testing.assert_array_equal(read_equilibrium("a.h5").local_policy, right.local_policy)


def test_exploitability_says_what_it_computes(here):
    found = read_equilibrium("pair.h5")
    right = {reward: exploitability(found.game, found.policy, 4, reward=reward) for reward in ("selfish", "team")}
    said = strict_json(succeed("exploitability", "pair.h5", "--json", "-o", "e.h5"))
    for reward, exact in right.items():
        for name in ("global_gain", "local_gain", "nash_conv", "nash_conv_all_players", "local_worst_gain"):
            assert said[reward][name] == getattr(exact, name)
        with h5py.File("e.h5") as file:
            assert file[reward].attrs["nash_conv"] == exact.nash_conv
            np.testing.assert_array_equal(file[f"{reward}/local_response"][...], exact.local_response)
    words = succeed("exploitability", "pair.h5", "--reward", "team")
    assert f"{right['team'].nash_conv:.6g}" in words
    assert "selfish" not in words
    assert "approximate" not in succeed("inspect", "e.h5")
    # The file has a policy and a game: a command that takes policies takes it.
    assert succeed("exploitability", "e.h5", "--reward", "team").splitlines()[:-2] == words.splitlines()[:-2]


def test_exploitability_by_mean_field(here):
    found = read_equilibrium("pair.h5")
    words = ("exploitability", "pair.h5", "-n", 50, "--method", "mean-field", "--runs", 20, "--seed", 3)
    said = strict_json(succeed(*words, "--json", "-o", "e.h5"))
    right = mean_field_gains(found.game, found.policy, 50, runs=20, seed=3)
    assert said["method"] == "mean-field"
    assert said["selfish"]["local_gain"] == right.gains[0, 1].tolist()
    with h5py.File("e.h5") as file:
        np.testing.assert_array_equal(file["gains"][...], right.gains)
        assert file.attrs["seed"] == 3
    assert "method          mean-field, 20 paths" in succeed(*words)
    # What does not fit falls back, and says so.
    result = run("exploitability", "pair.h5", "-n", 60, "--memory", "2MB", "--runs", 4)
    assert result.exit_code == 0, result.stderr
    assert "mean-field brackets instead" in result.stderr
    refused("exploitability", "pair.h5", "-n", 60, "--memory", "2MB", "--method", "exact", "-q")


def test_other_commands_take_the_pair(here):
    found = read_equilibrium("pair.h5")
    succeed("deploy", "pair.h5", "--steps", 5, "-o", "d.h5", "-q")
    assert f"{found.value:.10g}"[:9] in succeed("evaluate", "pair.h5")
    succeed("refine", "pair.h5", "-o", "r.h5", "-q")
    succeed("exploitability", "r.h5", "-q")
    assert "approximate Nash equilibrium" in succeed("inspect", "pair.h5")
    report = json.loads(succeed("inspect", "pair.h5", "--json"))
    assert len(report["equilibrium"]["by_round"]) == len(found.rounds)
    succeed("export", "pair.h5", "-o", "rounds.csv")
    assert len((here / "rounds.csv").read_text().splitlines()) == len(found.rounds) + 1
    succeed("export", "pair.h5", "-o", "pair.nc")
    # As the local policy of a solve, it gives the global agent's answer to the pair's own local policy.
    with h5py.File("pair.h5") as file:
        np.save("policy.npy", file["local/policy"][...])
    succeed("solve", "game.toml", "-k", 2, "--local-policy", "policy.npy", "-o", "s.h5", "-q")


# ---- Refusals


def test_options_that_do_not_fit(here):
    base = ("nash", "game.toml", "-o", "a.h5")
    with unchanged(here):
        assert "Missing option '-k'" in refused(*base, code=2)
        assert "Missing option '-o'" in refused("nash", "game.toml", "-k", 2, code=2)
        assert refused(*base, "-k", 5) == "k: found 5, expected at most n = 4"
        assert refused(*base, "-k", 3, "-n", 2) == "k: found 3, expected at most n = 2"
        for words in (
            ("-k", 0), ("-k", "two"), ("-n", 0), ("--closure", "open"), ("--tau-min", 0), ("--tau-scale", "nan"),
            ("--max-rounds", 0), ("--rtol", -1), ("--runs", 1), ("--steps", 0), ("--value", "guess"), ("--seed", -1),
            ("--exploitability", "maybe"), ("--expectation", "wild"), ("--samples", 0), ("--config", "."), ("-o", ""),
        ):  # fmt: skip
            refused(*base, "-k", 2, *words, code=2)
        assert "expected at most" in refused(*base, "-k", 2, "-n", 2**31)
        assert "rounding" in refused(*base, "-k", 2, "--tol", 1e-300, "-q")
        refused(*base, "-k", 2, "-n", 400, "--value", "exact", "--memory", "1MB")
        refused("nash", "no-game", "-k", 2, "-o", "a.h5")
        refused(*base, "-k", 2, "--local-policy", "none.npy")
        for words in (("-n", 1), ("--tol", 1e-300), ("-n", 2**31), ("--method", "mean-field", "-n", 2**31)):
            refused("exploitability", "pair.h5", *words, "-q")
        for words in (("--runs", 3), ("--tol", 0), ("--reward", "fame"), ("--method", "luck")):
            refused("exploitability", "pair.h5", *words, code=2)
        assert "no such file" in refused("exploitability", "none.h5")
        assert "what the command reads" in refused("exploitability", "pair.h5", "-o", "pair.h5", "--force", code=2)
        assert "what the command reads" in refused("nash", "game.toml", "-k", 2, "-o", "game.toml", "--force", code=2)


def test_what_exists_is_kept_without_force(here):
    with unchanged(here):
        assert "pair.h5: exists already" in refused("nash", "game.toml", "-k", 2, "-o", "pair.h5")
        (here / "e.h5").touch()
        assert "e.h5: exists already" in refused("exploitability", "pair.h5", "-o", "e.h5")
        (here / "e.h5").unlink()
        assert "no folder" in refused("nash", "game.toml", "-k", 2, "-o", "none/a.h5")
    for left in ("a.h5.checkpoint", "a.h5.checkpoint.round-2"):
        (here / left).write_bytes(b"no checkpoint")
        with unchanged(here):
            assert "a.h5.checkpoint: exists already" in refused("nash", "game.toml", "-k", 2, "-o", "a.h5", "-q")
        succeed("nash", "game.toml", "-k", 2, "-o", "a.h5", "--force", "-q")
        assert sorted(path.name for path in here.iterdir()) == ["a.h5", "game.toml", "pair.h5"]
        (here / "a.h5").unlink()
    (here / "a.h5.checkpoint").write_bytes(b"no checkpoint")
    with unchanged(here):
        assert "damaged or not a kofn file" in refused("nash", "game.toml", "-k", 2, "-o", "a.h5", "--resume", "-q")


def test_resume_without_a_checkpoint_starts(here):
    result = run("nash", "game.toml", "-k", 2, "-o", "a.h5", "--resume")
    assert result.exit_code == 0
    assert result.stderr.startswith("a.h5.checkpoint: no checkpoint, starting with round 1\n")
    assert_same_contents(here / "a.h5", here / "pair.h5")


# ---- The authors' file


def write_config(folder, **changes):
    """The authors' file with section.key replaced, or removed by None."""
    document = copy.deepcopy(AUTHORS)
    for name, value in changes.items():
        section, _, key = name.partition("__")
        if not key:
            document[section] = value
        elif value is None:
            del document[section][key]
        else:
            document.setdefault(section, {})[key] = value
    path = folder / "authors.json"
    path.write_text(json.dumps(document))
    return path


def test_authors_file_sets_everything(here):
    path = write_config(here)
    succeed("nash", "robots", "--config", path, "-o", "a.h5", "-q", "--exploitability", "none")
    settings = read_equilibrium("a.h5").settings
    assert (settings.k, settings.n, settings.closure) == (3, 6, "uniform")
    assert (settings.tau_min, settings.tau_scale, settings.max_rounds, settings.rtol) == (0.4, 2.5, 2, 0.02)
    assert (settings.tol, settings.samples, settings.steps, settings.runs) == (1e-3, 4, 11, 6)
    config = read_authors_config(path)
    assert (config.k, config.seeds) == ((1, 2, 3), 2)
    # What is given on the command line goes before it.
    succeed(
        "nash", "robots", "--config", path, "-o", "a.h5", "-q", "--force", "-k", 1, "-n", 2, "--max-rounds", 1,
        "--tau-min", 0.7, "--closure", "joint", "--tol", 0.1, "--runs", 5, "--value", "simulated",
    )  # fmt: skip
    settings = read_equilibrium("a.h5").settings
    assert (settings.k, settings.n, settings.closure, settings.max_rounds) == (1, 2, "joint", 1)
    assert (settings.tau_min, settings.tol, settings.runs, settings.rtol) == (0.7, 0.1, 5, 0.02)


def test_authors_file_may_be_short(here):
    path = here / "authors.json"
    path.write_text('\ufeff{"environment": {"n_agents": 6}}', encoding="utf-8")
    config = read_authors_config(path)
    assert (config.k, config.n, config.gamma, config.sizes) == ((1, 2, 3, 5), 6, None, {})
    path.write_text("{}")
    assert read_authors_config(path).k[-1] == 20
    path.write_text('{"experiment": {"k_values": [7, 2, 2]}}')
    assert read_authors_config(path).k == (2, 7)


BAD_FIELDS = [
    ("environment__n_global_states", 4), ("environment__n_local_states", 6), ("environment__n_global_actions", 1),
    ("environment__n_local_actions", 2), ("environment__gamma", 0.9), ("environment__gamma", 1.0),
    ("environment__gamma", "0.95"), ("environment__gamma", -0.1), ("environment__n_agents", 0),
    ("environment__n_agents", 2.5), ("environment__n_agents", 2**39), ("environment__n_agents", 10**400),
    ("environment__n_agents", True), ("environment__color", 1), ("global_agent__n_mc_samples", -3),
    ("global_agent__n_mc_samples", [4]), ("global_agent__max_vi_iterations", 1e3),
    ("global_agent__convergence_threshold", 0), ("global_agent__convergence_threshold", 1e-300),
    ("local_agent__convergence_threshold", float("nan")), ("local_agent__softmax_temperature_scale", float("inf")),
    ("local_agent__softmax_temperature_min", 10**400), ("local_agent__softmax_temperature_min", None.__class__.__name__),
    ("alternating__n_outer_iterations", "5"), ("alternating__convergence_rtol", -0.01), ("evaluation__n_rollouts", 0),
    ("evaluation__horizon", {"steps": 3}), ("evaluation__horizon", False), ("experiment__k_range", [3, 1]),
    ("experiment__k_range", [1, 2, 3]), ("experiment__k_range", [1, 7]), ("experiment__k_range", [1, 10**9]),
    ("experiment__k_range", 3), ("experiment__k_range", []), ("experiment__n_eval_seeds", 0),
    ("experiment__n_eval_seeds", 10**9), ("experiment__\nlines", 1), ("experiment__" + "x" * 5000, 1),
    ("surprise", {}), ("evaluation", 3), ("evaluation", None), ("experiment", [1]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD_FIELDS, ids=lambda x: repr(x)[:30])
def test_bad_fields_of_the_authors_file(name, value, here):
    path = write_config(here)
    document = json.loads(path.read_text())
    section, _, key = name.partition("__")
    if key:
        document[section][key] = value
    else:
        document[section] = value
    path.write_text(json.dumps(document))
    with unchanged(here):
        message = refused("nash", "robots", "--config", path, "-o", "a.h5", "-q")
        assert len(message) < 700
        if "threshold" not in name or value != 1e-300:
            shown = key if key.isidentifier() and len(key) < 100 else section
            assert shown in message or (value == 2**39 and message.startswith("n: ")) or "k = " in message
        if value == 1e-300:
            # Found in the first solve.
            return
        refused("study", "robots", "--config", path, "-o", here / "study", "-q", "--jobs", 1)


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b"not json", b'{"a"', b"\xff\xfe", b"[" * 100_000, b"3", b'{"environment": {"gamma": NaN}}']
)  # fmt: skip
def test_files_that_are_no_authors_file(content, here):
    (here / "authors.json").write_bytes(content)
    with unchanged(here):
        message = refused("nash", "robots", "--config", "authors.json", "-o", "a.h5")
    assert message.startswith("authors.json: ")
    assert len(message) < 500


def test_no_authors_file_at_all(here):
    with unchanged(here):
        assert refused("nash", "robots", "--config", "none.json", "-o", "a.h5").startswith("none.json: no such file")
        refused("nash", "robots", "--config", here, "-o", "a.h5", code=2)
        assert refused("nash", "robots", "--config", "x" * 300, "-o", "a.h5").startswith("x" * 300)
        path = write_config(here)
        assert "what the command reads" in refused("nash", "robots", "--config", path, "-o", path, "--force", code=2)
        path.unlink()
    (here / "huge.json").write_bytes(b" " * 1_000_001)
    assert "expected at most 1000000" in refused("nash", "robots", "--config", "huge.json", "-o", "a.h5")


# ---- Stops and kills

# Long simulations: seconds of work in every round.
LONG = [
    "-k",
    2,
    "--value",
    "simulated",
    "--runs",
    200,
    "--steps",
    2000,
    "--tol",
    1e-9,
    "--exploitability",
    "exact",
    "-q",
]


@pytest.fixture(scope="module")
def whole(shelf, tmp_path_factory):
    """The result of an undisturbed run."""
    path = tmp_path_factory.mktemp("whole") / "whole.h5"
    succeed("nash", shelf / "game.toml", *LONG, "-o", path)
    assert len(read_equilibrium(path).rounds) >= 2
    return path


def finish(folder, whole):
    succeed("nash", "game.toml", *LONG, "-o", "a.h5", "--resume")
    assert_same_contents(folder / "a.h5", whole)
    assert sorted(path.name for path in folder.iterdir()) == ["a.h5", "game.toml", "pair.h5"]


@pytest.mark.slow
def test_stopped_runs_say_so_and_go_on(here, whole):
    delays = random.Random(4)
    for number in (signal.SIGTERM, signal.SIGINT):
        with Session(KOFN, "nash", "game.toml", *LONG, "-o", "a.h5", "--resume", folder=here) as command:
            command.wait_for(lambda: catches_sigterm(command.pid))
            time.sleep(delays.uniform(0.0, 0.5))
            command.kill(number)
            code, out, err = command.finish(TIMEOUT_S)
        assert (code, out) == (1, "")
        assert err.startswith("Error: stopped")
        assert err.count("\n") == 1
        assert not (here / "a.h5").exists()
    if any(here.glob("a.h5.checkpoint*")):
        assert "exists already, expected --resume" in refused("nash", "game.toml", *LONG, "-o", "a.h5")
    finish(here, whole)


@pytest.mark.slow
def test_killed_runs_go_on(here, whole):
    delays = random.Random(5)
    for kill in range(3):
        with Session(
            KOFN, "nash", "game.toml", *LONG, "-o", "a.h5", "--resume", "--checkpoint-every", 0, folder=here
        ) as command:
            checkpoint = here / "a.h5.checkpoint"
            # At the start of a G-LEARN, or after a round.
            command.wait_for(checkpoint.exists if kill else lambda: any(here.glob("a.h5.checkpoint*")))
            time.sleep(delays.uniform(0.0, 0.3))
            command.kill(signal.SIGKILL)
            assert command.finish(TIMEOUT_S)[0] == -signal.SIGKILL
        assert not (here / "a.h5").exists()
    finish(here, whole)
