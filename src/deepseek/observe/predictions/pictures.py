"""Pictures of requests as numbers that can drift: what a log keeps of them in the place of the pictures.

    measure_picture(data) -> a value for each of PARTS, or None for a file that is no picture

Width and height (pixels), brightness, contrast, sharpness and saturation (0..1), and the eight coarsest waves of the
picture in gray (discrete cosine transform of 32 x 32 pixels): enough to tell a dimmed lamp, a lens out of focus,
another camera or another part in the frame, and too little to see the picture by.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from deepseek.contracts import Float64
from deepseek.extras import is_installed

SIDE_PX = 32
MAX_PIXELS = 50_000_000  # a larger picture is not opened: its numbers are missing
WAVES = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2))
PARTS = (
    "width", "height", "brightness", "contrast", "sharpness", "saturation",
    *(f"wave {down}.{across}" for down, across in WAVES),
)  # fmt: skip
_GRAY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def _cosines() -> Float64:
    """(3, SIDE_PX): the first rows of the orthonormal discrete cosine transform."""
    places = (2 * np.arange(SIDE_PX) + 1) * np.pi / (2 * SIDE_PX)
    rows: Float64 = np.cos(np.arange(3)[:, None] * places) * np.sqrt(2 / SIDE_PX)
    rows[0] /= np.sqrt(2)
    return rows


_COSINES = _cosines()


def file_of(value: Any) -> str | None:
    """The base64 of a file in a request, {"b64": "..."}; None for any other value."""
    coded = value.get("b64") if isinstance(value, Mapping) else None
    return coded if isinstance(coded, str) else None


def file_size(coded: str) -> int:
    """Bytes of a file from its base64."""
    return max(0, len(coded) * 3 // 4 - coded[-2:].count("="))


def measure_picture(coded: str) -> tuple[float, ...] | None:
    """The numbers of PARTS of a file in base64. None where it is no picture that can be opened, or without Pillow."""
    if not is_installed("PIL"):
        return None
    from PIL import Image

    try:
        picture: Image.Image = Image.open(io.BytesIO(base64.b64decode(coded)))
        width, height = picture.size
        if width * height > MAX_PIXELS:
            return None
        picture.draft("RGB", (2 * SIDE_PX, 2 * SIDE_PX))  # of a JPEG only as much as is needed is decoded
        if picture.mode.startswith("I;16"):  # 16 bits: Pillow cuts them off at 255 otherwise
            picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
        small = picture.convert("RGB").resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    except (OSError, ValueError, SyntaxError, binascii.Error, Image.DecompressionBombError):
        return None
    return (float(width), float(height), *_measure(np.asarray(small, np.float64) / 255))


def _measure(colors: Float64) -> list[float]:
    """Of a picture (SIDE_PX, SIDE_PX, 3), 0..1."""
    gray = colors @ _GRAY
    slopes = np.abs(np.diff(gray, axis=0)).mean() + np.abs(np.diff(gray, axis=1)).mean()
    saturation = (colors.max(axis=2) - colors.min(axis=2)).mean()
    waves = _COSINES @ gray @ _COSINES.T / SIDE_PX
    parts = [gray.mean(), gray.std(), slopes / 2, saturation, *(waves[place] for place in WAVES)]
    return [float(part) for part in parts]
