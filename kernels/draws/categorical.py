"""Draws of one category."""

import numpy as np

from ..compilation import kernel
from ..streams import next_double

NO_CATEGORY = -1


@kernel(forceinline=True, error_model="numpy")
def draw_categorical(probabilities, stream):
    """Index drawn with the given probabilities, by inversion in index order: one uniform per draw.

    Rounding: where the probabilities add up to a little less than 1 and the uniform falls past their sum, the last
    category with a positive probability is returned. A category whose probability is 0 (or negative, or NaN) is
    never returned; `NO_CATEGORY` is, if there is no positive one.

    Parameters
    ----------
    probabilities : float64[n]   adding up to 1
    stream : uint64[STREAM_WORDS]   advanced

    Returns
    -------
    int64   0 to n − 1, or NO_CATEGORY
    """
    rest = next_double(stream)
    category = np.int64(NO_CATEGORY)
    for candidate in range(probabilities.shape[0]):
        probability = probabilities[candidate]
        if probability > 0.0:
            category = np.int64(candidate)
            if rest < probability:
                break
            rest -= probability
    return category
