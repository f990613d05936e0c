"""The inventory simulator: goods that balance, laws against chains and against single units by hand, and the search for rules."""

import dataclasses
import random

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_inventory import mean_rewards_of_chain, play_units
from scipy import stats

import kofn
from kofn.engine.coupling import Field
from kofn.engine.inventory import policies
from kofn.engine.inventory.baselines import Search, best_base_stock, best_constant
from kofn.engine.inventory.comparison import compare_inventory
from kofn.engine.inventory.result import beats_base_stock, paired_difference
from kofn.engine.inventory.simulate import profits_of, simulate_inventory
from kofn.engine.inventory.spec import SIZES, InventorySpec
from kofn.engine.inventory.tables import inventory_game
from kofn.engine.learning.learn import learn
from kofn.engine.learning.policy import play
from kofn.engine.learning.settings import LearningSettings
from kofn.kernels.inventory import parts
from kofn.kernels.inventory.parts import Retailers
from kofn.kernels.inventory.simulate import demand_at, send_share_of_all, send_share_of_each

LEVEL = 1e-6
SMALL = InventorySpec(
    lot=3, max_backlog=1, max_inventory=2, max_transit=1, orders=(0, 1), n_seasons=2, stock_levels=(1, 3), order_edges="totals",
    production=2.0, agents=2, mean_demand=2.0, amplitude=1.0, max_demand=6, target=2, slip=0.3, start="uniform",
)  # fmt: skip
SCARCE = InventorySpec(
    lot=2, max_backlog=3, max_inventory=4, max_transit=3, orders=(0, 1, 2, 3), stock_levels=(3, 7), order_edges=(1.0,),
    production=4.0, agents=3, mean_demand=4.0, amplitude=3.0, max_demand=9, target=3, slip=0.2,
)  # fmt: skip
MODES = [(u, s, w) for u in ("unit", "lot") for s in ("day", "random") for w in ("stock", "levels")]


def a_policy(spec, kind, random):
    if kind == "random":
        return policies.random_orders()
    if kind == "constant":
        return policies.constant_orders(spec, random.choice(spec.orders))
    if kind == "base stock":
        return policies.base_stock(spec, [random.randrange(20) for _ in range(spec.n_seasons)])
    seen = Field(of="actions", weights=np.array(spec.orders, dtype=float), edges=(np.array([0.5]),))
    generator = np.random.default_rng(random.randrange(10**6))
    return policies.table_orders(spec, generator.dirichlet(np.ones(len(spec.orders)), spec.n_sg * spec.n_sl * 2), seen)


