"""Whole solves to a certified width: plain sweeps against each shortcut alone and all together."""

import time

import numba
import numpy as np
import pytest

from kofn import load_game, solve, uniform_local_policy

NAMES = ("warm_start", "policy_sweeps", "anderson", "drop_actions")
PLAIN = dict.fromkeys(NAMES, False)
CASES = {
    "plain": PLAIN,
    **{name: {**PLAIN, name: True} for name in NAMES},
    "warm_start+policy_sweeps": {**PLAIN, "warm_start": True, "policy_sweeps": True},
    "default": {},
}
# (game, k) and the cases that end within a minute.
SOLVES = {
    ("robots", 30): tuple(CASES),
    ("irrigation", 100): tuple(CASES),
    ("formation", 14): tuple(CASES),
    ("servers", 14): tuple(CASES),
    ("irrigation", 300): ("policy_sweeps", "warm_start+policy_sweeps", "default"),
}


@pytest.fixture(scope="session")
def seen():
    """The first solution of each game, to compare the others with."""
    return {}


@pytest.mark.parametrize(
    ("name", "k", "case"), [(name, k, case) for (name, k), cases in SOLVES.items() for case in cases]
)
def test_solve(benchmark, enough, seen, name, k, case):
    enough((k == 14 and name == "formation") or k == 100 or (name == "robots" and case in ("plain", "default")))
    game = load_game(name)
    policy = uniform_local_policy(game) if name == "robots" else None

    def run():
        return solve(game, k, local_policy=policy, **CASES[case])

    first = run()  # compiles outside the clock
    reference = seen.setdefault((name, k), first)
    began = time.process_time()
    solution = benchmark.pedantic(run, rounds=1 if k == 300 else 3)
    assert 2 * solution.half_width <= solution.tol
    assert np.abs(solution.value - reference.value).max() <= solution.half_width + reference.half_width
    np.testing.assert_array_equal(solution.value, first.value)
    benchmark.extra_info.update(
        full_sweeps=solution.n_sweeps,
        policy_sweeps=solution.n_policy_sweeps,
        combined=solution.n_combined,
        level_sweeps={str(m): n for m, n in solution.level_sweeps.items()},
        dropped=solution.n_dropped,
        states=solution.value.size,
        threads=numba.get_num_threads(),
        cpu_s=(time.process_time() - began) / (1 if k == 300 else 3),
        other_policies=int((solution.global_action != reference.global_action).sum()),
    )
