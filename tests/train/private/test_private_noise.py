"""Noise from the system's randomness: finite whatever the system says, and of the distribution that it is to be of."""

from __future__ import annotations

import os

import numpy as np
import pytest

pytest.importorskip("scipy")

from deepseek.train.private.noise import secure_normal, secure_uniform


@pytest.mark.parametrize("byte", [b"\x00", b"\xff"])
def test_the_ends_are_never_drawn(byte: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", lambda num: byte * num)
    uniform, normal = secure_uniform(3), secure_normal(3)
    assert ((uniform > 0) & (uniform < 1)).all()
    assert np.isfinite(normal).all()


def test_the_noise_is_standard_normal() -> None:
    from scipy.stats import kstest

    assert kstest(secure_normal(20_000), "norm").pvalue > 1e-9
