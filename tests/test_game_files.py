"""Games from TOML and JSON files: what they say, and one clear line for every broken file."""

import json
import re

import numpy as np
import pytest
from command_runs import refusal_of_game

from kofn.engine import game_files
from kofn.engine.game import Labels
from kofn.engine.game_files import list_games, load_game, load_settings

# A walker with a lamp: small, with every kind of label, randomness and initial law.
TOML = '''
name = "lamp"
description = "A lamp and walkers"
gamma = 0.5
agents = 3
[global]
states = ["off", "on"]
actions = [0, 1]
initial = { state = "on" }
[local]
states = [[0, 0], [0, 1], [1, 0]]
actions = { range = [-1, 1] }
initial = { dirichlet = [1.0, 2.0, 0.5] }
[constants]
switching = 0.75
prizes = [1.0, 2.0]
[functions]
global_reward = "prizes[global_action] if global_state == 'on' else 0"
global_transition = """
def step(state, action):
    if random.random() < switching:
        return "on" if action == 1 else "off"
    return state
"""
local_reward = """
# The lamp pays.
value = local_state[0] + 10 * local_action
return value + (100 if global_state == "on" else 0)
"""
local_transition = """
def walk(local_state, global_state, local_action):
    return random.choice([(0, 0), [0, 1.0], local_state])
"""
'''

# The layout that the authors of SUBSAMPLE-MFQ use, with a game of our own: a thermostat and rooms.
CONFIG = {
    "environment": {
        "global_agent": {"state_space": [0, 1], "action_space": [0, 1]},
        "local_agent": {"state_space": [18, 20, 22], "action_space": ["close", "open"]},
        "functions": {
            "local_agent_reward": [
                "def local_agent_reward(local_state, global_state, local_action):",
                "    draught = 1.5 if local_action == 'open' else 0.0",
                "    return -abs(local_state - 20) - draught",
            ],
            "global_agent_reward": [
                "def global_agent_reward(global_state, global_action):",
                "    # Gas, and the wear of a start.",
                "    return -1.0 * global_state - (0.5 if global_action > global_state else 0.0)",
            ],
            "local_agent_transition": [
                "def local_agent_transition(local_state, global_state, local_action):",
                "    step = 2 if global_state == 1 else -2",
                "    if local_action == 'open':",
                "        step -= 2",
                "    return min(22, max(18, local_state + step))",
            ],
            "global_agent_transition": [
                "def global_agent_transition(global_state, global_action):",
                "    return global_action if random.random() < 0.9 else global_state",
            ],
        },
    },
    "simulation": {
        "horizon": 50,
        "num_local_agents": 6,
        "monte_carlo_samples": 4,
        "discount_factor": 0.8,
        "training_steps": 30,
        "deployment_runs": 5,
        "label": "ours",
        "quick": True,
    },
    "visualization": {"save_plot": False},
}


