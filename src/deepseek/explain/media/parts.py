"""What the parts of a text, picture, sound or series have added to the answer of a bundle of several modalities.

    parts = explain_parts(explainer, sample, record, values, target)      # of one row; values: what each column adds
    [part for part in parts if part.kind == "image"][0].regions

A column's parts share what the column adds (modalities.py): they are its players in an Owen value (partition.py) whose
contexts are "no other column" and "all others". Where no part is left the column is missing, as training knew it. What
is taken away of a text becomes padding, of a picture the picture's own mean color, of a sound silence in a band of its
spectrum, of a series a missing value.

Shapes: M parts of a column; S masks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64, Record, Tensors
from deepseek.data.samples.preparer import MediaColumn
from deepseek.explain.media.modalities import Masks, ModalityExplainer, ValueFunction
from deepseek.explain.media.records import GridParts, ImageRegion, SeriesStretch, SoundCell, TextParts
from deepseek.explain.media.serialize import part_notes, serialize_text
from deepseek.explain.shapley.hierarchy import Hierarchy, token_borders
from deepseek.explain.shapley.partition import Budget, OwenValues, owen_values

MAX_IMAGE_CELLS = 32  # along each side of a picture, at most
MAX_SERIES_STRETCHES = 64  # stretches of a series, at most
AUDIO_GRID = (8, 16)  # bands and stretches of a sound


@dataclass(frozen=True, slots=True)
class InputParts:
    """How one input falls into parts, and how they are taken away and reported."""

    tree: Hierarchy
    without: Callable[[Masks], NDArray[Any]]  # masks (S, M) -> its array without the parts that are False (S, ...)
    report: Callable[[OwenValues], TextParts | GridParts]  # what the parts add, as a record


@dataclass(frozen=True, slots=True)
class ColumnParts:
    """One column of one row whose parts can be taken away. Masks are (S, M), and where there are other columns
    (S, M + 1): the last says whether these stay."""

    name: str
    kind: str
    parts: InputParts
    value: ValueFunction
    blank: (
        ValueFunction  # the same, but for a column that stays there where none of its parts does: all grey, all silent
    )
    whole: float | None  # what the column adds; None where there is no other

    def owen(self, budget: Budget | None = None) -> OwenValues:
        """What each part adds."""
        return owen_values(self.value, self.parts.tree, whole=self.whole, budget=budget)


def explain_parts(
    explainer: ModalityExplainer,
    sample: Tensors,
    record: Record,
    values: Float64,
    target: str | None,
    budget: Budget | None = None,
) -> list[TextParts | GridParts]:
    """What the parts add of each text, picture, sound and series that one row has, as split_columns() takes it;
    `budget` is for each."""
    columns = split_columns(explainer, sample, record, values, target)
    return [column.parts.report(column.owen(budget)) for column in columns]


def split_columns(
    explainer: ModalityExplainer, sample: Tensors, record: Record, values: Float64, target: str | None
) -> list[ColumnParts]:
    """The columns of one row that fall into parts. `sample` is of that row, `record` holds its texts, `values` (P,)
    is what each column adds to the margin of `target`."""
    present, columns = explainer.present(sample), []
    for column in explainer.preparer.media:
        place = explainer.names.index(column.name)
        if column.kind not in _SPLITTERS or not present[place]:
            continue
        array = sample.arrays[column.name][0]
        parts = _SPLITTERS[column.kind](column, array, record.get(column.name))
        if parts is None:
            continue
        others = present & (np.arange(len(present)) != place)

        def value(
            masks: Masks, stays: bool = False, parts: InputParts = parts, place: int = place, others: Masks = others
        ) -> Float64:
            kept = masks[:, : parts.tree.num_players]
            seen = (masks[:, -1:] if others.any() else np.zeros((len(masks), 1), bool)) & others
            seen[:, place] = kept.any(1) | stays
            name = explainer.names[place]
            return explainer.answers(sample, seen, target, lambda rows: {name: parts.without(kept[rows])})

        whole = float(values[place]) if others.any() else None
        columns.append(ColumnParts(column.name, column.kind, parts, value, partial(value, stays=True), whole))
    return columns


def _split_text(column: MediaColumn, ids: NDArray[np.int64], value: Any) -> InputParts | None:
    """A text as its tokens; None where it has none."""
    text, reader = str(value), column.reader
    spans = [(place + 1, span) for place, span in enumerate(reader.spans(text)) if span[1] > span[0]]
    if not spans:
        return None
    players, places = np.array([place for place, _ in spans]), [span for _, span in spans]
    borders = token_borders(text, places)
    is_cut = players[-1] >= reader.num_tokens - 2 and places[-1][1] < len(text.rstrip())

    def without(masks: Masks) -> NDArray[np.int64]:
        masked = np.repeat(ids[None], len(masks), axis=0)
        masked[:, players] = np.where(masks, ids[players], reader.pad_id)
        return masked

    return InputParts(
        Hierarchy((len(places),), borders), without,
        lambda owen: serialize_text(column.name, text, places, borders, owen, is_cut=bool(is_cut)),
    )  # fmt: skip


def _split_image(column: MediaColumn, pixels: NDArray[np.uint8], _: Any) -> InputParts:
    """A picture (C, H, W) as cells of a grid."""
    height, width = pixels.shape[1:]
    tree = Hierarchy((min(MAX_IMAGE_CELLS, height), min(MAX_IMAGE_CELLS, width)))
    tops, lefts = segment_edges(height, tree.shape[0]), segment_edges(width, tree.shape[1])
    mean = pixels.mean((1, 2), keepdims=True).astype(pixels.dtype)

    def without(masks: Masks) -> NDArray[np.uint8]:
        keep = _expand_cells(masks.reshape(-1, *tree.shape), tops, lefts)
        return np.where(keep[:, None], pixels, mean)

    def report(owen: OwenValues) -> GridParts:
        regions = tuple(
            ImageRegion((int(lefts[a]), int(tops[c]), int(lefts[b]), int(tops[d])), region.value, region.error)
            for region in owen.regions
            for (c, d), (a, b) in [region.box]
        )
        return _grid_parts(column.name, "image", owen, size=(height, width), regions=regions)

    return InputParts(tree, without, report)


def _split_series(column: MediaColumn, series: Float32, _: Any) -> InputParts:
    """A series as stretches of its channels: values, then masks (2 C, T)."""
    channels, length = len(series) // 2, series.shape[1]
    tree = Hierarchy((channels, min(MAX_SERIES_STRETCHES, length)))
    starts, ones = segment_edges(length, tree.shape[1]), np.arange(channels + 1)
    fill = np.array(column.reader.fill, np.float32)[:, None]
    names = column.reader.names or tuple(map(str, range(channels)))

    def without(masks: Masks) -> Float32:
        keep = _expand_cells(masks.reshape(-1, *tree.shape), ones, starts)
        return np.concatenate([np.where(keep, series[:channels], fill), keep * series[channels:]], axis=1)

    def report(owen: OwenValues) -> GridParts:
        stretches = tuple(
            SeriesStretch(names[a:b], int(starts[c]), int(starts[d]), region.value, region.error)
            for region in owen.regions
            for (a, b), (c, d) in [region.box]
        )
        return _grid_parts(column.name, "series", owen, length=length, stretches=stretches)

    return InputParts(tree, without, report)


def _split_audio(column: MediaColumn, sound: Float32, _: Any) -> InputParts:
    """A sound (C, T) as cells of time and frequency: frames of a Hann window, overlapping by half, which sum to it."""
    rate, length = column.reader.rate_hz, sound.shape[1]
    size = 2 ** int(np.clip(np.log2(max(length, 1) / AUDIO_GRID[1]), 4, 10))
    spectrum = _stft(sound, size)  # (C, frames, bins)
    num_frames, bins = spectrum.shape[1:]
    bands = np.unique(np.geomspace(1, bins, min(AUDIO_GRID[0], bins) + 1).round().astype(int))
    bands[0] = 0
    times = segment_edges(num_frames, min(AUDIO_GRID[1], num_frames))
    tree = Hierarchy((len(bands) - 1, len(times) - 1))

    def without(masks: Masks) -> Float32:
        keep = _expand_cells(masks.reshape(-1, *tree.shape), bands, times).swapaxes(1, 2)
        return _inverse_stft(spectrum[None] * keep[:, None], size, length)

    def report(owen: OwenValues) -> GridParts:
        hertz, seconds = rate / size, size / 2 / rate
        cells = tuple(
            SoundCell(
                (float(times[c] * seconds), float(min(times[d] * seconds, length / rate))),
                (float(bands[a] * hertz), float(min(bands[b] * hertz, rate / 2))), region.value, region.error,
            )
            for region in owen.regions
            for (a, b), (c, d) in [region.box]
        )  # fmt: skip
        return _grid_parts(column.name, "audio", owen, seconds=length / rate, cells=cells)

    return InputParts(tree, without, report)


def _grid_parts(column: str, kind: str, owen: OwenValues, **grid: Any) -> GridParts:
    """The record of a column's parts; `grid` has the fields of its kind."""
    return GridParts(
        column=column, kind=kind, num_evaluations=owen.num_evaluations, is_partial=owen.is_partial,
        notes=tuple(part_notes(owen)), **grid,
    )  # fmt: skip


