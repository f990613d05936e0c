"""A study as one self-contained HTML page: no script, no network, nothing beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from ..files import write_bytes_atomically
from ..game import Game
from .data import Panel, ReportData, read_report_data
from .figures import gap_figure, value_figure
from .numbers import MISSING, fixed, number, plus_minus, prose, several
from .pairs import pair_section
from .style import STYLE
from .tables import Cell, cells_table, n_columns, table_html
from .words import finding

# Nothing may be loaded, from anywhere.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

_SETTINGS = {
    "games": "Games", "game": "Game", "n": "Agents n", "k": "Sample sizes k", "actions": "Action classes",
    "expectation": "Expectation", "samples": "Samples of a sampled expectation", "tol": "Certified width asked for",
    "steps": "Steps of a run", "runs": "Runs", "seeds": "Seeds", "seed": "Seed", "level": "Simulator",
    "exact": "Exact values with n agents", "simulate": "Simulation", "refine": "Refinement", "local_policy": "Local policy",
    "method": "Method", "nash": "Alternating best response",
    "agents": "Agents of each game", "game_digests": "Digests of the games",
    "memory_bytes": "Memory limit [bytes]",
}  # fmt: skip

_GLOSSARY = (
    ("V* of the k‑agent game", "optimal value of the game with k agents alone, from the initial law. "
     "It is certified: the true value lies within the half width given. With the exact expectation, and in every class "
     "but histogram, no policy of that class earns more with n ≥ k agents."),
    ("Exact value, n agents", "what the policy learned on k agents earns when n agents play it, each of them seeing a "
     "sample of k. Computed, not simulated; the half width covers truncation and rounding."),
    ("Simulated return", "mean discounted return of the runs, with a 95 % t interval over them. What comes after the last step "
     "of a run is missing."),
    ("Gap to V*", "optimal value with n agents minus the exact value, from the initial law. The optimum is that of the "
     "fixed class where the local policy is given, and else that of the joint class. "
     "The worst gap is the largest over all states to start from."),
    ("Gain by refining", "what improving the policy on the n-agent game itself adds to its value; where the exact chain does "
     "not fit, the mean of paired simulations with a 95 % interval."),
    ("Mode accuracy", "share of the steps in which the global action is named like a local state with most agents."),
    ("Slope", "of a straight line fitted to log gap against log k, over k < n and gaps above what is certified; the "
     "95 % interval is by bootstrap. A gap that falls like 1/√k has slope −½."),
    ("Bound of the theory", "the O(1/√k) bound of Anand, Karmarkar and Qu (2024) with its constants. It holds for every game "
     "and is far above most."),
    ("Policy that never looks", "the best policy whose global action ignores the counts. Its value is the same for every n; "
     "a sample that is too small can earn less."),
    ("Action classes", "joint: every joint action of the k agents; shared: agents in one state take one action; histogram: "
     "a histogram over the actions; fixed: the local policy is given and only the global agent optimises."),
)  # fmt: skip


def write_report(folder: str | Path, output: str | Path, *, overwrite: bool = False) -> int:
    """Write the report of a study or of learned tables; the number of bytes. The same input makes the same bytes.

    Parameters
    ----------
    folder : path of the study's folder, with study.h5 and, if there, timings.h5, or with learning.h5; or of a file of learning
    output : path of the HTML file
    overwrite : bool

    Raises
    ------
    KofnFileError
    """
    from .learning import learning_report_html, learning_source

    learning = learning_source(folder)
    text = report_html(read_report_data(folder)) if learning is None else learning_report_html(learning)
    page = text.encode()
    write_bytes_atomically(output, page, overwrite=overwrite)
    return len(page)


def report_html(data: ReportData) -> str:
    """The page."""
    games = list(dict.fromkeys(panel.game for panel in data.panels)) or data.axes["game"]
    title = f"Study of {several([name or 'a game' for name in games])}"
    sections = [
        _header(data, title, games),
        _sensitivity(data, games),
        _overview(data),
        *(_game_section(data, name, i) for i, name in enumerate(games)),
        _glossary(),
        _settings(data),
        _machine(data),
        _footer(data),
    ]
    return page_html(title, sections)


def page_html(title: str, sections: Sequence[str]) -> str:
    """A page of some sections; empty ones are left out."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f'<title>{prose(title)}</title><style>\n{STYLE}\n</style></head>\n<body><div class="page">\n'
        + "\n".join(section for section in sections if section)
        + "\n</div></body></html>\n"
    )


