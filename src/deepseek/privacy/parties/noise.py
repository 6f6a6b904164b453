"""Gaussian noise from the system's randomness: who could guess a generator's state could take the noise off."""

from __future__ import annotations

import os

import numpy as np

from deepseek.contracts import Float64
from deepseek.extras import need


def secure_normal(num: int) -> Float64:
    """Standard normal numbers (num,): the inverse of the normal distribution at 53-bit uniform numbers."""
    whole = np.frombuffer(os.urandom(8 * num), "<u8") >> np.uint64(11)
    uniform = (whole.astype(np.float64) + 0.5) * 2.0**-53
    return np.asarray(need("scipy.special", extra="tabular").ndtri(uniform), np.float64)