@settings(max_examples=40)
@given(
    st.sampled_from([SMALL, SCARCE]),
    st.integers(1, 5),
    st.sampled_from(MODES),
    st.sampled_from(["random", "constant", "base stock", "table"]),
    st.floats(0.0, 1.0),
    st.randoms(use_true_random=False),
)
def test_goods_balance(spec, n, mode, kind, slip, random):
    units, seasons, upstream = mode
    spec = dataclasses.replace(spec, slip=slip, agents=n, start=random.choice(["target", "uniform"]))
    found = simulate_inventory(
        spec,
        a_policy(spec, kind, random),
        periods=20,
        runs=2,
        units=units,
        seasons=seasons,
        upstream=upstream,
        series=True,
    )
    series = found.series
    on_hand, backlog, transit, store = (
        series[..., place] for place in (parts.ON_HAND, parts.BACKLOG, parts.IN_TRANSIT, parts.UPSTREAM)
    )
    flow = {name: series[:, 1:, getattr(parts, name)] for name in ("SENT", "SERVED", "SPOILED", "LOST", "DEMANDED")}
    produced, adjusted = series[:, 1:, parts.PRODUCED], series[:, 1:, parts.ADJUSTED]
    # From period to period nothing appears or disappears, here and in the whole.
    np.testing.assert_array_equal(np.diff(on_hand + transit), flow["SENT"] - flow["SERVED"] - flow["SPOILED"])
    np.testing.assert_array_equal(np.diff(store), produced + adjusted - flow["SENT"])
    np.testing.assert_array_equal(np.diff(backlog), flow["DEMANDED"] - flow["SERVED"] - flow["LOST"])
    assert (series[..., : parts.PRODUCED] >= 0).all()
    assert upstream == "levels" or not series[..., parts.ADJUSTED].any()
    np.testing.assert_allclose(series[..., parts.ADJUSTED].mean(axis=1) / n, found.metrics["added"], rtol=0, atol=1e-9)
    assert (store <= n * spec.stock_levels[-1]).all()
    assert (on_hand <= n * spec.lot * spec.max_inventory).all()
    assert (transit <= n * spec.lot * spec.max_transit).all()
    assert (backlog <= n * spec.lot * spec.max_backlog).all()
    moved = (
        parts.DEMANDED,
        parts.ORDERED,
        parts.SENT,
        parts.SERVED,
        parts.LOST,
        parts.SPOILED,
        parts.ON_HAND,
        parts.BACKLOG,
    )
    for place in moved:
        np.testing.assert_array_equal(series[..., place].sum(axis=1), found.sums[:, place])
        assert units == "unit" or not (series[..., place] % spec.lot).any()
    assert (found.sums[:, parts.SERVED_AT_ONCE] <= found.sums[:, parts.DEMANDED]).all()
    np.testing.assert_allclose(found.retailer_profit.mean(axis=1), found.profit, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(profits_of(spec, found.sums) / (n * 20), found.profit, rtol=1e-12, atol=1e-12)


def test_an_imbalance_is_an_error(monkeypatch):
    from kofn.engine.inventory import simulate

    monkeypatch.setattr(simulate, "simulate_run", lambda *arguments: 3)
    with pytest.raises(ArithmeticError, match="goods: found 3 units too many or too few in run 0, expected a balance"):
        simulate_inventory("tiny", policies.random_orders(), periods=2, runs=2)


# ---- Against chains and things


def test_lots_are_the_table_game():
    """Mean profit of 8000 runs of 6 periods against an exact chain of labelled agents: level 1e-6; a shift of 6.5 standard errors,
    here .1 of money, would be found in 95 % of the cases."""
    game = inventory_game(SMALL)
    policy = a_policy(SMALL, "table", random.Random(3))
    periods, runs = 6, 8000
    expected = mean_rewards_of_chain(game, policy.laws[0], [0, 1], periods).mean()
    found = simulate_inventory(SMALL, policy, periods=periods, runs=runs, units="lot", seed=5).profit
    error = found.std(ddof=1) / np.sqrt(runs)
    assert 6.5 * error < 0.1
    assert abs(found.mean() - expected) < stats.norm.isf(LEVEL / 2) * error
    # What the other modes leave out is seen.
    units = simulate_inventory(SMALL, policy, periods=periods, runs=runs, units="unit", seed=5).profit
    assert abs(units.mean() - expected) > 6.5 * error


def test_units_are_things_in_lists():
    """Profit, orders, their variance and demand served at once of 400 runs by hand and 4000 of the kernel: two-sided z tests at
    level 1e-6 each; shifts of 6.5 standard errors, at most .3, would be found in 95 % of the cases."""
    spec, periods = SCARCE, 30
    base = policies.base_stock(spec, [13, 7])
    p = {
        name: getattr(spec, name)
        for name in ("slip", "price", "cost", "holding", "backlog_cost", "target", "max_demand")
    }
    p |= {"mean_demand": 4.0, "amplitude": 3.0, "production": 4, "store": 7, "x_high": 8, "x_low": -6, "z_high": 6}
    # The target on hand and the first season's demand in transit, in whole lots.
    p |= {"start_x": 4, "start_z": 6}
    cuts, sizes = [1, 3, 5], [0, 2, 4, 6]

    def order_of(day, x, z):
        lacking = (13 if day < 183 else 7) - x - z
        return sizes[sum(lacking > cut for cut in cuts)]

    generator = random.Random(11)
    by_hand = [play_units(p, order_of, 3, periods, generator) for _ in range(400)]
    found = simulate_inventory(spec, base, n=3, periods=periods, runs=4000, seed=2)
    metrics = found.metrics
    pairs = {
        "profit": ([np.mean(one["money"]) for one in by_hand], found.profit),
        "order": ([np.mean(one["orders"]) for one in by_hand], metrics["order"]),
        "served at once": (
            [np.mean(one["at_once"]) for one in by_hand],
            found.sums[:, parts.SERVED_AT_ONCE] / (3 * periods),
        ),
        "order variance": (
            [np.reshape(one["orders"], (periods, 3)).var(axis=0).mean() for one in by_hand],
            found.variances[:, 0],
        ),
    }
    for name, (mine, kernel) in pairs.items():
        error = np.hypot(np.std(mine) / 20, kernel.std() / np.sqrt(4000))
        assert abs(np.mean(mine) - kernel.mean()) < stats.norm.isf(LEVEL / 2) * error, name
        assert 6.5 * error < 0.3, name
    # Scarcity was part of it.
    assert found.sums[:, parts.SENT].sum() < 0.9 * found.sums[:, parts.ORDERED].sum()


def test_learners_play_the_same_game():
    """Reward of learned tables that play on in the learning kernel and here: 200 runs of 200 periods each, two-sided at level 1e-6;
    a difference of 6.5 standard errors, below .6 of money, would be found in 95 % of the cases."""
    game = inventory_game("tiny")
    asked = {"n": 3, "steps": 300, "runs": 1, "sees": "actions", "bins": 3, "temperature": 2.0, "alpha": 0.2}
    learned = learn(game, LearningSettings(**asked))
    policy = policies.learned_orders(SIZES["tiny"], learned)
    again = dataclasses.replace(learned, settings=dataclasses.replace(learned.settings, runs=200))
    arrays = {name: np.repeat(array, 200, axis=0) for name, array in learned.arrays.items()}
    played = play(dataclasses.replace(again, arrays=arrays), steps=200, seed=3).tail_means("reward")
    found = simulate_inventory("tiny", policy, periods=200, runs=200, units="lot", seed=3).profit
    error = np.hypot(played.std(ddof=1), found.std(ddof=1)) / np.sqrt(200)
    assert 6.5 * error < 0.6
    assert abs(played.mean() - found.mean()) < stats.norm.isf(LEVEL / 2) * error


def test_deployed_rules_earn_the_same():
    """Base stock as a policy of samples of one agent, deployed on the tables, and here: level 1e-6, as above."""
    spec = SIZES["tiny"]
    game, rule = inventory_game(spec), policies.base_stock(spec, 30)
    policy = policies.subsample_policy(game, spec, rule)
    np.testing.assert_array_equal(policy.law_alone.reshape(-1, 3), policies.table_law(spec, rule))
    deployed = kofn.deploy(game, policy, 3, steps=100, runs=400, seed=1, level="agents")
    found = simulate_inventory(spec, rule, periods=100, runs=400, units="lot", seed=1)
    mine, theirs = found.profit, deployed.trace_reward.mean(axis=1)
    error = np.hypot(mine.std(ddof=1), theirs.std(ddof=1)) / 20
    assert abs(mine.mean() - theirs.mean()) < stats.norm.isf(LEVEL / 2) * error
    assert 6.5 * error < 2.0


# ---- Kernels alone


def retailers_with(orders):
    n = len(orders)
    columns = [np.zeros(n, np.int64) for _ in range(4)]
    columns[2][:] = orders
    return Retailers(*columns, np.zeros(4, np.int64), np.zeros((2, 1)))


def test_shares_of_scarce_goods():
    sizes, orders = np.array([0, 4, 8, 12]), [3, 0, 1, 2, 1]
    retailers = retailers_with(orders)
    for grain in (1, 4):
        wanted = sizes[orders] // grain
        for there in range(wanted.sum()):
            total = np.zeros(5)
            for offset in range(wanted.sum()):
                sent = send_share_of_all(
                    there * grain + grain - 1, grain, sizes, (offset + 0.5) / wanted.sum(), retailers
                )
                shares = retailers.sent // grain
                assert sent == retailers.sent.sum() == there * grain
                exact = there * wanted / wanted.sum()
                assert ((shares == np.floor(exact)) | (shares == np.ceil(exact))).all()
                total += shares
            # Over all offsets, which are equally likely, everyone is sent the right mean.
            np.testing.assert_allclose(total / wanted.sum(), exact, rtol=1e-12)
        assert send_share_of_all(wanted.sum() * grain, grain, sizes, 0.5, retailers) == sizes[orders].sum()
    uniforms = np.array([0.7, 0.0, 0.69, 0.2, 0.71])
    assert send_share_of_each(0.425, 4, sizes, uniforms, retailers) == retailers.sent.sum()
    # Shares of 1.275, 0, .425, .85 and .425 lots.
    assert retailers.sent.tolist() == [4, 0, 0, 4, 0]


def test_demand_by_inversion():
    law = np.array([0.1, 0.0, 0.25, 0.05, 0.2, 0.4])
    grid = (np.arange(100_000) + 0.5) / 100_000
    cumulative = np.cumsum(law)
    cumulative[-1] = 1.0
    for grain in (1, 2, 4):
        found = np.bincount([demand_at(cumulative, grain, uniform) for uniform in grid], minlength=9) / grid.size
        expected = np.zeros(9)
        for units, probability in enumerate(law):
            low = units // grain * grain
            expected[low] += probability * (1 - (units - low) / grain)
            expected[min(low + grain, 8)] += probability * (units - low) / grain
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4)


