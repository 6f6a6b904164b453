"""Int8 after training: weights per channel, activations by what calibration rows show, by NNCF.

    quantize_onnx(Path("model.onnx"), calibration, Path("int8.onnx"))

The graph keeps its inputs and outputs; Quantize and DequantizeLinear stand around what is computed in int8, which
onnxruntime and OpenVINO both run so. Transformers get SmoothQuant (Xiao et al. 2023, https://arxiv.org/abs/2211.10438).
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepseek.contracts import Arrays
from deepseek.errors import InputError
from deepseek.extras import need

MIN_OPSET = 13  # of per-channel quantisation in ONNX
_ATTENTION = frozenset(["Softmax", "LayerNormalization"])


def quantize_onnx(path: Path, calibration: Sequence[Arrays], out: Path, *, exact: Sequence[str] = ()) -> None:
    """Write the graph at `path` in int8 to `out`. `calibration`: inputs of single calls; `exact`: names of nodes that
    stay as they are.

    InputError for a graph that cannot be quantised, in words; ExtraError without nncf.
    """
    onnx, nncf = need("onnx", extra="compress"), need("nncf", extra="compress")
    model = onnx.load(path)
    opset = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0)
    if opset < MIN_OPSET:
        model = _raised(onnx, model, path)
    operators = {node.op_type for node in model.graph.node}
    settings: dict[str, Any] = {"model_type": nncf.ModelType.TRANSFORMER} if operators >= _ATTENTION else {}
    if exact:
        settings["ignored_scope"] = nncf.IgnoredScope(names=list(exact))
    try:
        with _quietly():
            made = nncf.quantize(model, nncf.Dataset(list(calibration)), subset_size=len(calibration), **settings)
    except (RuntimeError, ValueError, TypeError, KeyError, IndexError, NotImplementedError, AssertionError) as error:
        raise InputError(
            f"the graph cannot be quantised: {' '.join(str(error).split())[:300]}",
            expected="convolutions and matrix products that NNCF knows",
            fix="leave int8 out of the methods",
        ) from error
    onnx.save(made, out)


def _raised(onnx: Any, model: Any, path: Path) -> Any:
    try:
        return onnx.version_converter.convert_version(model, MIN_OPSET)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"{path.name} is of an older version of ONNX and cannot be raised: {' '.join(str(error).split())[:200]}",
            expected=f"operators of version {MIN_OPSET} or newer",
            fix="export it again with a newer version",
        ) from error


@contextlib.contextmanager
def _quietly() -> Any:
    """NNCF logs and draws bars of its own; ours says what is tried."""
    log = logging.getLogger("nncf")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        log.setLevel(level)
