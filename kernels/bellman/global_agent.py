"""The global agent's part of a Bellman backup: a linear map of V over s_g', taken before any expectation over counts."""

from __future__ import annotations

from ..compilation import kernel


@kernel
def mix_values(value, P_g, r_g, gamma, out_mixed):
    """Fold the global agent into the value: r_g[s_g, a_g] + γ Σ_{s_g'} P_g[s_g, a_g, s_g'] V(s_g', ·).

    Parameters
    ----------
    value : float64[n_sg, n_c]
    P_g : float64[n_sg, n_ag, n_sg]
    r_g : float64[n_sg, n_ag]
    gamma : float
    out_mixed : float64[n_sg, n_ag, n_c]    overwritten
    """
    n_sg, n_ag = r_g.shape
    for s_g in range(n_sg):
        for a_g in range(n_ag):
            for c in range(value.shape[1]):
                out_mixed[s_g, a_g, c] = r_g[s_g, a_g]
            for s_next in range(n_sg):
                weight = gamma * P_g[s_g, a_g, s_next]
                if weight == 0.0:
                    continue
                for c in range(value.shape[1]):
                    out_mixed[s_g, a_g, c] += weight * value[s_next, c]
