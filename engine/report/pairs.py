"""The section of a report on the pair that alternating best response found, round by round."""

from __future__ import annotations

import math

from ..equilibrium.result import PLAYERS, REWARDS, Equilibrium
from .numbers import MISSING, number, plus_minus, prose
from .tables import Cell, table_html

_WHY = {
    "converged": "It stopped when the value changed by less than the tolerance.",
    "fixed point": "It stopped where the local agents' answer was the policy that they had.",
    "reverted": "It stopped when a round was worth less than the best one, which was kept.",
    "rounds spent": "It stopped when all rounds allowed were spent.",
}


def pair_section(pair: Equilibrium, identity: str) -> str:
    """How the local policy of a study of method "nash" was found."""
    settings = pair.settings
    best = pair.rounds[pair.best_round]
    how = "exactly" if pair.is_exact else f"by {settings.runs:,} simulated runs on common random numbers"
    tells = (
        f"The local policy was found by alternating best response with k = {settings.k} and n = {settings.n:,} agents, "
        f"{settings.closure} closure, {'greedy' if settings.greedy else 'Boltzmann'} local agents; every k then answers it. "
        f"Pairs were valued {how}. {_WHY.get(pair.stop, '')} "
        f"Round {pair.best_round + 1} was kept, worth {number(best.value, 6)} ± {plus_minus(best.half_width)}."
    )
    header = [Cell(html=x) for x in ("Round", "Value of the pair", "After the global agent")]
    known = best.exploitability != "none"
    if known:
        header += [
            Cell(html=f"{player.capitalize()} agent gains, {reward} reward") for reward in REWARDS for player in PLAYERS
        ]
    rows = []
    for i, entry in enumerate(pair.rounds):
        row = [
            Cell(html=f"{i + 1}{' (kept)' if i == pair.best_round else ''}", heading=True),
            Cell(html=f'{number(entry.value, 6)}<span class="pm">± {plus_minus(entry.half_width)}</span>'),
            Cell(html=number(entry.global_value, 6)),
        ]
        if known:
            row += [Cell(html=_bracket(*gain)) for gains in entry.gains.tolist() for gain in gains]
        rows.append(row)
    note = (
        f" What best responses gain is {prose(best.exploitability)}; a Nash equilibrium has gains of 0."
        if known
        else ""
    )
    table = table_html("Alternating best response, round by round", header, rows)
    return f'<article aria-labelledby="{identity}"><h3 id="{identity}">The pair</h3><p>{prose(tells)}{note}</p>{table}</article>'


def _bracket(low: float, high: float) -> str:
    if not math.isfinite(low + high):
        return MISSING
    middle, half = (low + high) / 2.0, (high - low) / 2.0
    if half <= 1e-3 * max(1.0, abs(middle)):
        return f'{number(middle)}<span class="pm">± {plus_minus(half)}</span>'
    return f"{number(low)} … {number(high)}"
