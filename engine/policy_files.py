"""Policies as HDF5 files of their own, and the policy in any file that has one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from .files import create_array, open_checked, read_text, write_atomically, write_root
from .game import Game
from .game_tables import read_game_tables, write_game_tables
from .policy import SubsamplePolicy
from .solution_files import FORMAT as SOLUTION
from .solution_files import read_any_solution, read_policy, write_policy
from .versions import kofn_version

if TYPE_CHECKING:
    from .evaluation.refine import Refinement

FORMAT, LEARNED = "kofn-policy", "kofn-learned"
_WITH_POLICY = (FORMAT, "kofn-deployment", "kofn-evaluation", "kofn-equilibrium", "kofn-exploitability")


def write_refinement(
    path: str | Path, refinement: Refinement, game: Game, config: Mapping[str, Any], *, overwrite: bool = False
) -> None:
    """Write a refined policy with its game and what it gained, atomically.

    Parameters
    ----------
    config : what it was refined from, JSON-ready
    """

    def fill(file: h5py.File) -> None:
        facts = {key: getattr(refinement, key) for key in ("n", "method", "rounds", "n_changed", "is_local_optimum")}
        write_root(file, FORMAT, dict(config) | facts, None, kofn_version())
        write_game_tables(file.create_group("game"), game)
        write_policy(file.create_group("policy"), refinement.policy)
        for name in ("value_before", "value_after", "half_width", "gain", "wall_time_s"):
            file.attrs[name] = getattr(refinement, name)
        create_array(
            file, "gains", refinement.gains, axes=("round",), long_name="gain after each round", units="reward"
        )

    write_atomically(path, fill, overwrite=overwrite)


def format_of(path: str | Path) -> str:
    """The format of a file with a policy; KofnFileError if it is none."""
    with open_checked(path, SOLUTION, "kofn-cell", LEARNED, *_WITH_POLICY) as file:
        return read_text(file, "format")


def read_any_policy(path: str | Path) -> tuple[Game, SubsamplePolicy]:
    """The game and the policy in a solution, a cell of a study, an alternation, a deployment, an evaluation or a refined policy.

    Of learned tables it is that of the first run, whose agents see as many as learned.

    Raises
    ------
    KofnFileError
    ValueError    learned tables that are no policy of samples of states
    """
    with open_checked(path, SOLUTION, "kofn-cell", LEARNED, *_WITH_POLICY) as file:
        kind = read_text(file, "format")
        if kind in _WITH_POLICY:
            game, policy = read_game_tables(file["game"]), read_policy(file["policy"])
            policy.check_fits(game)
            return game, policy
    if kind == LEARNED:
        from .learning.files import read_learned
        from .learning.policy import learned_policy

        learned = read_learned(path)
        return learned.game, learned_policy(learned)
    solution = read_any_solution(path)
    return solution.game, solution.policy
