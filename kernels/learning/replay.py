"""A ring of past transitions, and the slower table that a bootstrap reads."""

import numpy as np

from ..compilation import kernel
from ..streams import next_below
from .updates import update_agent


@kernel
def store_transition(ring, place, seen, actions, rewards, next_seen):
    """Write the transitions of all agents into one place of a run's ring.

    Parameters
    ----------
    ring : Ring                   of one run, changed
    place : int64
    seen, next_seen : int32[n]    observations before and after
    actions : int32[n]
    rewards : float64[n]
    """
    for agent in range(seen.shape[0]):
        ring.seen[place, agent] = seen[agent]
        ring.action[place, agent] = actions[agent]
        ring.reward[place, agent] = rewards[agent]
        ring.next[place, agent] = next_seen[agent]


@kernel(error_model="numpy")
def replay_transitions(tables, rule, ring, n_filled, present, stream, scratch):
    """Learn from `rule.batch` stored transitions per table, drawn uniformly with replacement.

    A table of one agent is served its own transitions, agent by agent in order; a shared one those of all present
    agents: each draws the place in the ring, then the agent.

    Parameters
    ----------
    tables : Tables              of one run, changed
    rule : Rule
    ring : Ring
    n_filled : int64             places that hold a transition, at least 1
    present : int64[n_present]
    stream : uint64[STREAM_WORDS]   advanced
    scratch : float64[n_al]      overwritten
    """
    n_present = present.shape[0]
    shared = tables.q.shape[0] == 1
    for j in range(min(n_present, 1) if shared else n_present):
        for _ in range(rule.batch):
            place = next_below(n_filled, stream)
            i = present[next_below(n_present, stream)] if shared else present[j]
            t, a = np.int64(0 if shared else i), np.int64(ring.action[place, i])
            o, o_next = np.int64(ring.seen[place, i]), np.int64(ring.next[place, i])
            update_agent(tables, rule, t, o, a, ring.reward[place, i], o_next, 1.0, scratch)


@kernel
def move_target(tables, step, target_every, target_tau):
    """Move the target towards the tables after a step: a copy after every `target_every` steps, or a share each step.

    Parameters
    ----------
    tables : Tables        of one run; `target` is changed
    step : int64           the step that is over, from 0
    target_every : int64   0: by shares
    target_tau : float64   share of the way; 0: stays
    """
    target, q = tables.target, tables.q
    if target_every > 0:
        share = 1.0 if (step + 1) % target_every == 0 else 0.0
    else:
        share = target_tau
    if share == 0.0:
        return
    for t in range(target.shape[0]):
        for o in range(target.shape[1]):
            for a in range(target.shape[2]):
                if share == 1.0:
                    target[t, o, a] = q[t, o, a]
                else:
                    target[t, o, a] += share * (q[t, o, a] - target[t, o, a])
