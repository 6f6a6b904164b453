"""A torch module as an ONNX graph that keeps every number of the module's own.

    model = export_torch_module(module, (rows,), input_names=["x"], output_names=["output"], dynamic_shapes=({0: dim},))

The exporter's optimizer takes a number that it adds for nought where it is below 1e-8, and one that it multiplies with
for 1 where it is near (onnxscript, rewriter/rules/common/_no_op.py with the tolerances of _pattern_ir.Constant). So
log(x + 1e-10) became log(x), and x / (sum + 1e-12) became 0 / 0. While it works such numbers are inputs of the graph,
about which it knows nothing; afterwards they are constants again.

torch.multiply of a float and a whole number, which is what Keras calls for `x * 2`, is written without the cast that
torch itself does (torch 2.13, exporter; torch.mul gets it), and no engine loads that: the cast is added here.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import numpy as np

from deepseek.extras import need

#: Wider than the optimizer's tolerances, so that a release that is less exact loses nothing either.
ZERO_TOLERANCE, ONE_TOLERANCE = 1e-5, 1e-3
#: Operators whose inputs have the type of what comes out.
_ARITHMETIC = frozenset(["Add", "Div", "Max", "Min", "Mul", "Sub"])


def export_torch_module(
    module: Any,
    inputs: tuple[Any, ...],
    *,
    input_names: Sequence[str],
    output_names: Sequence[str],
    dynamic_shapes: tuple[Any, ...],
) -> Any:
    """The onnx.ModelProto of a module that takes `inputs`, by torch.export; the other arguments are those of
    torch.onnx.export. What torch says about it is not printed, what it raises is."""
    torch = need("torch", extra="train")
    need("onnxscript", extra="compress")
    output = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(output), redirect_stderr(output):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module, inputs, dynamo=True, verbose=False, optimize=False, input_names=list(input_names),
            dynamic_shapes=dynamic_shapes,
        )  # fmt: skip
        graph = program.model.graph
        _cast_mixed_inputs(graph)
        hidden = _constants_to_inputs(graph)
        program.optimize()
        _inputs_to_constants(graph, hidden)
        _free_names(graph, frozenset(output_names))
        for value, name in zip(graph.outputs, output_names, strict=True):  # by now two that were one are two
            value.name = name
        proto = program.model_proto
    strip_metadata(proto)
    return proto


def strip_metadata(proto: Any) -> None:
    """Take what the exporter notes about its own work out of an onnx.ModelProto: names of modules and lines of code
    with the paths of the machine that it ran on. The graph computes the same, and equal seeds give equal bytes."""
    graphs = [proto.graph, *proto.functions]
    while graphs:
        graph = graphs.pop()
        values = [*graph.value_info, *getattr(graph, "initializer", ())]
        if graph.DESCRIPTOR.name == "GraphProto":
            values += [*graph.input, *graph.output]
        for part in (graph, *graph.node, *values):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
        for attribute in (attribute for node in graph.node for attribute in node.attribute):
            graphs += [attribute.g] if attribute.HasField("g") else []
            graphs += attribute.graphs
    proto.ClearField("metadata_props")


def _free_names(graph: Any, names: frozenset[str]) -> None:
    """Let no value within the graph have one of these names, which its outputs will get: a layer of Keras and its
    output are called alike."""
    ir = need("onnx_ir", extra="compress")
    outputs = set(map(id, graph.outputs))
    for node in ir.traversal.RecursiveGraphIterator(graph):
        for value in node.outputs:
            if value.name in names and id(value) not in outputs:
                value.name = f"{value.name}_within"


def _cast_mixed_inputs(graph: Any) -> None:
    """Cast the whole numbers that an arithmetic operator takes beside floats to the type of what comes out."""
    ir = need("onnx_ir", extra="compress")
    for node in list(graph):
        target = node.outputs[0].dtype
        if node.op_type not in _ARITHMETIC or node.domain or target is None or not target.is_floating_point():
            continue
        for place, value in enumerate(node.inputs):
            if value is None or value.dtype is None or not value.dtype.is_integer():
                continue
            cast = ir.Node("", "Cast", [value], [ir.AttrInt64("to", target)])
            cast.outputs[0].name, cast.outputs[0].type = f"{node.outputs[0].name}_cast_{place}", ir.TensorType(target)
            cast.outputs[0].shape = value.shape
            graph.insert_before(node, cast)
            node.replace_input_with(place, cast.outputs[0])


def _constants_to_inputs(graph: Any) -> dict[str, Any]:
    """Turn the graph's small numbers, and those near 1, into inputs. Returns their tensors by the name of the input."""
    ir = need("onnx_ir", extra="compress")
    hidden: dict[str, Any] = {}
    for node in list(graph):
        number = None if node.op_type != "Constant" or node.domain else _constant_tensor(node)
        if number is None or not _is_near_identity(number.numpy()):
            continue
        constant = node.outputs[0]
        name = f"kept_{len(hidden)}"
        value = ir.Value(name=name, type=ir.TensorType(number.dtype), shape=number.shape)
        graph.inputs.append(value)
        constant.replace_all_uses_with(value)
        graph.remove(node, safe=True)
        hidden[name] = number
    for name, value in list(graph.initializers.items()):
        if value.const_value is not None and _is_near_identity(value.const_value.numpy()):
            hidden[name] = value.const_value
            del graph.initializers[name]
            value.const_value = None
            graph.inputs.append(value)
    return hidden


def _inputs_to_constants(graph: Any, hidden: dict[str, Any]) -> None:
    """Turn those inputs into constants again."""
    for value in [value for value in graph.inputs if value.name in hidden]:
        graph.inputs.remove(value)
        if value.uses():
            value.const_value = hidden[value.name]
            graph.register_initializer(value)


def _constant_tensor(node: Any) -> Any:
    """The tensor that a Constant node holds; None for texts and lists."""
    ir = need("onnx_ir", extra="compress")
    if (attribute := node.attributes.get("value")) is not None:
        return attribute.value
    if (attribute := node.attributes.get("value_float")) is not None:
        return ir.tensor(np.array(attribute.value, np.float32))
    return None


def _is_near_identity(number: np.ndarray[Any, Any]) -> bool:
    """Whether it is one number that is nearly, but not quite, 0 or 1.

    >>> [_is_near_identity(np.array(x)) for x in (0.0, 1e-10, -1e-12, 0.1, 1.0, 1.000001)]
    [False, True, True, False, False, True]
    """
    if number.size != 1 or number.dtype.kind != "f":
        return False
    size = abs(float(number.ravel()[0]))
    return 0 < size < ZERO_TOLERANCE or 0 < abs(size - 1) < ONE_TOLERANCE
