"""What best responses gain where n is too large for the exact chain: brackets from simulated paths of the global state.

To one agent among very many the path of s_g is weather: its own deviation moves the sample of the global agent with probability
k/n a step. Along a given path its process is its own, and has exact values:

* a policy that sees (s_g, s_l) alone, chosen on other paths, gives a lower bound of what a best response gains;
* an agent that knows the whole path, and pays for what it should not know yet, gives an upper bound (Brown, Smith and Sun 2010,
  Information relaxations and duality in stochastic dynamic programs, Operations Research 58).

The global agent's own reward does not depend on the population, so its best response is exact for any n. With the team reward it
is at most the optimum of any k' ≤ n agents: watch k' of them, the rest is private randomness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...kernels.lattice import lattice_size
from ..deployment import deploy, half_width_of, steps_until
from ..game import Game, positive_integer
from ..policy import SubsamplePolicy
from ..solve import Interrupted, solve
from .local_learner import learn_local

DEFAULT_RUNS = 200
# Count vectors times global states of the game that bounds the global agent from above.
BOUNDING_STATES = 60_000
BOUNDING_TOL_SHARE = 1e-5


@dataclass(frozen=True, kw_only=True, eq=False)
class MeanFieldGains:
    """Brackets of what best responses to a pair gain, from the initial law.

    Parameters
    ----------
    n, runs, steps, seed : int
    gains : float64[2, 2, 2]     axes (reward selfish or team, player global or local, low or high). Simulated parts are widened by
        their 95 % intervals
    value : float64[2, 2]        of the pair, axes (reward, player), simulated
    influence : float            what is left out of the local agent's bracket with its own reward, at most: the agent is in the
        sample with probability k/n. O(k/n) and crude: in it every such sample goes as badly as can be
    truncation : float           what steps after the last could add to any gain; part of `gains`
    """

    n: int
    runs: int
    steps: int
    seed: int
    gains: np.ndarray
    value: np.ndarray
    influence: float
    truncation: float


def mean_field_gains(
    game: Game,
    policy: SubsamplePolicy,
    n: int,
    *,
    runs: int = DEFAULT_RUNS,
    steps: int | None = None,
    seed: int = 0,
    memory_bytes: int | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> MeanFieldGains:
    """Bracket the gains of best responses to a pair that n agents play.

    Parameters
    ----------
    game : Game
    policy : SubsamplePolicy    with k_local = 1: local agents that see no others
    n : int
    runs : int                  simulated paths; the first half chooses the local agent's answer, the second half values it
    steps : int, optional       of a path; by default until what is left out is below 1e-4 of the largest value
    seed : int
    memory_bytes : int, optional
    should_stop : function without arguments

    Returns
    -------
    MeanFieldGains

    Raises
    ------
    ValueError, TooLargeError, Interrupted
    """
    if policy.k_local != 1:
        raise ValueError(f"policy: found local agents that see {policy.k_local}, expected 1: themselves alone")
    if positive_integer("runs", runs) < 4:
        raise ValueError(f"runs: found {runs}, expected at least 4")
    steps = steps_until(game) if steps is None else positive_integer("steps", steps)

    def look(done: int, total: int) -> None:
        if should_stop is not None and should_stop():
            raise Interrupted(f"stopped after {done} of {total} steps of a simulation; nothing written")

    paths = deploy(
        game, policy, n, steps=steps, runs=runs, seed=seed, trace_points=steps, memory_bytes=memory_bytes, progress=look
    )
    weights = game.gamma ** np.arange(steps)
    states, actions = paths.trace_global_state, paths.trace_global_action
    own_rewards = game.r_g[states, actions] @ weights
    gains, value = np.empty((2, 2, 2)), np.empty((2, 2))
    truncation = paths.truncation_bound

    global_best = _best_of_global_agent(game)
    gap = global_best - own_rewards
    value[0, 0] = own_rewards.mean()
    gains[0, 0] = _interval(gap, gap, truncation)

    value[1] = paths.mean_return
    above = _bound_of_team_value(game, policy, n, memory_bytes) - paths.returns
    gains[1, 0] = 0.0, _interval(above, above, truncation)[1]

    played, lower, upper = _local_brackets(game, policy, paths)
    value[0, 1] = played.mean()
    gains[0, 1] = _interval(lower, upper, 2.0 * truncation)

    # One agent's reward is 1/n of the team's; the rest of what it does to the team goes through the sample.
    per_step = policy.k_global / n * game.gamma / (1.0 - game.gamma) ** 2
    team = float(np.ptp(game.r_g) + np.ptp(game.r_l))
    gains[1, 1] = 0.0, max(0.0, gains[0, 1, 1]) / n + per_step * team
    return MeanFieldGains(
        n=n, runs=runs, steps=steps, seed=seed, gains=gains, value=value,
        influence=per_step * float(np.ptp(game.r_l)), truncation=truncation,
    )  # fmt: skip


def _interval(low: np.ndarray, high: np.ndarray, slack: float) -> tuple[float, float]:
    """From the lower end of the interval of one mean to the upper end of that of another, and a slack on either side."""
    return (
        float(low.mean()) - half_width_of(low) - slack,
        float(high.mean()) + half_width_of(high) + slack,
    )


def _best_of_global_agent(game: Game) -> float:
    """The best discounted sum of r_g alone, from the initial law: a process of s_g, whatever the population does."""
    choice = np.full(game.n_sg, -1)
    value = np.zeros(game.n_sg)
    everywhere = np.arange(game.n_sg)
    while True:
        q = game.r_g + game.gamma * game.P_g @ value
        rounding = 1e-12 * max(1.0, float(np.abs(q).max()))
        better = q.max(axis=1) > q[everywhere, choice] + rounding
        improved = np.where(better | (choice < 0), q.argmax(axis=1), choice)
        if (improved == choice).all():
            return float(game.rho_g @ value)
        choice = improved
        moves = game.P_g[everywhere, choice]
        value = np.linalg.solve(np.eye(game.n_sg) - game.gamma * moves, game.r_g[everywhere, choice])


def _bound_of_team_value(game: Game, policy: SubsamplePolicy, n: int, memory_bytes: int | None) -> float:
    """A bound on what the global agent can reach for the team, the local policy given: the optimum of k' ≤ n agents."""
    k = 1
    while k < n and game.n_sg * lattice_size(k + 1, game.n_sl) <= BOUNDING_STATES:
        k += 1
    spread = (float(np.ptp(game.r_g)) + float(np.ptp(game.r_l))) / (1.0 - game.gamma)
    tol = max(BOUNDING_TOL_SHARE * spread, 1e-6)
    solution = solve(game, k, local_policy=policy.local_action[:, :, 0], tol=tol, memory_bytes=memory_bytes)
    return solution.initial_value + solution.half_width


