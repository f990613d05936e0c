"""Where a game comes from: a built-in name, a TOML or JSON file with functions as text, or tables in HDF5.

Function texts are programs of the language in `program`; nothing in a file is ever executed as Python.
"""

from __future__ import annotations

import ast
import importlib.resources
import json
import keyword
import os
import textwrap
import tomllib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py

from .coupling import Field
from .coupling_files import read_coupling
from .files import FORMAT_VERSION, is_current_version, reason_of
from .game import FUNCTION_TABLES, GLOBAL_ARGUMENTS, LOCAL_ARGUMENTS, Game, Labels, positive_integer, tabulate_functions
from .game_tables import read_game_tables, write_game_tables
from .inventory import GAME_SIZES
from .program import Program
from .program.values import MAX_SOURCE_LENGTH
from .sections import check_keys, require_key, section_of, suggestion
from .tabulation import Outcomes, Space, shown

__all__ = ["list_games", "load_game", "load_settings", "read_game_tables", "write_game_tables"]

MAX_RANGE = 100_000
"""A range of labels may not be longer."""

MAX_TABULATION_STEPS = 300_000_000
"""Interpreter steps that the functions of one file may take together, some minutes of work."""

MAX_FILE_BYTES = 64_000_000
"""A game as text may not be longer."""

MAX_NAME, MAX_DESCRIPTION = 1000, 10_000
"""Characters of the name of a game or of a label, and of a description."""

GENERATED = {name: size for name, size in GAME_SIZES.items() if size != "tiny"}
"""Built-in games whose tables are computed, and the sizes that their parameters are those of."""

_SOURCES = ("functions", "tables")

_AUTHORS_FUNCTIONS = {
    "global_reward": "global_agent_reward",
    "global_transition": "global_agent_transition",
    "local_reward": "local_agent_reward",
    "local_transition": "local_agent_transition",
}


