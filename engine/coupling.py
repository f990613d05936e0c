"""What couples local agents besides the global agent: a field of all their states or actions, or of their neighbours'.

A *field* maps a histogram of states or actions to one of finitely many values: bins of weighted means, such as the share of
infected agents or the mean action. Tables may then depend on the field value. With a *neighbourhood* every agent has a field
value of its own, from its neighbours alone.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .tabulation import as_label, check_distinct, shown

EDGE_RTOL = 1e-12
"""A weighted mean that misses an edge by no more than this, relative to edges above 1, has reached it."""

LARGEST_WEIGHT, SMALLEST_SPAN = 1e12, 1e-6
"""Weights up to the first, whose span is at least the second of the largest (of 1 for small ones): rounding decides nothing."""

MAX_FIELD_VALUES = 10_000_000
OF = ("states", "actions")
GRAPHS = ("torus", "ring", "regular", "complete", "edges")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Field:
    """A map from histograms of states or actions to field values, by bins of weighted means.

    Feature d of a histogram h with total m is w_d · h / m; its bin is the number of its edges that are reached. The field value
    is the mixed-radix number of the bins, the first feature slowest.

    Parameters
    ----------
    of : "states" or "actions"
        What the histogram counts. A field of states is that of the present states, seen before anyone acts; a field of actions
        is that of the actions of the same step.
    weights : float64[n_x] or float64[D, n_x]
        One row a feature, one entry for each local state or action.
    edges : sequence of float, or D of them
        Strictly increasing; a feature with e edges has e + 1 bins.
    values : sequence of labels, default 0, 1, 2, …
        Names of the field values.
    neutral : int, optional
        Value of an empty histogram (an agent without neighbours); by default that of the uniform histogram.

    Raises
    ------
    ValueError
        One line naming the part, what was found and what was expected.
    """

    of: str
    weights: np.ndarray
    edges: tuple[np.ndarray, ...]
    values: tuple = ()
    neutral: int = -1

    def __post_init__(self) -> None:
        if self.of not in OF:
            raise ValueError(f"field.of: found {shown(self.of)}, expected one of {', '.join(OF)}")
        weights = _numbers("field.weights", self.weights)
        weights = weights[None] if weights.ndim == 1 else weights
        if weights.ndim != 2 or weights.size == 0:
            raise ValueError(f"field.weights: found shape {weights.shape}, expected (n_x,) or (D, n_x)")
        given: Any = self.edges
        if len(weights) == 1 and all(np.ndim(edge) == 0 for edge in given):
            given = (given,)
        if len(given) != len(weights):
            raise ValueError(
                f"field.edges: found edges of {len(given)} features, expected {len(weights)}, as in weights"
            )
        edges = tuple(_edges(d, row) for d, row in enumerate(given))
        for d, row in enumerate(weights):
            _check_span(d, row, edges[d])
        n_values = math.prod(len(row) + 1 for row in edges)
        if n_values > MAX_FIELD_VALUES:
            raise ValueError(f"field.edges: found {n_values} field values, expected at most {MAX_FIELD_VALUES}")
        values = tuple(as_label(f"field.values[{i}]", value) for i, value in enumerate(self.values or range(n_values)))
        check_distinct("field.values", values)
        if len(values) != n_values:
            raise ValueError(f"field.values: found {len(values)} labels, expected {n_values}, one per bin of the edges")
        for array in (weights, *edges):
            array.setflags(write=False)
        for name, value in {"weights": weights, "edges": edges, "values": values}.items():
            object.__setattr__(self, name, value)
        neutral = self.neutral
        if neutral == -1:
            neutral = int(self.value_of(np.ones(weights.shape[1], dtype=np.int64)))
        if isinstance(neutral, bool) or not isinstance(neutral, int) or not 0 <= neutral < n_values:
            raise ValueError(f"field.neutral: found {shown(self.neutral)}, expected 0 to {n_values - 1}")
        object.__setattr__(self, "neutral", neutral)

    @classmethod
    def of_totals(cls, of: str, weights: Sequence[float] | np.ndarray, total: int, **options: Any) -> Field:
        """A field that tells every possible sum of the weights of `total` agents apart; its values are these sums.

        Parameters
        ----------
        of : "states" or "actions"
        weights : sequence of int, one feature
        total : int    agents that are counted, such as n or the number of neighbours
        """
        given = _numbers("field.weights", weights)
        if given.ndim != 1 or given.size == 0 or (given != np.rint(given)).any():
            raise ValueError(f"field.weights: found {shown(weights)}, expected whole numbers for edges 'totals'")
        if np.abs(given).max() > LARGEST_WEIGHT:
            raise ValueError(f"field.weights: found {shown(weights)}, expected numbers up to {LARGEST_WEIGHT:g}")
        if isinstance(total, bool) or not isinstance(total, (int, np.integer)) or total < 1:
            raise ValueError(f"total: found {shown(total)}, expected a whole number of at least 1")
        whole = given.astype(np.int64)
        low, step = int(whole.min()), max(1, int(np.gcd.reduce(whole - whole.min())))
        n_values = (int(whole.max()) - low) // step * total + 1
        if n_values > MAX_FIELD_VALUES:
            raise ValueError(f"field.edges: found {n_values} field values, expected at most {MAX_FIELD_VALUES}")
        sums = total * low + step * np.arange(n_values, dtype=np.int64)
        edges = (sums[1:] - 0.5 * step) / total
        return cls(of=of, weights=given, edges=(edges,), values=tuple(sums.tolist()), **options)

    @property
    def n_values(self) -> int:
        """Number of field values F."""
        return len(self.values)

    @property
    def n_bins(self) -> np.ndarray:
        """Bins of each feature, int64[D]."""
        return np.array([len(row) + 1 for row in self.edges], dtype=np.int64)

    @functools.cached_property
    def edge_table(self) -> np.ndarray:
        """The edges as one table, float64[D, most edges], lowered by their tolerance and padded with infinity."""
        table = np.full((len(self.edges), max(len(row) for row in self.edges)), np.inf)
        for row, edges in zip(table, self.edges, strict=True):
            row[: len(edges)] = _lowered(edges)
        return table

    def value_of(self, counts: np.ndarray) -> np.ndarray:
        """Field values of histograms.

        Parameters
        ----------
        counts : int64[…, n_x]

        Returns
        -------
        int64[…]
        """
        counts = np.asarray(counts)
        totals = counts.sum(axis=-1)
        value = np.zeros(totals.shape, dtype=np.int64)
        for weights, edges in zip(self.weights, self.edges, strict=True):
            means = (counts @ weights) / np.maximum(totals, 1)
            value = value * (len(edges) + 1) + np.searchsorted(_lowered(edges), means, side="right")
        return np.where(totals > 0, value, self.neutral)

    def parts(self) -> dict[str, Any]:
        """What defines the field, for comparison and digests."""
        return {
            "of": self.of,
            "weights": self.weights.tolist(),
            "edges": [row.tolist() for row in self.edges],
            "neutral": self.neutral,
        }

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        for array in (self.weights, *self.edges):
            array.setflags(write=False)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Neighbourhood:
    """Who sees whom: a graph over the local agents.

    Parameters
    ----------
    graph : "torus", "ring", "regular", "complete" or "edges"
        A torus has rows × columns agents, each with four neighbours; on a ring an agent sees `reach` others to either side; a
        regular graph is drawn at random with `degree` neighbours each (from `seed`); in a complete one everybody sees everybody
        else; `edges` lists pairs of agents that see each other.
    shape : (rows, columns), optional    of a torus, at least 3 each; by default a square
    reach : int                          of a ring
    degree, seed : int                   of a regular graph
    edges : int64[n_edges, 2]            of a graph given by its edges, agents counted from 0
    n_agents : int, optional             agents of a graph given by its edges; by default up to the highest one named

    Raises
    ------
    ValueError
    """

    graph: str
    shape: tuple[int, int] | None = None
    reach: int = 1
    degree: int = 0
    seed: int = 0
    edges: np.ndarray | None = None
    n_agents: int | None = None

    def __post_init__(self) -> None:
        if self.graph not in GRAPHS:
            raise ValueError(f"neighbourhood.graph: found {shown(self.graph)}, expected one of {', '.join(GRAPHS)}")
        if self.shape is not None:
            shape = tuple(_whole("neighbourhood.shape", side, 3) for side in self.shape)
            if self.graph != "torus" or len(shape) != 2:
                raise ValueError(f"neighbourhood.shape: found {shown(self.shape)}, expected two sides of a torus")
            object.__setattr__(self, "shape", shape)
        _whole("neighbourhood.reach", self.reach, 1)
        _whole("neighbourhood.seed", self.seed, 0)
        if self.graph == "regular":
            _whole("neighbourhood.degree", self.degree, 1)
        if (self.edges is not None) != (self.graph == "edges"):
            found = "none" if self.edges is None else "edges"
            raise ValueError(f"neighbourhood.edges: found {found} for graph {self.graph!r}, expected them for 'edges'")
        if self.n_agents is not None and self.edges is None:
            raise ValueError(
                f"neighbourhood.n_agents: found {shown(self.n_agents)} for graph {self.graph!r}, expected it for 'edges'"
            )
        if self.edges is not None:
            self._check_edges()

    def _check_edges(self) -> None:
        found = np.asarray(self.edges)
        if found.ndim != 2 or found.shape[1:] != (2,) or found.dtype.kind not in "iu" or found.size == 0:
            raise ValueError(f"neighbourhood.edges: found shape {found.shape}, expected pairs of agents (n_edges, 2)")
        n_agents = int(found.max()) + 1 if self.n_agents is None else self.n_agents
        _whole("neighbourhood.n_agents", n_agents, 1)
        if found.min() < 0 or found.max() >= n_agents:
            raise ValueError(
                f"neighbourhood.edges: found agents {found.min()} … {found.max()}, expected 0 to {n_agents - 1}"
            )
        pairs = np.sort(found.astype(np.int64), axis=1)
        if (pairs[:, 0] == pairs[:, 1]).any() or len(np.unique(pairs, axis=0)) < len(pairs):
            raise ValueError(
                "neighbourhood.edges: found an agent tied to itself, or a pair twice; expected distinct pairs"
            )
        edges = np.array(found, dtype=np.int64)
        edges.setflags(write=False)
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "n_agents", n_agents)

    def agents(self) -> int | None:
        """The number of agents that the graph fixes, or None."""
        if self.shape is not None:
            return self.shape[0] * self.shape[1]
        return self.n_agents

    def regular_degree(self) -> int | None:
        """Neighbours of every agent where the kind of graph says so, else None."""
        return {"torus": 4, "ring": 2 * self.reach, "regular": self.degree}.get(self.graph)

    def sides(self, n: int) -> tuple[int, int]:
        """Rows and columns of a torus of n agents."""
        if self.shape is not None:
            return self.shape
        side = math.isqrt(n)
        return side, side

    def check_agents(self, n: int) -> None:
        """ValueError unless the graph has n agents, or can have."""
        fixed = self.agents()
        problem = None
        if fixed is not None and n != fixed:
            problem = f"{fixed}, the agents of the {self.graph}"
        elif self.graph == "torus" and (self.sides(n)[0] ** 2 != n or n < 9) and self.shape is None:
            problem = "a square number of at least 9 for a torus without a shape"
        elif self.graph == "ring" and n <= 2 * self.reach:
            problem = f"more than {2 * self.reach} for a ring of reach {self.reach}"
        elif self.graph == "regular" and (n <= self.degree or n * self.degree % 2):
            problem = f"more than {self.degree} agents, and an even number of them times {self.degree}"
        if problem:
            raise ValueError(f"n: found {n} agents, expected {problem}")

    def adjacency(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Neighbours of n agents in rows: (starts int64[n + 1], neighbours int32[n_links]).

        A complete graph is not written out: its `starts` are zeros.
        """
        self.check_agents(n)
        agents = np.arange(n, dtype=np.int64)
        if self.graph == "complete":
            return np.zeros(n + 1, dtype=np.int64), np.zeros(0, dtype=np.int32)
        if self.graph == "torus":
            rows, columns = self.sides(n)
            row, column = np.divmod(agents, columns)
            steps = ((-1, 0), (0, -1), (0, 1), (1, 0))
            near = np.stack([(row + dr) % rows * columns + (column + dc) % columns for dr, dc in steps], axis=1)
        elif self.graph == "ring":
            steps_1 = np.concatenate([np.arange(-self.reach, 0), np.arange(1, self.reach + 1)])
            near = (agents[:, None] + steps_1) % n
        else:
            pairs = self._pairs(n)
            both = np.concatenate([pairs, pairs[:, ::-1]])
            both = both[np.lexsort((both[:, 1], both[:, 0]))]
            starts = np.searchsorted(both[:, 0], np.arange(n + 1)).astype(np.int64)
            return starts, both[:, 1].astype(np.int32)
        return np.arange(n + 1, dtype=np.int64) * near.shape[1], near.ravel().astype(np.int32)

    def _pairs(self, n: int) -> np.ndarray:
        if self.edges is not None:
            return self.edges
        import networkx

        graph = networkx.random_regular_graph(self.degree, n, seed=self.seed)
        return np.array(sorted(graph.edges), dtype=np.int64).reshape(-1, 2)

    def parts(self) -> dict[str, Any]:
        """What defines the graph, JSON-ready but for the edges."""
        options: dict[str, Any] = {"graph": self.graph}
        if self.shape is not None:
            options["shape"] = list(self.shape)
        if self.graph == "ring":
            options["reach"] = self.reach
        if self.graph == "regular":
            options |= {"degree": self.degree, "seed": self.seed}
        if self.graph == "edges":
            options["n_agents"] = self.n_agents
        return options

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        if self.edges is not None:
            self.edges.setflags(write=False)


