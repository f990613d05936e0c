"""Clumsy and hostile games: one line that names file and field, exit code 1, nothing written."""

import json
import os

import pytest
from command_runs import GAME, refused, succeed, unchanged, write_game

GLOBAL_REWARD = "\"1.0 if global_state == 'on' else 0.0\""
GLOBAL_STEP = "return 'on' if random.random() < 0.3 + 0.4 * global_action else 'off'"
HEAD = GAME.partition("[functions]")[0]
TABLES = {
    "P_g": "[[[1, 0], [0, 1]], [[1, 0], [0, 1]]]",
    "P_l": "[[[[1, 0], [0, 1]], [[1, 0], [0, 1]]], [[[1, 0], [0, 1]], [[1, 0], [0, 1]]]]",
    "r_g": "[[1, 2], [3, 4]]",
    "r_l": "[[[1, 0], [0, 1]], [[1, 0], [0, 1]]]",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def assert_refused(here, path, words):
    """Every command that reads a game refuses it in the same line and writes nothing."""
    for arguments in (
        ("solve", path, "-k", 1, "-o", "new.h5"),
        ("study", path, "-k", 1, "-n", 2, "-o", "new"),
        ("games", path),
    ):
        with unchanged(here):
            message = refused(*arguments)
        assert message.startswith(f"{path}: ")
        assert words in message
        assert len(message) < 400


def refuse_text(here, content, words, name="bad.toml"):
    (here / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert_refused(here, name, words)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("gamma = 0.5", "gamma = 1", "gamma: found 1, expected a number with 0 <= gamma < 1"),
        ("gamma = 0.5", "gamma = 1.0", "gamma: found 1.0"),
        ("gamma = 0.5", "gamma = -0.1", "gamma: found -0.1"),
        ("gamma = 0.5", "gamma = nan", "gamma: found nan"),
        ("gamma = 0.5", "gamma = inf", "gamma: found inf"),
        ("gamma = 0.5", 'gamma = "half"', "gamma: found 'half'"),
        ("gamma = 0.5", "gama = 0.5", "gama: unknown key, expected gamma, global"),
        ("gamma = 0.5", "", "gamma: missing"),
        ("gamma = 0.5", "gamma = 0.5\ngamma = 0.6", "(at line"),
        ("gamma = 0.5", "gamma = ", "(at line 4"),
        ("gamma = 0.5", "gamma = " + "9" * 5000, "digits"),
        ("agents = 4", "agents = 0", "agents: found 0"),
        ("agents = 4", "agents = 1.5", "agents: found 1.5"),
        ("agents = 4", f"agents = {2**63}", "agents: found 9223372036854775808"),
        ('name = "rooms"', "name = 3", "name: found 3, expected a string"),
        ('name = "rooms"', f'name = "{"x" * 70_000}"', "name: found 'xxx"),
        ('name = "rooms"', 'name = "a\\u0000b"', "expected at most 1,000 printable characters"),
        ('name = "rooms"', 'name = "a\\nb"', "expected at most 1,000 printable characters"),
        ('name = "rooms"', 'name = "\\u001b[2J"', "expected at most 1,000 printable characters"),
        ('description = "A lamp', f'description = "{"x" * 70_000}', "expected at most 10,000 printable characters"),
        ('["off", "on"]', "[]", "found no labels"),
        ('["off", "on"]', '["on", "on"]', "found 'on' at 0 and at 1, expected distinct labels"),
        ('["off", "on"]', "[1, 1.0]", "found 1.0 at 0 and at 1, expected distinct labels"),
        ('["off", "on"]', "[nan, 1]", "found nan"),
        ('["off", "on"]', "[[], 1]", "found []"),
        ('["off", "on"]', '["a\\nb", "c"]', "[global] states, label 0: found 'a\\nb'"),
        ('["off", "on"]', "[1979-05-27]", "found datetime.date"),
        ('["off", "on"]', "{ range = [5, 1] }", "found a range of -3 labels"),
        ('["off", "on"]', "{ range = [0, 10000000000] }", "found a range of 10000000001 labels"),
        ('["off", "on"]', '"off"', "[global] states: found 'off', expected a list"),
        ("actions = [0, 1]", "actions = [0, 1]\ninitial = [0.5, 0.6]", "rho_g: found row sum 1.1"),
        ("actions = [0, 1]", "actions = [0, 1]\ninitial = [nan, 1.0]", "rho_g[0]: found nan"),
        ("actions = [0, 1]", "actions = [0, 1]\ninitial = [1.0]", "rho_g: found 1 entries, expected 2"),
        ("actions = [0, 1]", "actions = [0, 1]\ninitial = { dirichlet = 1 }", "[global] initial: found"),
        ("actions = [0, 1]", 'actions = [0, 1]\ninitial = { state = "dim" }', "found state 'dim', expected one of"),
        ("actions = [0, 1]", "actions = [0, 1]\ncolour = 3", "[global] colour: unknown key"),
        ('["stay", "swap"]', '["stay", "swap"]\ninitial = { dirichlet = 0 }', "rho_l: found concentration 0"),
        ('["stay", "swap"]', '["stay", "swap"]\ninitial = { dirichlet = -1 }', "rho_l: found concentration -1"),
        ('["stay", "swap"]', '["stay", "swap"]\ninitial = { dirichlet = nan }', "rho_l[0]: found nan"),
        ("[functions]", "[constants]\nfor = 1\n[functions]", "[constants] 'for': found no name for a constant"),
        ("[functions]", "[constants]\nrandom = 1\n[functions]", "[constants] 'random': found no name"),
        ("[functions]", "[constants]\nx = 1979-05-27\n[functions]", "x: found date"),
        ("[functions]", "[tables]\nr_g = [[1, 2], [3, 4]]\n[functions]", "found it and [tables] r_g"),
        ("[functions]", "[function]", "function: unknown key"),
    ],
)  # fmt: skip
def test_wrong_entries(here, old, new, words):
    write_game(here, (old, new), name="bad.toml")
    assert_refused(here, "bad.toml", words)


