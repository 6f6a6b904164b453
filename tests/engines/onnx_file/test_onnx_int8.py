"""ONNX files in int8: made here, calibrated on the user's rows, behind the gate, kept with its digest."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.engines import int8
from deepseek.engines.measuring import EngineMeasurement
from deepseek.engines.onnx_file import GraphEngines, open_file, opening, tune
from deepseek.engines.onnx_file.engine import INT8_KINDS, LOSSY_KINDS
from deepseek.engines.onnx_file.rows import RowsFile, split_in_halves, split_into_calls
from deepseek.engines.onnx_file.signature import Signature, TensorSpec
from deepseek.engines.onnx_file.tune import measure_file
from deepseek.engines.tolerance import Tolerance
from deepseek.errors import ExtraError, InputError, IntegrityError, MissingError
from support.nets.onnxgraphs import FLOAT, convnet, dense, lookup, node, pictures, save

LOOSE: dict[str, float] = {"min_cosine": 0.9, "max_difference": 1.0, "min_agreement": 0.5}


def opened(path: Path, folder: Path, **more: Any) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The record and its rows by kind."""
    more = {"limits": LOOSE, "budget_s": 0.3, "int8_file": folder / "copy.onnx"} | more
    record = measure_file(path, **more).to_dict()
    return record, {row["kind"]: row for row in record["table"]}


def test_a_convolution_net_in_int8_is_near(tmp_path: Path) -> None:
    path, rows = convnet(tmp_path / "m.onnx"), RowsFile.read(pictures(tmp_path / "rows.npz"))
    _, table = opened(path, tmp_path, rows=rows)
    for kind in INT8_KINDS:
        assert table[kind]["passes"]
        assert table[kind]["min_cosine"] > 0.999
        assert 0 < table[kind]["max_difference"] < 0.1


@pytest.mark.slow
def test_a_convolution_net_in_int8_is_faster_and_chosen(tmp_path: Path) -> None:
    path, rows = convnet(tmp_path / "m.onnx"), RowsFile.read(pictures(tmp_path / "rows.npz"))
    record, table = opened(path, tmp_path, rows=rows, budget_s=3.0)
    assert table[INT8_KINDS[0]]["seconds"]["8"] < table["onnxruntime"]["seconds"]["8"] / 1.15
    assert record["engines"][-1][0] in LOSSY_KINDS


def test_a_tight_gate_lets_no_int8_pass(tmp_path: Path) -> None:
    path, rows = convnet(tmp_path / "m.onnx"), RowsFile.read(pictures(tmp_path / "rows.npz"))
    record, table = opened(path, tmp_path, rows=rows, limits=LOOSE | {"max_difference": 0.0})
    assert [table[kind]["passes"] for kind in INT8_KINDS] == [False, False]
    assert not any(kind in LOSSY_KINDS for kind, _ in record["engines"])
    assert not (tmp_path / "copy.onnx").exists()


def test_there_is_no_int8_without_a_gate(tmp_path: Path) -> None:
    _, table = opened(convnet(tmp_path / "m.onnx"), tmp_path, limits=None)
    assert not set(table) & LOSSY_KINDS


def test_rows_decide_the_ranges_and_without_them_they_are_measured_in_each_call(tmp_path: Path) -> None:
    import onnx

    path, rows = convnet(tmp_path / "m.onnx"), RowsFile.read(pictures(tmp_path / "rows.npz"))
    signature = Signature.from_dict(opened(path, tmp_path)[0]["signature"])
    int8.quantize_int8(path, tmp_path / "static.onnx", split_into_calls(signature, rows.arrays(signature), 8))
    int8.quantize_int8(path, tmp_path / "dynamic.onnx", None)
    kinds = {
        name: {each.op_type for each in onnx.load(tmp_path / f"{name}.onnx").graph.node}
        for name in ("static", "dynamic")
    }
    assert "QuantizeLinear" in kinds["static"]
    assert {"ConvInteger", "DynamicQuantizeLinear"} <= kinds["dynamic"]


def test_weights_have_a_scale_for_each_channel(tmp_path: Path) -> None:
    """A channel a thousand times as large as its neighbour leaves it its digits."""
    weights = {"w": np.diag([1000.0, 1.0]).astype(np.float32)}
    path = save(
        tmp_path / "m.onnx", [node("MatMul", "x w", "y")], [("x", FLOAT, ["N", 2])], [("y", FLOAT, ["N", 2])], weights
    )
    inputs = {"x": np.random.default_rng(0).uniform(-1, 1, (32, 2)).astype(np.float32)}
    int8.quantize_int8(path, tmp_path / "q.onnx", [inputs])
    from deepseek.engines.onnx import open_session

    outputs = open_session(str(tmp_path / "q.onnx"), "q", num_threads=1).run(None, inputs)[0]
    assert np.abs(outputs - inputs["x"] @ weights["w"])[:, 0].max() < 10  # the output has one scale for both
    import onnx

    scales = [each for each in onnx.load(tmp_path / "q.onnx").graph.initializer if each.name.startswith("w_scale")]
    assert list(scales[0].dims) == [2]


def test_what_cannot_be_int8_is_left_out_with_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no layer that multiplies matrices"):
        int8.quantize_int8(lookup(tmp_path / "m.onnx"), tmp_path / "q.onnx", None)
    _, table = opened(dense(tmp_path / "d.onnx"), tmp_path, int8_file=None)
    assert "no folder to keep it in" in table[INT8_KINDS[0]]["says"]


