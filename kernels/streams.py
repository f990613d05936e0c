"""Counter-based random streams: Philox4x32-10, addressed by (seed, purpose, run, step).

A draw depends on its address and on its place within the step alone, never on the thread that makes it, on how runs
are grouped, or on whether the program was stopped and resumed in between.

Source: Salmon, Moraes, Dror and Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3", SC'11.

The key is the seed (64 bits). The counter (128 bits) holds, from low to high, the block index (32 bits), the low half
of the step (32), the run (32), the high part of the step (24) and the purpose (8), so two different addresses never
share a block. One step has 2**32 blocks of four 32-bit words: after 2**34 draws of `next_uint32` or 2**33 of
`next_double` the step's sequence starts again from its first word, and never runs into another step.

A stream is a `uint64[STREAM_WORDS]` array owned by the caller: the seed, the two halves of the counter of the next
block, the position in the buffer, and a buffer of sixteen 32-bit words: four blocks, which the processor computes side by
side in its vector registers. Four serve steps of few draws and of many: a step's first double takes 18 ns, each of many 3 ns
(two blocks: 27 and 7; eight: 37 and 3). Whole arrays are filled by `fill_doubles`, at 1.2 ns each.

The small kernels are inlined by force: a call that takes an array counts its references, and that alone takes longer
than a draw.
"""

import operator

import numpy as np

from .compilation import kernel

STREAM_WORDS = 12

PURPOSE_INITIAL = 0
PURPOSE_ROLLOUT = 1
PURPOSE_EMPIRICAL = 2
PURPOSE_LEARNING = 3
PURPOSE_HEAT_BATH = 4
PURPOSE_DRIFT = 6
# What happens to retailers, the same whatever is ordered; and what is ordered, sent and made.
PURPOSE_DEMAND = 16
PURPOSE_SUPPLY = 17
# From here on purposes are for users' own kernels.
PURPOSE_USER = 128

_SEED, _COUNTER_LOW, _COUNTER_HIGH, _POSITION, _BUFFER = 0, 1, 2, 3, 4

# Every constant below is uint64: numba turns the sum of an int64 and a uint64 into a float64.
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
# Blocks of four 32-bit words that are computed at once, and 32-bit words in the buffer.
_BLOCKS = 4
_BUFFERED = np.uint64(4 * _BLOCKS)
# Fewer words are taken one by one.
_LEAST_TO_FILL = 24
_BITS_OF_PURPOSE = np.uint64(8)
_BITS_OF_STEP = np.uint64(56)
_SHIFT_OF_PURPOSE = np.uint64(24)
_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_HIGH = np.uint64(0xFFFFFFFF00000000)
_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)
_WEYL_1 = np.uint64(0xBB67AE85)
_SHIFT_TO_53_BITS = np.uint64(11)
_SHIFT_TO_52_BITS = np.uint64(12)
_SPACING_53 = 2.0**-53
_SPACING_52 = 2.0**-52


def checked_seed(seed):
    """Return a Python or numpy integer as the uint64 that `new_stream` takes.

    Once compiled for int64, numba refuses Python integers from 2**63 on; a uint64 works in every case.

    Raises
    ------
    ValueError   for anything but a whole number from 0 to 2**64 - 1
    """
    try:
        value = operator.index(seed)
    except TypeError:
        value = -1
    if not 0 <= value < 2**64:
        raise ValueError(f"seed: found {seed!r}, expected a whole number from 0 to 2**64 - 1")
    return np.uint64(value)


@kernel(forceinline=True)
def start_stream(seed, out_stream):
    """Set a stream to `seed`, at purpose 0, run 0, step 0.

    Parameters
    ----------
    seed : uint64                       any; from Python, `checked_seed(seed)`
    out_stream : uint64[STREAM_WORDS]   overwritten

    Raises
    ------
    ValueError   for a negative int64
    """
    if seed < 0:
        raise ValueError("seed: found a negative number, expected 0 to 2**64 - 1")
    out_stream[:] = _ZERO
    out_stream[_SEED] = np.uint64(seed)
    out_stream[_POSITION] = _BUFFERED


@kernel
def new_stream(seed):
    """Allocate a stream for a uint64 `seed`, at purpose 0, run 0, step 0; see `start_stream`."""
    stream = np.empty(STREAM_WORDS, np.uint64)
    start_stream(seed, stream)
    return stream


@kernel(forceinline=True)
def seek(stream, purpose, run, step):
    """Go to the first draw of (purpose, run, step) under the stream's seed.

    Parameters
    ----------
    stream : uint64[STREAM_WORDS]   overwritten, but for the seed
    purpose : int64   0 to 2**8 - 1
    run : int64       0 to 2**32 - 1
    step : int64      0 to 2**56 - 1

    Raises
    ------
    ValueError   for an address out of range, which would share its draws with another address. Inside `prange`
        numba drops exceptions and the iteration just ends: check the ranges before the loop.
    """
    purpose_bits = np.uint64(purpose)
    run_bits = np.uint64(run)
    step_bits = np.uint64(step)
    if (purpose_bits >> _BITS_OF_PURPOSE) | (run_bits >> _HALF) | (step_bits >> _BITS_OF_STEP) != _ZERO:
        raise ValueError("purpose, run, step: found one out of range, expected 0 to 2**8 - 1, 2**32 - 1, 2**56 - 1")
    stream[_COUNTER_LOW] = (step_bits & _LOW) << _HALF
    stream[_COUNTER_HIGH] = run_bits | (((step_bits >> _HALF) | (purpose_bits << _SHIFT_OF_PURPOSE)) << _HALF)
    stream[_POSITION] = _BUFFERED


