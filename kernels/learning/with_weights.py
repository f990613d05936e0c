"""Synchronous learning that weighs replayed steps, for others who play other policies by now."""

from __future__ import annotations

from ..compilation import kernel
from .runs import Sight
from .synchronous import _check_steps, _learn_run


@kernel(nogil=True, error_model="numpy")
def learn_with_weights(
    drift, scene, env_lens, env_graph, lens, graph, rule, population, seed, first_step, n_steps, records
):
    """Let agents play and learn as `learn_synchronous` does, replaying past steps by their weights.

    One thread, which lets the interpreter's lock go, so that other threads can advance other runs.

    Parameters
    ----------
    drift : Drift
    scene : Scene
    env_lens, lens : Lens
    env_graph, graph : Graph
    rule : Rule                   with `by_step` and a batch
    population : Population       changed; with `ring_log_law`, and `ring_acted` where rows are of the mean executed
    seed : uint64
    first_step, n_steps : int64
    records : Records             changed
    """
    _check_steps(population, first_step, n_steps, records)
    sight = Sight(env_lens, env_graph, lens, graph)
    for i in range(population.run.shape[0]):
        _learn_run(None, drift, i, scene, sight, rule, population, seed, first_step, n_steps, records)
