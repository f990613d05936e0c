"""Synchronous learning with a user's own reward."""

from __future__ import annotations

from ..compilation import kernel
from .runs import Sight
from .synchronous import _check_steps, _learn_run


@kernel(nogil=True, error_model="numpy")
def learn_with_reward(
    reward, scene, env_lens, env_graph, lens, graph, rule, population, seed, first_step, n_steps, records
):
    """Let agents play and learn as `learn_synchronous` does, with reward(s_g, f, s, a) in the place of the table r_l.

    One thread, which lets the interpreter's lock go, so that other threads can advance other runs; each function is
    compiled for itself.

    Parameters
    ----------
    reward : function of (int64, int64, int64, int64) -> float64   compiled by numba; f is the environment's field value
    scene : Scene
    env_lens, lens : Lens
    env_graph, graph : Graph
    rule : Rule
    population : Population       changed
    seed : uint64
    first_step, n_steps : int64
    records : Records             changed
    """
    _check_steps(population, first_step, n_steps, records)
    sight = Sight(env_lens, env_graph, lens, graph)
    for i in range(population.run.shape[0]):
        _learn_run(reward, None, i, scene, sight, rule, population, seed, first_step, n_steps, records)
