"""A study of learning, or learned tables alone, as one self-contained HTML page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import KofnFileError, open_checked, read_text
from ..learning.files import FORMAT as LEARNED
from ..learning.ising import CRITICAL_TEMPERATURE
from ..learning.settings import unit_of_time
from ..study.learning_files import FORMAT as STUDY
from ..study.learning_files import NAME, read_as_study
from ..study.learning_results import LearningStudy
from .learning_figures import curves_figure, order_figure, score_figure
from .numbers import MISSING, number, plus_minus, prose, several
from .page import page_html, plain
from .tables import Cell, table_html

# Figures against n, one for each temperature.
MAX_SCORES = 4
_METHODS = {
    "mfq": "mean-field Q-learning", "mfac": "mean-field actor-critic", "iq": "independent Q-learning",
}  # fmt: skip
_SUFFIXES = {
    "": "", "none": " without weights", "product": " with product weights", "marginal": " with marginal weights",
    "selfnorm": " with normalised weights", "online": " without replay",
}  # fmt: skip
_SETTINGS = {
    "games": "Games", "method": "Methods", "agents": "Agents of each game", "temperature": "Temperatures T", "steps": "Steps",
    "runs": "Runs", "seed": "Seed", "constants": "Constants of the game", "learning": "Learning",
    "game_digests": "Digests of the games",
}  # fmt: skip
_GLOSSARY = (
    ("Reward", "system reward per step, the global agent's and the mean of the local agents'. Means are over the last part of the "
     "steps of each run, intervals are 95 % t intervals over the runs."),
    ("mfq, mfac, iq", "mean-field Q-learning and mean-field actor-critic (Yang et al. 2018), whose agents see the mean of the "
     "others, and independent Q-learning, whose agents do not."),
    ("T", "temperature of the Boltzmann law exp(Q/T) by which agents choose; 0 is greedy."),
    ("Mean weight", "mean weight of the actions, or the states, that agents see: the mean action, or the magnetisation of spins."),
    ("Best team reward", "largest reward of any field value, where all agents receive the same."),
    ("Uniform play", "expected reward of agents who all act at random."),
    ("Onsager's curve", "magnetisation of the infinite square lattice at the physical temperature 2 T; learners who act one after "
     "the other settle to that heat bath."),
)  # fmt: skip


def learning_source(path: str | Path) -> Path | None:
    """The file of learning that a report is asked for: a folder's learning.h5, or the file itself; None for what is none."""
    given = Path(path)
    if given.is_dir():
        found = given / NAME
        return found if found.exists() and not (given / "study.h5").exists() else None
    try:
        with open_checked(given, LEARNED, STUDY):
            return given
    except KofnFileError:
        return None


def learning_report_html(path: Path) -> str:
    """The page of a study of learning, or of learned tables.

    Raises
    ------
    KofnFileError
    """
    with open_checked(path, LEARNED, STUDY) as file:
        version = read_text(file, "kofn_version")
        seconds = float(file.attrs.get("wall_time_s", math.nan))
    result = read_as_study(path)
    games = result.game.tolist()
    title = f"Learning in {several([name or 'a game' for name in games])}"
    sections = [
        _header(result, title),
        *(_game_section(result, name, i) for i, name in enumerate(games)),
        _glossary(),
        _settings(result.config),
        _machine(version, seconds),
        f"<footer><p>Written by kofn {prose(version)} from {prose(path.name)}, which holds every number of this page.</p></footer>",
    ]
    return page_html(title, sections)


def _in_words(method: str) -> str:
    plain, _, suffix = method.partition("+")
    return _METHODS.get(plain, plain) + _SUFFIXES.get(suffix, "")


def _header(result: LearningStudy, title: str) -> str:
    config = result.config
    methods = several([_in_words(x) for x in result.method.tolist()])
    links = [(f"#game-{i}", name or "game") for i, name in enumerate(result.game.tolist())]
    links += [("#terms", "Terms"), ("#settings", "What was run"), ("#machine", "Versions")]
    items = "".join(f'<li><a href="{target}">{prose(name)}</a></li>' for target, name in links)
    ns = sorted({n for found in config["agents"].values() for n in found})
    return (
        f'<header><p class="eyebrow">kofn · learn from samples</p><h1>{prose(title)}</h1>'
        f'<p class="lead">{prose(methods[:1].upper() + methods[1:])} with {several([f"{n:,}" for n in ns])} agents: '
        f"{config['runs']:,} runs of {config['steps']:,} {_time(result)} in each cell.</p>"
        f'<nav aria-label="Contents"><ul>{items}</ul></nav></header><main>'
    )


def _time(result: LearningStudy) -> str:
    return unit_of_time(result.config["learning"].get("order"))


