"""Vibration: blocks of samples become the numbers of one sensor row, for training and for a stream alike.

    names = vibration_names(("h", "v"), 25_600)          # "h_rms", ..., "v_spectral_centroid"
    rows = compute_vibration(blocks, 25_600)             # (N, A, L) or N arrays (A, L) -> (N, A * 10)

    rms, kurtosis, skew, peak, crest       of the block less its mean; kurtosis is 3 for noise
    bandLOW_HIGH                           share of the energy between these Hz: four bands up to half the rate
    spectral_centroid                      mean frequency by energy, Hz

Spectra are of segments of a tenth of a second under a Hann window, and are averaged over the block (Bartlett 1948), so
a snapshot and a second of the same machine read alike. A second of two axes at 25.6 kHz takes about a quarter of a
millisecond of one core; parts of a batch are computed in threads, which numpy lets run beside each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64
from deepseek.errors import InputError
from deepseek.extras import is_installed, need

MOMENTS = ("rms", "kurtosis", "skew", "peak", "crest")
BAND_SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)  # upper ends, of half the sampling rate
NUM_FEATURES = len(MOMENTS) + len(BAND_SHARES) + 1  # of one axis
SEGMENT_S = 0.1
MIN_SAMPLES = 64
CHUNK_SAMPLES = 1 << 18  # a megabyte: smaller parts cost more calls, larger ones leave the cache


def vibration_names(axes: Sequence[str], rate_hz: float) -> tuple[str, ...]:
    """The columns of compute_vibration().

    >>> vibration_names(("h",), 25_600)[5:8]
    ('h_band0_1600', 'h_band1600_3200', 'h_band3200_6400')
    """
    ends = [round(share * rate_hz / 2) for share in BAND_SHARES]
    bands = [f"band{low}_{high}" for low, high in zip([0, *ends], ends, strict=False)]
    return tuple(f"{axis}_{name}" for axis in axes for name in (*MOMENTS, *bands, "spectral_centroid"))


def compute_vibration(
    blocks: Sequence[NDArray[Any]] | NDArray[Any], rate_hz: float, scale: Sequence[float] | Float64 | None = None,
    executor: Executor | None = None, num_parts: int = 2,
) -> Float64:  # fmt: skip
    """(N, A * 10) of N blocks (A, L) of samples, integers or floats, all of one shape. `scale`: what a count of each
    block is worth (N,), by default 1. `executor`: computes `num_parts` parts. InputError for blocks that are too short,
    differ in shape, or hold what is no number."""
    shapes = {np.shape(block) for block in blocks}
    if len(shapes) != 1 or len(shape := next(iter(shapes))) != 2 or shape[1] < MIN_SAMPLES or not rate_hz > 0:
        raise InputError(
            f"blocks of the shapes {sorted(shapes)[:3]} at {rate_hz} Hz",
            expected=f"blocks of one shape (axes, samples) with {MIN_SAMPLES} samples at least, and their rate",
            fix="compute blocks of another form by themselves",
        )  # fmt: skip
    worth = np.ones(len(blocks), np.float32) if scale is None else np.asarray(scale, np.float32)
    bounds = [0, len(blocks)]
    if executor is not None and len(blocks) * shape[0] * shape[1] > CHUNK_SAMPLES:  # else handing over costs more
        bounds = sorted({len(blocks) * part // num_parts for part in range(num_parts + 1)})
    parts = [(blocks[start:stop], worth[start:stop]) for start, stop in pairwise(bounds)]
    run = map if executor is None or len(parts) == 1 else executor.map
    features = np.concatenate(list(run(lambda part: _compute_part(part[0], part[1], rate_hz), parts)))
    if not np.isfinite(features).all():
        raise InputError(
            "a block holds what is no number", expected="finite samples", fix="leave that block out: it is missing"
        )
    return features


def _compute_part(blocks: Sequence[NDArray[Any]] | NDArray[Any], scale: Float32, rate_hz: float) -> Float64:
    """(N, A * 10), a few blocks at a time in one buffer."""
    num_axes, num_samples = blocks[0].shape
    step = max(1, CHUNK_SAMPLES // (num_axes * num_samples))
    buffer = np.empty((min(step, len(blocks)), num_axes, num_samples), np.float32)
    features = np.empty((len(blocks), num_axes, NUM_FEATURES))
    for start in range(0, len(blocks), step):
        rows = slice(start, min(start + step, len(blocks)))
        part = buffer[: rows.stop - start]
        for place, block in enumerate(blocks[rows]):
            part[place] = block
        part -= part.mean(axis=-1, keepdims=True, dtype=np.float32)
        features[rows] = _compute_rows(part.reshape(-1, num_samples), rate_hz).reshape(-1, num_axes, NUM_FEATURES)
        features[rows, :, 0] *= scale[rows, None]
        features[rows, :, 3] *= scale[rows, None]
    return features.reshape(len(blocks), -1)


def _compute_rows(samples: Float32, rate_hz: float) -> Float64:
    """(R, 10) of R rows (R, L) without their mean."""
    num_rows, num_samples = samples.shape
    square = samples * samples
    second = np.einsum("ij->i", square) / np.float32(num_samples)
    third = np.einsum("ij,ij->i", square, samples) / np.float32(num_samples)
    fourth = np.einsum("ij,ij->i", square, square) / np.float32(num_samples)
    deviation = np.sqrt(second, dtype=np.float64)
    peak = np.maximum(samples.max(axis=1), -samples.min(axis=1)).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        moments = np.column_stack([
            deviation, fourth / deviation**4, third / deviation**3, peak, peak / deviation,
        ])  # fmt: skip
    moments[deviation == 0, 1:] = 0.0  # a sensor that says one number all the time has no shape
    length = min(num_samples, max(MIN_SAMPLES, round(SEGMENT_S * rate_hz)))
    num_segments = num_samples // length
    window, bands, hertz = _spectrum_plan(length, rate_hz)
    segments = square.reshape(-1)[: num_rows * num_segments * length].reshape(-1, length)  # its memory is free now
    np.multiply(samples[:, : num_segments * length].reshape(-1, length), window, out=segments)
    spectrum = _fourier()(segments, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).reshape(num_rows, num_segments, -1).sum(axis=1)
    energy = np.add.reduceat(power, bands, axis=1, dtype=np.float64)
    total = energy.sum(axis=1, keepdims=True)
    shares = np.divide(energy, total, out=np.zeros_like(energy), where=total > 0)
    centroid = np.divide(power @ hertz, total[:, 0], out=np.zeros(num_rows), where=total[:, 0] > 0)
    return np.column_stack([moments, shares, centroid])


@lru_cache(1)
def _fourier() -> Any:
    """The transform of real rows: scipy's, which computes several at a time and is five times as fast."""
    return need("scipy.fft", extra="tabular").rfft if is_installed("scipy") else np.fft.rfft


@lru_cache(16)
def _spectrum_plan(length: int, rate_hz: float) -> tuple[Float32, NDArray[np.int64], Float64]:
    """The Hann window (L,), the first bin of each band (4,), the frequency of each bin."""
    hertz = np.asarray(np.fft.rfftfreq(length, 1 / rate_hz), np.float64)
    starts = np.searchsorted(hertz, np.array((0.0, *BAND_SHARES[:-1])) * rate_hz / 2)
    return np.asarray(np.hanning(length), np.float32), np.asarray(starts, np.int64), hertz
