"""Games as groups of HDF5 files: round trips, a group that describes itself, and one clear line for every damaged file."""

import dataclasses
import json

import h5py
import numpy as np
import pytest
from command_runs import refusal_of_game

from kofn.engine.game import Game, Labels
from kofn.engine.game_files import load_game, read_game_tables, write_game_tables
from oracles import random_game_tables


@pytest.fixture
def game(rng):
    labels = Labels(("off", "on", "ä"), (0.1, 2), ((0, 0), (0, 1), (1, 0), (1, 1)), ("stay", "go"))
    tables = random_game_tables(rng, n_sg=3, n_ag=2, n_sl=4, n_al=2)
    return Game(**tables, name="walk", description="Zwei Wörter\nin two lines", labels=labels, n_agents=11)


def saved(path, game, **options):
    with h5py.File(path, "w", **options) as file:
        write_game_tables(file.create_group("game"), game)
    return path


def fields_of(game):
    arrays = [getattr(game, name).tobytes() for name in ("P_g", "P_l", "r_g", "r_l", "rho_g", "rho_l")]
    return arrays, game.gamma, game.dirichlet, game.name, game.description, game.labels, game.n_agents


def test_hdf5_round_trip(tmp_path, game):
    others = [
        dataclasses.replace(game, n_agents=None, name="", description=""),
        dataclasses.replace(game, rho_l=[0.3, 1.0, 2.0, 7.0], dirichlet=True),
        Game(P_g=[[[1]]], P_l=[[[[1]]]], r_g=[[-0.0]], r_l=[[[1e-300]]], gamma=0),
        Game(P_g=[[[1]]], P_l=np.full((1, 300, 2, 300), 1 / 300), r_g=[[0]], r_l=np.zeros((1, 300, 2)), gamma=0),
    ]
    for each in (game, *others):
        again = load_game(saved(tmp_path / "game.h5", each))
        assert fields_of(again) == fields_of(each)
        assert fields_of(load_game(saved(tmp_path / "game.h5", each, libver="latest"))) == fields_of(each)
    assert load_game(str(saved(tmp_path / "game.HDF5", game))).same_tables(game)


def test_many_long_labels_fit(tmp_path, game):
    labels = dataclasses.replace(game.labels, local_states=tuple("x" * 30_000 + str(i) for i in range(4)))
    game = dataclasses.replace(game, labels=labels)
    assert load_game(saved(tmp_path / "game.h5", game)).labels == labels


@pytest.mark.parametrize("name", ["x" * 60_001, "a\0b"])
def test_names_that_no_attribute_holds_are_refused(tmp_path, game, name):
    with pytest.raises(ValueError, match=r"^name: found \d+ bytes of text, expected at most 60000"):
        saved(tmp_path / "game.h5", dataclasses.replace(game, name=name))


def test_hdf5_describes_itself(tmp_path, game):
    with h5py.File(saved(tmp_path / "game.h5", game)) as file:
        group = file["game"]
        assert [dim.label for dim in group["P_l"].dims] == [
            "global_state",
            "local_state",
            "local_action",
            "next_local_state",
        ]
        assert group["r_g"].dims[1][0].name == "/game/global_action"
        assert group["global_action"][()].tolist() == [0.1, 2.0]
        assert group["global_state"].asstr()[()].tolist() == ["off", "on", "ä"]
        assert group["local_state"].asstr()[()].tolist() == ["(0, 0)", "(0, 1)", "(1, 0)", "(1, 1)"]
        assert json.loads(group["labels"][()])["global_actions"] == [0.1, 2]
        assert group.attrs["digest"] == game.digest().encode()
        for name in ("P_g", "P_l", "r_g", "r_l", "rho_g", "rho_l"):
            assert group[name].fletcher32
            assert group[name].attrs["long_name"]
            assert group[name].attrs["units"]
        assert read_game_tables(group).same_tables(game)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda group: group.__delitem__("P_l"), "P_l"),
        (lambda group: group.attrs.__delitem__("gamma"), "gamma"),
        (lambda group: group.attrs.__delitem__("digest"), "digest"),
        (lambda group: group.attrs.__setitem__("gamma", 0.8), "checksum differs"),
        (lambda group: group.attrs.__setitem__("gamma", "high"), "high"),
        (lambda group: group.attrs.__setitem__("name", np.bytes_("other")), "checksum differs"),
        (lambda group: group.attrs.__setitem__("name", 3), "decode"),
        (lambda group: group.attrs.__setitem__("n_agents", 12), "checksum differs"),
        (lambda group: group.__delitem__("labels"), "no dataset labels"),
        (lambda group: group["labels"].__setitem__((), "{"), "checksum differs"),
        (lambda group: group["r_l"].__setitem__((0, 0, 0), 5.0), "checksum differs"),
        (lambda group: group["P_l"].__setitem__((0, 0, 0), 5.0), "row sum"),
        (lambda group: group.move("r_l", "P"), "no dataset r_l"),
        (lambda group: (group.move("r_l", "x"), group.copy("r_g", "r_l")), "r_l of shape (3, 2)"),
        (lambda group: (group.move("r_l", "x"), group.create_group("r_l")), "Group"),
    ],
)
def test_damaged_group_is_refused(tmp_path, game, damage, words):
    path = saved(tmp_path / "game.h5", game)
    with h5py.File(path, "r+") as file:
        damage(file["game"])
    message = refusal_of_game(path)
    assert message.startswith(f"{path}: group 'game': found ")
    assert words in message


def test_file_without_a_game(tmp_path):
    path = tmp_path / "game.h5"
    with h5py.File(path, "w") as file:
        file["other"] = 3
    assert refusal_of_game(path) == f"{path}: found no group 'game', expected a file that kofn wrote"
    path.write_text("no HDF5 at all")
    assert refusal_of_game(path).startswith(f"{path}: found no readable HDF5 file")


def test_truncated_file_is_refused(tmp_path, game):
    content = saved(tmp_path / "game.h5", game).read_bytes()
    path = tmp_path / "cut.h5"
    for length in range(0, len(content), 997):
        path.write_bytes(content[:length])
        assert refusal_of_game(path).startswith(f"{path}: ")


def test_flipped_bits_are_noticed_or_harmless(tmp_path, game, rng):
    content = bytearray(saved(tmp_path / "game.h5", game).read_bytes())
    expected = fields_of(game)
    path = tmp_path / "flipped.h5"
    refusals = []
    for position in rng.choice(len(content), size=250, replace=False):
        bit = 1 << int(rng.integers(8))
        content[position] ^= bit
        path.write_bytes(content)
        content[position] ^= bit
        try:
            assert fields_of(load_game(path)) == expected, position
        except ValueError as error:
            refusals.append(str(error))
    assert refusals
    assert not any("\n" in message for message in refusals)
