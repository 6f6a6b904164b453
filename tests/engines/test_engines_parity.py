"""The parity check finds what differs; autotune picks by measurement among what passes."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from deepseek.bundle import EngineEntry
from deepseek.contracts import Float32, Scores
from deepseek.engines import autotune, check_parity, export_onnx, registry
from deepseek.engines import parity as parity_module
from deepseek.engines.parity import EngineParity, compare_scores, exact_kinds, spread_indices
from deepseek.engines.registry import Source
from deepseek.engines.tabular import tune
from deepseek.engines.tabular.torch import TorchEngine
from deepseek.engines.tabular.trees import TreesEngine
from deepseek.engines.tabular.tune import BATCH_SIZES, choose_engines
from deepseek.errors import CheckError
from deepseek.nn.model import Model


def test_every_engine_that_fits_passes_on_real_rows(model_and_rows: tuple[Model, Float32]) -> None:
    model, rows = model_and_rows
    report = check_parity(model, export_onnx(model, rows.shape[1]), rows, max_rows=300)
    assert report.num_rows == 300
    assert all(parity.passes for parity in report.engines.values()), report
    assert next(iter(report.engines)) == "onnxruntime"
    assert ("trees" in report.engines) == TreesEngine.supports(model)
    assert ("torch" in report.engines) == TorchEngine.supports(model)
    document = report.to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert list(document) == ["num_rows", "limits", "engines", "edges"]
    keys = ["max_abs_difference", "max_relative_difference", "passes", "label_agreement"]
    if model.task != "regression":
        assert report.engines["onnxruntime"].label_agreement == 1.0
    else:
        keys.remove("label_agreement")
    assert list(document["engines"]["onnxruntime"]) == keys


def test_for_trees_torch_is_not_even_imported(
    models: dict[str, tuple[Model, Float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes seconds, and would only say that it runs no trees."""
    asked: list[str] = []
    find_class = parity_module.engine_class

    def record(kind: str) -> object:
        asked.append(kind)
        return find_class(kind)

    monkeypatch.setattr(parity_module, "engine_class", record)
    assert exact_kinds(models["boosted"][0]) == ["onnxruntime", "trees"] == asked


def test_the_graph_of_another_model_is_refused(models: dict[str, tuple[Model, Float32]]) -> None:
    model, rows = models["boosted"]
    other = replace(model, bias=(model.bias[0] + 0.001,))
    with pytest.raises(CheckError, match="the exported graph differs from the model"):
        check_parity(model, export_onnx(other, rows.shape[1]), rows)


def test_an_engine_that_is_off_does_not_pass(models: dict[str, tuple[Model, Float32]]) -> None:
    model, rows = models["boosted"]
    expected = model.score(rows)
    off = replace(expected, output=expected.output + np.float32(2e-5))
    parity = compare_scores(model, expected, off)
    assert not parity.passes
    assert parity.output_difference == pytest.approx(2e-5, rel=0.01)
    broken = replace(expected, output=np.full_like(expected.output, np.nan))
    assert not compare_scores(model, expected, broken).passes


def test_autotune_keeps_to_its_time_and_starts_with_onnxruntime(models: dict[str, tuple[Model, Float32]]) -> None:
    from time import process_time

    model, rows = models["boosted"]
    graph = export_onnx(model, rows.shape[1])
    parity = check_parity(model, graph, rows, max_rows=100)
    started_s = process_time()
    tuning = autotune(Source(lambda: model, lambda: graph, rows.shape[1]), parity, rows, budget_s=0.5)
    assert process_time() - started_s < 2.0  # half a second measured, then engines to open and calls to finish
    assert tuning.entries[0].kind == "onnxruntime"
    assert tuning.entries[0].from_rows == 1
    assert set(tuning.seconds) == {"onnxruntime", "trees"}
    assert set(tuning.seconds["trees"]) <= set(BATCH_SIZES)
    document = json.loads(json.dumps(tuning.to_dict(), allow_nan=False))
    assert tuple(EngineEntry(**entry) for entry in document["entries"]) == tuning.entries


def test_no_call_of_a_measurement_gets_the_rows_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[float]] = []

    class Recorder:
        def score(self, features: Float32) -> None:
            seen.append(features[:, 0].tolist())

        def close(self) -> None:
            pass

    monkeypatch.setattr(registry, "open_engine", lambda *_: Recorder())
    source = Source(dict, bytes, 1)  # type: ignore[arg-type]
    seconds = tune.measure_engine("onnxruntime", source, np.arange(300, dtype=np.float32)[:, None], 0.2)
    assert list(seconds) == [size for size in BATCH_SIZES if size in seconds]
    assert all(before != after for before, after in itertools.pairwise(seen))
    assert {len(rows) for rows in seen} == set(seconds)


def test_an_engine_that_fails_parity_is_never_chosen(models: dict[str, tuple[Model, Float32]]) -> None:
    model, rows = models["boosted"]
    graph = export_onnx(model, rows.shape[1])
    parity = check_parity(model, graph, rows, max_rows=100)
    parity = replace(parity, engines={**parity.engines, "trees": EngineParity(passes=False)})
    tuning = autotune(Source(lambda: model, lambda: graph, rows.shape[1]), parity, rows, budget_s=0.1)
    assert [entry.kind for entry in tuning.entries] == ["onnxruntime"]


def test_choose_asks_for_a_clear_gain_and_can_change_back() -> None:
    slow = {1: 1.0, 32: 1.0, 1024: 10.0, 16384: 100.0}
    assert choose_engines({"onnxruntime": slow, "trees": {1: 0.5, 32: 0.9, 1024: 5.0, 16384: 300.0}}) == [
        ("onnxruntime", 1),
        ("trees", 1024),
        ("onnxruntime", 16384),
    ]


def test_spread_takes_both_ends() -> None:
    assert spread_indices(5, 100).tolist() == [0, 1, 2, 3, 4]
    assert spread_indices(1000, 3).tolist() == [0, 500, 999]


def test_the_twin_answers_rows_and_edges_once_for_all_engines(
    monkeypatch: pytest.MonkeyPatch, models: dict[str, tuple[Model, Float32]]
) -> None:
    """It walks each tree alone: by it parity of 2,600 trees took seconds an engine."""
    model, rows = models["boosted"]
    graph, calls, score = export_onnx(model, rows.shape[1]), [], Model.score

    def counted(self: Model, features: Float32) -> Scores:
        calls.append(len(features))
        return score(self, features)

    monkeypatch.setattr(Model, "score", counted)
    assert set(check_parity(model, graph, rows, max_rows=20).engines) == {"onnxruntime", "trees"}
    assert len(calls) == 2
