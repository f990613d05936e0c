"""Tables of a game: what is accepted, what is refused and how, and tabulating Python functions."""

import copy
import dataclasses
import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kofn.engine import tabulation
from kofn.engine.coupling import Field
from kofn.engine.game import Game, Labels
from kofn.engine.tabulation import ROW_SUM_ATOL
from oracles import random_game_tables

SHAPE = {"n_sg": 3, "n_ag": 2, "n_sl": 4, "n_al": 2}
ARRAYS = ("P_g", "P_l", "r_g", "r_l", "rho_g", "rho_l")


@pytest.fixture
def tables(rng):
    return random_game_tables(rng, **SHAPE)


def refusal(tables, **changes):
    """The message with which Game refuses the tables; checks that it is one line."""
    with pytest.raises(ValueError) as caught:
        Game(**{**tables, **changes})
    message = str(caught.value)
    assert "\n" not in message
    return message


def changed(array, index, value):
    array = np.array(array)
    array[index] = value
    return array


def test_sizes_and_defaults(tables):
    del tables["rho_g"], tables["rho_l"]
    game = Game(**tables)
    assert (game.n_sg, game.n_ag, game.n_sl, game.n_al) == (3, 2, 4, 2)
    assert game.rho_g.tolist() == [1 / 3] * 3
    assert game.rho_l.tolist() == [0.25] * 4
    assert game.labels == Labels((0, 1, 2), (0, 1), (0, 1, 2, 3), (0, 1))
    assert (game.name, game.description, game.n_agents, game.dirichlet) == ("", "", None, False)


def test_arrays_are_copied_ordered_and_frozen(tables):
    given_tables = {name: np.asfortranarray(table) for name, table in tables.items() if name != "gamma"}
    before = {name: table.copy() for name, table in given_tables.items()}
    game = Game(**given_tables, gamma=0.9)
    for name in ARRAYS:
        array = getattr(game, name)
        assert array.dtype == np.float64
        assert array.flags.c_contiguous
        assert not array.flags.writeable
        assert not np.shares_memory(array, given_tables[name])
        np.testing.assert_array_equal(given_tables[name], before[name])
        with pytest.raises(ValueError):
            array[...] = 0.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        game.gamma = 0.5


def test_other_numeric_types_are_converted(tables):
    lists = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in tables.items()}
    assert Game(**lists).same_tables(Game(**tables))
    whole = Game(P_g=[[[True]]], P_l=[[[[1]]]], r_g=[[2]], r_l=np.array([[[3]]], dtype=np.int8), gamma=np.float32(0.5))
    assert (whole.P_g.item(), whole.r_g.item(), whole.r_l.item(), whole.gamma) == (1.0, 2.0, 3.0, 0.5)


@pytest.mark.parametrize("name", ["P_g", "P_l", "r_g", "r_l"])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda t: t[0], "axes"),
        (lambda t: t[..., np.newaxis], "axes"),
        (lambda t: t[:0], "at least one entry"),
        (lambda t: t[:, :, :0] if t.ndim > 2 else t[:, :0], "at least one entry"),
        (lambda t: t.astype(str), "real numbers"),
        (lambda t: t.astype(object), "real numbers"),
        (lambda t: t + 0j, "real numbers"),
        (lambda t: None, "real numbers"),
        (lambda t: "tables.h5", "real numbers"),
        (lambda t: [[1.0, 2.0], [3.0]], "unequal lengths"),
        (lambda t: np.ma.masked_less(t, 0.5), "masked"),
        (lambda t: changed(t, (1,) * t.ndim, np.nan), "[1, 1"),
        (lambda t: changed(t, (1,) * t.ndim, np.inf), "finite"),
        (lambda t: changed(t, (1,) * t.ndim, -np.inf), "finite"),
    ],
)
def test_bad_table_is_refused(tables, name, damage, words):
    message = refusal(tables, **{name: damage(tables[name])})
    assert message.startswith(name)
    assert words in message
    assert "expected" in message


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        ("P_g", np.s_[:, :, :2]),
        ("P_l", np.s_[:2]),
        ("P_l", np.s_[..., :3]),
        ("r_g", np.s_[:2]),
        ("r_g", np.s_[:, :1]),
        ("r_l", np.s_[:, :3]),
        ("r_l", np.s_[:, :, :1]),
    ],
)
def test_inconsistent_sizes_are_refused(tables, name, cut):
    message = refusal(tables, **{name: tables[name][cut]})
    assert message.startswith(f"{name}: found shape {tables[name][cut].shape}, expected")


