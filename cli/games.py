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
    from ..engine.game_files import list_games, load_game
    from ..engine.inspection import describe_game

    if name is not None:
        say(describe_game(load_game(name)))
        return
    for built_in in list_games():
        game = load_game(built_in)
        summary = game.description.strip().split("\n")[0]
        say(f"{built_in:12s} {summary}")
