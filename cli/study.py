"""kofn study: solve for every k of a grid, evaluate and deploy on every n, compare; or let agents learn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options
from .errors import KofnCommand, say
from .learning_options import METHODS as LEARNING_METHODS
from .learning_options import NAMES as LEARNING
from .learning_options import OTHERS as LEARNING_OPTIONS
from .learning_options import VARIANTS as LEARNING_VARIANTS
from .nash_options import NAMES as NASH
from .nash_options import with_nash_options
from .study_cells import running_cells, say_written

if TYPE_CHECKING:
    from ..engine.study.results import Study
    from ..engine.study.settings import StudySettings

_NS = options.NumberList("n,n:n", 1, 2**30)
_KS = options.NumberList("k,k:k", 1, 10**9, word="n")
_SEEDS = options.NumberList("seed,seed:seed", 0, 2**64 - 1)
_CLASSES = options.Words(("joint", "shared", "histogram", "fixed"))
_METHODS = options.Words(("solve", "nash", *LEARNING_METHODS), suffixes=LEARNING_VARIANTS)
_EXPECTATIONS = options.Words(("exact", "sampled", "rounded"))
# Flags that are settings of a study: no default here, for a study file may give one.
_SETTINGS = (
    click.option("-n", "--agents", "n", type=_NS, default=None, help="Local agents.  [default: the game's own]"),
    click.option("-k", "k", type=_KS, default=None, help="Sample sizes, such as 1:20 or 2,4,8,n."),
    click.option("--actions", type=_CLASSES, default=None, help="What the k agents may do together.  [default: joint]"),
    options.local_policy,
    click.option(
        "--method", type=_METHODS, default=None,
        help="nash: first alternate best responses at the largest k, then every k answers that local policy; mfq, mfac, iq: agents "
        "learn from samples, for every n and temperature; mfq+marginal and the like take that correction, mfq+online learns "
        "without replay.  [default: solve]",
    ),
    click.option("--expectation", type=_EXPECTATIONS, default=None, help="How E[V(c')] is computed.  [default: exact]"),
    options.optional_samples,
    options.optional_tol,
    click.option(
        "--simulate/--no-simulate", default=None, help="Simulate each policy with every n.  [default: simulate]"
    ),
    click.option("--steps", type=options.WholeNumber(1), default=None, help="Steps of each run.  [default: 200; to learn, none]"),
    click.option("--runs", type=options.WholeNumber(1), default=None, help="Runs of each cell and seed.  [default: 20]"),
    click.option(
        "--level", type=click.Choice(["counts", "agents"]), default=None, help="Simulator.  [default: counts]"
    ),
    click.option("--seeds", "--seed", "seeds", type=_SEEDS, default=None, help="Seeds, such as 0:3.  [default: 0]"),
    click.option(
        "--exact/--no-exact", default=None,
        help="Exact values with n agents, optima and gaps; refuse what does not fit.  [default: where it fits]",
    ),
    click.option(
        "--refine/--no-refine", default=None, help="Refine every policy for its n.  [default: no-refine]"
    ),
)  # fmt: skip
_LEARNING = (
    click.option(
        "--temperature", type=options.RealList(), default=None,
        help="To learn: T of the Boltzmann law exp(Q/T), such as 0.7:1.8:0.1; 0 is greedy.  [default: 0]",
    ),
    *LEARNING_OPTIONS,
    options.constants,
    click.option("--keep-tables", is_flag=True, help="Keep the tables of all agents, also where they are over 64 MB a cell."),
)  # fmt: skip
# What only some methods take.
_FOR_LEARNING = ("temperature", "constants", "keep_tables", *LEARNING)
_NOT_FOR_LEARNING = (
    "k", "actions", "local_policy", "expectation", "samples", "tol", "simulate", "level", "exact", "refine", *NASH, "config",
    "jobs",
)  # fmt: skip


@click.command(cls=KofnCommand)
@click.argument("games", nargs=-1, required=True)
@options.with_options(_SETTINGS)
@with_nash_options
@options.with_options(_LEARNING)
@options.output_option("Folder to write.", folder=True, required=False)
@click.option("--dry-run", is_flag=True, help="Print the cells with their sizes, memory and time; run nothing.")
@click.option(
    "--jobs", type=options.WholeNumber(1, 4096), default=None, help="Processes.  [default: one for each core]"
)
@options.scheduler_option("Run the cells on the workers of a Dask scheduler.")
@options.memory
@options.force
@options.quiet
def study(games, output, dry_run, jobs, scheduler, memory, force, quiet, **given):
    """Solve GAMES for every k, evaluate and simulate each policy with n agents, draw the figures.

    Games, n, k, actions, expectations and seeds may be lists: every combination is a cell. Instead of GAMES, one TOML file can
    hold all settings; options given here go before it. Started again a study takes over what is finished and continues
    the rest. --force redoes everything. With --method mfq, mfac or iq, or a list of these, agents learn in GAMES instead: a cell
    is a method, an n and a temperature. A file with method "drift" has no games: it repeats estimates from reweighted samples, to
    see whether their bound holds; -n, --runs (of its replications) and --seed go before what it says.

    \b
    Example:
        kofn study formation -n 14 -k 2:14 -o formation-study
        kofn study robots -n 1000 -k 1:30 --local-policy uniform -o robots-study
        kofn study irrigation-scaling --dry-run
        kofn study drift-coverage --dry-run
        kofn study ising --method mfq --order sequential --tables own --temperature 0.7:1.8:0.1 --steps 500 -o ising-study
    """
    from ..engine.study.plan import plan_lines, plan_study

    if output is None and not dry_run:
        raise click.UsageError("Missing option '-o' / '--output'.")
    if scheduler is not None and jobs is not None:
        raise click.UsageError("--jobs and --scheduler exclude each other")
    config = given.pop("config")
    if not given["keep_tables"]:
        given["keep_tables"] = None
    changes = {name: x for name, x in given.items() if x is not None and (name != "constants" or x)}
    document, where = _document(games)
    if document is not None and document.get("method") in ("drift", ["drift"]):
        from .study_drift import TAKEN, study_drift

        others = tuple(name for name in (*given, "config", "jobs", "scheduler") if name not in TAKEN)
        _refuse(changes | {"config": config, "jobs": jobs, "scheduler": scheduler}, others, "studies of games")
        study_drift(changes, document, where, output=output, dry_run=dry_run, memory=memory, force=force, quiet=quiet)
        return
    if _is_learning(changes, document):
        from .study_learning import study_learning

        _refuse(changes | {"config": config, "jobs": jobs}, _NOT_FOR_LEARNING, "--method solve or nash")
        study_learning(
            games, changes, document, where, output=output, dry_run=dry_run, scheduler=scheduler, memory=memory, force=force,
            quiet=quiet,
        )  # fmt: skip
        return
    _refuse(changes, _FOR_LEARNING, "--method mfq, mfac or iq")
    settings: StudySettings = _settings(games, changes, config)
    if dry_run:
        from ..engine.study.pairs import with_finished_pairs
        from ..engine.study.run import count_finished, processes

        if output is not None and not force:
            settings = with_finished_pairs(settings, output)
        plan = plan_study(settings, memory)
        finished = frozenset() if output is None or force else count_finished(plan, output)
        for line in plan_lines(plan, processes(jobs), finished):
            say(line)
        return
    from ..engine.study.run import run_study

    with running_cells(quiet) as cells:
        result = run_study(
            settings, output=output, jobs=jobs, scheduler=scheduler, memory_bytes=memory, force=force, on_sensitivity=say,
            on_wait=cells.line.say, on_pair=cells.line.show, progress=cells.show_done, should_stop=cells.should_stop,
        )  # fmt: skip
    _report(result, settings, output)


def _document(games: tuple[str, ...]) -> tuple[dict[str, Any] | None, str]:
    """The study file that stands in the place of games, if it is one, and its path."""
    from ..engine.study.settings import find_study_file, read_study_file

    path = find_study_file(games[0]) if len(games) == 1 else None
    return (None, "") if path is None else (read_study_file(path), str(path))


def _is_learning(changes: dict[str, Any], document: dict[str, Any] | None) -> bool:
    """Whether agents learn; what is asked for here goes before what the file says."""
    from ..engine.study.learning_settings import is_learning

    methods = changes.get("method", (document or {}).get("method", "solve"))
    if "method" in changes and len(methods) > 1 and {x.partition("+")[0] for x in methods} - set(LEARNING_METHODS):
        raise click.UsageError(
            f"--method {','.join(methods)}: expected solve or nash alone, or some of {', '.join(LEARNING_METHODS)}"
        )
    if is_learning(methods):
        return True
    if "method" in changes:
        (changes["method"],) = methods
    return False


def _refuse(changes: dict[str, Any], names: tuple[str, ...], expected: str) -> None:
    """Refuse options that the method does not take."""
    for name in names:
        if changes.get(name) is not None:
            option = {"k": "-k", "constants": "--set"}.get(name, f"--{name.replace('_', '-')}")
            raise click.UsageError(f"{option} is for {expected}")


def _settings(games: tuple[str, ...], changes: dict[str, Any], config: Path | None) -> StudySettings:
    nash = {name: changes.pop(name) for name in NASH if name in changes}
    if nash:
        changes["nash"] = nash
    if config is not None:
        changes = _with_config(games, changes, config)
    if changes.get("nash") and changes.setdefault("method", "nash") != "nash":
        raise click.UsageError(f"--{next(iter(changes['nash'])).replace('_', '-')} is for --method nash")
    return _study_settings(games, changes)


def _with_config(games: tuple[str, ...], changes: dict[str, Any], config: Path) -> dict[str, Any]:
    """What the authors' file of hyperparameters asks for, below what was given here."""
    from ..engine.equilibrium.settings import read_authors_config
    from ..engine.game_files import load_game

    authors = read_authors_config(config)
    if len(games) != 1:
        raise click.UsageError("--config is for one game")
    authors.check_fits(load_game(games[0]))
    alternation = dict(authors.alternation)
    base = {
        "n": (alternation.pop("n"),), "samples": alternation.pop("samples"), "tol": alternation.pop("tol"), "k": authors.k,
        "steps": authors.steps, "runs": authors.runs, "seeds": tuple(range(authors.seeds)), "method": "nash",
    }  # fmt: skip
    nash = alternation | {"steps": authors.steps, "runs": authors.runs * authors.seeds} | changes.get("nash", {})
    return base | changes | {"nash": nash}


