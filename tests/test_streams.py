"""The streams against a plain-integer Philox, and their uniformity and independence at fixed seeds.

Level: every statistical test here rejects a right generator with probability 1e-7 or less.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import get_num_threads, njit, prange, set_num_threads
from scipy import stats

from kofn.kernels import streams

LEVEL = 1e-7
MASK = 2**32 - 1
EXTREMES = {"purpose": (0, 1, 255), "run": (0, 1, 2**32 - 1), "step": (0, 1, 2**32 - 1, 2**32, 2**56 - 1)}


def philox_words(counter, key):
    """Philox4x32-10 on lists of 32-bit words, in Python integers."""
    counter, key = list(counter), list(key)
    for _ in range(10):
        left, right = counter[0] * 0xD2511F53, counter[2] * 0xCD9E8D57
        counter = [(right >> 32) ^ counter[1] ^ key[0], right & MASK, (left >> 32) ^ counter[3] ^ key[1], left & MASK]
        key = [(key[0] + 0x9E3779B9) & MASK, (key[1] + 0xBB67AE85) & MASK]
    return counter


def words_of(seed, purpose, run, step, n_blocks):
    """The first words at an address, from the documented counter: block, low step, run, high step and purpose."""
    key = (seed & MASK, seed >> 32)
    top = (step >> 32) | (purpose << 24)
    return [word for block in range(n_blocks) for word in philox_words((block, step & MASK, run, top), key)]


@njit
def fill_uint32(stream, out):
    for i in range(out.size):
        out[i] = streams.next_uint32(stream)


@njit
def fill_double(stream, out):
    for i in range(out.size):
        out[i] = streams.next_double(stream)


@njit
def fill_open_double(stream, out):
    for i in range(out.size):
        out[i] = streams.next_open_double(stream)


@njit
def fill_below(bound, stream, out):
    for i in range(out.size):
        out[i] = streams.next_below(bound, stream)


@njit
def fill_first_words(stream, n_purposes, n_runs, n_steps, out):
    i = 0
    for purpose in range(n_purposes):
        for run in range(n_runs):
            for step in range(n_steps):
                streams.seek(stream, purpose, run, step)
                out[i, 0] = streams.next_uint64(stream)
                out[i, 1] = streams.next_uint64(stream)
                i += 1


@njit
def sum_of_run(seed, run, n_draws):
    stream = streams.new_stream(seed)
    streams.seek(stream, streams.PURPOSE_ROLLOUT, run, 5)
    total = 0.0
    for _ in range(n_draws):
        total += streams.next_double(stream)
    return total


@njit(parallel=True)
def fill_runs(seed, n_draws, out):
    for i in prange(out.size):
        out[np.int64(i)] = sum_of_run(seed, np.int64(i), n_draws)


def stream_at(seed=1, purpose=0, run=0, step=0):
    stream = streams.new_stream(streams.checked_seed(seed))
    streams.seek(stream, purpose, run, step)
    return stream


def filled(fill, stream, size, dtype):
    out = np.zeros(size, dtype)
    fill(stream, out)
    return out


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_known_answers_of_the_authors(counter, key, expected):
    low_0, high_0, low_1, high_1 = (int(word, 16) for word in counter.split())
    key_0, key_1 = (int(word, 16) for word in key.split())
    stream = stream_at(key_0 | key_1 << 32)
    stream[1:3] = low_0 | high_0 << 32, low_1 | high_1 << 32
    found = filled(fill_uint32, stream, 4, np.uint64).tolist()
    assert " ".join(f"{word:08x}" for word in found) == expected
    assert found == philox_words([low_0, high_0, low_1, high_1], [key_0, key_1])


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**63, 2**64 - 1])
def test_words_of_an_address(seed):
    for purpose, run, step in itertools.product(*EXTREMES.values()):
        stream = stream_at(seed, purpose, run, step)
        expected = words_of(seed, purpose, run, step, n_blocks=5)
        assert filled(fill_uint32, stream, 20, np.uint64).tolist() == expected


def test_doubles_are_the_top_bits_of_two_words():
    words = words_of(7, 3, 2, 9, n_blocks=10)
    pairs = np.array([low | high << 32 for low, high in zip(words[::2], words[1::2], strict=True)], np.uint64)
    found = filled(fill_double, stream_at(7, 3, 2, 9), 20, np.float64)
    assert found.tolist() == [(int(pair) >> 11) / 2**53 for pair in pairs]
    found = filled(fill_open_double, stream_at(7, 3, 2, 9), 20, np.float64)
    assert found.tolist() == [(2 * (int(pair) >> 12) + 1) / 2**53 for pair in pairs]


def test_ends_of_the_unit_interval():
    def with_buffer(word):
        stream = stream_at()
        stream[3], stream[4:] = 0, word
        return stream

    zeros, ones = np.uint64(0), np.uint64(2**64 - 1)
    assert streams.next_double(with_buffer(zeros)) == 0.0
    assert streams.next_double(with_buffer(ones)) == 1.0 - 2.0**-53
    assert streams.next_open_double(with_buffer(zeros)) == 2.0**-53
    assert streams.next_open_double(with_buffer(ones)) == 1.0 - 2.0**-53


def test_a_double_after_a_single_word_skips_the_other_half():
    words = words_of(1, 0, 0, 0, n_blocks=1)
    stream = stream_at()
    assert streams.next_uint32(stream) == words[0]
    assert streams.next_double(stream) == ((words[2] | words[3] << 32) >> 11) / 2**53


@given(before=st.integers(0, 40), size=st.integers(0, 200), seed=st.integers(0, 2**64 - 1))
def test_filling_an_array_is_drawing_one_by_one(before, size, seed):
    one_by_one, at_once = stream_at(seed, 2, 1, 7), stream_at(seed, 2, 1, 7)
    for stream in (one_by_one, at_once):
        filled(fill_uint32, stream, before, np.uint64)
    words, doubles = np.zeros(size, np.uint64), np.zeros(size)
    streams.fill_uint64(at_once, words)
    streams.fill_doubles(at_once, doubles)
    assert words.tolist() == [int(streams.next_uint64(one_by_one)) for _ in range(size)]
    assert doubles.tolist() == filled(fill_double, one_by_one, size, np.float64).tolist()
    assert streams.next_uint32(at_once) == streams.next_uint32(one_by_one)


def test_seek_forgets_where_the_stream_was():
    stream = stream_at(3, 1, 2, 4)
    before = filled(fill_double, stream, 7, np.float64)
    streams.seek(stream, 2, 2, 4)
    streams.next_uint32(stream)
    streams.seek(stream, 1, 2, 4)
    assert np.array_equal(filled(fill_double, stream, 7, np.float64), before)
    assert stream[0] == 3


def test_the_block_index_wraps_inside_its_step():
    seed, purpose, run, step = 5, 1, 6, 2**56 - 1
    stream = stream_at(seed, purpose, run, step)
    stream[1] |= np.uint64(MASK - 1)
    again = stream.copy()
    key, top = (seed, 0), (step >> 32) | (purpose << 24)
    expected = [philox_words((block % 2**32, step & MASK, run, top), key) for block in range(MASK - 1, MASK + 15)]
    assert filled(fill_uint32, stream, 64, np.uint64).reshape(-1, 4).tolist() == expected
    words = filled(streams.fill_uint64, again, 32, np.uint64)
    assert words.tolist() == [low | high << 32 for block in expected for low, high in (block[:2], block[2:])]


def test_no_address_shares_a_counter():
    addresses = list(itertools.product(*EXTREMES.values()))
    counters = {tuple(stream_at(1, *address)[1:3].tolist()) for address in addresses}
    assert len(counters) == len(addresses)
    assert all(low & MASK == 0 for low, _ in counters)


@pytest.mark.parametrize(
    ("purpose", "run", "step"), [(256, 0, 0), (-1, 0, 0), (0, 2**32, 0), (0, -1, 0), (0, 0, 2**56), (0, 0, -1)]
)
def test_addresses_out_of_range_are_refused(purpose, run, step):
    with pytest.raises(ValueError, match="purpose, run, step: found one out of range"):
        streams.seek(stream_at(), purpose, run, step)


@pytest.mark.parametrize("seed", [-1, 2**64, 0.5, "1", None, np.int64(-3)])
def test_seeds_out_of_range_are_refused(seed):
    with pytest.raises(ValueError, match=r"seed: found .*, expected a whole number from 0 to"):
        streams.checked_seed(seed)


def test_a_negative_seed_is_refused_by_the_kernel():
    with pytest.raises(ValueError, match="seed: found a negative number"):
        streams.new_stream(-1)


@pytest.mark.parametrize("seed", [0, 17, np.int32(17), np.uint64(2**64 - 1), 2**64 - 1])
def test_every_seed_in_range_is_kept(seed):
    stream = streams.new_stream(streams.checked_seed(seed))
    assert stream.dtype == np.uint64
    assert stream.shape == (streams.STREAM_WORDS,)
    assert int(stream[0]) == int(seed)


def test_no_collisions_among_a_million_addresses():
    n_purposes, n_runs, n_steps = 8, 256, 512
    words = np.zeros((n_purposes * n_runs * n_steps, 2), np.uint64)
    fill_first_words(stream_at(), n_purposes, n_runs, n_steps, words)
    # Two equal 64-bit words among 2**20 right ones have a probability of 3e-8.
    assert np.unique(words[:, 0]).size == len(words)
    # First words of neighbours along each axis of the address: pairs uniform on a 16 × 16 grid.
    nibbles = (words[:, 0] >> np.uint64(60)).astype(np.int64).reshape(n_purposes, n_runs, n_steps)
    for axis in range(3):
        ahead, behind = np.delete(nibbles, 0, axis), np.delete(nibbles, -1, axis)
        counts = np.bincount((16 * ahead + behind).ravel(), minlength=256)
        assert stats.chisquare(counts).pvalue > LEVEL


@pytest.mark.parametrize("seed", [0, 2**64 - 1])
def test_words_are_uniform(seed):
    words = filled(fill_uint32, stream_at(seed, 2, 11, 13), 1_000_000, np.uint64)
    assert words.max() <= MASK
    for shift in range(0, 32, 8):
        counts = np.bincount(((words >> np.uint64(shift)) & np.uint64(255)).astype(np.int64), minlength=256)
        assert stats.chisquare(counts).pvalue > LEVEL


@pytest.mark.parametrize("fill", [fill_double, fill_open_double])
def test_doubles_are_uniform_and_serially_independent(fill):
    draws = filled(fill, stream_at(4, 1, 0, 2**40), 1_000_000, np.float64)
    assert draws.min() >= 0.0
    assert draws.max() < 1.0
    assert stats.kstest(draws, "uniform").pvalue > LEVEL
    low_bits = (draws * 2.0**52).astype(np.int64) & 255
    assert stats.chisquare(np.bincount(low_bits, minlength=256)).pvalue > LEVEL
    cells = (draws * 32).astype(np.int64)
    for lag in (1, 2, 3, 4):
        counts = np.bincount(32 * cells[:-lag] + cells[lag:], minlength=1024)
        assert stats.chisquare(counts).pvalue > LEVEL


def test_the_uniformity_test_has_power():
    """A draw that is too large by one part in 100 is rejected at this level and sample size."""
    draws = filled(fill_double, stream_at(4, 1, 0, 2**40), 1_000_000, np.float64)
    assert stats.kstest(draws**0.99, "uniform").pvalue < LEVEL


@pytest.mark.parametrize("bound", [1, 2, 3, 10, 97, 256])
def test_small_bounds_are_uniform(bound):
    out = np.full(200_000, -1)
    fill_below(bound, stream_at(9), out)
    counts = np.bincount(out, minlength=bound)
    assert counts.size == bound
    if bound > 1:
        assert stats.chisquare(counts).pvalue > LEVEL


@pytest.mark.parametrize("bound", [3 * 2**30, 2**32 - 1, 2**32, 3 * 2**32, 3 * 2**40, 2**62])
def test_large_bounds_are_uniform(bound):
    """Without the rejection, a bound of 3 * 2**30 would give every third value twice the probability."""
    out = np.full(200_000, -1)
    fill_below(bound, stream_at(10), out)
    assert out.min() >= 0
    assert out.max() < bound
    assert stats.chisquare(np.bincount(out % 3, minlength=3)).pvalue > LEVEL
    assert stats.chisquare(np.bincount(out * 8 // bound if bound < 2**59 else out >> 59, minlength=8)).pvalue > LEVEL


def test_the_same_bits_for_any_number_of_threads(all_threads):
    seed, n_draws = streams.checked_seed(12), 33
    expected = np.array([sum_of_run(seed, run, n_draws) for run in reversed(range(500))])[::-1]
    for threads in {1, get_num_threads()}:
        set_num_threads(threads)
        out = np.full(500, np.nan)
        fill_runs(seed, n_draws, out)
        assert np.array_equal(out, expected)
