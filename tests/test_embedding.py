"""Kernels as building blocks of other people's compiled code: an example, and what they promise."""

import ast
import inspect
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from embedding_example import return_with_storms, tables_for_storms
from kernel_signatures import all_kernels
from readme import code_blocks
from scipy import stats

import kofn
from oracles import labelled_chain, random_game_tables

TESTS = Path(__file__).parent
KERNELS = TESTS.parent / "kernels"
LEVEL = 1e-6

KERNEL_NAMES = dict(all_kernels())
PUBLIC_KERNELS = [name for name in KERNEL_NAMES if not name.rpartition(".")[2].startswith("_")]


# A simulator of one's own.


def small_solution():
    tables = random_game_tables(np.random.default_rng(5), 2, 2, 2, 2, gamma=0.9)
    # Agents hardly move by themselves and earn more in state 0, so that a storm at the wrong step shows.
    tables["P_l"] = 0.9 * np.eye(2)[None, :, None, :] + 0.1 * tables["P_l"]
    tables["r_l"] = tables["r_l"] + np.array([10.0, 0.0])[:, None]
    game = kofn.Game(**tables)
    return game, kofn.solve(game, 3)


def expected_return_with_storms(game, policy, n, steps, storm_every, storm_size, phase=0):
    """Mean over all runs from s_g = 0 with everyone in state 1, by walking every state of n labelled agents.

    With a phase the storms come so many steps late.
    """
    P, reward, states = labelled_chain(game, policy, n)
    position = {state: i for i, state in enumerate(states)}
    storm = np.zeros_like(P)
    hits = list(itertools.combinations(range(1, n + 1), storm_size))
    for state, hit in itertools.product(states, hits):
        after = tuple(0 if i in hit else s for i, s in enumerate(state))
        storm[position[state], position[after]] += 1 / len(hits)
    law, total = np.zeros(len(states)), 0.0
    law[position[(0, *[1] * n)]] = 1.0
    for step in range(steps):
        total += game.gamma**step * (law @ reward)
        law = law @ P
        if step % storm_every == (storm_every - 1 + phase) % storm_every:
            law = law @ storm
    return total


def test_example_has_the_mean_that_plain_numpy_finds():
    game, solution = small_solution()
    n, steps, storm, runs = 5, 25, (5, 3), 20_000
    tables = tables_for_storms(game, solution.policy)
    start = np.array([0, n])
    found = np.array([return_with_storms(*tables, start, steps, *storm, 11, run) for run in range(runs)])
    expected = expected_return_with_storms(game, solution.policy, n, steps, *storm)
    standard_error = found.std(ddof=1) / np.sqrt(runs)
    assert abs(found.mean() - expected) < stats.norm.isf(LEVEL / 2) * standard_error
    # Storms at another step, or of another size, would be noticed.
    for other in ({"phase": -1}, {"phase": 1}, {"storm_size": storm[1] + 1}, {"storm_every": steps + 1}):
        options = {"storm_every": storm[0], "storm_size": storm[1]} | other
        wrong = expected_return_with_storms(game, solution.policy, n, steps, **options)
        assert abs(expected - wrong) > 10 * standard_error
    np.testing.assert_array_equal(start, [0, n])


def test_example_without_storms_is_the_built_in_rollout():
    game, solution = small_solution()
    built_in = kofn.deploy(game, solution.policy, 50, steps=40, runs=5, seed=11, initial=(0, [0, 50]))
    tables = tables_for_storms(game, solution.policy)
    found = [return_with_storms(*tables, np.array([0, 50]), 40, 41, 1, 11, run) for run in range(5)]
    np.testing.assert_allclose(found, built_in.returns, rtol=1e-13)