def test_worst_row_is_named_by_index_labels_and_sum(tables):
    P_l = tables["P_l"].copy()
    P_l[0, 0, 0] *= 1.001
    P_l[2, 3, 1] *= 0.9
    labels = Labels((10, 20, 30), ("low", "high"), ((0, 0), (0, 1), (1, 0), (1, 1)), ("stay", "go"))
    message = refusal(tables, P_l=P_l, labels=labels)
    assert message == "P_l[2, 3, 1] (labels 30, (1, 1), 'go'): found row sum 0.9, expected 1 within 1e-09"


def test_negative_probability_is_refused(tables):
    P_g = tables["P_g"].copy()
    P_g[1, 0] = [-0.25, 0.5, 0.75]
    message = refusal(tables, P_g=P_g)
    assert message == "P_g[1, 0] (labels 1, 0): found probability -0.25 at entry 0, expected none below 0"


def test_rows_off_by_rounding_are_normalised_once(tables):
    row = np.array([0.1, 0.2, 0.3, 0.4]) * (1.0 + 0.5 * ROW_SUM_ATOL)
    P_l = changed(tables["P_l"], (0, 0, 0), row)
    game = Game(**{**tables, "P_l": P_l})
    assert abs(game.P_l[0, 0, 0].sum() - 1.0) <= 1e-15
    np.testing.assert_array_equal(game.P_l[1:], tables["P_l"][1:])  # the others keep their bits
    assert dataclasses.replace(game).digest() == game.digest()
    assert refusal(tables, P_l=changed(tables["P_l"], (0, 0, 0), row * (1.0 + 2.0 * ROW_SUM_ATOL)))


def test_rounding_of_a_difference_is_no_negative_probability(tables):
    rest = 1.0 - 0.9 - 0.1
    assert -1e-15 < rest < 0.0
    game = Game(**{**tables, "P_g": changed(tables["P_g"], (0, 0), [0.9, 0.1, rest])})
    assert game.P_g[0, 0].tolist() == [0.9, 0.1, 0.0]


@given(size=st.integers(1, 200), seed=st.integers(0, 2**32 - 1))
def test_normalising_twice_changes_nothing(size, seed):
    weights = np.random.default_rng(seed).exponential(size=size)
    law = weights / weights.sum() * (1.0 + 1e-10)
    one = np.ones((1, 1, 1))
    game = Game(P_g=one, P_l=np.broadcast_to(law, (1, size, 1, size)), r_g=[[0]], r_l=np.zeros((1, size, 1)), gamma=0)
    np.testing.assert_array_equal(dataclasses.replace(game).P_l, game.P_l)
    np.testing.assert_allclose(game.P_l.sum(axis=-1), 1.0, rtol=0, atol=1e-13)


@pytest.mark.parametrize("gamma", [1, 1.0, -0.1, np.nan, np.inf, "0.9", None, True, 0.9j, [0.9], 10**400])
def test_bad_discount_is_refused(tables, gamma):
    message = refusal(tables, gamma=gamma)
    assert message.startswith("gamma: found ")
    assert "0 <= gamma < 1" in message


@pytest.mark.parametrize("gamma", [0, 0.0, -0.0, np.float64(0.5), 1.0 - 2**-53])
def test_good_discount(tables, gamma):
    assert Game(**{**tables, "gamma": gamma}).gamma == float(gamma)


@pytest.mark.parametrize("field", ["rho_g", "rho_l"])
@pytest.mark.parametrize("rho", [[1.0], [[0.5, 0.5]], 1.0, [0.5] * 7, "uniform", [np.nan, 1, 0], [np.nan, 1, 0, 0]])
def test_initial_law_of_another_form_is_refused(tables, field, rho):
    assert refusal(tables, **{field: rho}).startswith(field)


@pytest.mark.parametrize("rho", [[0.5, 0.5, 0.1], [1.5, -0.5, 0.0], [0.0, 0.0, 0.0]])
def test_initial_law_must_be_a_law(tables, rho):
    assert refusal(tables, rho_g=rho).startswith("rho_g: found ")


