"""kofn games: what is built in."""

from __future__ import annotations

import click

from .errors import KofnCommand, say


@click.command(cls=KofnCommand)
@click.argument("name", required=False)
def games(name):
    """List the built-in games, or describe one (a name or a file).

    \b
    Example:
        kofn games
        kofn games robots
    """
    from ..engine.game_files import describe_built_in, list_games, load_game
    from ..engine.inspection import describe_game

    if name is not None:
        say(describe_game(load_game(name)))
        return
    for built_in in list_games():
        summary = describe_built_in(built_in).strip().split("\n")[0]
        say(f"{built_in:16s} {summary}")
