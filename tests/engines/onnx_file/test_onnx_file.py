"""An ONNX file is tried and measured before it serves: what it takes, what a row is, which engine runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from deepseek.engines.onnx_file import GraphEngines, TensorSpec, open_file, opening
from deepseek.engines.onnx_file.contents import STANDARD_DOMAINS, examine_file
from deepseek.engines.onnx_file.engine import OnnxruntimeGraph, available_kinds, run_rows
from deepseek.engines.onnx_file.probed_range import ProbedRange
from deepseek.engines.onnx_file.row_mode import relative_difference
from deepseek.engines.onnx_file.signature import Signature
from deepseek.engines.onnx_file.tune import compare_outputs, measure_file
from deepseek.engines.tolerance import Tolerance
from deepseek.errors import DeepseekError, InputError, IntegrityError, MissingError
from support.nets.onnxgraphs import FLOAT, INT64, centered, dense, dense_scores, lookup, node, save, scalars


def first(path: Path, **more: Any) -> dict[str, Any]:
    """Opened for the first time, in this process."""
    return measure_file(path, limits=None, budget_s=0.1, **more).to_dict()


@pytest.mark.parametrize(
    ("make", "rows"),
    [(dense, "joined"), (lookup, "joined"), (centered, "whole"), (scalars, "whole")],
)
def test_what_a_row_is_shows_when_rows_are_computed_together_and_alone(make: Any, rows: str, tmp_path: Path) -> None:
    assert first(make(tmp_path / "m.onnx"))["signature"]["rows"] == rows


def test_a_first_axis_of_one_everywhere_is_a_row(tmp_path: Path) -> None:
    record = first(dense(tmp_path / "m.onnx", rows=1))
    assert record["signature"]["rows"] == "single"
    signature = Signature.from_dict(record["signature"])
    engine = OnnxruntimeGraph(tmp_path / "m.onnx", signature, ("CPUExecutionProvider",))
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_allclose(
        run_rows(engine, signature, {"x": x})["scores"], dense_scores(tmp_path / "m.onnx", x), 1e-5
    )


def test_outputs_that_the_file_gives_no_shape_are_as_they_came(tmp_path: Path) -> None:
    nodes = [node("NonZero", "x", "places")]
    record = first(save(tmp_path / "m.onnx", nodes, [("x", FLOAT, ["N"])], [("places", INT64, None)]))
    signature = Signature.from_dict(record["signature"])
    assert (signature.rows, len(signature.outputs[0].shape)) == ("whole", 2)


def test_every_engine_gives_the_answers_of_the_reference_or_is_left_out(tmp_path: Path) -> None:
    path = dense(tmp_path / "m.onnx")
    record = first(path)
    assert [row["kind"] for row in record["table"]] == ["onnxruntime", "openvino-f32"]
    assert all(row["passes"] and row["difference"] <= 1e-4 for row in record["table"])
    signature = Signature.from_dict(record["signature"])
    x = signature.sample(5)["x"]
    assert record["tried"]["values"] == {}
    for kind in available_kinds(signature):
        engines = GraphEngines.open(
            {
                "path": str(path),
                "digest": examine_file(path).digest,
                "signature": signature.to_dict(),
                "engines": [[kind, 1]],
                "tried": record["tried"],
            }
        )
        outputs = engines.run({"x": x})
        np.testing.assert_allclose(outputs["scores"], dense_scores(path, x), rtol=1e-5, atol=1e-5)
        assert outputs["label"].tolist() == dense_scores(path, x).argmax(axis=1).tolist()
        engines.close()


def test_inputs_that_were_not_tried_are_left_to_the_reference(tmp_path: Path) -> None:
    """OpenVINO gives zeros for places beyond a table's end, onnxruntime refuses them."""
    weights = {"table": np.arange(1.0, 1001.0, dtype=np.float32)}
    nodes = [node("Gather", "table places", "found"), node("Mul", "found scale", "y")]
    inputs = [("places", INT64, ["N", "length"]), ("scale", FLOAT, ["N", 1])]
    path = save(tmp_path / "m.onnx", nodes, inputs, [("y", FLOAT, ["N", "length"])], weights)
    record = first(path)
    assert record["tried"] == {"size": 4096, "values": {"places": 999}}
    rows = {row["kind"]: row for row in record["table"]}
    assert rows["openvino-f32"]["passes"]
    spec = {"path": str(path), "digest": examine_file(path).digest, **record, "engines": [["openvino-f32", 1]]}
    engines, scale = GraphEngines.open(spec), np.ones((1, 1), np.float32)
    assert engines.run({"places": np.array([[0, 999]]), "scale": scale})["y"].tolist() == [[1.0, 1000.0]]
    assert engines.run({"places": np.array([[-1, 0]]), "scale": scale})["y"].tolist() == [[1000.0, 1.0]]
    for places in ([[1000]], [[2**40]], [[-1001]]):
        with pytest.raises(InputError, match="out of data bounds"):
            engines.run({"places": np.array(places), "scale": scale})
    y = engines.run({"places": np.zeros((1, 5000), np.int64), "scale": scale * np.nan})["y"]
    assert y.shape == (1, 5000)
    assert np.isnan(y).all()