def test_dirichlet_concentration(tables):
    assert Game(**{**tables, "rho_l": 0.3}, dirichlet=True).rho_l.tolist() == [0.3] * 4
    assert Game(**{**tables, "rho_l": [1, 2, 3, 4]}, dirichlet=True).rho_l.tolist() == [1, 2, 3, 4]
    for bad in ([1, 2, 3], [1, 2, 3, 0], [1, 2, 3, -1], [1, 2, 3, np.nan], 0.0, np.inf, "1", None):
        assert refusal(tables, rho_l=bad, dirichlet=True).startswith("rho_l")
    assert refusal(tables, dirichlet=1).startswith("dirichlet: found 1")


@pytest.mark.parametrize("n_agents", [0, -1, 2.0, "3", True, 2**63, float("nan")])
def test_bad_number_of_agents_is_refused(tables, n_agents):
    assert refusal(tables, n_agents=n_agents).startswith("n_agents: found ")


def test_number_of_agents_and_texts(tables):
    assert type(Game(**tables, n_agents=np.int32(7)).n_agents) is int
    assert refusal(tables, name=3).startswith("name: found 3")
    assert refusal(tables, description=None).startswith("description: found None")


def test_labels_are_plain_values():
    labels = Labels([np.int64(3), np.float32(0.5), True], np.array(["a", "b"]), range(2), ([0, 1], np.array([1, 0])))
    assert labels == Labels((3, 0.5, 1), ("a", "b"), (0, 1), ((0, 1), (1, 0)))
    assert [type(label) for label in labels.global_states] == [int, float, int]
    assert type(labels.local_actions[1][0]) is int


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ((), "found no labels"),
        ((0, 0), "found 0 at 0 and at 1"),
        ((1, 2, 1.0), "found 1.0 at 0 and at 2"),
        (("a", "b", "a"), "found 'a'"),
        (([1, 2], (1.0, 2)), "found (1.0, 2)"),
        ((0, np.nan), "finite"),
        ((0, np.inf), "finite"),
        ((0, None), "[1]: found None"),
        ((0, (1, "a")), "[1]: found (1, 'a')"),
        ((0, ((1,),)), "[1]: found"),
        ((0, ()), "[1]: found ()"),
        ((0, 2**70), "found 1180591620717411303424"),
        ((0, 1j), "[1]: found 1j"),
        ("abc", "expected a list"),
        (3, "expected a list"),
        ({0: 1}, "expected a list"),
    ],
)
def test_bad_labels_are_refused(space, words):
    with pytest.raises(ValueError) as caught:
        Labels((0,), (0,), space, (0,))
    assert str(caught.value).startswith("local_states")
    assert words in str(caught.value)


def test_labels_must_fit_the_tables(tables):
    labels = Labels((0, 1, 2), (0, 1), (0, 1, 2), (0, 1))
    message = refusal(tables, labels=labels)
    assert message == "labels.local_states: found 3 labels, expected 4, the size of axis 1 of P_l"
    assert refusal(tables, labels=[0, 1]).startswith("labels: found list")


def test_games_compare_by_identity_tables_and_digest(tables):
    one, other = Game(**tables, name="one"), Game(**tables, name="other")
    assert one == one
    assert one != other
    assert len({one, other}) == 2
    assert one.same_tables(other)
    assert one.digest() == other.digest()
    assert len(one.digest()) == 64
    for name in ("P_g", "P_l", "rho_g", "rho_l"):
        rolled = dataclasses.replace(one, **{name: np.roll(getattr(one, name), 1, axis=-1)})
        assert not one.same_tables(rolled)
        assert one.digest() != rolled.digest()
    for changes in ({"gamma": 0.89}, {"r_g": one.r_g + 1}, {"r_l": one.r_l - 1}, {"dirichlet": True}):
        assert not one.same_tables(dataclasses.replace(one, **changes))
        assert one.digest() != dataclasses.replace(one, **changes).digest()
    assert not one.same_tables(Game(P_g=[[[1]]], P_l=[[[[1]]]], r_g=[[0]], r_l=[[[0]]], gamma=one.gamma))


