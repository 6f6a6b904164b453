"""A classifier's bundle as a teacher: its calibrated probabilities teach, whether it holds trees or a perceptron.

    teacher = BundleTeacher(Path("loans"))
    teacher(torch.from_numpy(runtime.prepare_table(table).features))      # (N, F) -> log probabilities (N, C)

The forward pass is the model's numpy one, without gradients. A bundle cannot be a student: its calibration, threshold
and evidence hold for the weights that it has.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from deepseek.engines import Runtime
from deepseek.errors import InputError

MIN_PROBABILITY = 1e-7  # probabilities are clamped to it before the logarithm


class BundleTeacher(nn.Module):
    """Prepared features (N, F) -> log probabilities (N, C). InputError for a bundle that reads no table or predicts no
    classes; errors as of Runtime.open()."""

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
        probabilities = self._model.score(rows).output
        return torch.from_numpy(probabilities).to(features.device).clamp(min=MIN_PROBABILITY).log()
