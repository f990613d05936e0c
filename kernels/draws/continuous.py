"""Normal, gamma and Dirichlet draws."""

import math

import numpy as np

from ..compilation import kernel
from ..streams import next_double, next_open_double


@kernel(forceinline=True)
def draw_normal(stream):
    """Standard normal draw, |z| < 8.6, from two uniforms.

    Box and Muller (1958), "A note on the generation of random normal deviates", Annals of Mathematical Statistics 29.
    The second normal of the pair is not kept: a stream holds nothing but its address and its words.

    Parameters
    ----------
    stream : uint64[STREAM_WORDS]   advanced

    Returns
    -------
    float64
    """
    radius = math.sqrt(-2.0 * math.log(next_open_double(stream)))
    return radius * math.cos(2.0 * math.pi * next_double(stream))


@kernel(error_model="numpy")
def draw_log_gamma(shape, stream):
    """Logarithm of a gamma draw with scale 1: finite also where the draw itself would underflow.

    Marsaglia and Tsang (2000), "A simple method for generating gamma variables", ACM Transactions on Mathematical
    Software 26. A shape a < 1 uses the law of G(a + 1) U**(1/a), in logarithms. The spacing of U begins to show in
    the largest draws for shapes under 1e-12, where a draw above 1e-300 has a probability of under 1e-9.

    Parameters
    ----------
    shape : float64      positive
    stream : uint64[STREAM_WORDS]   advanced

    Returns
    -------
    float64   -inf only for shapes under about 1e-306
    """
    boosted = shape if shape >= 1.0 else shape + 1.0
    size = boosted - 1.0 / 3.0
    spread = 1.0 / math.sqrt(9.0 * size)
    while True:
        normal = draw_normal(stream)
        root = 1.0 + spread * normal
        if root <= 0.0:
            continue
        cube = root * root * root
        log_cube = 3.0 * math.log(root)
        if math.log(next_open_double(stream)) < 0.5 * normal * normal + size * (1.0 - cube + log_cube):
            break
    log_draw = math.log(size) + log_cube
    if shape < 1.0:
        log_draw += math.log(next_open_double(stream)) / shape
    return log_draw


@kernel(forceinline=True, error_model="numpy")
def draw_gamma(shape, stream):
    """Gamma draw with scale 1 and mean `shape`; see `draw_log_gamma`. A draw below 5e-324 comes out as 0.

    Parameters
    ----------
    shape : float64      positive
    stream : uint64[STREAM_WORDS]   advanced

    Returns
    -------
    float64
    """
    return math.exp(draw_log_gamma(shape, stream))


@kernel(error_model="numpy")
def draw_dirichlet(concentration, stream, out_law):
    """Law on n categories from the Dirichlet distribution: gamma draws over their sum.

    The gammas are kept as logarithms relative to the largest, so small concentrations leave a proper law even where
    every gamma underflows.

    Parameters
    ----------
    concentration : float64[n]   from about 1e-300; a category of concentration 0 gets exactly 0, and with no
        positive one at all the law is NaN
    stream : uint64[STREAM_WORDS]   advanced
    out_law : float64[n]         overwritten; adds up to 1 to rounding
    """
    n_categories = concentration.shape[0]
    largest = -np.inf
    for category in range(n_categories):
        out_law[category] = -np.inf
        if concentration[category] > 0.0:
            out_law[category] = draw_log_gamma(concentration[category], stream)
        largest = max(largest, out_law[category])
    total = 0.0
    for category in range(n_categories):
        out_law[category] = math.exp(out_law[category] - largest)
        total += out_law[category]
    for category in range(n_categories):
        out_law[category] /= total
