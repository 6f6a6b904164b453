"""Small real ONNX graphs for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, TEXT = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
Tensor = tuple[str, int, Sequence[Any] | None]  # name, type, shape


def save(
    path: Path,
    nodes: Sequence[Any],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    weights: dict[str, Any] | None = None,
    *,
    domains: Sequence[str] = (),
    functions: Sequence[Any] = (),
    external: str = "",
) -> Path:
    """Write a graph; `external` names a file beside it that takes the weights."""
    ends = [[helper.make_tensor_value_info(*each) for each in end] for end in (inputs, outputs)]
    constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()]
    versions = {"": 17, "ai.onnx.ml": 3} | dict.fromkeys(domains, 1)
    model = helper.make_model(
        helper.make_graph(nodes, "test", *ends, constants),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in versions.items()],
        functions=list(functions),
        ir_version=10,
    )
    if external:
        onnx.save(model, path, save_as_external_data=True, location=external, size_threshold=0)
    else:
        onnx.save(model, path)
    return path


def node(operator: str, inputs: str, outputs: str, **more: Any) -> Any:
    """A node whose inputs and outputs are words."""
    return helper.make_node(operator, inputs.split(), outputs.split(), **more)


def dense(path: Path, *, rows: Any = "N", seed: int = 0, scale: float = 1.0, external: str = "") -> Path:
    """Four numbers a row to three scores and the place of the largest."""
    rng = np.random.default_rng(seed)
    weights = {"w": (scale * rng.normal(size=(4, 3))).astype(np.float32), "b": rng.normal(size=3).astype(np.float32)}
    nodes = [node("Gemm", "x w b", "scores"), node("ArgMax", "scores", "label", axis=1, keepdims=0)]
    outputs = [("scores", FLOAT, [rows, 3]), ("label", INT64, [rows])]
    return save(path, nodes, [("x", FLOAT, [rows, 4])], outputs, weights, external=external)


def dense_scores(path: Path, x: Any) -> np.ndarray[Any, Any]:
    """What dense() gives for rows, in numpy."""
    weights = {each.name: numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}
    scores: np.ndarray[Any, Any] = np.asarray(x, np.float32) @ weights["w"] + weights["b"]
    return scores


def lookup(path: Path) -> Path:
    """A text and a list of whole numbers of any length, each a place in a table of ten, to a number and a sum."""
    weights = {"table": np.arange(10, dtype=np.float32) ** 2, "axis": np.array([1], np.int64)}
    nodes = [
        node("LabelEncoder", "city", "code", domain="ai.onnx.ml", keys_strings=["Bonn", "Köln"], values_int64s=[1, 2],
             default_int64=0),
        node("Gather", "table places", "found"),
        node("ReduceSum", "found axis", "sum", keepdims=0),
    ]  # fmt: skip
    inputs = [("city", TEXT, ["N"]), ("places", INT64, ["N", "length"])]
    return save(path, nodes, inputs, [("code", INT64, ["N"]), ("sum", FLOAT, ["N"])], weights)


def centered(path: Path) -> Path:
    """Rows less their mean: each row's answer depends on the others."""
    nodes = [node("ReduceMean", "x", "mean", axes=[0], keepdims=1), node("Sub", "x mean", "y")]
    return save(path, nodes, [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 3])])


def scalars(path: Path) -> Path:
    """Two numbers without an axis to their sum."""
    return save(path, [node("Add", "a b", "c")], [("a", INT64, []), ("b", INT64, [])], [("c", INT64, [])])


def convnet(path: Path, *, seed: int = 0) -> Path:
    """Pictures (N, 3, 32, 32) to four scores: three convolutions whose int8 is clearly faster than their float32."""
    rng, weights, nodes, last = np.random.default_rng(seed), dict[str, Any](), [], "x"
    for number, (few, many, step) in enumerate(((3, 32, 1), (32, 64, 1), (64, 64, 2))):
        scale = np.sqrt(2 / (few * 9))
        weights[f"w{number}"] = (scale * rng.normal(size=(many, few, 3, 3))).astype(np.float32)
        weights[f"b{number}"] = (0.1 * rng.normal(size=many)).astype(np.float32)
        put = f"{last} w{number} b{number}"
        nodes.append(node("Conv", put, f"c{number}", kernel_shape=[3, 3], pads=[1] * 4, strides=[step] * 2))
        nodes.append(node("Relu", f"c{number}", f"r{number}"))
        last = f"r{number}"
    weights["w"] = (0.1 * rng.normal(size=(64, 4))).astype(np.float32)
    nodes += [node("GlobalAveragePool", last, "mean"), node("Flatten", "mean", "flat"), node("MatMul", "flat w", "y")]
    return save(path, nodes, [("x", FLOAT, ["N", 3, 32, 32])], [("y", FLOAT, ["N", 4])], weights)


def pictures(path: Path, num_rows: int = 128, *, seed: int = 1) -> Path:
    """Rows for convnet(), as a user saves them. Each has a brightness and a slant of its own."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(-1, 1, 32)[:, None] * rng.normal(size=(num_rows, 3, 1, 1)) + rng.normal(
        size=(num_rows, 3, 1, 1)
    )
    np.savez(path, x=(slope + 0.3 * rng.normal(size=(num_rows, 3, 32, 32))).astype(np.float32))
    return path
