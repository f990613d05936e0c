"""Which argument types the engine compiles each kernel for, as JSON: a program, to start with nothing compiled."""

import importlib
import itertools
import json
import pkgutil

from frozen_inputs import (
    UNSERVED,
    deviate_from_learned_laws,
    learn_in_every_way,
    simulate_inventories,
    weigh_in_every_way,
)
from numba.core.dispatcher import Dispatcher

import kofn
import kofn.kernels


def all_kernels():
    """(name, kernel) of every kernel, where it is defined."""
    for module in pkgutil.walk_packages(kofn.kernels.__path__, "kofn.kernels."):
        for name, item in vars(importlib.import_module(module.name)).items():
            if isinstance(item, Dispatcher) and item.py_func.__module__ == module.name:
                yield f"{module.name.removeprefix('kofn.kernels.')}.{name}", item


def use_the_engine():
    """Solve, deploy and evaluate two games of different sizes in every way that takes kernels of its own."""
    for name, k in (("formation", 4), ("servers", 3)):
        game = kofn.load_game(name)
        fixed = {"local_policy": kofn.uniform_local_policy(game)}
        ways = [{"actions": "joint"}, {"actions": "shared"}, {"actions": "histogram"}, fixed]
        for way, expectation in itertools.product(ways, ("exact", "sampled", "rounded")):
            solution = kofn.solve(game, k, expectation=expectation, tol=0.1, **way)
            solution.q(0, solution.counts[0])
            if expectation == "exact":
                kofn.count_sensitivity(solution)
        for options in ({}, {"rewards": "drawn"}, {"level": "agents"}):
            kofn.deploy(game, solution.policy, 12, steps=20, runs=2, **options)
        shortcuts = {"warm_start": True, "policy_sweeps": True, "drop_actions": True}
        for way in ways:
            for options in (shortcuts, shortcuts | {"expectation": "sampled"}, {"anderson": True}):
                solution = kofn.solve(game, k, tol=0.01, **options, **way)
            kofn.evaluate(game, solution.policy, 6)
        for reward in ("selfish", "team"):
            kofn.exploitability(game, solution.policy, 6, reward=reward)
        # Enough agents to solve for half of them first.
        kofn.solve(game, 8, method="symmetric-power", tol=0.1, **shortcuts, **fixed)
        kofn.refine(game, solution.policy, 6, max_rounds=1)
        for method, way in itertools.product(("symmetric-power", "recursion", "meet-in-the-middle"), ways):
            if (method, way.get("actions")) not in UNSERVED:
                kofn.solve(game, k, method=method, tol=0.1, **way)


if __name__ == "__main__":
    use_the_engine()
    learn_in_every_way(kofn.load_game("formation"))
    learn_in_every_way(kofn.load_game("irrigation"))
    weigh_in_every_way()
    deviate_from_learned_laws()
    simulate_inventories()
    found = dict(all_kernels())
    report = {
        "signatures": {name: len(kernel.signatures) for name, kernel in found.items()},
        "compiled": sum(sum(kernel.stats.cache_misses.values()) for kernel in found.values()),
    }
    print(json.dumps(report))
