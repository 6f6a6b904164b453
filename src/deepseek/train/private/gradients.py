"""Gradients of DP-SGD (Abadi et al. 2016, algorithm 1) for a torch module: the gradient of each row by itself, clipped,
summed, noised.

    gradients = PrivateGradients(module, parameters, row_loss, plan)
    gradients.compute(batch)                # leaves p.grad on every parameter

Not by Opacus' GradSampleModule: torch.func computes the loss of one row at a time, so that a loss which weighs or
normalizes over a batch cannot tie rows together, any layer works that vmap knows, the module stays as it is for
checkpoints and export, and the noise is the system's randomness instead of torch's generator, whose seed stands in the
run. The accountant is Opacus'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.train.private.noise import secure_normal
from deepseek.train.private.plan import StepPlan

#: Numbers of row gradients that are held at once; 64 MB.
MOST_NUMBERS = 1 << 24
#: Sums of float32 are rounded: rows are clipped to this share of the length that the noise is made for.
ROUNDING = 1 - 1e-4
MIXING_LAYERS = (nn.modules.batchnorm._BatchNorm,)
RowLoss = Callable[[nn.Module, Any], Tensor]  # module and a batch of one row -> its loss


class PrivateGradients:
    """Noised mean gradients of one module."""

    def __init__(
        self, module: nn.Module, parameters: Mapping[str, nn.Parameter], row_loss: RowLoss, plan: StepPlan
    ) -> None:
        """InputError for layers that mix the rows of a batch."""
        check_layers(module)
        self._model = _RowLossModule(module, row_loss)
        self._parameters, self._plan = dict(parameters), plan
        num_parameters = sum(p.numel() for p in self._parameters.values())
        self._chunk_rows = max(1, min(512, MOST_NUMBERS // max(1, num_parameters)))

    def compute(self, batch: tuple[Tensor, ...]) -> None:
        """Put the noised mean over the rows of a batch, each a tensor (N, ...), on the parameters. N is by chance, and
        may be 0."""
        names = list(self._parameters)
        sums = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in self._parameters.items()}
        for start in range(0, len(batch[0]), self._chunk_rows):
            rows = tuple(each[start : start + self._chunk_rows] for each in batch)
            for name, clipped in zip(names, self._clipped_sums(rows), strict=True):
                sums[name] += clipped
        plan = self._plan
        expected_rows = plan.sampling.sample_rate * plan.num_rows
        for name, parameter in self._parameters.items():
            noise = torch.from_numpy(secure_normal(parameter.numel())).to(parameter.device, torch.float32)
            noised = sums[name] + plan.noise * plan.clip_norm * noise.view_as(parameter)
            parameter.grad = (noised / expected_rows).to(parameter.dtype)

    def _clipped_sums(self, rows: tuple[Tensor, ...]) -> list[Tensor]:
        trained = {f"module.{name}": p.detach() for name, p in self._parameters.items()}
        return clipped_sums(self._loss, trained, rows, self._plan.clip_norm)

    def _loss(self, trained: Mapping[str, Tensor], row: tuple[Tensor, ...]) -> Tensor:
        alone = tuple(each.unsqueeze(0) for each in row)
        value: Tensor = torch.func.functional_call(self._model, dict(trained), (alone,))
        return value


def clipped_sums(
    row_loss: Callable[[Mapping[str, Tensor], tuple[Tensor, ...]], Tensor], trained: Mapping[str, Tensor],
    rows: tuple[Tensor, ...], clip_norm: float,
) -> list[Tensor]:  # fmt: skip
    """Of each parameter, the sum over the rows (tensors (N, ...)) of their gradients, no row longer than clip_norm in
    all. `row_loss`: of parameters and one row. A row whose gradient is not finite counts as nothing."""
    gradients = torch.func.vmap(torch.func.grad(row_loss), in_dims=(None, 0), randomness="different")(
        dict(trained), rows
    )
    flat = [gradients[name].flatten(1).float() for name in trained]
    lengths = torch.stack([each.square().sum(1) for each in flat]).sum(0).sqrt()
    factor = (clip_norm * ROUNDING / lengths.clamp_min(1e-12)).clamp_max(1.0)
    factor = torch.where(torch.isfinite(lengths), factor, torch.zeros_like(factor))
    return [
        (factor @ torch.nan_to_num(each, 0.0, 0.0, 0.0)).view_as(parameter)
        for each, parameter in zip(flat, trained.values(), strict=True)
    ]


class _RowLossModule(nn.Module):
    """The module with its loss, as one function of parameters and a batch of one row."""

    def __init__(self, module: nn.Module, row_loss: RowLoss) -> None:
        super().__init__()
        self.module, self._row_loss = module, row_loss

    def forward(self, batch: tuple[Tensor, ...]) -> Tensor:
        return self._row_loss(self.module, batch)


def check_layers(module: nn.Module) -> None:
    """InputError for layers that mix the rows of a batch."""
    for name, layer in module.named_modules():
        tracks = isinstance(layer, nn.modules.instancenorm._InstanceNorm) and layer.track_running_stats
        if isinstance(layer, MIXING_LAYERS) or tracks:
            raise InputError(
                f"the layer {name!r} is a {type(layer).__name__}, which mixes the rows of a batch",
                expected="layers that look at one row: else no gradient is of one row alone",
                fix="take torch.nn.GroupNorm or LayerNorm in its place",
            )