def _header(data: ReportData, title: str, games: Sequence[str]) -> str:
    axes, panels = data.axes, data.panels
    ks = sorted({k for panel in panels for k in panel.k.tolist()}) or axes["k"]
    ns = sorted({panel.n for panel in panels}) or axes["n"]
    learned = f"k = {ks[0]}" if len(ks) == 1 else f"{len(ks)} sample sizes, k = {ks[0]} … {ks[-1]}"
    runs = _setting(data.config, "runs")
    steps = _setting(data.config, "steps")
    simulated = f" Each was simulated in {runs} runs of {steps} steps." if runs and steps else ""
    links = [("#matters", "Does k matter?")] if _cards(data, games) else []
    links += [("#overview", "At a glance")]
    links += [(f"#game-{i}", name or "game") for i, name in enumerate(games)]
    links += [("#terms", "Terms"), ("#settings", "What was run"), ("#machine", "Machine and versions")]
    items = "".join(f'<li><a href="{target}">{prose(name)}</a></li>' for target, name in links)
    return (
        f'<header><p class="eyebrow">kofn · learn with k agents, act with n</p><h1>{prose(title)}</h1>'
        f'<p class="lead">Policies learned on {learned}, played by n = {several([f"{n:,}" for n in ns])} agents; '
        f"{prose(several(axes['actions']))} actions, {prose(several(axes['expectation']))} expectation.{prose(simulated)}</p>"
        f'<nav aria-label="Contents"><ul>{items}</ul></nav></header><main>'
    )


def _setting(config: Mapping[str, Any], name: str) -> str:
    value = config.get(name)
    return f"{value:,}" if isinstance(value, int) else ""


def _sensitivity(data: ReportData, games: Sequence[str]) -> str:
    cards = _cards(data, games)
    if not cards:
        return ""
    these = "this game" if len(games) == 1 else "these games"
    return (
        f'<section aria-labelledby="matters"><h2 id="matters">Does k matter in {these}?</h2>'
        "<p>Local agents touch each other only through the global action. Where the best global action ignores how many "
        f'agents are in which state, the sample size cannot matter.</p><div class="cards">{"".join(cards)}</div></section>'
    )


def _cards(data: ReportData, games: Sequence[str]) -> list[str]:
    cards = []
    for name in games:
        by_actions = data.sensitivity.get(name)
        for actions, summary in by_actions.items() if isinstance(by_actions, dict) else ():
            if isinstance(summary, dict):
                cards.append(_card(name, actions, summary))
    return cards


