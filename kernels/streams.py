"""Counter-based random streams: Philox4x32-10, addressed by (seed, purpose, run, step).

A draw depends on its address and on its place within the step alone, never on the thread that makes it, on how runs
are grouped, or on whether the program was stopped and resumed in between.

Source: Salmon, Moraes, Dror and Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3", SC'11.

The key is the seed (64 bits). The counter (128 bits) holds, from low to high, the block index (32 bits), the low half
of the step (32), the run (32), the high part of the step (24) and the purpose (8), so two different addresses never
share a block. One step has 2**32 blocks of four 32-bit words: after 2**34 draws of `next_uint32` or 2**33 of
`next_double` the step's sequence starts again from its first word, and never runs into another step.

A stream is a `uint64[STREAM_WORDS]` array owned by the caller: the seed, the two halves of the counter of the next
block, the position in the buffer, and a buffer of eight 32-bit words: two blocks, computed together because the
processor overlaps them.

The small kernels are inlined by force: a call that takes an array counts its references, and that alone takes longer
than a draw (31 ns for a double, 6 ns inlined).
"""

import operator

import numpy as np

from .compilation import kernel

STREAM_WORDS = 8

PURPOSE_INITIAL = 0
PURPOSE_ROLLOUT = 1
PURPOSE_EMPIRICAL = 2
PURPOSE_LEARNING = 3
# From here on purposes are for users' own kernels.
PURPOSE_USER = 128

_SEED, _COUNTER_LOW, _COUNTER_HIGH, _POSITION, _BUFFER = 0, 1, 2, 3, 4

# Every constant below is uint64: numba turns the sum of an int64 and a uint64 into a float64.
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_TWO = np.uint64(2)
_BUFFERED = np.uint64(8)
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


@kernel
def philox_block(counter_low, counter_high, seed):
    """Philox4x32-10 of one counter block.

    Parameters
    ----------
    counter_low, counter_high : uint64   words 0 and 1, words 2 and 3 of the counter, the lower word in the low bits
    seed : uint64                        the key, word 0 in the low bits

    Returns
    -------
    (uint64, uint64)   output words 0 and 1, output words 2 and 3, the lower word in the low bits
    """
    word_0 = counter_low & _LOW
    word_1 = counter_low >> _HALF
    word_2 = counter_high & _LOW
    word_3 = counter_high >> _HALF
    key_0 = seed & _LOW
    key_1 = seed >> _HALF
    for _ in range(10):
        product_0 = _MULTIPLIER_0 * word_0
        product_1 = _MULTIPLIER_1 * word_2
        word_0 = (product_1 >> _HALF) ^ word_1 ^ key_0
        word_1 = product_1 & _LOW
        word_2 = (product_0 >> _HALF) ^ word_3 ^ key_1
        word_3 = product_0 & _LOW
        key_0 = (key_0 + _WEYL_0) & _LOW
        key_1 = (key_1 + _WEYL_1) & _LOW
    return word_0 | (word_1 << _HALF), word_2 | (word_3 << _HALF)


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
def _fill_buffer(stream):
    """Compute the next two blocks of the step into the buffer."""
    low = stream[_COUNTER_LOW]
    high = stream[_COUNTER_HIGH]
    seed = stream[_SEED]
    first_low, first_high = philox_block(low, high, seed)
    second_low, second_high = philox_block(low | _ONE, high, seed)
    stream[_BUFFER] = first_low
    stream[_BUFFER + 1] = first_high
    stream[_BUFFER + 2] = second_low
    stream[_BUFFER + 3] = second_high
    # The carry out of the block index is dropped: it would lead into another step.
    stream[_COUNTER_LOW] = (low & _HIGH) | ((low + _TWO) & _LOW)


@kernel(forceinline=True)
def next_uint64(stream):
    """Next 64 bits. An odd 32-bit word left by `next_uint32` is skipped."""
    position = (stream[_POSITION] + _ONE) >> _ONE
    if position >= (_BUFFERED >> _ONE):
        _fill_buffer(stream)
        position = _ZERO
    stream[_POSITION] = (position + _ONE) << _ONE
    return stream[_BUFFER + np.int64(position)]


@kernel(forceinline=True)
def next_uint32(stream):
    """Next 32 bits, as a uint64 below 2**32."""
    position = stream[_POSITION]
    if position >= _BUFFERED:
        _fill_buffer(stream)
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
