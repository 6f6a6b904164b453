"""The quick way through a JPEG: its planes are scaled as they are stored, and only the small picture becomes RGB.

    planes = decode(data, (224, 299), channels=3, max_pixels=64_000_000)     # (3, 224, 299) uint8, or None

libjpeg, as every other way uses it, first brings both colour planes up to full size and turns every pixel into RGB,
which is then scaled in three channels: of a picture of 500 x 375 for 224 pixels, that is half of the time. FFmpeg's
decoder and scaler (in PyAV) leave it out; the brightness differs by rounding (55 dB), the colours, where they are
stored at half size, by how they are brought up (41 dB).

A decoder that is made for each picture asks for its memory each time, which costs a third of the decoding; one that is
kept remembers tables and flags of the picture before. So it is kept for files whose every table is their own, of which
it is given nothing but frame, tables and one scan; any other file gets a new one, and gives the same pixels.

None is the answer for whatever is not plain (CMYK, RGB stored as such, a file that FFmpeg finds a fault in): Pillow
then reads it, or says what is wrong. Source: ITU-T T.81, annex B; T.871 for the colours.
"""

from __future__ import annotations

import re
import threading
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deepseek.extras import need

#: Brightness and two colour planes of full range, or brightness alone: what JFIF knows.
_PLAIN_FORMATS: Final = frozenset(["yuvj420p", "yuvj422p", "yuvj440p", "yuvj444p", "gray"])
#: What ends the coded data of a scan: a marker that is neither a stuffed byte nor a restart (T.81, B.1.1.2).
_SCAN_END: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SOF0, _SOF1, _DHT, _SOI, _EOI, _SOS, _DQT, _DRI, _APP0, _APP14, _APP15, _COM = (
    0xC0, 0xC1, 0xC4, 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xE0, 0xEE, 0xEF, 0xFE,
)  # fmt: skip
_thread_state = threading.local()
CropBox = tuple[int, int, int, int]  # top, left, height and width in pixels


def decode_jpeg(
    data: bytes, size: tuple[int, int], *, channels: int, max_pixels: int, cut: CropBox | None = None
) -> NDArray[np.uint8] | None:
    """The picture, or the `cut` of it, at `size` (height, width) as (channels, height, width). None where it is not
    plain or not whole. A cut begins at even pixels, where the colours do.

    Scaled by triangles as wide as two of the new pixels, like Pillow's and torch's antialiased bilinear.
    """
    av = need("av", extra="media")
    scaler, interpolation = _get_scaler()
    standalone = self_contained_parts(data)
    codec = _get_decoder(max_pixels, is_kept=standalone is not None)
    height, width = size
    try:
        frames = codec.decode(av.Packet(standalone or data))
        if len(frames) != 1 or frames[0].format.name not in _PLAIN_FORMATS:
            return None
        small = scaler.reformat(
            frames[0] if cut is None else _crop_frame(frames[0], cut),
            width,
            height,
            "gray" if channels == 1 else "gbrp",
            interpolation=interpolation,
            threads=1,
        )
    except (av.FFmpegError, ValueError, MemoryError):
        _thread_state.__dict__.pop("decoder", None)  # what it has half done is not for the next picture
        return None
    order = (0,) if channels == 1 else (2, 0, 1)  # FFmpeg keeps green first
    out = np.empty((channels, height, width), np.uint8)
    for target, number in zip(out, order, strict=True):
        plane = small.planes[number]
        target[:] = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:height, :width]
    return out


