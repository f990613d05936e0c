"""What deploy does with learned tables that are no policy of samples of states: the learners play on, without learning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from .errors import say, say_json
from .learn import say_learned
from .progress import ProgressLine, readable_seconds
from .signals import stop_on_signals


def learned_players(path: Path) -> Any:
    """The learners in a file whose tables are no such policy, else None."""
    from ..engine.learning.files import FORMAT, read_learned
    from ..engine.learning.policy import why_no_policy
    from ..engine.policy_files import format_of

    if format_of(path) != FORMAT:
        return None
    learned = read_learned(path)
    return None if why_no_policy(learned.game, learned.settings) is None else learned


def refuse_for_players(context: click.Context) -> None:
    """Refuse options of deploy that players have no use for: all runs play, agent by agent, with their own curves."""
    for name in ("runs", "level", "rewards", "trace_points", "trace_agents"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = "--" + name.replace("_", "-")
            raise click.UsageError(
                f"{option} is for policies of samples of states; the agents in this file play in all their runs"
            )


def play_learned(
    learned: Any,
    n: int | None,
    *,
    steps: int,
    seed: int,
    memory: int | None,
    output: Path | None,
    as_json: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Let the agents of all runs play, print what they earn, and write curves and last actions if asked to."""
    from ..engine.learning.files import write_learned
    from ..engine.learning.policy import play

    line = ProgressLine(quiet)

    def show(report: Any) -> None:
        line.show(
            f"step {report.step} of {report.steps}  {readable_seconds(report.elapsed_s)}",
            final=report.step == report.steps,
        )

    with stop_on_signals() as should_stop:
        try:
            played = play(
                learned, n=n, steps=steps, seed=seed, memory_bytes=memory, progress=show, should_stop=should_stop
            )
        finally:
            line.close()
    if output is not None:
        write_learned(output, played, overwrite=force)
    if as_json:
        say_json(played.summary())
        return
    say_learned(played)
    if output is not None:
        say(f"written     {output}")
