"""Fields and neighbourhoods in game files: sections of TOML, datasets of HDF5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from .coupling import OF, Field, Neighbourhood
from .files import create_array
from .sections import check_keys, section_of
from .tabulation import Space, shown

TOTALS = "totals"


def read_coupling(
    document: Mapping[str, Any], labels: Any, n_agents: int | None
) -> tuple[Field | None, Neighbourhood | None]:
    """The sections `[field]` and `[neighbourhood]` of a game in TOML.

    `[field]` has `of` ("states" or "actions"), `weights` (numbers, or one list of them for each feature; by default the labels of
    the states or actions), `edges` (numbers, one list for each feature, or "totals": every possible sum of whole weights over
    all agents, or over an agent's neighbours, is a value of its own), and may have `values` (labels) and `neutral` (one of
    them). `[neighbourhood]` has `graph` and the options of `Neighbourhood`.

    Parameters
    ----------
    document : mapping
    labels : Labels
    n_agents : int or None    agents the game is stated for

    Raises
    ------
    ValueError
    """
    neighbourhood = _neighbourhood(section_of(document, "neighbourhood")) if "neighbourhood" in document else None
    if "field" not in document:
        if neighbourhood is not None:
            raise ValueError("[field]: missing, expected it with [neighbourhood]")
        return None, None
    section = section_of(document, "field")
    check_keys("[field] ", section, ("of", "edges"), ("weights", "values", "neutral"))
    if section["of"] not in OF:
        raise ValueError(f"[field] of: found {shown(section['of'])}, expected one of {', '.join(OF)}")
    counted = labels.local_states if section["of"] == "states" else labels.local_actions
    weights = section.get("weights", list(counted))
    if not isinstance(weights, list) or any(isinstance(weight, (str, tuple, bool)) for weight in weights):
        raise ValueError(
            f"[field] weights: found {shown(weights)}, expected one number for each of {shown(list(counted))}"
        )
    if section["edges"] == TOTALS:
        total = n_agents if neighbourhood is None else neighbourhood.regular_degree()
        if total is None:
            missing = "agents" if neighbourhood is None else "a graph whose agents have equally many neighbours"
            raise ValueError(f"[field] edges: found 'totals' without {missing}, expected it, or numbers")
        field = Field.of_totals(section["of"], weights, total)
        return _with_neutral(field, section), neighbourhood
    if not isinstance(section["edges"], list):
        raise ValueError(f"[field] edges: found {shown(section['edges'])}, expected numbers or 'totals'")
    values = section.get("values", [])
    if not isinstance(values, list):
        raise ValueError(f"[field] values: found {shown(values)}, expected a list of labels")
    field = Field(of=section["of"], weights=weights, edges=tuple(section["edges"]), values=tuple(values))  # type: ignore[arg-type]
    return _with_neutral(field, section), neighbourhood


def _with_neutral(field: Field, section: Mapping[str, Any]) -> Field:
    if "neutral" not in section:
        return field
    position = Space(field.values).find(section["neutral"])
    if position is None:
        raise ValueError(
            f"[field] neutral: found {shown(section['neutral'])}, expected one of {shown(list(field.values))}"
        )
    return Field(of=field.of, weights=field.weights, edges=field.edges, values=field.values, neutral=position)


def _neighbourhood(section: Mapping[str, Any]) -> Neighbourhood:
    check_keys("[neighbourhood] ", section, ("graph",), ("shape", "reach", "degree", "seed", "edges", "agents"))
    given = dict(section)
    if "agents" in given:
        given["n_agents"] = given.pop("agents")
    if "shape" in given:
        if not isinstance(given["shape"], list):
            raise ValueError(f"[neighbourhood] shape: found {shown(given['shape'])}, expected [rows, columns]")
        given["shape"] = tuple(given["shape"])
    return Neighbourhood(**given)


def coupling_texts(field: Field | None, neighbourhood: Neighbourhood | None) -> dict[str, Any]:
    """The parts of a coupling that a file keeps as text, JSON-ready; empty without one."""
    if field is None:
        return {}
    texts: dict[str, Any] = {"of": field.of, "neutral": field.neutral, "values": list(field.values)}
    if neighbourhood is not None:
        texts["neighbourhood"] = neighbourhood.parts()
    return texts


def write_coupling(group: h5py.Group, field: Field, neighbourhood: Neighbourhood | None) -> None:
    """Write the numbers of a coupling into the group of a game: its weights, its edges, and the edges of its graph.

    The edges of all features stand one after the other in `field_edges`; `field_edge_counts` tells how many each has.
    """
    edges = np.concatenate([np.zeros(0), *field.edges])
    counts = np.array([len(row) for row in field.edges], dtype=np.int64)
    create_array(
        group, "field_weights", field.weights, axes=("field_feature", f"local_{field.of[:-1]}"),
        long_name=f"weights of the local {field.of} in the field", units="1",
    )  # fmt: skip
    create_array(
        group, "field_edge_counts", counts, axes=("field_feature",), long_name="edges of each feature", units="1"
    )
    create_array(group, "field_edges", edges, axes=("field_edge",), long_name="edges of the bins", units="1")
    if neighbourhood is not None and neighbourhood.edges is not None:
        create_array(
            group, "neighbourhood_edges", neighbourhood.edges, axes=("link", "link_end"),
            long_name="pairs of agents that see each other", units="1",
        )  # fmt: skip


def restore_coupling(group: h5py.Group, texts: Mapping[str, Any]) -> tuple[Field | None, Neighbourhood | None]:
    """Read back what `write_coupling` wrote, with the texts of `coupling_texts`."""
    if not texts:
        return None, None
    counts = group["field_edge_counts"][()]
    edges = np.split(group["field_edges"][()], np.cumsum(counts)[:-1])
    values = tuple(tuple(value) if isinstance(value, list) else value for value in texts["values"])
    field = Field(
        of=texts["of"], weights=group["field_weights"][()], edges=tuple(edges), values=values, neutral=texts["neutral"]
    )
    if "neighbourhood" not in texts:
        return field, None
    options = dict(texts["neighbourhood"])
    if "shape" in options:
        options["shape"] = tuple(options["shape"])
    if options["graph"] == "edges":
        options["edges"] = group["neighbourhood_edges"][()]
    return field, Neighbourhood(**options)
