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

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
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
CHUNK_SAMPLES = 1 << 17  # half a megabyte: smaller parts cost more calls, larger ones leave the cache


@lru_cache(16)
def vibration_names(axes: tuple[str, ...], rate_hz: float) -> tuple[str, ...]:
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
    plan = _spectrum_plan(min(num_samples, max(MIN_SAMPLES, round(SEGMENT_S * rate_hz))), rate_hz)
    step = min(len(blocks), max(1, CHUNK_SAMPLES // (num_axes * num_samples)))
    length = len(plan.window)
    segments = np.empty((step, num_axes, num_samples // length * length), np.float32)
    moments = np.empty((step, num_axes, 4))
    features = np.empty((len(blocks), num_axes, NUM_FEATURES))
    for start in range(0, len(blocks), step):
        rows = slice(start, min(start + step, len(blocks)))
        for place, block in enumerate(blocks[rows]):
            read = _counts_reader() if block.dtype == np.int16 else _read_samples
            read(block, plan.window, segments[place], moments[place])
        number = rows.stop - start
        features[rows] = _describer()(moments[:number], segments[:number], plan)
        features[rows, :, 0] *= scale[rows, None]
        features[rows, :, 3] *= scale[rows, None]
    return features.reshape(len(blocks), -1)


def _read_samples(samples: NDArray[Any], window: Float32, segments: Float32, moments: Float64) -> None:
    """What compiled.read_counts() fills, of samples of any kind."""
    num_samples, length = np.float32(samples.shape[1]), len(window)
    values = samples.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True, dtype=np.float32)
    np.multiply(
        values[:, : segments.shape[1]].reshape(len(values), -1, length), window,
        out=segments.reshape(len(values), -1, length),
    )  # fmt: skip
    moments[:, 3] = np.maximum(values.max(axis=1), -values.min(axis=1))
    square = values * values
    for place, (one, other) in enumerate(((values, values), (square, values), (square, square))):
        moments[:, place] = np.vecdot(one, other) / num_samples


def _describe(moments: Float64, segments: Float32, plan: _SpectrumPlan) -> Float64:
    """(N, A, 10) of moments (N, A, 4) and windowed segments (N, A, T * W)."""
    return np.concatenate([_describe_shapes(moments), _describe_spectra(_transform(segments, plan), plan)], axis=2)


def _describe_shapes(moments: Float64) -> Float64:
    """(N, A, 5) of moments (N, A, 4): rms, kurtosis, skew, peak, crest."""
    second, third, fourth, peak = moments.transpose(2, 0, 1)
    deviation = np.sqrt(second)
    with np.errstate(divide="ignore", invalid="ignore"):
        shapes = np.stack([deviation, fourth / second**2, third / deviation**3, peak, peak / deviation], axis=2)
    shapes[deviation == 0, 1:] = 0.0  # a sensor that says one number all the time has no shape
    return shapes


def _describe_spectra(parts: Float32, plan: _SpectrumPlan) -> Float64:
    """(N, A, 5) of parts of spectra (N, A, T, 2 K): shares of the bands, and the centroid."""
    power = np.einsum("nask,nask->nak", parts, parts)
    energy = np.add.reduceat(power, plan.bands, axis=2, dtype=np.float64)
    total = energy.sum(axis=2, keepdims=True)
    weighted = np.concatenate([energy, (power @ plan.hertz)[..., None]], axis=2)
    return np.asarray(np.divide(weighted, total, out=np.zeros_like(weighted), where=total > 0))


def _transform(segments: Float32, plan: _SpectrumPlan) -> Float32:
    """Parts of spectra (N, A, T, 2 K) of windowed segments (N, A, T * W): real and imaginary ones side by side, so that
    there is one way through them, where .real and .imag would be four with gaps."""
    num_blocks, num_axes, _ = segments.shape
    parts = _fourier()(segments.reshape(-1, len(plan.window)), axis=1).view(np.float32)
    return np.asarray(parts.reshape(num_blocks, num_axes, -1, parts.shape[1]))


@lru_cache(1)
def _describer() -> Callable[[Float64, Float32, _SpectrumPlan], Float64]:
    """What _describe() does: compiled where numba is there, with one way through the spectra."""
    if not is_installed("numba"):
        return _describe
    from deepseek.features.machines.compiled import fill_vibration

    def describe(moments: Float64, segments: Float32, plan: _SpectrumPlan) -> Float64:
        parts = _transform(segments, plan)
        features = np.empty((*parts.shape[:2], NUM_FEATURES))
        fill_vibration(
            parts.reshape(-1, *parts.shape[2:]), moments.reshape(-1, 4), plan.bands, plan.hertz,
            features.reshape(-1, NUM_FEATURES),
        )  # fmt: skip
        return features

    return describe


@lru_cache(1)
def _counts_reader() -> Callable[[NDArray[Any], Float32, Float32, Float64], None]:
    """Of samples of 16 bits: compiled where numba is there."""
    if not is_installed("numba"):
        return _read_samples
    from deepseek.features.machines.compiled import read_counts

    def read(samples: NDArray[Any], window: Float32, segments: Float32, moments: Float64) -> None:
        counts = np.ascontiguousarray(samples).view()
        counts.flags.writeable = False  # as messages are: the one form that is compiled
        read_counts(counts, window, segments, moments)

    return read


@lru_cache(1)
def _fourier() -> Any:
    """The transform of real rows: scipy's, which computes several at a time and is five times as fast."""
    return need("scipy.fft", extra="tabular").rfft if is_installed("scipy") else np.fft.rfft


@dataclass(frozen=True, slots=True, eq=False)
class _SpectrumPlan:
    """Of spectra with K bins, each of which is two numbers."""

    window: Float32  # (W,) Hann's
    bands: NDArray[np.int64]  # (4,) the first number of each
    hertz: Float64  # (2 K,) the frequency of each


@lru_cache(16)
def _spectrum_plan(length: int, rate_hz: float) -> _SpectrumPlan:
    """For segments of so many samples."""
    hertz = np.repeat(np.asarray(np.fft.rfftfreq(length, 1 / rate_hz), np.float64), 2)
    starts = np.searchsorted(hertz, np.array((0.0, *BAND_SHARES[:-1])) * rate_hz / 2)
    return _SpectrumPlan(np.asarray(np.hanning(length), np.float32), np.asarray(starts, np.int64), hertz)
