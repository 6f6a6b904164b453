"""The exported graph against the numpy twin, against skl2onnx, and byte for byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

from deepseek.contracts import Float32, Scores
from deepseek.engines.graph import OnnxGraphBuilder
from deepseek.engines.onnx import OnnxEngine
from deepseek.engines.tabular.export import export_onnx
from deepseek.errors import InputError, IntegrityError
from deepseek.nn.dense import Linear
from deepseek.nn.model import Model, Part
from deepseek.nn.trees import TreeTable
from deepseek.train.tabular.convert import from_forest, from_hist

LABELS = ("no", "yes")


def run(model: Model, features: Float32) -> Scores:
    return OnnxEngine(export_onnx(model, features.shape[1])).score(features)


def test_the_graph_gives_the_twins_scores(model_and_rows: tuple[Model, Float32]) -> None:
    model, rows = model_and_rows
    scores, expected = run(model, rows[:300]), model.score(rows[:300])
    assert scores.margin.shape == expected.margin.shape
    assert scores.output.shape == expected.output.shape
    size = np.maximum(1, np.abs(expected.margin))
    assert (np.abs(scores.margin - expected.margin) / size).max() <= 1e-5
    assert (np.abs(scores.output - expected.output) / (size if model.task == "regression" else 1)).max() <= 1e-6


def test_equal_models_give_equal_bytes(model_and_rows: tuple[Model, Float32]) -> None:
    model, rows = model_and_rows
    again = Model.from_files(model.to_files().__getitem__)
    assert export_onnx(model, rows.shape[1]) == export_onnx(again, rows.shape[1])


def test_the_graph_passes_the_checker_and_stays_within_old_versions(model_and_rows: tuple[Model, Float32]) -> None:
    model, rows = model_and_rows
    graph = onnx.load_from_string(export_onnx(model, rows.shape[1]))
    onnx.checker.check_model(graph, full_check=True)
    versions = {opset.domain: opset.version for opset in graph.opset_import}
    assert graph.ir_version <= 10
    assert versions[""] <= 17
    assert versions["ai.onnx.ml"] <= 5


def test_leaves_of_one_class_take_the_smaller_operator(models: dict[str, tuple[Model, Float32]]) -> None:
    """Both forests have ten classes; the second one's leaves hold rows of several."""
    operators = {}
    for name in ("forest, ten classes", "mixed leaves, ten classes"):
        model, rows = models[name]
        graph = onnx.load_from_string(export_onnx(model, rows.shape[1]))
        operators[name] = {node.op_type for node in graph.graph.node if node.op_type.startswith("Tree")}
    assert list(operators.values()) == [{"TreeEnsemble"}, {"TreeEnsembleRegressor"}]


def to_skl2onnx(estimator: Any, features: Float32, **options: Any) -> list[Any]:
    import onnxruntime
    import skl2onnx

    graph = skl2onnx.to_onnx(estimator, features[:1], options={id(estimator): options} if options else None)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs: list[Any] = session.run(None, {session.get_inputs()[0].name: features})
    return outputs


def test_a_random_forest_equals_skl2onnx(cancer_forest: Any, cancer: Any) -> None:
    features, _ = cancer
    model = Model("binary", LABELS, "probability", (Part("rf", from_forest(cancer_forest, num_margins=1)),))
    ours = run(model, features).margin[:, 0]
    assert np.abs(ours - to_skl2onnx(cancer_forest, features, zipmap=False)[1][:, 1]).max() < 1e-6


def test_extra_trees_of_many_classes_equal_skl2onnx(digits: Any) -> None:
    features, target = digits
    estimator = ExtraTreesClassifier(15, random_state=1).fit(features, target)
    model = Model(
        "multiclass", tuple("0123456789"), "probability", (Part("et", from_forest(estimator, num_margins=10)),),
        bias=(0.0,) * 10,
    )  # fmt: skip
    ours = run(model, features).margin
    assert np.abs(ours - to_skl2onnx(estimator, features, zipmap=False)[1]).max() < 1e-6


def test_a_forest_of_values_equals_skl2onnx(diabetes: Any) -> None:
    features, target = diabetes
    estimator = RandomForestRegressor(20, random_state=0).fit(features, target)
    table = from_forest(estimator, num_margins=1)
    ours = run(Model("regression", (), "target units", (Part("rf", table),)), features).output
    assert np.abs(ours - to_skl2onnx(estimator, features)[0]).max() < 1e-3  # of values of 25 to 346


def test_hist_gradient_boosting_equals_scikit_learn(diabetes: Any) -> None:
    """skl2onnx 1.20 cannot convert this model together with onnx 1.23, so the library itself is the judge."""
    features, target = diabetes
    estimator = HistGradientBoostingRegressor(max_iter=20, random_state=0).fit(features, target)
    table = from_hist(estimator, num_margins=1)
    ours = run(Model("regression", (), "target units", (Part("hist", table),)), features).output[:, 0]
    assert np.abs(ours - estimator.predict(features)).max() < 1e-3


def test_a_value_on_the_threshold_goes_left_and_the_next_float_right(stump: Any) -> None:
    cut = np.float32(0.1)
    rows = np.array([[cut], [np.nextafter(cut, np.float32(1))], [0.0], [-0.0]], np.float32)
    table = stump((0, cut, -1.0, 2.0), (0, 0.0, 10.0, 20.0))
    scores = run(Model("regression", (), "target units", (Part("t", table),)), rows)
    assert scores.output[:, 0].tolist() == [19.0, 22.0, 9.0, 9.0]