def written(tmp_path, text, name="game.toml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


# ---- TOML


def test_toml_game(tmp_path):
    game = load_game(written(tmp_path, TOML))
    assert (game.name, game.description, game.gamma, game.n_agents) == ("lamp", "A lamp and walkers", 0.5, 3)
    assert game.labels == Labels(("off", "on"), (0, 1), ((0, 0), (0, 1), (1, 0)), (-1, 0, 1))
    assert game.rho_g.tolist() == [0.0, 1.0]
    assert game.dirichlet
    assert game.rho_l.tolist() == [1.0, 2.0, 0.5]
    assert game.r_g.tolist() == [[0.0, 0.0], [1.0, 2.0]]
    np.testing.assert_array_equal(game.P_g, [[[1, 0], [0.25, 0.75]], [[0.75, 0.25], [0, 1]]])
    for s_g in range(2):
        for s_l, pair in enumerate(((0, 0), (0, 1), (1, 0))):
            law = np.array([1, 1, 0]) / 3
            law[s_l] += 1 / 3
            for a_l in range(3):
                assert game.r_l[s_g, s_l, a_l] == pair[0] + 10 * (a_l - 1) + 100 * s_g
                np.testing.assert_allclose(game.P_l[s_g, s_l, a_l], law, rtol=0, atol=1e-15)


def test_toml_defaults_and_windows_lines(tmp_path):
    text = re.sub(r"(?m)^(name|description|agents|initial) = .*\n", "", TOML)
    path = tmp_path / "plain.toml"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    game = load_game(str(path))
    assert (game.name, game.description, game.n_agents, game.dirichlet) == ("plain", "", None, False)
    assert game.rho_g.tolist() == [0.5, 0.5]
    assert game.rho_l.tolist() == [1 / 3] * 3


def test_toml_initial_laws(tmp_path):
    text = TOML.replace('{ state = "on" }', "[0.25, 0.75]").replace("{ dirichlet = [1.0, 2.0, 0.5] }", '"uniform"')
    game = load_game(written(tmp_path, text))
    assert game.rho_g.tolist() == [0.25, 0.75]
    assert (game.dirichlet, game.rho_l.tolist()) == (False, [1 / 3] * 3)
    game = load_game(written(tmp_path, TOML.replace("{ dirichlet = [1.0, 2.0, 0.5] }", "{ dirichlet = 0.3 }")))
    assert (game.dirichlet, game.rho_l.tolist()) == (True, [0.3] * 3)
    game = load_game(written(tmp_path, TOML.replace("{ dirichlet = [1.0, 2.0, 0.5] }", "{ state = [1, 0] }")))
    assert (game.dirichlet, game.rho_l.tolist()) == (False, [0.0, 0.0, 1.0])


def test_any_function_may_be_a_table(tmp_path):
    by_functions = load_game(written(tmp_path, TOML))
    tables = {name: getattr(by_functions, name).tolist() for name in ("P_g", "P_l", "r_g", "r_l")}
    head = TOML[: TOML.index("[functions]")]
    all_tables = head + "[tables]\n" + "".join(f"{name} = {table}\n" for name, table in tables.items())
    assert load_game(written(tmp_path, all_tables)).digest() == by_functions.digest()
    mixed = re.sub(r"global_reward = .*\n", "", TOML) + f"[tables]\nr_g = {tables['r_g']}\n"
    assert load_game(written(tmp_path, mixed)).digest() == by_functions.digest()


@pytest.mark.parametrize(
    ("found", "replaced_by", "words"),
    [
        ("gamma = 0.5", "", "gamma: missing"),
        ("gamma = 0.5", "gama = 0.5", "gama: unknown key, expected gamma, global, local, name"),
        ("gamma = 0.5", "gama = 0.5", "did you mean gamma?"),
        ("gamma = 0.5", "gamma = 1.5", "gamma: found 1.5"),
        ("gamma = 0.5", "gamma = nan", "gamma: found nan"),
        ("gamma = 0.5", 'gamma = "high"', "gamma: found 'high'"),
        ("gamma = 0.5", "gamma = ", "at line 4, column 9"),
        ("gamma = 0.5", "gamma = 0.5\ngamma = 0.6", "at line 5"),
        ("agents = 3", "agents = 0", "agents: found 0"),
        ("agents = 3", "agents = 2.5", "agents: found 2.5"),
        ('name = "lamp"', "name = 3", "name: found 3"),
        ("[global]\n", "[globl]\n", "globl: unknown key"),
        ("[global]\n", "[global]\nstats = []\n", "[global] stats: unknown key, expected states"),
        ('states = ["off", "on"]\n', "", "[global] states: missing"),
        ('states = ["off", "on"]', 'states = "off"', "[global] states: found 'off'"),
        ('states = ["off", "on"]', 'states = ["off", "off"]', "global_states: found 'off' at 0 and at 1"),
        ('states = ["off", "on"]', "states = []", "global_states: found no labels"),
        ('states = ["off", "on"]', "states = [1979-05-27]", "global_states[0]: found datetime.date"),
        ("range = [-1, 1]", "range = [1, -1]", "[local] actions: found a range of -1 labels"),
        ("range = [-1, 1]", "range = [0, 1_000_000_000_000]", "[local] actions: found a range of 1000000000001 labels"),
        ("range = [-1, 1]", "range = [0.0, 1.0]", "[local] actions: found range [0.0, 1.0]"),
        ("range = [-1, 1]", "range = 3", "[local] actions: found range 3"),
        ("range = [-1, 1]", "rnge = [-1, 1]", "[local] actions: found {'rnge'"),
        ('{ state = "on" }', '{ state = "dim" }', "[global] initial: found state 'dim', expected one of ['off', 'on']"),
        ('{ state = "on" }', '"unifrm"', "[global] initial: found 'unifrm', expected one of"),
        ('{ state = "on" }', "{ dirichlet = 1.0 }", "[global] initial: found {'dirichlet': 1.0}"),
        ('{ state = "on" }', "[0.5, 0.6]", "rho_g: found row sum 1.1"),
        ("[1.0, 2.0, 0.5]", "[1.0, 2.0]", "rho_l: found 2 entries, expected 3"),
        ("[1.0, 2.0, 0.5]", "[1.0, 2.0, 0.0]", "rho_l: found concentration 0"),
        ("switching = 0.75", "switching = 1979-05-27", "switching"),
        ("switching = 0.75", "swiching = 0.75", "[functions] global_transition, line 2: "),
        ("local_reward =", "local_rewrd =", "[functions] local_rewrd: unknown key"),
        ("local_reward =", "local_rewrd =", "did you mean local_reward?"),
        ("    return state\n", "    return stat\n", "[functions] global_transition, line 4: "),
        (
            "    return state\n",
            "    return 'dim'\n",
            "global_transition(global_state='off', global_action=0): ",
        ),
        ("def step(state, action)", "def step(state)", "[functions] global_transition, line 1: "),
        ("walk(local_state, global_state,", "walk(global_state, local_state,", "found parameters in the order"),
        ("return value +", "return random.random() +", "[functions] local_reward, line 3: "),
        ("return value +", "return 'x' or", "local_reward(local_state=(0, 0), global_state='off', local_action=-1)"),
        ("# The lamp pays.", "import os", "[functions] local_reward, line 1: "),
        ("value = local_state[0]", "value = open('/etc/passwd')", "[functions] local_reward, line 2: "),
        ("[constants]", "[tables]\nr_g = [[0, 0], [1, 2]]\n[constants]", "found it and [tables] r_g"),
        ("[constants]", "[tables]\nR_g = 3\n[constants]", "[tables] R_g: unknown key, expected r_g"),
        ("[constants]", "[tables]\nx = 3\n[constnts]", "constnts: unknown key"),
        ("[functions]", "[other]", "other: unknown key"),
    ],
)
def test_broken_toml_is_refused_in_one_line(tmp_path, found, replaced_by, words):
    assert found in TOML
    path = written(tmp_path, TOML.replace(found, replaced_by, 1))
    message = refusal_of_game(path)
    assert message.startswith(f"{path}: ")
    assert words in message


def test_missing_function_is_named(tmp_path):
    text = re.sub(r'local_reward = """.*?"""\n', "", TOML, flags=re.DOTALL)
    assert "[functions] local_reward: missing, expected it or [tables] r_l" in refusal_of_game(written(tmp_path, text))


def test_sections_must_be_sections(tmp_path):
    assert "global: found 3, expected a section" in refusal_of_game(
        written(tmp_path, "gamma = 0.5\nglobal = 3\nlocal = 4\n")
    )


def test_toml_of_another_shape_than_its_spaces(tmp_path):
    text = re.sub(r"global_reward = .*\n", "", TOML) + "[tables]\nr_g = [[1.0, 2.0]]\n"
    assert "r_g: found shape (1, 2), expected (2, 2)" in refusal_of_game(written(tmp_path, text))


def test_endless_functions_end(tmp_path, monkeypatch):
    endless = TOML.replace("value = local_state[0]", "while True: pass\nvalue = 0", 1)
    assert "[functions] local_reward, line 2: " in refusal_of_game(written(tmp_path, endless))
    monkeypatch.setattr(game_files, "MAX_TABULATION_STEPS", 100)
    assert "more than 100 steps of work" in refusal_of_game(written(tmp_path, TOML))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"x = [" * 100_000, b"x = " + b"9" * 5000, b"\x00", b"gamma"])
