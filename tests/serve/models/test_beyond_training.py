"""A server says of a row that it is beyond training, in the answer and in the metrics."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from deepseek.engines import Runtime
from deepseek.observe.metrics import Metrics
from deepseek.serve import create_app
from support.servers.fixtures import build
from support.servers.serving import serving


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = np.random.default_rng(0)
    area = draw.uniform(20, 200, 400)
    columns = {"area": area, "rooms": area / 25 + draw.normal(0, 0.3, 400), "price": 3 * area}
    return build(tmp_path_factory.mktemp("homes") / "homes", columns, target="price", labels=(), with_support=True)


def test_flags_stand_in_the_answer_and_are_counted(homes: Path) -> None:
    metrics = Metrics()
    app = create_app({"homes": Runtime.open(homes)}, sinks=[metrics])
    rows = [{"area": 100, "rooms": 4}, {"area": 1e9, "rooms": 4}, {"area": 30, "rooms": 7}]

    async def work() -> Any:
        async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
            return (await client.post("/v1/models/homes:predict", json={"instances": rows})).json()["predictions"]

    usual, huge, unlike = asyncio.run(work())
    assert "flags" not in usual
    assert {"column": "area", "what": "outside"} in huge["flags"]
    assert [flag["what"] for flag in unlike["flags"]] == ["far"]
    counted = [line for line in metrics.exposition().decode().splitlines() if "flagged_values_total{" in line]
    assert any('column="area"' in line and 'what="outside"' in line and line.endswith(" 1.0") for line in counted)
