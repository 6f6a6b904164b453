"""Linear layers whose matrix product itself is in 8-bit floats (torch.nn.functional.scaled_mm).

    weights = convert(module)                     # after training in "fp8"; or quantize_weights(module, ...)
    replaced = use_scaled_mm(module, weights)     # in place; activations get one scale per token, anew on each batch

Faster on GPUs with fp8 units (NVIDIA compute capability 8.9 and later: Ada, Hopper, Blackwell); torch has the operator
on CPUs too, where it saves nothing. Layers whose sizes are not multiples of 16 stay: cuBLAS requires those.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.compress.quantize.fake import QuantizedWeight
from deepseek.compress.quantize.grid import GRIDS, channel_scales, round_to_grid
from deepseek.errors import InputError

SIZE_MULTIPLE = 16  # of both sizes of a weight
MIN_CAPABILITY = (8, 9)
_GRID = GRIDS["fp8"]


class ScaledLinear(nn.Module):
    """y = (codes_x * scales_x) (codes_w * scales_w)^T + bias, both codes float8_e4m3fn, sums in float32."""

    codes: Tensor  # (out, in)
    scales: Tensor  # (1, out)
    bias: Tensor | None

    def __init__(self, weight: QuantizedWeight, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("codes", weight.codes)
        self.register_buffer("scales", weight.scales.reshape(1, -1))
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out), in the type of x: bfloat16 or float32 (on a GPU the product is bfloat16)."""
        rows = x.reshape(-1, x.shape[-1])
        scales = channel_scales(rows, _GRID)
        codes = round_to_grid(rows.float() / scales, _GRID).to(_GRID.dtype)
        by_row = functional.ScalingType.RowWise
        out = functional.scaled_mm(
            codes, self.codes.t(), scales, by_row, self.scales, by_row,
            output_dtype=torch.bfloat16 if x.is_cuda else x.dtype,
        )  # fmt: skip
        out = out.to(x.dtype).reshape(*x.shape[:-1], -1)
        return out if self.bias is None else out + self.bias.to(out.dtype)


def is_fast(device: torch.device) -> bool:
    """Whether the device has hardware for products of 8-bit floats."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= MIN_CAPABILITY


def use_scaled_mm(module: nn.Module, weights: Mapping[str, QuantizedWeight]) -> tuple[str, ...]:
    """Replace, in place, each Linear layer whose weight is float8_e4m3fn in `weights` by a ScaledLinear; the names of
    the replaced layers. For inference: the new layers are not trained.

    InputError when there is no such layer, and on a GPU without fp8 units.
    """
    device = next(module.parameters()).device
    if device.type == "cuda" and not is_fast(device):
        raise InputError(
            f"{torch.cuda.get_device_name(device)} has no units for 8-bit floats",
            expected=f"compute capability {'.'.join(map(str, MIN_CAPABILITY))} or later",
            fix="run the module as convert() left it: the same weights, multiplied out",
        )
    replaced = []
    for name, layer in list(module.named_modules()):
        weight = weights.get(f"{name}.weight")
        if type(layer) is not nn.Linear or weight is None or weight.codes.dtype != _GRID.dtype:
            continue
        if layer.in_features % SIZE_MULTIPLE or layer.out_features % SIZE_MULTIPLE:
            continue
        bias = None if layer.bias is None else layer.bias.detach()
        parent, _, last = name.rpartition(".")
        setattr(module.get_submodule(parent), last, ScaledLinear(weight, bias))
        replaced.append(name)
    if not replaced:
        raise InputError(
            "no layer has a weight in float8_e4m3fn",
            expected=f"the weights that convert() gave for this module, sizes in multiples of {SIZE_MULTIPLE}",
            fix='quantise it with QuantizeConfig("fp8")',
        )
    return tuple(replaced)