def test_zeros_of_either_sign_have_one_digest(tables):
    plus, minus = (Game(**{**tables, "r_g": np.full((3, 2), zero)}) for zero in (0.0, -0.0))
    assert plus.same_tables(minus)
    assert plus.digest() == minus.digest()


def test_copies_for_workers_stay_frozen(tables):
    game = Game(**tables, name="x", n_agents=9)
    for twin in (pickle.loads(pickle.dumps(game)), copy.deepcopy(game)):
        assert twin.same_tables(game)
        assert (twin.name, twin.n_agents, twin.labels) == ("x", 9, game.labels)
        assert not any(getattr(twin, name).flags.writeable for name in ARRAYS)


def test_repr_is_short(tables):
    assert repr(Game(**tables, name="x")).startswith("Game('x', n_sg=3, n_ag=2, n_sl=4, n_al=2, gamma=0.9, digest=")


# ---- Game.from_functions


def line_game(**changes):
    """Three places on a line; every function can be replaced."""
    given = {
        "global_states": [-1, 0, 1],
        "global_actions": ["left", "right"],
        "local_states": [0.1, 0.2, 0.3],
        "local_actions": [(0, 0), (0, 1)],
        "global_reward": lambda s, a: s + (10 if a == "right" else 0),
        "global_transition": lambda s, a: max(-1, min(1, s + (1 if a == "right" else -1))),
        "local_reward": lambda s, g, a: 100 * s + 10 * g + a[1],
        "local_transition": lambda s, g, a: {0.1: 0.25, 0.2: 0.75} if a[1] else np.array([0.0, 0.5, 0.5]),
        "gamma": 0.9,
    }
    given.update(changes)
    return Game.from_functions(**given)


def test_functions_are_tabulated_in_table_order():
    game = line_game(name="line", n_agents=5, rho_g=[1, 0, 0], rho_l=2.0, dirichlet=True, description="d")
    assert (game.n_sg, game.n_ag, game.n_sl, game.n_al) == (3, 2, 3, 2)
    for s_g, g in enumerate((-1, 0, 1)):
        for a_g, move in enumerate((-1, 1)):
            assert game.r_g[s_g, a_g] == g + 10 * a_g
            assert game.P_g[s_g, a_g].tolist() == [float(t == max(-1, min(1, g + move))) for t in (-1, 0, 1)]
        for s_l, s in enumerate((0.1, 0.2, 0.3)):
            for a_l in range(2):
                assert game.r_l[s_g, s_l, a_l] == 100 * s + 10 * g + a_l
                assert game.P_l[s_g, s_l, a_l].tolist() == ([0.25, 0.75, 0.0] if a_l else [0.0, 0.5, 0.5])
    assert game.labels.local_actions == ((0, 0), (0, 1))
    assert (game.name, game.n_agents, game.description, game.dirichlet) == ("line", 5, "d", True)
    assert game.rho_l.tolist() == [2.0] * 3


def test_next_states_are_found_by_value():
    assert 0.1 + 0.2 != 0.3
    game = line_game(local_transition=lambda s, g, a: 0.1 + 0.2)
    assert game.P_l[..., 2].min() == 1.0
    game = line_game(global_transition=lambda s, a: {np.float64(1.0): 0.5, 1 - 1e-12: 0.25, False: 0.25})
    assert game.P_g[0, 0].tolist() == [0.0, 0.25, 0.75]
    game = line_game(
        local_states=[[0, 0], [0, 1]], local_reward=lambda s, g, a: s[1], local_transition=lambda *_: (0, 1.0)
    )
    assert game.P_l[..., 1].min() == 1.0
    assert game.labels.local_states == ((0, 0), (0, 1))


