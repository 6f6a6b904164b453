"""A SavedModel to ONNX, by tf2onnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deepseek.contracts import Arrays
from deepseek.engines.convert.routes.loaded import FRAMEWORK_ERRORS, Export, LoadedModel
from deepseek.engines.convert.routes.tensorflow_graph import (
    DEFAULT_SIGNATURE,
    import_tensorflow,
    write_function,
    write_saved_model,
)
from deepseek.engines.convert.saved_model import check_signature_operators
from deepseek.engines.onnx_file.signature import TensorSpec
from deepseek.errors import InputError
from deepseek.extras import need


def load(path: Path, *, signature: str | None = None) -> LoadedModel:
    """One signature of a SavedModel that check_saved_model() has passed. InputError in TensorFlow's words."""
    tensorflow = import_tensorflow()
    try:
        loaded = tensorflow.saved_model.load(str(path))
        signatures = dict(loaded.signatures)
    except (*FRAMEWORK_ERRORS, tensorflow.errors.OpError) as error:
        raise InputError(
            f"TensorFlow does not load {path.name}: {' '.join(str(error).split())[:300]}",
            expected=f"a SavedModel that TensorFlow {tensorflow.__version__} loads", fix="export it anew",
        ) from error  # fmt: skip
    name = signature or (DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in signatures else next(iter(signatures)))
    function = signatures[name]
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for inner in graph.library.function for node in inner.node_def)]
    check_signature_operators(path.name, {node.op for node in nodes})
    keys, tensors = zip(*sorted(function.structured_input_signature[1].items()), strict=True)
    inputs = tuple(_spec(tensorflow, key, tensor) for key, tensor in zip(keys, tensors, strict=True))
    outputs = tuple(f"{key}_output" if key in keys else key for key in sorted(function.structured_outputs))

    def call(*values: Any) -> Any:
        answers = function(**dict(zip(keys, values, strict=True)))
        return [tensorflow.identity(answers[key]) for key in sorted(answers)]

    def answer(arrays: Arrays) -> Arrays:
        values = [
            tensorflow.constant(arrays[spec.name], tensor.dtype) for spec, tensor in zip(inputs, tensors, strict=True)
        ]
        return {name: each.numpy() for name, each in zip(outputs, call(*values), strict=True)}

    def write(out: Path, _: Arrays) -> None:
        write_function(tensorflow.function(call), inputs, outputs, out)

    def write_whole(out: Path, _: Arrays) -> None:
        write_saved_model(path, name, inputs, outputs, out)

    versions = {module.__name__: module.__version__ for module in (tensorflow, need("tf2onnx", extra="tensorflow"))}
    exports = (Export("tf2onnx of the signature", write), Export("tf2onnx of the folder", write_whole))
    return LoadedModel(inputs, outputs, answer, exports, versions)


def _spec(tensorflow: Any, name: str, tensor: Any) -> TensorSpec:
    """InputError for a ragged or sparse tensor, one of no known rank, and rows of a fixed number above 1."""
    if not isinstance(tensor, tensorflow.TensorSpec):
        raise InputError(
            f"the input {name!r} is a {type(tensor).__name__}", expected="dense tensors",
            fix="pad it before it comes to the model",
        )  # fmt: skip
    if tensor.shape.rank is None:
        raise InputError(
            f"the input {name!r} has no known number of axes", expected="a shape such as (None, 10)",
            fix="export it with an input_signature of that shape",
        )  # fmt: skip
    shape = tuple(tensor.shape.as_list())
    if not shape or shape[0] not in (None, 1):
        raise InputError(
            f"the input {name!r} takes rows of the shape {shape}", expected="a free first axis: the rows",
            fix="export it with an input_signature such as (None, 10)",
        )  # fmt: skip
    dtype = "str" if tensor.dtype == tensorflow.string else tensor.dtype.name
    return TensorSpec(name, dtype, (None, *shape[1:]))
