"""The game as validated lookup tables: one global agent and n homogeneous local agents.

Source of the model: Anand, Karmarkar and Qu (2024), arXiv 2412.00661.
"""

from __future__ import annotations

import hashlib
import numbers
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from .tabulation import ROW_SUM_ATOL, as_label, check_distinct, shown, tabulate_rewards, tabulate_transitions

NEGATIVE_ATOL = 1e-15
"""A negative probability no larger than this is the rounding of a difference such as 1 - 0.9 - 0.1, and becomes 0."""

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


def tabulate_functions(labels: Labels, functions: Mapping[str, Callable]) -> dict[str, np.ndarray]:
    """Tabulate some of the four functions of a game.

    Parameters
    ----------
    labels : Labels
    functions : mapping
        Any of "global_reward", "global_transition" (global_state, global_action) and "local_reward", "local_transition"
        (local_state, global_state, local_action) to a callable, as in `Game.from_functions`.

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
        if is_reward:
            table = tabulate_rewards(name, function, arguments)
        else:
            next_states = labels.global_states if is_global else labels.local_states
            table = tabulate_transitions(name, function, arguments, next_states)
        # The local functions take the local state first, the tables the global state.
        tables[FUNCTION_TABLES[name]] = table if is_global else np.swapaxes(table, 0, 1)
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

    def __post_init__(self) -> None:
        tables = _checked_tables(self.P_g, self.P_l, self.r_g, self.r_l)
        n_sg, n_ag, _ = tables["P_g"].shape
        _, n_sl, n_al, _ = tables["P_l"].shape
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
            "P_g": _stochastic("P_g", tables["P_g"], (labels.global_states, labels.global_actions)),
            "P_l": _stochastic("P_l", tables["P_l"], (labels.global_states, labels.local_states, labels.local_actions)),
            "r_g": tables["r_g"],
            "r_l": tables["r_l"],
            "gamma": _discount(self.gamma),
            "rho_g": _law("rho_g", self.rho_g, n_sg),
            "rho_l": _concentration(self.rho_l, n_sl) if self.dirichlet else _law("rho_l", self.rho_l, n_sl),
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
        gamma, rho_g, rho_l, dirichlet, name, n_agents, description
            As in `Game`.

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
            **tabulate_functions(labels, functions),
            gamma=gamma,
            rho_g=rho_g,
            rho_l=rho_l,
            dirichlet=dirichlet,
            name=name,
            labels=labels,
            n_agents=n_agents,
            description=description,
        )

    @property
    def n_sg(self) -> int:
        """Number of global states."""
        return self.P_g.shape[0]

    @property
    def n_ag(self) -> int:
        """Number of global actions."""
        return self.P_g.shape[1]

    @property
    def n_sl(self) -> int:
        """Number of local states."""
        return self.P_l.shape[1]

    @property
    def n_al(self) -> int:
        """Number of local actions."""
        return self.P_l.shape[2]

    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the tables, gamma and the initial laws; names and labels do not enter."""
        digest = hashlib.sha256(f"{self.n_sg} {self.n_ag} {self.n_sl} {self.n_al} {self.dirichlet}".encode())
        for array in (*self._arrays(), np.array(self.gamma)):
            # Adding 0 turns -0.0 into 0.0, which compares equal and must hash equal.
            digest.update((array + 0.0).astype("<f8").tobytes())
        return digest.hexdigest()

    def same_tables(self, other: Game) -> bool:
        """Whether the tables, gamma and the initial laws are equal, entry by entry."""
        return (
            self.gamma == other.gamma
            and self.dirichlet == other.dirichlet
            and all(map(np.array_equal, self._arrays(), other._arrays()))
        )

    def __repr__(self) -> str:
        return (
            f"Game({self.name!r}, n_sg={self.n_sg}, n_ag={self.n_ag}, n_sl={self.n_sl}, n_al={self.n_al}, "
            f"gamma={self.gamma}, digest={self.digest()[:12]})"
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


def _checked_tables(P_g: Any, P_l: Any, r_g: Any, r_l: Any) -> dict[str, np.ndarray]:
    """Copy the four tables and check that their sizes agree and that every entry is finite."""
    tables = {
        "P_g": _as_table("P_g", P_g, "(n_sg, n_ag, n_sg)"),
        "P_l": _as_table("P_l", P_l, "(n_sg, n_sl, n_al, n_sl)"),
        "r_g": _as_table("r_g", r_g, "(n_sg, n_ag)"),
        "r_l": _as_table("r_l", r_l, "(n_sg, n_sl, n_al)"),
    }
    n_sg, n_ag, _ = tables["P_g"].shape
    _, n_sl, n_al, _ = tables["P_l"].shape
    expected = {
        "P_g": ((n_sg, n_ag, n_sg), "(n_sg, n_ag, n_sg)"),
        "P_l": ((n_sg, n_sl, n_al, n_sl), "(n_sg, n_sl, n_al, n_sl), n_sg as in P_g"),
        "r_g": ((n_sg, n_ag), "(n_sg, n_ag) as in P_g"),
        "r_l": ((n_sg, n_sl, n_al), "(n_sg, n_sl, n_al) as in P_l"),
    }
    for name, (shape, meaning) in expected.items():
        if tables[name].shape != shape:
            raise ValueError(f"{name}: found shape {tables[name].shape}, expected {shape}, which is {meaning}")
    return tables


def _as_table(name: str, value: Any, axes: str) -> np.ndarray:
    """Copy to float64 in C order; check the number of axes, that none is empty, and that every entry is finite."""
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{name}: found a masked array, expected every entry to be given")
    try:
        found = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name}: found lists of unequal lengths, expected a table {axes}") from None
    if found.dtype.kind not in "biuf":
        raise ValueError(f"{name}: found entries of type {found.dtype}, expected real numbers")
    if found.ndim != axes.count(",") + 1 - axes.count(",)"):
        raise ValueError(f"{name}: found {found.ndim} axes with shape {found.shape}, expected {axes}")
    if found.size == 0:
        raise ValueError(f"{name}: found shape {found.shape}, expected at least one entry along every axis")
    with np.errstate(over="ignore"):
        table = np.array(found, dtype=np.float64, order="C", copy=True)
    if not np.isfinite(table).all():
        worst = tuple(int(i) for i in np.argwhere(~np.isfinite(table))[0])
        raise ValueError(f"{name}{list(worst)}: found {table[worst]}, expected a finite number")
    return table


