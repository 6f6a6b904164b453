"""Keras on TensorFlow to ONNX, by tf2onnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deepseek.contracts import Arrays
from deepseek.engines.convert.routes.keras_model import answer_by, in_structure, input_specs, load_keras, output_names
from deepseek.engines.convert.routes.loaded import Export, LoadedModel
from deepseek.engines.convert.routes.tensorflow_graph import import_tensorflow, write_function, write_tracked
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

    def write(out: Path, _: Arrays) -> None:
        write_function(tensorflow.function(call, autograph=False), inputs, outputs, out)

    def write_with_tables(out: Path, _: Arrays) -> None:
        holder = tensorflow.Module()
        holder.model = model
        write_tracked(holder, call, inputs, outputs, out)

    versions = {
        module.__name__: module.__version__ for module in (keras, tensorflow, need("tf2onnx", extra="tensorflow"))
    }
    exports = (
        Export("keras on tensorflow", write),
        Export("keras on tensorflow, with look-up tables", write_with_tables),
    )
    return LoadedModel(inputs, outputs, answer, exports, versions)


def _to_array(tensor: Any) -> Any:
    return tensor.numpy()
