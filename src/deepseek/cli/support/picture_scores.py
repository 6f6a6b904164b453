"""What a bundle says of single rows, for a gallery: its answer, its error, and how much surprise it expects.

score = score_rows(runtime, table, root)      score([3, 7]) -> {3: PictureScore, 7: PictureScore}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepseek.automl.comparison.models import input_table
from deepseek.contracts import Prediction
from deepseek.data.table.table import Table
from deepseek.data.table.values import level_names
from deepseek.data.view.gallery import PictureScore
from deepseek.engines import Runtime
from deepseek.look import numbers

if TYPE_CHECKING:
    from deepseek.engines import MultimodalRuntime


def score_rows(
    runtime: Runtime | MultimodalRuntime, table: Table, root: Path
) -> Callable[[list[int]], Mapping[int, PictureScore]]:
    """A function of row numbers; the truth is the bundle's target where the table has it. Files that cannot be read are
    masked, as their pictures are left out."""
    target, inputs = runtime.manifest.target, input_table(runtime.manifest, table)
    truths: Sequence[object] | None = None
    if target in table.names:
        truths = level_names(table.column(target)) if runtime.manifest.labels else table.column(target).tolist()

    def score(rows: list[int]) -> Mapping[int, PictureScore]:
        if not rows:
            return {}
        some = inputs.take(np.array(rows))
        answers = (
            runtime.predict(some) if isinstance(runtime, Runtime) else runtime.predict(some, root=root, broken="mask")
        )
        known = [None] * len(rows) if truths is None else [truths[row] for row in rows]
        return {row: _score(answers, place, known[place]) for place, row in enumerate(rows)}

    return score


def _score(answers: Prediction, place: int, truth: object) -> PictureScore:
    if answers.probabilities is None or answers.labels is None:
        value = float(answers.values[place]) if answers.values is not None else float("nan")
        error = abs(float(truth) - value) if isinstance(truth, (int, float)) and truth == truth else None  # noqa: PLR0124 - NaN
        return PictureScore(numbers.number(value), error, None)
    chances = answers.probabilities[place].astype(np.float64)
    places: dict[object, int] = {str(label): index for index, label in enumerate(answers.labels_known)}
    error = 1 - float(chances[places[truth]]) if truth in places else None
    positive = chances[chances > 0]
    entropy = max(0.0, -float(positive @ np.log2(positive)))  # bits
    return PictureScore(str(answers.labels[place]), error, entropy)
