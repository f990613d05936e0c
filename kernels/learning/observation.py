"""What agents observe before they act: global state, own state, and the field value that they condition on."""

import numpy as np

from ..compilation import kernel
from .choices import behaviour_law
from .fields import count_values, fill_values, fill_values_of_means


@kernel(error_model="numpy")
def answer_means(first_row, n_values, lens, graph, rule, learners, work, epsilon):
    """One round in which everyone answers the field value in sight, all at once; tell whether any value changed.

    The answer is the behaviour law of an agent's row; the next value is that of the expected weights of those it sees.

    Parameters
    ----------
    first_row, n_values : int64   row of (s_g, state 0, value 0), number of values of the lens
    lens : Lens                   of actions
    graph : Graph
    rule : Rule
    learners : Learners
    work : Work                   `looked` is changed, the rest is overwritten
    epsilon : float64

    Returns
    -------
    bool
    """
    table = learners.tables.theta if learners.tables.theta.shape[0] > 0 else learners.tables.q
    n_al = table.shape[2]
    shared = table.shape[0] == 1
    for j in range(work.present.shape[0]):
        i = work.present[j]
        o = first_row + np.int64(learners.states[i]) * n_values + work.looked[i]
        behaviour_law(table[0 if shared else i, o], rule.temperature, epsilon, work.law[:n_al])
        for d in range(lens.weights.shape[0]):
            mean = 0.0
            for a in range(n_al):
                mean += work.law[a] * lens.weights[d, a]
            work.means[i, d] = mean
        # The answers are complete before any value changes; the old ones wait here.
        work.looked_before[i] = work.looked[i]
    fill_values_of_means(lens, graph, learners.alive, work.present, work.means, work.scratch, work.looked)
    changed = False
    for j in range(work.present.shape[0]):
        i = work.present[j]
        changed |= work.looked[i] != work.looked_before[i]
    return changed


@kernel(error_model="numpy")
def observe(lens, graph, n_sl, s_g, rule, learners, work, epsilon, out_seen):
    """Observations of all present agents: of the current states, or of the last actions and up to `inner` answers.

    Parameters
    ----------
    lens : Lens
    graph : Graph
    n_sl, s_g : int64
    rule : Rule
    learners : Learners
    work : Work           overwritten, but for `present` and `env`
    epsilon : float64     exploration that agents expect of each other
    out_seen : int32[n]   overwritten for the present agents
    """
    chosen = learners.actions if lens.of_actions != 0 else learners.states
    fill_values(lens, graph, learners.alive, work.present, chosen, work.scratch, work.looked)
    n_values = count_values(lens)
    first_row = s_g * n_sl * n_values
    if lens.of_actions != 0 and n_values > 1:
        for _ in range(rule.inner):
            if not answer_means(first_row, n_values, lens, graph, rule, learners, work, epsilon):
                break
    for j in range(work.present.shape[0]):
        i = work.present[j]
        out_seen[i] = first_row + np.int64(learners.states[i]) * n_values + work.looked[i]
