"""The game as validated lookup tables: one global agent and n homogeneous local agents.

Source of the model: Anand, Karmarkar and Qu (2024), arXiv 2412.00661.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from .coupling import Field, Neighbourhood
from .table_checks import AXES, checked_tables, concentration, discount, law, stochastic
from .tabulation import as_label, check_distinct, shown, tabulate_rewards, tabulate_transitions

GLOBAL_ARGUMENTS = ("global_state", "global_action")
LOCAL_ARGUMENTS = ("local_state", "global_state", "local_action")

FUNCTION_TABLES = {"global_reward": "r_g", "global_transition": "P_g", "local_reward": "r_l", "local_transition": "P_l"}
"""The four functions of a game and the tables that they become."""

# Fields whose default depends on other fields; `Game.__post_init__` always replaces it.
_FILLED_IN: Any = None


def positive_integer(name: str, value: Any) -> int:
    """The value as an int of at least 1; otherwise ValueError, which names it."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if isinstance(value, bool) or not 1 <= number < 2**63:
        raise ValueError(f"{name}: found {shown(value)}, expected a whole number of at least 1 that fits 64 bits")
    return number


@dataclass(frozen=True)
class Labels:
    """Names of the states and actions, in table order.

    A label is a finite number, a string or a tuple of finite numbers. Labels of one space differ by value; 1 is 1.0.

    Parameters
    ----------
    global_states, global_actions, local_states, local_actions : sequence of labels

    Raises
    ------
    ValueError
        A space is empty, or a label is of another kind, not finite, or listed twice.
    """

    global_states: tuple
    global_actions: tuple
    local_states: tuple
    local_actions: tuple

    def __post_init__(self) -> None:
        for field in fields(self):
            space = getattr(self, field.name)
            if isinstance(space, str) or not isinstance(space, (Sequence, np.ndarray, range)):
                raise ValueError(f"{field.name}: found {shown(space)}, expected a list of labels")
            if len(space) == 0:
                raise ValueError(f"{field.name}: found no labels, expected at least one")
            labels = tuple(as_label(f"{field.name}[{i}]", label) for i, label in enumerate(space))
            check_distinct(field.name, labels)
            object.__setattr__(self, field.name, labels)

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """(n_sg, n_ag, n_sl, n_al)."""
        return len(self.global_states), len(self.global_actions), len(self.local_states), len(self.local_actions)


def takes_field(name: str, function: Callable) -> bool:
    """Whether a function of a game has a parameter for the field value after its usual ones."""
    if hasattr(function, "takes_field"):
        return bool(function.takes_field)
    n_usual = len(GLOBAL_ARGUMENTS if name.startswith("global") else LOCAL_ARGUMENTS)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    due = [p for p in parameters if p.kind in kinds and p.default is inspect.Parameter.empty]
    return len(due) == n_usual + 1


