"""How near an explanation has to come to the change that it explains, in numbers of so many digits.

    limit = limit_of(output, base, dtype, tolerance)        what sum(values) may miss output - base by, (N,)

A share of the change, and no less than what rounding leaves of it: output and base are numbers of eps relative
precision, each known to half a unit in its last place after the last addition, and to another half before it. So their
difference is known to 2 eps of the larger one at best, and a sum of contributions, which was rounded alike, to as much.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDINGS = 4  # in eps of the larger of both answers: 2 of their difference and 2 of the sum

_LEAST_TOLERANCE = 1e-15  # what is asked for below it float64 cannot tell from 0


def resolution_of(output: Tensor, base: Tensor, dtype: torch.dtype) -> Tensor:
    """What rounding alone may add to output - base, both of which were computed as `dtype`."""
    eps = torch.finfo(dtype).eps if dtype.is_floating_point else 0.0
    return _ROUNDINGS * eps * torch.maximum(output.abs(), base.abs()).double()


def limit_of(output: Tensor, base: Tensor, dtype: torch.dtype, tolerance: float) -> Tensor:
    """What an explanation of output - base may miss, (N,)."""
    return torch.maximum(tolerance * (output - base).abs().double(), resolution_of(output, base, dtype))


def scale_of(output: Tensor, base: Tensor, dtype: torch.dtype, tolerance: float) -> Tensor:
    """What an error is measured by, so that `tolerance` of it is limit_of(): the change to be explained, or where that
    is lost in rounding the least change that is not. Never 0."""
    change = (output - base).abs().double()
    floor = resolution_of(output, base, dtype) / max(tolerance, _LEAST_TOLERANCE)
    return torch.maximum(change, floor).clamp_min(torch.finfo(torch.float64).tiny)
