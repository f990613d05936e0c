"""The Gaussian squeeze learned with kofn's kernels in a simulator that brings its own random numbers.

Usage: python benchmarks/squeeze_own_draws.py [N ...]     100, 500 and 1000 agents by default; half a minute

The simulator draws from Numba's Mersenne twister, seeded with 0 … 19 as a plain script would seed it: first an action of each
agent to be seen before the first step, then in each step for each agent a coin, and an action where the coin says explore. What
agents see and how they learn comes from the kernels that `kofn learn` calls. Printed are rewards of the last 1000 steps as shares
of the best.
"""

from __future__ import annotations

import math
import sys
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from numba import njit

import kofn
from kofn.kernels.learning.choices import draw_actions, epsilon_at, greedy_action
from kofn.kernels.learning.fields import fill_values
from kofn.kernels.learning.observation import observe
from kofn.kernels.learning.runs import Sight, make_work, take_up_run
from kofn.kernels.learning.updates import update_agents
from kofn.kernels.streams import PURPOSE_LEARNING, new_stream, seek

RUNS, FAIR = 20, 0.4


@njit
def twist_actions(q, seen, epsilon, out_actions):
    """Draw ε-greedy actions from Numba's own generator: a coin for each agent, then an action for those who explore."""
    for i in range(seen.shape[0]):
        if np.random.random() < epsilon:
            out_actions[i] = np.random.randint(0, q.shape[2])
        else:
            out_actions[i] = greedy_action(q[i, seen[i]])


@njit(nogil=True)
def learn_squeeze(
    twister_seed, scene, env_lens, env_graph, lens, graph, rule, population, seed, first_step, n_steps, records
):
    """Learn the first run of a population; return its team reward in each step.

    A twister_seed below 0 takes kofn's own streams instead, and gives the bits of `learn_synchronous`.
    """
    learners = take_up_run(population, 0)
    work = make_work(Sight(env_lens, env_graph, lens, graph), learners, 1)
    actions, seen, q = learners.actions, learners.seen, learners.tables.q
    stream, rewards = new_stream(seed), np.zeros(n_steps)
    if twister_seed >= 0:
        np.random.seed(twister_seed)
        for i in range(actions.shape[0]):
            actions[i] = np.random.randint(0, q.shape[2])
        observe(lens, graph, 1, 0, rule, learners, work, 0.0, seen)
    for step in range(first_step, first_step + n_steps):
        epsilon = epsilon_at(rule.epsilon_start, rule.epsilon_end, rule.epsilon_steps, step)
        if twister_seed >= 0:
            twist_actions(q, seen, epsilon, actions)
        else:
            seek(stream, PURPOSE_LEARNING, population.run[0], step)
            draw_actions(q, seen, work.present, 0.0, epsilon, stream, work.law, actions)
        fill_values(env_lens, env_graph, learners.alive, work.present, actions, work.env_scratch, work.env)
        reward = scene.r_g[0, work.env[0], 0]
        observe(lens, graph, 1, 0, rule, learners, work, 0.0, work.next_seen)
        work.reward[:] = reward
        update_agents(learners.tables, rule, seen, actions, work.reward, work.next_seen, work.present, work.law)
        seen[:] = work.next_seen
        rewards[step - first_step] = reward
    return rewards


def make_squeeze(n, method, steps=20_000):
    """Learners at the start of one run of the study `gaussian-squeeze-scaling`."""
    settings = kofn.LearningSettings(
        n=n, steps=steps, runs=1, method=method, bins=90, tables="own", alpha=0.1, epsilon=(0.1, 0.01), epsilon_steps=10_000
    )  # fmt: skip
    return kofn.make_learners(kofn.load_game("gaussian-squeeze", agents=n), settings)


def share_of_best(n, method, twister_seed):
    """Mean reward of the last 1000 of 20,000 steps, as a share of the best."""
    scene, *others = make_squeeze(n, method).arguments(0, 20_000)
    # The game divides before it squares. Runs are chaotic: a last bit of a reward makes another run of the same law.
    rewards = [x * math.exp(-((x - 400.0) ** 2) / 200.0**2) for x in range(scene.r_g.size)]
    scene = scene._replace(r_g=np.array(rewards).reshape(scene.r_g.shape))
    return learn_squeeze(twister_seed, scene, *others)[-1000:].mean() / max(rewards)


def main(numbers: list[int]) -> None:
    print(f"| n | method | mean of {RUNS} runs | lowest … highest | above {FAIR} |\n|---|---|---|---|---|")
    for n in numbers:
        for method in ("iq", "mfq"):
            with ThreadPoolExecutor(numba.get_num_threads()) as threads:
                shares = np.array(list(threads.map(lambda seed: share_of_best(n, method, seed), range(RUNS))))  # noqa: B023
            above = int((shares > FAIR).sum())
            print(
                f"| {n} | {method} | {shares.mean():.3f} | {shares.min():.3f} … {shares.max():.3f} | {above} |",
                flush=True,
            )


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [100, 500, 1000])
