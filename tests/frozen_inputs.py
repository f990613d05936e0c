"""Run the kernels in plain Python with every array read-only that a kernel's docstring does not say it changes.

A program, since numba reads NUMBA_DISABLE_JIT when it is imported: `NUMBA_DISABLE_JIT=1 python frozen_inputs.py` prints the
names of the kernels that were checked. A kernel that writes to an input raises "assignment destination is read-only".
"""

import dataclasses
import functools
import inspect
import itertools
import re

import numpy as np

from kofn.kernels import compilation

# What a docstring says about an argument that the kernel changes.
CHANGED = re.compile(r"overwritten|updated|advanced|scratch|changed")

# An exact method does not serve every class of actions.
UNSERVED = {("symmetric-power", "joint"), ("meet-in-the-middle", "histogram")}

checked = set()


def changed_arguments(function):
    """Names of the arguments that a kernel may change; None if its docstring does not list its arguments."""
    section = re.search(r"\nParameters\n-+\n(.*?)(?:\n\n\S|\Z)", inspect.getdoc(function) or "", re.DOTALL)
    if section is None:
        return None
    changed = {name for name in inspect.signature(function).parameters if name.startswith("out_")} | {"scratch", "work"}
    for entry in re.split(r"\n(?=\S)", section[1]):
        names, _, text = entry.partition(" : ")
        if CHANGED.search(text):
            changed |= {name.strip() for name in names.split(",")}
    return changed


def frozen(value):
    """The same array as a read-only view; a named tuple of such views."""
    if isinstance(value, np.ndarray):
        view = value.view()
        view.flags.writeable = False
        return view
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(frozen, value))
    return value


def guarded_kernel(function=None, **options):
    """Stand-in for the decorator `kernel`."""
    if function is None:
        return lambda decorated: guarded_kernel(decorated, **options)
    changed = changed_arguments(function)
    if changed is None:
        return function
    names = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def call(*arguments):
        checked.add(f"{function.__module__.removeprefix('kofn.kernels.')}.{function.__name__}")
        return function(*(a if name in changed else frozen(a) for name, a in zip(names, arguments)))

    return call


def use_every_kernel():
    """Small solves, deployments and evaluations of every class, expectation, method, level and shortcut."""
    import kofn
    from kofn.engine.policy import blind_policy
    from oracles import random_game_tables

    tables = random_game_tables(np.random.default_rng(1), 2, 2, 3, 2, gamma=0.5)
    # Agents mostly stay, so that the symmetric power is stable.
    tables["P_l"] = 0.8 * np.eye(3)[None, :, None, :] + 0.2 * tables["P_l"]
    game = kofn.Game(**tables | {"rho_l": [0.5, 1.5, 2.0]}, dirichlet=True)
    fixed = {"local_policy": kofn.uniform_local_policy(game)}
    kofn.alternate(game, 2, 3, tol=1e-3, max_rounds=1)
    ways = [{"actions": "joint"}, {"actions": "shared"}, {"actions": "histogram"}, fixed]
    for way, expectation in itertools.product(ways, ("exact", "sampled", "rounded")):
        solution = kofn.solve(game, 2, expectation=expectation, tol=1.0, **way)
        solution.q(0, solution.counts[0])
        for options in ({}, {"rewards": "drawn"}, {"level": "agents"}):
            kofn.deploy(game, solution.policy, 5, steps=5, runs=2, **options)
        if expectation == "exact":
            kofn.count_sensitivity(solution)
    for method, way in itertools.product(("symmetric-power", "recursion", "meet-in-the-middle"), ways):
        if (method, way.get("actions")) not in UNSERVED:
            kofn.solve(game, 3, method=method, tol=1.0, **way)
    shortcuts = {"warm_start": True, "policy_sweeps": True, "drop_actions": True}
    for way in ways:
        for options in (shortcuts, shortcuts | {"expectation": "sampled"}, {"anderson": True}):
            solution = kofn.solve(game, 4, tol=0.01, **options, **way)
        # A population has next-state laws of its own where the policy depends on it.
        kofn.evaluate(game, solution.policy, 6)
        kofn.exploitability(game, solution.policy, 4)
    # Enough agents to solve for half of them first.
    kofn.solve(game, 8, method="symmetric-power", tol=0.1, **shortcuts, **fixed)
    kofn.refine(game, solution.policy, 6, max_rounds=1)
    # So many agents that their draws need rejection.
    kofn.deploy(game, solution.policy, 100_000, steps=3)
    epidemic = kofn.load_game("epidemic")
    solution = kofn.solve(epidemic, 2, actions="shared", tol=1.0)
    for options in ({}, {"rewards": "drawn"}, {"level": "agents"}):
        kofn.deploy(epidemic, solution.policy, 6, steps=5, **options)
    squeeze = kofn.load_game("gaussian-squeeze", agents=5)
    for level in ("counts", "agents"):
        kofn.deploy(squeeze, blind_policy(squeeze), 5, steps=3, level=level)
    learn_in_every_way(game)
    learn_with_own_rewards(game)
    weigh_in_every_way()
    deviate_from_learned_laws()
    simulate_inventories()


