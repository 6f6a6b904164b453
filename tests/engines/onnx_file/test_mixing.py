"""Which graphs may have rows of several requests in one call: read from operators, and held against onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from deepseek.engines.onnx_file.mixing import draws_numbers, why_mixed
from deepseek.engines.onnx_file.mixing.sizes import NUM_ROWS, known_size, named_size
from deepseek.engines.onnx_file.mixing.tensor import TracedTensor, broadcast
from deepseek.engines.onnx_file.tune import measure_file
from support.nets.onnxgraphs import FLOAT, INT64, node, save

BOOL = TensorProto.BOOL
ROWS = [("x", FLOAT, ["N", 4])]
RNG = np.random.default_rng(0)
W = {"w": RNG.normal(size=(4, 4)).astype(np.float32), "b": RNG.normal(size=4).astype(np.float32)}
ONE_AXIS = {"rows": np.array([0]), "columns": np.array([1]), "last": np.array([-1])}
LSTM = {
    name: RNG.normal(size=shape).astype(np.float32)
    for name, shape in (("wx", (1, 12, 4)), ("wh", (1, 12, 3)))
}  # fmt: skip


def graph(path: Path, nodes: Sequence[Any], weights: dict[str, Any] | None = None, inputs: Any = ROWS) -> Path:
    return save(path / "m.onnx", nodes, inputs, [("y", FLOAT, None)], weights)


def branch(name: str, *nodes: Any) -> Any:
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info("z", FLOAT, None)])


#: Each mixes rows in a way of its own. Most answer as if they did not, as long as numbers are small or rows are few.
MIXING: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "a limit on the norm of all": (
        [node("ReduceL2", "x", "norm", keepdims=0), node("Div", "c norm", "d"), node("Min", "d one", "m"),
         node("Mul", "x m", "y")],
        {"c": np.float32(50), "one": np.float32(1)},
    ),
    "another way when one is large": (
        [node("Abs", "x", "a"), node("ReduceMax", "a", "peak", keepdims=0), node("Greater", "peak c", "far"),
         node("Tanh", "x", "t"), node("Where", "far t x", "y")],
        {"c": np.float32(20)},
    ),
    "a branch when one is large": (
        [node("ReduceMax", "x", "peak", keepdims=0), node("Greater", "peak c", "far"),
         node("If", "far", "y", then_branch=branch("a", node("Tanh", "x", "z")),
              else_branch=branch("b", node("Identity", "x", "z")))],
        {"c": np.float32(20)},
    ),
    "a softmax over rows": ([node("Softmax", "x", "y", axis=0)], {}),
    "an order of rows": ([node("TopK", "x k", "y places", axis=0)], {"k": np.array([1])}),
    "a sum that runs over rows": ([node("CumSum", "x zero", "y")], {"zero": np.array(0)}),
    "a matrix of rows by rows": ([node("Transpose", "x", "t"), node("MatMul", "x t", "y")], {}),
    "rows by rows by broadcasting": (
        [node("Unsqueeze", "x rows", "a"), node("Unsqueeze", "x columns", "b"), node("Sub", "a b", "d"),
         node("ReduceSum", "d rows", "y", keepdims=0)],
        ONE_AXIS,
    ),
    "rows summed by a product": ([node("MatMul", "w x", "y")], W),
    "the number of rows": (
        [node("Shape", "x", "s", end=1), node("Cast", "s", "n", to=FLOAT), node("Div", "x n", "y")], {},
    ),
    "the place of a row": (
        [node("Shape", "x", "s", end=1), node("Squeeze", "s", "n"), node("Range", "zero n step", "r"),
         node("Cast", "r", "f", to=FLOAT), node("Unsqueeze", "f columns", "c"), node("Add", "x c", "y")],
        {"zero": np.array(0), "step": np.array(1), **ONE_AXIS},
    ),
    "the row before": (
        [node("Pad", "x pads", "p"), node("Slice", "p start end axis", "before"), node("Sub", "x before", "y")],
        {"pads": np.array([1, 0, 0, 0]), "start": np.array([0]), "end": np.array([-1]), "axis": np.array([0])},
    ),
    "half of the rows": ([node("Slice", "x start end axis", "y")],
                         {"start": np.array([1]), "end": np.array([2**62]), "axis": np.array([0])}),
    "elements of two rows in one": (
        [node("Reshape", "x shape", "r"), node("Softmax", "r", "s", axis=1), node("Shape", "x", "old"),
         node("Reshape", "s old", "y")],
        {"shape": np.array([-1, 8])},
    ),
    "columns that become rows": (
        [node("Transpose", "x", "t"), node("Reshape", "t shape", "y")], {"shape": np.array([-1, 4])},
    ),
    "statistics of the rows": (
        [node("BatchNormalization", "x b b b b", "y m v", training_mode=1)], {"b": np.abs(W["b"]) + 1},
    ),
    "a mean over rows and columns": ([node("MeanVarianceNormalization", "x", "y", axes=[0, 1])], {}),
    "a range of the call": (
        [node("DynamicQuantizeLinear", "x", "q s z"), node("DequantizeLinear", "q s z", "y")], {},
    ),
    "rows that are nothing but zeros": (
        [node("NonZero", "x", "p"), node("Transpose", "p", "t"), node("GatherND", "x t", "y")], {},
    ),
    "rows doubled": ([node("Concat", "x x", "y", axis=0)], {}),
    "rows without their axis": ([node("Squeeze", "x", "y")], {}),
    "a loop over rows": (
        [node("Loop", "n go x", "y", body=helper.make_graph(
            [node("Identity", "go_in", "go_out"), node("Add", "s_in s_in", "s_out")], "body",
            [helper.make_tensor_value_info(*each) for each in (("i", INT64, []), ("go_in", BOOL, []),
                                                               ("s_in", FLOAT, None))],
            [helper.make_tensor_value_info(*each) for each in (("go_out", BOOL, []), ("s_out", FLOAT, None))]))],
        {"n": np.array(2), "go": np.array(True)},
    ),
    "a scan that carries a sum": (
        [node("Scan", "zero x", "last y", num_scan_inputs=1, body=helper.make_graph(
            [node("Add", "s_in row", "s_out"), node("Identity", "s_out", "out")], "body",
            [helper.make_tensor_value_info(*each) for each in (("s_in", FLOAT, [4]), ("row", FLOAT, [4]))],
            [helper.make_tensor_value_info(*each) for each in (("s_out", FLOAT, [4]), ("out", FLOAT, [4]))]))],
        {"zero": np.zeros(4, np.float32)},
    ),
    "time and rows confused": (
        [node("Unsqueeze", "x columns", "u"), node("LSTM", "u wx wh", "out", hidden_size=3),
         node("Squeeze", "out columns", "y")],
        {**LSTM, **ONE_AXIS},
    ),
    "einsum over rows": ([node("Einsum", "x w", "y", equation="nk,nj->kj")], W),
    "einsum of rows by rows": ([node("Einsum", "x x", "y", equation="nk,mk->nm")], {}),
}  # fmt: skip


@pytest.mark.parametrize("what", MIXING)
def test_a_graph_that_mixes_rows_is_not_joined(what: str, tmp_path: Path) -> None:
    nodes, weights = MIXING[what]
    assert why_mixed(graph(tmp_path, nodes, weights))


def test_a_softmax_before_opset_13_goes_over_all_axes_behind_the_one_it_names(tmp_path: Path) -> None:
    def explain_mixing(version: int, axis: int) -> str:
        ends = [[helper.make_tensor_value_info(name, FLOAT, ["N", 4])] for name in "xy"]
        graph = helper.make_graph([node("Softmax", "x", "y", axis=axis)], "g", *ends)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=7)
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        return why_mixed(tmp_path / "m.onnx")

    assert "it goes over the rows" in explain_mixing(12, 0)
    assert explain_mixing(12, 1) == explain_mixing(13, -1) == ""
    assert explain_mixing(12, -1) == ""


def test_what_has_no_rule_mixes_and_functions_are_looked_into(tmp_path: Path) -> None:
    opset = [helper.make_opsetid("", 17)]
    harmless = helper.make_function("acme", "Twice", ["a"], ["b"], [node("Add", "a a", "b")], opset)
    mean = helper.make_function("acme", "Twice", ["a"], ["b"], [node("ReduceMean", "a", "b", axes=[0])], opset)
    for function, mixes in ((harmless, False), (mean, True)):
        nodes = [node("Twice", "x", "y", domain="acme")]
        path = save(tmp_path / "m.onnx", nodes, ROWS, [("y", FLOAT, None)], domains=["acme"], functions=[function])
        assert bool(why_mixed(path)) == mixes
    anew = helper.make_function("com.microsoft", "Gelu", ["a"], ["b"], [node("Identity", "a", "b")], opset)
    nodes = [node("Gelu", "x", "y", domain="com.microsoft")]
    path = save(tmp_path / "m.onnx", nodes, ROWS, [("y", FLOAT, None)], domains=["com.microsoft"], functions=[anew])
    assert "anew" in why_mixed(path)
    assert "has no rule" in why_mixed(graph(tmp_path, [node("Wizardry", "x", "y")]))
    nodes = [node("Relu", "x", "y", domain="com.microsoft")]
    path = save(tmp_path / "m.onnx", nodes, ROWS, [("y", FLOAT, None)], domains=["com.microsoft"])
    assert "has no rule" in why_mixed(path)


#: Each keeps rows apart, by the rules; the test below holds every one against onnxruntime.
APART: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "a dense layer": ([node("Gemm", "x w b", "h"), node("Relu", "h", "r"), node("MatMul", "r w", "y")], W),
    "its own peak": (
        [node("Abs", "x", "a"), node("ReduceMax", "a", "peak", axes=[1]), node("Max", "peak c", "m"),
         node("Div", "x m", "y")],
        {"c": np.float32(1)},
    ),
    "its own order": ([node("TopK", "x k", "y places", axis=1)], {"k": np.array([2])}),
    "its own running sum": ([node("CumSum", "x one", "y")], {"one": np.array(1)}),
    "norm and softmax": (
        [node("LayerNormalization", "x b b", "n"), node("Softmax", "n", "y")], W,
    ),
    "rows through (4, N) and back": (
        [node("Transpose", "x", "t"), node("Exp", "t", "e"), node("Transpose", "e", "y")], {},
    ),
    "rows flattened behind another axis": (
        [node("Reshape", "x shape", "r"), node("Transpose", "r", "t", perm=[1, 0, 2]), node("Reshape", "t flat", "f"),
         node("MatMul", "f v", "g"), node("Shape", "t", "s"), node("Slice", "s zero two", "ends"),
         node("Concat", "ends three", "old", axis=0), node("Reshape", "g old", "back"),
         node("Transpose", "back", "n", perm=[1, 0, 2]), node("Flatten", "n", "y")],
        {"shape": np.array([-1, 2, 2]), "flat": np.array([-1, 2]), "v": W["w"][:2, :3], "zero": np.array([0]),
         "two": np.array([2]), "three": np.array([3])},
    ),
    "heads of attention": (
        [node("Unsqueeze", "x last", "u"), node("Mul", "u b", "k"), node("Shape", "k", "s", end=1),
         node("Concat", "s rest", "heads", axis=0), node("Reshape", "k heads", "h"),
         node("Transpose", "h", "q", perm=[0, 2, 1, 3]), node("Transpose", "h", "t", perm=[0, 2, 3, 1]),
         node("MatMul", "q t", "scores"), node("Softmax", "scores", "p"), node("MatMul", "p q", "o"),
         node("Transpose", "o", "back", perm=[0, 2, 1, 3]), node("Concat", "s flat", "end", axis=0),
         node("Reshape", "back end", "y")],
        {**W, **ONE_AXIS, "rest": np.array([4, 2, 2]), "flat": np.array([16])},
    ),
    "a constant for each row": (
        [node("Shape", "x", "s", end=1), node("Concat", "s one", "shape", axis=0), node("Expand", "c shape", "first"),
         node("Concat", "first x", "y", axis=1)],
        {"one": np.array([1]), "c": np.float32([[3]])},
    ),
    "a place in each row by its number": (
        [node("ArgMax", "x", "best", axis=1), node("Shape", "x", "s", end=1), node("Squeeze", "s zero", "n"),
         node("Range", "start n step", "r"), node("Unsqueeze", "r columns", "u"), node("Concat", "u best", "p", axis=1),
         node("GatherND", "x p", "y")],
        {**ONE_AXIS, "zero": np.array([0]), "start": np.array(0), "step": np.array(1)},
    ),
    "a place in all rows laid behind each other": (
        [node("Reshape", "x flat", "f"), node("Shape", "x", "s", end=1), node("Squeeze", "s zero", "n"),
         node("Range", "start n step", "r"), node("Mul", "r four", "begin"), node("Unsqueeze", "begin columns", "u"),
         node("Range", "start four step", "places"), node("Add", "u places", "p"), node("Gather", "f p", "y")],
        {**ONE_AXIS, "zero": np.array([0]), "start": np.array(0), "step": np.array(1), "flat": np.array([-1]),
         "four": np.array(4)},
    ),
    "a branch by a size that is known": (
        [node("Shape", "x", "s", start=1), node("Equal", "s one", "is"),
         node("If", "is", "y", then_branch=branch("a", node("Neg", "x", "z")),
              else_branch=branch("b", node("Identity", "x", "z")))],
        {**ONE_AXIS, "one": np.array([1])},
    ),
    "a scan that carries nothing": (
        [node("Scan", "x", "y", num_scan_inputs=1, body=helper.make_graph(
            [node("ReduceSum", "row", "s", keepdims=0), node("Div", "row s", "out")], "body",
            [helper.make_tensor_value_info("row", FLOAT, [4])], [helper.make_tensor_value_info("out", FLOAT, [4])]))],
        {},
    ),
    "time behind rows": (
        [node("Unsqueeze", "x rows", "u"), node("LSTM", "u wx wh", "out", hidden_size=3),
         node("Transpose", "out", "t", perm=[2, 0, 1, 3]), node("Flatten", "t", "y")],
        {**LSTM, **ONE_AXIS},
    ),
    "einsum": ([node("Einsum", "x w", "y", equation="nk,kj->nj")], W),
    "a picture": (
        [node("Reshape", "x shape", "p"), node("Conv", "p k", "c", pads=[1, 1, 1, 1]), node("MaxPool", "c", "m",
         kernel_shape=[2, 2]), node("GlobalAveragePool", "c", "g"), node("Add", "m g", "a"),
         node("InstanceNormalization", "c one one", "i"), helper.make_node("Resize", ["i", "", "scales"], ["z"]),
         node("ReduceMean", "z", "q", axes=[2, 3]), node("Add", "a q", "s"), node("Flatten", "s", "y")],
        {"shape": np.array([-1, 1, 2, 2]), "k": W["w"][None, None, :3, :3], "one": np.ones(1, np.float32),
         "scales": np.float32([1, 1, 2, 2])},
    ),
    "int8 with stored ranges": (
        [node("QuantizeLinear", "x s z", "q"), node("QLinearMatMul", "q s z p s zero s z", "m"),
         node("DequantizeLinear", "m s z", "y")],
        {"s": np.float32(0.1), "z": np.uint8(128), "p": (10 * W["w"]).astype(np.int8), "zero": np.int8(0)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", APART)
def test_rows_that_the_rules_keep_apart_are_kept_apart_by_onnxruntime(what: str, tmp_path: Path) -> None:
    nodes, weights = APART[what]
    path = graph(tmp_path, nodes, weights)
    assert why_mixed(path) == ""
    hold_to_alone(path, lambda rows: {"x": rows})


def hold_to_alone(path: Path, inputs: Callable[[Any], dict[str, Any]]) -> None:
    """Rows of several sizes in calls of several lengths answer as alone."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(9, 4)).astype(np.float32) * np.float32([1, 1e-3, 300, 1, 0, 50, 1e4, 1, 2])[:, None] + 0.1
    alone = [session.run(None, inputs(rows[at : at + 1]))[0] for at in range(len(rows))]
    for size in (2, 3, 9):
        for start in range(len(rows) - size + 1):
            outputs = session.run(None, inputs(rows[start : start + size]))[0]
            expected = np.concatenate(alone[start : start + size])
            np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)