def _numbers(name: str, value: Any) -> np.ndarray:
    try:
        found = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name}: found lists of unequal lengths, expected numbers") from None
    if found.dtype.kind not in "biuf" or not np.isfinite(found.astype(np.float64)).all():
        raise ValueError(f"{name}: found {shown(value)}, expected finite numbers")
    return np.array(found, dtype=np.float64)


def _check_span(feature: int, weights: np.ndarray, edges: np.ndarray) -> None:
    """Refuse what rounding would blur: huge weights, weights that hardly differ, edges that a mean cannot tell apart."""
    largest = float(np.abs(weights).max())
    if largest > LARGEST_WEIGHT:
        raise ValueError(f"field.weights[{feature}]: found {largest:g}, expected numbers up to {LARGEST_WEIGHT:g}")
    span = float(weights.max() - weights.min())
    if 0.0 < span < SMALLEST_SPAN * max(1.0, largest):
        raise ValueError(
            f"field.weights[{feature}]: found weights of up to {largest:g} that differ by {span:g}, expected them farther apart; "
            "subtract what they have in common, or multiply"
        )
    apart = np.diff(edges)
    blur = 4 * EDGE_RTOL * np.maximum(1.0, np.abs(edges[1:]))
    if (apart < blur).any():
        closest = int((apart - blur).argmin())
        raise ValueError(
            f"field.edges[{feature}]: found edges {apart[closest]:g} apart at {edges[closest]:g}, expected at least "
            f"{blur[closest]:.1g}"
        )


def _lowered(edges: np.ndarray) -> np.ndarray:
    return edges - EDGE_RTOL * np.maximum(1.0, np.abs(edges))


def _edges(feature: int, value: Any) -> np.ndarray:
    edges = _numbers(f"field.edges[{feature}]", value)
    if edges.ndim != 1 or (np.diff(edges) <= 0).any():
        raise ValueError(f"field.edges[{feature}]: found {shown(value)}, expected strictly increasing numbers")
    return edges


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value < 2**31:
        raise ValueError(f"{name}: found {shown(value)}, expected a whole number of at least {least}")
    return int(value)


def refuse_coupling(game: Any, what: str) -> None:
    """ValueError for a game whose agents are coupled by a field, with the reason why `what` cannot be had for it."""
    if game.field is not None:
        raise ValueError(f"game: found a game with a field, expected one without; {what}")


def refuse_unless_states(game: Any, what: str) -> None:
    """ValueError unless the game has no field, or one of the states of all agents: with that alone the counts tell the field."""
    if game.neighbourhood is not None:
        raise ValueError(f"game: found a game on a graph, expected one where all agents share a field; {what}")
    if game.field is not None and game.field.of == "actions":
        raise ValueError(f"game: found a field of actions, expected none or a field of states; {what}")
