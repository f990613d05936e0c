"""What refinement gains over the policy that is optimal for k agents, for every k: exact values, or paired simulation."""

import pytest

from kofn import load_game, refine, solve, uniform_local_policy
from kofn.engine.evaluation.refine_sampled import refine_sampled

# (game, n, ks, exact)
CASES = {
    "robots": (16, (1, 2, 4, 8), True),
    "robots, sampled": (1000, (1, 2, 4, 8), False),
    "irrigation": (100, (1, 2, 4, 8, 16), True),
    "traffic": (16, (1, 2, 4, 8), True),
    "servers": (20, (1, 2, 4, 8), True),
}


@pytest.mark.parametrize(("case", "k"), [(case, k) for case, (_, ks, _) in CASES.items() for k in ks])
def test_refinement(benchmark, enough, case, k):
    n, ks, exact = CASES[case]
    enough(k == ks[1])
    game = load_game(case.partition(",")[0])
    policy = solve(game, k, local_policy=uniform_local_policy(game) if "robots" in case else None).policy
    if exact:
        result = benchmark.pedantic(refine, args=(game, policy, n), rounds=1)
        assert result.gain >= 0.0
    else:
        result = benchmark.pedantic(refine_sampled, args=(game, policy, n), rounds=1)
        assert result.gain >= -result.half_width
    benchmark.extra_info.update(
        game=case,
        n=n,
        k=k,
        before=result.value_before,
        after=result.value_after,
        gain=result.gain,
        half_width=result.half_width,
        exact=exact,
        changed=result.n_changed,
        observations=policy.global_action.size,
    )