def _study_settings(games: tuple[str, ...], changes: dict[str, Any]) -> StudySettings:
    from ..engine.game_files import load_game
    from ..engine.study.settings import StudySettings, find_study_file, read_study_file, settings_from

    if changes.get("local_policy") is not None and "fixed" not in changes.get("actions", ("fixed",)):
        raise click.UsageError(f"--actions {','.join(changes['actions'])} and --local-policy exclude each other")
    path = find_study_file(games[0]) if len(games) == 1 else None
    document = None if path is None else read_study_file(path)
    if document is not None:
        if "nash" in changes and isinstance(document.get("nash"), dict):
            changes["nash"] = document["nash"] | changes["nash"]
        return settings_from(document, where=str(path), **changes)
    if path is not None:
        # What is no study file is a game, or says what is wrong with it.
        load_game(games[0])
    if "k" not in changes:
        raise click.UsageError("Missing option '-k'.")
    loaded = [load_game(name) for name in games]
    for name, game in zip(games, loaded, strict=True):
        if "n" not in changes and game.n_agents is None:
            raise click.UsageError(f"missing option -n: {name} does not say how many agents it has")
    return StudySettings(games=tuple(loaded), **changes)


def _report(result: Study, settings: StudySettings, output: Path) -> None:
    """Print the tables, what was left out, and what was written."""
    from ..engine.study.files import read_timings
    from ..engine.study.plan import solve_times
    from ..engine.study.table import study_lines

    times = read_timings(output / "timings.h5")
    for line in study_lines(result, solve_times(settings, times)):
        say(line)
    for note in result.config["notes"]:
        say(f"note: {note}")
    say_written(output, "study.h5, timings.h5", len(times))