def test_example_of_the_readme_does_what_plain_numpy_does():
    name = "visits_after_power_cuts"
    blocks = [
        block.text for block in code_blocks((TESTS.parent / "README.md").read_text()) if f"def {name}" in block.text
    ]
    assert len(blocks) == 1, f"README.md: found {len(blocks)} blocks with {name}, expected 1"
    namespace = {}
    exec(compile(blocks[0], "README.md", "exec"), namespace)
    simulate, policy, robots = namespace[name], namespace["policy"], namespace["robots"]
    n, steps, n_sl, k = 30, 25, robots.n_sl, policy.k_global
    arrays = (policy.global_action, robots.P_g, namespace["P_l"], namespace["sizes"])
    found = np.array([simulate(n, steps, seed, k, *arrays) for seed in range(2000)])
    rank = {
        tuple(c): i for i, c in enumerate(kofn.solve(robots, k, local_policy=kofn.uniform_local_policy(robots)).counts)
    }
    rng = np.random.default_rng(1)
    expected = np.zeros((2000, n_sl))
    for run in range(2000):
        s_g, population = 0, np.array([n] + [0] * (n_sl - 1))
        for step in range(steps):
            a_g = policy.global_action[s_g, rank[tuple(rng.multivariate_hypergeometric(population, k))]]
            population = sum(rng.multinomial(population[s], robots.P_l.mean(axis=2)[s_g, s]) for s in range(n_sl))
            if step % 10 == 9:
                population = population - rng.multivariate_hypergeometric(population, n // 10)
                population[0] += n // 10
            expected[run] += population
            s_g = rng.choice(robots.n_sg, p=robots.P_g[s_g, a_g])
    assert (found.sum(axis=1) == n * steps).all()
    standard_error = np.hypot(found.std(axis=0, ddof=1), expected.std(axis=0, ddof=1)) / np.sqrt(2000)
    assert (abs(found.mean(axis=0) - expected.mean(axis=0)) < stats.norm.isf(LEVEL / 2 / n_sl) * standard_error).all()


# What kernels promise.


def test_kernels_import_nothing_but_numpy_numba_and_the_standard_library():
    for path in KERNELS.rglob("*.py"):
        depth = len(path.relative_to(KERNELS).parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module]
            else:
                # A relative import must not climb out of the folder.
                assert not isinstance(node, ast.ImportFrom) or node.level <= depth, path
                continue
            for module in modules:
                top = module.partition(".")[0]
                assert top in {"numpy", "numba"} or top in sys.stdlib_module_names, f"{path}: {module}"


@pytest.mark.slow
def test_kernels_work_without_the_rest_of_the_package(tmp_path):
    shutil.copytree(KERNELS, tmp_path / "only_kernels", ignore=shutil.ignore_patterns("__pycache__"))
    program = (
        "import importlib, pkgutil, sys, only_kernels\n"
        "for module in pkgutil.walk_packages(only_kernels.__path__, 'only_kernels.'): importlib.import_module(module.name)\n"
        "from only_kernels.lattice import lattice_sizes, rank_counts\n"
        "import numpy as np\n"
        "assert rank_counts(np.array([1, 0, 1]), lattice_sizes(2, 3)) == 3\n"
        "print(*{name.partition('.')[0] for name in sys.modules} & {'kofn', 'h5py', 'click', 'matplotlib', 'rich'})\n"
    )
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    result = run_python("-c", program, folder=tmp_path, environment=environment)
    assert result.stdout.strip() == ""


def run_python(*words, folder, environment=None):
    result = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result


# Scalars whose names say what they are, and rows and scratch of kernels that are a part of a larger one.
SCALARS = {"gamma", "i", "j", "n_ag", "n_columns", "n_rows", "n_states", "reward", "s_g", "source", "target", "weight"}
PARTS = {
    "bellman.fixed_laws.carry_law": {"reversed_values", "table"},
    "bellman.joint.stack_first_products": {"task"},
    "bellman.joint.max_rows": {"product", "out_best"},
    "bellman.joint.back_up_task": {"task"},
    "bellman.joint.greedy_task": {"task"},
    "bellman.joint.work_size": {"task"},
}


def described(text):
    """Arguments that a docstring gives a type, in its section of parameters; or an entry that it explains by a formula."""
    section = re.search(r"\nParameters\n-+\n(.*?)(?:\nReturns\n|\nRaises\n|\Z)", text, re.DOTALL)
    entries = re.findall(r"(?:^|, )([a-zA-Z_][\w, …]*?)(?: : |$)", section[1], re.MULTILINE) if section else []
    names = {name.strip() for entry in entries for name in re.split(r"[,…]", entry)}
    return names | set(re.findall(r"\b(\w+)\[", text.partition("\nParameters\n")[0]))


@pytest.mark.parametrize("name", PUBLIC_KERNELS)
def test_kernel_says_what_its_arrays_are(name):
    text = inspect.getdoc(KERNEL_NAMES[name].py_func)
    assert text, "no docstring"
    assert text.splitlines()[0].strip()
    family = [
        inspect.getdoc(k.py_func) or ""
        for n, k in KERNEL_NAMES.items()
        if n.rpartition(".")[0] == name.rpartition(".")[0]
    ]
    known = SCALARS.union(PARTS.get(name, ()), *map(described, family))
    arguments = list(inspect.signature(KERNEL_NAMES[name].py_func).parameters)
    assert set(arguments) <= known, set(arguments) - known
    # Outputs come last.
    assert arguments == sorted(arguments, key=lambda argument: argument.startswith("out_"))


@pytest.mark.slow
def test_kernels_leave_alone_what_they_do_not_say_they_change():
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    checked = run_python(TESTS / "frozen_inputs.py", folder=TESTS, environment=environment).stdout.split()
    families = {name.rpartition(".")[0] for name in PUBLIC_KERNELS}
    assert {name.rpartition(".")[0] for name in checked} >= families - {"draws.hypergeometric"}
    assert len(checked) > 50


# Tables of a game are read-only, tables made for a class of actions are not: two types for numba.
COMPILED_TWICE = {
    "bellman.recursive.sweep_recursion",
    "count_blind.evaluate_count_blind",
    "expectation.meet_in_the_middle.grow_group_laws",
    "expectation.rounded.fill_rounded_next",
    "expectation.sampled.fill_sampled_next",
}


@pytest.mark.slow
def test_engine_compiles_a_kernel_for_one_set_of_types():
    # The first run may compile; compiling a kernel also compiles those inside it, which says nothing about the engine.
    for _ in range(2):
        report = json.loads(run_python(TESTS / "kernel_signatures.py", folder=TESTS).stdout)
        if report["compiled"] == 0:
            break
    assert report["compiled"] == 0
    signatures = report["signatures"]
    assert {name for name, count in signatures.items() if count == 2} == COMPILED_TWICE
    assert max(signatures.values()) == 2
    assert sum(count > 0 for count in signatures.values()) > 25