@pytest.mark.parametrize(
    ("function", "answer", "words"),
    [
        ("global_transition", 2, "global_transition(global_state=-1, global_action='left'): returned the next state 2"),
        ("global_transition", 1 + 1e-6, "returned the next state 1.000001, expected one of [-1, 0, 1]"),
        ("global_transition", "up", "returned the next state 'up'"),
        ("global_transition", None, "returned the next state None"),
        ("global_transition", np.nan, "returned the next state nan"),
        ("global_transition", (1,), "returned the next state (1,)"),
        ("global_transition", {5: 1.0}, "returned the next state 5"),
        ("global_transition", {0: "1"}, "returned probability '1'"),
        ("global_transition", {0: 0.5}, "add up to 0.5"),
        ("global_transition", {}, "add up to 0"),
        ("global_transition", {0: 1.5, 1: -0.5}, "from -0.5"),
        ("global_transition", {0: np.nan}, "returned probability nan"),
        ("global_transition", np.ones(2) / 2, "array of shape (2,)"),
        ("global_transition", np.array(["a"] * 3), "expected 3 probabilities"),
        ("local_transition", 0.4, "local_transition(local_state=0.1, global_state=-1, local_action=(0, 0)): returned"),
        ("global_reward", "1", "global_reward(global_state=-1, global_action='left'): returned '1'"),
        ("global_reward", None, "expected a finite number"),
        ("global_reward", 1j, "expected a finite number"),
        ("global_reward", np.inf, "returned inf"),
        ("global_reward", 10**400, "expected a finite number"),
        ("local_reward", np.nan, "local_reward(local_state=0.1, global_state=-1, local_action=(0, 0)): returned nan"),
        ("local_reward", np.ones(1), "expected a finite number"),
    ],
)
def test_bad_answer_names_function_inputs_and_value(function, answer, words):
    with pytest.raises(ValueError) as caught:
        line_game(**{function: lambda *inputs: answer})
    message = str(caught.value)
    assert message.startswith(f"{function}(")
    assert words in message
    assert "\n" not in message
    assert "expected" in message


def test_rewards_may_be_any_real_number():
    game = line_game(global_reward=lambda s, a: np.float32(0.5), local_reward=lambda s, g, a: np.array(True))
    assert game.r_g.max() == 0.5
    assert game.r_l.min() == 1.0


def test_exceptions_of_a_function_come_through():
    with pytest.raises(ZeroDivisionError):
        line_game(global_reward=lambda s, a: 1 / 0)


def test_impossible_size_is_refused_before_allocation(monkeypatch):
    monkeypatch.setattr(tabulation, "MAX_TABLE_BYTES", 100)
    with pytest.raises(ValueError, match=r"global_transition: found spaces .* 3 x 2 x 3 numbers, 144 bytes"):
        line_game()


# ---- Fields


@pytest.mark.parametrize(
    ("weights", "edges", "line"),
    [
        (
            [1.7e9, 1.7e9 + 1],
            [1.7e9 + 0.5],
            "field.weights[0]: found weights of up to 1.7e+09 that differ by 1, expected them",
        ),
        ([0, 1e-13], [5e-14], "field.weights[0]: found weights of up to 1e-13 that differ by 1e-13"),
        ([0, 1e300], [1.0], "field.weights[0]: found 1e+300, expected numbers up to 1e+12"),
        ([0, 1], [0.5, 0.5 + 1e-13], "field.edges[0]: found edges 1.00031e-13 apart at 0.5, expected at least 4e-12"),
        ([0, 1], [0.5, 0.2], "field.edges[0]: found [0.5, 0.2], expected strictly increasing numbers"),
        ([0, float("nan")], [0.5], "field.weights: found [0, nan], expected finite numbers"),
        ([[0, 1], [1, 0]], [0.5], "field.edges: found edges of 1 features, expected 2, as in weights"),
    ],
)
def test_fields_that_rounding_would_blur_are_refused(weights, edges, line):
    with pytest.raises(ValueError, match=re.escape(line)):
        Field(of="states", weights=weights, edges=edges)


@pytest.mark.parametrize(("weights", "total"), [([0, 1], 0), ([0, 0.5], 3), ([0, 9e18], 3), ([0, 1], 2.5)])
def test_totals_take_whole_weights_and_agents(weights, total):
    with pytest.raises(ValueError, match=r"^(total|field\.weights): found "):
        Field.of_totals("actions", weights, total)


@given(st.lists(st.integers(0, 5), min_size=3, max_size=3).filter(any), st.integers(2, 9))
def test_field_of_totals_tells_every_sum_apart(counts, step):
    field = Field.of_totals("actions", [-step, 0, step], sum(counts))
    assert field.values[int(field.value_of(np.array(counts)))] == step * (counts[2] - counts[0])
