"""The tables of a game in an HDF5 group: self-describing, checksummed, with named axes."""

from __future__ import annotations

import hashlib
import json

import h5py
import numpy as np

from .coupling_files import coupling_texts, restore_coupling, write_coupling
from .files import create_array, write_text
from .game import Game, Labels
from .table_checks import AXES

# Field, axes, long name, units. Scales are named as netCDF wants them: no axis name twice in one table.
_TABLES = (
    ("P_g", ("global_state", "global_action", "next_global_state"), "law of the next global state", "1"),
    ("P_l", ("global_state", "local_state", "local_action", "next_local_state"), "law of the next local state", "1"),
    ("r_g", ("global_state", "global_action"), "reward of the global agent per step", "reward"),
    ("r_l", ("global_state", "local_state", "local_action"), "reward of a local agent per step", "reward"),
    ("rho_g", ("global_state",), "law of the initial global state", "1"),
    ("rho_l", ("local_state",), "law of the initial local states", "1"),
)
# A header message of HDF5 holds 64 KiB.
COMPRESS_FROM_BYTES = 1_000_000
"""Larger tables are mostly zeros, and compressed: 143 MB of transitions of the game `inventory` become 8 MB."""

_CONCENTRATION = "Dirichlet concentration of the law of the initial local states"


def write_game_tables(group: h5py.Group, game: Game) -> None:
    """Write a game into an empty HDF5 group, by convention `/game`.

    The six arrays are datasets with Fletcher-32 checksums and dimension scales that hold the labels. Attributes of the
    group: `name`, `description`, `gamma`, `dirichlet`, `n_agents` (absent if None), `digest` (`Game.digest`) and
    `text_digest` (SHA-256 over the texts). The scalar dataset `labels` holds all labels as JSON, and of a coupled game the
    labels of the field values and its graph; `coupling_files` writes the numbers of the field.

    Parameters
    ----------
    group : h5py.Group
        Open for writing.
    game : Game

    Raises
    ------
    ValueError
        The name or the description does not fit an attribute.
    """
    texts = _texts_of(game)
    for field in ("name", "description"):
        write_text(group, field, texts[field])
    all_labels = texts["labels"].encode()
    group.create_dataset("labels", data=all_labels, dtype=h5py.string_dtype(length=len(all_labels)))
    axes = {
        "global_state": game.labels.global_states,
        "global_action": game.labels.global_actions,
        "local_state": game.labels.local_states,
        "local_action": game.labels.local_actions,
        "next_global_state": game.labels.global_states,
        "next_local_state": game.labels.local_states,
    }
    if game.field is not None:
        axes["field"] = game.field.values
    for axis, labels in axes.items():
        _write_scale(group, axis, labels)
    for field, dimensions, long_name, units in _TABLES:
        if game.field is not None and field in AXES and game.has_field_axis(field):
            dimensions = (dimensions[0], "field", *dimensions[1:])
        if field == "rho_l" and game.dirichlet:
            long_name = _CONCENTRATION
        table = getattr(game, field)
        create_array(
            group,
            field,
            table,
            axes=dimensions,
            long_name=long_name,
            units=units,
            compressed=table.nbytes > COMPRESS_FROM_BYTES,
        )
    if game.field is not None:
        write_coupling(group, game.field, game.neighbourhood)
    group.attrs["gamma"] = game.gamma
    group.attrs["dirichlet"] = game.dirichlet
    if game.n_agents is not None:
        group.attrs["n_agents"] = game.n_agents
    write_text(group, "digest", game.digest())
    write_text(group, "text_digest", _digest_of(texts, game.n_agents))


def read_game_tables(group: h5py.Group) -> Game:
    """Read back what `write_game_tables` wrote, bit for bit.

    Parameters
    ----------
    group : h5py.Group

    Returns
    -------
    Game

    Raises
    ------
    ValueError
        The group is incomplete or damaged: a missing or misshapen table, or contents that miss their checksums.
    """
    try:
        return _read(group)
    # Damage shows as almost any exception of h5py; a reader must see one kind.
    except Exception as error:
        reason = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        reason = " ".join(reason.split())[:300]
        raise ValueError(f"group 'game': found {reason}; expected the tables that kofn writes") from None


