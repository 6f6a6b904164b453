"""Samples that hardly differ from one: numbers moved by a little, codes and what is missing left as they are.

near = perturb_sample(preparer, sample, FaithfulnessConfig())      num_near samples; None where nothing can be moved
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Tensors
from deepseek.data.samples.preparer import PRESENT_SUFFIX, TABLE_ARRAY, SamplePreparer
from deepseek.explain.evaluation.masking_curves import FaithfulnessConfig


def perturb_sample(preparer: SamplePreparer, sample: Tensors, checks: FaithfulnessConfig) -> Tensors | None:
    """Each number moves by up to `radius` of its distance from what says nothing: the mean of a picture or a sound, a
    series' fill, the typical record of a table. Pixels stay whole, so some do not move."""
    rng = np.random.default_rng(checks.seed)
    arrays = {name: np.repeat(array, checks.num_near, axis=0) for name, array in sample.arrays.items()}
    kinds = {name: column for column in preparer.media for name in column.arrays}
    is_moved = False
    for name, array in sample.arrays.items():
        if name.endswith(PRESENT_SUFFIX) or not sample.arrays[name + PRESENT_SUFFIX][0]:
            continue
        reach = _perturbation_radius(preparer, kinds.get(name), name, array[0], checks.radius)
        if reach is None or not reach.any():
            continue
        moved = arrays[name] + reach * rng.uniform(-1, 1, arrays[name].shape)
        if array.dtype == np.uint8:
            moved = moved.round().clip(0, 255)
        arrays[name] = moved.astype(array.dtype)
        is_moved |= bool((arrays[name] != array).any())
    return Tensors(arrays) if is_moved else None


def _perturbation_radius(
    preparer: SamplePreparer, column: Any, name: str, array: NDArray[Any], radius: float
) -> NDArray[np.float64] | None:
    """How far each number of an array may move; None for ids."""
    wide = array.astype(np.float64)
    if name == TABLE_ARRAY and preparer.table is not None:
        table = preparer.table
        typical = table.rows([table.example()]).features[0]
        numeric = np.array([feature.kind in {"numeric", "datetime"} for feature in table.features])
        return np.asarray(radius * np.abs(wide - typical) * numeric)
    if not np.issubdtype(array.dtype, np.floating) and array.dtype != np.uint8:
        return None
    if column is not None and column.kind == "series":
        channels = len(wide) // 2  # values, then which of them are there
        apart = np.abs(wide[:channels] - np.array(column.reader.fill)[:, None]) * (wide[channels:] > 0)
        return np.concatenate([radius * apart, np.zeros_like(apart)])
    return np.asarray(radius * np.abs(wide - wide.mean()))
