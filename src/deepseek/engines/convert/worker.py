"""The process that loads a model of another framework, answers the rows by it, and exports it.

    python -m deepseek.engines.convert.worker        asked over stdin, answers on stdout (measuring.py)

It may run in a Python of its own, which has TensorFlow and needs of this project no more than its sources. It tries one
export after the other until one agrees; whoever has asked compares the graph once more before anything is written.
"""

from __future__ import annotations

import importlib
import io
import logging
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import Arrays, JsonObject
from deepseek.data.table.npz import read_npz
from deepseek.engines.convert.comparison import Agreement, compare_graph, read_signature
from deepseek.engines.convert.routes.loaded import FRAMEWORK_ERRORS, Export, LoadedModel
from deepseek.engines.convert.rows import ConversionRows, match_inputs
from deepseek.engines.measuring import answer_stdin
from deepseek.engines.onnx_file.mixing import why_mixed
from deepseek.engines.onnx_file.operators import OperatorLibrary
from deepseek.errors import DeepseekError, InputError

GRAPH, ARRAYS, EXPECTED, ROWS = "model.onnx", "arrays.npz", "expected.npz", "rows.npz"
SECOND_BEST = "whole.onnx"  # a graph that agrees, but takes all rows as one
#: Names of ways to load a model -> the module in routes/ whose load() does it.
LOADERS = {
    "keras-torch": "keras_torch", "keras-tensorflow": "keras_tensorflow", "saved-model": "saved_model",
    "tflite": "tflite", "torch-export": "torch_program", "onnx": "onnx_graph",
}  # fmt: skip


def write_rows(path: Path, arrays: Arrays) -> None:
    """Arrays by name, as read_arrays() reads them. The names stand in an array: those of a zip may hold no slash."""
    numbered: dict[str, Any] = {f"array_{place}": each for place, each in enumerate(arrays.values())}
    np.savez(path, names=np.array(list(arrays)), **numbered)


def read_arrays(path: Path) -> Arrays:
    """What write_rows() wrote."""
    archive = read_npz(path, "rows")
    return {str(name): archive[f"array_{place}"] for place, name in enumerate(archive["names"])}


def handle_request(request: JsonObject) -> JsonObject:
    """Load, answer and export, as bundle.py asks; the folder then holds the rows, the answers and the graph."""
    folder = Path(request["folder"])
    rows = ConversionRows(read_arrays(folder / ROWS), int(request["num_rows"]), bool(request["is_table"]))
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)  # tf2onnx writes pages of what it tries
        loader = importlib.import_module(f"deepseek.engines.convert.routes.{LOADERS[request['loader']]}")
        model: LoadedModel = loader.load(Path(request["source"]), **request["options"])
        arrays = match_inputs(rows, model.inputs)
        expected = _answer(model, arrays)
        write_rows(folder / ARRAYS, arrays)
        write_rows(folder / EXPECTED, expected)
        attempts = _export(model, folder, arrays, expected, rows.num_rows)
    return {"attempts": attempts, "versions": model.versions, "outputs": list(model.outputs)}


def _answer(model: LoadedModel, arrays: Arrays) -> Arrays:
    try:
        expected = model.answer(arrays)
    except FRAMEWORK_ERRORS as error:
        raise InputError(
            f"the model does not take the rows: {_first_words(error)}",
            expected=", ".join(f"{spec.name}: {spec.describe()}" for spec in model.inputs)[:300],
            fix="save rows as it was trained on",
        ) from error
    total = len(next(iter(arrays.values())))
    for name, array in expected.items():
        if not array.ndim or len(array) != total:
            raise InputError(
                f"the output {name!r} has the shape {list(array.shape)} for {total} rows",
                expected="a row for each row",
                fix="let the model answer each row by itself",
            )  # fmt: skip
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(
                f"the model itself answers {name!r} with NaN or infinity", expected="finite answers",
                fix="mend the model, or leave out the rows on which it does so",
            )  # fmt: skip
    return expected


def _export(model: LoadedModel, folder: Path, arrays: Arrays, expected: Arrays, num_rows: int) -> list[JsonObject]:
    """What came of each export that was tried: one that agrees is the last, and its graph lies in the folder.

    Where a server could not compute rows of a graph together, since nothing shows that none changes another's answer,
    the next ways are tried too, for one takes a row at a time; that graph is kept in case that none agrees."""
    attempts: list[JsonObject] = []
    path, second = folder / GRAPH, folder / SECOND_BEST
    mixed: JsonObject | None = None
    for export in model.exports:
        path.unlink(missing_ok=True)
        agreement, problem = _try_export(export, path, arrays, expected, num_rows, model.operators)
        attempt = {"export": export.name, "problem": problem} | ({} if agreement is None else agreement.to_dict())
        attempts.append(attempt)
        if agreement is None or not agreement.holds:
            continue
        reason = _why_mixed(path, model.operators)
        if not reason:
            return attempts
        attempt["problem"] = f"rows may change each other's answers: {reason}"
        if mixed is None:
            mixed = attempt
            path.replace(second)
    if mixed is not None:
        second.replace(path)
        attempts.remove(mixed)
        attempts.append(mixed)
    return attempts


def _why_mixed(path: Path, operators: OperatorLibrary | None) -> str:
    """Why a server would take all rows of a graph as one; "" where it takes them one by one."""
    row_mode = read_signature(path, operators).rows
    return {"single": "", "joined": why_mixed(path)}.get(row_mode, "its ends have no free axis of rows")[:500]


def _try_export(
    export: Export, path: Path, arrays: Arrays, expected: Arrays, num_rows: int, operators: OperatorLibrary | None
) -> tuple[Agreement | None, str]:
    try:
        export.write(path, arrays)
        return compare_graph(path, arrays, expected, num_rows, operators), ""
    except DeepseekError as error:
        return None, error.message[:500]
    except FRAMEWORK_ERRORS as error:
        return None, _first_words(error)


def _first_words(error: BaseException) -> str:
    """The start of a message, without its line breaks: a framework's may go on for pages."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"


if __name__ == "__main__":
    answer_stdin(handle_request)
