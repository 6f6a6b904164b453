"""Sensitivity of a text model's dense layers to int8: each alone stays exact, and the gain is measured.

worst_layers(model, ranges, texts)        # ["layer5.down", "layer4.down", ...], the worst first
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from deepseek.contracts import Float64
from deepseek.engines.text import TextEngine, TextModel
from deepseek.engines.text.serve.quantize import ActivationRange

MAX_TEXTS = 64
TEXTS_PER_BATCH = 32


def worst_layers(model: TextModel, ranges: Mapping[str, ActivationRange], texts: Sequence[str]) -> list[str]:
    """Names of dense layers, ordered by how much the error falls when that layer alone stays exact; the largest gain
    first. `ranges`: activation range of each layer."""
    rows = sorted(model.prepare(list(texts[:MAX_TEXTS])), key=len)
    batches = [model.join(rows[start : start + TEXTS_PER_BATCH]) for start in range(0, len(rows), TEXTS_PER_BATCH)]

    def outputs_with(in_int8: Mapping[str, ActivationRange] | None) -> Float64:
        engine = TextEngine.open(model.path, precision="f32" if in_int8 is None else "int8", ranges=in_int8)
        outputs = [next(iter(engine.run(batch).values())) for batch in batches]
        engine.close()
        return np.concatenate([part.reshape(len(part), -1) for part in outputs]).astype(np.float64)

    expected = outputs_with(None)
    errors: dict[str, float] = {}
    for layer in ranges:
        others = {other: ranges[other] for other in ranges if other != layer}
        errors[layer] = float(np.linalg.norm(outputs_with(others) - expected))
    return sorted(errors, key=lambda layer: errors[layer])
