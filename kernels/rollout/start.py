"""Initial states of the runs."""

from __future__ import annotations

from ..compilation import kernel
from ..draws import draw_categorical, draw_dirichlet, draw_multinomial
from ..streams import PURPOSE_INITIAL, new_stream, seek


@kernel
def draw_starts(seed, runs, n, rho_g, rho_l, dirichlet, out_global_state, out_population):
    """Draw s_g and the counts of n independent agents for every run.

    Parameters
    ----------
    seed : uint64
    runs : int64[n_runs]   numbers of the runs, below 2**32
    n : int64
    rho_g : float64[n_sg]
    rho_l : float64[S]     law of a local state or, with `dirichlet`, the concentration each run draws its law from
    dirichlet : bool
    out_global_state : int64[n_runs]    overwritten
    out_population : int64[n_runs, S]   overwritten
    """
    stream = new_stream(seed)
    law = rho_l.copy()
    for i in range(runs.shape[0]):
        seek(stream, PURPOSE_INITIAL, runs[i], 0)
        out_global_state[i] = draw_categorical(rho_g, stream)
        if dirichlet:
            draw_dirichlet(rho_l, stream, law)
        draw_multinomial(n, law, stream, out_population[i])