def test_trees_that_are_one_leaf_are_kept(stump: Any) -> None:
    table = stump((0, 0.5, 1.0, 2.0))
    lone = TreeTable(
        roots=np.array([0, 1, 4], np.int32), output=np.zeros(3, np.int32),
        feature=np.array([-1, 0, -1, -1, -1], np.int32), threshold=np.array([0, 0.5, 0, 0, 0], np.float32),
        left=np.array([0, 2, 1, 2, 3], np.int32), right=np.array([0, 3, 0, 0, 0], np.int32),
        cover=np.ones(5, np.float32), leaves=np.array([[100], [1], [2], [1000]], np.float32), bias=table.bias,
    )  # fmt: skip
    rows = np.array([[0.0], [1.0]], np.float32)
    model = Model("regression", (), "target units", (Part("t", lone),))
    assert model.score(rows).output[:, 0].tolist() == [1101.0, 1102.0]
    assert run(model, rows).output[:, 0].tolist() == [1101.0, 1102.0]


def test_a_share_near_one_keeps_its_log_odds(stump: Any) -> None:
    """Leaves of 1/300 sum to 1: rounded as they come, a float32 sum would be off by 1e-6, and its log-odds by 1e-2."""
    features = np.arange(40, dtype=np.float32)[:, None]
    estimator = RandomForestClassifier(300, random_state=0).fit(features, features[:, 0] > 20)
    table = from_forest(estimator, num_margins=1)
    model = Model("binary", LABELS, "log-odds", (Part("rf", table, 1.0, "log_odds", 1e-4),))
    margins = run(model, features).margin[:, 0]
    share = 1e-4 + (1 - 2e-4) * estimator.predict_proba(features)[:, 1]
    assert share.max() == 1 - 1e-4
    assert np.abs(margins - np.log(share / (1 - share))).max() < 1e-5
    assert np.abs(margins - model.score(features).margin[:, 0]).max() < 1e-6


def test_a_code_beyond_the_table_reads_level_zero(models: dict[str, tuple[Model, Float32]]) -> None:
    model, rows = models["perceptron, ten classes"]
    odd = np.repeat(rows[:1], 3, axis=0)
    odd[:, 0] = [0, 5, -1]  # five levels: 0 to 4
    margins = run(model, odd).margin
    assert np.abs(margins[1:] - margins[0]).max() == 0.0


@pytest.mark.parametrize("name", ["halved members", "halved, ten classes"])
def test_numbers_beyond_all_measure_get_the_twins_scores(name: str, models: dict[str, tuple[Model, Float32]]) -> None:
    model, rows = models[name]
    far = rows[:20].copy()
    far[:, 4:] *= np.float32(1e30)  # no code
    scores, expected = run(model, far), model.score(far)
    assert np.isfinite(expected.margin).all()
    assert (np.abs(scores.margin - expected.margin) / np.maximum(1, np.abs(expected.margin))).max() <= 1e-5


def test_members_share_the_scaling_of_their_input(models: dict[str, tuple[Model, Float32]]) -> None:
    model, rows = models["halved members"]
    graph = onnx.load_from_string(export_onnx(model, rows.shape[1])).graph
    operators = [node.op_type for node in graph.node]
    assert len(model.parts) == 4
    assert operators.count("Clip") == operators.count("Log") == operators.count("Concat") - 1 == 1  # one of chances
    assert operators.count("Gemm") == 4 * 3


def test_weights_of_half_precision_are_stored_so(models: dict[str, tuple[Model, Float32]]) -> None:
    model, rows = models["halved, ten classes"]
    graph = onnx.load_from_string(export_onnx(model, rows.shape[1])).graph
    half = sum(int(np.prod(t.dims)) for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT16)
    weights: Any = model.parts[0].weights
    assert half == sum(array.size for array in (*weights.embeddings, *weights.weights, weights.skip))


def test_a_linear_model_by_hand() -> None:
    part = Part("linear", Linear(np.array([[2.0], [-1.0]]), np.array([0.5]), np.zeros(2)))
    scores = run(Model("binary", LABELS, "log-odds", (part,), slope=2.0, bias=(1.0,)), np.array([[1, 3]], np.float32))
    assert scores.margin.tolist() == [[-0.5]]
    assert scores.output.tolist() == [[0.5, 0.5]]


def test_bytes_that_are_no_graph_are_refused() -> None:
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        OnnxEngine(b"not a graph")


def test_an_operator_of_ones_own_is_defined_once_and_in_one_way() -> None:
    graph = OnnxGraphBuilder("features", num_features=1)

    def define(operator: str) -> None:
        graph.function("mine", "Curve", ["x"], ["y"], [onnx.helper.make_node(operator, ["x"], ["y"])])

    define("Neg")
    define("Neg")
    with pytest.raises(InputError, match=r"mine\.Curve"):
        define("Abs")
    for name in ("margin", "output"):
        graph.output(name, graph.add("Curve", "features", domain="mine"), width=1)
    scores = OnnxEngine(graph.to_bytes(ml_version=3)).score(np.array([[2.0], [-3.0]], np.float32))
    assert scores.margin.tolist() == [[-2.0], [3.0]]
