"""What a part of a row looks like beside its heat map: a picture as its file has it, else what the model was given.

add_previews(report.parts, record, preparer.media, samples, row)      parts with "picture" and "size" or "text"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Record, Tensors
from deepseek.data.media.image import ImageReader, describe
from deepseek.data.media.source import Limits
from deepseek.data.samples.preparer import MediaColumn, open_cell
from deepseek.data.view.page import data_url
from deepseek.data.view.previews import fit_size, spectrogram
from deepseek.errors import InputError
from deepseek.explain.records import PartDocument
from deepseek.extras import is_installed

MAX_PREVIEW_SIDE_PX = 256  # px of a picture's longer side on the page, at most


def add_previews(
    parts: Sequence[PartDocument],
    record: Record,
    media: Sequence[MediaColumn],
    samples: Tensors,
    row: int,
    *,
    root: Path | None = None,
) -> tuple[PartDocument, ...]:
    """Each part of row `row` with what a page needs to draw it. What is there already stays; a kind
    that has no picture, such as a series, keeps its regions alone, and so does everything where pillow is not
    installed. `root`: the folder that paths of files lie below."""
    columns = {column.name: column for column in media}
    return tuple(_add_preview(part, record, columns.get(part["column"]), samples, row, root) for part in parts)


def _add_preview(
    part: PartDocument, record: Record, column: MediaColumn | None, samples: Tensors, row: int, root: Path | None
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
    if is_audio:
        return cast("PartDocument", {**part, "picture": data_url(_downscale(pixels), exact=True)})
    original = _read_original(record.get(column.name), column, row, root)
    size = {"size": list(array.shape[-2:])}
    if original is None:
        return cast("PartDocument", {**size, **part, "picture": data_url(_downscale(pixels))})
    shape = list(original.shape[:2])
    return cast("PartDocument", {**size, **part, "picture_size": shape, "picture": data_url(original)})


def _read_original(value: Any, column: MediaColumn, row: int, root: Path | None) -> NDArray[np.uint8] | None:
    """The pixels of a picture in the shape of its file, at most MAX_PREVIEW_SIDE_PX a side. None for what is none,
    cannot be read, or was cropped or padded for the model, whose regions would then lie elsewhere."""
    reader = column.reader
    if not isinstance(reader, ImageReader) or reader.aspect != "squash":
        return None
    try:
        source = open_cell(value, "image", root=root, row=row, column=column.name, limits=Limits())
        facts = describe(source)
        shape = fit_size(facts["height_px"], facts["width_px"], MAX_PREVIEW_SIDE_PX)
        return _to_pixels(replace(reader, size=shape).read(source))
    except InputError:  # broken files were masked, and told, before
        return None


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