def tabulate_functions(
    labels: Labels, functions: Mapping[str, Callable], field: Field | None = None
) -> dict[str, np.ndarray]:
    """Tabulate some of the four functions of a game.

    Parameters
    ----------
    labels : Labels
    functions : mapping
        Any of "global_reward", "global_transition" (global_state, global_action) and "local_reward", "local_transition"
        (local_state, global_state, local_action) to a callable, as in `Game.from_functions`.
    field : Field, optional
        A function with one more parameter than these is given the label of the field value too; its table gets an f axis.

    Returns
    -------
    dict
        Of the functions given, the tables "r_g", "P_g", "r_l" and "P_l".
    """
    on_global = tuple(zip(GLOBAL_ARGUMENTS, (labels.global_states, labels.global_actions)))
    on_local = tuple(zip(LOCAL_ARGUMENTS, (labels.local_states, labels.global_states, labels.local_actions)))
    tables = {}
    for name, function in functions.items():
        is_global, is_reward = name.startswith("global"), name.endswith("reward")
        arguments = on_global if is_global else on_local
        with_field = takes_field(name, function)
        if with_field:
            if field is None:
                raise ValueError(f"{name}: found a parameter for the field, expected none in a game without a field")
            arguments = (*arguments, ("field", field.values))
        if is_reward:
            table = tabulate_rewards(name, function, arguments)
        else:
            next_states = labels.global_states if is_global else labels.local_states
            table = tabulate_transitions(name, function, arguments, next_states)
        # The local functions take the local state first and the field last, the tables s_g, f and then the local state.
        if not is_global:
            table = np.swapaxes(table, 0, 1)
        if with_field:
            table = np.moveaxis(table, len(arguments) - 1, 1)
        tables[FUNCTION_TABLES[name]] = table
    return tables


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Game:
    """One global agent and n homogeneous local agents, as lookup tables.

    Every argument is checked and every array copied to float64, C order, read-only. Rows of probabilities that miss 1
    by rounding are divided by their sum; doing so twice changes nothing. Games compare by identity;
    `same_tables` and `digest` compare what they contain.

    Parameters
    ----------
    P_g : float64[n_sg, n_ag, n_sg]
        P_g[s_g, a_g, s_g'], rows are probabilities.
    P_l : float64[n_sg, n_sl, n_al, n_sl]
        P_l[s_g, s_l, a_l, s_l'], rows are probabilities; a local agent sees the current s_g.
    r_g : float64[n_sg, n_ag]
    r_l : float64[n_sg, n_sl, n_al]
        The system reward is r_g[s_g, a_g] plus the mean of r_l over the agents.
    gamma : float in [0, 1)
    rho_g : float64[n_sg], default uniform
        Law of the initial global state.
    rho_l : float64[n_sl], default uniform
        Law of the initial local states, or with `dirichlet` a concentration (a scalar stands for equal entries).
    dirichlet : bool
        Each run draws its own initial law of the local states from Dirichlet(rho_l).
    name, description : str
    labels : Labels, default 0, 1, 2, … in each space
    n_agents : int or None
        The number of agents the game was stated for.
    field : Field, optional
        Couples the local agents: each table may then have an axis of field values right after that of s_g, so that it is
        P_g[s_g, f, a_g, s_g'], P_l[s_g, f, s_l, a_l, s_l'], r_g[s_g, f, a_g], r_l[s_g, f, s_l, a_l].
    neighbourhood : Neighbourhood, optional
        Gives every agent a field value of its own, from its neighbours alone; P_g and r_g then have no field axis.

    Raises
    ------
    ValueError
        One line naming the field, what was found and what was expected.
    """

    P_g: np.ndarray
    P_l: np.ndarray
    r_g: np.ndarray
    r_l: np.ndarray
    gamma: float
    rho_g: np.ndarray = _FILLED_IN
    rho_l: np.ndarray = _FILLED_IN
    dirichlet: bool = False
    name: str = ""
    labels: Labels = _FILLED_IN
    n_agents: int | None = None
    description: str = ""
    field: Field | None = None
    neighbourhood: Neighbourhood | None = None

    def __post_init__(self) -> None:
        _check_coupling(self.field, self.neighbourhood)
        n_f = None if self.field is None else self.field.n_values
        given = {"P_g": self.P_g, "P_l": self.P_l, "r_g": self.r_g, "r_l": self.r_l}
        tables = checked_tables(given, n_f, by_agent=self.neighbourhood is not None)
        n_sg, n_ag = tables["P_g"].shape[0], tables["P_g"].shape[-2]
        n_sl, n_al = tables["P_l"].shape[-3:-1]
        if self.field is not None:
            n_x = n_sl if self.field.of == "states" else n_al
            if self.field.weights.shape[1] != n_x:
                found = self.field.weights.shape[1]
                raise ValueError(
                    f"field.weights: found {found} entries, expected {n_x}, one per local {self.field.of[:-1]}"
                )
        labels = self.labels
        if labels is None:
            labels = Labels(*(tuple(range(size)) for size in (n_sg, n_ag, n_sl, n_al)))
        _check_labels(labels, (n_sg, n_ag, n_sl, n_al))
        if not isinstance(self.dirichlet, (bool, np.bool_)):
            raise ValueError(f"dirichlet: found {shown(self.dirichlet)}, expected True or False")
        for field in ("name", "description"):
            if not isinstance(getattr(self, field), str):
                raise ValueError(f"{field}: found {shown(getattr(self, field))}, expected a string")
        checked = {
            "P_g": stochastic("P_g", tables["P_g"], self._spaces(tables["P_g"], labels, "global")),
            "P_l": stochastic("P_l", tables["P_l"], self._spaces(tables["P_l"], labels, "local")),
            "r_g": tables["r_g"],
            "r_l": tables["r_l"],
            "gamma": discount(self.gamma),
            "rho_g": law("rho_g", self.rho_g, n_sg),
            "rho_l": concentration(self.rho_l, n_sl) if self.dirichlet else law("rho_l", self.rho_l, n_sl),
            "dirichlet": bool(self.dirichlet),
            "labels": labels,
            "n_agents": None if self.n_agents is None else positive_integer("n_agents", self.n_agents),
        }
        for field, value in checked.items():
            object.__setattr__(self, field, value)
        self._freeze()

    @classmethod
    def from_functions(
        cls,
        global_states: Sequence,
        global_actions: Sequence,
        local_states: Sequence,
        local_actions: Sequence,
        global_reward: Callable,
        global_transition: Callable,
        local_reward: Callable,
        local_transition: Callable,
        *,
        gamma: float,
        rho_g: Any = None,
        rho_l: Any = None,
        dirichlet: bool = False,
        name: str = "",
        n_agents: int | None = None,
        description: str = "",
        field: Field | None = None,
        neighbourhood: Neighbourhood | None = None,
    ) -> Self:
        """Tabulate four Python functions over the spaces.

        Parameters
        ----------
        global_states, global_actions, local_states, local_actions : sequence of labels
            Finite numbers, strings or tuples of finite numbers.
        global_reward, global_transition : callable (global_state, global_action)
        local_reward, local_transition : callable (local_state, global_state, local_action)
            Arguments are positional. A reward is a finite number. A transition is the label of the next state, a dict
            {label: probability}, or an array law with one entry per state. Numbers match a label by value, within 1e-9
            of the largest label of the space, so that 0.1 + 0.2 finds 0.3.
        gamma, rho_g, rho_l, dirichlet, name, n_agents, description, field, neighbourhood
            As in `Game`. With a field, a function with one parameter more is given the label of the field value last.

        Raises
        ------
        ValueError
            As `Game`, or naming the function, the inputs and the value that is no reward, label or law.
        """
        labels = Labels(global_states, global_actions, local_states, local_actions)  # type: ignore[arg-type]
        functions = {
            "global_reward": global_reward,
            "global_transition": global_transition,
            "local_reward": local_reward,
            "local_transition": local_transition,
        }
        return cls(
            **tabulate_functions(labels, functions, field),
            gamma=gamma,
            rho_g=rho_g,
            rho_l=rho_l,
            dirichlet=dirichlet,
            name=name,
            labels=labels,
            n_agents=n_agents,
            description=description,
            field=field,
            neighbourhood=neighbourhood,
        )

    @property
    def n_sg(self) -> int:
        """Number of global states."""
        return self.P_g.shape[0]

    @property
    def n_ag(self) -> int:
        """Number of global actions."""
        return self.P_g.shape[-2]

    @property
    def n_sl(self) -> int:
        """Number of local states."""
        return self.P_l.shape[-1]

    @property
    def n_al(self) -> int:
        """Number of local actions."""
        return self.P_l.shape[-2]

    @property
    def n_f(self) -> int:
        """Number of field values; 1 without a field."""
        return 1 if self.field is None else self.field.n_values

    def has_field_axis(self, table: str) -> bool:
        """Whether a table, "P_g", "P_l", "r_g" or "r_l", depends on the field value."""
        return getattr(self, table).ndim > AXES[table]

    def with_field_axis(self, table: str) -> np.ndarray:
        """A table with an axis of field values after that of s_g: of size n_f if it depends on them, else of size 1."""
        found = getattr(self, table)
        return found if self.has_field_axis(table) else found[:, None]

    def _spaces(self, table: np.ndarray, labels: Labels, agent: str) -> tuple[tuple, ...]:
        """Labels of all axes of P_g or P_l but the last."""
        spaces: tuple[tuple, ...] = (labels.global_states, labels.global_actions)
        if agent == "local":
            spaces = (labels.global_states, labels.local_states, labels.local_actions)
        if table.ndim - 1 == len(spaces) or self.field is None:
            return spaces
        return spaces[0], self.field.values, *spaces[1:]

    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the tables, gamma and the initial laws; names and labels do not enter."""
        digest = hashlib.sha256(f"{self.n_sg} {self.n_ag} {self.n_sl} {self.n_al} {self.dirichlet}".encode())
        for array in (*self._arrays(), np.array(self.gamma)):
            # Adding 0 turns -0.0 into 0.0, which compares equal and must hash equal.
            digest.update((array + 0.0).astype("<f8").tobytes())
        if self.field is not None:
            digest.update(json.dumps([table.shape for table in self._arrays()]).encode())
        digest.update(self._coupling().encode())
        return digest.hexdigest()

    def same_tables(self, other: Game) -> bool:
        """Whether the tables, gamma and the initial laws are equal, entry by entry."""
        return (
            self.gamma == other.gamma
            and self.dirichlet == other.dirichlet
            and self._coupling() == other._coupling()
            and all(map(np.array_equal, self._arrays(), other._arrays()))
        )

    def _coupling(self) -> str:
        """Field and neighbourhood as text, empty without them."""
        if self.field is None:
            return ""
        graph = self.neighbourhood
        pairs = [] if graph is None or graph.edges is None else graph.edges.tolist()
        return json.dumps([self.field.parts(), None if graph is None else graph.parts(), pairs], sort_keys=True)

    def __repr__(self) -> str:
        coupling = "" if self.field is None else f"n_f={self.n_f}, "
        return (
            f"Game({self.name!r}, n_sg={self.n_sg}, n_ag={self.n_ag}, n_sl={self.n_sl}, n_al={self.n_al}, "
            f"{coupling}gamma={self.gamma}, digest={self.digest()[:12]})"
        )

    def __setstate__(self, state: dict) -> None:
        # Arrays come out of a pickle writeable: a copy sent to a worker process must be as fixed as the original.
        self.__dict__.update(state)
        self._freeze()

    def _arrays(self) -> tuple[np.ndarray, ...]:
        return self.P_g, self.P_l, self.r_g, self.r_l, self.rho_g, self.rho_l

    def _freeze(self) -> None:
        for array in self._arrays():
            array.setflags(write=False)


def _check_coupling(field: Any, neighbourhood: Any) -> None:
    if field is not None and not isinstance(field, Field):
        raise ValueError(f"field: found {type(field).__name__}, expected a Field or None")
    if neighbourhood is not None and not isinstance(neighbourhood, Neighbourhood):
        raise ValueError(f"neighbourhood: found {type(neighbourhood).__name__}, expected a Neighbourhood or None")
    if neighbourhood is not None and field is None:
        raise ValueError("field: missing, expected one with a neighbourhood")


def _check_labels(labels: Any, sizes: tuple[int, int, int, int]) -> None:
    if not isinstance(labels, Labels):
        raise ValueError(f"labels: found {type(labels).__name__}, expected Labels or None")
    tables = ("axis 0 of P_g", "axis 1 of P_g", "axis 1 of P_l", "axis 2 of P_l")
    for field, found, size, table in zip(fields(Labels), labels.sizes, sizes, tables):
        if found != size:
            raise ValueError(f"labels.{field.name}: found {found} labels, expected {size}, the size of {table}")
