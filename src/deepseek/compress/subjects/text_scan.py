"""Which dense layers of a text model lose most in int8: each is left out alone, and what that gains is measured.

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
    """Places by how much nearer the exact answers all the others bring the model, the largest first."""
    rows = sorted(model.prepare(list(texts[:MAX_TEXTS])), key=len)
    batches = [model.join(rows[start : start + TEXTS_PER_BATCH]) for start in range(0, len(rows), TEXTS_PER_BATCH)]

    def answers(kept: Mapping[str, ActivationRange] | None) -> Float64:
        engine = TextEngine.open(model.path, precision="f32" if kept is None else "int8", ranges=kept)
        found = [next(iter(engine.run(batch).values())) for batch in batches]
        engine.close()
        return np.concatenate([part.reshape(len(part), -1) for part in found]).astype(np.float64)

    exact = answers(None)
    errors = {
        place: float(np.linalg.norm(answers({key: one for key, one in ranges.items() if key != place}) - exact))
        for place in ranges
    }
    return sorted(errors, key=lambda place: errors[place])
