"""A function of TensorFlow, or a signature of a SavedModel, as an ONNX graph, by tf2onnx."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepseek.engines.onnx_file.signature import TensorSpec
from deepseek.errors import InputError
from deepseek.extras import need

OPSET = 18
DEFAULT_SIGNATURE = "serving_default"
#: A domain of operators that only another package runs (strings of TensorFlow), which a bundle cannot hold.
_MADE_UP = "unk__"  # by tf2onnx
_CONTRIB = "ai.onnx.contrib"


def import_tensorflow() -> Any:
    """TensorFlow on one thread of the CPU. ExtraError where it is not installed."""
    tensorflow = need("tensorflow", extra="tensorflow")
    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    return tensorflow


def import_tf2onnx() -> Any:
    """tf2onnx, made to work with numpy 2 as Keras does it. ExtraError where it is not installed."""
    tf2onnx = need("tf2onnx", extra="tensorflow")
    need("tf2onnx.convert", extra="tensorflow")
    need("keras.src.export.tf2onnx_lib", extra="tensorflow").patch_tf2onnx()
    return tf2onnx


def write_function(function: Any, inputs: Sequence[TensorSpec], outputs: Sequence[str], path: Path) -> None:
    """Write a tf.function of the inputs, in their order, which returns a list of as many tensors as `outputs`."""
    proto, _ = import_tf2onnx().convert.from_function(function, input_signature=signature_of(inputs), opset=OPSET)
    _save(proto, _rename_ends(proto.graph.input, inputs), _rename_ends(proto.graph.output, outputs), path)


def write_tracked(holder: Any, function: Any, inputs: Sequence[TensorSpec], outputs: Sequence[str], path: Path) -> None:
    """The same by way of a SavedModel, in which look-up tables are found: `holder` tracks them."""
    tf = need("tensorflow", extra="tensorflow")

    def serve(*tensors: Any) -> Any:
        return {f"output_{place:03}": each for place, each in enumerate(function(*tensors))}

    with tempfile.TemporaryDirectory(prefix="deepseek-saved-") as folder:
        signature = tf.function(serve, input_signature=signature_of(inputs), autograph=False).get_concrete_function()
        tf.saved_model.save(holder, folder, signatures={DEFAULT_SIGNATURE: signature})
        write_saved_model(Path(folder), DEFAULT_SIGNATURE, inputs, outputs, path)


def write_saved_model(
    folder: Path, signature: str, inputs: Sequence[TensorSpec], outputs: Sequence[str], path: Path
) -> None:
    """Write one signature of a SavedModel; its ends, sorted by name, become `inputs` and `outputs`."""
    tf2onnx = import_tf2onnx()
    loader = need("tf2onnx.tf_loader", extra="tensorflow")
    frozen, starts, ends, tables, names = loader.from_saved_model(
        str(folder), None, None, ["serve"], [signature], None, False,
        return_initialized_tables=True, return_tensors_to_rename=True,
    )  # fmt: skip
    proto, _ = tf2onnx.convert._convert_common(
        frozen, name=signature, continue_on_error=True, opset=OPSET, input_names=starts, output_names=ends,
        initialized_tables=tables, tensors_to_rename=names,
    )  # fmt: skip
    by_name = sorted(proto.graph.input, key=lambda end: end.name), sorted(proto.graph.output, key=lambda end: end.name)
    _save(proto, _rename_ends(by_name[0], inputs), _rename_ends(by_name[1], outputs), path)


def signature_of(inputs: Sequence[TensorSpec]) -> list[Any]:
    """A tf.TensorSpec for each input, named by its place, so that they sort in their order."""
    tf = need("tensorflow", extra="tensorflow")
    return [
        tf.TensorSpec(spec.shape, "string" if spec.dtype == "str" else spec.dtype, name=f"input_{place:03}")
        for place, spec in enumerate(inputs)
    ]


def rename_ends(proto: Any, inputs: Sequence[TensorSpec], outputs: Sequence[str], path: Path) -> None:
    """Write a graph whose inputs and outputs, in their order, get these names."""
    _save(proto, _rename_ends(proto.graph.input, inputs), _rename_ends(proto.graph.output, outputs), path)


def _rename_ends(ends: Sequence[Any], specs: Sequence[TensorSpec | str]) -> dict[str, str]:
    """Old name -> new name. InputError for another number of ends than the model has."""
    if len(ends) != len(specs):
        raise InputError(
            f"tf2onnx made a graph of {len(ends)} ends where the model has {len(specs)}",
            expected="as many, each of which the answer depends on", fix="leave out the inputs that nothing depends on",
        )  # fmt: skip
    new = [spec if isinstance(spec, str) else spec.name for spec in specs]
    return {end.name: name for end, name in zip(ends, new, strict=True)}


def _save(proto: Any, starts: dict[str, str], ends: dict[str, str], path: Path) -> None:
    """InputError for operators that a bundle cannot hold."""
    foreign = sorted({node.op_type for node in proto.graph.node if node.domain == _CONTRIB})
    if foreign:
        raise InputError(
            f"the graph needs operators for texts that ONNX has not: {', '.join(foreign)[:200]}",
            expected="operators of ONNX", fix="split and normalize the texts before they come to the model",
        )  # fmt: skip
    _rename(proto.graph, starts | ends)
    _forget_made_up_sizes((*proto.graph.input, *proto.graph.output))
    need("onnx", extra="tensorflow").save(proto, path)


def _forget_made_up_sizes(ends: Sequence[Any]) -> None:
    """Sizes that TensorFlow left open get a name each from tf2onnx, which says nothing: they are left open again."""
    for end in ends:
        for dim in end.type.tensor_type.shape.dim:
            if dim.dim_param.startswith(_MADE_UP):
                dim.ClearField("dim_param")


def _rename(graph: Any, names: dict[str, str]) -> None:
    for end in (*graph.input, *graph.output, *graph.value_info):
        end.name = names.get(end.name, end.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                _rename(inner, names)