def simulate_inventories():
    """Retailers under every kind of policy, in units and in lots, with goods that are scarce."""
    from kofn.engine.coupling import Field
    from kofn.engine.inventory import policies
    from kofn.engine.inventory.simulate import simulate_inventory
    from kofn.engine.inventory.spec import SIZES

    spec = SIZES["tiny"]
    seen = Field(of="actions", weights=np.arange(3.0), edges=(np.array([0.5]),))
    rules = [policies.random_orders(), policies.constant_orders(spec, 2), policies.base_stock(spec, 60)]
    rules.append(policies.table_orders(spec, np.full((84, 3), 1 / 3), seen))
    for rule in rules:
        for units in ("unit", "lot"):
            simulate_inventory(spec, rule, periods=8, runs=1, units=units, series=True)


def learn_with_own_rewards(game):
    """The two kernels that take a user's reward, and the one that takes weights, on what learners of the engine are made of."""
    import kofn
    from kofn.engine.learning.learners import SequentialLearners, SynchronousLearners
    from kofn.kernels.learning.sequential import advance_sequential_with
    from kofn.kernels.learning.with_reward import learn_with_reward
    from kofn.kernels.learning.with_weights import learn_with_weights

    asked = {"n": 5, "steps": 2, "runs": 2, "record_every": 1}
    one = SynchronousLearners(game, kofn.LearningSettings(sees="states", bins=3, **asked))
    learn_with_reward(lambda s_g, f, s, a: 1.0 * a, *one.arguments(0, 2))
    squeeze = kofn.load_game("gaussian-squeeze", agents=5)
    for form in ("product", "selfnorm"):
        weighed = {"correction": form, "replay": 3, "temperature": 1.0, "index": "executed", "bins": 2}
        learners = SynchronousLearners(squeeze, kofn.LearningSettings(**asked | weighed))
        learn_with_weights(learners.drift, *learners.arguments(0, 2))
    spins = kofn.load_game("ising", agents=9)
    asked |= {"n": 9, "order": "sequential", "temperature": 1.0}
    other = SequentialLearners(spins, kofn.LearningSettings(**asked))
    advance_sequential_with(lambda value, a: 1.0 * a, *other.arguments(0, 2))


def weigh_in_every_way():
    """Importance weights of both forms, seen exactly and in bins, near and far from what is likely."""
    from kofn.engine.drift.weights import importance_weights
    from kofn.engine.study.drift import repeat_cell
    from kofn.engine.study.drift_settings import DriftStudySettings
    from kofn.kernels.importance.weights import log_second_moment, weighted_step

    rng = np.random.default_rng(1)
    pi, mu = rng.dirichlet(np.ones(3), 4), rng.dirichlet(np.ones(3), 4)
    group = rng.integers(4, size=(2, 6))
    for action in (rng.integers(3, size=group.shape), np.full(group.shape, 2)):
        for options in ({"form": "product"}, {"units": [1, 3, 2]}, {"edges": np.array([4, 7])}):
            importance_weights(pi, mu, group, action, **options)
    weighted_step(0.5, log_second_moment(pi, mu, np.array([1, 2, 0, 3])))
    drift = {"mu": [0.5, 0.3, 0.2], "pi": [0.4, 0.3, 0.3]}
    settings = DriftStudySettings(drifts={"a": drift}, rewards={"b": {"stock": 1}}, n=3, samples=4, replications=2)
    repeat_cell(settings, settings.cells[0])


def learn_in_every_way(game):
    """Learning by every method, in both orders, on fields of states and of actions and on graphs; a heat bath."""
    import kofn

    common = {"n": 5, "steps": 6, "runs": 2}
    for options in (
        {"sees": "states", "bins": 3, "tables": "own", "alpha_power": 0.5, "replay": 3, "target_every": 2},
        {"sees": "actions", "bins": 3, "temperature": 0.5, "inner": 2, "target_tau": 0.5, "reward": "team"},
        {"sees": "actions", "method": "mfac", "temperature": 0.5, "replay": 4},
        {"method": "iq", "alpha_power": 0.5},
    ):
        kofn.learn(game, kofn.LearningSettings(**common | options))
    spins = kofn.load_game("ising", agents=9)
    own = {"n": 9, "steps": 3, "runs": 2, "tables": "own", "temperature": 1.0}
    for options in ({}, {"tables": "shared"}, {"temperature": 0.0, "epsilon": (0.1, 0.1)}):
        kofn.learn(spins, kofn.LearningSettings(order="sequential", **own | options))
        kofn.learn(spins, kofn.LearningSettings(inner=2, **own | options))
    patient = dataclasses.replace(spins, gamma=0.5)
    kofn.learn(patient, kofn.LearningSettings(order="sequential", **own))
    kofn.simulate_heat_bath(3, [1.0], sweeps=4, runs=2, seed=0)


def deviate_from_learned_laws():
    """Best responses against populations that play what they learned, of infinitely many agents and of five."""
    import kofn
    from kofn.engine.equilibrium.flow_gaps import learned_gaps

    for name, options in (("gaussian-squeeze", {"sees": "actions", "bins": 3}), ("epidemic", {"temperature": 0.5})):
        game = kofn.load_game(name, agents=5)
        learned = kofn.learn(game, kofn.LearningSettings(n=5, steps=3, runs=2, **options))
        for flow in ("mean-field", "agents"):
            learned_gaps(learned, flow=flow, steps=4, check_runs=2)


if __name__ == "__main__":
    import warnings

    # Unsigned numbers overflow on purpose, which numpy's scalars remark on.
    warnings.filterwarnings("ignore", category=RuntimeWarning, message="overflow encountered")
    compilation.kernel = guarded_kernel
    use_every_kernel()
    print(*sorted(checked), sep="\n")