def test_ranges_of_a_call_are_not_for_rows_that_are_joined(tmp_path: Path) -> None:
    _, table = opened(convnet(tmp_path / "m.onnx"), tmp_path)
    assert "change each other" in table[INT8_KINDS[0]]["says"]
    _, table = opened(dense(tmp_path / "d.onnx", rows=1), tmp_path)
    assert "found nothing to do" in table[INT8_KINDS[0]]["says"]  # Gemm has no such form
    ends = ([("x", FLOAT, [1, 8])], [("y", FLOAT, [1, 8])])
    weights = {"w": np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)}
    _, table = opened(save(tmp_path / "s.onnx", [node("MatMul", "x w", "y")], *ends, weights), tmp_path)
    assert 0 < table[INT8_KINDS[0]]["max_difference"] < 0.1


def test_without_onnx_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def need(module: str, *, extra: str) -> Any:
        raise ExtraError(f"{module} is not installed", expected=f"the extra {extra!r}", fix="install it")

    path = dense(tmp_path / "m.onnx", rows=1)
    monkeypatch.setattr(int8, "need", need)
    record, table = opened(path, tmp_path)
    assert table[INT8_KINDS[0]]["says"].startswith("onnx is not installed. Expected: the extra 'tabular'")
    assert record["engines"][0][0] not in INT8_KINDS


def test_the_quantizer_leaves_logging_as_it_was(tmp_path: Path) -> None:
    logging.disable(logging.INFO)
    try:
        int8.quantize_int8(convnet(tmp_path / "m.onnx"), tmp_path / "q.onnx", None)
        assert logging.root.manager.disable == logging.INFO
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.slow
def test_the_copy_is_kept_and_a_changed_one_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []
    measure_kind = tune._measure_kind

    def measure_at_fixed_speed(kind: str, *args: Any) -> EngineMeasurement:
        """Compared for real; timed as on a machine with nothing else to do."""
        measurement = measure_kind(kind, *args)
        seconds = 0.001 if kind == INT8_KINDS[0] else 0.004
        return replace(measurement, seconds=dict.fromkeys(measurement.seconds, seconds))

    monkeypatch.setattr(tune, "_measure_kind", measure_at_fixed_speed)

    def here(_: str, request: dict[str, Any], **more: Any) -> Any:
        measured.append(request["path"])
        return json.loads(json.dumps(tune._handle_request(request | {"budget_s": 0.3})))

    monkeypatch.setattr(opening, "run_in_subprocess", here)
    path, rows = convnet(tmp_path / "m.onnx"), RowsFile.read(pictures(tmp_path / "rows.npz"))
    cache, loose = tmp_path / "cache", Tolerance(0.9, 1.0, 0.5)
    first = open_file(path, cache, tolerance=loose, rows=rows)
    assert first.int8 is not None
    assert open_file(path, cache, tolerance=loose, rows=rows) == first
    assert len(measured) == 1
    engines = GraphEngines.open(first.spec())
    x = np.load(rows.path)["x"][:32]
    exact = GraphEngines.open({**first.spec(), "engines": [["onnxruntime", 1]], "int8": None})
    difference = np.abs(engines.run({"x": x})["y"] - exact.run({"x": x})["y"]).max()
    assert 0 < difference < 0.1
    copy = Path(first.int8[0])
    copy.write_bytes(copy.read_bytes()[:-1] + b"?")
    with pytest.raises(IntegrityError):
        GraphEngines.open(first.spec())
    again = open_file(path, cache, tolerance=loose, rows=rows)
    assert len(measured) == 2
    if again.int8 is not None:
        GraphEngines.open(again.spec()).close()
    open_file(path, cache, tolerance=loose, rows=RowsFile.read(pictures(tmp_path / "rows.npz", seed=2)))
    assert len(measured) == 3


def test_rows_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        RowsFile.read(tmp_path / "none.npz")
    signature = Signature((TensorSpec("x", "float32", ("N", 4)),), (TensorSpec("y", "float32", ("N", 3)),), "joined")
    path = tmp_path / "rows.npz"
    for data in (b"", b"PK\x03\x04 no more", b"\x80\x04K\x01."):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"rows\.npz"):
            RowsFile.read(path).arrays(signature)
    for wrong in (
        {"x": np.float32(1)},
        {"x": np.zeros((3, 5), np.float32)},
        {"z": np.zeros((3, 4), np.float32)},
        {},
        {"x": np.zeros((0, 4), np.float32)},
    ):
        np.savez(path, **wrong)  # type: ignore[arg-type]
        with pytest.raises(InputError):
            RowsFile.read(path).arrays(signature)
    np.savez(path, x=np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="holds no arrays"):
        RowsFile.read(path).arrays(signature)
    np.savez(path, x=np.zeros((300, 4), np.float32))
    assert RowsFile.read(path).arrays(signature)["x"].shape == (256, 4)


def test_rows_become_calls_by_what_a_row_is() -> None:
    x = np.arange(20, dtype=np.float32).reshape(5, 4)
    spec = (TensorSpec("x", "float32", (None, 4)),)

    def shapes(rows: Any) -> list[Any]:
        return [each["x"].shape for each in split_into_calls(Signature(spec, spec, rows), {"x": x}, 2)]

    assert shapes("joined") == [(2, 4), (2, 4), (1, 4)]
    assert shapes("single") == [(1, 4)] * 5
    assert shapes("whole") == [(4,)] * 5
    first, second = split_in_halves({"x": x})
    assert (first["x"][:, 0].tolist(), second["x"][:, 0].tolist()) == ([0, 8, 16], [4, 12])
    assert split_in_halves({"x": x[:1]})[1]["x"].shape == (1, 4)
