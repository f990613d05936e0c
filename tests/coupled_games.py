"""Random coupled games, as the package takes them and as the oracles do."""

import numpy as np
from oracles_coupled import CoupledTables, field_of_histogram

from kofn.engine.coupling import Field
from kofn.engine.game import Game
from oracles import random_rows

AXES = {"P_g": True, "P_l": True, "r_g": True, "r_l": True}
# Means of at most three agents reach some of these and miss others; the second feature weighs below zero too.
EDGES = ((0.3, 0.5), (0.0,))


def random_coupled_game(
    rng, n_sg=2, n_ag=2, n_sl=2, n_al=2, *, of="states", axes=AXES, gamma=0.9, sparsity=0.0, edges=EDGES, constant=False
):
    """(Game, CoupledTables) of one random game; `axes` says which tables depend on the field value.

    With `constant` they have the axis, and nothing varies along it.
    """
    n_x = n_sl if of == "states" else n_al
    weights = [
        [1.0, *rng.choice([0.0, 1.0], n_x - 2), 0.0],
        *rng.choice([-1.0, 0.0, 1.0], (len(edges) - 1, n_x)).tolist(),
    ]
    field = Field(of=of, weights=np.array(weights), edges=edges)
    n_f = field.n_values

    def rows(name, *shape):
        return random_rows(rng, (n_sg, *axis(name), *shape), sparsity)

    def axis(name):
        return (1 if constant else n_f,) if axes[name] else ()

    tables = {
        "P_g": rows("P_g", n_ag, n_sg),
        "P_l": rows("P_l", n_sl, n_al, n_sl),
        "r_g": rng.normal(size=(n_sg, *axis("r_g"), n_ag)),
        "r_l": rng.normal(size=(n_sg, *axis("r_l"), n_sl, n_al)),
    }
    if constant:
        tables = {
            name: np.repeat(table, n_f, axis=1) if axes[name] else np.asarray(table) for name, table in tables.items()
        }
    game = Game(**tables, gamma=gamma, rho_g=random_rows(rng, (n_sg,)), rho_l=random_rows(rng, (n_sl,)), field=field)
    oracle = CoupledTables(**tables, gamma=gamma, of=of, field=field_of_histogram(weights, edges))
    return game, oracle


def at_field(game, f):
    """The uncoupled game whose tables are those of one field value."""
    tables = {}
    for name in AXES:
        table = game.with_field_axis(name)
        tables[name] = table[:, f if table.shape[1] > 1 else 0]
    return Game(**tables, gamma=game.gamma, rho_g=game.rho_g, rho_l=game.rho_l)
