"""What the parts of a text, picture, sound or series have added to the answer of a bundle of several modalities.

    parts = parts_of(explainer, sample, record, values, target)      # of one row; values: what each column adds
    [part for part in parts if part["kind"] == "image"][0]["regions"]

A column's parts share what the column adds (modalities.py): they are its players in an Owen value (partition.py) whose
contexts are "no other column" and "all others". Where no part is left the column is missing, as training knew it. What
is taken away of a text becomes padding, of a picture the picture's own mean colour, of a sound silence in a band of its
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
from deepseek.explain.media.modalities import Bools, ModalityExplainer, Value
from deepseek.explain.media.serialize import told_about, told_text
from deepseek.explain.shapley.hierarchy import Hierarchy, borders_of
from deepseek.explain.shapley.partition import Budget, OwenValues, owen

CELLS = 32  # along each side of a picture, at most
MOMENTS = 64  # stretches of a series, at most
SPECTRUM = (8, 16)  # bands and stretches of a sound


@dataclass(frozen=True, slots=True)
class Parted:
    """One input and what it falls into."""

    tree: Hierarchy
    without: Callable[[Bools], NDArray[Any]]  # masks (S, M) -> its array without the parts that are False (S, ...)
    told: Callable[[OwenValues], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class PartedColumn:
    """One column of one row whose parts can be taken away. Masks are (S, M), and where there are other columns
    (S, M + 1): the last says whether these stay."""

    name: str
    kind: str
    parted: Parted
    value: Value
    blank: Value  # the same, but for a column that stays there where none of its parts does: all grey, all silent
    whole: float | None  # what the column adds; None where there is no other

    def owen(self, budget: Budget | None = None) -> OwenValues:
        """What each part adds."""
        return owen(self.value, self.parted.tree, whole=self.whole, budget=budget)


def parts_of(
    explainer: ModalityExplainer,
    sample: Tensors,
    record: Record,
    values: Float64,
    target: str | None,
    budget: Budget | None = None,
) -> list[dict[str, Any]]:
    """Of each text, picture, sound and series that one row has, as columns_of() takes it; `budget` is for each."""
    columns = columns_of(explainer, sample, record, values, target)
    return [column.parted.told(column.owen(budget)) for column in columns]


def columns_of(
    explainer: ModalityExplainer, sample: Tensors, record: Record, values: Float64, target: str | None
) -> list[PartedColumn]:
    """Those that one row has and that fall into parts. `sample` is of that row, `record` holds its texts, `values` (P,)
    is what each column adds to the margin of `target`."""
    there, found = explainer.there(sample), []
    for column in explainer.preparer.media:
        place = explainer.names.index(column.name)
        if column.kind not in _KINDS or not there[place]:
            continue
        array = sample.arrays[column.name][0]
        parted = _KINDS[column.kind](column, array, record.get(column.name))
        if parted is None:
            continue
        others = there & (np.arange(len(there)) != place)

        def value(
            masks: Bools, stays: bool = False, parted: Parted = parted, place: int = place, others: Bools = others
        ) -> Float64:
            kept = masks[:, : parted.tree.num_players]
            seen = (masks[:, -1:] if others.any() else np.zeros((len(masks), 1), bool)) & others
            seen[:, place] = kept.any(1) | stays
            name = explainer.names[place]
            return explainer.answers(sample, seen, target, lambda rows: {name: parted.without(kept[rows])})

        whole = float(values[place]) if others.any() else None
        found.append(PartedColumn(column.name, column.kind, parted, value, partial(value, stays=True), whole))
    return found


def _text(column: MediaColumn, ids: NDArray[np.int64], value: Any) -> Parted | None:
    """Tokens; None where a text has none."""
    text, reader = str(value), column.reader
    spans = [(place + 1, span) for place, span in enumerate(reader.spans(text)) if span[1] > span[0]]
    if not spans:
        return None
    players, places = np.array([place for place, _ in spans]), [span for _, span in spans]
    borders = borders_of(text, places)
    is_cut = players[-1] >= reader.num_tokens - 2 and places[-1][1] < len(text.rstrip())

    def without(masks: Bools) -> NDArray[np.int64]:
        found = np.repeat(ids[None], len(masks), axis=0)
        found[:, players] = np.where(masks, ids[players], reader.pad_id)
        return found

    return Parted(
        Hierarchy((len(places),), borders), without,
        lambda found: told_text(column.name, text, places, borders, found, is_cut=bool(is_cut)),
    )  # fmt: skip


def _image(column: MediaColumn, pixels: NDArray[np.uint8], _: Any) -> Parted:
    """Cells of a picture (C, H, W)."""
    height, width = pixels.shape[1:]
    tree = Hierarchy((min(CELLS, height), min(CELLS, width)))
    tops, lefts = edges(height, tree.shape[0]), edges(width, tree.shape[1])
    mean = pixels.mean((1, 2), keepdims=True).astype(pixels.dtype)

    def without(masks: Bools) -> NDArray[np.uint8]:
        keep = _spread(masks.reshape(-1, *tree.shape), tops, lefts)
        return np.where(keep[:, None], pixels, mean)

    def told(found: OwenValues) -> dict[str, Any]:
        regions = [
            {
                "box": [int(lefts[a]), int(tops[c]), int(lefts[b]), int(tops[d])],
                "value": each.value,
                "error": each.error,
            }
            for each in found.regions
            for (c, d), (a, b) in [each.box]
        ]
        return told_about(column.name, "image", found) | {"size": [height, width], "regions": regions}

    return Parted(tree, without, told)


def _series(column: MediaColumn, series: Float32, _: Any) -> Parted:
    """Stretches of the channels of a series: values, then masks (2 C, T)."""
    channels, length = len(series) // 2, series.shape[1]
    tree = Hierarchy((channels, min(MOMENTS, length)))
    starts, ones = edges(length, tree.shape[1]), np.arange(channels + 1)
    fill = np.array(column.reader.fill, np.float32)[:, None]
    names = column.reader.names or tuple(map(str, range(channels)))

    def without(masks: Bools) -> Float32:
        keep = _spread(masks.reshape(-1, *tree.shape), ones, starts)
        return np.concatenate([np.where(keep, series[:channels], fill), keep * series[channels:]], axis=1)

    def told(found: OwenValues) -> dict[str, Any]:
        stretches = [
            {"channels": list(names[a:b]), "start": int(starts[c]), "end": int(starts[d]), "value": each.value,
             "error": each.error}
            for each in found.regions
            for (a, b), (c, d) in [each.box]
        ]  # fmt: skip
        return told_about(column.name, "series", found) | {"length": length, "stretches": stretches}

    return Parted(tree, without, told)


def _audio(column: MediaColumn, sound: Float32, _: Any) -> Parted:
    """Cells of time and frequency of a sound (C, T): frames of a Hann window, overlapping by half, which sum to it."""
    rate, length = column.reader.rate_hz, sound.shape[1]
    size = 2 ** int(np.clip(np.log2(max(length, 1) / SPECTRUM[1]), 4, 10))
    spectrum = _frames(sound, size)  # (C, frames, bins)
    num_frames, bins = spectrum.shape[1:]
    bands = np.unique(np.geomspace(1, bins, min(SPECTRUM[0], bins) + 1).round().astype(int))
    bands[0] = 0
    times = edges(num_frames, min(SPECTRUM[1], num_frames))
    tree = Hierarchy((len(bands) - 1, len(times) - 1))

    def without(masks: Bools) -> Float32:
        keep = _spread(masks.reshape(-1, *tree.shape), bands, times).swapaxes(1, 2)
        return _sound(spectrum[None] * keep[:, None], size, length)

    def told(found: OwenValues) -> dict[str, Any]:
        hertz, seconds = rate / size, size / 2 / rate
        cells = [
            {"seconds": [float(times[c] * seconds), float(min(times[d] * seconds, length / rate))],
             "hertz": [float(bands[a] * hertz), float(min(bands[b] * hertz, rate / 2))], "value": each.value,
             "error": each.error}
            for each in found.regions
            for (a, b), (c, d) in [each.box]
        ]  # fmt: skip
        return told_about(column.name, "audio", found) | {"seconds": length / rate, "cells": cells}

    return Parted(tree, without, told)


def _frames(sound: Float32, size: int) -> NDArray[np.complex128]:
    """(C, T) -> (C, frames, size / 2 + 1)."""
    padded = np.pad(sound.astype(np.float64), ((0, 0), (size // 2, size)))
    count = (padded.shape[1] - size) // (size // 2) + 1
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)  # with itself half a frame later it sums to 1
    starts = np.arange(count) * (size // 2)
    found: NDArray[np.complex128] = np.fft.rfft(padded[:, starts[:, None] + np.arange(size)] * window)
    return found


def _sound(spectrum: NDArray[np.complex128], size: int, length: int) -> Float32:
    """(S, C, frames, bins) -> (S, C, T)."""
    frames = np.fft.irfft(spectrum, size)
    half = size // 2
    found = np.zeros((*frames.shape[:2], (frames.shape[2] + 1) * half))
    for place in range(frames.shape[2]):
        found[..., place * half : place * half + size] += frames[:, :, place]
    return found[..., half : half + length].astype(np.float32)


def edges(length: int, count: int) -> NDArray[np.int64]:
    """(count + 1,) where `count` nearly equal stretches of a length begin and end.

    >>> edges(7, 3).tolist()
    [0, 2, 5, 7]
    """
    return np.linspace(0, length, count + 1).round().astype(np.int64)


def _spread(masks: Bools, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Bools:
    """Cells (S, a, b) as places (S, rows[-1], columns[-1])."""
    found: Bools = masks.repeat(np.diff(rows), axis=1).repeat(np.diff(columns), axis=2)
    return found


_KINDS: Mapping[str, Callable[[MediaColumn, NDArray[Any], Any], Parted | None]] = {
    "text": _text, "image": _image, "series": _series, "audio": _audio,
}  # fmt: skip
