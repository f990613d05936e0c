"""What an exact evaluation takes, and by which route: from sizes alone, before any work."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...kernels.lattice import MAX_RANK, lattice_size
from ..backups.selection import TooLargeError, readable_bytes, readable_number
from ..game import Game
from ..lifting import field_of_actions

SYMMETRIC_POWER, STORED_LAWS, FRESH_LAWS = "symmetric power", "stored laws", "laws built anew"
JOINT_ACTIONS = "joint actions"
# Probabilities of a block of laws while it is built, at most.
BLOCK_ENTRIES = 2**22
# A step of more multiplications would take hours.
MAX_STEP_WORK = 10**13
KRYLOV_VECTORS = 20
# Scratch is counted for so many threads, whatever their number: the same route on every machine of a cluster.
MOST_THREADS = 8


@dataclass(frozen=True, kw_only=True)
class EvaluationPlan:
    """What an exact evaluation takes, from sizes alone.

    Parameters
    ----------
    route : "symmetric power", "stored laws", "laws built anew" or, with a field of actions, "joint actions"
    n_populations : int    |Λ(n, n_sl)|
    bytes_needed : int
    build_work : int       multiplications before the first step
    step_work : int        multiplications of a step
    """

    route: str
    n_populations: int
    bytes_needed: int
    build_work: int
    step_work: int


def plan_evaluation(
    game: Game, k_global: int, k_local: int, n: int, memory_bytes: int, *, blind: bool | None = None
) -> EvaluationPlan:
    """Sizes of an exact evaluation, or a TooLargeError that names them.

    Parameters
    ----------
    blind : bool, optional    whether every local law ignores the population; by default if k_local = 1 and P_l has no field
    """
    if field_of_actions(game) is not None:
        from .action_chain import plan_action_chain

        return plan_action_chain(game, k_global, k_local, n, memory_bytes)
    blind = k_local == 1 and not game.has_field_axis("P_l") if blind is None else blind
    n_sg, n_ag, n_sl = game.n_sg, game.n_ag, game.n_sl
    n_c = lattice_size(n, n_sl)
    states = n_sg * n_c
    samples = lattice_size(k_global, n_sl) + lattice_size(k_local - 1, n_sl)
    # Value and scratch vectors, π̄_g, populations, samples.
    base = 8 * states * (KRYLOV_VECTORS + 12 + 3 * n_ag) + 16 * n_c * n_sl + 40 * samples * n_sl
    if game.has_field_axis("P_g"):
        base += 8 * states * (2 * n_sg + n_ag * n_sg)
    mixing = states * samples * (n_sl * (n_sl + 1) if not blind else 1)
    too_large = (
        f"n: {n} agents in {n_sl} states have {readable_number(n_c)} populations, so that the chain has "
        f"{readable_number(states)} states"
    )
    if n_c > MAX_RANK or base > memory_bytes:
        raise TooLargeError(
            f"{too_large}, which take {readable_bytes(base)}, expected at most {readable_bytes(memory_bytes)}; "
            "lower n, raise the memory limit, or simulate"
        )
    if blind:
        needed = base + 2 * n_c * n_sl**2 + 16 * n_c * MOST_THREADS
        plan = EvaluationPlan(
            route=SYMMETRIC_POWER,
            n_populations=n_c,
            bytes_needed=needed,
            build_work=mixing,
            step_work=states * n_ag * n_sl * (n_sl - 1) * (n // n_sl + 8) // 2,
        )
    else:
        # A law reaches some seven standard deviations to either side in each count.
        width = min(n + 1, 2 * math.ceil(7.5 * math.sqrt(n) / 2) + 2)
        entries = min(n_c, width ** (n_sl - 1))
        grid = 8 * (n + 1) ** (n_sl - 1) * MOST_THREADS
        means = 8 * states * n_sl * (n_sl + 1)
        scratch = 16 * max(BLOCK_ENTRIES, n_c) * MOST_THREADS
        base += grid + means + scratch
        stored = base + 9 * states * entries
        law_work = n * entries * n_sl
        fits = stored <= memory_bytes
        plan = EvaluationPlan(
            route=STORED_LAWS if fits else FRESH_LAWS,
            n_populations=n_c,
            bytes_needed=stored if fits else base,
            build_work=mixing + (states * law_work if fits else 0),
            step_work=states * entries * n_ag + (0 if fits else states * law_work),
        )
    if plan.bytes_needed > memory_bytes:
        raise TooLargeError(
            f"{too_large}, whose laws take {readable_bytes(plan.bytes_needed)}, expected at most "
            f"{readable_bytes(memory_bytes)}; lower n, raise the memory limit, or simulate"
        )
    if plan.step_work + plan.build_work > MAX_STEP_WORK:
        raise TooLargeError(
            f"{too_large}, and a step takes {readable_number(plan.step_work + plan.build_work)} multiplications, expected at "
            f"most {readable_number(MAX_STEP_WORK)}; lower n or k, or simulate"
        )
    return plan
