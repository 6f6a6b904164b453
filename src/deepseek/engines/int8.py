"""A graph of ONNX in int8, made here with onnxruntime's quantizer, which imports onnx.

    quantize(Path("model.onnx"), Path("int8.onnx"), calls)      # calls: inputs like those that will come

Weights are int8 with a scale for each output channel. What goes into a layer is uint8: with `calls` its range is what
they have shown (static), without any it is measured again in each call (dynamic), which has no fast convolution.
Only the layers that multiply matrices and what stands between convolutions are touched: rounding the columns that name
a category, or the indices of a table, would give other rows of it.
Source: docstrings of onnxruntime 1.32, quantization/quantize.py: QDQ, uint8 by int8.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deepseek.contracts import Arrays
from deepseek.engines.onnx import runtime_errors
from deepseek.errors import InputError
from deepseek.extras import need

EXTRA = "tabular"  # brings onnx
QUANTIZED_LAYERS = ("Conv", "Gemm", "MatMul")
#: Whose int8 kernels keep an image in int8 from one convolution to the next.
QUANTIZED_BETWEEN = ("Add", "AveragePool", "Clip", "Concat", "GlobalAveragePool", "MaxPool", "Relu")
#: What a dense layer gives stays in float32, which costs nothing: the scores of a row that reaches further than those
#: of the calibration would be cut.
_STATIC_OPTIONS = {"MatMulConstBOnly": True, "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]}
_QUANTIZE_OPERATORS = frozenset(["QuantizeLinear", "DynamicQuantizeLinear"])  # of what goes into a layer
_QUANTIZER_ERRORS = (
    OSError, ValueError, ArithmeticError, RuntimeError, LookupError, TypeError, AttributeError, ImportError,
    AssertionError,
)  # fmt: skip


def quantize_int8(path: Path, out: Path, calls: Iterable[Arrays] | None, *, exact: Sequence[str] = ()) -> None:
    """Write the graph at `path` in int8 to `out`. `calls`: the inputs of calls, one or more; None: none are known.
    `exact`: names of nodes that stay as they are.

    ExtraError without onnx or onnxruntime; InputError for a graph that the quantizer does not take, or in which it
    finds nothing to do.
    """
    onnx, runtime = need("onnx", extra=EXTRA), need("onnxruntime", extra="serve")
    library = need("onnxruntime.quantization", extra=EXTRA)
    preprocess = need("onnxruntime.quantization.shape_inference", extra=EXTRA).quant_pre_process
    errors = (
        *_QUANTIZER_ERRORS,
        *runtime_errors(runtime),
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
    )
    errors = (*errors, need("google.protobuf.message", extra=EXTRA).Error)
    common = {"per_channel": True, "weight_type": library.QuantType.QInt8, "nodes_to_exclude": list(exact)}
    with tempfile.TemporaryDirectory(prefix="deepseek-int8-") as folder, silence_root_logger():
        prepared = Path(folder) / "ready.onnx"
        try:
            preprocess(str(path), str(prepared), skip_symbolic_shape=True)
            kinds = {node.op_type for node in onnx.load(prepared, load_external_data=False).graph.node}
            operators = [
                name for name in (*QUANTIZED_LAYERS, *(QUANTIZED_BETWEEN if "Conv" in kinds else ())) if name in kinds
            ]
            if not kinds & set(QUANTIZED_LAYERS):
                raise ValueError("it has no layer that multiplies matrices")
            if calls is None:
                library.quantize_dynamic(str(prepared), str(out), op_types_to_quantize=operators, **common)
            else:
                library.quantize_static(
                    str(prepared), str(out), _calibration_reader(library, calls), op_types_to_quantize=operators,
                    activation_type=library.QuantType.QUInt8, extra_options=_STATIC_OPTIONS, **common,
                )  # fmt: skip
            if not {node.op_type for node in onnx.load(out).graph.node} & _QUANTIZE_OPERATORS:
                raise ValueError("the quantizer found nothing to do")
        except errors as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise InputError(
                f"{path.name} cannot be made int8: {reason[0][:300]}",
                expected="a graph in float32 that onnxruntime's quantizer takes",
                fix="leave it in float32",
            ) from error


def _calibration_reader(library: Any, calls: Iterable[Arrays]) -> Any:
    """The calls as the quantizer reads them: one at a time, then None."""
    waiting: Iterator[Arrays] = iter(calls)

    class Reader(library.CalibrationDataReader):  # type: ignore[misc]  # a class of what is installed
        def get_next(self) -> Arrays | None:
            return next(waiting, None)

    return Reader()


@contextmanager
def silence_root_logger() -> Iterator[None]:
    """Within this context, the quantizer's lines to the root logger are dropped."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
