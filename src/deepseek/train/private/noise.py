"""Gaussian noise from the system's randomness: who could guess a generator's state could take the noise off."""

from __future__ import annotations

import os

import numpy as np

from deepseek.contracts import Float64
from deepseek.extras import need


def secure_uniform(num: int) -> Float64:
    """Numbers (num,) between 0 and 1, odd multiples of 2^-53: neither end is ever drawn."""
    whole = np.frombuffer(os.urandom(8 * num), "<u8") >> np.uint64(12)
    return np.asarray((whole.astype(np.float64) + 0.5) * 2.0**-52, np.float64)


def secure_normal(num: int) -> Float64:
    """Standard normal numbers (num,): the inverse of the normal distribution at uniform ones."""
    return np.asarray(need("scipy.special", extra="tabular").ndtri(secure_uniform(num)), np.float64)
