"""Layers of Keras behind an input that tf2onnx has no operators for: texts to numbers, and numbers to numbers.

    front = find_front(keras, model)                # TextVectorization and IntegerLookup that read an input, in order
    rest = rest_of(keras, model, front)             # the model behind them, a keras.Function
    join_front(proto, front, inputs, path)          # operators of ONNX before the graph that was made of the rest

A graph that reads texts computes a row at a time: how a text is split depends on the longest one beside it, although
what comes out does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.engines.convert.routes.text_operators import MODES, OPSET, GraphNodes, TextSettings, look_up
from deepseek.engines.convert.routes.text_operators import vectorize_texts as add_texts
from deepseek.engines.onnx_file.signature import TensorSpec
from deepseek.errors import InputError
from deepseek.extras import need

LABELS_DOMAIN, LABELS_VERSION = "ai.onnx.ml", 3
MIN_IR_VERSION = 9  # of opset 20


@dataclass(frozen=True, slots=True, eq=False)
class FrontLayer:
    """A layer that reads one input of the model and nothing else."""

    layer: Any
    place: int  # of the input
    output: Any  # its KerasTensor
    dtype: str  # of what comes out: Keras states another one where words are counted

    @property
    def reads_texts(self) -> bool:
        return type(self.layer).__name__ == "TextVectorization"


def find_front(keras: Any, model: Any) -> tuple[FrontLayer, ...]:
    """Those of a model that right behind an input; () where there are none, or the model is no graph of layers."""
    kinds = (keras.layers.TextVectorization, keras.layers.IntegerLookup)
    graph = getattr(model, "_functional", None) or model
    places = {id(tensor): place for place, tensor in enumerate(model.inputs)}
    return tuple(
        FrontLayer(operation, places[id(node.input_tensors[0])], node.outputs[0], _dtype_of(keras, operation, node))
        for operation in getattr(graph, "operations", ())
        if type(operation) in kinds
        for node in operation._inbound_nodes
        if id(node.input_tensors[0]) in places
    )


def _dtype_of(keras: Any, layer: Any, node: Any) -> str:
    """The type of the numbers that a layer gives, asked of one made-up row."""
    start = node.input_tensors[0]
    shape = (1, *(size or 1 for size in start.shape[1:]))
    row = np.full(shape, "") if start.dtype == "string" else np.zeros(shape, start.dtype)
    return str(keras.backend.standardize_dtype(layer(row).dtype))


def rest_of(keras: Any, model: Any, front: Sequence[FrontLayer]) -> tuple[Any, tuple[int, ...]]:
    """What lies behind the front, as a function of its outputs and then of the inputs that are read by others too; and
    the places of these inputs."""
    graph = getattr(model, "_functional", None) or model
    layers = {id(each.layer) for each in front}
    read = {
        id(tensor)
        for operation in graph.operations
        if id(operation) not in layers
        for node in operation._inbound_nodes
        for tensor in node.input_tensors
    }
    read |= {id(tensor) for tensor in keras.tree.flatten(model.outputs)}
    others = tuple(place for place, tensor in enumerate(model.inputs) if id(tensor) in read)
    starts = [*(each.output for each in front), *(model.inputs[place] for place in others)]
    return keras.Function(starts, keras.tree.flatten(model.outputs)), others


def join_front(
    proto: Any, front: Sequence[FrontLayer], others: Sequence[int], inputs: Sequence[TensorSpec], path: Path
) -> None:
    """Write the graph of the rest, whose inputs are the front's outputs and then `others`, with the front before it.
    InputError for a layer that ONNX has no operators for."""
    onnx = need("onnx", extra="tensorflow")
    has_texts = any(each.reads_texts for each in front)
    version = {each.domain: each.version for each in proto.opset_import}.get("", 0)
    if has_texts and version < OPSET:
        proto = onnx.version_converter.convert_version(proto, OPSET)
    starts = [each.name for each in proto.graph.input]
    nodes: list[Any] = []
    for number, (each, start) in enumerate(zip(front, starts, strict=False)):
        part = GraphNodes(f"front_{number}")
        output = _add_layer(part, each, inputs[each.place])
        part.nodes.append(onnx.helper.make_node("Identity", [output], [start]))
        nodes += part.nodes
        proto.graph.initializer.extend(part.constants)
    nodes += [
        onnx.helper.make_node("Identity", [inputs[place].name], [start])
        for place, start in zip(others, starts[len(front) :], strict=True)
    ]
    behind = list(proto.graph.node)
    del proto.graph.node[:], proto.graph.input[:]
    proto.graph.node.extend([*nodes, *behind])
    proto.graph.input.extend(_describe(onnx, spec) for spec in inputs)
    if has_texts:
        _fix_to_one_row((*proto.graph.input, *proto.graph.output))
    if all(each.domain != LABELS_DOMAIN for each in proto.opset_import):
        proto.opset_import.append(onnx.helper.make_opsetid(LABELS_DOMAIN, LABELS_VERSION))
    proto.ir_version = max(proto.ir_version, MIN_IR_VERSION)
    onnx.save(proto, path)


def _describe(onnx: Any, spec: TensorSpec) -> Any:
    element = onnx.TensorProto.STRING if spec.dtype == "str" else onnx.helper.np_dtype_to_tensor_dtype(spec.numpy)
    return onnx.helper.make_tensor_value_info(
        spec.name, element, [size if isinstance(size, int) else None for size in spec.shape]
    )


def _fix_to_one_row(ends: Sequence[Any]) -> None:
    for end in ends:
        end.type.tensor_type.shape.dim[0].dim_value = 1


def _add_layer(nodes: GraphNodes, front: FrontLayer, spec: TensorSpec) -> str:
    if front.reads_texts:
        output = add_texts(nodes, spec.name, text_settings(front.layer, spec))
    else:
        output = _add_integers(nodes, front.layer, spec)
    onnx = need("onnx", extra="tensorflow")
    return nodes.add("Cast", output, to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(front.dtype)))


def text_settings(layer: Any, spec: TensorSpec) -> TextSettings:
    """What a TextVectorization does. InputError for what ONNX has no operators for, by the layer's name."""
    config, table = layer.get_config(), layer._lookup_layer
    standardize, mode = config["standardize"], config["output_mode"]
    splits = config["split"] == "whitespace"
    is_one_text = spec.shape[1:] in ((), (1,))
    if config["split"] not in ("whitespace", None):
        raise _refusal(layer, f"splits by {config['split']}", 'split="whitespace"')
    if not splits and (mode != "int" or not is_one_text):
        raise _refusal(layer, "splits no texts", 'split="whitespace"')
    if config["ngrams"] is not None:
        raise _refusal(layer, "makes n-grams", "ngrams=None")
    if mode not in MODES:
        raise _refusal(layer, f"gives {mode}", " or ".join(MODES))
    if mode == "int" and splits and config["output_sequence_length"] is None:
        raise _refusal(layer, "gives as many numbers as the longest text beside it has words", "output_sequence_length")
    words = tuple(map(str, layer.get_vocabulary(include_special_tokens=False)))
    width = table.max_tokens if config["pad_to_max_tokens"] else layer.vocabulary_size()
    return TextSettings(
        words, "lower" in (standardize or ""), "strip_punctuation" in (standardize or ""), splits, mode,
        config["output_sequence_length"], 0 if mode == "int" else int(width),
        np.asarray(table.idf_weights_const) if mode == "tf_idf" else None,
    )  # fmt: skip


