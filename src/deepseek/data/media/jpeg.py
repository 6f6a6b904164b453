"""The quick way through a JPEG: its planes are scaled as they are stored, and only the small picture becomes RGB.

    planes = decode(data, (224, 299), channels=3, max_pixels=64_000_000)     # (3, 224, 299) uint8, or None

libjpeg, as every other way uses it, first brings both color planes up to full size and turns every pixel into RGB,
which is then scaled in three channels: of a picture of 500 x 375 for 224 pixels, that is half of the time. FFmpeg's
decoder and scaler (in PyAV) leave it out; the brightness differs by rounding (55 dB), the colors, where they are
stored at half size, by how they are brought up (41 dB).

None is the answer for whatever is not plain (CMYK, RGB stored as such, a file that FFmpeg finds a fault in): Pillow
then reads it, or says what is wrong. Source: ITU-T T.81; T.871 for the colors.
"""

from __future__ import annotations

import threading
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deepseek.extras import need

#: Brightness and two color planes of full range, or brightness alone: what JFIF knows.
_PLAIN_FORMATS: Final = frozenset(["yuvj420p", "yuvj422p", "yuvj440p", "yuvj444p", "gray"])
_thread_state = threading.local()
CropBox = tuple[int, int, int, int]  # top, left, height and width in pixels


def decode_jpeg(
    data: bytes, size: tuple[int, int], *, channels: int, max_pixels: int, cut: CropBox | None = None
) -> NDArray[np.uint8] | None:
    """The picture, or the `cut` of it, at `size` (height, width) as (channels, height, width). None where it is not
    plain or not whole. A cut begins at even pixels, where the colors do.

    Scaled by triangles as wide as two of the new pixels, like Pillow's and torch's antialiased bilinear.
    """
    av = need("av", extra="media")
    scaler, interpolation = _get_scaler()
    height, width = size
    try:
        frames = _open_decoder(max_pixels).decode(av.Packet(data))
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
        # Of the color planes, half as many columns or rows, or both; the last one may stand for half a pixel.
        down, across = (round(whole / part) for whole, part in ((frame.height, old.height), (frame.width, old.width)))
        rows = np.frombuffer(old, np.uint8).reshape(-1, old.line_size)[top // down :, left // across :]
        to = np.frombuffer(new, np.uint8).reshape(-1, new.line_size)
        to[: new.height, : new.width] = rows[: new.height, : new.width]
    return cropped


def _open_decoder(max_pixels: int) -> Any:
    """A new decoder: one that was used before remembers tables and flags of the picture before."""
    codec = need("av", extra="media").CodecContext.create("mjpeg", "r")
    codec.thread_count = 1
    codec.options = {"err_detect": "explode", "max_pixels": str(max_pixels)}
    return codec


def _get_scaler() -> tuple[Any, Any]:
    """This thread's scaler, which keeps its filters for the last size, and its flags: equal on any processor."""
    if not hasattr(_thread_state, "scaler"):
        reformatter = need("av.video.reformatter", extra="media")
        kinds = reformatter.Interpolation
        _thread_state.scaler = reformatter.VideoReformatter(), kinds.BILINEAR | kinds.ACCURATE_RND | kinds.BITEXACT
    scaler: tuple[Any, Any] = _thread_state.scaler
    return scaler
