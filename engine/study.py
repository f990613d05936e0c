"""A study over k: solve each surrogate game, deploy each policy on n agents, compare."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..kernels.lattice import lattice_size
from .action_classes import count_items
from .backups.selection import default_memory_bytes
from .cells import Cell, check_cell, read_cell, remove_checkpoint, run_cell
from .files import write_bytes_atomically
from .game import Game, positive_integer
from .jobs import run_jobs
from .policy import checked_local_policy
from .sensitivity import CountSensitivity, count_sensitivity
from .solve import check_fits, solve

# The sensitivity is printed before anything long runs, so it is taken at the largest k that is this cheap.
SENSITIVITY_ITEMS = 10_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """Results of a study, one entry for each k.

    Parameters
    ----------
    config : dict                        what was asked for
    sensitivity : dict                   the count sensitivity at one k, see `CountSensitivity`
    k : int64[n_k]
    value : float64[n_k]                 certified value of the surrogate game from the initial law
    value_half_width : float64[n_k]
    n_sweeps : int64[n_k]
    solve_time_s : float64[n_k]
    returns : float64[n_k, runs]         discounted return of every run on n agents
    mean_return, return_half_width : float64[n_k]      with a 95 % t interval over the runs
    average_reward, average_half_width : float64[n_k]  long run, with a 95 % batch-means interval
    trace_step : int64[n_points]
    trace_return : float64[n_k, runs, n_points]        discounted reward up to the last step of a point
    occupancy : float64[n_k, n_sg]       share of the steps in each global state
    mean_population : float64[n_k, n_sl] mean share of the agents in each local state
    """

    config: dict[str, Any]
    sensitivity: dict[str, Any]
    k: np.ndarray
    value: np.ndarray
    value_half_width: np.ndarray
    n_sweeps: np.ndarray
    solve_time_s: np.ndarray
    returns: np.ndarray
    mean_return: np.ndarray
    return_half_width: np.ndarray
    average_reward: np.ndarray
    average_half_width: np.ndarray
    trace_step: np.ndarray
    trace_return: np.ndarray
    occupancy: np.ndarray
    mean_population: np.ndarray


def study(
    game: Game,
    n: int,
    k: Sequence[int],
    *,
    output: str | Path,
    actions: str = "joint",
    expectation: str = "exact",
    samples: int = 10,
    local_policy: np.ndarray | None = None,
    tol: float = 1e-6,
    steps: int = 200,
    runs: int = 20,
    seed: int = 0,
    level: str = "counts",
    jobs: int | None = None,
    memory_bytes: int | None = None,
    force: bool = False,
    on_sensitivity: Callable[[str], None] | None = None,
    progress: Callable[[int, int, int], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Study:
    """Solve the game for every k, deploy each policy on n agents, and write results and figures to a folder.

    Each k is a cell with a file of its own in `output`/cells. A study that is started again takes the finished cells over
    and continues the others from their checkpoints. The bits do not depend on `jobs`.

    Parameters
    ----------
    game : Game
    n : int                  agents at deployment, at least the largest k
    k : sequence of int      sample sizes
    output : path            folder; made if it is missing
    actions, expectation, samples, local_policy, tol : as in `solve`
    steps, runs, seed, level : as in `deploy`
    jobs : int, optional     processes; by default one for each core
    memory_bytes : int, optional    limit for the tables of each process; by default three quarters of the machine's memory,
        a share for each core
    force : bool             redo cells that belong to another study instead of refusing
    on_sensitivity : function of a text, called before the cells run
    progress : function of (k just finished, cells finished, cells in all)
    should_stop : asked a few times per second

    Returns
    -------
    Study

    Raises
    ------
    ValueError, KofnFileError, Interrupted
    """
    from .study_files import write_study

    ks = sorted({positive_integer("k", x) for x in k})
    n = positive_integer("n", n)
    if not ks:
        raise ValueError("k: found no sample size, expected at least one")
    if ks[-1] > n:
        raise ValueError(f"k: found {ks[-1]}, expected at most n = {n}")
    if local_policy is not None:
        actions, local_policy = "fixed", checked_local_policy(local_policy, game)
    cores = len(os.sched_getaffinity(0))
    n_processes = min(positive_integer("jobs", cores if jobs is None else jobs), len(ks))
    # A share for each core, however many processes there are: the limit decides between methods, and so on bits.
    memory = default_memory_bytes() // cores if memory_bytes is None else memory_bytes
    cells = [
        Cell(
            game=game, k=size, actions=actions, expectation=expectation, samples=samples if expectation == "sampled" else 0,
            tol=tol, local_policy=local_policy, n=n, steps=positive_integer("steps", steps),
            runs=positive_integer("runs", runs), seed=seed, level=level, memory_bytes=memory,
        )
        for size in ks
    ]  # fmt: skip
    # What would not fit is refused before anything runs; the largest k needs most.
    check_fits(game, ks[-1], actions, expectation, samples, local_policy, tol, memory)

    folder = Path(output)
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    paths = [folder / "cells" / f"k={size:04d}.h5" for size in ks]
    finished = []
    for path, cell in zip(paths, cells, strict=True):
        if force:
            path.unlink(missing_ok=True)
            remove_checkpoint(path)
        finished.append(check_cell(path, cell))
        if finished[-1]:
            remove_checkpoint(path)  # of a study that was killed just before it did so itself

    summary = _sensitivity(folder / "sensitivity.json", cells, should_stop)
    if on_sensitivity is not None:
        on_sensitivity(summary["text"])

    waiting = [i for i in reversed(range(len(cells))) if not finished[i]]
    done = len(cells) - len(waiting)
    work = [(run_cell, (paths[i], cells[i])) for i in waiting]
    for position in run_jobs(work, n_processes, should_stop, functools.partial(_warm_up, cells[0])):
        done += 1
        if progress is not None:
            progress(ks[waiting[position]], done, len(cells))

    result = _collect(cells, paths, summary)
    write_study(folder / "study.h5", result, game)
    draw_figures(result, game, folder)
    return result


def _warm_up(cell: Cell) -> None:
    """Load the compiled kernels, so that the first cell's time is its own."""
    game = cell.game
    # The first sweep is always this close, and rounding never asks for more, whatever the rewards' units are.
    tol = max(cell.tol, 2 * (np.abs(game.r_g).max() + np.abs(game.r_l).max()) / (1 - game.gamma))
    solve(game, 1, cell.actions, cell.expectation, tol, local_policy=cell.local_policy, samples=1, seed=cell.seed)