def _stochastic(name: str, table: np.ndarray, spaces: tuple[tuple, ...]) -> np.ndarray:
    """Check rows of probabilities, in place normalise those off by rounding. `spaces` label all axes but the last."""
    lowest = np.unravel_index(int(table.argmin()), table.shape)
    if table[lowest] < -NEGATIVE_ATOL:
        where = _row_name(name, lowest[:-1], spaces)
        raise ValueError(f"{where}: found probability {table[lowest]:.6g} at entry {lowest[-1]}, expected none below 0")
    np.maximum(table, 0.0, out=table)
    sums = table.sum(axis=-1)
    gaps = np.abs(sums - 1.0)
    worst = np.unravel_index(int(gaps.argmax()), gaps.shape)
    if not gaps[worst] <= ROW_SUM_ATOL:
        where = _row_name(name, worst, spaces)
        raise ValueError(f"{where}: found row sum {sums[worst]:.12g}, expected 1 within {ROW_SUM_ATOL:g}")
    # A row just divided by its sum misses 1 by at most n·2⁻⁵², so a second pass leaves every bit alone.
    off = gaps > max(1e-15, table.shape[-1] * 2.0**-52)
    table[off] /= sums[off][:, np.newaxis]
    return table


def _row_name(name: str, index: tuple, spaces: tuple[tuple, ...]) -> str:
    """`P_g[0, 1] (labels -2, -1)`: a row by its indices and labels."""
    if not spaces:
        return name
    where = tuple(int(i) for i in index)
    labels = ", ".join(shown(space[i]) for space, i in zip(spaces, where))
    return f"{name}{list(where)} (labels {labels})"


def _law(name: str, value: Any, size: int) -> np.ndarray:
    if value is None:
        return np.full(size, 1.0 / size)
    law = _as_table(name, value, "(n,)")
    if law.shape != (size,):
        raise ValueError(f"{name}: found {law.size} entries, expected {size}, one per state")
    return _stochastic(name, law, ())


def _concentration(value: Any, size: int) -> np.ndarray:
    if value is None:
        raise ValueError("rho_l: missing, expected a Dirichlet concentration because dirichlet is True")
    if np.ndim(value) == 0:
        value = [value] * size
    concentration = _as_table("rho_l", value, "(n,)")
    if concentration.shape != (size,):
        raise ValueError(f"rho_l: found {concentration.size} entries, expected {size}, one per state")
    if not concentration.min() > 0.0:
        raise ValueError(f"rho_l: found concentration {concentration.min():.6g}, expected positive numbers")
    return concentration


def _discount(value: Any) -> float:
    is_number = isinstance(value, (numbers.Real, np.floating, np.integer)) and not isinstance(value, bool)
    if not is_number or not 0.0 <= value < 1.0:
        raise ValueError(f"gamma: found {shown(value)}, expected a number with 0 <= gamma < 1")
    return float(value) + 0.0


def _check_labels(labels: Any, sizes: tuple[int, int, int, int]) -> None:
    if not isinstance(labels, Labels):
        raise ValueError(f"labels: found {type(labels).__name__}, expected Labels or None")
    tables = ("axis 0 of P_g", "axis 1 of P_g", "axis 1 of P_l", "axis 2 of P_l")
    for field, found, size, table in zip(fields(Labels), labels.sizes, sizes, tables):
        if found != size:
            raise ValueError(f"labels.{field.name}: found {found} labels, expected {size}, the size of {table}")
