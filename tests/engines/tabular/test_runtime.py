"""From a bundle on disk to answers: real preprocessing, a real graph, both engines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from deepseek.bundle import EngineEntry, Lineage, Manifest, Output, write_bundle
from deepseek.data import find_kinds, fit_preprocessor, read_table
from deepseek.engines import Runtime, export_onnx
from deepseek.engines.tabular import libxgboost
from deepseek.errors import InputError, IntegrityError
from deepseek.nn.model import Model, Part
from deepseek.train.tabular.convert import from_xgboost

SWITCH_ROWS = 100  # the trees engine answers from here on


@dataclass(frozen=True)
class Made:
    path: Path
    model: Model
    columns: dict[str, Any]
    records: list[dict[str, float]]


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    import xgboost

    data = load_breast_cancer()
    names = [str(name) for name in data.feature_names]
    columns = {name: data.data[:, place] for place, name in enumerate(names)}
    table = read_table({**columns, "diagnosis": np.array(["malignant", "benign"], object)[data.target]})
    preprocessor = fit_preprocessor(table, find_kinds(table, target="diagnosis"), target="diagnosis")
    features = preprocessor.table(table).features
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 4, "nthread": 1}, xgboost.DMatrix(features, data.target), 30
    )
    model = Model(
        "binary", ("malignant", "benign"), "log-odds", (Part("xgboost", from_xgboost(booster, num_margins=1)),),
        slope=0.9, bias=(0.1,),
    )  # fmt: skip

    def make(*, decision: dict[str, Any] | None = None, drop: str = "") -> Made:
        files = {
            "preprocess.json": preprocessor.to_bytes(),
            "model.onnx": export_onnx(model, features.shape[1]),
            "decision.json": json.dumps(decision or {"threshold": 0.5}).encode(),
            "example.json": json.dumps(preprocessor.example()).encode(),
            **model.to_files(),
        }
        files.pop(drop, None)
        manifest = Manifest(
            name="cancer", version="1", created="2026-01-01T00:00:00+00:00", task="binary", target="diagnosis",
            inputs=preprocessor.inputs(),
            outputs=(Output("output", "float32", (2,)),), labels=model.labels,
            threshold=(decision or {"threshold": 0.5})["threshold"],
            engines=tuple(
                entry
                for entry in (
                    EngineEntry("onnxruntime", "model.onnx", 0.0, 500, 1),
                    EngineEntry("trees", "model.json", 1e-7, 500, SWITCH_ROWS),
                )
                if entry.file != drop
            ),
            lineage=Lineage(),
        )  # fmt: skip
        path = write_bundle(tmp_path_factory.mktemp("bundles") / "cancer", manifest, files).path
        records = [dict(zip(names, row.tolist(), strict=True)) for row in data.data]
        return Made(path, model, columns, records)

    return make


@pytest.fixture(scope="session")
def loan_bundle(make_bundle: Callable[..., Made]) -> Made:
    return make_bundle()


def test_records_and_columns_give_the_models_answers(loan_bundle: Made) -> None:
    with Runtime.open(loan_bundle.path) as runtime:
        by_records, by_columns = runtime.predict(loan_bundle.records), runtime.predict(loan_bundle.columns)
        expected = loan_bundle.model.score(runtime.prepare(loan_bundle.records).features)
    assert by_records.probabilities is not None
    assert by_columns.probabilities is not None
    assert by_records.labels is not None
    assert np.abs(by_records.probabilities - expected.output).max() < 1e-5
    assert (by_records.probabilities == by_columns.probabilities).all()
    assert by_records.labels_known == ("malignant", "benign")
    assert (by_records.labels == np.where(expected.output[:, 1] >= 0.5, "benign", "malignant")).all()


def test_tables_frames_and_files_are_taken(loan_bundle: Made, tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame(loan_bundle.columns).head(20)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    with Runtime.open(loan_bundle.path) as runtime:
        expected = runtime.predict(loan_bundle.records[:20]).probabilities
        assert expected is not None
        for data in (frame, tmp_path / "rows.csv", read_table(frame), tuple(loan_bundle.records[:20])):
            assert runtime.predict(data).probabilities == pytest.approx(expected)


def test_the_example_can_be_predicted(loan_bundle: Made) -> None:
    with Runtime.open(loan_bundle.path) as runtime:
        predictions = runtime.predict([runtime.example])
        assert (runtime.name, runtime.version, runtime.labels) == ("cancer", "1", ("malignant", "benign"))
    assert len(predictions) == 1
    assert not predictions.flags


def test_small_calls_run_in_onnxruntime_large_ones_in_the_trees_engine(loan_bundle: Made) -> None:
    with Runtime.open(loan_bundle.path) as runtime:
        features = runtime.prepare(loan_bundle.records).features
        assert "model" not in vars(runtime)
        few = runtime.score(features[: SWITCH_ROWS - 1])
        assert list(runtime._engines) == ["onnxruntime"]
        assert "model" not in vars(runtime)  # the arrays are not read before they are needed
        many = runtime.score(features)
        assert list(runtime._engines) == ["onnxruntime", "trees"]
    assert np.abs(few.margin - many.margin[: SWITCH_ROWS - 1]).max() < 1e-4


def test_without_xgboost_onnxruntime_does_the_work(loan_bundle: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libxgboost, "_library_path", lambda: None)
    libxgboost._load_library.cache_clear()
    with Runtime.open(loan_bundle.path) as runtime:
        predictions = runtime.predict(loan_bundle.records)
        assert runtime._engines["trees"] is runtime._engines["onnxruntime"]
    assert len(predictions) == 569
    monkeypatch.undo()
    libxgboost._load_library.cache_clear()


def test_threads_share_a_runtime(loan_bundle: Made) -> None:
    with Runtime.open(loan_bundle.path) as runtime:
        features = runtime.prepare(loan_bundle.records).features
        sizes = [1, 7, SWITCH_ROWS, 500]
        alone = {size: runtime.score(features[:size]).margin for size in sizes}
        with ThreadPoolExecutor(8) as pool:
            many = list(pool.map(lambda size: (size, runtime.score(features[:size]).margin), sizes * 25))
    assert all((margin == alone[size]).all() for size, margin in many)


def test_the_threshold_of_the_bundle_decides(make_bundle: Callable[..., Made]) -> None:
    strict = make_bundle(decision={"threshold": 0.99})
    with Runtime.open(strict.path) as runtime:
        predictions = runtime.predict(strict.records)
    assert predictions.labels is not None
    assert predictions.probabilities is not None
    assert ((predictions.labels == "benign") == (predictions.probabilities[:, 1] >= np.float32(0.99))).all()


def test_missing_values_are_imputed_and_flagged(loan_bundle: Made) -> None:
    row = {**loan_bundle.records[0], "mean radius": None}
    with Runtime.open(loan_bundle.path) as runtime:
        predictions = runtime.predict([loan_bundle.records[1], row])
    assert [(flag.row, flag.column, flag.what) for flag in predictions.flags] == [(1, "mean radius", "imputed")]


@pytest.mark.parametrize("data", [[], [1, 2], [{"nonsense": 1}], ["row"]])
def test_what_is_no_row_is_refused(loan_bundle: Made, data: Any) -> None:
    with Runtime.open(loan_bundle.path) as runtime, pytest.raises(InputError):
        runtime.predict(data)


@pytest.mark.parametrize("missing", ["preprocess.json", "model.onnx", "decision.json"])
def test_a_bundle_that_lacks_a_file_is_refused_by_name(make_bundle: Callable[..., Made], missing: str) -> None:
    with pytest.raises((IntegrityError, InputError), match=missing.replace(".", r"\.")):
        Runtime.open(make_bundle(drop=missing).path)


def test_a_changed_byte_is_refused(make_bundle: Callable[..., Made]) -> None:
    model_bundle = make_bundle()
    file = model_bundle.path / "model.onnx"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        Runtime.open(model_bundle.path)


def test_answering_loads_no_training_library_and_stays_small(loan_bundle: Made) -> None:
    program = f"""
import json, sys, time
started = time.perf_counter()
from deepseek.engines import Runtime
with Runtime.open({str(loan_bundle.path)!r}) as runtime:
    runtime.predict([runtime.example])
    took_s = time.perf_counter() - started
    features = runtime.prepare([runtime.example] * {SWITCH_ROWS}).features
    runtime.score(features)
    assert "trees" in runtime._engines
import psutil
heavy = ["torch", "sklearn", "pandas", "pyarrow", "scipy", "xgboost", "onnx"]
print(json.dumps({{
    "loaded": [name for name in heavy if name in sys.modules],
    "megabytes": psutil.Process().memory_info().rss / 1e6,
    "took_s": took_s,
}}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    facts = json.loads(done.stdout)
    assert facts["loaded"] == []
    assert facts["megabytes"] < 120
    assert facts["took_s"] < 5  # half a second on a quiet machine
