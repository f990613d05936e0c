"""What benchmarks share: games of the sizes that the README's table names, one core or both."""

import numba
import numpy as np
import pytest

from kofn import Game


@pytest.fixture
def one_core():
    """Parallel kernels on one thread."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


@pytest.fixture
def enough(benchmark):
    """A function that skips what only repeats another case, where nothing is measured."""

    def skip_unless(condition):
        if not benchmark.enabled and not condition:
            pytest.skip("another case is enough where nothing is measured")

    return skip_unless


@pytest.fixture(scope="session")
def dense_game():
    """A dense random game of the size of `formation`: 5 × 5 global, 3 states × 3 actions local."""
    rng = np.random.default_rng(7)
    return Game(
        P_g=rng.dirichlet(np.ones(5), (5, 5)),
        P_l=rng.dirichlet(np.ones(3), (5, 3, 3)),
        r_g=rng.random((5, 5)),
        r_l=rng.random((5, 3, 3)),
        gamma=0.9,
        name="dense",
    )