def _crop_frame(frame: Any, cut: CropBox) -> Any:
    """A new frame that holds the part of each plane inside the crop."""
    top, left, height, width = cut
    cropped = need("av", extra="media").VideoFrame(width, height, frame.format.name)
    for old, new in zip(frame.planes, cropped.planes, strict=True):
        # Of the colour planes, half as many columns or rows, or both; the last one may stand for half a pixel.
        down, across = (round(whole / part) for whole, part in ((frame.height, old.height), (frame.width, old.width)))
        rows = np.frombuffer(old, np.uint8).reshape(-1, old.line_size)[top // down :, left // across :]
        to = np.frombuffer(new, np.uint8).reshape(-1, new.line_size)
        to[: new.height, : new.width] = rows[: new.height, : new.width]
    return cropped


def self_contained_parts(data: bytes) -> bytes | None:
    """The file without its notes, if it is one scan of all components whose tables all stand before it; else None.

    >>> self_contained_parts(bytes.fromhex("ffd8ffd9")) is None
    True
    """
    parts, tables, required, offset = [data[:2]], set[tuple[int, int]](), list[tuple[int, int]](), 2
    while offset + 4 <= len(data) and data[offset] == 0xFF:
        marker, end = data[offset + 1], offset + 2 + int.from_bytes(data[offset + 2 : offset + 4], "big")
        body = data[offset + 4 : end]
        if len(body) != end - offset - 4:
            return None
        if marker in (_DHT, _DQT):
            if not _collect_tables(marker, body, tables):
                return None
        elif marker in (_SOF0, _SOF1) and not required and len(body) >= 6:
            required = [(_DQT, table) for table in body[8::3]]
        elif marker == _SOS:
            return _append_scan(data, offset, body, parts, tables, required)
        elif marker not in (_DRI, _APP14):
            if not (_APP0 <= marker <= _APP15 or marker == _COM):
                return None
            offset = end  # a note
            continue
        parts.append(data[offset:end])
        offset = end
    return None


def _collect_tables(marker: int, body: bytes, tables: set[tuple[int, int]]) -> bool:
    """Add the tables of one segment (T.81, B.2.4.1, B.2.4.2) to `tables`. False when its length contradicts them."""
    offset = 0
    while offset < len(body):
        if marker == _DQT:
            size, key = 1 + (128 if body[offset] >> 4 else 64), (_DQT, body[offset] & 15)
        else:
            size, key = 17 + sum(body[offset + 1 : offset + 17]), (_DHT, body[offset])
        offset += size
        tables.add(key)
    return offset == len(body)


def _append_scan(
    data: bytes,
    offset: int,
    body: bytes,
    parts: list[bytes],
    tables: set[tuple[int, int]],
    required: list[tuple[int, int]],
) -> bytes | None:
    """All parts joined, if the scan has every component and only the end of the image follows; else None."""
    num_components = body[0] if body else 0
    if not required or num_components != len(required) or len(body) != 4 + 2 * num_components:
        return None
    for selector in body[2 : 2 + 2 * num_components : 2]:  # the tables of each: DC (class 0) and AC (class 1)
        required = [*required, (_DHT, selector >> 4), (_DHT, 16 | selector & 15)]
    end = _SCAN_END.search(data, offset + 4 + len(body))
    if end is None or data[end.end() - 1] != _EOI or not tables.issuperset(required):
        return None
    return b"".join([*parts, data[offset : end.end()]])


def _get_decoder(max_pixels: int, *, is_kept: bool) -> Any:
    """A decoder: this thread's own where `is_kept`, else a new one."""
    cached: tuple[int, Any] | None = getattr(_thread_state, "decoder", None)
    if is_kept and cached is not None and cached[0] == max_pixels:
        return cached[1]
    codec = need("av", extra="media").CodecContext.create("mjpeg", "r")
    codec.thread_count = 1
    codec.options = {"err_detect": "explode", "max_pixels": str(max_pixels)}
    if is_kept:
        _thread_state.decoder = max_pixels, codec
    return codec


def _get_scaler() -> tuple[Any, Any]:
    """This thread's scaler, which keeps its filters for the last size, and its flags: equal on any processor."""
    if not hasattr(_thread_state, "scaler"):
        reformatter = need("av.video.reformatter", extra="media")
        kinds = reformatter.Interpolation
        _thread_state.scaler = reformatter.VideoReformatter(), kinds.BILINEAR | kinds.ACCURATE_RND | kinds.BITEXACT
    scaler: tuple[Any, Any] = _thread_state.scaler
    return scaler
