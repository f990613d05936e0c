"""Which backup to use: sizes first, in exact integers, then the cheapest method that fits the memory and the tolerance."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np

from ...kernels.lattice import MAX_RANK, lattice_size
from ..action_classes import count_items, item_starts, list_counts, list_items, next_state_laws, shared_items_of_maps
from ..game import Game
from ..lifting import LiftedGame, field_of_actions, lift
from .coupled import Coupled, CoupledListed
from .global_tables import RoundingTerms
from .listed import Listed
from .meet_in_the_middle import MeetInTheMiddle
from .recursion import Recursion
from .splits import SplitPlan, plan_splits
from .symmetric_power import Factorisation, SymmetricPower

EXACT_METHODS = ("meet-in-the-middle", "symmetric-power", "recursion")
# A sweep of more steps would take days; even planning it would.
MAX_WORK = 10**13
EXPECTATIONS = ("exact", "sampled", "rounded")


class Backup(Protocol):
    """One Bellman operator: everything that `solve` needs of it."""

    method: str

    @property
    def work(self) -> float: ...

    def sweep(self, value: np.ndarray, out_value: np.ndarray) -> None: ...

    def greedy(
        self, value: np.ndarray, backed_up: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...

    def rounding_error(self, value: np.ndarray) -> float: ...

    @property
    def rounding_terms(self) -> RoundingTerms: ...


class TooLargeError(ValueError):
    """What was asked for does not fit the memory; the message says how many bytes and what to lower."""


def default_memory_bytes() -> int:
    """Three quarters of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4


def readable_bytes(n_bytes: int) -> str:
    """A byte count with a decimal unit, such as `1.5 GB`."""
    size = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} PB" if size < 1000 else f"{n_bytes:.1e} bytes"


@dataclass(frozen=True, kw_only=True)
class GameSlice:
    """The tables of some global states of a game, as far as backups need them.

    Parameters
    ----------
    game : Game
    first, stop : int                 the global states [first, stop)
    """

    game: Game
    first: int
    stop: int

    def __getattr__(self, name: str) -> Any:
        if name in ("P_g", "P_l", "r_g", "r_l"):
            return getattr(self.game, name)[self.first : self.stop]
        if name in ("gamma", "n_ag", "n_sl", "n_al"):
            return getattr(self.game, name)
        raise AttributeError(name)

    @property
    def n_sg(self) -> int:
        """Global states of the slice."""
        return self.stop - self.first


