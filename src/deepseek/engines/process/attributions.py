"""Explanations as arrays, as the requests and responses of an engine process hold them.

    explain_rows(explainer, labels, {"features", "targets"})  ->  {"values", "base_value", "output", "about", "parts"}
    unpack_rows(arrays)       ->  for each row the attribution that holds it, and its row there

`features` are (N, F); rows of several modalities come as data.samples.requests packs them, texts as pack_texts() does.
`targets` (N,) are indices of `labels`, -1 for what an explainer takes by itself; `about` is in each row what is equal
for all rows of a target; `parts`, of texts alone, what their tokens and sentences add, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays, Attribution, Explainer

RowAttributions = Sequence[tuple[Attribution, int]]


def explain_rows(explainer: Explainer, labels: Sequence[str], arrays: Arrays) -> Arrays:
    """Explain each row for its own target, as packed arrays; rows of one target go together."""
    unpack = getattr(explainer, "unpack", None)  # of rows whose files are not decoded yet
    features, targets = arrays["features"] if unpack is None else unpack(arrays), arrays["targets"]
    order, parts = [], []
    for target in dict.fromkeys(targets.tolist()):
        rows = np.flatnonzero(targets == target)
        order.append(rows)
        parts.append(
            _pack_attribution(explainer.explain(features[rows], target=labels[target] if target >= 0 else None))
        )
    order_back = np.argsort(np.concatenate(order))
    return {name: np.concatenate([part[name] for part in parts])[order_back] for name in parts[0]}


def _pack_attribution(attribution: Attribution) -> Arrays:
    about = [attribution.names, attribution.scale, attribution.method, attribution.target]
    parts = {"parts": np.array([json.dumps(row).encode() for row in attribution.parts])} if attribution.parts else {}
    return {
        "values": attribution.values,
        "base_value": attribution.base_value,
        "output": attribution.output,
        "about": np.full(len(attribution.values), json.dumps(about).encode()),
        **parts,
    }


def unpack_rows(arrays: Arrays) -> RowAttributions:
    """For each explained row, the attribution that holds it and its row there."""
    by_row: dict[int, tuple[Attribution, int]] = {}
    about = arrays["about"]
    for text in dict.fromkeys(about.tolist()):
        names, scale, method, target = json.loads(text)
        rows = np.flatnonzero(about == text)
        values, base_value, output = (arrays[name][rows] for name in ("values", "base_value", "output"))
        parts = tuple(tuple(json.loads(part)) for part in arrays["parts"][rows].tolist()) if "parts" in arrays else ()
        attribution = Attribution(tuple(names), values, base_value, output, scale, method, target, parts=parts)
        by_row |= {row: (attribution, index) for index, row in enumerate(rows.tolist())}
    return [by_row[row] for row in range(len(about))]


def pack_texts(texts: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Pack texts into arrays: their sizes in bytes, and the bytes."""
    data = [text.encode() for text in texts]
    return {
        "sizes": np.array([len(encoded) for encoded in data], np.int64),
        "bytes": np.frombuffer(b"".join(data), np.uint8),
    }


def unpack_texts(arrays: Arrays) -> NDArray[np.object_]:
    """The texts (N,) that pack_texts() has packed."""
    sizes, data = arrays["sizes"].tolist(), arrays["bytes"].tobytes()
    ends = np.cumsum(sizes, dtype=np.int64).tolist()
    texts = np.empty(len(sizes), object)
    texts[:] = [data[end - size : end].decode() for size, end in zip(sizes, ends, strict=True)]
    return texts
