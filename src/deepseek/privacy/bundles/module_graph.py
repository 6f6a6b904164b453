"""A trained torch module as one ONNX graph from prepared features to raw scores: inputs joined and standardized as the
parties did it (parties/inputs.py), then the module."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepseek.contracts import Float32
from deepseek.engines.export_torch import export_torch_module
from deepseek.engines.tabular.graph_part import GraphWeights
from deepseek.errors import CheckError
from deepseek.nn.dense import MAX_SCALED, Perceptron
from deepseek.privacy.parties.inputs import Standardization, joiner
from deepseek.privacy.parties.module import ModuleObjective
from deepseek.privacy.rounds.state import StudyState
from deepseek.privacy.study.definition import Study

LARGEST_DIFFERENCE = 1e-4  # of scores, beside 1 and the score itself


class _FromFeatures(nn.Module):
    """Prepared features (N, F) -> raw scores (N, K), those of regression in the target's units."""

    logged: Tensor
    middle: Tensor
    width: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(
        self, join: Perceptron, standard: Standardization, module: nn.Module, scale: float, centre: float
    ) -> None:
        super().__init__()
        self.numeric, self.codes = join.numeric.tolist(), join.codes.tolist()
        self.levels = [len(table) for table in join.embeddings]
        self.clip, self.scale, self.centre = join.clip, scale, centre
        self.register_buffer("logged", torch.from_numpy(join.logged))
        self.register_buffer("middle", _as_tensor(join.centre))
        self.register_buffer("width", _as_tensor(join.scale))
        self.register_buffer("mean", _as_tensor(standard.mean))
        self.register_buffer("spread", _as_tensor(standard.spread))
        self.module = module

    def forward(self, features: Tensor) -> Tensor:
        numbers = features[:, self.numeric]
        numbers = torch.where(self.logged, torch.sign(numbers) * torch.log1p(torch.abs(numbers)), numbers)
        scaled = ((numbers - self.middle) / self.width).clamp(-MAX_SCALED, MAX_SCALED)
        if not math.isinf(self.clip):
            scaled = scaled / torch.sqrt(1 + (scaled / self.clip) ** 2)
        parts = [scaled]
        for place, levels in zip(self.codes, self.levels, strict=True):
            level = features[:, place : place + 1]
            level = torch.where((level >= 0) & (level < levels), level.floor(), torch.zeros_like(level))
            parts.append((level == torch.arange(levels, dtype=torch.float32)).float())
        inputs = (torch.cat(parts, dim=1) - self.mean) / self.spread
        scores: Tensor = self.module(inputs) * self.scale + self.centre
        return scores


def _as_tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))


def module_weights(study: Study, state: StudyState, rows: Float32) -> GraphWeights:
    """The part of a bundle. `rows` (N, F): prepared features, on which graph and module must agree; CheckError where
    they do not."""
    objective = ModuleObjective.of(study)
    is_regression = study.task == "regression"
    scale, centre = (study.target_scale, study.target_centre) if is_regression else (1.0, 0.0)
    join = joiner(study)
    whole = _FromFeatures(
        join, state.standardization, objective.with_parameters(state.parameters), scale, centre
    ).eval()
    dimension = torch.export.Dim("rows", min=1)
    proto = export_torch_module(
        whole, (torch.from_numpy(rows),), input_names=["features"], output_names=["scores"],
        dynamic_shapes=({0: dimension},),
    )  # fmt: skip
    typical = study.preprocessor.rows([study.preprocessor.example()]).features[0]
    weights = GraphWeights.of(proto.SerializeToString(), typical)
    inputs = (join.join(rows) - state.standardization.mean) / state.standardization.spread
    expected = objective.margin(state.parameters, inputs.astype(np.float32)) * scale + centre
    difference = np.abs(weights.margin(rows) - expected) / (1 + np.abs(expected))
    if difference.max() > LARGEST_DIFFERENCE:
        raise CheckError(
            f"the exported graph answers otherwise than the module, by {difference.max():.2g}",
            expected=f"at most {LARGEST_DIFFERENCE:g}", fix="use layers that ONNX has, or another module",
        )  # fmt: skip
    return weights
