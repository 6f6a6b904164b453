"""gRPC through the official client of Triton, unchanged, and by hand where that client is too well behaved."""

from __future__ import annotations

import asyncio
import hashlib
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
import uvloop
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from deepseek.contracts import Event
from deepseek.engines import Runtime
from deepseek.errors import InputError
from deepseek.serve import App, Settings, create_app
from deepseek.serve.grpc import GrpcServer, TlsCertificate, start_grpc
from support.servers.certificates import make_certificate
from support.servers.serving import until

SERVICE = "/inference.GRPCInferenceService/"
BEARER = {"authorization": "Bearer secret"}


class Events:
    def __init__(self) -> None:
        self.all: list[Event] = []

    def emit(self, event: Event) -> None:
        self.all.append(event)


class Slow:
    """A runtime whose engine takes its time with rows of one area."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def score(self, features: Any) -> Any:
        if features[0, 0] == 7:
            time.sleep(0.5)
        if features[0, 0] == 13:
            raise RuntimeError("the inside of the engine")
        return self._runtime.score(features)


class Running:
    """An application whose loop runs in a thread."""

    def __init__(self, app: App, tls: TlsCertificate | None = None) -> None:
        self.app = app
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.do(app.start())
        self.server: GrpcServer = self.do(start_grpc(app, "127.0.0.1", 0, tls=tls))
        self.url = f"127.0.0.1:{self.server.port}"

    def do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def close(self) -> None:
        self.do(self.server.stop(1))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture(scope="module")
def events() -> Events:
    return Events()


@pytest.fixture(scope="module")
def running(runtimes: dict[str, Runtime], events: Events) -> Iterator[Running]:
    models: dict[str, Any] = {"loans": runtimes["loans"], "prices": Slow(runtimes["prices"])}
    server = Running(create_app(models, settings=Settings(max_body_bytes=1 << 20), sinks=[events]))
    yield server
    server.close()


@pytest.fixture(scope="module")
def client(running: Running) -> Iterator[Any]:
    with triton.InferenceServerClient(running.url) as opened:
        yield opened


def tensor(name: str, array: np.ndarray[Any, Any], datatype: str) -> Any:
    infer_input = triton.InferInput(name, list(array.shape), datatype)
    infer_input.set_data_from_numpy(array)
    return infer_input


def matrix(rows: list[list[float]]) -> list[Any]:
    return [tensor("features", np.array(rows, np.float32), "FP32")]


def loans() -> list[Any]:
    return [
        tensor("age", np.array([33.5, 61.0]), "FP64"),
        tensor("income", np.array([2400.0, np.nan]), "FP64"),
        tensor("purpose", np.array(["car", "study"], object), "BYTES"),
    ]


def call(running: Running, method: str, body: bytes, **options: Any) -> bytes:
    """A call whose body is any bytes."""
    with grpc.insecure_channel(running.url) as channel:
        return bytes(channel.unary_unary(method)(body, timeout=20, **options))


def test_health_and_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("loans")
    assert client.is_model_ready("loans", "1")
    assert not client.is_model_ready("nobody")
    assert not client.is_model_ready("loans", "2")
    server = client.get_server_metadata(as_json=True)
    assert (server["name"], server["extensions"]) == ("deepseek", ["binary_tensor_data"])
    metadata = client.get_model_metadata("loans", as_json=True)
    assert [(entry["name"], entry["datatype"], entry["shape"]) for entry in metadata["inputs"]] == [
        ("age", "FP64", ["-1"]), ("income", "FP64", ["-1"]), ("purpose", "BYTES", ["-1"]),
    ]  # fmt: skip
    assert [(entry["name"], entry["shape"]) for entry in metadata["outputs"]] == [
        ("label", ["-1"]), ("probabilities", ["-1", "2"]),
    ]  # fmt: skip
    config = client.get_model_config("loans", as_json=True)["config"]
    assert [entry["data_type"] for entry in config["input"]] == ["TYPE_FP64", "TYPE_FP64", "TYPE_STRING"]
    index = client.get_model_repository_index(as_json=True)["models"]
    assert index[0] == {"name": "loans", "version": "1", "state": "READY"}


def test_columns_answer_as_predict_does(client: Any, runtimes: dict[str, Runtime], events: Events) -> None:
    response = client.infer("loans", loans(), request_id="17", headers={"x-request-id": "order-17"})
    records = [{"age": 33.5, "income": 2400.0, "purpose": "car"}, {"age": 61.0, "income": None, "purpose": "study"}]
    expected = runtimes["loans"].predict(records)
    assert expected.labels is not None
    assert expected.probabilities is not None
    assert [label.decode() for label in response.as_numpy("label")] == expected.labels.tolist()
    assert response.as_numpy("probabilities").tobytes() == expected.probabilities.tobytes()
    assert response.get_response().id == "17"
    event = events.all[-1]
    assert (event.kind, event.status, event.num_rows, event.model_name) == ("request", 200, 2, "loans")
    assert (event.fields["route"], event.fields["request_id"]) == ("grpc/ModelInfer", "order-17")
    assert event.fields["flags"] == {("income", "imputed"): 1}


@pytest.mark.parametrize("num_rows", [1, 500])
def test_a_matrix_answers_with_the_outputs_that_are_asked_for(
    client: Any, runtimes: dict[str, Runtime], num_rows: int
) -> None:
    rows = np.random.default_rng(0).normal(80, 20, (num_rows, 2)).astype(np.float32)
    wanted = [triton.InferRequestedOutput("interval")]
    response = client.infer("prices", [tensor("x", rows, "FP32")], outputs=wanted, compression_algorithm="gzip")
    records = [{"area": area, "rooms": rooms} for area, rooms in rows.tolist()]
    expected = runtimes["prices"].predict(records).intervals
    assert expected is not None
    assert response.as_numpy("interval").tobytes() == expected.tobytes()
    assert response.as_numpy("value") is None


def test_typed_contents_are_taken_and_answered(running: Running, client: Any) -> None:
    request = service_pb2.ModelInferRequest(model_name="loans")
    for name, datatype, contents in (
        ("age", "FP64", {"fp64_contents": [33.5, 61.0]}),
        ("income", "INT32", {"int_contents": [2400, 9]}),
        ("purpose", "BYTES", {"bytes_contents": [b"car", b"study"]}),
    ):
        request.inputs.add(name=name, datatype=datatype, shape=[2], contents=contents)
    response = service_pb2.ModelInferResponse.FromString(
        call(running, SERVICE + "ModelInfer", request.SerializeToString())
    )
    raw = client.infer(
        "loans",
        [
            tensor("age", np.array([33.5, 61.0]), "FP64"),
            tensor("income", np.array([2400, 9], np.int32), "INT32"),
            tensor("purpose", np.array(["car", "study"], object), "BYTES"),
        ],
    )
    assert list(response.outputs[1].contents.fp32_contents) == raw.as_numpy("probabilities").ravel().tolist()
    assert list(response.outputs[0].contents.bytes_contents) == raw.as_numpy("label").tolist()


def test_a_stream_answers_in_order_and_outlives_an_error(client: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for place in range(30):
        client.async_stream_infer(
            "prices" if place != 11 else "pries", matrix([[80 + place, 3]]), request_id=str(place)
        )
    results = [answers.get(timeout=20) for _ in range(30)]
    client.stop_stream()
    assert [result.get_response().id for result, error in results if error is None] == [
        str(place) for place in range(30) if place != 11
    ]
    assert "no model 'pries'. Did you mean 'prices'" in results[11][1].message()
    values = [float(result.as_numpy("value")[0]) for result, error in results if error is None]
    assert values == [
        float(client.infer("prices", matrix([[80 + place, 3]])).as_numpy("value")[0])
        for place in range(30)
        if place != 11
    ]


def test_the_client_for_asyncio_infers_and_streams(running: Running) -> None:
    async def run() -> list[Any]:
        async with triton_aio.InferenceServerClient(running.url) as opened:
            one = await opened.infer("prices", matrix([[80, 3]]))

            async def requests() -> Any:
                for _ in range(5):
                    yield {"model_name": "prices", "inputs": matrix([[80, 3]])}

            streamed = [result async for result, error in opened.stream_infer(requests()) if error is None]
            return [one, *streamed]

    response = asyncio.run(run())
    assert len({result.as_numpy("value").tobytes() for result in response}) == 1
    assert len(response) == 6


@pytest.mark.parametrize(
    ("model", "inputs", "code", "said"),
    [
        ("nobody", matrix([[1, 2]]), "NOT_FOUND", "no model 'nobody'"),
        ("loans/versions/1", matrix([[1, 2]]), "NOT_FOUND", "no model"),
        ("", matrix([[1, 2]]), "NOT_FOUND", "no"),
        ("prices", matrix([[1, 2, 3]]), "INVALID_ARGUMENT", "has 3 columns"),
        ("prices", [], "INVALID_ARGUMENT", "0 inputs"),
        ("prices", loans()[:1], "INVALID_ARGUMENT", "no column 'area'"),
        ("loans", loans()[:2], "INVALID_ARGUMENT", "no column 'purpose'"),
        ("prices", [tensor("x", np.zeros((16_385, 2), np.float32), "FP32")], "INVALID_ARGUMENT", "at most 16384"),
        ("prices", [tensor("x", np.zeros((2, 2, 2), np.float32), "FP32")], "INVALID_ARGUMENT", "shape"),
        ("prices", [tensor("x", np.zeros((140_000, 2), np.float32), "FP32")], "RESOURCE_EXHAUSTED", "larger than max"),
        ("prices", matrix([[13, 2]]), "INTERNAL", "the server failed, not the request"),
    ],
)
def test_errors_are_codes_with_our_words(client: Any, model: str, inputs: list[Any], code: str, said: str) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, inputs)
    assert caught.value.status() == f"StatusCode.{code}"
    assert said in caught.value.message()
    assert "inside of the engine" not in caught.value.message()


def test_a_version_or_an_output_that_is_not_there_is_named(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="no version '9'"):
        client.infer("prices", matrix([[1, 2]]), model_version="9")
    with pytest.raises(InferenceServerException, match="Expected: value, interval"):
        client.infer("prices", matrix([[1, 2]]), outputs=[triton.InferRequestedOutput("logits")])


def test_classes_of_an_output_are_not_answered_with_the_whole_output(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="parameter 'classification'"):
        client.infer("prices", matrix([[1, 2]]), outputs=[triton.InferRequestedOutput("value", class_count=3)])


def test_typed_contents_that_their_datatype_does_not_hold_are_refused(running: Running) -> None:
    request = service_pb2.ModelInferRequest(model_name="prices")
    for name in ("area", "rooms"):
        request.inputs.add(name=name, datatype="INT8", shape=[1], contents={"int_contents": [300]})
    with pytest.raises(grpc.RpcError) as caught:
        call(running, SERVICE + "ModelInfer", request.SerializeToString())
    assert "'area' holds a number that INT8 does not" in caught.value.details()


def test_a_priority_is_taken_from_the_metadata(client: Any) -> None:
    client.infer("prices", matrix([[1, 2]]), headers={"x-priority": "high"})
    with pytest.raises(InferenceServerException, match="x-priority is 'urgent'"):
        client.infer("prices", matrix([[1, 2]]), headers={"x-priority": "urgent"})


@pytest.mark.parametrize("method", ["ModelInfer", "ModelMetadata", "ModelReady", "ModelConfig"])
def test_bytes_that_are_no_message_are_refused_in_words(running: Running, method: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(running, SERVICE + method, b"\xff\x00nonsense")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "does not parse" in caught.value.details()


@pytest.mark.parametrize("seed", range(40))
def test_harmed_requests_get_a_code_and_no_internal_error(running: Running, seed: int) -> None:
    rng = np.random.default_rng(seed)
    request = triton._utils._get_inference_request("loans", loans(), "", "", None, 0, False, False, 0, None, None)
    body = bytearray(request.SerializeToString())
    for place in rng.integers(0, len(body), 4):
        body[place] = rng.integers(0, 256)
    with grpc.insecure_channel(running.url) as channel:
        call = channel.unary_unary(SERVICE + "ModelInfer").future(bytes(body), timeout=20)
        assert call.code() in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)


@pytest.mark.parametrize("method", ["SystemSharedMemoryRegister", "Nonsense"])
def test_what_is_not_offered_is_unimplemented(running: Running, method: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(running, SERVICE + method, b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_deadline_ends_a_call_and_leaves_an_event(client: Any, events: Events) -> None:
    num_before = len(events.all)
    with pytest.raises(InferenceServerException) as caught:
        client.infer("prices", [tensor("x", np.full((100, 2), 7, np.float32), "FP32")], client_timeout=0.1)
    assert caught.value.status() == "StatusCode.DEADLINE_EXCEEDED"
    until(lambda: any(event.kind == "request" for event in events.all[num_before:]))
    assert [event.status for event in events.all[num_before:] if event.kind == "request"] in ([499], [504])
    assert client.infer("prices", matrix([[1, 2]])).as_numpy("value").shape == (1,)


def test_a_limit_by_parameter_or_metadata_is_kept(client: Any) -> None:
    number = tensor("age", np.full(10_000, 30.5), "FP64"), tensor("income", np.full(10_000, 2400.0), "FP64")
    many = [*number, tensor("purpose", np.array(["car"] * 10_000, object), "BYTES")]  # texts take more than 1 ms
    for options in ({"timeout": 1_000}, {"headers": {"x-timeout-ms": "1"}}):
        with pytest.raises(InferenceServerException) as caught:
            client.infer("loans", many, **options)
        assert caught.value.status() == "StatusCode.DEADLINE_EXCEEDED"
        assert "the deadline passed" in caught.value.message()
    for limit in ("9" * 5_000, "90000"):
        assert client.infer("loans", many, headers={"x-timeout-ms": limit}, client_timeout=20, timeout=10**15)
    with pytest.raises(InferenceServerException, match="x-timeout-ms"):
        client.infer("loans", many, headers={"x-timeout-ms": "soon"}, client_timeout=20)


def test_the_health_service_answers(running: Running) -> None:
    assert call(running, "/grpc.health.v1.Health/Check", b"") == b"\x08\x01"
    running.app.draining = True
    assert call(running, "/grpc.health.v1.Health/Check", b"") == b"\x08\x02"
    with triton.InferenceServerClient(running.url) as opened:
        assert not opened.is_server_ready()
        assert opened.is_server_live()
    running.app.draining = False
    with pytest.raises(grpc.RpcError) as caught:
        call(running, "/grpc.health.v1.Health/Check", b"\x0a\x03abc")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_keys_are_asked_for_where_http_asks_for_them(runtimes: dict[str, Runtime], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(hashlib.sha256(b"secret").hexdigest())
    running = Running(create_app({"prices": runtimes["prices"]}, settings=Settings(api_keys_file=str(keys))))
    try:
        with triton.InferenceServerClient(running.url) as opened:
            assert opened.is_server_live()
            assert opened.is_server_ready()
            asks = [
                lambda **key: opened.infer("prices", matrix([[80, 3]]), **key),
                lambda **key: opened.get_model_metadata("prices", **key),
                lambda **key: opened.get_model_config("prices", **key),
                opened.get_model_repository_index,
                opened.get_server_metadata,
                lambda **key: opened.is_model_ready("prices", **key),
            ]
            for ask in asks:
                for wrong in ({}, {"headers": {"authorization": "Bearer other"}}):
                    with pytest.raises(InferenceServerException) as caught:
                        ask(**wrong)
                    assert caught.value.status() == "StatusCode.UNAUTHENTICATED"
                ask(headers=BEARER)
        with pytest.raises(grpc.RpcError) as refused:
            call(running, SERVICE + "ModelInfer", b"\xff\xff")
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    finally:
        running.close()


def test_a_taken_port_is_said(running: Running) -> None:
    with pytest.raises(InputError, match="cannot listen"):
        running.do(start_grpc(running.app, "127.0.0.1", running.server.port))


def test_calls_in_work_end_before_a_server_that_stops(runtimes: dict[str, Runtime]) -> None:
    running = Running(create_app({"prices": Slow(runtimes["prices"])}))
    with triton.InferenceServerClient(running.url) as opened:
        results: queue.Queue[Any] = queue.Queue()
        slow = [tensor("x", np.full((100, 2), 7, np.float32), "FP32")]
        opened.async_infer("prices", slow, lambda result, error: results.put(error or result))
        time.sleep(0.1)
        running.close()
        result = results.get(timeout=60)
        assert not isinstance(result, Exception), (result.status(), result.message())
        assert result.as_numpy("value").shape == (100,)


def test_a_server_with_a_certificate_is_encrypted(runtimes: dict[str, Runtime], tmp_path: Path) -> None:
    pem, key_pem = make_certificate()
    (tmp_path / "cert.pem").write_bytes(pem)
    running = Running(create_app({"prices": runtimes["prices"]}), TlsCertificate(pem, key_pem))
    try:
        url = f"localhost:{running.server.port}"
        with triton.InferenceServerClient(url, ssl=True, root_certificates=str(tmp_path / "cert.pem")) as opened:
            assert opened.infer("prices", matrix([[80, 3]])).as_numpy("value").shape == (1,)
        with triton.InferenceServerClient(url) as opened, pytest.raises(InferenceServerException):
            opened.infer("prices", matrix([[80, 3]]), client_timeout=30)
    finally:
        running.close()
