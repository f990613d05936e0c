"""Many repetitions of an estimate from reweighted samples, for counts of agents who act independently by one law."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from ..compilation import kernel
from ..draws.multivariate import draw_multinomial
from ..streams import PURPOSE_DRIFT, new_stream, seek

# What is kept of a repetition, along the last axis of the outputs.
MEAN, VARIANCE = 0, 1
MEAN_WEIGHT, MEAN_SQUARE, CLIP_RATE, EXCESS, RAW_SQUARE = 0, 1, 2, 3, 4
N_SUMS = 5

# Forms of weights: none, the product and the marginal form.
N_FORMS = 3


@kernel
def draw_drift_sample(n, law, units, log_ratios, stream, counts):
    """Draw what n agents do by one law.

    Parameters
    ----------
    n : int64
    law : float64[n_al]
    units : int64[n_al]
    log_ratios : float64[n_al]   log π/μ of every action; −inf where π is 0
    stream : uint64[STREAM_WORDS]   advanced
    counts : int64[n_al]         overwritten

    Returns
    -------
    (total, log_product) : int64, float64   Σ of units, and the log weight of the product form
    """
    draw_multinomial(n, law, stream, counts)
    total, log_product = np.int64(0), 0.0
    for a in range(counts.shape[0]):
        if counts[a] > 0:
            total += counts[a] * units[a]
            log_product += counts[a] * log_ratios[a]
    return total, log_product


@kernel(error_model="numpy")
def _repeat_once(n, law, units, log_ratios, log_marginal, values, clip, n_samples, stream, out_values, out_weights):
    """One repetition: means and variances by Welford's updates, which do not cancel."""
    counts = np.empty(law.shape[0], np.int64)
    weights = np.empty(N_FORMS)
    out_values[:] = 0.0
    out_weights[:] = 0.0
    for sample in range(n_samples):
        total, log_product = draw_drift_sample(n, law, units, log_ratios, stream, counts)
        weights[0] = 1.0
        weights[1] = math.exp(log_product)
        weights[2] = math.exp(log_marginal[total])
        for form in range(N_FORMS):
            weight = weights[form] if form == 0 else min(weights[form], clip)
            sums = out_weights[form]
            sums[MEAN_WEIGHT] += weight / n_samples
            sums[MEAN_SQUARE] += weight * weight / n_samples
            sums[RAW_SQUARE] += weights[form] * weights[form] / n_samples
            if weights[form] > weight:
                sums[CLIP_RATE] += 1.0 / n_samples
                sums[EXCESS] += (weights[form] - clip) / n_samples
            for r in range(values.shape[0]):
                step = weight * values[r, total] - out_values[form, r, MEAN]
                out_values[form, r, MEAN] += step / (sample + 1)
                out_values[form, r, VARIANCE] += step * (weight * values[r, total] - out_values[form, r, MEAN])
    for form in range(N_FORMS):
        for r in range(values.shape[0]):
            out_values[form, r, VARIANCE] /= n_samples - 1


@kernel(parallel=True, nogil=True, error_model="numpy")
def repeat_estimates(
    seed, first, n, law, units, log_ratios, log_marginal, values, clip, n_samples, out_values, out_weights
):
    """Repeat an estimate from n_samples samples, each repetition from its own place in the random streams.

    Repetition i draws from (seed, PURPOSE_DRIFT, first + i, n_samples) and owns row i of both outputs: the same bits for any
    number of threads and however repetitions are divided among calls.

    Parameters
    ----------
    seed : uint64
    first : int64                         number of the first repetition
    n : int64                             agents
    law : float64[n_al]                   μ
    units : int64[n_al]
    log_ratios : float64[n_al]            log π/μ of every action
    log_marginal : float64[n_totals]      log weight of every total
    values : float64[n_rewards, n_totals]   Y of every total
    clip : float64                        of both forms of weights
    n_samples : int64                     at least 2
    out_values : float64[n_repetitions, 3, n_rewards, 2]   overwritten: mean and variance of min(w, clip)·Y, without weights,
        with those of the product form, of the marginal form
    out_weights : float64[n_repetitions, 3, 5]   overwritten: of the weights mean and mean square, clipped; share above the
        clip; mean of what is above it; mean square before clipping
    """
    for row in prange(out_values.shape[0]):
        i = np.int64(row)
        stream = new_stream(seed)
        seek(stream, PURPOSE_DRIFT, first + i, n_samples)
        _repeat_once(
            n, law, units, log_ratios, log_marginal, values, clip, n_samples, stream, out_values[i], out_weights[i]
        )