@pytest.mark.parametrize("suffix", [".toml", ".json"])
def test_bytes_that_are_no_game(tmp_path, content, suffix):
    path = tmp_path / f"game{suffix}"
    path.write_bytes(content)
    assert refusal_of_game(path).startswith(f"{path}: ")


# ---- names and paths


def test_unknown_name_lists_the_built_in_games():
    message = refusal_of_game("formatoin")
    assert message.startswith("game: found 'formatoin', expected a built-in game (")
    assert all(name in message for name in list_games())
    assert message.endswith("did you mean formation?")
    assert "did you mean" not in refusal_of_game("qqq")
    assert refusal_of_game("").startswith("game: found")


@pytest.mark.parametrize("name", ["nothing.toml", "nothing.json", "nothing.h5"])
def test_missing_file(tmp_path, name):
    path = tmp_path / name
    assert refusal_of_game(path) == f"{path}: cannot be read, No such file or directory; expected a game file"


@pytest.mark.parametrize("name", ["folder.toml", "folder.json", "folder.h5"])
def test_folder_instead_of_a_file(tmp_path, name):
    (tmp_path / name).mkdir()
    assert refusal_of_game(tmp_path / name).startswith(f"{tmp_path / name}: ")


def test_other_suffix(tmp_path):
    path = written(tmp_path, TOML, "game.yaml")
    assert refusal_of_game(path) == f"{path}: found suffix '.yaml', expected .toml, .json or .h5"


