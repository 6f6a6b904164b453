"""A torch module as one flat vector of parameters, with its gradient: what objective.py is for a perceptron.

    build(num_inputs, num_outputs) -> module        in the file that every party has (module_source.py)
    module: standardized inputs (N, D) float32 -> raw scores (N, K) float32

The loss and the weight decay are those of objective.py; matrices and kernels decay, vectors do not. A module may have
no buffers: what it counts beside its parameters would stay in each house, and differ.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepseek.contracts import Float64, Task
from deepseek.errors import InputError
from deepseek.privacy.parties.inputs import InputRows, num_inputs
from deepseek.privacy.parties.module_source import provided_file
from deepseek.privacy.parties.objective import probabilities_of
from deepseek.privacy.study.definition import Study
from deepseek.train.loop.object_loader import load_object
from deepseek.train.private.gradients import MOST_NUMBERS, check_layers, clipped_sums

_CACHE: dict[tuple[str, str, int, int, int, Task, float], ModuleObjective] = {}


@dataclass(frozen=True, slots=True, eq=False)
class ModuleObjective:
    """A module and what its parameters should minimize."""

    module: nn.Module
    task: Task
    weight_decay: float

    @classmethod
    def of(cls, study: Study) -> ModuleObjective:
        """InputError for code that does not run, or gives something else than a module of the study's size."""
        settings, path = study.settings, provided_file(study)
        assert study.module is not None  # noqa: S101 - provided_file has looked
        sizes = num_inputs(study), study.num_margins
        key = (*study_key(study), *sizes, settings.rounds.seed, study.task, settings.model.weight_decay)
        if key not in _CACHE:
            name = f"{path.name}:{study.module.name.rpartition(':')[2]}"
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(settings.rounds.seed)
                module = load_object(
                    "module", name, path.parent, call=True,
                    args={"num_inputs": sizes[0], "num_outputs": sizes[1]},
                )  # fmt: skip
            _check_module(module, *sizes)
            _CACHE[key] = cls(module, study.task, settings.model.weight_decay)
        return _CACHE[key]

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.module.parameters())

    def initial(self, seed: int) -> Float64:
        """Parameters (P,) to begin with: as the module draws them by the study's seed."""
        del seed
        flat = torch.cat([parameter.detach().flatten() for parameter in self.module.parameters()])
        return flat.numpy().astype(np.float64)

    def margin(self, parameters: Float64, inputs: NDArray[Any]) -> Float64:
        """Raw scores (N, K), with the module as it answers."""
        self.module.eval()
        with torch.inference_mode():
            scores: Tensor = torch.func.functional_call(self.module, self._tensors(parameters), (_as_tensor(inputs),))
        return scores.numpy().astype(np.float64)

    def probabilities(self, parameters: Float64, inputs: NDArray[Any]) -> Float64:
        """Class probabilities (N, C), or values (N, 1) in the study's scale."""
        return probabilities_of(self.task, self.margin(parameters, inputs))

    def gradient(self, parameters: Float64, rows: InputRows) -> Float64:
        """Of the loss on these rows, (P,). What the module draws by chance, such as dropout, follows from parameters
        and rows: who computes it again gets the same."""
        tensors = {name: each.requires_grad_() for name, each in self._tensors(parameters).items()}
        digest = hashlib.sha256(parameters.tobytes() + rows.inputs.tobytes()).digest()
        self.module.train()
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(int.from_bytes(digest[:7], "little"))
            scores = torch.func.functional_call(self.module, tensors, (_as_tensor(rows.inputs),))
            loss = self._loss(scores, _as_target(self.task, rows.target))
            parts = torch.autograd.grad(loss, list(tensors.values()), allow_unused=True, materialize_grads=True)
        flat = torch.cat([part.flatten() for part in parts]).numpy().astype(np.float64)
        return np.asarray(flat + self.decay_gradient(parameters), np.float64)

    def clipped_sum(self, parameters: Float64, rows: InputRows, clip_norm: float) -> Float64:
        """The sum (P,) over these rows of each row's gradient, scaled down to clip_norm where it is longer; without
        weight decay, which no row has a part in."""
        self.module.train()
        tensors = self._tensors(parameters)

        def loss_of(trained: Mapping[str, Tensor], row: tuple[Tensor, ...]) -> Tensor:
            scores = torch.func.functional_call(self.module, dict(trained), (row[0].unsqueeze(0),))
            return self._loss(scores, row[1].unsqueeze(0))

        total, num_at_once = np.zeros(len(parameters)), max(1, MOST_NUMBERS // len(parameters))
        for start in range(0, len(rows), num_at_once):
            part = slice(start, start + num_at_once)
            batch = _as_tensor(rows.inputs[part]), _as_target(self.task, rows.target[part])
            sums = clipped_sums(loss_of, tensors, batch, clip_norm)
            total += torch.cat([each.flatten() for each in sums]).numpy()
        return total

    def decay_gradient(self, parameters: Float64) -> Float64:
        """The gradient (P,) of the weight decay alone."""
        decays = [np.full(each.numel(), float(each.ndim > 1)) for each in self.module.parameters()]
        return np.asarray(self.weight_decay * np.concatenate(decays) * parameters, np.float64)

    def with_parameters(self, parameters: Float64) -> nn.Module:
        """A copy of the module with these parameters, as it answers."""
        module = copy.deepcopy(self.module)
        module.load_state_dict(self._tensors(parameters))
        return module.eval()

    def _tensors(self, parameters: Float64) -> dict[str, Tensor]:
        """The flat parameters by the module's names."""
        flat, start = torch.from_numpy(parameters.astype(np.float32)), 0
        tensors: dict[str, Tensor] = {}
        for name, parameter in self.module.named_parameters():
            tensors[name] = flat[start : start + parameter.numel()].view_as(parameter).clone()
            start += parameter.numel()
        return tensors

    def _loss(self, scores: Tensor, target: Tensor) -> Tensor:
        if self.task == "multiclass":
            return nn.functional.cross_entropy(scores, target)
        if self.task == "binary":
            return nn.functional.binary_cross_entropy_with_logits(scores[:, 0], target)
        return nn.functional.mse_loss(scores[:, 0], target) / 2


def study_key(study: Study) -> tuple[str, str]:
    """What code a study names, and by which bytes."""
    return (study.module.name, study.module.sha256) if study.module is not None else ("", "")


def _as_tensor(inputs: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(inputs, np.float32))


def _as_target(task: Task, target: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(target, np.int64 if task == "multiclass" else np.float32))


def _check_module(module: object, num_inputs: int, num_outputs: int) -> None:
    """InputError for what a study cannot learn."""
    if not isinstance(module, nn.Module):
        raise InputError(
            f"the file's function gives a {type(module).__name__}", expected="a torch.nn.Module", fix="return one"
        )
    parameters = list(module.parameters())
    if not parameters or any(each.dtype != torch.float32 for each in parameters):
        raise InputError(
            "the module has parameters of another kind than float32, or none", expected="float32 parameters",
            fix="leave its dtype as torch makes it",
        )  # fmt: skip
    buffers = [name for name, _ in module.named_buffers()]
    if buffers:
        raise InputError(
            f"the module has buffers, such as {buffers[0]!r}",
            expected="parameters alone: what a layer counts beside them would differ from house to house",
            fix="take GroupNorm or LayerNorm in the place of BatchNorm; make constants in forward()",
        )
    check_layers(module)
    with torch.inference_mode():
        scores = module.eval()(torch.zeros(2, num_inputs))
    if not isinstance(scores, Tensor) or tuple(scores.shape) != (2, num_outputs):
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise InputError(
            f"the module answers two rows with {shape}", expected=f"scores of the shape (2, {num_outputs})",
            fix="build its last layer for num_outputs",
        )  # fmt: skip
