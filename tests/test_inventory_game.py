"""The inventory game: its tables against a listing of every outcome, its demand, its parameters, and what a file of it weighs."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles_inventory import law_and_reward, next_stock, poisson, season_mean

import kofn
from kofn.engine.game_files import list_games, load_game, read_game_tables, write_game_tables
from kofn.engine.inventory import demand
from kofn.engine.inventory.spec import SIZES, InventorySpec, spec_of
from kofn.engine.inventory.tables import inventory_game

TABLES = ("P_g", "P_l", "r_g", "r_l", "rho_g", "rho_l")


@st.composite
def specs(draw):
    lot = draw(st.sampled_from([1, 2, 5]))
    most = draw(st.integers(1, 3))
    levels = sorted(draw(st.sets(st.integers(0, 12), min_size=1, max_size=3)))
    return InventorySpec(
        lot=lot,
        max_backlog=draw(st.integers(0, 2)),
        max_inventory=draw(st.integers(2, 3)),
        max_transit=most,
        orders=tuple(sorted({0, most, draw(st.integers(0, most))})),
        n_seasons=draw(st.integers(1, 3)),
        stock_levels=tuple(levels),
        order_edges="totals" if draw(st.booleans()) else (0.5 * most,),
        production=levels[0] + draw(st.sampled_from([0.0, 1.5, 4.0])),
        agents=draw(st.integers(1, 3)),
        mean_demand=3.0,
        amplitude=draw(st.sampled_from([0.0, 2.0])),
        max_demand=7,
        slip=draw(st.sampled_from([0.0, 0.1, 1.0])),
        target=draw(st.integers(0, 2)),
        start="uniform",
    )


def parameters(spec):
    return {name: getattr(spec, name) for name in InventorySpec.__dataclass_fields__}


@given(specs(), st.randoms(use_true_random=False))
def test_tables_against_a_listing(spec, random):
    game, p = inventory_game(spec), parameters(spec)
    if isinstance(spec.order_edges, str):
        means = [spec.lot * total / spec.agents for total in game.field.values]
    else:
        # The middle of the lower bin; the upper one stands for the largest order.
        means = [0.5 * spec.lot * (spec.orders[0] + spec.order_edges[0]), spec.lot * spec.orders[-1]]
    np.testing.assert_allclose(spec.mean_orders, means, rtol=1e-15)
    for _ in range(3):
        s_g, f = random.randrange(game.n_sg), random.randrange(game.n_f)
        s, a = random.randrange(game.n_sl), random.randrange(game.n_al)
        (season, level), (x, z) = game.labels.global_states[s_g], game.labels.local_states[s]
        law, money = law_and_reward(p, level, means[f], x, z, game.labels.local_actions[a], season)
        expected = [law.get(label, 0.0) for label in game.labels.local_states]
        np.testing.assert_allclose(game.P_l[s_g, f, s, a], expected, rtol=0, atol=1e-12)
        assert game.r_l[s_g, f, s, a] == pytest.approx(money, abs=1e-10)
        stock = next_stock(p, level, means[f])
        stay = 1 - spec.n_seasons / 365 if spec.n_seasons > 1 else 1.0
        seasons = {(season + 1) % spec.n_seasons: 1 - stay} | {season: stay}
        expected = [seasons.get(k, 0.0) * stock.get(u, 0.0) for k, u in game.labels.global_states]
        np.testing.assert_allclose(game.P_g[s_g, f, 0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("agents", [3, 2])
def test_the_file_has_the_tables_of_the_generator(agents):
    from_file, made = load_game("inventory-tiny", agents=agents), inventory_game("tiny", agents=agents)
    for name in TABLES:
        np.testing.assert_allclose(getattr(from_file, name), getattr(made, name), rtol=0, atol=1e-12)
    assert from_file.labels == made.labels
    assert from_file.field.parts() == made.field.parts()
    assert from_file.field.values == made.field.values
    assert (from_file.name, from_file.description, from_file.n_agents) == (made.name, made.description, agents)


def test_sizes():
    tiny, medium, large = SIZES.values()
    assert (tiny.n_sl, medium.n_sl, large.n_sl) == (21, 231, 861)
    for spec, most in ((tiny, 1e6), (medium, 200e6), (large, 500e6)):
        assert 8 * spec.n_sg * spec.field.n_values * spec.n_sl**2 * len(spec.orders) <= most
    assert {"inventory", "inventory-tiny", "inventory-large"} <= set(list_games())
    game = load_game("inventory", agents=50, constants={"production": 18, "stock_levels": "15,30"})
    assert (game.n_sl, game.n_sg, game.n_agents, game.name) == (231, 4, 50, "inventory")
    assert game.labels.global_states == ((0, 15), (0, 30), (1, 15), (1, 30))
    # A retailer starts with its target on hand, a period's demand in transit, and the upstream stock full.
    assert game.labels.local_states[int(game.rho_l.argmax())] == (2, 4)
    assert game.labels.global_states[int(game.rho_g.argmax())] == (0, 30)


def test_too_many_of_nothing_are_made():
    """With the highest bin at the largest order no more is sent than there is when everyone orders that."""
    for spec in SIZES.values():
        rates = kofn.engine.inventory.tables.fill_rates(spec)
        most = spec.lot * spec.orders[-1]
        assert (rates[:, -1] * most <= np.array(spec.stock_levels) + 1e-9).all()


def test_large_tables_are_compressed_and_read_back(tmp_path):
    game = inventory_game("tiny", max_inventory=10, max_transit=6, orders=(0, 1, 2, 4, 6), order_edges=(1.0, 2.0))
    assert game.P_l.nbytes > 1_900_000
    path = tmp_path / "game.h5"
    with h5py.File(path, "w") as file:
        write_game_tables(file.create_group("game"), game)
        # What older versions wrote: the same, not compressed.
        old = file.create_group("old")
        for name, item in file["game"].items():
            file.copy(item, old, name)
        old.attrs.update(file["game"].attrs)
        del old["P_l"]
        old["P_l"] = game.P_l
        assert file["game/P_l"].id.get_storage_size() < game.P_l.nbytes / 10
        assert read_game_tables(file["game"]).same_tables(game)
        assert read_game_tables(old).same_tables(game)


# ---- Demand


def moments(law):
    values = np.arange(law.size)
    mean = law @ values
    return mean, law @ values**2 - mean**2


def test_rounding_to_lots_keeps_the_mean_and_adds_variance():
    (law,) = demand.demand_laws("poisson", (15.0,), 80)
    assert moments(law) == pytest.approx((15.0, 15.0), rel=1e-9)
    for lot, variance in ((1, 15.0), (5, 19.0), (10, 32.0)):
        mean, found = moments(demand.in_lots(law, lot))
        assert lot * mean == pytest.approx(15.0, rel=1e-9)
        assert lot**2 * found == pytest.approx(variance, rel=2e-3)
        assert lot**2 * found - 15.0 == pytest.approx(
            law @ (np.arange(81) % lot * (lot - np.arange(81) % lot)), abs=1e-9
        )


def test_demand_of_days_and_seasons():
    spec = spec_of("medium")
    for season in range(2):
        expected = poisson(season_mean(15.0, 10.0, 2, season), 60)
        np.testing.assert_allclose(spec.laws_of_seasons[season], expected, rtol=0, atol=1e-12)
    laws, row = spec.laws_of_days
    np.testing.assert_allclose(laws[row[91]], poisson(15 + 10 * np.sin(2 * np.pi * 91 / 365), 60), rtol=0, atol=1e-12)
    for mean in (0.0, 7.25, 21.0):
        law = demand.uniform_law(mean, 60)
        assert law.size == 61
        assert moments(law)[0] == pytest.approx(mean, abs=1e-12)
        assert np.count_nonzero(np.diff(law)) <= 2
    assert moments(demand.uniform_law(40.0, 60))[0] < 40.0
    assert demand.poisson_laws(np.array([1.0, 15.0]), 10)[1, 10] > 0.8


def test_demand_of_a_file(tmp_path):
    path = tmp_path / "demand.csv"
    path.write_text("demand\n3\n0\n3\n\n5\n")
    laws = spec_of("medium", demand=str(path)).laws_of_seasons
    np.testing.assert_array_equal(laws, [[0.25, 0, 0, 0.5, 0, 0.25]] * 2)
    path.write_text("day,demand\n0,4\n182,2\n183,1\n365,6\n")
    spec = spec_of("medium", demand=str(path))
    np.testing.assert_allclose(spec.laws_of_seasons, [[0, 0, 1 / 3, 0, 1 / 3, 0, 1 / 3], [0, 1, 0, 0, 0, 0, 0]])
    assert spec.laws_of_days[1].tolist() == [0] * 183 + [1] * 182
    assert spec.parts()["demand"] == str(path)
    assert inventory_game("tiny", demand=str(path)).P_l.shape == (2, 7, 21, 3, 21)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found no numbers"),
        ("demand\n", "found no numbers"),
        ("day,demand,store\n1,2,3\n", "found 3 columns"),
        ("demand,day\n1,2\n", "found columns 'demand,day'"),
        ("1\n2,3\n", "row 2: found 2 columns, expected 1"),
        ("1\n-2\n", "row 2: demand: found '-2', expected a whole number from 0 to 10000"),
        ("1\nnan\n", "row 2: demand: found 'nan'"),
        ("1\ninf\n", "row 2: demand: found 'inf'"),
        ("1\n1e9\n", "row 2: demand: found '1e9'"),
        ("1\n2.5\n", "row 2: demand: found '2.5'"),
        ("1\nmany\n", "row 2: demand: found 'many'"),
        ("0,1\n-1,1\n", "row 2: day: found '-1'"),
        ("0,1\n1,1\n", "found no demand of season 1 (days 183 to 364)"),
    ],
)
def test_bad_demand_files(tmp_path, text, message):
    path = tmp_path / "demand.csv"
    path.write_text(text)
    with pytest.raises(ValueError) as refusal:
        spec_of("medium", demand=str(path))
    assert str(refusal.value).startswith(f"{path}: ")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_missing_and_unreadable_demand_files(tmp_path):
    with pytest.raises(ValueError, match=r"none\.csv: cannot be read, No such file"):
        spec_of("medium", demand=str(tmp_path / "none.csv"))
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="found no text"):
        spec_of("medium", demand=str(tmp_path / "bytes.csv"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lot": 0}, "lot: found 0, expected a whole number from 1"),
        ({"lot": 2.5}, "lot: found 2.5"),
        ({"orders": (0, 30)}, "orders: found (0.0, 30.0), expected increasing whole numbers from 0 to 10"),
        ({"orders": (2, 1)}, "orders: found"),
        ({"orders": 1}, "orders: found"),
        ({"stock_levels": "a,b"}, "stock_levels: found 'a,b', expected numbers"),
        ({"order_edges": (0.0, 3.0)}, "order_edges: found 0 first, expected above 0"),
        ({"order_edges": (3.0, 9.0)}, "order_edges: found"),
        ({"production": 3}, "production: found 3, expected at least the lowest stock level, 15"),
        ({"slip": float("nan")}, "slip: found nan, expected a number from 0 to 1"),
        ({"amplitude": 20}, "amplitude: found 20, expected at most mean_demand, 15"),
        ({"target": 100}, "target: found 100, expected at most 60 units"),
        ({"start": "here"}, "start: found 'here', expected one of target, uniform"),
        (
            {"demand": "poison"},
            "demand: found 'poison', expected poisson, uniform or a CSV file; did you mean poisson?",
        ),
        ({"demand": 3}, "demand: found 3, expected poisson, uniform or a CSV file"),
        ({"produktion": 3}, "constants: found produktion, expected one of lot,"),
        ({"agents": 0}, "agents: found 0"),
        ({"gamma": 1.0}, "gamma: found 1.0"),
        ({"max_inventory": 400, "max_transit": 20}, "spec: found tables of"),
    ],
)
def test_bad_parameters(changes, message):
    with pytest.raises(ValueError) as refusal:
        load_game("inventory", constants=changes)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_unknown_size():
    with pytest.raises(ValueError, match="size: found 'larg', expected one of tiny, medium, large; did you mean large"):
        inventory_game("larg")
