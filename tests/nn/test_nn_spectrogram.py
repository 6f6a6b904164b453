"""A spectrogram is what scipy and numpy compute, exports to ONNX, and is hidden in stripes only in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from deepseek.errors import InputError
from deepseek.nn.spectrogram import POWER_FLOOR, LogMel, SpecAugment, SpecAugmentShape, mel_filterbank


def sound(rate_hz: int = 8_000, channels: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(3, channels, rate_hz, generator=generator) * 0.1
    return noise + 0.4 * torch.sin(2 * torch.pi * 1_000 * torch.arange(rate_hz) / rate_hz)


@pytest.mark.parametrize(
    ("rate_hz", "num_mels", "window_ms"), [(8_000, 64, 25.0), (16_000, 40, 32.0), (44_100, 128, 40.0)]
)
def test_scipy_computes_the_same(rate_hz: int, num_mels: int, window_ms: float) -> None:
    front, waveform = LogMel(rate_hz, num_mels, window_ms), sound(rate_hz)
    window = hann(front.width, sym=False)
    num_points = 2 ** int(np.ceil(np.log2(front.width)))
    transform = ShortTimeFFT(window / window.sum(), front.hop, rate_hz, mfft=num_points, phase_shift=None)
    # scipy centres its windows: the first that lies inside starts at sample 0
    frames = 1 + (rate_hz - front.width) // front.hop
    rows = np.stack([waveform.numpy()[..., at * front.hop :][..., : front.width] for at in range(frames)], -2)
    power = np.abs(np.fft.rfft(rows * transform.win, num_points)) ** 2  # the slow twin, (B, C, N, F)
    inside = (front.width // 2 + front.hop - 1) // front.hop
    if front.width // 2 % front.hop == 0:
        again = np.abs(transform.stft(waveform.numpy(), p0=inside, p1=inside + frames)) ** 2
        assert np.allclose(again, power.swapaxes(-1, -2), atol=1e-9)
    expected = np.log(power @ mel_filterbank(rate_hz, num_mels, num_points, 20.0) + POWER_FLOOR).swapaxes(-1, -2)
    assert front(waveform).shape == (3, 2, num_mels, frames)
    assert np.abs(front(waveform).numpy() - expected).max() < 2e-3


def test_a_tone_of_full_scale_lies_in_its_band_with_a_quarter_of_power() -> None:
    rate_hz = 8_000
    waveform = torch.sin(2 * torch.pi * 1_000 * torch.arange(rate_hz) / rate_hz)[None, None]
    bands = LogMel(rate_hz, 40, window_ms=32.0)(waveform)[0, 0].mean(1)
    edges = np.linspace(2595 * np.log10(1 + 20 / 700), 2595 * np.log10(1 + 4_000 / 700), 42)
    assert abs(edges[1 + int(bands.argmax())] - 1_000) < edges[1] - edges[0]  # 1000 Hz are 1000 mel
    assert -2.5 < float(bands.max()) < 0.0


def test_silence_is_the_floor_and_nothing_is_infinite() -> None:
    bands = LogMel(8_000)(torch.zeros(1, 1, 8_000))
    assert torch.allclose(bands, torch.full_like(bands, float(np.log(POWER_FLOOR))))


@pytest.mark.slow
def test_onnxruntime_computes_the_same_for_another_number_of_sounds(tmp_path: Path) -> None:
    front, waveform = LogMel(8_000).eval(), sound()
    out = tmp_path / "front.onnx"
    torch.onnx.export(
        torch.nn.Sequential(front, SpecAugment()).eval(), (waveform[:2],), out, dynamo=True, verbose=False,
        dynamic_shapes=({0: torch.export.Dim("sounds")},), input_names=["waveform"], external_data=False,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    for num in (1, 3):
        outputs = session.run(None, {"waveform": waveform[:num].numpy()})[0]
        expected = front(waveform[:num]).numpy()
        # 200 products a frequency, then 128 frequencies a band, in float32 of 1.2e-7
        assert np.abs(np.exp(outputs) - np.exp(expected)).max() < 4e-6 * np.exp(expected).max()
        assert np.abs(outputs - expected).mean() < 1e-4
        # Its sums are rounded more coarsely than torch's: a cell that a loud tone nearly cancels shows it.
        assert np.abs(outputs - expected).max() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("optimize", [True, False])
def test_no_exporter_takes_the_floor_for_nought(optimize: bool, tmp_path: Path) -> None:
    """Whose optimizer removes what is added below 1e-8: then silence is the logarithm of 0."""
    front, out = LogMel(8_000).eval(), tmp_path / "front.onnx"
    torch.onnx.export(
        front, (sound()[:2],), out, dynamo=True, verbose=False, optimize=optimize, external_data=False,
        dynamic_shapes=({0: torch.export.Dim("sounds")},), input_names=["waveform"],
    )  # fmt: skip
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    for level in (0.0, 0.5, 1.0):  # silence, and sounds that do not swing
        waveform = torch.full((1, 2, 8_000), level)
        outputs = session.run(None, {"waveform": waveform.numpy()})[0]
        assert np.abs(outputs - front(waveform).numpy()).max() < 1e-3


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="more than a window tells apart"):
        LogMel(8_000, num_mels=300)
    with pytest.raises(InputError, match="a window of"):
        LogMel(8_000, window_ms=0.0)
    with pytest.raises(InputError, match="has 100 samples"):
        LogMel(8_000)(torch.zeros(1, 1, 100))
    for wrong in ({"band_share": 1.5}, {"num_time_stripes": -1}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            SpecAugmentShape(**wrong)  # type: ignore[arg-type]


def test_stripes_hide_no_more_than_was_said_and_only_in_training() -> None:
    torch.manual_seed(0)
    bands = torch.randn(400, 2, 40, 100)
    augment = SpecAugment(SpecAugmentShape(num_band_stripes=1, band_share=0.25, num_time_stripes=1, time_share=0.2))
    assert torch.equal(augment.eval()(bands), bands)
    hidden = augment.train()(bands) != bands
    assert torch.equal(hidden[:, 0], hidden[:, 1])  # both channels alike
    whole_bands, whole_windows = hidden[:, 0].all(2).sum(1), hidden[:, 0].all(1).sum(1)
    assert whole_bands.max() == 10
    assert whole_windows.max() == 20
    assert abs(float(whole_bands.float().mean()) - 5) < 0.7  # widths are drawn evenly from 0 to 10
    assert abs(float(whole_windows.float().mean()) - 10) < 1.2
    rows = hidden[0, 0]
    assert torch.equal(rows, rows.all(1)[:, None] | rows.all(0)[None])  # stripes alone
    first = hidden[:, 0].all(2).float().mean(0)
    assert first.min() > 0  # every band is hidden for some sound


def test_what_is_hidden_is_the_mean_of_its_own_sound() -> None:
    torch.manual_seed(0)
    bands = torch.randn(4, 1, 20, 30) + torch.arange(4.0)[:, None, None, None] * 100
    masked = SpecAugment()(bands)
    for one, original in zip(masked, bands, strict=True):
        changed = one[one != original]
        assert torch.allclose(changed, original.mean().expand_as(changed))