def _add_integers(nodes: GraphNodes, layer: Any, spec: TensorSpec) -> str:
    """An IntegerLookup: whole numbers (N, ...) -> int64 of the same shape."""
    config = layer.get_config()
    if config["output_mode"] != "int" or config["invert"]:
        raise _refusal(layer, f"gives {config['output_mode']}", 'output_mode="int", and CategoryEncoding behind it')
    if config["num_oov_indices"] != 1:
        raise _refusal(layer, f"has {config['num_oov_indices']} places for unknown numbers", "num_oov_indices=1")
    first = 0 if config["mask_token"] is None else 1
    known = [int(each) for each in layer.get_vocabulary(include_special_tokens=False)]
    numbers = list(range(first + 1, first + 1 + len(known)))
    if first:
        known, numbers = [int(config["mask_token"]), *known], [0, *numbers]
    onnx = need("onnx", extra="tensorflow")
    whole = nodes.add("Cast", spec.name, to=onnx.TensorProto.INT64)
    return look_up(nodes, whole, known, numbers, unknown=first)


def _refusal(layer: Any, what: str, expected: str) -> InputError:
    return InputError(
        f"the {type(layer).__name__} {layer.name!r} {what}, which ONNX has no operators for", expected=expected,
        fix="do this before the model is called",
    )  # fmt: skip
