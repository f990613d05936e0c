"""Exact E[V(c') | c] when the agents of one state all move by one row: the symmetric power Sym^k(M) V, in place.

Sym^k(AB) = Sym^k(A) Sym^k(B), and M = L U with both factors of row sum one. A triangular stochastic matrix is a sequence of
two-state moves "each agent in i goes to j with probability λ", and one move works in place on *lines* of count vectors:
those that differ only in c_i and c_j, with m = c_i + c_j. Along a line it is a triangular matrix of binomial
probabilities, so a sweep needs no transition matrix and no larger lattice.

Entries of L and U may be negative; then the moves amplify rounding by at most ρ^k (see `split_into_moves`).
"""

from __future__ import annotations

import numpy as np

from ..compilation import kernel
from ..lattice import advance_counts, rank_counts

# Doubles gathered for one tile of lines: half a first-level data cache.
TILE_ELEMENTS = 12288
# A move whose remaining mass is smaller than this cannot be divided by it safely.
SMALLEST_REST = 1e-6


@kernel
def factorise(matrix, row_order, column_order, out_lower, out_upper):
    """Factor M[row_order][:, column_order] = L U into triangular matrices of row sum one.

    Elimination without further pivoting. A zero pivot is accepted if nothing has to be eliminated with it.

    Parameters
    ----------
    matrix : float64[S, S]       rows add up to one
    row_order, column_order : int64[S]    permutations
    out_lower, out_upper : float64[S, S]  overwritten

    Returns
    -------
    bool    False if these orders have no such factors
    """
    n = matrix.shape[0]
    for i in range(n):
        for j in range(n):
            out_upper[i, j] = matrix[row_order[i], column_order[j]]
            out_lower[i, j] = 1.0 if i == j else 0.0
    for p in range(n):
        pivot = out_upper[p, p]
        for i in range(p + 1, n):
            below = out_upper[i, p]
            if below == 0.0:
                continue
            if abs(pivot) < SMALLEST_REST:
                return False
            factor = below / pivot
            out_lower[i, p] = factor
            out_upper[i, p] = 0.0
            for j in range(p + 1, n):
                out_upper[i, j] -= factor * out_upper[p, j]
    # U := D^-1 U and L := L D with D = diag(U 1). A row of zeros in U is never used: any row of sum one will do.
    for p in range(n):
        total, largest = 0.0, 0.0
        for j in range(p, n):
            total += out_upper[p, j]
            largest = max(largest, abs(out_upper[p, j]))
        if largest <= 1e-14:
            total = 0.0
            for j in range(p, n):
                out_upper[p, j] = 0.0
            out_upper[p, p] = 1.0
        else:
            if abs(total) < SMALLEST_REST * largest:
                return False
            for j in range(p, n):
                out_upper[p, j] /= total
        for i in range(p, n):
            out_lower[i, p] *= total
    return True


@kernel
def split_into_moves(lower, upper, out_source, out_target, out_probability):
    """Write L and U as two-state moves, in the order in which they act on V (U first).

    Agents pass the moves in the opposite order. Within a source the targets are served one after the other, each with its
    conditional probability.

    Parameters
    ----------
    lower, upper : float64[S, S]    from `factorise`
    out_source, out_target : int64[S (S - 1)]    overwritten
    out_probability : float64[S (S - 1)]         overwritten; 0 is a move that does nothing

    Returns
    -------
    float    ρ, the most that one agent's moves amplify an error: the product over both factors of the largest total
             variation met by an agent; 1 if no probability is negative, inf if a remaining mass vanishes
    """
    n = lower.shape[0]
    move = n * (n - 1) - 1
    rho = 1.0
    for factor in range(2):
        # In agents' order: L from the lowest source up, then U from the highest source down.
        triangle = lower if factor == 0 else upper
        worst = 1.0
        for step in range(1, n):
            source = step if factor == 0 else n - 1 - step
            rest, moved = 1.0, 0.0
            for other in range(1, step + 1):
                target = source - other if factor == 0 else source + other
                mass = triangle[source, target]
                out_source[move] = source
                out_target[move] = target
                if mass == 0.0:
                    out_probability[move] = 0.0
                elif abs(rest) < SMALLEST_REST:
                    if abs(mass) > 1e-15:
                        return np.inf
                    out_probability[move] = 0.0
                else:
                    out_probability[move] = mass / rest
                    if out_probability[move] > 1.0 and out_probability[move] < 1.0 + 1e-9:
                        out_probability[move] = 1.0
                    rest -= mass
                moved += abs(mass)
                worst = max(worst, moved + abs(rest))
                move -= 1
        rho *= worst
    # A rounding residue below zero in a stochastic factor is not an amplification.
    return 1.0 if rho < 1.0 + 1e-12 else rho