def _stft(sound: Float32, size: int) -> NDArray[np.complex128]:
    """Short-time Fourier transform of a sound (C, T): (C, frames, size / 2 + 1)."""
    padded = np.pad(sound.astype(np.float64), ((0, 0), (size // 2, size)))
    count = (padded.shape[1] - size) // (size // 2) + 1
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)  # with itself half a frame later it sums to 1
    starts = np.arange(count) * (size // 2)
    spectrum: NDArray[np.complex128] = np.fft.rfft(padded[:, starts[:, None] + np.arange(size)] * window)
    return spectrum


def _inverse_stft(spectrum: NDArray[np.complex128], size: int, length: int) -> Float32:
    """Sounds (S, C, T) of spectra (S, C, frames, bins)."""
    frames = np.fft.irfft(spectrum, size)
    half = size // 2
    waves = np.zeros((*frames.shape[:2], (frames.shape[2] + 1) * half))
    for place in range(frames.shape[2]):
        waves[..., place * half : place * half + size] += frames[:, :, place]
    return waves[..., half : half + length].astype(np.float32)


def segment_edges(length: int, count: int) -> NDArray[np.int64]:
    """Edges (count + 1,) of `count` nearly equal stretches of a length.

    >>> segment_edges(7, 3).tolist()
    [0, 2, 5, 7]
    """
    return np.linspace(0, length, count + 1).round().astype(np.int64)


def _expand_cells(masks: Masks, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Masks:
    """Masks of cells (S, a, b) as masks of places (S, rows[-1], columns[-1])."""
    expanded: Masks = masks.repeat(np.diff(rows), axis=1).repeat(np.diff(columns), axis=2)
    return expanded


_SPLITTERS: Mapping[str, Callable[[MediaColumn, NDArray[Any], Any], InputParts | None]] = {
    "text": _split_text, "image": _split_image, "series": _split_series, "audio": _split_audio,
}  # fmt: skip
