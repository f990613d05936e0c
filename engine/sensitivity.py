"""Does the number of agents seen matter? What the counts are worth to the global agent of a solved game.

Local agents touch each other only through a_g. Let one a_g = g(s_g) be optimal at every count vector of its global
state. Then each local agent faces a decision process of its own, the value is A(s_g) + (1/k) Σ_s c_s W(s_g, s), and
this g is optimal for any other number of agents as well: where all agents share a state, two global actions compare
as they do for a single agent, and at any other count vector their difference is a mean of such. So k cannot matter.

With a field agents touch each other directly, and all this fails: k can always matter. What can be told is whether the global agent
would need the counts, or whether the field value is enough for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .backups.selection import Backup, default_memory_bytes, make_exact, make_listed
from .count_blind import MAX_EQUATIONS, ROUNDING, CountBlind, best_count_blind
from .game import Game
from .initial_law import initial_count_law
from .lifting import field_of_states
from .solution import Solution


@dataclass(frozen=True, kw_only=True, eq=False)
class CountSensitivity:
    """What the counts are worth to a solved game.

    Parameters
    ----------
    k, actions, expectation : of the solution
    regret : float64[n_sg]        Q that the best single a_g gives up at its worst count vector, within `tie`
    tie : float                   Q-values this close may be equal: the Q-values are certified to half of it
    additive_residual : float     largest |V - A(s_g) - Σ_s (c_s / k) W(s_g, s)| of the least-squares fit
    relative_residual : float     the same as a part of max V - min V; 0 for a constant V
    initial_value : float         mean of V under the initial law
    half_width : float            of the certified interval of V
    count_blind : CountBlind or None    the best count-blind policy found
    note : str                    why `count_blind` is None; else empty
    varies_within_field : float or None    share of the pairs of a global state and a field value that occurs in which no single
        a_g is optimal at every count vector of that field value; None in a game without a field that matters
    """

    k: int
    actions: str
    expectation: str
    regret: np.ndarray
    tie: float
    additive_residual: float
    relative_residual: float
    initial_value: float
    half_width: float
    count_blind: CountBlind | None
    note: str = ""
    varies_within_field: float | None = None

    @property
    def share_of_global_states(self) -> float:
        """Share of the global states in which no single a_g is optimal at every count vector."""
        return float((self.regret > self.tie).mean())

    @property
    def blind_gap(self) -> float:
        """Initial value minus that of the best count-blind policy found, within `half_width`; NaN without one.

        An upper bound of the gap to the best count-blind policy if not all were tried (`count_blind.is_best`).
        """
        if self.count_blind is None:
            return math.nan
        return max(0.0, self.initial_value - self.count_blind.value)

    @property
    def can_matter(self) -> bool:
        """False where k cannot matter, for the reason at the head of the module and up to `tie`."""
        decouples = self.expectation == "exact" and self.actions != "histogram" and self.varies_within_field is None
        return not decouples or self.share_of_global_states > 0.0

    @property
    def verdict(self) -> str:
        """One or two sentences for a reader who is about to compare values of k."""
        residual = f"{self.additive_residual:.3g} ({100 * self.relative_residual:.2g} % of its spread)"
        constant = f"in every global state one global action is optimal at every count vector, up to {self.tie:.1g}"
        if not self.can_matter:
            return f"k cannot matter here: {constant}, so the value is additive over the agents; residual {residual}."
        share = 100 * self.share_of_global_states
        varies = f"the optimal global action varies with the counts in {share:.3g} % of the global states"
        found = varies if share > 0.0 else constant
        coupled = self.varies_within_field is not None
        if coupled:
            found = f"local agents act on each other through the field, {found}{self._within_field()}"
        optimum = f"the {self.k}-agent optimum of {self.initial_value:.6g}"
        if (
            not coupled
            and self.count_blind is not None
            and self.blind_gap <= self.half_width + ROUNDING * abs(self.initial_value)
        ):
            return (
                f"k hardly matters here: {found}, but from the initial law a policy that never looks at them attains "
                f"{optimum} as well."
            )
        # With one agent every function of the counts is additive.
        if self.k > 1:
            found += f", and the value departs from an additive one by up to {residual}"
        if self.count_blind is None:
            return f"k can matter: {found}. {self.note}."
        at_most = "" if self.count_blind.is_best else "at most "
        return (
            f"k can matter: {found}. From the initial law, the best policy that never looks at the counts falls short "
            f"of {optimum} by {at_most}{self.blind_gap:.3g}."
        )

    def _within_field(self) -> str:
        """Whether the field value is enough for the global agent."""
        if self.varies_within_field is None or self.share_of_global_states == 0.0:
            return ""
        if self.varies_within_field == 0.0:
            return " but never within one field value, so that the global agent could act on the field alone"
        return (
            f" and within one field value in {100 * self.varies_within_field:.3g} % of their pairs with a global state, so "
            "that the field alone is not enough for the global agent"
        )


def count_sensitivity(solution: Solution, *, memory_bytes: int | None = None) -> CountSensitivity:
    """Say whether the counts, and with them k, can matter to a solved game.

    A global state counts as sensitive only if no single a_g is within rounding and certified error of the best at all
    its count vectors: ties never make it so. The count-blind value is that of `best_count_blind`. There is none for
    the `sampled` and `rounded` expectations, which are games of their own in which agents do not decouple.

    Parameters
    ----------
    solution : Solution
    memory_bytes : int, optional    limit for tables; by default three quarters of the machine's memory

    Returns
    -------
    CountSensitivity

    Raises
    ------
    TooLargeError    the tables of the solution's method do not fit the limit
    """
    game = solution.game
    q, sweep_error = _q_of_global_actions(solution, default_memory_bytes() if memory_bytes is None else memory_bytes)
    regret = (q.max(axis=0) - q).max(axis=2).min(axis=0)
    coupled = field_of_states(game, "the counts are worth something definite only where they tell the field value")
    tie = 2 * (game.gamma * solution.half_width + sweep_error)
    residual = _additive_residual(solution.value, solution.counts / solution.k)
    spread = float(solution.value.max() - solution.value.min())
    count_blind, note = None, ""
    if solution.expectation != "exact":
        note = (
            f"What looking is worth is not known: the {solution.expectation} expectation does not decouple the agents"
        )
    elif coupled is None and game.n_sg * game.n_sl > MAX_EQUATIONS:
        note = f"What looking is worth is not known: n_sg · n_sl = {game.n_sg * game.n_sl} is above {MAX_EQUATIONS}"
    else:
        starts = _likely_maps(solution.global_action, q, initial_count_law(game, solution.k))
        try:
            count_blind = best_count_blind(game, solution.actions, solution.k, solution.local_policy, starts=starts)
        except ValueError as refusal:
            if coupled is None:
                raise
            note = f"What looking is worth is not known: {str(refusal).removeprefix('k: ')}"
    return CountSensitivity(
        k=solution.k,
        actions=solution.actions,
        expectation=solution.expectation,
        regret=regret,
        tie=tie,
        additive_residual=residual,
        relative_residual=residual / spread if spread > 0.0 else 0.0,
        initial_value=solution.initial_value,
        half_width=solution.half_width,
        count_blind=count_blind,
        note=note,
        varies_within_field=None if coupled is None else _share_varying(q, coupled.value_of(solution.counts), tie),
    )


def _share_varying(q: np.ndarray, field_values: np.ndarray, tie: float) -> float:
    """Share of the (s_g, f) in which each a_g falls short of the best at some count vector of field value f by more than `tie`.

    Parameters
    ----------
    q : float64[n_ag, n_sg, n_c]
    field_values : int64[n_c]
    """
    short = q.max(axis=0) - q
    regrets = [short[:, :, field_values == f].max(axis=2).min(axis=0) for f in np.unique(field_values)]
    return float((np.stack(regrets) > tie).mean())


def _q_of_global_actions(solution: Solution, memory_bytes: int) -> tuple[np.ndarray, float]:
    """Best Q over the items for each a_g, float64[n_ag, n_sg, n_c], and a bound on its rounding error.

    The maximum over the items for one a_g is the backup of a game that has no other global action.
    """
    game = solution.game
    q = np.empty((game.n_ag, *solution.value.shape))
    error = 0.0
    for a_g in range(game.n_ag):
        only = Game(
            P_g=game.P_g[..., [a_g], :], P_l=game.P_l, r_g=game.r_g[..., [a_g]], r_l=game.r_l, gamma=game.gamma,
            field=game.field, neighbourhood=game.neighbourhood,
        )  # fmt: skip
        backup = _backup_like(solution, only, memory_bytes)
        backup.sweep(solution.value, q[a_g])
        error = max(error, backup.rounding_error(solution.value))
    return q, error


def _backup_like(solution: Solution, game: Game, memory_bytes: int) -> Backup:
    """The backup that made a solution, for a game with the same local agents."""
    s = solution
    if s.expectation != "exact":
        return make_listed(game, s.k, s.actions, s.samples, s.seed, s.local_policy, memory_bytes)
    # The method was stable enough for the solution's tolerance, and its stability depends on the local agents alone.
    method = s.method.replace(" ", "-")
    return make_exact(game, s.k, s.actions, s.local_policy, method=method, error=math.inf, memory_bytes=memory_bytes)


def _additive_residual(value: np.ndarray, shares: np.ndarray) -> float:
    """Largest residual of least-squares fits of value[s_g] by linear functions of the shares c / k."""
    # The shares add up to one: a constant needs no column of its own.
    basis, _ = np.linalg.qr(shares)
    return float(np.abs(value.T - basis @ (basis.T @ value.T)).max())


def _likely_maps(global_action: np.ndarray, q: np.ndarray, law: np.ndarray) -> list[np.ndarray]:
    """Two guesses at a good g: the most frequent greedy a_g at the start, and the best a_g on average there."""
    frequency = np.stack([(global_action == a_g) @ law for a_g in range(q.shape[0])])
    return [frequency.argmax(axis=0), (q @ law).argmax(axis=0)]