def _card(game: str, actions: str, summary: Mapping[str, Any]) -> str:
    verdict, _, reason = str(summary.get("verdict", "")).partition(":")
    verdict = verdict.removesuffix(" here").strip()
    reason = reason.strip()
    sure = "no" if "cannot" in verdict or "hardly" in verdict else "yes"
    facts = []
    share, blind = summary.get("share_of_global_states"), summary.get("blind_gap")
    if _is_number(share):
        facts.append(("Best action varies in", f"{100 * share:.3g} % of the global states"))
    within = summary.get("varies_within_field")
    if _is_number(within):
        facts.append(("Within one field value in", f"{100 * within:.3g} % of its pairs with a global state"))
    if _is_number(blind):
        facts.append(("Never looking costs", f"{number(blind)} reward at k = {summary.get('k', '?')}"))
    items = "".join(f"<dt>{prose(name)}</dt><dd>{prose(text)}</dd>" for name, text in facts)
    return (
        f'<article class="card"><h3><b>{prose(game)}</b> · {prose(actions)} actions</h3>'
        f'<p class="verdict {sure}">{prose(verdict)}</p>'
        f"<p>{prose(reason[:1].upper() + reason[1:])}</p><dl>{items}</dl></article>"
    )


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _overview(data: ReportData) -> str:
    if not data.panels:
        return '<section><h2 id="overview">At a glance</h2><p>No cell of this study is finished.</p></section>'
    header = [
        Cell(html="Game", text=True),
        Cell(html="Actions", text=True),
        Cell(html="n"),
        Cell(html="V* of n agents"),
    ]
    header += [Cell(html=name) for name in ("Gap at smallest k", "Gap at largest k", "Slope", "95 % interval")]
    several_expectations = len(data.axes["expectation"]) > 1
    if several_expectations:
        header.insert(2, Cell(html="Expectation", text=True))
    rows = []
    for i, panel in enumerate(data.panels):
        link = f'<a href="#panel-{i}">{prose(panel.game or "game")}</a>'
        row = [Cell(html=link, text=True, wraps=True, heading=True), Cell(html=prose(panel.actions), text=True)]
        row += [Cell(html=prose(panel.expectation), text=True)] * several_expectations
        rows.append([*row, Cell(html=f"{panel.n:,}"), *_glance(panel)])
    table = table_html("Gap to the optimum of n agents", header, rows)
    notes = data.config.get("notes")
    left_out = "".join(f"<li>{prose(note)}</li>" for note in notes) if isinstance(notes, list) else ""
    if left_out:
        left_out = f'<div class="prose note"><p>What was left out, and why:</p><ul>{left_out}</ul></div>'
    return f'<section aria-labelledby="overview"><h2 id="overview">At a glance</h2>{table}{left_out}</section>'


def _glance(panel: Panel) -> list[Cell]:
    low, high = panel.lines["optimal_lower"], panel.lines["optimal_upper"]
    if math.isfinite(low + high):
        optimum = f'{number((low + high) / 2, 6)}<span class="pm">± {plus_minus((high - low) / 2)}</span>'
    else:
        optimum = f"≤ {number(high, 6)}" if math.isfinite(high) else MISSING
    gap, resolved = panel.cells["gap"], panel.resolved
    known = np.flatnonzero(np.isfinite(gap).any(axis=1))
    gaps = []
    for i in known[[0, -1]].tolist() if known.size else ():
        size = number(float(np.nanmean(gap[i]))) if resolved[i].any() else f"≤ {plus_minus(panel.resolution)}"
        gaps.append(f'{size}<span class="pm">at {panel.k[i]}</span>')
    fit = np.flatnonzero(np.isfinite(panel.fits["slope"]))
    slope, interval = MISSING, MISSING
    if fit.size and resolved.any():
        slope = fixed(float(panel.fits["slope"][fit[0]]), 2)
        ends = [float(panel.fits[name][fit[0]]) for name in ("slope_low", "slope_high")]
        interval = " … ".join(fixed(x, 2) for x in ends) if math.isfinite(sum(ends)) else MISSING
    return [Cell(html=text) for text in (optimum, *(gaps or (MISSING, MISSING)), slope, interval)]


def _game_section(data: ReportData, name: str, index: int) -> str:
    game = data.games.get(name)
    panels = [
        _panel(data, panel, i) for i, panel in enumerate(data.panels) if panel.game == name
    ]  # fmt: skip
    head = "" if game is None else _describe(game)
    if name in data.pairs:
        head += pair_section(data.pairs[name], f"pair-{index}")
    return (
        f'<section aria-labelledby="game-{index}"><h2 id="game-{index}">{prose(name or "game")}</h2>{head}'
        f"{''.join(panels)}</section>"
    )


def _describe(game: Game) -> str:
    paragraphs = [" ".join(part.split()) for part in game.description.strip().split("\n\n")]
    text = "".join(f"<p>{prose(part)}</p>" for part in paragraphs if part)
    law = "a Dirichlet law drawn for each run" if game.dirichlet else "a given law"
    return (
        f'{text}<p class="facts">{game.n_sg} global states, {game.n_ag} global actions, {game.n_sl} local states, '
        f"{game.n_al} local actions; discount γ = {game.gamma:g}; local agents start from {law}.</p>"
    )


