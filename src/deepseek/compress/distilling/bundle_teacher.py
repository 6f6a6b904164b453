"""A bundle of classes as a teacher: whatever it is made of, trees or a perceptron, its calibrated chances teach.

    teacher = BundleTeacher(Path("loans"))
    teacher(torch.from_numpy(runtime.prepare_table(table).features))      # (N, F) -> logarithms of chances (N, C)

It computes as the model's numpy twin does, without gradients. It is no student: a bundle's calibration, threshold and
evidence hold for the weights that it has.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from deepseek.engines import Runtime
from deepseek.errors import InputError

MIN_PROBABILITY = 1e-7  # chance that a logarithm is taken of


class BundleTeacher(nn.Module):
    """InputError for a bundle that reads no table, or gives no classes; errors as those of Runtime.open()."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        runtime = Runtime.open(path)
        if not runtime.labels:
            raise InputError(
                f"{path} predicts a number, and distillation is of chances of classes",
                expected="a bundle of a binary or multiclass task", fix="train the student on the bundle's predictions",
            )  # fmt: skip
        self._model, self._num_features = runtime.model, len(runtime.preprocessor.feature_names)
        self.num_weights = sum(
            array.size for part in runtime.model.parts for array in part.weights.arrays().values()
        )  # in numpy, so none of them is among parameters()
        runtime.close()

    def forward(self, features: Tensor) -> Tensor:
        if features.ndim != 2 or features.shape[1] != self._num_features:
            raise ValueError(f"the bundle takes prepared features (N, {self._num_features})")
        rows = np.ascontiguousarray(features.detach().cpu().numpy(), np.float32)
        chances = self._model.score(rows).output
        return torch.from_numpy(chances).to(features.device).clamp(min=MIN_PROBABILITY).log()