@pytest.mark.parametrize(
    ("table", "value", "words"),
    [
        ("P_g", "[[[0.5, 0.4], [0, 1]], [[1, 0], [0, 1]]]", "P_g[0, 0] (labels 'off', 0): found row sum 0.9"),
        ("P_g", "[[[nan, 1], [0, 1]], [[1, 0], [0, 1]]]", "P_g[0, 0, 0]: found nan"),
        ("P_g", "[[[inf, 1], [0, 1]], [[1, 0], [0, 1]]]", "P_g[0, 0, 0]: found inf"),
        ("P_g", "[[[-0.5, 1.5], [0, 1]], [[1, 0], [0, 1]]]", "found probability -0.5"),
        ("P_g", "[[[1, 0], [0, 1]], [[1, 0]]]", "P_g: found lists of unequal lengths"),
        ("P_g", "[[[1, 0], [0, 1]]]", "P_g: found shape (1, 2, 2)"),
        ("P_g", "[]", "P_g: found 1 axes with shape (0,)"),
        ("r_g", "[[1], [2]]", "r_g: found shape (2, 1), expected (2, 2)"),
        ("r_g", "[[nan, 1], [1, 1]]", "r_g[0, 0]: found nan"),
        ("r_g", '[["1", "2"], ["3", "4"]]', "r_g: found entries of type <U1"),
        ("r_g", "[[" + "9" * 400 + ", 1], [1, 1]]", "r_g: found entries of type object"),
        ("r_l", "[[[inf, 0], [0, 1]], [[1, 0], [0, 1]]]", "r_l[0, 0, 0]: found inf"),
        ("r_l", "[[1, 0], [0, 1]]", "r_l: found 2 axes"),
        ("r_l", "", "local_reward: missing, expected it or [tables] r_l"),
    ],
)  # fmt: skip
def test_wrong_tables(here, table, value, words):
    lines = [f"{name} = {entry}" for name, entry in {**TABLES, table: value}.items() if entry]
    refuse_text(here, HEAD + "[tables]\n" + "\n".join(lines), words)


def test_the_tables_are_sound_before_they_are_spoiled(here):
    lines = [f"{name} = {entry}" for name, entry in TABLES.items()]
    (here / "good.toml").write_text(HEAD + "[tables]\n" + "\n".join(lines))
    succeed("solve", "good.toml", "-k", 1, "-o", "good.h5", "-q")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("while True: pass", "runs for more than 200,000 steps, for global_state='off', global_action=0"),
        ("x = 2\nwhile True: x = x * x", "a whole number of 2**64 or more"),
        ("10 ** 10 ** 10", "a whole number of 2**64 or more"),
        ("[0] * 10**9", "a list of length 1,000,000,000"),
        ("().__class__.__bases__[0].__subclasses__()", "is not available in function texts"),
        ("global_state.real", "attribute .real is not available"),
        ("import os", "import os is not available"),
        ("__import__('os').system('true')", "is not available"),
        ("open('/etc/passwd')", "function open is not available"),
        ("exec('1')", "function exec is not available"),
        ("print(1)", "function print is not available"),
        ("lambda: 1", "lambda is not available"),
        ("def f(a, b):\n  return f(a, b)", "f calls itself"),
        ("def f(a): return 1", "1 parameters (a), expected 2"),
        ("def f(global_action, global_state): return 1", "found parameters in the order"),
        ("1 / 0", "division by zero, for global_state='off', global_action=0"),
        ("1 if", "line 1"),
        ("", "ends without a return"),
        ("speed", "name speed is not defined"),
        ("'a'", "global_reward(global_state='off', global_action=0): returned 'a', expected a finite number"),
        ("1e400", "returned inf, expected a finite number"),
        ("math.nan", "returned nan, expected a finite number"),
        ("random.random()", "the value is random.random()"),
        ("\\u0000", "not valid Python"),
    ],
)  # fmt: skip
def test_hostile_functions(here, text, words):
    write_game(here, (GLOBAL_REWARD, '"' + text.replace("\n", "\\n") + '"'), name="bad.toml")
    assert_refused(here, "bad.toml", words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("return 'dim'", "returned the next state 'dim', expected one of ['off', 'on']"),
        ("return 3", "returned the next state 3"),
        ("return random.choice(['on', 'dim'])", "returned the next state 'dim'"),
        ("return random.choice([])", "found an empty one"),
        ("return random.choices(['on', 'off'], [0, 0])[0]", "all weights are 0"),
        ("return random.gauss(0, 1)", "random.gauss cannot be enumerated"),
        ("return None", "the value is None"),
    ],
)
def test_transitions_that_leave_the_space_name_the_inputs(here, text, words):
    write_game(here, (GLOBAL_STEP, text), name="bad.toml")
    assert_refused(here, "bad.toml", words)
    write_game(here, (GLOBAL_STEP, text), name="bad.toml")
    message = refused("games", "bad.toml")
    assert "global_transition" in message
    if "returned" in words:
        assert "global_transition(global_state='off', global_action=0)" in message