def _panel(data: ReportData, panel: Panel, index: int) -> str:
    parts = [f"n = {panel.n:,} agents", f"{panel.actions} actions"]
    if len(data.axes["expectation"]) > 1 or panel.expectation != "exact":
        parts.append(f"{panel.expectation} expectation")
    gap, value, table = gap_figure(panel, f"gap-{index}"), value_figure(panel, f"value-{index}"), cells_table(panel)
    # Beside a figure that is alone there is room for a small table.
    shown = (
        f'<div class="figures">{gap}{value}</div>{table}'
        if gap or n_columns(panel) > 3
        else f'<div class="figures">{value}{table}</div>'
    )
    words = " ".join(finding(panel))
    return (
        f'<article aria-labelledby="panel-{index}"><h3 id="panel-{index}">{prose(" · ".join(parts))}</h3>'
        f"<p>{prose(words)}</p>{shown}</article>"
    )


def _glossary() -> str:
    items = "".join(f"<dt>{prose(term)}</dt><dd>{prose(text[:1].upper() + text[1:])}</dd>" for term, text in _GLOSSARY)
    return f'<section aria-labelledby="terms"><h2 id="terms">Terms</h2><dl>{items}</dl></section>'


def _settings(data: ReportData) -> str:
    names = [name for name in _SETTINGS if name in data.config]
    names += [name for name in sorted(data.config) if name not in _SETTINGS]
    names = [name for name in names if name != "notes" and data.config[name] not in (None, [], {}, "")]
    items = "".join(
        f"<dt>{prose(_SETTINGS.get(name, name.replace('_', ' ')))}</dt><dd>{prose(plain(data.config[name]))}</dd>"
        for name in names
    )
    return f'<section aria-labelledby="settings"><h2 id="settings">What was run</h2><dl>{items}</dl></section>'


def plain(value: Any) -> str:
    """A setting as text: lists and mappings without brackets, the rest as in JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, list) and all(isinstance(x, (str, int, float)) for x in value):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return "; ".join(f"{key}: {plain(entry)}" for key, entry in value.items())
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _machine(data: ReportData) -> str:
    facts = [("kofn", data.kofn_version)]
    timings = data.timings or {}
    for name, value in timings.items():
        if isinstance(value, str) and name not in ("format", "kofn_version"):
            facts.append((name.replace("_", " "), _versions(value)))
    for name in ("host", "created"):
        if isinstance(timings.get(name), np.ndarray):
            found = sorted({str(x) for x in timings[name].ravel().tolist() if x})
            if found:
                text = (
                    several(found) if name == "host" else (found[0] if len(found) == 1 else f"{found[0]} … {found[-1]}")
                )
                facts.append(({"host": "Machine", "created": "Computed"}[name], text))
    for name, what in (("solve", "Solving"), ("deploy", "Simulating"), ("evaluate", "Evaluating exactly")):
        seconds = timings.get(f"{name}_time_s")
        if isinstance(seconds, np.ndarray) and np.isfinite(seconds).any():
            text = (
                f"{number(float(np.nansum(seconds)))} s over all cells, {number(float(np.nanmax(seconds)))} s at most"
            )
            facts.append((what, text))
    if not timings:
        facts.append(("Times", "not kept beside this study"))
    items = "".join(f"<dt>{prose(name)}</dt><dd>{prose(text)}</dd>" for name, text in facts)
    return f'<section aria-labelledby="machine"><h2 id="machine">Machine and versions</h2><dl>{items}</dl></section></main>'


def _versions(text: str) -> str:
    """A JSON object such as that of the libraries' versions as a list; other text as it is."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return ", ".join(f"{k} {v}" for k, v in found.items()) if isinstance(found, dict) else text


def _footer(data: ReportData) -> str:
    return (
        f"<footer><p>Written by kofn {prose(data.kofn_version)} from study.h5, which holds every number of this page. Method: "
        "Anand, Karmarkar and Qu, Mean-Field Sampling for Cooperative Multi-Agent Reinforcement Learning (2024), "
        "arXiv 2412.00661.</p></footer>"
    )
