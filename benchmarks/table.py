"""Print the README's table from a pytest-benchmark report.

Usage: python benchmarks/table.py REPORT.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def seconds(value: float) -> str:
    """A time with three digits and a fitting unit."""
    if value < 1e-3:
        return f"{1e6 * value:.3g} µs"
    return f"{1e3 * value:.3g} ms" if value < 1.0 else f"{value:.3g} s"


def rows(report: dict) -> list[tuple[str, str, str]]:
    """What was measured, its median, and what it is compared with in the same run."""
    medians = {b["name"]: b["stats"]["median"] for b in report["benchmarks"]}
    extra = {b["name"]: b["extra_info"] for b in report["benchmarks"]}
    table = []
    for k in (14, 20):
        for game in ("formation", "dense"):
            name = f"test_joint_sweep_against_bare_products[{game}-{k}]"
            if name in medians:
                bare, joint = extra[name]["bare_products_s"], extra[name]["joint_actions"]
                what = (
                    f"exact joint sweep, `{game}`, k = {k}: {joint:,} joint actions × {extra[name]['pairs']}, one core"
                )
                table.append((what, seconds(medians[name]), f"{medians[name] / bare:.2f} × its bare matrix products"))
    for name in [name for name in medians if name.startswith("test_sweep_with_a_field[")]:
        facts = extra[name]
        of = name[len("test_sweep_with_a_field[") : -1]
        what = f"exact joint sweep, `dense`, k = 14, with {facts['field_values']} values of a field, {of}, one core"
        table.append((what, seconds(medians[name]), f"{facts['times_without_a_field']:.2f} × without a field"))
    for k in (30, 50):
        name = f"test_fixed_sweep_on_all_cores[{k}]"
        if name in medians:
            what = f"exact fixed-policy sweep, `robots`, k = {k}: {extra[name]['count_vectors']:,} count vectors × 25"
            table.append((what, seconds(medians[name]), "all cores"))
    slow, quick = (f"test_fixed_sweep_against_the_recursion[{m}]" for m in ("recursion", "symmetric power"))
    if slow in medians and quick in medians:
        table.append(
            (
                "the same, k = 10, one core",
                seconds(medians[quick]),
                f"recursion: {medians[slow] / medians[quick]:.1f} ×",
            )
        )
    table += solves(medians, extra) + evaluations(medians, extra) + studies(medians, extra) + equilibria(medians, extra)
    table += learning(medians, extra) + inventories(medians, extra)
    for game in ("formation", "dense"):
        for n in (14, 10**3, 10**6, 10**9):
            name = f"test_million_steps[{game}-{n}]"
            if name in medians:
                against = ""
                if "numpy_agents_steps_per_s" in extra[name]:
                    ratio = extra[name]["steps"] / medians[name] / extra[name]["numpy_agents_steps_per_s"]
                    against = f"{ratio:,.0f} × a NumPy simulation of the agents"
                what = f"a million steps, `{game}`, policy of k = 8, n = {n:,}, one core"
                table.append((what, seconds(medians[name]), against))
    named = {
        "test_authors_experiment": "the authors' experiment: `formation`, n = 14, k = 2 … 14, 20 runs × 200 steps, figures",
        "test_start_up_of_a_second_solve": "`kofn solve formation -k 2`, kernels in the cache",
        "test_start_up_of_numba": "a script with one cached Numba function, for comparison",
        "test_compilation_of_a_first_solve": "`kofn solve formation -k 2`, nothing compiled yet",
        "test_import": "`import kofn`",
        "test_help[command0]": "`kofn --help`",
    }
    table += [(what, seconds(medians[name]), "whole process") for name, what in named.items() if name in medians]
    name = "test_memory_of_a_large_joint_solve"
    if name in medians:
        peak = f"{extra[name]['peak_bytes'] / 1e6:.0f} MB"
        table.append(("peak memory of `kofn solve formation -k 20`", peak, f"in {seconds(medians[name])}"))
    return table


def solves(medians: dict, extra: dict) -> list[tuple[str, str, str]]:
    """Whole solves by the shortcut that they take."""
    table = []
    for game, k in (("robots", 30), ("irrigation", 100), ("formation", 14), ("servers", 14), ("irrigation", 300)):
        names = [name for name in medians if name.startswith(f"test_solve[{game}-{k}-")]
        plain = medians.get(f"test_solve[{game}-{k}-plain]")
        for name in names:
            case, work = name[len(f"test_solve[{game}-{k}-") : -1], extra[name]
            parts = [f"{work['full_sweeps']} sweeps"]
            if work["policy_sweeps"]:
                parts.append(f"{work['policy_sweeps']} of a policy")
            if work["level_sweeps"]:
                parts.append(f"{sum(work['level_sweeps'].values())} of smaller k")
            if work["dropped"]:
                parts.append(f"{work['dropped']} (s_g, a_g) dropped")
            if plain is not None and case != "plain":
                parts.append(f"plain: {plain / medians[name]:.1f} ×")
            table.append((f"solve `{game}`, k = {k}, to 1e-6: {case}", seconds(medians[name]), ", ".join(parts)))
    return table


def evaluations(medians: dict, extra: dict) -> list[tuple[str, str, str]]:
    """Exact evaluations, next to what a simulation of 400 runs leaves open."""
    table = []
    for name in ("dense", "formation", "irrigation"):
        key = f"test_whole_evaluation[{name}]"
        if key in medians:
            facts = extra[key]
            what = f"exact evaluation, `{name}`, n = {facts['agents']}: {facts['states']:,} states, {facts['route']}"
            error = f"± {facts['half_width']:.0e}; 400 simulated runs: ± {facts['simulated_half_width']:.2g}"
            table.append((what, seconds(medians[key]), error))
    return table


def studies(medians: dict, extra: dict) -> list[tuple[str, str, str]]:
    """Whole studies."""
    table = []
    name = "test_exact_gaps_of_three_hundred_agents"
    if name in medians:
        what = "`kofn study irrigation-scaling`: n ≤ 300, exact gaps, 12 cells, figures"
        table.append((what, seconds(medians[name]), "whole process"))
    workers = {"test_two_local_workers": "two local processes", "test_two_workers_of_a_cluster": "two Dask workers"}
    for name, what in workers.items():
        if name in medians:
            ratio = extra[name]["alone_s"] / medians[name]
            against = f"{ratio:.2f} × one process with one thread"
            table.append((f"a study of 24 cells of some seconds, {what}", seconds(medians[name]), against))
    return table


def learning(medians: dict, extra: dict) -> list[tuple[str, str, str]]:
    """Learning from samples, in agent-steps per second."""
    table = []
    for t_q in (0.8, 1.0, 1.3, 2.0):
        name = f"test_ticks_on_one_core[{t_q}]"
        if name in medians:
            facts = extra[name]
            rate = facts["ticks"] / medians[name]
            work = f"{facts['ticks']:,} agent-steps, one core: {rate / 1e6:.0f} M/s"
            what = f"sequential MF-Q, `ising`, 400 spins, T_q = {t_q}, {work}"
            against = (
                f"{facts['times_plain_numba_loop']:.1f} × a Numba loop, {facts['times_numpy_program']:,.0f} × tight NumPy, "
                f"{facts['times_numpy_script']:,.0f} × plain NumPy"
            )
            table.append((what, seconds(medians[name]), against))
    if "test_two_threads" in medians:
        facts = extra["test_two_threads"]
        what = f"the same, T_q = 1, 8 runs, {facts['ticks']:,} agent-steps, two threads"
        table.append(
            (
                what,
                seconds(medians["test_two_threads"]),
                f"{facts['times_one_thread']:.2f} × one thread, bare arithmetic {facts['bare']:.2f} ×",
            )
        )
    for n, steps in ((100, 20_000), (1000, 5000)):
        name = f"test_gaussian_squeeze[{n}-{steps}]"
        if name in medians:
            facts = extra[name]
            rate = facts["agent_steps"] / medians[name]
            what = (
                f"synchronous MF-Q, `gaussian-squeeze`, n = {n}, own tables of 90 × 10, one core: {rate / 1e6:.0f} M/s"
            )
            against = f"{rate / facts['numpy_agent_steps_per_s']:.1f} × vectorised NumPy"
            table.append((what, seconds(medians[name]), against))
    return table


def inventories(medians: dict, extra: dict) -> list[tuple[str, str, str]]:
    """A year of retailers, unit by unit."""
    table = []
    for n in (100, 1000):
        name = f"test_year_of_retailers[{n}]"
        if name in medians:
            facts = extra[name]
            what = f"365 periods of {n} retailers, `inventory`, unit by unit, one core"
            table.append((what, seconds(medians[name]), f"{facts['numpy_over_kernel']:.1f} × vectorised NumPy"))
    return table


def equilibria(medians: dict, extra: dict) -> list[tuple[str, str, str]]:
    """Alternating best response and exploitability."""
    table = []
    for k in (1, 30):
        name = f"test_evaluation_against_numpy[{k}]"
        if name in medians:
            facts = extra[name]
            ratio = facts["steps"] / medians[name] / facts["naive_steps_per_s"]
            what = f"{facts['steps']:,} steps of a pair, `robots`, n = 1,000, k = {k}, one core"
            against = f"{ratio:,.0f} × vectorised NumPy, {facts['naive_steps_per_s']:,.0f} steps a second"
            table.append((what, seconds(medians[name]), against))
    for expectation in ("rounded", "exact"):
        name = f"test_authors_nash_experiment[{expectation}]"
        if name in medians:
            what = (
                f"the authors' experiment on `robots`: pair at k = 50, k = 1 … 50, {expectation}, 15 × 50 runs, figures"
            )
            table.append((what, seconds(medians[name]), "whole process"))
    name = "test_exploitability"
    if name in medians:
        facts = extra[name]
        what = f"exact exploitability, both rewards, `irrigation`, n = 100: {facts['states']:,} tagged states"
        table.append((what, seconds(medians[name]), f"± {facts['half_width']:.0e}"))
    return table


def refinements(report: dict) -> list[tuple[str, ...]]:
    """Gains of refinement, one row for each game and k."""
    table = []
    for benchmark in report["benchmarks"]:
        facts = benchmark["extra_info"]
        if not benchmark["name"].startswith("test_refinement["):
            continue
        gain = f"{facts['gain']:.3g}" if facts["exact"] else f"{facts['gain']:.3g} ± {facts['half_width']:.1g}"
        game = facts["game"].partition(",")[0]
        kind = "exact" if facts["exact"] else "simulated, paired"
        changed = f"{facts['changed']} of {facts['observations']}"
        before, after = f"{facts['before']:.5g}", f"{facts['after']:.5g}"
        table.append((f"`{game}`", str(facts["n"]), str(facts["k"]), before, after, f"{gain}, {kind}", changed))
    return table


def main() -> None:
    """Print the tables."""
    report = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    tables = {
        ("what", "median", ""): rows(report),
        ("game", "n", "k", "value, optimal for k", "refined for n", "gain", "observations changed"): refinements(
            report
        ),
    }
    for head, body in tables.items():
        if body:
            print("\n| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
            for row in body:
                print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