def _local_brackets(game: Game, policy: SubsamplePolicy, paths) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What an agent's policy earns along each path of the second half, and lower and upper bounds of what it could gain there.

    Returns
    -------
    float64[n_paths] each
    """
    states = paths.trace_global_state.astype(np.int64)
    shares = paths.trace_population / paths.config["n"]
    fit = slice(0, states.shape[0] // 2)
    use = slice(fit.stop, None)
    answer = learn_local(
        game, _seen_transition(game, states[fit], paths.trace_global_action[fit], shares[fit]), greedy=True
    )
    states, actions, start = states[use], paths.trace_global_action[use], shares[use, 0]
    n_runs, steps = states.shape
    own = policy.local_action[:, :, 0]
    laws = {"own": own, "answer": answer.policy}
    moves = {name: np.einsum("gsa,gsat->gst", law, game.P_l) for name, law in laws.items()}
    rewards = {name: np.einsum("gsa,gsa->gs", law, game.r_l) for name, law in laws.items()}
    value = {name: np.zeros((n_runs, game.n_sl)) for name in (*laws, "knowing")}
    for t in range(steps - 1, -1, -1):
        s_g = states[:, t]
        for name in laws:
            value[name] = rewards[name][s_g] + game.gamma * np.einsum("rst,rt->rs", moves[name][s_g], value[name])
        ahead = value["knowing"]
        if t + 1 < steps:
            # What the path tells of s_g' beyond the law of it is paid for.
            expected = game.P_g[s_g, actions[:, t]] @ answer.value
            ahead = ahead - answer.value[states[:, t + 1]] + expected
        q = game.r_l[s_g] + game.gamma * np.einsum("rsat,rt->rsa", game.P_l[s_g], ahead)
        value["knowing"] = q.max(axis=2)
    earned = {name: (start * v).sum(axis=1) for name, v in value.items()}
    return earned["own"], earned["answer"] - earned["own"], earned["knowing"] - earned["own"]


def _seen_transition(game: Game, states: np.ndarray, actions: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Law of s_g' as an agent in each state saw it along some paths, float64[n_sg, n_sl, n_sg]; uniform a_g where it saw none."""
    weights = np.zeros((game.n_sg, game.n_ag, game.n_sl))
    np.add.at(weights, (states.ravel(), actions.ravel()), shares.reshape(-1, game.n_sl))
    weights += 1e-9 * max(1.0, float(weights.sum()))
    law = weights / weights.sum(axis=1, keepdims=True)
    return np.einsum("gas,gat->gst", law, game.P_g)