def test_random_operators_are_told_and_dropout_only_in_training(tmp_path: Path) -> None:
    assert draws_numbers(graph(tmp_path, [node("Bernoulli", "x", "y")]))
    assert draws_numbers(graph(tmp_path, [node("RandomNormalLike", "x", "r", seed=1.0), node("Add", "x r", "y")]))
    for mode, draws in ((True, True), (False, False)):
        path = graph(
            tmp_path, [node("Dropout", "x ratio mode", "y")], {"ratio": np.float32(0.5), "mode": np.array(mode)}
        )
        assert draws_numbers(path) == draws
        assert bool(why_mixed(path)) == draws
    inputs = [*ROWS, ("mode", BOOL, [])]
    assert draws_numbers(graph(tmp_path, [node("Dropout", "x ratio mode", "y")], {"ratio": np.float32(0.5)}, inputs))


@pytest.mark.parametrize("operator", ["Bernoulli", "RandomNormalLike", "RandomUniformLike", "Dropout"])
def test_a_graph_that_draws_numbers_is_opened_for_calls_of_its_own(operator: str, tmp_path: Path) -> None:
    weights = {"ratio": np.float32(0.5), "mode": np.array(True)} if operator == "Dropout" else {}
    measured = measure_file(
        graph(tmp_path, [node(operator, "x ratio mode" if weights else "x", "y")], weights), limits=None, budget_s=0.1
    )
    assert measured.signature.rows == "whole"
    assert measured.engines == (("onnxruntime", 1),)
    assert "it draws numbers" in measured.mixed