@kernel
def best_orders(matrix, orders, good_enough, out_row_order, out_column_order):
    """Search row and column orders for the smallest ρ; stop at the first that is `good_enough`.

    Parameters
    ----------
    matrix : float64[S, S]
    orders : int64[n_orders, S]    permutations to try on either side, the identity first
    good_enough : float            at least 1
    out_row_order, out_column_order : int64[S]    overwritten with the best found

    Returns
    -------
    float    the smallest ρ; inf if no pair of orders has factors
    """
    n = matrix.shape[0]
    lower, upper = np.empty((n, n)), np.empty((n, n))
    source, target = np.empty(n * (n - 1), np.int64), np.empty(n * (n - 1), np.int64)
    probability = np.empty(n * (n - 1))
    best = np.inf
    # Equal orders first: they need no relabelling of V.
    for sweep in range(2):
        for r in range(orders.shape[0]):
            for c in range(orders.shape[0]):
                if (r == c) != (sweep == 0):
                    continue
                if not factorise(matrix, orders[r], orders[c], lower, upper):
                    continue
                rho = split_into_moves(lower, upper, source, target, probability)
                if rho < best:
                    best = rho
                    out_row_order[:] = orders[r]
                    out_column_order[:] = orders[c]
                    if best <= good_enough:
                        return best
    return best


