"""A small file of each kind, as JSON holds it: what a model shows to those who want to try it.

make_example("series", SeriesReader(length=3, fill=(0.5,)))      [[0.5], [0.5], [0.5]]

Pictures and films are gray, sounds silent, volumes empty: no value of training is in them.
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

SIDE_PX = 8  # pixels and voxels
NUM_STEPS = 8
NUM_SAMPLES = 400  # of a sound
FRAME_SIDE_PX = 32  # pixels of a film: codecs take no fewer


def make_example(kind: str, reader: Any) -> Any:
    """A value that `reader` reads, in the form in which a request holds it."""
    if kind == "series":
        return [list(reader.fill)] * min(reader.length, NUM_STEPS)
    if kind == "image":
        return _encode_base64(_make_png())
    if kind == "audio":
        return _encode_base64(_make_wav(reader.rate_hz))
    if kind == "volume":
        return _encode_base64(_make_nifti(1 if reader.size[0] == 1 else SIDE_PX))
    return _encode_base64(_make_video())


def _encode_base64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def _make_png() -> bytes:
    """Gray of 8 bits (W3C PNG, sections 5 and 11)."""
    head = struct.pack(">2I5B", SIDE_PX, SIDE_PX, 8, 0, 0, 0, 0)
    lines = (b"\0" + b"\x80" * SIDE_PX) * SIDE_PX
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    packed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def _make_wav(rate_hz: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate_hz)
        sound.writeframes(b"\0\0" * NUM_SAMPLES)
    return file.getvalue()


def _make_video() -> bytes:
    """MPEG-4 in AVI, one second, which needs no library besides the one that reads films."""
    av = need("av", extra="media")
    file = io.BytesIO()
    with av.open(file, "w", format="avi") as container:
        video = container.add_stream("mpeg4", rate=NUM_STEPS)
        video.width = video.height = FRAME_SIDE_PX
        video.pix_fmt = "yuv420p"
        for _ in range(NUM_STEPS):
            frame = av.VideoFrame.from_ndarray(
                np.full((FRAME_SIDE_PX, FRAME_SIDE_PX, 3), 128, np.uint8), format="rgb24"
            )
            container.mux(video.encode(frame))
        container.mux(video.encode())
    return file.getvalue()


def _make_nifti(depth: int) -> bytes:
    """NIfTI-1 in one file: a header of 348 bytes, 4 without extensions, voxels of 16 bits (nifti1.h)."""
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, 3, SIDE_PX, SIDE_PX, depth, 1, 1, 1, 1)
    struct.pack_into("<2h", head, 70, 4, 16)  # int16
    struct.pack_into("<8f", head, 76, 1, 1, 1, 1, 0, 0, 0, 0)
    struct.pack_into("<f", head, 108, 352)
    struct.pack_into("<B", head, 123, 2)  # mm
    head[344:348] = b"n+1\0"
    return bytes(head) + bytes(2 * SIDE_PX * SIDE_PX * depth)