def test_sizes_are_followed_by_hand() -> None:
    assert (NUM_ROWS * known_size(12) / known_size(4)).per_row == known_size(3)
    assert (NUM_ROWS * known_size(3) / known_size(2)).per_row is None  # two rows would share a place
    assert (NUM_ROWS * named_size("t")).per_row == named_size("t")
    assert (NUM_ROWS * NUM_ROWS).per_row is None
    assert known_size(6).per_row is None
    rows, columns = TracedTensor(0, (NUM_ROWS, known_size(4))), TracedTensor(None, (known_size(4),))
    assert broadcast([rows, columns]) == rows
    with pytest.raises(Exception, match="it counts on a number of rows"):
        broadcast([rows, TracedTensor(None, (known_size(2), known_size(4)))])


def test_constants_are_read_in_every_form(tmp_path: Path) -> None:
    from deepseek.engines.onnx_file.mixing.read import read_model

    arrays = {
        "whole": np.array([-1, 2**40]), "small": np.array([-3], np.int8), "point": np.float32([0.5]),
        "double": np.array(0.25), "truth": np.array(True), "many": np.zeros(300), "endless": np.float32([np.inf]),
    }  # fmt: skip
    packed = helper.make_tensor("packed", TensorProto.INT64, [3], [-1, 7, 300])
    floats = helper.make_tensor("floats", FLOAT, [2], [0.5, -2.0])
    tensors = [*(numpy_helper.from_array(array, name) for name, array in arrays.items()), packed, floats]
    graph = helper.make_graph([], "g", [], [], tensors)
    constants = read_model(helper.make_model(graph).SerializeToString()).graph.constants
    values = {name: None if each.values is None else [float(v.factor) for v in each.values]
             for name, each in constants.items()}  # fmt: skip
    assert values == {
        "whole": [-1, 2**40], "small": [-3], "point": [0.5], "double": [0.25], "truth": [1], "many": None,
        "endless": None, "packed": [-1, 7, 300], "floats": [0.5, -2.0],
    }  # fmt: skip
    assert constants["many"].shape == (known_size(300),)