# ---- Streams


def test_same_bits_for_any_threads_and_any_cut(all_threads):
    rule = policies.random_orders()
    whole = simulate_inventory(SCARCE, rule, periods=15, runs=5, seed=9, series=True)
    numba.set_num_threads(1)
    again = simulate_inventory(SCARCE, rule, periods=15, runs=5, seed=9, series=True)
    np.testing.assert_array_equal(whole.series, again.series)
    np.testing.assert_array_equal(whole.retailer_profit, again.retailer_profit)
    part = simulate_inventory(SCARCE, rule, periods=10, runs=2, first_run=3, seed=9, series=True)
    np.testing.assert_array_equal(part.series, whole.series[3:, :10])
    assert len(np.unique(whole.profit)) == 5


def test_policies_meet_the_same_demand():
    rules = [policies.random_orders(), policies.base_stock(SCARCE, 9), policies.constant_orders(SCARCE, 2)]
    for units in ("unit", "lot"):
        runs = [simulate_inventory(SCARCE, rule, runs=3, periods=30, units=units, series=True) for rule in rules]
        for other in runs[1:]:
            for place in (parts.DEMANDED, parts.SEASON):
                np.testing.assert_array_equal(other.series[..., place], runs[0].series[..., place])


def test_rules_are_tables():
    """Lot for lot a rule and its table order the same, bit for bit, where rules draw nothing."""
    for rule in (policies.base_stock(SCARCE, [12, 5]), policies.constant_orders(SCARCE, 2), policies.random_orders()):
        table = policies.table_orders(SCARCE, policies.table_law(SCARCE, rule))
        own = policies.table_orders(SCARCE, np.repeat(table.laws, 3, axis=0))
        runs = [simulate_inventory(SCARCE, each, runs=2, periods=40, units="lot") for each in (rule, table, own)]
        np.testing.assert_array_equal(runs[0].sums, runs[1].sums)
        np.testing.assert_array_equal(runs[0].sums, runs[2].sums)