def list_games() -> list[str]:
    """Names of the built-in games, sorted."""
    files = importlib.resources.files("kofn.data").iterdir()
    return sorted([*(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")), *GENERATED])


def describe_built_in(name: str) -> str:
    """The description of a built-in game, without tabulating it where that takes long."""
    if name not in GENERATED:
        return load_game(name).description
    from .inventory.spec import SIZES
    from .inventory.tables import describe

    return describe(SIZES[GENERATED[name]])


def load_game(
    name_or_path: str | os.PathLike[str], *, agents: int | None = None, constants: Mapping[str, Any] | None = None
) -> Game:
    """Load a game by built-in name or from a file.

    Parameters
    ----------
    name_or_path : str or path
        One of `list_games`, or a file: `.toml` (see the built-in games for the layout), `.json` (the layout of the
        configuration that the authors of SUBSAMPLE-MFQ publish), `.h5` or `.hdf5` (any file with a group `/game`).
    agents : int, optional
        In place of the number of agents that a TOML file states, on which a field of totals depends.
    constants : mapping, optional
        In place of values in the section `[constants]` of a TOML file, or of parameters of a generated game (`InventorySpec`).

    Returns
    -------
    Game

    Raises
    ------
    ValueError
        One line: the file, the key in it, what was found and what was expected.
    """
    if isinstance(name_or_path, str) and name_or_path in GENERATED:
        from .inventory.tables import inventory_game

        changes = dict(constants or {}) | ({} if agents is None else {"agents": agents})
        return inventory_game(GENERATED[name_or_path], **changes)
    if isinstance(name_or_path, str) and name_or_path in list_games():
        resource = importlib.resources.files("kofn.data") / f"{name_or_path}.toml"
        return _from_toml(resource.read_bytes(), name_or_path, agents, constants)
    path = Path(name_or_path)
    suffix = path.suffix.lower()
    if suffix not in (".toml", ".json", ".h5", ".hdf5"):
        raise ValueError(_unknown_game(os.fspath(name_or_path)))
    if suffix != ".toml" and constants:
        raise ValueError(
            f"constants: found {shown(dict(constants))} for {path}, expected a TOML file with such a section"
        )
    try:
        if suffix in (".h5", ".hdf5"):
            return _from_hdf5(path)
        content = _content_of(path)
        # A file name may hold bytes that are no text.
        stem = "".join(c if c.isprintable() else "?" for c in path.stem)
        return _from_toml(content, stem, agents, constants) if suffix == ".toml" else _from_json(content, stem)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read, {error.strerror or error}; expected a game file") from None
    except RecursionError:
        raise ValueError(f"{path}: found values nested too deeply, expected a game") from None
    except ValueError as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None


def load_settings(path: str | os.PathLike[str]) -> dict[str, int | float]:
    """Numbers of a study that a game file holds besides the game.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    dict
        For `.json`, the numbers in `simulation` such as `horizon`, `monte_carlo_samples`, `training_steps` and
        `deployment_runs`, without the discount factor and the number of agents, which belong to the game. Otherwise {}.

    Raises
    ------
    ValueError
        The file cannot be read or is not JSON.
    """
    path = Path(path)
    if path.suffix.lower() != ".json":
        return {}
    try:
        simulation = section_of(_parsed_json(_content_of(path)), "simulation")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read, {error.strerror or error}; expected a game file") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    in_game = ("discount_factor", "num_local_agents")
    return {
        key: value
        for key, value in simulation.items()
        if key not in in_game and isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def _unknown_game(name: str) -> str:
    if name and Path(name).exists():
        return f"{name}: found suffix {Path(name).suffix!r}, expected .toml, .json or .h5"
    games = list_games()
    expected = f"expected a built-in game ({', '.join(games)}) or a .toml, .json or .h5 file"
    return f"game: found {shown(name)}, {expected}{suggestion(name, games)}"


def _content_of(path: Path) -> bytes:
    with open(path, "rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"found more than {MAX_FILE_BYTES:,} bytes, expected fewer; keep large tables in HDF5")
    return content


def _from_hdf5(path: Path) -> Game:
    # Opening a pipe would wait for a writer; open() says what is wrong with everything else.
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError("found a device or a pipe, expected an HDF5 file")
    path.open("rb").close()
    try:
        with h5py.File(path, "r") as file:
            if "game" not in file:
                raise ValueError("found no group 'game', expected a file that kofn wrote")
            version = file.attrs.get("format_version", FORMAT_VERSION)
            if not is_current_version(version):
                raise ValueError(f"found format version {version}, expected {FORMAT_VERSION}")
            return read_game_tables(file["game"])
    except ValueError:
        raise
    # Damage shows as almost any exception of h5py; a reader must see one kind.
    except Exception as error:
        raise ValueError(
            f"found no readable HDF5 file ({reason_of(error)}), expected one with a group 'game'"
        ) from None


def _from_toml(content: bytes, stem: str, agents: int | None = None, given: Mapping[str, Any] | None = None) -> Game:
    document = tomllib.loads(_decoded(content))
    known = ("name", "description", "agents", "constants", "field", "neighbourhood", *_SOURCES)
    check_keys("", document, ("gamma", "global", "local"), known)
    spaces, initial = {}, {}
    for agent in ("global", "local"):
        section = section_of(document, agent)
        check_keys(f"[{agent}] ", section, ("states", "actions"), ("initial",))
        spaces[f"{agent}_states"] = _labels(f"[{agent}] states", section["states"])
        spaces[f"{agent}_actions"] = _labels(f"[{agent}] actions", section["actions"])
        initial[agent] = section.get("initial", "uniform")
    labels = Labels(**spaces)
    functions, tables = (section_of(document, source) if source in document else {} for source in _SOURCES)
    check_keys("[functions] ", functions, (), FUNCTION_TABLES)
    check_keys("[tables] ", tables, (), FUNCTION_TABLES.values())
    for function, table in FUNCTION_TABLES.items():
        if function not in functions and table not in tables:
            raise ValueError(f"[functions] {function}: missing, expected it or [tables] {table}")
        if function in functions and table in tables:
            raise ValueError(f"[functions] {function}: found it and [tables] {table}, expected one of the two")
    agents = document.get("agents") if agents is None else agents
    n_agents = None if agents is None else positive_integer("agents", agents)
    constants = _constants(document, given or {}, n_agents)
    field, neighbourhood = read_coupling(document, labels, n_agents)
    texts = {f: (f"[functions] {f}", text) for f, text in functions.items()}
    rho_g, _ = _initial("[global] initial", initial["global"], labels.global_states, dirichlet_allowed=False)
    rho_l, dirichlet = _initial("[local] initial", initial["local"], labels.local_states, dirichlet_allowed=True)
    return Game(
        **tables,
        **_tables_of_texts(labels, texts, constants, field),
        gamma=document["gamma"],
        rho_g=rho_g,
        rho_l=rho_l,
        dirichlet=dirichlet,
        name=_readable("name", document.get("name", stem), MAX_NAME),
        labels=labels,
        n_agents=n_agents,
        description=_readable("description", document.get("description", ""), MAX_DESCRIPTION, "\n\t"),
        field=field,
        neighbourhood=neighbourhood,
    )


def _constants(document: Mapping, given: Mapping[str, Any], n_agents: int | None) -> dict:
    """The section of constants, with the values given in place of the file's, and the number of agents as `agents`."""
    constants = section_of(document, "constants") if "constants" in document else {}
    for constant in constants:
        if constant == "field" and "field" in document:
            raise ValueError("[constants] field: found the name of the field, expected another name")
        if not constant.isidentifier() or keyword.iskeyword(constant) or constant in ("math", "random"):
            raise ValueError(f"[constants] {shown(constant)}: found no name for a constant, expected one")
    for name in given:
        if name not in constants:
            expected = f"one of {', '.join(constants)}" if constants else "none, the game has no constants"
            raise ValueError(f"constants: found {name}, expected {expected}{suggestion(name, constants)}")
    found = constants | dict(given)
    # Functions of a field of totals need to know of how many agents.
    if n_agents is not None:
        found.setdefault("agents", n_agents)
    return found


def _from_json(content: bytes, stem: str) -> Game:
    document = _parsed_json(content)
    environment, simulation = section_of(document, "environment"), section_of(document, "simulation")
    spaces = {}
    for agent in ("global", "local"):
        section = section_of(environment, f"{agent}_agent", "environment.")
        where = f"environment.{agent}_agent."
        for space in ("state", "action"):
            require_key(where, section, f"{space}_space")
            spaces[f"{agent}_{space}s"] = _labels(f"{where}{space}_space", section[f"{space}_space"])
    labels = Labels(**spaces)
    functions = section_of(environment, "functions", "environment.")
    texts = {}
    for function, key in _AUTHORS_FUNCTIONS.items():
        require_key("environment.functions.", functions, key)
        texts[function] = (f"environment.functions.{key}", functions[key])
    require_key("simulation.", simulation, "discount_factor")
    agents = simulation.get("num_local_agents")
    return Game(
        **_tables_of_texts(labels, texts, {}),
        gamma=simulation["discount_factor"],
        name=stem,
        labels=labels,
        n_agents=None if agents is None else positive_integer("simulation.num_local_agents", agents),
    )


def _tables_of_texts(
    labels: Labels, texts: Mapping[str, tuple[str, Any]], constants: Mapping[str, Any], field: Field | None = None
) -> dict[str, Any]:
    """Compile and tabulate function texts. `texts` gives, by function, its place in the file and the text."""
    programs: list[Program] = []
    coupled = field is not None
    functions = {
        function: _compiled(function, *text, constants, programs, coupled=coupled) for function, text in texts.items()
    }
    return tabulate_functions(labels, functions, field)


def _compiled(
    function: str, place: str, text: Any, constants: Mapping, programs: list[Program], *, coupled: bool
) -> Callable:
    """Turn a text into a callable and append its program to `programs`, which share one budget of steps.

    In a coupled game a function may have one parameter more, the last, and a text without `def` may read `field`.
    """
    expected = GLOBAL_ARGUMENTS if function.startswith("global") else LOCAL_ARGUMENTS
    takes_field = coupled and _takes_field(text, len(expected))
    if takes_field:
        expected = (*expected, "field")
    program = Program(text, name=place, parameters=expected, constants=constants)
    # Arguments go by position: names in another order would silently swap states.
    if any(name in expected and name != due for name, due in zip(program.parameters, expected)):
        found = ", ".join(program.parameters)
        raise ValueError(f"{place}: found parameters in the order ({found}), expected ({', '.join(expected)})")
    programs.append(program)
    is_reward = function.endswith("reward")

    def call(*arguments: Any) -> Any:
        if sum(each.steps_used for each in programs) > MAX_TABULATION_STEPS:
            limit = f"{MAX_TABULATION_STEPS:,}"
            raise ValueError(f"{place}: found more than {limit} steps of work, expected fewer; use tables instead")
        return program.value(*arguments) if is_reward else Outcomes(program.outcomes(*arguments))

    call.takes_field = takes_field  # type: ignore[attr-defined]
    return call


def _takes_field(text: Any, n_usual: int) -> bool:
    """Whether a text has a parameter for the field after its usual ones, or reads `field` if it is no function."""
    source = "\n".join(text) if isinstance(text, list) and all(isinstance(line, str) for line in text) else text
    if not isinstance(source, str) or len(source) > MAX_SOURCE_LENGTH:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(textwrap.dedent(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        # Compiling it says what is wrong.
        return False
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    if functions:
        return len(functions[0].args.args) == n_usual + 1
    return any(isinstance(node, ast.Name) and node.id == "field" for node in ast.walk(tree))


def _labels(where: str, value: Any) -> tuple:
    """A list of labels, or { range = [first, last] }, both ends included."""
    if isinstance(value, dict) and set(value) == {"range"}:
        ends = value["range"]
        if not (isinstance(ends, list) and len(ends) == 2 and all(type(end) is int for end in ends)):
            raise ValueError(f"{where}: found range {shown(ends)}, expected two whole numbers, the first and the last")
        first, last = ends
        if not 0 <= last - first < MAX_RANGE:
            raise ValueError(f"{where}: found a range of {last - first + 1} labels, expected 1 to {MAX_RANGE}")
        return tuple(range(first, last + 1))
    if not isinstance(value, list):
        raise ValueError(f"{where}: found {shown(value)}, expected a list of labels or {{ range = [first, last] }}")
    return tuple(_readable(f"{where}, label {i}", label, MAX_NAME) for i, label in enumerate(value))


def _readable(where: str, text: Any, limit: int, also: str = "") -> Any:
    """Refuse a text that cannot be shown or stored as it is; what is no text passes."""
    if isinstance(text, str) and (len(text) > limit or not all(c.isprintable() or c in also for c in text)):
        raise ValueError(f"{where}: found {shown(text)}, expected at most {limit:,} printable characters")
    return text


def _initial(where: str, value: Any, states: tuple, *, dirichlet_allowed: bool) -> tuple[Any, bool]:
    """Read an initial law: (rho or None for uniform, whether it is a Dirichlet concentration)."""
    if value == "uniform":
        return None, False
    if isinstance(value, list):
        return value, False
    if isinstance(value, dict) and set(value) == {"state"}:
        position = Space(states).find(value["state"])
        if position is None:
            raise ValueError(f"{where}: found state {shown(value['state'])}, expected one of {shown(list(states))}")
        return [float(i == position) for i in range(len(states))], False
    if dirichlet_allowed and isinstance(value, dict) and set(value) == {"dirichlet"}:
        return value["dirichlet"], True
    forms = '"uniform", a law, { state = label }' + (", { dirichlet = concentration }" if dirichlet_allowed else "")
    raise ValueError(f"{where}: found {shown(value)}, expected one of: {forms}")


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"found byte {content[error.start]:#04x} at {error.start}, expected UTF-8 text") from None


def _parsed_json(content: bytes) -> dict:
    try:
        document = json.loads(_decoded(content))
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}, column {error.colno}: {error.msg}, expected JSON") from None
    except RecursionError:
        raise ValueError("found values nested too deeply, expected a game") from None
    if not isinstance(document, dict):
        raise ValueError(f"found {shown(document)}, expected an object with environment and simulation")
    return document
