"""Log-mel bands in numpy: what the model computes, for pages that have no torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepseek.data.media.mel import POWER_FLOOR, hz_to_mel, log_mel
from deepseek.nn.spectrogram import LogMel


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050])
def test_it_is_what_the_layer_of_the_model_gives(rate_hz: int) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, rate_hz // 2).astype(np.float32)
    expected = LogMel(rate_hz)(torch.tensor(samples)[None, None])[0, 0].numpy()
    assert log_mel(samples, rate_hz).shape == expected.shape
    assert np.abs(log_mel(samples, rate_hz) - expected).max() < 1e-3


def test_a_tone_is_loudest_in_its_band() -> None:
    tone = np.sin(2 * np.pi * 1_000 * np.arange(8_000) / 8_000).astype(np.float32)
    band = int(log_mel(tone, 8_000).mean(1).argmax())
    middle = hz_to_mel(np.array(20.0)) + (band + 1) * (hz_to_mel(np.array(4_000.0)) - hz_to_mel(np.array(20.0))) / 65
    assert abs(middle - 1_000) < 50


def test_what_is_shorter_than_a_window_and_silence_have_bands_as_well() -> None:
    assert log_mel(np.zeros(3, np.float32), 8_000).tolist() == [[pytest.approx(np.log(POWER_FLOOR))]] * 64
    assert log_mel(np.ones(30, np.float32), 1_000, least_points=1_024).shape == (64, 1)
