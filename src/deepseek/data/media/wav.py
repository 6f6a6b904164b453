"""WAV without a library: what its header says, checked against what is there, and its samples.

    header = read_header(data, "cough.wav (row 3, column 'cough')")
    waveform = header.samples(data, 16_000)              # the first ones, (T, channels) float32 in -1..1

Uncompressed samples are most of what is recorded, and their decoding is one multiplication: this takes a fifth of
libsndfile's time for a second of speech. Whatever else WAV may hold (A-law, ADPCM) is left to libsndfile.

Source: IBM and Microsoft, Multimedia Programming Interface and Data Specifications 1.0, 1991; WAVEFORMATEXTENSIBLE.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.data.media.source import BrokenError

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_UNKNOWN_SIZES: Final = frozenset([0, 0xFFFFFFFF, 0x7FFFFFFF])  # what a recorder writes that does not know the end yet
_CHUNK_STRUCT = struct.Struct("<4sI")
_FORMAT_STRUCT = struct.Struct("<HHIIHH")


@dataclass(frozen=True, slots=True)
class WavHeader:
    """Position and format of the samples of a plain WAV file."""

    rate_hz: int
    channels: int
    num_frames: int
    start: int  # bytes before the first sample
    bits: int
    is_float: bool

    def samples(self, data: bytes, num_frames: int) -> Float32:
        """The first `num_frames` frames, (T, channels), integers scaled from their full range to -1..1."""
        num = min(num_frames, self.num_frames) * self.channels
        kind = f"<f{self.bits // 8}" if self.is_float else {8: "u1", 16: "<i2", 24: "u1", 32: "<i4"}[self.bits]
        raw = np.frombuffer(data, kind, num * (3 if self.bits == 24 else 1), self.start)
        return self._scale(raw).reshape(-1, self.channels)

    def _scale(self, raw: NDArray[np.generic]) -> Float32:
        if self.is_float:
            with np.errstate(over="ignore", invalid="ignore"):
                return raw.astype(np.float32)
        if self.bits == 8:
            return (raw.astype(np.float32) - 128) * np.float32(1 / 128)
        if self.bits == 24:  # into the upper three bytes of four
            wide = np.zeros((len(raw) // 3, 4), np.uint8)
            wide[:, 1:] = raw.reshape(-1, 3)
            return wide.view("<i4").ravel().astype(np.float32) * np.float32(2.0**-31)
        scaled: Float32 = np.multiply(raw, np.float32(2.0 ** (1 - self.bits)), dtype=np.float32)
        return scaled


def read_header(data: bytes, name: str) -> WavHeader | None:
    """The header; None for samples that are not plain. BrokenError where it is cut off or promises too many bytes."""
    offset, layout = 12, None
    while offset + 8 <= len(data):
        tag, size = _CHUNK_STRUCT.unpack_from(data, offset)
        offset += 8
        if tag == b"fmt " and size >= 16 and offset + 16 <= len(data):
            layout = list(_FORMAT_STRUCT.unpack_from(data, offset))
            if layout[0] == _EXTENSIBLE and size >= 26 and offset + 26 <= len(data):
                layout[0] = int.from_bytes(data[offset + 24 : offset + 26], "little")
        elif tag == b"data":
            return _header_from_data(layout, offset, size, len(data), name)
        offset += size + size % 2
    raise _broken_error(name, "its header ends before any samples")


def _header_from_data(layout: list[int] | None, start: int, size: int, end: int, name: str) -> WavHeader | None:
    if layout is None:
        raise _broken_error(name, "its header does not say what the samples are")
    code, channels, rate_hz, _, block, bits = layout
    if size not in _UNKNOWN_SIZES and start + size > end:
        raise _broken_error(name, f"its header promises {size:,} bytes of samples and {end - start:,} are there")
    plain = (code == _PCM and bits in (8, 16, 24, 32)) or (code == _FLOAT and bits in (32, 64))
    if not plain or not channels or block != channels * bits // 8:
        return None
    num_available = end - start if size in _UNKNOWN_SIZES else size
    return WavHeader(rate_hz, channels, num_available // block, start, bits, code == _FLOAT)


def _broken_error(name: str, problem: str) -> BrokenError:
    return BrokenError(f"{name}: {problem}", expected="a whole WAV file", fix="copy or record it again")
