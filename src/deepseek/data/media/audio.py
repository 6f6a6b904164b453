"""Sounds: WAV, FLAC, OGG (Vorbis, Opus) and MP3 -> float32 (channels, T) at one rate, in -1..1.

    reader = AudioReader.fit(sources)                 # the rate, the length and the channels of what is there
    waveform = reader.read(source)                    # (1, 16000): the first second, zeros behind what is shorter
    waveform, num = reader.read_with_length(source)   # num: samples that are not padding

The length is told by the header, before anything is decoded, and no more is decoded than is kept. A spectrogram is the
model's work (nn.spectrogram.LogMel), so that it is the same in training, in serving and in an exported graph.

Source: libsndfile for what is compressed, wav.py for plain WAV; soxr (band-limited, "HQ") between rates.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self, TypedDict

import numpy as np

from deepseek.contracts import Float32
from deepseek.data.media import wav
from deepseek.data.media.magic_bytes import detect_media_format
from deepseek.data.media.source import BrokenError, Source
from deepseek.errors import InputError, TooLargeError
from deepseek.extras import need

_FORMATS: Final = frozenset(["WAV", "FLAC", "OGG", "MP3"])
_RATE_RANGE_HZ: Final = (1_000, 768_000)  # Hz: below and above, a header is nonsense
_MAX_CHANNELS = 64
_MAX_PEAK = 8.0  # of full scale: float samples beyond it are integers that nobody scaled
_UNKNOWN_NUM_FRAMES = 2**62  # frames; libsndfile says 2^63 - 1 where a stream does not say its length
_TAIL_S = 0.05  # decoded beyond what is kept, so that the last samples at the new rate have both neighbors
_MAX_FIT_S = 30.0


@dataclass(frozen=True, slots=True)
class AudioReader:
    """Sounds as float32 (channels, seconds x rate_hz).

    >>> AudioReader(rate_hz=8_000, seconds=1.5).shape
    (1, 12000)
    """

    rate_hz: int = 16_000
    seconds: float = 1.0  # what is longer is cut after them, what is shorter padded with zeros
    channels: int = 1  # 1: the mean of those in the file; 2: left and right
    kind: ClassVar[str] = "audio"
    suffixes: ClassVar[tuple[str, ...]] = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3")

    def __post_init__(self) -> None:
        if not _RATE_RANGE_HZ[0] <= self.rate_hz <= _RATE_RANGE_HZ[1]:
            raise InputError(f"rate_hz is {self.rate_hz}", expected="1,000 to 768,000", fix="write 16000")
        if not 1 <= self.seconds * self.rate_hz <= 2**31 or not math.isfinite(self.seconds):
            raise InputError(f"seconds is {self.seconds}", expected="1 sample to 2^31 samples", fix="write 1.0")
        if self.channels not in (1, 2):
            raise InputError(f"channels is {self.channels}", expected="1 (mono) or 2 (stereo)", fix="write one of them")

    @classmethod
    def fit(cls, sources: Sequence[Source]) -> Self:
        """The most common rate, the longest sound up to 30 s, two channels where they differ. BrokenError for one that
        cannot be read."""
        rates: Counter[int] = Counter()
        seconds, channels = 0.0, 1
        for source in sources:
            with _AudioFile(source) as sound:
                rates[sound.rate_hz] += 1
                samples = sound.read_first(_MAX_FIT_S)
                seconds = max(seconds, len(samples) / sound.rate_hz)
                if samples.shape[1] > 1 and np.ptp(samples[:, :2], axis=1).max() > 1e-3:
                    channels = 2
        if not sources:
            return cls()
        return cls(rate_hz=rates.most_common(1)[0][0], seconds=seconds, channels=channels)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape that read() returns: channels, samples."""
        return self.channels, round(self.seconds * self.rate_hz)

    @property
    def dtype(self) -> str:
        """The dtype that read() returns."""
        return "float32"

    def read(self, source: Source) -> Float32:
        """One sound, (channels, samples). BrokenError for what is no sound, is cut off, empty or not finite,
        TooLargeError above limits.max_seconds."""
        return self.read_with_length(source)[0]

    def read_with_length(self, source: Source) -> tuple[Float32, int]:
        """One sound as read() gives it, and how many of its samples are not padding."""
        with _AudioFile(source) as sound:
            samples = self._mix_channels(sound.read_first(self.seconds + _TAIL_S))
            if sound.rate_hz != self.rate_hz:
                samples = need("soxr", extra="media").resample(samples, sound.rate_hz, self.rate_hz, quality="HQ")
            is_bounded = sound.is_whole and sound.rate_hz == self.rate_hz
        out = np.empty(self.shape, np.float32)
        length = min(len(samples), out.shape[1])
        out[:, :length] = samples[:length].T
        out[:, length:] = 0
        return out if is_bounded else np.clip(out, -1, 1, out=out), length

    def _mix_channels(self, samples: Float32) -> Float32:
        """Samples (T, any number of channels) -> (T, self.channels): the mean, or left and right."""
        if samples.shape[1] == self.channels:
            return samples
        if self.channels == 1:
            mean: Float32 = samples.mean(1, keepdims=True)
            return mean
        return samples[:, :2] if samples.shape[1] > 1 else np.repeat(samples, 2, axis=1)


