"""Two small real bundles and a real server: "loans" has mixed columns and two classes, "prices" has intervals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import numpy as np
import pytest

from deepseek.bundle import EngineEntry, Manifest, Output, write_bundle
from deepseek.data import find_kinds, fit_preprocessor, read_table
from deepseek.engines import Runtime, export_onnx
from deepseek.nn.model import Model, Part
from deepseek.train.tabular.convert import from_xgboost
from support.servers.serving import Server, started

NUM_ROWS = 400


@pytest.fixture(scope="session")
def loans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    age = rng.integers(18, 80, NUM_ROWS).astype(np.float64) + rng.random(NUM_ROWS)
    income = np.round(rng.lognormal(8, 1, NUM_ROWS), 2)
    purpose = rng.choice(np.array(["car", "house", "study"], dtype=object), NUM_ROWS)
    late = (age < 40) ^ (purpose == "car")
    columns = {"age": age, "income": income, "purpose": purpose, "late": np.where(late, "yes", "no").astype(object)}
    return build(tmp_path_factory.mktemp("loans") / "loans", columns, target="late", labels=("no", "yes"))


@pytest.fixture(scope="session")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(1)
    area, rooms = rng.normal(80, 20, NUM_ROWS), rng.normal(3, 1, NUM_ROWS)
    columns = {"area": area, "rooms": rooms, "price": 3 * area + 20 * rooms + rng.normal(0, 5, NUM_ROWS)}
    return build(tmp_path_factory.mktemp("prices") / "prices", columns, target="price", labels=())


def build(
    out: Path,
    columns: dict[str, Any],
    *,
    target: str,
    labels: tuple[str, ...],
    with_support: bool = False,
    kinds: Mapping[str, str] | None = None,
    threshold: float = 0.5,
    more_files: Mapping[str, bytes] = MappingProxyType({}),
) -> Path:
    """Fit xgboost on the columns and write a bundle; `with_support` flags what is beyond their rows."""
    import xgboost

    table = read_table(columns)
    preprocessor = fit_preprocessor(table, kinds or find_kinds(table, target=target), target=target)
    features = preprocessor.table(table).features
    preprocessor = preprocessor.with_support(features) if with_support else preprocessor
    truth = columns[target] == labels[1] if labels else columns[target]
    params = {"objective": "binary:logistic" if labels else "reg:squarederror", "max_depth": 3, "nthread": 1}
    booster = xgboost.train(params, xgboost.DMatrix(features, truth), num_boost_round=20)
    scale = "log-odds" if labels else "target units"
    part = Part("xgboost", from_xgboost(booster, num_margins=1))
    model = Model("binary" if labels else "regression", labels, scale, (part,))
    outputs = (
        (Output("label", "str"), Output("probabilities", "float32", (2,)))
        if labels
        else (Output("value", "float32"), Output("interval", "float32", (2,)))
    )
    manifest = Manifest(
        name=out.name, version="1", created="2026-01-01T00:00:00+00:00", task=model.task, target=target,
        inputs=preprocessor.inputs(), outputs=outputs, labels=labels,
        threshold=threshold if labels else None, engines=(EngineEntry("onnxruntime", "model.onnx", 0.0),),
    )  # fmt: skip
    decision = {"threshold": threshold} if labels else {"interval": {"level": 0.9, "half_width": 8.0}}
    files = {
        "preprocess.json": preprocessor.to_bytes(),
        "model.onnx": export_onnx(model, len(preprocessor.feature_names)),
        "decision.json": json.dumps(decision).encode(),
        "example.json": json.dumps(preprocessor.example()).encode(),
        **model.to_files(),
        **more_files,
    }
    return write_bundle(out, manifest, files).path


@pytest.fixture(scope="session")
def runtimes(loans: Path, prices: Path) -> dict[str, Runtime]:
    return {path.name: Runtime.open(path) for path in (loans, prices)}


Start = Callable[..., Any]


@pytest.fixture(scope="session")
def start() -> Start:
    """Starts a server of one's own, as a context."""
    return started


@pytest.fixture(scope="session")
def server(loans: Path, prices: Path) -> Iterator[Server]:
    """One server for many tests. At the end it must stop cleanly."""
    with started(loans, prices) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as opened:
        yield opened


@pytest.fixture(scope="session")
def loan() -> dict[str, Any]:
    """A row that the model "loans" takes."""
    return {"age": 33.5, "income": 2400.0, "purpose": "car"}