def test_a_local_transition_that_leaves_the_space_names_all_its_inputs(here):
    write_game(
        here, ('global_state == "on" and random.random() < 0.5 else local_state', 'global_state == "on" else "c"')
    )
    message = refused("games", "rooms.toml")
    assert "local_transition(local_state='a', global_state='off', local_action='stay')" in message
    assert "returned the next state 'c', expected one of ['a', 'b']" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "gamma: missing"),
        (b"\x00\x01\x02", "(at line 1"),
        (b'name = "\xff\xfe"', "found byte 0xff at 8, expected UTF-8 text"),
        (GAME.encode("utf-16"), "found byte 0xff at 0, expected UTF-8 text"),
        (GAME.encode() + b"\n[end", "Expected ']'"),
        (b"a = " + b"[" * 100_000, "found values nested too deeply"),
        (b"x" * 64_000_001, "found more than 64,000,000 bytes"),
    ],
    ids=["empty", "binary", "latin", "utf-16", "unclosed", "deep", "long"],
)
def test_files_that_are_no_toml(here, content, words):
    refuse_text(here, content, words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "line 1, column 1: Expecting value, expected JSON"),
        (b'{"environment": {', "expected JSON"),
        (b'{"a": "\xff"}', "found byte 0xff at 7, expected UTF-8 text"),
        (b"null", "found None, expected an object"),
        (b"[1]", "found [1], expected an object"),
        (b"{}", "environment: missing"),
        (b'{"environment": NaN}', "environment: found nan"),
        (b'{"a": ' * 200_000, "found values nested too deeply"),
        (b'{"environment": {}, "simulation": {}}', "environment.global_agent: missing"),
    ],
    ids=["empty", "cut", "latin", "null", "list", "object", "nan", "deep", "hollow"],
)
def test_files_that_are_no_json(here, content, words):
    refuse_text(here, content, words, name="bad.json")


def test_unknown_games(here):
    (here / "folder").mkdir()
    (here / "folder.toml").mkdir()
    (here / "game.yaml").write_text(GAME)
    for name, words in {
        "robot": "found 'robot', expected a built-in game (cooling, epidemic, formation,",
        "": "found ''",
        "nothing.toml": "nothing.toml: cannot be read, No such file or directory",
        "nothing.json": "nothing.json: cannot be read, No such file or directory",
        "nothing.h5": "nothing.h5: cannot be read, No such file or directory",
        "folder.toml": "folder.toml: cannot be read, Is a directory",
        "folder": "folder: found suffix ''",
        "game.yaml": "game.yaml: found suffix '.yaml', expected .toml, .json or .h5",
        "rooms.toml/x.toml": "rooms.toml/x.toml: cannot be read, No such file or directory",
        "x" * 5000 + ".toml": "cannot be read, File name too long",
    }.items():
        with unchanged(here):
            message = refused("solve", name, "-k", 1, "-o", "new.h5")
        assert words in message
    assert "did you mean robots?" in refused("games", "robot")


def test_a_name_that_is_no_text_is_written_and_shown(here):
    path = bytes(here) + b"/\xe9\xff.toml"
    with open(path, "wb") as file:
        file.write(GAME.replace('name = "rooms"\n', "").encode())
    name = os.fsdecode(path)
    succeed("solve", name, "-k", 1, "-o", os.fsdecode(bytes(here) + b"/\xff.h5"), "-q")
    report = json.loads(succeed("inspect", os.fsdecode(bytes(here) + b"/\xff.h5"), "--json"))
    assert report["game"]["name"] == "??"
