"""Vibration: the features of a block, as the public bearings have them; blocks as messages."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepseek.errors import InputError
from deepseek.features.machines import vibration
from deepseek.features.machines.blocks import Block, decode_block, encode_block, is_block
from deepseek.features.machines.vibration import compute_vibration, vibration_names

RATE_HZ = 25_600.0


def by_name(samples: np.ndarray) -> dict[str, float]:
    return dict(zip(vibration_names(("h",), RATE_HZ), compute_vibration(samples[None, None], RATE_HZ)[0], strict=True))


def test_a_tone_has_its_level_its_band_and_its_frequency() -> None:
    time = np.arange(25_600) / RATE_HZ
    features = by_name(3 + 2 * np.sin(2 * np.pi * 2_000 * time))
    assert features["h_rms"] == pytest.approx(np.sqrt(2), rel=1e-4)
    assert features["h_kurtosis"] == pytest.approx(1.5, rel=1e-4)
    assert features["h_crest"] == pytest.approx(np.sqrt(2), rel=1e-2)
    assert features["h_band1600_3200"] == pytest.approx(1, abs=1e-4)
    assert features["h_spectral_centroid"] == pytest.approx(2_000, abs=1)


def test_noise_is_spread_by_the_width_of_bands_and_a_sensor_that_says_one_number_has_no_shape() -> None:
    features = by_name(np.random.default_rng(0).normal(size=256_000))
    assert features["h_kurtosis"] == pytest.approx(3, abs=0.1)
    shares = [features[name] for name in vibration_names(("h",), RATE_HZ)[5:9]]
    np.testing.assert_allclose(shares, [1 / 8, 1 / 8, 1 / 4, 1 / 2], atol=0.01)
    assert set(by_name(np.full(2_560, 5.0)).values()) == {0.0}


def test_counts_with_a_scale_are_the_samples_themselves_however_they_are_grouped() -> None:
    counts = np.random.default_rng(1).integers(-9_000, 9_000, (7, 2, 2_560)).astype(np.int16)
    scale = np.linspace(0.001, 0.002, 7)
    together = compute_vibration(counts, RATE_HZ, scale)
    with ThreadPoolExecutor(2) as pool:
        np.testing.assert_allclose(compute_vibration(list(counts), RATE_HZ, scale, pool), together, rtol=1e-6)
    np.testing.assert_allclose(compute_vibration(counts * scale[:, None, None], RATE_HZ), together, rtol=2e-4)


@pytest.mark.parametrize("num_samples", [100, 2_560, 6_000])
def test_compiled_features_are_those_of_the_readable_ones(num_samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    counts = np.random.default_rng(4).integers(-9_000, 9_000, (3, 2, num_samples)).astype(np.int16)
    compiled = compute_vibration(counts, RATE_HZ)
    monkeypatch.setattr(vibration, "_describer", lambda: vibration._describe)
    np.testing.assert_allclose(compiled, compute_vibration(counts, RATE_HZ), rtol=1e-4)


@pytest.mark.parametrize("num_samples", [100, 2_560, 6_000])
def test_counts_and_the_same_numbers_as_floats_read_alike(num_samples: int) -> None:
    counts = np.random.default_rng(2).integers(-300, 300, (3, 2, num_samples)).astype(np.int16)
    counts[0] += 20_000  # a sensor with an offset
    counts[1, 0, 7], counts[2, 1] = -32_768, 12
    features = compute_vibration(counts, RATE_HZ)
    np.testing.assert_allclose(features, compute_vibration(counts.astype(np.float64), RATE_HZ), rtol=2e-4, atol=1e-4)
    mirrored = compute_vibration(np.ascontiguousarray(counts[:, ::-1]), RATE_HZ)
    np.testing.assert_array_equal(mirrored.reshape(3, 2, -1)[:, ::-1].reshape(3, -1), features)


@pytest.mark.parametrize("blocks", [[np.zeros((2, 9))], [np.zeros((2, 99)), np.zeros((1, 99))], [np.zeros(99)]])
def test_blocks_that_cannot_be_computed_are_refused(blocks: list[np.ndarray]) -> None:
    with pytest.raises(InputError, match="blocks of the shapes"):
        compute_vibration(blocks, RATE_HZ)
    with pytest.raises(InputError, match="no number"):
        compute_vibration(np.full((1, 1, 99), np.nan), RATE_HZ)


def test_the_features_of_the_public_bearings_come_out_of_their_samples(shared_data: Path) -> None:
    folder = shared_data / "femto-bearing"
    parquet = pytest.importorskip("pyarrow.parquet")
    raw = next(parquet.ParquetFile(folder / "learning_raw.parquet").iter_batches(batch_size=40))
    table = parquet.read_table(folder / "learning_features.parquet", filters=[("bearing", "=", "Bearing1_1")])
    place = {snapshot: row for row, snapshot in enumerate(table["snapshot"].to_pylist())}
    rows = [place[snapshot] for snapshot in raw["snapshot"].to_pylist()]
    samples = [np.stack([raw[axis][row].values for axis in ("horizontal", "vertical")]) for row in range(len(raw))]
    features = compute_vibration(samples, RATE_HZ, np.full(len(samples), 0.001))
    expected = np.column_stack([table[name].to_numpy()[rows] for name in vibration_names(("h", "v"), RATE_HZ)])
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)


BLOCK = Block("M01", 12.5, ("h", "v"), 25_600.0, np.arange(256, dtype=np.int16).reshape(2, 128), 0.25)


def test_a_block_is_what_was_encoded() -> None:
    message = encode_block(BLOCK)
    assert is_block(message)
    assert not is_block(b'{"unit": "M01"}')
    decoded = decode_block(message)
    assert encode_block(decoded) == message
    assert (decoded.unit, decoded.time, decoded.axes, decoded.form[1:]) == ("M01", 12.5, ("h", "v"), (25_600.0, 128))
    np.testing.assert_array_equal(decoded.samples, BLOCK.samples)
    with pytest.raises(InputError, match="int16"):
        encode_block(replace(BLOCK, samples=BLOCK.samples.astype(np.float32)))


@pytest.mark.parametrize("start", range(0, 300, 23))
def test_a_block_that_is_cut_or_damaged_is_refused_in_words(start: int) -> None:
    message = encode_block(BLOCK)
    with pytest.raises(InputError):
        decode_block(message[:start])
    with pytest.raises(InputError):
        decode_block(message + b"\0")


@pytest.mark.parametrize(
    "changes", [{"time": np.nan}, {"rate_hz": 0.0}, {"scale": np.inf}, {"unit": ""}, {"axes": ("h", "")}]
)
def test_a_block_of_what_cannot_be_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InputError):
        decode_block(encode_block(replace(BLOCK, **changes)))
