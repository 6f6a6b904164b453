"""One trained XGBoost model in two forms: a bundle for our server and a .ubj file for its rival.

    made = make(folder, num_columns=15, num_trees=100, depth=6)
    made.bundle, made.booster_file, made.record

The rows are drawn from a fixed seed: what a request costs depends on the shape of the model, not on what it predicts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from deepseek.bundle import EngineEntry, Input, Lineage, Manifest, Output, write_bundle
from deepseek.data import find_kinds, fit_preprocessor, read_table
from deepseek.engines import Source, autotune, check_parity, export_onnx
from deepseek.nn.model import Model, Part
from deepseek.train.tabular.convert import from_xgboost

LABELS = ("no", "yes")
NUM_ROWS = 4_000


@dataclass(frozen=True)
class Made:
    """Where the two forms lie, and a row that both take."""

    bundle: Path
    booster_file: Path
    record: dict[str, float]


def make(folder: Path, *, num_columns: int = 15, num_trees: int = 100, depth: int = 6, seed: int = 0) -> Made:
    """Train once, write both."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(NUM_ROWS, num_columns)).astype(np.float32)
    names = [f"feature_{index:02d}" for index in range(num_columns)]
    truth = values @ rng.normal(size=num_columns) + np.sin(3 * values[:, 0]) + rng.normal(size=NUM_ROWS) > 0
    columns: dict[str, Any] = {name: values[:, at].astype(np.float64) for at, name in enumerate(names)}
    table = read_table(columns | {"target": np.where(truth, "yes", "no").astype(object)})
    preprocessor = fit_preprocessor(table, find_kinds(table, target="target"), target="target")
    features = preprocessor.table(table).features
    assert tuple(preprocessor.feature_names) == tuple(names), "the rival must see the same columns in the same order"
    params = {"objective": "binary:logistic", "max_depth": depth, "eta": 0.1, "seed": seed, "nthread": 1}
    booster = xgboost.train(params, xgboost.DMatrix(features, truth, feature_names=names), num_boost_round=num_trees)
    booster.save_model(folder / "model.ubj")
    model = Model("binary", LABELS, "log-odds", (Part("xgboost", from_xgboost(booster, num_margins=1)),))
    files = _files(model, preprocessor)
    engines = _engines(model, files["model.onnx"], features)
    bundle = write_bundle(folder / "bundle", _manifest(preprocessor.inputs(), engines), files)
    return Made(
        bundle.path, folder / "model.ubj", {name: round(float(values[0, at]), 4) for at, name in enumerate(names)}
    )


def _files(model: Model, preprocessor: Any) -> dict[str, bytes]:
    return {
        "preprocess.json": preprocessor.to_bytes(),
        "model.onnx": export_onnx(model, len(preprocessor.feature_names)),
        "decision.json": b'{"threshold": 0.5}',
        "example.json": json.dumps(preprocessor.example()).encode(),
        **model.to_files(),
    }


def _engines(model: Model, graph: bytes, features: Any) -> tuple[EngineEntry, ...]:
    """Measured here, as `deepseek ship` does."""
    source = Source(lambda: model, lambda: graph, features.shape[1])
    return autotune(source, check_parity(model, graph, features), features).entries


def _manifest(inputs: tuple[Input, ...], engines: tuple[EngineEntry, ...]) -> Manifest:
    return Manifest(
        name="row", version="1", created="2026-01-01T00:00:00+00:00", task="binary", target="target",
        inputs=inputs,
        outputs=(Output("label", "str"), Output("probabilities", "float32", (2,))),
        labels=LABELS, threshold=0.5, engines=engines,
        lineage=Lineage(seed=0),
    )  # fmt: skip
