"""Of several exports that agree, one whose rows a server takes one by one is chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from deepseek.contracts import Arrays
from deepseek.engines.convert import worker
from deepseek.engines.convert.routes.loaded import Export, LoadedModel
from deepseek.engines.onnx_file.signature import TensorSpec

ARRAYS = {"x": np.arange(12, dtype=np.float32).reshape(4, 3)}


def graph_writer(rows: int | None, *, mixes: bool = False, factor: float = 2.0) -> Callable[[Path, Arrays], None]:
    """Writes y = factor * x; where it `mixes`, plus 0 times the sum over the rows."""

    def write(path: Path, _: Arrays) -> None:
        make, describe, float32 = onnx.helper.make_node, onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
        nodes = [make("Mul", ["x", "factor"], ["twice" if mixes else "y"])]
        if mixes:
            nodes += [make("ReduceSum", ["x", "axis"], ["sum"]), make("Mul", ["sum", "none"], ["nothing"]),
                      make("Add", ["twice", "nothing"], ["y"])]  # fmt: skip
        constants = {"factor": np.float32(factor), "none": np.float32(0), "axis": np.array([0], np.int64)}
        graph = onnx.helper.make_graph(
            nodes, "g", [describe("x", float32, [rows, 3])], [describe("y", float32, [rows, 3])],
            [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
        )  # fmt: skip
        onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), path)

    return write


def broken(path: Path, _: Arrays) -> None:
    raise ValueError("no such operator")


def attempts_of(folder: Path, *writers: Callable[[Path, Arrays], None]) -> list[Any]:
    exports = tuple(Export(f"way {number}", write) for number, write in enumerate(writers))
    model = LoadedModel(
        (TensorSpec("x", "float32", (None, 3)),), ("y",), lambda arrays: {"y": 2 * arrays["x"]}, exports
    )
    return worker._export(model, folder, ARRAYS, model.answer(ARRAYS), 4)


def test_rows_that_stay_apart_are_taken_at_once(tmp_path: Path) -> None:
    attempts = attempts_of(tmp_path, graph_writer(None), broken)
    assert [each["export"] for each in attempts] == ["way 0"]


def test_a_row_at_a_time_is_better_than_all_rows_as_one(tmp_path: Path) -> None:
    attempts = attempts_of(tmp_path, graph_writer(None, mixes=True), graph_writer(1), broken)
    assert [each["export"] for each in attempts] == ["way 0", "way 1"]
    assert "rows may change each other's answers" in attempts[0]["problem"]
    assert onnx.load(tmp_path / worker.GRAPH).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


@pytest.mark.parametrize("second", [broken, graph_writer(1, factor=3.0)])
def test_all_rows_as_one_are_better_than_none(second: Callable[[Path, Arrays], None], tmp_path: Path) -> None:
    attempts = attempts_of(tmp_path, graph_writer(None, mixes=True), second)
    assert [each["export"] for each in attempts] == ["way 1", "way 0"]
    assert attempts[-1]["num_different"] == 0
    assert len(onnx.load(tmp_path / worker.GRAPH).graph.node) == 4
