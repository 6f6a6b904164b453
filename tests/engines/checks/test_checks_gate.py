"""Rows at the edge are what they are called, and an export is held to its reference on them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from deepseek.contracts import Float32, Scores
from deepseek.data import find_kinds, fit_preprocessor, read_table
from deepseek.data.samples.preparer import PRESENT_SUFFIX
from deepseek.engines import check_parity, export_onnx
from deepseek.engines.checks.edges import (
    FEATURES,
    make_edge_features,
    make_edge_samples,
    make_edge_tensors,
    rows_with_missing_columns,
)
from deepseek.engines.checks.gate import absolute_errors, check_edges, edge_faults, nonfinite_faults
from deepseek.engines.onnx import OnnxEngine
from deepseek.errors import CheckError
from deepseek.nn.model import Model


def test_of_samples_each_modality_is_missing_alone_zero_and_extreme() -> None:
    arrays = {
        "photo": np.array([[[7, 9]], [[3, 8]], [[5, 5]]], np.uint8),
        "cough": np.array([[0.5], [-0.25], [0.1]], np.float32),
        **{name + PRESENT_SUFFIX: np.ones(3, bool) for name in ("photo", "cough")},
    }  # fmt: skip
    edges = make_edge_samples(arrays)

    def of(case: str) -> dict[str, list[Any]]:
        return {name: array[[c == case for c in edges.cases]].tolist() for name, array in edges.arrays.items()}

    assert of("all missing") == {"photo": [[[0, 0]]] * 2, "cough": [[0]] * 2, "photo" + PRESENT_SUFFIX: [False] * 2,
                                 "cough" + PRESENT_SUFFIX: [False] * 2}  # fmt: skip
    assert of("cough missing")["photo"] == [[[7, 9]], [[5, 5]]]
    assert of("cough missing")["cough" + PRESENT_SUFFIX] == [False, False]
    assert of("cough alone")["photo" + PRESENT_SUFFIX] == [False, False]
    assert of("cough zero")["cough" + PRESENT_SUFFIX] == [True]  # silence is no missing sound
    assert (of("photo zero alone")["photo"], of("photo zero alone")["cough" + PRESENT_SUFFIX]) == ([[[0, 0]]], [False])
    assert of("photo at its largest")["photo"] == [[[7, 9]]]
    assert of("photo at its least")["photo"] == [[[3, 5]]]
    assert of("photo one value throughout")["photo"] == [[[255, 255]]]
    assert of("cough far below the data")["cough"] == [[-1000.0]]
    assert all(np.isfinite(array).all() for array in edges.arrays.values())
    assert {case for case, is_exact in zip(edges.cases, edges.are_exact, strict=True) if not is_exact} == {
        f"{name} {case}{alone}" for alone in ("", " alone") for name, cases in (
            ("photo", ["one value throughout"]),
            ("cough", ["one value throughout", "far above the data", "far above the data, by a slip",
                       "far below the data", "far below the data, by a slip"]),
        ) for case in cases
    }  # fmt: skip


def test_of_tensors_each_and_all_together() -> None:
    edges = make_edge_tensors({"ids": np.array([[3], [1]]), "x": np.array([[0.5], [2.0]])})
    at = edges.cases.index("zero")
    assert (edges.arrays["ids"][at].tolist(), edges.arrays["x"][at].tolist()) == ([0], [0.0])
    at = edges.cases.index("x zero")
    assert (edges.arrays["ids"][at].tolist(), edges.arrays["x"][at].tolist()) == ([3], [0.0])
    assert edges.arrays["ids"].max() == 3  # a number in a table of words stays one of those that were seen
    assert "far above the data" in make_edge_features(np.ones((1, 2), np.float32)).cases


def test_rows_that_lack_a_column_and_all_columns() -> None:
    table = read_table({"age": [20.5, 30.5, 90.0, 41.5] * 10, "sex": ["f", "m"] * 20, "ill": [0, 1] * 20})
    preprocessor = fit_preprocessor(table, find_kinds(table, target="ill"), target="ill")
    found = rows_with_missing_columns(preprocessor)
    assert len(found) == 3
    np.testing.assert_array_equal(found[-1], preprocessor.rows([{"age": None, "sex": None}]).features[0])


def test_what_is_not_finite_counts_where_the_reference_is() -> None:
    edges = make_edge_features(np.ones((2, 1), np.float32))
    wanted = np.ones((len(edges), 1))
    wanted[edges.cases.index("far above the data")] = math.inf
    found = wanted.copy()
    assert edge_faults(edges, {"y": wanted}, {"y": found}, limit=1e-6) == []
    assert check_edges(edges, {"y": wanted}, {"y": found}, limit=1e-6, what="it").num_rows == len(edges)
    found[edges.cases.index("zero")] = math.nan
    found[edges.cases.index("far below the data")] = -5  # rounding may be large there
    found[edges.cases.index("at its largest")] = 1.1
    faults = edge_faults(edges, {"y": wanted}, {"y": found}, limit=1e-6)
    assert sorted(faults) == ["at its largest: y differs by 0.1", "zero: y is not finite"]
    assert nonfinite_faults(edges, {"y": wanted}, {"y": found}) == ["zero: y is not finite"]
    with pytest.raises(CheckError, match="it does not answer as the model does"):
        check_edges(edges, {"y": wanted}, {"y": found}, limit=1e-6, what="it")
    assert "shape" in edge_faults(edges, {"y": wanted}, {"y": found[:-1]}, limit=1.0)[0]
    assert absolute_errors(np.array([np.nan]), np.array([1.0])).tolist() == [math.inf]


@pytest.mark.parametrize(("bad", "said"), [(math.nan, "zero: margin is not finite"), (7.0, "zero: margin differs")])
def test_an_engine_that_fails_on_a_row_of_zeros_alone_fails_the_gate(
    bad: float, said: str, models: dict[str, tuple[Model, Float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, rows = models["perceptron"]
    whole = OnnxEngine.score

    def without_zeros(self: OnnxEngine, features: Float32) -> Scores:
        scores = whole(self, features)
        dead = ~features.any(axis=1)
        return Scores(np.where(dead[:, None], np.float32(bad), scores.margin), scores.output)

    graph = export_onnx(model, rows.shape[1])
    report = check_parity(model, graph, rows, max_rows=50, kinds=["onnxruntime"], missing=rows[:2])
    assert (report.num_rows, report.engines["onnxruntime"].passes) == (52, True)
    assert {"zero", "at its least", "far below the data, by a slip"} <= set(report.edges.cases)
    monkeypatch.setattr(OnnxEngine, "score", without_zeros)
    with pytest.raises(CheckError, match=said):
        check_parity(model, graph, rows, max_rows=50, kinds=["onnxruntime"])
    assert FEATURES in make_edge_features(rows).arrays
