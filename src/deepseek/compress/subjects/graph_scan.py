"""Which operators of a graph lose most in int8: each computes alone with what it would have got, and the gain is
measured.

    worst_nodes(Path("model.onnx"), Path("int8.onnx"), calls)     # names, the worst first

An activation goes into an operator through QuantizeLinear and DequantizeLinear. To leave them out before one operator
needs no new calibration, so that a scan costs a session and some calls for each; what it finds is then quantised anew
without those operators.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import Arrays, Float64
from deepseek.engines.onnx import open_session
from deepseek.extras import need

MAX_CALLS = 48
MAX_NODES = 200  # of larger graphs the first ones: a scan of more would take long
_PRODUCT_OPS = frozenset(["Conv", "ConvTranspose", "Gemm", "MatMul"])


def worst_nodes(given: Path, int8: Path, calls: Sequence[Arrays]) -> list[str]:
    """Names of convolutions and products by how much nearer the given graph's answers they bring the int8 graph."""
    onnx = need("onnx", extra="compress")
    calls = calls[:MAX_CALLS]
    exact = _graph_outputs(given.read_bytes(), calls)
    model = onnx.load(int8)
    makers = {name: node for node in model.graph.node for name in node.output}
    errors: dict[str, float] = {}
    for node in [node for node in model.graph.node if node.op_type in _PRODUCT_OPS and node.name][:MAX_NODES]:
        before = list(node.input)
        for place, name in enumerate(before):
            node.input[place] = _unrounded_input(name, makers)
        if list(node.input) != before:
            errors[node.name] = float(np.linalg.norm(_graph_outputs(model.SerializeToString(), calls) - exact))
            node.input[:] = before
    return sorted(errors, key=lambda name: errors[name])


def _unrounded_input(name: str, makers: dict[str, Any]) -> str:
    """The value that was rounded on its way to `name`; `name` itself for weights and for what was not."""
    restored = makers.get(name)
    if restored is None or restored.op_type != "DequantizeLinear":
        return name
    rounded = makers.get(restored.input[0])
    return rounded.input[0] if rounded is not None and rounded.op_type == "QuantizeLinear" else name


def _graph_outputs(graph: bytes, calls: Sequence[Arrays]) -> Float64:
    session: Any = open_session(graph, "the graph", num_threads=1)
    return np.concatenate([np.ravel(session.run(None, call)[0]).astype(np.float64) for call in calls])
