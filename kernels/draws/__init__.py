"""Draws from a stream, each with the exact law to rounding; callable from any kernel, also inside `prange`."""

from .binomial import draw_binomial
from .categorical import NO_CATEGORY, draw_categorical
from .continuous import draw_dirichlet, draw_gamma, draw_log_gamma, draw_normal
from .hypergeometric import draw_hypergeometric
from .multivariate import draw_multinomial, draw_multivariate_hypergeometric

__all__ = [
    "NO_CATEGORY",
    "draw_binomial",
    "draw_categorical",
    "draw_dirichlet",
    "draw_gamma",
    "draw_hypergeometric",
    "draw_log_gamma",
    "draw_multinomial",
    "draw_multivariate_hypergeometric",
    "draw_normal",
]
