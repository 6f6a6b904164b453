"""A TensorFlow Lite file to ONNX, by tf2onnx. Only float models: an int8 one is a rounding of another model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import Arrays, JsonObject
from deepseek.engines.convert.routes.loaded import FRAMEWORK_ERRORS, Export, LoadedModel
from deepseek.engines.convert.routes.tensorflow_graph import (
    OPSET,
    import_tensorflow,
    import_tf2onnx,
    rename_ends,
)
from deepseek.engines.onnx_file.signature import TensorSpec
from deepseek.errors import InputError
from deepseek.extras import need


def load(path: Path) -> LoadedModel:
    """The model of a file. InputError in the interpreter's words, and for int8."""
    tensorflow = import_tensorflow()
    try:
        interpreter = tensorflow.lite.Interpreter(model_path=str(path), num_threads=1)
        interpreter.allocate_tensors()
    except FRAMEWORK_ERRORS as error:
        raise InputError(
            f"TensorFlow Lite does not load {path.name}: {' '.join(str(error).split())[:300]}",
            expected=f"a model that its interpreter takes (TensorFlow {tensorflow.__version__})", fix="export it anew",
        ) from error  # fmt: skip
    _check_float(path, interpreter)
    starts, ends = interpreter.get_input_details(), interpreter.get_output_details()
    inputs = tuple(_spec(each, place) for place, each in enumerate(starts))
    outputs = tuple(f"output_{place}" for place in range(len(ends)))

    def answer(arrays: Arrays) -> Arrays:
        total, rows = len(next(iter(arrays.values()))), []
        for row in range(total):  # as the file was made: most take one row
            for spec, each in zip(inputs, starts, strict=True):
                value = arrays[spec.name][row : row + 1]
                if tuple(each["shape"]) != value.shape:
                    interpreter.resize_tensor_input(each["index"], value.shape)
            interpreter.allocate_tensors()
            for spec, each in zip(inputs, starts, strict=True):
                interpreter.set_tensor(each["index"], arrays[spec.name][row : row + 1])
            interpreter.invoke()
            rows.append([interpreter.get_tensor(each["index"]).copy() for each in ends])
        return {name: np.concatenate([row[place] for row in rows]) for place, name in enumerate(outputs)}

    def write(out: Path, _: Arrays) -> None:
        proto, _ = import_tf2onnx().convert.from_tflite(str(path), opset=OPSET)
        rename_ends(proto, inputs, outputs, out)

    versions = {module.__name__: module.__version__ for module in (tensorflow, need("tf2onnx", extra="tensorflow"))}
    return LoadedModel(inputs, outputs, answer, (Export("tf2onnx", write),), versions)


def _check_float(path: Path, interpreter: Any) -> None:
    quantized = [
        each["name"] for each in interpreter.get_tensor_details()
        if each["dtype"] in (np.int8, np.uint8, np.int16) and each["quantization_parameters"]["scales"].size
    ]  # fmt: skip
    if quantized:
        raise InputError(
            f"{path.name} is quantized to int8 ({quantized[0][:60]!r} and {len(quantized) - 1} more)",
            expected="a float32 model",
            fix="convert the model that it was made of, then: deepseek compress B --data VAL",
        )  # fmt: skip


def _spec(details: JsonObject, place: int) -> TensorSpec:
    shape = tuple(None if size < 0 else int(size) for size in details["shape_signature"])
    if not shape or shape[0] not in (None, 1):
        raise InputError(
            f"the input {details['name']!r} takes rows of the shape {shape}", expected="one row, or any number of them",
            fix="export it with one row",
        )  # fmt: skip
    name = str(details["name"]).removeprefix("serving_default_").partition(":")[0] or f"input_{place}"
    return TensorSpec(name, np.dtype(details["dtype"]).name, (None, *shape[1:]))
