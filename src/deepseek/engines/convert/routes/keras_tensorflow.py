"""Keras on TensorFlow to ONNX, by tf2onnx; what it has no operators for goes before its graph in ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from deepseek.contracts import Arrays
from deepseek.engines.convert.routes.keras_front import find_front, join_front, rest_of
from deepseek.engines.convert.routes.keras_model import answer_by, in_structure, input_specs, load_keras, output_names
from deepseek.engines.convert.routes.loaded import Export, LoadedModel
from deepseek.engines.convert.routes.tensorflow_graph import import_tensorflow, write_function, write_tracked
from deepseek.engines.onnx_file.signature import TensorSpec
from deepseek.extras import need


def load(path: Path) -> LoadedModel:
    """The model of a .keras file. ExtraError without TensorFlow, InputError in Keras' words."""
    tensorflow = import_tensorflow()
    keras = need("keras", extra="tensorflow")
    model = load_keras(path)
    inputs, outputs = input_specs(model), output_names(model)
    answer = answer_by(model, outputs, tensorflow.constant, _to_array)

    def call(*tensors: Any) -> Any:
        answers = keras.tree.flatten(model(in_structure(model, list(tensors)), training=False))
        return [tensorflow.identity(each) for each in answers]

    def write(out: Path, _: Arrays, *, fixed_rows: bool = False) -> None:
        ends = tuple(replace(spec, shape=(1, *spec.shape[1:])) for spec in inputs) if fixed_rows else inputs
        write_function(tensorflow.function(call, autograph=False), ends, outputs, out)

    def write_with_tables(out: Path, _: Arrays) -> None:
        holder = tensorflow.Module()
        holder.model = model
        write_tracked(holder, call, inputs, outputs, out)

    def write_behind_front(out: Path, _: Arrays) -> None:
        rest, others = rest_of(keras, model, front)
        starts = tuple(
            TensorSpec(f"behind_{number}", each.dtype, (None, *each.output.shape[1:]))
            for number, each in enumerate(front)
        )
        holder = tensorflow.Module()
        holder.model = model
        write_tracked(
            holder, lambda *tensors: [tensorflow.identity(each) for each in rest(list(tensors))],
            (*starts, *(replace(inputs[place], name=f"input_{place}") for place in others)), outputs, out,
        )  # fmt: skip
        join_front(need("onnx", extra="tensorflow").load(out), front, others, inputs, out)

    front = find_front(keras, model)
    versions = {
        module.__name__: module.__version__ for module in (keras, tensorflow, need("tf2onnx", extra="tensorflow"))
    }
    exports = (
        *([Export("keras on tensorflow, look-up by operators of ONNX", write_behind_front)] if front else []),
        Export("keras on tensorflow", write),
        Export("keras on tensorflow, with look-up tables", write_with_tables),
        Export("keras on tensorflow, a row at a time", lambda out, rows: write(out, rows, fixed_rows=True)),
    )
    return LoadedModel(inputs, outputs, answer, exports, versions)


def _to_array(tensor: Any) -> Any:
    return tensor.numpy()