def _read(group: h5py.Group) -> Game:
    attributes = dict(group.attrs)
    for name in ("name", "description", "gamma", "dirichlet", "digest", "text_digest"):
        if name not in attributes:
            raise ValueError(f"no attribute {name}")
    texts = {name: attributes[name].decode() for name in ("name", "description")}
    texts["labels"] = _read_labels(group)
    n_agents = int(attributes["n_agents"]) if "n_agents" in attributes else None
    if _digest_of(texts, n_agents) != attributes["text_digest"].decode():
        raise ValueError("damaged names or labels, their checksum differs")
    spaces = json.loads(texts["labels"])
    field, neighbourhood = restore_coupling(group, spaces.pop("coupling", {}))
    labels = Labels(**{space: tuple(entries) for space, entries in spaces.items()})
    n_f = 0 if field is None else field.n_values
    tables = {table: _read_table(group, table, dimensions, labels, n_f) for table, dimensions, _, _ in _TABLES}
    game = Game(
        **tables,
        gamma=float(attributes["gamma"]),
        dirichlet=bool(attributes["dirichlet"]),
        name=texts["name"],
        description=texts["description"],
        labels=labels,
        n_agents=n_agents,
        field=field,
        neighbourhood=neighbourhood,
    )
    if game.digest() != attributes["digest"].decode():
        raise ValueError("damaged tables, their checksum differs")
    return game


def _read_table(group: h5py.Group, field: str, dimensions: tuple[str, ...], labels: Labels, n_f: int) -> np.ndarray:
    """Read one table, after a look at its shape: a damaged size must not ask for terabytes."""
    sizes = dict(zip(("global_state", "global_action", "local_state", "local_action"), labels.sizes))
    expected = tuple(sizes[axis.removeprefix("next_")] for axis in dimensions)
    if field not in group:
        raise ValueError(f"no dataset {field}")
    dataset = group[field]
    if n_f and field in AXES and len(dataset.shape) == AXES[field] + 1:
        expected = (expected[0], n_f, *expected[1:])
    if dataset.shape != expected or dataset.dtype.kind != "f":
        raise ValueError(f"{field} of shape {dataset.shape} and type {dataset.dtype}, not floats of shape {expected}")
    return dataset[()]


def _read_labels(group: h5py.Group) -> str:
    if "labels" not in group:
        raise ValueError("no dataset labels")
    dataset = group["labels"]
    if dataset.shape != () or dataset.dtype.kind != "S" or dataset.dtype.itemsize != dataset.id.get_storage_size():
        raise ValueError(f"labels of shape {dataset.shape} and type {dataset.dtype}, not one text")
    return dataset[()].decode()


def _write_scale(group: h5py.Group, axis: str, labels: tuple) -> None:
    if all(isinstance(label, (int, float)) for label in labels):
        scale = group.create_dataset(axis, data=np.array(labels), chunks=True, fletcher32=True)
    else:
        texts = [label if isinstance(label, str) else repr(label) for label in labels]
        scale = group.create_dataset(axis, data=texts, dtype=h5py.string_dtype())
    scale.make_scale(axis)
    write_text(scale, "long_name", "labels, " + axis.replace("_", " "))


def _texts_of(game: Game) -> dict[str, str]:
    spaces = {space: getattr(game.labels, space) for space in Labels.__dataclass_fields__}
    coupling = coupling_texts(game.field, game.neighbourhood)
    labels = json.dumps(spaces | {"coupling": coupling} if coupling else spaces)
    return {"name": game.name, "description": game.description, "labels": labels}


def _digest_of(texts: dict[str, str], n_agents: int | None) -> str:
    return hashlib.sha256(json.dumps([texts, n_agents], sort_keys=True).encode()).hexdigest()