def _game_section(result: LearningStudy, name: str, index: int) -> str:
    text = str(result.config.get("descriptions", {}).get(name, ""))
    head = "".join(f"<p>{prose(' '.join(part.split()))}</p>" for part in text.split("\n\n") if part.strip())
    tail = 100 * float(result.config["learning"].get("tail", math.nan))
    notes = result.config.get("notes") or []
    left_out = "".join(f"<li>{prose(note)}</li>" for note in notes)
    if left_out and index == 0:
        left_out = f'<div class="prose note"><p>What was left out, and why:</p><ul>{left_out}</ul></div>'
    figures = []
    ns = result.ns_of(name)
    if len(ns) > 1:
        figures += [
            score_figure(result, name, t, f"score-{index}-{i}")
            for i, t in enumerate(result.temperature.tolist()[:MAX_SCORES])
        ]
    for i, n in enumerate(ns):
        figures += [
            order_figure(result, name, n, f"order-{index}-{i}"),
            curves_figure(result, name, n, f"curves-{index}-{i}"),
        ]
    caption = f"Reward over the last {tail:g} % of the {_time(result)}"
    return (
        f'<section aria-labelledby="game-{index}"><h2 id="game-{index}">{prose(name or "game")}</h2>{head}'
        f"{_findings(result, name)}{_table(result, name, caption)}{left_out if index == 0 else ''}"
        f'<div class="figures">{"".join(figures)}</div></section>'
    )


def _findings(result: LearningStudy, name: str) -> str:
    sentences = []
    for n in result.ns_of(name):
        best, uniform = (float(result.sel(x, game=name, n=n)) for x in ("best_reward", "uniform_reward"))
        if math.isfinite(best) and best > 0:
            sentences.append(
                f"With n = {n:,} the best team reward is {number(best, 6)}; uniform play earns {number(uniform)}."
            )
        for method in result.method.tolist():
            at, low, high = (
                float(result.sel(x, game=name, n=n, method=method))
                for x in ("crossing", "crossing_low", "crossing_high")
            )
            if math.isfinite(at):
                ends = f" ({number(low, 4)} … {number(high, 4)})" if math.isfinite(low + high) else ""
                sentences.append(
                    f"With {method} and n = {n:,} order falls to one half at T = {number(at, 4)}{ends}; the critical temperature "
                    f"of the infinite lattice is {CRITICAL_TEMPERATURE:.4f}."
                )
    return "".join(f"<p>{prose(x)}</p>" for x in sentences)


def _table(result: LearningStudy, name: str, caption: str) -> str:
    header = [Cell(html="Method", text=True), Cell(html="n"), Cell(html="T"), Cell(html="Reward")]
    header += [Cell(html=x) for x in ("Least of a run", "Largest of a run", "Mean weight", "|Mean weight|")]
    rows = []
    for method in result.method.tolist():
        for n in result.ns_of(name):
            for temperature in result.temperature.tolist():
                at = {"game": name, "method": method, "n": n, "temperature": temperature}
                runs = result.sel("reward", **at)
                row = [
                    Cell(html=prose(method), text=True, heading=True),
                    Cell(html=f"{n:,}"),
                    Cell(html=f"{temperature:g}"),
                ]
                row += [Cell(html=_pair(result, "reward", at)), Cell(html=number(float(runs.min()), 4))]
                row += [Cell(html=number(float(runs.max()), 4))]
                row += [Cell(html=_pair(result, x, at)) for x in ("weight", "abs_weight")]
                rows.append(row)
    return table_html(caption, header, rows)


def _pair(result: LearningStudy, name: str, at: Mapping[str, Any]) -> str:
    mean, half = float(result.sel(f"mean_{name}", **at)), float(result.sel(f"{name}_half_width", **at))
    if not math.isfinite(mean):
        return MISSING
    return number(mean, 5) + (f'<span class="pm">± {plus_minus(half)}</span>' if math.isfinite(half) else "")


def _glossary() -> str:
    pairs = [(name, text[:1].upper() + text[1:]) for name, text in _GLOSSARY]
    return f'<section aria-labelledby="terms"><h2 id="terms">Terms</h2><dl>{_items(pairs)}</dl></section>'


def _items(pairs: Sequence[tuple[str, str]]) -> str:
    return "".join(f"<dt>{prose(name)}</dt><dd>{prose(text)}</dd>" for name, text in pairs)


def _settings(config: Mapping[str, Any]) -> str:
    pairs = [
        (title, plain(config[name])) for name, title in _SETTINGS.items() if config.get(name) not in (None, [], {}, "")
    ]
    return f'<section aria-labelledby="settings"><h2 id="settings">What was run</h2><dl>{_items(pairs)}</dl></section>'


def _machine(version: str, seconds: float) -> str:
    pairs = [("kofn", version)] + ([("Learning", f"{number(seconds)} s")] if math.isfinite(seconds) else [])
    return f'<section aria-labelledby="machine"><h2 id="machine">Versions</h2><dl>{_items(pairs)}</dl></section></main>'
