"""Log-mel bands without torch: what pages show of a sound, and the triangles that nn.spectrogram puts into a model.

    bands = log_mel(samples, rate_hz=8_000)          # (T,) in -1..1 -> (M, N): 64 bands, windows of 25 ms every 10 ms

Shapes: T samples, M mel bands, N windows, F bin_mels, W samples of a window.

Mel scale: m = 2595 log10(1 + f / 700), O'Shaughnessy, Speech Communication, 1987, p. 150; triangles of height 1 as in
HTK, not Slaney's of equal area.
"""

from __future__ import annotations

import math

import numpy as np

from deepseek.contracts import Float32, Float64
from deepseek.errors import InputError

POWER_FLOOR = 1e-10  # of power, where a sine of full scale has 0.25: -96 dB below it, the noise of 16 bits


def hz_to_mel(hz: Float64) -> Float64:
    """O'Shaughnessy's scale: 1000 Hz are 1000 mel.

    >>> hz_to_mel(np.array([0.0, 1000.0])).round(2).tolist()
    [0.0, 999.99]
    """
    return 2595 * np.log10(1 + hz / 700)


def mel_filterbank(rate_hz: int, num_mels: int, num_points: int, low_hz: float) -> Float64:
    """(F, M): how much each frequency of a transform of `num_points` counts in each band. Bands are evenly wide in mel
    between low_hz and half of the rate; each overlaps the next by half. InputError where one holds no frequency."""
    edges = np.linspace(hz_to_mel(np.array(low_hz)), hz_to_mel(np.array(rate_hz / 2)), num_mels + 2)
    bin_mels = hz_to_mel(np.arange(num_points // 2 + 1) * rate_hz / num_points)[:, None]
    rising = (bin_mels - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bin_mels) / (edges[2:] - edges[1:-1])
    triangles: Float64 = np.maximum(0, np.minimum(rising, falling))
    if (triangles.sum(0) == 0).any():
        raise InputError(
            f"{num_mels} bands are more than a window tells apart at {rate_hz} Hz",
            expected="at least one frequency in each", fix="lower num_mels, or raise window_ms",
        )  # fmt: skip
    return triangles


def log_mel(
    samples: Float32,
    rate_hz: int,
    *,
    num_mels: int = 64,
    window_ms: float = 25.0,
    hop_ms: float = 10.0,
    low_hz: float = 20.0,
    least_points: int = 2,
) -> Float64:
    """(T,) -> (M, N): the natural logarithm of the power in each band, as nn.spectrogram.LogMel gives it. A sound that
    is shorter than a window is followed by silence. `least_points`: of the transform, where a window of few samples
    would leave a band without a frequency."""
    width, hop = max(2, round(rate_hz * window_ms / 1000)), max(1, round(rate_hz * hop_ms / 1000))
    samples = np.pad(samples, (0, max(0, width - len(samples))))
    num_points = 2 ** math.ceil(math.log2(max(width, least_points)))
    window = np.hanning(width + 1)[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(samples, width)[::hop] * (window / window.sum())
    power = np.abs(np.fft.rfft(frames, num_points, axis=1)) ** 2  # (N, F)
    bands: Float64 = np.log(power @ mel_filterbank(rate_hz, num_mels, num_points, low_hz) + POWER_FLOOR).T
    return bands
