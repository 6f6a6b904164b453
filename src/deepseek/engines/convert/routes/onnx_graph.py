"""An ONNX file: its own answers are those of onnxruntime without its rewriting of graphs.

Operators that the file itself defines by standard ones answer by that definition, and a library that has them, too, is
held to it. Where the file defines them nowhere, the library's answers are the only ones that there are.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from deepseek.contracts import Arrays, JsonObject
from deepseek.engines.convert.comparison import read_signature
from deepseek.engines.convert.routes.loaded import Export, LoadedModel
from deepseek.engines.onnx_file.contents import examine_file
from deepseek.engines.onnx_file.operators import OperatorLibrary
from deepseek.engines.onnx_file.signature import TensorSpec
from deepseek.errors import InputError
from deepseek.extras import need


def load(path: Path, *, operators: JsonObject | None = None) -> LoadedModel:
    """The graph of a file; `operators`: OperatorLibrary.to_dict(). Errors as of examine_file()."""
    library = OperatorLibrary.from_dict(operators)
    contents = examine_file(path, library)
    if contents.locations:
        raise InputError(
            f"{path.name} has its weights in other files ({sorted(contents.locations)[0][:60]})",
            expected="one file with its weights", fix="onnx.save(onnx.load(FILE), FILE_WITH_WEIGHTS)",
        )  # fmt: skip
    runtime = need("onnxruntime", extra="serve")
    signature = read_signature(path, library)
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    if library is not None and not contents.defines_all:
        library.register(options)
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = tuple(spec.name for spec in signature.outputs)

    def answer(arrays: Arrays) -> Arrays:
        return dict(zip(names, session.run(list(names), arrays), strict=True))

    def write(out: Path, _: Arrays) -> None:
        shutil.copyfile(path, out)

    inputs = tuple(TensorSpec(spec.name, spec.dtype, (None, *spec.shape[1:])) for spec in signature.inputs)
    return LoadedModel(
        inputs, names, answer, (Export("as it is", write),), {"onnxruntime": runtime.__version__}, library
    )