def test_runs_take_turns_with_several_policies():
    rules = [policies.constant_orders(SCARCE, 1), policies.constant_orders(SCARCE, 3)]
    found = simulate_inventory(SCARCE, rules, runs=3, periods=10).metrics["order"]
    assert found.tolist() == [2.0, 6.0, 2.0]


def test_medium_from_a_learned_file_size():
    """One small use of the medium size: a table over its 231 states, unit by unit."""
    spec = SIZES["medium"]
    rule = policies.base_stock(spec, [55, 28])
    table = policies.table_orders(spec, policies.table_law(spec, rule))
    by_rule, by_table = (simulate_inventory(spec, each, n=20, periods=365, runs=4) for each in (rule, table))
    # Seen in lots, the rule orders a little worse than with the units.
    assert abs(paired_difference(by_rule, by_table).mean) < 2.0
    assert 0.0 < by_rule.metrics["fill_rate"].mean() < 1.0
    assert by_rule.series.shape == (4, 0, parts.N_TOTALS)


# ---- Searches and comparisons


def test_searches_find_the_best():
    search = Search(n=5, periods=60, runs=3, units="lot")
    spec = dataclasses.replace(SIZES["tiny"], agents=5)
    levels = range(0, 61, 10)
    profits = [search.profit(spec, policies.base_stock(spec, level)) for level in levels]
    assert best_base_stock(spec, search).base.tolist() == [levels[int(np.argmax(profits))]]
    profits = [search.profit(spec, policies.constant_orders(spec, lots)) for lots in spec.orders]
    assert best_constant(spec, search).constant == int(np.argmax(profits))
    # With two seasons no step of a lot in one of them is better.
    found = best_base_stock(SCARCE, search)
    best = search.profit(SCARCE, found)
    for season in range(2):
        for step in (-2, 2):
            levels = found.base.copy()
            levels[season] += step
            assert search.profit(SCARCE, policies.base_stock(SCARCE, levels)) <= best


