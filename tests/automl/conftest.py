"""One way to ship a small table in about a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepseek.automl.ship import ship
from deepseek.automl.shipped import ShipResult


@pytest.fixture
def quick_ship(tmp_path: Path) -> Callable[..., ShipResult]:
    """`ship` with two cheap families: the yardstick and the linear model."""

    def run(data: Any, *, target: str = "default", **options: Any) -> ShipResult:
        usual = {"out": tmp_path / "bundle", "trials": 2, "candidates": ("linear",), "seed": 0, "overwrite": True}
        return ship(data, target=target, **{**usual, **options})

    return run
