"""Weights stored in int8: a quarter of the file, the right axis of each operator, and what is read twice left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.numpy

from deepseek.compress.edge.int8 import store_weights_int8
from deepseek.compress.edge.variants import _quantize_graph
from deepseek.errors import InputError
from support.nets.onnxgraphs import FLOAT, node, save


def answers(graph: bytes, rows: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(graph).run(None, {"x": rows})[0]


@pytest.fixture
def graph(tmp_path: Path) -> bytes:
    """Products of every layout; the scales of the output channels differ by a thousand, so a wrong axis is seen."""
    rng = np.random.default_rng(0)
    spread = 10.0 ** rng.uniform(-1.5, 1.5, 60)
    weights = {
        "turned": (rng.normal(size=(60, 60)) * spread[:, None]).astype(np.float32),  # (out, in), transB
        "straight": (rng.normal(size=(60, 60)) * spread[None]).astype(np.float32),  # (in, out)
        "product": (rng.normal(size=(60, 60)) * spread[None]).astype(np.float32),
        "twice": rng.normal(size=(60, 60)).astype(np.float32),
        "back": (1 / spread).astype(np.float32),
        "bias": np.zeros(60, np.float32),
    }
    nodes = [
        node("Gemm", "x turned bias", "a", transB=1), node("Mul", "a back", "a1"),
        node("Gemm", "a1 straight bias", "b"), node("Mul", "b back", "b1"),
        node("MatMul", "b1 product", "c"), node("Mul", "c back", "c1"),
        node("MatMul", "c1 twice", "d"), node("Gemm", "d twice bias", "y", transB=1),
    ]  # fmt: skip
    path = save(tmp_path / "g.onnx", nodes, [("x", FLOAT, ["N", 60])], [("y", FLOAT, ["N", 60])], weights)
    return path.read_bytes()


def test_weights_are_stored_in_int8_by_output_channel(graph: bytes) -> None:
    small = store_weights_int8(graph)
    rows = np.random.default_rng(1).normal(size=(50, 60)).astype(np.float32)
    expected, actual = answers(graph, rows), answers(small, rows)
    error = np.sqrt(((actual - expected) ** 2).mean()) / expected.std()
    assert error < 0.02
    stored = {each.name: each.data_type for each in onnx.load_from_string(small).graph.initializer}
    assert stored["twice"] == onnx.TensorProto.FLOAT
    assert [stored[f"{name}_int8"] for name in ("turned", "straight", "product")] == [onnx.TensorProto.INT8] * 3
    assert len(small) < len(graph) - 2.5 * 60 * 60 * 3
    assert store_weights_int8(graph) == small


def test_an_old_opset_is_refused(graph: bytes) -> None:
    model = onnx.load_from_string(graph)
    model.opset_import[0].version = 11
    with pytest.raises(InputError, match="opset 11"):
        store_weights_int8(model.SerializeToString())


def test_int8_throughout_keeps_the_class(cnn: tuple[Path, Path]) -> None:
    pictures = safetensors.numpy.load_file(cnn[1])["picture"]
    quantized_graph = _quantize_graph(cnn[0].read_bytes(), "picture", pictures[:200])
    kinds = {each.op_type for each in onnx.load_from_string(quantized_graph).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    classes = [
        onnxruntime.InferenceSession(graph).run(None, {"picture": pictures[200:]})[0].argmax(axis=1)
        for graph in (quantized_graph, cnn[0].read_bytes())
    ]
    assert (classes[0] == classes[1]).mean() > 0.98
