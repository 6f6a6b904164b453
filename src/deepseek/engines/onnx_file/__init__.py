"""An ONNX file by itself: any graph whose inputs and outputs are tensors, exported from whatever framework.

file = open_file(Path("model.onnx"), cache)      tried and measured in a process of its own, kept in `cache`
file.signature.inputs                            names, types and shapes
engines = GraphEngines.open(file.spec())         what an engine process opens
engines.run({"x": rows})["y"]

The front end reads the file with proto.py alone: it needs neither onnx nor onnxruntime for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.extras import lazy_attributes

if TYPE_CHECKING:
    from deepseek.engines.onnx_file.engine import GraphEngines
    from deepseek.engines.onnx_file.opening import OnnxFile, open_file
    from deepseek.engines.onnx_file.signature import Signature, TensorSpec

__all__ = ["GraphEngines", "OnnxFile", "Signature", "TensorSpec", "open_file"]

_MODULES = {
    "GraphEngines": "engine",
    "OnnxFile": "opening",
    "Signature": "signature",
    "TensorSpec": "signature",
    "open_file": "opening",
}

__getattr__ = lazy_attributes(__name__, _MODULES)
