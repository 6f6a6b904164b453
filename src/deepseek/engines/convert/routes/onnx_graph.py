"""An ONNX file: its own answers are those of onnxruntime without its rewriting of graphs."""

from __future__ import annotations

import shutil
from pathlib import Path

from deepseek.contracts import Arrays
from deepseek.engines.convert.comparison import read_signature
from deepseek.engines.convert.routes.loaded import Export, LoadedModel
from deepseek.engines.onnx_file.contents import examine_file
from deepseek.engines.onnx_file.signature import TensorSpec
from deepseek.errors import InputError
from deepseek.extras import need


def load(path: Path) -> LoadedModel:
    """The graph of a file. Errors as of examine_file()."""
    contents = examine_file(path)
    if contents.locations:
        raise InputError(
            f"{path.name} has its weights in other files ({sorted(contents.locations)[0][:60]})",
            expected="one file with its weights", fix="onnx.save(onnx.load(FILE), FILE_WITH_WEIGHTS)",
        )  # fmt: skip
    runtime = need("onnxruntime", extra="serve")
    signature = read_signature(path)
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = tuple(spec.name for spec in signature.outputs)

    def answer(arrays: Arrays) -> Arrays:
        return dict(zip(names, session.run(list(names), arrays), strict=True))

    def write(out: Path, _: Arrays) -> None:
        shutil.copyfile(path, out)

    inputs = tuple(TensorSpec(spec.name, spec.dtype, (None, *spec.shape[1:])) for spec in signature.inputs)
    return LoadedModel(inputs, names, answer, (Export("as it is", write),), {"onnxruntime": runtime.__version__})
