"""Sounds as they come: of any rate, width and number of channels, cut off, empty, hours long, or no sounds at all."""

from __future__ import annotations

import dataclasses
import io
import json
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from deepseek.contracts import Float32
from deepseek.data.media.audio import AudioReader
from deepseek.data.media.source import BrokenError, Limits, Source, open_source
from deepseek.errors import InputError, TooLargeError

RATE = 8_000
PLAIN = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")


def tone(seconds: float = 1.0, rate: int = RATE, hz: float = 440.0) -> Float32:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def encoded(samples: Any, rate: int = RATE, kind: str = "WAV", subtype: str | None = None) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=kind, subtype=subtype)
    return out.getvalue()


def source_of(data: bytes, limits: Limits | None = None) -> Source:
    return open_source(data, root=None, row=3, column="cough", limits=limits)


def read(data: bytes, **knobs: Any) -> Float32:
    return AudioReader(**{"rate_hz": RATE, **knobs}).read(source_of(data))


@pytest.mark.parametrize("subtype", [*PLAIN, "ULAW", "ALAW", "MS_ADPCM"])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_width_of_wav_is_read_as_libsndfile_reads_it(subtype: str, channels: int) -> None:
    samples = np.stack([tone(hz=440 * (at + 1)) for at in range(channels)], 1)
    for kind in ("WAV", "WAVEX", "RF64"):
        if subtype == "MS_ADPCM" and kind != "WAV":
            continue
        data = encoded(samples, kind=kind, subtype=subtype)
        expected = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0].T
        assert np.array_equal(read(data, channels=channels), expected[:, :RATE])


@pytest.mark.parametrize(("kind", "most"), [("FLAC", 1e-4), ("OGG", 0.05), ("MP3", 0.05)])
def test_compressed_sounds_are_read(kind: str, most: float) -> None:
    assert np.abs(read(encoded(tone(), kind=kind)) - tone()).mean() < most


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 48_000])
def test_a_tone_stays_the_same_tone_at_another_rate(rate: int) -> None:
    waveform = read(encoded(tone(1.5, rate, 1_000.0), rate), rate_hz=16_000)
    expected = tone(1.0, 16_000, 1_000.0)
    assert (
        np.abs(waveform[0, 200:] - expected[200:]).max() < 2e-3
    )  # up to the cut end: what follows it was decoded, too


def test_what_is_above_half_of_the_new_rate_is_gone_not_folded_down() -> None:
    assert np.abs(read(encoded(tone(1.2, 48_000, 7_000.0), 48_000))[0, 200:]).max() < 1e-3


def test_short_sounds_are_padded_behind_and_say_their_length() -> None:
    waveform, length = AudioReader(RATE, 1.0).read_with_length(source_of(encoded(tone(0.25))))
    assert (waveform.shape, length) == ((1, 8_000), 2_000)
    assert np.abs(waveform[0, :2_000] - tone(0.25)).max() < 1e-4
    assert not waveform[0, 2_000:].any()
    assert AudioReader(RATE, 0.1).read_with_length(source_of(encoded(tone(0.25))))[1] == 800


def test_channels_are_mixed_or_doubled() -> None:
    left, right = tone(), -tone() * 0.5
    both = encoded(np.stack([left, right], 1), subtype="FLOAT")
    assert np.abs(read(both) - (left + right) / 2).max() < 1e-6
    assert np.abs(read(both, channels=2) - [left, right]).max() < 1e-6
    alone = read(encoded(left, subtype="FLOAT"), channels=2)
    assert np.array_equal(alone[0], alone[1])
    assert read(encoded(np.stack([left] * 6, 1)), channels=2).shape == (2, RATE)


def test_nothing_and_no_sound_are_told(tmp_path: Path) -> None:
    (tmp_path / "zero.wav").touch()
    (tmp_path / "text.wav").write_text("hello, this is text")
    with pytest.raises(BrokenError, match=r"zero.wav \(row 3, column 'cough'\) is empty"):
        open_source("zero.wav", root=tmp_path, row=3, column="cough")
    with pytest.raises(BrokenError, match=r"text.wav \(row 3, column 'cough'\) is no sound but text"):
        AudioReader().read(open_source("text.wav", root=tmp_path, row=3, column="cough"))
    for kind in ("WAV", "FLAC"):
        with pytest.raises(BrokenError, match="row 3"):
            read(encoded(np.zeros(0, np.float32), kind=kind))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_that_are_no_numbers_are_told(bad: float, subtype: str) -> None:
    samples = tone()
    samples[99] = bad
    with pytest.raises(BrokenError, match="no numbers"):
        read(encoded(samples, subtype=subtype))


def test_integers_stored_as_floats_are_told_and_a_little_too_loud_is_cut() -> None:
    with pytest.raises(BrokenError, match="full scale is 1"):
        read(encoded(tone() * 32_767, subtype="FLOAT"))
    assert np.abs(read(encoded(tone() * 3, subtype="FLOAT"))).max() == 1


