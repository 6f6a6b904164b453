"""A graph that never answers, or fills the memory, is ended in its first run, with words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from deepseek.engines.first_run import FirstRunLimits, current_limits, use_limits, use_limits_of
from deepseek.engines.onnx import open_session
from deepseek.engines.onnx_file import open_file
from deepseek.errors import CheckError, InputError
from support.nets.onnxgraphs import FLOAT, INT64, node, save

ROWS = [("x", FLOAT, ["N", 4])]


def loop(path: Path, *body: Any, turns: int | None = None) -> Path:
    """A Loop of these nodes over `s_in`, which give `s_out`; without an end unless `turns` says how many."""
    ends = [[("i", INT64, []), ("go_in", TensorProto.BOOL, []), ("s_in", FLOAT, None)],
            [("go_out", TensorProto.BOOL, []), ("s_out", FLOAT, None)]]  # fmt: skip
    infos = [[helper.make_tensor_value_info(*each) for each in end] for end in ends]
    graph = helper.make_graph([node("Identity", "go_in", "go_out"), *body], "body", *infos)
    weights: dict[str, Any] = {"go": np.array(True), "n": np.array(turns or 0)}
    nodes = [helper.make_node("Loop", ["n" if turns else "", "go", "x"], ["y"], body=graph)]
    return save(path, nodes, ROWS, [("y", FLOAT, None)], weights)


def endless(path: Path) -> Path:
    return loop(path, node("Add", "s_in s_in", "s_out"))


def test_a_loop_without_an_end_is_ended(tmp_path: Path) -> None:
    with use_limits(FirstRunLimits(seconds=0.5)):
        session = open_session(str(endless(tmp_path / "m.onnx")), "m.onnx", num_threads=1)
    with pytest.raises(CheckError, match=r"m\.onnx was ended in its first run: it took more than 0\.5 s") as error_info:
        session.run(None, {"x": np.ones((1, 4), np.float32)})
    assert error_info.value.exit_code == 3


def test_a_loop_that_fills_the_memory_is_ended(tmp_path: Path) -> None:
    path = loop(tmp_path / "m.onnx", node("Concat", "s_in s_in", "s_out", axis=0))
    with use_limits(FirstRunLimits(seconds=300.0, memory_bytes=256 << 20)):
        session = open_session(str(path), "m.onnx", num_threads=1)
    with pytest.raises(CheckError, match="MiB more"):
        session.run(None, {"x": np.ones((1 << 10, 4), np.float32)})


def test_a_loop_with_an_end_answers_and_later_runs_are_not_watched(tmp_path: Path) -> None:
    session = open_session(
        str(loop(tmp_path / "m.onnx", node("Add", "s_in s_in", "s_out"), turns=3)), "m.onnx", num_threads=1
    )
    for number in (1.0, 2.0):
        output = session.run(None, {"x": np.full((1, 4), number, np.float32)})[0]
        assert output.tolist() == [[8 * number] * 4]
    assert session.run.__self__ is not session


def test_an_onnx_file_that_never_answers_is_refused_with_words(tmp_path: Path) -> None:
    """Tried in a process of its own, to which the limits travel."""
    with (
        use_limits(FirstRunLimits(seconds=1.0)),
        pytest.raises(CheckError, match="was ended in its first run"),
    ):
        open_file(endless(tmp_path / "m.onnx"))


def test_limits_hold_within_and_travel_as_plain_values() -> None:
    limits = FirstRunLimits(2.0, 1 << 30)
    with use_limits_of(limits.to_dict()):
        assert current_limits() == limits
    with use_limits_of(None):
        assert current_limits() == FirstRunLimits()
    for seconds, memory_bytes in ((0.0, 1 << 30), (1e9, 1 << 30), (1.0, 5)):
        with pytest.raises(InputError, match="the first run may take"):
            FirstRunLimits(seconds, memory_bytes)
