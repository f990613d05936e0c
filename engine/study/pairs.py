"""The first phase of a study of method "nash": one pair for each game, whose local policy all k then share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..equilibrium.alternate import alternate, solve_checkpoints
from ..equilibrium.files import read_alternation_checkpoint, write_equilibrium
from ..equilibrium.result import Equilibrium
from ..game import Game
from ..solve import Interrupted
from .plan import plain_name
from .settings import StudySettings, game_name

FOLDER = "equilibria"


def find_pairs(
    settings: StudySettings,
    folder: Path,
    *,
    memory_bytes: int | None,
    force: bool,
    progress: Callable[[str], None] | None,
    should_stop: Callable[[], bool],
    executor: Any = None,
) -> tuple[StudySettings, dict[str, Equilibrium]]:
    """Alternate best responses in every game, or take over what stands finished in a folder.

    Parameters
    ----------
    settings : StudySettings of method "nash"; its local policies are those that the first rounds answer
    folder : of the study; pairs are files in `equilibria`
    memory_bytes : int or None
    force : bool          start anew
    progress : function of a text
    should_stop : asked now and then
    executor : as `alternate` takes it

    Returns
    -------
    StudySettings    with the local policies found
    {game: Equilibrium}

    Raises
    ------
    KofnFileError    a file belongs to another alternation
    Interrupted      checkpoints are on disk
    """
    (folder / FOLDER).mkdir(exist_ok=True)
    pairs: dict[str, Equilibrium] = {}
    for game in settings.games:
        path = pair_path(folder, game)
        checkpoint = Path(f"{path}.checkpoint")
        asked, first = settings.alternation_of(game), settings.local_policy_of(game)
        assert first is not None
        if force:
            path.unlink(missing_ok=True)
        if path.exists():
            found = _read_pair(path, settings, game, first)
        else:
            try:
                found = alternate(
                    game, settings=asked, local_policy=first, memory_bytes=memory_bytes, checkpoint=checkpoint,
                    resume=not force, progress=None if progress is None else _prefixed(progress, game_name(game)),
                    should_stop=should_stop, executor=executor,
                )  # fmt: skip
            except Interrupted:
                raise Interrupted(
                    f"stopped in the pair of {game_name(game)}; finished rounds are kept, start again to go on"
                ) from None
            write_equilibrium(path, found, first_policy=first, overwrite=True)
        for left in (checkpoint, Path(f"{checkpoint}.partial"), *solve_checkpoints(checkpoint)):
            left.unlink(missing_ok=True)
        pairs[game_name(game)] = found
    policies = {name: found.local_policy for name, found in pairs.items()}
    return dataclasses.replace(settings, local_policy=policies), pairs


def with_finished_pairs(settings: StudySettings, folder: Path) -> StudySettings:
    """The settings with the local policies of the pairs that stand finished in a folder, as their cells have them."""
    if settings.method != "nash":
        return settings
    policies = {}
    for game in settings.games:
        path, first = pair_path(folder, game), settings.local_policy_of(game)
        assert first is not None
        policies[game_name(game)] = _read_pair(path, settings, game, first).local_policy if path.exists() else first
    return dataclasses.replace(settings, local_policy=policies)


def _read_pair(path: Path, settings: StudySettings, game: Game, first: np.ndarray) -> Equilibrium:
    return read_alternation_checkpoint(
        path, game, settings.alternation_of(game), first, what="pair of another study",
        advice="; take another folder, or --force",
    )  # fmt: skip


def pair_path(folder: Path, game: Game) -> Path:
    """The file of a game's pair in the folder of a study."""
    return folder / FOLDER / f"{plain_name(game)}.h5"


def _prefixed(progress: Callable[[str], None], name: str) -> Callable[[str], None]:
    return lambda text: progress(f"{name}: {text}")