def _sensitivity(path: Path, cells: Sequence[Cell], should_stop: Callable[[], bool]) -> dict[str, Any]:
    """Count sensitivity at the largest cheap k, kept in a file so that a study started again does not redo it."""
    game = cells[0].game
    cheap = [c for c in cells if count_items(c.k, game.n_sl, game.n_al, c.actions) <= SENSITIVITY_ITEMS]
    cell = cheap[-1] if cheap else cells[0]
    identity = json.loads(json.dumps(cell.identity))
    if path.exists():
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["identity"] == identity:
                return kept["sensitivity"]
        except (ValueError, KeyError, TypeError):
            pass  # not ours or damaged: it is cheap to compute anew
    solution = solve(
        game, cell.k, cell.actions, cell.expectation, cell.tol, local_policy=cell.local_policy,
        samples=max(1, cell.samples), seed=cell.seed, memory_bytes=cell.memory_bytes, should_stop=should_stop,
    )  # fmt: skip
    summary = summarise_sensitivity(count_sensitivity(solution))
    document = json.dumps({"identity": identity, "sensitivity": summary}, indent=1)
    write_bytes_atomically(path, document.encode())
    return summary


def summarise_sensitivity(sensitivity: CountSensitivity) -> dict[str, Any]:
    """A count sensitivity as JSON-ready values and a text of a few lines."""
    gap, blind = sensitivity.blind_gap, sensitivity.count_blind
    lost = f"{gap:.3g}" if blind is not None and blind.is_best else f"at most {gap:.3g}"
    text = (
        f"count sensitivity at k = {sensitivity.k}: the best a_g varies with the counts in "
        f"{100 * sensitivity.share_of_global_states:.0f} % of the global states\n"
        f"  additive fit off by at most {sensitivity.additive_residual:.3g} "
        f"({100 * sensitivity.relative_residual:.2g} % of the value's range)\n"
        f"  a policy blind to counts loses {'an unknown amount' if blind is None else lost} from the initial law\n"
        f"  {sensitivity.verdict}"
    )
    return {
        "k": sensitivity.k,
        "share_of_global_states": sensitivity.share_of_global_states,
        "additive_residual": sensitivity.additive_residual,
        "relative_residual": sensitivity.relative_residual,
        "blind_gap": None if blind is None else gap,
        "blind_value": None if blind is None else blind.value,
        "can_matter": bool(sensitivity.can_matter),
        "verdict": sensitivity.verdict,
        "text": text,
    }


