"""Rows at the edge of what a model may be sent, made of a few that it has seen.

    edges = make_edge_samples(samples)                 # of several modalities
    edges = make_edge_features(features)               # prepared features of a table
    edges = make_edge_tensors({"x": rows})             # of a graph that says nothing of what its numbers mean

Training hides modalities and shows no silence, so a fault that answers such rows alone passes every check on real ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays, Float32
from deepseek.data import Preprocessor
from deepseek.data.samples.preparer import PRESENT_SUFFIX

FEATURES = "features"  # the name of the array of make_edge_features()
NUM_BASE_ROWS = 2  # that each case is made of: the first and the last of those at hand
LARGE_FACTOR = 1e3  # times the largest number of an input: far beyond training, and within what float32 adds up well
MAX_MISSING_COLUMNS = 100  # that are taken away, one a row
HUGE_VALUE = 1e30  # the square of which float32 does not hold


@dataclass(frozen=True, slots=True)
class EdgeRows:
    """Rows at the edge by name of array, the case that each of them is, and whether a reference's rounding is small
    against its answer there.

    Where it is not, as for numbers beyond all measure, an export is held to giving a finite answer wherever its
    reference does.
    """

    arrays: Arrays  # (N, ...) each
    cases: tuple[str, ...]  # (N,)
    are_exact: NDArray[np.bool_]  # (N,)

    def __len__(self) -> int:
        return len(self.cases)


def make_edge_samples(arrays: Arrays) -> EdgeRows:
    """Edge rows of samples: each modality missing, each alone, all missing; each of them zero (silence, black, no
    token), at its least and its largest, of one value throughout (white, a sound that does not swing) and, where it is
    of floats, far beyond: beside the others and alone."""
    names = [name for name in arrays if not name.endswith(PRESENT_SUFFIX)]
    base = _base_rows(arrays)
    cases = _EdgeRowsBuilder()
    cases.add("all missing", {key: np.zeros_like(values) for key, values in base.items()})
    for name in names:
        cases.add(f"{name} missing", base | _mask_modalities(base, [name]))
        cases.add(f"{name} alone", base | _mask_modalities(base, [other for other in names if other != name]))
        first_row = {key: values[:1] for key, values in base.items()}
        alone = first_row | _mask_modalities(first_row, [other for other in names if other != name])
        for case, values, is_exact in _extreme_cases(arrays[name], first_row[name]):
            shown = {name: values, name + PRESENT_SUFFIX: np.ones_like(first_row[name + PRESENT_SUFFIX])}
            cases.add(f"{name} {case}", first_row | shown, is_exact=is_exact)
            cases.add(f"{name} {case} alone", alone | shown, is_exact=is_exact)
    return cases.edges()


def make_edge_features(features: Float32) -> EdgeRows:
    """Edge rows of prepared features (N, F): zeros, each column's least and largest, and numbers far beyond."""
    return make_edge_tensors({FEATURES: features})


def rows_with_missing_columns(preprocessor: Preprocessor) -> Float32:
    """Prepared features (M, F) of a typical row without one of its columns after the other, MAX_MISSING_COLUMNS at the
    most, and of a row without any value."""
    example = preprocessor.example()
    records = [{**example, name: None} for name in list(example)[:MAX_MISSING_COLUMNS]]
    return preprocessor.rows([*records, dict.fromkeys(example)]).features


def make_edge_tensors(arrays: Arrays) -> EdgeRows:
    """Edge rows of named tensors (N, ...): each input alone, and all together, take the values of
    make_edge_samples()."""
    base = _base_rows(arrays)
    builder = _EdgeRowsBuilder()
    cases: dict[str, dict[str, tuple[NDArray[Any], bool]]] = {}
    for name in arrays:
        for case, array, is_exact in _extreme_cases(arrays[name], base[name]):
            cases.setdefault(case, {})[name] = array, is_exact
            if len(arrays) > 1:
                builder.add(f"{name} {case}", {**base, name: array}, is_exact=is_exact)
    for case, parts in cases.items():
        changed = {name: array for name, (array, _) in parts.items()}
        builder.add(case, {**base, **changed}, is_exact=all(is_exact for _, is_exact in parts.values()))
    return builder.edges()


def _base_rows(arrays: Arrays) -> dict[str, NDArray[Any]]:
    return {name: np.asarray(array[[0, -1]][:NUM_BASE_ROWS]) for name, array in arrays.items()}


def _mask_modalities(rows: Arrays, names: list[str]) -> dict[str, NDArray[Any]]:
    """The arrays of these modalities as a preparer gives missing ones: zeros, and the mask false."""
    return {key: np.zeros_like(rows[key]) for name in names for key in (name, name + PRESENT_SUFFIX)}


def _extreme_cases(array: NDArray[Any], rows: NDArray[Any]) -> Iterator[tuple[str, NDArray[Any], bool]]:
    """Yield each case: its name, rows of it, and whether answers to it are compared to the digit."""
    yield "zero", np.zeros_like(rows), True
    if array.dtype.kind not in "iuf" or not array.size:
        return
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    if not finite.size:
        return
    if finite.size == array.size:
        yield "at its least", np.broadcast_to(array.min(axis=0), rows.shape), True
        yield "at its largest", np.broadcast_to(array.max(axis=0), rows.shape), True
    # of equal numbers a norm divides their rounding by its small constant: there no two programs agree to the digit
    yield "one value throughout", np.full_like(rows, 255 if array.dtype == np.uint8 else finite.max()), False
    if array.dtype.kind == "f":
        largest = max(1.0, float(np.abs(finite).max()))
        for sign, case in ((1, "far above the data"), (-1, "far below the data")):
            yield case, np.full_like(rows, sign * largest * LARGE_FACTOR), False
            yield f"{case}, by a slip", np.full_like(rows, sign * HUGE_VALUE), False


class _EdgeRowsBuilder:
    """Collects cases one after the other, and joins them."""

    def __init__(self) -> None:
        self._arrays: list[Arrays] = []
        self._cases: list[str] = []
        self._are_exact: list[bool] = []

    def add(self, case: str, arrays: Arrays, *, is_exact: bool = True) -> None:
        num_rows = len(next(iter(arrays.values())))
        self._arrays.append(arrays)
        self._cases += [case] * num_rows
        self._are_exact += [is_exact] * num_rows

    def edges(self) -> EdgeRows:
        names = self._arrays[0]
        arrays = {name: np.concatenate([part[name] for part in self._arrays]) for name in names}
        return EdgeRows(arrays, tuple(self._cases), np.array(self._are_exact))
