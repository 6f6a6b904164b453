"""A function of TensorFlow as an ONNX graph, by tf2onnx."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepseek.engines.onnx_file.signature import TensorSpec
from deepseek.errors import InputError
from deepseek.extras import need

OPSET = 18
#: A domain of operators that only another package runs (strings of TensorFlow), which a bundle cannot hold.
_CONTRIB = "ai.onnx.contrib"


def import_tensorflow() -> Any:
    """TensorFlow on one thread of the CPU. ExtraError where it is not installed."""
    tensorflow = need("tensorflow", extra="tensorflow")
    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    return tensorflow


def write_function(
    function: Any, inputs: Sequence[TensorSpec], outputs: Sequence[str], path: Path, *, opset: int = OPSET
) -> None:
    """Write a tf.function of the inputs, in their order, which returns a list of as many tensors as `outputs`."""
    tensorflow, tf2onnx = need("tensorflow", extra="tensorflow"), need("tf2onnx", extra="tensorflow")
    need("tf2onnx.convert", extra="tensorflow")
    need("keras.src.export.tf2onnx_lib", extra="tensorflow").patch_tf2onnx()  # for numpy 2
    signature = [
        tensorflow.TensorSpec(spec.shape, "string" if spec.dtype == "str" else spec.dtype, name=f"input_{place}")
        for place, spec in enumerate(inputs)
    ]
    proto, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=opset)
    rename_ends(proto, inputs, outputs)
    need("onnx", extra="tensorflow").save(proto, path)


def rename_ends(proto: Any, inputs: Sequence[TensorSpec], outputs: Sequence[str]) -> None:
    """Give a graph's inputs and outputs, in their order, these names. InputError for another number of them, and for
    operators that a bundle cannot hold."""
    graph = proto.graph
    if len(graph.input) != len(inputs) or len(graph.output) != len(outputs):
        raise InputError(
            f"tf2onnx made a graph of {len(graph.input)} inputs and {len(graph.output)} outputs",
            expected=f"{len(inputs)} and {len(outputs)}", fix="leave out the inputs that nothing depends on",
        )  # fmt: skip
    foreign = sorted({node.op_type for node in graph.node if node.domain == _CONTRIB})
    if foreign:
        raise InputError(
            f"the graph needs operators for texts that ONNX has not: {', '.join(foreign)[:200]}",
            expected="operators of ONNX", fix="split and normalize the texts before they come to the model",
        )  # fmt: skip
    names = {old.name: new.name for old, new in zip(graph.input, inputs, strict=True)}
    names |= {old.name: new for old, new in zip(graph.output, outputs, strict=True)}
    _rename(graph, names)


def _rename(graph: Any, names: dict[str, str]) -> None:
    for end in (*graph.input, *graph.output, *graph.value_info):
        end.name = names.get(end.name, end.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                _rename(inner, names)
