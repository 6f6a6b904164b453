"""How near an explanation has to come to the change that it explains, in numbers of so many digits.

    limit = error_limit(output, base, eps, tolerance)        what sum(values) may miss output - base by, (N,)

A share of the change, and no less than what rounding leaves of it: output and base are numbers of eps relative
precision, each known to half a unit in its last place after the last addition, and to another half before it. So their
difference is known to 2 eps of the larger one at best, and a sum of contributions, which was rounded alike, to as much.
"""

from __future__ import annotations

import numpy as np
import torch

from deepseek.contracts import Float64

_ROUNDINGS = 4  # in eps of the larger of both answers: 2 of their difference and 2 of the sum
_MIN_TOLERANCE = 1e-15  # what is asked for below it float64 cannot tell from 0


def relative_precision(dtype: torch.dtype) -> float:
    """Relative precision of an answer; 0 of whole numbers."""
    return torch.finfo(dtype).eps if dtype.is_floating_point else 0.0


def rounding_error(output: Float64, base: Float64, eps: float) -> Float64:
    """What rounding alone may add to output - base."""
    return np.asarray(_ROUNDINGS * eps * np.maximum(np.abs(output), np.abs(base)))


def error_limit(output: Float64, base: Float64, eps: float, tolerance: float) -> Float64:
    """How far a sum may be from output - base, of the shape of both."""
    return np.maximum(tolerance * np.abs(output - base), rounding_error(output, base, eps))


def error_scale(output: Float64, base: Float64, eps: float, tolerance: float) -> Float64:
    """What an error is measured by, so that `tolerance` of it is error_limit(): the change to be explained, or where
    that is lost in rounding the least change that is not. Never 0."""
    floor = rounding_error(output, base, eps) / max(tolerance, _MIN_TOLERANCE)
    return np.maximum(np.maximum(np.abs(output - base), floor), np.finfo(np.float64).tiny)