def _collect(cells: Sequence[Cell], paths: Sequence[Path], sensitivity: dict[str, Any]) -> Study:
    solutions, deployments = zip(*(read_cell(path) for path in paths), strict=True)
    config = {key: value for key, value in replace(cells[0]).identity.items() if key != "k"}
    config |= {"game": cells[0].game.name, "game_digest": cells[0].game.digest(), "k": [cell.k for cell in cells]}
    return Study(
        config=config,
        sensitivity=sensitivity,
        k=np.array([s.k for s in solutions], dtype=np.int64),
        value=np.array([s.initial_value for s in solutions]),
        value_half_width=np.array([s.half_width for s in solutions]),
        n_sweeps=np.array([s.n_sweeps for s in solutions], dtype=np.int64),
        solve_time_s=np.array([s.wall_time_s for s in solutions]),
        returns=np.stack([d.returns for d in deployments]),
        mean_return=np.array([d.mean_return for d in deployments]),
        return_half_width=np.array([d.return_half_width for d in deployments]),
        average_reward=np.array([d.average_reward for d in deployments]),
        average_half_width=np.array([d.average_half_width for d in deployments]),
        trace_step=deployments[0].trace_step,
        trace_return=np.stack([d.trace_return for d in deployments]),
        occupancy=np.stack([d.occupancy for d in deployments]),
        mean_population=np.stack([d.mean_population for d in deployments]),
    )


def draw_figures(result: Study, game: Game, folder: Path) -> list[Path]:
    """Draw the four figures of a study into a folder."""
    from . import figures

    config = result.config
    title = f"{config['game'] or 'game'}, {config['steps']} steps"
    setting = {"n_agents": config["n"], "n_seeds": config["runs"]}
    stems = ("reward-over-time", "reward-against-k", "solve-time-against-k", "value-against-k")
    paths = [folder / f"{stem}.png" for stem in stems]
    # A point of the trace holds what was earned up to its last step.
    last_step = np.append(result.trace_step[1:], config["steps"])
    figures.plot_cumulative_reward(last_step, result.trace_return.mean(axis=1), result.k, title, paths[0], **setting)
    # Agents decouple under a policy that never looks at the counts: its value is the same for every n.
    blind = result.sensitivity["blind_value"]
    lines = {} if blind is None else {"best policy that never looks at the counts": blind}
    figures.plot_reward_against_k(
        result.k, result.mean_return, result.return_half_width, paths[1], title, "Discounted return [reward units]",
        lines=lines, **setting,
    )  # fmt: skip
    name, n_sl, n_al = config["game"] or "game", game.n_sl, game.n_al
    ks = result.k.tolist()
    sizes = {"count vectors": [lattice_size(k, n_sl) for k in ks]}
    if config["actions"] != "fixed":
        sizes["local decisions, over all count vectors"] = [count_items(k, n_sl, n_al, config["actions"]) for k in ks]
    figures.plot_solve_time_against_k(
        result.k, result.solve_time_s, paths[2], f"{name}, time to solve for k agents", sizes
    )
    figures.plot_value_against_k(
        result.k, result.value, result.value_half_width, paths[3], f"{name}, value of the k-agent game"
    )
    return paths
