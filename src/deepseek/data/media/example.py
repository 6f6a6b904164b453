"""A small file of each kind, as JSON holds it: what a model shows to those who want to try it.

example_of("series", SeriesReader(length=3, fill=(0.5,)))      [[0.5], [0.5], [0.5]]

Pictures and films are grey, sounds silent, volumes empty: no value of training is in them.
"""

from __future__ import annotations

import base64
import io
import struct
import wave
import zlib
from typing import Any

import numpy as np

from deepseek.extras import need

SIDE = 8  # pixels and voxels
MOMENTS = 8
SAMPLES = 400  # of a sound
FRAME = 32  # pixels of a film: codecs take no fewer


def example_of(kind: str, reader: Any) -> Any:
    """A value that `reader` reads, in the form in which a request holds it."""
    if kind == "series":
        return [list(reader.fill)] * min(reader.length, MOMENTS)
    if kind == "image":
        return _coded(_png())
    if kind == "audio":
        return _coded(_wav(reader.rate_hz))
    if kind == "volume":
        return _coded(_nifti(1 if reader.size[0] == 1 else SIDE))
    return _coded(_film())


def _coded(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def _png() -> bytes:
    """Grey of 8 bits (W3C PNG, sections 5 and 11)."""
    head = struct.pack(">2I5B", SIDE, SIDE, 8, 0, 0, 0, 0)
    lines = (b"\0" + b"\x80" * SIDE) * SIDE
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    packed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def _wav(rate_hz: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate_hz)
        sound.writeframes(b"\0\0" * SAMPLES)
    return file.getvalue()


def _film() -> bytes:
    """MPEG-4 in AVI, one second, which needs no library besides the one that reads films."""
    av = need("av", extra="media")
    file = io.BytesIO()
    with av.open(file, "w", format="avi") as container:
        video = container.add_stream("mpeg4", rate=MOMENTS)
        video.width = video.height = FRAME
        video.pix_fmt = "yuv420p"
        for _ in range(MOMENTS):
            frame = av.VideoFrame.from_ndarray(np.full((FRAME, FRAME, 3), 128, np.uint8), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode())
    return file.getvalue()


def _nifti(depth: int) -> bytes:
    """NIfTI-1 in one file: a header of 348 bytes, 4 without extensions, voxels of 16 bits (nifti1.h)."""
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, 3, SIDE, SIDE, depth, 1, 1, 1, 1)
    struct.pack_into("<2h", head, 70, 4, 16)  # int16
    struct.pack_into("<8f", head, 76, 1, 1, 1, 1, 0, 0, 0, 0)
    struct.pack_into("<f", head, 108, 352)
    struct.pack_into("<B", head, 123, 2)  # mm
    head[344:348] = b"n+1\0"
    return bytes(head) + bytes(2 * SIDE * SIDE * depth)