def test_whether_base_stock_is_beaten():
    good, bad = policies.base_stock(SCARCE, [13, 7]), policies.constant_orders(SCARCE, 0)
    runs = [simulate_inventory(SCARCE, rule, runs=6, periods=40) for rule in (good, bad)]
    assert beats_base_stock(runs[0], runs[1])
    assert not beats_base_stock(runs[1], runs[0])
    assert not beats_base_stock(runs[0], runs[0])
    one = [simulate_inventory(SCARCE, rule, runs=1, periods=40) for rule in (good, bad)]
    assert not beats_base_stock(*one)
    with pytest.raises(ValueError, match="runs: found seed 0 and 1, expected the same"):
        beats_base_stock(runs[0], simulate_inventory(SCARCE, bad, runs=6, periods=40, seed=1))
    found = compare_inventory(SCARCE, bad, n=3, periods=40, runs=4)
    assert found.beats_base_stock is False
    assert list(found.runs) == ["policy", "base-stock", "constant", "random"]
    assert compare_inventory(SCARCE, "base-stock", n=3, periods=10, runs=2).beats_base_stock is None


def test_bullwhip_and_fill_rate_of_a_plain_case():
    """Everything that is ordered arrives next period, demand is always one unit: orders follow demand."""
    spec = dataclasses.replace(
        SCARCE, lot=1, orders=(0, 1, 2), slip=0.0, mean_demand=0.5, amplitude=0.0, demand="uniform"
    )
    found = simulate_inventory(spec, policies.base_stock(spec, 4), n=2, periods=200, runs=3, series=True)
    # Base stock replaces what was demanded a period before.
    ordered, demanded = found.series[..., parts.ORDERED], found.series[..., parts.DEMANDED]
    np.testing.assert_array_equal(ordered[:, 1:], demanded[:, :-1])
    assert found.metrics["bullwhip"] == pytest.approx(1.0, abs=0.15)
    np.testing.assert_array_equal(found.metrics["fill_rate"], 1.0)
    means = demanded.mean(axis=1)
    spread = ordered.var(axis=1) / demanded.var(axis=1)
    np.testing.assert_allclose(found.metrics["system_bullwhip"], spread, rtol=1e-9)
    np.testing.assert_allclose(found.sums[:, parts.DEMANDED] / 200, means)
    summary = found.summary()
    assert summary["metrics"]["profit"]["system_mean"] == pytest.approx(2 * summary["metrics"]["profit"]["mean"])


# ---- Refusals


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 0}, "n: found 0"),
        ({"n": 2**31}, "n: found 2147483648 retailers, expected at most"),
        ({"periods": 0}, "periods: found 0"),
        ({"runs": 2**40}, "runs: found 1099511627776, expected at most"),
        ({"units": "box"}, "units: found 'box', expected one of unit, lot"),
        ({"seasons": "dry"}, "seasons: found 'dry', expected one of day, random"),
        ({"upstream": "sea"}, "upstream: found 'sea', expected one of stock, levels"),
        ({"seed": -1}, "seed: found -1"),
        ({"policy": []}, "policy: found none, expected at least one"),
        ({"runs": 2**20, "memory_bytes": 10**6, "series": True}, "or keep no series"),
    ],
)
def test_bad_simulations(changes, message):
    asked = {"policy": policies.random_orders()} | changes
    with pytest.raises((ValueError, RuntimeError, MemoryError)) as refusal:
        simulate_inventory(SCARCE, asked.pop("policy"), **asked)
    assert message in str(refusal.value)


def test_bad_policies():
    tiny = SIZES["tiny"]
    with pytest.raises(ValueError, match="lots: found 7, expected one of 0, 1, 2"):
        policies.constant_orders(tiny, 7)
    with pytest.raises(ValueError, match="levels: found"):
        policies.base_stock(tiny, [1, 2])
    with pytest.raises(ValueError, match="levels: found nan"):
        policies.base_stock(tiny, float("nan"))
    with pytest.raises(ValueError, match=r"laws: found shape \(1, 3, 3\), expected \(tables, 42, 3\)"):
        policies.table_orders(tiny, np.ones((3, 3)))
    with pytest.raises(ValueError, match="laws: found rows that are no probabilities"):
        policies.table_orders(tiny, np.full((42, 3), np.nan))
    with pytest.raises(ValueError, match="seen: found a field of 2 actions"):
        policies.table_orders(tiny, np.ones((84, 3)) / 3, Field(of="actions", weights=[0.0, 1.0], edges=([0.5],)))
    with pytest.raises(ValueError, match="policy: found one of another game, whose global states"):
        policies.check_states(SCARCE, inventory_game("tiny"))
    with pytest.raises(ValueError, match="policy: found tables of 2 retailers, expected 3"):
        simulate_inventory(tiny, policies.table_orders(tiny, np.full((2, 42, 3), 1 / 3)), n=3, periods=1)
    with pytest.raises(ValueError, match="which depends on others"):
        policies.table_law(SMALL, a_policy(SMALL, "table", random.Random(1)))