@kernel
def tile_lines(m, n_columns):
    """Lines of m + 1 count vectors that make one tile."""
    return max(1, TILE_ELEMENTS // ((m + 1) * n_columns))


@kernel
def count_tiles(k, n_columns, sizes):
    """Number of tiles of every pair of states."""
    total = np.int64(0)
    for m in range(k + 1):
        lines = tile_lines(m, n_columns)
        total += (sizes[sizes.shape[0] - 3, k - m] + lines - 1) // lines
    return total


@kernel
def fill_tiles(k, n_columns, sizes, out_tiles, out_cells):
    """Cut the lattice into tiles of lines, for every pair of states i < j (pairs in lexicographic order).

    Lines are sorted by m = c_i + c_j. Inside a tile the cells are listed by c_i, then by line, so that neighbouring lines,
    which mostly are neighbours in memory, are read one after the other.

    Parameters
    ----------
    k : int
    n_columns : int                      columns of the values to be moved
    sizes : int64[S + 1, k + 1]          from `lattice_sizes`; its first axis tells S ≥ 2
    out_tiles : int64[n_tiles, 3]        overwritten: m, first cell, number of lines; the same for all pairs
    out_cells : int32[S (S - 1) / 2, n_c]    overwritten, ranks in Λ(k, S)
    """
    n_states = sizes.shape[0] - 1
    counts = np.zeros(n_states, np.int64)
    others = np.zeros(max(1, n_states - 2), np.int64)
    pair = 0
    for i in range(n_states):
        for j in range(i + 1, n_states):
            position, tile = np.int64(0), 0
            for m in range(k + 1):
                others[:] = 0
                others[others.shape[0] - 1] = k - m
                left = sizes[n_states - 2, k - m]
                while left > 0:
                    n_lines = min(left, tile_lines(m, n_columns))
                    out_tiles[tile, 0], out_tiles[tile, 1], out_tiles[tile, 2] = m, position, n_lines
                    for line in range(n_lines):
                        o = 0
                        for s in range(n_states):
                            if s != i and s != j:
                                counts[s] = others[o]
                                o += 1
                        for x in range(m + 1):
                            counts[i], counts[j] = x, m - x
                            out_cells[pair, position + x * n_lines + line] = rank_counts(counts, sizes)
                        advance_counts(others)
                    position += (m + 1) * n_lines
                    left -= n_lines
                    tile += 1
            pair += 1


@kernel
def fill_binomial_table(probability, out_table):
    """Probabilities that t of x agents move: out_table[x, t] = C(x, t) λ^t (1 - λ)^(x - t), zero for t > x."""
    size = out_table.shape[0]
    for x in range(size):
        for t in range(size):
            out_table[x, t] = 0.0
    out_table[0, 0] = 1.0
    for x in range(1, size):
        out_table[x, 0] = (1.0 - probability) * out_table[x - 1, 0]
        for t in range(1, x + 1):
            out_table[x, t] = (1.0 - probability) * out_table[x - 1, t] + probability * out_table[x - 1, t - 1]


@kernel
def move_line_block(table, n_rows, width, block):
    """Apply the binomial triangle along axis 0 of a block, in place: row x becomes Σ_t table[x, t] · row[x - t].

    Without fastmath: an entry's bits do not depend on its place in a vector register.
    """
    for x in range(n_rows - 1, 0, -1):
        row = block[x]
        keep = table[x, 0]
        for j in range(width):
            row[j] *= keep
        t = 1
        while t + 4 <= x + 1:
            b0, b1, b2, b3 = table[x, t], table[x, t + 1], table[x, t + 2], table[x, t + 3]
            r0, r1, r2, r3 = block[x - t], block[x - t - 1], block[x - t - 2], block[x - t - 3]
            for j in range(width):
                row[j] += (b0 * r0[j] + b1 * r1[j]) + (b2 * r2[j] + b3 * r3[j])
            t += 4
        while t <= x:
            b0 = table[x, t]
            r0 = block[x - t]
            for j in range(width):
                row[j] += b0 * r0[j]
            t += 1


@kernel
def move_agents(values, cells, tiles, from_first, table):
    """Apply the move "each agent in i goes to j with probability λ" to V, in place.

    Parameters
    ----------
    values : float64[n_c, n_columns]    overwritten; columns are independent functions of the counts
    cells : int32[n_c]                  row of `fill_tiles` for the pair {i, j}
    tiles : int64[n_tiles, 3]           from `fill_tiles`
    from_first : bool                   whether agents leave the pair's lower state
    table : float64[k + 1, k + 1]       from `fill_binomial_table`
    """
    n_columns = values.shape[1]
    scratch = np.empty(max(TILE_ELEMENTS, table.shape[0] * n_columns))
    for tile in range(tiles.shape[0]):
        m, start, n_lines = tiles[tile, 0], tiles[tile, 1], tiles[tile, 2]
        width = n_lines * n_columns
        block = scratch[: (m + 1) * width].reshape(m + 1, width)
        for x in range(m + 1):
            row = block[x if from_first else m - x]
            for line in range(n_lines):
                cell = cells[start + x * n_lines + line]
                for j in range(n_columns):
                    row[line * n_columns + j] = values[cell, j]
        move_line_block(table, m + 1, width, block)
        for x in range(m + 1):
            row = block[x if from_first else m - x]
            for line in range(n_lines):
                cell = cells[start + x * n_lines + line]
                for j in range(n_columns):
                    values[cell, j] = row[line * n_columns + j]


@kernel
def pair_index(i, j, n_states):
    """Position of the pair {i, j} among the pairs of states in lexicographic order."""
    low, high = min(i, j), max(i, j)
    return low * n_states - low * (low + 1) // 2 + high - low - 1


@kernel
def apply_moves(values, source, target, probability, tiles, cells, n_states, table):
    """Apply a sequence of moves to V, in place: Sym^k(L U) V for the moves of `split_into_moves`.

    Parameters
    ----------
    values : float64[n_c, n_columns]    overwritten; columns are independent functions of the counts
    source, target : int64[n_moves]
    probability : float64[n_moves]
    tiles, cells : from `fill_tiles`
    n_states : int
    table : float64[k + 1, k + 1]       scratch
    """
    for move in range(probability.shape[0]):
        if probability[move] == 0.0:
            continue
        fill_binomial_table(probability[move], table)
        pair = cells[pair_index(source[move], target[move], n_states)]
        move_agents(values, pair, tiles, source[move] < target[move], table)