@kernel(forceinline=True)
def _fill_blocks(stream, n_blocks, first, out_words):
    """Philox4x32-10 of the next blocks of the step: two 64-bit words for each, from place `first` on.

    The loops stand in one function, and every block is by itself: only so does the compiler take several side by side in vector
    registers, and a double takes 3 ns in place of 7.
    """
    counter = stream[_COUNTER_LOW]
    block_0, counter_1 = counter & _LOW, counter >> _HALF
    counter_2, counter_3 = stream[_COUNTER_HIGH] & _LOW, stream[_COUNTER_HIGH] >> _HALF
    seed_0, seed_1 = stream[_SEED] & _LOW, stream[_SEED] >> _HALF
    for block in range(n_blocks):
        word_0, word_1, word_2, word_3 = (block_0 + np.uint64(block)) & _LOW, counter_1, counter_2, counter_3
        key_0, key_1 = seed_0, seed_1
        for _ in range(10):
            product_0 = _MULTIPLIER_0 * word_0
            product_1 = _MULTIPLIER_1 * word_2
            word_0 = (product_1 >> _HALF) ^ word_1 ^ key_0
            word_1 = product_1 & _LOW
            word_2 = (product_0 >> _HALF) ^ word_3 ^ key_1
            word_3 = product_0 & _LOW
            key_0 = (key_0 + _WEYL_0) & _LOW
            key_1 = (key_1 + _WEYL_1) & _LOW
        out_words[first + 2 * block] = word_0 | (word_1 << _HALF)
        out_words[first + 2 * block + 1] = word_2 | (word_3 << _HALF)
    # The carry out of the block index is dropped: it would lead into another step.
    stream[_COUNTER_LOW] = (counter & _HIGH) | ((counter + np.uint64(n_blocks)) & _LOW)


@kernel(forceinline=True)
def next_uint64(stream):
    """Next 64 bits. An odd 32-bit word left by `next_uint32` is skipped."""
    position = (stream[_POSITION] + _ONE) >> _ONE
    if position >= (_BUFFERED >> _ONE):
        _fill_blocks(stream, _BLOCKS, _BUFFER, stream)
        position = _ZERO
    stream[_POSITION] = (position + _ONE) << _ONE
    return stream[_BUFFER + np.int64(position)]


@kernel(forceinline=True)
def next_uint32(stream):
    """Next 32 bits, as a uint64 below 2**32."""
    position = stream[_POSITION]
    if position >= _BUFFERED:
        _fill_blocks(stream, _BLOCKS, _BUFFER, stream)
        position = _ZERO
    stream[_POSITION] = position + _ONE
    return (stream[_BUFFER + np.int64(position >> _ONE)] >> ((position & _ONE) * _HALF)) & _LOW


@kernel(forceinline=True)
def next_double(stream):
    """Next multiple of 2**-53 in [0, 1), uniform."""
    return np.int64(next_uint64(stream) >> _SHIFT_TO_53_BITS) * _SPACING_53


@kernel(forceinline=True)
def next_open_double(stream):
    """Next odd multiple of 2**-53 in (0, 1), uniform: never 0 or 1, so that its logarithm is finite and negative."""
    return (np.int64(next_uint64(stream) >> _SHIFT_TO_52_BITS) + 0.5) * _SPACING_52


@kernel
def fill_uint64(stream, out_words):
    """What as many calls of `next_uint64` would return, several times as fast.

    Parameters
    ----------
    stream : uint64[STREAM_WORDS]   advanced
    out_words : uint64[m]           overwritten
    """
    m, done = out_words.shape[0], 0
    if m >= _LEAST_TO_FILL:
        while (stream[_POSITION] + _ONE) >> _ONE < _BUFFERED >> _ONE:
            out_words[done] = next_uint64(stream)
            done += 1
        n_blocks = (m - done) >> 1
        _fill_blocks(stream, n_blocks, 0, out_words[done:])
        done += 2 * n_blocks
    for place in range(done, m):
        out_words[place] = next_uint64(stream)


@kernel
def fill_doubles(stream, out_doubles):
    """What as many calls of `next_double` would return, several times as fast.

    Parameters
    ----------
    stream : uint64[STREAM_WORDS]   advanced
    out_doubles : float64[m]        overwritten, contiguous
    """
    words = out_doubles.view(np.uint64)
    fill_uint64(stream, words)
    for place in range(words.shape[0]):
        out_doubles[place] = np.int64(words[place] >> _SHIFT_TO_53_BITS) * _SPACING_53


@kernel(forceinline=True)
def next_below(bound, stream):
    """Next integer in [0, bound), exactly uniform.

    Lemire (2019), "Fast random integer generation in an interval", ACM Transactions on Modeling and Computer
    Simulation 29(1), for bounds that fit in 32 bits; larger ones reject from the enclosing power of two.

    Parameters
    ----------
    bound : int64                   at least 1
    stream : uint64[STREAM_WORDS]   advanced

    Returns
    -------
    int64
    """
    limit = np.uint64(bound)
    if limit <= _LOW:
        product = next_uint32(stream) * limit
        if (product & _LOW) < limit:
            threshold = (_LOW + _ONE - limit) % limit
            while (product & _LOW) < threshold:
                product = next_uint32(stream) * limit
        return np.int64(product >> _HALF)
    mask = limit - _ONE
    for shift in (1, 2, 4, 8, 16, 32):
        mask |= mask >> np.uint64(shift)
    while True:
        word = next_uint64(stream) & mask
        if word < limit:
            return np.int64(word)