@pytest.mark.parametrize(
    ("places", "scale", "covered"),
    [([[7]], 1.0, True), ([[8]], 1.0, False), ([[-1]], 1.0, False), ([[0] * 4], 1.0, True), ([[0] * 5], 1.0, False),
     ([[]], 1.0, False), ([[7]], np.nan, False), ([[7]], np.inf, False)],
)  # fmt: skip
def test_what_was_tried_by_hand(places: Any, scale: float, covered: bool) -> None:
    inputs = (TensorSpec("places", "int64", ("N", "length")), TensorSpec("scale", "float32", ("N", 1)))
    signature = Signature(inputs, inputs, "joined")
    arrays = {"places": np.array(places, np.int64), "scale": np.array([[scale]], np.float32)}
    assert ProbedRange(4, {"places": 7}).covers(arrays, signature) == covered


def test_lossy_engines_are_measured_only_behind_a_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deepseek.engines.onnx_file import engine

    monkeypatch.setattr(engine, "has_bf16", lambda **_: True)  # a CPU without computes in float32 and passes
    path = dense(tmp_path / "m.onnx")
    assert "openvino-bf16" not in [row["kind"] for row in first(path)["table"]]
    limits = {"min_cosine": 1.1, "max_difference": 1.0, "min_agreement": 0.9}  # which no answer meets
    rows = {row["kind"]: row for row in measure_file(path, limits=limits, budget_s=0.1).to_dict()["table"]}
    assert not rows["openvino-bf16"]["passes"]
    limits["min_cosine"] = 0.9
    rows = {row["kind"]: row for row in measure_file(path, limits=limits, budget_s=0.1).to_dict()["table"]}
    assert rows["openvino-bf16"]["passes"]
    assert 0.9 <= rows["openvino-bf16"]["min_cosine"] <= 1.0 + 1e-6


def test_differences_by_hand() -> None:
    nan = np.array([np.nan, 2.0])
    assert relative_difference(nan, nan) == 0.0
    assert relative_difference(nan, np.array([2.0, 2.0])) > 1e300
    assert relative_difference(np.array([10.0, 1.0]), np.array([10.0, 1.5])) == pytest.approx(0.05)
    assert relative_difference(np.array([1.0]), np.array([1])) == float("inf")
    figures = compare_outputs({"y": np.array([[3.0, 4.0], [1.0, 0.0]])}, {"y": np.array([[3.0, 4.0], [0.0, 1.0]])})
    assert figures == {"min_cosine": 0.0, "max_difference": 1.0, "min_agreement": 0.5}


def test_what_was_found_is_kept_by_digest_machine_and_tolerance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []
    real = measure_file

    def here(module: str, request: dict[str, Any], **_: Any) -> Any:
        measured.append(module)
        return json.loads(json.dumps(real(Path(request["path"]), limits=request["limits"], budget_s=0.05).to_dict()))

    monkeypatch.setattr(opening, "run_in_subprocess", here)
    path, cache = dense(tmp_path / "m.onnx"), tmp_path / "cache"
    file = open_file(path, cache)
    assert file == open_file(path, cache)
    assert file.engines[0][1] == 1
    assert len(measured) == 1
    open_file(path, cache, tolerance=Tolerance())
    monkeypatch.setattr(opening, "describe_machine", lambda *_: "another")
    open_file(path, cache)
    assert len(measured) == 3
    for broken in (b"{", b"[]", b'{"engines": []}'):
        for each in cache.glob("*.json"):
            each.write_bytes(broken)
        assert open_file(path, cache).signature == file.signature
    dense(path, seed=1)
    assert open_file(path, cache).digest != file.digest


def test_a_cache_that_cannot_be_written_to_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert open_file(scalars(tmp_path / "m.onnx"), tmp_path / "file" / "cache").signature.rows == "whole"