def test_three_hours_are_refused_by_the_header_and_an_hour_is_not_decoded() -> None:
    silence = encoded(np.zeros(1_000, np.int16), 1_000)
    hours = silence[:40] + struct.pack("<I", 3 * 3_600 * 2_000) + bytes(3 * 3_600 * 2_000)
    with pytest.raises(TooLargeError, match=r"has 10,800 s\. Expected: at most 3,600 s"):
        read(hours)
    flac = encoded(np.zeros(7_300 * 1_000, np.int16), 1_000, "FLAC")
    with pytest.raises(TooLargeError, match="7,300 s"):
        read(flac)
    assert AudioReader(1_000, 1.0).read(source_of(flac, Limits(max_seconds=1e4))).shape == (1, 1_000)


def test_silence_of_many_channels_is_refused_before_memory_is_asked_for() -> None:
    """Within the hour, and a few kilobytes as they lie in the file."""
    flac = encoded(np.zeros((100_000, 8), np.int16), 96_000, "FLAC")
    assert len(flac) < 20_000
    head = int.from_bytes(flac[18:26], "big")  # rate (20 bits), channels (3), bits (5), samples (36)
    changed_flac = flac[:18] + (head >> 36 << 36 | 96_000 * 3_500).to_bytes(8, "big") + flac[26:]
    tracemalloc.start()
    for limits, seconds in ((Limits(), 3_000.0), (Limits(max_samples=1_000_000), 2.0)):
        with pytest.raises(TooLargeError, match=f"8 channels to decode.*at most {limits.max_samples:,} numbers"):
            AudioReader(96_000, seconds).read(source_of(changed_flac, limits))
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    assert AudioReader(96_000, 0.5).read(source_of(flac)).shape == (1, 48_000)


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.97])
def test_a_sound_that_is_cut_off_is_broken(kind: str, share: float) -> None:
    data = encoded(np.random.default_rng(0).normal(0, 0.1, RATE), kind=kind)
    with pytest.raises(BrokenError, match="row 3, column 'cough'"):
        read(data[: max(13, int(len(data) * share))])


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_recorder_that_did_not_know_the_length_is_believed(size: int) -> None:
    data = encoded(tone())
    assert np.abs(read(data[:40] + struct.pack("<I", size) + data[44:]) - tone()).max() < 1e-4


@pytest.mark.parametrize(("at", "value"), [(24, 0), (24, 2**31), (22, 0), (22, 60_000)])
def test_a_header_of_nonsense_is_told(at: int, value: int) -> None:
    data, form = encoded(tone()), "<I" if at == 24 else "<H"
    with pytest.raises(BrokenError, match="row 3"):
        read(data[:at] + struct.pack(form, value) + data[at + struct.calcsize(form) :])


@pytest.mark.parametrize(
    ("kind", "subtype"), [("WAV", None), ("WAV", "ALAW"), ("FLAC", None), ("OGG", None), ("MP3", None)]
)
def test_whatever_the_bytes_are_it_is_a_sound_or_an_error_of_the_input(kind: str, subtype: str | None) -> None:
    random = np.random.default_rng(0)
    whole = np.frombuffer(encoded(tone(0.3), kind=kind, subtype=subtype), np.uint8)
    outcomes: list[str] = []
    for _ in range(300):
        data = whole.copy()
        at = random.integers(4, 60 if random.random() < 0.7 else len(data), random.integers(1, 6))
        data[at] = random.integers(0, 256, len(at))
        try:
            waveform = read(data.tobytes(), seconds=0.1)
        except InputError as error:
            outcomes.append(str(error))
        else:
            assert np.isfinite(waveform).all()
            assert np.abs(waveform).max() <= 1
    assert outcomes
    assert all("row 3, column 'cough'" in each for each in outcomes)


def test_fit_sees_rate_length_and_channels() -> None:
    long, short = source_of(encoded(tone(0.5))), source_of(encoded(tone(0.2)))
    other = source_of(encoded(np.stack([tone(0.3, 16_000)] * 2, 1), 16_000))
    assert AudioReader.fit([long, short, other]) == AudioReader(rate_hz=RATE, seconds=0.5, channels=1)
    apart = source_of(encoded(np.stack([tone(0.1), -tone(0.1)], 1)))
    assert AudioReader.fit([apart]) == AudioReader(rate_hz=RATE, seconds=0.1, channels=2)
    assert AudioReader.fit([]) == AudioReader()
    assert AudioReader(**json.loads(json.dumps(dataclasses.asdict(AudioReader(8_000, 0.5, 2))))).shape == (2, 4_000)


@pytest.mark.parametrize("wrong", [{"rate_hz": 0}, {"seconds": 0.0}, {"seconds": float("nan")}, {"channels": 3}])
def test_a_knob_out_of_its_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        AudioReader(**wrong)


def test_spoken_digits_are_read_as_libsndfile_reads_them(shared_data: Path) -> None:
    with zipfile.ZipFile(shared_data / "fsdd" / "recordings.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".wav")][:40]
        sources = [source_of(archive.read(name)) for name in names]
    reader = AudioReader.fit(sources)
    assert (reader.rate_hz, reader.channels) == (8_000, 1)
    for source in sources:
        waveform, length = reader.read_with_length(source)
        assert np.array_equal(waveform[0, :length], soundfile.read(io.BytesIO(source.data), dtype="float32")[0])
