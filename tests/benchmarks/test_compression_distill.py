"""How the claims on distillation are reckoned."""

from __future__ import annotations

import pytest
from compression_distill import claims_of

MASTER = {"right": 0.92, "parameters": 22.7e6, "bytes": 90e6}


def seed(student: float, without: float, parameters: float = 2.5e6) -> dict[str, float]:
    return {"student": student, "without": without, "parameters": parameters, "bytes": 1e7}


def test_points_are_of_the_mean_of_the_seeds_and_the_size_of_the_largest_student() -> None:
    claims = claims_of([seed(0.91, 0.88), seed(0.906, 0.87, 2.6e6)], MASTER)
    assert claims["lost"]["ours"] == pytest.approx(1.2)
    assert claims["gain"]["ours"] == pytest.approx(3.3)
    assert claims["gain"]["holds"]
    assert claims["size"]["ratio"] == pytest.approx(22.7 / 2.6)
    assert not claims["size"]["holds"]
    assert "student 91.00 90.60; without 88.00 87.00" in claims["lost"]["note"]
