"""The Open Inference Protocol, by hand and through the official client of Triton."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from deepseek.engines import Runtime
from deepseek.errors import InputError
from deepseek.serve import create_app
from deepseek.serve.core.errors import oip_error_body, wants_oip_error
from deepseek.serve.protocols import oip
from deepseek.serve.repository.protocol import IndexEntry, list_repository

INFER = "/v2/models/loans/infer"
COLUMNS: list[dict[str, Any]] = [
    {"name": "age", "datatype": "FP64", "shape": [2], "data": [33.5, 61.0]},
    {"name": "income", "datatype": "FP64", "shape": [2, 1], "data": [[2400.0], [None]]},
    {"name": "purpose", "datatype": "BYTES", "shape": [2], "data": ["car", "study"]},
]


@pytest.fixture
def triton_client(server: Any) -> Any:
    client = triton.InferenceServerClient(server.url.removeprefix("http://"))
    yield client
    client.close()


def test_health_and_metadata(client: httpx.Client) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    metadata = client.get("/v2/models/loans/versions/1").json()
    assert [(column["name"], column["datatype"]) for column in metadata["inputs"]] == [
        ("age", "FP64"), ("income", "FP64"), ("purpose", "BYTES"),
    ]  # fmt: skip
    assert [(output["name"], output["shape"]) for output in metadata["outputs"]] == [
        ("label", [-1]), ("probabilities", [-1, 2]),
    ]  # fmt: skip


def test_columns_answer_as_records_do_and_the_id_comes_back(client: httpx.Client) -> None:
    body = {"id": "7", "parameters": {"note": "kept"}, "inputs": COLUMNS}
    answer = client.post(INFER, json=body).json()
    assert (answer["id"], answer["parameters"], answer["model_name"]) == ("7", {"note": "kept"}, "loans")
    labels, probabilities = answer["outputs"]
    records = [{"age": 33.5, "income": 2400.0, "purpose": "car"}, {"age": 61.0, "income": None, "purpose": "study"}]
    rows = client.post("/v1/models/loans:predict", json={"instances": records}).json()["predictions"]
    assert labels["data"] == [row["label"] for row in rows]
    assert probabilities["data"] == pytest.approx([p for row in rows for p in row["probabilities"].values()])


def test_one_tensor_of_all_columns_is_taken_when_they_are_numbers(client: httpx.Client) -> None:
    tensor = {"name": "features", "datatype": "FP32", "shape": [2, 2], "data": [[80, 3], [120, 4]]}
    outputs = client.post("/v2/models/prices/infer", json={"inputs": [tensor]}).json()["outputs"]
    records = {"instances": [{"area": 80, "rooms": 3}, {"area": 120, "rooms": 4}]}
    rows = client.post("/v1/models/prices:predict", json=records).json()["predictions"]
    assert outputs[0]["data"] == pytest.approx([row["value"] for row in rows])


def test_only_the_outputs_that_are_asked_for_come(client: httpx.Client) -> None:
    body = {"inputs": COLUMNS, "outputs": [{"name": "probabilities"}]}
    assert [output["name"] for output in client.post(INFER, json=body).json()["outputs"]] == ["probabilities"]


@pytest.mark.parametrize(
    "body",
    [
        {}, {"inputs": COLUMNS, "id": 3}, {"inputs": COLUMNS, "parameters": []},
        {"inputs": []}, {"inputs": {}}, {"inputs": [3]}, {"inputs": COLUMNS[:1] * 2},
        {"inputs": [COLUMNS[0] | {"name": "aeg"}, *COLUMNS[1:]]},
        {"inputs": [COLUMNS[0] | {"shape": [1], "data": [1]}, *COLUMNS[1:]]},
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]},
        {"inputs": [COLUMNS[0] | {"datatype": "BYTES", "data": ["old", "older"]}, *COLUMNS[1:]]},
        {"inputs": COLUMNS, "outputs": [{"name": "logits"}]}, {"inputs": COLUMNS, "outputs": 3},
        {"inputs": COLUMNS, "outputs": [{"name": "probabilities", "parameters": {"classification": 2}}]},
        {"inputs": COLUMNS, "outputs": [{"name": "label", "parameters": {"shared_memory_region": "r"}}]},
        {"inputs": [{"name": "age", "datatype": "FP64", "shape": [0], "data": []}]},
        {"inputs": [COLUMNS[0] | {"parameters": {"binary_data_size": 16}}]},
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_refused(client: httpx.Client, body: dict[str, Any]) -> None:
    answer = client.post(INFER, json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["message"]


def test_more_rows_than_the_limit_are_too_large(client: httpx.Client) -> None:
    tensor = {"name": "features", "datatype": "FP32", "shape": [16_385, 2], "data": [0] * (16_385 * 2)}
    assert client.post("/v2/models/prices/infer", json={"inputs": [tensor]}).status_code == 413


@pytest.mark.parametrize("length", ["x", "-1", "999999", ""])
def test_a_wrong_length_of_the_json_part_is_malformed(client: httpx.Client, length: str) -> None:
    answer = client.post(INFER, content=b"{}", headers={"inference-header-content-length": length})
    assert answer.status_code == 400


def test_the_official_client_sees_health_and_metadata(triton_client: Any) -> None:
    assert triton_client.is_server_live()
    assert triton_client.is_server_ready()
    assert triton_client.is_model_ready("loans")
    assert not triton_client.is_model_ready("nobody")
    assert triton_client.get_server_metadata()["name"] == "deepseek"
    assert triton_client.get_model_metadata("loans")["name"] == "loans"


@pytest.mark.parametrize("binary", [True, False])
def test_the_official_client_infers(triton_client: Any, binary: bool) -> None:
    inputs = []
    for name, array, datatype in (
        ("age", np.array([33.5, 61.0]), "FP64"),
        ("income", np.array([2400.0, np.nan if binary else 1.0]), "FP64"),
        ("purpose", np.array(["car", "study"], dtype=object), "BYTES"),
    ):
        infer_input = triton.InferInput(name, [2], datatype)
        infer_input.set_data_from_numpy(array, binary_data=binary)
        inputs.append(infer_input)
    outputs = (
        None if binary else [triton.InferRequestedOutput(n, binary_data=False) for n in ("label", "probabilities")]
    )
    result = triton_client.infer("loans", inputs, outputs=outputs, request_id="17")
    probabilities = result.as_numpy("probabilities")
    assert probabilities.shape == (2, 2)
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert [str(label, "utf-8") if isinstance(label, bytes) else label for label in result.as_numpy("label")]
    assert result.get_response()["id"] == "17"


def test_the_official_client_for_asyncio_infers_packed_and_plain(server: Any) -> None:
    async def run() -> list[Any]:
        infer_input = triton.InferInput("x", [600, 2], "FP32")
        infer_input.set_data_from_numpy(np.full((600, 2), 80, np.float32))
        async with triton_aio.InferenceServerClient(server.url.removeprefix("http://")) as opened:
            assert (await opened.get_server_metadata())["name"] == "deepseek"
            return [
                (await opened.infer("prices", [infer_input], request_compression_algorithm=coding)).as_numpy("value")
                for coding in (None, "gzip", "deflate")
            ]

    plain, *packed = asyncio.run(run())
    assert plain.shape == (600,)
    assert all(np.array_equal(plain, each) for each in packed)


@pytest.mark.parametrize("timeout", [0, -1, "soon", 1.5, True])
def test_a_timeout_that_is_none_is_refused(client: httpx.Client, timeout: Any) -> None:
    answer = client.post(INFER, json={"inputs": COLUMNS, "parameters": {"timeout": timeout}})
    assert (answer.status_code, '"timeout"' in answer.json()["error"]["message"]) == (422, True)


@pytest.mark.parametrize("timeout", ["9" * 5_000, "1", "soon", "0"])
def test_a_timeout_of_any_length_meets_a_header_of_any(client: httpx.Client, timeout: str) -> None:
    body = {"inputs": COLUMNS, "parameters": {"timeout": 10**11}}
    answer = client.post(INFER, json=body, headers={"x-timeout-ms": timeout})
    assert answer.status_code in ((200, 504) if timeout.strip("0").isdigit() else (400,)), answer.text
    huge = json.dumps(body).replace(str(10**11), "9" * 4_000)
    assert client.post(INFER, content=huge, headers={"content-type": "application/json"}).status_code == 200


def test_a_timeout_that_has_passed_is_a_deadline(client: httpx.Client) -> None:
    rows = {"name": "x", "datatype": "FP32", "shape": [16_000, 2], "data": [80.5] * 32_000}
    answer = client.post("/v2/models/prices/infer", json={"inputs": [rows], "parameters": {"timeout": 1_000}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline")


def test_a_model_has_a_configuration_and_a_place_in_the_index(runtimes: dict[str, Runtime]) -> None:
    models = create_app(runtimes).models
    configuration = json.loads(oip.model_config(models["loans"]).body)
    ends = configuration["input"] + configuration["output"]
    assert [(entry["name"], entry["data_type"], entry["dims"]) for entry in ends] == [
        ("age", "TYPE_FP64", [-1]), ("income", "TYPE_FP64", [-1]), ("purpose", "TYPE_STRING", [-1]),
        ("label", "TYPE_STRING", [-1]), ("probabilities", "TYPE_FP32", [-1, 2]),
    ]  # fmt: skip
    assert asyncio.run(list_repository(models, None, ready=False)) == [
        IndexEntry(name, "1", "READY") for name in runtimes
    ]


@pytest.mark.parametrize(
    ("path", "headers", "sentence"),
    [
        ("/v2/models/m", {}, True), ("/v2/models/m", {b"accept": b"*/*"}, False), ("/v1/models/m", {}, False),
        ("/v2/models/m/infer", {b"accept": b"*/*", b"inference-header-content-length": b"9"}, True),
    ],
)  # fmt: skip
def test_an_error_is_a_sentence_for_clients_of_the_protocol(
    path: str, headers: dict[bytes, bytes], sentence: bool
) -> None:
    assert wants_oip_error(path, headers) is sentence
    error = InputError("it is wrong", expected="right", fix="mend it")
    document = json.loads(oip_error_body(error))
    assert document.pop("error") == "it is wrong. Expected: right. To mend it: mend it."
    assert document == error.to_dict()


def test_the_official_client_reads_our_errors(triton_client: Any) -> None:
    wrong = triton.InferInput("aeg", [1], "FP64")
    wrong.set_data_from_numpy(np.zeros(1))
    with pytest.raises(InferenceServerException) as caught:
        triton_client.infer("loans", [wrong])
    assert "aeg" in caught.value.message()
