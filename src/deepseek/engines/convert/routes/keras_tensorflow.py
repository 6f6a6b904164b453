"""Keras on TensorFlow to ONNX, by tf2onnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deepseek.contracts import Arrays
from deepseek.engines.convert.routes.keras_model import answer_by, in_structure, input_specs, load_keras, output_names
from deepseek.engines.convert.routes.loaded import Export, LoadedModel
from deepseek.engines.convert.routes.tensorflow_graph import import_tensorflow, write_function
from deepseek.extras import need


def load(path: Path) -> LoadedModel:
    """The model of a .keras file. ExtraError without TensorFlow, InputError in Keras' words."""
    tensorflow = import_tensorflow()
    keras = need("keras", extra="tensorflow")
    model = load_keras(path)
    inputs, outputs = input_specs(model), output_names(model)
    answer = answer_by(model, outputs, tensorflow.constant, _to_array)

    def write(out: Path, _: Arrays) -> None:
        @tensorflow.function  # type: ignore[untyped-decorator]
        def call(*tensors: Any) -> Any:
            return [
                tensorflow.identity(each)
                for each in keras.tree.flatten(model(in_structure(model, list(tensors)), training=False))
            ]

        write_function(call, inputs, outputs, out)

    versions = {
        module.__name__: module.__version__ for module in (keras, tensorflow, need("tf2onnx", extra="tensorflow"))
    }
    return LoadedModel(inputs, outputs, answer, (Export("keras on tensorflow", write),), versions)


def _to_array(tensor: Any) -> Any:
    return tensor.numpy()
