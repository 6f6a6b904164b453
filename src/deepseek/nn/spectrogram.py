"""Log-mel spectrograms of waveforms for a convolutional network, and SpecAugment in training.

    front = LogMel(rate_hz=8_000)               # 64 bands, windows of 25 ms every 10 ms
    bands = front(waveform)                     # (B, C, T) -> (B, C, M, N)
    bands = SpecAugment()(bands)                # only in training; the same shape

Shapes: B waveforms, C channels, T samples, M mel bands, N windows, F frequencies, W samples of a window.

A window is a row of one convolution whose weights are a Hann window times the sines and cosines of the discrete Fourier
transform: fixed buffers, no complex numbers, so it exports to ONNX as Conv, Mul and MatMul. For a second of speech the
product costs about what an FFT does.

The mel scale and its triangles: data.mel. SpecAugment: Park et al. 2019, arXiv 1904.08779, section 2, without time
warping (which their ablation, table 6, finds the least useful).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.data.media.mel import POWER_FLOOR, mel_filterbank
from deepseek.errors import InputError


class LogMel(nn.Module):
    """(B, C, T) in -1..1 -> (B, C, M, N): the natural logarithm of the power in each band, N = 1 + (T - W) // hop."""

    basis: Tensor  # (2F, 1, W)
    triangles: Tensor  # (F, M)

    def __init__(
        self, rate_hz: int, num_mels: int = 64, window_ms: float = 25.0, hop_ms: float = 10.0, low_hz: float = 20.0
    ) -> None:
        super().__init__()
        self.width, self.hop = round(rate_hz * window_ms / 1000), round(rate_hz * hop_ms / 1000)
        if self.width < 2 or self.hop < 1 or num_mels < 1 or not 0 <= low_hz < rate_hz / 2:
            raise InputError(
                f"a window of {self.width} samples every {self.hop}, {num_mels} bands from {low_hz} Hz",
                expected="2 samples, 1 sample, 1 band and a frequency below half of the rate, or more",
                fix="raise window_ms, hop_ms or num_mels, or lower low_hz",
            )
        num_points = 2 ** math.ceil(math.log2(self.width))  # as if zeros followed the window: narrower steps
        window = np.hanning(self.width + 1)[:-1]
        angles = 2 * np.pi / num_points * np.outer(np.arange(num_points // 2 + 1), np.arange(self.width))
        basis = np.concatenate([np.cos(angles), np.sin(angles)]) * (window / window.sum())
        triangles = mel_filterbank(rate_hz, num_mels, num_points, low_hz)
        self.register_buffer("basis", torch.tensor(basis[:, None], dtype=torch.float32), persistent=False)
        self.register_buffer("triangles", torch.tensor(triangles, dtype=torch.float32), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        if waveform.shape[-1] < self.width:
            raise InputError(
                f"the sound has {waveform.shape[-1]} samples", expected=f"a window of {self.width} or more",
                fix="read more seconds, or lower window_ms",
            )  # fmt: skip
        num_channels, num_samples = waveform.shape[1], waveform.shape[2]
        parts = functional.conv1d(waveform.reshape(-1, 1, num_samples), self.basis, stride=self.hop)  # (BC, 2F, N)
        real, imaginary = parts.chunk(2, dim=1)
        power = real * real + imaginary * imaginary  # (BC, F, N)
        # log(bands + POWER_FLOOR), written so that nothing small is added, which exporters take for nought
        bands = torch.log(self.triangles.T @ power / POWER_FLOOR + 1) + math.log(POWER_FLOOR)  # (BC, M, N)
        return bands.reshape(-1, num_channels, bands.shape[1], bands.shape[2])


@dataclass(frozen=True, slots=True)
class SpecAugmentShape:
    """Number and widths of masked stripes. Widths are drawn uniformly from 0 to these shares, for each stripe."""

    num_band_stripes: int = 2
    band_share: float = 0.25  # of the bands, the widest stripe
    num_time_stripes: int = 2
    time_share: float = 0.2  # of the windows; the paper's p

    def __post_init__(self) -> None:
        for name in ("band_share", "time_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}", expected="0 to 1", fix="for 20 % write 0.2")
        for name in ("num_band_stripes", "num_time_stripes"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}", expected="0 or more", fix="write 2")


class SpecAugment(nn.Module):
    """(B, C, M, N) -> the same shape; in training stripes of bands and of windows are set to the spectrogram's mean.

    All channels of a waveform share their stripes. Random numbers are torch's, like those of dropout.
    """

    def __init__(self, shape: SpecAugmentShape | None = None) -> None:
        super().__init__()
        self.stripes = shape or SpecAugmentShape()

    def forward(self, bands: Tensor) -> Tensor:
        if not self.training:
            return bands
        stripes, num_bands, num_windows = self.stripes, bands.shape[2], bands.shape[3]
        hidden = _draw_stripes(bands, stripes.num_band_stripes, stripes.band_share, num_bands)[:, None, :, None]
        hidden = (
            hidden | _draw_stripes(bands, stripes.num_time_stripes, stripes.time_share, num_windows)[:, None, None, :]
        )
        return torch.where(hidden, bands.mean((1, 2, 3), keepdim=True), bands)


def _draw_stripes(like: Tensor, num: int, share: float, length: int) -> Tensor:
    """Random mask (B, length), True within `num` stripes of at most `share` of the length each."""
    uniform = torch.rand(2, like.shape[0], num, 1, device=like.device)
    widths = torch.floor(uniform[0] * (math.floor(share * length) + 1))
    starts = torch.floor(uniform[1] * (length - widths + 1))
    positions = torch.arange(length, device=like.device)
    return ((positions >= starts) & (positions < starts + widths)).any(1)
