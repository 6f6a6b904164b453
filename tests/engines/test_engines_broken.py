"""Bundles whose manifest is in order and whose model is not: refused in words by all who load them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import safetensors.numpy

from deepseek.bundle import EngineEntry, Input, Manifest, Output, write_bundle
from deepseek.cli import main
from deepseek.data import Preprocessor, find_kinds, fit_preprocessor, read_table
from deepseek.engines import Runtime, export_onnx
from deepseek.engines.decide import Decision
from deepseek.errors import IntegrityError
from deepseek.nn.dense import Linear
from deepseek.nn.model import Model, Part
from deepseek.train.tabular.convert import from_xgboost

Files = dict[str, bytes]
RNG = np.random.default_rng(0)
COLUMNS = {"age": RNG.normal(size=200), "income": RNG.normal(size=200), "late": np.array(["no", "yes"] * 100, object)}
ROWS = [{"age": 0.1 * place, "income": 1.0 - place} for place in range(3)]


def preprocessor() -> Preprocessor:
    table = read_table(COLUMNS)
    return fit_preprocessor(table, find_kinds(table, target="late"), target="late")


def linear(seed: int = 0, *, num_features: int = 2, num_margins: int = 1) -> Model:
    rng = np.random.default_rng(seed)
    shape = (num_features, num_margins)
    weights = Linear(rng.normal(size=shape), np.zeros(num_margins), np.zeros(num_features))
    if num_margins == 1:
        return Model("binary", ("no", "yes"), "log-odds", (Part("linear", weights),))
    labels = tuple("abcdefgh"[:num_margins])
    return Model("multiclass", labels, "log-odds", (Part("linear", weights),), bias=(0.0,) * num_margins)


def trees(seed: int = 0) -> Model:
    import xgboost

    rng = np.random.default_rng(seed)
    data = xgboost.DMatrix(rng.normal(size=(200, 2)).astype(np.float32), rng.integers(0, 2, 200))
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, data, 10)
    return Model("binary", ("no", "yes"), "log-odds", (Part("xgboost", from_xgboost(booster, num_margins=1)),))


def files_of(model: Model) -> Files:
    preparer = preprocessor()
    threshold = 0.5 if model.task == "binary" else None
    return {
        "preprocess.json": preparer.to_bytes(), "example.json": json.dumps(preparer.example()).encode(),
        "decision.json": json.dumps({"threshold": threshold}).encode(), "model.onnx": export_onnx(model, 2),
        **model.to_files(),
    }  # fmt: skip


def manifest_of(model: Model, *more: EngineEntry) -> Manifest:
    return Manifest(
        name="loans", version="1", created="2026-01-01T00:00:00+00:00", task=model.task, target="late",
        inputs=preprocessor().inputs(),
        outputs=(Output("label", "str"), Output("probabilities", "float32", (len(model.labels),))),
        labels=model.labels, threshold=0.5 if model.task == "binary" else None,
        engines=(EngineEntry("onnxruntime", "model.onnx", 0.0), *more),
    )  # fmt: skip


@pytest.mark.parametrize("model", [linear(), linear(num_margins=3), trees()], ids=["binary", "multiclass", "trees"])
def test_a_bundle_in_order_answers_and_has_its_arrays(model: Model, tmp_path: Path) -> None:
    with Runtime.open(write_bundle(tmp_path / "b", manifest_of(model), files_of(model)).path) as runtime:
        assert len(runtime.predict(ROWS)) == 3
        assert runtime.model.labels == model.labels


@pytest.mark.parametrize(
    ("model", "graph", "words"),
    [
        (linear(), linear(num_margins=3), "output"), (linear(), linear(num_features=3), "features"),
        (linear(num_margins=3), linear(num_margins=4), "output"), (linear(num_margins=3), linear(), "output"),
        (linear(num_margins=3), linear(num_margins=3, num_features=1), "features"),
    ],
)  # fmt: skip
def test_a_graph_of_other_sizes_is_refused_when_it_is_opened(
    model: Model, graph: Model, words: str, tmp_path: Path
) -> None:
    num_features = graph.parts[0].weights.coef.shape[0]  # type: ignore[union-attr]
    files = files_of(model) | {"model.onnx": export_onnx(graph, num_features)}
    path = write_bundle(tmp_path / "b", manifest_of(model), files).path
    with pytest.raises(IntegrityError, match=rf"model\.onnx does not fit bundle\.json.*{words}"):
        Runtime.open(path)


def test_a_graph_and_arrays_of_two_models_are_refused_before_the_number_of_rows_decides(tmp_path: Path) -> None:
    entry = EngineEntry("trees", "model.json", 0.0, from_rows=3)
    files = files_of(trees()) | trees(1).to_files()
    path = write_bundle(tmp_path / "b", manifest_of(trees(), entry), files).path
    with Runtime.open(path) as runtime:
        with pytest.raises(IntegrityError, match=r"model\.onnx answers .* the arrays of model\.json"):
            runtime.predict(ROWS)
        with pytest.raises(IntegrityError, match=r"one model in both|two models|model\.json"):
            _ = runtime.model


def of_160_gb(graph: bytes) -> bytes:
    """The same graph, whose output takes an array of 200,000 x 200,000 numbers on its way."""
    model = onnx.load_from_string(graph)
    last = model.graph.output[1].name
    for node in model.graph.node:
        node.output[:] = ["small" if name == last else name for name in node.output]
    model.graph.initializer.append(onnx.helper.make_tensor("sizes", onnx.TensorProto.INT64, [2], [200_000, 200_000]))
    for kind, inputs, output, more in (
        ("ConstantOfShape", ["sizes"], "large", {}), ("ReduceSum", ["large"], "sum", {"keepdims": 0}),
        ("Add", ["small", "sum"], last, {}),
    ):  # fmt: skip
        model.graph.node.append(onnx.helper.make_node(kind, inputs, [output], **more))
    data: bytes = model.SerializeToString()
    return data


def of_a_weight_of_160_gb(graph: bytes) -> bytes:
    """The same graph with a constant whose dimensions its bytes do not fill."""
    model = onnx.load_from_string(graph)
    model.graph.initializer[0].dims[:] = [200_000, 200_000]
    data: bytes = model.SerializeToString()
    return data


@pytest.mark.parametrize(("harm", "says"), [(of_160_gb, "cannot be computed"), (of_a_weight_of_160_gb, "cannot be")])
def test_a_graph_that_needs_160_gb_ends_with_3_and_in_words(
    harm: Callable[[bytes], bytes], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = files_of(linear())
    files["model.onnx"] = harm(files["model.onnx"])
    path = write_bundle(tmp_path / "b", manifest_of(linear()), files).path
    (tmp_path / "rows.csv").write_text("age,income\n0.1,0.2\n")
    for verb in ("predict", "explain"):
        assert main([verb, str(path), str(tmp_path / "rows.csv")]) == 3
        assert f"model.onnx {says}" in capsys.readouterr().err


def without_parts(top: dict[str, Any]) -> None:
    top["parts"] = []


def of_itself(top: dict[str, Any]) -> None:
    top["parts"][0]["file"] = "model.json"


def of_another_kind(top: dict[str, Any]) -> None:
    top["parts"][0]["kind"] = "trees"


def of_no_calibration(top: dict[str, Any]) -> None:
    del top["calibration"]


def of_a_floor_below_zero(top: dict[str, Any]) -> None:
    top["calibration"]["floor"] = -1.0


def of_a_huge_weight(top: dict[str, Any]) -> None:
    top["parts"][0]["weight"] = 1e308


def of_a_text_for_a_slope(top: dict[str, Any]) -> None:
    top["calibration"]["slope"] = "1"


def of_a_link_that_is_none(top: dict[str, Any]) -> None:
    top["parts"][0]["link"] = "os:system"


HARMS = [
    without_parts, of_itself, of_another_kind, of_no_calibration, of_a_floor_below_zero, of_a_huge_weight,
    of_a_text_for_a_slope, of_a_link_that_is_none,
]  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
def test_a_model_file_that_cannot_be_is_an_integrity_error(
    harm: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    files = files_of(linear())
    top = json.loads(files["model.json"])
    harm(top)
    files["model.json"] = json.dumps(top).encode()
    path = write_bundle(tmp_path / "b", manifest_of(linear()), files).path
    with Runtime.open(path) as runtime, pytest.raises(IntegrityError):
        _ = runtime.model


def replaced(name: str, array: np.ndarray[Any, Any]) -> bytes:
    arrays = {key: np.asarray(value) for key, value in linear().parts[0].weights.arrays().items()}
    return safetensors.numpy.save(arrays | {name: array})


@pytest.mark.parametrize(
    "data",
    [
        replaced("coef", np.full((2, 1), np.nan)), replaced("coef", np.zeros((3, 1))), replaced("bias", np.zeros(3)),
        replaced("bias", np.array([np.inf])), safetensors.numpy.save({"other": np.zeros(3)}),
        replaced("coef", np.zeros((2, 1))),
    ],
    ids=["nan", "features", "margins", "inf", "names", "other-weights"],
)  # fmt: skip
def test_arrays_that_are_not_the_models_are_an_integrity_error(data: bytes, tmp_path: Path) -> None:
    files = files_of(linear()) | {"weights/part-0.safetensors": data}
    with Runtime.open(write_bundle(tmp_path / "b", manifest_of(linear()), files).path) as runtime:
        if data == replaced("coef", np.full((2, 1), np.nan)):
            assert np.isfinite(runtime.predict(ROWS).probabilities).all()  # type: ignore[arg-type]
        with pytest.raises(IntegrityError):
            _ = runtime.model


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": (Input("age", "numeric", "str"), Input("income", "numeric", "float64"))},
        {"inputs": (Input("age", "numeric", "float64", (3,)), Input("income", "numeric", "float64"))},
        {"engines": (EngineEntry("onnxruntime", "card.json", 0.0),)},
        {"engines": (EngineEntry("trees", "model.onnx", 0.0),)},
    ],
)
def test_inputs_and_engines_that_no_file_bears_out_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    files = files_of(linear()) | {"card.json": b"{}"}
    path = write_bundle(tmp_path / "b", replace(manifest_of(linear()), **change), files).path
    with pytest.raises(IntegrityError, match=r"bundle\.json"):
        Runtime.open(path)


@pytest.mark.parametrize("data", [b"{}", b'{"age": 1.0}'])
def test_an_example_without_all_inputs_is_an_integrity_error(data: bytes, tmp_path: Path) -> None:
    files = files_of(linear()) | {"example.json": data}
    path = write_bundle(tmp_path / "b", manifest_of(linear()), files).path
    words = r"example\.json has no value for '(age|income)'"
    with Runtime.open(path) as runtime, pytest.raises(IntegrityError, match=words):
        _ = runtime.example


@pytest.mark.parametrize("threshold", ["NaN", "1e999", "9", "-5", "true", '"0.5"', "1" + "0" * 400])
def test_a_threshold_that_is_no_chance_is_refused(threshold: str) -> None:
    with pytest.raises(IntegrityError, match=r"decision\.json"):
        Decision.from_bytes(b'{"threshold": %s}' % threshold.encode(), task="binary", labels=("no", "yes"))


@pytest.mark.parametrize(
    "rules",
    [
        b'{"costs": [[1]]}', b'{"costs": [[0, 1], [1, "x"]]}', b'{"costs": [[0, 1], [1]]}', b'{"costs": {}}',
        b'{"costs": [[0, 1], [1, %s]]}' % (b"9" * 400), b'{"interval": {"half_width": -1}}', b'{"interval": 1e308}',
        b'{"interval": {"half_width": 1e300}}', b'{"interval": {"half_width": 1, "level": 2}}', b"[" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    ],
)  # fmt: skip
def test_rules_that_cannot_be_followed_are_refused(rules: bytes) -> None:
    with pytest.raises(IntegrityError, match=r"decision\.json"):
        Decision.from_bytes(rules, task="binary", labels=("no", "yes"))