class AudioFacts(TypedDict):
    format: str
    rate_hz: int
    channels: int
    seconds: float
    silent: bool  # every sample is 0


def describe(source: Source) -> AudioFacts:
    """Facts for a card; decodes the whole sound. BrokenError and TooLargeError as AudioReader.read raises them."""
    with _AudioFile(source) as sound:
        samples = sound.read_first(source.limits.max_seconds)
        return {
            "format": detect_media_format(source.data),
            "rate_hz": sound.rate_hz,
            "channels": samples.shape[1],
            "seconds": len(samples) / sound.rate_hz,
            "silent": not samples.any(),
        }


class _AudioFile:
    """An open sound file whose header was checked; nothing of it is decoded yet."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.file: Any = None
        file_format = detect_media_format(source.data)
        if file_format not in _FORMATS:
            raise BrokenError(
                f"{source.name} is no sound but {file_format}", expected="WAV, FLAC, OGG or MP3",
                fix="give the sound itself, or save it as one of these",
            )  # fmt: skip
        self.header = wav.read_header(source.data, source.name) if file_format == "WAV" else None
        if self.header is not None:
            self.rate_hz, self.num_frames, channels = self.header.rate_hz, self.header.num_frames, self.header.channels
        else:
            self.file = self._open_file()
            self.rate_hz, self.num_frames, channels = self.file.samplerate, self.file.frames, self.file.channels
        self.channels = channels
        self._check(channels)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            self.file.close()

    @property
    def is_whole(self) -> bool:
        """Whether its samples are whole numbers, which cannot be beyond full scale."""
        return self.header is not None and not self.header.is_float

    def _open_file(self) -> Any:
        soundfile = need("soundfile", extra="media")
        try:
            return soundfile.SoundFile(io.BytesIO(self.source.data))
        except (soundfile.SoundFileError, ValueError) as error:
            raise self._audio_error(f"cannot be decoded: {_error_reason(error)}") from error

    def _check(self, channels: int) -> None:
        if not _RATE_RANGE_HZ[0] <= self.rate_hz <= _RATE_RANGE_HZ[1] or not 1 <= channels <= _MAX_CHANNELS:
            raise self._audio_error(f"says that it has {channels:,} channels of {self.rate_hz:,} Hz")
        if not self.num_frames:
            raise self._audio_error("has no samples")
        limit_s, seconds = self.source.limits.max_seconds, self.num_frames / self.rate_hz
        if self.num_frames < _UNKNOWN_NUM_FRAMES and seconds > limit_s:
            raise TooLargeError(
                f"{self.source.name} has {seconds:,.0f} s", expected=f"at most {limit_s:,.0f} s",
                fix="cut it, or raise the limit",
            )  # fmt: skip

    def read_first(self, seconds: float) -> Float32:
        """The samples of the first `seconds`, (T, channels), finite."""
        num_wanted = min(self.num_frames, math.ceil(seconds * self.rate_hz))
        max_samples = self.source.limits.max_samples
        if num_wanted * self.channels > max_samples:  # a file of silence says hours in a few bytes
            raise TooLargeError(
                f"{self.source.name} says that it has {num_wanted:,} samples of {self.channels} channels to decode",
                expected=f"at most {max_samples:,} numbers", fix="cut it, or raise the limit",
            )  # fmt: skip
        header, data = self.header, self.source.data
        samples = self._decode(num_wanted) if header is None else header.samples(data, num_wanted)
        if self.is_whole:
            return samples
        peak = float(np.abs(samples).max()) if samples.size else 0.0
        if not math.isfinite(peak):
            raise self._audio_error("has samples that are no numbers")
        if peak > _MAX_PEAK:
            raise self._audio_error(f"has samples up to {peak:,.0f}, where full scale is 1")
        return samples

    def _decode(self, num_wanted: int) -> Float32:
        soundfile = need("soundfile", extra="media")
        try:
            samples: Float32 = self.file.read(num_wanted, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, ValueError) as error:
            raise self._audio_error(f"cannot be decoded: {_error_reason(error)}") from error
        if len(samples) < num_wanted and self.num_frames < _UNKNOWN_NUM_FRAMES:
            raise self._audio_error(f"ends after {len(samples):,} of {self.num_frames:,} samples")
        if not len(samples):
            raise self._audio_error("has no samples")
        return samples

    def _audio_error(self, problem: str) -> BrokenError:
        return BrokenError(f"{self.source.name} {problem}", expected="a whole sound", fix="copy or record it again")


def _error_reason(error: Exception) -> str:
    """The message of libsndfile, without the address of the file object."""
    return str(getattr(error, "error_string", error)).rstrip(".")