def test_an_engine_that_kills_the_process_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deepseek.engines.measuring import MeasuringError, run_in_subprocess

    def dies(module: str, request: dict[str, Any], **more: Any) -> Any:
        if not request["only"]:
            raise MeasuringError("measuring ended with -11")
        return run_in_subprocess(module, request, **more)

    monkeypatch.setattr(opening, "run_in_subprocess", dies)
    assert open_file(dense(tmp_path / "m.onnx")).engines == (("onnxruntime", 1),)


@pytest.mark.parametrize("at", [0, 1, 10, 100, -1])
def test_a_cut_file_names_itself(at: int, tmp_path: Path) -> None:
    data = dense(tmp_path / "m.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(data[:at])
    with pytest.raises(IntegrityError, match=r"cut\.onnx"):
        open_file(tmp_path / "cut.onnx")


def test_no_bytes_raise_anything_but_words(tmp_path: Path) -> None:
    data, path = dense(tmp_path / "m.onnx").read_bytes(), tmp_path / "changed.onnx"
    rng, messages = np.random.default_rng(0), list[str]()
    for _ in range(300):
        changed = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            changed[place] = rng.integers(0, 256)
        path.write_bytes(changed)
        messages.append("changed.onnx")
        try:
            examine_file(path)
        except DeepseekError as error:
            messages[-1] = error.message
    assert all("changed.onnx" in message for message in messages)
    assert len(set(messages)) > 3
    path.write_bytes(b"\x3a\x02\x0a\x00" + b"\x0a" * 50)
    with pytest.raises(IntegrityError, match=r"changed\.onnx"):
        examine_file(path)


def varint(number: int) -> bytes:
    return bytes([number & 127 | 128]) + varint(number >> 7) if number > 127 else bytes([number])


def test_graphs_in_graphs_end_somewhere(tmp_path: Path) -> None:
    graph = b""
    for field in (6, 5, 1) * 40:  # an attribute that holds a graph, of a node, of a graph
        graph = bytes([field << 3 | 2]) + varint(len(graph)) + graph
    (tmp_path / "deep.onnx").write_bytes(b"\x3a" + varint(len(graph)) + graph)
    with pytest.raises(IntegrityError, match="nested too deeply"):
        examine_file(tmp_path / "deep.onnx")


def test_operators_of_others_are_refused_by_name_and_own_functions_are_not(tmp_path: Path) -> None:
    ends = ([("x", FLOAT, ["N"])], [("y", FLOAT, ["N"])])
    magic = [node("Magic", "x", "y", domain="acme")]
    with pytest.raises(InputError, match=r"acme\.Magic"):
        open_file(save(tmp_path / "m.onnx", magic, *ends, domains=["acme"]))
    hidden = helper.make_graph(magic, "inner", [], [helper.make_tensor_value_info("y", FLOAT, ["N"])])
    branch = [node("If", "c", "y", then_branch=hidden, else_branch=hidden)]
    inputs = [*ends[0], ("c", TensorProto.BOOL, [])]
    with pytest.raises(InputError, match=r"acme\.Magic"):
        open_file(save(tmp_path / "m.onnx", branch, inputs, ends[1], domains=["acme"]))
    opset = [helper.make_opsetid("", 17)]
    twice = helper.make_function("acme", "Magic", ["a"], ["b"], [node("Add", "a a", "b")], opset)
    assert first(save(tmp_path / "m.onnx", magic, *ends, domains=["acme"], functions=[twice]))["engines"]
    assert "acme" not in STANDARD_DOMAINS


def test_an_operator_that_no_engine_knows_is_told_in_its_words(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", [node("Wizardry", "x", "y")], [("x", FLOAT, ["N"])], [("y", FLOAT, ["N"])])
    with pytest.raises(IntegrityError, match="Wizardry"):
        open_file(path)


def test_what_is_no_tensor_is_refused_with_what_to_do(tmp_path: Path) -> None:
    numbers = helper.make_tensor_value_info("x", FLOAT, ["N"])
    output = helper.make_tensor_sequence_value_info("y", FLOAT, None)
    graph = helper.make_graph([node("SequenceConstruct", "x x", "y")], "g", [numbers], [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"'y' of .*m\.onnx is seq\(tensor\(float\)\)"):
        open_file(tmp_path / "m.onnx")


def test_a_graph_that_runs_on_nothing_made_up_says_why(tmp_path: Path) -> None:
    nodes = [node("Gather", "table x", "y")]
    weights = {"table": np.zeros(1, np.float32)}  # which has no place 1
    with pytest.raises(InputError, match="out of data bounds"):
        open_file(save(tmp_path / "m.onnx", nodes, [("x", INT64, ["N", 99])], [("y", FLOAT, ["N", 99])], weights))


def test_weights_in_other_files_count_and_stay_in_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = dense(folder / "m.onnx", external="m.data")
    digest = examine_file(path).digest
    assert first(path)["engines"]
    data = bytearray((folder / "m.data").read_bytes())
    data[0] ^= 1
    (folder / "m.data").write_bytes(data)
    assert examine_file(path).digest != digest
    (folder / "m.data").rename(tmp_path / "elsewhere")
    with pytest.raises(MissingError, match=r"m\.data"):
        examine_file(path)
    (folder / "m.data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="outside of its folder"):
        examine_file(path)


@pytest.mark.parametrize("location", ["/etc/passwd", "../m.data", "a/../../m.data", "..\\m.data", "", "."])
def test_weights_are_never_read_from_elsewhere(location: str, tmp_path: Path) -> None:
    model = onnx.load(dense(tmp_path / "m.onnx", external="m.data"), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="weights in"):
        open_file(tmp_path / "m.onnx")


def test_a_file_that_was_replaced_is_not_opened_for_another(tmp_path: Path) -> None:
    path = dense(tmp_path / "m.onnx")
    record = first(path)
    spec = {"path": str(path), "digest": examine_file(path).digest, **record}
    GraphEngines.open(spec).close()
    dense(tmp_path / "new.onnx", seed=1)
    (tmp_path / "new.onnx").replace(path)
    with pytest.raises(IntegrityError, match="another model"):
        GraphEngines.open(spec)


def test_a_file_of_quantized_weights_runs_as_it_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {
        "q": rng.integers(-127, 127, (4, 3)).astype(np.int8), "s": np.float32(0.02), "z": np.int8(0),
        "xs": np.float32(0.05), "xz": np.int8(0),
    }  # fmt: skip
    nodes = [
        node("QuantizeLinear", "x xs xz", "xq"), node("DequantizeLinear", "xq xs xz", "xd"),
        node("DequantizeLinear", "q s z", "w"), node("MatMul", "xd w", "y"),
    ]  # fmt: skip
    path = save(tmp_path / "m.onnx", nodes, [("x", FLOAT, ["N", 4])], [("y", FLOAT, ["N", 3])], weights)
    record = first(path)
    assert record["signature"]["rows"] == "joined"
    signature = Signature.from_dict(record["signature"])
    engine = OnnxruntimeGraph(path, signature, ("CPUExecutionProvider",))
    x = np.array([[0.5, -1.0, 0.25, 2.0]], np.float32)
    expected = x @ (weights["q"].astype(np.float32) * 0.02)
    np.testing.assert_allclose(engine.run({"x": x})["y"], expected, rtol=1e-4)


def test_gpu_engines_come_first_where_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import onnxruntime

    from deepseek.engines import execution_mode as ways

    there = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    signature = Signature((TensorSpec("x", "float32", ("N",)),), (TensorSpec("y", "float32", ("N",)),))
    monkeypatch.setattr(ways, "_DRIVER_FILES", (str(tmp_path / "none"),))
    assert available_kinds(signature) == ["onnxruntime", "openvino-f32"]
    monkeypatch.setattr(ways, "_DRIVER_FILES", (str(tmp_path),))
    assert available_kinds(signature) == ["onnxruntime", "onnxruntime-tensorrt", "onnxruntime-cuda", "openvino-f32"]


@pytest.mark.slow
def test_a_graph_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = helper.make_graph(
        [node("Identity", "go", "more"), node("Identity", "v", "w")],
        "body",
        [helper.make_tensor_value_info(*each) for each in (("i", INT64, []), ("go", 9, []), ("v", FLOAT, ["N"]))],
        [helper.make_tensor_value_info(*each) for each in (("more", 9, []), ("w", FLOAT, ["N"]))],
    )
    weights = {"most": np.array(2**62), "on": np.array(True)}
    nodes = [node("Loop", "most on x", "y", body=body)]
    path = save(tmp_path / "m.onnx", nodes, [("x", FLOAT, ["N"])], [("y", FLOAT, ["N"])], weights)
    monkeypatch.setattr(opening, "PROCESS_LIMIT_S", 2.0)
    with pytest.raises(IntegrityError, match="did not end within 2 s"):
        open_file(path)


def test_inputs_that_no_body_could_hold_are_refused(tmp_path: Path) -> None:
    shape = [1, 2**40]
    path = save(tmp_path / "m.onnx", [node("Identity", "x", "y")], [("x", FLOAT, shape)], [("y", FLOAT, shape)])
    with pytest.raises(InputError, match="values"):
        open_file(path)
