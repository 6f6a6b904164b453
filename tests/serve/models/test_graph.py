"""An ONNX file behind every route, in a server of its own: records, positions, tensors over HTTP and gRPC, refusals."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from deepseek.client import Client
from deepseek.contracts import Tensors
from deepseek.engines.onnx_file import open_file
from deepseek.engines.openvino import has_bf16
from deepseek.serve.models.graph import GraphAdapter
from support.nets.onnxgraphs import FLOAT, INT64, centered, dense, dense_scores, lookup, node, save, scalars
from support.servers.fuzzed import fuzz
from support.servers.serving import Server, started

X = np.array([[1.0, 2.0, -1.0, 0.5], [0.0, -3.0, 2.0, 1.0], [0.25, 0.5, 0.75, 1.0]], np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("graphs")
    pixels = [node("ReduceMean", "image", "mean", axes=[2, 3], keepdims=0), node("Cast", "on", "more", to=FLOAT),
              node("Add", "mean more", "light")]  # fmt: skip
    inputs = [("image", FLOAT, ["n", 3, "h", "w"]), ("on", 9, ["n", 1])]
    far = [node("Abs", "x", "a"), node("ReduceMax", "a", "peak", keepdims=0), node("Greater", "peak c", "far"),
           node("Tanh", "x", "t"), node("Where", "far t x", "y")]  # fmt: skip
    ends, noisy = ([("x", FLOAT, ["N", 4])], [("y", FLOAT, ["N", 4])]), [node("RandomUniformLike", "x", "y")]
    return {
        "far": save(base / "far.onnx", far, *ends, {"c": np.float32(20)}),
        "noisy": save(base / "noisy.onnx", noisy, *ends),
        "dense": dense(base / "dense.onnx"),
        "single": dense(base / "single.onnx", rows=1),
        "lookup": lookup(base / "lookup.onnx"),
        "centered": centered(base / "centered.onnx"),
        "scalars": scalars(base / "scalars.onnx"),
        "pixels": save(base / "pixels.onnx", pixels, inputs, [("light", FLOAT, ["n", 3])]),
    }


@pytest.fixture(scope="module")
def server(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    cache = {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}
    paths = [f"{name}={path}" for name, path in files.items()]
    with started(*paths, "--workers", "1", "--max-rows", "100", "--grpc-port", "0", environ=cache) as running:
        yield running


def ask(server: Server, model: str, body: Any, path: str = ":predict") -> httpx.Response:
    # Unverified, for there is no TLS: to read the system's certificates for each connection takes 5 ms.
    return httpx.post(f"{server.url}/v1/models/{model}{path}", json=body, verify=False)


def infer(server: Server, model: str, *inputs: Any) -> httpx.Response:
    entries = [dict(zip(("name", "datatype", "shape", "data"), each, strict=True)) for each in inputs]
    return httpx.post(f"{server.url}/v2/models/{model}/infer", json={"inputs": entries}, verify=False)


def error(answer: httpx.Response, status: int = 422) -> str:
    assert answer.status_code == status, answer.text
    document = answer.json()["error"]
    return document if isinstance(document, str) else " ".join(document.values())


def test_every_model_answers_its_own_example(server: Server, files: dict[str, Path]) -> None:
    for name in files:
        example = httpx.get(f"{server.url}/v1/models/{name}/example").json()
        (row,) = ask(server, name, example).json()["predictions"]
        outputs = {each["name"] for each in httpx.get(f"{server.url}/v2/models/{name}").json()["outputs"]}
        assert row.keys() == outputs
        card = httpx.get(f"{server.url}/v1/models/{name}").json()
        assert (card["task"], card["explainable"], card["example"]) == ("tensors", False, example)


def test_metadata_has_the_graphs_own_names_types_and_shapes(server: Server) -> None:
    metadata = httpx.get(f"{server.url}/v2/models/lookup").json()
    assert metadata["platform"] == "onnxruntime_onnx"
    assert metadata["inputs"] == [
        {"name": "city", "datatype": "BYTES", "shape": [-1]},
        {"name": "places", "datatype": "INT64", "shape": [-1, -1]},
    ]
    assert metadata["outputs"][1] == {"name": "sum", "datatype": "FP32", "shape": [-1]}
    assert httpx.get(f"{server.url}/v2/models/single").json()["inputs"][0]["shape"] == [1, 4]
    assert httpx.get(f"{server.url}/v2/models/scalars").json()["outputs"][0]["shape"] == []


def test_records_positions_and_names_give_the_same(server: Server, files: dict[str, Path]) -> None:
    expected = dense_scores(files["dense"], X)
    for name in ("dense", "single"):
        rows = X.tolist()
        by_record = ask(server, name, {"instances": [{"x": row} for row in rows]}).json()["predictions"]
        by_place = ask(server, name, {"rows": rows}).json()["outputs"]
        by_name = ask(server, name, {"columns": ["x"], "rows": [[row] for row in rows]}).json()["outputs"]
        assert by_place == by_name
        np.testing.assert_allclose([row["scores"] for row in by_record], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(by_place["scores"], expected, rtol=1e-5, atol=1e-6)
        assert [row["label"] for row in by_record] == expected.argmax(axis=1).tolist() == by_place["label"]


def test_several_inputs_texts_and_free_sizes(server: Server) -> None:
    rows = [{"city": "Köln", "places": [1, 2, 3]}, {"city": "Rom", "places": [9, 0, 0]}]
    predictions = ask(server, "lookup", {"instances": rows}).json()["predictions"]
    assert predictions == [{"code": 2, "sum": 14.0}, {"code": 0, "sum": 81.0}]
    predictions = ask(server, "lookup", {"columns": ["places", "city"], "rows": [[[3], "Bonn"]]}).json()["outputs"]
    assert predictions == {"code": [1], "sum": [9.0]}
    assert ask(server, "lookup", {"rows": [["Bonn", [4, 4]]]}).json()["outputs"]["sum"] == [32.0]
    image = np.ones((3, 5, 7)).tolist()
    assert ask(server, "pixels", {"instances": [{"image": image, "on": [True]}]}).json()["predictions"] == [
        {"light": [2.0, 2.0, 2.0]}
    ]


def test_tensors_without_an_axis_of_rows_are_a_call_of_their_own(server: Server) -> None:
    assert ask(server, "scalars", {"instances": [{"a": 2, "b": 3}, {"a": -2, "b": 3}]}).json()["predictions"] == [
        {"c": 5},
        {"c": 1},
    ]
    answer = infer(server, "scalars", ("a", "INT64", [], [2]), ("b", "INT64", [], [3])).json()
    assert answer["outputs"] == [{"name": "c", "datatype": "INT64", "shape": [], "data": [5]}]
    rows = [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]
    answer = infer(server, "centered", ("x", "FP32", [2, 3], rows)).json()["outputs"][0]
    assert (answer["shape"], answer["data"]) == ([2, 3], [-1.0, 0.0, 1.0, 1.0, 0.0, -1.0])
    assert ask(server, "centered", {"instances": [{"x": rows}]}).json()["predictions"][0]["y"][0] == [-1.0, 0.0, 1.0]
    different = {"instances": [{"x": rows}, {"x": rows[:1]}]}
    assert "one shape" in error(ask(server, "centered", different))


def test_large_numbers_of_one_client_change_no_answer_of_another(server: Server) -> None:
    rng = np.random.default_rng(0)
    sent = [
        rng.normal(size=(1 + number % 3, 4)).astype(np.float32) * (300 if number % 6 == 0 else 1)
        for number in range(100)
    ]

    def one(x: Any) -> Any:
        (output,) = infer(server, "far", ("x", "FP32", list(x.shape), x.ravel().tolist())).json()["outputs"]
        return np.array(output["data"]).reshape(output["shape"])

    with ThreadPoolExecutor(24) as pool:
        for x, output in zip(sent, pool.map(one, sent), strict=True):
            expected = np.tanh(x) if np.abs(x).max() > 20 else x
            np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)


def test_a_graph_that_draws_numbers_draws_them_for_each_request(server: Server) -> None:
    tensor = ("x", "FP32", [2, 4], [0.0] * 8)
    first, second = (infer(server, "noisy", tensor).json()["outputs"][0] for _ in range(2))
    assert first["shape"] == second["shape"] == [2, 4]
    assert all(0 <= value <= 1 for value in first["data"])
    assert first["data"] != second["data"]


def test_requests_are_joined_where_that_changes_nothing_and_only_there(server: Server, files: dict[str, Path]) -> None:
    """64 at a time: each gets its own answer, also those of other lengths, and those of a graph that mixes rows."""

    def one(number: int) -> None:
        x = (X[number % 3] * (1 + number)).tolist()
        scores = ask(server, "dense", {"instances": [{"x": x}]}).json()["predictions"][0]["scores"]
        np.testing.assert_allclose(scores, dense_scores(files["dense"], [x])[0], rtol=1e-4, atol=1e-4)
        places = [number % 10] * (1 + number % 4)
        predictions = ask(server, "lookup", {"instances": [{"city": "Bonn", "places": places}]}).json()["predictions"]
        assert predictions == [{"code": 1, "sum": float(sum(place**2 for place in places))}]
        rows = [[float(number)] * 3, [0.0] * 3]
        predictions = ask(server, "centered", {"instances": [{"x": rows}]}).json()["predictions"]
        assert predictions[0]["y"] == [[number / 2] * 3, [-number / 2] * 3]

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(64)))
    batches = httpx.get(f"{server.url}/metrics").text.splitlines()
    rows, calls = (
        {name: float(line.rsplit(" ", 1)[1]) for name in ("dense", "centered")
         for line in batches if line.startswith(f"deepseek_batch_rows_{what}{{") and f'"{name}"' in line}
        for what in ("sum", "count")
    )  # fmt: skip
    assert rows["centered"] == calls["centered"]
    assert rows["dense"] > calls["dense"]


@pytest.mark.parametrize("binary", [True, False])
def test_tritons_http_client(server: Server, files: dict[str, Path], binary: bool) -> None:
    with tritonclient.http.InferenceServerClient(server.url.removeprefix("http://")) as client:
        assert client.is_model_ready("dense")
        assert client.get_model_config("dense")["input"][0]["data_type"] == "TYPE_FP32"
        x = tritonclient.http.InferInput("x", [3, 4], "FP32")
        x.set_data_from_numpy(X, binary_data=binary)
        wanted = [tritonclient.http.InferRequestedOutput("scores", binary_data=binary)]
        scores = client.infer("dense", [x], outputs=wanted).as_numpy("scores")
        np.testing.assert_allclose(scores, dense_scores(files["dense"], X), rtol=1e-5, atol=1e-6)
        city = tritonclient.http.InferInput("city", [2], "BYTES")
        city.set_data_from_numpy(np.array(["Köln", "Bonn"], object), binary_data=binary)
        places = tritonclient.http.InferInput("places", [2, 3], "INT64")
        places.set_data_from_numpy(np.array([[1, 2, 3], [0, 0, 9]]), binary_data=binary)
        answer = client.infer("lookup", [city, places])
        assert (answer.as_numpy("code").tolist(), answer.as_numpy("sum").tolist()) == ([2, 1], [14.0, 81.0])
        places.set_data_from_numpy(np.array([[1, 2, 3], [0, 0, 10]]), binary_data=binary)
        with pytest.raises(InferenceServerException, match="out of data bounds"):
            client.infer("lookup", [city, places])


def test_tritons_grpc_client(server: Server, files: dict[str, Path]) -> None:
    with tritonclient.grpc.InferenceServerClient(grpc_address(server)) as client:
        assert client.is_model_ready("pixels")
        metadata = client.get_model_metadata("pixels", as_json=True)
        assert metadata["inputs"][0]["shape"] == ["-1", "3", "-1", "-1"]
        assert client.get_model_config("pixels").config.input[1].data_type == 1  # TYPE_BOOL
        image = tritonclient.grpc.InferInput("image", [2, 3, 4, 4], "FP32")
        image.set_data_from_numpy(np.ones((2, 3, 4, 4), np.float32))
        on = tritonclient.grpc.InferInput("on", [2, 1], "BOOL")
        on.set_data_from_numpy(np.array([[True], [False]]))
        assert client.infer("pixels", [image, on]).as_numpy("light").tolist() == [[2.0] * 3, [1.0] * 3]
        x = tritonclient.grpc.InferInput("x", [1, 4], "FP32")
        x.set_data_from_numpy(X[:1])
        scores = client.infer("single", [x]).as_numpy("scores")
        np.testing.assert_allclose(scores, dense_scores(files["single"], X[:1]), rtol=1e-5, atol=1e-6)
        wide = tritonclient.grpc.InferInput("x", [1, 4], "FP64")
        wide.set_data_from_numpy(X[:1].astype(np.float64))
        with pytest.raises(InferenceServerException, match="FP32"):
            client.infer("single", [wide])


def grpc_address(server: Server) -> str:
    return f"127.0.0.1:{server.grpc_port}"


def test_the_client_takes_records_matrices_and_columns(server: Server, files: dict[str, Path]) -> None:
    expected = dense_scores(files["dense"], X)
    with Client(server.url) as client:
        for rows in (X, {"x": X}, [{"x": row} for row in X], X.tolist()):
            tensors = client.predict(rows, model="dense").tensors
            assert tensors is not None
            np.testing.assert_allclose(tensors.arrays["scores"], expected, rtol=1e-5, atol=1e-6)
        sums = client.predict({"a": np.array([1, 2]), "b": np.array([3, 4])}, model="scalars").tensors
        assert sums is not None
        assert sums.arrays["c"].tolist() == [4, 6]


def test_nothing_explains_a_bare_graph(server: Server) -> None:
    example = httpx.get(f"{server.url}/v1/models/dense/example").json()
    assert "make a bundle" in error(ask(server, "dense", example, ":explain"))
    assert "make a bundle" in error(ask(server, "dense", example | {"reasons": 2}))
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    assert "/v1/models/dense:predict" in paths
    assert "/v1/models/dense:explain" not in paths
    assert "dense:predict" in httpx.get(f"{server.url}/docs").text


def test_a_value_that_is_not_known_is_nan_where_numbers_are_floats(server: Server) -> None:
    """Which no answer can be made of: the client is told, and it is no fault of the server."""
    message = error(ask(server, "dense", {"rows": [[1, None, 2, 3]]}))
    assert "gives NaN as the output 'scores' for row 0, and 'x' holds a value that is not known" in message
    message = error(ask(server, "dense", {"rows": [[1, 2, 3e38, 3]]}))
    assert "an infinite number" in message
    assert "'x' holds a number beyond 1.8e+19" in message
    assert "null" in error(ask(server, "scalars", {"instances": [{"a": 1, "b": None}]}))


@pytest.mark.parametrize(
    ("model", "body", "says"),
    [
        ("dense", {"instances": [{"y": [1, 2, 3, 4]}]}, "no input 'y'"),
        ("dense", {"instances": [{}]}, "row 0 has no 'x'"),
        ("dense", {"instances": [{"x": [1, 2, 3]}]}, "[N, 3]"),
        ("dense", {"instances": [{"x": [1, 2, 3, 4]}, {"x": [1, 2, 3]}]}, "row 1"),
        ("dense", {"instances": [{"x": [1, 2, 3, 4]}, {"x": 7}]}, "row 1"),
        ("dense", {"instances": [{"x": ["1", "2", "3", "4"]}]}, "float32 [N, 4]"),
        ("dense", {"instances": [{"x": [True, False, True, True]}]}, "bool values"),
        ("dense", {"instances": [{"x": [1e39, 0, 0, 0]}]}, "beyond its range"),
        ("dense", {"instances": [{"x": [10**400, 0, 0, 0]}]}, "range"),
        ("dense", {"instances": [{"x": {"a": 1}}]}, "several types"),
        ("dense", {"instances": [{"x": [[[[1]]]]}]}, "[N, 1, 1, 1, 1]"),
        ("dense", {"instances": []}, "at least one row"),
        ("dense", {"rows": []}, "at least one row"),
        ("dense", {"rows": [[1, 2, 3]]}, "[N, 3]"),
        ("dense", {"rows": [1, 2]}, "float32 [N, 4]"),
        ("dense", {"rows": 7}, '"rows" is a number'),
        ("dense", {"columns": ["z"], "rows": [[[1, 2, 3, 4]]]}, "no input 'z'"),
        ("dense", {"instances": [{"x": [1, 2, 3, 4]}], "more": 1}, "unknown key 'more'"),
        ("scalars", {"instances": [{"a": 1.5, "b": 2}]}, "float64 values"),
        ("scalars", {"instances": [{"a": 2**63, "b": 2}]}, "beyond its range"),
        ("scalars", {"rows": [[1]]}, "rows[0] has 1 values"),
        ("scalars", {"columns": ["a"], "rows": [[1]]}, "'b' is missing"),
        ("lookup", {"instances": [{"city": 7, "places": [1]}]}, "no text"),
        ("lookup", {"instances": [{"city": "Bonn\0", "places": [1]}]}, "character 0"),
        ("lookup", {"instances": [{"city": "x", "places": [1]}, {"city": "x", "places": [1, 2]}]}, "one shape"),
        ("lookup", {"instances": [{"city": "x", "places": [77]}]}, "out of data bounds"),
        ("lookup", {"instances": [{"city": "x" * n, "places": [1]} for n in (10**6, *[1] * 90)]}, "characters"),
        ("pixels", {"instances": [{"image": [[[1.0]]] * 3, "on": [1]}]}, "int64 values"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_words(server: Server, model: str, body: Any, says: str) -> None:
    answer = ask(server, model, body)
    assert answer.status_code in (400, 422)
    assert says in error(answer, answer.status_code)


@pytest.mark.parametrize(
    ("model", "inputs", "says"),
    [
        ("dense", [("y", "FP32", [1, 4], [1, 2, 3, 4])], "no input 'y'"),
        ("dense", [("x", "FP64", [1, 4], [1, 2, 3, 4])], "FP32"),
        ("dense", [("x", "FP32", [1, 3], [1, 2, 3])], "[N, 3]"),
        ("dense", [("x", "FP32", [4], [1, 2, 3, 4])], "as many axes"),
        ("dense", [("x", "FP32", [0, 4], [])], "no row"),
        ("dense", [("x", "FP32", [1, 4], [1, 2, 3])], "3 values"),
        ("dense", [("x", "FP32", [1, 4], [1, 2, 3, "4"])], "a string"),
        ("dense", [("x", "FP32", [10**18, 4], [])], "shape"),
        ("dense", [("x", "FP32", [1] * 17, [1])], "shape"),
        ("dense", [("x", "FP32", [-1, 4], [1])], "shape"),
        ("dense", [("x", "FP32", [1, 4], [1, 2, 3, 4])] * 2, "stands twice"),
        ("single", [("x", "FP32", [2, 4], [0] * 8)], "one row a call"),
        ("lookup", [("city", "BYTES", [1], ["a"])], "'places' is missing"),
        ("lookup", [("city", "BYTES", [1], ["a"]), ("places", "INT64", [2, 1], [1, 2])], "rows"),
        ("lookup", [("city", "BYTES", [1], ["a"]), ("places", "INT64", [1, 1], [None])], "null"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_refused_in_words(server: Server, model: str, inputs: Any, says: str) -> None:
    assert says in error(infer(server, model, *inputs))


def test_more_rows_than_the_limit_are_refused(server: Server) -> None:
    assert "100" in error(ask(server, "dense", {"rows": X.tolist() * 34}), 413)
    assert "100" in error(infer(server, "dense", ("x", "FP32", [102, 4], (X.tolist() * 34))), 413)
    many = infer(server, "centered", ("x", "FP32", [120, 3], [0.0] * 360))  # one call, whose tensor is as long as it is
    assert many.status_code == 200
    stream = httpx.post(f"{server.url}/v1/models/dense:predict", content=b"x", headers={
        "content-type": "application/vnd.apache.arrow.stream"})  # fmt: skip
    assert "tensors" in error(stream, 415)


def test_one_poisoned_row_fails_no_other(server: Server) -> None:
    statuses: list[int] = []

    def one(number: int) -> None:
        places = [99] if number % 8 == 0 else [3]
        statuses.append(ask(server, "lookup", {"instances": [{"city": "Bonn", "places": places}]}).status_code)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 28 + [422] * 4


@pytest.mark.slow
def test_a_front_end_alone_computes_the_same_and_loads_no_engine_process(
    files: dict[str, Path], tmp_path: Path
) -> None:
    environ = {"XDG_CACHE_HOME": str(tmp_path), "MODEL_PATH": str(files["dense"]), "WORKERS": "0"}
    with started(environ=environ) as alone:
        assert alone.models == ["dense"]
        scores = ask(alone, "dense", {"rows": X.tolist()}).json()["outputs"]["scores"]
        np.testing.assert_allclose(scores, dense_scores(files["dense"], X), rtol=1e-5, atol=1e-6)
        assert alone.stop() == 0


@pytest.mark.slow
def test_schemathesis_finds_no_server_error_and_no_undocumented_answer(server: Server, tmp_path: Path) -> None:
    fuzz(server, tmp_path, "--include-path-regex", "models/(dense|lookup)", num_examples=3)


@pytest.mark.slow
def test_a_folder_of_a_graph_is_loaded_replaced_and_refused_when_damaged(tmp_path: Path) -> None:
    """As Triton lays its repository out: NAME/VERSION/model.onnx."""
    (tmp_path / "models" / "welds" / "1").mkdir(parents=True)
    first = dense(tmp_path / "models" / "welds" / "1" / "model.onnx")
    options = ("--repository", tmp_path / "models", "--workers", "1")
    with started(*options, environ={"XDG_CACHE_HOME": str(tmp_path / "cache")}) as running:
        url = f"{running.url}/v2/repository/models/welds/load"

        def scores() -> Any:
            return ask(running, "welds", {"rows": X.tolist()}).json()["outputs"]["scores"]

        np.testing.assert_allclose(scores(), dense_scores(first, X), rtol=1e-5, atol=1e-6)
        (tmp_path / "new").mkdir()
        dense(tmp_path / "new" / "model.onnx", seed=1)
        (tmp_path / "new").rename(tmp_path / "models" / "welds" / "2")
        answer = httpx.post(url, timeout=30)
        assert answer.json()["versions"] == ["2"], answer.text
        second = tmp_path / "models" / "welds" / "2" / "model.onnx"
        np.testing.assert_allclose(scores(), dense_scores(second, X), rtol=1e-5, atol=1e-6)
        (tmp_path / "models" / "welds" / "3").mkdir()
        (tmp_path / "models" / "welds" / "3" / "model.onnx").write_bytes(first.read_bytes()[:100])
        assert "model.onnx" in error(httpx.post(url, timeout=30), 409)
        np.testing.assert_allclose(scores(), dense_scores(second, X), rtol=1e-5, atol=1e-6)
        assert running.stop() == 0


def test_a_front_end_with_engines_apart_has_neither_onnxruntime_nor_openvino(server: Server) -> None:
    mapped = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "onnxruntime" not in mapped
    assert "openvino" not in mapped
    assert "torch" not in mapped


def test_rows_of_several_requests_are_joined_when_they_are_small_and_of_one_shape(files: dict[str, Path]) -> None:
    face = GraphAdapter(open_file(files["lookup"]), "lookup")

    def rows(city: str, length: int) -> Tensors:
        return face.prepare([{"city": city, "places": [1] * length}]).features

    small = rows("Bonn", 3)
    assert face.can_join(small, rows("x" * 200, 3))
    assert not face.can_join(small, rows("Bonn", 4))
    assert not face.can_join(small, rows("x" * 300, 3))
    large = rows("Bonn", 200_000)
    assert not face.can_join(large, rows("Bonn", 200_000))
    together = face.join([small, rows("Köln", 3)])
    assert {name: array.tolist() for name, array in face.run(together).items()} == {"code": [1, 2], "sum": [3.0, 3.0]}
    face.close()


@pytest.mark.slow
def test_outputs_without_an_element_and_of_any_type_come_through(tmp_path: Path) -> None:
    nodes = [node("NonZero", "x", "places"), node("Cast", "x", "half", to=10), node("Cast", "x", "truth", to=9)]
    outputs = [("places", INT64, [1, "found"]), ("half", 10, ["n"]), ("truth", 9, ["n"])]
    path = save(tmp_path / "types.onnx", nodes, [("x", FLOAT, ["n"])], outputs)
    with started(path, "--workers", "1", environ={"XDG_CACHE_HOME": str(tmp_path)}) as running:
        tensors = infer(running, "types", ("x", "FP32", [2], [0.0, 0.0])).json()["outputs"]
        assert [(each["datatype"], each["shape"], each["data"]) for each in tensors] == [
            ("INT64", [1, 0], []), ("FP16", [2], [0.0, 0.0]), ("BOOL", [2], [False, False]),
        ]  # fmt: skip
        assert ask(running, "types", {"instances": [{"x": [0.0, 3.0]}]}).json()["predictions"] == [
            {"places": [[1]], "half": [0.0, 3.0], "truth": [False, True]}
        ]
        differing = {"instances": [{"x": [0.0, 3.0]}, {"x": [1.0, 3.0]}] * 40}
        assert "one by one" in error(ask(running, "types", differing))


@pytest.mark.slow
def test_a_limit_lets_a_lossy_engine_be_measured(files: dict[str, Path], tmp_path: Path) -> None:
    options = ("--lossy", "cosine=0.9,difference=0.5", "--workers", "1", "--log-level", "info")
    with started(files["dense"], *options, environ={"XDG_CACHE_HOME": str(tmp_path)}) as running:
        assert running.stop() == 0
        assert running.process.stderr is not None
        (line,) = [json.loads(line) for line in running.process.stderr if "engines were chosen" in line]
    measured = {row["kind"]: row for row in line["deepseek"]["measured"]}
    assert measured["onnxruntime"]["passes"]
    assert line["deepseek"]["engines"]
    assert ("openvino-bf16" in measured) == has_bf16(extra="text")