# ---- JSON


def test_authors_layout(tmp_path):
    path = written(tmp_path, json.dumps(CONFIG), "rooms.json")
    game = load_game(path)
    assert (game.name, game.gamma, game.n_agents) == ("rooms", 0.8, 6)
    assert game.labels == Labels((0, 1), (0, 1), (18, 20, 22), ("close", "open"))
    assert game.rho_g.tolist() == [0.5, 0.5]
    assert game.r_g.tolist() == [[0.0, -0.5], [-1.0, -1.0]]
    np.testing.assert_allclose(game.P_g, [[[1, 0], [0.1, 0.9]], [[0.9, 0.1], [0, 1]]], rtol=0, atol=1e-15)
    for s_g in range(2):
        for s_l, room in enumerate((18, 20, 22)):
            for a_l in range(2):
                target = min(22, max(18, room + (2 if s_g else -2) - 2 * a_l))
                assert game.P_l[s_g, s_l, a_l].tolist() == [float(t == target) for t in (18, 20, 22)]
                assert game.r_l[s_g, s_l, a_l] == -abs(room - 20) - 1.5 * a_l


def test_settings_of_a_study(tmp_path):
    path = written(tmp_path, json.dumps(CONFIG), "rooms.json")
    assert load_settings(path) == {
        "horizon": 50,
        "monte_carlo_samples": 4,
        "training_steps": 30,
        "deployment_runs": 5,
    }
    assert load_settings(written(tmp_path, TOML)) == {}
    for broken in ("{", "[]", "{}", '{"simulation": 3}'):
        with pytest.raises(ValueError, match=r"broken\.json: "):
            load_settings(written(tmp_path, broken, "broken.json"))
    with pytest.raises(ValueError, match="cannot be read"):
        load_settings(tmp_path / "nothing.json")


def test_agents_are_optional_in_json(tmp_path):
    config = json.loads(json.dumps(CONFIG))
    del config["simulation"]["num_local_agents"], config["visualization"]
    assert load_game(written(tmp_path, json.dumps(config), "rooms.json")).n_agents is None


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("environment",), None, "environment: missing"),
        (("simulation",), None, "simulation: missing"),
        (("environment",), 3, "environment: found 3, expected a section"),
        (("environment", "local_agent"), None, "environment.local_agent: missing, found global_agent"),
        (("environment", "global_agent", "state_space"), None, "environment.global_agent.state_space: missing"),
        (("environment", "global_agent", "action_space"), 3, "environment.global_agent.action_space: found 3"),
        (("environment", "functions", "local_agent_reward"), None, "functions.local_agent_reward: missing"),
        (("environment", "functions", "local_agent_reward"), 3, "environment.functions.local_agent_reward, line 1"),
        (("environment", "functions", "local_agent_reward"), ["def f(x, y, z):", "  return x +"], "line 2"),
        (("environment", "functions", "local_agent_reward"), ["x", 3], "environment.functions.local_agent_reward"),
        (("simulation", "discount_factor"), None, "simulation.discount_factor: missing"),
        (("simulation", "discount_factor"), 1, "gamma: found 1"),
        (("simulation", "num_local_agents"), -1, "simulation.num_local_agents: found -1"),
    ],
)
def test_broken_json_is_refused_in_one_line(tmp_path, path, value, words):
    config = json.loads(json.dumps(CONFIG))
    *sections, last = path
    section = config
    for key in sections:
        section = section[key]
    if value is None:
        del section[last]
    else:
        section[last] = value
    message = refusal_of_game(written(tmp_path, json.dumps(config), "rooms.json"))
    assert message.startswith(f"{tmp_path / 'rooms.json'}: ")
    assert words in message


def test_malformed_json_says_where(tmp_path):
    assert ": line 2, column 3: " in refusal_of_game(written(tmp_path, '{"a": 1,\n  b}', "rooms.json"))
    assert "expected an object" in refusal_of_game(written(tmp_path, "[1]", "rooms.json"))