def check_lattice(game: Game, k: int, actions: str, memory_bytes: int) -> None:
    """Refuse a lattice that is too large to hold a value at all."""
    n_c = lattice_size(k, game.n_sl)
    # Value, backed-up value, mixed values of all global actions, and the policy.
    needed = 8 * n_c * game.n_sg * (4 + game.n_ag)
    if needed > memory_bytes or n_c > MAX_RANK:
        raise TooLargeError(
            f"k: {k} agents in {game.n_sl} states have {n_c:.4g} count vectors, whose values take "
            f"{readable_bytes(needed)}, expected at most {readable_bytes(memory_bytes)}; lower k or raise the memory limit"
        )
    n_choices = {"fixed": 1, "histogram": lattice_size(k, game.n_al), "shared": game.n_al**game.n_sl}
    if actions == "joint" or field_of_actions(game) is not None:
        work = game.n_sg * count_items(k, game.n_sl, game.n_al, actions)
    else:
        work = game.n_sg * n_choices[actions] * n_c * (k // game.n_sl + 1)
    if work > MAX_WORK:
        raise TooLargeError(
            f"k: a sweep over {actions} actions with k = {k} takes {readable_number(work)} steps, or as many numbers of "
            f"8 bytes in tables ({readable_bytes(8 * work)}), expected at most {readable_number(MAX_WORK)}; "
            f"lower k or take cheaper actions"
        )


def readable_number(number: int) -> str:
    """A whole number of any size in short, such as 3.2e+15."""
    digits = str(number)
    return digits if len(digits) <= 6 else f"{digits[0]}.{digits[1]}e+{len(digits) - 1}"


class _SharedByMaps:
    """A backup over maps S_l → A_l whose choices are reported as items of class `shared`."""

    def __init__(self, backup: SymmetricPower | Recursion, k: int, n_sl: int, n_al: int):
        self._backup, self._sizes = backup, (k, n_sl, n_al)
        self.method, self.r_g = backup.method, backup.r_g
        self.sweep, self.rounding_error = backup.sweep, backup.rounding_error
        self.work, self.rounding_terms = backup.work, backup.rounding_terms
        if isinstance(backup, SymmetricPower):
            self.improve, self.follow, self.keep = backup.improve, backup.follow, backup.keep
            self.restrict = backup.restrict
            self.policy_bytes, self.policy_work = backup.policy_bytes, backup.policy_work

    def greedy(
        self, value: np.ndarray, backed_up: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        backed_up, action, item = self._backup.greedy(value, backed_up)
        return backed_up, action, shared_items_of_maps(*self._sizes, item)


def check_listed(game: Game | GameSlice, k: int, actions: str, samples: int, memory_bytes: int) -> int:
    """Number of items to list; TooLargeError if their tables do not fit."""
    lifted = lift(game, k)
    n_items = count_items(k, game.n_sl, game.n_al, actions)
    n_categories = game.n_sl * (game.n_al if actions in ("joint", "shared") else 1)
    needed = n_items * (game.n_sg * (4 * max(1, samples) + 8) + 16 * n_categories)
    if lifted is not None:
        # One item list for each field value is made from all items; each keeps its mixed values.
        needed += n_items * (4 * max(1, samples) + 8 * n_categories + 1)
        needed += 8 * lifted.n_sg * game.n_ag * lifted.row_class.size
    if needed > memory_bytes:
        raise TooLargeError(
            f"k: listing {n_items:.4g} items of {actions} actions with k = {k} needs {readable_bytes(needed)}, "
            f"expected at most {readable_bytes(memory_bytes)}; lower k or samples, or raise the memory limit"
        )
    return n_items


def make_listed(
    game: Game | GameSlice, k: int, actions: str, samples: int, seed: int, local_policy, memory_bytes: int
) -> Listed | CoupledListed:
    """Backup of the sampled (`samples` ≥ 1) or the rounded (`samples` = 0) expectation."""
    check_listed(game, k, actions, samples, memory_bytes)
    counts = list_counts(k, game.n_sl)
    starts = item_starts(k, game.n_sl, game.n_al, actions)
    lifted = lift(game, k)
    if lifted is not None:
        return _make_coupled_listed(lifted, k, actions, samples, seed, lifted.by_row(local_policy), counts, starts)
    categories, laws, rewards = _listed_items(game, k, actions, local_policy, counts)
    return Listed(
        game.P_g, game.r_g, game.gamma, laws, rewards, categories, starts, k, samples, seed, getattr(game, "first", 0)
    )


def _listed_items(game, k: int, actions: str, local_policy, counts: np.ndarray):
    """Categories of all items, and laws and rewards of the categories, as `Listed` takes them."""
    if actions in ("joint", "shared"):
        items = np.concatenate([list_items(c, game.n_al, actions) for c in counts])
        categories = items.reshape(len(items), -1)
        laws = game.P_l.reshape(game.n_sg, 1, -1, game.n_sl)
        rewards = game.r_l.reshape(game.n_sg, 1, -1)
    else:
        laws, rewards = next_state_laws(game.P_l, game.r_l, k, actions, local_policy)
        categories = np.repeat(counts, laws.shape[1], axis=0)
    return np.ascontiguousarray(categories), laws, rewards


def _make_coupled_listed(
    lifted: LiftedGame, k: int, actions: str, samples: int, seed: int, local_policy, counts: np.ndarray,
    starts: np.ndarray,
) -> CoupledListed:  # fmt: skip
    """The items of each field value in a list of their own; an item draws the same numbers under any field."""
    categories, laws, rewards = _listed_items(lifted, k, actions, local_policy, counts)
    per_counts = np.diff(starts)

    def make(f: int, places: np.ndarray) -> Listed:
        own = np.repeat(lifted.row_class == f, per_counts)
        own_starts = np.concatenate([[0], np.cumsum(per_counts[places])]).astype(np.int64)
        rows = slice(f, None, lifted.n_f)
        return Listed(
            np.ascontiguousarray(lifted.P_g[rows]), np.ascontiguousarray(lifted.r_g[rows]), lifted.gamma, laws[rows],
            rewards[rows], categories, own_starts, k, samples, seed, 0, own,
        )  # fmt: skip

    return CoupledListed(make, lifted)


@dataclass(frozen=True, kw_only=True)
class ExactChoice:
    """The exact method to use, with what was computed to choose it.

    `work` is in rough steps of a sweep for each s_g, comparable between methods.
    """

    method: str
    work: float
    factors: Factorisation | None
    plan: SplitPlan | None


def choose_exact(
    game: Game | GameSlice | LiftedGame, k: int, actions: str, local_policy, *, method: str | None, error: float,
    memory_bytes: int,
) -> ExactChoice:  # fmt: skip
    """Choose the named exact method, or the cheapest one that fits; nothing large is allocated.

    Parameters
    ----------
    method : one of EXACT_METHODS or None
    error : float    largest rounding error of a sweep, relative to the largest value, that the caller can use
    memory_bytes : int

    Raises
    ------
    TooLargeError
        No method fits the memory.
    ValueError
        The named method does not serve the class, or its rounding error would exceed `error`.
    """
    if field_of_actions(game) is not None:
        return _choose_for_actions(cast(Game, game), k, actions, method, memory_bytes)
    lifted = lift(game, k)
    if lifted is not None:
        game, local_policy = lifted, lifted.by_row(local_policy)
    candidates: list[tuple[float, str]] = []
    refusals: list[str] = []
    n_c = lattice_size(k, game.n_sl)
    by_law = actions != "joint"
    n_h = {"joint": 1, "fixed": 1, "histogram": lattice_size(k, game.n_al), "shared": game.n_al**game.n_sl}[actions]

    factors = None
    if by_law and method in (None, "symmetric-power"):
        needed = (
            8 * n_c * (game.n_ag * game.n_sg + game.n_sl)
            + 2 * n_c * game.n_sl**2
            + 8 * n_h * game.n_sg * 4 * game.n_sl**2
        )
        if needed > memory_bytes:
            refusals.append(f"symmetric-power needs {readable_bytes(needed)}")
        else:
            laws, _ = next_state_laws(game.P_l, game.r_l, k, actions, local_policy)
            whole = game.game if isinstance(game, GameSlice) else game
            factors = Factorisation(laws, k, whole.n_sg * laws.shape[1])
            if factors.relative_error(k) > error:
                refusals.append(f"symmetric-power amplifies rounding by {factors.rho:.3g} to the power {k}")
            else:
                moves = game.n_sl * (game.n_sl - 1)
                candidates.append((n_h * moves * n_c * (k / game.n_sl + 8) / 2, "symmetric-power"))

    plan = None
    if actions != "histogram" and method in (None, "meet-in-the-middle"):
        n_al = 1 if actions == "fixed" else game.n_al
        plan = plan_splits(game.n_sg, k, game.n_sl, n_al, "joint" if actions == "fixed" else actions)
        needed = plan.law_bytes + 8 * n_c * game.n_sg * (4 + game.n_ag)
        if needed > memory_bytes:
            refusals.append(f"meet-in-the-middle needs {readable_bytes(needed)}")
        else:
            # It alone leaves out the count vectors of other field values.
            candidates.append((plan.multiplications / 4 / getattr(game, "n_f", 1), "meet-in-the-middle"))

    if method in (None, "recursion"):
        categories = game.n_sl if by_law else game.n_sl * game.n_al
        needed = 8 * game.n_sg * lattice_size(k, categories) + 16 * (categories + 1) * lattice_size(k, game.n_sl + 1)
        if needed > memory_bytes:
            refusals.append(f"recursion needs {readable_bytes(needed)}")
        else:
            candidates.append((float(n_h * lattice_size(k, game.n_sl + categories) * game.n_sl), "recursion"))

    if not candidates:
        if method is not None and not refusals:
            raise ValueError(f"method: found {method!r}, which does not serve actions {actions!r}")
        raise TooLargeError(
            f"k: no exact method can do {actions} actions with k = {k} in {readable_bytes(memory_bytes)} "
            f"({'; '.join(refusals)}); lower k, take cheaper actions, or raise the memory limit"
        )
    work, chosen = min(candidates)
    return ExactChoice(method=chosen, work=work, factors=factors, plan=plan)


def _choose_for_actions(game: Game, k: int, actions: str, method: str | None, memory_bytes: int) -> ExactChoice:
    """The one method for a game with a field of actions; errors as of `choose_exact`."""
    from .action_fields import METHOD, plan_backup

    if method not in (None, METHOD):
        raise ValueError(f"method: found {method!r}, expected {METHOD!r} for a game with a field of actions")
    plan = plan_backup(game, k, actions, memory_bytes)
    return ExactChoice(method=METHOD, work=float(plan.n_entries), factors=None, plan=None)


def make_exact(
    game: Game | GameSlice | LiftedGame, k: int, actions: str, local_policy, *, method: str | None, error: float,
    memory_bytes: int,
) -> Backup:  # fmt: skip
    """Exact backup by the method of `choose_exact`, which see.

    With a field of F values that occur, meeting in the middle takes about the time that it takes without one; the symmetric power
    and the recursion, which serve all count vectors together, take F times as long. The memory of tables is F-fold. With a field
    of actions it is the recursion, over the joint actions of each field value.
    """
    if field_of_actions(game) is not None:
        from .action_fields import ActionFieldBackup

        _choose_for_actions(cast(Game, game), k, actions, method, memory_bytes)
        return ActionFieldBackup(cast(Game, game), k, actions, local_policy)
    lifted = lift(game, k)
    if lifted is not None:
        inner = make_exact(
            lifted, k, actions, lifted.by_row(local_policy), method=method, error=error, memory_bytes=memory_bytes
        )
        return Coupled(inner, lifted)
    choice = choose_exact(game, k, actions, local_policy, method=method, error=error, memory_bytes=memory_bytes)
    chosen, factors, plan = choice.method, choice.factors, choice.plan
    by_law = actions != "joint"
    tables = (game.P_g, game.r_g, game.gamma)
    if chosen == "meet-in-the-middle":
        classes = (game.row_class, game.n_f) if isinstance(game, LiftedGame) else ()
        if actions == "fixed":
            laws, rewards = next_state_laws(game.P_l, game.r_l, k, actions, local_policy)
            # One policy is a game whose agents have one action.
            P_l, r_l = laws.transpose(0, 2, 1, 3), rewards.transpose(0, 2, 1)
            return MeetInTheMiddle(game.P_g, P_l, game.r_g, r_l, game.gamma, k, "joint", plan, *classes)
        return MeetInTheMiddle(game.P_g, game.P_l, game.r_g, game.r_l, game.gamma, k, actions, plan, *classes)
    backup: SymmetricPower | Recursion
    if by_law:
        laws, rewards = next_state_laws(game.P_l, game.r_l, k, actions, local_policy)
        category_state = np.arange(game.n_sl)
    else:
        laws = game.P_l.reshape(game.n_sg, 1, -1, game.n_sl)
        rewards = game.r_l.reshape(game.n_sg, 1, -1)
        category_state = np.repeat(np.arange(game.n_sl), game.n_al)
    if chosen == "symmetric-power":
        backup = SymmetricPower(*tables, laws, rewards, k, factors)
    else:
        backup = Recursion(*tables, laws, rewards, category_state, k)
    return _SharedByMaps(backup, k, game.n_sl, game.n_al) if actions == "shared" else backup
