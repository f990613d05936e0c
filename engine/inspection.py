"""What a file is, how it was made and what it says, as JSON-ready values and as lines for people."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .files import open_checked, read_config, read_text
from .game import Game
from .game_tables import read_game_tables
from .solution import Solution

FORMATS = {
    "kofn-solution": "solution of a surrogate game",
    "kofn-deployment": "deployment of a policy",
    "kofn-evaluation": "exact evaluation of a policy",
    "kofn-policy": "refined policy",
    "kofn-equilibrium": "approximate Nash equilibrium",
    "kofn-exploitability": "exploitability of a policy",
    "kofn-learned": "tables learned from samples",
    "kofn-gap": "best responses to learned policies",
    "kofn-inventory": "simulated inventories",
    "kofn-cell": "cell of a study",
    "kofn-study": "study",
    "kofn-learning-study": "study of learning",
    "kofn-drift-study": "study of importance weights",
    "kofn-drift-cell": "cell of a study of importance weights",
    "kofn-timings": "times of a study's cells",
    "kofn-checkpoint": "checkpoint of a solve",
}
WORDS_FOR_STATES = 3


def inspect_file(path: str | Path, states: Sequence[str] = ()) -> dict[str, Any]:
    """Describe a file of ours.

    Parameters
    ----------
    path : path of an HDF5 file
    states : global states and counts, as `S_G:C0,C1,…`, at which to put a solution's policy into words

    Returns
    -------
    dict
        JSON-ready: format, versions, configuration, arrays with shapes and axes; for a solution also certificate and policy.

    Raises
    ------
    KofnFileError, ValueError
    """
    from .solution_files import read_solution

    with open_checked(path, *FORMATS) as file:
        kind = read_text(file, "format")
        report: dict[str, Any] = {
            "file": str(path),
            "size_bytes": os.path.getsize(path),
            "format": kind,
            "what": FORMATS[kind],
            "format_version": int(file.attrs["format_version"]),
            "kofn_version": read_text(file, "kofn_version"),
            # A study is the same bytes whenever it was computed.
            "created": read_text(file, "created", default=""),
            "config": read_config(file),
            "arrays": _arrays(file),
        }
        if "versions" in file.attrs:
            report["versions"] = json.loads(read_text(file, "versions"))
        if isinstance(file.get("game"), h5py.Group):
            report["game"] = summarise_game(read_game_tables(file["game"]))
    if kind == "kofn-solution":
        solution = read_solution(path)
        report["certificate"] = certificate_of(solution)
        chosen = [_parse_state(text, solution) for text in states] or _telling_states(solution)
        report["policy"] = [words_for(solution, s_g, counts) for s_g, counts in chosen]
    elif kind == "kofn-equilibrium":
        report["equilibrium"] = _summary_of(path)
    elif kind in ("kofn-learned", "kofn-learning-study"):
        report["learned"] = _learned(path)
    if states and kind != "kofn-solution":
        raise ValueError(f"state: only a solution has a policy to put into words, {path} is a {FORMATS[kind]}")
    return report


def _summary_of(path: str | Path) -> dict[str, Any]:
    """What an alternation came to, round by round, JSON-ready."""
    from .equilibrium.files import read_equilibrium

    equilibrium = read_equilibrium(path)
    rounds = [
        {name: float(getattr(entry, name)) for name in ("value", "half_width", "global_value", "surrogate_value")}
        | {"kept": entry.kept, "nash_conv": list(entry.nash_conv()), "exploitability": entry.exploitability}
        for entry in equilibrium.rounds
    ]
    return equilibrium.summary() | {"by_round": rounds}


def _learned(path: str | Path) -> dict[str, Any]:
    """What was learned, cell by cell, and as lines of a table; JSON-ready."""
    from .study.learning_files import read_as_study
    from .study.learning_table import learning_lines, tabulate_learning

    result = read_as_study(path)
    cells = tabulate_learning(result, "cells")
    return {"cells": [dict(zip(cells.header, row, strict=True)) for row in cells.rows], "table": learning_lines(result)}


def _arrays(file: h5py.File) -> list[dict[str, Any]]:
    arrays = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and read_text(item, "CLASS", default="") != "DIMENSION_SCALE":
            axes = read_text(item, "axes", default="").split(", ") if "axes" in item.attrs else ["?"] * item.ndim
            arrays.append({
                "name": name,
                "shape": list(item.shape),
                "dtype": str(item.dtype),
                "axes": axes,
                "long_name": read_text(item, "long_name", default=""),
                "units": read_text(item, "units", default="1"),
            })  # fmt: skip

    file.visititems(visit)
    return arrays


def summarise_game(game: Game) -> dict[str, Any]:
    """Sizes and labels of a game, JSON-ready."""
    return {
        "name": game.name,
        "description": game.description.strip().split("\n")[0],
        "gamma": game.gamma,
        "n_agents": game.n_agents,
        "sizes": {"n_sg": game.n_sg, "n_ag": game.n_ag, "n_sl": game.n_sl, "n_al": game.n_al},
        "digest": game.digest(),
    } | ({} if game.field is None else {"field": summarise_field(game)})


def summarise_field(game: Game) -> dict[str, Any]:
    """The field of a coupled game: what it counts, its features and values, and the tables that depend on it; JSON-ready."""
    field, graph = game.field, game.neighbourhood
    assert field is not None
    return {
        "of": field.of,
        "whose": "all agents" if graph is None else f"neighbours in a {graph.graph} graph",
        "weights": field.weights.tolist(),
        "edges": [edges.tolist() for edges in field.edges],
        "values": list(field.values),
        "tables": [table for table in ("P_g", "P_l", "r_g", "r_l") if game.has_field_axis(table)],
    }


def field_line(field: dict[str, Any]) -> str:
    """A field in words, on one line."""
    edges = " × ".join(
        f"[{', '.join(f'{edge:.4g}' for edge in row[:8])}{', …' if len(row) > 8 else ''}]" for row in field["edges"]
    )
    values = ", ".join(str(value) for value in field["values"][:8]) + (", …" if len(field["values"]) > 8 else "")
    tables = " and ".join(filter(None, [", ".join(field["tables"][:-1]), *field["tables"][-1:]])) or "no table"
    return (
        f"{field['of']} of {field['whose']}: {len(field['values'])} values ({values}), bins of weighted means by edges {edges}, in "
        f"{tables}"
    )


def certificate_of(solution: Solution) -> dict[str, Any]:
    """What makes a solution trustworthy, JSON-ready."""
    return {
        "initial_value": solution.initial_value,
        "half_width": solution.half_width,
        "rounding_error": solution.rounding_error,
        "tol": solution.tol,
        "sweeps": solution.n_sweeps,
        "method": solution.method,
        "wall_time_s": solution.wall_time_s,
    }


def _parse_state(text: str, solution: Solution) -> tuple[int, np.ndarray]:
    label, colon, rest = text.rpartition(":")
    names = [str(x) for x in solution.game.labels.global_states]
    if not colon or label.strip() not in names:
        raise ValueError(f"state: found {text!r}, expected S_G:C0,C1,… with S_G one of {', '.join(names)}")
    try:
        counts = np.array([int(x) for x in rest.split(",")], dtype=np.int64)
    except (ValueError, OverflowError):
        raise ValueError(f"state: found {text!r}, expected whole numbers after the colon") from None
    solution.rank(counts)
    return names.index(label.strip()), counts


def _telling_states(solution: Solution) -> list[tuple[int, np.ndarray]]:
    """A few states to start with: the middle global state with the lowest, the middle and the highest rank of counts."""
    n_c = solution.counts.shape[0]
    ranks = sorted({0, n_c // 2, n_c - 1})[:WORDS_FOR_STATES]
    return [(solution.game.n_sg // 2, solution.counts[rank]) for rank in ranks]


def words_for(solution: Solution, s_g: int, counts: np.ndarray) -> dict[str, Any]:
    """The greedy decision at one state, in labels and in a sentence."""
    game, labels = solution.game, solution.game.labels
    c = solution.rank(counts)
    a_g = int(solution.global_action[s_g, c])
    rows = {}
    for s in np.flatnonzero(counts).tolist():
        # A policy blind to others sees the sample that is the agent itself.
        sample = c if solution.policy.k_local == solution.k else game.n_sl - 1 - s
        law = solution.policy.local_action[s_g, s, sample]
        rows[str(labels.local_states[s])] = {str(labels.local_actions[a]): float(law[a]) for a in np.flatnonzero(law)}
    agents = ", ".join(f"{int(counts[s])} in {labels.local_states[s]}" for s in np.flatnonzero(counts))
    moves = "; ".join(f"in {s}: {_law_in_words(law)}" for s, law in rows.items())
    field = {}
    if game.field is not None and game.field.of == "states" and game.neighbourhood is None:
        field = {"field": game.field.values[int(game.field.value_of(counts))]}
    return {
        "global_state": str(labels.global_states[s_g]),
        "counts": [int(x) for x in counts],
        **field,
        "value": float(solution.value[s_g, c]),
        "global_action": str(labels.global_actions[a_g]),
        "local_actions": rows,
        "words": (
            f"In global state {labels.global_states[s_g]} with {agents}{_in_field(field)}, the global agent plays "
            f"{labels.global_actions[a_g]}; local agents {moves}. Worth {solution.value[s_g, c]:.6g}."
        ),
    }


def _in_field(field: dict[str, Any]) -> str:
    return f" (field {field['field']})" if field else ""


def _law_in_words(law: dict[str, float]) -> str:
    if len(law) == 1:
        return next(iter(law))
    return " or ".join(f"{action} ({share:.3g})" for action, share in law.items())


def report_lines(report: dict[str, Any]) -> list[str]:
    """The lines that `kofn inspect` prints."""
    when = f"{report['created']} " if report["created"] else ""
    lines = [
        f"{report['file']}: {report['what']}",
        f"  written   {when}by kofn {report['kofn_version']}, format version {report['format_version']}",
        f"  config    {', '.join(f'{k} = {_brief(v)}' for k, v in report['config'].items())}",
    ]
    if "game" in report:
        game = report["game"]
        sizes = ", ".join(f"{k} = {v}" for k, v in game["sizes"].items())
        lines.append(f"  game      {game['name']}: {sizes}, gamma = {game['gamma']}")
        if "field" in game:
            lines.append(f"  field     {field_line(game['field'])}")
    if "certificate" in report:
        c = report["certificate"]
        lines.append(
            f"  value     {c['initial_value']:.9g} from the initial law, certified to ± {c['half_width']:.2g} "
            f"({c['sweeps']} sweeps, {c['method']}, {c['wall_time_s']:.3g} s)"
        )
    if "equilibrium" in report:
        found = report["equilibrium"]
        for number, entry in enumerate(found["by_round"], 1):
            mark = "*" if number == found["best_round"] else " "
            low, high = entry["nash_conv"]
            gains = f", NashConv {low:.4g} to {high:.4g} ({entry['exploitability']})" if low == low else ""
            lines.append(f"  round {number:2d} {mark} value {entry['value']:.9g} ± {entry['half_width']:.2g}{gains}")
        lines.append(f"  kept      round {found['best_round']} (*); stopped: {found['stop'] or 'under way'}")
    lines += [f"  {line}".rstrip() for line in report.get("learned", {}).get("table", [])]
    lines.append("  arrays")
    for array in report["arrays"]:
        axes = ", ".join(f"{axis} {size}" for axis, size in zip(array["axes"], array["shape"], strict=True))
        lines.append(f"    {array['name']:28s} {array['dtype']:8s} [{axes}]  {array['long_name']}")
    for words in report.get("policy", []):
        lines.append(f"  policy    {words['words']}")
    return lines


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"


def describe_game(game: Game) -> str:
    """A game in words: description, spaces, discount, initial law."""
    labels = game.labels
    spaces = (
        ("global states", labels.global_states),
        ("global actions", labels.global_actions),
        ("local states", labels.local_states),
        ("local actions", labels.local_actions),
    )
    initial = "Dirichlet law of the local states" if game.dirichlet else "law of the local states"
    lines = [game.name, ""]
    if game.description.strip():
        lines += [game.description.strip(), ""]
    lines += [f"{name:15s} {', '.join(str(x) for x in space)}" for name, space in spaces]
    if game.field is not None:
        lines.append(f"{'field':15s} {field_line(summarise_field(game))}")
    lines.append(f"{'gamma':15s} {game.gamma}")
    lines.append(f"{'agents':15s} {game.n_agents if game.n_agents is not None else 'any number'}")
    lines.append(f"{initial}: {', '.join(f'{x:.4g}' for x in game.rho_l)}")
    return "\n".join(lines)
