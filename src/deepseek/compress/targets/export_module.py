"""Export of a torch module as an ONNX file whose first axis is the rows, checked against the module's own outputs.

export_module(module, example, Path("model.onnx"))

By torch.export, for every tier: the C tier makes the same steps of it as of a TorchScript record (six small networks),
which needs no onnxscript and takes a second less, but holds one branch of a module that has two. What torch notes
about a graph, such as where the user's files lie, stays out of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepseek.engines.checks.edges import make_edge_tensors
from deepseek.engines.checks.gate import MAX_CASES_NAMED, edge_faults
from deepseek.engines.export_torch import export_torch_module
from deepseek.engines.onnx import open_session
from deepseek.errors import InputError
from deepseek.extras import need

INPUT_NAME, OUTPUT_NAME = "x", "output"
#: Largest allowed difference to the module, as a share of its largest output.
MAX_RELATIVE_DIFFERENCE = 1e-4
PARITY_ROWS = (1, 3, 8)  # an axis that the trace fixed shows at another number of rows
#: Errors that torch.export and the ONNX exporter raise for a module that cannot be traced.
_TRACE_ERRORS = (RuntimeError, ValueError, TypeError, AttributeError, NotImplementedError, KeyError, AssertionError)


def export_module(module: nn.Module, example: Tensor, out: Path) -> None:
    """Write `module`, which takes rows (N, ...) such as `example` and gives one tensor (N, ...), to `out`.

    InputError for a module that cannot be traced, or whose graph gives other answers; ExtraError without onnxscript.
    """
    need("onnxscript", extra="compress")
    module = module.eval()
    rows = torch.cat([example] * 8)[: max(PARITY_ROWS)]
    try:
        with torch.inference_mode():
            answer = module(rows)
    except _TRACE_ERRORS as error:
        raise InputError(
            f"the module does not take rows of the data: {first_line(error)}",
            expected=f"one tensor {list(example.shape)} in",
            fix="check the data's shape, or give the module a forward() of one tensor",
        ) from error
    if not isinstance(answer, Tensor) or not answer.ndim or len(answer) != len(rows):
        what = f"a tensor of the shape {list(answer.shape)}" if isinstance(answer, Tensor) else type(answer).__name__
        raise InputError(
            f"the module answers {len(rows)} rows with {what}",
            expected="one tensor with a row of answers for each row",
            fix="wrap it in a module that gives that",
        )
    _write_graph(module, rows[:2], out)
    _check_graph(module, rows, out)


def _write_graph(module: nn.Module, rows: Tensor, out: Path) -> None:
    with untraceable_in_words():
        model = export_torch_module(
            module, (rows,), input_names=[INPUT_NAME], output_names=[OUTPUT_NAME],
            dynamic_shapes=({0: torch.export.Dim("rows")},),
        )  # fmt: skip
        need("onnx", extra="compress").save(_strip_metadata(model), out)


@contextmanager
def untraceable_in_words() -> Iterator[None]:
    """What torch's exporter raises for a module that it cannot trace, as an InputError."""
    try:
        yield
    except (*_TRACE_ERRORS, torch.onnx.errors.OnnxExporterError) as error:
        raise InputError(
            f"the module cannot be traced: {first_line(error)}",
            expected="a forward() whose way does not hang on the values of its input",
            fix="write such branches with torch.where, or give an ONNX file of your own",
        ) from error


def _strip_metadata(model: Any) -> Any:
    """The graph without metadata and doc strings, which are two thirds of the file of a small network."""
    graph = model.graph
    nodes = [*graph.node, *(node for function in model.functions for node in function.node)]
    ends = [*graph.input, *graph.output, *graph.value_info, *graph.initializer]
    for part in (model, graph, *model.functions, *nodes, *ends):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


def _check_graph(module: nn.Module, rows: Tensor, out: Path) -> None:
    session: Any = open_session(str(out), "the exported module", num_threads=1)
    for num_rows in PARITY_ROWS:
        with torch.inference_mode():
            expected = module(rows[:num_rows]).numpy()
        outputs = session.run(None, {INPUT_NAME: rows[:num_rows].numpy()})[0]
        largest_output = float(np.abs(expected).max(initial=1e-6))
        if (
            outputs.shape != expected.shape
            or not float(np.abs(outputs - expected).max()) <= MAX_RELATIVE_DIFFERENCE * largest_output
        ):
            raise InputError(
                f"the exported module gives other answers for {num_rows} rows than the module itself",
                expected=f"a difference of at most {MAX_RELATIVE_DIFFERENCE:g} of the largest answer",
                fix="look for shapes or values that forward() takes from the example",
            )
    edges = make_edge_tensors({INPUT_NAME: rows.numpy()})
    with torch.inference_mode():
        expected_edges = {OUTPUT_NAME: module(torch.from_numpy(edges.arrays[INPUT_NAME])).numpy()}
    outputs = {OUTPUT_NAME: session.run(None, dict(edges.arrays))[0]}
    faults = edge_faults(edges, expected_edges, outputs, limit=MAX_RELATIVE_DIFFERENCE)
    if faults:
        raise InputError(
            f"the exported module does not answer as the module itself ({'; '.join(faults[:MAX_CASES_NAMED])})",
            expected="finite numbers wherever the module gives them, for zeros and far beyond the data, too",
            fix="look in forward() for a division, a root or a logarithm without a floor such as clamp(min=1e-6)",
        )


def first_line(error: BaseException) -> str:
    """The first line of an error message, at most 300 characters: torch's may go on for pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
