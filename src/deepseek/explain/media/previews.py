"""What a part of a row looks like beside its heat map: the very pixels and sounds that the model was given.

add_previews(report.parts, record, preparer.media, samples, row)      parts with "picture" and "size" or "text"
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Record, Tensors
from deepseek.data.samples.preparer import MediaColumn
from deepseek.data.view.page import data_url
from deepseek.data.view.previews import fit_size, spectrogram
from deepseek.explain.records import PartDocument
from deepseek.extras import is_installed

MAX_PREVIEW_SIDE_PX = 224  # px of a picture's longer side on the page, at most


def add_previews(
    parts: Sequence[PartDocument], record: Record, media: Sequence[MediaColumn], samples: Tensors, row: int
) -> tuple[PartDocument, ...]:
    """Each part of row `row` with what a page needs to draw it. What is there already stays; a kind
    that has no picture, such as a series, keeps its regions alone, and so does everything where pillow is not
    installed."""
    columns = {column.name: column for column in media}
    return tuple(_add_preview(part, record, columns.get(part["column"]), samples, row) for part in parts)


def _add_preview(
    part: PartDocument, record: Record, column: MediaColumn | None, samples: Tensors, row: int
) -> PartDocument:
    if "tokens" in part:
        text = record.get(part["column"])
        fits = isinstance(text, str) and all(
            text[token["start"] : token["end"]] == token["text"] for token in part["tokens"]
        )
        return cast("PartDocument", {"text": text} | part) if fits else part
    if column is None or "picture" in part or not is_installed("PIL"):
        return part
    array = samples.arrays[column.name][row]
    is_audio = column.kind == "audio"
    pixels = spectrogram(array.mean(axis=0), column.reader.rate_hz) if is_audio else _to_pixels(array)
    if pixels is None:
        return part
    size = {} if is_audio else {"size": list(array.shape[-2:])}
    return cast("PartDocument", size | part | {"picture": data_url(_downscale(pixels), exact=is_audio)})


def _to_pixels(array: NDArray[Any]) -> NDArray[np.uint8] | None:
    """Pixels (H, W) or (H, W, 3) of (C, H, W) uint8, or of the middle slice of (..., D, H, W) of any kind."""
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[0] in (1, 3):
        return array[0] if array.shape[0] == 1 else np.moveaxis(array, 0, -1)
    if array.ndim < 3:
        return None
    plane = array.reshape(-1, *array.shape[-2:])
    middle = plane[len(plane) // 2].astype(np.float64)
    low, high = np.nanmin(middle), np.nanmax(middle)
    gray: NDArray[np.uint8] = np.nan_to_num((middle - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
    return gray


def _downscale(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels scaled down to at most MAX_PREVIEW_SIDE_PX a side, by the nearest neighbor."""
    high, wide = fit_size(pixels.shape[0], pixels.shape[1], MAX_PREVIEW_SIDE_PX)
    rows, columns = (np.arange(num) * size // num for num, size in ((high, pixels.shape[0]), (wide, pixels.shape[1])))
    return pixels[np.ix_(rows, columns)]
