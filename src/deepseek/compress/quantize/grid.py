"""Quantization grids: the values that a quantized weight may have, and the scale of each channel.

    grid = GRIDS["int4"]
    scales = channel_scales(weight, grid)               # (out, 1, ...)
    codes = round_to_grid(weight / scales, grid)             # whole numbers -8..7, still as float32
    weight_as_served = codes * scales

Integers are symmetric about 0, without a zero point. The 8-bit floats are those of Micikevicius et al. 2022, "FP8
Formats for Deep Learning" (https://arxiv.org/abs/2209.05433).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from deepseek.errors import InputError

QuantizeMethod = Literal["int8", "int4", "fp8", "fp8_e5m2"]


@dataclass(frozen=True)
class Grid:
    """The codes of one method: a channel's largest weight becomes `top`; `low` is the smallest code."""

    dtype: torch.dtype  # of the codes in a file
    top: float
    low: float
    num_bits: int


GRIDS: dict[str, Grid] = {
    "int8": Grid(torch.int8, 127, -128, 8),
    "int4": Grid(torch.int8, 7, -8, 4),
    "fp8": Grid(torch.float8_e4m3fn, 448, -448, 8),
    "fp8_e5m2": Grid(torch.float8_e5m2, 57344, -57344, 8),
}
#: Candidate clipping points, as shares of a channel's largest weight: with few bits a finer step gains more than
#: clipping costs.
CLIP_SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5)


@dataclass(frozen=True)
class QuantizeConfig:
    """What is quantized, and to which grid."""

    method: QuantizeMethod = "int8"
    activations: Literal["none", "token", "tensor"] = "none"  # inputs of Linear and Conv: one scale per token (last
    # axis) or per tensor, measured anew on each batch
    embeddings: bool = True
    clip: Literal["max", "mse"] = "mse"  # end of a channel's range: its largest weight, or the least squared error
    keep: tuple[str, ...] = ()  # names of layers, or of modules that hold them, that stay exact

    def __post_init__(self) -> None:
        for name, allowed in (
            ("method", tuple(GRIDS)), ("activations", ("none", "token", "tensor")), ("clip", ("max", "mse")),
        ):  # fmt: skip
            choice = getattr(self, name)
            if choice not in allowed:
                raise InputError(
                    f"quantize.{name} is {repr(choice)[:60]}", expected=", ".join(allowed), fix="give one of these"
                )

    @property
    def grid(self) -> Grid:
        return GRIDS[self.method]


def channel_scales(weight: Tensor, grid: Grid, shares: Tensor | float = 1.0) -> Tensor:
    """Scales (out, 1, ...) of a weight (out, ...), float32 and above 0: the factor of each output channel's codes.

    >>> channel_scales(torch.tensor([[1.0, -14.0], [0.0, 0.0]]), GRIDS["int4"]).flatten().tolist()
    [2.0, 1.0]
    """
    largest = weight.detach().float().abs().flatten(1).amax(1).reshape(-1, *[1] * (weight.dim() - 1)) * shares
    scales = (largest / grid.top).clamp_min(torch.finfo(torch.float32).tiny)
    return torch.where(largest > 0, scales, 1.0)


def stored_scales(scales: Tensor) -> Tensor:
    """Scales in the precision of the file, as float32: rounded to float16 where all are normal numbers there.

    >>> stored_scales(torch.tensor([0.1, 1.0])).tolist(), stored_scales(torch.tensor([1e-9, 1.0]))[1].item()
    ([0.0999755859375, 1.0], 1.0)
    """
    half = scales.to(torch.float16)
    return torch.where(fits_float16(half), half.float(), scales)


def fits_float16(half: Tensor) -> Tensor:
    """Whether float16 scales are all normal numbers; a bool tensor, so that a training step need not wait for it."""
    return ((half >= torch.finfo(torch.float16).tiny) & half.isfinite()).all()


def round_to_grid(scaled: Tensor, grid: Grid) -> Tensor:
    """The nearest values of the grid (to even at a tie), as float32; numbers outside are clamped to its ends.

    >>> round_to_grid(torch.tensor([0.4, 1.5, 9.0, -9.0]), GRIDS["int4"]).tolist()
    [0.0, 2.0, 7.0, -8.0]
    >>> round_to_grid(torch.tensor([0.3, 17.2, 500.0]), GRIDS["fp8"]).tolist()
    [0.3125, 18.0, 448.0]
    """
    return round_in_place(scaled.clone(), grid)


def round_in_place(scaled: Tensor, grid: Grid) -> Tensor:
    """round_to_grid() that overwrites its argument: a third of the time, as nothing is allocated."""
    inside = scaled.clamp_(grid.low, grid.top)
    return inside.round_() if grid.dtype == torch.int8 else inside.to(grid.dtype).float()


def best_clip_shares(weight: Tensor, grid: Grid, candidates: Sequence[float] = CLIP_SHARES) -> Tensor:
    """The clipping point of each channel (out, 1, ...), as a share of its largest weight, with the least squared error.
    1 for floats, whose relative precision does not depend on the range."""
    weight = weight.detach().float()
    shares = torch.ones(len(weight), *[1] * (weight.dim() - 1), device=weight.device)
    if grid.dtype != torch.int8:
        return shares
    least_error = torch.full_like(shares, torch.inf)
    for share in candidates:
        scales = channel_scales(weight, grid, share)
        error = round_in_place(weight / scales, grid).mul_(scales).sub_(weight).square_()
        total = error.flatten(1).sum(1).reshape(shares.shape)
        is_better = total < least_error
        least_error, shares = torch.where(is_better, total, least_error), torch.where(is_better, share, shares)
    return shares
